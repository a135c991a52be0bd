"""A manifest to apply is read as kubectl reads it, and every object that does not say what it is is named."""

from __future__ import annotations

import json

import pytest

from tracer.errors import ParseError
from tracer.query import manifest_text
from tracer.snapshot.manifest import read_manifest

SERVICE = """apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  externalTrafficPolicy: Local
  ports: [{port: 80, targetPort: 8080}]
"""


def test_yaml_documents_and_json_are_the_same() -> None:
    one, other = read_manifest(f"---\n{SERVICE}---\n# nothing\n---\n{SERVICE.replace('web', 'api')}", "shop.yaml")
    assert one["metadata"] == {"name": "web", "namespace": "shop"}
    assert one["spec"]["ports"] == [{"port": 80, "targetPort": 8080}]
    assert other["metadata"]["name"] == "api"
    assert read_manifest(json.dumps(one), "x.json") == (one,)
    assert read_manifest(json.dumps([one, other]), "x.json") == (one, other)
    assert read_manifest(json.dumps({"apiVersion": "v1", "kind": "List", "items": [one, other]}), "x.json") == (one, other)
    assert read_manifest("\ufeff" + json.dumps(one), "x.json") == (one,)


def test_the_order_of_fields_is_no_other_manifest() -> None:
    turned = SERVICE.replace("apiVersion: v1\nkind: Service\n", "kind: Service\napiVersion: v1\n")
    assert manifest_text(list(read_manifest(turned, "a"))) == manifest_text(list(read_manifest(SERVICE, "b")))


def test_all_mistakes_are_named_at_once() -> None:
    text = f"{SERVICE}---\nkind: Service\nmetadata: {{name: api}}\n---\napiVersion: v1\nkind: Pod\n---\njust text\n---\n- 1\n"
    with pytest.raises(ParseError) as caught:
        read_manifest(text, "shop.yaml")
    assert [str(fault) for fault in caught.value.faults] == [
        "shop.yaml:8: document 2: Service api does not say its apiVersion",
        "shop.yaml:11: document 3: Pod does not say its metadata.name",
        "shop.yaml:14: document 4: it is no object: give apiVersion, kind and metadata.name",
        "shop.yaml:16: item 1 of document 5: it is no object: give apiVersion, kind and metadata.name",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there is no object in it"),
        ("# only a remark\n", "there is no object in it"),
        ('{"kind": "List", "items": []}', "there is no object in it"),
        ("kind: [a\n", "not YAML"),
        ('{"kind": }', "not JSON"),
        ("a: 1\na: 2\n", "stands twice"),
        ("x" * 1_000_001, "limit APPLIED"),
    ],
)
def test_what_cannot_be_applied(text: str, said: str) -> None:
    with pytest.raises(ParseError, match=said):
        read_manifest(text, "m")

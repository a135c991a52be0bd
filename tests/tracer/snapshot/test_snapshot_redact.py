"""No Secret may pass, however it is written; nothing else may change."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.snapshot.redact import remove_secrets

DEMO = Path(__file__).resolve().parents[3] / "demo"
VALUE = "c2VjcmV0LXBhc3N3b3Jk"
SECRET: dict[str, Any] = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}, "data": {"password": VALUE}}
SERVICE: dict[str, Any] = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "api"}}


def text(value: Any) -> bytes:
    return json.dumps(value).encode()


YAML_SECRET = f"apiVersion: v1\nkind: Secret\nmetadata:\n  name: db\ndata:\n  password: {VALUE}\n".encode()

SPELLINGS = {
    "one object": ("a.json", text(SECRET)),
    "list": ("a.json", text({"kind": "List", "items": [SECRET, SERVICE]})),
    "typed list": ("a.json", text({"kind": "SecretList", "items": [{"data": {"password": VALUE}}]})),
    "nested list": ("a.json", text({"kind": "List", "items": [{"kind": "List", "items": [SECRET]}]})),
    "array": ("a.json", text([SERVICE, SECRET])),
    "one after the other": ("a.json", text(SERVICE) + b"\n" + text(SECRET)),
    "watch event": ("pods.watch.jsonl", text({"type": "ADDED", "object": SECRET})),
    "deep inside": ("a.json", text({"kind": "Template", "objects": {"x": [[SECRET]]}})),
    "escaped": ("a.json", text(SECRET).replace(b'"Secret"', b'"Sec\\u0072et"')),
    "escaped key": ("a.json", text(SECRET).replace(b'"kind"', b'"\\u006bind"')),
    "other case": ("a.json", text(SECRET).replace(b'"Secret"', b'"SECRET"').replace(b'"kind"', b'"Kind"')),
    "white space": ("a.json", text(SECRET).replace(b'"Secret"', b'" Secret\\n"').replace(b'"kind":', b'"kind" \n:\t')),
    "twice": ("a.json", text(SECRET).replace(b'"kind":', b'"kind": "Service", "kind":')),
    "twice, the other first": ("a.json", text(SECRET).replace(b'"Secret"', b'"Secret", "kind": "Service"')),
    "truncated": ("a.json", text(SECRET)[:-3]),
    "not a number": ("a.json", text([SECRET, float("nan")])),
    "utf-16": ("a.json", json.dumps(SECRET).encode("utf-16")),
    "utf-16 without a mark": ("a.json", json.dumps(SECRET).encode("utf-16-le")),
    "byte order mark": ("a.json", b"\xef\xbb\xbf" + text(SECRET)),
    "not utf-8": ("a.json", text(SECRET) + b"\xff"),
    "too deep": ("a.json", b"[" * 100_000 + text(SECRET)),
    "deep": ("a.json", b"[" * 600 + text(SECRET) + b"]" * 600),
    "yaml": ("a.yaml", YAML_SECRET),
    "yaml of several documents": ("a.yml", b"kind: Service\n---\n" + YAML_SECRET + b"---\nkind: Pod\n"),
    "yaml in other words": ("a.yaml", YAML_SECRET.replace(b"kind: Secret", b'? "kind"\n: !!str Secret')),
    "yaml with a folded word": ("a.yaml", YAML_SECRET.replace(b"Secret", b'"Sec\\\n  ret"')),
    "yaml with escapes": ("a.yaml", YAML_SECRET.replace(b"Secret", b'"\\x53ecret"')),
    "yaml with anchors": ("a.yaml", YAML_SECRET.replace(b"kind: Secret", b"kind: &k Secret")),
    "yaml with a fault": ("a.yaml", YAML_SECRET + b"\t: :\n"),
    "json called yaml": ("a.yaml", text(SECRET)),
    "yaml called json": ("a.json", YAML_SECRET),
    "no known name": ("notes.txt", YAML_SECRET),
    "a node's file": ("nodes/n/iptables-save.txt", YAML_SECRET),
    "a node's file, truncated": ("nodes/n/ss.txt", text(SECRET)[:-3]),
    "string data": ("a.json", text({"kind": "Secret", "stringData": {"p": VALUE}})[:-1]),
    "by its place": ("cluster-resources/secrets/default.json", text([{"data": {"p": VALUE}}])),
    "by its folder": ("secrets/default/db/password.json", text({"secretValue": VALUE})),
    "pull secrets": ("b/cluster-resources/image-pull-secrets/default.json", text({"auths": VALUE})),
    "by its name": ("namespaces/x/core/secrets.yaml", f"items:\n- data: {{p: {VALUE}}}\n".encode()),
    "archive": ("inner.tar.gz", b"\x1f\x8b\x08" + VALUE.encode()),
    "plain archive": ("inner.tar", b"a" * 257 + b"ustar\x0000" + VALUE.encode()),
    "config map": ("a.json", text({"kind": "ConfigMap", "metadata": {"name": "app", "namespace": "default"}, "data": {"p": VALUE}})),
    "config map of the right name elsewhere": (
        "a.json",
        text({"kind": "ConfigMap", "metadata": {"name": "coredns", "namespace": "x"}, "data": {"p": VALUE}}),
    ),
    "typed list of config maps": (
        "a.json",
        text({"kind": "ConfigMapList", "items": [{"metadata": {"name": "app"}, "data": {"p": VALUE}}]}),
    ),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_it_does_not_pass(spelling: str) -> None:
    path, content = SPELLINGS[spelling]
    kept, removed = remove_secrets({path: content})
    flat = b"".join(kept.values())
    assert VALUE.encode() not in flat.replace(b"\x00", b""), kept
    assert len(removed) == 1, removed
    assert removed[0].startswith(f"{path}: ")


@pytest.mark.parametrize("spelling", ["list", "one after the other", "yaml of several documents", "array"])
def test_what_stands_beside_it_stays(spelling: str) -> None:
    path, content = SPELLINGS[spelling]
    kept, removed = remove_secrets({path: content})
    assert b"Service" in kept[path]
    assert removed == (f"{path}: removed 1 Secret",)


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("services.json", text({"kind": "List", "items": [SERVICE]})),
        ("pods.json", text({"kind": "Pod", "spec": {"volumes": [{"secret": {"secretName": "db"}}, {"configMap": {"name": "app"}}]}})),
        (
            "gateways.json",
            text({"kind": "Gateway", "metadata": {"name": "g"}, "spec": {"certificateRefs": [{"kind": "Secret", "name": "tls"}]}}),
        ),
        (
            "configmaps.json",
            text({"kind": "ConfigMap", "metadata": {"name": "coredns", "namespace": "kube-system"}, "data": {"Corefile": ""}}),
        ),
        ("pods.json", b'{"kind": "Pod", "spec": {"volumes": [{"secret": {"secretName":'),
        ("broken.json", b"{"),
        ("secrets/services.json", text({"kind": "ServiceList", "items": []})),
        ("namespaces/secrets/core/services.yaml", b"kind: ServiceList\nitems: []\n"),
        ("nodes/n/iptables-save.txt", b'-A X -m comment --comment "kind: Secret" -j ACCEPT\n'),
        ("nodes/n/iptables-save.txt", b"\xff\xfe\x00 not text"),
        ("README.md", b"This secret sauce is no object.\n"),
        ("x.yaml", b"a: 'secret: {unfinished\n"),
    ],
)
def test_what_holds_none_stays_byte_for_byte(path: str, content: bytes) -> None:
    assert remove_secrets({path: content}) == ({path: content}, ())


def test_it_says_how_many_of_what() -> None:
    maps = [{"kind": "ConfigMap", "metadata": {"name": n, "namespace": "x"}} for n in ("a", "b")]
    _, removed = remove_secrets({"all.json": text({"kind": "List", "items": [SECRET, SECRET, SERVICE, *maps]})})
    assert removed == ("all.json: removed 2 Secrets and 2 ConfigMaps",)


def test_a_file_that_smells_says_why_it_is_left_out() -> None:
    kept, removed = remove_secrets({"a.yaml": SPELLINGS["yaml with anchors"][1]})
    assert kept == {}
    assert removed == (
        "a.yaml: left out, it may hold a Secret or ConfigMap and cannot be parsed (a.yaml:2: not usable YAML: anchors are refused, as aliases are)",
    )


@pytest.mark.parametrize("name", sorted(p.name for p in DEMO.iterdir() if p.is_dir()) if DEMO.is_dir() else [])
def test_a_recording_stays_byte_for_byte(name: str) -> None:
    root = DEMO / name
    files = {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}
    assert remove_secrets(files) == (files, ())


@given(st.binary(max_size=200), st.sampled_from(["a.json", "a.yaml", "a.txt", "nodes/n/iptables-save.txt"]))
def test_any_bytes_are_handled(content: bytes, path: str) -> None:
    kept, removed = remove_secrets({path: b"kind: Secret\n" + content})
    assert bool(kept) or bool(removed)


@given(
    st.recursive(
        st.just(SECRET),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["items", "a", "kind "]), inner, max_size=2),
    )
)
def test_no_depth_hides_one(value: Any) -> None:
    kept, _ = remove_secrets({"a.json": text(value)})
    assert VALUE.encode() not in b"".join(kept.values())


def test_the_value_of_these_tests_is_a_secret() -> None:
    assert base64.b64decode(VALUE) == b"secret-password"

"""Manifests alone are drawn out as a sketch; whatever a cluster wrote into is never one."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from tests.made_manifests import SHOP, Json, pod, service, workload
from tracer.errors import ParseError
from tracer.limits import SKETCH_BYTES
from tracer.snapshot import Snapshot
from tracer.snapshot.form import Form, form_of
from tracer.snapshot.layout import recognise
from tracer.snapshot.redact import Redaction
from tracer.snapshot.sketched import sketched_files

_UID = {"metadata": {"name": "n", "uid": "u-1"}}


def _files(*values: Json, **others: bytes) -> dict[str, bytes]:
    return {"a.yaml": "---\n".join(yaml.safe_dump(value) for value in values).encode(), **others}


def _made(*values: Json, **others: bytes) -> Any:
    return sketched_files(Snapshot.from_files(_files(*values, **others)), 3)


@pytest.mark.parametrize(
    ("values", "is_one"),
    [
        ([service()], True),
        ([workload()], True),
        ([service(clusterIP="10.96.0.50"), workload()], True),
        ([service(clusterIP="10.96.0.50"), service("b"), workload("StatefulSet")], True),
        ([service(), pod()], True),
        ([service(clusterIP="None"), workload()], True),
        ([service() | {"status": {"loadBalancer": {}}}], True),
        ([service(clusterIP="10.96.0.50")], False),
        ([service(clusterIP="10.96.0.50"), pod()], False),
        ([service(clusterIP="10.96.0.50"), service("b")], False),
        ([service(), {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}], False),
        ([service(), pod() | {"status": {"podIP": "10.244.0.9"}}], False),
        ([service(), workload() | {"status": {"replicas": 1}}], False),
        ([service() | _UID, workload()], False),
        ([service(), workload() | _UID], False),
        ([pod()], False),
        ([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}], False),
    ],
)  # fmt: skip
def test_what_is_a_sketch(values: list[Json], is_one: bool) -> None:
    snapshot = Snapshot.from_files(_files(*values))
    assert (form_of(snapshot) is Form.MANIFESTS) is is_one
    assert (sketched_files(snapshot, 3) is not None) is is_one


@pytest.mark.parametrize(
    "others",
    [
        {"nodes/n/iptables-save.txt": b"*nat\nCOMMIT\n"},
        {"nodes/n/pods/a_b/iptables-save.txt": b"*nat\nCOMMIT\n"},
        {"b.json": json.dumps(service("other") | _UID).encode()},
        {"b.yaml": b"apiVersion: v1\nkind: Service\nmetadata:\n  name: " + b"x" * SKETCH_BYTES},
    ],
)
def test_beside_anything_else_manifests_are_none(others: dict[str, bytes]) -> None:
    assert _made(service(), **others) is None


def test_its_files_are_a_snapshot_that_says_it_is_a_sketch() -> None:
    files = _made(*yaml.safe_load_all(SHOP.read_text()))
    assert set(files) == {
        "snapshot.json", "nodes.json", "namespaces.json", "services.json", "endpointslices.json", "pods.json", "networkpolicies.json",
        "configmaps.json",
    }  # fmt: skip
    assert not recognise(files).unknown
    made = Snapshot.from_files(files)
    assert made.sketched is not None
    assert made.sketched[:2] == ("Made of a.yaml.", made.sketched[1])
    assert made.sketched[1].startswith("Made up: 3 nodes in 2 zones, 13 pods")
    assert form_of(made) is Form.RECORDED  # it has Nodes: it is not drawn out once more
    assert sketched_files(made, 3) is None
    assert not made.objects.faults and made.objects.check_all()["Pod"] == 13 and not made.objects.faults


def test_a_recording_is_no_sketch() -> None:
    assert Snapshot.from_files({"snapshot.json": b'{"collector": "x"}'}).sketched is None
    assert Snapshot.from_files({"snapshot.json": b'{"sketched": "yes"}'}).sketched is None
    assert Snapshot.from_files({"services.json": b"{}"}).sketched is None


def test_what_is_stored_of_a_sketch_is_all_of_it() -> None:
    files = _made(*yaml.safe_load_all(SHOP.read_text()))
    redaction = Redaction(list(files))
    stored = {name: redaction.stored(name, content) for name, content in files.items()}
    assert {name: one.content for name, one in stored.items()} == dict(files)
    assert not [one for stored_one in stored.values() for one in stored_one.said]


def test_every_mistake_of_every_file_with_its_line() -> None:
    text = SHOP.read_text().replace("port: 80\n", "port: 80800\n", 1).replace("nodePort: 30080", "nodePort: 80", 1)
    with pytest.raises(ParseError) as refused:
        sketched_files(Snapshot.from_files({"shop.yaml": text.replace("serviceName: db", "servicename: db").encode()}), 3)
    assert [str(fault) for fault in refused.value.faults] == [
        "shop.yaml:30: Service shop/web: spec.ports[0].port: 80800 is no port: ports are 1 to 65535.",
        "shop.yaml:42: Service shop/web-nodeport: spec.ports[0].nodePort: 80 is not from 30000 to 32767, as node ports are.",
        "shop.yaml:106: StatefulSet shop/db: spec.servicename: there is no field of this name. Did you mean serviceName?",
    ]


def test_what_cannot_be_read_is_told_with_the_mistakes_and_quotes_nothing() -> None:
    files = _files(service("Web"), **{"b.yaml": b"apiVersion: v1\nkind: Secret\nstringData: {a: hunter2\n"})
    with pytest.raises(ParseError) as refused:
        sketched_files(Snapshot.from_files(files), 3)
    said = [str(fault) for fault in refused.value.faults]
    assert len(said) == 2 and said[0].startswith("b.yaml:") and said[1].startswith("a.yaml:1: Service default/Web")
    assert "hunter2" not in "\n".join(said)


def test_a_template_beside_manifests_is_a_mistake() -> None:
    template = b"apiVersion: v1\nkind: Service\nmetadata:\n  name: {{ .Release.Name }}\n"
    with pytest.raises(ParseError, match="a template"):
        _made(service(), **{"t.yaml": template})


def test_a_mistake_names_the_file_that_was_handed_in() -> None:
    with pytest.raises(ParseError, match=r"^my\.yml:1: Service"):
        sketched_files(Snapshot.from_files(_files(service("Web"))), 3, {"a.yaml": "my.yml"})


@pytest.mark.parametrize("text", [b"a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n", b"[" * 200, b"\xff\xfe", b""])
def test_text_that_is_none_is_left_alone_or_a_fault(text: bytes) -> None:
    assert sketched_files(Snapshot.from_files({"a.yaml": text}), 3) is None


def test_a_bomb_beside_manifests_is_refused() -> None:
    levels = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10) if n else 'x'}]\n" for n in range(9))
    bomb = f"apiVersion: v1\nkind: ConfigMap\n{levels}".encode()
    with pytest.raises(ParseError, match="aliases stand for more than"):
        _made(service(), **{"b.yaml": bomb})

"""A snapshot's files, texts and objects, whatever they came in."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.errors import ParseError, TracerError
from tracer.kube import object_file
from tracer.kube.item_spans import Spans, find_spans
from tracer.kube.object_file import Aspect
from tracer.snapshot import Snapshot, yaml_stream
from tracer.snapshot.summary import summarise
from tracer.snapshot.text_lines import TextLines

DEMO = Path(__file__).resolve().parents[3] / "demo"


def obj(kind: str, name: str, namespace: str | None = "default", **more: Any) -> dict[str, Any]:
    metadata = {"name": name} if namespace is None else {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **more}


OBJECTS = [
    obj("Service", "api", spec={"clusterIP": "10.96.0.1"}),
    obj("Service", "web", "production", spec={"clusterIP": "10.96.0.2"}),
    obj("Pod", "api-1", spec={"nodeName": "n1"}, status={"podIP": "10.244.0.2"}),
    obj("Node", "n1", None, status={"addresses": [{"type": "InternalIP", "address": "172.18.0.2"}]}),
]
YAML = """apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Service
  metadata: {name: api, namespace: default}
  spec:
    clusterIP: 10.96.0.1
- {apiVersion: v1, kind: Service, metadata: {name: web, namespace: production}, spec: {clusterIP: 10.96.0.2}}
---
kind: Pod
metadata: {name: api-1, namespace: default}
spec: {nodeName: n1}
status: {podIP: 10.244.0.2}
---
kind: NodeList
items:
- metadata: {name: n1}
  status: {addresses: [{type: InternalIP, address: 172.18.0.2}]}
"""


def as_list(*objects: Any) -> bytes:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}, indent=4).encode()


def as_typed(kind: str, *objects: Any) -> bytes:
    items = [{k: v for k, v in o.items() if k not in ("kind", "apiVersion")} for o in objects]
    return json.dumps({"kind": f"{kind}List", "apiVersion": "v1", "metadata": {}, "items": items}).encode()


SHAPES: dict[str, dict[str, bytes]] = {
    "documented": {"services.json": as_list(*OBJECTS[:2]), "pods.json": as_list(OBJECTS[2]), "nodes.json": as_list(OBJECTS[3])},
    "one list": {"cluster.json": as_list(*OBJECTS)},
    "compact": {"cluster.json": json.dumps({"items": OBJECTS, "kind": "List"}, separators=(",", ":")).encode()},
    "one after the other": {"cluster.json": b"\n".join(json.dumps(o, indent=2).encode() for o in OBJECTS)},
    "single objects": {f"{o['kind']}-{o['metadata']['name']}.json": json.dumps(o).encode() for o in OBJECTS},
    "typed lists": {
        "services.json": as_typed("Service", *OBJECTS[:2]),
        "pods.json": as_typed("Pod", OBJECTS[2]),
        "nodes.json": as_typed("Node", OBJECTS[3]),
    },
    "yaml": {"cluster.yaml": YAML.encode()},
    "yaml in braces": {"cluster.yaml": b"{kind: List, items: [" + b", ".join(json.dumps(o).encode() for o in OBJECTS) + b"]} # YAML\n"},
    "json called yaml": {"cluster.yaml": as_list(*OBJECTS)},
    "utf-16 from a Windows shell": {
        "cluster.json": json.dumps({"kind": "List", "items": OBJECTS}, indent=4).replace("\n", "\r\n").encode("utf-16")
    },
    "cluster-info dump": {
        "nodes.json": as_typed("Node", OBJECTS[3]),
        "default/services.json": as_typed("Service", OBJECTS[0]),
        "default/pods.json": as_typed("Pod", OBJECTS[2]),
        "production/services.json": as_typed("Service", OBJECTS[1]),
        "default/api-1/logs.txt": b"==== START logs\n",
    },
    "support bundle": {
        "cluster-resources/services/default.json": as_typed("Service", OBJECTS[0]),
        "cluster-resources/services/production.json": json.dumps([{k: v for k, v in OBJECTS[1].items() if k != "kind"}]).encode(),
        "cluster-resources/pods/default.json": as_typed("Pod", OBJECTS[2]),
        "cluster-resources/nodes.json": as_typed("Node", OBJECTS[3]),
    },
    "must-gather": {
        "quay-io/namespaces/default/core/services.yaml": YAML.partition("---")[0].encode(),
        "quay-io/namespaces/default/pods/api-1/api-1.yaml": json.dumps(OBJECTS[2]).encode(),
        "quay-io/cluster-scoped-resources/core/nodes/n1.yaml": b"---\n" + YAML.split("---\n")[2].encode(),
    },
    "cilium sysdump": {
        "k8s-services-20260101-120000.yaml": YAML.partition("---")[0].encode(),
        "k8s-pods-20260101-120000.yaml": YAML.split("---\n")[1].encode(),
        "k8s-nodes-20260101-120000.yaml": YAML.split("---\n")[2].encode(),
    },
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_says_the_same(shape: str) -> None:
    snapshot = Snapshot.from_files(SHAPES[shape])
    objects = snapshot.objects
    assert sorted((s.namespace, s.name, str(s.cluster_ips[0])) for s in objects.services) == [
        ("default", "api", "10.96.0.1"),
        ("production", "web", "10.96.0.2"),
    ]
    pod = objects.pod("default", "api-1")
    assert pod is not None
    assert (pod.node_name, str(pod.ips[0])) == ("n1", "10.244.0.2")
    assert snapshot.node_names == ("n1",)
    assert objects.faults == ()


def test_nodes_have_objects_or_files_or_both() -> None:
    files = {"nodes.json": as_list(OBJECTS[3]), "nodes/n2/iptables-save.txt": b"*nat\nCOMMIT\n", "nodes/n2/ip-rule.json": b"[]"}
    snapshot = Snapshot.from_files(files)
    assert snapshot.node_names == ("n1", "n2")
    assert snapshot.node_file("n2", "iptables-save.txt") == "*nat\nCOMMIT\n"
    assert snapshot.node_file("n1", "iptables-save.txt") is None
    assert snapshot.node_json("n2", "ip-rule.json") == []
    assert snapshot.path_of("n1", "iptables-save.txt") == "nodes/n1/iptables-save.txt"
    assert list(snapshot.lines("nodes/n2/iptables-save.txt")) == ["*nat", "COMMIT"]


def test_a_sysdumps_rules_go_to_the_agents_node() -> None:
    agent = obj("Pod", "cilium-7xk2p", "kube-system", spec={"nodeName": "worker-1"})
    path = "cilium-bugtool-cilium-7xk2p-20260101-120000/cmd/iptables-save--c.md"
    dump = b"# iptables-save -c\n\n```\n*nat\nCOMMIT\n```\n"
    snapshot = Snapshot.from_files({path: dump, "k8s-pods-20260101-120000.yaml": as_list(agent)})
    assert snapshot.node_names == ("worker-1",)
    assert snapshot.path_of("worker-1", "iptables-save.txt") == path
    assert snapshot.node_file("worker-1", "iptables-save.txt") == "\n\n\n*nat\nCOMMIT\n"
    assert snapshot.lines(path)[3] == "*nat"


class Counting(Mapping[str, bytes]):
    """Files that note which were read."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files, self.read = files, list[str]()

    def __getitem__(self, name: str) -> bytes:
        self.read.append(name)
        return self.files[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)


def test_nothing_is_read_before_it_is_asked() -> None:
    files = Counting({**SHAPES["documented"], "nodes/n1/iptables-save.txt": b"x" * 9, "nodes/n1/ip-rule.json": b"[]"})
    snapshot = Snapshot.from_files(files)
    assert files.read == []
    for _ in range(3):
        snapshot.node_file("n1", "iptables-save.txt")
    assert files.read == ["nodes/n1/iptables-save.txt"]


def test_bytes_that_are_no_text_say_where() -> None:
    snapshot = Snapshot.from_files({"nodes/n1/iptables-save.txt": b"*nat\n-A X \xff\xfe\nCOMMIT\n"})
    with pytest.raises(ParseError) as caught:
        snapshot.node_file("n1", "iptables-save.txt")
    assert str(caught.value).splitlines() == [
        "nodes/n1/iptables-save.txt:2: byte 0xff at offset 10 is not UTF-8 text",
        "    -A X ��",
        "         ^",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1,\n {]", "nodes/n/ip-addr.json:2: not JSON: Expecting property name enclosed in double quotes\n     {]\n      ^"),
        ("[NaN]", "nodes/n/ip-addr.json:1: not usable JSON: NaN is not JSON"),
        ("[" * 100_000, "nodes/n/ip-addr.json:1: not usable JSON: nested more than 100 deep"),
        ("[1" + "0" * 5000 + "]", "nodes/n/ip-addr.json:1: not usable JSON: a number of 5001 digits"),
        ("", "nodes/n/ip-addr.json:1: not JSON: Expecting value"),
    ],
)
def test_json_that_is_none_says_where(text: str, message: str) -> None:
    snapshot = Snapshot.from_files({"nodes/n/ip-addr.json": text.encode()})
    with pytest.raises(ParseError) as caught:
        snapshot.node_json("n", "ip-addr.json")
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("bad", ["services.json", "services.yaml"])
def test_one_broken_file_leaves_the_rest(bad: str) -> None:
    files = {bad: b"{[" if bad.endswith("json") else b"a: [", "pods.json": as_list(OBJECTS[2])}
    objects = Snapshot.from_files(files).objects
    assert [p.name for p in objects.pods] == ["api-1"]
    assert objects.services == ()
    assert [(f.file, f.line) for f in objects.faults] == [(bad, 1)]


@pytest.mark.parametrize(("text", "lines"), [("", []), ("a", ["a"]), ("a\n", ["a"]), ("a\r\nb\n\n", ["a", "b", ""]), ("\n", [""])])
def test_lines(text: str, lines: list[str]) -> None:
    found = TextLines(text)
    assert (list(found), len(found), found[:]) == (lines, len(lines), lines)


@given(st.text("ab\n\r", max_size=30), st.integers(-5, 5), st.integers(-5, 5))
def test_lines_are_those_of_split(text: str, start: int, end: int) -> None:
    expected = [line.removesuffix("\r") for line in (text[:-1] if text.endswith("\n") else text).split("\n")] if text else []
    found = TextLines(text)
    assert list(found) == expected
    assert found[start:end] == expected[start:end]
    if expected:
        assert found[-1] == expected[-1]
    with pytest.raises(IndexError):
        found[len(expected)]


@given(st.sampled_from(sorted(SHAPES)), st.data())
def test_mutated_files_raise_only_what_is_meant(shape: str, data: st.DataObject) -> None:
    files = dict(SHAPES[shape])
    name = data.draw(st.sampled_from(sorted(files)))
    content = bytearray(files[name])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content)))
        content[at : at + data.draw(st.integers(0, 4))] = data.draw(
            st.binary(max_size=2) | st.sampled_from([b"{", b"]", b": ", b"&a ", b"\n- "])
        )
    files[name] = bytes(content)
    try:
        summarise(Snapshot.from_files(files))
    except TracerError as error:
        assert str(error)


@pytest.mark.parametrize("indent", [None, 1])
def test_a_file_is_searched_for_its_objects_once(monkeypatch: pytest.MonkeyPatch, indent: int | None) -> None:
    """Every look-up rests on where the objects are, and finding that takes a walk through megabytes."""
    searched: list[str] = []

    def counted(data: bytes, file: str) -> Spans:
        searched.append(file)
        return find_spans(data, file)

    for module in (object_file, yaml_stream):
        monkeypatch.setattr(module, "find_spans", counted)
    items = [{"kind": "Service", "metadata": {"name": name, "namespace": "default"}, "spec": {}} for name in ("a", "b")]
    content = json.dumps({"kind": "List", "items": items}, indent=indent).encode()
    snapshot = Snapshot.from_files({"services.json": content})
    assert [s.name for s in snapshot.objects.services] == ["a", "b"]
    assert snapshot.objects.service("default", "b") is not None
    assert searched == ["services.json"]


def test_few_objects_in_a_file_of_another_kind_are_found_without_an_index() -> None:
    """An EndpointSlice names the pods behind it, so its file may hold pods: what is asked of pods makes no index of all its addresses."""
    endpoint = {"addresses": ["10.244.0.9"], "targetRef": {"kind": "Pod", "name": "web-1", "namespace": "default"}}
    slices = [obj("EndpointSlice", f"web-{n}", addressType="IPv4", endpoints=[endpoint] if n < 3 else [], ports=[]) for n in range(200)]
    strayed = obj("Pod", "strayed", spec={"nodeName": "n2"}, status={"podIP": "10.244.0.3", "podIPs": [{"ip": "10.244.0.3"}]})
    pods = [obj("Pod", "web-1", spec={"nodeName": "n1"}, status={"podIP": "10.244.0.9", "podIPs": [{"ip": "10.244.0.9"}]})]
    files = {"endpointslices.json": {"kind": "List", "items": [*slices, strayed]}, "pods.json": {"kind": "List", "items": pods}}
    snapshot = Snapshot.from_files({name: json.dumps(value).encode() for name, value in files.items()})
    for name, address in (("strayed", "10.244.0.3"), ("web-1", "10.244.0.9")):
        found = snapshot.objects.pod("default", name)
        assert found is not None and [str(one) for one in found.ips] == [address]
        assert [p.name for p in snapshot.objects.pods_with_ip(ip_address(address))] == [name]
    made = next(file for file in snapshot.objects._files if file.path == "endpointslices.json")
    assert set(made._indexes) == {Aspect.KIND}
    assert made._searches.get(Aspect.NAME) is None

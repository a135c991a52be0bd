"""Looking objects up: the indexes give what reading everything gives, however the text is written."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tracer.errors import TracerError
from tracer.kube.endpointslice import EndpointSlice, slices_from_endpoints
from tracer.kube.kinds import BY_NAME
from tracer.kube.node import Node
from tracer.kube.object_file import ObjectFile
from tracer.kube.objects import Objects
from tracer.kube.pod import Pod
from tracer.kube.service import AddressOf, Service
from tracer.packet import Protocol

DEMO = Path(__file__).resolve().parents[3] / "demo"

ADDRESSES = ("10.96.0.1", "10.96.0.10", "10.9.0.1", "fd00::1", "FD00::1", "fd00:0::1", "fd00::10", "::ffff:10.0.0.1", "192.0.2.7")
NAMES = ("api", "api-v2", "a", "dns", "svc-é", 'qu"ote', "back\\slash")
NAMESPACES = ("default", "api")


class Plain:
    """The reference: every object decoded and read, every look-up a walk over all of them."""

    def __init__(self, values: Iterable[dict[str, Any]]) -> None:
        self.services: dict[tuple[str, str], Service] = {}
        self.slices: dict[tuple[str, str], EndpointSlice] = {}
        self.legacy: dict[tuple[str, str], EndpointSlice] = {}
        self.pods: dict[tuple[str, str], Pod] = {}
        self.nodes: dict[tuple[str, str], Node] = {}
        for value in values:
            self._take(value, value.get("kind"))

    def _take(self, value: dict[str, Any], kind: str | None) -> None:
        if kind is not None and kind.endswith("List"):
            for item in value["items"]:
                self._take(item, item.get("kind", kind[:-4]))
        elif kind == "Service":
            service = Service.from_dict(value)
            self.services.setdefault(service.key, service)
        elif kind == "EndpointSlice":
            found = EndpointSlice.from_dict(value)
            self.slices.setdefault(found.key, found)
        elif kind == "Endpoints":
            for legacy in slices_from_endpoints(value):
                self.legacy.setdefault(legacy.key, legacy)
        elif kind == "Pod":
            pod = Pod.from_dict(value)
            self.pods.setdefault(pod.key, pod)
        elif kind == "Node":
            node = Node.from_dict(value)
            self.nodes.setdefault(node.key, node)

    def in_use(self) -> Iterable[EndpointSlice]:
        return (self.slices or self.legacy).values()


def metadata(draw: Any, *, namespaced: bool = True) -> dict[str, Any]:
    out: dict[str, Any] = {"name": draw(st.sampled_from(NAMES))}
    if namespaced:
        out["namespace"] = draw(st.sampled_from(NAMESPACES))
    if draw(st.booleans()):
        # What looks like another object's fields, as annotations and managed fields really do.
        out["annotations"] = {
            "last-applied": json.dumps({"kind": "Service", "spec": {"clusterIP": draw(st.sampled_from(ADDRESSES))}}),
            "address": draw(st.sampled_from(ADDRESSES)),
            "braces": draw(st.sampled_from(["{", "}", "} ,{", "\n  },\n  {\n", "a } b"])),
        }
    return out


@st.composite
def services(draw: Any) -> dict[str, Any]:
    addresses = draw(st.lists(st.sampled_from(ADDRESSES), max_size=2))
    port = {"name": draw(st.sampled_from(NAMES)), "port": 80, "nodePort": draw(st.sampled_from([None, 30000, 30001]))}
    return {
        "kind": "Service",
        "metadata": metadata(draw),
        "spec": {
            "clusterIPs": addresses,
            "externalIPs": draw(st.lists(st.sampled_from(ADDRESSES), max_size=1)),
            "ports": [port],
            "nested": {"kind": "Service", "metadata": {"name": "api", "namespace": "default"}, "spec": {"clusterIP": "10.9.0.1"}},
        },
        "status": {"loadBalancer": {"ingress": [{"ip": a} for a in draw(st.lists(st.sampled_from(ADDRESSES), max_size=1))]}},
    }


@st.composite
def slices(draw: Any) -> dict[str, Any]:
    value: dict[str, Any] = {"kind": "EndpointSlice", "metadata": metadata(draw), "addressType": "IPv4"}
    value["metadata"]["labels"] = {"kubernetes.io/service-name": draw(st.sampled_from(NAMES))}
    value["endpoints"] = [
        {"addresses": [a], "targetRef": {"kind": "Pod", "name": "api"}} for a in draw(st.lists(st.sampled_from(ADDRESSES), max_size=2))
    ]
    return value


@st.composite
def endpoints(draw: Any) -> dict[str, Any]:
    subset = {"addresses": [{"ip": a} for a in draw(st.lists(st.sampled_from(ADDRESSES), max_size=2))], "ports": [{"port": 80}]}
    return {"kind": "Endpoints", "metadata": metadata(draw), "subsets": [subset]}


@st.composite
def pods(draw: Any) -> dict[str, Any]:
    ips = [{"ip": a} for a in draw(st.lists(st.sampled_from(ADDRESSES), max_size=2))]
    status = {"podIPs": ips, "phase": draw(st.sampled_from(["Running", "Succeeded"]))}
    return {"kind": "Pod", "metadata": metadata(draw), "spec": {"hostNetwork": draw(st.booleans())}, "status": status}


@st.composite
def nodes(draw: Any) -> dict[str, Any]:
    addresses = [{"type": "InternalIP", "address": a} for a in draw(st.lists(st.sampled_from(ADDRESSES), max_size=2))]
    return {"kind": "Node", "metadata": metadata(draw, namespaced=False), "status": {"addresses": addresses}}


def written(value: Any, rng: random.Random, style: str, depth: int = 0) -> str:
    """Return *value* as JSON in some style: pretty, tabs, compact, CRLF, or any white space between any tokens; characters escaped at random."""
    newline = {"pretty": "\n" + "  " * (depth + 1), "tabs": "\n" + "\t" * (depth + 1), "crlf": "\r\n" + " " * (depth + 1), "compact": ""}

    def space() -> str:
        return rng.choice(["", "", " ", "\n", "\n  ", "\n    ", "\t", "\r\n"]) if style == "odd" else newline[style]

    def end() -> str:
        return space() if style == "odd" else newline[style].removesuffix({"pretty": "  ", "tabs": "\t", "crlf": " ", "compact": ""}[style])

    if isinstance(value, dict) and value:
        items = list(value.items())
        rng.shuffle(items)
        colon = ":" if style == "compact" else rng.choice([": ", ":"]) if style == "odd" else ": "
        body = ",".join(f"{space()}{written(k, rng, style)}{colon}{written(v, rng, style, depth + 1)}" for k, v in items)
        return "{" + body + end() + "}"
    if isinstance(value, list) and value:
        return "[" + ",".join(space() + written(v, rng, style, depth + 1) for v in value) + end() + "]"
    if isinstance(value, str):
        return '"' + "".join(_character(c, rng) for c in value) + '"'
    return json.dumps(value)


def _character(character: str, rng: random.Random) -> str:
    if rng.random() < 0.004:
        return f"\\u{ord(character):04{rng.choice('xX')}}"
    if character == "/" and rng.random() < 0.05:
        return "\\/"
    return json.dumps(character, ensure_ascii=rng.random() < 0.5)[1:-1]


@st.composite
def texts(draw: Any) -> tuple[bytes, list[dict[str, Any]]]:
    """Return a file of objects and what it says."""
    kinds = draw(st.sampled_from(["mixed", "typed", "array", "values", "nested"]))
    one = services() | slices() | endpoints() | pods() | nodes()
    values = draw(st.lists(services() if kinds == "typed" else one, max_size=6))
    rng = random.Random(draw(st.integers(0, 2**32)))
    style = draw(st.sampled_from(["pretty", "pretty", "tabs", "crlf", "compact", "odd"]))
    if kinds == "typed":
        bare = [{k: v for k, v in value.items() if k != "kind"} for value in values]
        wrapped: list[Any] = [{"kind": "ServiceList", "apiVersion": "v1", "metadata": {"resourceVersion": ""}, "items": bare}]
    elif kinds == "array":
        wrapped = [values]
    elif kinds == "values":
        wrapped = list(values)
    elif kinds == "nested":
        wrapped = [{"kind": "List", "items": [*values[:3], {"kind": "List", "items": values[3:]}]}]
    else:
        wrapped = [{"apiVersion": "v1", "kind": "List", "items": values}]
    return "\n".join(written(w, rng, style) for w in wrapped).encode(), values


def same(indexed: Iterable[Any], plain: Iterable[Any]) -> bool:
    return list(indexed) == list(plain)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(texts())
def test_looking_up_gives_what_reading_everything_gives(made: tuple[bytes, list[dict[str, Any]]]) -> None:
    data, values = made
    if not data.strip():
        return
    indexed, plain = Objects([ObjectFile("f.json", lambda: data)]), Plain(values)
    for text in ADDRESSES:
        address = ip_address(text)
        assert same(
            indexed.services_with_address(address),
            [(s, w) for s in plain.services.values() for w in dict.fromkeys(w for a, w in s.addresses if a == address)],
        )
        assert same(
            indexed.endpoints_with_address(address), [(s, e) for s in plain.in_use() for e in s.endpoints if address in e.addresses]
        )
        assert same(indexed.pods_with_ip(address), [p for p in plain.pods.values() if not p.has_ended and address in p.ips])
        assert (indexed.node_with_ip(address) is not None) == any(address in n.ips for n in plain.nodes.values())
    for name in NAMES:
        for namespace in NAMESPACES:
            assert indexed.service(namespace, name) == plain.services.get((namespace, name))
            assert indexed.pod(namespace, name) == plain.pods.get((namespace, name))
            assert same(indexed.slices_of(namespace, name), [s for s in plain.in_use() if (s.namespace, s.service) == (namespace, name)])
        assert indexed.node(name) == plain.nodes.get(("", name))
    for port in (30000, 30001):
        expected = [(s, p) for s in plain.services.values() for p in s.ports if p.node_port == port]
        assert same(indexed.services_with_node_port(port, Protocol.TCP), expected)
    assert indexed.services == tuple(plain.services.values())
    assert indexed.slices == tuple(plain.in_use())
    assert indexed.pods == tuple(plain.pods.values())
    assert indexed.host_network_pods == tuple(p for p in plain.pods.values() if p.host_network and not p.has_ended)
    assert indexed.nodes == tuple(plain.nodes.values())
    assert indexed.faults == ()


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(texts(), st.data())
def test_mutated_text_raises_only_what_is_meant(made: tuple[bytes, list[dict[str, Any]]], data: st.DataObject) -> None:
    text = bytearray(made[0])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        text[at : at + data.draw(st.integers(0, 3))] = data.draw(
            st.binary(max_size=3) | st.sampled_from([b"{", b"}", b'"', b"[", b"NaN", b"\\u"])
        )
    objects = Objects([ObjectFile("f.json", lambda: bytes(text))])
    objects.check_all()
    for address in ADDRESSES:
        objects.services_with_address(ip_address(address))
        objects.endpoints_with_address(ip_address(address))
    assert all(f.file == "f.json" and f.line is not None for f in objects.faults), objects.faults
    try:
        objects.near_names("service", "api")
    except TracerError:  # pragma: no cover - look-ups never raise
        pytest.fail("a look-up raised")


def make(*values: Any, path: str = "cluster.json") -> Objects:
    data = json.dumps({"kind": "List", "items": list(values)}, indent=1).encode()
    return Objects([ObjectFile(path, lambda: data)])


def service(name: str, **spec: Any) -> dict[str, Any]:
    return {"kind": "Service", "metadata": {"namespace": "default", "name": name}, "spec": spec}


def test_a_service_is_found_by_each_of_its_addresses() -> None:
    value = service("api", clusterIPs=["10.96.0.1", "fd00::1"], externalIPs=["192.0.2.1"], type="LoadBalancer")
    value["status"] = {"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}, {"hostname": "lb.example"}]}}
    objects = make(value)
    found = {a: [w for _, w in objects.services_with_address(ip_address(a))] for a in ("10.96.0.1", "fd00::1", "192.0.2.1", "203.0.113.1")}
    assert found == {
        "10.96.0.1": [AddressOf.CLUSTER],
        "fd00::1": [AddressOf.CLUSTER],
        "192.0.2.1": [AddressOf.EXTERNAL],
        "203.0.113.1": [AddressOf.LOAD_BALANCER],
    }
    assert objects.services_with_address(ip_address("10.96.0.2")) == ()


def test_a_malformed_object_is_left_out_and_said() -> None:
    objects = make(service("good", clusterIP="10.96.0.1"), service("bad", clusterIP="10.96.0.2", ports=[{"port": "eighty"}]))
    assert [s.name for s in objects.services] == ["good"]
    assert objects.services_with_address(ip_address("10.96.0.2")) == ()
    (fault,) = objects.faults
    assert str(fault) == "cluster.json:14: Service default/bad: spec.ports[0].port: is a string, not a whole number"


def test_a_truncated_file_keeps_what_came_before() -> None:
    data = json.dumps({"kind": "List", "items": [service("one", clusterIP="10.96.0.1"), service("two")]}, indent=1).encode()[:-40]
    objects = Objects([ObjectFile("services.json", lambda: data)])
    assert [s.name for s in objects.services] == ["one"]
    (fault,) = objects.faults
    assert (fault.file, fault.line) == ("services.json", data.count(b"\n") + 1)


def _lists(*between: str) -> bytes:
    texts = [json.dumps({"kind": "ServiceList", "items": [service(n, clusterIP="10.96.0.1")]}, indent=4) for n in ("one", "two", "three")]
    return "".join(f"{text}\n{noise}" for text, noise in zip(texts, (*between, *[""] * 3), strict=False)).encode()


def _log(text: str, name: str = "app of pod shop/web-1") -> str:
    return f"==== START logs for container {name} ====\n{text}==== END logs for container {name} ====\n"


@pytest.mark.parametrize(
    "noise",
    [
        _log("I1120 10:00 listening {port: 8080}\n"),
        _log("no newline at the end"),
        _log(json.dumps(service("logged"))),
        _log('{\n "kind": "List",\n    "items": [\n        {\n        },\n        {\n'),
        _log("==== END logs for container other of pod shop/web-2 ====\n" + json.dumps(service("logged")) + "\n"),
        _log("") + _log("x\n", "sidecar of pod shop/web-1"),
        _log("x\r\n").replace("\n", "\r\n"),
        "Warning: v1 Endpoints is deprecated in v1.33+\n",
        "+ kubectl get endpoints -A -o json\n",
        "$ kubectl get endpoints -A -o json\n",
        "root@n1:~# kubectl get endpoints -A -o json\n",
        "[root@n1 ~]# cat b.json\n",
        "PS C:\\Users\\x> kubectl get endpoints -A -o json\n",
        "```\n\n```json\n",
        "I1120 10:00:00.123456   12 request.go:700] Waited for 1.2s due to client-side throttling\n",
        "---\n",
        ",\n",
    ],
)
def test_what_stands_between_lists_is_passed_over(noise: str) -> None:
    objects = Objects([ObjectFile("dump.json", lambda: _lists(noise, noise))])
    assert [s.name for s in objects.services] == ["one", "two", "three"]
    assert objects.faults == ()


@pytest.mark.parametrize(
    ("noise", "message"),
    [
        ("what is this?\n", "an object or an array of API objects is expected"),
        ("==== START logs for container app of pod shop/web-1 ====\n", "the log of container app of pod shop/web-1 has no end"),
    ],
)
def test_other_text_between_lists_is_a_fault_of_its_line(noise: str, message: str) -> None:
    data = _lists(noise)
    objects = Objects([ObjectFile("dump.json", lambda: data)])
    assert [s.name for s in objects.services] == ["one"]
    (fault,) = objects.faults
    assert (message in fault.message, fault.line) == (True, data[: data.index(noise.encode())].count(b"\n") + 1)


@pytest.mark.parametrize("said", ["Error from server (Forbidden): pods is forbidden", "error: the server doesn't have a resource type"])
def test_a_refusal_between_lists_is_a_fault_and_what_follows_is_read(said: str) -> None:
    data = _lists(f"{said}\n", f"{said}\n")
    objects = Objects([ObjectFile("dump.json", lambda: data)])
    assert [s.name for s in objects.services] == ["one", "two", "three"]
    lines = [n for n, line in enumerate(data.decode().split("\n"), 1) if line == said]
    assert [(f.line, said in f.message) for f in objects.faults] == [(lines[0], True), (lines[1], True)]
    # Whatever was refused may have been of any kind: whoever asks for one that is not there has to hear of it.
    others = Objects([ObjectFile("dump.json", lambda: data)])
    assert others.pods == ()
    assert len(others.faults) == 2


def test_a_typed_list_that_is_cut_keeps_its_kind() -> None:
    data = json.dumps({"kind": "ServiceList", "items": [{"metadata": {"name": "one"}}, {"metadata": {"name": "two"}}]}).encode()[:-20]
    assert Objects([ObjectFile("dump.json", lambda: data)]).check_all() == {"Service": 1}


def test_legacy_endpoints_count_only_without_slices() -> None:
    legacy = {"kind": "Endpoints", "metadata": {"namespace": "default", "name": "api"}, "subsets": [{"addresses": [{"ip": "10.0.0.1"}]}]}
    modern = {"kind": "EndpointSlice", "metadata": {"name": "x", "labels": {"kubernetes.io/service-name": "other"}}, "endpoints": []}
    alone, both = make(legacy), make(legacy, modern)
    assert [s.name for s in alone.slices_of("default", "api")] == ["api-0"]
    assert [e.addresses for _, e in alone.endpoints_with_address(ip_address("10.0.0.1"))] == [(ip_address("10.0.0.1"),)]
    assert both.slices_of("default", "api") == () == both.endpoints_with_address(ip_address("10.0.0.1"))


def test_the_first_file_counts() -> None:
    files = [
        ObjectFile(f"{n}.json", lambda ip=ip: json.dumps(service("api", clusterIP=ip)).encode())  # type: ignore[misc]
        for n, ip in (("a", "10.96.0.1"), ("b", "10.96.0.2"))
    ]
    objects = Objects(files)
    assert [str(s.cluster_ips[0]) for s in objects.services] == ["10.96.0.1"]
    assert objects.check_all() == {"Service": 1}


@pytest.mark.parametrize(
    ("kind", "text", "first"),
    [
        ("service", "default/apo", "default/api"),
        ("Service", "other/api", "default/api"),
        ("pod", "default/clinet-1", "default/client-1"),
        ("node", "shop-wroker", "shop-worker"),
        ("namespace", "defualt", "default"),
    ],
)
def test_near_names(kind: str, text: str, first: str) -> None:
    pod = {"kind": "Pod", "metadata": {"namespace": "default", "name": "client-1"}, "status": {"podIP": "10.244.1.2"}}
    waiting = {"kind": "Pod", "metadata": {"namespace": "default", "name": "clinet-1"}}
    objects = make(service("api"), service("web"), pod, waiting, {"kind": "Node", "metadata": {"name": "shop-worker"}})
    assert objects.near_names(kind, text)[0] == first


def test_other_config_maps_are_not_read() -> None:
    maps = [{"kind": "ConfigMap", "metadata": {"namespace": "kube-system", "name": n}, "data": {"k": "v"}} for n in ("coredns", "private")]
    objects = make(*maps)
    assert [c.name for c in objects.config_maps] == ["coredns"]
    assert objects.config_map("kube-system", "private") is None


RECORDINGS = sorted(p.name for p in DEMO.iterdir() if (p / "services.json").exists()) if DEMO.is_dir() else []


@pytest.mark.parametrize("name", RECORDINGS or [pytest.param("", marks=pytest.mark.skip(reason="demo/ is not there"))])
def test_a_recording_reads_the_same_both_ways(name: str) -> None:
    paths = sorted((DEMO / name).glob("*s.json"))
    values = [json.loads(p.read_bytes()) for p in paths]
    indexed, plain = Objects([ObjectFile(p.name, p.read_bytes) for p in paths]), Plain(values)
    for found in plain.services.values():
        for address, which in found.addresses:
            assert (found, which) in indexed.services_with_address(address)
        assert indexed.service(*found.key) == found
        assert indexed.slices_of(*found.key) == tuple(s for s in plain.in_use() if (s.namespace, s.service) == found.key)
    for pod in plain.pods.values():
        assert indexed.pod(*pod.key) == pod
        assert all(pod in indexed.pods_with_ip(ip) for ip in pod.owned_ips)
    for node in plain.nodes.values():
        assert all(indexed.node_with_ip(ip) == node for ip in node.ips)
    assert indexed.services == tuple(plain.services.values())
    assert indexed.faults == ()


def test_lists_decode_nothing_but_what_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    data = json.dumps({"kind": "List", "items": [service(f"s{i}", clusterIP=f"10.96.1.{i}") for i in range(200)]}, indent=1).encode()
    file = ObjectFile("services.json", lambda: data)
    decoded: list[int] = []
    plain: Callable[[int], Any] = file.objects
    monkeypatch.setattr(file, "objects", lambda item: decoded.append(item) or plain(item))
    objects = Objects([file])
    assert [s.name for s, _ in objects.services_with_address(ip_address("10.96.1.150"))] == ["s150"]
    assert objects.service("default", "s7") is not None
    assert decoded == [150, 7]


@pytest.mark.parametrize(
    ("kind", "version"),
    [
        ("Service", "serving.knative.dev/v1"),
        ("Node", "config.openshift.io/v1"),
        ("Pod", "example.com/v1"),
        ("EndpointSlice", "example.com/v1"),
        ("NetworkPolicy", "crd.projectcalico.org/v1"),
        ("ConfigMap", "example.com/v1"),
    ],
)
def test_what_another_group_calls_by_a_known_name_is_none_of_that_kind(kind: str, version: str) -> None:
    stranger = {"apiVersion": version, "kind": kind, "metadata": {"name": "coredns", "namespace": "kube-system"}, "spec": {}}
    ours = {**stranger, "apiVersion": BY_NAME[kind].api_version}
    for items, count in (([stranger], {}), ([stranger, ours], {kind: 1})):
        objects = make(*items)
        assert objects.check_all() == count | {f"{kind}.{version.partition('/')[0]}": 1}
        found = (objects.services, objects.nodes, objects.pods, objects.slices, objects.network_policies, objects.config_maps)
        assert sum(map(len, found)) == len(items) - 1
        assert objects.faults == ()


def test_of_objects_of_one_name_in_two_files_one_is_yielded() -> None:
    gateways = [
        {"apiVersion": f"{group}/v1", "kind": "Gateway", "metadata": {"name": "g", "namespace": "x"}} for group in ("a.io", "a.io", "b.io")
    ]
    nameless = ({"kind": "Gateway"}, {"kind": "Gateway"})
    found = [raw.value.get("apiVersion") for raw, _ in make(*gateways, *nameless).others("Gateway")]
    assert found == ["a.io/v1", "b.io/v1", None, None]

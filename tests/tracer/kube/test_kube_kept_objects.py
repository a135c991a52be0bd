"""Objects that change by event answer what objects answer that are read from files of the same content."""

from __future__ import annotations

import json
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import DEMO
from tests.tracer.kube.test_kube_objects import ADDRESSES, NAMES, NAMESPACES, endpoints, nodes, pods, services, slices
from tests.tracer.timeline import moments
from tracer.changes import ObjectChange
from tracer.kube import kept_objects
from tracer.kube.fields import Origin
from tracer.kube.kept_objects import KeptObjects
from tracer.kube.object_file import ObjectFile
from tracer.kube.objects import Objects
from tracer.packet import Address, Protocol

Name = tuple[str, str, str]
KINDS = ("Service", "EndpointSlice", "Endpoints", "Pod", "Node", "Namespace", "NetworkPolicy", "ConfigMap", "Ingress")


def put(kept: KeptObjects, kind: str, namespace: str, name: str, value: Any) -> None:
    kept.put(kind, namespace, name, value, origin=Origin(file=f"{kind}.json"))


def listed(values: Iterable[dict[str, Any]]) -> Objects:
    """Return objects read from files, one for each kind, in the API server's order."""
    by_kind: dict[str, list[dict[str, Any]]] = {}
    for value in sorted(values, key=lambda v: "/".join(filter(None, (v["metadata"].get("namespace"), v["metadata"]["name"])))):
        by_kind.setdefault(value["kind"], []).append(value)
    files = {kind: json.dumps({"kind": "List", "items": items}, indent=1).encode() for kind, items in by_kind.items()}
    return Objects(ObjectFile(f"{kind}.json", lambda data=data: data) for kind, data in files.items())  # type: ignore[misc]


def differences(kept: Objects, fresh: Objects, addresses: Iterable[Address], ports: Iterable[int]) -> list[str]:
    """Return every look-up that the two answer differently."""
    found = [
        what
        for what in ("services", "slices", "pods", "nodes", "namespaces", "network_policies", "config_maps", "host_network_pods")
        if getattr(kept, what) != getattr(fresh, what)
    ]
    for address in addresses:
        for look in ("services_with_address", "endpoints_with_address", "pods_with_ip", "node_with_ip"):
            found += [] if getattr(kept, look)(address) == getattr(fresh, look)(address) else [f"{look} {address}"]
    for port in ports:
        for protocol in Protocol:
            same = kept.services_with_node_port(port, protocol) == fresh.services_with_node_port(port, protocol)
            found += [] if same else [f"node port {port}/{protocol}"]
    keys = {m.key for o in (kept, fresh) for models in (o.services, o.pods, o.nodes, o.namespaces, o.config_maps) for m in models}
    for namespace, name in sorted({*keys, *((s.namespace, s.service or "") for s in fresh.slices)}):
        for look in ("service", "pod", "config_map", "slices_of"):
            same = getattr(kept, look)(namespace, name) == getattr(fresh, look)(namespace, name)
            found += [] if same else [f"{look} {namespace}/{name}"]
        found += [] if kept.node(name) == fresh.node(name) and kept.namespace(name) == fresh.namespace(name) else [f"node {name}"]
        found += [] if kept.policies_in(namespace) == fresh.policies_in(namespace) else [f"policies in {namespace}"]
    for kind in KINDS:
        same = [raw for raw, _ in kept.others(kind)] == [raw for raw, _ in fresh.others(kind)]
        found += [] if same else [f"others {kind}"]
    return found


def everything(objects: Objects) -> tuple[set[Address], set[int]]:
    """Return every address and node port that the objects mention."""
    addresses = {a for s in objects.services for a, _ in s.addresses} | {
        a for s in objects.slices for e in s.endpoints for a in e.addresses
    }
    addresses |= {a for p in objects.pods for a in p.ips} | {a for n in objects.nodes for a in n.ips}
    return addresses, {p.node_port for s in objects.services for p in s.ports if p.node_port}


def identified(value: dict[str, Any]) -> Name:
    return (value["kind"], value["metadata"].get("namespace", ""), value["metadata"]["name"])


events = st.lists(st.tuples(services() | slices() | endpoints() | pods() | nodes(), st.integers(0, 3)), max_size=14)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(events)
def test_after_any_events_it_is_as_if_read_anew(told: list[tuple[dict[str, Any], int]]) -> None:
    kept, now = KeptObjects(), {}
    addresses = [ip_address(a) for a in ADDRESSES]
    for value, gone in told:
        name = identified(value)
        # One of four is deleted instead, whether or not it was there.
        now.pop(name, None)
        if gone:
            now[name] = value
        put(kept, *name, now.get(name))
        # Asked after every event: what was worked out before must not survive.
        assert kept.services is not None and kept.slices is not None and kept.host_network_pods is not None
    fresh = listed(now.values())
    assert differences(kept, fresh, addresses, (30000, 30001)) == []
    assert [s for n in NAMESPACES for s in NAMES if kept.slices_of(n, s) != fresh.slices_of(n, s)] == []


RECORDINGS = sorted(p.name for p in DEMO.iterdir() if (p / "services.json").exists()) if DEMO.is_dir() else []


@pytest.mark.parametrize("name", RECORDINGS or [pytest.param("", marks=pytest.mark.skip(reason="demo/ is not there"))])
def test_every_recording_reads_the_same(name: str) -> None:
    values = [item for path in sorted((DEMO / name).glob("*s.json")) for item in json.loads(path.read_bytes())["items"]]
    kept, fresh = KeptObjects(), listed(values)
    for value in reversed(values):
        put(kept, *identified(value), value)
    assert differences(kept, fresh, *everything(fresh)) == []
    assert kept.check_all() == fresh.check_all()


@pytest.mark.skipif(not (DEMO / "shop-timeline").is_dir(), reason="demo/ is not there")
def test_after_every_step_of_the_timeline_it_is_as_if_read_anew() -> None:
    kept, now = KeptObjects(), {}
    steps = 0
    for moment in moments(DEMO / "shop-timeline"):
        for change in moment.changes:
            if isinstance(change, ObjectChange):
                name = (change.kind, change.namespace, change.name)
                now.pop(name, None)
                if change.after is not None:
                    now[name] = dict(change.after)
                put(kept, *name, change.after)
        fresh = listed(now.values())
        assert differences(kept, fresh, *everything(fresh)) == [], moment.title
        steps += 1
    assert steps == 12


def test_what_cannot_be_read_is_a_fault_until_it_is_gone() -> None:
    kept = KeptObjects()
    bad = {
        "kind": "Service",
        "metadata": {"namespace": "default", "name": "api"},
        "spec": {"clusterIP": "10.96.0.1", "ports": [{"port": "x"}]},
    }
    put(kept, "Service", "default", "api", bad)
    assert (kept.services, kept.check_all()) == ((), {"Service": 1})
    (fault,) = kept.faults
    assert str(fault) == "Service.json: Service default/api: spec.ports[0].port: is a string, not a whole number"
    bad["spec"]["ports"] = [{"port": 80}]  # type: ignore[index]
    put(kept, "Service", "default", "api", bad)
    assert ([s.name for s in kept.services], kept.faults) == (["api"], ())


def test_a_change_reads_one_object(monkeypatch: pytest.MonkeyPatch) -> None:
    """One event must not cost what the cluster is large."""
    kept = KeptObjects()
    for i in range(300):
        put(kept, "Service", "default", f"s{i}", {"kind": "Service", "metadata": {"namespace": "default", "name": f"s{i}"}, "spec": {}})
    read: list[object] = []
    plain = kept_objects.read_object
    monkeypatch.setattr(kept_objects, "read_object", lambda raw, origin: read.append(raw) or plain(raw, origin))
    put(
        kept,
        "Service",
        "default",
        "s7",
        {"kind": "Service", "metadata": {"namespace": "default", "name": "s7"}, "spec": {"clusterIP": "10.96.0.7"}},
    )
    assert [s.name for s, _ in kept.services_with_address(ip_address("10.96.0.7"))] == ["s7"]
    assert (len(kept.services), len(read)) == (300, 1)

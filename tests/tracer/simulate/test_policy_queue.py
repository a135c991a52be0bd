"""A queue of kindnetd or kube-network-policies is what the NetworkPolicy objects say; any other queue is unknown, and never a guess."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import PROJECT
from tracer.query import Query, parse_destination, parse_source
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster
from tracer.trace import Trace

_CASE = PROJECT / "tests" / "field_cases" / "cases" / "kindnet-queue" / "snapshot"
FILES = {str(path.relative_to(_CASE)): path.read_bytes() for path in _CASE.rglob("*") if path.is_file()}
_LISTING = FILES["nodes/n1/nft-ruleset.txt"].decode()


def _asked(files: dict[str, bytes], source: str = "pod:shop/client", to: str = "10.96.7.7:80") -> Trace:
    query = Query(source=parse_source(source), destination=parse_destination(to))
    return trace(Cluster(Snapshot.from_files(files)), query)


def _ends(found: Trace) -> set[tuple[str, str]]:
    return {(str(o.disposition), o.reason.code) for o in found.outcomes}


def _said(found: Trace) -> str:
    return " ".join([*(o.reason.text for o in found.outcomes), *(n for o in found.outcomes for h in o.hops for n in h.notes)])


def _nft(old: str, new: str) -> dict[str, bytes]:
    listing = _LISTING.replace(old, new).encode()
    assert listing != _LISTING.encode() or old == new
    return FILES | {f"nodes/{node}/nft-ruleset.txt": listing for node in ("n1", "n2")}


def _policies(*specs: dict[str, Any], kind: str = "NetworkPolicy", version: str = "networking.k8s.io/v1") -> dict[str, bytes]:
    items = [
        {"apiVersion": version, "kind": kind, "metadata": {"namespace": "shop", "name": f"p{n}"}, "spec": spec}
        for n, spec in enumerate(specs)
    ]
    listed = {"apiVersion": "v1", "kind": "List", "items": items}
    return FILES | {"networkpolicies.json" if kind == "NetworkPolicy" else "cluster.json": json.dumps(listed).encode()}


_WEB = {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"]}
_FROM_CLIENT = {"from": [{"podSelector": {}}], "ports": [{"protocol": "TCP", "port": 8080}]}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", ""),
        ("kindnet-network-policies", "kube-network-policies"),
        ("queue flags bypass to 101", "queue flags bypass,fanout to 100-103"),
        ("queue flags bypass to 101", "queue num 101 bypass"),
        ("queue flags bypass to 101", "counter packets 3 bytes 180 queue to 101"),
    ],
)
def test_without_a_policy_it_passes(old: str, new: str) -> None:
    found = _asked(_nft(old, new) if old else FILES)
    assert _ends(found) == {("delivered", "DELIVERED")}
    assert "none selects" in _said(found)


@pytest.mark.parametrize("number", [100, 101])
def test_the_same_as_nft_prints_json(number: int) -> None:
    base = {"family": "inet", "table": "kindnet-network-policies"}
    hook = {"type": "filter", "hook": "postrouting", "prio": 95, "policy": "accept"}
    queue = {"queue": {"num": number, "flags": "bypass"}}
    listing = [{"table": {"family": "inet", "name": base["table"]}}, {"chain": {**base, "name": "postrouting", **hook}}]
    listing.append({"rule": {**base, "chain": "postrouting", "expr": [queue]}})
    files = {path: raw for path, raw in FILES.items() if not path.endswith("nft-ruleset.txt")}
    files |= {f"nodes/{node}/nft-ruleset.json": json.dumps({"nftables": listing}).encode() for node in ("n1", "n2")}
    found = _asked(files)
    assert _ends(found) == {("delivered", "DELIVERED")}
    assert f"kindnetd (queue {number})" in _said(found)


def test_a_policy_that_lets_it_pass() -> None:
    found = _asked(_policies({**_WEB, "ingress": [_FROM_CLIENT]}))
    assert _ends(found) == {("delivered", "DELIVERED")}
    assert "shop/p0 lets the packet pass" in _said(found)


@pytest.mark.parametrize(
    "spec",
    [
        {**_WEB, "ingress": []},
        {**_WEB, "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "nobody"}}}]}]},
        {"podSelector": {}, "policyTypes": ["Egress"], "egress": []},
    ],
    ids=["nothing", "somebody else", "egress"],
)
def test_a_policy_that_does_not(spec: dict[str, Any]) -> None:
    found = _asked(_policies(spec))
    assert _ends(found) == {("dropped", "POLICY_QUEUE_DROP")}
    assert "NetworkPolicy shop/p0" in found.outcomes[0].reason.text
    assert "kindnetd (queue 101)" in found.outcomes[0].reason.text


def test_policies_that_were_not_recorded_are_unknown() -> None:
    files = {path: raw for path, raw in FILES.items() if path != "networkpolicies.json"}
    found = _asked(files)
    assert _ends(found) == {("unknown", "POLICY_QUEUE")}
    assert "networkpolicies.json" in found.outcomes[0].reason.text


def test_a_policy_of_another_kind_may_come_first() -> None:
    spec = {"subject": {"namespaces": {}}, "priority": 1}
    found = _asked(_policies(spec, kind="AdminNetworkPolicy", version="policy.networking.k8s.io/v1alpha1"))
    assert _ends(found) == {("unknown", "POLICY_QUEUE")}
    assert "AdminNetworkPolicy" in found.outcomes[0].reason.text


def test_a_queue_of_another_program_is_unknown_as_before() -> None:
    found = _asked(_nft("kindnet-network-policies", "suricata"))
    assert _ends(found) == {("unknown", "UNMODELLED_TARGET")}


@pytest.mark.parametrize(("pod", "ends"), [("kindnet-x7k2p", "delivered"), ("kube-network-policies-x7k2p", "delivered"), ("", "unknown")])
@pytest.mark.parametrize("option", ["--queue-num 100", "--queue-num 101"])
def test_nfqueue_of_iptables_is_theirs_where_one_of_them_runs(pod: str, ends: str, option: str) -> None:
    files = {path: raw for path, raw in FILES.items() if not path.endswith("nft-ruleset.txt")}
    for node, address in (("n1", "192.0.2.11"), ("n2", "192.0.2.12")):
        path = f"nodes/{node}/iptables-save.txt"
        files[path] = files[path].replace(
            b"-A FORWARD -m comment", f"-A FORWARD -j NFQUEUE {option} --queue-bypass\n-A FORWARD -m comment".encode(), 1
        )
        if pod:
            item = {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"namespace": "kube-system", "name": f"{pod}{node}"},
                "spec": {"nodeName": node, "hostNetwork": True},
                "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]},
            }
            listed = json.loads(files["pods.json"])
            files["pods.json"] = json.dumps({**listed, "items": [*listed["items"], item]}).encode()
    assert {disposition for disposition, _ in _ends(_asked(files))} == {ends}

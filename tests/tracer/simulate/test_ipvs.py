"""IPVS against the kernel's truth, kube-proxy's own test states, and small clusters."""

from __future__ import annotations

import functools
import gzip
import json
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from tests.tracer.simulate.truth import all_of, verdict
from tracer.ipvs.hashing import slot
from tracer.ipvs.ipvsadm_save import parse_virtual_servers
from tracer.ipvs.model import RealServer, VirtualServer
from tracer.query import FlowState, Query, parse_destination, parse_protocol, parse_source
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster
from tracer.trace import Disposition, Outcome, Trace

Json = dict[str, Any]


# -- the kernel's truth ---------------------------------------------------------------------------------------------------------------


@pytest.mark.needs_shared
@pytest.mark.usefixtures("shared")
def test_every_connection_is_predicted():
    assert verdict("shop-ipvs", "check", "shop-ipvs.connections.json.gz") == all_of(1256)


@pytest.mark.needs_shared
def test_one_order_of_the_kernels_list_explains_every_client_of_a_source_hash(shared: Path):
    """The slot is the kernel's. NB: the order is a rotation of what ipvsadm lists, reversed, and no file tells which."""
    recording = shared / "recordings/shop-ipvs-sh"
    pods = {f"{p['metadata']['namespace']}/{p['metadata']['name']}": p for p in json.loads((recording / "pods.json").read_text())["items"]}
    ips = {key.partition("/")[2]: [ip_address(i["ip"]) for i in p["status"].get("podIPs", [])] for key, p in pods.items()}
    seen: dict[tuple[str, Any], dict[int, Any]] = {}
    clients = 0
    with gzip.open(shared / "truth/shop-ipvs-sh.connections.json.gz") as file:
        records = [r for r in json.load(file)["records"] if r["source"]["kind"] == "pod"]
    for record in records:
        node = pods[f"{record['source']['namespace']}/{record['source']['name']}"]["spec"].get("nodeName")
        server = _dialled(recording, node, record)
        answered = {s["pod"] for s in record["seen"] if s["outcome"] == "connected"} & set(ips)
        if server is None or len(server.real_servers) < 2 or not answered:
            continue
        (source,) = (a for a in ips[record["source"]["name"]] if a.version == server.version)
        (pod,) = answered
        (real,) = (r for r in server.real_servers if r.address in ips[pod])
        place = slot(source) % len(server.real_servers)
        assert seen.setdefault((node, server), {}).setdefault(place, real) == real
        clients += 1
    rotations = Counter(_rotation(server.real_servers, places) for (_, server), places in seen.items())
    assert None not in rotations
    assert (clients, rotations.total(), rotations[0]) == (344, 86, 69)


def _dialled(recording: Path, node: str, record: Json) -> VirtualServer | None:
    servers = _servers(recording / f"nodes/{node}/ipvsadm-save.txt")
    wanted = (record["proto"].lower(), ip_address(record["dest"]), record["port"])
    return next((s for s in servers if s.protocol is not None and (s.protocol.value, s.address, s.port) == wanted), None)


@functools.cache
def _servers(file: Path) -> tuple[VirtualServer, ...]:
    return parse_virtual_servers(file.read_text(), file.name)[0]


def _rotation(listed: tuple[RealServer, ...], places: dict[int, RealServer]) -> int | None:
    """Return by how much the reversed list has to be turned to have each real server at its place."""
    count, reverse = len(listed), listed[::-1]
    turned = (n for n in range(count) if all(reverse[(place + n) % count] == real for place, real in places.items()))
    return next(turned, None)


# -- kube-proxy's test states ---------------------------------------------------------------------------------------------------------


def states(shared: Path) -> list[Json]:
    with gzip.open(shared / "conformance/ipvs_state.json.gz") as file:
        return list(json.load(file)["syncs"])


def listed(server: VirtualServer) -> Json:
    """A virtual server as the conformance file writes it; flags: 1 persistent, 16 source hash (2, hashed, is the kernel's own)."""
    return {
        "address": str(server.address),
        "port": server.port,
        "protocol": (server.protocol or "").upper(),
        "scheduler": server.scheduler,
        "timeout": server.persistence_timeout or 0,
        "real_servers": sorted((str(r.address), r.port, r.weight) for r in server.real_servers),
    }


def expected(server: Json) -> Json:
    reals = sorted((r["address"], r["port"], r["weight"]) for r in server.get("real_servers") or [])
    return {k: server[k] for k in ("address", "port", "protocol", "scheduler", "timeout")} | {"real_servers": reals}


@pytest.mark.needs_shared
def test_every_virtual_server(shared: Path):
    seen = 0
    for state in states(shared):
        found, faults = parse_virtual_servers(state["ipvsadm_restore"], state["id"])
        assert not faults
        assert sorted(map(listed, found), key=str) == sorted(map(expected, state["virtual_servers"]), key=str), state["id"]
        seen += len(found)
    assert seen > 100


def snapshot_of(state: Json) -> Snapshot:
    """One node that holds a state, with a route to everywhere."""
    config = state["proxier_config"]
    served = [s["address"] for s in state["virtual_servers"]]
    own = [a for a in served if a not in state["kube_ipvs0_addresses"]]
    own += ["192.0.2.1", "2001:db8:1::1", *config["node_ips"]]
    held = {"kube-ipvs0": state["kube_ipvs0_addresses"], "eth0": dict.fromkeys(own)}
    devices = [{"ifname": "lo", "flags": ["LOOPBACK", "UP"], "addr_info": [_held("127.0.0.1"), _held("::1")]}]
    devices += [{"ifname": name, "flags": ["UP"], "addr_info": [_held(a) for a in found]} for name, found in held.items()]
    routes = [
        {"type": "local", "dst": a["local"], "dev": d["ifname"], "table": "local", "scope": "host", "prefsrc": a["local"], "flags": []}
        for d in devices
        for a in d["addr_info"]
    ]
    routes += [{"dst": "default", "dev": "eth0", "prefsrc": "192.0.2.1", "flags": []}]
    routes6 = [{"dst": "default", "gateway": "fe80::1", "dev": "eth0", "flags": []}]
    node = {"kind": "Node", "apiVersion": "v1", "metadata": {"name": "n"}, "spec": {}, "status": {"addresses": []}}
    rules = {"IPv4": "iptables-save.txt", "IPv6": "ip6tables-save.txt"}
    empty = "*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n*mangle\nCOMMIT\n*raw\nCOMMIT\n"
    files: dict[str, object] = {
        "nodes.json": {"kind": "List", "apiVersion": "v1", "items": [node]},
        "services.json": {"kind": "List", "apiVersion": "v1", "items": state["services"]},
        "endpointslices.json": {"kind": "List", "apiVersion": "v1", "items": _slices(state)},
        "nodes/n/ip-addr.json": devices,
        "nodes/n/ip-route.json": [r for r in routes if ":" not in str(r["dst"])],
        "nodes/n/ip6-route.json": [*routes6, *(r for r in routes if ":" in str(r["dst"]))],
        "nodes/n/ip-rule.json": [{"priority": 0, "src": "all", "table": "local"}, {"priority": 32766, "src": "all", "table": "main"}],
    }
    texts = {
        "nodes/n/iptables-save.txt": empty,
        "nodes/n/ip6tables-save.txt": empty,
        f"nodes/n/{rules[state['ip_family']]}": state["iptables_save_loadable"],
        "nodes/n/ipset-save.txt": state["ipset_restore"],
        "nodes/n/ipvsadm-save.txt": state["ipvsadm_restore"],
        "nodes/n/kube-proxy-mode.txt": "ipvs\n",
        "nodes/n/sysctl.txt": "net.ipv4.vs.conntrack = 1\nnet.ipv4.ip_forward = 1\n",
    }
    return Snapshot.from_files({k: json.dumps(v).encode() for k, v in files.items()} | {k: v.encode() for k, v in texts.items()})


def _slices(state: Json) -> list[Json]:
    """The state's slices, and one for every other real server, so that somebody has its address."""
    reals = {r["address"] for s in state["virtual_servers"] for r in s.get("real_servers") or []}
    kinds = {4: "IPv4", 6: "IPv6"}
    return [
        {
            "kind": "EndpointSlice",
            "apiVersion": "discovery.k8s.io/v1",
            "metadata": {"name": f"s{i}", "namespace": "ns", "labels": {"kubernetes.io/service-name": "any"}},
            "addressType": kinds[ip_address(address).version],
            "endpoints": [{"addresses": [address], "conditions": {}}],
            "ports": [],
        }
        for i, address in enumerate(sorted(reals))
    ]


def _held(address: str) -> Json:
    version = ip_address(address).version
    return {"family": "inet" if version == 4 else "inet6", "local": address, "prefixlen": 32 if version == 4 else 128, "scope": "global"}


def asked(cluster: Cluster, source: str, to: str, protocol: str = "tcp", **options: Any) -> Trace:
    query = Query(source=parse_source(source), destination=parse_destination(to), protocol=parse_protocol(protocol), **options)
    return trace(cluster, query)


@pytest.mark.needs_shared
def test_traces_end_at_the_right_real_servers(shared: Path):
    traced = 0
    for state in states(shared):
        cluster = Cluster.from_snapshot(snapshot_of(state))
        for server in (s for s in state["virtual_servers"] if s["port"]):
            shown = f"[{server['address']}]" if ":" in server["address"] else server["address"]
            found = asked(cluster, "node:n", f"{shown}:{server['port']}", server["protocol"].lower())
            reals = {(r["address"], r["port"]) for r in server.get("real_servers") or [] if r["weight"]}
            if ip_address(server["address"]).is_loopback and reals:
                assert [o.reason.code for o in found.outcomes if o.reason] == ["MARTIAN_SOURCE"] * len(found.outcomes)
                continue  # the kernel lets no loopback source out: ip_vs_xmit.c, crosses_local_route_boundary
            ends = {(str(o.destination.ip), o.destination.port) for o in found.outcomes if o.destination}
            assert ends == reals, (state["id"], server["key"], [(o.disposition, o.reason) for o in found.outcomes])
            if not reals:
                assert {o.disposition for o in found.outcomes} == {Disposition.REJECTED}
            assert _probability(found.outcomes) == 1
            traced += 1
    assert traced > 80


def _probability(outcomes: tuple[Outcome, ...]) -> Fraction:
    return sum((o.probability for o in outcomes), Fraction(0))


# -- small states ---------------------------------------------------------------------------------------------------------------------


def made(saved: str, *, sysctl: str = "net.ipv4.vs.conntrack = 1\n", **texts: str) -> Cluster:
    reals = [line.split(" -r ")[1].split(" ")[0].rsplit(":", 1) for line in saved.splitlines() if " -r " in line]
    servers = [{"address": "10.0.0.1", "real_servers": [{"address": a, "port": int(p)} for a, p in reals]}]
    state = {
        "proxier_config": {"node_ips": []},
        "virtual_servers": servers,
        "kube_ipvs0_addresses": ["10.0.0.1"],
        "ip_family": "IPv4",
        "services": [],
        "iptables_save_loadable": "*filter\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -d 10.1.0.9 -j DROP\nCOMMIT\n"
        "*nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -m mark --mark 0x0 -j MASQUERADE\nCOMMIT\n*mangle\nCOMMIT\n*raw\nCOMMIT\n",
        "ipset_restore": "",
        "ipvsadm_restore": saved,
    }
    files = dict(snapshot_of(state).files)
    files["nodes/n/sysctl.txt"] = sysctl.encode()
    return Cluster.from_snapshot(Snapshot.from_files(files | {f"nodes/n/{k}": v.encode() for k, v in texts.items()}))


TWO = "-A -t 10.0.0.1:80 -s rr{}\n-a -t 10.0.0.1:80 -r 10.1.0.1:8080 -m -w 1\n-a -t 10.0.0.1:80 -r 10.1.0.2:8080 -m -w 1\n"


def steps(outcome: Outcome) -> Iterator[tuple[str, str | None, str | None]]:
    for hop in outcome.hops:
        yield from ((s.table, s.rule, s.verdict) for s in hop.steps)


def test_steps_are_ipvsadms_lines():
    found = asked(made(TWO.format("")), "node:n", "10.0.0.1:80")
    assert [o.probability for o in found.outcomes] == [Fraction(1, 2)] * 2
    lines = [s for s in steps(found.outcomes[0]) if s[0] == "ipvs"]
    assert lines == [
        ("ipvs", "-A -t 10.0.0.1:80 -s rr", "continue"),
        ("ipvs", "-a -t 10.0.0.1:80 -r 10.1.0.1:8080 -m -w 1", "dnat"),
    ]
    chosen = next(s for s in found.outcomes[0].hops[0].steps if s.verdict == "dnat")
    assert (chosen.line, chosen.chance, chosen.rewrote["destination"]) == (2, Fraction(1, 2), ("10.0.0.1", "10.1.0.1"))


def test_output_rules_see_the_real_server():
    saved = "-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 10.1.0.9:80 -m -w 1\n"
    (outcome,) = asked(made(saved), "node:n", "10.0.0.1:80").outcomes
    assert outcome.disposition is Disposition.DROPPED
    assert "-d 10.1.0.9 -j DROP" in str(outcome.reason)


def test_masquerade_needs_conntrack():
    with_it = asked(made(TWO.format("")), "node:n", "10.0.0.1:80").outcomes[0]
    assert str(with_it.source_seen and with_it.source_seen[0]) == "192.0.2.1"
    without = asked(made(TWO.format(""), sysctl="net.ipv4.vs.conntrack = 0\n"), "node:n", "10.0.0.1:80").outcomes[0]
    assert str(without.source_seen and without.source_seen[0]) == "10.0.0.1"


def test_persistence_keeps_the_second_connection():
    cluster = made(TWO.format(" -p 10800"))
    assert len(asked(cluster, "node:n", "10.0.0.1:80").outcomes) == 2
    again = asked(cluster, "node:n", "10.0.0.1:80", state=FlowState.RETURNING).outcomes
    assert [o.probability for o in again] == [Fraction(1, 2)] * 2
    notes = [note for hop in again[0].hops for note in hop.notes]
    assert any("persistence: the real server of its last connection" in note for note in notes)


RECORDED = (
    "IPVS connection entries\npro expire state       source             virtual            destination\n"
    "TCP 14:58  ESTABLISHED 10.0.0.1:40000     10.0.0.1:80        10.1.0.1:8080\n"
    "TCP 179:50 NONE        {}:0         10.0.0.1:80        10.1.0.2:8080\n"
)


@pytest.mark.parametrize(("client", "weight", "forgets", "ends"), [
    ("10.0.0.1", 1, "0", ["10.1.0.2"]),
    ("10.0.0.9", 1, "0", ["10.1.0.1", "10.1.0.2"]),  # another client's
    ("10.0.0.1", 0, "0", ["10.1.0.2"]),  # drained, and the template counts
    ("10.0.0.1", 0, "1", ["10.1.0.1"]),
])  # fmt: skip
def test_a_recorded_template_pins_its_client(client: str, weight: int, forgets: str, ends: list[str]):
    saved = TWO.format(" -p 10800").replace("10.1.0.2:8080 -m -w 1", f"10.1.0.2:8080 -m -w {weight}")
    sysctl = f"net.ipv4.vs.conntrack = 1\nnet.ipv4.vs.expire_quiescent_template = {forgets}\n"
    found = asked(made(saved, sysctl=sysctl, **{"ipvsadm-conn.txt": RECORDED.format(client)}), "node:n", "10.0.0.1:80")
    assert [str(o.destination and o.destination.ip) for o in found.outcomes] == ends
    pinned = any("recorded for 10.0.0.1, for another 10790 seconds (line 4)" in n for h in found.outcomes[0].hops for n in h.notes)
    assert pinned is (ends == ["10.1.0.2"])


def test_no_persistence_is_scheduled_anew():
    again = asked(made(TWO.format("")), "node:n", "10.0.0.1:80", state=FlowState.RETURNING).outcomes
    assert _probability(again) == 1
    assert not any("persistence" in note for o in again for hop in o.hops for note in hop.notes)


def test_drained_servers_refuse():
    (outcome,) = asked(made(TWO.format("").replace("-w 1", "-w 0")), "node:n", "10.0.0.1:80").outcomes
    assert (outcome.disposition, outcome.reject_with) == (Disposition.REJECTED, "icmp-port-unreachable")
    assert outcome.reason
    assert outcome.reason.code == "NO_REAL_SERVER"


def test_hashes_are_conditions_not_odds():
    found = asked(made(TWO.format("").replace("-s rr", "-s sh")), "node:n", "10.0.0.1:80")
    assert len(found.outcomes) == 2
    assert all("real server 10.1.0." in o.conditions[0] for o in found.outcomes)
    assert "SCHEDULER_STATE" in {u.code for u in found.unknowns}


def test_counted_connections_decide():
    listed = (
        "Prot LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n"
        "TCP  10.0.0.1:80 lc\n  -> 10.1.0.1:8080 Masq 1 9 0\n  -> 10.1.0.2:8080 Masq 1 8 0\n"
    )
    cluster = made(TWO.format("").replace("-s rr", "-s lc"), **{"ipvsadm-list.txt": listed})
    (outcome,) = asked(cluster, "node:n", "10.0.0.1:80").outcomes
    assert str(outcome.destination and outcome.destination.ip) == "10.1.0.2"


def test_direct_routing_is_unknown():
    (outcome,) = asked(made("-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 10.1.0.1:80 -g -w 1\n"), "node:n", "10.0.0.1:80").outcomes
    assert outcome.disposition is Disposition.UNKNOWN
    assert "direct routing" in str(outcome.reason)


def test_unreadable_or_missing_lines_are_unknown():
    (outcome,) = asked(made(TWO.format("") + "-A -t 10.0.0.1:80 -z 3\n"), "node:n", "10.0.0.1:80").outcomes
    assert (outcome.disposition, outcome.reason and outcome.reason.code) == (Disposition.UNKNOWN, "BAD_RULE")
    cluster = made("")
    files = {k: v for k, v in cluster.snapshot.files.items() if not k.endswith("ipvsadm-save.txt")}
    (outcome,) = asked(Cluster.from_snapshot(Snapshot.from_files(files)), "node:n", "10.0.0.1:80").outcomes
    assert (outcome.disposition, outcome.reason and outcome.reason.code) == (Disposition.UNKNOWN, "NO_RULES")


ASKS = "*nat\n:PREROUTING ACCEPT [0:0]\n:KUBE-SERVICES - [0:0]\n-A KUBE-SERVICES -m set --match-set KUBE-CLUSTER-IP dst,dst -j ACCEPT\nCOMMIT\n"


@pytest.mark.parametrize(
    ("sets", "said"),
    [(None, "ipset-save.txt is missing"), ("create KUBE-LOOP-BACK hash:ip,port,ip\n", "lacks KUBE-CLUSTER-IP: it is cut off"), ("create KUBE-CLUSTER-IP hash:ip,port\n", "")],
)  # fmt: skip
def test_rules_that_ask_ipsets_need_them(sets: str | None, said: str):
    rules = ASKS + "*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n*mangle\nCOMMIT\n*raw\nCOMMIT\n"
    files = dict(made(TWO.format(""), **{"iptables-save.txt": rules}).snapshot.files)
    del files["nodes/n/ipset-save.txt"]
    files |= {"nodes/n/ipset-save.txt": sets.encode()} if sets is not None else {}
    outcomes = asked(Cluster.from_snapshot(Snapshot.from_files(files)), "node:n", "10.0.0.1:80").outcomes
    unknown = [o.reason.text for o in outcomes if o.disposition is Disposition.UNKNOWN and o.reason]
    assert [said in text for text in unknown] == ([True] if said else [])

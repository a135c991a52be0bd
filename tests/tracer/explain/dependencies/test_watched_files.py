"""Whoever asks for a part of a node's files is touched by what makes that part another, in each family, with and without routing files."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from tests.made_cluster import MadeCluster
from tests.tracer.explain.dependencies.watching import Ask, answered, check, cluster_of, dependencies_of_asking
from tracer.changes import Change, FileChange, ObjectChange
from tracer.conntrack import FlowTuple
from tracer.explain.dependencies import WatchedCluster
from tracer.explain.dependencies.watched_rules import _WatchedIndex
from tracer.netfilter.model import Hook
from tracer.packet import Family, Packet, Protocol
from tracer.query import Query, parse_destination, parse_source
from tracer.routing import POD_SIDE, RouteResult, Routing
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.snapshot.node_files import IP_ROUTE, SYSCTL
from tracer.snapshot.proxy_configuration import CONFIGURED_BY
from tracer.topology.cluster import Cluster
from tracer.topology.programmed import MADE_OF
from tracer.topology.stack import NodeStack

Files = dict[str, bytes]
NFT = """\
table inet own {
	set blocked {
		type ipv4_addr
		elements = { 10.9.0.1, 10.9.0.2 }
	}
	chain forward {
		type filter hook forward priority filter; policy accept;
		ip saddr @blocked drop
		jump more
	}
	chain more {
		tcp dport 80 accept
	}
	chain spare {
		tcp dport 81 accept
	}
}
"""
SERVERS = "-A -t 10.96.0.10:80 -s rr\n-a -t 10.96.0.10:80 -r 10.1.1.2:8080 -m -w 1\n-A -t 10.96.0.11:80 -s rr\n"
SETS = "create KUBE-A hash:ip family inet hashsize 1024 maxelem 65536\nadd KUBE-A 10.0.0.1\ncreate KUBE-B hash:ip family inet hashsize 1024 maxelem 65536\nadd KUBE-B 10.0.0.2\n"
NEIGHBOURS = json.dumps(
    [{"dst": a, "dev": d, "lladdr": "02:00:00:00:00:01", "state": ["STALE"]} for a, d in (("10.1.1.2", "cbr0"), ("192.168.0.12", "eth0"))]
)
CONNECTIONS = """\
IPVS connection entries
pro expire state       source             virtual            destination
TCP 14:57  ESTABLISHED 10.1.1.9:51234     10.96.0.10:80      10.1.1.2:8080
IP  02:57  NONE        10.1.1.9:0         10.96.0.10:80      10.1.1.2:8080
"""
FLOW = (
    "tcp 6 9 ESTABLISHED src=10.1.1.9 dst=10.96.0.10 sport=5 dport=80 src=10.1.1.2 dst=10.1.1.9 sport=8080 dport=5\nudp 17 2 src=nowhere\n"
)
LEGACY = "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -s 10.1.1.7/32 -j DROP\nCOMMIT\n"


KERNELS = {
    "ip-route.json": "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
    "eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n",
    "ip6-route.json": f"{'0' * 32} 00 {'0' * 32} 00 {'0' * 32} ffffffff 00000001 00000000 00200200       lo\n",
}
"""What stands in for routes where nothing but cat ran."""


def made_files(*, with_routing: bool = True) -> Files:
    made = MadeCluster(cni="bridge")
    web = made.pod("web-1", 1)
    made.service("web", [web, made.pod("web-2", 2)], type="NodePort", node_port=30080)
    node = made.node(1)
    node.sysctl |= {"net.ipv4.conf.eth0.rp_filter": "2", "net.ipv4.ip_local_port_range": "32768 60999"}
    node.rules_of_routing.append({"priority": 100, "src": "10.1.1.9", "table": "main"})
    files = made.files()
    folder = "nodes/n1/"
    addresses = json.loads(files[f"{folder}ip-addr.json"])
    addresses[1]["addr_info"].append({"family": "inet6", "local": "fe80::1", "prefixlen": 64, "scope": "link"})
    files[f"{folder}ip-addr.json"] = json.dumps(addresses).encode()
    files |= {f"{folder}{name}": text.encode() for name, text in (("nft-ruleset.txt", NFT), ("ipvsadm-save.txt", SERVERS))}
    files |= {f"{folder}{name}": text.encode() for name, text in (("ipset-save.txt", SETS), ("ipvsadm-conn.txt", CONNECTIONS))}
    files[f"{folder}iptables-legacy-save.txt"] = LEGACY.encode()
    files[f"{folder}ip-neigh.json"] = NEIGHBOURS.encode()
    files[f"{folder}bridge-fdb.json"] = b'[{"mac": "02:00:00:00:00:02", "ifname": "vx0", "dst": "192.168.0.12"}]'
    files[f"{folder}wg-endpoints.txt"] = f"wg0\t{'A' * 43}=\t192.168.0.12:51820\n".encode()
    files[f"{folder}wg-allowed-ips.txt"] = f"wg0\t{'A' * 43}=\t10.1.2.0/24\n".encode()
    files[f"{folder}conntrack.txt"] = FLOW.encode()
    files[f"{folder}nft-hooks.txt"] = b"family ip {\n\thook input {\n\t\t 0000000000 chain ip filter INPUT [nf_tables]\n\t}\n}\n"
    files[f"{folder}ss.txt"] = b"tcp LISTEN 0 128 0.0.0.0:22 0.0.0.0:*\n"
    return {path: held for path, held in files.items() if with_routing or not re.search(r"n1/ip6?-(addr|link|route|rule)", path)}


def other_contents(name: str, content: bytes) -> Iterator[bytes | None]:
    """Yield what may become of a file: it goes, each entry or line goes or reads otherwise."""
    yield None
    if name.endswith(".json"):
        entries = json.loads(content)
        for place, entry in enumerate(entries):
            yield json.dumps(entries[:place] + entries[place + 1 :]).encode()
            for other in _other_entries(entry):
                yield json.dumps([*entries[:place], other, *entries[place + 1 :]]).encode()
        yield b"<html>502 Bad Gateway</html>"
        if name in KERNELS:
            yield KERNELS[name].encode()
        return
    if name == "sysctl.txt":
        yield b"sysctl: command not found\n"
    lines = content.decode().split("\n")
    for place, line in enumerate(lines):
        if line.strip():
            yield "\n".join(lines[:place] + lines[place + 1 :]).encode()
        for other in _other_lines(line):
            yield "\n".join([*lines[:place], other, *lines[place + 1 :]]).encode()
    if name == "iptables-save.txt":
        yield content.replace(b"*filter", b"*filter\n:SPARE - [0:0]")


def _other_entries(entry: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if held := entry.get("addr_info"):
        for place in range(len(held)):
            yield entry | {"addr_info": held[:place] + held[place + 1 :]}
        yield entry | {"addr_info": [*held, held[0] | {"local": "10.1.1.77", "family": "inet", "prefixlen": 32}]}
    if "gateway" in entry:
        yield entry | {"gateway": entry["gateway"] + "7"}
    if "dst" in entry:
        yield entry | {"type": "blackhole"}
    if "flags" in entry and "mtu" in entry:
        yield entry | {"flags": [flag for flag in entry["flags"] if flag != "UP"]}
        yield {key: value for key, value in entry.items() if key != "master"}
        yield entry | {"flags": ["NO-CARRIER", *(flag for flag in entry["flags"] if flag != "LOWER_UP")], "operstate": "DOWN"}
    if "state" in entry:
        yield entry | {"state": ["FAILED"]}
    if "priority" in entry:
        yield entry | {"table": "default"}


def _other_lines(line: str) -> Iterator[str]:
    for old, new in (
        (" = 0", " = 1"),
        (" = 1", " = 0"),
        (" = 2", " = 1"),
        ("60999", "60000"),
        ("ACCEPT", "DROP"),
        (" accept", " drop"),
        ("-w 1", "-w 0"),
        ("10.9.0.2", "10.9.0.3"),
        ("10.0.0.1", "10.0.0.3"),
        ("10.1.1.2:8080", "10.1.1.2:8081"),
        ("0.0.0.0:22", "0.0.0.0:23"),
    ):
        if old in line:
            yield line.replace(old, new)


def file_changes(files: Files) -> Iterator[tuple[Change, Cluster]]:
    for path, content in files.items():
        if path.startswith("nodes/n1/"):
            name = path.rpartition("/")[2]
            for after in other_contents(name, content):
                changed = {p: c for p, c in files.items() if p != path} | ({path: after} if after is not None else {})
                yield FileChange(node="n1", name=name, before=content, after=after), cluster_of(changed)
    for name, text in (
        ("nft-ruleset.json", b'{"nftables": []}'),
        ("ip6tables-legacy-save.txt", LEGACY.encode()),
        ("ipvsadm-list.txt", b"Prot\n"),
    ):
        yield FileChange(node="n1", name=name, before=None, after=text), cluster_of({**files, f"nodes/n1/{name}": text})


@pytest.fixture(scope="module")
def before() -> Cluster:
    return cluster_of(made_files())


@pytest.fixture(scope="module")
def changes() -> list[tuple[Change, Cluster]]:
    return list(file_changes(made_files()))


# -- routing --------------------------------------------------------------------------------------------------------------------------

POD, OUTSIDE, NODE = ("10.1.1.2", "fd00:1:1::2"), ("198.51.100.7", "2001:db8::7"), ("192.168.0.11", "fd00:192::b")


def routed(question: Callable[[Routing, Any], object], *keys: object) -> tuple[Ask, ...]:
    return tuple(lambda c, key=key: question(c.stack("n1").routing, key) for key in keys)


def to_address(question: Callable[[Routing, Any], object], *texts: str) -> tuple[Ask, ...]:
    return routed(question, *map(ip_address, texts))


def _first(routing: Routing, destination: Any) -> Any:
    """The first way to an address, from the watched routing's own tables: asked without noting it."""
    return Routing.lookup(getattr(routing, "_inner", routing), destination)[0]


def unplaced(results: tuple[RouteResult, ...]) -> list[RouteResult]:
    """Ways without the place of their route in the file, which is not what it does."""
    return [r if r.route is None else replace(r, route=replace(r.route, index=-1)) for r in results]


ROUTING: dict[str, tuple[Ask, ...]] = {
    "addresses": routed(lambda r, _: r.addresses, None),
    "links": routed(lambda r, _: r.links, None),
    "link": routed(lambda r, name: r.link(name), "eth0", "cbr0"),
    "addresses_of": routed(lambda r, name: r.addresses_of(name), "eth0", "cbr0"),
    "bridge_ports": routed(lambda r, name: r.bridge_ports(name), "cbr0"),
    "device_of": to_address(lambda r, a: r.device_of(a), *NODE, "10.1.1.77", "fe80::1"),
    "routes": routed(lambda r, version: r.routes(version), 4, 6),
    "rules": routed(lambda r, version: r.rules(version), 4),
    "lookup": (
        *to_address(lambda r, a: unplaced(r.lookup(a)), *POD, *OUTSIDE, *NODE),
        *routed(lambda r, _: unplaced(r.lookup(ip_address(OUTSIDE[0]), source=ip_address("10.1.1.9"), iif="cbr0")), None),
    ),
    "source_address": to_address(lambda r, a: r.source_address(_first(r, a), a), *POD, *OUTSIDE),
    "masquerade_address": to_address(lambda r, a: r.masquerade_address("eth0", _first(r, a), a), *OUTSIDE),
    "asking_address": to_address(lambda r, a: r.asking_address("eth0", a), "192.168.0.12", OUTSIDE[0]),
    "is_local": to_address(lambda r, a: r.is_local(a), *NODE),
    "address_type": to_address(lambda r, a: r.address_type(a), *NODE),
    "has_address_type": to_address(lambda r, a: r.has_address_type(a, ["LOCAL"]), *NODE),
    "validate_source": (
        *routed(lambda r, _: r.validate_source(ip_address(OUTSIDE[0]), "eth0", ip_address(POD[0])), None),
        *routed(lambda r, _: r.validate_source(ip_address(NODE[0]), "eth0", ip_address(POD[0])), None),
    ),
    "forwarding": routed(lambda r, version: r.forwarding(version), 4, 6),
    "lists_addresses": routed(lambda r, version: r.lists_addresses(version), 4, 6),
    "unshown": routed(lambda r, version: r.unshown(version), 4, 6),
    "rp_filter": routed(lambda r, device: r.rp_filter(device), "eth0"),
    "accept_local": routed(lambda r, device: r.accept_local(device), "eth0"),
    "route_localnet": routed(lambda r, device: r.route_localnet(device), "eth0"),
    "bridge_nf_call": routed(lambda r, version: r.bridge_nf_call(version), 4, 6),
    "get": routed(lambda r, name: r.get(name), "net.ipv4.ip_forward"),
    "local_port_range": routed(lambda r, _: r.local_port_range, None),
    "missing": routed(lambda r, _: r.missing, None),
    "has_carrier": routed(lambda r, name: r.has_carrier(name), "eth0", "cbr0"),
    "neighbours_at": to_address(lambda r, a: r.neighbours_at(a), "10.1.1.2", "192.168.0.12"),
    "neighbour": routed(lambda r, _: r.neighbour(ip_address("10.1.1.2"), "cbr0"), None),
    "devices_towards": to_address(lambda r, a: r.devices_towards(a), *POD, *OUTSIDE),
    "passed_over": to_address(lambda r, a: [(replace(x, index=-1), y) for x, y in r.passed_over(a, None)], *POD, *OUTSIDE),
    "crosses": routed(lambda r, name: (r.crosses(name, ["eth0"]), r.crosses(name, ["vethweb1"])), "eth0", "cbr0", "?"),
    "port_hairpin": routed(lambda r, name: r.port_hairpin(name), "vethweb1"),
}
NOT_ASKED = {"from_texts", "with_facts", "asks_more_than_addresses", "faults", "inferred_from", "sysctls"}
"""How a stack is made, what may be kept (which watched clusters do without), what cannot be read (which the facets say), and settings, which are asked for by name."""


def test_every_question_to_routing_has_a_row() -> None:
    assert {name for name in vars(Routing) if not name.startswith("_")} == {*ROUTING} | NOT_ASKED


@pytest.mark.parametrize("name", ROUTING)
def test_what_changes_a_way_touches_who_asked(name: str, before: Cluster, changes: list[tuple[Change, Cluster]]) -> None:
    for ask in ROUTING[name]:
        check(name, ask, before, changes)


def test_ways_of_a_node_without_routing_files_rest_on_what_they_were_inferred_from() -> None:
    """On Node objects, on IPVS's virtual servers, on pods; and on the routing files themselves, which may come."""
    files = made_files(with_routing=False)
    base = cluster_of(files)
    assert base.stack("n1").routing.inferred_from
    nodes, pods = (json.loads(files[name])["items"] for name in ("nodes.json", "pods.json"))
    steps: list[tuple[Change, Cluster]] = []
    for kind, items in (("Node", nodes), ("Pod", pods)):
        for place, value in enumerate(items):
            rest = {"apiVersion": "v1", "kind": "List", "items": items[:place] + items[place + 1 :]}
            after = cluster_of({**files, f"{kind.lower()}s.json": json.dumps(rest).encode()})
            namespace = value["metadata"].get("namespace", "")
            steps.append((ObjectChange(kind=kind, namespace=namespace, name=value["metadata"]["name"], before=value, after=None), after))
    steps += [(c, after) for c, after in file_changes(files) if isinstance(c, FileChange) and c.name in ("ipvsadm-save.txt", "sysctl.txt")]
    recorded = made_files()
    for name in ("ip-addr.json", "ip-link.json", "ip-route.json", "ip6-route.json"):
        content = recorded[f"nodes/n1/{name}"]
        after = cluster_of({**files, f"nodes/n1/{name}": content})
        steps.append((FileChange(node="n1", name=name, before=None, after=content), after))
    for asks in (ROUTING["lookup"], ROUTING["addresses"], ROUTING["is_local"], ROUTING["routes"], ROUTING["forwarding"]):
        for ask in asks:
            check("an inferred way", ask, base, steps)
    assert {type(c) for c, after in steps if answered(ROUTING["lookup"][0], after) != answered(ROUTING["lookup"][0], base)} == {
        ObjectChange,
        FileChange,
    }


# -- rules, sets, servers -------------------------------------------------------------------------------------------------------------


def packet(source: str, destination: str, port: int = 80) -> Packet:
    return Packet(
        protocol=Protocol.TCP, source=ip_address(source), destination=ip_address(destination), source_port=40000, destination_port=port
    )


def chain_texts(table: str, chain: str, at: int = 0, family: Family = Family.IP) -> Ask:
    def ask(cluster: Cluster) -> object:
        dumps = cluster.stack("n1").dumps(family)
        found = dumps[at].tables[table].chains.get(chain) if len(dumps) > at and table in dumps[at].tables else None
        return None if found is None else (found.policy, [found.text(i) for i in range(len(found))])

    return ask


def candidates(table: str, chain: str, asked: Packet) -> Ask:
    def ask(cluster: Cluster) -> object:
        dumps = cluster.stack("n1").dumps(Family.IP)
        found = dumps[0].tables[table].chains.get(chain) if dumps and table in dumps[0].tables else None
        if found is None:
            return None
        return [found.rule(i).text for i in found.index.candidates(asked)] if found.index else [found.text(i) for i in range(len(found))]

    return ask


def nft_part(kind: str, name: str) -> Ask:
    def ask(cluster: Cluster) -> object:
        nft = cluster.stack("n1").nft
        return nft and [getattr(table, kind).get(name) for table in nft.ruleset.tables]

    return ask


def served(asked: Packet) -> Ask:
    def ask(cluster: Cluster) -> object:
        servers = cluster.stack("n1").virtual_servers
        found = servers and servers.find(asked)
        return found and replace(found, line=0, real_servers=tuple(replace(r, line=0) for r in found.real_servers))

    return ask


def members(name: str) -> Ask:
    def ask(cluster: Cluster) -> object:
        sets = cluster.stack("n1").sets
        return sets and name in sets and sets[name].entries

    return ask


STACK: dict[str, tuple[Ask, ...]] = {
    "dumps": (
        chain_texts("nat", "KUBE-SERVICES"),
        chain_texts("filter", "FORWARD"),
        chain_texts("filter", "FORWARD", at=1),
        chain_texts("nat", "KUBE-SERVICES", family=Family.IP6),
        chain_texts("filter", "SPARE"),
        lambda c: [[*d.tables] for d in c.stack("n1").dumps(Family.IP)],
        lambda c: [[*d.tables] for d in c.stack("n1").dumps(Family.IP6)],
        lambda c: [[*t.chains] for d in c.stack("n1").dumps(Family.IP) for t in d.tables.values()],
        lambda c: [[(k, v.policy) for k, v in t.chains.items()] for d in c.stack("n1").dumps(Family.IP) for t in d.tables.values()],
        lambda c: [[v.policy for v in t.chains.values()] for d in c.stack("n1").dumps(Family.IP) for t in d.tables.values()],
        lambda c: [t.name for d in c.stack("n1").dumps(Family.IP) for t in d.tables.values() if "SPARE" in t.chains],
        lambda c: [d.count("nat", "KUBE-SVC-") for d in c.stack("n1").dumps(Family.IP)],
        lambda c: [d.judged(_has_drop) for d in c.stack("n1").dumps(Family.IP)],
        candidates("nat", "KUBE-SERVICES", packet("10.1.1.9", "10.96.0.10")),
    ),
    "nft": (
        lambda c: (nft := c.stack("n1").nft) and [t.name for t in nft.ruleset.tables],
        nft_part("chains", "forward"),
        nft_part("chains", "more"),
        nft_part("sets", "blocked"),
        lambda c: (nft := c.stack("n1").nft) and ["blocked" in t.sets for t in nft.ruleset.tables],
        lambda c: (nft := c.stack("n1").nft) and [[*t.sets] for t in nft.ruleset.tables],
        lambda c: (nft := c.stack("n1").nft) and [[*t.sets.values()] for t in nft.ruleset.tables],
    ),
    "sets": (members("KUBE-A"), members("KUBE-C"), lambda c: (sets := c.stack("n1").sets) and [*sets]),
    "virtual_servers": (
        served(packet("10.1.1.9", "10.96.0.10")),
        served(packet("10.1.1.9", "10.96.0.11")),
        lambda c: (servers := c.stack("n1").virtual_servers) and len(servers.servers),
    ),
    "remembered_clients": (lambda c: c.stack("n1").remembered_clients,),
    "mode": (lambda c: c.stack("n1").mode,),
    "sockets": (lambda c: c.stack("n1").sockets,),
    "hook_listing": (lambda c: (held := c.stack("n1").hook_listing) and held.places,),
    "untold_order": (lambda c: c.stack("n1").untold_order(),),
    "chains": tuple(lambda c, h=h: [x.priority for x in c.stack("n1").chains(h, Family.IP)] for h in (Hook.FORWARD,)),
    "gap": tuple(lambda c, f=f: c.stack("n1").gap(f) for f in Family),
    "unknown_way": tuple(lambda c, a=a: c.stack("n1").unknown_way(ip_address(a), None) for a in POD),
    "assumed_rules": tuple(lambda c, v=v: c.stack("n1").assumed_rules(v) for v in (4, 6)),
    "rests_on": tuple(lambda c, v=v: c.stack("n1").rests_on(v) for v in (4, 6)),
    "said_of": (),
    "assumed_routes": tuple(lambda c, v=v: c.stack("n1").assumed_routes(v) for v in (4, 6)),
    "assumed_legacy": (),
    "assumed_tables": (),
    "called": (),
    "begins": (),
    "forwarding": (lambda c: c.stack("n1").forwarding,),
    "wireguard": (lambda c: c.stack("n1").wireguard,),
    "some_address": tuple(lambda c, v=v, d=d: c.stack("n1").some_address(v, d) for v in (4, 6) for d in (None, POD_SIDE)),
    "assumed_plugin": (),
    "programmed": (),
    "redirect_address": tuple(lambda c, v=v: c.stack("n1").redirect_address("eth0", v) for v in (4, 6)),
    "path_of": (),
    "lacking": (lambda c: c.stack("n1").lacking(SYSCTL),),
    "conntrack": (
        lambda c: (held := c.stack("n1").conntrack) and held.unread,
        lambda c: (
            (held := c.stack("n1").conntrack) and held.find(FlowTuple.of(replace(packet("10.1.1.9", "10.96.0.10", port=80), source_port=5)))
        ),
    ),
    "mentions": (lambda c: c.stack("n1").mentions("iptables-save.txt", re.compile("KUBE-SPARE|-j DROP")),),
    "why_unread": tuple(lambda c, f=f: c.stack("n1").why_unread(f) for f in (SYSCTL, IP_ROUTE)),
    "unread": tuple(lambda c, v=v: [*c.stack("n1").unread(v)] for v in (4, 6)),
    "listens": (lambda c: c.stack("n1").listens(packet("10.1.1.9", NODE[0], port=22)),),
    "unheard": (lambda c: c.stack("n1").unheard(packet("10.1.1.9", NODE[0], port=22)),),
}


def _has_drop(dump: Any) -> bool:
    return any("DROP" in line for line in dump.lines)


def test_every_part_of_a_stack_has_a_row() -> None:
    public = {name for name in vars(NodeStack) if not name.startswith("_")} - {
        "renewed",
        "is_placed",
        "is_programmed",
        "rule_files",
        "routing",
    }
    assert public == {*STACK}


@pytest.mark.parametrize("name", [name for name, asks in STACK.items() if asks])
def test_what_changes_a_part_of_a_stack_touches_who_asked(name: str, before: Cluster, changes: list[tuple[Change, Cluster]]) -> None:
    for ask in STACK[name]:
        check(name, ask, before, changes)


def test_modelled_rules_rest_on_all_that_they_follow_from(before: Cluster) -> None:
    """Where no rules of a node are recorded: on every Service, endpoint, node, pod and setting, and on that no file comes."""
    left = (
        "iptables-save.txt",
        "ip6tables-save.txt",
        "nft-ruleset.txt",
        "nft-ruleset.json",
        "ipvsadm-save.txt",
        "ipset-save.txt",
        "ipset-list.txt",
    )
    files = {path: text for path, text in before.snapshot.files.items() if not path.endswith(left) and "legacy" not in path}
    cluster = Cluster.from_snapshot(Snapshot.from_files(files))
    made = cluster.stack("n1").programmed
    assert made is not None
    for ask in (lambda c: c.stack("n1").programmed, lambda c: c.stack("n1").dumps(Family.IP)):
        found = dependencies_of_asking(ask, cluster)
        for kind in MADE_OF:
            value = {"metadata": {"namespace": "other", "name": "x"}}
            assert found.touched_by(ObjectChange(kind=kind, namespace="other", name="x", before=None, after=value)), kind
        for name in CONFIGURED_BY:
            value = {"metadata": {"namespace": "kube-system", "name": name}}
            assert found.touched_by(ObjectChange(kind="ConfigMap", namespace="kube-system", name=name, before=None, after=value)), name
        assert found.touched_by(FileChange(node="n1", name="iptables-save.txt", before=None, after=b"*nat\n"))


SNAPSHOT: dict[str, tuple[Ask, ...]] = {
    "has_node_file": tuple(lambda c, n=n: c.snapshot.has_node_file("n1", n) for n in ("ipset-save.txt", "nft-ruleset.json")),
    "node_file": (lambda c: c.snapshot.node_file("n1", "sysctl.txt"), lambda c: c.snapshot.node_file("n1", "ipvsadm-list.txt")),
    "text": (lambda c: c.snapshot.text("nodes/n1/sysctl.txt") if c.snapshot.has_node_file("n1", "sysctl.txt") else None,),
    "mentions": (
        lambda c: c.snapshot.has_node_file("n1", "sysctl.txt") and c.snapshot.mentions("nodes/n1/sysctl.txt", re.compile("rp_filter = 2")),
    ),
    "node_json": (lambda c: c.snapshot.node_json("n1", "ip-addr.json"),),
}


@pytest.mark.parametrize("name", SNAPSHOT)
def test_what_changes_a_file_touches_who_read_it(name: str, before: Cluster, changes: list[tuple[Change, Cluster]]) -> None:
    for ask in SNAPSHOT[name]:
        check(name, ask, before, changes)


def test_another_reading_of_a_file_touches_who_asked_when_it_was_read(before: Cluster) -> None:
    same = before.snapshot.files["nodes/n1/sysctl.txt"]
    again = FileChange(node="n1", name="sysctl.txt", before=same, after=same, read_at=2.0)
    assert dependencies_of_asking(lambda c: c.snapshot.read_at("n1", "sysctl.txt"), before).touched_by(again)
    assert not dependencies_of_asking(lambda c: c.snapshot.node_file("n1", "sysctl.txt"), before).touched_by(again)


@pytest.mark.parametrize("name", ["db", "web"])
def test_when_an_endpoint_changed_rests_on_the_slices_of_its_service(before: Cluster, name: str) -> None:
    asked = dependencies_of_asking(lambda c: c.snapshot.endpoint_changed_at("default", "web", ip_address("10.1.1.2")), before)
    labels = {"kubernetes.io/service-name": name}
    value = {"metadata": {"namespace": "default", "name": "x", "labels": labels}, "addressType": "IPv4", "endpoints": []}
    assert asked.touched_by(ObjectChange(kind="EndpointSlice", namespace="default", name="x", before=None, after=value)) is (name == "web")


def test_a_new_node_touches_who_asked_for_the_names(before: Cluster) -> None:
    value = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n9"}, "spec": {}, "status": {}}
    came = ObjectChange(kind="Node", namespace="", name="n9", before=None, after=value)
    asks: list[Ask] = [lambda c: c.node_names, lambda c: c.snapshot.node_names, lambda c: c.ports_of(ip_address(NODE[0]))]
    for ask in asks:
        assert dependencies_of_asking(ask, before).touched_by(came)
        # A node may come by its files alone, which are then of no node known before.
        assert dependencies_of_asking(ask, before).touched_by(FileChange(node="n9", name="ss.txt", before=None, after=b""))
    assert not dependencies_of_asking(lambda c: c.snapshot.node_file("n1", "ss.txt"), before).touched_by(came)


def test_who_holds_an_address_rests_on_every_node(before: Cluster, changes: list[tuple[Change, Cluster]]) -> None:
    check("ports_of", lambda c: c.ports_of(ip_address(NODE[0])), before, changes)
    check("ports_of", lambda c: c.ports_of(ip_address("10.1.1.77")), before, changes)
    files = made_files()
    nodes = json.loads(files["nodes.json"])["items"]
    without = {"apiVersion": "v1", "kind": "List", "items": nodes[:1]}
    bare = {p: c for p, c in files.items() if not p.startswith("nodes/n2/")}
    gone = ObjectChange(kind="Node", namespace="", name="n2", before=nodes[1], after=None)
    steps: list[tuple[Change, Cluster]] = [(gone, cluster_of({**bare, "nodes.json": json.dumps(without).encode()}))]
    asked = dependencies_of_asking(lambda c: c.ports_of(ip_address("192.168.0.12")), cluster_of(bare))
    assert [c for c, _ in steps if asked.touched_by(c)] == [gone]


def test_which_stack_a_node_has_rests_on_its_object(before: Cluster) -> None:
    asked = dependencies_of_asking(lambda c: c.stack("n1").kernel, before)
    value = json.loads(before.snapshot.files["nodes.json"])["items"][0]
    other = {**value, "status": {**value["status"], "nodeInfo": {"kernelVersion": "6.1.0"}}}
    assert asked.touched_by(ObjectChange(kind="Node", namespace="", name="n1", before=value, after=other))


def test_a_short_chain_gets_its_index_once() -> None:
    """Each packet asks for it, and hundreds of packets cross the chains of a Service with hundreds of endpoints."""
    made = MadeCluster(1)
    made.service("web", [made.pod("web-1", 1)])
    (dump, *_) = WatchedCluster(made.cluster()).stack("n1").dumps(Family.IP)
    chain = dump.tables["nat"].chains["KUBE-SERVICES"]
    (one, other) = (chain.index, chain.index)
    assert isinstance(one, _WatchedIndex)
    assert isinstance(other, _WatchedIndex)
    assert one._inner is other._inner


# --- pods' own stacks ------------------------------------------------------------------------------------------------------

OWN = "n1/pods/default_web-1"
OWN_RULES = "*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp -m tcp --dport 8080 -j REDIRECT --to-ports 15006\nCOMMIT\n"
OWN_FILES = {"iptables-save.txt": OWN_RULES, "ss.txt": "tcp LISTEN 0 128 0.0.0.0:15006 0.0.0.0:*\n"}


def own_stack(cluster: Cluster) -> NodeStack | None:
    pod = cluster.objects.pod("default", "web-1")
    assert pod
    return cluster.pod_stack(pod)


def to_web(cluster: Cluster) -> object:
    return trace(cluster, Query(source=parse_source("node:n2"), destination=parse_destination("10.1.1.2:8080"))).to_dict(with_steps=True)


OWN_ASKS: dict[str, Ask] = {
    "whether it has one": lambda c: own_stack(c) is not None,
    "its tables": lambda c: (stack := own_stack(c)) and [sorted(dump.tables) for dump in stack.dumps(Family.IP)],
    "its trace": to_web,
}


@pytest.mark.parametrize("before_is", ["absent", "recorded"])
@pytest.mark.parametrize("name", OWN_ASKS)
def test_whoever_asks_for_a_pods_own_stack_is_touched_by_its_files(name: str, before_is: str) -> None:
    """Also where there is none: one may come. Another pod's touches nobody who did not ask for it."""
    files = made_files()
    own = {f"nodes/{OWN}/{file}": text.encode() for file, text in OWN_FILES.items()} if before_is == "recorded" else {}
    changes: list[tuple[Change, Cluster]] = []
    for file, text in (*OWN_FILES.items(), ("nft-ruleset.txt", "table ip x {\n}\n")):
        path, content = f"nodes/{OWN}/{file}", text.encode()
        for after in (None, content, content.replace(b"8080", b"8081").replace(b":15006", b":80"), b"*nat\nCOMMIT\n"):
            if after != own.get(path):
                rest = {of: held for of, held in own.items() if of != path} | ({} if after is None else {path: after})
                changes.append((FileChange(node=OWN, name=file, before=own.get(path), after=after), cluster_of(files | rest)))
    other = FileChange(node="n1/pods/default_web-2", name="iptables-save.txt", before=None, after=OWN_RULES.encode())
    with_other = cluster_of(files | own | {f"nodes/{other.node}/{other.name}": OWN_RULES.encode()})
    if name == "whether it has one" and before_is == "recorded":
        bare = cluster_of(files | {f"nodes/{OWN}/ss.txt": b"x\n"})
        gone = FileChange(node=OWN, name="ss.txt", before=b"x\n", after=None)
        check(name, OWN_ASKS[name], bare, [(gone, cluster_of(files)), (other, with_other)])
        return
    check(name, OWN_ASKS[name], cluster_of(files | own), [*changes, (other, with_other)])

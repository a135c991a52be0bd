"""Nodes of which ``ip route`` was recorded, which leaves table local out, and no ``ip addr``, or one of the other family only.

What a node holds is not listed then. It is never taken to hold nothing: a packet to the node itself went in circles.
"""

from __future__ import annotations

import json
from ipaddress import ip_address

import pytest

from tests.made_cluster import MadeCluster
from tracer.routing import Routing
from tracer.trace import Disposition, Trace

CLIENT = {4: "external:203.0.113.9", 6: "external:2001:db8::9"}
OWN = {4: "192.168.0.12:22", 6: "[fd00:192::c]:22"}
SAID = "assumed: the node's own addresses are those that its routes send from and that its object names (nodes/n2/ip-addr.json {}, and its"


def listed(cluster: MadeCluster, *families: str) -> Trace:
    """*cluster* with ``ip -FAMILY addr`` of each node (none: no such file), and without table local, asked for each version."""
    for node in cluster.nodes:
        for version, file in ((4, "ip-route.json"), (6, "ip6-route.json")):
            routes = node.ip_route(cluster.nodes, version)
            node.texts[file] = json.dumps([route for route in routes if route.get("table") != "local"])
        if not families:
            node.without.add("ip-addr.json")
            continue
        entries = [{**entry, "addr_info": _of(entry, families)} for entry in node.ip_addr()]
        node.texts["ip-addr.json"] = json.dumps([entry for entry in entries if entry["addr_info"]])
    return cluster


def _of(entry: dict, families: tuple[str, ...]) -> list:
    return [held for held in entry["addr_info"] if held["family"] in families]


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("families", [(), ("inet",), ("inet6",), ("inet", "inet6")])
def test_a_node_is_itself(version, families):
    answer = listed(MadeCluster(2), *families).trace(CLIENT[version], OWN[version])
    assert [(o.disposition, o.reason.code) for o in answer.outcomes] == [(Disposition.DELIVERED, "DELIVERED")]


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("families", [(), ("inet",), ("inet6",), ("inet", "inet6")])
def test_what_is_assumed_of_its_addresses_is_said_where_they_are_not_listed(version, families):
    cluster = MadeCluster(2)
    cluster.pod("web", 1)
    answer = listed(cluster, *families).trace("node:n2", "10.1.1.2:80" if version == 4 else "[fd00:1:1::2]:80")
    lists = f"does not list IPv{version}" if families else "is missing"
    is_said = any(note.startswith(SAID.format(lists)) for o in answer.outcomes for hop in o.hops for note in hop.notes)
    assert is_said is (f"inet{6 if version == 6 else ''}" not in families)


def test_what_one_family_lists_says_nothing_of_the_other():
    addr = "1: lo: <LOOPBACK,UP> mtu 65536\n{}    inet 127.0.0.1/8 scope host lo\n"
    assert [Routing.from_texts("n", ip_addr=addr.format("")).lists_addresses(v) for v in (4, 6)] == [True, False]
    whole = addr.format("    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00\n")
    assert [Routing.from_texts("n", ip_addr=whole).lists_addresses(v) for v in (4, 6)] == [True, True]
    assert [Routing.from_texts("n").lists_addresses(v) for v in (4, 6)] == [False, False]


def test_an_address_that_routes_send_from_is_at_their_device():
    route = {"dst": "10.1.2.0/24", "dev": "cni0", "protocol": "kernel", "scope": "link", "prefsrc": "10.1.2.1", "flags": []}
    stack = Routing.from_texts("n", ip_route=json.dumps([route]), kernel="5.14.0")
    local = {str(r.destination): (r.device, r.type.value) for r in stack.routes(4) if r.table == "local"}
    assert local == {"127.0.0.1/32": ("lo", "local"), "127.0.0.0/8": ("lo", "local"), "10.1.2.1/32": ("cni0", "local")} | {
        broadcast: (device, "broadcast") for broadcast, device in (("127.255.255.255/32", "lo"), ("10.1.2.255/32", "cni0"))
    }


@pytest.mark.parametrize(("kernel", "kind"), [("5.14.0-570.el9", "local"), ("6.1.0", "local"), ("5.10.0", "unknown"), (None, "unknown")])
def test_the_lowest_address_of_a_network_is_for_broadcasts_until_5_14(kernel, kind):
    """flannel0 has 192.168.92.0, the lowest of docker0's network: which of the two routes is met first no file tells."""
    routes = [
        {"dst": "192.168.0.0/16", "dev": "flannel0", "protocol": "kernel", "scope": "link", "prefsrc": "192.168.92.0", "flags": []},
        {"dst": "192.168.92.0/24", "dev": "docker0", "protocol": "kernel", "scope": "link", "prefsrc": "192.168.92.1", "flags": []},
    ]
    stack = Routing.from_texts("n", ip_route=json.dumps(routes), kernel=kernel)
    assert [result.kind.value for result in stack.lookup(ip_address("192.168.92.0"))] == [kind]
    assert [result.kind.value for result in stack.lookup(ip_address("192.168.92.1"))] == ["local"]

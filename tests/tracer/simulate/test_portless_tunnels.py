"""IPIP, SIT and GRE: what leaves by such a device is carried in a packet without ports, to the next hop or to the device's other end.

Not proved: the kernel that the tests run on has no such devices. The dumps are as iproute2 prints them (ip/link_iptnl.c, ip/link_gre.c).
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.made_cluster import MadeCluster
from tracer.trace import Disposition, Outcome, Sees

WEB = "10.96.0.10:80"
KINDS = {"ipip": (4, "ipencap"), "sit": (41, "ipv6"), "gre": (47, "gre")}


def made(kind: str, *, remote: bool = False, peer: bool = True, rule: str = "") -> MadeCluster:
    """A client on n1, a pod of web on n2, and between them a tunnel t0 without addresses of its own, as Calico's tunl0 is."""
    cluster = MadeCluster(2)
    cluster.pod("client", 1)
    cluster.service("web", [cluster.pod("web-1", 2)])
    for node, other in (cluster.nodes, reversed(cluster.nodes)):
        routes = [r for r in node.ip_route([node], 4) if r["dst"] != f"10.1.{other.number}.0/24"]
        way: dict[str, Any] = {"dev": "t0"} if remote else {"gateway": other.ip(), "dev": "t0"}
        routes.append({"dst": f"10.1.{other.number}.0/24", **way, "protocol": "bird", "flags": ["onlink"]})
        data = {"remote": other.ip() if remote else "any", "local": node.ip() if remote else "any", "ttl": "inherit"}
        link = {"ifindex": 77, "ifname": "t0", "flags": ["NOARP", "UP", "LOWER_UP"], "mtu": 1480, "link_type": kind}
        has_device = peer or node is cluster.node(1)
        links = [*node.ip_link(), *([link | {"linkinfo": {"info_kind": kind, "info_data": data}}] if has_device else [])]
        node.texts |= {"ip-route.json": json.dumps(routes), "ip-link.json": json.dumps(links)}
    if rule:
        cluster.node(2).rules.append(("filter", rule))
    return cluster


def only(cluster: MadeCluster) -> Outcome:
    (outcome,) = cluster.trace("pod:default/client", WEB).outcomes
    return outcome


@pytest.mark.parametrize("remote", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_carried_there_and_back(kind: str, remote: bool) -> None:
    found = only(made(kind, remote=remote))
    assert (found.disposition, found.client_sees) == (Disposition.DELIVERED, Sees.CONNECTED)
    assert [hop.tunnel for hop in found.hops if hop.tunnel] == ["t0"] * 2, "the sender's own packet, and the other node's"
    assert found.reply is not None and any(hop.tunnel for hop in found.reply.hops)


@pytest.mark.parametrize("match", ["-p {number}", "-p {name}", "-s 192.168.0.11", "! -p tcp -i eth0"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_firewall_that_forgets_it_ends_what_is_inside(kind: str, match: str) -> None:
    number, name = KINDS[kind]
    found = only(made(kind, rule=f"-A INPUT {match.format(number=number, name=name)} -j DROP"))
    assert (found.disposition, found.reason and found.reason.code) == (Disposition.DROPPED, "TUNNEL_PACKET_LOST")
    assert found.reason is not None and f"(protocol {number})" in found.reason.text


@pytest.mark.parametrize("match", ["-p tcp", "-p udp", "-p tcp --dport 8080", "-p udp --dport 8472"])
def test_rules_of_other_protocols_do_not_see_it(match: str) -> None:
    assert only(made("ipip", rule=f"-A INPUT {match} -j DROP")).disposition is Disposition.DELIVERED


def test_a_node_without_such_a_device_unpacks_nothing() -> None:
    assert only(made("ipip", peer=False)).disposition is Disposition.DROPPED

"""WireGuard: what leaves by such a device is carried in a UDP packet to the peer that may have its destination.

Not proved: the kernel that the tests run on has no such devices. The lists are as wg(8) prints them (show.c).
"""

from __future__ import annotations

import json

import pytest

from tests.made_cluster import MadeCluster
from tracer.trace import Disposition, Outcome, Sees

WEB = "10.96.0.10:80"
KEYS = {1: "A" * 43 + "=", 2: "B" * 43 + "="}
PORT = 51820


def made(*, without: str = "", rule: str = "", allowed: str = "", endpoint: str = "", peer: bool = True) -> MadeCluster:
    """A client on n1, a pod of web on n2, and between them the device wg0; *allowed* and *endpoint* are what n1 has of n2."""
    cluster = MadeCluster(2)
    cluster.pod("client", 1)
    cluster.service("web", [cluster.pod("web-1", 2)])
    for node, other in (cluster.nodes, reversed(cluster.nodes)):
        network = f"10.1.{other.number}.0/24"
        routes = [r for r in node.ip_route([node], 4) if r["dst"] != network]
        link = {"ifindex": 77, "ifname": "wg0", "flags": ["POINTOPOINT", "NOARP", "UP", "LOWER_UP"], "mtu": 1420, "link_type": "none"}
        has_device = peer or node is cluster.node(1)
        links = [*node.ip_link(), *([link | {"linkinfo": {"info_kind": "wireguard"}}] if has_device else [])]
        is_first, key = node is cluster.node(1), KEYS[other.number]
        node.texts |= {
            "ip-route.json": json.dumps([*routes, {"dst": network, "dev": "wg0", "scope": "link", "flags": []}]),
            "ip-link.json": json.dumps(links),
            "wg-allowed-ips.txt": f"wg0\t{'C' * 43}=\t10.0.0.0/8\nwg0\t{key}\t{(is_first and allowed) or network}\n",
            "wg-endpoints.txt": f"wg0\t{'C' * 43}=\t(none)\nwg0\t{key}\t{(is_first and endpoint) or f'{other.ip()}:{PORT}'}\n",
        }
        if without:
            node.texts.pop(without)
    if rule:
        cluster.node(2).rules.append(("filter", rule))
    return cluster


def only(cluster: MadeCluster) -> Outcome:
    (outcome,) = cluster.trace("pod:default/client", WEB).outcomes
    return outcome


def tunnels(outcome: Outcome) -> list[str | None]:
    return [hop.tunnel for hop in outcome.hops if hop.tunnel]


def test_it_is_carried_there_and_back() -> None:
    found = only(made())
    assert (found.disposition, found.client_sees) == (Disposition.DELIVERED, Sees.CONNECTED)
    assert tunnels(found) == ["wg0"] * 2, "the sender's own packet, and the other node's"
    [first, _] = [hop.packet_out for hop in found.hops if hop.tunnel]
    assert (first.protocol.value, str(first.destination), first.destination_port) == ("udp", "192.168.0.12", PORT)
    assert found.reply is not None and any(hop.tunnel for hop in found.reply.hops)


@pytest.mark.parametrize("match", ["-p udp --dport 51820", "-s 192.168.0.11 -i eth0"])
def test_a_firewall_that_forgets_it_ends_what_is_inside(match: str) -> None:
    found = only(made(rule=f"-A INPUT {match} -j DROP"))
    assert (found.disposition, found.reason and found.reason.code) == (Disposition.DROPPED, "TUNNEL_PACKET_LOST")
    assert found.client_sees is Sees.TIMEOUT


def test_a_mark_of_the_packet_inside_stays_inside() -> None:
    cluster = made(rule="-A INPUT -m mark --mark 0x7 -j DROP")
    for node in cluster.nodes:
        node.rules += [("mangle", "-A FORWARD -p tcp -j MARK --set-xmark 0x7/0xffffffff")]
    assert only(cluster).disposition is Disposition.DELIVERED


def test_the_longest_of_the_allowed_networks_names_the_peer() -> None:
    """The other peer may have all of 10.0.0.0/8, and nobody knows where it is."""
    found = only(made(allowed="10.2.0.0/16"))
    assert not tunnels(found)
    assert any("(wireguard) is not walked" in note for hop in found.hops for note in hop.notes)


def test_an_endpoint_that_no_node_has_is_not_walked() -> None:
    assert not tunnels(only(made(endpoint=f"203.0.113.9:{PORT}")))


def test_nor_is_what_policy_rules_may_lead_elsewhere_by_a_mark() -> None:
    cluster = made()
    cluster.node(1).rules_of_routing.append({"priority": 90, "src": "all", "fwmark": "0xca6c", "table": "main"})
    assert not tunnels(only(cluster))


@pytest.mark.parametrize("without", ["wg-endpoints.txt", "wg-allowed-ips.txt"])
def test_the_missing_file_is_named(without: str) -> None:
    found = only(made(without=without))
    assert not tunnels(found)
    notes = [note for hop in found.hops for note in hop.notes if "not walked" in note]
    assert notes and all(f"nodes/n1/{without} is missing" in note or f"nodes/n2/{without} is missing" in note for note in notes)


def test_a_node_without_such_a_device_unpacks_nothing() -> None:
    assert only(made(peer=False)).disposition is Disposition.DROPPED

"""Which nodes answer an ARP request for an address that none of their links holds. Who answers whom is in test_neighbours_kernel."""

from __future__ import annotations

import json
from ipaddress import ip_address
from typing import Any

import pytest

from tests.made_cluster import MadeCluster
from tracer.packet import Address
from tracer.routing import Routing
from tracer.topology.arp import Asked, arp_answerers, why_silent

SERVED = "192.168.0.200"


def served(*, setting: str = "", flags: tuple[str, ...] = ()) -> list[str]:
    """Return the nodes that answer for an address that both hold on kube-ipvs0; the settings and flags are node 2's."""
    made = MadeCluster(2)
    for node in made.nodes:
        node.held.append(("kube-ipvs0", SERVED, 32))
    if setting:
        name, _, value = setting.partition("=")
        made.node(2).sysctl[name] = value
    files = made.files()
    if flags:
        links: list[dict[str, Any]] = json.loads(files["nodes/n2/ip-link.json"])
        for link in links:
            link["flags"] = [*link.get("flags", ()), *flags] if link["ifname"] == "eth0" else link.get("flags", [])
        made.node(2).texts["ip-link.json"] = json.dumps(links)
    return [port.node for port in arp_answerers(made.cluster(), ip_address(SERVED))]


@pytest.mark.parametrize(
    ("setting", "answers"),
    [
        ("", True),
        ("net.ipv4.conf.all.arp_ignore=1", False),
        ("net.ipv4.conf.eth0.arp_ignore=2", False),
        ("net.ipv4.conf.default.arp_ignore=1", False),  # what a device begins with, where its own value was not recorded
        ("net.ipv4.conf.eth0.arp_ignore=3", True),  # its scope is global
        ("net.ipv4.conf.eth0.arp_ignore=4", True),  # 4 to 7 are reserved, and do nothing
        ("net.ipv4.conf.all.arp_ignore=8", False),
        ("net.ipv4.conf.eth1.arp_ignore=8", True),
    ],
)
def test_settings_of_arp(setting: str, answers: bool) -> None:
    assert served(setting=setting) == (["n1", "n2"] if answers else ["n1"])


def test_a_device_without_arp_does_not_answer() -> None:
    assert served(flags=("NOARP",)) == ["n1"]


def _held(device: str, address: str, bits: int) -> dict[str, object]:
    family = "inet6" if ":" in address else "inet"
    return {
        "ifindex": 1 if device == "lo" else 2,
        "ifname": device,
        "flags": ["LOOPBACK", "UP"] if device == "lo" else ["UP"],
        "addr_info": [{"family": family, "local": address, "prefixlen": bits, "scope": "global"}],
    }


@pytest.mark.parametrize(
    ("sysctl", "silent"), [("", True), ("net.ipv6.conf.eth0.proxy_ndp = 1", False), ("net.ipv6.conf.all.proxy_ndp = 1", False)]
)
def test_over_ipv6_another_device_answers_for_it_at_most_as_a_proxy(sysctl: str, silent: bool) -> None:
    target: Address = ip_address("fd00::1")
    texts = {"ip_addr": json.dumps([_held("lo", "fd00::1", 128), _held("eth0", "fd00::2", 64)]), "sysctl": sysctl}
    routing = Routing.from_texts("n1", **texts)
    assert (why_silent(routing, "eth0", Asked(target=target)) is not None) is silent
    assert why_silent(routing, "eth0", Asked(target=ip_address("fd00::2"))) is None
    assert why_silent(routing, "eth0", Asked(target=ip_address("fd00::9"))) is None  # nobody's: it is not for this stack to say

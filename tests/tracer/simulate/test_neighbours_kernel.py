"""Who answers that it has an address, in network namespaces: settings of ARP, devices without it, addresses on lo, and IPv6 beside them.

The world is that of test_links_kernel: pods p1 and p2 behind nodes n1 and n2. What the kernel said is in the table, over IPv4 and over IPv6.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.sizes import every
from tests.tracer.simulate.test_links_kernel import POD, REASON, ROUTES, VETHS, met, told, world

pytestmark = [pytest.mark.needs_root, pytest.mark.skipif(REASON is not None, reason=REASON or "")]

SILENT, CONNECTED, LOST = "no-route", "connected", "timeout"
_ON_LO = (
    "n2: addr flush dev eth0",
    "n2: addr add fe80::99/64 dev eth0 nodad",
    "n2: route add 192.168.0.0/24 dev eth0",
    "n2: -6 route add fd00:192::/64 dev eth0",
    "n2: route add 10.1.1.0/24 via 192.168.0.11 dev eth0 onlink",
    "n2: -6 route replace fd00:1:1::/64 via fd00:192::11 dev eth0",
    "n2: addr add fd00:192::12/128 dev lo",
)
_TWO_DEVICES = (
    "n2: link add eth1 type veth peer name eth1x",
    "n2: link set eth1 up",
    "n2: link set eth1x up",
    "n2: addr add 192.168.9.12/24 dev eth1",
    "n2: route add 192.168.0.11/32 dev eth1",
)
_FROM_LO = (
    "n1: addr add 10.99.0.1/32 dev lo",
    "n1: route replace 10.1.2.0/24 via 192.168.0.12 dev eth0 src 10.99.0.1",
    "n2: route add 10.99.0.1/32 via 192.168.0.11 dev eth0",
    "n1: neigh flush all",
)
_ELSEWHERE = "n2: sysctl net.ipv4.conf.eth0."


@dataclass(frozen=True)
class Row:
    """A way to set the world up, and what p1 and n1 meet that dial p2 by each family; *n1* where that differs over IPv4."""

    name: str
    lines: tuple[str, ...]
    ip4: str
    ip6: str
    n1: str = ""
    known: str = ""


ROWS = (
    Row("arp_ignore 1", ("n2: sysctl net.ipv4.conf.all.arp_ignore=1",), CONNECTED, CONNECTED),
    Row("arp_ignore 2", (f"{_ELSEWHERE}arp_ignore=2",), CONNECTED, CONNECTED),
    Row(
        "arp_ignore 2 and no subnet",
        (
            f"{_ELSEWHERE}arp_ignore=2",
            "n2: addr del 192.168.0.12/24 dev eth0",
            "n2: addr add 192.168.0.12/32 dev eth0",
            "n2: route add 192.168.0.0/24 dev eth0",
            "n2: route replace 10.1.1.0/24 via 192.168.0.11 dev eth0",
        ),
        SILENT,
        CONNECTED,
    ),
    Row("arp_ignore 4, which is none", (f"{_ELSEWHERE}arp_ignore=4",), CONNECTED, CONNECTED),
    Row("arp_ignore 8", (f"{_ELSEWHERE}arp_ignore=8",), SILENT, CONNECTED),
    Row("the address on lo", (*_ON_LO, "n2: addr add 192.168.0.12/32 dev lo"), CONNECTED, SILENT),
    Row("the address on lo, arp_ignore 1", (*_ON_LO, "n2: addr add 192.168.0.12/32 dev lo", f"{_ELSEWHERE}arp_ignore=1"), SILENT, SILENT),
    Row("on lo, arp_ignore 3", (*_ON_LO, "n2: addr add 192.168.0.12/32 dev lo", f"{_ELSEWHERE}arp_ignore=3"), CONNECTED, SILENT),
    Row(
        "on lo, of scope host, arp_ignore 3",
        (*_ON_LO, "n2: addr add 192.168.0.12/32 dev lo scope host", f"{_ELSEWHERE}arp_ignore=3"),
        SILENT,
        SILENT,
    ),
    Row("the receiver without ARP", ("n2: link set eth0 arp off",), SILENT, SILENT),
    Row("the sender without ARP", ("n1: link set eth0 arp off",), LOST, LOST),
    Row("arp_filter", (f"{_ELSEWHERE}arp_filter=1",), CONNECTED, CONNECTED),
    Row("arp_filter, the way back by another device", (*_TWO_DEVICES, f"{_ELSEWHERE}arp_filter=1"), SILENT, CONNECTED),
    Row("rp_filter, the way back by another device", (*_TWO_DEVICES, f"{_ELSEWHERE}rp_filter=1"), SILENT, CONNECTED),
    Row("an entry that is there", ("n2: sysctl net.ipv4.conf.eth0.arp_ignore=8", "n1: MAC"), CONNECTED, CONNECTED),
    Row(
        "asked by an address of lo, arp_ignore 2",
        (*_FROM_LO, f"{_ELSEWHERE}arp_ignore=2"),
        CONNECTED,
        CONNECTED,
        n1=SILENT,
        known=CONNECTED,
    ),
    Row(
        "the same, arp_announce 1",
        (*_FROM_LO, f"{_ELSEWHERE}arp_ignore=2", "n1: sysctl net.ipv4.conf.eth0.arp_announce=1"),
        CONNECTED,
        CONNECTED,
    ),
    Row(
        "the same, arp_announce 2",
        (*_FROM_LO, f"{_ELSEWHERE}arp_ignore=2", "n1: sysctl net.ipv4.conf.all.arp_announce=2"),
        CONNECTED,
        CONNECTED,
    ),
    Row(
        "asked by an address that is the receiver's own too",
        (*_FROM_LO, "n2: addr add 10.99.0.1/32 dev lo"),
        CONNECTED,
        CONNECTED,
        n1=SILENT,
        known="timeout",
    ),
)


@pytest.mark.parametrize("row", every(ROWS, 4), ids=lambda row: row.name)
def test_who_answers_is_as_in_the_kernel(row: Row) -> None:
    with world(VETHS, ROUTES, tuple(line for line in row.lines if not line.endswith("MAC"))) as built:
        if "n1: MAC" in row.lines:
            mac = next(link["address"] for link in json.loads(built.spaces["n2"].texts()["ip_link"]) if link["ifname"] == "eth0")
            built.ip(f"n1: neigh replace 192.168.0.12 lladdr {mac} dev eth0 nud stale")
        cluster = built.cluster()
        asked = [(source, address) for source in ("p1", "n1") for address in POD["p2"]]
        # What one learns serves the other: where they do not ask alike, who gets no answer is first, and alone.
        first = {} if not row.n1 else {("n1", POD["p2"][0]): built.dial("n1", POD["p2"][0])}
        with ThreadPoolExecutor(len(asked)) as pool:
            kernel = dict(zip(asked, pool.map(lambda question: built.dial(*question), asked), strict=True)) | first
    expected = {(source, address): _expected(row, source, address) for source, address in asked}
    engine = {
        (source, address): {met(o) for o in told(cluster, f"pod:shop/{source}" if source == "p1" else f"node:{source}", address)}
        for source, address in asked
    }
    assert kernel == expected
    if row.known:  # n1 may know n2 by what it sends otherwise, as nodes do: only here nothing was sent before
        expected["n1", POD["p2"][0]] = row.known
    assert engine == {question: {said} for question, said in expected.items()}


def _expected(row: Row, source: str, address: str) -> str:
    return row.ip6 if ":" in address else row.n1 or row.ip4 if source == "n1" else row.ip4


def test_a_pod_whose_gateway_does_not_answer() -> None:
    with world(VETHS, ROUTES, ("n1: sysctl net.ipv4.conf.veth1.arp_ignore=8",)) as built:
        texts = built.spaces["p1"].texts()
        own = {f"p1/{word.replace('_', '-')}.json": texts[word] for word in ("ip_addr", "ip_link", "ip_route", "ip6_route", "ip_rule")}
        cluster = built.cluster(own=own)
        kernel = {address: built.dial("p1", address) for address in POD["p2"]}
    engine = {address: {met(outcome) for outcome in told(cluster, "pod:shop/p1", address)} for address in POD["p2"]}
    assert kernel == dict(zip(POD["p2"], (SILENT, CONNECTED), strict=True))
    assert engine == {address: {said} for address, said in kernel.items()}

"""More data than a SYN, in network namespaces with devices of different MTUs: whether it arrives, and what the engine remarks.

The world is that of test_links_kernel. 100,000 bytes are sent each way on connections that open in every row. NB: segments leave a veth as
the sender's stack made them (GSO), so a receiver with a smaller MTU of its own does not lose them, as real cards may.
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Thread

import pytest

from tests.sizes import every
from tests.tracer.simulate.test_links_kernel import FLANNEL, NO_RULES, POD, REASON, ROUTES, VETHS, World, told, world
from tracer.trace import Disposition

pytestmark = [pytest.mark.needs_root, pytest.mark.skipif(REASON is not None, reason=REASON or "")]

PORT, BYTES = 9000, 100_000
LOST, CUT = "MTU_BLACK_HOLE", "MTU_FRAGMENTS"
_FREE = tuple(line.replace(" dev eth0", "") if "type vxlan" in line else line for line in FLANNEL)
"""Tunnels that are bound to no device: the kernel then lets them have any MTU."""
_OVER_6 = {"192.168.0.11": "fd00:192::11", "192.168.0.12": "fd00:192::12"}


def _over_6(lines: tuple[str, ...]) -> tuple[str, ...]:
    """Return *lines* with tunnels over IPv6."""
    found = []
    for line in lines:
        for four, six in _OVER_6.items() if "type vxlan" in line else ():
            line = line.replace(four, six)
        found.append(line)
    return tuple(found)


_FREE_6 = _over_6(_FREE)
_DF = tuple(f"{line} df set" if "type vxlan" in line else line for line in _FREE)


def _mtu(mtu: int, *devices: str) -> tuple[str, ...]:
    return tuple(f"{node}: link set {device} mtu {mtu}" for node, _, device in (name.partition(" ") for name in devices))


_NARROW = _mtu(1300, "n1 eth0", "n2 eth0")
_SILENT = {4: "-A OUTPUT -p icmp --icmp-type fragmentation-needed -j DROP", 6: "-A OUTPUT -p icmpv6 --icmpv6-type packet-too-big -j DROP"}
_CLAMP = "-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu"
_SMALL = "-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 1200"


@dataclass(frozen=True)
class Row:
    """A world, and which of p1's data up and p2's data down is lost, over IPv4 and over IPv6; *remarks* are the engine's, for each family."""

    name: str
    lines: tuple[str, ...] = ()
    lost4: str = ""
    lost6: str = ""
    remarks: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    routes: tuple[str, ...] = ROUTES
    silent: bool = False
    mangle: str = ""


ROWS = (
    Row("all alike"),
    Row("a narrow link, and the error comes home", _NARROW),
    Row("a narrow link, and the error is dropped", _NARROW, "up down", "up down", ((LOST, LOST), (LOST, LOST)), silent=True),
    Row("the first node's link", _mtu(1300, "n1 eth0"), "up", "up", ((LOST,), (LOST,)), silent=True),
    Row("the second node's link", _mtu(1300, "n2 eth0"), "down", "down", ((LOST,), (LOST,)), silent=True),
    Row("a narrow link, and segments are clamped", _NARROW, silent=True, mangle=_CLAMP),
    Row("a narrow link, and segments are made small", _NARROW, silent=True, mangle=_SMALL),
    Row("pods as narrow as the link", _mtu(1300, "n1 eth0", "n2 eth0", "n1 veth1", "p1 eth0", "n2 veth2", "p2 eth0"), silent=True),
    Row("one pod as narrow as the link", _mtu(1300, "n1 eth0", "n2 eth0", "n1 veth1", "p1 eth0"), silent=True),
    Row("a tunnel", routes=FLANNEL),
    Row("a tunnel, and the error is dropped", (), "up down", "up down", ((LOST, LOST), (LOST, LOST)), FLANNEL, silent=True),
    Row("a tunnel that is too wide", _mtu(1500, "n1 vx0", "n2 vx0"), remarks=((CUT, CUT), (CUT, CUT)), routes=_FREE),
    Row("a tunnel that is just wide enough", _mtu(1450, "n1 vx0", "n2 vx0"), routes=_FREE),
    Row("a tunnel whose link got narrow", _mtu(1400, "n1 eth0", "n2 eth0"), remarks=((CUT, CUT), (CUT, CUT)), routes=FLANNEL),
    Row("a tunnel that is too wide and may not be cut", _mtu(1500, "n1 vx0", "n2 vx0"), "up down", "", ((LOST, LOST), ()), _DF),
    Row("a tunnel over IPv6 that is too wide", _mtu(1500, "n1 vx0", "n2 vx0"), "up down", "", ((LOST, LOST), ()), _FREE_6),
    Row("a tunnel over IPv6 that is just wide enough", _mtu(1430, "n1 vx0", "n2 vx0"), routes=_FREE_6),
    Row("a tunnel over IPv6 a byte too wide", _mtu(1431, "n1 vx0", "n2 vx0"), "up down", "", ((LOST, LOST), ()), _FREE_6),
)


def _rules(row: Row, version: int) -> str:
    silent = f"{_SILENT[version]}\n" if row.silent else ""
    mangle = f"{row.mangle}\n" if row.mangle else ""
    filtered = NO_RULES.replace("COMMIT\n*nat", f"{silent}COMMIT\n*nat")
    chains = "".join(f":{chain} ACCEPT [0:0]\n" for chain in ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"))
    return filtered.replace("*mangle\n", f"*mangle\n{chains}{mangle}")


@pytest.mark.parametrize("row", every(ROWS, 4), ids=lambda row: row.name)
def test_what_is_larger_than_a_syn(row: Row) -> None:
    with world(VETHS, row.routes, row.lines) as built:
        for node in ("n1", "n2"):
            for version in (4, 6):
                built.load(node, version, _rules(row, version))
        cluster = built.cluster()
        kernel = {address: " ".join(way for way in ("up", "down") if not _moves(built, address, way)) for address in POD["p2"]}
        links = json.loads(built.spaces["n1"].texts()["ip_link"])
    assert kernel == dict(zip(POD["p2"], (row.lost4, row.lost6), strict=True))
    for address, expected in zip(POD["p2"], row.remarks, strict=True):
        (outcome,) = told(cluster, "pod:shop/p1", address)
        assert outcome.disposition is Disposition.DELIVERED
        assert outcome.reply is not None
        assert outcome.reply.disposition is Disposition.DELIVERED
        assert tuple(remark.code for remark in outcome.remarks) == expected, links


@pytest.mark.parametrize(("over", "mtu"), [(FLANNEL, 1450), (_over_6(FLANNEL), 1430)], ids=["IPv4", "IPv6"])
def test_the_kernels_own_room_for_a_tunnel(over: tuple[str, ...], mtu: int) -> None:
    """The kernel makes room for a tunnel's headers by itself, where it is bound to a device: as much as is reckoned with here."""
    with world(VETHS, over, ()) as built:
        links = {link["ifname"]: link["mtu"] for link in json.loads(built.spaces["n1"].texts()["ip_link"])}
    assert (links["eth0"], links["vx0"]) == (1500, mtu)


def _moves(built: World, address: str, way: str) -> bool:
    """Return whether so many bytes go *way* (up: from p1 to p2) on a new connection; one that does not open is no answer."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with contextlib.ExitStack() as stack:
        waiting = stack.enter_context(built.spaces["p2"].inside(lambda: socket.create_server((address, PORT), family=family)))
        client = stack.enter_context(built.spaces["p1"].inside(lambda: socket.socket(family, socket.SOCK_STREAM)))
        client.settimeout(3)
        client.connect((address, PORT))
        server = stack.enter_context(waiting.accept()[0])
        server.settimeout(3)
        sender, receiver = (client, server) if way == "up" else (server, client)
        sending = Thread(target=_send, args=(sender,))
        sending.start()
        got = sum(map(len, _received(receiver)))
        sender.close()
        sending.join()
    return got >= BYTES


def _send(sender: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sender.sendall(b"x" * BYTES)


def _received(receiver: socket.socket) -> Iterator[bytes]:
    left = BYTES
    with contextlib.suppress(OSError):
        while left > 0 and (found := receiver.recv(65536)):
            left -= len(found)
            yield found

"""Real packets through namespaces of our own: MASQUERADE's address, the check of received packets, address types.

``ROUTING_ORACLE_WORLDS`` and ``ROUTING_ORACLE_SEED`` as in test_routing_kernel.
"""

from __future__ import annotations

import itertools
import os
import random
import re
import time
from ipaddress import ip_address

import pytest

from tests.tracer.routing.routing_frames import collect, mac_of, udp_frame
from tests.tracer.routing.routing_netns import Namespace, namespaces, why_not, wire
from tests.tracer.routing.routing_random import World
from tracer.packet import Protocol
from tracer.routing import ResultKind, Routing

WORLDS = max(1, int(os.environ.get("ROUTING_ORACLE_WORLDS", "3")) // 2)
SEED = int(os.environ.get("ROUTING_ORACLE_SEED", "0")) or random.SystemRandom().randrange(1, 10**9)
REASON = why_not()
DEVICES = ("d0", "d1", "d2", "d3")

pytestmark = [pytest.mark.needs_root, pytest.mark.skipif(REASON is not None, reason=REASON or "")]


def build(rng: random.Random, version: int, inner: Namespace, outer: Namespace) -> World:
    """Make a random router of *inner*, without reverse-path filter, and return its world."""
    wire(inner, outer, DEVICES)
    inner.ip("link add br0 type bridge", "link set br0 up", "link set lo up")
    inner.sysctl({f"net.ipv{version}.conf.all.forwarding": 1, "net.ipv4.conf.all.rp_filter": 0})
    made = World(rng, version)
    inner.ip(*made.commands, force=True, options=made.options)
    time.sleep(0.1)
    return made


@pytest.mark.parametrize("version", [4, 6])
def test_masquerade_takes_the_kernels_address(version: int) -> None:
    print(f"ROUTING_ORACLE_SEED={SEED}")
    wrong: list[str] = []
    compared = 0
    sender = "203.0.113.5" if version == 4 else "2001:db8:ffff::5"
    for world in range(WORLDS * 2):
        rng = random.Random(f"masquerade/{SEED}/{version}/{world}")
        with namespaces(2) as (inner, outer):
            made = build(rng, version, inner, outer)
            inner.run("iptables" if version == 4 else "ip6tables", "-t", "nat", "-A", "POSTROUTING", "-j", "MASQUERADE")
            routing = inner.routing()
            destinations = [made._place() for _ in range(60)]
            sockets = {device: outer.packet_socket(f"{device}x") for device in DEVICES}
            mac = mac_of(inner, "d0")
            for number, destination in enumerate(destinations):
                sockets["d0"].send(udp_frame(mac, sender, destination, number, source_port=20000 + number))
            seen = collect(sockets, len(destinations))
            for made_socket in sockets.values():
                made_socket.close()
            for number, destination in enumerate(destinations):
                ours = forwarded(routing, sender, destination, 20000 + number)
                if ours is None:
                    continue
                arrived = seen.get(number)
                kernel = None if arrived is None else (arrived.device, arrived.source)
                compared += kernel is not None
                if kernel not in ours:
                    wrong.append(f"world {world}: to {destination}: kernel {kernel}, ours {ours}")
    print(f"{compared} masqueraded packets compared")
    assert not wrong, f"seed {SEED}: {len(wrong)} differ\n" + "\n".join(wrong[:12])
    assert compared > 10 * WORLDS


def forwarded(routing: Routing, sender: str, destination: str, port: int) -> set[tuple[str, str] | None] | None:
    """Return where the packet may come out and with which source; None in the set: nowhere; None for the whole: cannot be told here."""
    source, to = ip_address(sender), ip_address(destination)
    if to.is_multicast or to == ip_address("255.255.255.255"):
        return None
    verdict = routing.validate_source(source, "d0", to, protocol=Protocol.UDP, source_port=port, destination_port=53)
    if not verdict.ok:
        return {None}
    found: set[tuple[str, str] | None] = set()
    for result in routing.lookup(to, source=source, iif="d0", protocol=Protocol.UDP, source_port=port, destination_port=53):
        if result.kind is ResultKind.UNKNOWN:
            return None
        if result.kind is not ResultKind.UNICAST or result.device not in DEVICES:
            found.add(None)
            continue
        address = routing.masquerade_address(result.device, result, to)
        found.add(None if address is None else (result.device, str(address)))
    return found


PAIRS4 = (
    ("d0", "10.0.0.9", "10.0.0.1"),
    ("d0", "10.0.0.9", "10.1.0.9"),
    ("d0", "10.1.0.9", "10.0.0.1"),
    ("d0", "10.1.0.9", "10.1.0.8"),
    ("d0", "10.0.0.9", "10.0.0.8"),
    ("d0", "10.0.0.1", "10.0.0.1"),
    ("d0", "10.0.0.1", "10.1.0.9"),
    ("d0", "10.1.0.1", "10.0.0.1"),
    ("d0", "127.0.0.1", "10.0.0.1"),
    ("d0", "127.0.0.7", "10.1.0.9"),
    ("d0", "10.0.0.9", "127.0.0.1"),
    ("d0", "99.9.9.9", "10.0.0.1"),
    ("d0", "99.9.9.9", "10.1.0.9"),
    ("d0", "98.9.9.9", "10.0.0.1"),
    ("d0", "97.9.9.9", "10.0.0.1"),
    ("d0", "224.0.0.9", "10.0.0.1"),
    ("d0", "255.255.255.255", "10.0.0.1"),
    ("d0", "0.0.0.0", "10.0.0.1"),
    ("d0", "0.0.0.5", "10.0.0.1"),
    ("d0", "10.0.0.9", "0.0.0.5"),
    ("d0", "10.0.0.255", "10.0.0.1"),
    ("d0", "10.1.0.255", "10.0.0.1"),
    ("d2", "10.0.0.9", "10.0.0.1"),
    ("d2", "99.9.9.9", "10.0.0.1"),
    ("d2", "10.2.0.9", "10.0.0.1"),
    ("d1", "10.2.0.9", "10.1.0.1"),
)
PAIRS6 = (
    ("d0", "fd00::9", "fd00::1"),
    ("d0", "fd00::9", "fd00:1::9"),
    ("d0", "fd00:1::9", "fd00::1"),
    ("d0", "fd00::1", "fd00::1"),
    ("d0", "::1", "fd00::1"),
    ("d0", "fd00::9", "::1"),
    ("d0", "ff02::5", "fd00::1"),
    ("d0", "2001:db8:9::9", "fd00::1"),
)
SETUP = (
    "link set lo up",
    "addr add 10.0.0.1/24 brd + dev d0",
    "addr add 10.1.0.1/24 brd + dev d1",
    "route add 10.2.0.0/24 nexthop dev d2 nexthop dev d1",
    "route add blackhole 98.0.0.0/8",
    "addr add fd00::1/64 dev d0 nodad",
    "addr add fd00:1::1/64 dev d1 nodad",
)
CUSTOM = ("rule add to 9.9.9.9 lookup 100", "route add local 97.0.0.0/8 dev d1")


@pytest.mark.parametrize("custom", [False, True], ids=["kernel-rules", "custom-rules"])
def test_received_packets_are_checked_as_the_kernel_does(custom: bool) -> None:
    wrong: list[str] = []
    with namespaces(2) as (inner, outer):
        wire(inner, outer, ("d0", "d1", "d2"))
        inner.ip(*SETUP, *(CUSTOM if custom else ()))
        inner.sysctl({"net.ipv4.conf.all.forwarding": 1, "net.ipv6.conf.all.forwarding": 1, "net.ipv4.conf.default.rp_filter": 0})
        inner.sysctl({f"net.ipv4.conf.d{n}.rp_filter": 0 for n in range(3)})
        for program, pairs in (("iptables", PAIRS4), ("ip6tables", PAIRS6)):
            rules = [f"-A {chain} -i {i} -s {s} -d {d}" for (i, s, d), chain in itertools.product(pairs, ("INPUT", "FORWARD"))]
            inner.run(f"{program}-restore", text="\n".join(["*mangle", *rules, "COMMIT", ""]))
        macs = {device: mac_of(inner, device) for device in ("d0", "d1", "d2")}
        sockets = {device: outer.packet_socket(f"{device}x") for device in macs}
        texts = inner.texts()
        for rp_filter, accept_local, route_localnet, where in itertools.product((0, 1, 2), (0, 1), (0, 1), ("all", "d0")):
            inner.sysctl({f"net.ipv4.conf.{d}.{key}": 0 for d in ("all", "d0") for key in ("rp_filter", "accept_local", "route_localnet")})
            values = {"rp_filter": rp_filter, "accept_local": accept_local, "route_localnet": route_localnet}
            inner.sysctl({f"net.ipv4.conf.{where}.{key}": value for key, value in values.items()})
            # Of equal names in a sysctl text the last counts: only the switches change.
            switched = "".join(
                f"\nnet.ipv4.conf.{d}.{key} = {value if d == where else 0}" for d in ("all", "d0") for key, value in values.items()
            )
            routing = Routing.from_texts("r", **{**texts, "sysctl": texts["sysctl"] + switched})
            for number, (device, source, destination) in enumerate((*PAIRS4, *PAIRS6)):
                sockets[device].send(udp_frame(macs[device], source, destination, number))
            time.sleep(0.02)
            counted = counters(inner, "iptables") | counters(inner, "ip6tables")
            for device, source, destination in (*PAIRS4, *PAIRS6):
                verdict = routing.validate_source(ip_address(source), device, ip_address(destination))
                results = routing.lookup(ip_address(destination), source=ip_address(source), iif=device)
                ours = verdict.ok and results[0].kind in (ResultKind.LOCAL, ResultKind.UNICAST)
                if ours != ((device, source, destination) in counted):
                    wrong.append(f"{where} {values} {source} → {destination} on {device}: kernel {not ours}, ours {verdict}")
        for made in sockets.values():
            made.close()
    assert not wrong, f"{len(wrong)} differ\n" + "\n".join(wrong[:12])


def counters(inner: Namespace, program: str) -> set[tuple[str, str, str]]:
    """Return the (device, source, destination) whose rule counted a packet, and set the counters to zero."""
    text = inner.run(f"{program}-save", "-c", "-t", "mangle")
    inner.run(program, "-t", "mangle", "-Z")
    found = re.finditer(r"\[([1-9]\d*):\d+\] -A (?:INPUT|FORWARD) -s (\S+)/\d+ -d (\S+)/\d+ -i (\S+)", text)
    return {(m[4], m[2], m[3]) for m in found}


TYPES4 = ("UNSPEC", "UNICAST", "LOCAL", "BROADCAST", "ANYCAST", "MULTICAST", "BLACKHOLE", "UNREACHABLE", "PROHIBIT")
TYPES6 = ("UNSPEC", "UNICAST", "LOCAL", "ANYCAST", "MULTICAST", "UNREACHABLE", "UNICAST,LOCAL", "LOCAL,UNREACHABLE")


@pytest.mark.parametrize("version", [4, 6])
def test_address_types_are_the_kernels(version: int) -> None:
    print(f"ROUTING_ORACLE_SEED={SEED}")
    wrong: list[str] = []
    types = TYPES4 if version == 4 else TYPES6
    program = "iptables" if version == 4 else "ip6tables"
    for world in range(WORLDS):
        rng = random.Random(f"types/{SEED}/{version}/{world}")
        with namespaces(2) as (inner, outer):
            made = build(rng, version, inner, outer)
            addresses = list(dict.fromkeys(made._place() for _ in range(25)))
            if version == 6:
                # ip6_rcv_core() drops these before any hook is asked.
                addresses = [a for a in addresses if not ip_address(a).is_loopback]
            extra = {None: "", "d0": "--limit-iface-in"}
            rules = [
                f"-A PREROUTING -i d0 -d {a} -m addrtype --dst-type {t} {limit} -m comment --comment {n}/{t}/{device or '-'}"
                for (n, a), t, (device, limit) in itertools.product(enumerate(addresses), types, extra.items())
            ]
            inner.run(f"{program}-restore", text="\n".join(["*raw", *rules, "COMMIT", ""]))
            routing = inner.routing()
            with outer.packet_socket("d0x") as made_socket:
                for number, address in enumerate(addresses):
                    made_socket.send(udp_frame(mac_of(inner, "d0"), "198.51.100.1" if version == 4 else "2001:db8:f::1", address, number))
            time.sleep(0.05)
            text = inner.run(f"{program}-save", "-c", "-t", "raw")
            hits = set(re.findall(r"\[[1-9]\d*:\d+\] .*--comment \"?([^\s\"]+)", text))
            for (number, address), type_, device in itertools.product(enumerate(addresses), types, extra):
                ours = routing.has_address_type(ip_address(address), type_.split(","), device)
                kernel = f"{number}/{type_}/{device or '-'}" in hits
                if ours is not None and ours != kernel:
                    wrong.append(f"world {world}: {address} {type_} on {device}: kernel {kernel}, ours {ours}")
    assert not wrong, f"seed {SEED}: {len(wrong)} differ\n" + "\n".join(wrong[:12])

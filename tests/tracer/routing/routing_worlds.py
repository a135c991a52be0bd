"""The routing oracle's four questions, each in two halves: ``observe`` asks the kernel, ``wrong`` holds our answer against what it did.

What was observed is a plain value, so that it can be written down: the living kernel (test_routing_kernel, test_routing_packets) and the
recording (test_routing_recorded) are held against the same code.
"""

from __future__ import annotations

import itertools
import os
import random
import re
import time
from collections import Counter
from dataclasses import asdict, dataclass
from ipaddress import ip_address
from typing import Any

from tests.tracer.routing.routing_frames import collect, mac_of, udp_frame
from tests.tracer.routing.routing_netns import Namespace, namespaces, wire
from tests.tracer.routing.routing_random import Query, World
from tracer.packet import Protocol
from tracer.routing import ResultKind, Routing, SourceCheck

QUERIES = 150
DEVICES = ("d0", "d1", "d2", "d3")
ERRORS = {
    "Invalid argument": "invalid",
    "Network is unreachable": "none",
    "No route to host": "unreachable",
    "Permission denied": "prohibit",
    "Invalid cross-device link": "refused",
}
# How the kernel answers where its answer is an error number: blackhole and refused packets share EINVAL.
SAME_ERROR = {"blackhole": "invalid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A namespace's dumps, and the release of its kernel."""

    texts: dict[str, str]
    release: str

    def routing(self, sysctl: str = "") -> Routing:
        """Return it as the tracer reads it; *sysctl* is added to its own, and counts where they name the same."""
        routing = Routing.from_texts("r", **{**self.texts, "sysctl": self.texts["sysctl"] + sysctl}, kernel=self.release)
        assert not routing.missing, (routing.missing, routing.faults)
        return routing


def _stack(space: Namespace) -> Stack:
    return Stack(texts=space.texts(), release=os.uname().release)


# -- ip route get -----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookups:
    """A random stack, and what ``ip route get`` answered in it: the JSON object, or the error's text."""

    stack: Stack
    version: int
    queries: list[Query]
    answers: list[dict[str, object] | str]

    @classmethod
    def observe(cls, seed: int, version: int, world: int) -> Lookups:
        """Make world number *world* of *seed*, and ask the kernel."""
        rng = random.Random(f"{seed}/{version}/{world}")
        with namespaces(2) as (inner, outer):
            wire(inner, outer, DEVICES)
            inner.ip("link add br0 type bridge", "link set br0 up", "link set lo up")
            if rng.random() < 0.3:
                outer.ip("link set d3x down")
                time.sleep(1.1)  # linkwatch tells the routes within a second
            made = World(rng, version)
            for device in ("all", *DEVICES):
                switches = {
                    "rp_filter": rng.choice((0, 0, 1, 2)),
                    "accept_local": rng.choice((0, 0, 0, 1)),
                    "route_localnet": rng.choice((0, 0, 0, 1)),
                }
                inner.sysctl({f"net.ipv4.conf.{device}.{key}": value for key, value in switches.items()})
                if rng.random() < 0.2:
                    inner.sysctl({f"net.ipv{version}.conf.{device}.ignore_routes_with_linkdown": 1})
            inner.sysctl({f"net.ipv{version}.conf.all.forwarding": rng.choice((0, 1, 1, 1))})
            # After the switches: next hops keep the source address they got when they were made.
            inner.ip(*made.commands, force=True, options=made.options)
            time.sleep(0.1)
            stack = _stack(inner)
            held = (address.address for address in stack.routing().addresses if address.address.version == version)
            made.local = [str(address) for address in held if not address.is_link_local]
            queries = [query for query in made.queries(QUERIES) if not skipped(query)]
            answers = inner.route_get([query.to_text() for query in queries], version)
        return cls(stack=stack, version=version, queries=queries, answers=answers)

    @classmethod
    def of_json(cls, value: dict[str, Any]) -> Lookups:
        """Return what was written down as JSON."""
        return cls(**value | {"stack": Stack(**value["stack"]), "queries": [Query(**query) for query in value["queries"]]})

    def wrong(self, tally: Counter[str]) -> list[str]:
        """Return where we answer something else, and count the kernel's answers (``unknown``: ours is) in *tally*."""
        routing, found = self.stack.routing(), []
        for query, answer in zip(self.queries, self.answers, strict=True):
            kernel, ours = kernel_outcome(answer, query), our_outcomes(routing, query)
            tally["unknown" if not ours else str(kernel[0])] += 1
            if ours and kernel not in ours:
                found.append(f"{query.to_text()}\n  kernel {kernel}  {answer}\n  ours   {sorted(map(str, ours))}")
        return found


def kernel_outcome(answer: dict[str, object] | str, query: Query) -> tuple[object, ...]:
    """Return the kernel's answer as (kind, device, next hop, source)."""
    if isinstance(answer, str):
        known = [kind for text, kind in ERRORS.items() if answer.endswith(text)]
        return (known[0] if known else answer, None, None, None)
    kind = str(answer.get("type", "unicast"))
    if kind == "unicast" and answer.get("dev") == "lo" and ip_address(query.destination).version == 6 and query.destination != "::1":
        return ("unreachable", None, None, None)  # shown as unicast, but made to reject
    via = answer.get("via")
    gateway = answer.get("gateway") or (via["host"] if isinstance(via, dict) else None)
    device = None if kind in ("local", "anycast") or (query.iif and kind == "broadcast") else answer.get("dev")
    source = None if query.iif or query.source else answer.get("prefsrc")
    return (kind, device, gateway, source)


def our_outcomes(routing: Routing, query: Query) -> set[tuple[object, ...]]:
    """Return every answer we hold possible, in the same form; empty if unknown."""
    destination = ip_address(query.destination)
    if query.iif and destination.version == 4 and (refused := refusal(routing, query)) is not None:
        return refused
    results = look_up(routing, query)
    found = set()
    for result in results:
        if result.kind is ResultKind.UNKNOWN:
            return set()
        kind = SAME_ERROR.get(result.kind.value, result.kind.value)
        if kind in ("invalid", "none", "unreachable", "prohibit"):
            # A rule that says unreachable answers as no route does.
            found.add(("none" if kind == "unreachable" and result.route is None else kind, None, None, None))
            continue
        here = result.kind in (ResultKind.LOCAL, ResultKind.ANYCAST) or (query.iif and result.kind is ResultKind.BROADCAST)
        source = None if query.iif or query.source or result.source is None else str(result.source)
        found.add((kind, None if here else result.device, None if result.gateway is None else str(result.gateway), source))
    return found


def refusal(routing: Routing, query: Query) -> set[tuple[object, ...]] | None:
    """Return the errors of a received packet that is not taken, whatever its route; empty if unknown, None if it is taken."""
    verdict = routing.validate_source(
        ip_address(query.source or "0.0.0.0"),
        query.iif or "",
        ip_address(query.destination),
        mark=query.mark,
        protocol=Protocol(query.protocol),
        source_port=query.source_port,
        destination_port=query.destination_port,
        tos=query.tos,
    )
    errors = {(kind, None, None, None) for kind in ("invalid", "refused", "unreachable")}
    if verdict.check is SourceCheck.UNKNOWN:
        return set()
    if verdict.check is not SourceCheck.OK:
        return errors
    results = look_up(routing, query)
    kinds = {result.kind for result in results}
    if not kinds & {ResultKind.LOCAL, ResultKind.BROADCAST, ResultKind.UNKNOWN} and not routing.forwarding(4, query.iif):
        return errors
    return None


def look_up(routing: Routing, query: Query):
    """Return our answer."""
    return routing.lookup(
        ip_address(query.destination),
        source=ip_address(query.source) if query.source else None,
        mark=query.mark,
        iif=query.iif,
        oif=query.oif,
        protocol=Protocol(query.protocol),
        source_port=query.source_port,
        destination_port=query.destination_port,
        tos=query.tos,
        # `route get` asks as root, but for received IPv6 as nobody at all (a real packet is root's: its flow's uid is zero).
        uid=0xFFFFFFFF if query.iif and ":" in query.destination else 0,
    )


def skipped(query: Query) -> bool:
    """Return whether ``ip route get`` itself asks something else: a received multicast packet needs a listener."""
    return bool(query.iif) and ip_address(query.destination).is_multicast


# -- real packets -----------------------------------------------------------------------------------------------------------------------


def _router(rng: random.Random, version: int, inner: Namespace, outer: Namespace) -> World:
    """Make a random router of *inner*, without reverse-path filter, and return its world."""
    wire(inner, outer, DEVICES)
    inner.ip("link add br0 type bridge", "link set br0 up", "link set lo up")
    inner.sysctl({f"net.ipv{version}.conf.all.forwarding": 1, "net.ipv4.conf.all.rp_filter": 0})
    made = World(rng, version)
    inner.ip(*made.commands, force=True, options=made.options)
    time.sleep(0.1)
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Masquerades:
    """A random router that masquerades everything: packet number n goes to *destinations*[n], and *seen*[n] is where it came out and as whose."""

    stack: Stack
    version: int
    destinations: list[str]
    seen: list[tuple[str, str] | None]

    @classmethod
    def observe(cls, seed: int, version: int, world: int) -> Masquerades:
        """Make world number *world* of *seed*, and send the packets."""
        rng = random.Random(f"masquerade/{seed}/{version}/{world}")
        with namespaces(2) as (inner, outer):
            made = _router(rng, version, inner, outer)
            inner.run("iptables" if version == 4 else "ip6tables", "-t", "nat", "-A", "POSTROUTING", "-j", "MASQUERADE")
            stack = _stack(inner)
            destinations = [made._place() for _ in range(60)]
            sockets = {device: outer.packet_socket(f"{device}x") for device in DEVICES}
            mac = mac_of(inner, "d0")
            for number, destination in enumerate(destinations):
                sockets["d0"].send(udp_frame(mac, _sender(version), destination, number, source_port=20000 + number))
            found = collect(sockets, len(destinations))
            for made_socket in sockets.values():
                made_socket.close()
        seen = [None if (one := found.get(number)) is None else (one.device, one.source) for number in range(len(destinations))]
        return cls(stack=stack, version=version, destinations=destinations, seen=seen)

    @classmethod
    def of_json(cls, value: dict[str, Any]) -> Masquerades:
        """Return what was written down as JSON."""
        seen = [None if one is None else (one[0], one[1]) for one in value["seen"]]
        return cls(**value | {"stack": Stack(**value["stack"]), "seen": seen})

    def wrong(self, tally: Counter[str]) -> list[str]:
        """Return where we say something else, and count the packets that came out."""
        routing, found = self.stack.routing(), []
        for number, (destination, kernel) in enumerate(zip(self.destinations, self.seen, strict=True)):
            ours = forwarded(routing, _sender(self.version), destination, 20000 + number)
            if ours is None:
                continue
            tally["came out"] += kernel is not None
            if kernel not in ours:
                found.append(f"to {destination}: kernel {kernel}, ours {ours}")
        return found


def _sender(version: int) -> str:
    return "203.0.113.5" if version == 4 else "2001:db8:ffff::5"


def forwarded(routing: Routing, sender: str, destination: str, port: int) -> set[tuple[str, str] | None] | None:
    """Return where the packet may come out and with which source; None in the set: nowhere; None for the whole: cannot be told here."""
    source, to = ip_address(sender), ip_address(destination)
    if to.is_multicast or to == ip_address("255.255.255.255"):
        return None
    verdict = routing.validate_source(source, "d0", to, protocol=Protocol.UDP, source_port=port, destination_port=53)
    if verdict.check is not SourceCheck.OK:
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
SWITCHES = ("rp_filter", "accept_local", "route_localnet")
_Pair = tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Switched:
    """One setting of the switches, and the (device, source, destination) whose packet a rule of INPUT or FORWARD counted."""

    where: str
    values: dict[str, int]
    counted: list[_Pair]


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A router whose switches are set in every way, and which of ``PAIRS`` it took."""

    stack: Stack
    switched: list[Switched]

    @classmethod
    def observe(cls, custom: bool) -> Received:
        """Send every pair under every setting; *custom*: with rules of its own beside the kernel's."""
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
            stack, found = _stack(inner), []
            for rp_filter, accept_local, route_localnet, where in itertools.product((0, 1, 2), (0, 1), (0, 1), ("all", "d0")):
                inner.sysctl({f"net.ipv4.conf.{d}.{key}": 0 for d in ("all", "d0") for key in SWITCHES})
                values = dict(zip(SWITCHES, (rp_filter, accept_local, route_localnet), strict=True))
                inner.sysctl({f"net.ipv4.conf.{where}.{key}": value for key, value in values.items()})
                for number, (device, source, destination) in enumerate((*PAIRS4, *PAIRS6)):
                    sockets[device].send(udp_frame(macs[device], source, destination, number))
                time.sleep(0.02)
                counted = counters(inner, "iptables") | counters(inner, "ip6tables")
                found.append(Switched(where=where, values=values, counted=sorted(counted)))
            for made in sockets.values():
                made.close()
        return cls(stack=stack, switched=found)

    @classmethod
    def of_json(cls, value: dict[str, Any]) -> Received:
        """Return what was written down as JSON."""
        found = [Switched(**one | {"counted": [(a, b, c) for a, b, c in one["counted"]]}) for one in value["switched"]]
        return cls(stack=Stack(**value["stack"]), switched=found)

    def wrong(self, tally: Counter[str]) -> list[str]:
        """Return where we say something else, and count what the kernel took."""
        found = []
        for one in self.switched:
            # Of equal names in a sysctl text the last counts: only the switches change.
            switched = "".join(
                f"\nnet.ipv4.conf.{d}.{key} = {value if d == one.where else 0}" for d in ("all", "d0") for key, value in one.values.items()
            )
            routing = self.stack.routing(switched)
            for device, source, destination in (*PAIRS4, *PAIRS6):
                verdict = routing.validate_source(ip_address(source), device, ip_address(destination))
                results = routing.lookup(ip_address(destination), source=ip_address(source), iif=device)
                ours = verdict.check is SourceCheck.OK and results[0].kind in (ResultKind.LOCAL, ResultKind.UNICAST)
                taken = (device, source, destination) in one.counted
                tally["taken" if taken else "refused"] += 1
                if ours != taken:
                    found.append(f"{one.where} {one.values} {source} → {destination} on {device}: kernel {taken}, ours {verdict}")
        return found


def counters(inner: Namespace, program: str) -> set[tuple[str, str, str]]:
    """Return the (device, source, destination) whose rule counted a packet, and set the counters to zero."""
    text = inner.run(f"{program}-save", "-c", "-t", "mangle")
    inner.run(program, "-t", "mangle", "-Z")
    found = re.finditer(r"\[([1-9]\d*):\d+\] -A (?:INPUT|FORWARD) -s (\S+)/\d+ -d (\S+)/\d+ -i (\S+)", text)
    return {(m[4], m[2], m[3]) for m in found}


TYPES4 = ("UNSPEC", "UNICAST", "LOCAL", "BROADCAST", "ANYCAST", "MULTICAST", "BLACKHOLE", "UNREACHABLE", "PROHIBIT")
TYPES6 = ("UNSPEC", "UNICAST", "LOCAL", "ANYCAST", "MULTICAST", "UNREACHABLE", "UNICAST,LOCAL", "LOCAL,UNREACHABLE")
_LIMITS = {None: "", "d0": "--limit-iface-in"}


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressTypes:
    """A random router, and which rules of ``-m addrtype`` counted a packet: *hits* are ``number of the address/type/device``."""

    stack: Stack
    version: int
    addresses: list[str]
    hits: list[str]

    @classmethod
    def observe(cls, seed: int, version: int, world: int) -> AddressTypes:
        """Make world number *world* of *seed*, and send a packet to each address."""
        program = "iptables" if version == 4 else "ip6tables"
        rng = random.Random(f"types/{seed}/{version}/{world}")
        with namespaces(2) as (inner, outer):
            made = _router(rng, version, inner, outer)
            addresses = list(dict.fromkeys(made._place() for _ in range(25)))
            if version == 6:
                # ip6_rcv_core() drops these before any hook is asked.
                addresses = [a for a in addresses if not ip_address(a).is_loopback]
            rules = [
                f"-A PREROUTING -i d0 -d {a} -m addrtype --dst-type {t} {limit} -m comment --comment {n}/{t}/{device or '-'}"
                for (n, a), t, (device, limit) in itertools.product(enumerate(addresses), _types(version), _LIMITS.items())
            ]
            inner.run(f"{program}-restore", text="\n".join(["*raw", *rules, "COMMIT", ""]))
            stack = _stack(inner)
            with outer.packet_socket("d0x") as made_socket:
                mac = mac_of(inner, "d0")
                for number, address in enumerate(addresses):
                    made_socket.send(udp_frame(mac, "198.51.100.1" if version == 4 else "2001:db8:f::1", address, number))
            time.sleep(0.05)
            text = inner.run(f"{program}-save", "-c", "-t", "raw")
        hits = sorted(set(re.findall(r"\[[1-9]\d*:\d+\] .*--comment \"?([^\s\"]+)", text)))
        return cls(stack=stack, version=version, addresses=addresses, hits=hits)

    @classmethod
    def of_json(cls, value: dict[str, Any]) -> AddressTypes:
        """Return what was written down as JSON."""
        return cls(**value | {"stack": Stack(**value["stack"])})

    def wrong(self, tally: Counter[str]) -> list[str]:
        """Return where we say something else, and count what was hit and missed (``unknown``: we cannot tell)."""
        routing, found = self.stack.routing(), []
        for (number, address), type_, device in itertools.product(enumerate(self.addresses), _types(self.version), _LIMITS):
            ours = routing.has_address_type(ip_address(address), type_.split(","), device)
            kernel = f"{number}/{type_}/{device or '-'}" in self.hits
            tally["unknown" if ours is None else "hit" if kernel else "missed"] += 1
            if ours is not None and ours != kernel:
                found.append(f"{address} {type_} on {device}: kernel {kernel}, ours {ours}")
        return found


def _types(version: int) -> tuple[str, ...]:
    return TYPES4 if version == 4 else TYPES6


def to_json(observed: Lookups | Masquerades | Received | AddressTypes) -> dict[str, Any]:
    """Return what is written down of it; each class reads its own again with ``of_json``."""
    return asdict(observed)

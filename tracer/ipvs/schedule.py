"""Which real server a scheduler gives a new connection: every choice with its share, and what the share rests on.

Where the snapshot does not hold what the scheduler looks at, the choices get equal parts of the whole and a *condition* says so.
NB: ipvsadm sorts real servers when it prints them, but sh, dh and mh fill their tables in the order of the kernel's list, in which the one
added last stands in front. A hash is computed where that order is known, or does not matter.
Source: ip_vs_rr.c, ip_vs_wrr.c, ip_vs_lc.c, ip_vs_wlc.c, ip_vs_sed.c, ip_vs_nq.c, ip_vs_sh.c, ip_vs_dh.c, ip_vs_mh.c, ip_vs_lblc.c,
ip_vs_lblcr.c, ip_vs_fo.c, ip_vs_ovf.c, Linux 6.18.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from itertools import permutations
from math import factorial

from tracer.ipvs.hashing import after_source, destination_table, maglev_slot, maglev_table, slot, source_table
from tracer.ipvs.model import RealServer, VirtualServer
from tracer.limits import ORDERS
from tracer.packet import Packet
from tracer.values import dataclass

_ONE = Fraction(1)
Load = Callable[[int, int, int], Fraction]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One real server that may be chosen (None: the scheduler finds none), its share, and why it would be this one.

    *condition* is None where the share is exact.
    """

    real_server: RealServer | None
    share: Fraction = _ONE
    reason: str = ""
    condition: str | None = None


def choices(server: VirtualServer, packet: Packet | None = None) -> tuple[Choice, ...]:
    """Return what *server*'s scheduler may choose for a new connection of a client that it does not know; shares sum to 1.

    *packet* is the client's, as it comes to the scheduler: the hash schedulers look at it. Its source port counts unless it is random.
    """
    usable = tuple(r for r in server.real_servers if r.weight > 0)
    if not usable:
        why = "it has no real server" if not server.real_servers else "all its real servers have weight 0"
        return (Choice(real_server=None, reason=why),)
    crowded = [r for r in usable if r.upper_threshold and (r.active is None or r.active + (r.inactive or 0) >= r.upper_threshold)]
    if crowded:
        return _equally(usable, "one that has not reached its connection threshold", "whether real servers are overloaded")
    match server.scheduler:
        case "rr":
            return _shared(usable, lambda r: 1, "round robin: equal shares")
        case "wrr":
            return _shared(usable, lambda r: r.weight, "weighted round robin: shares by weight")
        case "sh" | "dh" | "mh":
            return _hashed(server, usable, packet)
        case "lc":
            return _least(usable, _connections, "least connections")
        case "wlc":
            return _least(
                usable, lambda active, inactive, weight: Fraction((active << 8) + inactive, weight), "least connections by weight"
            )
        case "sed":
            return _least(usable, _expected_delay, "shortest expected delay")
        case "nq":
            return _never_queue(usable)
        case "fo":
            best = max(r.weight for r in usable)
            return _equally(tuple(r for r in usable if r.weight == best), "the highest weight", "which was added last")
        case "lblc" | "lblcr":
            return _equally(usable, "locality: the one that last served this address", "the scheduler's cache of addresses")
        case _:
            return _equally(usable, f"scheduler {server.scheduler}", f"what scheduler {server.scheduler} looks at")


def _shared(usable: tuple[RealServer, ...], weight: Callable[[RealServer], int], reason: str) -> tuple[Choice, ...]:
    if len(usable) == 1:
        return (Choice(real_server=usable[0], reason="its only real server"),)
    total = sum(map(weight, usable))
    return tuple(Choice(real_server=r, share=Fraction(weight(r), total), reason=reason) for r in usable)


def _equally(found: tuple[RealServer, ...], reason: str, missing: str) -> tuple[Choice, ...]:
    """Equal parts of the whole, under a condition each: the snapshot does not hold *missing*."""
    if len(found) == 1:
        return (Choice(real_server=found[0], reason=reason),)
    share = Fraction(1, len(found))
    return tuple(
        Choice(real_server=r, share=share, reason=reason, condition=f"real server {r.address} port {r.port} is chosen ({missing})")
        for r in found
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hash:
    """One of the three hash schedulers: what it hashes, and whom it takes when its list is in a certain order."""

    of: str
    taken: Callable[[tuple[RealServer, ...], Packet, int, bool], RealServer | None]
    fallback_flags: tuple[str, ...] = ()
    port_flags: tuple[str, ...] = ()
    proof: str = ""

    def falls_back(self, server: VirtualServer) -> bool:
        """Return whether *server* takes another real server where the one of the slot is drained."""
        return any(flag in server.flags for flag in self.fallback_flags)

    def hashes_ports(self, server: VirtualServer) -> bool:
        """Return whether *server* hashes the client's port as well."""
        return any(flag in server.flags for flag in self.port_flags)


def _by_source(servers: tuple[RealServer, ...], packet: Packet, port: int, falls_back: bool) -> RealServer | None:
    table = source_table(servers)
    return after_source(table, packet.source, port) if falls_back else _with_weight(table[slot(packet.source, port)])


def _by_destination(servers: tuple[RealServer, ...], packet: Packet, port: int, falls_back: bool) -> RealServer | None:
    return _with_weight(destination_table(servers)[slot(packet.destination)])


def _by_maglev(servers: tuple[RealServer, ...], packet: Packet, port: int, falls_back: bool) -> RealServer | None:
    return maglev_table(servers)[maglev_slot(packet.source, port)]


def _with_weight(found: RealServer) -> RealServer | None:
    return found if found.weight > 0 else None


_UNPROVED = "; as the kernel's source says, not proved with packets"
_HASHES = {
    "sh": _Hash(
        of="source address",
        taken=_by_source,
        fallback_flags=("sh-fallback", "flag-1"),
        port_flags=("sh-port", "flag-2"),
    ),
    "dh": _Hash(of="destination address", taken=_by_destination, proof=_UNPROVED),
    "mh": _Hash(
        of="source address",
        taken=_by_maglev,
        fallback_flags=("mh-fallback", "flag-1"),
        port_flags=("mh-port", "flag-2"),
        proof=_UNPROVED,
    ),
}
"""Scheduler → how it hashes."""


def _hashed(server: VirtualServer, usable: tuple[RealServer, ...], packet: Packet | None) -> tuple[Choice, ...]:
    """The real server that has the slot of the client's address: always the same one.

    Which one depends on the order of the kernel's list. Where that is not known every order is tried, and only one that all agree on is
    certain: for mh most are, for sh and dh hardly any. NB: kube-proxy adds real servers in the order of a Go map, which begins anywhere.
    """
    how = _HASHES[server.scheduler]
    with_port, falls_back = how.hashes_ports(server), how.falls_back(server)
    reason = f"hash of the {how.of}{' and port' if with_port else ''}: always the same one"
    if falls_back and len(usable) == 1:
        return (Choice(real_server=usable[0], reason=reason),)
    port = _port(packet) if with_port else 0
    missing = f"the {server.scheduler} table, which depends on the order in which the real servers were added"
    if server.is_renamed and (server.in_kernel_order or server.scheduler == "mh"):
        missing = f"the {server.scheduler} table, which is of other addresses: this snapshot's were replaced"
    if server.hides_flags and how.fallback_flags and len(server.real_servers) > 1:
        missing = f"the flags of scheduler {server.scheduler}, which /proc/net/ip_vs does not show"
        return _any_slot(server, usable, falls_back, reason, missing)
    if packet is None or server.is_renamed:
        return _any_slot(server, usable, falls_back, reason, missing)
    if how.of != "destination address" and port is None:
        return _any_slot(server, usable, falls_back, reason, f"the {server.scheduler} table and the client's port")
    # A drained server keeps its slots of mh's table by a weight that it had before, and no listing tells that.
    if server.scheduler == "mh" and len(usable) < len(server.real_servers):
        missing = "the mh table, in which drained real servers keep a weight that they had before"
        return _any_slot(server, usable, falls_back, reason, missing)
    orders = _orders(server)
    if orders is None:
        return _any_slot(server, usable, falls_back, reason, missing)
    found = Counter(how.taken(order, packet, port or 0, falls_back) for order in orders)
    if len(found) == 1:
        certain = "whatever the order of its list" if len(orders) > 1 else "by the order in which they are listed"
        alone = len(server.real_servers) == 1
        return (Choice(real_server=next(iter(found)), reason=f"{reason}{'' if alone else f', {certain}'}{how.proof}"),)
    total = found.total()
    ways = [r for r in (*server.real_servers, None) if r in found]
    return tuple(_if_slot(r, Fraction(found[r], total), reason + how.proof, missing) for r in ways)


def _orders(server: VirtualServer) -> tuple[tuple[RealServer, ...], ...] | None:
    """Every order that the kernel's list may be in, None where those are too many."""
    if server.in_kernel_order or len(server.real_servers) == 1:
        return (server.real_servers,)
    count = len(server.real_servers)
    return tuple(permutations(server.real_servers)) if count <= ORDERS and factorial(count) <= ORDERS else None


def _port(packet: Packet | None) -> int | None:
    return None if packet is None or packet.source_port_random else packet.source_port


def _any_slot(server: VirtualServer, usable: tuple[RealServer, ...], falls_back: bool, reason: str, missing: str) -> tuple[Choice, ...]:
    """Any real server, since nothing tells which slots are whose; without a fallback who hashes to a drained one is refused."""
    if falls_back or len(usable) == len(server.real_servers):
        return _equally(usable, reason, missing)
    share = Fraction(1, len(server.real_servers))
    drained = share * (len(server.real_servers) - len(usable))
    found = tuple(_if_slot(r, share, reason, missing) for r in usable)
    return (*found, _if_slot(None, drained, reason, missing))


def _if_slot(real: RealServer | None, share: Fraction, reason: str, missing: str) -> Choice:
    chosen = "a drained real server" if real is None else f"real server {real.address} port {real.port}"
    return Choice(real_server=real, share=share, reason=reason, condition=f"{chosen} is chosen ({missing})")


def _connections(active: int, inactive: int, weight: int) -> Fraction:
    return Fraction((active << 8) + inactive)


def _expected_delay(active: int, inactive: int, weight: int) -> Fraction:
    return Fraction(active + 1, weight)


def _least(usable: tuple[RealServer, ...], load: Load, reason: str) -> tuple[Choice, ...]:
    """The real server with the least load when its connections were counted; of equals the kernel takes the first of its own list."""
    if len(usable) == 1:
        return (Choice(real_server=usable[0], reason="its only real server"),)
    loads = [load(r.active, r.inactive or 0, r.weight) for r in usable if r.active is not None]
    if len(loads) < len(usable):
        return _equally(usable, reason, "how many connections each has (ipvsadm-list.txt)")
    lowest = min(loads)
    least = tuple(r for r, of in zip(usable, loads, strict=True) if of == lowest)
    if len(least) > 1:
        return _equally(least, reason, "they had equally few connections when they were counted")
    counted = f"{reason}: {least[0].active} active and {least[0].inactive} inactive when they were counted"
    return (Choice(real_server=least[0], reason=counted),)


def _never_queue(usable: tuple[RealServer, ...]) -> tuple[Choice, ...]:
    """An idle real server if there is one, else the shortest expected delay."""
    idle = tuple(r for r in usable if r.active == 0)
    if idle and all(r.active is not None for r in usable):
        return _equally(idle, "never queue: one without active connections", "several were idle when connections were counted")
    return _least(usable, _expected_delay, "shortest expected delay")

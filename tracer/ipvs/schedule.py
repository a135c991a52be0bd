"""Which real server a scheduler gives a new connection: every choice with its share, and what the share rests on.

Where the snapshot does not hold what the scheduler looks at, the choices get equal parts of the whole and a *condition* says so.
NB: ipvsadm sorts real servers when it prints them, but sh, dh and mh fill their tables in the order in which kube-proxy added them. So a
hash is computed only where order does not matter.
Source: ip_vs_rr.c, ip_vs_wrr.c, ip_vs_lc.c, ip_vs_wlc.c, ip_vs_sed.c, ip_vs_nq.c, ip_vs_sh.c, ip_vs_dh.c, ip_vs_mh.c, ip_vs_lblc.c,
ip_vs_lblcr.c, ip_vs_fo.c, ip_vs_ovf.c, Linux 6.18.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from tracer.ipvs.model import RealServer, VirtualServer

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


def choices(server: VirtualServer) -> tuple[Choice, ...]:
    """Return what *server*'s scheduler may choose for a new connection of a client that it does not know; shares sum to 1."""
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
            return _hashed(server, usable)
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


def _hashed(server: VirtualServer, usable: tuple[RealServer, ...]) -> tuple[Choice, ...]:
    """A hash of the source (sh, mh) or destination (dh) address: the same real server every time, which one depends on table order.

    Without the fallback flag sh and dh keep a slot for a drained server, and who hashes there is refused.
    """
    what = "destination" if server.scheduler == "dh" else "source"
    ports = " and port" if any(f in server.flags for f in ("sh-port", "mh-port", "flag-2")) else ""
    reason = f"hash of the {what} address{ports}: always the same one"
    missing = f"the {server.scheduler} table, which depends on the order in which the real servers were added"
    falls_back = server.scheduler == "mh" or any(f in server.flags for f in ("sh-fallback", "flag-1"))
    if falls_back or len(usable) == len(server.real_servers):
        return _equally(usable, reason, missing)
    share = Fraction(1, len(server.real_servers))
    drained = share * (len(server.real_servers) - len(usable))
    found = tuple(
        Choice(real_server=r, share=share, reason=reason, condition=f"real server {r.address} port {r.port} is chosen ({missing})")
        for r in usable
    )
    return (*found, Choice(real_server=None, share=drained, reason=reason, condition=f"a drained real server is chosen ({missing})"))


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

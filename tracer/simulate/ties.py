"""What one hook has of equal priority, where nothing tells what of it the kernel asks first: conditions, if the packet's way depends on it.

Strategy: every order that is possible is tried from the packet as it is, and those that lead to the same are one. Where all do, nothing is
said. What a walk has settled it keeps: an answer, or a second packet of the flow, meets the same order.
Chains that let the packet pass as it came stand aside. Source: nf_hook_entries_grow (netfilter/core.c), Linux 6.18.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import field
from fractions import Fraction
from itertools import combinations, islice, permutations
from typing import Generic, TypeVar

from tracer.assumptions import HOOKS, KINDS, LEGACY_FIRST
from tracer.conntrack import Connection
from tracer.forks import Fork
from tracer.frozen import changed
from tracer.limits import TIED
from tracer.netfilter.registered import BackEnd, Registered
from tracer.simulate.assuming import Assuming
from tracer.simulate.crossing import Passed
from tracer.simulate.walk import Ending, Walk
from tracer.snapshot.node_files import REGISTERED
from tracer.trace import ASSUME, Disposition, Reason, Unknown
from tracer.values import dataclass

S = TypeVar("S")
_STOPPED = (Disposition.DROPPED, Disposition.REJECTED)
_NO_REASON = Reason(code="", text="")
Order = tuple[int, ...]
Run = Callable[[Walk, tuple[S, ...]], Iterator["Passed | Ending"]]
"""Takes a packet through what one hook has, in the order given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tie(Generic[S]):
    """*members* of one hook of a stack with equal *priority*, each *registered* with the kernel. *whose* stack it is, sentences say.

    They stand in the order that is likely, *before* are the pairs of which it is known. *untold* says why it is not of the others.
    """

    node: str
    whose: str
    family: str
    hook: str
    priority: int
    members: tuple[S, ...]
    registered: tuple[Registered, ...]
    before: frozenset[tuple[int, int]]
    untold: str

    def settled(self, first: int, second: int) -> tuple[str, str, bool]:
        """Return what a walk keeps that takes for granted that *first* is asked before *second*."""
        return self.node, f"{self.family} {self.hook}: {self.registered[first].name} before {self.registered[second].name}", True

    def orders(self, moving: Sequence[int], walk: Walk) -> Iterator[Order]:
        """Yield each order in which *walk* may meet the members *moving*, the likely one first; the others stay where they are."""
        known = {pair for pair in self.before if pair[0] in moving and pair[1] in moving}
        for first, second in permutations(moving, 2):
            if self.settled(first, second) in walk.settled:
                known.add((first, second))
        for order in permutations(moving):
            if all((later, earlier) not in known for earlier, later in combinations(order, 2)):
                turn = iter(order)
                yield tuple(next(turn) if at in moving else at for at in range(len(self.members)))

    def in_order(self, order: Order) -> tuple[S, ...]:
        """Return the members in *order*."""
        return tuple(self.members[at] for at in order)

    def question(self, moving: Sequence[int]) -> str:
        """Return what is not known, for a sentence."""
        titles = [self.registered[at].title for at in moving]
        return f"which of {_listed(titles)} {self.whose} asks first in {self.hook} (priority {self.priority})"


@dataclass(slots=True)
class _Alike:
    """The orders that lead to the same *ends*, the likely one first."""

    ends: frozenset[tuple[object, Fraction]]
    orders: list[Order] = field(default_factory=list)

    def pairs(self, moving: Collection[int]) -> frozenset[tuple[int, int]]:
        """Return which of *moving* is asked before which in all of the orders."""
        found = ({pair for pair in combinations(order, 2) if pair[0] in moving and pair[1] in moving} for order in self.orders)
        return frozenset(set.intersection(*found))


@dataclass(frozen=True, slots=True)
class Ties:
    """Takes packets through ties. For one question only: *assuming* is the question's."""

    assuming: Assuming

    def ways(self, walk: Walk, tie: Tie[S], moving: Sequence[int], run: Run[S]) -> Iterator[Passed | Ending]:
        """Return the ways of *walk* through *tie*, of whose members only those *moving* do anything with the packet."""
        if len(moving) < 2:  # there is one order, the likely one
            return run(walk, tie.members)
        orders = list(islice(tie.orders(moving, walk), TIED + 1))
        if len(orders) > TIED:
            return iter([walk.unknown(_unknown(tie, moving, f" (more than {TIED} orders are possible)"))])
        found = _tried(walk, tie, orders, run) if len(orders) > 1 else []
        if len(found) > 1:
            walk, found = self._assumed(walk, tie, moving, found)
            return _each(walk, tie, moving, found, run)
        return run(walk, tie.in_order(orders[0]))

    def _assumed(self, walk: Walk, tie: Tie[S], moving: Sequence[int], found: list[_Alike]) -> tuple[Walk, list[_Alike]]:
        """What is left of *found* by the question's assumption, if it has one and the tie is one of two back ends."""
        setting = self.assuming.setting(HOOKS)
        kept = _kept(tie, moving, found, setting) if setting is not None else []
        if setting is None or not kept:
            return walk, found
        settings = KINDS[HOOKS].settings
        self.assuming.picked(HOOKS, tuple(settings), lambda setting: f"{tie.whose} is taken to ask {settings[setting]}")
        return walk.assuming(f"{HOOKS}:{setting}"), kept


def _kept(tie: Tie[S], moving: Sequence[int], found: list[_Alike], setting: str) -> list[_Alike]:
    """What a *setting* of the assumption leaves of *found*; nothing where *moving* is not of two back ends."""
    back_ends = {at: tie.registered[at].back_end for at in moving}
    if not {BackEnd.NFT, BackEnd.LEGACY} <= {*back_ends.values()}:
        return []
    first, last = (BackEnd.LEGACY, BackEnd.NFT) if setting == LEGACY_FIRST else (BackEnd.NFT, BackEnd.LEGACY)

    def fits(order: Order) -> bool:
        return all((back_ends.get(a), back_ends.get(b)) != (last, first) for a, b in combinations(order, 2))

    kept = [_Alike(one.ends, [order for order in one.orders if fits(order)]) for one in found]
    return [one for one in kept if one.orders]


def _offered(tie: Tie[S], moving: Sequence[int], found: list[_Alike]) -> tuple[str, ...]:
    """The words of the settings that would leave less than all of *found*."""
    return tuple(f"{HOOKS}:{setting}" for setting in KINDS[HOOKS].settings if 0 < len(_kept(tie, moving, found, setting)) < len(found))


def _tried(walk: Walk, tie: Tie[S], orders: list[Order], run: Run[S]) -> list[_Alike]:
    """The orders, those that lead to the same together."""
    found: dict[object, _Alike] = {}
    for order in orders:
        shares: dict[object, Fraction] = {}
        for way in run(walk, tie.in_order(order)):
            end, share = _end(way)
            shares[end] = shares.get(end, Fraction(0)) + share
        ends = frozenset(shares.items())
        found.setdefault(ends, _Alike(ends)).orders.append(order)
    return list(found.values())


def _each(walk: Walk, tie: Tie[S], moving: Sequence[int], found: list[_Alike], run: Run[S]) -> Iterator[Passed | Ending]:
    """The ways of each order on its condition."""
    unknown, told = _unknown(tie, moving), _told_alike(found) if len(found) > 1 else ""
    if offered := _offered(tie, moving, found):
        unknown = changed(unknown, at={**unknown.at, ASSUME: offered})
    for number, one in enumerate(found):
        pairs = one.pairs(moving)
        branch = changed(walk, settled=walk.settled | {tie.settled(*pair) for pair in pairs})
        if len(found) > 1:
            condition = _condition(tie, moving, found, one)
            fork = Fork(
                question=tie.question(moving),
                branch=number,
                condition=condition,
                ways=len(found),
                is_without=number == 0,
                unknowns=(unknown,),
            )
            branch = changed(
                branch,
                probability=walk.probability / len(found),
                conditions=(*walk.conditions, condition),
                unknowns=(*walk.unknowns, unknown),
                forks=(*walk.forks, fork),
            )
        for way in run(branch, tie.in_order(one.orders[0])):
            yield _with_text(way, told) if told and isinstance(way, Ending) else way


def _unknown(tie: Tie[S], moving: Sequence[int], more: str = "") -> Unknown:
    text = f"{tie.question(moving)}{more}: {tie.untold}"
    return Unknown(code="HOOK_ORDER_UNKNOWN", text=text, at={"node": tie.node, "file": REGISTERED.name})


def _condition(tie: Tie[S], moving: Sequence[int], found: list[_Alike], one: _Alike) -> str:
    """What has to hold for the orders of *one*: only who is first, where that is all."""
    titles = [tie.registered[at].title for at in one.orders[0] if at in moving]
    first = {order[0] for order in _among(one.orders, moving)}
    others = {order[0] for other in found if other is not one for order in _among(other.orders, moving)}
    where = f"in {tie.hook} (priority {tie.priority})"
    if len(first) == 1 and first.isdisjoint(others):
        return f"{tie.whose} asks {titles[0]} before {_listed(titles[1:])} {where}"
    return f"{tie.whose} asks {', then '.join(titles)} {where}"


def _among(orders: list[Order], moving: Collection[int]) -> list[Order]:
    return [tuple(at for at in order if at in moving) for order in orders]


def _listed(titles: Sequence[str]) -> str:
    *most, last = titles
    return f"{', '.join(most)} and {last}" if most else last


# -- what a tie leads to --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Stop:
    """A packet that goes no further: its *reason*, and what else there is to its end."""

    disposition: Disposition
    reason: Reason
    reject_with: str | None
    more: tuple[object, ...]


def _end(way: Passed | Ending) -> tuple[object, Fraction]:
    """What a way has in common with another that goes on, or ends, alike; and its odds."""
    if isinstance(way, Ending):
        outcome = way.outcome
        more = (outcome.destination, outcome.conditions, outcome.assumes)
        return _Stop(outcome.disposition, outcome.reason or _NO_REASON, outcome.reject_with, more), outcome.probability
    walk, crossing = way
    connection = crossing.connection and _drawn_alike(crossing.connection)
    state = (crossing.state, connection, crossing.reply, crossing.out_device, crossing.served, crossing.route)
    header = tuple(sorted(crossing.header.items()))
    sets = tuple(sorted((stack, id(held)) for stack, held in walk.sets.items()))
    entries = tuple((table, _drawn_alike(entry)) for table, entry in walk.entries)
    packet = changed(walk.packet, source_port_random=False)
    return (packet, walk.recent, entries, walk.conditions, walk.source_port_certain, state, header, sets), walk.probability


def _drawn_alike(connection: Connection) -> Connection:
    """The connection with nothing said of who drew a port that nobody knows: the client's system, or a rule with ``--random-fully``."""
    ports = connection.reply.source_port, connection.reply.destination_port
    source, destination = (None if port == "random" else port for port in ports)
    return changed(connection, reply=changed(connection.reply, source_port=source, destination_port=destination))


def _told_alike(found: list[_Alike]) -> str:
    """One text for all ends, where every order stops the packet in the same way and only another rule does it; else nothing.

    NB: ends with one text may still differ, in their odds or in the conditions that were met before.
    """
    ends = [end for one in found for end, _ in one.ends]
    stops = [end for end in ends if isinstance(end, _Stop) and end.disposition in _STOPPED]
    if len(stops) < len(ends) or len({(stop.disposition, stop.reason.code, stop.reject_with) for stop in stops}) > 1:
        return ""
    first, *others = dict.fromkeys(stop.reason.text for stop in stops)
    if not others:
        return ""
    return f"{first}, or {_listed([text[:1].lower() + text[1:] for text in others])}, whichever is asked first"


def _with_text(ending: Ending, text: str) -> Ending:
    reason = changed(ending.outcome.reason or _NO_REASON, text=text)
    return Ending(changed(ending.outcome, reason=reason), ending.walk)

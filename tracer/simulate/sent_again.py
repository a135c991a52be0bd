"""The first packet again, where nothing answered it: TCP sends its SYN seven times in all, a program its datagram as often as it likes.

A packet that is sent again meets what the one before left: the entries of the stacks that it got through, and the lists that remember it; a
stack that stopped it remembers nothing (nf_confirm), so one that drew an endpoint for it draws again. What falls out by a flow, or is a
condition, stays as it was. What the client sees in the end has odds of its own, so an outcome may be divided by them.
Source: __nf_conntrack_confirm, tcp_retransmit_timer, Linux 6.18; measured in tests/tracer/simulate/test_handshake_kernel.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from itertools import islice

from tracer.conntrack import Connection
from tracer.dispositions import WORDS
from tracer.frozen import changed
from tracer.packet import Address, Protocol
from tracer.simulate.answering import answered
from tracer.simulate.departure import Departure, SentByNode
from tracer.simulate.fabric import Fabric
from tracer.simulate.sees import client_sees
from tracer.simulate.walk import Ending, Walk
from tracer.stack_protocols import TableId, TableKind
from tracer.trace import Sees, Unknown
from tracer.values import dataclass

_ATTEMPTS = {Protocol.TCP: 7, Protocol.UDP: 2}
"""How often it is sent that is looked at: a SYN once, and ``tcp_syn_retries`` times again, by default; of a datagram the second one."""
_WAY = 5
"""What it costs to look at a way that a packet may take."""
Answers = tuple[tuple[str, int], ...]
"""How what is not drawn anew was answered: questions, and which of their ways it was."""


@dataclass(frozen=True, slots=True)
class _Left:
    """What a packet left behind: the *entries* of the stacks that it got through, and their lists."""

    source: Address
    entries: tuple[tuple[TableId, Connection], ...]
    recent: frozenset[tuple[str, str, str]]
    settled: frozenset[tuple[str, str, bool]]


@dataclass(frozen=True, slots=True)
class _Fate:
    """How it ends for the client, with *odds*: *last* is a packet that ended so, the one of this *number*."""

    odds: Fraction
    last: Ending
    number: int


class SentAgain:
    """Sends the first packet of one question again, each time from what is left behind once; *after* takes an answer further."""

    def __init__(self, fabric: Fabric, start: Departure, after: Callable[[Ending], Iterator[Ending]]) -> None:
        self._fabric = fabric
        self._start = start
        self._after = after
        self._walked: dict[_Left, list[Ending]] = {}
        self._ended: dict[tuple[_Left, Answers], dict[Sees, _Fate] | None] = {}

    def of(self, ending: Ending) -> Iterator[Ending]:
        """Yield *ending* with what the client sees of later packets, once for every way in which that differs by chance."""
        left, walk = _left_behind(ending), self._start.walk
        is_as_before = (left.entries, left.recent) == (walk.entries, walk.recent)
        if is_as_before and not any(fork.anew for fork in ending.walk.forks):
            yield ending
            return
        key = left, _answers(ending)
        if key not in self._ended:
            self._ended[key] = self._fates(ending)
        fates = self._ended[key]
        is_udp = walk.packet.protocol is Protocol.UDP
        if fates is None or (fates.keys() == {Sees.TIMEOUT} and (is_udp or _end(fates[Sees.TIMEOUT].last) == _end(ending))):
            yield ending
        elif is_udp:
            yield _remarked(ending, "DATAGRAM_SENT_AGAIN", _datagram(fates))
        elif len(fates) == 1:
            yield _resent(ending, next(iter(fates.values())))
        else:
            for fate in fates.values():
                yield _drawn_again(ending, fate)

    def _fates(self, ending: Ending) -> dict[Sees, _Fate] | None:
        """How it ends for the client by the last packet, with odds that are 1 in all; None where nothing is to be said of it.

        That is where it depends on what nobody recorded, and where chance only draws among ends that the client sees alike.
        """
        pending = {_left_behind(ending): (Fraction(1), ending)}
        fates: dict[Sees, _Fate] = {}
        number, is_drawn = 1, False
        for number in range(2, _ATTEMPTS[self._start.walk.packet.protocol] + 1):
            following: dict[_Left, tuple[Fraction, Ending]] = {}
            for left, (odds, last) in pending.items():
                ways = self._ways(left, ending, last)
                if ways is None:
                    return None
                is_drawn |= len(ways) > 1
                for share, way in ways:
                    if seen(way) is Sees.TIMEOUT:
                        behind = _left_behind(way)
                        following[behind] = following.get(behind, (Fraction(0), way))[0] + odds * share, way
                    else:
                        _add(fates, _Fate(odds * share, way, number))
            is_steady = {left: odds for left, (odds, _) in following.items()} == {left: odds for left, (odds, _) in pending.items()}
            pending = following
            if is_steady:
                break
        for odds, last in pending.values():
            _add(fates, _Fate(odds, last, number))
        return None if is_drawn and fates.keys() == {Sees.TIMEOUT} else fates

    def _ways(self, left: _Left, ending: Ending, last: Ending) -> list[tuple[Fraction, Ending]] | None:
        """The ways of a packet that meets *left*, each with its share; None where that depends on a condition that *ending* lacks."""
        if left not in self._walked:
            self._walked[left] = list(islice(self._sent(left, last), self._fabric.budget.limits.ways))
        before = dict(_answers(ending))
        self._fabric.budget.spend(_WAY * len(self._walked[left]))
        if self._fabric.budget.is_spent:
            return None
        ways = [way for way in self._walked[left] if all(before.get(question, at) == at for question, at in _answers(way))]
        total = sum((way.outcome.probability for way in ways), Fraction(0))
        is_asked = any(fork.condition is not None and fork.question not in before for way in ways for fork in way.walk.forks)
        if total == 0 or (is_asked and len({_end(way) for way in ways}) > 1):
            return None
        return [(way.outcome.probability / total, way) for way in ways]

    def _sent(self, left: _Left, last: Ending) -> Iterator[Ending]:
        walk = changed(
            self._start.walk,
            entries=left.entries,
            recent=left.recent,
            confirmed=frozenset(table for table, _ in left.entries),
            settled=left.settled,
        )
        first = last.outcome.hops[0].packet_in.source
        ways = self._fabric.endings(_from(self._start, walk, first))
        return (then for way in ways for back in answered(self._fabric, way) for then in self._after(back))


def seen(ending: Ending) -> Sees:
    """Return what the client sees, as far as is known by now."""
    walk = ending.walk
    return walk.sees or client_sees(ending.outcome, walk.no_way, walk.says, is_open=walk.existing and walk.midstream)


def followed(ending: Ending) -> tuple[int, Mapping[str, int]]:
    """Return how many forks *ending* has, and how it answered each question: the request's answer, where its reply was asked the same."""
    return len(ending.walk.forks), {fork.question: fork.branch for fork in reversed(ending.walk.forks)}


def leaving(start: Departure, ending: Ending, walk: Walk) -> Departure:
    """Return the departure of a packet that leaves as *start* did, with *walk*'s connections: on *ending*'s conditions, the way it went.

    NB: ways that answer otherwise what *ending* was asked are not walked: a balancer has many.
    """
    outcome = ending.outcome
    left = changed(
        walk,
        probability=outcome.probability,
        conditions=outcome.conditions,
        unknowns=ending.walk.unknowns,
        forks=ending.walk.forks,
        settled=ending.walk.settled,
        again=followed(ending),
    )
    return _from(start, left, outcome.hops[0].packet_in.source)


def _from(start: Departure, walk: Walk, source: Address) -> Departure:
    """From the address that the first packet was sent from."""
    left = changed(walk, packet=changed(start.walk.packet, source=source), visit=start.walk.visit)
    sent = changed(start, walk=left)
    return changed(sent, source=source) if isinstance(sent, SentByNode) else sent


def _left_behind(ending: Ending) -> _Left:
    walk, kept = ending.walk, (TableKind.BALANCER, TableKind.IPVS)
    entries = tuple(e for e in walk.entries if e[0].kind in kept or e[0] in walk.confirmed)
    return _Left(ending.outcome.hops[0].packet_in.source, entries, walk.recent, walk.settled)


def _answers(ending: Ending) -> Answers:
    """The forks that every packet of the flow meets alike. NB: where an answer was asked the same as its request, the request's counts."""
    return tuple({fork.question: fork.branch for fork in reversed(ending.walk.forks) if not fork.anew}.items())


def _add(fates: dict[Sees, _Fate], fate: _Fate) -> None:
    """Add a fate to what the client sees by it; the first packet that ended so is told."""
    sees = seen(fate.last)
    known = fates.get(sees)
    fates[sees] = fate if known is None else changed(known, odds=known.odds + fate.odds)


def _end(ending: Ending) -> object:
    outcome = ending.outcome
    return outcome.disposition, outcome.reason, outcome.destination, seen(ending)


# -- what is said of it ---------------------------------------------------------------------------------------------------------------


def _why(last: Ending) -> str:
    outcome = last.outcome
    return outcome.reason.text if outcome.reason is not None else WORDS[outcome.disposition].meaning


def _remarked(ending: Ending, code: str, text: str, *more: Unknown) -> Ending:
    remarks = (*ending.outcome.remarks, Unknown(code=code, text=text), *more)
    return Ending(changed(ending.outcome, remarks=remarks), ending.walk)


def _resent(ending: Ending, fate: _Fate) -> Ending:
    """The ending with what the client sees in the end, where that is one thing."""
    which = "the second one" if fate.number == 2 else f"number {fate.number}"
    text = f"The SYN is sent again after a second, and {which} meets something else, as nat rules and marks are for the first packet: "
    told = _remarked(ending, "SYN_SENT_AGAIN", text + _why(fate.last), *fate.last.outcome.remarks)
    return Ending(told.outcome, changed(told.walk, sees=seen(fate.last)))


def _drawn_again(ending: Ending, fate: _Fate) -> Ending:
    """The part of *ending* that *fate* has of it by chance."""
    sees, times = seen(fate.last), _ATTEMPTS[Protocol.TCP]
    kept = f"The SYN is sent {times} times in all, and each time drawn for anew, as the stack that drew kept nothing of the one before"
    text = f"{kept}: " + ("no draw falls out better" if sees is Sees.TIMEOUT else f"a later one falls out better: {_why(fate.last)}")
    told = _remarked(ending, "SYN_DRAWN_AGAIN", text, *(() if sees is Sees.TIMEOUT else fate.last.outcome.remarks))
    outcome = changed(told.outcome, probability=ending.outcome.probability * fate.odds)
    return Ending(outcome, changed(told.walk, sees=sees))


def _datagram(fates: dict[Sees, _Fate]) -> str:
    other = next(fate for sees, fate in fates.items() if sees is not Sees.TIMEOUT)
    how = "meets something else" if len(fates) == 1 else "is drawn for anew, as the stack that drew kept nothing of the first one"
    return f"A datagram that the program sends again from the same port {how}, and may end otherwise: {_why(other.last)}"

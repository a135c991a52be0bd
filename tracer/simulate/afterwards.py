"""What follows the first packet and its answer: TCP's ACK, what the server says then, or the same again if nothing answered (sent_again).

All go the way of the first packet by the same code, with the connections that it and its answer left in every stack. The ACK is INVALID
to a stack that did not see the answer, and new to one that does not know the connection; a mark that nat rules gave the first packet is
on neither. A SYN-ACK begins no connection, what the server sends behind it does: a stack that saw no more of the request has nat rules
for that. Where either does not arrive, ``connect`` succeeds and then nothing follows.
Source: tcp_conntracks in nf_conntrack_proto_tcp.c, Linux 6.18.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

from tracer.dispositions import WORDS
from tracer.frozen import changed
from tracer.packet import Protocol, at_text
from tracer.refusals import RESET
from tracer.simulate.answering import answered
from tracer.simulate.departure import Departure
from tracer.simulate.fabric import Fabric
from tracer.simulate.sent_again import SentAgain, followed, leaving, seen
from tracer.simulate.walk import Ending
from tracer.stack_protocols import TableKind
from tracer.topology.later_packets import may_tell_apart
from tracer.topology.stack import NodeStack
from tracer.trace import Disposition, Hop, Outcome, Sees, StackKind, Unknown


class Afterwards:
    """What follows the first packet of one question, which leaves as *start*."""

    def __init__(self, fabric: Fabric, start: Departure) -> None:
        self._fabric = fabric
        self._start = start
        self._again = SentAgain(fabric, start, self._answered_and_open)

    def of(self, ending: Ending) -> Iterator[Ending]:
        """Yield *ending* with what becomes of the packets behind the first one, once for every way in which that differs."""
        protocol = self._start.walk.packet.protocol
        if ending.walk.moved:
            return iter([_told(ending, _fate_of_moved(ending))])
        if protocol not in (Protocol.TCP, Protocol.UDP) or not is_first(self._fabric, self._start, ending):
            return iter([ending])
        if protocol is Protocol.TCP and is_open(ending):
            return self._opened(ending)
        return self._again.of(ending) if seen(ending) is Sees.TIMEOUT else iter([ending])

    def _opened(self, ending: Ending) -> Iterator[Ending]:
        return _third(self._fabric, self._start, ending) if _may_differ(self._fabric, ending) else iter([ending])

    def _answered_and_open(self, ending: Ending) -> Iterator[Ending]:
        """The ways of a packet that was sent again, with the ACK behind it where it is a SYN that is answered."""
        is_tcp = self._start.walk.packet.protocol is Protocol.TCP
        return self._opened(ending) if is_tcp and is_open(ending) else iter([ending])


def is_first(fabric: Fabric, start: Departure, ending: Ending) -> bool:
    """Return whether it is a new connection's, and goes through stacks that are walked: a process on the way answers by itself."""
    walk = start.walk
    if walk.existing or ending.walk.accepted:
        return False
    hops = ending.outcome.hops
    stacks = [stack for hop in hops if (stack := fabric.stack_of(hop)) is not None]
    return bool(hops) and all(hop.kind is not StackKind.PROXY for hop in hops) and all(map(fabric.goes_by_rules, stacks))


def is_open(ending: Ending) -> bool:
    """Return whether the client has got its SYN-ACK, so that its ``connect`` succeeds."""
    outcome = ending.outcome
    if outcome.disposition is not Disposition.DELIVERED or seen(ending) not in (Sees.CONNECTED, Sees.UNKNOWN):
        return False
    return outcome.reply is not None and outcome.reply.disposition is Disposition.DELIVERED


def as_before(ending: Ending, ways: Sequence[Ending]) -> list[Ending]:
    """Return those of *ways* that answer what *ending* was asked on its way as it did, its share divided among them.

    NB: a next hop, a condition or a rule's chance that both packets meet is the flow's: it falls out the same for both.
    """
    number, before = followed(ending)
    held = [all(before.get(f.question) == f.branch for f in way.walk.forks[number:]) for way in ways]
    open_ = [all(before.get(f.question, f.branch) == f.branch for f in way.walk.forks[number:]) for way in ways]
    same = [way for way, is_one in zip(ways, held if any(held) else open_, strict=True) if is_one]
    total = sum((way.outcome.probability for way in same), Fraction(0))
    odds = ending.outcome.probability
    return [Ending(changed(way.outcome, probability=way.outcome.probability * odds / total), way.walk) for way in same]


# -- the third packet -----------------------------------------------------------------------------------------------------------------


def _may_differ(fabric: Fabric, ending: Ending) -> bool:
    """Whether the ACK can end elsewhere than the SYN, or what the server says then elsewhere than its SYN-ACK."""
    return _acknowledgement_may_differ(fabric, ending) or _answer_may_differ(fabric, ending)


def _acknowledgement_may_differ(fabric: Fabric, ending: Ending) -> bool:
    """Whether a stack did not see the answer, or has rules that tell the SYN and the ACK apart."""
    tracking, stacks = _tracking(ending), _stacks(fabric, ending.outcome.hops)
    return any(stack.name not in tracking or may_tell_apart(stack, ending.walk.packet.family) for stack in stacks)


def _answer_may_differ(fabric: Fabric, ending: Ending) -> bool:
    """Whether the SYN-ACK passed a stack that knows no connection of it: the next packet of the server begins one there."""
    reply = ending.outcome.reply
    tracking = _tracking(ending)
    return reply is not None and any(stack.name not in tracking for stack in _stacks(fabric, reply.hops))


def _tracking(ending: Ending) -> set[str]:
    """The stacks that have seen the connection's answer."""
    return {table.name for table, held in ending.walk.entries if table.kind is TableKind.CONNTRACK and held.established}


def _stacks(fabric: Fabric, hops: Sequence[Hop]) -> list[NodeStack]:
    """The stacks with rules that a packet passed itself, not in a tunnel."""
    found = {id(stack): stack for hop in hops if hop.tunnel is None and (stack := fabric.stack_of(hop)) is not None}
    return list(found.values())


def _third(fabric: Fabric, start: Departure, ending: Ending) -> Iterator[Ending]:
    """Walk the client's ACK to its end, and what the server says then back to the client."""
    walk = changed(start.walk, entries=ending.walk.entries, recent=ending.walk.recent, sets=ending.walk.sets, midstream=True)
    is_answered = _answer_may_differ(fabric, ending)
    ends = list(fabric.endings(leaving(start, ending, walk)))
    ways = as_before(ending, [back for way in ends for back in (answered(fabric, way) if is_answered and _arrives(ending, way) else [way])])
    fates = [_fate(fabric, ending, way) for way in ways]
    if len({None if fate is None else (fate[0], fate[1].text) for fate in fates}) <= 1:
        yield _told(ending, fates[0] if fates else None)
        return
    for way, fate in zip(ways, fates, strict=True):
        yield _told(_on_conditions_of(ending, way), fate)


_NOTED_BY_THE_SOCKET = (
    "The ICMP error that comes back is only noted by the open connection: a program that does not block in connect, and then asks the "
    "socket for its error, may be told that it failed"
)
"""Source: tcp_v4_err, tcp_v6_err (sk_err_soft), sk_getsockopt (SO_ERROR), Linux 6.18."""
Fate = tuple[Sees, Unknown]
"""What the client sees after all, and why."""


def _fate(fabric: Fabric, ending: Ending, way: Ending) -> Fate | None:
    """What becomes of a connection whose ACK goes *way*; None where it arrives where the SYN did, and an answer to it does as well."""
    last = way.outcome
    if _arrives(ending, way):
        return _fate_of_answer(last)
    why = last.reason.text if last.reason is not None else WORDS[last.disposition].meaning
    at = {"node": way.walk.visit.name} if way.walk.visit.kind is StackKind.NODE else {}
    if last.disposition in (Disposition.UNKNOWN, Disposition.LEAVES):
        text = f"Whether the client's ACK, which ends the handshake, arrives is not known: {why}"
        return Sees.UNKNOWN, Unknown(code="HANDSHAKE_UNKNOWN", text=text, at=at)
    if last.disposition is Disposition.DELIVERED:
        seen = f"{last.source_seen[0]}" if last.source_seen else "nobody"
        why = f"it comes to {way.walk.packet.destination} from {seen}, where the SYN did not"
    text = f"The client's ACK, which ends the handshake, does not arrive: {why}"
    if not last.reject_with or not _comes_back(fabric, way):
        return Sees.HANGS, Unknown(code="HANDSHAKE_UNFINISHED", text=text, at=at)
    if last.reject_with == RESET:
        return Sees.CLOSED, Unknown(code="HANDSHAKE_UNFINISHED", text=text, at=at)
    return Sees.HANGS, Unknown(code="HANDSHAKE_UNFINISHED", text=f"{text}. {_NOTED_BY_THE_SOCKET}", at=at)


def _fate_of_answer(acknowledged: Outcome) -> Fate | None:
    """What becomes of a connection whose ACK arrived, by what the server sends then; None where that arrives, or was not walked."""
    reply = acknowledged.reply
    if reply is None or reply.disposition is Disposition.DELIVERED:
        return None
    why = reply.reason.text if reply.reason is not None else WORDS[reply.disposition].meaning
    if reply.disposition is Disposition.UNKNOWN:
        text = f"Whether what the server sends behind its SYN-ACK arrives is not known: {why}"
        return Sees.UNKNOWN, Unknown(code="HANDSHAKE_UNKNOWN", text=text)
    text = f"What the server sends behind its SYN-ACK does not arrive: {why}"
    return Sees.HANGS, Unknown(code="HANDSHAKE_UNFINISHED", text=text)


def _arrives(ending: Ending, way: Ending) -> bool:
    """Whether the packet that went *way* comes to the socket that the first one came to, from the same address."""
    first, last = ending.outcome, way.outcome
    sources = (first.source_seen and first.source_seen[0], last.source_seen and last.source_seen[0])
    return last.disposition is Disposition.DELIVERED and first.destination == last.destination and sources[0] == sources[1]


def _fate_of_moved(ending: Ending) -> Fate | None:
    """What becomes of a TCP connection that exists and that a stack translates otherwise by now: another socket may get it."""
    if ending.walk.packet.protocol is not Protocol.TCP or seen(ending) is not Sees.CONNECTED:
        return None
    at = ending.walk.packet
    text = (
        f"Whether the socket at {at_text(at.destination, at.destination_port)} has this connection is not known: a stack on the way holds "
        "no entry of it or does not track it, and its nat rules are about such packets; a socket that has it not resets it"
    )
    return Sees.UNKNOWN, Unknown(code="CONNECTION_MOVED", text=text)


def _comes_back(fabric: Fabric, way: Ending) -> bool:
    replies = [back.outcome.reply for back in answered(fabric, way)]
    return all(reply is not None and reply.disposition is Disposition.DELIVERED for reply in replies)


def _on_conditions_of(ending: Ending, way: Ending) -> Ending:
    """The ending as far as the packet behind it went *way*."""
    outcome = changed(ending.outcome, probability=way.outcome.probability, conditions=way.outcome.conditions)
    return Ending(outcome, changed(ending.walk, forks=way.walk.forks, unknowns=way.walk.unknowns))


def _told(ending: Ending, fate: Fate | None) -> Ending:
    """The ending with its fate. NB: where it is not known whether anybody listens, the client may be refused as well."""
    if fate is None:
        return ending
    sees, remark = fate
    outcome = changed(ending.outcome, remarks=(*ending.outcome.remarks, remark))
    return Ending(outcome, changed(ending.walk, sees=Sees.UNKNOWN if seen(ending) is Sees.UNKNOWN else sees))

"""What a client sends after its first TCP packet: the ACK that ends the handshake, or its SYN again where nothing answered.

Both go the way of the first packet by the same code, with the connections that it and its answer left in every stack. The ACK is INVALID
to a stack that did not see the answer, and new to one that does not know the connection; a mark that nat rules gave the first packet is
on neither. Where the ACK does not arrive, ``connect`` succeeds and then nothing follows. A SYN that is sent again meets what the first one
left: the entries of the stacks that it got through, and the lists that remember it; a stack that stopped it remembers nothing (nf_confirm).
Source: tcp_conntracks in nf_conntrack_proto_tcp.c, __nf_conntrack_confirm, tcp_retransmit_timer, Linux 6.18.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

from tracer.conntrack import Connection
from tracer.dispositions import WORDS
from tracer.frozen import changed
from tracer.packet import Protocol
from tracer.refusals import RESET
from tracer.simulate.answering import answered
from tracer.simulate.departure import Departure, SentByNode
from tracer.simulate.fabric import Fabric
from tracer.simulate.sees import client_sees
from tracer.simulate.walk import Ending, Walk
from tracer.stack_protocols import TableId, TableKind
from tracer.topology.later_packets import may_tell_apart
from tracer.trace import Disposition, Outcome, Sees, StackKind, Unknown

_ATTEMPTS = 7
"""How often a SYN is sent: once, and ``tcp_syn_retries`` times again, by default."""


def followed(fabric: Fabric, start: Departure, ending: Ending) -> Iterator[Ending]:
    """Yield *ending* with what becomes of the packets behind the first one, once for every way in which that differs."""
    if not _is_first_of_tcp(fabric, start, ending):
        return iter([ending])
    if _is_open(ending):
        return _third(fabric, start, ending) if _may_differ(fabric, ending) else iter([ending])
    return iter([_again(fabric, start, ending) if _sees(ending) is Sees.TIMEOUT else ending])


def _is_first_of_tcp(fabric: Fabric, start: Departure, ending: Ending) -> bool:
    """Whether it is a new connection's, and goes through stacks that are walked: a process on the way answers by itself."""
    walk = start.walk
    if walk.packet.protocol is not Protocol.TCP or walk.existing or ending.walk.accepted:
        return False
    hops = ending.outcome.hops
    stacks = [stack for hop in hops if (stack := fabric.stack_of(hop)) is not None]
    return bool(hops) and all(hop.kind is not StackKind.PROXY for hop in hops) and all(map(fabric.goes_by_rules, stacks))


def _sees(ending: Ending) -> Sees:
    """What the client sees, as far as is known by now."""
    return ending.walk.sees or client_sees(ending.outcome, ending.walk.no_way, ending.walk.says)


def _is_open(ending: Ending) -> bool:
    """Whether the client has got its SYN-ACK, so that its ``connect`` succeeds."""
    outcome = ending.outcome
    if outcome.disposition is not Disposition.DELIVERED or _sees(ending) not in (Sees.CONNECTED, Sees.UNKNOWN):
        return False
    return outcome.reply is not None and outcome.reply.disposition is Disposition.DELIVERED


def _sent(start: Departure, ending: Ending, walk: Walk) -> Departure:
    """The packet leaves as the first one did, with *walk*'s connections: from the same address, on the conditions of *ending*."""
    first, outcome = ending.outcome.hops[0].packet_in, ending.outcome
    left = changed(
        walk,
        packet=changed(start.walk.packet, source=first.source),
        visit=start.walk.visit,
        probability=outcome.probability,
        conditions=outcome.conditions,
        unknowns=ending.walk.unknowns,
        forks=ending.walk.forks,
        settled=ending.walk.settled,
    )
    sent = changed(start, walk=left)
    return changed(sent, source=first.source) if isinstance(sent, SentByNode) else sent


def _alike(ending: Ending, ways: Sequence[Ending]) -> list[Ending]:
    """Those of *ways* that answer what *ending* was asked on its way as it did, its share divided among them.

    NB: a next hop, a condition or a rule's chance that both packets meet is the flow's: it falls out the same for both.
    """
    number = len(ending.walk.forks)
    before = {fork.question: fork.branch for fork in reversed(ending.walk.forks)}  # the request's, where its answer was asked the same
    held = [all(before.get(f.question) == f.branch for f in way.walk.forks[number:]) for way in ways]
    open_ = [all(before.get(f.question, f.branch) == f.branch for f in way.walk.forks[number:]) for way in ways]
    same = [way for way, is_one in zip(ways, held if any(held) else open_, strict=True) if is_one]
    total = sum((way.outcome.probability for way in same), Fraction(0))
    odds = ending.outcome.probability
    return [Ending(changed(way.outcome, probability=way.outcome.probability * odds / total), way.walk) for way in same]


# -- the third packet -----------------------------------------------------------------------------------------------------------------


def _may_differ(fabric: Fabric, ending: Ending) -> bool:
    """Whether the ACK can end elsewhere than the SYN: a stack did not see the answer, or has rules that tell the two apart."""
    seen = {table.name for table, held in ending.walk.entries if table.kind is TableKind.CONNTRACK and held.established}
    stacks = {id(stack): stack for hop in ending.outcome.hops if hop.tunnel is None and (stack := fabric.stack_of(hop)) is not None}
    return any(stack.name not in seen or may_tell_apart(stack, ending.walk.packet.family) for stack in stacks.values())


def _third(fabric: Fabric, start: Departure, ending: Ending) -> Iterator[Ending]:
    """Walk the client's ACK to its end."""
    walk = changed(start.walk, entries=ending.walk.entries, recent=ending.walk.recent, sets=ending.walk.sets, midstream=True)
    ways = _alike(ending, list(fabric.endings(_sent(start, ending, walk))))
    fates = [_fate(fabric, ending.outcome, way) for way in ways]
    if len({None if fate is None else (fate[0], fate[1].text) for fate in fates}) <= 1:
        yield _told(ending, fates[0] if fates else None)
        return
    for way, fate in zip(ways, fates, strict=True):
        yield _told(_on_conditions_of(ending, way), fate)


Fate = tuple[Sees, Unknown]
"""What the client sees after all, and why."""


def _fate(fabric: Fabric, outcome: Outcome, way: Ending) -> Fate | None:
    """What becomes of a connection whose ACK goes *way*; None where it arrives where the SYN did."""
    last = way.outcome
    if last.disposition is Disposition.DELIVERED and _is_same_end(outcome, last):
        return None
    why = last.reason.text if last.reason is not None else WORDS[last.disposition].meaning
    at = {"node": way.walk.visit.name} if way.walk.visit.kind is StackKind.NODE else {}
    if last.disposition in (Disposition.UNKNOWN, Disposition.LEAVES):
        text = f"Whether the client's ACK, which ends the handshake, arrives is not known: {why}"
        return Sees.UNKNOWN, Unknown(code="HANDSHAKE_UNKNOWN", text=text, at=at)
    if last.disposition is Disposition.DELIVERED:
        seen = f"{last.source_seen[0]}" if last.source_seen else "nobody"
        why = f"it comes to {way.walk.packet.destination} from {seen}, where the SYN did not"
    text = f"The client's ACK, which ends the handshake, does not arrive: {why}"
    sees = Sees.CLOSED if last.reject_with == RESET and _comes_back(fabric, way) else Sees.HANGS
    return sees, Unknown(code="HANDSHAKE_UNFINISHED", text=text, at=at)


def _is_same_end(outcome: Outcome, last: Outcome) -> bool:
    """Whether both packets come to one socket, from one address."""
    seen = (outcome.source_seen and outcome.source_seen[0], last.source_seen and last.source_seen[0])
    return outcome.destination == last.destination and seen[0] == seen[1]


def _comes_back(fabric: Fabric, way: Ending) -> bool:
    replies = [back.outcome.reply for back in answered(fabric, way)]
    return all(reply is not None and reply.disposition is Disposition.DELIVERED for reply in replies)


def _on_conditions_of(ending: Ending, way: Ending) -> Ending:
    """The ending as far as the packet behind it went *way*."""
    outcome = changed(ending.outcome, probability=way.outcome.probability, conditions=way.outcome.conditions)
    return Ending(outcome, changed(ending.walk, forks=way.walk.forks, unknowns=way.walk.unknowns))


def _told(ending: Ending, fate: Fate | None) -> Ending:
    if fate is None:
        return ending
    sees, remark = fate
    outcome = changed(ending.outcome, remarks=(*ending.outcome.remarks, remark))
    return Ending(outcome, changed(ending.walk, sees=sees))


# -- the SYN again --------------------------------------------------------------------------------------------------------------------


def _again(fabric: Fabric, start: Departure, ending: Ending) -> Ending:
    """Send the SYN again as often as what it left behind changes, and say where the last one ends if that is elsewhere."""
    last, attempt = ending, 1
    known, left = (start.walk.entries, start.walk.recent), _left_behind(ending)
    while left != known and _sees(last) is Sees.TIMEOUT and attempt < _ATTEMPTS:
        attempt += 1
        walk = changed(start.walk, entries=left[0], recent=left[1], confirmed=last.walk.confirmed)
        ways = [back for way in fabric.endings(_sent(start, last, walk)) for back in answered(fabric, way)]
        ways = [then for way in _alike(last, ways) for then in (_third(fabric, start, way) if _is_open(way) else [way])]
        if len({_end(way) for way in ways}) != 1:
            return ending  # what the next attempt meets is not one thing
        last, known, left = ways[0], left, _left_behind(ways[0])
    return ending if _end(last) == _end(ending) else _resent(ending, last, attempt)


def _left_behind(ending: Ending) -> tuple[tuple[tuple[TableId, Connection], ...], frozenset[tuple[str, str, str]]]:
    """What stacks remember of a packet: the entries of those that it got through, and their lists."""
    walk = ending.walk
    kept = (TableKind.BALANCER, TableKind.IPVS)
    return tuple(e for e in walk.entries if e[0].kind in kept or e[0] in walk.confirmed), walk.recent


def _end(ending: Ending) -> object:
    outcome = ending.outcome
    return outcome.disposition, outcome.reason, outcome.destination, _sees(ending)


def _resent(ending: Ending, last: Ending, attempt: int) -> Ending:
    """The ending with what the client sees in the end, after *attempt* SYNs."""
    why = last.outcome.reason.text if last.outcome.reason is not None else WORDS[last.outcome.disposition].meaning
    first = "the second one" if attempt == 2 else f"number {attempt}"
    text = f"The SYN is sent again after a second, and {first} meets something else, as nat rules and marks are for the first packet: {why}"
    remarks = (*ending.outcome.remarks, Unknown(code="SYN_SENT_AGAIN", text=text), *last.outcome.remarks)
    return Ending(changed(ending.outcome, remarks=remarks), changed(ending.walk, sees=_sees(last)))

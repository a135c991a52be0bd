"""A connection that a process accepts: it ends there, and the process makes one of its own from the stack that it runs in.

The process accepts before it knows where to connect to: with nobody to connect to, or with nobody that answers, it closes. Where one target
does not answer and the client is still there, the next is tried. UDP has nothing to wait for and nothing to close.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from tracer.forks import drawn
from tracer.frozen import changed
from tracer.packet import Packet, Protocol
from tracer.simulate.departure import Accepted, Departure, Host, Way
from tracer.simulate.walk import Ending, Taken, Walk
from tracer.stack_protocols import Dial, Process, Target
from tracer.trace import Disposition, Reason, StackKind

_FAILED = (Disposition.REJECTED, Disposition.DROPPED, Disposition.UNREACHABLE, Disposition.LOST, Disposition.LOOP)


def accepted(departure: Accepted) -> Iterator[Way]:
    """Yield what becomes of a connection that a process accepted."""
    walk, process, host = departure.walk, departure.process, departure.host
    inside = changed(walk, accepted=(*walk.accepted, Taken(walk, process)))
    inside = inside.enter(StackKind.PROXY, process.name, node=None, came_in=None, went_out=None).note(process.note)
    for dial in process.dials(inside):
        if isinstance(dial, Reason):
            yield _closed(inside, process, dial.text, code=dial.code)
        else:
            recent = inside.recent.union(dial.remembers)
            taken = inside.forks if dial.share == 1 else (*inside.forks, drawn(f"{process.name} dials {dial.targets[0]}"))
            branch = changed(inside, probability=inside.probability * dial.share, recent=recent, forks=taken)
            yield _tried(branch, process, host, dial, 1)


def _tried(inside: Walk, process: Process, host: Host, dial: Dial, tries: int) -> Departure:
    """The connection to the target whose turn it is, and what is done when it fails."""
    target = dial.targets[tries - 1]
    how = f", {dial.how}" if dial.how else ""
    inside = inside.note(f"tries endpoint {target}" if tries > 1 else f"endpoint {target}{how}")
    after = partial(_ended, inside=inside, process=process, host=host, dial=dial, tries=tries)
    return host.sent(_new_connection(inside, host, target), after)


def _ended(ending: Ending, *, inside: Walk, process: Process, host: Host, dial: Dial, tries: int) -> Iterator[Way]:
    """What an end of the process's connection means for the client."""
    outcome = ending.outcome
    if outcome.disposition not in _FAILED or inside.packet.protocol is not Protocol.TCP:
        yield ending
        return
    why = f"{dial.targets[tries - 1]} does not answer ({outcome.reason.text if outcome.reason else outcome.disposition.value})"
    again = changed(inside, probability=outcome.probability, conditions=outcome.conditions, forks=ending.walk.forks).note(why)
    if tries < len(dial.targets):
        yield _tried(again, process, host, dial, tries + 1)
    else:
        text = f"no endpoint could be connected to; the last was tried in vain: {why}"
        yield _closed(again, process, text, code=process.closed)


def _new_connection(inside: Walk, host: Host, target: Target) -> Walk:
    """The process's own packet, in its host's stack."""
    packet = Packet(
        protocol=inside.packet.protocol,
        source=host.source_towards(target.address) or type(target.address)(0),
        source_port=None,
        source_port_random=True,
        destination=target.address,
        destination_port=target.port,
    )
    sent = changed(inside, packet=packet)
    return changed(sent, visit=host.visit(packet), hops=sent.left(None), seen=frozenset(), source_port_certain=False)


def _closed(inside: Walk, process: Process, why: str, *, code: str) -> Ending:
    """Nobody to connect to: TCP is closed after it was accepted; UDP has nothing to close, and the datagram is thrown away."""
    who = f"{process.program} {process.place}"
    if inside.packet.protocol is Protocol.TCP:
        return inside.end(Disposition.CLOSED, Reason(code=code, text=f"{who} accepts the connection and closes it at once: {why}"))
    return inside.end(Disposition.DROPPED, Reason(code=code, text=f"{who} throws the datagram away: {why}"))

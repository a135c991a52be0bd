"""A packet in a load balancer's stack: which nodes it may be passed on to, and the way of an answer back through it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tracer.conntrack import Connection
from tracer.forks import Fork, drawn
from tracer.frozen import changed
from tracer.simulate.departure import Accepted, Balanced, ProcessAt, Way
from tracer.simulate.outside import OutsideHost
from tracer.simulate.walk import Walk
from tracer.stack_protocols import Balancer, Choice, End, Handing, StackId, TableId, TableKind
from tracer.trace import StackKind, Unknown

Asked = Callable[[str | None, list[str]], Handing]
"""How a balancer hands over, by what its marks say (None: nothing); it adds the words of the assumptions that this rests on to the list."""


def balanced(walk: Walk, balancer: Balancer, went_out: str | None, process_at: ProcessAt, asked: Asked) -> Iterator[Way]:
    """Yield what becomes of a packet that comes to *balancer*, having left the stack before by device *went_out*."""
    walk = walk.enter(StackKind.LOAD_BALANCER, balancer.name, node=None, came_in=None, went_out=went_out)
    process = process_at(StackId(StackKind.LOAD_BALANCER, balancer.name), walk)
    if process is not None:
        yield Accepted(walk=walk, process=process, host=OutsideHost(walk.packet.destination))
        return
    walk, met = walk.note(balancer.note), list[str]()
    for number, choice in enumerate(balancer.handing_over(lambda told: asked(told, met)).choices(walk)):
        taken = walk.assuming(*met)
        if isinstance(choice, Unknown):
            yield taken.unknown(choice)
        elif isinstance(choice, End):
            ended = changed(taken, probability=taken.probability * choice.share)
            yield _supposing(ended, choice.fork).end(choice.disposition, choice.reason)
        else:
            for said in choice.notes:
                taken = taken.note(said)
            yield Balanced(walk=_passed_on(_supposing(taken, choice.fork), balancer, choice, number), node=choice.node)


def _supposing(walk: Walk, fork: Fork | None) -> Walk:
    """The walk under the condition of *fork*."""
    if fork is None or fork.condition is None:
        return walk
    return changed(
        walk,
        conditions=(*walk.conditions, fork.condition),
        unknowns=(*walk.unknowns, *fork.unknowns),
        forks=(*walk.forks, fork),
    )


def _passed_on(walk: Walk, balancer: Balancer, choice: Choice, number: int) -> Walk:
    taken = walk.forks if choice.share == 1 else (*walk.forks, drawn(f"{balancer.name} passes on", number))
    branch = changed(walk, packet=choice.packet, probability=walk.probability * choice.share, forks=taken)
    if choice.packet == walk.packet:  # nothing was rewritten: answers go past it
        return branch
    connection = Connection.begin(walk.packet).translated(choice.packet)
    return branch.with_entry(TableId(TableKind.BALANCER, balancer.name), connection)


def passed_back(walk: Walk, balancer: Balancer, went_out: str | None) -> Walk | None:
    """Return an answer as it leaves *balancer*, None when its request did not come that way."""
    packet = balancer.back(walk)
    if packet is None:
        return None
    entered = walk.enter(StackKind.LOAD_BALANCER, balancer.name, node=None, came_in=None, went_out=went_out)
    return changed(entered, packet=packet).note("modelled: the answer passes the load balancer, which restores its own address")

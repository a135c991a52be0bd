"""The health check of a load balancer: a packet of its own, walked to the port of a node that it asks, and its answer back.

Where nobody recorded which address it comes from, rules that ask for it are unknown, and whether it gets through may be.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from tracer.limits import Budget
from tracer.packet import Address, Packet, Protocol, endpoint_text, somebody
from tracer.simulate.answering import answered
from tracer.simulate.assuming import Assuming
from tracer.simulate.departure import SentFromOutside
from tracer.simulate.fabric import Fabric
from tracer.simulate.walk import Visit, Walk
from tracer.stack_protocols import Check, Health
from tracer.topology.cluster import Cluster
from tracer.trace import Disposition, Listener, Outcome, StackKind

_ANYWHERE = {4: "198.51.100.1", 6: "2001:db8::1"}
"""What stands for an address outside, of which routes know nothing but their default."""


class HealthChecks:
    """Walks the checks of one question, each once, within its *budget*."""

    def __init__(self, cluster: Cluster, budget: Budget, assume: tuple[str, ...]) -> None:
        self._cluster = cluster
        self._budget = budget
        self._assume = assume
        self._known: dict[Check, Health] = {}

    def of(self, check: Check) -> Health:
        """Return whether *check* gets through."""
        if check not in self._known:
            self._known[check] = self._walked(check)
        return self._known[check]

    def _walked(self, check: Check) -> Health:
        found = list(islice(self._outcomes(check), self._budget.limits.ways))
        lost = [outcome for outcome in found if _is_lost(outcome, check)]
        if not lost:
            is_heard = not any(outcome.listener is Listener.ABSENT for outcome in found)
            return Health(gets_through=True, why="" if is_heard else _unheard(check))
        return Health(gets_through=False if len(lost) == len(found) else None, why=f"{_asked(check)}: {_why(lost[0])}")

    def _outcomes(self, check: Check) -> Iterator[Outcome]:
        version = check.address.version
        known = tuple(source for source in check.sources if source.version == version)
        for source in known or (somebody("the load balancer's health check", _ANYWHERE[version]),):
            fabric = Fabric(self._cluster, client=source, budget=self._budget, assuming=Assuming(self._assume))
            for ending in fabric.endings(_sent(check, source)):
                yield from (back.outcome for back in answered(fabric, ending))


def _sent(check: Check, source: Address) -> SentFromOutside:
    packet = Packet(protocol=Protocol.TCP, source=source, destination=check.address, destination_port=check.port)
    visit = Visit(kind=StackKind.EXTERNAL, name=str(source), node=None, came_in=None, packet_in=packet)
    return SentFromOutside(walk=Walk(packet=packet, visit=visit))


def _is_lost(outcome: Outcome, check: Check) -> bool:
    """Whether a check surely fails. NB: what is unknown of it is unknown of the packets behind it, too, and said there."""
    if outcome.disposition is Disposition.DELIVERED:
        is_answered = outcome.reply is None or outcome.reply.disposition in (Disposition.DELIVERED, Disposition.UNKNOWN)
        return not is_answered or _is_refused(outcome, check)
    return outcome.disposition is not Disposition.UNKNOWN


def _is_refused(outcome: Outcome, check: Check) -> bool:
    return check.is_of_service and outcome.listener is Listener.ABSENT


def _why(lost: Outcome) -> str:
    """Why a check got no answer."""
    if lost.disposition is Disposition.DELIVERED and lost.listener is Listener.ABSENT:
        return "nothing listens there"
    reason = lost.reason if lost.disposition is not Disposition.DELIVERED or lost.reply is None else lost.reply.reason
    return reason.text if reason is not None else lost.disposition.value


def _unheard(check: Check) -> str:
    """NB: said, and no more: kube-proxy opens the port of each node in its own time, and in userspace mode never."""
    at = f"the health-check port {check.port} of node {check.node}"
    return f"nothing listens at {at} (ss.txt): a balancer that checks it leaves the node out"


def _asked(check: Check) -> str:
    return f"what it sends to {endpoint_text(check.address, check.port)} of node {check.node} gets no answer"

"""The health check of a load balancer: a packet of its own, walked to a node's health-check port, and its answer back.

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
        lost = [outcome for outcome in found if _is_lost(outcome)]
        if not lost:
            is_heard = not any(outcome.listener is Listener.ABSENT for outcome in found)
            return Health(gets_through=True, why="" if is_heard else _unheard(check))
        reason = lost[0].reason if lost[0].disposition is not Disposition.DELIVERED or lost[0].reply is None else lost[0].reply.reason
        why = reason.text if reason is not None else lost[0].disposition.value
        return Health(gets_through=False if len(lost) == len(found) else None, why=f"{_asked(check)}: {why}")

    def _outcomes(self, check: Check) -> Iterator[Outcome]:
        for source in check.sources or (somebody("the load balancer's health check", _ANYWHERE[check.address.version]),):
            if source.version != check.address.version:
                continue
            fabric = Fabric(self._cluster, client=source, budget=self._budget, assuming=Assuming(self._assume))
            for ending in fabric.endings(_sent(check, source)):
                yield from (back.outcome for back in answered(fabric, ending))


def _sent(check: Check, source: Address) -> SentFromOutside:
    packet = Packet(protocol=Protocol.TCP, source=source, destination=check.address, destination_port=check.port)
    visit = Visit(kind=StackKind.EXTERNAL, name=str(source), node=None, came_in=None, packet_in=packet)
    return SentFromOutside(walk=Walk(packet=packet, visit=visit))


def _is_lost(outcome: Outcome) -> bool:
    """Whether a check surely fails. NB: what is unknown of it is unknown of the packets behind it, too, and said there."""
    if outcome.disposition is Disposition.DELIVERED:
        is_answered = outcome.reply is None or outcome.reply.disposition in (Disposition.DELIVERED, Disposition.UNKNOWN)
        return not is_answered
    return outcome.disposition is not Disposition.UNKNOWN


def _unheard(check: Check) -> str:
    """NB: said, and no more: kube-proxy opens the port of each node in its own time, and in userspace mode never."""
    at = f"the health-check port {check.port} of node {check.node}"
    return f"nothing listens at {at} (ss.txt): a balancer that checks it leaves the node out"


def _asked(check: Check) -> str:
    return f"what it sends to {endpoint_text(check.address, check.port)} of node {check.node} gets no answer"

"""What the stacks of a cluster ask of it: who has an address, what a node has instead of rules, who accepts."""

from __future__ import annotations

from collections.abc import Callable

from tracer.kept import Kept
from tracer.kube.pod import Pod
from tracer.limits import KEPT_CROSSINGS, KEPT_RUNS, KEPT_WAYS
from tracer.netfilter.leaf import Leaf
from tracer.packet import Address, Family, Packet, unsaid
from tracer.simulate.crossing import Crossing
from tracer.simulate.hooks import Known
from tracer.simulate.policy_queue import Judged, judged
from tracer.simulate.proxy import kube_proxy
from tracer.simulate.walk import Walk
from tracer.stack_protocols import Passing, Process, StackId
from tracer.topology.belonging import unlisted_endpoints, unlisted_service
from tracer.topology.cluster import Cluster
from tracer.topology.data_path import BY_RULES, DataPath, data_path, unrecorded_rules
from tracer.topology.stack import NodeStack
from tracer.trace import Unknown

Acceptor = Callable[[Cluster, StackId, Passing], Process | None]
ACCEPTORS: tuple[Acceptor, ...] = (kube_proxy,)
"""Who is asked, in turn, whose process accepts what was delivered to a stack."""


class ClusterSurroundings:
    """Answers for *cluster*, with the processes that *acceptors* know."""

    def __init__(self, cluster: Cluster, acceptors: tuple[Acceptor, ...] = ACCEPTORS) -> None:
        self._cluster = cluster
        self._acceptors = acceptors

    def data_path(self, stack: NodeStack) -> DataPath:
        """Return the data path of a node; a pod's own stack has rules only."""
        if stack.pod is not None:
            return BY_RULES
        return data_path(self._cluster, stack)

    def gap(self, stack: NodeStack, family: Family) -> Unknown | None:
        """Return what keeps the rules of *stack* from being replayed for *family*, None when nothing does."""
        return self._cluster.once(("gap", stack.name, family), lambda: self._gap(stack, family))

    def _gap(self, stack: NodeStack, family: Family) -> Unknown | None:
        return stack.gap(family) or (unrecorded_rules(self._cluster, stack) if stack.pod is None else None)

    def unlisted(self, stack: NodeStack, packet: Packet) -> Unknown | None:
        """Return what keeps the modelled rules of *stack* from telling what becomes of a first *packet*; None where nothing does."""
        made = stack.programmed
        if made is None or not made.texts:
            return None
        why = unlisted_service(self._cluster, packet) or unlisted_endpoints(self._cluster, packet)
        return None if why is None else Unknown(code="DATA_MISSING", text=why, at={"node": stack.name})

    def known_hooks(self) -> Known:
        """Return what was found in the hooks of the cluster's stacks before, to be added to: nothing, where answers are not kept."""
        if not self._cluster.keeps_answers:
            return Known()
        kept = self._cluster.once(("hooks",), lambda: [_nothing_known()])
        if kept[0].count > KEPT_RUNS:
            kept[0] = _nothing_known()  # who is on the way still has the other one
        return kept[0]

    def queued(self, walk: Walk, crossing: Crossing, leaf: Leaf) -> Judged | None:
        """Return what the program does that a rule hands the packet to, None where it is none that is known."""
        is_first = not (walk.answering or walk.midstream or crossing.reply)
        return judged(self._cluster, crossing.stack.name, leaf, walk.packet, is_first=is_first)

    def process_at(self, host: StackId, walk: Passing) -> Process | None:
        """Return the process that accepts a new connection that reached *host*, None when none does."""
        if walk.answering or walk.midstream:
            return None
        found = (acceptor(self._cluster, host, walk) for acceptor in self._acceptors)
        return next((process for process in found if process is not None), None)

    def pods_sharing(self, node: str) -> tuple[Pod, ...]:
        """Return the pods that use the stack of *node*."""
        return self._cluster.host_network_pods(node)

    def pod_with_ip(self, address: Address, node: str | None = None) -> Pod | None:
        """Return the pod that owns *address*; of several, the one on *node*."""
        return self._cluster.pod_with_ip(address, node)

    def is_inside(self, address: Address) -> bool:
        """Return whether a pod or a node of the cluster has *address*."""
        if unsaid(address) is not None:
            return True
        return self._cluster.pod_with_ip(address) is not None or self._cluster.objects.node_with_ip(address) is not None


def _nothing_known() -> Known:
    return Known(crossings=Kept(KEPT_CROSSINGS), ways=Kept(KEPT_WAYS))

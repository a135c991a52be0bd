"""What an answer touches, as the snapshot has it: nodes with zone and proxy mode, pods with their state, Services with their policies.

Goes into the answer document, so that a frozen link shows it long after the snapshot is gone. Only what is on the way is listed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tracer.packet import Address
from tracer.topology.mode import mode_of
from tracer.trace import Hop, Outcome, Place, StackKind, Trace
from tracer.unopened import firsts, items_of, seen
from webapp.answering.owners import owners

if TYPE_CHECKING:
    from tracer.kube.pod import Pod
    from tracer.kube.service import Service
    from tracer.topology.cluster import Cluster


def surroundings(cluster: Cluster, traced: Trace) -> dict[str, Any]:
    """Return ``{"nodes": {name: {"zone", "mode", "evidence"}}, "pods": {ns/name: {"ready", "terminating"}}, "affinity": {ns/name: s}}``.

    A word that the snapshot does not have is left out. *evidence* says in words what tells the mode, and what is left of others;
    *ready* is None where the pod's Ready condition is absent. ``services`` has what of each Service on the way a what-if may change,
    ``policies`` the NetworkPolicies that select a pod of the answer, by ns/name, ``owners`` whose the addresses on the way are.
    """
    asked = frozenset(address for item in items_of(traced.outcomes) for address in seen(item, _sent_to))
    return {
        "nodes": {name: _node(cluster, name) for name in sorted(_nodes(traced))},
        "pods": {name: _state(pod) for name in sorted(_pods(traced)) if (pod := _pod(cluster, name))},
        "affinity": dict(_affinity(cluster, traced)),
        "services": {f"{s.namespace}/{s.name}": _service(s, asked) for s in _services(cluster, traced)},
        "owners": owners(cluster, traced, _hops(traced), _ends(traced)),
        "policies": {name: found for name in sorted(_pods(traced)) if (found := _policies(cluster, name))},
    }


def _hops(traced: Trace) -> Iterator[Hop]:
    for outcome in firsts(traced.outcomes):
        yield from outcome.hops
        yield from outcome.reply.hops if outcome.reply else ()


def _ends(traced: Trace) -> Iterator[Place]:
    return (end for item in items_of(traced.outcomes) if (end := seen(item, _destination)) is not None)


def _destination(outcome: Outcome) -> Place | None:
    return outcome.destination


def _sent_to(outcome: Outcome) -> tuple[Address, ...]:
    """Return the address that the client sends to, none where nothing is sent."""
    return tuple(hop.packet_in.destination for hop in outcome.hops[:1])


def _nodes(traced: Trace) -> set[str]:
    ends = {end.node for end in _ends(traced) if end.node}
    return ends | {hop.node for hop in _hops(traced) if hop.node}


def _node(cluster: Cluster, name: str) -> dict[str, object]:
    node, found = cluster.node(name), mode_of(cluster, name)
    evidence = [*found.evidence, *(f"left over: {text}" for text in found.leftovers)]
    said = {"zone": node.zone if node else None, "mode": found.mode, "evidence": evidence}
    return {word: value for word, value in said.items() if value}


def _pods(traced: Trace) -> set[str]:
    named = {f"{end.namespace}/{end.name}" for end in _ends(traced) if end.namespace and end.name}
    return named | {hop.name for hop in _hops(traced) if hop.kind is StackKind.POD}


def _pod(cluster: Cluster, name: str) -> Pod | None:
    namespace, _, own = name.partition("/")
    return cluster.objects.pod(namespace, own)


def _state(pod: Pod) -> dict[str, bool | None]:
    return {"ready": pod.ready, "terminating": pod.terminating}


def _services(cluster: Cluster, traced: Trace) -> Iterator[Service]:
    """Yield the Services on the way, by name: those of rules and balancers, and the one that was asked for."""
    names = {step.names["service"] for hop in _hops(traced) for step in hop.steps if "service" in step.names}
    names |= {hop.name for hop in _hops(traced) if hop.kind is StackKind.LOAD_BALANCER}
    if asked := traced.query.destination.service:
        names.add("/".join(asked))
    for name in sorted(names):
        namespace, _, own = name.partition("/")
        if service := cluster.objects.service(namespace, own):
            yield service


def _service(service: Service, asked: frozenset[Address]) -> dict[str, object]:
    """What of a Service a what-if may change. *inside*: it was *asked* for by a cluster IP."""
    return {
        "type": service.type.value,
        "external": service.external_traffic_policy.value,
        "internal": service.internal_traffic_policy.value,
        "affinity": service.session_affinity,
        "ranges": [str(network) for network in service.load_balancer_source_ranges],
        "inside": bool(asked & set(service.cluster_ips)),
    }


def _policies(cluster: Cluster, pod: str) -> list[str]:
    """The NetworkPolicies that select *pod*, as ns/name."""
    found, namespace = _pod(cluster, pod), pod.partition("/")[0]
    if found is None or found.host_network:
        return []
    return [f"{p.namespace}/{p.name}" for p in cluster.objects.policies_in(namespace) if p.pod_selector.matches(found.labels)]


def _affinity(cluster: Cluster, traced: Trace) -> Iterator[tuple[str, int]]:
    """Yield each Service on the way that keeps clients at one endpoint, with its timeout in seconds."""
    for service in _services(cluster, traced):
        if service.session_affinity == "ClientIP" and service.session_affinity_timeout is not None:
            yield f"{service.namespace}/{service.name}", service.session_affinity_timeout

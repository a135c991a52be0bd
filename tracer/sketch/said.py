"""What is said of a sketch: what was made up, what was taken to be so, and what of the manifests it makes nothing of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from tracer.sketch.manifest import Manifest, mapping
from tracer.sketch.nodes import MOST_PODS, SketchedNode
from tracer.sketch.pods import SketchedPod
from tracer.sketch.selection import Selection
from tracer.sketch.services import asks_for_two_families
from tracer.sketch.workloads import Workload

_MOST_OF_ONE = 5
_MOST_KINDS = 12
_TOPOLOGY_MODE = ("service.kubernetes.io/topology-mode", "service.kubernetes.io/topology-aware-hints")
_TAKEN = (
    "Taken: every pod that has a node runs and is ready. Nodes have no taints, so tolerations change nothing. What chooses a node is "
    f"nodeSelector, nodeName, host ports and room for {MOST_PODS} pods; resources, affinity and spreading are not weighed."
)
_NO_CONTROL_PLANE = "There is no control plane: no API server, and no Service default/kubernetes."
_DNS = "Added: CoreDNS as kubeadm deploys it, with two pods and the Service kube-system/kube-dns. Names resolve by it."
_WHY_NOT_USED = {"Secret": "never read", "Job": "no pod of it runs for long", "CronJob": "no pod of it runs for long"}


def remarks_of(
    *,
    nodes: Sequence[SketchedNode],
    services: Sequence[Manifest],
    workloads: Sequence[Workload],
    pods: Sequence[SketchedPod],
    selection: Selection,
    unused: Mapping[str, int],
    has_own_dns: bool,
) -> Iterator[str]:
    """Yield the sentences, what matters most first. *services* are those of the manifests; *unused*: kind → how many are not used."""
    yield _made_up(nodes, len(pods), services)
    yield from _without_node(pods)
    yield from _first((f"{one.manifest.said} is paused, so it has no pods." for one in workloads if one.is_paused), "more are paused")
    yield from _first(_selects_nothing(services, selection), "more Services select no pod")
    yield _TAKEN
    yield from _first((_unweighed(one) for one in workloads if one.unweighed), "more such workloads")
    yield from _first(_without_hints(services), "more such Services")
    if asks_for_two_families(services):
        yield "Both address families are there, as a Service asks for two, or for IPv6."
    if has_own_dns:
        yield _DNS
    yield _NO_CONTROL_PLANE
    if unused:
        yield _not_used(unused)


def _made_up(nodes: Sequence[SketchedNode], pods: int, services: Sequence[Manifest]) -> str:
    zones = len({node.zone for node in nodes})
    return (
        f"Made up: {_number(len(nodes), 'node')} in {_number(zones, 'zone')}, {_number(pods, 'pod')}, and all addresses and ports of "
        f"{_number(len(services), 'Service')} that the manifests do not give. The same manifests always give the same ones."
    )


def _unweighed(workload: Workload) -> str:
    fields = workload.unweighed
    return f"{workload.manifest.said} has {' and '.join(fields)}, which {'are' if fields[1:] else 'is'} not weighed."


def _without_node(pods: Sequence[SketchedPod]) -> Iterator[str]:
    waiting: Counter[tuple[str, str]] = Counter()
    for pod in pods:
        if pod.node is None:
            waiting[pod.workload.manifest.said, pod.why_not] += 1
    said = (f"{_number(count, 'pod')} of {of} {'has' if count == 1 else 'have'} no node: {why}." for (of, why), count in waiting.items())
    yield from _first(said, "more workloads have pods without a node")


def _selects_nothing(services: Sequence[Manifest], selection: Selection) -> Iterator[str]:
    for service in services:
        selector = mapping(service.spec.get("selector"))
        if selector and not selection.of(service):
            words = ", ".join(f"{key}={value}" for key, value in selector.items())[:200]
            yield f"{service.said} selects no pod ({words})."


def _without_hints(services: Sequence[Manifest]) -> Iterator[str]:
    for service in services:
        annotations = mapping(service.metadata.get("annotations"))
        if any(str(annotations.get(key)).lower() == "auto" for key in _TOPOLOGY_MODE):
            yield f"{service.said} asks for topology-aware routing, for which nodes would need CPUs: its endpoints have no hints."


def _not_used(unused: Mapping[str, int]) -> str:
    kinds = sorted(unused.items())
    said = [f"{_number(count, kind)}{f' ({_WHY_NOT_USED[kind]})' if kind in _WHY_NOT_USED else ''}" for kind, count in kinds[:_MOST_KINDS]]
    more = f", and {len(kinds) - _MOST_KINDS} more kinds" if kinds[_MOST_KINDS:] else ""
    return f"Not used: {', '.join(said)}{more}."


def _first(said: Iterator[str], more: str) -> Iterator[str]:
    """The first of what is *said*, and how many *more* there are."""
    count = 0
    for count, text in enumerate(said, 1):
        if count <= _MOST_OF_ONE:
            yield text
    if count > _MOST_OF_ONE:
        yield f"{count - _MOST_OF_ONE:,} {more}."


def _number(count: int, what: str) -> str:
    if count == 1:
        return f"1 {what}"
    return f"{count:,} {what[:-1]}ies" if what.endswith("y") else f"{count:,} {what}es" if what.endswith("s") else f"{count:,} {what}s"

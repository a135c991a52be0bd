"""Which pods a Service selects.

Strategy: pods with the same labels are one group, as those of a workload are, so that a Service is held against few.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tracer.sketch.manifest import Manifest, listed, mapping
from tracer.sketch.pods import SketchedPod
from tracer.sketch.workloads import Workload, running_containers


class Selection:
    """The pods of a sketch, by what selects them."""

    def __init__(self, pods: Iterable[SketchedPod]) -> None:
        self._groups: dict[str, dict[frozenset[tuple[str, str]], list[SketchedPod]]] = {}
        self._ports: dict[int, dict[tuple[object, object], int]] = {}
        self._found: dict[tuple[str, frozenset[tuple[str, object]]], list[SketchedPod]] = {}
        for pod in pods:
            self._groups.setdefault(pod.namespace, {}).setdefault(frozenset(pod.labels.items()), []).append(pod)

    def of(self, service: Manifest) -> Sequence[SketchedPod]:
        """Return the pods, with a node and without, that *service* selects: none where it has no selector."""
        selector = frozenset(mapping(service.spec.get("selector")).items())
        if not selector:
            return ()
        key = (service.namespace, selector)
        if key not in self._found:
            groups = self._groups.get(service.namespace, {}).items()
            self._found[key] = [pod for labels, pods in groups if selector <= labels for pod in pods]
        return self._found[key]

    def port_named(self, workload: Workload, name: str, protocol: str) -> int | None:
        """Return the first port of that name and protocol that a container of the workload's pods declares, or None."""
        if id(workload) not in self._ports:
            ports = [port for container in running_containers(workload.spec) for port in listed(container.get("ports"))]
            found = ((port.get("name"), port.get("protocol") or "TCP", port.get("containerPort")) for port in reversed(ports))
            self._ports[id(workload)] = {(named, spoken): number for named, spoken, number in found if isinstance(number, int)}
        return self._ports[id(workload)].get((name, protocol))

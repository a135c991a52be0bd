"""The pods of a sketch: which node each runs on, its addresses, and what its object says when it runs and is ready.

Strategy: workloads in the order of kind, namespace and name, whatever their order in the files. The pods of one go round the nodes that
they may run on, beginning at one that the workload's name decides, so that what changes in one moves no other's. What a scheduler weighs
besides (resources, affinity, spreading) is not looked at.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence

from tracer.sketch.manifest import listed, mapping
from tracer.sketch.nodes import MARK, Room, SketchedNode
from tracer.sketch.plan import address_in, pod_network, rotated
from tracer.sketch.workloads import Workload, sketched_name
from tracer.values import dataclass

_POD_FIELDS = (
    "affinity", "dnsConfig", "dnsPolicy", "enableServiceLinks", "hostAliases", "hostNetwork", "hostname", "nodeSelector", "restartPolicy",
    "setHostnameAsFQDN", "subdomain", "tolerations", "topologySpreadConstraints",
)  # fmt: skip
_CONTAINER_FIELDS = ("args", "command", "image", "name", "ports", "restartPolicy")
"""What of containers is carried into the sketch: no environment, so no secret."""
_CONDITIONS = ("PodScheduled", "Initialized", "ContainersReady", "Ready")
_ANYWHERE = ("DaemonSet", "StatefulSet", "Deployment", "ReplicaSet", "ReplicationController", "Pod")
"""The order in which workloads are placed: what has to be on each node first."""
_FIRST = "kube-system"


@dataclass(frozen=True, slots=True, kw_only=True)
class SketchedPod:
    """One pod: of which *workload*, where it runs (None: nowhere, and *why_not*), and its addresses in the order of the families."""

    workload: Workload
    name: str
    labels: Mapping[str, str]
    node: SketchedNode | None
    addresses: tuple[str, ...] = ()
    why_not: str = ""

    @property
    def namespace(self) -> str:
        """Return its namespace."""
        return self.workload.manifest.namespace

    @property
    def hostname(self) -> str | None:
        """Return the hostname that its object gives it, None where it is the pod's name anyway."""
        if self.workload.is_stateful:
            return self.name
        hostname = self.workload.spec.get("hostname")
        return hostname if isinstance(hostname, str) and hostname else None

    @property
    def subdomain(self) -> str | None:
        """Return the subdomain that its object gives it: of a StatefulSet its serviceName."""
        given = self.workload.manifest.spec.get("serviceName") if self.workload.is_stateful else self.workload.spec.get("subdomain")
        return given if isinstance(given, str) and given else None

    def to_object(self) -> dict[str, object]:
        """Return the Pod."""
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": self._metadata(),
            "spec": self._spec(),
            "status": _pending(self.why_not) if self.node is None else self._running(self.node),
        }

    def _metadata(self) -> dict[str, object]:
        manifest = self.workload.manifest
        given = mapping(mapping(self.workload.template.get("metadata")).get("annotations"))
        annotations = {str(key): value for key, value in given.items() if isinstance(value, str)}
        metadata: dict[str, object] = {
            "name": self.name,
            "namespace": self.namespace,
            "labels": dict(self.labels),
            "annotations": annotations | {MARK: f"{manifest.said} ({manifest.where})" if manifest.file else manifest.said},
        }
        if manifest.kind != "Pod":
            metadata["ownerReferences"] = [_owner(manifest.kind, manifest.name)]
        return metadata

    def _spec(self) -> dict[str, object]:
        given = self.workload.spec
        spec: dict[str, object] = {key: given[key] for key in _POD_FIELDS if given.get(key) is not None}
        for key in ("containers", "initContainers"):
            if containers := [_container(one, shares=given.get("hostNetwork") is True) for one in listed(given.get(key))]:
                spec[key] = containers
        if self.workload.is_stateful:
            spec |= {"hostname": self.hostname, **({"subdomain": self.subdomain} if self.subdomain else {})}
        if self.node is not None:
            spec["nodeName"] = self.node.name
        return spec

    def _running(self, node: SketchedNode) -> dict[str, object]:
        conditions = [{"type": name, "status": "True", "reason": "Sketched"} for name in _CONDITIONS]
        return {
            "phase": "Running",
            "hostIP": node.addresses[0],
            "hostIPs": [{"ip": address} for address in node.addresses],
            "podIP": self.addresses[0],
            "podIPs": [{"ip": address} for address in self.addresses],
            "conditions": conditions,
        }


def sketched_pods(workloads: Sequence[Workload], nodes: Sequence[SketchedNode]) -> Iterator[SketchedPod]:
    """Yield the pods of all *workloads*."""
    rooms = [Room(node) for node in nodes]
    taken = {(one.manifest.namespace, name) for one in workloads if one.manifest.kind in ("Pod", "StatefulSet") for name in one.names}
    for workload in sorted(workloads, key=_turn):
        yield from _on_every_node(workload, rooms) if workload.is_on_every_node else _round_the_nodes(workload, rooms, taken)


def _turn(workload: Workload) -> tuple[bool, int, tuple[str, str]]:
    """When it is placed: the cluster's own first, as its priority would have it."""
    manifest = workload.manifest
    return (manifest.namespace != _FIRST, _ANYWHERE.index(manifest.kind), manifest.key)


def _on_every_node(workload: Workload, rooms: Sequence[Room]) -> Iterator[SketchedPod]:
    """A pod for each node with the labels that are wanted: on others it wants none."""
    selector, ports = workload.node_selector, workload.host_ports
    for place, room in enumerate(one for one in rooms if one.has(selector)):
        pod = _Wanted(workload, sketched_name(workload.manifest, room.node.number), place, ports)
        yield pod.in_(room) if not (why_not := room.why_not(ports)) else pod.nowhere(why_not)


def _round_the_nodes(workload: Workload, rooms: Sequence[Room], taken: set[tuple[str, str]]) -> Iterator[SketchedPod]:
    ports, first = workload.host_ports, rotated(len(rooms), "/".join(workload.manifest.key))
    turns = [rooms[first(turn)] for turn in range(len(rooms))]
    free = deque(room for room in turns if not _refused(workload, room))
    why_not = _refused(workload, turns[0]) if not free else ""
    for place, name in enumerate(_free_names(workload, taken)):
        pod = _Wanted(workload, name, place, ports)
        # A node that has no room for one has none for those behind: they are all alike.
        while free and (why_not := free[0].why_not(ports)):
            free.popleft()
        if free:
            free.rotate(-1)
            yield pod.in_(free[-1])
        else:
            yield pod.nowhere(why_not)


def _refused(workload: Workload, room: Room) -> str:
    """Why no pod of the workload may ever run there, "" where it may."""
    wanted = workload.spec.get("nodeName")
    if isinstance(wanted, str) and wanted and wanted != room.node.name:
        return f"its nodeName is {wanted[:60]}, and no node of the sketch is called so"
    return "" if room.has(workload.node_selector) else "no node has the labels of its nodeSelector"


def _free_names(workload: Workload, taken: set[tuple[str, str]]) -> Iterator[str]:
    """The names of its pods, those that the sketch makes up changed where somebody has them."""
    namespace = workload.manifest.namespace
    for name in workload.names:
        if workload.manifest.kind in ("Pod", "StatefulSet"):
            yield name
            continue
        while (namespace, name) in taken:
            name += "-again"
        taken.add((namespace, name))
        yield name


class _Wanted:
    """A pod that has no place yet."""

    def __init__(self, workload: Workload, name: str, place: int, ports: frozenset[tuple[str, int]]) -> None:
        self._workload, self._name, self._place, self._ports = workload, name, place, ports

    def in_(self, room: Room) -> SketchedPod:
        """Return it with a place on a node."""
        number = room.take(f"{self._workload.manifest.namespace}/{self._name}", self._ports)
        node = room.node
        shares = self._workload.spec.get("hostNetwork") is True
        own = tuple(str(address_in(pod_network(node.number, version), number)) for version in node.versions)
        return self._made(node, node.addresses if shares else own, "")

    def nowhere(self, why_not: str) -> SketchedPod:
        """Return it without a place."""
        return self._made(None, (), why_not)

    def _made(self, node: SketchedNode | None, addresses: tuple[str, ...], why_not: str) -> SketchedPod:
        labels = _labels(self._workload, self._name, self._place)
        return SketchedPod(workload=self._workload, name=self._name, labels=labels, node=node, addresses=addresses, why_not=why_not)


def _labels(workload: Workload, name: str, place: int) -> Mapping[str, str]:
    """The labels of a pod, with those that a StatefulSet gives."""
    found = mapping(mapping(workload.template.get("metadata")).get("labels"))
    labels = {str(key): str(value) for key, value in found.items()}
    if workload.is_stateful:
        labels |= {"apps.kubernetes.io/pod-index": str(workload.first + place), "statefulset.kubernetes.io/pod-name": name}
    return labels


def _pending(why_not: str) -> dict[str, object]:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why_not}
    return {"phase": "Pending", "conditions": [condition]}


def _owner(kind: str, name: str) -> dict[str, object]:
    """What owns a pod. NB: of a Deployment a ReplicaSet, whose name a real cluster ends with a hash of the template."""
    if kind == "Deployment":
        return {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"{name}-sketch", "controller": True}
    return {"apiVersion": "v1" if kind == "ReplicationController" else "apps/v1", "kind": kind, "name": name, "controller": True}


def _container(given: Mapping[str, object], *, shares: bool) -> dict[str, object]:
    made = {key: given[key] for key in _CONTAINER_FIELDS if given.get(key) is not None}
    if ports := listed(given.get("ports")):
        made["ports"] = [_port(port, shares=shares) for port in ports]
    return made


def _port(given: Mapping[str, object], *, shares: bool) -> dict[str, object]:
    """A container's port with what the API server fills in."""
    own = {"hostPort": given.get("containerPort")} if shares else {}
    return {"protocol": "TCP"} | own | {key: value for key, value in given.items() if value is not None}

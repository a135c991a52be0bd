"""What pods are made of: Deployments, StatefulSets, DaemonSets, ReplicaSets and bare Pods, checked as the API server checks them.

Owns which pods a workload asks for. Where they run and what addresses they have is ``pods``' business. Volumes, probes and resources are
not looked at: a sketched pod has what it needs, and is ready.
Source: pkg/apis/apps/validation, pkg/apis/core/validation ValidatePodSpec of Kubernetes 1.36.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tracer.errors import ParseError
from tracer.kube.fields import Fields
from tracer.kube.selector import LabelSelector
from tracer.limits import SKETCH_PODS
from tracer.sketch.checked import Checked, Mistakes
from tracer.sketch.manifest import Manifest, listed, mapping
from tracer.sketch.service_checks import PROTOCOLS
from tracer.values import dataclass

_MOST_REPLICAS = 2**31 - 1
_EVERY_NODE = "DaemonSet"
_FIELDS = {
    "Deployment": "minReadySeconds paused progressDeadlineSeconds replicas revisionHistoryLimit selector strategy template",
    "StatefulSet": (
        "minReadySeconds ordinals persistentVolumeClaimRetentionPolicy podManagementPolicy replicas revisionHistoryLimit selector "
        "serviceName template updateStrategy volumeClaimTemplates"
    ),
    "DaemonSet": "minReadySeconds revisionHistoryLimit selector template updateStrategy",
    "ReplicaSet": "minReadySeconds replicas selector template",
    "ReplicationController": "minReadySeconds replicas selector template",
}
_POD_FIELDS = (
    "activeDeadlineSeconds", "affinity", "containers", "dnsConfig", "dnsPolicy", "enableServiceLinks", "hostAliases", "hostNetwork",
    "hostname", "initContainers", "nodeName", "nodeSelector", "restartPolicy", "schedulerName", "securityContext", "serviceAccountName",
    "setHostnameAsFQDN", "subdomain", "terminationGracePeriodSeconds", "tolerations", "topologySpreadConstraints", "volumes",
)  # fmt: skip
"""The fields of a pod that are looked at or common: of others only a wrong spelling of these is a mistake."""
_CONTAINER_FIELDS = (
    "args", "command", "env", "envFrom", "image", "imagePullPolicy", "lifecycle", "livenessProbe", "name", "ports", "readinessProbe",
    "resources", "restartPolicy", "securityContext", "startupProbe", "volumeMounts", "workingDir",
)  # fmt: skip
_PORT_FIELDS = ("containerPort", "hostIP", "hostPort", "name", "protocol")
_DNS_POLICIES = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
UNWEIGHED = ("affinity", "topologySpreadConstraints")
"""What a real scheduler weighs and a sketch does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What makes pods: *names* of those it asks for, in order; none of a DaemonSet, which has one for each node that it chooses.

    *template* has their metadata and spec. *first* is the number of a StatefulSet's
    first pod. *is_paused*: a Deployment that makes none for now.
    """

    manifest: Manifest
    names: tuple[str, ...]
    template: Mapping[str, object]
    first: int = 0
    is_paused: bool = False

    @property
    def is_on_every_node(self) -> bool:
        """Return whether it has a pod on each node that it chooses."""
        return self.manifest.kind == _EVERY_NODE

    @property
    def is_stateful(self) -> bool:
        """Return whether its pods have names of their own that stay, and numbers."""
        return self.manifest.kind == "StatefulSet"

    @property
    def spec(self) -> Mapping[str, object]:
        """Return the spec of its pods."""
        return mapping(self.template.get("spec"))

    @property
    def node_selector(self) -> Mapping[str, str]:
        """Return the labels that a node needs."""
        return {str(key): str(value) for key, value in mapping(self.spec.get("nodeSelector")).items()}

    @property
    def host_ports(self) -> frozenset[tuple[str, int]]:
        """Return (protocol, port) of every port that each pod needs of its node; on the node's network those are all that are declared."""
        key = "containerPort" if self.spec.get("hostNetwork") is True else "hostPort"
        ports = (port for container in running_containers(self.spec) for port in listed(container.get("ports")))
        found = ((str(port.get("protocol") or "TCP"), port.get(key)) for port in ports)
        return frozenset((protocol, number) for protocol, number in found if isinstance(number, int))

    @property
    def unweighed(self) -> tuple[str, ...]:
        """Return the fields by which a scheduler would choose nodes, and a sketch does not."""
        return tuple(key for key in UNWEIGHED if self.spec.get(key))


def running_containers(spec: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    """Yield the containers that run beside each other: also init containers that restart always (sidecars)."""
    yield from listed(spec.get("containers"))
    yield from (one for one in listed(spec.get("initContainers")) if one.get("restartPolicy") == "Always")


def workload_of(manifest: Manifest, mistakes: Mistakes) -> Workload | None:
    """Return the pods that *manifest* asks for; None, with every mistake noted, where the API server would refuse it."""
    if manifest.kind == "Pod":
        _check_pod(Checked(manifest, manifest.value, mistakes), is_alone=True)
        made = Workload(manifest=manifest, names=(manifest.name,), template=manifest.value)
    else:
        made = _replicated(manifest, mistakes)
    return None if mistakes.has(manifest) else made


def _replicated(manifest: Manifest, mistakes: Mistakes) -> Workload:
    top = Checked(manifest, manifest.value, mistakes)
    if not top.has("spec"):
        top.wrong("spec", "is missing.")
    spec = top.nested("spec")
    spec.only(_FIELDS[manifest.kind].split())
    replicas = spec.number("replicas", 0, _MOST_REPLICAS) if manifest.kind != _EVERY_NODE else 0
    replicas = 1 if replicas is None else replicas
    if replicas > SKETCH_PODS:
        spec.wrong("replicas", f"{replicas:,} pods are more than a sketch makes: {SKETCH_PODS:,} (limit SKETCH_PODS).")
        replicas = 0
    first = spec.nested("ordinals").number("start", 0, _MOST_REPLICAS) or 0 if manifest.kind == "StatefulSet" else 0
    if not spec.has("template"):
        spec.wrong("template", "is missing.")
    else:
        template = spec.nested("template")
        _check_pod(template, is_alone=False)
        _check_selector(manifest, spec, template)
    is_paused = spec.flag("paused") is True if manifest.kind == "Deployment" else False
    names = _names(manifest, 0 if is_paused else replicas, first)
    return Workload(manifest=manifest, names=names, template=mapping(manifest.spec.get("template")), first=first, is_paused=is_paused)


def _names(manifest: Manifest, replicas: int, first: int) -> tuple[str, ...]:
    if manifest.kind == "StatefulSet":
        return tuple(f"{manifest.name}-{number}" for number in range(first, first + replicas))
    return tuple(sketched_name(manifest, number) for number in range(1, replicas + 1))


def sketched_name(manifest: Manifest, number: int) -> str:
    """Return what a pod is called whose name a real cluster would draw."""
    return f"{manifest.name[:240]}-sketch-{number}"


def _check_selector(manifest: Manifest, spec: Checked, template: Checked) -> None:
    labels = template.nested("metadata").labels("labels")
    if manifest.kind == "ReplicationController":
        wanted = spec.labels("selector")
        selector = LabelSelector(match_labels=wanted or labels)
    elif not spec.has("selector"):
        spec.wrong("selector", f"is missing: a {manifest.kind} says by which labels it knows its pods.")
        return
    else:
        spec.nested("selector").labels("matchLabels")
        try:
            selector = LabelSelector.from_fields(Fields.of(dict(manifest.spec), manifest.kind).nested("selector"))
        except ParseError as error:
            spec.wrong("selector", error.faults[0].message.partition(": ")[2])
            return
    if not selector.match_labels and not selector.match_expressions:
        spec.wrong("selector", "is empty: it says by which labels it knows its pods.")
    elif not selector.matches(labels):
        spec.wrong("selector", f"selects {selector}, and the labels of spec.template are others.")


def _check_pod(pod: Checked, *, is_alone: bool) -> None:
    if not pod.has("spec"):
        pod.wrong("spec", "is missing.")
        return
    metadata = pod.nested("metadata")
    metadata.labels("labels")
    spec = pod.nested("spec")
    spec.spelling(_POD_FIELDS)
    shares = spec.flag("hostNetwork") is True
    spec.labels("nodeSelector")
    spec.text("nodeName")
    spec.word("dnsPolicy", _DNS_POLICIES)
    restart = spec.word("restartPolicy", ("Always", "OnFailure", "Never"))
    if not is_alone and restart not in (None, "Always"):
        spec.wrong("restartPolicy", f"{restart} is for bare Pods and Jobs: here it is Always.")
    for key in ("hostname", "subdomain"):
        if name := spec.text(key):
            spec.is_name(key, name)
    containers = spec.each("containers")
    if not spec.raw("containers"):
        spec.wrong("containers", "is missing: a pod has at least one.")
    names: set[str] = set()
    for container in (*containers, *spec.each("initContainers")):
        _check_container(container, names, shares=shares)


def _check_container(container: Checked, names: set[str], *, shares: bool) -> None:
    container.spelling(_CONTAINER_FIELDS)
    name = container.name()
    if name is not None and name in names:
        container.wrong("name", f"{name!r} is another container's already.")
    names.add(name or "")
    if not container.text("image") and not container.has("image"):
        container.wrong("image", "is missing.")
    declared: set[str] = set()
    for port in container.each("ports"):
        port.only(_PORT_FIELDS)
        number = port.port("containerPort")
        if number is None and not port.has("containerPort"):
            port.wrong("containerPort", "is missing.")
        port.word("protocol", PROTOCOLS)
        port.address("hostIP")
        host_port = port.port("hostPort")
        if shares and host_port is not None and host_port != number:
            port.wrong("hostPort", f"is {host_port}, and containerPort {number}: on the node's network (hostNetwork) they are the same.")
        if called := port.text("name"):
            port.port_name("name", called)
            if called in declared:
                port.wrong("name", f"{called!r} is another port's of this container already.")
            declared.add(called)

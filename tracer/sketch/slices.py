"""The EndpointSlices of a sketch, as their controllers would write them of Services and pods, or of Endpoints that somebody wrote.

Source: pkg/controller/endpointslice, staging/src/k8s.io/endpointslice (reconciler, trafficdist), pkg/controller/endpointslicemirroring of
Kubernetes 1.36.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from tracer.kube.endpointslice import SERVICE_NAME_LABEL, Endpoint, slices_from_endpoints
from tracer.sketch.manifest import Manifest, listed
from tracer.sketch.nodes import MARK
from tracer.sketch.pods import SketchedPod
from tracer.sketch.selection import Selection
from tracer.sketch.services import families_of
from tracer.sketch.workloads import Workload

_MOST_ENDPOINTS = 100
"""How many endpoints one slice has. Source: the controller's own --max-endpoints-per-slice."""
_MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
_CONTROLLER, _MIRRORING = "endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io"
Port = tuple[str, str, int, str]
"""Name, protocol, number and application protocol."""


def selected_slices(services: Sequence[Manifest], selection: Selection) -> Iterator[dict[str, object]]:
    """Yield the slices of each Service with a selector: of each family, and of each set of port numbers of their own."""
    for service in sorted(services, key=lambda one: one.key):
        if not service.spec.get("selector") or service.spec.get("type") == "ExternalName":
            continue
        chosen = [pod for pod in selection.of(service) if pod.node is not None]
        for version in families_of(service):
            yield from _of_family(service, chosen, version, selection)


def mirrored_slices(endpoints: Iterable[Manifest], services: Sequence[Manifest]) -> Iterator[dict[str, object]]:
    """Yield the slices of Endpoints whose Service has no selector. :raises ParseError: they have a wrong type."""
    without = {one.key for one in services if not one.spec.get("selector")}
    for manifest in sorted((one for one in endpoints if one.key in without), key=lambda one: one.key):
        for number, model in enumerate(slices_from_endpoints(manifest.value), 1):
            ports: list[dict[str, object]] = [
                {"name": port.name, "protocol": port.protocol.value.upper(), "port": port.port} for port in model.ports
            ]
            made = [_mirrored(endpoint) for endpoint in model.endpoints]
            yield _slice(manifest, number, model.address_type, ports, made, managed_by=_MIRRORING)


def _mirrored(endpoint: Endpoint) -> dict[str, object]:
    made: dict[str, object] = {
        "addresses": [str(address) for address in endpoint.addresses],
        "conditions": {"ready": endpoint.ready},
    }
    named = {"hostname": endpoint.hostname, "nodeName": endpoint.node_name}
    return made | {key: value for key, value in named.items() if value}


def _of_family(service: Manifest, pods: Sequence[SketchedPod], version: int, selection: Selection) -> Iterator[dict[str, object]]:
    groups: dict[tuple[Port, ...], list[dict[str, object]]] = {}
    known: dict[int, tuple[Port, ...]] = {}
    for pod in pods:
        address = next((one for one in pod.addresses if (":" in one) is (version == 6)), None)
        if id(pod.workload) not in known:
            known[id(pod.workload)] = tuple(_ports(service, pod.workload, selection))
        if address is not None:
            groups.setdefault(known[id(pod.workload)], []).append(_endpoint(service, pod, address))
    if not groups:
        groups[()] = []
    number = 0
    for ports, endpoints in sorted(groups.items()):
        for begin in range(0, max(1, len(endpoints)), _MOST_ENDPOINTS):
            number += 1
            part = endpoints[begin : begin + _MOST_ENDPOINTS]
            yield _slice(service, number, f"IPv{version}", [_port_object(port) for port in ports], part, managed_by=_CONTROLLER)


def _slice(
    of: Manifest,
    number: int,
    family: str,
    ports: list[dict[str, object]],
    endpoints: list[dict[str, object]],
    *,
    managed_by: str,
) -> dict[str, object]:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{of.name}-sketch-{family.lower()}-{number}",
            "namespace": of.namespace,
            "labels": {SERVICE_NAME_LABEL: of.name, _MANAGED_BY: managed_by},
            "annotations": {MARK: f"{of.said} ({of.where})" if of.file else of.said},
        },
        "addressType": family,
        "ports": ports,
        "endpoints": endpoints,
    }


def _ports(service: Manifest, workload: Workload, selection: Selection) -> Iterator[Port]:
    """The ports behind the Service's on a pod of the workload; none for a name that no container of it declares."""
    for port in listed(service.spec.get("ports")):
        protocol = str(port.get("protocol") or "TCP")
        target = port.get("targetPort") or port.get("port")
        number = target if isinstance(target, int) else selection.port_named(workload, str(target), protocol)
        if number is not None:
            yield (str(port.get("name") or ""), protocol, number, str(port.get("appProtocol") or ""))


def _port_object(port: Port) -> dict[str, object]:
    name, protocol, number, application = port
    return {"name": name, "protocol": protocol, "port": number, **({"appProtocol": application} if application else {})}


def _endpoint(service: Manifest, pod: SketchedPod, address: str) -> dict[str, object]:
    made: dict[str, object] = {
        "addresses": [address],
        "conditions": {"ready": True, "serving": True, "terminating": False},
        "targetRef": {"kind": "Pod", "namespace": pod.namespace, "name": pod.name},
    }
    if pod.node is not None:
        made |= {"nodeName": pod.node.name, "zone": pod.node.zone}
        if hints := _hints(service.spec.get("trafficDistribution"), pod.node.name, pod.node.zone):
            made["hints"] = hints
    if pod.hostname and pod.subdomain == service.name:
        made["hostname"] = pod.hostname
    return made


def _hints(distribution: object, node: str, zone: str) -> Mapping[str, object]:
    """What an endpoint hints at: its own zone, and with PreferSameNode its node first."""
    zones = {"forZones": [{"name": zone}]}
    if distribution in ("PreferClose", "PreferSameZone"):
        return zones
    return {**zones, "forNodes": [{"name": node}]} if distribution == "PreferSameNode" else {}

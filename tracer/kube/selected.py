"""Endpoints as the EndpointSlice controller would make them of selectors and pods, where neither slices nor Endpoints were recorded.

Source: pkg/controller/endpointslice, pkg/controller/util/endpoint of Kubernetes 1.36.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from tracer.kube.endpointslice import Endpoint, EndpointPort, EndpointSlice, TargetRef
from tracer.kube.pod import Pod
from tracer.kube.service import Service, ServicePort


def selected_slices(services: Iterable[Service], pods: Sequence[Pod]) -> Iterator[EndpointSlice]:
    """Yield a slice for each Service, family and set of port numbers; none of a Service without a selector, or without a pod."""
    by_namespace: dict[str, list[Pod]] = {}
    for pod in pods:
        by_namespace.setdefault(pod.namespace, []).append(pod)
    for service in services:
        selector = service.selector
        if not selector:
            continue
        chosen = [pod for pod in by_namespace.get(service.namespace, ()) if selector.items() <= dict(pod.labels).items()]
        for version in versions_of(service):
            yield from _slices(service, chosen, version)


def versions_of(service: Service) -> tuple[int, ...]:
    """Return the IP versions of a Service's endpoints: those of its cluster IPs; of a headless one what it says, else IPv4."""
    said = (int(family[-1]) for family in service.ip_families if family in ("IPv4", "IPv6"))
    return tuple(dict.fromkeys(address.version for address in service.cluster_ips)) or tuple(dict.fromkeys(said)) or (4,)


def _slices(service: Service, pods: Iterable[Pod], version: int) -> Iterator[EndpointSlice]:
    groups: dict[tuple[EndpointPort, ...], list[Endpoint]] = {}
    for pod in pods:
        address = next((a for a in pod.ips if a.version == version), None)
        if address is None or pod.has_ended:
            continue
        # Where the Service publishes what is not ready, its endpoints are ready whatever their pods are, also on their way out.
        is_serving = pod.ready is not False
        ports = tuple(port for one in service.ports if (port := _port(one, pod)) is not None)
        groups.setdefault(ports, []).append(
            Endpoint(
                addresses=(address,),
                ready=service.publish_not_ready_addresses or (is_serving and not pod.terminating),
                serving=is_serving,
                terminating=pod.terminating,
                node_name=pod.node_name,
                target_ref=TargetRef(kind="Pod", namespace=pod.namespace, name=pod.name),
            )
        )
    for number, (ports, endpoints) in enumerate(groups.items()):
        yield EndpointSlice(
            namespace=service.namespace,
            name=f"{service.name}-{version}-{number}",
            service=service.name,
            address_type=f"IPv{version}",
            endpoints=tuple(endpoints),
            ports=ports,
        )


def _port(port: ServicePort, pod: Pod) -> EndpointPort | None:
    """The port behind one of the Service's; None where no container of the pod declares the name."""
    number: int | None = port.target_port if isinstance(port.target_port, int) else None
    if number is None:
        declared = pod.port_named(str(port.target_port), port.protocol)
        number = declared.container_port if declared is not None else None
    return None if number is None else EndpointPort(name=port.name, protocol=port.protocol, port=number, app_protocol=port.app_protocol)

"""Words drawn for a cluster: changes of everything that it has, and words that say what is so already."""

from __future__ import annotations

import json
from collections.abc import Iterator

from tracer.kube.service import Service, ServiceType
from tracer.snapshot.proxy_mode import proxy_mode
from tracer.topology.cluster import Cluster

_OUTSIDE = (ServiceType.NODE_PORT, ServiceType.LOAD_BALANCER)


def changes(cluster: Cluster) -> Iterator[tuple[str, ...]]:
    """Yield what can be asked to be otherwise of each Service, endpoint, pod and node."""
    objects = cluster.objects
    for service in objects.services:
        yield from _of_service(service)
    for one in objects.slices:
        for endpoint in one.endpoints:
            for address in endpoint.addresses[: 1 if one.service else 0]:
                yield (f"endpoint/{one.namespace}/{one.service}/{address}.ready={str(not endpoint.ready).lower()}",)
                yield (f"endpoint/{one.namespace}/{one.service}/{address}.terminating=true",)
    for pod in objects.pods:
        named = f"pod/{pod.namespace}/{pod.name}"
        yield (f"{named}=deleted",)
        yield (f"{named}.ready=false",)
        yield (f"{named}=terminating",)
        if pod.owned_ips and pod.node_name:
            yield (f"pod/{pod.namespace}/what-if=added:like={pod.name},node={pod.node_name}",)
            yield (f"{named}.metadata.labels={json.dumps({'app': 'nobodys'})}",)
    for node in objects.nodes:
        yield (f"node/{node.name}=removed",)
        yield (f"node/{node.name}=cordoned",)
        yield (f"node/{node.name}.metadata.labels[topology.kubernetes.io/zone]=elsewhere",)


def _of_service(service: Service) -> Iterator[tuple[str, ...]]:
    named = f"svc/{service.namespace}/{service.name}"
    yield (f"{named}=deleted",)
    if service.type is ServiceType.EXTERNAL_NAME:
        return
    yield (f"{named}.spec.publishNotReadyAddresses={str(not service.publish_not_ready_addresses).lower()}",)
    yield (f"{named}.spec.trafficDistribution=PreferClose",)
    yield (f"{named}.spec.ports[0].targetPort=9999",)
    if service.headless:
        return
    yield (f"{named}.spec.sessionAffinity={'None' if service.session_affinity == 'ClientIP' else 'ClientIP'}",)
    yield (f"{named}.spec.internalTrafficPolicy=Local",)
    yield (f"{named}.spec.ports[0].port=12345",)
    yield (f'{named}.spec.externalIPs=["203.0.113.77"]',)
    if service.type in _OUTSIDE:
        yield (f"{named}.spec.externalTrafficPolicy=Local",)
        yield (f"{named}.spec.externalTrafficPolicy=Cluster",)
        yield (f"{named}.spec.ports[0].nodePort=32123",)
    else:
        yield (f"{named}.spec.type=NodePort",)
    if service.type is ServiceType.LOAD_BALANCER:
        yield (f'{named}.spec.loadBalancerSourceRanges=["198.51.100.0/24"]',)
    if not service.load_balancer_source_ranges:
        yield (f"{named}.spec.type={'ClusterIP' if service.type in _OUTSIDE else 'LoadBalancer'}",)


def restating(cluster: Cluster) -> Iterator[str]:
    """Yield words that say what is so already."""
    objects = cluster.objects
    for service in objects.services:
        named = f"svc/{service.namespace}/{service.name}"
        yield f"{named}.spec.type={service.type.value}"
        yield f"{named}.spec.sessionAffinity={service.session_affinity}"
        if service.selector is not None:
            yield f"{named}.spec.selector={json.dumps(dict(service.selector))}"
        if service.type in _OUTSIDE:
            yield f"{named}.spec.externalTrafficPolicy={service.external_traffic_policy.value}"
        for place, port in enumerate(service.ports):
            yield f"{named}.spec.ports[{place}].port={port.port}"
            yield f"{named}.spec.ports[{place}].targetPort={port.target_port}"
            if port.node_port:
                yield f"{named}.spec.ports[{place}].nodePort={port.node_port}"
    for one in objects.slices:
        for endpoint in one.endpoints if one.service else ():
            for address in endpoint.addresses:
                yield f"endpoint/{one.namespace}/{one.service}/{address}.ready={str(endpoint.ready).lower()}"
                yield f"endpoint/{one.namespace}/{one.service}/{address}.terminating={str(endpoint.terminating).lower()}"
    for pod in objects.pods:
        if pod.ready is not None:
            yield f"pod/{pod.namespace}/{pod.name}.ready={str(pod.ready).lower()}"
        yield f"pod/{pod.namespace}/{pod.name}.metadata.labels={json.dumps(dict(pod.labels))}"
    for node in objects.nodes:
        if (said := proxy_mode(cluster.snapshot, node.name)) is not None and said.mode in ("iptables", "nftables", "ipvs"):
            yield f"node/{node.name}.mode={said.mode}"
        for key, value in node.labels.items():
            yield f"node/{node.name}.metadata.labels[{key}]={value}"

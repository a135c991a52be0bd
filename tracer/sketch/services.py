"""The Services of a sketch: as they were written, with what the API server and a cloud would fill in.

Owns the addresses and node ports that are made up. What the manifests ask for is theirs, and is given to nobody else.
Source: pkg/registry/core/service/storage, pkg/apis/core/v1/defaults.go of Kubernetes 1.36.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from tracer.packet import Address
from tracer.query import parse_address
from tracer.sketch.manifest import Manifest, listed, mapping
from tracer.sketch.nodes import MARK
from tracer.sketch.plan import BALANCERS, DNS_HOST, NODE_PORTS, SERVICES, Numbers, balancer_numbers, service_numbers
from tracer.sketch.service_checks import asked_addresses, asked_ports

_AFFINITY_SECONDS = 10_800
_DNS = ("kube-system", "kube-dns")
_PUBLISHED = ("NodePort", "LoadBalancer")


def asks_for_two_families(services: Iterable[Manifest]) -> bool:
    """Return whether a Service asks for what only a dual-stack cluster has."""
    return any(_asks_for_ipv6(service) for service in services)


def _asks_for_ipv6(service: Manifest) -> bool:
    spec = service.spec
    families = spec.get("ipFamilies")
    return (
        spec.get("ipFamilyPolicy") in ("PreferDualStack", "RequireDualStack")
        or (isinstance(families, list) and "IPv6" in families)
        or any(":" in address for address in asked_addresses(service))
    )


def families_of(service: Manifest) -> tuple[int, ...]:
    """Return the IP versions that the Service has in a cluster of both, or of IPv4 alone where nobody asks for the other."""
    spec = service.spec
    given = spec.get("ipFamilies")
    versions = [6 if one == "IPv6" else 4 for one in given] if isinstance(given, list) else []
    versions = versions or [6 if ":" in address else 4 for address in asked_addresses(service)] or [4]
    if spec.get("ipFamilyPolicy") in ("PreferDualStack", "RequireDualStack"):
        versions += [version for version in (4, 6) if version not in versions]
    return tuple(dict.fromkeys(versions))


class Completed:
    """Completes Services, each with what nobody else has. *services* are all of them. :raises NoneLeft: too many want a number."""

    def __init__(self, services: Sequence[Manifest]) -> None:
        asked = [address for one in services for text in asked_addresses(one) if (address := parse_address(text)) is not None]
        self._cluster = {version: service_numbers(version, asked) for version in (4, 6)}
        given = [address for one in services if (address := _asked_balancer(one)) is not None]
        self._balancers = {version: balancer_numbers(version, given) for version in (4, 6)}
        self._ports = Numbers(NODE_PORTS, [port for one in services for _, port in asked_ports(one)])

    def objects(self, services: Sequence[Manifest]) -> Iterator[dict[str, object]]:
        """Yield the complete Services, by namespace and name."""
        for service in sorted(services, key=lambda one: one.key):
            yield self._object(service)

    def _object(self, service: Manifest) -> dict[str, object]:
        given, kind = service.spec, service.spec.get("type") or "ClusterIP"
        metadata = dict(service.metadata) | {"name": service.name, "namespace": service.namespace}
        annotations = dict(mapping(service.metadata.get("annotations")))
        metadata["annotations"] = annotations | {MARK: f"{service.said} ({service.where})" if service.file else service.said}
        spec: dict[str, object] = {"type": kind} | {key: value for key, value in given.items() if value is not None}
        spec |= {"sessionAffinity": given.get("sessionAffinity") or "None"}
        if spec["sessionAffinity"] == "None":
            spec.pop("sessionAffinityConfig", None)  # as the API does: SetDefaults_Service, Kubernetes 1.36
        elif not given.get("sessionAffinityConfig"):
            spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": _AFFINITY_SECONDS}}
        status: dict[str, object] = {"loadBalancer": {}}
        if kind != "ExternalName":
            spec |= self._addresses(service)
            spec["internalTrafficPolicy"] = given.get("internalTrafficPolicy") or "Cluster"
        if kind in _PUBLISHED:
            spec["externalTrafficPolicy"] = given.get("externalTrafficPolicy") or "Cluster"
        if listed(given.get("ports")):
            spec["ports"] = self._completed_ports(service, publishes=kind in _PUBLISHED and _has_node_ports(given))
        if kind == "LoadBalancer":
            status = self._balancer(service, spec)
        return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec, "status": status}

    def _addresses(self, service: Manifest) -> dict[str, object]:
        given, versions = service.spec, families_of(service)
        policy = given.get("ipFamilyPolicy") or "SingleStack"
        families = {"ipFamilies": [f"IPv{version}" for version in versions], "ipFamilyPolicy": policy}
        if given.get("clusterIP") == "None":
            return {"clusterIP": "None", "clusterIPs": ["None"], **families}
        asked = {6 if ":" in text else 4: text for text in asked_addresses(service)}
        found = [asked.get(version) or self._cluster_address(service, version) for version in versions]
        return {"clusterIP": found[0], "clusterIPs": found, **families}

    def _cluster_address(self, service: Manifest, version: int) -> str:
        if service.key == _DNS and self._cluster[version].keep(DNS_HOST):
            return str(SERVICES[version][DNS_HOST])
        return str(SERVICES[version][self._cluster[version].take("/".join(service.key))])

    def _completed_ports(self, service: Manifest, *, publishes: bool) -> list[dict[str, object]]:
        made: list[dict[str, object]] = []
        by_number: dict[object, object] = {}
        for given in listed(service.spec.get("ports")):
            port: dict[str, object] = {"protocol": "TCP"} | {key: value for key, value in given.items() if value is not None}
            port.setdefault("targetPort", port.get("port"))
            if publishes:
                # One port over TCP and UDP gets one node port for both, where none is asked for.
                known = port.get("nodePort") or by_number.get(port.get("port"))
                port["nodePort"] = known or self._ports.take(f"{'/'.join(service.key)}:{port.get('name') or ''}:{port.get('port')}")
                by_number[port.get("port")] = port["nodePort"]
            made.append(port)
        return made

    def _balancer(self, service: Manifest, spec: dict[str, object]) -> dict[str, object]:
        if spec.get("externalTrafficPolicy") == "Local" and not spec.get("healthCheckNodePort"):
            spec["healthCheckNodePort"] = self._ports.take(f"{'/'.join(service.key)} health")
        spec.setdefault("allocateLoadBalancerNodePorts", True)
        found = [self._balancer_address(service, version) for version in families_of(service)]
        return {"loadBalancer": {"ingress": [{"ip": str(address), "ipMode": "VIP"} for address in found]}}

    def _balancer_address(self, service: Manifest, version: int) -> Address:
        asked = _asked_balancer(service)
        if asked is not None and asked.version == version:
            return asked
        return BALANCERS[version][self._balancers[version].take("/".join(service.key))]


def _has_node_ports(spec: Mapping[str, object]) -> bool:
    return spec.get("type") == "NodePort" or spec.get("allocateLoadBalancerNodePorts") is not False


def _asked_balancer(service: Manifest) -> Address | None:
    text = service.spec.get("loadBalancerIP")
    return parse_address(text) if isinstance(text, str) and text else None

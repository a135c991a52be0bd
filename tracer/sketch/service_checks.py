"""What the API server refuses of a Service that somebody wrote, each mistake with its field.

Source: pkg/apis/core/validation ValidateService, pkg/registry/core/service/storage/alloc.go of Kubernetes 1.36.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from tracer.packet import Address
from tracer.sketch.checked import Checked, Mistakes
from tracer.sketch.manifest import Manifest
from tracer.sketch.plan import NODE_PORTS

TYPES = ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName")
PROTOCOLS = ("TCP", "UDP", "SCTP")
_FAMILIES = ("IPv4", "IPv6")
_LONGEST_AFFINITY = 86_400
_FIELDS = frozenset(
    (
        "allocateLoadBalancerNodePorts", "clusterIP", "clusterIPs", "externalIPs", "externalName", "externalTrafficPolicy",
        "healthCheckNodePort", "internalTrafficPolicy", "ipFamilies", "ipFamilyPolicy", "loadBalancerClass", "loadBalancerIP",
        "loadBalancerSourceRanges", "ports", "publishNotReadyAddresses", "selector", "sessionAffinity", "sessionAffinityConfig",
        "trafficDistribution", "type",
    )
)  # fmt: skip
_PORT_FIELDS = frozenset(("appProtocol", "name", "nodePort", "port", "protocol", "targetPort"))


def check_service(service: Manifest, mistakes: Mistakes) -> None:
    """Note what the API server would refuse of *service* by itself."""
    top = Checked(service, service.value, mistakes)
    if not top.has("spec"):
        top.wrong("spec", "is missing.")
        return
    spec = top.nested("spec")
    spec.only(_FIELDS)
    kind = spec.word("type", TYPES) or "ClusterIP"
    _check_ports(spec, kind)
    _check_addresses(spec, kind)
    _check_families(spec)
    _check_words(spec, kind)
    spec.labels("selector")
    if kind == "ExternalName":
        name = spec.text("externalName")
        if not name:
            spec.wrong("externalName", "is missing: a Service of type ExternalName stands for that name.")
        else:
            spec.is_name("externalName", name.removesuffix("."), is_subdomain=True)


def check_together(services: Iterable[Manifest], mistakes: Mistakes) -> None:
    """Note the addresses and node ports that more than one Service asks for. Call it with Services without mistakes of their own."""
    addresses: dict[str, Manifest] = {}
    ports: dict[int, Manifest] = {}
    for service in services:
        top = Checked(service, service.spec, mistakes, "spec")
        for address in asked_addresses(service):
            if (other := addresses.setdefault(address, service)) is not service:
                top.wrong("clusterIP", f"{address} is {other.said}'s already ({other.where}).")
        for field, port in asked_ports(service):
            if (other := ports.setdefault(port, service)) is not service:
                top.wrong(field, f"{port} is {other.said}'s already ({other.where}).")


def asked_addresses(service: Manifest) -> tuple[str, ...]:
    """Return the cluster IPs that the Service asks for, () where it leaves them to the cluster, or wants none."""
    spec = service.spec
    several = spec.get("clusterIPs")
    listed = [one for one in several if isinstance(one, str)] if isinstance(several, list) else []
    first = spec.get("clusterIP")
    return tuple(dict.fromkeys(one for one in (first, *listed) if isinstance(one, str) and one not in ("", "None")))


def asked_ports(service: Manifest) -> Iterator[tuple[str, int]]:
    """Yield the node ports that the Service asks for, each number once, with the field."""
    seen: set[int] = set()
    ports = service.spec.get("ports")
    for place, port in enumerate(ports if isinstance(ports, list) else []):
        number = port.get("nodePort") if isinstance(port, dict) else None
        if isinstance(number, int) and number and number not in seen:
            seen.add(number)
            yield f"ports[{place}].nodePort", number
    check = service.spec.get("healthCheckNodePort")
    if isinstance(check, int) and check:
        yield "healthCheckNodePort", check


def _check_ports(spec: Checked, kind: str) -> None:
    ports = spec.each("ports")
    is_headless = spec.raw("clusterIP") == "None"
    if not spec.raw("ports") and kind != "ExternalName" and not is_headless:
        spec.wrong("ports", "is missing: a Service has at least one port.")
    names, numbers, published = Counter[str](), Counter[tuple[str, int]](), Counter[tuple[str, int]]()
    for port in ports:
        port.only(_PORT_FIELDS)
        protocol = port.word("protocol", PROTOCOLS) or "TCP"
        number = port.port("port")
        if number is None and not port.has("port"):
            port.wrong("port", "is missing.")
        _check_name(port, names, is_needed=len(ports) > 1)
        _check_target(port)
        node_port = _node_port(port, kind)
        for key, value, counts in (("port", number, numbers), ("nodePort", node_port, published)):
            if value is not None:
                counts[protocol, value] += 1
                if counts[protocol, value] == 2:
                    port.wrong(key, f"{value} ({protocol}) stands twice in this Service.")


def _check_name(port: Checked, names: Counter[str], *, is_needed: bool) -> None:
    name = port.text("name")
    if not name:
        if is_needed and not port.has("name"):
            port.wrong("name", "is missing: of several ports each has a name.")
        return
    if port.is_name("name", name):
        names[name] += 1
        if names[name] == 2:
            port.wrong("name", f"{name!r} is another port's already.")


def _check_target(port: Checked) -> None:
    target = port.raw("targetPort")
    if isinstance(target, str):
        port.port_name("targetPort", target)
        if target.isdigit():
            port.wrong("targetPort", "a port in quotation marks counts as the name of one. Take them away.")
    elif target is not None:
        port.port("targetPort")


def _node_port(port: Checked, kind: str) -> int | None:
    number = port.number("nodePort", 0, 2**31) or None
    if number is None:
        return None
    if kind not in ("NodePort", "LoadBalancer"):
        port.wrong("nodePort", f"a Service of type {kind} has no node port: type NodePort or LoadBalancer is meant.")
    elif number not in NODE_PORTS:
        port.wrong("nodePort", f"{number} is not from {NODE_PORTS[0]} to {NODE_PORTS[-1]}, as node ports are.")
    return number


def _check_addresses(spec: Checked, kind: str) -> None:
    first = spec.text("clusterIP")
    several = spec.texts("clusterIPs")
    if kind == "ExternalName":
        for key in ("clusterIP", "clusterIPs"):
            if spec.raw(key):
                spec.wrong(key, "a Service of type ExternalName has no address.")
        return
    if several and (first or "") != several[0]:
        spec.wrong("clusterIPs[0]", f"is not what clusterIP says ({first or 'nothing'}).")
    if len(several) > 2:
        spec.wrong("clusterIPs", f"{len(several)} addresses: a Service has two at most, one of each family.")
    if first == "None":
        if kind != "ClusterIP":
            spec.wrong("clusterIP", f"None makes a Service headless, and one of type {kind} cannot be.")
        return
    found: list[Address] = []
    for key, text in (("clusterIP", first or ""), *((f"clusterIPs[{n}]", text) for n, text in enumerate(several) if n)):
        address = spec.address_of(key, text) if text else None
        if address is not None:
            found.append(address)
    if len(found) == 2 and found[0].version == found[1].version:
        spec.wrong("clusterIPs", "both addresses are of one family.")
    for place, text in enumerate(spec.texts("externalIPs")):
        address = spec.address_of(f"externalIPs[{place}]", text)
        if address is not None and (address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified):
            spec.wrong(f"externalIPs[{place}]", f"{text} is no address that a packet from outside can be sent to.")


def _check_families(spec: Checked) -> None:
    policy = spec.word("ipFamilyPolicy", ("SingleStack", "PreferDualStack", "RequireDualStack"))
    families = spec.texts("ipFamilies")
    for place, family in enumerate(families):
        if family not in _FAMILIES:
            spec.wrong(f"ipFamilies[{place}]", f"{family[:20]!r} is not IPv4 or IPv6.")
    if len(families) != len(set(families)):
        spec.wrong("ipFamilies", "a family stands twice.")
    several = spec.texts("clusterIPs")
    if policy in (None, "SingleStack") and (len(families) > 1 or len(several) > 1):
        spec.wrong("ipFamilyPolicy", "two families are asked for: PreferDualStack or RequireDualStack is meant.")
    asked = tuple(dict.fromkeys(one for one in (spec.raw("clusterIP"), *several) if isinstance(one, str)))
    for text, family in zip(asked, families, strict=False):
        if text not in ("", "None") and (":" in text) is not (family == "IPv6"):
            spec.wrong("ipFamilies", f"{text[:60]} is not of the family {family[:20]} that stands in its place.")


def _check_words(spec: Checked, kind: str) -> None:
    is_published = kind in ("NodePort", "LoadBalancer")
    spec.word("internalTrafficPolicy", ("Cluster", "Local"))
    external = spec.word("externalTrafficPolicy", ("Cluster", "Local"))
    if external and not is_published and not spec.raw("externalIPs"):
        spec.wrong("externalTrafficPolicy", f"a Service of type {kind} is not reached from outside: NodePort or LoadBalancer is meant.")
    check = spec.number("healthCheckNodePort", 0, 65535)
    if check and not (kind == "LoadBalancer" and external == "Local"):
        spec.wrong("healthCheckNodePort", "goes with type LoadBalancer and externalTrafficPolicy: Local alone.")
    _check_affinity(spec)
    spec.word("trafficDistribution", ("PreferClose", "PreferSameZone", "PreferSameNode"))
    spec.networks("loadBalancerSourceRanges")
    spec.text("loadBalancerClass")
    spec.flag("allocateLoadBalancerNodePorts")
    spec.flag("publishNotReadyAddresses")
    spec.address("loadBalancerIP")
    for key in ("loadBalancerSourceRanges", "loadBalancerClass", "allocateLoadBalancerNodePorts"):
        if spec.raw(key) not in (None, [], "") and kind != "LoadBalancer":
            spec.wrong(key, f"goes with type LoadBalancer alone, not with {kind}.")


def _check_affinity(spec: Checked) -> None:
    spec.word("sessionAffinity", ("None", "ClientIP"))
    spec.nested("sessionAffinityConfig").nested("clientIP").number("timeoutSeconds", 1, _LONGEST_AFFINITY)

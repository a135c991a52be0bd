"""What becomes of a Service's other fields when some are set: what the API server fills in, takes away and draws.

Source: pkg/apis/core/v1/defaults.go, pkg/registry/core/service/strategy.go (dropTypeDependentFields) and storage/alloc.go of Kubernetes
1.36; the status of the load balancer is the cloud controller's, which takes a balancer away with the type.
"""

from __future__ import annotations

from collections.abc import Mapping

from tracer.overrides.drawn_numbers import Drawn
from tracer.overrides.editing import Value

_NODE_PORT_TYPES = ("NodePort", "LoadBalancer")
_AFFINITY_SECONDS = 10800


def completed(before: Mapping[str, object] | None, after: Value, drawn: Drawn, whose: str) -> Value:
    """Return the Service *after* it was set (*before*: as it was, None for one that is made), as the API server would keep it.

    *after* is changed in place; *whose* names it in notes.
    """
    spec, old = _map(after, "spec"), before.get("spec") if before is not None else None
    was: Mapping[str, object] = old if isinstance(old, Mapping) else {}
    kind, former = str(spec.get("type") or "ClusterIP"), str(was.get("type") or "ClusterIP")
    spec["type"] = kind
    for port in _ports(spec):
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port.get("port"))
    if before is not None:
        _drop_what_depended(spec, was, kind, former)
    _affinity(spec)
    _policies(spec, kind)
    if kind != "LoadBalancer" and former == "LoadBalancer":
        after["status"] = {"loadBalancer": {}}
    if kind != "ExternalName":
        _addresses(spec, was, drawn, whose)
        _numbers(spec, was, kind, drawn, whose)
    return after


def _map(value: Value, name: str) -> Value:
    found = value.get(name)
    if not isinstance(found, dict):
        found = value[name] = {}
    return found


def _ports(spec: Mapping[str, object]) -> list[Value]:
    found = spec.get("ports")
    return [port for port in found if isinstance(port, dict)] if isinstance(found, list) else []


def _drop_what_depended(spec: Value, was: Mapping[str, object], kind: str, former: str) -> None:
    """Take away what was there for the type of before, where nobody set it anew."""
    if former in _NODE_PORT_TYPES and kind not in _NODE_PORT_TYPES:
        held = [port.get("nodePort") for port in _ports(was)]
        for port in _ports(spec):
            if port.get("nodePort") in held:
                port.pop("nodePort", None)
    if former == "LoadBalancer" and kind != "LoadBalancer":
        for name in ("allocateLoadBalancerNodePorts", "loadBalancerClass"):
            if spec.get(name) == was.get(name):
                spec.pop(name, None)
    if (
        kind not in _NODE_PORT_TYPES
        and not spec.get("externalIPs")
        and spec.get("externalTrafficPolicy") == was.get("externalTrafficPolicy")
    ):
        spec.pop("externalTrafficPolicy", None)
    asks_health = kind == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"
    if not asks_health and spec.get("healthCheckNodePort") == was.get("healthCheckNodePort"):
        spec.pop("healthCheckNodePort", None)
    if kind == "ExternalName" and former != "ExternalName":
        for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"):
            if spec.get(name) == was.get(name):
                spec.pop(name, None)


def _affinity(spec: Value) -> None:
    """Complete how long clients are remembered. What is no object is left there for whoever refuses it."""
    affinity, config = spec.setdefault("sessionAffinity", "None"), spec.get("sessionAffinityConfig")
    client = config.get("clientIP") if isinstance(config, dict) else None
    if not (isinstance(config, dict) or config is None) or not (isinstance(client, dict) or client is None):
        return
    if affinity == "None":
        spec.pop("sessionAffinityConfig", None)
    else:
        _map(_map(spec, "sessionAffinityConfig"), "clientIP").setdefault("timeoutSeconds", _AFFINITY_SECONDS)


def _policies(spec: Value, kind: str) -> None:
    if kind != "ExternalName":
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if kind in _NODE_PORT_TYPES or spec.get("externalIPs"):
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if kind == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)


def _addresses(spec: Value, was: Mapping[str, object], drawn: Drawn, whose: str) -> None:
    """Give what cluster IPs are missing, and take the second one away where only one family is wanted.

    What cannot be changed and was set all the same is left there for whoever refuses it.
    """
    if spec.get("clusterIP") == "None":
        return
    listed = spec.get("clusterIPs")
    held = [str(one) for one in listed] if isinstance(listed, list) else [str(spec["clusterIP"])] if spec.get("clusterIP") else []
    if held and spec.get("clusterIP") and spec.get("clusterIP") != was.get("clusterIP"):
        held[0] = str(spec["clusterIP"])
    policy = spec.get("ipFamilyPolicy") or "SingleStack"
    said = spec.get("ipFamilies")
    families = [str(one) for one in said] if isinstance(said, list) else []
    if held and families and families[0] != ("IPv6" if ":" in held[0] else "IPv4"):
        return
    if policy == "SingleStack":
        held, families = held[:1], families[:1]
    else:
        first = families[0] if families else "IPv6" if held and ":" in held[0] else "IPv4"
        families = [first, "IPv4" if first == "IPv6" else "IPv6"]
    for place, family in enumerate(families or ["IPv4"]):
        if place >= len(held) and (found := drawn.cluster_ip(whose, int(family[-1]))) is not None:
            held.append(str(found))
    if held:
        spec["clusterIP"], spec["clusterIPs"] = held[0], held
        spec["ipFamilies"] = ["IPv6" if ":" in one else "IPv4" for one in held]


def _numbers(spec: Value, was: Mapping[str, object], kind: str, drawn: Drawn, whose: str) -> None:
    """Draw what numbers are missing: node ports, and the port at which nodes tell whether they have an endpoint."""
    former = {(p.get("protocol") or "TCP", p.get("port")): p.get("nodePort") for p in _ports(was)}
    wants = kind == "NodePort" or (kind == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is not False)
    for port in _ports(spec):
        if not wants or port.get("nodePort"):
            continue
        kept = former.get((port.get("protocol"), port.get("port")))
        port["nodePort"] = kept or drawn.node_port(f"port {port.get('port')} of {whose}")
    if kind == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local" and not spec.get("healthCheckNodePort"):
        spec["healthCheckNodePort"] = drawn.node_port(whose, "health check node port")

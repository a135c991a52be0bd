"""What the API takes of a Service: which fields there are, what each may hold, what goes together, and what cannot be changed afterwards.

Source: pkg/apis/core/validation/validation.go (ValidateService, ValidateServiceUpdate), pkg/registry/core/service/strategy.go and
pkg/registry/core/service/storage of Kubernetes 1.36; what a Service is refused for that does not matter to packets is not all looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_address, ip_network

from tracer.kube.near import nearest
from tracer.patterns import pattern
from tracer.values import dataclass

NODE_PORTS = range(30000, 32768)
"""The API server's node ports where nothing else is set (``--service-node-port-range``)."""
AFFINITY_SECONDS = 86400
"""How long a client may be remembered at most."""
_LABEL = pattern(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
_SUBDOMAIN = pattern(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\.?", re.ASCII)
_PORT_NAME = pattern(r"(?=.*[a-z])(?!.*--)[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?", re.ASCII)
_LABEL_KEY = pattern(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", re.ASCII)
_LABEL_VALUE = pattern(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?", re.ASCII)
_NODE_PORT_TYPES = ("NodePort", "LoadBalancer")
_PROTOCOLS = ("TCP", "UDP", "SCTP")
_POLICIES = ("Cluster", "Local")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One thing that the API would refuse: the *field*, dotted, and *why*, a sentence's rest that names the value."""

    field: str
    why: str

    def __str__(self) -> str:
        return f"{self.field} {self.why}"


Check = Callable[[object], str]
"""What is wrong with a value, "" for nothing."""


def _text(value: object) -> str:
    return "" if isinstance(value, str) else f"is {_kind(value)}, and not text"


def _flag(value: object) -> str:
    return "" if isinstance(value, bool) else f"is {_shown(value)}, and not true or false"


def _one_of(*choices: str) -> Check:
    words = f"{', '.join(choices[:-1])} or {choices[-1]}"
    return lambda value: "" if value in choices else f"is {_shown(value)}, and not {words}"


def _whole(low: int, high: int) -> Check:
    def check(value: object) -> str:
        if isinstance(value, bool) or not isinstance(value, int):
            return f"is {_shown(value)}, and not a whole number"
        return "" if low <= value <= high else f"is {value}, and not from {low} to {high}"

    return check


def _target(value: object) -> str:
    if isinstance(value, str) and not value.isdecimal():
        return "" if _PORT_NAME.fullmatch(value) else f"is {_shown(value)}, which is neither a port number nor a name of a port"
    return _whole(1, 65535)(value)


def _each(check: Check) -> Check:
    def every(value: object) -> str:
        if not isinstance(value, list):
            return f"is {_shown(value)}, and not a list"
        return next((f"has {_shown(one)}: it {why}" for one in value if (why := check(one))), "")

    return every


def _address(value: object) -> str:
    try:
        ip_address(value if isinstance(value, str) else "")
    except ValueError:
        return f"is {_shown(value)}, which is no IP address"
    return ""


def _network(value: object) -> str:
    try:
        ip_network(value.strip() if isinstance(value, str) and "/" in value else "", strict=False)
    except ValueError:
        return f"is {_shown(value)}, which is no network (as 10.0.0.0/8)"
    return ""


def _labels(value: object) -> str:
    if not isinstance(value, Mapping):
        return f"is {_shown(value)}, and not a map of names to values"
    for key, one in value.items():
        if not isinstance(key, str) or _LABEL_KEY.fullmatch(key) is None:
            return f"has the name {_shown(key)}, which is no label's"
        if not isinstance(one, str) or _LABEL_VALUE.fullmatch(one) is None:
            return f"has {_shown(one)} for {key}, which is no label's value"
    return ""


def _texts(value: object) -> str:
    is_map = isinstance(value, Mapping) and all(isinstance(k, str) and isinstance(v, str) for k, v in value.items())
    return "" if is_map else f"is {_shown(value)}, and not a map of names to text"


def _name(what: str, form: re.Pattern[str]) -> Check:
    def check(value: object) -> str:
        return "" if isinstance(value, str) and form.fullmatch(value) else f"is {_shown(value)}, which is no {what}"

    return check


_PORT_FIELDS: Mapping[str, Check] = {
    "name": _name("name of a port (small letters, digits and -)", _LABEL),
    "protocol": _one_of(*_PROTOCOLS),
    "port": _whole(1, 65535),
    "targetPort": _target,
    "nodePort": _whole(0, 65535),
    "appProtocol": _text,
}
_SPEC_FIELDS: Mapping[str, Check] = {
    "type": _one_of("ClusterIP", "NodePort", "LoadBalancer", "ExternalName"),
    "selector": _labels,
    "ports": lambda value: "" if isinstance(value, list) else f"is {_shown(value)}, and not a list",
    "clusterIP": lambda value: "" if value in ("", "None") else _address(value),
    "clusterIPs": _each(lambda value: "" if value == "None" else _address(value)),
    "ipFamilies": _each(_one_of("IPv4", "IPv6")),
    "ipFamilyPolicy": _one_of("SingleStack", "PreferDualStack", "RequireDualStack"),
    "externalIPs": _each(_address),
    "externalName": _name("name that the DNS could have (small letters, digits, - and dots)", _SUBDOMAIN),
    "externalTrafficPolicy": _one_of(*_POLICIES),
    "internalTrafficPolicy": _one_of(*_POLICIES),
    "sessionAffinity": _one_of("None", "ClientIP"),
    "sessionAffinityConfig": lambda value: "" if isinstance(value, Mapping) else f"is {_shown(value)}, and not an object",
    "loadBalancerIP": _text,
    "loadBalancerSourceRanges": _each(_network),
    "loadBalancerClass": _name("class of load balancers (a label's name)", _LABEL_KEY),
    "allocateLoadBalancerNodePorts": _flag,
    "healthCheckNodePort": _whole(0, 65535),
    "publishNotReadyAddresses": _flag,
    "trafficDistribution": _one_of("PreferClose", "PreferSameZone", "PreferSameNode"),
}
_METADATA_FIELDS: Mapping[str, Check] = {"labels": _labels, "annotations": _texts}
_SET_BY_THE_API = frozenset(
    ("name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "finalizers", "ownerReferences")
)


def unknown_field(known: Mapping[str, Check], name: str) -> str:
    """Return why a field *name* is refused that is not among *known*."""
    near = nearest(name, known, count=1)
    return "is no field of a Service" + (f": is it {near[0]}?" if near else "")


def refusals(value: Mapping[str, object], before: Mapping[str, object] | None = None) -> Iterator[Refusal]:
    """Yield what the API would refuse in a Service: one that is made, or one that is changed from *before*."""
    spec = value.get("spec")
    if not isinstance(spec, Mapping):
        yield Refusal(field="spec", why="is missing")
        return
    wrong = list(_by_field(value, spec))
    yield from wrong
    if not wrong:
        yield from _together(spec)
        if before is not None and isinstance(old := before.get("spec"), Mapping):
            yield from _unchangeable(old, spec)
        if before is not None and isinstance(old := before.get("metadata"), Mapping) and isinstance(new := value.get("metadata"), Mapping):
            yield from (Refusal(field=f"metadata.{f}", why="cannot be changed") for f in _SET_BY_THE_API if old.get(f) != new.get(f))


def _by_field(value: Mapping[str, object], spec: Mapping[str, object]) -> Iterator[Refusal]:
    """Yield the fields that are none, and the values that no such field has."""
    for name, one in spec.items():
        if (check := _SPEC_FIELDS.get(name)) is None:
            yield Refusal(field=f"spec.{name}", why=unknown_field(_SPEC_FIELDS, name))
        elif one is not None and (why := check(one)):
            yield Refusal(field=f"spec.{name}", why=why)
    ports = spec.get("ports")
    for place, port in enumerate(ports if isinstance(ports, list) else ()):
        yield from _port(f"spec.ports[{place}]", port)
    yield from _affinity(spec.get("sessionAffinityConfig"))
    metadata = value.get("metadata")
    for name, one in metadata.items() if isinstance(metadata, Mapping) else ():
        if (check := _METADATA_FIELDS.get(name)) is not None and one is not None and (why := check(one)):
            yield Refusal(field=f"metadata.{name}", why=why)
        elif check is None and name not in _SET_BY_THE_API and name not in ("generateName", "selfLink"):
            yield Refusal(field=f"metadata.{name}", why=unknown_field(_METADATA_FIELDS, name))


def _port(where: str, port: object) -> Iterator[Refusal]:
    if not isinstance(port, Mapping):
        yield Refusal(field=where, why=f"is {_shown(port)}, and not a port with its fields")
        return
    if "port" not in port:
        yield Refusal(field=f"{where}.port", why="is missing")
    for name, one in port.items():
        if name == "targetPort" and one == port.get("port"):
            continue  # said of the port
        if (check := _PORT_FIELDS.get(name)) is None:
            yield Refusal(field=f"{where}.{name}", why=unknown_field(_PORT_FIELDS, name))
        elif one not in (None, "") and (why := check(one)):
            yield Refusal(field=f"{where}.{name}", why=why)


def _affinity(value: object) -> Iterator[Refusal]:
    client = value.get("clientIP") if isinstance(value, Mapping) else None
    if client is not None and not isinstance(client, Mapping):
        yield Refusal(field="spec.sessionAffinityConfig.clientIP", why=f"is {_shown(client)}, and not an object")
    seconds = client.get("timeoutSeconds") if isinstance(client, Mapping) else None
    if seconds is not None and (why := _whole(1, AFFINITY_SECONDS)(seconds)):
        yield Refusal(field="spec.sessionAffinityConfig.clientIP.timeoutSeconds", why=why)


# -- what goes together ----------------------------------------------------------------------------------------------------------------


def _together(spec: Mapping[str, object]) -> Iterator[Refusal]:
    kind = spec.get("type") or "ClusterIP"
    yield from _ports_together(spec, str(kind))
    if kind == "ExternalName":
        if not spec.get("externalName"):
            yield Refusal(field="spec.externalName", why="is missing, which a Service of type ExternalName needs")
    elif not spec.get("ports") and spec.get("clusterIP") != "None":
        yield Refusal(field="spec.ports", why="is empty: a Service has at least one port")
    if kind in _NODE_PORT_TYPES and spec.get("clusterIP") == "None":
        yield Refusal(field="spec.clusterIP", why=f"may not be None for type {kind}: a headless Service has no node ports")
    if kind != "LoadBalancer":
        for name in ("loadBalancerSourceRanges", "loadBalancerClass", "allocateLoadBalancerNodePorts"):
            if spec.get(name) not in (None, []):
                yield Refusal(field=f"spec.{name}", why=f"may only be set for type LoadBalancer, and the Service's is {kind}")
    if spec.get("externalTrafficPolicy") is not None and kind not in _NODE_PORT_TYPES and not spec.get("externalIPs"):
        why = f"may only be set where the Service is reached from outside, and it is of type {kind} without externalIPs"
        yield Refusal(field="spec.externalTrafficPolicy", why=why)
    if spec.get("healthCheckNodePort") and (kind != "LoadBalancer" or spec.get("externalTrafficPolicy") != "Local"):
        why = "may only be set for type LoadBalancer with externalTrafficPolicy Local"
        yield Refusal(field="spec.healthCheckNodePort", why=why)


def _ports_together(spec: Mapping[str, object], kind: str) -> Iterator[Refusal]:
    ports = [port for port in spec.get("ports") or () if isinstance(port, Mapping)]  # type: ignore[attr-defined]
    seen: dict[tuple[str, object], int] = {}
    for place, port in enumerate(ports):
        where, protocol = f"spec.ports[{place}]", port.get("protocol") or "TCP"
        if len(ports) > 1 and not port.get("name"):
            yield Refusal(field=f"{where}.name", why="is missing: of several ports each needs a name")
        if port.get("nodePort") and kind not in _NODE_PORT_TYPES:
            yield Refusal(field=f"{where}.nodePort", why=f"may not be set for type {kind}")
        for field, value in (
            ("name", port.get("name")),
            ("port", (protocol, port.get("port"))),
            ("nodePort", _of_protocol(port, protocol)),
        ):
            if value and (first := seen.setdefault((field, value), place)) != place:
                yield Refusal(field=f"{where}.{field}", why=f"is that of spec.ports[{first}], too")


def _of_protocol(port: Mapping[str, object], protocol: object) -> tuple[object, object] | None:
    return (protocol, port["nodePort"]) if port.get("nodePort") else None


def _unchangeable(old: Mapping[str, object], new: Mapping[str, object]) -> Iterator[Refusal]:
    """Yield what cannot be changed of a Service that is there."""
    is_named = "ExternalName" in (old.get("type"), new.get("type"))
    for name in ("clusterIP", "clusterIPs"):
        was, now = old.get(name), new.get(name)
        first = (was[:1], now[:1]) if isinstance(was, list) and isinstance(now, list) else (was, now)
        if not is_named and was and first[0] != first[1]:
            yield Refusal(field=f"spec.{name}", why="cannot be changed: the address is given once, when the Service is made")
    families, other = old.get("ipFamilies"), new.get("ipFamilies")
    if not is_named and isinstance(families, list) and isinstance(other, list) and families[:1] != other[:1]:
        yield Refusal(field="spec.ipFamilies", why="cannot begin with another family than before: only the second one comes and goes")
    both = old.get("type") == new.get("type") == "LoadBalancer"
    if both and old.get("loadBalancerClass") != new.get("loadBalancerClass"):
        yield Refusal(field="spec.loadBalancerClass", why="cannot be changed while the type is LoadBalancer")
    was, now = old.get("healthCheckNodePort"), new.get("healthCheckNodePort")
    if both and was and now and was != now:
        yield Refusal(field="spec.healthCheckNodePort", why=f"cannot be changed: it is {was} since the Service has one")


def _shown(value: object) -> str:
    text = repr(value) if not isinstance(value, str) else f"“{value}”"
    return "".join(c if c.isprintable() else "?" for c in (text if len(text) <= 60 else f"{text[:60]}…"))


def _kind(value: object) -> str:
    return {dict: "an object", list: "a list", bool: "true or false", int: "a number", float: "a number"}.get(type(value), "nothing")

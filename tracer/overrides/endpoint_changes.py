"""What the endpoint slice controller makes of changed Services, pods and nodes: a difference, put on the EndpointSlices that are there.

Strategy: what the controller would list before and after the change is worked out; where both are the same, what was recorded stays as it
is, stale or not. Slices that somebody else made are left alone.
Source: pkg/controller/endpointslice, staging/src/k8s.io/endpointslice (reconciler.go, utils.go, trafficdist) of Kubernetes 1.36.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from tracer.kube.endpoints import ready_of
from tracer.kube.endpointslice import Endpoint, EndpointPort, EndpointSlice
from tracer.kube.node import Node
from tracer.kube.pod import Pod
from tracer.kube.selected import selected_slices
from tracer.kube.service import Service
from tracer.values import dataclass

MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
CONTROLLER = "endpointslice-controller.k8s.io"
_CLOSE = ("PreferClose", "PreferSameZone", "PreferSameNode")
_MOVING = ("ready", "serving", "terminating", "node_name", "zone", "hostname")
Pods = Sequence[Pod]
FindsNode = Callable[[str], Node | None]
Wanted = Mapping[tuple[int, str], "_Wanted"]
"""What the controller lists of a Service, by IP version and the pod's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    endpoint: Endpoint
    ports: tuple[EndpointPort, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceChange:
    """One Service *before* and *after* (None: it is not there), with the pods of its namespace, and who finds Nodes, at either time."""

    before: Service | None
    after: Service | None
    pods_before: Pods
    pods_after: Pods
    node_before: FindsNode
    node_after: FindsNode


def changed_slices(change: ServiceChange, slices: Sequence[EndpointSlice]) -> tuple[EndpointSlice, ...] | None:
    """Return the EndpointSlices of a Service after *change*, those of before where nothing about them is different.

    *slices* are those that are there. None: the Service is gone, and they with it.
    """
    if change.after is None:
        return None
    if not change.after.selector:
        return tuple(slices)  # nobody looks after them any longer
    had_selector = change.before is not None and bool(change.before.selector)
    before = _wanted(change.before, change.pods_before, change.node_before) if had_selector else {}
    after = _wanted(change.after, change.pods_after, change.node_after)
    gone = {pod.name for pod in change.pods_before} - {pod.name for pod in change.pods_after}
    found: list[EndpointSlice] = []
    listed: set[tuple[int, str]] = set()
    for one in slices:
        if not _is_controllers(one, had_selector=had_selector):
            found.append(one)
            continue
        listed |= {(_version(one), name) for e in one.endpoints if (name := _pod_of(e)) is not None}
        found += _moved(one, before, after, gone)
    _add(found, {key: w for key, w in after.items() if key not in before and key not in listed}, change.after, slices)
    return _with_hints(found, change, tuple(slices))


def _wanted(service: Service | None, pods: Pods, node: FindsNode) -> Wanted:
    found: dict[tuple[int, str], _Wanted] = {}
    for one in selected_slices([service] if service is not None else [], pods):
        for endpoint in one.endpoints:
            if (name := _pod_of(endpoint)) is not None:
                listed = node(endpoint.node_name) if endpoint.node_name else None
                zone = listed.zone if listed is not None else None
                found[_version(one), name] = _Wanted(endpoint=replace(endpoint, zone=zone), ports=one.ports)
    return found


def _version(one: EndpointSlice) -> int:
    return 6 if one.address_type == "IPv6" else 4


def _pod_of(endpoint: Endpoint) -> str | None:
    reference = endpoint.target_ref
    return reference.name if reference is not None and reference.kind == "Pod" else None


def _is_controllers(one: EndpointSlice, *, had_selector: bool) -> bool:
    """Whether the controller looks after a slice: its label says so; where it is left out, that all endpoints are pods of a selector's."""
    said = one.labels.get(MANAGED_BY)
    if said is not None:
        return said == CONTROLLER
    return had_selector and all(_pod_of(e) is not None for e in one.endpoints)


def _moved(one: EndpointSlice, before: Wanted, after: Wanted, gone: set[str]) -> Iterator[EndpointSlice]:
    """Yield what becomes of one slice: a slice for each set of ports that its endpoints then have."""
    groups: dict[tuple[EndpointPort, ...], list[Endpoint]] = {}
    for endpoint in one.endpoints:
        key = (_version(one), _pod_of(endpoint) or "")
        was, now = before.get(key), after.get(key)
        if (now is None and was is not None) or (now is None and key[1] in gone):
            continue
        ports = one.ports if was is None or now is None or was.ports == now.ports else now.ports
        groups.setdefault(ports, []).append(_renewed(endpoint, was, now))
    if not one.endpoints or not groups:
        yield replace(one, endpoints=())
    for number, (ports, endpoints) in enumerate(groups.items()):
        kept = replace(one, ports=ports, endpoints=tuple(endpoints))
        if kept == one:
            yield one
        else:
            yield kept if number == 0 else replace(kept, name=f"{one.name}-{number}")


def _renewed(endpoint: Endpoint, was: _Wanted | None, now: _Wanted | None) -> Endpoint:
    """*endpoint* with what the change made different; what it said otherwise it says on."""
    if was is None or now is None:
        return endpoint
    moved = {n: getattr(now.endpoint, n) for n in _MOVING if getattr(was.endpoint, n) != getattr(now.endpoint, n)}
    if was.endpoint.addresses != now.endpoint.addresses:
        moved["addresses"] = now.endpoint.addresses
    return replace(endpoint, **moved) if moved else endpoint


def _add(found: list[EndpointSlice], came: Wanted, service: Service, slices: Sequence[EndpointSlice]) -> None:
    """Add the endpoints that *came* to slices of their ports and family; to new ones where there is none."""
    is_legacy = any(one.legacy for one in slices)
    for (version, _), wanted in came.items():
        place = next(
            (
                i
                for i, one in enumerate(found)
                if _version(one) == version and one.ports == wanted.ports and _is_controllers(one, had_selector=True)
            ),
            None,
        )
        if place is not None:
            found[place] = replace(found[place], endpoints=(*found[place].endpoints, wanted.endpoint))
            continue
        named = {one.name for one in found}
        name = next(n for i in range(len(named) + 1) if (n := f"{service.name}-whatif{version}-{i}") not in named)
        found.append(
            EndpointSlice(
                namespace=service.namespace,
                name=name,
                service=service.name,
                address_type=f"IPv{version}",
                endpoints=(wanted.endpoint,),
                ports=wanted.ports,
                labels={MANAGED_BY: CONTROLLER, "kubernetes.io/service-name": service.name},
                legacy=is_legacy,
            )
        )


def _with_hints(found: Iterable[EndpointSlice], change: ServiceChange, slices: tuple[EndpointSlice, ...]) -> tuple[EndpointSlice, ...]:
    """*found* with the hints that trafficDistribution gives, where it or an endpoint is another than before."""
    after = change.after.traffic_distribution if change.after is not None else None
    before = change.before.traffic_distribution if change.before is not None else None
    kept = tuple(found)
    if after in _CLOSE and (after != before or kept != slices):
        return tuple(replace(one, endpoints=tuple(_hinted(e, str(after)) for e in one.endpoints)) for one in kept)
    if before in _CLOSE and after not in _CLOSE:
        return tuple(replace(one, endpoints=tuple(replace(e, zone_hints=(), node_hints=()) for e in one.endpoints)) for one in kept)
    return kept


def _hinted(endpoint: Endpoint, wish: str) -> Endpoint:
    if not ready_of((endpoint,)):
        return endpoint
    nodes = (endpoint.node_name,) if endpoint.node_name and wish == "PreferSameNode" else ()
    return replace(endpoint, zone_hints=(endpoint.zone,) if endpoint.zone else (), node_hints=nodes)

"""What is each pod's own in one cluster, and which pods are alike but for that: found once, for every question.

It rests on the snapshot alone. What a question met is no part of it: ``tracer.simulate.likeness`` asks that of each endpoint.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import fields

from tracer.frozen import changed
from tracer.kept import Kept
from tracer.kube.pod import Pod
from tracer.limits import KEPT_OWN
from tracer.packet import Address
from tracer.routing import Routing
from tracer.routing.model import Link, Route
from tracer.routing.sysctl import Sysctls
from tracer.simulate.cells import Cells, Setting, settings_by_device
from tracer.simulate.stencil import Own
from tracer.topology.cluster import Cluster

_MOST_KINDS = 16
"""How many kinds of pods of one node and one shape are told apart: of more, each pod is of its own."""
_NOT_ASKED = ("name", "ips", "annotations", "labels", "created", "origin")
"""What of a pod differs from one to the next, and decides nothing of a packet; its labels do where there are policies."""
_PODS = tuple(f.name for f in fields(Pod) if f.name not in _NOT_ASKED)
_LINKS = tuple(f.name for f in fields(Link) if f.name not in ("name", "index", "peer_index", "link_netnsid", "mac"))
_ROUTES = tuple(f.name for f in fields(Route) if f.name not in ("destination", "nexthops", "index"))

Kind = tuple[object, ...]


class Belongings:
    """What is each pod's own in *cluster*."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = weakref.ref(cluster)
        self._own: Kept[tuple[str, str], tuple[Own | None]] = Kept(KEPT_OWN)
        self._kinds: Kept[tuple[str, str], Kind] = Kept(KEPT_OWN)
        self._firsts: dict[Kind, list[Own]] = {}
        self._routes: dict[str, Mapping[Address, Sequence[Route]]] = {}
        self._cells: dict[int, Cells] = {}
        self._settings: dict[int, tuple[Sysctls, Mapping[str, frozenset[Setting]]]] = {}

    def of(self, pod: Pod) -> Own | None:
        """Return what is *pod*'s own; None where its addresses or its name are not its alone, or it is on no node."""
        return self._own.once(pod.key, lambda: self._found(pod))

    def _found(self, pod: Pod) -> Own | None:
        cluster = self._held()
        if pod.node_name is None or any(cluster.ports_of(a) or cluster.objects.services_with_address(a) for a in pod.ips):
            return None
        if cluster.objects.service(*pod.key) is not None or any(p.key == pod.key for p in cluster.objects.network_policies):
            return None  # what is said of that would be taken for said of the pod
        return _own(cluster, pod, self._to_one(pod.node_name))

    def kind(self, own: Own) -> Kind:
        """Return the kind of *own*: of pods of one kind all that is theirs is alike, but for what is put in."""
        found = self._kinds.get(own.pod.key)
        return self._kinds.put(own.pod.key, self._kind(own)) if found is None else found

    def _kind(self, own: Own) -> Kind:
        at = (own.pod.node_name, own.shape, tuple(map(_of_address, own.addresses)))
        firsts = self._firsts.setdefault(at, [])
        has_policies = bool(self._held().objects.network_policies)
        for number, first in enumerate(firsts):
            if _are_alike(first, own, has_policies=has_policies):
                return (*at, number)
        if len(firsts) >= _MOST_KINDS:
            return (*at, own.pod.key)
        firsts.append(own)
        return (*at, len(firsts) - 1)

    def cells(self, routing: Routing) -> Cells:
        """Return the cells of a stack's routing."""
        if id(routing) not in self._cells:
            self._cells[id(routing)] = Cells(routing)  # it holds the routing: its id stays its own
        return self._cells[id(routing)]

    def settings(self, value: Sysctls) -> Mapping[str, frozenset[Setting]]:
        """Return the settings of each device in *value*."""
        if id(value) not in self._settings:
            self._settings[id(value)] = value, settings_by_device(value.values)
        return self._settings[id(value)][1]

    def _held(self) -> Cluster:
        cluster = self._cluster()
        if cluster is None:
            raise TypeError("what is asked of a cluster is asked while there is one")
        return cluster

    def _to_one(self, node: str) -> Mapping[Address, Sequence[Route]]:
        """The node's routes to single addresses."""
        if node not in self._routes:
            found: dict[Address, list[Route]] = {}
            routing = self._held().stack(node).routing
            for route in (route for version in (4, 6) for route in routing.routes(version)):
                if route.destination.prefixlen == route.destination.max_prefixlen:
                    found.setdefault(route.destination.network_address, []).append(route)
            self._routes[node] = found
        return self._routes[node]


_KNOWN: weakref.WeakKeyDictionary[Cluster, Belongings] = weakref.WeakKeyDictionary()


def belongings_of(cluster: Cluster) -> Belongings:
    """Return what is known of *cluster*, which does not change."""
    return _KNOWN.get(cluster) or _KNOWN.setdefault(cluster, Belongings(cluster))


def _own(cluster: Cluster, pod: Pod, to_one: Mapping[Address, Sequence[Route]]) -> Own:
    """What is *pod*'s own, its node's routes to its addresses alone (*to_one*) and the devices that they lead out of included."""
    routing = cluster.stack(str(pod.node_name)).routing
    routes = [route for address in pod.ips for route in to_one.get(address, ())]
    devices = dict.fromkeys(hop.device for route in routes for hop in route.nexthops if hop.device is not None and hop.gateway is None)
    links = [link for device in devices if (link := routing.link(device)) is not None]
    entries = (routing.neighbour(address, device) for address in pod.ips for device in devices)
    macs = dict.fromkeys(entry.mac for entry in entries if entry is not None and entry.mac is not None)
    return Own.of(pod, routes, links, tuple(macs))


def _are_alike(first: Own, other: Own, *, has_policies: bool) -> bool:
    """Whether all that is theirs is alike, but for what is put in."""
    if has_policies and first.pod.labels != other.pod.labels:
        return False
    routes, links = zip(first.routes, other.routes, strict=True), zip(first.links, other.links, strict=True)
    if not all(_agree(a, b, _ROUTES) and _hops(a, first) == _hops(b, other) for a, b in routes):
        return False
    return all(_agree(a, b, (*_LINKS, "is_bare_ethernet")) for a, b in links) and _agree(first.pod, other.pod, _PODS)


def _agree(first: object, other: object, names: Sequence[str]) -> bool:
    return all(getattr(first, name) == getattr(other, name) for name in names)


def _hops(route: Route, own: Own) -> list[object]:
    """The next hops, each device by its place among the pod's own."""
    devices = [link.name for link in own.links]
    return [(hop, None) if hop.device not in devices else (changed(hop, device=""), devices.index(hop.device)) for hop in route.nexthops]


def _of_address(address: Address) -> tuple[bool, ...]:
    return address.is_global, address.is_loopback, address.is_link_local, address.is_multicast, address.is_unspecified, address.is_reserved

"""API objects that note what is asked of them: by which name, address or port, or all of a kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import NamedTuple

from tracer.changes import ObjectChange
from tracer.errors import Fault, ParseError
from tracer.kube.configmap import ConfigMap
from tracer.kube.endpointslice import Endpoint, EndpointSlice
from tracer.kube.fields import Origin
from tracer.kube.kinds import BY_NAME, Model
from tracer.kube.namespace import Namespace
from tracer.kube.networkpolicy import NetworkPolicy
from tracer.kube.node import Node
from tracer.kube.object_file import Aspect, RawObject
from tracer.kube.objects import Look, Objects, read_object
from tracer.kube.pod import Pod
from tracer.kube.service import AddressOf, Service, ServicePort
from tracer.packet import Address, Protocol
from tracer.values import dataclass

ALL = "all"


class Asked(NamedTuple):
    """One look-up: objects of *kind* whose *aspect* (name, address, port, …) is *key*."""

    kind: str
    aspect: str
    key: str = ""


UNREADABLE = Asked(ALL, "faults")
"""Which objects cannot be read: of whatever kind, and whoever they are."""


class WatchedObjects(Objects):
    """Answers as *objects* do, and notes what was asked."""

    def __init__(self, objects: Objects, note: Callable[[Asked], None]) -> None:
        super().__init__()
        self._inner = objects
        self._note = note

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Return the faults met so far."""
        self._note(UNREADABLE)
        return self._inner.faults

    def check_all(self, look: Look | None = None) -> Mapping[str, int]:
        """Return how many of each kind there are."""
        counts = self._inner.check_all(look)
        for kind in counts:
            self._note(Asked(kind, ALL))
        return counts

    def service(self, namespace: str, name: str) -> Service | None:
        """Return the Service of that name."""
        self._note(Asked("Service", "name", f"{namespace}/{name}"))
        return self._inner.service(namespace, name)

    def pod(self, namespace: str, name: str) -> Pod | None:
        """Return the Pod of that name."""
        self._note(Asked("Pod", "name", f"{namespace}/{name}"))
        return self._inner.pod(namespace, name)

    def node(self, name: str) -> Node | None:
        """Return the Node of that name."""
        self._note(Asked("Node", "name", name))
        return self._inner.node(name)

    def namespace(self, name: str) -> Namespace | None:
        """Return the Namespace of that name."""
        self._note(Asked("Namespace", "name", name))
        return self._inner.namespace(name)

    def config_map(self, namespace: str, name: str) -> ConfigMap | None:
        """Return the ConfigMap of that name."""
        self._note(Asked("ConfigMap", "name", f"{namespace}/{name}"))
        return self._inner.config_map(namespace, name)

    def slices_of(self, namespace: str, name: str) -> tuple[EndpointSlice, ...]:
        """Return the EndpointSlices of the Service of that name."""
        self._note(Asked("EndpointSlice", "service", f"{namespace}/{name}"))
        self._note_legacy()
        return self._inner.slices_of(namespace, name)

    def services_with_address(self, address: Address) -> tuple[tuple[Service, AddressOf], ...]:
        """Return the Services that have *address*."""
        self._note(Asked("Service", "address", str(address)))
        return self._inner.services_with_address(address)

    def services_with_node_port(self, port: int, protocol: Protocol) -> tuple[tuple[Service, ServicePort], ...]:
        """Return the Services that use *port* on every node."""
        self._note(Asked("Service", "node port", str(port)))
        return self._inner.services_with_node_port(port, protocol)

    def endpoints_with_address(self, address: Address) -> tuple[tuple[EndpointSlice, Endpoint], ...]:
        """Return the endpoints that have *address*."""
        self._note(Asked("EndpointSlice", "address", str(address)))
        self._note_legacy()
        return self._inner.endpoints_with_address(address)

    def pods_with_ip(self, address: Address) -> tuple[Pod, ...]:
        """Return the Pods whose status lists *address*."""
        self._note(Asked("Pod", "address", str(address)))
        return self._inner.pods_with_ip(address)

    def node_with_ip(self, address: Address) -> Node | None:
        """Return the first Node that has *address*."""
        self._note(Asked("Node", "address", str(address)))
        return self._inner.node_with_ip(address)

    @cached_property
    def host_network_pods(self) -> tuple[Pod, ...]:
        """Return the Pods that use their node's network."""
        self._note(Asked("Pod", "host network"))
        return self._inner.host_network_pods

    @cached_property
    def services(self) -> tuple[Service, ...]:
        """Return every Service."""
        self._note(Asked("Service", ALL))
        return self._inner.services

    @cached_property
    def slices(self) -> tuple[EndpointSlice, ...]:
        """Return every EndpointSlice."""
        self._note(Asked("EndpointSlice", ALL))
        return self._inner.slices

    @cached_property
    def pods(self) -> tuple[Pod, ...]:
        """Return every Pod."""
        self._note(Asked("Pod", ALL))
        return self._inner.pods

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """Return every Node."""
        self._note(Asked("Node", ALL))
        return self._inner.nodes

    @cached_property
    def namespaces(self) -> tuple[Namespace, ...]:
        """Return every Namespace object."""
        self._note(Asked("Namespace", ALL))
        return self._inner.namespaces

    @cached_property
    def network_policies(self) -> tuple[NetworkPolicy, ...]:
        """Return every NetworkPolicy."""
        self._note(Asked("NetworkPolicy", ALL))
        return self._inner.network_policies

    def policies_in(self, namespace: str) -> tuple[NetworkPolicy, ...]:
        """Return the NetworkPolicies of one namespace."""
        self._note(Asked("NetworkPolicy", "namespace", namespace))
        return self._inner.policies_in(namespace)

    @cached_property
    def config_maps(self) -> tuple[ConfigMap, ...]:
        """Return the ConfigMaps of kube-proxy and the cluster's DNS."""
        self._note(Asked("ConfigMap", ALL))
        return self._inner.config_maps

    def others(self, kind: str) -> Iterator[tuple[RawObject, Origin]]:
        """Yield every object of a *kind*."""
        self._note(Asked(kind, ALL))
        return self._inner.others(kind)

    def raw(self, kind: str, namespace: str, name: str) -> Mapping[str, object] | None:
        """Return the API object of that kind and name as it was decoded. NB: what the engine does not read of it may change unnoticed."""
        self._note(Asked(kind, ALL))
        return self._inner.raw(kind, namespace, name)

    @cached_property
    def uses_legacy_endpoints(self) -> bool:
        """Return whether the Endpoints objects count."""
        self._note(Asked("EndpointSlice", ALL))
        return self._inner.uses_legacy_endpoints

    @property
    def has_endpoints(self) -> bool:
        """Return whether there is any EndpointSlice, or Endpoints."""
        self._note(Asked("EndpointSlice", ALL))
        return self._inner.has_endpoints

    def number_of(self, kind: str) -> int:
        """Return how many objects of *kind* there are."""
        self._note(Asked(kind, ALL))
        return self._inner.number_of(kind)

    def _note_legacy(self) -> None:
        """Where Endpoints stand in for slices, the first slice of whatever Service makes an end of that."""
        if self._inner.uses_legacy_endpoints:
            self._note(Asked("EndpointSlice", "names"))


def asked_of(change: ObjectChange) -> frozenset[Asked]:
    """Return every look-up whose answer *change* may make another one; none where it changes nothing that the engine reads."""
    before, after = (_said(change, value) for value in (change.before, change.after))
    if before == after:
        return frozenset()
    kind = "EndpointSlice" if change.kind == "Endpoints" else change.kind
    own = "/".join(part for part in (change.namespace, change.name) if part)
    found = {Asked(kind, ALL), Asked(change.kind, ALL), Asked(kind, "name", own), Asked(kind, "namespace", change.namespace)}
    for said in (before, after):
        if isinstance(said, _Unreadable):
            found.add(UNREADABLE)
        for model in said if isinstance(said, tuple) else ():
            found.update(_keys(model))
    if (change.before is None) is not (change.after is None):
        found.add(Asked(change.kind, "names"))
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class _Unreadable:
    """An object that cannot be read."""

    value: Mapping[str, object]


def _said(change: ObjectChange, value: Mapping[str, object] | None) -> object:
    """What the engine reads of an object: its models; the object itself where there is no model, and so marked where it cannot be read."""
    if value is None:
        return None
    try:
        models = read_object(RawObject(kind=change.kind, value=value), Origin())
    except ParseError:
        return _Unreadable(value)
    return models or (value if change.kind != "ConfigMap" else None)


_ASKED_BY = {Aspect.ADDRESS: "address", Aspect.NODE_PORT: "node port", Aspect.HOST_NETWORK: "host network"}


def _keys(model: Model) -> Iterator[Asked]:
    kind = BY_NAME[type(model).__name__]
    for aspect, key in kind.keys(model) if kind.keys is not None else ():
        if isinstance(model, EndpointSlice) and aspect is not Aspect.ADDRESS:
            yield Asked(kind.name, "service", f"{model.namespace}/{key}")
        else:
            yield Asked(kind.name, _ASKED_BY[aspect], "" if aspect is Aspect.HOST_NETWORK else key)

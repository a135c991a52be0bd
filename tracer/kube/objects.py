"""All API objects of a snapshot, looked up by name, address or port.

Strategy: nothing is decoded before it is asked for; a look-up takes its candidates from the files' indexes, decodes those and compares.
Where two files hold an object of one kind, namespace and name, the first file's counts.
Look-ups never raise: an object or file that cannot be read is left out and its fault kept in ``faults``. Whoever answers must say them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import TypeVar, cast

from tracer.errors import Fault, ParseError
from tracer.kept import Kept
from tracer.kube.configmap import ConfigMap
from tracer.kube.endpointslice import Endpoint, EndpointSlice
from tracer.kube.fields import Origin
from tracer.kube.kinds import BY_NAME, Model, group_of, is_namesake
from tracer.kube.namespace import Namespace
from tracer.kube.near import nearest
from tracer.kube.networkpolicy import NetworkPolicy
from tracer.kube.node import Node
from tracer.kube.object_file import Aspect, ObjectFile, RawObject
from tracer.kube.pod import Pod
from tracer.kube.service import AddressOf, Service, ServicePort
from tracer.limits import FAULTS, KEPT_LOOKS, REFUSED
from tracer.packet import Address, Protocol

Look = Callable[[RawObject, bool], None]
M = TypeVar("M", Service, EndpointSlice, Node, Pod, Namespace, NetworkPolicy, ConfigMap)


def read_object(raw: RawObject, origin: Origin) -> tuple[Model, ...]:
    """Return what one API object says; nothing for a kind that is not modelled. :raises ParseError: a field has the wrong type."""
    kind = BY_NAME.get(raw.kind)
    if kind is None or kind.read is None or is_namesake(raw.kind, raw.value):
        return ()
    return kind.read(raw.value, origin)


def name_of(value: Mapping[str, object]) -> tuple[str, str]:
    """Return the namespace and the name that an API object says, each "" where it says none."""
    metadata = value.get("metadata")
    named = metadata if isinstance(metadata, Mapping) else {}
    return str(named.get("namespace") or ""), str(named.get("name") or "")


class Objects:
    """The API objects in *files*. *faults* are those already found while the files were opened."""

    def __init__(self, files: Iterable[ObjectFile] = (), faults: Iterable[Fault] = ()) -> None:
        self._given = tuple(files)
        self._ordered: tuple[ObjectFile, ...] | None = None
        self._faults = dict.fromkeys(faults)
        self._holding: dict[str, tuple[ObjectFile, ...]] = {}
        self._read: dict[tuple[ObjectFile, int], tuple[Model, ...]] = {}
        self._refused: dict[ObjectFile, int] = {}
        self._looks: Kept[tuple[object, ...], tuple[object, ...]] = Kept(KEPT_LOOKS)

    @classmethod
    def of(cls, services: Iterable[Service], slices: Iterable[EndpointSlice]) -> Objects:
        """Return what has these Services and EndpointSlices, and no other object."""
        found = cls()
        found.__dict__.update(services=tuple(services), slices=tuple(slices))
        return found

    @property
    def has_endpoints(self) -> bool:
        """Return whether there is any EndpointSlice, or Endpoints."""
        return self._has("EndpointSlice") or self._has("Endpoints")

    def number_of(self, kind: str) -> int:
        """Return how many objects of *kind* there are, repeated ones and those that cannot be read included."""
        return sum(
            len(file.items_of(kind)) if self._spans_known(file) else sum(1 for _ in self._raw_objects(file, kind))
            for file in self._files_with(kind)
        )

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Return the faults met so far; ``check_all`` meets them all."""
        return tuple(self._faults)

    def check_all(self, look: Look | None = None) -> Mapping[str, int]:
        """Read every object of every file once, so that ``faults`` is complete. Return how many of each kind there are.

        *look* is shown each, and whether it counts: of several with one kind and name the first does.

        What another group calls by the name of a known kind counts under both names (``Service.serving.knative.dev``).
        """
        counts: dict[str, int] = {}
        seen: set[tuple[str, object, object]] = set()
        for file in self._files:
            for item, raw in self._raw_objects(file):
                self._attempt(raw, file, item)
                metadata = raw.value.get("metadata")
                named = metadata if isinstance(metadata, Mapping) else {}
                kind = f"{raw.kind}.{group_of(raw.value)}" if is_namesake(raw.kind, raw.value) else raw.kind
                identity = (kind, str(named.get("namespace")), str(named.get("name")))
                is_first = identity not in seen
                if look is not None:
                    look(raw, is_first)
                if is_first:
                    seen.add(identity)
                    counts[kind] = counts.get(kind, 0) + 1
        return dict(sorted(counts.items()))

    # -- by name ------------------------------------------------------------------------------------------------------------------

    def service(self, namespace: str, name: str) -> Service | None:
        """Return the Service of that name, or None."""
        return self._named(Service, namespace, name)

    def pod(self, namespace: str, name: str) -> Pod | None:
        """Return the Pod of that name, or None."""
        return self._named(Pod, namespace, name)

    def node(self, name: str) -> Node | None:
        """Return the Node of that name, or None."""
        return self._named(Node, "", name)

    def namespace(self, name: str) -> Namespace | None:
        """Return the Namespace of that name, or None."""
        return self._named(Namespace, "", name)

    def config_map(self, namespace: str, name: str) -> ConfigMap | None:
        """Return the ConfigMap of that name, or None; those that are not kube-proxy's or the DNS's count as absent."""
        return self._named(ConfigMap, namespace, name)

    def slices_of(self, namespace: str, name: str) -> tuple[EndpointSlice, ...]:
        """Return the EndpointSlices of the Service of that name; made from its Endpoints where a snapshot has no slices at all."""
        aspect = Aspect.NAME if self.uses_legacy_endpoints else Aspect.SERVICE_NAME
        found = self._having(EndpointSlice, self._endpoints_kind, aspect, name)
        return tuple(s for s in found if (s.namespace, s.service) == (namespace, name))

    # -- by address or port -------------------------------------------------------------------------------------------------------

    def services_with_address(self, address: Address) -> tuple[tuple[Service, AddressOf], ...]:
        """Return the Services that have *address*, each with which of its addresses it is."""
        found = self._having(Service, "Service", Aspect.ADDRESS, str(address))
        return tuple((service, which) for service in found for which in dict.fromkeys(w for a, w in service.addresses if a == address))

    def services_with_node_port(self, port: int, protocol: Protocol) -> tuple[tuple[Service, ServicePort], ...]:
        """Return the Services that use *port* on every node, with the Service port behind it."""
        found = self._having(Service, "Service", Aspect.NODE_PORT, str(port))
        return tuple((s, p) for s in found for p in s.ports if p.node_port == port and p.protocol is protocol)

    def endpoints_with_address(self, address: Address) -> tuple[tuple[EndpointSlice, Endpoint], ...]:
        """Return the endpoints that have *address*, each with its slice; ready or not."""
        slices = self._having(EndpointSlice, self._endpoints_kind, Aspect.ADDRESS, str(address))
        return tuple((s, e) for s in slices for e in s.endpoints if address in e.addresses)

    def pods_with_ip(self, address: Address) -> tuple[Pod, ...]:
        """Return the Pods whose status lists *address* and that have not ended; host-network Pods share their node's."""
        found = self._having(Pod, "Pod", Aspect.ADDRESS, str(address))
        return tuple(p for p in found if not p.has_ended and address in p.ips)

    @cached_property
    def host_network_pods(self) -> tuple[Pod, ...]:
        """Return the Pods that use their node's network and have not ended. Decodes no other."""
        found = self._having(Pod, "Pod", Aspect.HOST_NETWORK, "true")
        return tuple(p for p in found if p.host_network and not p.has_ended)

    def node_with_ip(self, address: Address) -> Node | None:
        """Return the first Node that has *address* as an internal or external one, or None."""
        found = self._having(Node, "Node", Aspect.ADDRESS, str(address))
        return next((n for n in found if address in n.ips), None)

    # -- all ----------------------------------------------------------------------------------------------------------------------

    @cached_property
    def services(self) -> tuple[Service, ...]:
        """Return every Service, in the files' order. Decodes them all."""
        return self._all(Service, "Service")

    @cached_property
    def slices(self) -> tuple[EndpointSlice, ...]:
        """Return every EndpointSlice (or what the legacy Endpoints say). Decodes them all."""
        return self._all(EndpointSlice, self._endpoints_kind)

    @cached_property
    def pods(self) -> tuple[Pod, ...]:
        """Return every Pod. Decodes them all."""
        return self._all(Pod, "Pod")

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """Return every Node."""
        return self._all(Node, "Node")

    @cached_property
    def namespaces(self) -> tuple[Namespace, ...]:
        """Return every Namespace object."""
        return self._all(Namespace, "Namespace")

    @cached_property
    def network_policies(self) -> tuple[NetworkPolicy, ...]:
        """Return every NetworkPolicy."""
        return self._all(NetworkPolicy, "NetworkPolicy")

    def policies_in(self, namespace: str) -> tuple[NetworkPolicy, ...]:
        """Return the NetworkPolicies of one namespace."""
        return self._policies_by_namespace.get(namespace, ())

    @cached_property
    def _policies_by_namespace(self) -> Mapping[str, tuple[NetworkPolicy, ...]]:
        found: dict[str, tuple[NetworkPolicy, ...]] = {}
        for policy in self.network_policies:
            found[policy.namespace] = (*found.get(policy.namespace, ()), policy)
        return found

    @cached_property
    def config_maps(self) -> tuple[ConfigMap, ...]:
        """Return the ConfigMaps of kube-proxy and the cluster's DNS."""
        return self._all(ConfigMap, "ConfigMap")

    def others(self, kind: str) -> Iterator[tuple[RawObject, Origin]]:
        """Yield every object of a *kind* that is not modelled here, with where it stands, for whoever models it.

        Of several with one API group and name the first is yielded: backups keep an object in several folders.
        """
        seen: set[tuple[str, str, str]] = set()
        for file in self._files_with(kind):
            for item, raw in self._raw_objects(file, kind):
                metadata = raw.value.get("metadata")
                named = metadata if isinstance(metadata, Mapping) else {}
                identity = (group_of(raw.value), str(named.get("namespace")), str(named.get("name")))
                if identity not in seen or "name" not in named:
                    seen.add(identity)
                    yield raw, Origin(file=file.path, item=item)

    def raw(self, kind: str, namespace: str, name: str) -> Mapping[str, object] | None:
        """Return the API object of that kind and name as it was decoded, or None. Decodes no object of another name."""
        encoded = name.encode(errors="surrogatepass")
        for file in self._files_with(kind):
            for item in file.candidates_of(kind, Aspect.NAME, encoded):
                for found in self._decoded(file, item):
                    if found.kind == kind and name_of(found.value) == (namespace, name):
                        return found.value
        return None

    @cached_property
    def uses_legacy_endpoints(self) -> bool:
        """Return whether there is no EndpointSlice in the snapshot but Endpoints are."""
        return self._has("Endpoints") and not self._has("EndpointSlice")

    def _has(self, kind: str) -> bool:
        return any(True for file in self._files_with(kind) for _ in self._raw_objects(file, kind))

    def near_names(self, kind: str, text: str, *, count: int = 5) -> tuple[str, ...]:
        """Return the names nearest to *text*, best first: ``ns/name`` of a "service" or "pod", names of a "node" or "namespace".

        A pod without an address is none: it cannot send, and nothing can be sent to it.

        :raises ValueError: *kind*, in any case, is none of these.
        """
        match kind.lower():
            case "service":
                names = [f"{s.namespace}/{s.name}" for s in self.services]
            case "pod":
                names = [f"{p.namespace}/{p.name}" for p in self.pods if not p.has_ended and (p.ips or p.host_network)]
            case "node":
                names = [n.name for n in self.nodes]
            case "namespace":
                names = sorted({n.name for n in self.namespaces} | {p.namespace for p in self.pods} | {s.namespace for s in self.services})
            case _:
                raise ValueError(f"no names of {kind!r} are kept")
        return nearest(text, names, count=count)

    @property
    def _files(self) -> tuple[ObjectFile, ...]:
        """The files in the order in which they count: what somebody wants, behind what was recorded of the same name."""
        if self._ordered is None:
            self._ordered = tuple(sorted(self._given, key=self._may_be_manifests)) if len(self._given) > 1 else self._given
        return self._ordered

    def _may_be_manifests(self, file: ObjectFile) -> bool:
        try:
            return file.may_be_manifests
        except ParseError:
            return False  # said where it is asked for

    # -- reading ------------------------------------------------------------------------------------------------------------------

    def _keep(self, error: ParseError) -> None:
        for fault in error.faults:
            if len(self._faults) < FAULTS:
                self._faults[fault] = None
            elif len(self._faults) == FAULTS:
                message = f"more than {FAULTS} faults: the others are not listed"
                self._faults[Fault(file=fault.file, line=fault.line, column=None, message=message)] = None

    def _refuse(self, file: ObjectFile, error: ParseError) -> None:
        self._refused[file] = self._refused.get(file, 0) + 1
        self._keep(error)

    def _attempt(self, raw: RawObject, file: ObjectFile, item: int) -> tuple[Model, ...]:
        try:
            return read_object(raw, Origin(file=file.path, item=item))
        except ParseError as error:
            self._refuse(file, file.located(error, item))
            return ()

    def _spans_known(self, file: ObjectFile) -> bool:
        """Return whether the file can be read at all, and keep its fault."""
        try:
            spans = file.spans
        except ParseError as error:
            self._keep(error)
            return False
        if faults := (*spans.unread, *([spans.fault] if spans.fault is not None else ())):
            self._keep(ParseError(*faults))
        return True

    def _files_with(self, kind: str) -> tuple[ObjectFile, ...]:
        files = self._holding.get(kind)
        if files is None:
            files = self._holding[kind] = tuple(f for f in self._files if self._may_hold(f, kind) and self._spans_known(f))
        return files

    def _may_hold(self, file: ObjectFile, kind: str) -> bool:
        try:
            return file.may_hold(kind)
        except ParseError as error:
            self._keep(error)
            return False

    def _raw_objects(self, file: ObjectFile, kind: str | None = None) -> Iterator[tuple[int, RawObject]]:
        """Yield the objects of one kind, or all, with their places."""
        if self._spans_known(file):
            for item in range(len(file)) if kind is None else file.items_of(kind):
                if self._refused.get(file, 0) > REFUSED:
                    message = f"more than {REFUSED} of its objects cannot be read: those behind are not looked at"
                    self._faults[Fault(file=file.path, line=None, column=None, message=message)] = None
                    return
                for raw in self._decoded(file, item):
                    if kind is None or raw.kind == kind:
                        yield item, raw

    def _decoded(self, file: ObjectFile, item: int) -> tuple[RawObject, ...]:
        try:
            return file.objects(item)
        except ParseError as error:
            self._refuse(file, error)
            return ()

    def _models(self, file: ObjectFile, item: int) -> tuple[Model, ...]:
        models = self._read.get((file, item))
        if models is None:
            models = tuple(m for raw in self._decoded(file, item) for m in self._attempt(raw, file, item))
            self._read[(file, item)] = models
        return models

    @property
    def _endpoints_kind(self) -> str:
        return "Endpoints" if self.uses_legacy_endpoints else "EndpointSlice"

    def _having(self, model: type[M], kind: str, aspect: Aspect, key: str) -> tuple[M, ...]:
        """Return the objects that may have *key*, those left out that an earlier object of the same name replaces."""
        look = (model, kind, aspect, key)
        kept = self._looks.get(look)
        if kept is None:
            found = _first_of_each(self._candidates(model, kind, aspect, key))
            kept = self._looks.put(look, tuple(m for m in found if self._is_first(m, model, kind)))
        return cast(tuple[M, ...], kept)

    def _is_first(self, found: M, model: type[M], kind: str) -> bool:
        name = found.service if isinstance(found, EndpointSlice) and found.legacy else found.name
        first = next((m for m in self._candidates(model, kind, Aspect.NAME, name or "") if m.key == found.key), None)
        return first is None or first.origin == found.origin

    def _candidates(self, model: type[M], kind: str, aspect: Aspect, key: str) -> Iterator[M]:
        encoded = key.encode(errors="surrogatepass")
        for file in self._files_with(kind):
            for item in file.candidates_of(kind, aspect, encoded):
                for candidate in self._models(file, item):
                    # Endpoints are read as slices: the two must not be taken for each other.
                    if isinstance(candidate, model) and getattr(candidate, "legacy", False) is (kind == "Endpoints"):
                        yield candidate

    def _named(self, model: type[M], namespace: str, name: str) -> M | None:
        look = (model, namespace, name)
        kept = self._looks.get(look)
        if kept is None:
            found = (m for m in self._candidates(model, model.__name__, Aspect.NAME, name) if m.key == (namespace, name))
            kept = self._looks.put(look, (next(found, None),))
        return cast(M | None, kept[0])

    def _all(self, model: type[M], kind: str) -> tuple[M, ...]:
        objects = (
            m
            for file in self._files_with(kind)
            for item, raw in self._raw_objects(file, kind)
            for m in self._attempt(raw, file, item)
            if isinstance(m, model)
        )
        return _first_of_each(objects)


def _first_of_each(models: Iterable[M]) -> tuple[M, ...]:
    """Return *models* without those whose name came before."""
    first: dict[tuple[str, str], M] = {}
    for model in models:
        first.setdefault(model.key, model)
    return tuple(first.values())

"""From manifests to all the objects of the cluster that they would make, or every mistake in them at once.

Strategy: each manifest is checked by itself, then all together; only of manifests without a mistake something is made. What is made depends
on the manifests and the number of nodes alone: no clock, no chance, and not on the order of files and documents.
Refuses to model what the API server would not keep; what it keeps and a sketch makes nothing of is said by kind.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence

from tracer.errors import Fault, ParseError
from tracer.kube.configmap import is_wanted
from tracer.kube.fields import Origin
from tracer.kube.kinds import BY_NAME, KINDS, WORKLOADS
from tracer.kube.namespace import NAME_LABEL
from tracer.kube.object_file import RawObject
from tracer.kube.objects import read_object
from tracer.limits import SKETCH_COPIED, SKETCH_ENDPOINTS, SKETCH_NODES, SKETCH_OBJECTS, SKETCH_PODS
from tracer.packet import Address
from tracer.query import parse_address
from tracer.sketch.checked import Checked, Mistakes
from tracer.sketch.cluster_dns import dns_manifests
from tracer.sketch.manifest import Manifest, listed, mapping
from tracer.sketch.nodes import MARK, SketchedNode
from tracer.sketch.plan import BALANCERS, NODES, PODS, NoneLeft
from tracer.sketch.pods import SketchedPod, sketched_pods
from tracer.sketch.said import remarks_of
from tracer.sketch.selection import Selection
from tracer.sketch.service_checks import asked_addresses, check_service, check_together
from tracer.sketch.services import Completed, asks_for_two_families, families_of
from tracer.sketch.slices import mirrored_slices, selected_slices
from tracer.sketch.workloads import Workload, workload_of
from tracer.values import dataclass

USUAL_NODES = 3
"""How many nodes a sketch has unless somebody says another number."""
_KEPT = frozenset(kind.name for kind in KINDS if kind.read is not None) - {"Service", "Endpoints", "Pod"} - {"Node"}
"""The kinds that stay as they were written."""
_PODS = (*WORKLOADS, "Pod")
_MADE = frozenset({"Service", "Endpoints", *_PODS, *_KEPT})
"""The kinds that are checked, and of which something is made."""
_LABEL_NAMES = frozenset({"Service", "Namespace"})
_MADE_UP = ((PODS, "pods"), (NODES, "nodes"), (BALANCERS, "load balancers"))
_ALWAYS_THERE = ("default", "kube-system")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sketch:
    """A made-up cluster: its *objects* as the API server would give them, how many *nodes*, and *remarks*: what is made up or left out."""

    objects: tuple[dict[str, object], ...]
    nodes: int
    remarks: tuple[str, ...]


def sketch(manifests: Sequence[Manifest], nodes: int = USUAL_NODES) -> Sketch:
    """Return the cluster that *manifests* would make, with so many *nodes* (1 to ``SKETCH_NODES``).

    :raises ParseError: every mistake in them, with the file, line, object and field; or they are more than the limits allow.
    :raises ValueError: so many nodes no sketch has.
    """
    if not 1 <= nodes <= SKETCH_NODES:
        raise ValueError(f"a sketch has 1 to {SKETCH_NODES} nodes, not {nodes}")
    if len(manifests) > SKETCH_OBJECTS:
        most = f"{SKETCH_OBJECTS:,} (limit SKETCH_OBJECTS)"
        raise _refused(manifests, f"{len(manifests):,} manifests are more than a sketch is made of: {most}")
    drawing = _Drawing(manifests, nodes)
    try:
        return drawing.sketch()
    except NoneLeft:
        raise _refused(manifests, "so many Services want an address or a node port that none is left") from None


def _refused(manifests: Sequence[Manifest], message: str) -> ParseError:
    return ParseError(Fault(file=manifests[0].file if manifests else "", line=None, column=None, message=message))


class _Drawing:
    """One sketch on its way."""

    def __init__(self, manifests: Sequence[Manifest], nodes: int) -> None:
        self._mistakes = Mistakes()
        self._known = [one for one in manifests if one.kind in _MADE and not one.is_namesake]
        rest = [one for one in manifests if one.kind not in _MADE or one.is_namesake]
        self._unused = Counter(map(_kind_of, rest))
        self._aside = [one for one in rest if one.kind in BY_NAME and one.kind != "Node" and not one.is_namesake]
        self._check_identities()
        self._is_dual = asks_for_two_families(self._of("Service"))
        given = {(one.kind, *one.key) for one in self._known}
        self._dns = tuple(dns_manifests(given, is_dual=self._is_dual))
        self._known += self._dns
        versions = (4, 6) if self._is_dual else (4,)
        self._nodes = [SketchedNode(number=number, versions=versions) for number in range(1, nodes + 1)]

    def _of(self, *kinds: str) -> list[Manifest]:
        return [one for one in self._known if one.kind in kinds]

    def sketch(self) -> Sketch:
        services = self._of("Service")
        workloads = self._checked_workloads()
        self._check_services(services)
        kept = [one for one in self._of(*_KEPT) if self._is_kept(one)]
        for manifest in (*kept, *self._of("Endpoints")):
            self._check_read(manifest)
        if self._mistakes:
            raise ParseError(*self._mistakes.faults)
        pods = list(sketched_pods(workloads, self._nodes))
        selection = Selection(pods)
        self._check_endpoints(services, selection)
        endpoints = self._of("Endpoints")
        objects = (
            *(node.to_object() for node in self._nodes),
            *self._namespaces(),
            *Completed(services).objects(services),
            *selected_slices(services, selection),
            *mirrored_slices(endpoints, services),
            *(pod.to_object() for pod in pods),
            *(dict(one.value) for one in sorted((*kept, *self._aside), key=lambda one: (one.kind, one.key)) if one.kind != "Namespace"),
        )
        return Sketch(objects=objects, nodes=len(self._nodes), remarks=self._remarks(services, workloads, pods, selection))

    def _remarks(
        self, services: Sequence[Manifest], workloads: Sequence[Workload], pods: Sequence[SketchedPod], selection: Selection
    ) -> tuple[str, ...]:
        own = set(map(id, self._dns))
        return tuple(
            remarks_of(
                nodes=self._nodes,
                services=[one for one in services if id(one) not in own],
                workloads=workloads,
                pods=pods,
                selection=selection,
                unused=self._unused,
                has_own_dns=bool(self._dns),
            )
        )

    # -- checks -------------------------------------------------------------------------------------------------------------------

    def _check_identities(self) -> None:
        first: dict[tuple[str, str, str], Manifest] = {}
        for manifest in self._known:
            top = Checked(manifest, manifest.value, self._mistakes)
            said = top.text("apiVersion")
            if not said:
                top.wrong("apiVersion", f"is missing: a {manifest.kind} is of {manifest.version}.")
            elif said != manifest.version:
                top.wrong("apiVersion", f"{said[:60]!r} has no {manifest.kind}: it is of {manifest.version}.")
            metadata = top.nested("metadata")
            name = metadata.name(is_subdomain=manifest.kind not in _LABEL_NAMES)
            if manifest.namespace and (namespace := metadata.text("namespace")):
                metadata.is_name("namespace", namespace)
            metadata.labels("labels")
            if name and (other := first.setdefault((manifest.kind, *manifest.key), manifest)) is not manifest:
                metadata.wrong("name", f"there is a {manifest.kind} of this name already ({other.where}).")

    def _check_services(self, services: Sequence[Manifest]) -> None:
        wholes = []
        for service in services:
            check_service(service, self._mistakes)
            if self._mistakes.has(service):
                continue
            wholes.append(service)
            self._check_read(service)
            for text in asked_addresses(service):
                if of := _made_up(parse_address(text)):
                    self._mistakes.note(
                        service, "spec.clusterIP", f"{text} is in a network of the sketch's own: it has the addresses of {of}."
                    )
        check_together(wholes, self._mistakes)

    def _checked_workloads(self) -> list[Workload]:
        found = [made for one in self._of(*_PODS) if (made := workload_of(one, self._mistakes)) is not None]
        asked = copied = 0
        for workload in found:
            at = "" if workload.manifest.kind == "Pod" else "spec.template."
            pod = {"metadata": {**mapping(workload.template.get("metadata")), "name": workload.manifest.name}, "spec": workload.spec}
            self._check_read(workload.manifest, Manifest(kind="Pod", value=pod), at)
            pods = len(self._nodes) if workload.is_on_every_node else len(workload.names)
            asked, copied = asked + pods, copied + pods * len(json.dumps(workload.template))
            if asked > SKETCH_PODS:
                self._mistakes.note(workload.manifest, "", f"with it there are more than {SKETCH_PODS:,} pods (limit SKETCH_PODS).")
                break
            if copied > SKETCH_COPIED:
                most = f"{SKETCH_COPIED:,} characters (limit SKETCH_COPIED)."
                self._mistakes.note(workload.manifest, "", f"with it all pods together are described in more than {most}")
                break
        return found

    def _check_endpoints(self, services: Sequence[Manifest], selection: Selection) -> None:
        """Check how many endpoints with how many ports there will be. :raises ParseError: more than the limit."""
        count = 0
        for service in services:
            ports = max(1, len(listed(service.spec.get("ports"))))
            count += len(selection.of(service)) * len(families_of(service)) * ports
            if count > SKETCH_ENDPOINTS:
                most = f"{SKETCH_ENDPOINTS:,} endpoints times ports (limit SKETCH_ENDPOINTS)."
                self._mistakes.note(service, "spec.selector", f"with what it selects there are more than {most}")
                raise ParseError(*self._mistakes.faults)

    def _check_read(self, manifest: Manifest, what: Manifest | None = None, at: str = "") -> None:
        """Note what the engine's own readers refuse of *what* is made of *manifest* (of itself, if nothing is said) at its field *at*."""
        if self._mistakes.has(manifest):
            return
        what = what or manifest
        try:
            read_object(RawObject(kind=what.kind, value=what.value), Origin(file=manifest.file))
        except ParseError as error:
            for fault in error.faults:
                path, _, message = fault.message.partition(": ")[2].partition(": ")
                self._mistakes.note(manifest, f"{at}{path}", f"{message}.")

    def _is_kept(self, manifest: Manifest) -> bool:
        if manifest.kind == "ConfigMap" and not is_wanted(*manifest.key):
            self._unused[manifest.kind] += 1
            return False
        return True

    def _namespaces(self) -> Iterator[dict[str, object]]:
        """The Namespaces: those that were written, and those that something is in."""
        given = {one.name: one for one in self._of("Namespace")}
        for name in sorted({*given, *_ALWAYS_THERE, *(one.namespace for one in self._known if one.namespace)}):
            manifest = given.get(name)
            metadata = dict(manifest.metadata) if manifest is not None else {"annotations": {MARK: "no manifest: something is in it"}}
            labels = metadata.get("labels")
            labels = {**(labels if isinstance(labels, dict) else {}), NAME_LABEL: name}
            yield {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata | {"name": name, "labels": labels}}


def _kind_of(manifest: Manifest) -> str:
    """What a kind of which nothing is made is called: with its group where another one is of that name."""
    if not manifest.is_namesake:
        return manifest.kind[:60]
    group = str(manifest.value.get("apiVersion")).rpartition("/")[0]
    return f"{manifest.kind}.{group}"[:60]


def _made_up(address: Address | None) -> str:
    """Of what a sketch makes up addresses in the network that *address* is in; "" where nothing has one there."""
    if address is None:
        return ""
    return next((of for networks, of in _MADE_UP if address in networks[address.version]), "")

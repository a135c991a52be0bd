"""Which objects were recorded and which are manifests: what somebody wants, which no API server has answered with.

Owns that one question. An API server gives every object a ``uid`` and a ``resourceVersion``, every Service but an ExternalName one a
``clusterIP`` (``None`` where it is headless), and every Pod that runs a node and a status. The whole is called manifests only where a
Service lacks that, or what pods are made of (a Deployment and its like) is there, and nothing was recorded; who cut the other marks away by
hand has recorded objects all the same. An address of a Service counts as recorded unless workloads are beside it: who writes those may ask
for one. Beside recorded objects, Services and Pods that lack it are counted apart: they hold no address.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum

from tracer.kube.kinds import BY_NAME, WORKLOADS, is_namesake
from tracer.kube.object_file import RawObject
from tracer.snapshot.snapshot import Snapshot


class Form(StrEnum):
    """What the objects of a snapshot are."""

    RECORDED = "recorded"
    MANIFESTS = "manifests"


class Forms:
    """Looks at every object once; *manifests* is how many of a kind are none that was recorded, *has_records* whether any was.

    *has_addresses*: a Service has one, which nothing else says was recorded.
    """

    def __init__(self) -> None:
        self.manifests: Counter[str] = Counter()
        self.has_records = False
        self.has_addresses = self._has_workloads = False

    def look(self, raw: RawObject, counts: bool) -> None:
        """Look at one object, which *counts* or stands behind another of its name."""
        if raw.kind in WORKLOADS:
            recorded = _is_recorded(raw)
            self.has_records, self._has_workloads = self.has_records or recorded, self._has_workloads or not recorded
        if raw.kind not in BY_NAME or is_namesake(raw.kind, raw.value):
            return
        if _is_recorded(raw):
            self.has_records = True
        elif _has_address(raw):
            self.has_addresses = True
        elif counts and _lacks(raw.kind, _mapping(raw.value.get("spec"))):
            self.manifests[raw.kind] += 1

    def of_all(self, *, has_node_files: bool) -> Form:
        """Return what all of it is."""
        has_records = self.has_records or has_node_files or (self.has_addresses and not self._has_workloads)
        wanted = self.manifests["Service"] or self._has_workloads
        return Form.MANIFESTS if wanted and not has_records else Form.RECORDED


def form_of(snapshot: Snapshot) -> Form:
    """Return what the objects are, without a look at those behind the first mark of a record: nearly always it is in the first Service."""
    if snapshot.node_files:
        return Form.RECORDED
    forms = Forms()
    has_workloads = any(True for kind in WORKLOADS for _ in snapshot.objects.others(kind))
    for kind in (*sorted(BY_NAME, key=lambda name: name != "Service"), *WORKLOADS):
        for raw, _ in snapshot.objects.others(kind):
            forms.look(raw, counts=True)
            if forms.has_records or (forms.has_addresses and not has_workloads):
                return Form.RECORDED
    return forms.of_all(has_node_files=False)


def _is_recorded(raw: RawObject) -> bool:
    """Return whether an API server, or what runs behind it, wrote something of the object. NB: nobody writes a Node by hand."""
    metadata = _mapping(raw.value.get("metadata"))
    status = _mapping(raw.value.get("status"))
    said = metadata.get("uid") or metadata.get("resourceVersion") or any(_says(value) for value in status.values())
    return raw.kind == "Node" or bool(said)


def _has_address(raw: RawObject) -> bool:
    """Return whether it is a Service with an address."""
    return raw.kind == "Service" and _mapping(raw.value.get("spec")).get("clusterIP") not in (None, "", "None")


def _lacks(kind: str, spec: Mapping[str, object]) -> bool:
    """Return whether the spec lacks what the cluster writes into each of that kind. NB: of other kinds nothing tells."""
    if kind == "Service":
        return not spec.get("clusterIP") and spec.get("type") != "ExternalName"
    return kind == "Pod" and not spec.get("nodeName")


def _says(value: object) -> bool:
    """Return whether a part of a status says anything: ``kubectl create --dry-run`` writes ``loadBalancer: {}``."""
    return value not in (None, "", {}, [])


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}

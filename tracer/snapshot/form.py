"""Which objects were recorded and which are manifests: what somebody wants, which no API server has answered with.

Owns that one question. An API server gives every object a ``uid`` and a ``resourceVersion``, every Service but an ExternalName one a
``clusterIP`` (``None`` where it is headless), and every Pod that runs a node and a status. The whole is called manifests only where a
Service lacks that and nothing else was recorded; who cut the other marks away by hand has recorded objects all the same. Beside recorded
objects, Services and Pods that lack it are counted apart: they hold no address.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum

from tracer.kube.kinds import BY_NAME, is_namesake
from tracer.kube.object_file import RawObject
from tracer.snapshot.snapshot import Snapshot


class Form(StrEnum):
    """What the objects of a snapshot are."""

    RECORDED = "recorded"
    MANIFESTS = "manifests"


class Forms:
    """Looks at every object once; *manifests* is how many of a kind are none that was recorded, *has_records* whether any was."""

    def __init__(self) -> None:
        self.manifests: Counter[str] = Counter()
        self.has_records = False

    def look(self, raw: RawObject, counts: bool) -> None:
        """Look at one object, which *counts* or stands behind another of its name."""
        if raw.kind not in BY_NAME or is_namesake(raw.kind, raw.value):
            return
        if _is_recorded(raw):
            self.has_records = True
        elif counts and _lacks(raw.kind, _mapping(raw.value.get("spec"))):
            self.manifests[raw.kind] += 1

    def of_all(self, *, has_node_files: bool) -> Form:
        """Return what all of it is."""
        recorded = has_node_files or self.has_records or not self.manifests["Service"]
        return Form.RECORDED if recorded else Form.MANIFESTS


def form_of(snapshot: Snapshot) -> Form:
    """Return what the objects are, without a look at those behind the first mark of a record: nearly always it is in the first Service."""
    if snapshot.node_files:
        return Form.RECORDED
    forms = Forms()
    for kind in sorted(BY_NAME, key=lambda name: name != "Service"):
        for raw, _ in snapshot.objects.others(kind):
            forms.look(raw, counts=True)
            if forms.has_records:
                return Form.RECORDED
    return forms.of_all(has_node_files=False)


def _is_recorded(raw: RawObject) -> bool:
    """Return whether an API server, or what runs behind it, wrote something of the object. NB: nobody writes a Node by hand."""
    metadata = _mapping(raw.value.get("metadata"))
    status = _mapping(raw.value.get("status"))
    said = metadata.get("uid") or metadata.get("resourceVersion") or any(_says(value) for value in status.values())
    if raw.kind == "Service":
        said = said or _mapping(raw.value.get("spec")).get("clusterIP") not in (None, "", "None")
    return raw.kind == "Node" or bool(said)


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

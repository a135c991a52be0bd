"""Whether objects were recorded or are manifests: what somebody wants, which no API server has answered with.

Owns that one question. An API server gives every object a ``uid`` and a ``resourceVersion``, and every Service but an ExternalName one a
``clusterIP`` (``None`` where it is headless). Manifests are called so only where a Service lacks it and nothing else was recorded; who cut
the other marks away by hand has recorded objects all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from tracer.kube.kinds import KINDS
from tracer.kube.object_file import RawObject
from tracer.snapshot.snapshot import Snapshot


class Form(StrEnum):
    """What the objects of a snapshot are."""

    RECORDED = "recorded"
    MANIFESTS = "manifests"


def form_of(snapshot: Snapshot) -> Form:
    """Return what the objects are. Ends at the first mark of a record, which is nearly always the first Service."""
    objects = snapshot.objects
    if snapshot.node_files:
        return Form.RECORDED
    lacks = False
    for service, _ in objects.others("Service"):
        spec = _mapping(service.value.get("spec"))
        if _is_recorded(service) or spec.get("clusterIP") not in (None, "", "None"):
            return Form.RECORDED
        lacks = lacks or (not spec.get("clusterIP") and spec.get("type") != "ExternalName")
    others = (raw for kind in KINDS if kind.name != "Service" for raw, _ in objects.others(kind.name))
    return Form.MANIFESTS if lacks and not any(map(_is_recorded, others)) else Form.RECORDED


def _is_recorded(raw: RawObject) -> bool:
    """Return whether an API server, or what runs behind it, wrote something of the object. NB: nobody writes a Node by hand."""
    metadata = _mapping(raw.value.get("metadata"))
    status = _mapping(raw.value.get("status"))
    said = metadata.get("uid") or metadata.get("resourceVersion") or any(_says(value) for value in status.values())
    return raw.kind == "Node" or bool(said)


def _says(value: object) -> bool:
    """Return whether a part of a status says anything: ``kubectl create --dry-run`` writes ``loadBalancer: {}``."""
    return value not in (None, "", {}, [])


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}

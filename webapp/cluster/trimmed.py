"""What is kept of an API object: all that a snapshot keeps, without the two copies of it that Kubernetes stores in its metadata."""

from __future__ import annotations

from collections.abc import Callable

from tracer.kube.kept_parts import kept_metadata
from tracer.patterns import pattern
from webapp.cluster.errors import said

Unfit = Callable[[str, bool], None]
"""Told of an object that is left out: what it calls itself, and whether it is there or gone."""
_SEGMENT = pattern(r"[^/%\x00-\x1f\x7f]{1,253}")


def is_named(value: object) -> bool:
    """Return whether *value* is an object with a name, and a namespace or none, that can be part of a path, as all names in Kubernetes can.

    Source: k8s.io/apimachinery/pkg/api/validation/path.
    """
    metadata = value.get("metadata") if isinstance(value, dict) else None
    if not isinstance(metadata, dict):
        return False
    return _is_segment(metadata.get("name")) and (metadata.get("namespace") in (None, "") or _is_segment(metadata["namespace"]))


def called(value: object) -> str:
    """Return what an object that is not ``is_named`` calls itself, fit to print; "?" if nothing at all."""
    metadata = value.get("metadata") if isinstance(value, dict) else None
    return (said(metadata.get("name"))[:63] if isinstance(metadata, dict) else "") or "?"


def _is_segment(text: object) -> bool:
    return isinstance(text, str) and text not in (".", "..") and _SEGMENT.fullmatch(text) is not None


def without_copies(value: dict[str, object]) -> dict[str, object]:
    """Return the object without what is left out of every object's metadata (``tracer.kube.kept_parts``). *value* stays as it is."""
    metadata = value.get("metadata")
    return {**value, "metadata": kept_metadata(metadata)} if isinstance(metadata, dict) else value

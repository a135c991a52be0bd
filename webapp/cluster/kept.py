"""What is kept of an API object: all that a snapshot keeps, without the two copies of it that Kubernetes stores in its metadata."""

from __future__ import annotations

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def kept(value: dict[str, object]) -> dict[str, object]:
    """Return the object without ``managedFields`` and the last-applied annotation, which is what kubectl shows. *value* stays as it is."""
    metadata = value.get("metadata")
    if not isinstance(metadata, dict):
        return value
    rest = {k: v for k, v in metadata.items() if k != "managedFields"}
    annotations = rest.get("annotations")
    if isinstance(annotations, dict) and _LAST_APPLIED in annotations:
        rest["annotations"] = {k: v for k, v in annotations.items() if k != _LAST_APPLIED}
    return {**value, "metadata": rest}

"""Fields of recorded objects: a recording may hold anything at all where Kubernetes has a map or a list, and is served all the same."""

from __future__ import annotations

from collections.abc import Mapping


def mapping(value: object, *keys: str) -> Mapping[str, object]:
    """Return the map that stands at *keys* in *value*, an empty one if none does."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def mappings(value: object, *keys: str) -> tuple[Mapping[str, object], ...]:
    """Return the maps in the list that stands at *keys* in *value*, none if no list does."""
    *way, last = keys
    found = mapping(value, *way).get(last)
    return tuple(item for item in found if isinstance(item, Mapping)) if isinstance(found, list | tuple) else ()


def key_of(value: Mapping[str, object]) -> tuple[str, str]:
    """Return an object's namespace ("" if it has none) and name."""
    metadata = mapping(value, "metadata")
    return (str(metadata.get("namespace") or ""), str(metadata.get("name") or ""))

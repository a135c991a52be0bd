"""The API objects of a cluster, kind by kind, as ``kubectl get -o json`` would print them. What is refused is noted, and the rest taken."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from webapp import cluster
from webapp.cluster import FOLLOWED_KINDS, Connection, FollowedKind
from webapp.collecting.collection import Collection
from webapp.reading.stored_parts import kept

Say = Callable[[str], None]
_ATTEMPTS = 3
_VERSION = "version.json"


def take_objects(connection: Connection, into: Collection, say: Say) -> dict[str, list[dict[str, Any]]]:
    """Write every kind that is followed and return the objects by plural; what could not be read is not among them."""
    found: dict[str, list[dict[str, Any]]] = {}
    for plural in dict.fromkeys(kind.plural for kind in FOLLOWED_KINDS):
        kinds = [kind for kind in FOLLOWED_KINDS if kind.plural == plural]
        items, read_at, errors = _listed(connection, kinds)
        path = f"{plural}.json"
        if len(errors) < len(kinds) and not (len(kinds) > 1 and not items):
            found[plural] = items
            into.take(path, _list(items), read_at)
        if errors:
            into.miss(path, "; ".join(errors), read_at)
        if errors or plural in found:
            say(f"  {path}" + (f": {'; '.join(errors)}" if errors else ""))
    return found


def take_version(connection: Connection, into: Collection, say: Say) -> str | None:
    """Write ``version.json`` and return the server's version, None when it did not say."""
    read_at = time.time()
    try:
        version = connection.version()
    except cluster.ClusterError as error:
        into.miss(_VERSION, _why(error), read_at)
        say(f"  {_VERSION}: {_why(error)}")
        return None
    into.take(_VERSION, json.dumps(version, indent=2).encode(), read_at)
    say(f"  {_VERSION}")
    said = version.get("gitVersion")
    return said if isinstance(said, str) else None


def _listed(connection: Connection, kinds: list[FollowedKind]) -> tuple[list[dict[str, Any]], float, list[str]]:
    """Return the objects of all *kinds* (several lists of one plural: single ConfigMaps), when that began, and what was refused."""
    items: list[dict[str, Any]] = []
    errors: list[str] = []
    read_at = time.time()
    for kind in kinds:
        try:
            items += _all(connection, kind)
        except cluster.ClusterError as error:
            errors.append(f"{kind.name}: {_why(error)}" if kind.name else _why(error))
    return items, read_at, errors


def _all(connection: Connection, kind: FollowedKind) -> list[dict[str, Any]]:
    """Return all objects of *kind*, from the start again where the list grew too old in the middle. :raises ClusterError: no list."""
    for attempt in range(_ATTEMPTS):
        items: list[dict[str, Any]] = []
        try:
            page = connection.list_page(kind)
            items += page.items
            while page.continue_:
                page = connection.list_page(kind, continue_=page.continue_)
                items += page.items
            return [kept(item, kind.kind) for item in items]
        except cluster.Gone:
            if attempt + 1 == _ATTEMPTS:
                raise
    raise AssertionError("unreachable")


def _list(items: list[dict[str, Any]]) -> bytes:
    listed = {"apiVersion": "v1", "items": items, "kind": "List", "metadata": {"resourceVersion": ""}}
    return json.dumps(listed, ensure_ascii=False, indent=4, sort_keys=True).encode() + b"\n"


def _why(error: cluster.ClusterError) -> str:
    return f"Not allowed: {error}" if isinstance(error, cluster.Denied) else str(error)

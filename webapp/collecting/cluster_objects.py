"""The API objects of a cluster, kind by kind, as ``kubectl get -o json`` would print them. What is refused is noted, and the rest taken."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from webapp.cluster.connection import Connection
from webapp.cluster.errors import ClusterError, Denied, Gone
from webapp.cluster.kinds import FOLLOWED_KINDS, FollowedKind
from webapp.cluster.served_kinds import served_kinds
from webapp.collecting.collection import Collection
from webapp.collecting.more_objects import CONFIG_MAPS, MORE_KINDS, SIGNS_IN, maps_wanted
from webapp.reading.stored_parts import kept

Say = Callable[[str], None]
_ATTEMPTS = 3
_VERSION = "version.json"


def take_objects(connection: Connection, into: Collection, say: Say) -> dict[str, list[dict[str, Any]]]:
    """Write every kind that is followed, and what the cluster has of others; return the objects by plural.

    What could not be read is not among them.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for kind in (one for one in FOLLOWED_KINDS if one not in CONFIG_MAPS):
        if (items := _take(connection, into, say, f"{kind.plural}.json", (kind,))) is not None:
            found[kind.plural] = items
    if "services" in found:
        written = {path: file.read_text() for path in SIGNS_IN if (file := into.folder / path).exists()}
        _take(connection, into, say, "configmaps.json", (*CONFIG_MAPS, *maps_wanted(written)))
        _take_more_kinds(connection, into, say)
    return found


def _take(connection: Connection, into: Collection, say: Say, path: str, kinds: Sequence[FollowedKind]) -> list[dict[str, Any]] | None:
    """Write the objects of all *kinds* to one file, and return them; None: there is no such file."""
    items, read_at, errors = _listed(connection, kinds)
    is_taken = len(errors) < len(kinds) and not (len(kinds) > 1 and not items)
    if is_taken:
        into.take(path, _list(items), read_at)
    if errors:
        into.miss(path, "; ".join(errors), read_at)
    if errors or is_taken:
        say(f"  {path}" + (f": {'; '.join(errors)}" if errors else ""))
    return items if is_taken else None


def _take_more_kinds(connection: Connection, into: Collection, say: Say) -> None:
    read_at = time.time()
    try:
        served = served_kinds(connection, {more.group for more in MORE_KINDS})
    except ClusterError as error:
        text = f"The kinds that the cluster has cannot be listed: {why(error)}"
        into.miss(MORE_KINDS[0].path, text, read_at)
        say(f"  {text}")
        return
    for more in MORE_KINDS:
        if (kind := served.get((more.group, more.plural))) is not None:
            _take(connection, into, say, more.path, (kind,))


def take_version(connection: Connection, into: Collection, say: Say) -> str | None:
    """Write ``version.json`` and return the server's version, None when it did not say."""
    read_at = time.time()
    try:
        version = connection.version()
    except ClusterError as error:
        into.miss(_VERSION, why(error), read_at)
        say(f"  {_VERSION}: {why(error)}")
        return None
    into.take(_VERSION, json.dumps(version, indent=2).encode(), read_at)
    say(f"  {_VERSION}")
    said = version.get("gitVersion")
    return said if isinstance(said, str) else None


def _listed(connection: Connection, kinds: Sequence[FollowedKind]) -> tuple[list[dict[str, Any]], float, list[str]]:
    """Return the objects of all *kinds* (several lists of one plural: single ConfigMaps), when that began, and what was refused."""
    items: list[dict[str, Any]] = []
    errors: list[str] = []
    read_at = time.time()
    for kind in kinds:
        try:
            items += _all(connection, kind)
        except ClusterError as error:
            errors.append(f"{kind.name}: {why(error)}" if kind.name else why(error))
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
        except Gone:
            if attempt + 1 == _ATTEMPTS:
                raise
    raise AssertionError("unreachable")


def _list(items: list[dict[str, Any]]) -> bytes:
    listed = {"apiVersion": "v1", "items": items, "kind": "List", "metadata": {"resourceVersion": ""}}
    return json.dumps(listed, ensure_ascii=False, indent=4, sort_keys=True).encode() + b"\n"


def why(error: Exception) -> str:
    """Return in words why the API server gave no answer, with one word in front where it is not allowed."""
    return f"Not allowed: {error}" if isinstance(error, Denied) else str(error)

"""Which kinds an API server serves: one question for all groups where it answers so (Kubernetes 1.27), else one more for each group.

Source: Kubernetes API concepts, "Aggregated discovery"; apidiscovery.k8s.io v2 and v2beta1.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Protocol

from webapp.cluster.kinds import FollowedKind

ACCEPT = ",".join(
    [*(f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList" for version in ("v2", "v2beta1")), "application/json"]
)
Named = dict[tuple[str, str], FollowedKind]


class _Asked(Protocol):
    def discovery(self, path: str, accept: str) -> dict[str, object]:
        """Return what the API server says at *path*."""


def served_kinds(connection: _Asked, groups: Collection[str]) -> Named:
    """Return (group, plural) → the list of the API, in the version that the server prefers, of what can be listed in *groups*.

    :raises ClusterError: it does not say.
    """
    said = connection.discovery("/apis", ACCEPT)
    if said.get("kind") == "APIGroupDiscoveryList":
        return _named(found for group in _mappings(said.get("items")) for found in _of_group(group) if found.group in groups)
    found: Named = {}
    for group in _mappings(said.get("groups")):
        version = _mapping(group.get("preferredVersion")).get("version")
        if group.get("name") in groups and isinstance(version, str):
            listed = connection.discovery(f"/apis/{group['name']}/{version}", "application/json")
            found |= _named(_of_list(str(group["name"]), version, listed))
    return found


def _named(kinds: Iterator[FollowedKind]) -> Named:
    found: Named = {}
    for kind in kinds:
        found.setdefault((kind.group, kind.plural), kind)
    return found


def _of_group(group: Mapping[str, Any]) -> Iterator[FollowedKind]:
    name = _mapping(group.get("metadata")).get("name")
    for version in _mappings(group.get("versions")):
        for one in _mappings(version.get("resources")):
            kind = _mapping(one.get("responseKind")).get("kind")
            if "list" in (one.get("verbs") or ()):
                yield _kind(name, version.get("version"), one.get("resource"), kind, one.get("scope") == "Namespaced")


def _of_list(group: str, version: str, listed: Mapping[str, Any]) -> Iterator[FollowedKind]:
    for one in _mappings(listed.get("resources")):
        if "list" in (one.get("verbs") or ()):
            yield _kind(group, version, one.get("name"), one.get("kind"), bool(one.get("namespaced")))


def _kind(group: object, version: object, plural: object, kind: object, namespaced: bool) -> FollowedKind:
    return FollowedKind(group=str(group), version=str(version), plural=str(plural), kind=str(kind), namespaced=namespaced)


def _mappings(value: object) -> tuple[Mapping[str, Any], ...]:
    return tuple(one for one in value if isinstance(one, Mapping)) if isinstance(value, list) else ()


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}

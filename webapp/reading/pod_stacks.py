"""Which pods' own stacks are read: those that somebody named, as the objects of the cluster say.

Objects are told as they come; a pod is found by what was told last. At most ``MOST_PODS`` are read: each costs its node some programs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tracer.patterns import pattern
from tracer.values import dataclass
from webapp.pods_wanted import By, PodsWanted
from webapp.reading.places import node_of

MOST_PODS = 50
_NAME = pattern(r"[A-Za-z0-9][A-Za-z0-9.-]*", re.ASCII)
_UID = pattern(r"[A-Za-z0-9-]+", re.ASCII)
_SERVICE_LABEL = "kubernetes.io/service-name"
Key = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PodStack:
    """A pod whose own stack is wanted. *unread* says why it cannot be read (*is_lacking*: it has none), if it cannot."""

    node: str
    namespace: str
    name: str
    uid: str
    containers: tuple[str, ...]
    unread: str = ""
    is_lacking: bool = False

    @property
    def stack(self) -> str:
        """Return what its stack is called, and where its files are: ``NODE/pods/NAMESPACE_NAME``."""
        return f"{self.node}/pods/{self.namespace}_{self.name}"


class WantedPods:
    """Follows pods and EndpointSlices, and says which pods are wanted."""

    def __init__(self, wanted: Sequence[PodsWanted]) -> None:
        self.wanted = tuple(wanted)
        self._namespaces = {one.namespace for one in wanted}
        self._pods: dict[Key, Mapping[str, Any]] = {}
        self._behind: dict[Key, tuple[str, frozenset[str]]] = {}

    def note_pod(self, key: Key, pod: Mapping[str, Any] | None) -> bool:
        """Take the pod *key* (namespace, name) as it is now, None: it is gone. Return whether it is in a namespace that matters."""
        if key[0] in self._namespaces:
            self._pods.pop(key, None)
            if pod is not None:
                self._pods[key] = pod
        return key[0] in self._namespaces

    def note_slice(self, key: Key, value: Mapping[str, Any] | None) -> bool:
        """Take an EndpointSlice as it is now. Return whether it is in a namespace that matters."""
        if key[0] in self._namespaces:
            self._behind.pop(key, None)
            if value is not None:
                service = _mapping(_mapping(value.get("metadata")).get("labels")).get(_SERVICE_LABEL)
                targets = (_mapping(_mapping(endpoint).get("targetRef")) for endpoint in value.get("endpoints") or ())
                self._behind[key] = (str(service), frozenset(str(one.get("name")) for one in targets if one.get("kind") == "Pod"))
        return key[0] in self._namespaces

    def found(self, one: PodsWanted) -> frozenset[Key]:
        """Return the pods that *one* finds, as namespace and name."""
        if one.by is By.LABEL:
            label, _, value = one.name.partition("=")
            names = {
                name
                for (space, name), pod in self._pods.items()
                if space == one.namespace and _mapping(_mapping(pod.get("metadata")).get("labels")).get(label) == value
            }
        elif one.by is By.SERVICE:
            slices = (held for (space, _), held in self._behind.items() if space == one.namespace)
            names = {name for service, targets in slices if service == one.name for name in targets}
        else:
            names = {one.name}
        return frozenset((one.namespace, name) for name in names if (one.namespace, name) in self._pods)

    def stacks(self) -> tuple[PodStack, ...]:
        """Return all that are wanted and are on a node, by namespace and name."""
        keys = sorted(set[Key]().union(*(self.found(one) for one in self.wanted)))
        return tuple(stack for key in keys if (stack := _stack(key, self._pods[key])) is not None)


def within_bound(stacks: Iterable[PodStack]) -> tuple[tuple[PodStack, ...], int]:
    """Return those of *stacks* that can be read, at most ``MOST_PODS``, and how many more there are."""
    readable = [stack for stack in stacks if not stack.unread]
    return tuple(readable[:MOST_PODS]), max(0, len(readable) - MOST_PODS)


def too_many(more: int) -> str:
    """Return what is said where there are *more* pods than are read."""
    return f"Of {MOST_PODS} pods the own stacks are read: of {more} more they are not."


def _stack(key: Key, pod: Mapping[str, Any]) -> PodStack | None:
    metadata, spec, status = (_mapping(pod.get(part)) for part in ("metadata", "spec", "status"))
    node, uid = node_of(pod), str(metadata.get("uid") or "")
    if node is None or not all(map(_NAME.fullmatch, key)):
        return None
    unread, is_lacking = "", False
    if spec.get("hostNetwork"):
        unread, is_lacking = "It has the network of its node, and no stack of its own.", True
    elif status.get("phase") != "Running" or metadata.get("deletionTimestamp"):
        unread = "It does not run."
    elif not _UID.fullmatch(uid):
        unread = "It has no uid."
    return PodStack(
        node=node, namespace=key[0], name=key[1], uid=uid, containers=tuple(_containers(spec)), unread=unread, is_lacking=is_lacking
    )


def _containers(spec: Mapping[str, Any]) -> Iterator[str]:
    yield from (str(one["name"]) for one in spec.get("containers") or () if isinstance(one, Mapping) and one.get("name"))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}

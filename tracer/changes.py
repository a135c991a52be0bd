"""What changed between two moments of one cluster: the vocabulary that a follower speaks and the engine's model takes.

A change names one API object or one file of a node, with what it was and what it is. Nothing else changes in a followed cluster.
"""

from __future__ import annotations

from collections.abc import Mapping

from tracer.kube.kinds import BY_NAME
from tracer.values import dataclass

_SERVICE_NAME = "kubernetes.io/service-name"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectChange:
    """One API object before and after. None: it did not exist, or no longer does.

    *seen_at* is when the follower learnt it (Unix seconds).
    """

    kind: str
    namespace: str
    name: str
    before: Mapping[str, object] | None
    after: Mapping[str, object] | None
    seen_at: float | None = None

    @property
    def refs(self) -> tuple[str, ...]:
        """Return what pages call it: ``svc/NS/NAME`` for a Service and its EndpointSlices, ``pod/NS/NAME``, ``node/NAME``, ``ns/NAME`` …"""
        if self.kind == "EndpointSlice":
            services = (_service_of(value) for value in (self.before, self.after) if value is not None)
            return tuple(dict.fromkeys(f"svc/{self.namespace}/{name}" for name in services if name)) or (self._own,)
        return (self._own,)

    @property
    def _own(self) -> str:
        prefix = BY_NAME[self.kind].word if self.kind in BY_NAME else self.kind.lower()
        return "/".join(part for part in (prefix, self.namespace, self.name) if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """One file of a node (its documented name, for example ``iptables-save.txt``) before and after. None: there is none.

    *node* may be a pod's own stack, ``NODE/pods/NAMESPACE_NAME``.
    """

    node: str
    name: str
    before: bytes | None
    after: bytes | None
    read_at: float | None = None

    @property
    def refs(self) -> tuple[str, ...]:
        """Return ``node/NAME``, of a pod's own stack ``pod/NS/NAME``: an object and its readings are one thing to a page."""
        _, of_pod, pod = self.node.partition("/pods/")
        return (f"pod/{pod.replace('_', '/', 1)}" if of_pod else f"node/{self.node}",)


Change = ObjectChange | FileChange


def _service_of(value: Mapping[str, object]) -> str | None:
    metadata = value.get("metadata")
    labels = metadata.get("labels") if isinstance(metadata, Mapping) else None
    name = labels.get(_SERVICE_NAME) if isinstance(labels, Mapping) else None
    return name if isinstance(name, str) else None

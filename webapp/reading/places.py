"""Where each node is read: kube-proxy's pod on it, or our reader's, as the watched Pods say."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tracer.patterns import pattern
from webapp.models import LiveSource
from webapp.reading.changes import StoredChange
from webapp.reading.node_reader import ReadFrom
from webapp.reading.paths import ObjectPath, parse_path

NO_PROXY = "No kube-proxy pod runs there: it may be a service of the system, or something else does its work."
NO_READER = "No pod of the node reader runs there."
PROXY_NAMESPACE = "kube-system"
# kubeadm's and most distributions', k3s' and GKE's static pods', Helm-like ones.
_PROXY_LABELS = (("k8s-app", "kube-proxy"), ("component", "kube-proxy"), ("app.kubernetes.io/name", "kube-proxy"))
READER_LABEL = ("app.kubernetes.io/name", "hopline-node-reader")
_NODE_NAME = pattern(r"(?=.{1,253}\Z)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", re.ASCII)
"""A DNS subdomain. Source: RFC 1123; k8s.io/apimachinery/pkg/util/validation, IsDNS1123Subdomain."""
Placed = Callable[[str, ReadFrom | None], None]


class Places:
    """Follows the pods that nodes are read from; *placed* is told for each node where, or None. *how* is LiveSource.Readings."""

    def __init__(self, how: str, reader_namespace: str, placed: Placed) -> None:
        self._is_reader = how == LiveSource.Readings.DAEMONSET
        self._namespace = reader_namespace if self._is_reader else PROXY_NAMESPACE
        self._placed = placed
        self._of_pod: dict[str, tuple[str, ReadFrom]] = {}

    def note(self, changes: Iterable[StoredChange]) -> None:
        """Take what changed."""
        for change in changes:
            parsed = parse_path(change.path)
            if isinstance(parsed, ObjectPath) and (parsed.kind, parsed.namespace) == ("Pod", self._namespace):
                self._note_pod(parsed, None if change.after is None else json.loads(change.after))

    def _note_pod(self, path: ObjectPath, pod: dict[str, Any] | None) -> None:
        before = self._of_pod.pop(path.name, None)
        found = None if pod is None else self._place(pod)
        if found is not None:
            self._of_pod[path.name] = found
        for node in {place[0] for place in (before, found) if place is not None}:
            self._placed(node, next((place for on, place in self._of_pod.values() if on == node), None))

    def _place(self, pod: dict[str, Any]) -> tuple[str, ReadFrom] | None:
        """Return the node and the place, or None: it is another pod, or does not run."""
        metadata, spec, status = (_mapping(pod.get(part)) for part in ("metadata", "spec", "status"))
        labels = _mapping(metadata.get("labels"))
        wanted = (READER_LABEL,) if self._is_reader else _PROXY_LABELS
        node = node_of(pod)
        if node is None or not any(labels.get(name) == value for name, value in wanted):
            return None
        if status.get("phase") != "Running" or metadata.get("deletionTimestamp"):
            return None
        names = [c.get("name") for c in spec.get("containers") or () if isinstance(c, Mapping)]
        container = "kube-proxy" if "kube-proxy" in names else names[0] if names else None
        place = ReadFrom(namespace=self._namespace, pod=str(metadata["name"]), container=container, is_reader=self._is_reader)
        return node, place


def node_of(pod: Mapping[str, Any]) -> str | None:
    """Return the node that *pod* runs on; None: on none yet, or what it says is no name of a node."""
    node = _mapping(pod.get("spec")).get("nodeName")
    return node if isinstance(node, str) and _NODE_NAME.fullmatch(node) else None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}

"""One object as somebody wrote it, before any cluster had it, and where it stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from tracer.kube.kinds import BY_NAME, WORKLOADS, group_of
from tracer.values import dataclass

_NOTHING: Mapping[str, object] = {}
_OLD_GROUPS = frozenset({"extensions"})
_CLUSTER_WIDE = frozenset({"Node", "Namespace"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """An object, not checked yet, with its *file* and the *line* on which it begins (None where nobody knows it)."""

    kind: str
    value: Mapping[str, object] = field(default_factory=dict)
    file: str = ""
    line: int | None = None

    @property
    def metadata(self) -> Mapping[str, object]:
        """Return its metadata, empty where it is none."""
        return mapping(self.value.get("metadata"))

    @property
    def spec(self) -> Mapping[str, object]:
        """Return its spec, empty where it is none."""
        return mapping(self.value.get("spec"))

    @property
    def name(self) -> str:
        """Return its name, "" where it has none."""
        name = self.metadata.get("name")
        return name if isinstance(name, str) else ""

    @property
    def namespace(self) -> str:
        """Return its namespace, as ``kubectl apply`` without ``-n`` would have it: default; "" of a kind that has none."""
        if self.kind in _CLUSTER_WIDE:
            return ""
        namespace = self.metadata.get("namespace")
        return namespace if isinstance(namespace, str) and namespace else "default"

    @property
    def key(self) -> tuple[str, str]:
        """Return (namespace, name)."""
        return (self.namespace, self.name)

    @property
    def said(self) -> str:
        """Return what sentences call it, at most 200 characters."""
        name = self.name or "without a name"
        return f"{self.kind} {self.namespace}/{name}"[:200] if self.namespace else f"{self.kind} {name}"[:200]

    @property
    def where(self) -> str:
        """Return where it stands."""
        return self.file if self.line is None else f"{self.file}, line {self.line}"

    @property
    def group(self) -> str:
        """Return the API group of its kind, as far as the kind is known."""
        if self.kind in BY_NAME:
            return BY_NAME[self.kind].group
        return "apps" if self.kind in WORKLOADS and self.kind != "ReplicationController" else ""

    @property
    def is_namesake(self) -> bool:
        """Return whether it is of another group's kind of that name, as Knative's Service is."""
        is_known = self.kind in BY_NAME or self.kind in WORKLOADS
        said = group_of(self.value)
        return is_known and said not in ("", self.group) and said not in _OLD_GROUPS

    @property
    def version(self) -> str:
        """Return the ``apiVersion`` that Kubernetes serves its kind with, as far as the kind is known."""
        return BY_NAME[self.kind].api_version if self.kind in BY_NAME else f"{self.group}/v1" if self.group else "v1"


def mapping(value: object) -> Mapping[str, object]:
    """Return *value* where it is an object, else an empty one."""
    return value if isinstance(value, Mapping) else _NOTHING


def listed(value: object) -> tuple[Mapping[str, object], ...]:
    """Return the objects of the array *value*; none where it is no array."""
    return tuple(one for one in value if isinstance(one, Mapping)) if isinstance(value, list) else ()

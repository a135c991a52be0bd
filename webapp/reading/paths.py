"""The names under which a followed cluster's parts are kept: ``objects/services/NS/NAME.json``, ``nodes/NODE/FILE``, ``version.json``.

A pod's own stack is named like a node, ``NODE/pods/NAMESPACE_NAME``, which is where its files are.
"""

from __future__ import annotations

from tracer.changes import FileChange, ObjectChange
from tracer.kube.kinds import FOLLOWED
from tracer.values import dataclass

FOLDERS = {kind.name: kind.plural for kind in FOLLOWED}
"""Kind → the plural that the API, kubectl and a snapshot's files use."""
VERSION = "version.json"
_KINDS = {folder: kind for kind, folder in FOLDERS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectPath:
    """Which API object a path names; *namespace* is empty for one of the whole cluster."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return "/".join(part for part in ("objects", FOLDERS[self.kind], self.namespace, f"{self.name}.json") if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePath:
    """Which file of which node, or of which pod's own stack, a path names."""

    node: str
    name: str

    def __str__(self) -> str:
        return f"nodes/{self.node}/{self.name}"


def parse_path(path: str) -> ObjectPath | FilePath | None:
    """Return what *path* names; None for a file of the whole cluster, such as ``version.json``. :raises ValueError: it is none of ours."""
    match path.split("/"):
        case ["objects", folder, name] if folder in _KINDS:
            return ObjectPath(kind=_KINDS[folder], namespace="", name=name.removesuffix(".json"))
        case ["objects", folder, namespace, name] if folder in _KINDS:
            return ObjectPath(kind=_KINDS[folder], namespace=namespace, name=name.removesuffix(".json"))
        case ["nodes", node, name]:
            return FilePath(node=node, name=name)
        case ["nodes", node, "pods", pod, name]:
            return FilePath(node=f"{node}/pods/{pod}", name=name)
        case [_]:
            return None
    raise ValueError(f"{path!r} is no path of a followed cluster")


def refs_of(path: str, value: dict[str, object] | None) -> tuple[str, ...]:
    """Return what pages call the part at *path*, whose object (of either moment) is *value*. Nothing for a file of the whole cluster."""
    match parse_path(path):
        case ObjectPath(kind=kind, namespace=namespace, name=name):
            return ObjectChange(kind=kind, namespace=namespace, name=name, before=None, after=value).refs
        case FilePath(node=node, name=name):
            return FileChange(node=node, name=name, before=None, after=None).refs
    return ()

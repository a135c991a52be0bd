"""A snapshot completed by more files: its own, with the new ones laid over them.

Refuses to mix two clusters: where both sides say which Nodes or Services there are, they must have one in common, and rules of nodes
must be of nodes that the snapshot knows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tracer.errors import TracerError
from tracer.patterns import pattern
from tracer.snapshot import Snapshot as RecordedSnapshot
from tracer.snapshot.layout import UNPLACED, recognise
from webapp.uploads import Source, UploadError

_ADDED = "added-"
_MOST_ADDITIONS = 9_999
_NODE_FILE = pattern(r"nodes/[^/]+/(?P<file>[^/]+)")
_EVERYWHERE = frozenset({("default", "kubernetes"), ("kube-system", "kube-dns")})
"""Services that nearly all clusters have, often at the same address: they tell no two apart."""


def completed(held: Mapping[str, bytes], new: Mapping[str, bytes], name: str) -> Source:
    """Return *held*, the files of the snapshot called *name*, with *new* laid over them: at the same path the new file counts,
    and a file of objects of any kind stands beside the old one.

    :raises UploadError: *new* holds nothing that is used, or is of another cluster.
    """
    if not new:
        raise UploadError(f"Nothing of it can be used, so it adds nothing to {name}.")
    if why := _of_another_cluster(held, new):
        raise UploadError(f"This is not of the cluster of {name}: {why}. Two clusters are never mixed; upload it by itself.")
    beside = _beside(held, new)
    placed = _placed(held, new)
    old = tuple(path for path in held if (path not in new or path in beside) and path not in placed)

    def files() -> Iterator[tuple[str, bytes]]:
        for path in old:
            yield path, held[path]
        for path in new:
            yield beside.get(path, path), new[path]

    return Source(names=(*old, *(beside.get(path, path) for path in new)), _read=files)


def _placed(held: Mapping[str, bytes], new: Mapping[str, bytes]) -> frozenset[str]:
    """The files of *held* without a node of which *new* says whose they are: it holds the same text for some node."""
    waiting = recognise(held).unplaced
    placed = [(match["file"], path) for path in new if (match := _NODE_FILE.fullmatch(path)) and match["file"] in waiting.values()]
    return frozenset(path for path, file in waiting.items() if any(file == name and held[path] == new[at] for name, at in placed))


def _beside(held: Mapping[str, bytes], new: Mapping[str, bytes]) -> dict[str, str]:
    """Files of objects of any kind that stand at one path on both sides: the new one's name beside the old, before which it is read.

    They may hold different kinds, so neither stands for the other; of an object that is in both the first that is read counts.
    Files without a node that are called the same are two files as well.
    """
    layout = recognise(held)
    any_kind = {*(one.path for one in layout.objects if one.kind is None and "/" not in one.path), *layout.unplaced}
    both = [path for path in new if path in any_kind and new[path] != held[path]]
    # Of later additions the names come before those of earlier ones.
    turn = _MOST_ADDITIONS - sum(_ADDED in path for path in held)
    names = {path: len(f"{UNPLACED}{layout.unplaced[path]}/") if path in layout.unplaced else 0 for path in both}
    return {path: f"{path[:at]}{_ADDED}{turn:04d}-{path[at:]}" for path, at in names.items() if turn > 0}


def _of_another_cluster(held: Mapping[str, bytes], new: Mapping[str, bytes]) -> str:
    ours, theirs = RecordedSnapshot.from_files(held), RecordedSnapshot.from_files(new)
    nodes = _nodes(ours)
    if (others := _nodes(theirs)) and nodes:
        return "" if nodes & others else f"no Node of the one is in the other ({_few(others)} here, {_few(nodes)} there)"
    services = _services(ours)
    if (named := _services(theirs)) and services and not services & named:
        return "no Service of the one is in the other"
    if nodes and theirs.node_files and not nodes & set(theirs.node_files):
        return f"it holds files of {_few(set(theirs.node_files))}, and the snapshot's nodes are {_few(nodes)}"
    return ""


def _nodes(snapshot: RecordedSnapshot) -> set[str]:
    try:
        return {node.name for node in snapshot.objects.nodes}
    except TracerError:
        return set()


def _services(snapshot: RecordedSnapshot) -> set[tuple[str, str, str]]:
    try:
        found = snapshot.objects.services
    except TracerError:
        return set()
    return {
        (one.namespace, one.name, str(next(iter(one.cluster_ips), ""))) for one in found if (one.namespace, one.name) not in _EVERYWHERE
    }


def _few(names: set[str], most: int = 3) -> str:
    first = sorted(names)[:most]
    return ", ".join(first) + (f" and {len(names) - most} more" if len(names) > most else "")

"""Where each file of an upload belongs in the documented layout (docs/snapshot-format.md), from glances at all of them.

Strategy: the folder that holds a snapshot is found by what lies in it, and taken off. What no layout knows then, and whose content is a
node's file, goes to its node where its path names exactly one known node, where a file of the host's name beside it (``hostname``) does,
or where there is one node and one such file. API objects
under other names go to ``objects/``. What is recognised and cannot be placed is said, with where it belongs.
Refuses to guess between nodes, and to mix two snapshots: of two of them in one upload neither is taken for the other's part.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from dataclasses import field
from functools import cache
from typing import TYPE_CHECKING

from tracer.errors import SnapshotError
from tracer.patterns import pattern
from tracer.snapshot.layout import KINDS, OBJECTS, UNPLACED, Layout, recognise
from tracer.snapshot.node_files import BY_NAME
from tracer.snapshot.vendors import is_said_again, is_unused
from tracer.values import dataclass

# A snapshot whose files are all called as documented is not looked through: what looks is imported where it does.
if TYPE_CHECKING:
    from tracer.snapshot.contents import Glance, KnownNode
    from tracer.snapshot.pieces import Piece

_ASIDE = (
    "API objects in folders, which count only where no Services stand above them. Put those of this cluster into a folder called objects"
)
_OBJECT_HEAD = b'{"kind": "List"'
_TOP = pattern(rf"(?P<kind>{'|'.join(KINDS)})\.(?:json|ya?ml)")
_NODE_FILE = pattern(r"nodes/[^/]{1,253}/(?P<name>[^/]{1,100})")
_OF_A_POD = pattern(r"(?:.*/)?nodes/[^/]+/pods/[^/_]+_[^/_]+/[^/]+")
"""What lies in the folder of a pod's own stack is no node's, whatever it is: what such a stack has not is left there."""
_WORD = pattern(r"[a-z0-9.-]+")
_SAID_ROOTS = 5
_BUNDLES_FOLDERS = ("cluster-resources", "cluster-scoped-resources", "namespaces")
"""Folders of bundles, by which the files in them are known: a snapshot is not looked for in one."""
ONE_NODE = "as there is one node"
"""Why a file is taken for a node's that nobody says it is of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unplaced:
    """A file that was recognised and is not used: *what* it is, its documented name (*file*), and where it *belongs*.

    It is kept below ``UNPLACED``, so that somebody may say whose it is later on.
    """

    path: str
    what: str
    belongs: str
    file: str

    @property
    def kept_as(self) -> str:
        """Return the path under which it is kept."""
        return f"{UNPLACED}{self.file}/{self.path}"

    def to_dict(self) -> dict[str, str]:
        """Return it as the summary stores it."""
        return {"path": self.path, "what": self.what, "belongs": self.belongs, "file": self.file}


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrangement:
    """*names*: the path in the upload → the one in the snapshot, where they differ. *assumed*: documented path → why it is there.

    *pieces*: the path of a text that is cut → the pieces of it, which are files with paths of their own. *aside*: API objects that do not
    count, as what stands above their folders does. *used*: what is used and has no place: files of a host's name, copies of other files.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    unplaced: tuple[Unplaced, ...] = ()
    assumed: Mapping[str, str] = field(default_factory=dict)
    pieces: Mapping[str, tuple[Piece, ...]] = field(default_factory=dict)
    aside: tuple[str, ...] = ()
    used: frozenset[str] = frozenset()

    @property
    def told(self) -> Set[str]:
        """Return the files that no layout knows, and of which is known what they are: which others nobody knows is said apart."""
        return {*(one.path for one in self.unplaced), *self.aside, *self.used}

    @property
    def said_of_aside(self) -> tuple[tuple[str, str], ...]:
        """Return what is said of the objects that do not count: the first with how many more, and why; () where there are none."""
        more = f", and {len(self.aside) - 1:,} more" if self.aside[1:] else ""
        return ((f"{self.aside[0]}{more}", _ASIDE),) if self.aside else ()

    def name(self, path: str) -> str:
        """Return what the file, or piece of one, *path* is called in the snapshot."""
        return self.names.get(path, path)

    def paths(self, path: str) -> tuple[str, ...]:
        """Return the paths of what the file *path* of the upload holds: its own, or those of its pieces."""
        return tuple(piece.path for piece in self.pieces[path]) if path in self.pieces else (path,)

    def parted(self, path: str, content: bytes) -> Iterator[tuple[str, bytes]]:
        """Yield what the file *path* holds, one thing at a time, with its path."""
        if path not in self.pieces:
            yield path, content
        for piece in self.pieces.get(path, ()):
            yield piece.path, piece.content(content)

    @property
    def origins(self) -> Mapping[str, str]:
        """Return documented path → where it came from: the path in the upload, or which lines of which file."""
        said = {piece.path: piece.said for pieces in self.pieces.values() for piece in pieces}
        return {name: said.get(path, path) for path, name in self.names.items()}


def is_documented(paths: Collection[str]) -> bool:
    """Return whether every one of *paths* is where a layout has it, so that nothing is to be arranged and no content is to be asked."""
    found = _layout(paths, ())
    return not found.unknown and not found.unplaced


def arrange(glances: Sequence[Glance], nodes: Collection[KnownNode]) -> Arrangement:
    """Return where each file belongs. *nodes* are those that the API objects know.

    :raises SnapshotError: there are two snapshots, and neither lies in the other's folder.
    """
    return _Arranging({one.path: one for one in glances}, nodes).arranged()


def what_of(file: str) -> str:
    """Return what sentences call the node's file with the documented name *file*."""
    return _whats().get(file, f"a node's {file}")


@cache
def _whats() -> Mapping[str, str]:
    from tracer.snapshot.looks import ROWS

    return {name: row.what for row in ROWS for name in (row.name, row.ip6) if name}


def wants_nodes(glances: Sequence[Glance]) -> bool:
    """Return whether a node's file is among *glances* that only the nodes' names can place."""
    return any(one.file is not None or one.path.rpartition("/")[2] in BY_NAME for one in glances)


def _layout(paths: Collection[str], objects: Collection[str]) -> Layout:
    return recognise({path: _OBJECT_HEAD if path in objects else b"" for path in paths})


class _Arranging:
    """One upload's files, on their way to their places."""

    def __init__(self, glances: Mapping[str, Glance], nodes: Collection[KnownNode]) -> None:
        self._glances = glances
        self._nodes = {node.name: node for node in nodes}
        from tracer.snapshot.called import Called

        self._called = Called(nodes)
        # Endpoints name the nodes that have some: only Node objects tell how many there are.
        self._only = next((node.name for node in nodes if node.is_object), None) if len(nodes) == 1 else None
        self._root, self._others = _roots(glances)
        self._hosts: dict[str, set[str]] = defaultdict(set)
        for path, one in glances.items():
            if one.host:
                self._hosts[path.rpartition("/")[0]].add(one.host)
        self._taken: dict[str, str] = {}
        self._waiting: Mapping[str, str] = {}
        self._unplaced: list[Unplaced] = []
        self._assumed: dict[str, str] = {}
        self._aside: list[str] = []
        self._used = {path for path, one in glances.items() if one.host}

    def arranged(self) -> Arrangement:
        """Return every file's place."""
        below = {path: path.removeprefix(self._root) for path in self._glances if path.startswith(self._root)}
        objects = {name for path, name in below.items() if self._glances[path].objects is not None}
        found = _layout(below.values(), objects)
        self._waiting = {path: found.unplaced[name] for path, name in below.items() if name in found.unplaced}
        unknown = {*found.unknown, *found.unplaced}
        self._taken = {name: path for path, name in below.items() if name not in unknown}
        rest = [path for path in self._glances if self._taken.get(below.get(path, "")) != path]
        rest = [path for path in rest if not path.startswith(self._others)] if self._others else rest
        self._place_node_files([path for path in rest if self._file(path)])
        self._place_objects([path for path in rest if self._glances[path].objects is not None and not self._file(path)])
        names = {path: name for name, path in self._taken.items() if name != path}
        aside, used = tuple(self._aside), frozenset(self._used)
        return Arrangement(names=names, unplaced=tuple(self._unplaced), assumed=self._assumed, aside=aside, used=used)

    def _file(self, path: str) -> str | None:
        """The documented name of a node's file: what its content is, else its own name; of one that waits what was told before."""
        if path in self._waiting:
            return self._waiting[path]
        if is_unused(path) or _OF_A_POD.fullmatch(path):
            return None
        name = path.rpartition("/")[2]
        one = self._glances[path]
        if name in BY_NAME and (one.file is None or BY_NAME[name].holds is BY_NAME[one.file].holds):
            return name if one.objects is None else None
        return one.file

    def _place_node_files(self, paths: Sequence[str]) -> None:
        count = Counter(self._file(path) for path in paths)
        for path in sorted(paths, key=lambda path: (is_said_again(path), path)):
            file = self._file(path) or ""
            node = self._said_node(path) or self._node_in(path) or self._host_of(path)
            if node is None and self._only is not None and count[file] == 1:
                node = self._only
                self._assumed[f"nodes/{node}/{file}"] = f"{self._first_name(path)} is taken to be {node}'s, {ONE_NODE}"
            self._place(path, file, node)

    def _place(self, path: str, file: str, node: str | None) -> None:
        place = f"nodes/{node or 'NODE'}/{file}"
        held = self._taken.get(place)
        if node is not None and held is None:
            self._taken[place] = path
        elif held is None or (self._glances[held].digest != self._glances[path].digest and not is_said_again(path)):
            belongs = place if held is None else f"nowhere: {held} counts as {place}"
            self._unplaced.append(Unplaced(path=self._first_name(path), what=what_of(file), belongs=belongs, file=file))
            self._taken[self._unplaced[-1].kept_as] = path

    def _first_name(self, path: str) -> str:
        """What the file was called when it was handed in: of one that waits, before it was put among those."""
        return path.removeprefix(f"{self._root}{UNPLACED}{self._waiting[path]}/") if path in self._waiting else path

    def _said_node(self, path: str) -> str | None:
        """The node that the text itself says it is of, by a prompt or a heading."""
        node = self._glances[path].node
        if node is not None and node not in self._nodes:
            self._assumed[f"nodes/{node}/{self._file(path)}"] = f"{path} is taken to be {node}'s, as its prompt says"
        return node

    def _node_in(self, path: str) -> str | None:
        """The node that *path* names, the last of its parts that names one; None where that names two, or none does."""
        for part in reversed(path.lower().split("/")):
            found = {name for word in _named(part) if (name := self._called.node(word)) is not None}
            if found:
                return found.pop() if len(found) == 1 else None
        return None

    def _host_of(self, path: str) -> str | None:
        """The node that the file of a host's name nearest to *path* tells: in the deepest folder that both are below; None where two do."""
        if not self._hosts:
            return None
        shared = {folder: _shared_folders(folder, path) for folder in self._hosts}
        nearest = max(shared.values())
        found = {node for folder, hosts in self._hosts.items() if shared[folder] == nearest for node in self._nodes_called(hosts)}
        every = {node for hosts in self._hosts.values() for node in self._nodes_called(hosts)}
        return found.pop() if len(found) == 1 and (nearest or len(every) == 1) else None

    def _nodes_called(self, hosts: Collection[str]) -> set[str]:
        """The nodes that a host's names (``hostname``, ``hostname -f``, ``uname -n``) call; one that no object knows by its shortest."""
        return {node for host in hosts if (node := self._called.host(host)) is not None} or {min(hosts, key=lambda host: (len(host), host))}

    def _place_objects(self, paths: Sequence[str]) -> None:
        has_services = any(
            one.objects is not None and one.objects.has_services for one in map(self._glances.__getitem__, self._taken.values())
        )
        held = {self._glances[path].digest for path in self._taken.values()}
        for path in paths:
            name = path.removeprefix(self._root)
            if self._glances[path].digest in held:
                self._used.add(path)
                continue  # Velero keeps each object twice: under its resource, and under v1-preferredversion
            held.add(self._glances[path].digest)
            if has_services and "/" in (name.rpartition("/")[0] if self._glances[path].of else name):
                self._aside.append(path)
                continue
            suffix = "" if name.endswith((".json", ".yaml", ".yml")) else ".json" if self._glances[path].is_json else ".yaml"
            self._taken.setdefault(f"{OBJECTS}{name}{suffix}", path)


def _named(part: str) -> Iterator[str]:
    """Every run of words of a part of a path that may be a node's name: ``iptables-save-n1.txt`` may name n1, or save-n1."""
    for run in _WORD.findall(part[:300]):
        edges = [0, *(n for n, c in enumerate(run) if c in ".-"), len(run)]
        for begin in edges[:40]:
            for end in edges[:40]:
                word = run[begin:end].strip(".-")
                if word and begin < end:
                    yield word


def _shared_folders(folder: str, path: str) -> int:
    """How many folders from the top *folder* and the one of *path* have in common."""
    both = zip(folder.split("/"), path.split("/")[:-1], strict=False)
    return next(
        (n for n, (one, other) in enumerate(both) if one != other or not one), min(folder.count("/") + bool(folder), path.count("/"))
    )


def _roots(glances: Mapping[str, Glance]) -> tuple[str, tuple[str, ...]]:
    """The folder that is the snapshot, with its final slash, and those of others below it, which are not mixed with it."""
    held: dict[str, set[str]] = defaultdict(set)
    files: set[str] = set()
    for path in glances:
        folder, _, name = path.rpartition("/")
        if path.startswith(UNPLACED) or folder.rpartition("/")[2] in _BUNDLES_FOLDERS:
            continue
        if match := _TOP.fullmatch(name):
            held[f"{folder}/" if folder else ""].add(match["kind"])
        parts = path.split("/")
        if len(parts) > 2 and parts[-3] == "nodes" and name in BY_NAME:
            files.add("".join(f"{part}/" for part in parts[:-3]))
    whole = {root for root, kinds in held.items() if "services" in kinds and ("nodes" in kinds or root in files or root == "")}
    if not whole:
        dumps = {root for root, kinds in held.items() if "nodes" in kinds}
        alone = files or dumps
        return (next(iter(alone)) if len(alone) == 1 else ""), ()
    root = min(whole, key=lambda one: (len(one), one))
    others = tuple(sorted(whole - {root}))
    if apart := [one for one in others if not one.startswith(root)]:
        said = ", ".join([root, *apart][:_SAID_ROOTS])
        raise SnapshotError(f"there are {len(apart) + 1} snapshots in it, and they are not mixed: {said}. Upload one of them by itself")
    return root, others

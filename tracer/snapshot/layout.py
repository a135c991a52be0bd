"""Which file of a snapshot is what: the documented layout, one file with everything, and the bundles people already have.

Bundles' layouts are their programs': cilium-cli sysdump/constants.go, cilium bugtool/cmd/configuration.go, troubleshoot
pkg/constants/constants.go, openshift/must-gather, kubectl cluster-info dump.
A path decides alone, except for files at the top with a name of their own: those count as API objects when they look like it.
Nothing is refused here; what no rule knows is listed as unknown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum

from tracer.kube import kinds
from tracer.kube.json_text import to_utf8
from tracer.patterns import pattern
from tracer.snapshot import node_files
from tracer.snapshot.timeline import BASE, is_recording, is_timeline
from tracer.values import dataclass

KINDS = {kind.plural: kind.name for kind in kinds.KINDS}
"""Plural → kind, as the files of a snapshot are named."""
OBJECTS = "objects/"
"""Every file below it is API objects, by its content."""
UNPLACED = "unplaced/"
"""Below it lie files of nodes, as FILE/PATH, of which nobody knows yet whose they are: kept, and used for nothing."""


class Bundle(StrEnum):
    """The layouts that are recognised."""

    HOPLINE = "snapshot folder"
    ONE_FILE = "API objects in one or more files"
    CLUSTER_INFO = "kubectl cluster-info dump"
    TROUBLESHOOT = "troubleshoot.sh support bundle"
    MUST_GATHER = "OpenShift must-gather"
    CILIUM = "cilium sysdump"
    TIMELINE = "timeline"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectPath:
    """A file of API objects; *kind* is what its objects are when they do not say it themselves."""

    path: str
    kind: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What each file is. *node_files*: node → documented name → path. *pod_files* the same by pod, for bundles that name pods instead.

    *pod_stacks* are files of pods' own stacks: NODE/pods/NAMESPACE_NAME → documented name → path.
    *unplaced* are files of nodes without their node: path → documented name.
    *recording* are the files of a timeline that are not the snapshot at its start.
    """

    bundle: Bundle
    objects: tuple[ObjectPath, ...]
    node_files: Mapping[str, Mapping[str, str]]
    pod_files: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    about: str | None = None
    versions: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    recording: tuple[str, ...] = ()
    unplaced: Mapping[str, str] = field(default_factory=dict)
    pod_stacks: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


_EXT = r"\.(?:json|ya?ml)"
_PLURAL = "|".join(KINDS)
_BUNDLE_WORDS = {kind.bundle_word: kind.name for kind in kinds.KINDS if kind.bundle_word}
_NODE_FILE = pattern(r"nodes/(?P<node>[^/]+)/(?P<name>[^/]+)")
_POD_STACK_FILE = pattern(r"nodes/(?P<stack>[^/]+/pods/[^/_]+_[^/_]+)/(?P<name>[^/]+)")
_UNPLACED = pattern(rf"{UNPLACED}(?P<name>[^/]+)/.+")
_TOP = pattern(rf"(?P<kinds>{_PLURAL}){_EXT}")
_ANY_TOP = pattern(rf"[^/]+{_EXT}")
_TROUBLESHOOT = pattern(rf"(?:.*/)?cluster-resources/(?P<kinds>{_PLURAL}|{'|'.join(_BUNDLE_WORDS)})(?:/[^/]+)?\.json")
_MUST_GATHER = pattern(
    rf"(?:.*/)?(?:namespaces/[^/]+/[a-z0-9.-]+/(?P<kinds>{_PLURAL})(?:/[^/]+)?"
    r"|cluster-scoped-resources/core/(?P<cluster>nodes|namespaces)(?:/[^/]+)?)\.ya?ml"
)
_MUST_GATHER_ONE = pattern(r"(?:.*/)?namespaces/(?P<a>[^/]+)/(?:(?P=a)|pods/(?P<pod>[^/]+)/(?P=pod))\.ya?ml")
_CILIUM = pattern(rf"(?:.*/)?(?:k8s|gatewayapi)-(?P<kinds>{_PLURAL})(?:-[0-9-]+)?\.ya?ml")
_CILIUM_NODE = pattern(
    r"(?:.*/)?(?:cilium-)?bugtool-(?P<pod>[a-z][a-z0-9-]{0,60}?-[a-z0-9]{5})(?:-[0-9]{8}-[0-9]{6})?(?:-[0-9]+)?(?:\.tar\.gz|\.tgz)?/"
    r"(?:.*/)?cmd/(?P<name>[^/]+)\.(?:md|txt)"
)
_CLUSTER_INFO = pattern(rf"(?P<namespace>[^/]+)/(?P<kinds>{_PLURAL}){_EXT}")
_VERSION = pattern(r"(?:(?:.*/)?cluster-info/cluster_version\.json|version\.json|(?:.*/)?k8s-version(?:-[0-9-]+)?\.txt)")
_BUGTOOL = {word: file.name for file in node_files.NODE_FILES for word in file.bugtool}
_DEFAULT_BACK_END = ("iptables-save--c", "ip6tables-save--c")
_LOOKS_LIKE_OBJECTS = pattern(rb"(?:^|[\s{,\"'])(?:kind|apiVersion|items)[\"']?\s*:|^\s*\[(?!\s*\{)")


_PRECEDENCE = (
    Bundle.TIMELINE,
    Bundle.TROUBLESHOOT,
    Bundle.MUST_GATHER,
    Bundle.CILIUM,
    Bundle.CLUSTER_INFO,
    Bundle.HOPLINE,
    Bundle.ONE_FILE,
)


def looks_like_objects(content: bytes) -> bool:
    """Return whether a file at the top with a name of its own counts as API objects: its beginning says so."""
    return _LOOKS_LIKE_OBJECTS.search(to_utf8(content[:4096])) is not None


def recognise(files: Mapping[str, bytes]) -> Layout:
    """Return what each of *files* is. Reads the beginnings of files at the top whose names say nothing."""
    sorter = _Sorter(files)
    for path in sorted(files):
        sorter.sort(path)
    return sorter.layout()


class _Sorter:
    """Puts each path where it belongs."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files
        paths = set(files)
        self._prefix = BASE if is_timeline(paths) else ""
        self._dump = not any(_TOP.fullmatch(p) and p.startswith("services.") for p in paths)
        self._objects: list[tuple[int, ObjectPath]] = []
        self._nodes: dict[str, dict[str, str]] = {}
        self._pods: dict[str, dict[str, str]] = {}
        self._versions: list[str] = []
        self._unknown: list[str] = []
        self._recording: list[str] = []
        self._unplaced: dict[str, str] = {}
        self._stacks: dict[str, dict[str, str]] = {}
        self._seen: set[Bundle] = set()
        self._about: str | None = None

    def layout(self) -> Layout:
        """Return the result. Objects come in the order of trust: the documented files first."""
        return Layout(
            bundle=next((b for b in _PRECEDENCE if b in self._seen), Bundle.ONE_FILE),
            objects=tuple(o for _, o in sorted(self._objects, key=lambda pair: (pair[0], pair[1].path))),
            node_files={node: _with_stand_ins(named) for node, named in self._nodes.items()},
            pod_files={pod: _with_stand_ins(_one_back_end(named)) for pod, named in self._pods.items()},
            about=self._about,
            versions=tuple(self._versions),
            unknown=tuple(self._unknown),
            recording=tuple(self._recording),
            unplaced=self._unplaced,
            pod_stacks={stack: _with_stand_ins(named) for stack, named in self._stacks.items()},
        )

    def sort(self, path: str) -> None:
        if self._prefix and is_recording(path, node_files.BY_NAME):
            self._recording.append(path)
        elif not path.startswith(self._prefix) or not self._known(path, path.removeprefix(self._prefix)):
            self._unknown.append(path)

    def _known(self, path: str, name: str) -> bool:
        if name == "snapshot.json":
            self._about = path
        elif _VERSION.fullmatch(name):
            self._versions.append(path)
        elif match := _NODE_FILE.fullmatch(name):
            return self._node_file(path, match)
        elif (match := _POD_STACK_FILE.fullmatch(name)) and match["name"] in node_files.OF_A_POD:
            self._stacks.setdefault(match["stack"], {})[match["name"]] = path
        elif (match := _UNPLACED.fullmatch(name)) and match["name"] in node_files.BY_NAME:
            self._unplaced[path] = match["name"]
        elif name.startswith(OBJECTS) and name.endswith((".json", ".yaml", ".yml")):
            self._add(path, Bundle.ONE_FILE, None)
        elif match := _TOP.fullmatch(name):
            self._add(path, Bundle.HOPLINE if self._prefix == "" else Bundle.TIMELINE, KINDS[match["kinds"]])
        else:
            return self._of_a_bundle(path, name) or self._looks_like_objects(path, name)
        return True

    def _add(self, path: str, bundle: Bundle, kind: str | None) -> None:
        self._seen.add(bundle)
        # NB: a single pod's file beside the list of all pods may be older: lists count first.
        self._objects.append((0 if kind else 1, ObjectPath(path=path, kind=kind)))

    def _node_file(self, path: str, match: re.Match[str]) -> bool:
        if match["name"] not in node_files.BY_NAME:
            return False
        self._seen.add(Bundle.HOPLINE)
        self._nodes.setdefault(match["node"], {})[match["name"]] = path
        return True

    def _of_a_bundle(self, path: str, name: str) -> bool:
        if match := _TROUBLESHOOT.fullmatch(name):
            self._add(path, Bundle.TROUBLESHOOT, _kind_of(match["kinds"]))
        elif match := _MUST_GATHER.fullmatch(name):
            self._add(path, Bundle.MUST_GATHER, _kind_of(match["kinds"] or match["cluster"]))
        elif _MUST_GATHER_ONE.fullmatch(name):
            self._add(path, Bundle.MUST_GATHER, None)
        elif match := _CILIUM.fullmatch(name):
            self._add(path, Bundle.CILIUM, _kind_of(match["kinds"]))
        elif match := _CILIUM_NODE.fullmatch(name):
            return self._bugtool(path, match)
        elif self._dump and (match := _CLUSTER_INFO.fullmatch(name)):
            self._add(path, Bundle.CLUSTER_INFO, _kind_of(match["kinds"]))
        else:
            return False
        return True

    def _bugtool(self, path: str, match: re.Match[str]) -> bool:
        documented = _BUGTOOL.get(match["name"])
        if documented is None:
            return False
        self._seen.add(Bundle.CILIUM)
        self._pods.setdefault(match["pod"], {}).setdefault(documented, path)
        return True

    def _looks_like_objects(self, path: str, name: str) -> bool:
        if not _ANY_TOP.fullmatch(name) or not looks_like_objects(self._files[path]):
            return False
        self._add(path, Bundle.ONE_FILE, None)
        return True


def _with_stand_ins(named: Mapping[str, str]) -> Mapping[str, str]:
    """Return a node's files, with those that say the same as one that is missing in its place."""
    found = dict(named)
    for name, files in node_files.STAND_INS.items():
        taken = next((file for file in files if file.name in named), None)
        if taken is not None and name not in named:
            found[name] = named[taken.name]
            if not taken.is_read_itself:
                del found[taken.name]
    return found


def _one_back_end(named: Mapping[str, str]) -> Mapping[str, str]:
    """Return an agent's files without a dump of the default back end where that is the legacy one, which is there under its own name.

    Bugtool runs ``iptables-save``, ``iptables-nft-save`` and ``iptables-legacy-save``; without the second, the first is the third.
    """
    twice = {
        name
        for name, path in named.items()
        if path.rpartition("/")[2].rpartition(".")[0] in _DEFAULT_BACK_END and name.replace("tables-", "tables-legacy-") in named
    }
    return {name: path for name, path in named.items() if name not in twice}


def _kind_of(word: str) -> str:
    return _BUNDLE_WORDS[word] if word in _BUNDLE_WORDS else KINDS[word]

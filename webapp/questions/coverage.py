"""What a stored snapshot holds, as its pages show it: the summary's values in the order and the words of a table."""

from __future__ import annotations

from typing import Any

from tracer.kube.kinds import BY_NAME
from tracer.snapshot.arranging import Unplaced
from tracer.snapshot.node_files import NODE_FILES, Listed
from tracer.snapshot.told import Said, is_sketch, renamed, said_of, to_place, untraceable
from tracer.values import dataclass
from webapp.models import Snapshot
from webapp.questions.examples import ExampleLink, example_links, is_quick, trace_url
from webapp.storing import demonstrations

MODELLED_MODES = frozenset({"iptables", "nftables", "ipvs", "userspace"})
"""The kube-proxy modes whose rules the engine evaluates."""
_FIRST = tuple(file.name for file in NODE_FILES if file.listed is not Listed.BY_NAME)
_USUAL = frozenset(file.name for file in NODE_FILES if file.listed is Listed.ALWAYS)
_MOST_NODES_ACROSS = 8
_MOST_PLACED, _MOST_LISTED = 200, 60


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRow:
    """One kind of node file, and for each node in the table's order whether it is there."""

    name: str
    present: tuple[bool, ...]

    @property
    def count(self) -> int:
        """Return how many nodes have it."""
        return sum(self.present)


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """One snapshot's summary, ready for a template. *owner* is who looks at it."""

    row: Snapshot
    owner: str = ""

    @property
    def summary(self) -> dict[str, Any]:
        """Return the summary that was stored with the snapshot."""
        summary: dict[str, Any] = self.row.summary
        return summary

    @property
    def may_delete(self) -> bool:
        """Return whether the viewer may delete the snapshot."""
        return self.row.is_deletable_by(self.owner)

    @property
    def trace_url(self) -> str:
        """Return the address of the trace form for this snapshot, or "" while there is none."""
        return trace_url(self.row)

    @property
    def steps(self) -> tuple[dict[str, Any], ...]:
        """Return a timeline's steps (step, title, at), none for an ordinary snapshot."""
        return tuple((self.summary.get("timeline") or {}).get("steps", ()))

    @property
    def sentence(self) -> str:
        """Return what a demonstration cluster is for."""
        return demonstrations.SENTENCES.get(self.row.id, "") if self.row.is_demo else ""

    # --- objects and nodes -----------------------------------------------------------------------------------------------

    @property
    def objects(self) -> tuple[tuple[str, str], ...]:
        """Return each kind of object with its count in digits, the usual kinds first."""
        counts: dict[str, int] = self.summary.get("objects", {})
        known = [kind for kind in BY_NAME if kind in counts]
        return tuple((kind, f"{counts[kind]:,}") for kind in (*known, *sorted(set(counts) - set(known))))

    @property
    def services_text(self) -> str:
        """Return how many Services there are."""
        return f"{self.summary.get('objects', {}).get('Service', 0):,}"

    @property
    def pods_text(self) -> str:
        """Return how many Pods there are."""
        return f"{self.summary.get('objects', {}).get('Pod', 0):,}"

    @property
    def nodes(self) -> tuple[dict[str, Any], ...]:
        """Return the nodes of the summary: name, has_object, files, kube_proxy (mode and source, or None)."""
        return tuple(self.summary.get("nodes", ()))

    @property
    def files(self) -> tuple[FileRow, ...]:
        """Return the table of node files: those that some node has, and those that are usual and missing everywhere."""
        held = [set(node["files"]) for node in self.nodes]
        names = set().union(*held, _USUAL) if held else set()
        ordered = [name for name in _FIRST if name in names]
        ordered += sorted(names - set(ordered))
        return tuple(FileRow(name=name, present=tuple(name in files for files in held)) for name in ordered)

    @property
    def is_wide(self) -> bool:
        """Return whether there are too many nodes for one column each."""
        return len(self.nodes) > _MOST_NODES_ACROSS

    # --- modes -----------------------------------------------------------------------------------------------------------

    @property
    def modes(self) -> tuple[str, ...]:
        """Return the kube-proxy modes of its nodes."""
        return tuple(self.summary.get("modes", ()))

    @property
    def modes_text(self) -> str:
        """Return the modes in words."""
        return ", ".join(self.modes) or "mode not known"

    @property
    def is_modelled(self) -> bool:
        """Return whether every known mode is one that the engine evaluates."""
        return set(self.modes) <= MODELLED_MODES

    @property
    def parent(self) -> dict[str, str] | None:
        """Return the snapshot that this one completes (id and name), None for one that stands alone."""
        return self.summary.get("parent")

    @property
    def is_untraceable(self) -> bool:
        """Return whether nothing can be traced with its objects: they are manifests, or their addresses were masked."""
        return bool(untraceable(self.summary))

    @property
    def is_sketch(self) -> bool:
        """Return whether nothing of it was recorded: all of it was made of manifests."""
        return is_sketch(self.summary)

    @property
    def said(self) -> Said:
        """Return what is there, what is not, what that limits, and the command that would add most."""
        return said_of(self.summary)

    @property
    def unplaced(self) -> tuple[dict[str, str], ...]:
        """Return the files that are kept and have no node: path, kept_as, what, belongs; the first that a form has room for."""
        rows = [one for one in self.summary.get("unplaced", ()) if "file" in one]
        return tuple(one | {"kept_as": Unplaced(**one).kept_as, "belongs": to_place(one["belongs"])} for one in rows[:_MOST_PLACED])

    @property
    def has_many_nodes(self) -> bool:
        """Return whether there are too many nodes for a list to choose from, or none: then one is typed."""
        return not 0 < len(self.nodes) <= _MOST_LISTED

    # --- what is wrong or missing ----------------------------------------------------------------------------------------

    @property
    def missing(self) -> tuple[dict[str, Any], ...]:
        """Return the gaps, the ones that limit most first: what, nodes, limits, sentence."""
        return tuple(self.summary.get("missing", ()))

    @property
    def faults(self) -> tuple[dict[str, Any], ...]:
        """Return the faulty files: file, origin, count, and the first faults with line, message and the text with a caret."""
        return tuple(entry | {"origin": self.origins.get(entry["file"], "")} for entry in self.summary.get("faults", ()))

    @property
    def origins(self) -> dict[str, str]:
        """Return documented path → what the file was called when it was handed in, of those that were called otherwise."""
        origins: dict[str, str] = self.summary.get("from", {})
        return origins

    @property
    def renamed(self) -> tuple[tuple[str, str], ...]:
        """Return the nodes' files that were called otherwise: the documented path, and what it was called."""
        return tuple(renamed(self.summary))

    @property
    def fault_count(self) -> int:
        """Return how many faults there are in all files."""
        return sum(entry["count"] for entry in self.faults)

    @property
    def unknown_files(self) -> tuple[str, ...]:
        """Return the files that no layout knows; they are not stored."""
        return tuple(self.summary.get("unknown_files", ()))

    @property
    def removed(self) -> tuple[str, ...]:
        """Return what was left out before storage: a sentence or two for each file."""
        return tuple(self.summary.get("removed", ()))

    # --- traces to try ---------------------------------------------------------------------------------------------------

    @property
    def examples_wait(self) -> bool:
        """Return whether finding the examples takes longer than a page should wait."""
        return not is_quick(self.row)

    @property
    def examples(self) -> tuple[ExampleLink, ...]:
        """Return the traces to try."""
        return example_links(self.row)

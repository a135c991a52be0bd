"""What a stored snapshot's summary says to whoever added it: what was found, what was not, what that limits, and the one next command.

The only place of these sentences: the snapshot's page, ``manage.py import_snapshot`` and JSON all say what stands here. What cannot be used
(files that cannot be read, files without a place, manifests) is counted nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tracer.snapshot.node_files import BY_NAME, IPTABLES, NFT_JSON, VIRTUAL_SERVERS, WAYS, Holds, NodeFile

_COUNTED = ("Service", "EndpointSlice", "Pod", "Node")
_NEEDED = ("EndpointSlice", "Pod", "Node")
_RULES = (Holds.XTABLES, Holds.NFT)
_READABLE = "readable "
_MOST_LIMITS = 3
_MOST_FAULTY = 3
MANIFESTS = "manifests"
"""The summary's form of files that say what somebody wants, not what a cluster has."""
_LOOP = """\
for pod in $(kubectl get pods -n kube-system -l k8s-app=kube-proxy -o name); do
  node=$(kubectl get -n kube-system "$pod" -o jsonpath='{{.spec.nodeName}}'); mkdir -p "nodes/$node"
  kubectl exec -n kube-system "$pod" -- {argv} > "nodes/$node/{file}"
done"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """The one thing that would add most: *why*, in one sentence, the *command*, and what to do with what it prints."""

    why: str
    command: str
    then: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What there is to say of a snapshot. *limits* has the gaps that limit most; *more* is how many others there are.

    *faulty* says what could not be read of files of which the rest is used.
    *unplaced* are files that are not used as nobody knows whose they are; *unused* says what was not read, and what was assumed.
    """

    found: str
    limits: tuple[str, ...]
    more: int
    unplaced: tuple[str, ...]
    faulty: tuple[str, ...]
    unused: tuple[str, ...]
    advice: Advice | None

    def lines(self) -> tuple[str, ...]:
        """Return all of it as lines of text, the command first."""
        lines = [self.found]
        if self.advice:
            lines += [f"What would add most: {self.advice.why}", *(f"  {line}" for line in self.advice.command.splitlines())]
            lines.append(self.advice.then)
        lines += self.limits
        if self.more:
            lines.append(f"... and {self.more} more that limit less; the snapshot's page lists them.")
        return (*lines, *self.faulty, *self.unplaced, *self.unused)


def said_of(summary: Mapping[str, Any]) -> Said:
    """Return what there is to say of a snapshot with that summary (docs/snapshot-format.md)."""
    gaps = summary.get("missing", ())
    is_manifests = summary.get("form") == MANIFESTS
    return Said(
        found=_manifests(summary) if is_manifests else _found(summary),
        limits=tuple(gap["sentence"] for gap in gaps[:_MOST_LIMITS]),
        more=max(0, len(gaps) - _MOST_LIMITS),
        unplaced=tuple(_unplaced(summary)),
        faulty=tuple(_faulty(summary)),
        unused=(*_besides(summary), *_assumed(summary), *_left_out(summary)),
        advice=_recorded_objects() if is_manifests else _advice(summary),
    )


def counted(counts: Mapping[str, int]) -> str:
    """Return how many objects of each kind there are, in words, the kinds that every trace needs first."""
    kinds = sorted(counts, key=lambda kind: (_COUNTED.index(kind) if kind in _COUNTED else len(_COUNTED), kind))
    return ", ".join(f"{counts[kind]:,} {_plural(kind) if counts[kind] != 1 else kind}" for kind in kinds)


def _plural(kind: str) -> str:
    return f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}es" if kind.endswith("s") else f"{kind}s"


def _recorded(summary: Mapping[str, Any]) -> dict[str, int]:
    """How many objects of each kind were recorded: manifests beside them are of no use to a trace."""
    manifests = summary.get("manifests", {}) if summary.get("form") != MANIFESTS else {}
    return {kind: count - manifests.get(kind, 0) for kind, count in summary.get("objects", {}).items()}


def _besides(summary: Mapping[str, Any]) -> list[str]:
    manifests = {kind: count for kind, count in summary.get("manifests", {}).items() if count}
    if not manifests or summary.get("form") == MANIFESTS:
        return []
    return [f"Not counted: manifests, which hold no addresses: {counted(manifests)}."]


def _faulty(summary: Mapping[str, Any]) -> list[str]:
    """The faults of files of which the rest is used; those of nodes' files are among the gaps."""
    files = [file for file in summary.get("faults", ()) if not file["file"].startswith("nodes/")]
    said = [_first_fault(file) for file in files[:_MOST_FAULTY]]
    return said if len(files) <= _MOST_FAULTY else [*said, f"Cannot be read: parts of {len(files) - _MOST_FAULTY} more files."]


def _first_fault(file: Mapping[str, Any]) -> str:
    first = file["faults"][0]
    line = f", line {first['line']}" if first.get("line") else ""
    more = f" ({file['count']} such parts in all)" if file["count"] > 1 else ""
    return f"Cannot be read: {file['file']}{line}: {first['message'].rstrip('.')}{more}. The rest of it is used."


def _found(summary: Mapping[str, Any]) -> str:
    counts = _recorded(summary)
    objects = counted({kind: counts[kind] for kind in _COUNTED if counts.get(kind)})
    nodes = summary.get("nodes", ())
    bare = _without_rules(summary)
    if not nodes:
        return f"Found {objects or 'no objects'}; no node's rules."
    modes = ", ".join(summary.get("modes", ()))
    ruled = len(nodes) - len(bare)
    rules = f"rules of {ruled} of {len(nodes)} nodes" if ruled else "no node's rules"
    return f"Found {objects or 'no objects'}; {rules}{f' (kube-proxy: {modes})' if modes else ''}."


def _manifests(summary: Mapping[str, Any]) -> str:
    counts = summary.get("objects", {})
    objects = counted({kind: counts[kind] for kind in _COUNTED if counts.get(kind)})
    return f"These are manifests ({objects}): what somebody wants, not what a cluster has. They hold no addresses and no state to trace."


def _unplaced(summary: Mapping[str, Any]) -> list[str]:
    rows = summary.get("unplaced", ())
    return [f"Not used: {one['path']} is {one['what']}; it belongs {to_place(one['belongs'])}." for one in rows]


def to_place(belongs: str) -> str:
    """Return where a file *belongs*, behind that word."""
    return belongs if belongs.startswith("nowhere") else f"to {belongs}"


def _assumed(summary: Mapping[str, Any]) -> list[str]:
    return [f"Assumed: {said}." for said in summary.get("assumed", ())]


def _left_out(summary: Mapping[str, Any]) -> list[str]:
    return [f"Not read: {one['path']}: {str(one['why']).rstrip('.')}." for one in summary.get("left_out", ())]


def _advice(summary: Mapping[str, Any]) -> Advice | None:
    counts = _recorded(summary)
    lacking = [kind for kind in _NEEDED if not counts.get(kind) and not (kind == "EndpointSlice" and counts.get("Endpoints"))]
    if lacking:
        return Advice(
            why=f"there are no {_listed([_plural(kind) for kind in lacking], last='or')}.",
            command="\n".join(f"kubectl get {kind.lower()}s -A -o json > {kind.lower()}s.json" for kind in lacking),
            then="Add what they write.",
        )
    if bare := _without_rules(summary):
        file = NFT_JSON if summary.get("modes") == [NFT_JSON.mode] else IPTABLES
        return _looped(file, f"there are no usable rules of {_listed(bare)}.")
    in_mode = [n["name"] for n in summary.get("nodes", ()) if (n.get("kube_proxy") or {}).get("mode") == VIRTUAL_SERVERS.mode]
    if without := [node for node in in_mode if node in _gapped(summary, (VIRTUAL_SERVERS.name,))]:
        return _looped(VIRTUAL_SERVERS, f"kube-proxy runs in IPVS mode, and there are no virtual servers of {_listed(without)}.")
    ways = [file.name for file in WAYS]
    if without := sorted(_gapped(summary, ways) | _gapped(summary, [f"routing ({', '.join(ways)})"])):
        return Advice(
            why=f"there are no complete addresses and routes of {_listed(without)}.",
            command="sh collect.sh",
            then="Upload the archive that it writes.",
        )
    return None


def _looped(file: NodeFile, why: str) -> Advice:
    """Advice to read *file* from kube-proxy's own pods; the page of collecting has the other ways."""
    return Advice(
        why=why,
        command=_LOOP.format(argv=" ".join(file.argv), file=file.name),
        then="Add the folder nodes. Where kube-proxy has no pods (k3s, Cilium), or no shell of its own: sh collect.sh.",
    )


def _recorded_objects() -> Advice:
    return Advice(
        why="the objects as the cluster has them.",
        command="kubectl get services,endpointslices,nodes,pods -A -o json > cluster.json",
        then="Upload cluster.json.",
    )


def _without_rules(summary: Mapping[str, Any]) -> list[str]:
    """The nodes of which no rules can be used: none are there, or those that are cannot be read."""
    names = {name for name, file in BY_NAME.items() if file.holds in _RULES}
    unread = _gapped(summary, [f"{_READABLE}{name}" for name in names])
    return [n["name"] for n in summary.get("nodes", ()) if not names & set(n["files"]) or n["name"] in unread]


def _gapped(summary: Mapping[str, Any], whats: Sequence[str]) -> set[str]:
    return {node for gap in summary.get("missing", ()) if gap["what"] in whats for node in gap["nodes"]}


def _listed(names: Sequence[str], most: int = 4, *, last: str = "and") -> str:
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return f" {last} ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)

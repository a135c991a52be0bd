"""What a stored snapshot's summary says to whoever added it: what was found, what was not, what that limits, and the one next command.

The only place of these sentences: the snapshot's page, ``manage.py import_snapshot`` and JSON all say what stands here. What cannot be used
(files that cannot be read, files without a place, manifests) is counted nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tracer.limits import SKETCH_BYTES
from tracer.snapshot.missing import READABLE, WHOLE
from tracer.snapshot.node_files import BY_NAME, IPTABLES, NFT_JSON, VIRTUAL_SERVERS, WAYS, Holds, NodeFile
from tracer.values import dataclass

_COUNTED = ("Service", "EndpointSlice", "Pod", "Node")
_NEEDED = ("EndpointSlice", "Pod", "Node")
_RULES = (Holds.XTABLES, Holds.NFT)
_MOST_LIMITS, _MOST_FILES, _MOST_FAULTY = 3, 5, 3
MANIFESTS = "manifests"
"""The summary's form of files that say what somebody wants, not what a cluster has."""
PROXY_LABEL = ("k8s-app", "kube-proxy")
SCRIPT = "sh collect.sh"
_STACKS = f"{SCRIPT} --readings auto --allow-debug --pod-stacks"
_LOOP = """\
for pod in $(kubectl get pods -n kube-system -l {label} -o name); do
  node=$(kubectl get -n kube-system "$pod" -o jsonpath='{{.spec.nodeName}}'); mkdir -p "nodes/$node"
  kubectl exec -n kube-system "$pod" -- {argv} > "nodes/$node/{file}"
done"""


def stack_command(namespace: str, name: str) -> str:
    """Return the command that collects the cluster with the pod's own stack: in its containers, else in a pod made on its node."""
    return f"{_STACKS} pod:{namespace}/{name}"


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
    *unplaced* are files that are not used as nobody knows whose they are; *unused* says what was not read, and what was assumed;
    *rest* what a page shows in other places: files of other names, what was not stored.
    """

    found: str
    limits: tuple[str, ...]
    more: int
    unplaced: tuple[str, ...]
    faulty: tuple[str, ...]
    unused: tuple[str, ...]
    rest: tuple[str, ...]
    advice: Advice | None

    def lines(self) -> tuple[str, ...]:
        """Return all of it as lines of text: what was found, what nobody knows the place of, and the command first."""
        lines = [self.found, *self.unplaced]
        if self.advice:
            lines += [f"What would add most: {self.advice.why}", *(f"  {line}" for line in self.advice.command.splitlines())]
            lines.append(self.advice.then)
        lines += self.limits
        if self.more:
            lines.append(f"... and {self.more} more that limit less; the snapshot's page lists them.")
        return (*lines, *self.faulty, *self.unused, *self.rest)


def said_of(summary: Mapping[str, Any]) -> Said:
    """Return what there is to say of a snapshot with that summary (docs/snapshot-format.md)."""
    if is_sketch(summary):
        return _of_sketch(summary)
    gaps = summary.get("missing", ())
    useless = untraceable(summary)
    if useless:
        gaps = ()  # they would say what else is missing, as if something could be used
    return Said(
        found=useless or _found(summary),
        limits=tuple(gap["sentence"] for gap in gaps[:_MOST_LIMITS]),
        more=max(0, len(gaps) - _MOST_LIMITS),
        unplaced=tuple(_unplaced(summary)),
        faulty=() if summary.get("masked") else tuple(_faulty(summary)),
        unused=(*_besides(summary), *_not_usable(summary), *_assumed(summary), *_left_out(summary)),
        rest=(*_renamed(summary), *_not_stored(summary)),
        advice=_recorded_objects(summary) if useless else _advice(summary),
    )


def is_sketch(summary: Mapping[str, Any]) -> bool:
    """Return whether nothing of the snapshot was recorded: all of it was made of manifests."""
    return bool(summary.get("sketched"))


def _of_sketch(summary: Mapping[str, Any]) -> Said:
    """What there is to say of a sketch: nothing is missing of it, as nothing was recorded."""
    counts = summary.get("objects", {})
    objects = counted({kind: counts[kind] for kind in _COUNTED if counts.get(kind)})
    return Said(
        found=f"A sketch: what a cluster would make of these manifests. Nothing of it was recorded ({objects}).",
        limits=(),
        more=0,
        unplaced=(),
        faulty=(),
        unused=(*map(str, summary["sketched"]), *_left_out(summary)),
        rest=(),
        advice=None,
    )


def untraceable(summary: Mapping[str, Any]) -> str:
    """Return why nothing can be traced with these objects at all, "" where it can."""
    return _masked(summary) if summary.get("masked") else _manifests(summary) if summary.get("form") == MANIFESTS else ""


def said_of_files(summary: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what is said of the files of a snapshot that is read and not stored: what is not used, and which are called otherwise."""
    manifests = (_manifests(summary),) if summary.get("form") == MANIFESTS else ()
    unused = (*_not_usable(summary), *_unplaced(summary), *_assumed(summary), *_left_out(summary))
    return (*manifests, *unused, *_renamed(summary), *_not_stored(summary))


def said_of_faults(summary: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what is said of the files whose faults an answer met, which is given with that part of them that can be read."""
    return tuple(_faulty(summary))


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
    """The faults of objects and of rules of which the rest is used; files of which nothing is are among the gaps and the wrong forms."""
    of_form = {(one["path"], one["why"]) for one in summary.get("forms", ())}
    faulty = [file for file in summary.get("faults", ()) if (file["file"], file["faults"][0]["message"]) not in of_form]
    files = [file for file in faulty if not file["file"].startswith("nodes/") or _is_part_of_rules(summary, file)]
    came_from = summary.get("from", {})
    said = [_first_fault(file, came_from.get(file["file"], "")) for file in files[:_MOST_FAULTY]]
    return said if len(files) <= _MOST_FAULTY else [*said, f"Cannot be read: parts of {len(files) - _MOST_FAULTY} more files."]


def _is_part_of_rules(summary: Mapping[str, Any], file: Mapping[str, Any]) -> bool:
    node, _, name = file["file"].removeprefix("nodes/").rpartition("/")
    holds_rules = name in BY_NAME and BY_NAME[name].holds in _RULES
    return holds_rules and bool(file["faults"][0].get("line")) and node not in _gapped(summary, (f"{READABLE}{name}",))


def _first_fault(file: Mapping[str, Any], origin: str) -> str:
    first = file["faults"][0]
    line = f", line {first['line']}" if first.get("line") else ""
    more = f" ({file['count']} such parts in all)" if file["count"] > 1 else ""
    called = f"{file['file']} ({origin})" if origin else file["file"]
    rest = "" if first["message"].endswith("the file is empty") else " The rest of it is used."
    return f"Cannot be read: {called}{line}: {first['message'].rstrip('.')}{more}.{rest}"


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


def _masked(summary: Mapping[str, Any]) -> str:
    return f"The addresses in {_listed(summary['masked'])} were masked before it came here. Nothing can be traced with such objects."


def _manifests(summary: Mapping[str, Any]) -> str:
    counts = summary.get("objects", {})
    objects = counted({kind: counts[kind] for kind in _COUNTED if counts.get(kind)})
    which = f" ({objects})" if objects else ""
    most = f"Uploaded by themselves, and with up to {SKETCH_BYTES:,} bytes, they are drawn out as a sketch of a cluster."
    return f"These are manifests{which}: what somebody wants, not what a cluster has. They hold no addresses and no state to trace. {most}"


def _unplaced(summary: Mapping[str, Any]) -> list[str]:
    rows = summary.get("unplaced", ())
    return [f"Not used: {one['path']} is {one['what']}; it belongs {to_place(one['belongs'])}." for one in rows]


def to_place(belongs: str) -> str:
    """Return where a file *belongs*, behind that word."""
    return belongs if belongs.startswith("nowhere") else f"to {belongs}"


def _assumed(summary: Mapping[str, Any]) -> list[str]:
    return [f"Assumed: {said}." for said in summary.get("assumed", ())]


def _left_out(summary: Mapping[str, Any]) -> list[str]:
    return _by_reason("Not read", summary.get("left_out", ()))


def _not_usable(summary: Mapping[str, Any]) -> list[str]:
    masked = summary.get("masked", ())
    return _by_reason("Not usable", [one for one in summary.get("forms", ()) if one["path"] not in masked])


def _by_reason(word: str, files: Sequence[Mapping[str, str]]) -> list[str]:
    """One line for each reason, with the first file of which it is true: of links a bundle has hundreds."""
    by_reason: dict[str, list[str]] = {}
    for one in files:
        by_reason.setdefault(str(one["why"]).rstrip("."), []).append(one["path"])
    return [f"{word}: {paths[0]}{_and_more(len(paths) - 1)}: {why}." for why, paths in by_reason.items()]


def renamed(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the nodes' files that were called otherwise: documented path, and name. Of objects nobody has to ask where they lie."""
    return [(name, path) for name, path in summary.get("from", {}).items() if name.startswith("nodes/") and not path.endswith(name)]


def _renamed(summary: Mapping[str, Any]) -> list[str]:
    of_nodes = renamed(summary)
    lines = [f"Taken for {name}: {path}." for name, path in of_nodes[:_MOST_FILES]]
    return [*lines, *([f"... and {len(of_nodes) - _MOST_FILES:,} more files of other names."] if len(of_nodes) > _MOST_FILES else ())]


def _not_stored(summary: Mapping[str, Any]) -> list[str]:
    unknown = summary.get("unknown_files", ())
    first = ", ".join(unknown[:_MOST_FILES])
    lines = [f"Not used, as nothing tells what they are: {first}{_and_more(len(unknown) - _MOST_FILES)}."] if unknown else []
    if removed := summary.get("removed", ()):
        lines.append(f"Left out before storage, as no trace needs it: {removed[0].rstrip('.')}{_and_more(len(removed) - 1)}.")
    return lines


def _and_more(count: int, what: str = "") -> str:
    return f", and {count:,} more {what}".rstrip() if count > 0 else ""


def _advice(summary: Mapping[str, Any]) -> Advice | None:
    counts = _recorded(summary)
    lacking = [kind for kind in _NEEDED if not counts.get(kind) and not (kind == "EndpointSlice" and counts.get("Endpoints"))]
    if lacking:
        plurals = [f"{kind.lower()}s" for kind in lacking]
        why = f"there are no {_listed([_plural(kind) for kind in lacking], last='or')}"
        if bare := _without_rules(summary):
            return _collected(f"{why}, and no usable rules of {_listed(bare)}.")
        return Advice(
            why=f"{why}.",
            command=f"kubectl get {','.join(plurals)} -A -o json > {plurals[0] if len(plurals) == 1 else 'more'}.json",
            then=f"Add {plurals[0] if len(plurals) == 1 else 'more'}.json.",
        )
    if bare := _without_rules(summary):
        file = NFT_JSON if summary.get("modes") == [NFT_JSON.mode] else IPTABLES
        return _looped(summary, file, f"there are no usable rules of {_listed(bare)}.")
    in_mode = [n["name"] for n in summary.get("nodes", ()) if (n.get("kube_proxy") or {}).get("mode") == VIRTUAL_SERVERS.mode]
    if without := [node for node in in_mode if node in _gapped(summary, (VIRTUAL_SERVERS.name,))]:
        return _looped(summary, VIRTUAL_SERVERS, f"kube-proxy runs in IPVS mode, and there are no virtual servers of {_listed(without)}.")
    ways = [file.name for file in WAYS]
    if without := sorted(_gapped(summary, ways) | _gapped(summary, [f"routing ({', '.join(ways)})"])):
        return _collected(f"there are no complete addresses and routes of {_listed(without)}.")
    return None


def _collected(why: str) -> Advice:
    """Advice to take everything by the script."""
    return Advice(why=why, command=SCRIPT, then="It finds a way to each node. Add the archive that it writes.")


def _looped(summary: Mapping[str, Any], file: NodeFile, why: str) -> Advice:
    """Advice to read *file* from kube-proxy's own pods, where it has some or nobody knows; else the ways of the script."""
    if summary.get("has_proxy_pods") is False:
        return _collected(why)
    return Advice(
        why=why,
        command=_LOOP.format(label="=".join(PROXY_LABEL), argv=" ".join(file.argv), file=file.name),
        then="Add the folder nodes. Where kube-proxy has no pods (k3s, Cilium), or no shell of its own: sh collect.sh.",
    )


def _recorded_objects(summary: Mapping[str, Any]) -> Advice:
    masked = " Where names and addresses must not leave the house, manage.py redact replaces them, and traces stay the same."
    return Advice(
        why="the objects as the cluster has them.",
        command="kubectl get services,endpointslices,nodes,pods -A -o json > cluster.json",
        then=f"Upload cluster.json.{masked if summary.get('masked') else ''}",
    )


def _without_rules(summary: Mapping[str, Any]) -> list[str]:
    """The nodes of which no rules can be used: none are there, or those that are cannot be read."""
    return [n["name"] for n in summary.get("nodes", ()) if not any(_are_usable(summary, n, holds) for holds in _RULES)]


def _are_usable(summary: Mapping[str, Any], node: Mapping[str, Any], holds: Holds) -> bool:
    """Whether the node has rules in that form, and each of its files of them can be read to its end: the others hold one family's."""
    names = {name for name, file in BY_NAME.items() if file.holds is holds} & set(node["files"])
    return bool(names) and node["name"] not in _gapped(summary, [f"{gap}{name}" for name in names for gap in (READABLE, WHOLE)])


def _gapped(summary: Mapping[str, Any], whats: Sequence[str]) -> set[str]:
    return {node for gap in summary.get("missing", ()) if gap["what"] in whats for node in gap["nodes"]}


def _listed(names: Sequence[str], most: int = 4, *, last: str = "and") -> str:
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return f" {last} ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)

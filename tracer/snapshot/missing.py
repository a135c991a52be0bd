"""What a snapshot lacks, and what that keeps a trace from knowing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tracer.errors import ParseError
from tracer.kube.kinds import KINDS
from tracer.netfilter.iptables_save import parse_dump
from tracer.netfilter.recorded_tables import unrecorded_tables
from tracer.packet import Family
from tracer.snapshot.node_files import (
    BY_NAME,
    DUMPS,
    IPTABLES,
    NFT_JSON,
    NFT_LISTINGS,
    NODE_FILES,
    VIRTUAL_SERVERS,
    WAYS,
    NodeFile,
    names,
)
from tracer.snapshot.proxy_mode import ProxyMode
from tracer.snapshot.snapshot import Snapshot
from tracer.snapshot.taken_at import read_errors
from tracer.snapshot.unreadable import unread_files
from tracer.values import dataclass

READABLE, WHOLE = "readable ", "whole "
"""How a gap begins (Missing.what) whose file is there: nothing of it can be read, or it is cut off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """One gap: *what* is missing, on which *nodes* (none: cluster-wide), and the sentence that says what it limits."""

    what: str
    limits: str
    nodes: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """Return the gap and its consequence as one sentence."""
        where = f" of {_listed(self.nodes)}" if self.nodes else ""
        return f"No {self.what}{where}: {self.limits}."

    def to_dict(self) -> dict[str, object]:
        """Return the gap as the summary stores it."""
        return {"what": self.what, "nodes": list(self.nodes), "limits": self.limits, "sentence": self.sentence}


_OBJECTS = tuple(kind for kind in KINDS if kind.limits)

_FILES = sorted((file for file in NODE_FILES if file.limits and file.mode is None), key=lambda file: not file.ends_walks)
_LEGACY = "the older Endpoints objects are read instead; they know no zones, no hints and no terminating endpoints"
_ROUTING = names(WAYS)
_INFERRED = (
    "routes are inferred from the nodes' addresses, their pod networks and where pods run, and every hop says so; "
    "what cannot be inferred ends in unknown there"
)
_OF_FAMILY = {4: DUMPS[Family.IP], 6: DUMPS[Family.IP6]}
_OF_BOTH = names(NFT_LISTINGS)
_ENDS = "a packet that crosses the node ends in unknown there"
_MODELLED = "kube-proxy's are modelled from the objects there, as far as they tell; what others have there is not known"
_END = 300
"""So many characters at the end of a whole dump hold its last COMMIT and the comment behind it."""
_SAYS_LEGACY = "tables-legacy tables present"
_RULES = (*_OF_BOTH, *names(DUMPS[Family.IP]), *names(DUMPS[Family.IP6]))


def missing_from(snapshot: Snapshot, counts: Mapping[str, int], modes: Mapping[str, ProxyMode | None]) -> tuple[Missing, ...]:
    """Return the gaps of *snapshot*, the ones that limit most first. *counts* are its objects by kind, *modes* its nodes' proxy modes."""
    return (
        *_objects(snapshot, counts),
        *_rules(snapshot, counts, modes),
        *_cut(snapshot),
        *_files(snapshot),
        *_unreadable(snapshot),
        *_unread(snapshot),
    )


def _objects(snapshot: Snapshot, counts: Mapping[str, int]) -> Iterable[Missing]:
    asked = {o.kind for o in snapshot.layout.objects}
    for kind in _OBJECTS:
        if counts.get(kind.name) or kind.name in asked:
            continue
        is_replaced = kind.name == "EndpointSlice" and counts.get("Endpoints")
        yield Missing(what=kind.plural, limits=_LEGACY if is_replaced else kind.limits)


def _rules(snapshot: Snapshot, counts: Mapping[str, int], modes: Mapping[str, ProxyMode | None]) -> Iterable[Missing]:
    bare = _without(snapshot, snapshot.node_names, _RULES)
    if bare:
        is_told = bool(counts.get("Service")) and bool(counts.get("EndpointSlice") or counts.get("Endpoints"))
        yield Missing(what=f"rules ({IPTABLES.name} or {NFT_JSON.name})", nodes=bare, limits=_MODELLED if is_told else _ENDS)
    ruled = tuple(n for n in snapshot.node_names if n not in bare)
    versions = {ip.version for node in snapshot.objects.nodes for ip in node.ips}
    for version, dumps in _OF_FAMILY.items():
        lacking = _without(snapshot, ruled, (*_OF_BOTH, *names(dumps)))
        if lacking and version in versions:
            yield Missing(what=dumps[0].name, nodes=lacking, limits=dumps[0].limits)
    yield from _tables(snapshot, ruled, modes)
    yield from _legacy(snapshot)
    in_mode = tuple(n for n, mode in modes.items() if mode and mode.mode == VIRTUAL_SERVERS.mode)
    if ipvs := _without(snapshot, in_mode, (VIRTUAL_SERVERS.name,)):
        yield Missing(what=VIRTUAL_SERVERS.name, nodes=ipvs, limits=VIRTUAL_SERVERS.limits)


def _tables(snapshot: Snapshot, nodes: Iterable[str], modes: Mapping[str, ProxyMode | None]) -> Iterable[Missing]:
    """Yield the tables that dumps lack which hold only some: nobody knows whether they are empty. A listing of nft's has them all."""
    found: dict[str, list[str]] = {}
    for node in _without(snapshot, nodes, _OF_BOTH):
        texts = {version: _texts(snapshot, node, dumps) for version, dumps in _OF_FAMILY.items()}
        for version, own in texts.items():
            others = [text for of, other in texts.items() if of != version for text in other.values()]
            if what := _lacking(_OF_FAMILY[version][0].name, own, others, modes.get(node)):
                found.setdefault(what, []).append(node)
    for what, where in found.items():
        yield Missing(what=what, nodes=tuple(where), limits="a packet that comes to what was not recorded ends in unknown there")


def _lacking(file: str, own: Mapping[str, str], others: Iterable[str], mode: ProxyMode | None) -> str | None:
    """What the dumps of one family, by path, lack; *others* are the node's of the other family."""
    if own and all(not text or text.isspace() for text in own.values()):
        has_rules = mode is not None and mode.mode in (IPTABLES.mode, VIRTUAL_SERVERS.mode)
        return f"rules in {file}, which is empty," if has_rules else None
    if any("\n*nat" in text and "\n*filter" in text for text in own.values()):
        return None
    dumps = [parse_dump(text, path) for path, text in own.items()]
    absent = unrecorded_tables(dumps, lambda: any(text.count("\n*") > 1 for text in others))
    held = ", ".join(table for dump in dumps for table in dump.tables)
    return f"tables {', '.join(absent)} in {file}, which has only {held}," if absent else None


def _cut(snapshot: Snapshot) -> Iterable[Missing]:
    """Yield the dumps and listings of rules that end inside a table: what would follow is not known."""
    rows = [(dump, _is_cut) for dump in (*DUMPS[Family.IP], *DUMPS[Family.IP6])] + [(listing, _is_cut_listing) for listing in NFT_LISTINGS]
    for file, is_cut in rows:
        nodes = tuple(n for n in snapshot.node_files if any(is_cut(p, text) for p, text in _texts(snapshot, n, (file,)).items()))
        if nodes:
            yield Missing(
                what=f"{WHOLE}{file.name}", nodes=nodes, limits="it is cut off, and a packet that comes to the rest ends in unknown there"
            )


def _is_cut(path: str, text: str) -> bool:
    # NB: a whole dump ends in COMMIT, and only others are worth the parsing.
    return bool(text.strip()) and "COMMIT" not in text[-_END:] and parse_dump(text, path).truncated


def _is_cut_listing(path: str, text: str) -> bool:
    # NB: what opens is closed in a whole listing, whichever its form; only others are worth the parsing.
    if text.count("{") <= text.count("}"):
        return False
    from tracer.netfilter.nft_rules import NftRules

    return NftRules.from_listing(text, path).ruleset.incomplete is not None


def _legacy(snapshot: Snapshot) -> Iterable[Missing]:
    """Yield the tables of iptables-legacy of which a dump speaks and which nobody recorded."""
    for dump, legacy in _OF_FAMILY.values():
        nodes = _without(snapshot, snapshot.node_names, (legacy.name,))
        told = tuple(n for n in nodes if any(_SAYS_LEGACY in text for text in _texts(snapshot, n, (dump,)).values()))
        if told:
            yield Missing(
                what=legacy.name, nodes=told, limits=f"{dump.name} says that there are tables of iptables-legacy; they are taken for empty"
            )


def _texts(snapshot: Snapshot, node: str, dumps: Iterable[NodeFile]) -> dict[str, str]:
    """The node's dumps by path; none where one cannot be read."""
    held = [dump.name for dump in dumps if snapshot.has_node_file(node, dump.name)]
    try:
        return {snapshot.path_of(node, name): snapshot.node_file(node, name) or "" for name in held}
    except ParseError:
        return {}


def _without(snapshot: Snapshot, nodes: Iterable[str], files: Iterable[str]) -> tuple[str, ...]:
    """Return those of *nodes* that have none of the *files*."""
    wanted = tuple(files)
    return tuple(node for node in nodes if not any(snapshot.has_node_file(node, n) for n in wanted))


def _files(snapshot: Snapshot) -> Iterable[Missing]:
    nodes = tuple(n for n in snapshot.node_names if n in snapshot.node_files)
    inferred = tuple(n for n in _without(snapshot, nodes, _ROUTING) if (node := snapshot.objects.node(n)) and node.internal_ips)
    if inferred:
        yield Missing(what=f"routing ({', '.join(_ROUTING)})", nodes=inferred, limits=_INFERRED)
    for file in _FILES:
        lacking = tuple(n for n in _without(snapshot, nodes, (file.name,)) if file not in WAYS or n not in inferred)
        if lacking:
            yield Missing(what=file.name, nodes=lacking, limits=file.limits)


def _unreadable(snapshot: Snapshot) -> Iterable[Missing]:
    """Yield the files that are there and hold nothing that can be read, one gap for all nodes on which that is so."""
    nodes: dict[str, list[str]] = {}
    for file, node, _ in unread_files(snapshot):
        if file.limits:
            nodes.setdefault(file.name, []).append(node)
    for node in snapshot.node_files:
        for file in (*DUMPS[Family.IP], *DUMPS[Family.IP6]):
            if file.limits and any(_holds_no_table(path, text) for path, text in _texts(snapshot, node, (file,)).items()):
                nodes.setdefault(file.name, []).append(node)
        for file in NFT_LISTINGS:
            if any(_lists_no_table(path, text) for path, text in _texts(snapshot, node, (file,)).items()):
                nodes.setdefault(file.name, []).append(node)
    for name, where in nodes.items():
        yield Missing(what=f"{READABLE}{name}", nodes=tuple(sorted(where)), limits=BY_NAME[name].limits or _ENDS)


def _holds_no_table(path: str, text: str) -> bool:
    """Whether a dump that says something has no table that can be read: another program's output, an error. Such a one holds no rules."""
    return bool(text) and not text.isspace() and not text.startswith("*") and "\n*" not in text and not parse_dump(text, path).tables


def _lists_no_table(path: str, text: str) -> bool:
    """Whether a listing of nft's that says something has no table that can be read. None at all, and no fault, is a node without rules."""
    # NB: of a whole listing the beginning of a line, or the end of its JSON, says so, and it is not parsed for this.
    if not text.strip() or text.startswith("table ") or "\ntable " in text or text.rstrip().endswith("]}"):
        return False
    from tracer.netfilter.nft_rules import NftRules

    found = NftRules.from_listing(text, path).ruleset
    return not found.tables and bool(found.faults)


def _unread(snapshot: Snapshot) -> Iterable[Missing]:
    """Yield the files that the collector says it could not read, one gap for all nodes on which the same file failed alike."""
    nodes: dict[tuple[str, str], list[str]] = {}
    pods: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for path, error in read_errors(snapshot).items():
        match path.split("/"):
            case ["nodes", node, name]:
                nodes.setdefault((name, error), []).append(node)
            case ["nodes", _, "pods", pod, name]:
                files, whose = pods.setdefault(error, ({}, {}))
                files[name] = whose[pod.replace("_", "/", 1)] = None
            case _:
                nodes.setdefault((path, error), [])
    for (what, error), where in nodes.items():
        limits = f"it could not be read when the snapshot was taken ({error.rstrip('.')})"
        yield Missing(what=what, nodes=tuple(where), limits=limits)
    for error, (files, whose) in pods.items():
        limits = f"it could not be read when the snapshot was taken ({error.rstrip('.')})"
        yield Missing(what=f"{_some(files)} of the own stack of {'pod' if len(whose) == 1 else 'pods'} {_some(whose)}", limits=limits)


def _some(all_names: Iterable[str], most: int = 3) -> str:
    found = tuple(all_names)
    return ", ".join(found[:most]) + (f" and {len(found) - most} more" if len(found) > most else "")


def _listed(nodes: tuple[str, ...], most: int = 5) -> str:
    if len(nodes) <= most:
        return ", ".join(nodes)
    return f"{', '.join(nodes[:most])} and {len(nodes) - most} more nodes"

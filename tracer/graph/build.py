"""Paths → boxes, edges and regions, never more than BUDGET boxes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from fractions import Fraction

from tracer.dispositions import WORDS
from tracer.graph.detail import common, detailed, short_chain
from tracer.graph.fold import Nodes, Row, fold_nodes, fold_rows, squeeze
from tracer.graph.model import Box, BoxKind, Edge, EdgeKind, Graph, Region, Way, stable_id
from tracer.graph.paths import Json, Path, Stop, is_event, kind_of, modelled_nodes, most_likely, named, opened, paths_of
from tracer.odds_text import fan_texts
from tracer.trace import Disposition
from tracer.values import dataclass

BUDGET = 60
ALL_NODES = "nodes"
_KINDS = {
    "dns": BoxKind.DNS,
    "load-balancer": BoxKind.LOAD_BALANCER,
    "chain": BoxKind.CHAIN,
    "mark": BoxKind.MARK,
    "pick": BoxKind.PICK,
    "dnat": BoxKind.DNAT,
    "snat": BoxKind.SNAT,
    "drop": BoxKind.DROP,
    "reject": BoxKind.REJECT,
    "leave": BoxKind.OUTSIDE,
    "unknown": BoxKind.UNKNOWN,
    "service": BoxKind.SERVICE,
    "node": BoxKind.HOST,
}
_BEFORE_NODES = (BoxKind.CLIENT, BoxKind.LOAD_BALANCER, BoxKind.DNS)
_ENDS = {"pod": BoxKind.POD, "endpoint": BoxKind.POD, "node": BoxKind.PROCESS, "external": BoxKind.OUTSIDE}


def build(
    answer: Json,
    *,
    paths: tuple[Path, ...] | None = None,
    follow: str = "",
    detail: str = "chains",
    group: str = "",
    expand: Sequence[str] = (),
    zones: Mapping[str, str] | None = None,
    find: str = "",
    modes: Mapping[str, str] | None = None,
) -> Graph:
    """Return the picture of *answer*: *follow* is a path's id, *expand* the folds to open, *zones* maps node names to zones.

    *modes* maps node names to kube-proxy's mode there.

    *paths* are the answer's own, when the caller has them already. Endpoints that *find* matches are not folded away.
    """
    paths = paths_of(answer) if paths is None else paths
    if not paths:
        return Graph(boxes=(), edges=(), regions=())
    found = frozenset(path.target for path in paths if find and matches(path, find))
    followed = opened(named(paths, follow) or most_likely(paths))
    unfolded = frozenset(expand)
    for every in (True, False) if ALL_NODES in unfolded else (False,):
        nodes = fold_nodes(paths, followed, every=every)
        drawn = [path for path in paths if path.entry in nodes.drawn]
        rows, by = fold_rows(drawn, followed, group=group, zones=zones or {}, expanded=unfolded, keep=found)
        for most in (len(rows), 12, 8, 6, 4, 3, 2):
            if most > len(rows):
                continue
            kept = rows if most == len(rows) else squeeze(rows, followed, most)
            graph = _Draft(answer=answer, followed=followed, detail=detail, nodes=nodes, paths=paths, rows=kept, modes=modes or {}).graph()
            if len(graph.boxes) <= BUDGET:
                return replace(graph, folded_by=by, notes=_notes(unfolded, nodes, every=every, squeezed=kept is not rows))
    return graph


def matches(path: Path, text: str) -> bool:
    """Return whether *text* occurs in the names, addresses or chains of this path, in any case."""
    wanted = text.casefold()
    names = (path.title, path.subtitle, path.node, *(stop.chain for stop in path.stops))
    return any(wanted in name.casefold() for name in names)


def _notes(opened: frozenset[str], nodes: Nodes, *, every: bool, squeezed: bool) -> tuple[str, ...]:
    notes = []
    if ALL_NODES in opened and not every:
        notes.append(f"All {nodes.total} nodes would take more than {BUDGET} boxes: alike nodes stay folded.")
    if squeezed:
        notes.append(f"Folded further: never more than {BUDGET} boxes are drawn.")
    return tuple(notes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drawn:
    """A path as it is drawn, with the *weight* of all that are alike, and which of them is the most likely (*best*).

    *targets* are where they end; they have the first stops in common, as many as *shared*.
    """

    path: Path
    weight: Fraction
    best: Path
    targets: frozenset[str]
    shared: int


def _alike(row: Row) -> list[list[Path]]:
    """The paths of a row, in a stack those together that are like one another: what is drawn of them is the same."""
    if not row.fold:
        return [[path] for path in row.paths]
    found: dict[int, list[Path]] = {}
    for path in row.paths:
        found.setdefault(id(kind_of(path)), []).append(path)
    return list(found.values())


@dataclass(slots=True, kw_only=True)
class _Draft:
    """A picture while it is made (mutable: one pass over the rows fills it)."""

    answer: Json
    followed: Path
    detail: str
    nodes: Nodes
    paths: tuple[Path, ...]
    rows: tuple[Row, ...]
    modes: Mapping[str, str]
    boxes: dict[str, Box] = field(default_factory=dict)
    likely: dict[str, Path] = field(default_factory=dict)
    weights: dict[str, Fraction] = field(default_factory=dict)
    flows: dict[tuple[str, str], Fraction] = field(default_factory=dict)
    unsure: set[tuple[str, str]] = field(default_factory=set)
    kinds: dict[tuple[str, str], EdgeKind] = field(default_factory=dict)
    ways: dict[tuple[str, str], list[Way]] = field(default_factory=dict)
    on: set[tuple[str, str]] = field(default_factory=set)
    columns: list[tuple[str, ...]] = field(default_factory=list)
    targets: dict[tuple[str, ...], set[str]] = field(default_factory=dict)
    several: bool = False
    sure: bool = True
    whole: Fraction = Fraction(1)

    def graph(self) -> Graph:
        """Return the finished picture."""
        self.several = len({path.target for path in self.paths}) > 1
        self.whole = sum((path.probability for path in self.paths), Fraction(0))
        self.sure = not any(path.conditions for path in self.paths)
        drawn = [(row, [self._drawn(those) for those in _alike(row)]) for row in self.rows]
        for _, those in drawn:
            for one in those:
                self._note(one)
        for row, those in drawn:
            for one in those:
                self._walk(row, one)
        self._reply()
        edges = tuple(_worded([self._edge(key) for key in sorted(self.flows)]))
        regions = self._regions()
        rows = tuple(self._row(row, those) for row, those in drawn)
        boxes = tuple(replace(box, follow=self._follow(box)) for _, box in sorted(self.boxes.items()))
        return Graph(boxes=boxes, edges=edges, regions=regions, rows=rows, endpoints=len({path.target for path in self.paths}))

    def _drawn(self, paths: Sequence[Path]) -> _Drawn:
        """*paths*, which are alike, as one: the first is drawn, and of a second is seen from which stop on each goes its own way."""
        first = self._detailed(paths[0])
        other = next((path for path in paths if path.target != first.target), None)
        return _Drawn(
            path=first,
            weight=sum((path.probability for path in paths), Fraction(0)) if len(paths) > 1 else first.probability,
            best=most_likely(paths),
            targets=frozenset(path.target for path in paths),
            shared=len(first.stops) if other is None else common(first.stops, self._detailed(other).stops),
        )

    def _detailed(self, path: Path) -> Path:
        return detailed(opened(path), self.detail, self.answer, self.followed)

    def _note(self, drawn: _Drawn) -> None:
        """Note whose ends lie behind each beginning of a way."""
        prefix: tuple[str, ...] = ()
        for number, stop in enumerate(drawn.path.stops):
            prefix = (*prefix, stop.key)
            self.targets.setdefault(prefix, set()).update(drawn.targets if number < drawn.shared else (drawn.path.target,))

    def _follow(self, box: Box) -> str:
        return self.likely[box.id].id if box.id in self.likely and not box.on else ""

    def _walk(self, row: Row, drawn: _Drawn) -> None:
        """Add a path and those like it: its boxes, the edges between them, and what lies on the edges."""
        before: tuple[str, Stop] | None = None
        ways: list[Stop] = []
        for stop, box in self._boxes_of(row, drawn.path):
            if box is None:
                ways.append(stop)
                continue
            self._add(box, drawn)
            if before:
                self._join(before, (box.id, stop), drawn, ways)
            before, ways = (box.id, stop), []

    def _boxes_of(self, row: Row, path: Path) -> list[tuple[Stop, Box | None]]:
        found: list[tuple[Stop, Box | None]] = []
        prefix: tuple[str, ...] = ()
        position = 0
        for stop in path.stops:
            prefix = (*prefix, stop.key)
            own = self.several and len(self.targets[prefix]) == 1
            if stop.way:
                found.append((stop, None))
            elif row.fold and own:
                if is_event(stop.kind):
                    position += 1
                    found.append((stop, self._stack(row, path, stop, position)))
            else:
                found.append((stop, self._box(path, stop, path.target if own else "")))
        return found

    def _box(self, path: Path, stop: Stop, row: str) -> Box:
        on = path.index == self.followed.index
        kind = _kind(stop, path, self.answer)
        title, subtitle = _words(stop, path, kind, alone=not row)
        return Box(
            id=stable_id("n", stop.key, "" if stop.kind in ("deliver", "leave") else row),
            kind=kind,
            title=title,
            subtitle=subtitle,
            region=_region(stop, kind),
            steps=stop.numbers if on else (),
            badge=stop.badge if on else "",
            on=on,
            row=row,
            chips=_chips(stop),
            words=stop.title,
            state=path.state if kind is BoxKind.POD else "",
        )

    def _stack(self, row: Row, path: Path, stop: Stop, position: int) -> Box:
        kind = _kind(stop, path, self.answer)
        chain = short_chain(stop.chain, alone=True)
        things = {BoxKind.POD: "pods", BoxKind.PROCESS: "nodes", BoxKind.OUTSIDE: "hosts"}
        if stop.kind in ("deliver", "leave"):
            title, subtitle = f"{row.targets} {things.get(kind, 'ends')}", row.label
        else:
            same = chain == stop.chain
            title, subtitle = chain if same else f"{row.targets} {chain}", row.label if stop.kind in ("drop", "reject", "unknown") else ""
        entry = "" if stop.kind in ("deliver", "leave") else path.entry
        return Box(
            id=stable_id("n", row.fold, entry, stop.kind, position),
            kind=kind,
            title=title,
            subtitle=subtitle,
            region=_region(stop, kind),
            count=row.targets,
            expand=row.fold,
            row=row.key,
            chips=_chips(stop),
            words=stop.title,
        )

    def _add(self, box: Box, drawn: _Drawn) -> None:
        have = self.boxes.get(box.id)
        if have is None or (box.on and not have.on):
            self.boxes[box.id] = box
        self.weights[box.id] = self.weights.get(box.id, Fraction(0)) + drawn.weight
        best = self.likely.get(box.id)
        self.likely[box.id] = drawn.best if best is None else most_likely((best, drawn.best))

    def _join(self, tail: tuple[str, Stop], head: tuple[str, Stop], drawn: _Drawn, ways: Sequence[Stop]) -> None:
        key, path = (tail[0], head[0]), drawn.path
        self.flows[key] = self.flows.get(key, Fraction(0)) + drawn.weight
        if path.conditions:
            self.unsure.add(key)
        rewrites = _chips(tail[1])
        kind = EdgeKind.SNAT if "snat" in rewrites else EdgeKind.DNAT if "dnat" in rewrites else EdgeKind.FORWARD
        self.kinds[key] = EdgeKind.DNS if tail[1].kind == "dns" else kind
        if path.index == self.followed.index:
            self.on.add(key)
            self.ways[key] = [Way(id=stable_id("n", *key, stop.key), step=stop.n, title=stop.title) for stop in ways]

    def _edge(self, key: tuple[str, str]) -> Edge:
        tail, head = key
        kind = self.kinds[key]
        if kind is EdgeKind.REPLY:
            return Edge(id=_edge_id(*key), tail=tail, head=head, kind=kind)
        sure = key not in self.unsure and self.sure
        if self.boxes[head].kind in _BEFORE_NODES:
            self.flows[key] = self._weight(tail)
        weight, flow = self._weight(tail), self._into_nodes(key) or self.flows[key]
        share = flow / weight if sure and weight else None
        labelled = share is not None and share != 1
        return Edge(
            id=_edge_id(*key),
            tail=tail,
            head=head,
            kind=kind,
            share=share,
            probability=flow if sure else None,
            on=key in self.on,
            labelled=labelled,
            ways=tuple(self.ways.get(key, ())),
        )

    def _into_nodes(self, key: tuple[str, str]) -> Fraction | None:
        """Return the odds of the nodes that one is drawn for, where there are others beside these; None for any other edge."""
        tail, head = key
        name = self.boxes[head].region.removeprefix("node:")
        stands_for_some = self.boxes[tail].kind is BoxKind.LOAD_BALANCER and self.nodes.alike.get(name, 1) > 1
        return self.nodes.shares[name] if stands_for_some and len(self.nodes.drawn) > 1 else None

    def _weight(self, box: str) -> Fraction:
        """Return the odds of reaching a box; what lies before folded nodes counts the paths that are not drawn, too."""
        kind = self.boxes[box].kind
        if kind in _BEFORE_NODES:
            return self.whole
        return self.weights[box]

    def _row(self, row: Row, drawn: Sequence[_Drawn]) -> tuple[str, ...]:
        path = next((one.path for one in drawn if one.path.index == self.followed.index), drawn[0].path)
        boxes = [box for _, box in self._boxes_of(row, path) if box is not None and (box.row or box.region == "pods")]
        return tuple(box.id for box in boxes)

    def _regions(self) -> tuple[Region, ...]:
        found: dict[str, Region] = {}
        modelled = modelled_nodes(self.answer)
        for box in self.boxes.values():
            if box.region.startswith("node:"):
                name = box.region.removeprefix("node:")
                alike = self.nodes.alike.get(name, 1) if name in self.nodes.drawn else 1
                found[box.region] = Region(
                    id=box.region,
                    kind="node",
                    title=f"Node {name}",
                    mode=self.modes.get(name, ""),
                    is_modelled=name in modelled,
                    total=alike,
                    expand=ALL_NODES if alike > 1 else "",
                )
        pods = [box for box in self.boxes.values() if box.region == "pods" and box.kind is not BoxKind.HOST]
        if pods:
            count = sum(box.count for box in pods)
            nodes = len({path.node for path in self.paths if path.disposition == "delivered" and path.node})
            where = f" on {nodes} nodes" if nodes > 1 else ""
            # An address that no pod has stands for its own name.
            thing = "pod" if any(box.title != box.subtitle for box in pods) else "endpoint"
            found["pods"] = Region(id="pods", kind="pods", title=f"{count} {thing}{'' if count == 1 else 's'}{where}")
        return tuple(region for _, region in sorted(found.items()))

    def _reply(self) -> None:
        """Add the way back of the followed path: numbers on the boxes it passes again, a connection table where rewrites are undone."""
        before: str | None = None
        for stop in self.followed.replies:
            box = self._reply_box(stop)
            self.boxes[box.id] = replace(box, replies=(*box.replies, stop.n))
            if before and before != box.id and (box.id, before) not in self.flows:
                # Where the way there has an edge the answer takes it back; only another way is drawn.
                key = (before, box.id)
                self.flows.setdefault(key, Fraction(0))
                self.kinds[key] = EdgeKind.REPLY
            before = box.id

    def _reply_box(self, stop: Stop) -> Box:
        on = [box for box in self.boxes.values() if box.on]
        wanted = {"reply": (BoxKind.POD, BoxKind.PROCESS, BoxKind.OUTSIDE), "receive": (BoxKind.CLIENT,)}.get(stop.kind)
        if wanted is None and stop.stack_kind == "load-balancer":
            wanted = (BoxKind.LOAD_BALANCER,)
        for box in on:
            if (wanted and box.kind in wanted) or (not wanted and box.kind is BoxKind.HOST and box.title == stop.stack):
                return box
        table = stable_id("n", "conntrack", stop.stack)
        have = self.boxes.get(table)
        return have or Box(
            id=table,
            kind=BoxKind.CONNTRACK,
            title="conntrack",
            subtitle=_undoes(stop.title),
            region=f"node:{stop.stack}" if stop.node else "",
            on=True,
            words=stop.title,
        )


def _undoes(title: str) -> str:
    return {"Both rewrites undone": "undoes both", "Service address restored": "undoes DNAT", "Client address restored": "undoes SNAT"}.get(
        title, title
    )


def _edge_id(tail: str, head: str) -> str:
    return f"e-{tail.removeprefix('n-')}-{head.removeprefix('n-')}"


def _kind(stop: Stop, path: Path, answer: Json) -> BoxKind:
    if stop.kind == "send":
        return BoxKind.CLIENT
    if stop.kind == "deliver":
        place = answer["outcomes"][path.index].get("destination") or {}
        return _ENDS.get(str(place.get("kind")), BoxKind.POD)
    if stop.kind == "chain" and not stop.chain:
        return BoxKind.HOST
    return _KINDS.get(stop.kind, BoxKind.CHAIN)


def _region(stop: Stop, kind: BoxKind) -> str:
    if stop.within:
        return f"node:{stop.within}"
    if kind is BoxKind.POD or (kind is BoxKind.HOST and not stop.chain):
        return "pods"
    if stop.stack_kind == "node" and kind is not BoxKind.CLIENT:
        return f"node:{stop.stack}"
    return ""


def _chips(stop: Stop) -> tuple[str, ...]:
    if stop.kind in ("dnat", "snat"):
        return (stop.kind,)
    return stop.rewrote if stop.kind in ("service", "node") else ()


def _words(stop: Stop, path: Path, kind: BoxKind, *, alone: bool) -> tuple[str, str]:
    """Return the two lines of a box."""
    if stop.kind in ("deliver", "leave"):
        return path.title, path.subtitle
    if kind is BoxKind.CLIENT:
        if stop.stack_kind == "external":
            return "Client", stop.subtitle
        return stop.stack.rpartition("/")[2] or "Client", stop.subtitle
    if kind is BoxKind.LOAD_BALANCER:
        return "Load balancer", stop.subtitle
    if kind is BoxKind.HOST and not stop.chain:
        if stop.stack_kind == "proxy":
            return stop.stack.split(" on ")[0], "connects anew"
        return stop.stack, "carries" if stop.carries else "sends on" if stop.within else "forwards"
    if kind in (BoxKind.DROP, BoxKind.REJECT, BoxKind.UNKNOWN):
        words = WORDS.get(path.disposition)
        return words.box if words and words.box else WORDS[Disposition.UNKNOWN].box, stop.chain or stop.subtitle
    if kind is BoxKind.DNS:
        return "DNS", stop.subtitle
    if stop.real_server:
        return stop.real_server, stop.subtitle
    return short_chain(stop.chain, alone=alone) or stop.title, stop.subtitle


def _worded(edges: Sequence[Edge]) -> Iterator[Edge]:
    """Yield *edges* with their labels: those that begin at one box in one notation."""
    fans: dict[str, list[Edge]] = {}
    for edge in edges:
        if edge.labelled and edge.share is not None:
            fans.setdefault(edge.tail, []).append(edge)
    worded = {e.id: text for fan in fans.values() for e, text in zip(fan, fan_texts([e.share or Fraction(0) for e in fan]), strict=True)}
    yield from (replace(edge, odds=worded.get(edge.id, "")) for edge in edges)

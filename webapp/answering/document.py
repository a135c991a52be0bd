"""The answer document: one plain dict that every panel, export and frozen link works from.

``{"answer": the contract with steps and stations, "rules": {file: {line: text}}, "snapshot": {…}, "engine_version": …,
"nodes": {name: {"zone"}}}``, and of a comparison ``"compared": {"before": a document, "same", "text",
"differences"}``. The answer holds all outcomes, each opened when it is asked for (``outcome_dicts``), and of each class the place of its
first one. The live page makes it fresh and keeps the last few; a frozen link stores it. :class:`Answer` is the document with what is
derived from it once.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import chain
from typing import Any, Protocol

from tracer.graph import Graph, Path, build, paths_of
from tracer.limits import TOLD
from tracer.told_odds import told
from tracer.trace import Outcome, Trace
from tracer.unopened import firsts, items_of
from webapp.answering.outcome_dicts import OutcomeDicts, SomeOpened
from webapp.answering.sample import odds_of, sampled

Json = Mapping[str, Any]
NEIGHBOURS = 3
KEPT_ANSWERS = 16
KEPT_OUTCOMES = 6000
KEPT_GRAPHS = 8
FORMAT = 1


class Lines(Protocol):
    """Where the text of a file's lines comes from: the engine's snapshot."""

    def lines(self, path: str) -> Sequence[str]:
        """Return the lines of *path*, the first one at index 0."""


class Answer:
    """An answer document and what is derived from it; immutable after it is made, shared between requests."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self._graphs = lru_cache(maxsize=KEPT_GRAPHS)(self._graph)

    @property
    def answer(self) -> Json:
        """Return the contract's answer."""
        found: Json = self.document["answer"]
        return found

    @property
    def generation(self) -> str:
        """Return the generation of the followed cluster that was answered from, "" for a snapshot."""
        return str(self.document.get("live", {}).get("generation", ""))

    @property
    def is_comparison(self) -> bool:
        """Return whether there is an answer to the same question about the cluster as it is, beside this one."""
        return "compared" in self.document

    @cached_property
    def before(self) -> Answer:
        """Return that answer. :raises KeyError: there is none."""
        return Answer(self.document["compared"]["before"])

    @property
    def comparison(self) -> Json:
        """Return what differs, as trace-json.md writes it. :raises KeyError: nothing is compared."""
        found: Json = self.document["compared"]
        return found

    @property
    def owners(self) -> Mapping[str, str]:
        """Return whose the addresses on the way are, in a word each; nothing in a document from before they were told."""
        found: Mapping[str, str] = self.document.get("owners") or {}
        return found

    @cached_property
    def paths(self) -> tuple[Path, ...]:
        """Return the outcomes as paths for the graph."""
        return paths_of(self.answer, self.document.get("pods") or {})

    def graph(self, *, follow: str, detail: str, group: str, expand: Sequence[str], find: str) -> Graph:
        """Return the picture of the answer, see :func:`tracer.graph.build`; the last few are kept: every step of a path has the same."""
        return self._graphs(follow, detail, group, tuple(expand), find)

    def _graph(self, follow: str, detail: str, group: str, expand: tuple[str, ...], find: str) -> Graph:
        return build(
            self.answer,
            paths=self.paths,
            follow=follow,
            detail=detail,
            group=group,
            expand=expand,
            zones=self.zones,
            modes=self.modes,
            find=find,
        )

    @property
    def zones(self) -> Mapping[str, str]:
        """Return the zone of each node that has one."""
        return {name: node["zone"] for name, node in self.document.get("nodes", {}).items() if node.get("zone")}

    @property
    def modes(self) -> Mapping[str, str]:
        """Return kube-proxy's mode on each node where it is known."""
        return {name: node["mode"] for name, node in self.document.get("nodes", {}).items() if node.get("mode")}

    def sample(self, seed: int) -> Answer:
        """Return the answer with one outcome only: the one that ``random.Random(seed)`` comes to, walking the tree in order."""
        return Answer(self.document | {"answer": sampled(self.answer, seed)})


def document(trace: Trace, lines: Lines, *, snapshot: Json, engine_version: str, zones: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the answer document of *trace*. *snapshot* has id, name, digest and taken_at; *lines* gives the rules' neighbours."""
    outcomes, classes = OutcomeDicts(trace), trace.classes
    held: dict[str, object] = {"outcomes": outcomes if outcomes.waits else outcomes.whole()}
    if len(classes) < len(outcomes):
        places = {id(item): place for place, item in enumerate(items_of(trace.outcomes))}
        held["classes"] = [one.to_dict(places[id(items_of(one.members)[0])]) for one in classes]
    answer = trace.around(held)
    return {
        "format": FORMAT,
        "answer": answer,
        "rules": _neighbours(trace, lines),
        "snapshot": dict(snapshot),
        "engine_version": engine_version,
        "nodes": {name: {"zone": zone} for name, zone in sorted((zones or {}).items())},
    }


def as_told(answer: Json, *, expand: bool) -> Json:
    """Return a document's *answer* as trace-json.md tells it: classes with their first outcome, and many outcomes as these alone."""
    if "classes" not in answer:
        return {**answer, "outcomes": list(answer["outcomes"])}
    outcomes = answer["outcomes"]
    if isinstance(outcomes, SomeOpened) and (expand or len(outcomes) <= TOLD):
        outcomes = outcomes.whole()
    odds: dict[int, Mapping[str, object]] = {}
    if len(outcomes) > TOLD and not expand:
        shares = odds_of(outcomes)
        odds = {one["outcome"]: told(shares[one["outcome"]]) for one in answer["classes"]}
    told_first = [{**outcomes[one["outcome"]], **odds.get(one["outcome"], {})} for one in answer["classes"]]
    classes = [{**one, "outcome": first} for one, first in zip(answer["classes"], told_first, strict=True)]
    return {**answer, "classes": classes, **({"outcomes": told_first, "outcomes_expanded": False} if odds else {"outcomes": outcomes})}


def _neighbours(trace: Trace, lines: Lines) -> dict[str, dict[str, str]]:
    """Return the lines around every step's rule, by file and line number (as text: the document is JSON)."""
    wanted: dict[str, set[int]] = {}
    for file, line in set(_places(trace)):
        wanted.setdefault(file, set()).update(range(line - NEIGHBOURS, line + NEIGHBOURS + 1))
    found: dict[str, dict[str, str]] = {}
    for file in sorted(wanted):
        text = lines.lines(file)
        found[file] = {str(number): text[number - 1] for number in sorted(wanted[file]) if 1 <= number <= len(text)}
    return found


def _places(trace: Trace) -> Iterator[tuple[str, int]]:
    steps = (step for o in firsts(trace.outcomes) for hop in [*o.hops, *(o.reply.hops if o.reply else ())] for step in hop.steps)
    drawn = (step for item in items_of(trace.outcomes) if not isinstance(item, Outcome) for step in item.drawn)
    yield from ((step.file, step.line) for step in chain(steps, drawn) if step.file and step.line and not step.made_as)


class AnswerCache:
    """The last answers by (snapshot digest, question), bounded by count and by outcomes: one large answer must not crowd out memory."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, ...], Answer] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[str, ...]) -> Answer | None:
        """Return the answer under *key*, or None."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: tuple[str, ...], answer: Answer) -> None:
        """Keep *answer* under *key* and drop the oldest ones beyond the bounds."""
        with self._lock:
            self._kept[key] = answer
            self._kept.move_to_end(key)
            while len(self._kept) > 1 and (len(self._kept) > KEPT_ANSWERS or _outcomes(self._kept.values()) > KEPT_OUTCOMES):
                self._kept.popitem(last=False)


def _outcomes(answers: Iterable[Answer]) -> int:
    return sum(len(answer.answer["outcomes"]) for answer in answers)

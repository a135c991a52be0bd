"""What was found of the first outcome of a class is found of the others too, with their own addresses, names and rules in its sentences.

Themes look at one outcome at a time. Of a class they need not, where all that they ask about an endpoint has the same answer for it:
that is its kind of pod (``tracer.simulate.belongings``), whether it is listed and ready, who wrote the rules that drew it, whether a node
remembers connections to it. Where anything else was found than what ``ALIKE`` lists, or more would have to be asked (policies, rules that
drifted, lists that remember clients), each outcome is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import TypeVar

from tracer.explain.findings.case import Case, target_of
from tracer.explain.findings.endpoints import Target
from tracer.explain.findings.passage import Passage, passage_of
from tracer.frozen import changed
from tracer.netfilter.owners import owner_of
from tracer.patterns import pattern
from tracer.snapshot.node_files import CONNTRACK
from tracer.trace import NOT_CHECKED, Finding, Outcome, Place, Step
from tracer.unopened import Unopened
from tracer.values import dataclass

T = TypeVar("T")
ALIKE = frozenset(
    {
        NOT_CHECKED,
        "CLIENT_IP_LOST",
        "INVALID_NOT_DROPPED",
        "LB_BYPASSED",
        "LB_SOURCE_RANGE_ASSUMED",
        "LB_SOURCE_RANGE_BYPASSED",
        "LEFTOVER_RULES",
        "LEGACY_NOT_RECORDED",
        "NODE_PORT_IN_LOCAL_RANGE",
        "REPLY_BYPASSES_NAT",
        "TARGET_PORT_UNPROVEN",
    }
)
"""What says nothing of an endpoint but its addresses, its name and which rules drew it."""
_TOWARDS = pattern(r"\bdst=(?P<address>\S{1,45}) ", re.ASCII)
_REMEMBERS = pattern(r" -m recent |\b(?:update|add) @|\bip6? saddr @", re.ASCII)
_MARK = "\0{}{}\0"
_MARKED = pattern(r"\x00[rwcn][0-9]{1,6}\x00", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Marked:
    """Findings with marks in the place of what the steps say that drew the endpoint: its own can be put in then, and other steps' words."""

    findings: tuple[Finding, ...]

    def of(self, outcome: Outcome) -> tuple[Finding, ...]:
        """Return the findings: a view of the outcome that they were found of."""
        return self.findings


@dataclass(slots=True)
class _First:
    """A first outcome of a class, by the way it has, with what was found of it. *marked* is None where that is nobody else's."""

    outcome: Outcome
    passage: Passage
    found: Outcome
    marked: _Marked | None = None
    place: int = -1
    drawn: tuple[Step, ...] = ()
    targets: tuple[Target, ...] = ()


class Found:
    """An outcome that was not opened, with what was found of its first."""

    __slots__ = ("_item", "_marked", "first")

    def __init__(self, item: Unopened[Outcome], first: Outcome, marked: _Marked) -> None:
        self._item, self.first, self._marked = item, first, marked

    @property
    def probability(self) -> Fraction:
        """Return its odds."""
        return self._item.probability

    @property
    def place(self) -> int:
        """Return at which hop its endpoint was drawn."""
        return self._item.place

    @property
    def drawn(self) -> Sequence[Step]:
        """Return the steps there up to the draw."""
        return self._item.drawn

    def told(self, view: Callable[[Outcome], T]) -> T:
        """Return what *view* is of the outcome; of findings it may ask for codes and places only."""
        return self._item.told(view)

    def opened(self) -> Outcome:
        """Return the outcome, with what was found of it."""
        outcome = self._item.opened()
        drawn = self._item.drawn
        words = _words(drawn, outcome.destination)
        found = tuple(_unmarked(one, words) for one in self._item.told(self._marked.of))
        return changed(outcome, findings=(*found, *outcome.findings)) if found else outcome


class Likewise:
    """Looks at the outcomes of one answer: *diagnosed* returns one with what is found of it."""

    def __init__(self, case: Case, diagnosed: Callable[[Passage], Outcome]) -> None:
        self._case, self._diagnosed = case, diagnosed
        self._firsts: dict[int, _First] = {}

    def of(self, item: Outcome | Unopened[Outcome]) -> Outcome | Unopened[Outcome]:
        """Return *item* with what is found of it, not opened where that is what was found of its first."""
        if isinstance(item, Outcome):
            passage = self._case.passage(item)
            found = self._diagnosed(passage)
            self._firsts[id(item)] = _First(item, passage, found)
            return found
        first = self._firsts[id(item.first)]
        if first.place != item.place:
            self._prepare(first, item)
        if first.marked is None or not self._is_like(first, item):
            return self._diagnosed(passage_of(item.opened()))
        return Found(item, first.found, first.marked)

    def _prepare(self, first: _First, item: Unopened[Outcome]) -> None:
        """See whether what was found of *first* may be others', the first time that one is met."""
        number = len(first.found.findings) - len(first.outcome.findings)
        found = first.found.findings[:number]
        first.place, first.drawn = item.place, first.outcome.hops[item.place].steps[: len(item.drawn)]
        is_plain = all(isinstance(one, Finding) and one.code in ALIKE for one in found)
        if is_plain and not self._asks_more(first.passage):
            others = (one for one in found if isinstance(one, Finding) and one.code != NOT_CHECKED)
            first.targets = _targets(first.outcome)
            words = _words(first.drawn, first.outcome.destination)
            first.marked = _Marked(tuple(_marked(one, words) for one in others))

    def _asks_more(self, passage: Passage) -> bool:
        """Whether themes ask of each endpoint what nothing here compares."""
        case = self._case
        own = case.subject.name if case.subject is not None else ""
        drifts = (case.cluster.drift(hop.node) for hop in passage.nodes if hop.node is not None)
        has_drifted = any(one.service.partition(":")[0] in ("", own) for drift in drifts if drift is not None for one in drift.findings)
        return has_drifted or bool(case.objects.network_policies) or not case.cluster.keeps_answers

    def _is_like(self, first: _First, item: Unopened[Outcome]) -> bool:
        """Whether *item* is like *first* in what themes ask of an endpoint."""
        drawn = item.drawn
        if len(drawn) != len(first.drawn) or not all(a is b or _are_alike(a, b) for a, b in zip(first.drawn, drawn, strict=True)):
            return False
        targets = item.told(_targets)
        case = self._case
        if case.subject is not None and case.endpoints.known:
            listed = [case.endpoints.at(target) for target in (*targets, *first.targets)]
            if not all(one is not None and one.ready for one in listed):
                return False
        nodes = [hop.node for hop in first.passage.nodes if hop.node is not None]
        return not any(str(address) in self._towards(node) for node in nodes for address, _ in targets)

    def _towards(self, node: str) -> frozenset[str]:
        """The addresses to which *node* remembers connections."""
        case = self._case
        text = case.node_text(node, CONNTRACK.name)
        return case.known.once(("towards", node), lambda: frozenset(found["address"] for found in _TOWARDS.finditer(text or "")))


def _targets(outcome: Outcome) -> tuple[Target, ...]:
    """Where the packet was sent by whoever rewrote its destination."""
    return tuple(target for mark in passage_of(outcome).dnats if (target := target_of(mark)) is not None)


def _are_alike(one: Step, other: Step) -> bool:
    """Whether themes take two rules that draw for the same: neither remembers clients, and who wrote them is the same."""
    if any(getattr(one, name) != getattr(other, name) for name in ("hook", "family", "table", "file", "made_as", "policy", "event")):
        return False
    if one.rule is None or other.rule is None or _REMEMBERS.search(one.rule) or _REMEMBERS.search(other.rule):
        return False
    if any(one.names.get(name) != other.names.get(name) for name in ("service", "port")):
        return False
    return owner_of(one.table, one.chain, one.rule) is owner_of(other.table, other.chain, other.rule)


# -- words that no address or name is --------------------------------------------------------------------------------------------------


def _words(drawn: Sequence[Step], place: Place | None) -> dict[str, str]:
    """What sentences and evidence say that is one outcome's own, by mark: rules that drew, where they stand, what kubectl is told."""
    found = {_MARK.format("n", 0): f"-n {place.namespace} {place.name}"} if place is not None and place.name else {}
    for number, step in enumerate(drawn):
        said = {"r": step.rule or "", "w": step.where, "c": step.chain}
        found |= {_MARK.format(part, number): word for part, word in said.items() if word}
    return found


def _marked(found: Finding, words: Mapping[str, str]) -> Finding:
    marks = {word: mark for mark, word in reversed([*words.items()])}
    if not marks:
        return found
    search = re.compile("|".join(rf"{re.escape(word)}(?![\w-])" for word in sorted(marks, key=len, reverse=True)))
    return _each_text(found, lambda text: search.sub(lambda match: marks[match.group()], text))


def _unmarked(found: Finding, words: Mapping[str, str]) -> Finding:
    return _each_text(found, lambda text: _MARKED.sub(lambda match: words[match.group()], text))


def _each_text(found: Finding, put: Callable[[str], str]) -> Finding:
    return changed(found, text=put(found.text), fix=put(found.fix), evidence=tuple(map(put, found.evidence)))

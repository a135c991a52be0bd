"""The straight walks of one base chain, kept for the packets and the questions that follow.

Of a Service with hundreds of endpoints, hundreds of packets cross the same chains, and most take the same way; so do the packets of other
questions. A walk that never splits depends on nothing but the answers to what it asked: what the parts of rules said and did, and what an
index found. So a packet is asked the same, in the same order; as long as its answers were given before, it goes where those led. The first
new answer, or one that is drawn or not known, means a walk of its own. Which rules match is thus still asked of every packet; only what
follows from the answers is not worked out again.

``KnownRuns`` is what was found, for as long as the rules and the names in their steps stay as they are; ``KeptRuns`` is one question's look
at it. What a question is charged does not depend on who asked before: the first time it goes a way it pays for the walk, and for having
looked for it in vain among its own; from then on only for looking.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field
from enum import Enum
from fractions import Fraction
from typing import Any

from tracer.netfilter.effects import Alters, Draws
from tracer.netfilter.leaf import Leaf, StepList
from tracer.netfilter.rule_language import RuleLanguage
from tracer.netfilter.view import View
from tracer.netfilter.walk import Event, KnownSteps, RuleWalk
from tracer.packet import Packet
from tracer.patterns import pattern
from tracer.trace import Step
from tracer.values import dataclass

_ONE = Fraction(1)
_ASKS_FOR_TUPLES = pattern(r"--ct(?:orig|repl)|\bct (?:original|reply|label)\b", re.ASCII)
"""NB: a label is noted with the connection's addresses."""
_ASKS_FOR_SENDER = pattern(r"sport|source-port|--ports\b|-m (?:recent|set)\b|--match-set|@(?:ih|ll|nh|th)\b", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Straight:
    """The end of a walk that never split, the steps that it took, what it cost beside its answers, and the *nodes* that lead to it.

    *asks_for_tuples*: a rule on the way asks for the addresses and ports that conntrack holds, *asks_for_sender*: for the sender's port.
    """

    leaf: Leaf
    steps: tuple[Step, ...]
    cost: int
    nodes: tuple[_Node, ...]
    asks_for_tuples: bool
    asks_for_sender: bool

    def after(self, before: StepList | None) -> StepList | None:
        """Return the steps taken behind *before*."""
        for step in self.steps:
            before = StepList(step, before)
        return before


@dataclass(slots=True)
class _Node:
    """One question (a part and its rule, see ``walk.Event``), with where each answer led; or the end."""

    part: Any = None
    rule: Any = None
    answers: dict[object, _Node] = field(default_factory=dict)
    end: _Straight | None = None

    @property
    def is_asked(self) -> bool:
        """Return whether a walk went on from here."""
        return self.part is not None or self.rule is not None


@dataclass(slots=True)
class Counted:
    """How many straight walks are known, of all chains that count here."""

    number: int = 0


@dataclass(slots=True)
class KnownRuns:
    """The straight walks of one chain that any question found, and where they are *counted*."""

    steps: KnownSteps = field(default_factory=KnownSteps)
    first: _Node = field(default_factory=_Node)
    counted: Counted = field(default_factory=Counted)


@dataclass(slots=True)
class _Found:
    """Where the answers for a packet lead. *looked* is what looking cost among the question's own walks, *answers* what all answers cost.

    *new* are the nodes that the question comes to for the first time; none where it went this way before.
    """

    end: _Straight | None
    view: View
    looked: int
    answers: int
    new: list[_Node]
    before: list[int] = field(default_factory=list)


class Asked(Enum):
    """How a chain was asked where a packet went: for its end, or whether it accepts the packet as it is, and that it does or does not."""

    END = "end"
    ACCEPTS = "accepts"
    DOES_NOT = "does not"


Gone = tuple[Any, _Straight, tuple[int, ...] | None, int, Asked]
"""A way that a packet went: the chain, its end, what its answers cost before each node and in all (None: nothing), and what was asked.

Who goes it again pays for it again.
"""


def at_most(gone: Gone) -> int:
    """Return what going a way again costs at most."""
    _, end, _, answers, _ = gone
    return 2 * (len(end.nodes) + answers) + end.cost + len(end.steps)


class Log:
    """The ways that packets go in chains, noted for whoever sets *found* to an empty list; None: nobody does, or not all was known.

    *whole* is the same for who notes more than one crossing; *is_open* says of which packets nobody may know what a chain told them.
    """

    def __init__(self) -> None:
        self.found: list[Gone] | None = None
        self.whole: list[Gone] | None = None
        self.is_open: Callable[[Packet, _Straight], bool] = lambda packet, end: False

    @property
    def is_noting(self) -> bool:
        """Return whether anybody notes."""
        return self.found is not None or self.whole is not None

    def note(self, gone: Gone, packet: Packet | None) -> None:
        """Note a way that *packet* went; None where the chain asked nothing of it."""
        if self.found is not None:
            self.found.append(gone)
        if self.whole is not None:
            if packet is not None and self.is_open(packet, gone[1]):
                self.whole = None
            else:
                self.whole.append(gone)

    def again(self, ways: Sequence[Gone], packet: Packet) -> None:
        """Note *ways* that were gone before by one that came as *packet* does."""
        for gone in ways if self.whole is not None else ():
            self.note(gone, packet if len(gone[1].nodes) > 1 else None)

    def lose(self) -> None:
        """Note that what follows was not known: nobody can tell what is asked of the next packet."""
        self.found = self.whole = None


class KeptRuns:
    """Walks a base *chain* as :class:`RuleWalk` does, and keeps the straight walks among the *known*. For one question."""

    def __init__(
        self, language: RuleLanguage[Any, Any, Any], known: KnownRuns | None = None, log: Log | None = None, chain: object = None
    ) -> None:
        self._language = language
        self._budget = language.budget
        self._known = known or KnownRuns()
        self._log = log or Log()
        self._chain = chain
        self._own: set[int] = set()
        self._has_looked = False
        self._last: tuple[View, _Found] | None = None

    def run(self, view: View, steps: StepList | None) -> Iterator[Leaf]:
        """Yield every way the chain ends for *view*."""
        kept = self.straight(view, steps)
        if kept is not None and not self._budget.is_spent:
            yield kept
            return
        self._log.lose()
        walk, before = RuleWalk(self._language, self._known.steps), self._budget.left
        for leaf in walk.run(view, steps):
            if walk.events is not None and leaf.probability == _ONE and not leaf.conditions and not leaf.unknowns:
                self._keep(walk.events, leaf, steps, before - self._budget.left - walk.answers_cost)
            yield leaf

    def straight(self, view: View, steps: StepList | None) -> Leaf | None:
        """Return the end that an earlier packet with the same answers came to, for this one; None when there was none."""
        found = self._found(view)
        self._note(found)
        if not self._is_paid(found, found.looked, found.looked) or found.end is None:
            return None
        end = found.end.leaf
        return Leaf(end.verdict, found.view, found.end.after(steps), _ONE, target=end.target, by_policy=end.by_policy, where=end.where)

    def told(self, view: View) -> tuple[object, View] | None:
        """Return the end that an earlier packet with *view*'s answers came to, and the view there; None where none did, or one was drawn.

        Ends are one where they are the same object.
        """
        found = self._found(view)
        return None if found.end is None else (found.end, found.view)

    def asked(self, view: View) -> list[tuple[Any, Any]]:
        """Return what a packet with *view* is asked on the way to an end that is told: (part, rule), as ``walk.Event`` has them."""
        found, node = list[tuple[Any, Any]](), self._known.first
        while node.end is None:
            found.append((node.part, node.rule))
            answer = self._answer(node, view)
            if isinstance(answer, Alters):
                view, answer = answer.view, answer.told
            node = node.answers[answer]
        return found

    def answer(self, part: Any, rule: Any, view: View) -> object:
        """Return what is answered to a question of :meth:`asked`."""
        return self._answer(_Node(part, rule), view)

    def accepted(self, view: Callable[[], View], steps: StepList | None, *, is_alone: bool) -> StepList | None:
        """Return the steps behind *steps* where it is known that the chain accepts the packet as it is, else None.

        *view* is only called where the chain asks anything. Where other chains are asked with it (not *is_alone*), only what the question
        itself found is known.
        """
        first = self._known.first
        if first.end is not None and id(first) in self._own:
            is_so = first.end.leaf.verdict == "accept"
            if self._log.is_noting:
                self._log.note((self._chain, first.end, None, 0, Asked.ACCEPTS if is_so else Asked.DOES_NOT), None)
            if not is_so:
                return None
            self._budget.spend(len(first.end.steps))
            return first.end.after(steps)
        seen, had_looked = view(), self._has_looked
        found = self._found(seen)
        # Who finds nothing here looks once more before the walk. A chain that the question never walked is not looked for at all.
        in_vain = found.looked if had_looked else 0
        is_so = found.end is not None and found.end.leaf.verdict == "accept" and found.view is seen and (is_alone or not found.new)
        self._note(found, Asked.ACCEPTS if is_so else Asked.DOES_NOT)
        if found.end is None or not is_so:
            self._last = seen, found
            self._budget.spend(in_vain)
            return None
        return found.end.after(steps) if self._is_paid(found, in_vain + found.looked, in_vain) else None

    def _note(self, found: _Found, asked: Asked = Asked.END) -> None:
        if not self._log.is_noting:
            return
        if found.end is None:
            self._log.lose()
            return
        before = tuple(found.before) if found.answers else None
        self._log.note((self._chain, found.end, before, found.answers, asked), found.view.packet if len(found.end.nodes) > 1 else None)

    def again(self, end: _Straight, before: tuple[int, ...] | None, answers: int, asked: Asked) -> None:
        """Pay for a way that a packet with the same answers went (``Gone``), as if this one had been asked."""
        nodes, budget = end.nodes, self._budget
        if id(nodes[-1]) not in self._own:
            self._again_anew(end, before, answers, asked)
            return
        # So are those before it: the way is not new.
        is_told = asked is not Asked.END and len(nodes) == 1
        looked = 0 if is_told else len(nodes) - 1 + answers
        if asked is Asked.DOES_NOT:
            budget.spend(looked if self._has_looked else 0)
        else:
            self._has_looked = self._has_looked or not is_told
            budget.spend(looked + len(end.steps))

    def _again_anew(self, end: _Straight, before: tuple[int, ...] | None, answers: int, asked: Asked) -> None:
        looked, new = 0, list[_Node]()
        for node, spent in zip(end.nodes, before or (0,) * len(end.nodes), strict=True):
            if not new:
                if id(node) not in self._own:
                    looked += spent + (node is self._known.first)
                elif node.end is None:
                    looked += 1
            if new or id(node) not in self._own:
                new.append(node)
        found = _Found(end, end.leaf.view, looked if new else looked + answers, answers, new)
        in_vain = found.looked if asked is Asked.END or self._has_looked else 0
        if asked is Asked.DOES_NOT:
            self._budget.spend(in_vain)
        else:
            self._is_paid(found, found.looked if asked is Asked.END else in_vain + found.looked, in_vain)

    def _is_paid(self, found: _Found, looked: int, in_vain: int) -> bool:
        """Pay for a way, and return whether the question may go it. Where it may not, it pays for looking *in_vain*, and has to walk.

        A way that is new to it costs the walk, and what it *looked* before; so none is gone in whose walk the budget would have ended.
        """
        self._has_looked = True
        if found.end is None:
            self._budget.spend(in_vain)
            return False
        if not found.new:
            self._budget.spend(found.looked + len(found.end.steps))
            return True
        due = looked + found.answers + found.end.cost
        if self._budget.left <= due:
            self._budget.spend(in_vain)
            return False
        self._budget.spend(due)
        self._own.update(map(id, found.new))
        return True

    def _found(self, view: View) -> _Found:
        """Where the answers for *view* lead, and the view there. Nothing is paid for that yet.

        Who asked whether the chain accepts the packet, and heard that it does not, asks the same next.
        """
        last, self._last = self._last, None
        if last is not None and last[0] is view:
            return last[1]
        budget, own = self._budget, self._own
        begin, looked, new = budget.left, 0, list[_Node]()
        before, is_noted = list[int](), self._log.is_noting
        node: _Node | None = self._known.first
        while node is not None:
            if is_noted:
                before.append(begin - budget.left)
            if not new:
                if id(node) not in own:
                    looked += begin - budget.left + (node is self._known.first)
                elif node.end is None:
                    looked += 1
            if new or id(node) not in own:
                new.append(node)
            if node.end is not None or not node.is_asked:
                break
            answer = self._answer(node, view)
            if answer is not True and answer is not False:
                if isinstance(answer, Draws):
                    node = None
                    break
                if isinstance(answer, Alters):
                    view, answer = answer.view, answer.told
            node = node.answers.get(answer)
        answers = begin - budget.left
        if answers:
            budget.spend(-answers)
        return _Found(None if node is None else node.end, view, looked if new else looked + answers, answers, new, before)

    def _answer(self, node: _Node, view: View) -> object:
        if node.rule is None:
            return self._language.order(node.part, view.packet)
        if node.part is None:
            return self._language.end(node.rule, view)
        return self._language.ask(node.part, node.rule, view)

    def _keep(self, events: list[Event], leaf: Leaf, before: StepList | None, cost: int) -> None:
        node = self._known.first
        nodes = [node]
        self._own.add(id(node))
        for part, rule, answer in events:
            node.rule, node.part = rule, part  # another thread that comes between asks what leads it nowhere
            key = answer if answer is True or answer is False or not isinstance(answer, Alters) else answer.told
            node = node.answers.setdefault(key, _Node())
            nodes.append(node)
            self._own.add(id(node))
        if node.end is None:
            self._known.counted.number += 1
        texts = [rule.text for _, rule, _ in events if rule is not None]
        asks = (any(map(kind.search, texts)) for kind in (_ASKS_FOR_TUPLES, _ASKS_FOR_SENDER))
        node.end = _Straight(leaf, tuple(_since(leaf.steps, before)), cost, tuple(nodes), *asks)


def _since(steps: StepList | None, before: StepList | None) -> list[Step]:
    """The steps taken since *before*, in order."""
    found: list[Step] = []
    while steps is not None and steps is not before:
        found.append(steps.step)
        steps = steps.before
    return found[::-1]

"""The straight walks of one base chain, kept while one question is answered.

Of a Service with hundreds of endpoints, hundreds of packets cross the same chains, and most take the same way. A walk that never splits
depends on nothing but the answers to what it asked: what the parts of rules said and did, and what an index found. So a packet is asked
the same, in the same order; as long as its answers were given before, it goes where those led. The first new answer, or one that is
drawn or not known, means a walk of its own. Which rules match is thus still asked of every packet; only what follows from the answers is
not worked out again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from tracer.netfilter.effects import Alters, Draws
from tracer.netfilter.leaf import Leaf, StepList
from tracer.netfilter.rule_language import RuleLanguage
from tracer.netfilter.view import View
from tracer.netfilter.walk import Event, KnownSteps, RuleWalk
from tracer.trace import Step

_ONE = Fraction(1)


@dataclass(frozen=True, slots=True)
class _Straight:
    """The end of a walk that never split, and the steps that it took."""

    leaf: Leaf
    steps: tuple[Step, ...]

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


class KeptRuns:
    """Walks a base chain as :class:`RuleWalk` does, and keeps the straight walks. For one question: what is kept is never let go."""

    def __init__(self, language: RuleLanguage[Any, Any, Any]) -> None:
        self._language = language
        self._budget = language.budget
        self._known = KnownSteps()
        self._first = _Node()

    def run(self, view: View, steps: StepList | None) -> Iterator[Leaf]:
        """Yield every way the chain ends for *view*."""
        kept = self.straight(view, steps)
        if kept is not None and not self._budget.is_spent:
            yield kept
            return
        walk = RuleWalk(self._language, self._known)
        for leaf in walk.run(view, steps):
            if walk.events is not None and leaf.probability == _ONE and not leaf.conditions and not leaf.unknowns:
                self._keep(walk.events, leaf, steps)
            yield leaf

    def straight(self, view: View, steps: StepList | None) -> Leaf | None:
        """Return the end that an earlier packet with the same answers came to, for this one; None when there was none."""
        found = self._asked(view)
        if found is None:
            return None
        straight, view = found
        end = straight.leaf
        self._budget.spend(len(straight.steps))
        return Leaf(end.verdict, view, straight.after(steps), _ONE, target=end.target, by_policy=end.by_policy, where=end.where)

    def accepted(self, view: Callable[[], View], steps: StepList | None) -> StepList | None:
        """Return the steps behind *steps* where it is known that the chain accepts the packet as it is, else None.

        *view* is only called where the chain asks anything.
        """
        end = self._first.end
        if end is None:
            seen = view()
            found = self._asked(seen)
            if found is None or found[1] is not seen:
                return None
            end = found[0]
        if end.leaf.verdict != "accept":
            return None
        self._budget.spend(len(end.steps))
        return end.after(steps)

    def _asked(self, view: View) -> tuple[_Straight, View] | None:
        """Where the answers for *view* lead, and the view there."""
        node: _Node | None = self._first
        while node is not None and node.end is None:
            self._budget.spend(1)
            if node.part is None and node.rule is None:
                return None
            answer = self._answer(node, view)
            if answer is not True and answer is not False:
                if isinstance(answer, Draws):
                    return None
                if isinstance(answer, Alters):
                    view, answer = answer.view, answer.told
            node = node.answers.get(answer)
        return None if node is None or node.end is None else (node.end, view)

    def _answer(self, node: _Node, view: View) -> object:
        if node.rule is None:
            return self._language.order(node.part, view.packet)
        if node.part is None:
            return self._language.end(node.rule, view)
        return self._language.ask(node.part, node.rule, view)

    def _keep(self, events: list[Event], leaf: Leaf, before: StepList | None) -> None:
        node = self._first
        for part, rule, answer in events:
            node.part, node.rule = part, rule
            key = answer if answer is True or answer is False or not isinstance(answer, Alters) else answer.told
            node = node.answers.setdefault(key, _Node())
        node.end = _Straight(leaf, tuple(_since(leaf.steps, before)))


def _since(steps: StepList | None, before: StepList | None) -> list[Step]:
    """The steps taken since *before*, in order."""
    found: list[Step] = []
    while steps is not None and steps is not before:
        found.append(steps.step)
        steps = steps.before
    return found[::-1]

"""The straight walks of one base chain, kept while one question is answered.

Of a Service with hundreds of endpoints, hundreds of packets cross the same chains, and most take the same way. A walk that never splits
depends on nothing but the answers to what it asked: its matches, what an index found, the marks where a target changed them. So a packet
is asked the same, in the same order; as long as its answers were given before, it goes where those led. The first new answer, or
anything that is not simply yes or no, means a walk of its own. Which rules match is thus still asked of every packet; only what follows
from the answers is not worked out again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction

from tracer.limits import Budget
from tracer.netfilter import matches
from tracer.netfilter import model as m
from tracer.netfilter.altered_view import marked, marks_of
from tracer.netfilter.evaluate import Annotator, Asked, Evaluation, Event, KnownSteps, Leaf, StepList
from tracer.netfilter.iptables_save import Chain
from tracer.netfilter.view import View
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
    """One question, with where each answer led; or the end."""

    asked: Asked | None = None
    answers: dict[object, _Node] = field(default_factory=dict)
    end: _Straight | None = None


class KeptRuns:
    """Walks *base* as :class:`Evaluation` does, and keeps the straight walks. For one question only: what is kept is never let go."""

    def __init__(self, base: Chain, family: str, annotate: Annotator, budget: Budget | None = None) -> None:
        self._base = base
        self._family = family
        self._annotate = annotate
        self._budget = budget or Budget()
        self._known = KnownSteps()
        self._first = _Node()

    def run(self, view: View, steps: StepList | None) -> Iterator[Leaf]:
        """Yield every way the chain ends for *view*."""
        kept = self.straight(view, steps)
        if kept is not None and not self._budget.is_spent:
            yield kept
            return
        walk = Evaluation(self._base, self._family, self._annotate, self._known, self._budget)
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
        steps = straight.after(steps)
        return Leaf(end.verdict, view, steps, _ONE, target=end.target, rule=end.rule, by_policy=end.by_policy, where=end.where)

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
            asked = node.asked
            answer: object
            if isinstance(asked, Chain):
                answer = None if asked.index is None else tuple(asked.index.candidates(view.packet))
            elif isinstance(asked, m.SetMark | m.CopyMark):
                answer, view = marks_of(view), marked(asked, view)
            elif asked is None:
                return None
            else:
                if isinstance(asked, m.SetMatch) and view.sets and (kept := view.sets.get(asked.name)):
                    self._budget.spend(kept.cost(view.sets))
                answer = matches.test(asked, view)
                if answer is not True and answer is not False:
                    return None
            node = node.answers.get(answer)
        return None if node is None or node.end is None else (node.end, view)

    def _keep(self, events: list[Event], leaf: Leaf, before: StepList | None) -> None:
        node = self._first
        for asked, answer in events:
            node.asked = asked
            node = node.answers.setdefault(answer, _Node())
        node.end = _Straight(leaf, tuple(_since(leaf.steps, before)))


def _since(steps: StepList | None, before: StepList | None) -> list[Step]:
    """The steps taken since *before*, in order."""
    found: list[Step] = []
    while steps is not None and steps is not before:
        found.append(steps.step)
        steps = steps.before
    return found[::-1]

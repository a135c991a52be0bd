"""How a base chain ends for one packet, and the steps on the way there."""

from __future__ import annotations

from fractions import Fraction

from tracer.forks import Fork
from tracer.netfilter.model import Target
from tracer.netfilter.view import View
from tracer.trace import Step, Unknown
from tracer.values import dataclass


@dataclass(frozen=True, slots=True)
class StepList:
    """Steps, last first; sharing a tail costs nothing."""

    step: Step
    before: StepList | None

    def to_tuple(self) -> tuple[Step, ...]:
        """Return the steps in the order they were taken."""
        found: list[Step] = []
        node: StepList | None = self
        while node is not None:
            found.append(node.step)
            node = node.before
        return tuple(reversed(found))


@dataclass(frozen=True, slots=True)
class Leaf:
    """One way a base chain ends.

    *verdict* is accept, drop, reject, nat (then *target* is the NAT target to apply) or unknown (then *unknowns* say why).
    *probability* is relative to entering the chain; *conditions* are what had to hold that the snapshot cannot tell.
    *by_policy* is true when no rule decided; *where* says which rule did (file:line: text), or which policy.
    *forks* are the ways taken where there were several.
    """

    verdict: str
    view: View
    steps: StepList | None
    probability: Fraction
    conditions: tuple[str, ...] = ()
    unknowns: tuple[Unknown, ...] = ()
    target: Target | None = None
    by_policy: bool = False
    where: str = ""
    forks: tuple[Fork, ...] = ()

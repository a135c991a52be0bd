"""One outcome, with the steps that findings ask about picked out in a single pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tracer.trace import Hop, Outcome, StackKind, Step


@dataclass(frozen=True, slots=True)
class Mark:
    """A step and where it stands: the hop's and the step's place in the outcome."""

    hop: Hop
    step: Step
    at_hop: int
    at_step: int

    @property
    def where(self) -> str:
        """Return ``file:line``, or the chain whose policy it was, or what conntrack did."""
        step = self.step
        if step.file is not None:
            return f"{step.file}:{step.line}"
        return f"the policy of {step.table} {step.chain}" if step.policy is not None else f"conntrack on {self.hop.name}"

    @property
    def evidence(self) -> str:
        """Return the rule with its place, as a line of proof."""
        return f"{self.where} {self.step.rule}" if self.step.rule is not None else self.where


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """The way of one outcome. *decided*: the rule or policy that ended it, when one did."""

    outcome: Outcome
    nodes: tuple[Hop, ...]
    dnats: tuple[Mark, ...]
    snats: tuple[Mark, ...]
    decided: Mark | None
    through_load_balancer: bool

    @property
    def last_node(self) -> str | None:
        """Return the last node that the packet was on."""
        return self.nodes[-1].node if self.nodes else None

    def before(self, mark: Mark) -> Sequence[Step]:
        """Return the steps of the same hop before *mark*."""
        return mark.hop.steps[: mark.at_step]


def passage_of(outcome: Outcome) -> Passage:
    """Return the way of *outcome*."""
    dnats, snats = [], []
    for mark in marks(outcome.hops):
        step = mark.step
        if step.rewrote:
            if "destination" in step.rewrote or ("destination_port" in step.rewrote and step.verdict):
                dnats.append(mark)
            if "source" in step.rewrote:
                snats.append(mark)
    return Passage(
        outcome=outcome,
        nodes=tuple(h for h in outcome.hops if h.kind is StackKind.NODE and h.node is not None),
        dnats=tuple(dnats),
        snats=tuple(snats),
        decided=deciding(outcome.hops),
        through_load_balancer=any(h.kind is StackKind.LOAD_BALANCER for h in outcome.hops),
    )


def marks(hops: Sequence[Hop]) -> Iterator[Mark]:
    """Yield every step of *hops* with its place."""
    for at_hop, hop in enumerate(hops):
        for at_step, step in enumerate(hop.steps):
            yield Mark(hop, step, at_hop, at_step)


def deciding(hops: Sequence[Hop]) -> Mark | None:
    """Return the last step when it dropped or rejected the packet."""
    if not hops or not hops[-1].steps:
        return None
    hop = hops[-1]
    step = hop.steps[-1]
    ended = step.verdict in ("drop", "reject") or (step.policy or "").upper() == "DROP"
    return Mark(hop, step, len(hops) - 1, len(hop.steps) - 1) if ended else None

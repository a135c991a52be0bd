"""One outcome, with the steps that findings ask about picked out in a single pass."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from tracer.patterns import pattern
from tracer.trace import Hop, Outcome, StackKind, Step
from tracer.values import dataclass

# A rule that asks for a mark: iptables' value and mask, nft's mask, comparison and value.
_WANTS_MARK = pattern(
    r"-m mark --mark (?P<value>0x[0-9a-f]{1,8})(?:/(?P<mask>0x[0-9a-f]{1,8}))?(?= |$)"
    r"|\bmeta mark (?:(?:&|and) (?P<nft_mask>0x[0-9a-f]{1,8}) )?(?P<not>!= )?(?:== )?(?P<nft_value>0x[0-9a-f]{1,8})(?= |$)",
    re.ASCII,
)
# A rule that marks whatever comes to its chain.
_MARKS_ALL = pattern(r"-A \S{1,40} -j MARK |(?:counter )?meta mark set ", re.ASCII)
_COMMENT = pattern(r'-m comment --comment (?:"(?:[^"\\]|\\.){0,300}"|[^\s"]{1,300}) ', re.ASCII)


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
            return step.where
        return f"the policy of {step.table} {step.chain}" if step.policy is not None else f"conntrack on {self.hop.name}"

    @property
    def evidence(self) -> str:
        """Return the rule with its place, as a line of proof."""
        return f"{self.where} {self.step.rule}" if self.step.rule is not None else self.where


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """The way of one outcome. *decided*: the rule or policy that ended it, when one did.

    *cause* is the same, but where that rule ended what another one had marked: then it is the one that marked, or that called its chain.
    """

    outcome: Outcome
    nodes: tuple[Hop, ...]
    dnats: tuple[Mark, ...]
    snats: tuple[Mark, ...]
    decided: Mark | None
    cause: Mark | None
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
    for mark in marks(outcome.hops, lambda step: bool(step.rewrote)):
        step = mark.step
        if mark.hop.kind is not StackKind.POD:  # a pod's own rules choose no endpoint
            if "destination" in step.rewrote or ("destination_port" in step.rewrote and step.verdict):
                dnats.append(mark)
            if "source" in step.rewrote:
                snats.append(mark)
    decided = deciding(outcome.hops)
    return Passage(
        outcome=outcome,
        nodes=tuple(h for h in outcome.hops if h.kind is StackKind.NODE and h.node is not None),
        dnats=tuple(dnats),
        snats=tuple(snats),
        decided=decided,
        cause=(_marking(decided) or decided) if decided is not None else None,
        through_load_balancer=any(h.kind is StackKind.LOAD_BALANCER for h in outcome.hops),
    )


def marks(hops: Sequence[Hop], is_wanted: Callable[[Step], bool]) -> Iterator[Mark]:
    """Yield every step of *hops* that *is_wanted* with its place."""
    for at_hop, hop in enumerate(hops):
        for at_step, step in enumerate(hop.steps):
            if is_wanted(step):
                yield Mark(hop, step, at_hop, at_step)


def deciding(hops: Sequence[Hop]) -> Mark | None:
    """Return the last step when it dropped or rejected the packet."""
    if not hops or not hops[-1].steps:
        return None
    hop = hops[-1]
    step = hop.steps[-1]
    ended = step.verdict in ("drop", "reject") or (step.policy or "").upper() == "DROP"
    return Mark(hop, step, len(hops) - 1, len(hop.steps) - 1) if ended else None


def _marking(at: Mark) -> Mark | None:
    """Return the rule that gave the packet the mark for which the rule of *at* ended it, None where that asks for no mark, or none did."""
    wanted = _wanted(at.step.rule or "")
    if wanted is None:
        return None
    value, mask = wanted
    for place in range(at.at_step - 1, -1, -1):
        step = at.hop.steps[place]
        before, after = (int(str(x), 16) for x in step.rewrote.get("mark", ("0", "0")))
        if after & mask == value != before & mask:
            marking = Mark(at.hop, step, at.at_hop, place)
            return caller_of(marking) or marking if _MARKS_ALL.match(_COMMENT.sub("", step.rule or "")) else marking
    return None


def _wanted(rule: str) -> tuple[int, int] | None:
    """Return the bits that must be set for *rule* to match, and the mask; None where it asks for none."""
    found = _WANTS_MARK.search(rule)
    if found is None:
        return None
    value = int(found["value"] or found["nft_value"], 16)
    mask = int(found["mask"] or found["nft_mask"] or "0xffffffff", 16)
    if found["not"]:
        value = mask if value == 0 and mask != 0xFFFFFFFF else 0
    return (value, mask) if value else None


def caller_of(at: Mark) -> Mark | None:
    """Return the step that led to the chain of *at*, None for a chain that the kernel calls."""
    leads = (f"jump {at.step.chain}", f"goto {at.step.chain}")
    found = next((i for i in range(at.at_step - 1, -1, -1) if at.hop.steps[i].verdict in leads), None)
    return None if found is None else Mark(at.hop, at.hop.steps[found], at.at_hop, found)

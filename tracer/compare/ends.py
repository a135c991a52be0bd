"""Where the packets of an answer end, so that two answers can be held against each other.

A *goal* is what ends are matched by: how a packet ends, and at whom. Everything else that an end has (addresses, what the destination and
the client see, what comes back) may differ between two answers that have the goal in common.
Odds of ends with conditions are shares that nobody measured: they count only against others under the same conditions.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from tracer.compare.difference import Kind
from tracer.dispositions import WORDS
from tracer.probability import rounded
from tracer.trace import Disposition, Outcome, Reply, Trace
from tracer.values import dataclass

NEAR = Fraction(1, 1_000_000)
"""So near are odds the same: a random number of 31 bits that makes a third is a third's."""
NOTHING = "nothing"
_ADDRESS_KINDS = ("external", "endpoint", "outside")


@dataclass(frozen=True, slots=True)
class Goal:
    """How a packet ends, and at whom: a pod or node by name, others by address; what reaches nobody by the stack in which it ends."""

    disposition: Disposition
    kind: str
    name: str

    def __str__(self) -> str:
        place = _PLACES.get(self.kind, "{kind} {name}").format(kind=self.kind, name=self.name).strip()
        if self.disposition is Disposition.DELIVERED:
            return place
        title = WORDS[self.disposition].title.lower()
        return f"{title} {'towards' if self.disposition is Disposition.LEAVES else 'at'} {place}" if place else title


_PLACES = {"": "", "outside": "{name} outside", "external": "{name} outside", "load-balancer": "the load balancer of {name}"}


@dataclass(frozen=True, slots=True)
class End:
    """One end. *seen* is what is told of it, by the kind of difference that it makes."""

    goal: Goal
    seen: tuple[tuple[Kind, str], ...]
    conditions: tuple[str, ...]


def ends(answer: Trace) -> dict[End, Fraction]:
    """Return where the packets of *answer* end with which odds; of those with conditions, the odds among all under the same ones."""
    found: dict[End, Fraction] = {}
    for outcome, share in zip(answer.outcomes, rounded([outcome.probability for outcome in answer.outcomes]), strict=True):
        end = _end(outcome)
        found[end] = found.get(end, Fraction(0)) + share
    whole: dict[tuple[str, ...], Fraction] = {}
    for end, share in found.items():
        whole[end.conditions] = whole.get(end.conditions, Fraction(0)) + share
    return {end: share / whole[end.conditions] if end.conditions and share else share for end, share in found.items()}


def are_near(shares: Mapping[End, Fraction], others: Mapping[End, Fraction]) -> bool:
    """Return whether two answers have the same ends with the same odds."""
    return shares.keys() == others.keys() and all(abs(share - others[end]) <= NEAR for end, share in shares.items())


def _end(outcome: Outcome) -> End:
    place = outcome.destination
    refusal = " ".join(part for part in (outcome.reason.code if outcome.reason else "", outcome.reject_with or "") if part)
    reached = "" if place is None else f"{place.ip} port {place.port}" if place.port is not None else str(place.ip)
    seen = (
        (Kind.DISPOSITION, refusal or NOTHING),
        (Kind.DESTINATION, f"{reached} from {outcome.left_from}" if outcome.left_from else reached or NOTHING),
        (Kind.SOURCE_SEEN, NOTHING if outcome.source_seen is None else str(outcome.source_seen[0])),
        (Kind.REPLY, _answered(outcome.reply)),
        (Kind.CLIENT_SEES, outcome.client_sees.value),
        (Kind.LISTENER, outcome.listener.value if outcome.listener else NOTHING),
        (Kind.CONDITIONS, " and ".join(outcome.conditions) or NOTHING),
    )
    return End(_goal(outcome), seen, outcome.conditions)


def _goal(outcome: Outcome) -> Goal:
    place = outcome.destination
    if place is None:
        last = outcome.hops[-1] if outcome.hops else None
        return Goal(outcome.disposition, "" if last is None else last.kind.value, "" if last is None else last.name)
    if place.kind in _ADDRESS_KINDS or place.name is None:
        return Goal(outcome.disposition, place.kind, place.node or str(place.ip) if place.kind == "node" else str(place.ip))
    full = f"{place.namespace}/{place.name}" if place.namespace else place.name
    return Goal(outcome.disposition, place.kind, f"{place.node}, pod {full}" if place.kind == "node" and place.namespace else full)


def _answered(reply: Reply | None) -> str:
    if reply is None:
        return NOTHING
    return f"{reply.disposition.value} from {reply.source}" if reply.source is not None else reply.disposition.value

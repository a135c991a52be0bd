"""What becomes of one question's packets, as far as a migration report compares it: every end with its odds, without the way there.

The rules of two modes are never the same, and neither are the odds to the last bit: iptables rounds each chance to a multiple of 1/2³¹.
So the rules on the way do not count, and odds count as equal up to ``ROUNDING``.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from tracer.packet import Address
from tracer.told_odds import told
from tracer.trace import Disposition, Outcome, Place, Sees, Trace
from tracer.values import dataclass

ROUNDING = Fraction(1, 1_000_000)
"""Odds that differ by less are equal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """One way to end: where, whose address is seen there, what the client sees, and how an answer comes back."""

    disposition: Disposition
    sees: Sees
    place: Place | None = None
    source: Address | None = None
    reply: Disposition | None = None
    reply_source: Address | None = None

    def to_dict(self) -> dict[str, object]:
        """Return the end in the words of trace-json.md's verdicts."""
        out: dict[str, object] = {"disposition": self.disposition.value, "client_sees": self.sees.value}
        out["destination"] = self.place.to_dict() if self.place else None
        out["source_seen"] = str(self.source) if self.source is not None else None
        if self.reply is not None:
            out["reply"] = {"disposition": self.reply.value, "source_seen": None if self.reply_source is None else str(self.reply_source)}
        return out


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Every end of one question with its odds. *has_odds* False: a condition that nobody recorded decides between some of them."""

    ends: Mapping[End, Fraction]
    has_odds: bool = True

    @property
    def is_unknown(self) -> bool:
        """Return whether any way ends in what the snapshot does not tell."""
        return any(end.disposition is Disposition.UNKNOWN for end in self.ends)

    @property
    def sees(self) -> frozenset[Sees]:
        """Return what the client may see."""
        return frozenset(end.sees for end in self.ends)

    @property
    def dispositions(self) -> frozenset[Disposition]:
        """Return how packets may end."""
        return frozenset(end.disposition for end in self.ends)

    @property
    def places(self) -> frozenset[tuple[Address, int | None]]:
        """Return where packets may arrive: the address and port of each."""
        return frozenset((end.place.ip, end.place.port) for end in self.ends if end.place is not None)

    @property
    def sources(self) -> frozenset[Address | None]:
        """Return which source addresses may be seen where packets arrive."""
        return frozenset(end.source for end in self.ends if end.place is not None)

    def is_same(self, other: Verdict) -> bool:
        """Return whether both have the same ends with the same odds."""
        if self.has_odds is not other.has_odds or self.ends.keys() != other.ends.keys():
            return False
        return not self.has_odds or all(abs(odds - other.ends[end]) < ROUNDING for end, odds in self.ends.items())

    def to_dict(self) -> dict[str, object]:
        """Return ``{"outcomes": […]}`` as trace-json.md has them; without odds where a condition decides."""
        return {"outcomes": [(told(odds) if self.has_odds else {}) | end.to_dict() for end, odds in self.ends.items()]}


def verdict_of(found: Trace) -> Verdict:
    """Return the verdict of a trace."""
    ends: dict[End, Fraction] = {}
    for outcome in found.outcomes:
        end = _end(outcome)
        ends[end] = ends.get(end, Fraction(0)) + outcome.probability
    return Verdict(ends=ends, has_odds=not any(outcome.conditions for outcome in found.outcomes))


def _end(outcome: Outcome) -> End:
    seen, reply = outcome.source_seen, outcome.reply
    return End(
        disposition=outcome.disposition,
        sees=outcome.client_sees,
        place=outcome.destination,
        source=seen[0] if seen is not None else None,
        reply=reply.disposition if reply is not None else None,
        reply_source=reply.source if reply is not None else None,
    )

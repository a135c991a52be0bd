"""One thing that two answers differ in, as a value and as a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from tracer.values import dataclass

_NAMED = 3


class Kind(StrEnum):
    """What of two answers differs, in the order in which it is told.

    ``FINDINGS``, ``LOOKUPS`` and ``STEPS`` are of the way alone: packets end alike.
    """

    DISPOSITION = "disposition"
    DESTINATION = "destination"
    ODDS = "odds"
    SOURCE_SEEN = "source_seen"
    REPLY = "reply"
    CLIENT_SEES = "client_sees"
    LISTENER = "listener"
    CONDITIONS = "conditions"
    FINDINGS = "findings"
    LOOKUPS = "lookups"
    STEPS = "steps"

    @property
    def is_of_the_way(self) -> bool:
        """Return whether packets end all the same."""
        return self in (Kind.FINDINGS, Kind.LOOKUPS, Kind.STEPS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One difference. *text* says it as a sentence; *where* are the ends (``pod shop/web-0``) or stacks that it is of.

    *before* and *after* are what stood and stands there, as words: addresses, odds, dispositions; empty where there was nothing.
    """

    kind: Kind
    text: str
    where: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Return the difference as trace-json.md writes it."""
        out: dict[str, object] = {"kind": self.kind.value, "text": self.text}
        return out | {"where": list(self.where), "before": list(self.before), "after": list(self.after)}


def named(where: Sequence[str]) -> str:
    """Return the first of *where* by name, and how many others there are."""
    if len(where) <= _NAMED + 1:
        return ", ".join(where)
    return f"{', '.join(where[:_NAMED])} and {len(where) - _NAMED:,} others"


def told(found: Sequence[Difference]) -> str:
    """Return in one sentence what *found* differences come to."""
    if any(not one.kind.is_of_the_way for one in found):
        return "Packets end otherwise."
    if any(one.kind is Kind.FINDINGS for one in found):
        return "Packets end in the same places with the same odds, but something else is found of them."
    if found:
        return "Nothing changes for these packets: they take another way, and end in the same places with the same odds."
    return "Nothing changes for these packets: they meet the same rules, and end in the same places with the same odds."

"""One difference between a node's recorded rules and the model's."""

from __future__ import annotations

from enum import StrEnum

from tracer.values import dataclass


class Drift(StrEnum):
    """What is wrong with a rule."""

    MISSING = "missing"
    STALE = "stale"
    DIFFERENT = "different"
    FOREIGN = "foreign"
    LEFTOVER = "leftover"


WORDS = {
    Drift.MISSING: "kube-proxy would have written it, and it is not there",
    Drift.STALE: "kube-proxy would have taken it away: the objects no longer ask for it",
    Drift.DIFFERENT: "it is not as kube-proxy would have written it",
    Drift.FOREIGN: "kube-proxy writes no such rule: somebody else put it among kube-proxy's",
    Drift.LEFTOVER: "what it was written for is gone",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One difference. *file* and *line* are where it stands; for what is missing *line* is None.

    *place* is the table and chain, set or map. *text* is what is recorded, *expected* what the model has, each "" where there is nothing.
    *service* is ``namespace/name:port`` where one is concerned, *note* says more in words, *owner* is who wrote a foreign rule.
    """

    drift: Drift
    file: str
    place: str
    line: int | None = None
    text: str = ""
    expected: str = ""
    service: str = ""
    note: str = ""
    owner: str = ""

    def to_dict(self) -> dict[str, object]:
        """Return it as JSON has it."""
        return {
            "drift": self.drift.value,
            "file": self.file,
            "line": self.line,
            "place": self.place,
            "service": self.service or None,
            "text": self.text or None,
            "expected": self.expected or None,
            "note": self.note or WORDS[self.drift],
            "owner": self.owner or None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What comes of comparing one file: its *findings*, and in *unknown* what could not be compared, in words.

    *is_compared* False: it holds nothing of kube-proxy's, and need not.
    """

    findings: tuple[Finding, ...] = ()
    is_compared: bool = True
    unknown: tuple[str, ...] = ()

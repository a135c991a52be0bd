"""What goes wrong between real API servers and their clients, to be served on purpose: only tests use it."""

from __future__ import annotations

import threading
from dataclasses import field
from enum import StrEnum

from tracer.values import dataclass


class What(StrEnum):
    """The kinds of fault."""

    STATUS = "an HTTP status instead of the answer (401, 403, 410, 429, 500, 503 …)"
    CUT = "the connection breaks in the middle of a line, or of a list's JSON"
    CUT_BETWEEN = "the connection breaks between two events"
    SLOW = "the bytes come a few at a time"
    HUGE = "the answer is far larger than any real one"
    GARBAGE = "a line, or the whole answer, is not JSON"
    NOT_AN_EVENT = "a line is JSON but no event; a list is none"
    GONE_EVENT = "a running watch says 410 and ends"
    SILENT = "nothing comes, and the connection stays open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """*what* happens to a *verb* (list, watch, get, exec, review; None: any) on *plural* (None: any), *times* times (None: always).

    *after*: how many events, or bytes of an exec's output, come first. *status*: for STATUS, with *retry_after* seconds.
    *size*: how many bytes are HUGE. *seconds*: between two pieces when SLOW, and how long it is SILENT.
    """

    what: What
    verb: str | None = None
    plural: str | None = None
    times: int | None = 1
    after: int = 0
    status: int = 500
    retry_after: int | None = None
    size: int = 1 << 20
    seconds: float = 0.01


@dataclass(slots=True)
class Faults:
    """The faults that are due, in order, and a log of every request: (verb, plural, answered with which fault)."""

    pending: list[tuple[Fault, int | None]] = field(default_factory=list)
    log: list[tuple[str, str, What | None]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, *faults: Fault) -> None:
        """Let these happen, after those that are due already."""
        with self._lock:
            self.pending += [(fault, fault.times) for fault in faults]

    def clear(self) -> None:
        """Let nothing more go wrong."""
        with self._lock:
            self.pending.clear()

    def take(self, verb: str, plural: str) -> Fault | None:
        """Return the first fault that is due for this request, and count it."""
        with self._lock:
            found = next((i for i, (f, _) in enumerate(self.pending) if f.verb in (None, verb) and f.plural in (None, plural)), None)
            fault = None
            if found is not None:
                fault, left = self.pending[found]
                if left is not None:
                    self.pending[found : found + 1] = [(fault, left - 1)] if left > 1 else []
            self.log.append((verb, plural, fault.what if fault else None))
            return fault

"""The errors the engine raises. DROP, REJECT, NXDOMAIN and loops are results, never errors."""

from __future__ import annotations

from collections.abc import Iterable

from tracer.limits import FAULTS
from tracer.values import dataclass


class TracerError(Exception):
    """Base of every error that the engine raises on purpose; *code* is stable and printed in answers."""

    code = "ERROR"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault of an input: where it is, what is wrong, and the text with a caret under it."""

    file: str
    line: int | None
    column: int | None
    message: str
    text: str = ""

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        if not self.text:
            return f"{where}: {self.message}"
        start = max(0, (self.column or 0) - 60)
        shown = self.text[start : start + 120]
        caret = " " * ((self.column or 0) - start) + "^"
        return f"{where}: {self.message}\n    {shown}\n    {caret}"


class Faults(list[Fault]):
    """The faults of one text, in the order in which they were found: the first of them, and that there are more."""

    def append(self, fault: Fault) -> None:
        """Keep *fault* while there are not too many."""
        if len(self) < FAULTS:
            super().append(fault)
        elif len(self) == FAULTS:
            message = f"more than {FAULTS} faults: the others are not listed"
            super().append(Fault(file=fault.file, line=fault.line, column=None, message=message))

    def extend(self, faults: Iterable[Fault]) -> None:
        """Keep *faults* while there are not too many."""
        for fault in faults:
            self.append(fault)


class ParseError(TracerError):
    """The text of an input is not what its format says; carries every fault found."""

    code = "PARSE_ERROR"

    def __init__(self, *faults: Fault) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = faults


class SnapshotError(TracerError):
    """The inputs contradict each other, or hold too little to be a snapshot."""

    code = "SNAPSHOT_ERROR"


class QueryError(TracerError):
    """A query names something that is malformed or not in the snapshot; *near* are the nearest names."""

    code = "QUERY_ERROR"

    def __init__(self, message: str, *, code: str = "QUERY_ERROR", field: str = "", near: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.field = field
        self.near = near


class TooMuchWork(TracerError):
    """A question is more work than the one who asked has patience for; asked with more, it has an answer: no answer ever says this."""


class UnsupportedError(TracerError):
    """Recognised, not modelled."""

    code = "UNSUPPORTED"

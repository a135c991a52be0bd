"""What a what-if question adds to rules that were recorded: they stand behind the recorded text, and are told apart by their lines."""

from __future__ import annotations

from tracer.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """Lines *behind* so many recorded ones, as they would be programmed *by* a program and release; *file* is where, in words."""

    behind: int
    by: str
    file: str

    def has(self, line: int | None) -> bool:
        """Return whether *line* is one of them."""
        return line is not None and line > self.behind

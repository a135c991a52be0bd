"""What one question assumes: the settings it was asked with, and those that its walk met. An assumption that nothing met is not told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from tracer.limits import OTHERS
from tracer.trace import Assumption
from tracer.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class _Met:
    text: str
    others: tuple[str, ...]


class Assuming:
    """The assumptions of one question, set by its words. It keeps what was met, so it is for one question only."""

    def __init__(self, words: Iterable[str] = ()) -> None:
        self._set = dict(word.split(":", 1) for word in words)
        self._met: dict[tuple[str, str], _Met] = {}
        self.number = 0
        """How often something was assumed."""

    def setting(self, name: str) -> str | None:
        """Return what the question sets the assumption *name* to, None where it does not; it is not met by that."""
        return self._set.get(name)

    def picked(self, name: str, settings: Sequence[str], text: Callable[[str], str]) -> str:
        """Return the setting of *name* that holds, and keep that it was met: the question's, else the first of *settings*.

        *text* says what a setting means here, as a sentence.
        """
        self.number += 1
        chosen = self._set.get(name) or settings[0]
        if (name, chosen) not in self._met:
            others = tuple(f"{name}:{other}" for other in settings if other != chosen)[:OTHERS]
            self._met[name, chosen] = _Met(text=text(chosen), others=others)
        return chosen

    def told(self) -> tuple[Assumption, ...]:
        """Return what was met, in the order in which it was."""
        return tuple(Assumption(code=f"{name}:{chosen}", text=met.text, other=met.others) for (name, chosen), met in self._met.items())

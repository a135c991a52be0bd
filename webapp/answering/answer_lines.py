"""Answers as lines of JSON, one after the other: what they have in common is encoded once.

Most of an answer are its steps, and the answers of a batch share them. So an answer is encoded with marks in place of its packets and
steps, and the marks are then replaced by what was encoded of those: the line is the one that ``json.dumps`` gives for the whole answer.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tracer.limits import KEPT_JSON
from tracer.packet import Packet
from tracer.trace import Step, Written

# ASCII, so that every reader can decode it, and every id, half a surrogate pair too, comes back as it was given.
_encoded = json.JSONEncoder(separators=(",", ":")).encode


class AnswerLines:
    """Writes answers one after the other, and keeps what it encoded of their steps, as long as that is no more than ``KEPT_JSON``."""

    def __init__(self) -> None:
        # Nobody who asks can know it, so no text of an answer is taken for a mark.
        self._mark = secrets.token_hex(8)
        self._steps: dict[int, tuple[Step, str]] = {}
        self._kept = 0

    def line(self, answer: Callable[[Written], Mapping[str, Any]]) -> str:
        """Return as JSON what *answer* makes, given what writes its packets and steps."""
        marked = _Marked(self._mark, self._of)
        first, *others = _encoded(answer(marked)).split(f'"{self._mark}')
        parts = [first]
        for other in others:
            number, _, rest = other.partition('"')
            parts += marked.texts[int(number)], rest
        return "".join(parts)

    def _of(self, step: Step) -> str:
        """The step as JSON."""
        kept = self._steps.get(id(step))
        if kept is None:
            kept = step, _encoded(step.to_dict())  # the step is held so that its id stays its own
            self._kept += len(kept[1])
            if self._kept > KEPT_JSON:
                self._steps.clear()
                self._kept = len(kept[1])
            self._steps[id(step)] = kept
        return kept[1]


class _Marked(Written):
    """Writes a mark for each packet, and for the steps of each hop; *texts* are what the marks stand for."""

    def __init__(self, mark: str, text_of: Callable[[Step], str]) -> None:
        super().__init__()
        self._mark = mark
        self._text_of = text_of
        self._places: dict[int, tuple[Packet, str]] = {}
        self.texts: list[str] = []

    def packet(self, packet: Packet) -> object:
        """Return the mark of *packet*."""
        placed = self._places.get(id(packet))
        if placed is None:
            placed = self._places[id(packet)] = packet, self._placed(_encoded(packet.to_dict()))
        return placed[1]

    def steps(self, steps: Sequence[Step]) -> object:
        """Return the mark of *steps*."""
        return self._placed("[" + ",".join(map(self._text_of, steps)) + "]") if steps else []

    def _placed(self, text: str) -> str:
        self.texts.append(text)
        return f"{self._mark}{len(self.texts) - 1}"

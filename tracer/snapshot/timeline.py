"""A timeline's table of contents: steps.json, and which of its files are the recording itself rather than the snapshot at its start.

Playing one is the application's business; here a timeline is recognised, counted and checked.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from itertools import pairwise

from tracer.errors import Fault, ParseError
from tracer.kube.fields import Fields, Origin
from tracer.kube.json_text import decode_json
from tracer.patterns import pattern
from tracer.values import dataclass

BASE = "base/"
"""The folder of the snapshot at a timeline's start."""
STEPS = "steps.json"
_ANSWERS = pattern(r"[a-z]+\.(?:list\.json|watch\.jsonl)", re.ASCII)
_AFTER = pattern(r"step-(?P<step>[0-9]{2,6})/(?P<node_and_name>(?:[^/]+/pods/[^/_]+_)?[^/]+)", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One moment of a timeline: what changed (*title*), when (*at*, Unix seconds), and how far the API server was (*resource_version*)."""

    number: int
    title: str
    at: float
    resource_version: str

    def to_dict(self) -> dict[str, object]:
        """Return the step as steps.json writes it."""
        return {"step": self.number, "title": self.title, "at": self.at, "resource_version": self.resource_version}


def is_timeline(paths: Collection[str]) -> bool:
    """Return whether *paths* are those of a timeline: a list of steps, and a snapshot at its start."""
    return STEPS in paths and any(path.startswith(BASE) for path in paths)


def is_recording(path: str, names: Collection[str]) -> bool:
    """Return whether *path* is part of a timeline's recording: its steps, the API server's answers, or a node's file after a step.

    *names* are the documented names of node files.
    """
    return path == STEPS or _ANSWERS.fullmatch(path) is not None or file_after_step(path, names) is not None


def file_after_step(path: str, names: Collection[str]) -> tuple[int, str, str] | None:
    """Return the step, the node and the documented name (one of *names*) of ``step-NN/NODE.NAME``; None for other paths.

    A pod's own stack stands for a node as ``NODE/pods/NAMESPACE_NAME``.
    """
    match = _AFTER.fullmatch(path)
    if match is None:
        return None
    both = match["node_and_name"]
    # NB: dots stand in names of nodes and of files: the file's name is what is known.
    name = max((n for n in names if both.endswith(f".{n}") and len(both) > len(n) + 1), key=len, default=None)
    return None if name is None else (int(match["step"]), both[: -len(name) - 1], name)


def read_steps(text: str, file: str = STEPS) -> tuple[Step, ...]:
    """Return the steps of a timeline in order. :raises ParseError: the text is no list of steps, or their times go backwards."""
    value = decode_json(text, file)
    if not isinstance(value, list) or not value:
        raise ParseError(Fault(file=file, line=None, column=None, message="is no list of steps"))
    steps = tuple(_step(number, entry, file) for number, entry in enumerate(value))
    for before, after in pairwise(steps):
        if after.at < before.at:
            message = f"step {after.number} is earlier than step {before.number}"
            raise ParseError(Fault(file=file, line=None, column=None, message=message))
    return steps


def _step(number: int, entry: object, file: str) -> Step:
    fields = Fields.of(entry, f"step {number}", Origin(file=file))
    at = fields.raw("at")
    if isinstance(at, bool) or not isinstance(at, int | float) or not 0 <= at < 1e12:
        fields.refuse("at", "is no time in seconds since 1970")
    if fields.number("step") != number:
        fields.refuse("step", f"is not {number}: steps count from 0 without a gap")
    return Step(number=number, title=fields.text("title") or "", at=float(at), resource_version=fields.name("resource_version"))

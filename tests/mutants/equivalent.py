"""Mutations that change nothing, each with the reason: ``equivalent.toml``, found by the key that ``make mutants`` prints."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

LISTED = Path(__file__).with_name("equivalent.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Equivalent:
    """A mutation, as it reads, and why no test can notice it."""

    key: str
    file: str
    change: str
    reason: str


def equivalents() -> tuple[Equivalent, ...]:
    """Return the list. :raises TypeError: an entry lacks something."""
    return tuple(Equivalent(**entry) for entry in tomllib.loads(LISTED.read_text()).get("mutation", ()))

"""One entry of an archive, whatever kind of archive it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of an archive: its raw name, what is wrong with its kind ("" if nothing), and how to read it."""

    name: str
    is_folder: bool
    kind_problem: str
    read: Callable[[], bytes]

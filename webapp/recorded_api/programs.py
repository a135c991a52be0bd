"""What programs in a node's containers print: the files that the recording has of that node.

A program whose output was not recorded is one that the container does not have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from webapp.node_commands import CONNTRACK, NODE_COMMANDS

_FILES = {command.argv: command.file for command in (*NODE_COMMANDS, CONNTRACK)}
_PROGRAMS = frozenset(argv[0] for argv in _FILES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Printed:
    """What a program printed, and its exit code."""

    stdout: bytes = b""
    stderr: bytes = b""
    exit_code: int = 0


def run(argv: tuple[str, ...], read: Callable[[str], bytes | None]) -> Printed | None:
    """Return what *argv* prints, by the files that *read* knows (documented name → content). None: there is no such program."""
    name = _FILES.get(argv)
    if name is None:
        if not argv or argv[0] not in _PROGRAMS:
            return None
        return Printed(stderr=f"{argv[0]}: the recording has no output of {' '.join(argv)}\n".encode(), exit_code=2)
    content = read(name)
    return None if content is None else Printed(stdout=content)

"""Reading one stack, a node's or a pod's own, and writing its files: what is asked for, what stands in for it, and what did not come."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace

from tracer.snapshot.node_files import ALSO, ALSO_CONNECTIONS, BY_NAME, CONNTRACK, IPTABLES, LEGACY_WARNING, OF_A_POD, READ, NodeFile
from tracer.values import dataclass
from webapp.collecting.cluster_objects import Say
from webapp.collecting.collection import Collection, How
from webapp.collecting.report import NOT_ALLOWED, failures_of
from webapp.reading.changes import FileRead, NodeRead
from webapp.reading.node_reader import ReadFrom, Runs, read_node
from webapp.reading.same_reading import as_kept

NOTHING = "Nothing was printed."
_ASKED_FIRST = frozenset(file.name for file in (*READ, CONNTRACK))
_NODES_OWN = (None, "kube-proxy", "node-reader")
"""Containers of which a node's line does not say that it was read in them: they are there for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reads:
    """What every reading needs: what is asked of a node, whether connections too, where it goes, and who is told."""

    wanted: tuple[NodeFile, ...]
    conntrack: bool
    into: Collection
    say: Say


def read_stack(run: Reads, stack: str, place: ReadFrom, programs: Runs) -> None:
    """Read the stack of a node, and say how it went."""
    read_files(run, stack, place, programs)
    run.say(line_of(run.into, stack, "" if place.container in _NODES_OWN else f" by {place.container} in {place}"))


def read_files(run: Reads, stack: str, place: ReadFrom, programs: Runs) -> bool:
    """Read what is asked of a node; of a pod's own stack what it can have and is not there yet. Return whether it came to its end."""
    is_pods = "/pods/" in stack
    there = {entry.name: b"" for entry in run.into.entries if is_pods and entry.stack == stack and entry.how is How.TAKEN}
    wanted = tuple(file for file in run.wanted if not is_pods or (file.name in OF_A_POD and file.name not in there))
    reading = _with_word(read_node(programs, stack, place, wanted))
    for file in reading.files:
        keep(stack, file, run.into)
    if not reading.error and not place.is_reader:
        _read_more(programs, stack, place, run, there, reading.files)
    if reading.error:
        unread = [file.name for file in wanted] if not place.is_reader else [IPTABLES.name]
        for name in unread:
            if name not in {file.name for file in reading.files}:
                run.into.miss(f"nodes/{stack}/{name}", reading.error, reading.read_at)
    return not reading.error


def unread(run: Reads, stack: str, error: str, *, is_lacking: bool = False) -> None:
    """Note, and say, that nothing of *stack* can be read."""
    run.into.miss(f"nodes/{stack}/{IPTABLES.name}", error, time.time(), is_lacking=is_lacking)
    run.say(f"  {stack}: {error}")


def _with_word(reading: NodeRead) -> NodeRead:
    """Return *reading* with the word in front that every refusal has here."""
    return replace(reading, error=f"{NOT_ALLOWED}{reading.error}") if reading.is_denied else reading


def _read_more(programs_of: Runs, stack: str, place: ReadFrom, run: Reads, there: dict[str, bytes], before: Iterable[FileRead]) -> None:
    """Read what is asked for on top, each where it is wanted; a program that is missing is not tried again.

    *there*: what another container of the same pod has printed.
    """
    taken = there | {
        file.name: file.content for file in before if file.content or (file.content is not None and not file.name.endswith(".json"))
    }
    programs = {BY_NAME[name].argv[0] for name in taken if name in _ASKED_FIRST}
    absent: set[str] = set()
    for also in (*ALSO, *(ALSO_CONNECTIONS if run.conntrack else ())):
        if also.argv[0] in absent or also.file.name in there or any(name in taken for name in also.without):
            continue
        if ("/pods/" in stack and also.file.name not in OF_A_POD) or (
            also.warned and LEGACY_WARNING.encode() not in taken.get(also.warned, b"")
        ):
            continue
        reading = _with_word(read_node(programs_of, stack, place, (replace(also.file, argv=also.argv),)))
        for file in reading.files:
            if file.content is not None and not _is_nothing(file):
                taken[file.name] = file.content
                programs.add(also.argv[0])
                keep(stack, file, run.into)
            elif file.is_lacking and also.argv[0] not in programs:
                absent.add(also.argv[0])
            if file.name not in taken:
                run.into.miss(f"nodes/{stack}/{file.name}", file.error or NOTHING, file.read_at, is_lacking=not reading.error)
        if reading.error:
            return


def _is_nothing(file: FileRead) -> bool:
    """Return whether a program printed nothing where it prints something in any case."""
    return not file.content and not BY_NAME[file.name].may_be_empty


def keep(stack: str, file: FileRead, into: Collection) -> None:
    """Write a file that was read, or note why it is not there."""
    path = f"nodes/{stack}/{file.name}"
    if file.content is None:
        into.miss(path, file.error, file.read_at, is_lacking=file.is_lacking)
    elif file.name.endswith(".json") and not file.content:
        into.miss(path, NOTHING, file.read_at)
    else:
        into.take(path, as_kept(file.name, file.content), file.read_at)


def line_of(into: Collection, stack: str, where: str = "") -> str:
    """Return the line that says how the reading of *stack* went (*where* it was read, if that is to be said), and what failed."""
    entries = [entry for entry in into.entries if entry.stack == stack]
    lacking = sum(entry.how is How.LACKING for entry in entries)
    taken = sum(entry.how is How.TAKEN for entry in entries)
    return f"  {stack}: {taken} files{where}" + (f"; {lacking} cannot be read there" if lacking else "") + failures_of(entries)

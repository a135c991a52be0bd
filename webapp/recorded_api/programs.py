"""What programs in a node's containers print: the files that the recording has of that node.

A program whose output was not recorded is one that the container does not have.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tracer.snapshot.node_files import ALSO, ALSO_CONNECTIONS, CONNTRACK, READ

_FILES = {file.argv: file.name for file in (*READ, CONNTRACK)} | {one.argv: one.file.name for one in (*ALSO, *ALSO_CONNECTIONS)}
_MORE = frozenset(one.argv for one in (*ALSO, *ALSO_CONNECTIONS))
_CHROOT = ("chroot", "/host")
_READER = ("hopline-node-reader",)
_READER_WITH_CONNTRACK = (*_READER, "--conntrack")


@dataclass(frozen=True, slots=True, kw_only=True)
class Printed:
    """What a program printed, and its exit code."""

    stdout: bytes = b""
    stderr: bytes = b""
    exit_code: int = 0


def run(argv: tuple[str, ...], read: Callable[[str], bytes | None]) -> Printed | None:
    """Return what *argv* prints, by the files that *read* knows (documented name → content). None: there is no such program."""
    name = _FILES.get(argv)
    content = None if name is None else read(name)
    if content is not None:
        return Printed(stdout=content)
    is_there = any(other[:1] == argv[:1] and read(file) is not None for other, file in _FILES.items())
    if is_there and (name is None or argv in _MORE):
        return Printed(stderr=f"{argv[0]}: the recording has no output of {' '.join(argv)}\n".encode(), exit_code=2)
    return None


def run_on_host(argv: tuple[str, ...], run_plain: Callable[[tuple[str, ...]], Printed | None]) -> Printed | None:
    """Return what *argv* prints in a pod for debugging: its ``chroot /host`` has the node's programs, and so has its image."""
    if argv[:2] != _CHROOT:
        return run_plain(argv)
    missing = f"chroot: failed to run command '{argv[2] if len(argv) > 2 else ''}': No such file or directory\n"
    return run_plain(argv[2:]) or Printed(stderr=missing.encode(), exit_code=127)


def run_reader(argv: tuple[str, ...], names: Iterable[str], read: Callable[[str], bytes | None]) -> Printed | None:
    """Return what our node reader prints: a tar of the files called *names*, and what it says of them in ``reading.json``.

    None: *argv* is another program, and its image has none that could be run. Source: deploy/node-reader/node_reader.py.
    """
    if argv[:1] != _READER:
        return None
    if argv not in (_READER, _READER_WITH_CONNTRACK):
        return Printed(stderr=b"usage: hopline-node-reader [--conntrack] > reading.tar\n", exit_code=2)
    found = {name: read(name) for name in names if name != CONNTRACK.name or argv == _READER_WITH_CONNTRACK}
    report = {name: {"seconds": 0.0} | ({"error": "Not recorded yet."} if content is None else {}) for name, content in found.items()}
    files = {name: content for name, content in found.items() if content is not None}
    return Printed(stdout=_tar(files | {"reading.json": json.dumps({"files": report}).encode()}))


def _tar(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()

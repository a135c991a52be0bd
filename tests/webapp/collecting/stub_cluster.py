"""Runs collect.sh against the stub kubectl, and says what it called."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tracer.snapshot.node_files import ALSO, ALSO_CONNECTIONS, CONNTRACK, READ

PROJECT = Path(__file__).resolve().parents[3]
SCRIPT = PROJECT / "collect.sh"
STUB = Path(__file__).with_name("stub_kubectl.py")


@dataclass(slots=True, kw_only=True)
class Ran:
    """What a run of collect.sh printed, how it ended, and how it called kubectl."""

    code: int
    out: str
    err: str
    calls: list[list[str]] = field(repr=False)


def make_kubectl(folder: Path) -> Path:
    """Return the stub as a program in *folder*, whose name has a blank."""
    program = folder / "my programs" / "kubectl"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{STUB}" "$@"\n')
    program.chmod(0o755)
    return program


def environment_of(folder: Path, recording: Path, faults: dict[str, Any]) -> dict[str, str]:
    """Return what the stub is told by: an empty log, the recording and *faults*."""
    (folder / "log.jsonl").write_text("")
    more = (*ALSO, *ALSO_CONNECTIONS)
    commands = [[file.name, file.argv] for file in (*READ, CONNTRACK)] + [[one.file.name, one.argv] for one in more]
    return {
        "HOME": str(folder),
        "STUB_RECORDING": str(recording),
        "STUB_LOG": str(folder / "log.jsonl"),
        "STUB_FAULTS": json.dumps(faults),
        "STUB_MORE": json.dumps([one.argv for one in more]),
        "STUB_COMMANDS": json.dumps(commands),
    }


def command(folder: Path, shell: tuple[str, ...], arguments: tuple[str, ...]) -> list[str]:
    """Return the command that runs collect.sh with the stub, which is made where it is not there yet."""
    program = folder / "my programs" / "kubectl"
    if not program.exists():
        make_kubectl(folder)
    return [*shell, str(SCRIPT), "--kubectl", str(program), *arguments]


def collect(
    folder: Path, recording: Path, *arguments: str, shell: tuple[str, ...] = ("dash",), path: str | None = None, **faults: Any
) -> Ran:
    """Run collect.sh in *folder* against *recording* and return what happened."""
    environment = environment_of(folder, recording, faults) | {"PATH": path or os.environ["PATH"]}
    done = subprocess.run(
        command(folder, shell, arguments),
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        stdin=subprocess.DEVNULL,
    )
    calls = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return Ran(code=done.returncode, out=done.stdout, err=done.stderr, calls=calls)


def started(folder: Path, recording: Path, *arguments: str, **faults: Any) -> subprocess.Popen[str]:
    """Start collect.sh in *folder* against *recording*; its error output is piped."""
    environment = environment_of(folder, recording, faults) | {"PATH": os.environ["PATH"]}
    return subprocess.Popen(command(folder, ("dash",), arguments), cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)


def debug_pods(folder: Path) -> list[str]:
    """Return the names of the debug pods that are there."""
    return sorted(path.name for path in (folder / "debug-pods").glob("*"))


def has(program: str) -> bool:
    """Return whether *program* is installed."""
    return shutil.which(program) is not None

"""Copies of the project to mutate, and what a tree is told by: never the working tree itself."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "var" / "mutants"


def files_of(root: Path) -> tuple[str, ...]:
    """Return every file of the project under *root* that git has or would take."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=root, capture_output=True, check=True, text=True
    )
    return tuple(sorted(name for name in listed.stdout.split("\0") if name and (root / name).is_file()))


def digest(root: Path, names: Iterable[str]) -> str:
    """Return one digest over the contents of files."""
    found = hashlib.sha256()
    for name in sorted(names):
        found.update(f"{name}\0".encode() + hashlib.sha256((root / name).read_bytes()).digest())
    return found.hexdigest()[:16]


def test_files(names: Iterable[str]) -> tuple[str, ...]:
    """Return the test files of the engine among *names*: the pages' own tests are not asked, nor what tests the mutations."""
    folders = ("tests/tracer/", "tests/oracle/", "tests/fuzz/")
    return tuple(n for n in names if n.startswith(folders) and n.rpartition("/")[2].startswith("test_") and n.endswith(".py"))


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of the project, and the process that runs tests in it."""

    root: Path
    _session: subprocess.Popen[str]

    def run(self, job: dict[str, Any]) -> tuple[int, str]:
        """Have a *job* done, see ``session``: returns pytest's exit code (minus the signal where it was killed) and what it printed."""
        assert self._session.stdin is not None
        assert self._session.stdout is not None
        self._session.stdin.write(json.dumps(job) + "\n")
        self._session.stdin.flush()
        answer = json.loads(self._session.stdout.readline())
        return answer["code"], answer["printed"]


@contextmanager
def copy_of(root: Path) -> Iterator[Copy]:
    """Give a copy of the project with what stands beside it; it goes again in the end."""
    with TemporaryDirectory(prefix="hopline-mutant-") as folder:
        tree = Path(folder) / "tree"
        for name in files_of(root):
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, tree / name)
        if (root.parent / "shared").is_dir():
            (Path(folder) / "shared").symlink_to(root.parent / "shared")
        # -B: a compiled module is known by its second and its size, which a mutation of the same second and size would share.
        command = [sys.executable, "-B", "-m", "tests.mutants.session"]
        with subprocess.Popen(command, cwd=tree, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as session:
            yield Copy(tree, session)
            assert session.stdin is not None
            session.stdin.close()


@contextmanager
def copies_of(root: Path, count: int) -> Iterator[Callable[[], AbstractContextManager[Copy]]]:
    """Give a function that lends one of *count* copies."""
    free: SimpleQueue[Copy] = SimpleQueue()

    @contextmanager
    def lent() -> Iterator[Copy]:
        copy = free.get()
        try:
            yield copy
        finally:
            free.put(copy)

    with ExitStack() as stack:
        for _ in range(count):
            free.put(stack.enter_context(copy_of(root)))
        yield lent

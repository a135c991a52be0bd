"""Run mutated inputs through a reader and keep what should not happen: another error than TracerError, more than a second, or more than
200 MB.
"""

from __future__ import annotations

import gc
import random
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from tests.fuzz.mutate import mutated
from tests.fuzz.readers import Reader
from tracer.errors import TracerError

PATIENCE = 1  # second of processor time for one input
MEMORY = 200_000_000  # bytes, more than the process has when it begins


@dataclass(frozen=True, slots=True, kw_only=True)
class Escape:
    """An input that broke a reader: which, with which seed it is made again, and how it ended."""

    reader: str
    seed: str
    error: str
    text: str


class _TooLongError(Exception):
    pass


@contextmanager
def _patience() -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise _TooLongError(f"more than {PATIENCE} s of processor time")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, PATIENCE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@contextmanager
def _memory() -> Iterator[None]:
    """Let the process have no more than so much more memory: beyond it, it gets a MemoryError."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def escapes(reader: Reader, inputs: int, seed: int) -> Iterator[Escape]:
    """Yield what broke *reader* among *inputs* mutations; input number n of seed s is always the same."""
    gc.collect()
    for number in range(inputs):
        name = f"{seed}:{reader.name}:{number}"
        chance = random.Random(name)
        text = mutated(chance.choice(reader.seeds), chance)
        try:
            with _memory(), _patience():
                reader.read(text)
        except TracerError:
            continue
        except Exception as error:
            yield Escape(reader=reader.name, seed=name, error=f"{type(error).__name__}: {error}", text=text)

"""The lanes: which work runs in which processes, and what each may take. The one table of these bounds; docs/operations.md repeats it."""

from __future__ import annotations

from enum import StrEnum

from django.conf import settings

from tracer.values import dataclass

MB = 1_000_000


class Lane(StrEnum):
    """A kind of work. What turns out to need another lane is sent there by :class:`webapp.work.place.Elsewhere`."""

    PAGES = "pages"
    """Pages and answers that are already there: no engine runs."""
    QUICK = "quick"
    """Questions with few outcomes about snapshots of ordinary size."""
    HEAVY = "heavy"
    """Every other question, and exports."""
    UPLOADS = "uploads"
    """Reading what was handed in."""
    LIVE = "live"
    """Followed clusters: who follows them, and questions about them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneLimits:
    """What the processes of a lane may take.

    *processes* run at the same time, each *threads* requests at once. One request has *seconds* (the clock's) until its worker is ended,
    and *cpu_seconds* of processor time where a worker runs one at a time (0: not counted). A process has *memory* bytes of its own, and
    *files* open files. *waiting* requests wait for *age* seconds at most. *nice* is added to the serving process's niceness.
    """

    processes: int
    threads: int
    seconds: float
    cpu_seconds: int
    memory: int
    files: int
    waiting: int
    age: float
    nice: int


def lanes() -> dict[Lane, LaneLimits]:
    """Return the limits of every lane of this server."""
    workers, memory = settings.WORKERS, settings.WORKER_MAX_BYTES
    common = {"files": 512, "waiting": 500}
    seconds = float(settings.TRACE_MAX_SECONDS)
    return {
        Lane.PAGES: LaneLimits(processes=1, threads=4, seconds=60, cpu_seconds=0, memory=memory, age=30, nice=0, **common),
        Lane.QUICK: LaneLimits(
            processes=max(1, workers // 2), threads=1, seconds=10, cpu_seconds=5, memory=memory, age=60, nice=1, **common
        ),
        Lane.HEAVY: LaneLimits(
            processes=workers,
            threads=1,
            seconds=3 * seconds,
            cpu_seconds=settings.TRACE_MAX_SECONDS,
            memory=memory,
            age=300,
            nice=4,
            **common,
        ),
        Lane.UPLOADS: LaneLimits(
            processes=2,
            threads=1,
            seconds=3 * settings.UPLOAD_MAX_SECONDS,
            cpu_seconds=settings.UPLOAD_MAX_SECONDS,
            memory=memory,
            age=120,
            nice=6,
            **common,
        ),
        # Followed clusters are kept in memory for as long as they are followed, by threads that never end.
        Lane.LIVE: LaneLimits(
            processes=1, threads=8, seconds=120, cpu_seconds=0, memory=4 * memory, age=60, nice=2, **common | {"files": 4096}
        ),
    }


_NAMED = {
    "frozen-export": Lane.HEAVY,
    "frozen-compare-export": Lane.HEAVY,
    "trace-export": Lane.HEAVY,
    # Packing a large one takes longer than a page may, and ends the process of all pages with it.
    "snapshot-download": Lane.HEAVY,
    # A node's rules are made of all Services and compared line by line.
    "drift": Lane.HEAVY,
    # Hundreds of questions, each asked twice.
    "migrate": Lane.HEAVY,
    "migrate-export": Lane.HEAVY,
    "trace": Lane.QUICK,
    "trace-apply": Lane.QUICK,
    "compare": Lane.QUICK,
    "compare-export": Lane.HEAVY,
    "trace-freeze": Lane.QUICK,
    "dns": Lane.QUICK,
    "names": Lane.QUICK,
    "connections": Lane.QUICK,
    "snapshot-examples": Lane.QUICK,
    "snapshot-recognise": Lane.QUICK,
    "snapshot-new": Lane.UPLOADS,
    "snapshot-add": Lane.UPLOADS,
    "snapshot-place": Lane.UPLOADS,
    "snapshot-play": Lane.LIVE,
    "live-control": Lane.LIVE,
}


def lane_of(url_name: str, method: str) -> Lane:
    """Return where a request to the address called so begins."""
    if _NAMED.get(url_name) is Lane.UPLOADS and method != "POST":
        return Lane.PAGES
    if url_name.startswith("cluster"):
        return Lane.LIVE
    return _NAMED.get(url_name, Lane.PAGES)

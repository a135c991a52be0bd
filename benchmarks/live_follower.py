"""Following 10,000 Services: until everything is listed and stored, and what one event costs the writer and a process that looks.

Run it as ``.venv/bin/python benchmarks/live_follower.py [EVENTS]``. The API server that replays the recording runs in the same process, so
its time is in all figures but the last. Ends with 0 if the targets are met.
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))
DATA = tempfile.mkdtemp(prefix="hopline-benchmark-")
os.environ |= {"HOPLINE_DATA": DATA, "DJANGO_SETTINGS_MODULE": "webapp.settings"}

LIST_SECONDS, WRITTEN_SECONDS, APPLIED_SECONDS = 30.0, 0.5, 0.05


def main(events: int) -> int:
    """Print the figures; return 0 if they meet the targets."""
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    from tests.webapp.live.following import followed, recorded
    from webapp.recorded_api import RecordedApi

    api = RecordedApi(recorded("large-iptables"))
    begun = time.monotonic()
    with followed(api) as it:
        it.until(lambda: it.row.state == "live", "the cluster is live", 300)
        listed = time.monotonic() - begun
        first = looked(it)
        written, applied = zip(*(one_event(api, it, number) for number in range(events)), strict=True)
    counts = " and ".join(f"{len(api.objects(plural)):,} {plural}" for plural in ("services", "endpointslices"))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{counts}, {events} events, one follower and one replica in one process, SQLite")
    print(f"listed and stored       {listed:6.2f} s    at most {LIST_SECONDS:g}")
    print(f"first look of a process {first:6.2f} s")
    print(f"event until written     {statistics.median(written) * 1000:6.1f} ms   at most {WRITTEN_SECONDS * 1000:g} (50 ms of it wait)")
    print(f"event until applied     {statistics.median(applied) * 1000:6.1f} ms   at most {APPLIED_SECONDS * 1000:g} (by who looks)")
    print(f"peak memory             {memory:6.0f} MB   the recording and its server included")
    met = listed <= LIST_SECONDS and statistics.median(written) <= WRITTEN_SECONDS and statistics.median(applied) <= APPLIED_SECONDS
    return 0 if met else 1


def looked(it: object) -> float:
    """Return how many seconds it takes this process to have the newest picture."""
    from webapp.live import live_sources

    begun = time.monotonic()
    with live_sources.using(it.row) as view:  # type: ignore[attr-defined]
        view.cluster.objects.service("default", "kubernetes")
    return time.monotonic() - begun


def one_event(api: object, it: object, number: int) -> tuple[float, float]:
    """Let one Service change; return the seconds until it was written, and those the replica then took to have it."""
    from webapp.models import LiveSource

    service = dict(api.objects("services")[5000])  # type: ignore[attr-defined]
    service["spec"] = service["spec"] | {"sessionAffinity": ("ClientIP", "None")[number % 2]}
    rows = LiveSource.objects.filter(id=it.source).values_list("generation", flat=True)  # type: ignore[attr-defined]
    before, begun = rows.get(), time.monotonic()
    api.change("MODIFIED", "services", service)  # type: ignore[attr-defined]
    while rows.get() == before:
        time.sleep(0.002)
    written = time.monotonic() - begun
    return written, looked(it)


if __name__ == "__main__":
    try:
        sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 30))
    finally:
        shutil.rmtree(DATA, ignore_errors=True)

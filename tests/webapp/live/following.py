"""Following a recorded API server in the test's own process: a source, its follower, and what a fresh list would say."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from django.db import connection as database

from webapp.cluster.connection import Connection
from webapp.cluster.kinds import FOLLOWED_KINDS
from webapp.live import lease
from webapp.live.backoff import Pace
from webapp.live.follower import Follower
from webapp.live.journal import unpacked
from webapp.live.store import Store
from webapp.models import LiveItem, LiveSource
from webapp.recorded_api import Faults, RecordedApi, RunningServer, Timeline, serve

HASTY = Pace(first=0.02, most=0.2, refused=(0.05, 0.1))
DEMO = Path(__file__).resolve().parents[3] / "demo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """A source that is followed: its server, its follower and its row."""

    server: RunningServer
    follower: Follower
    source: str

    @property
    def row(self) -> LiveSource:
        return LiveSource.objects.get(id=self.source)

    def until(self, is_so: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
        until(is_so, what, seconds)

    def until_live(self) -> LiveSource:
        self.until(lambda: self.row.state == "live", "the source is live")
        return self.row

    def until_current(self) -> None:
        """Wait until what is stored is what a fresh list says."""
        try:
            self.until(lambda: stored(self.source) == fresh(self.server), "what is stored is what a fresh list says")
        except AssertionError:
            have, wanted = stored(self.source), fresh(self.server)
            differing = sorted(p for p in have.keys() | wanted.keys() if have.get(p) != wanted.get(p))
            raise AssertionError(
                f"{len(differing)} objects differ: {differing[:10]}; state {self.row.state} {self.row.state_text}"
            ) from None


def until(is_so: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    """Wait until it *is_so*."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain: {what}"
        time.sleep(0.02)


def stored(source: str) -> dict[str, bytes]:
    """Return the objects that the journal holds."""
    rows = LiveItem.objects.filter(source=source, body_zstd__isnull=False, path__startswith="objects/")
    return {path: unpacked(body) for path, body in rows.values_list("path", "body_zstd")}


def fresh(server: RunningServer) -> dict[str, bytes]:
    """Return what the server lists now, asked by somebody else, without faults."""
    store = Store()
    for kind in FOLLOWED_KINDS:
        items = server.api.objects(kind.plural)
        wanted = [
            i for i in items if kind.name is None or (i["metadata"]["name"], i["metadata"]["namespace"]) == (kind.name, kind.namespace)
        ]
        store.replace(kind.key, kind.kind, wanted, seen_at=0.0)
    return {path: store[path] for path in store}


def recorded(name: str = "shop-timeline") -> Timeline:
    """Return one of the project's own recordings as a timeline."""
    from webapp import uploads

    source = uploads.check(DEMO / name if (DEMO / name).exists() else next(DEMO.glob(f"{name}.*")))
    return Timeline.open(dict(source.files()))


@contextlib.contextmanager
def followed(
    api: RecordedApi, *, faults: Faults | None = None, readings: str = "none", pace: Pace = HASTY, **serving: object
) -> Iterator[Followed]:
    """Serve *api* and follow it until the context ends."""
    holder = lease.holder_name()
    row = LiveSource.objects.create(name="test", kind=LiveSource.Kind.CONTEXT, context="test", readings=readings)
    assert lease.take(row.id, holder)
    with serve(api, faults, **serving) as server:  # type: ignore[arg-type]
        follower = Follower(row, holder, connect=lambda: Connection.to_url(server.url, token=server.token), pace=pace)
        follower.start()
        try:
            yield Followed(server=server, follower=follower, source=row.id)
        finally:
            follower.stop()
            until(follower.is_over.is_set, "the follower ends")
            until(lambda: not follower.is_writing, "the writer ends")
            database.close()

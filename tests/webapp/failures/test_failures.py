"""What is being done, times what fails: nothing acknowledged is lost, what failed says so, nothing is left behind.

Each failure happens once, while uploads are read, answers frozen, heavy questions answered and a cluster followed, all at the same time. Each
kind of doing then says for itself whether all that was acknowledged is there. docs/verification.md ("Failures") has the figures of a run.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.sizes import FULL, every
from tests.webapp.failures.doings import Doing, Follows, Freezes, Questions, Uploads, Watches, archive, heavy_cluster
from tests.webapp.failures.person import Person
from tests.webapp.failures.room import Room, fake_clock, full_disk, tracebacks, without_override
from tests.webapp.live.following import fresh, recorded
from tests.webapp.test_storage_servers import account, postgres_programs
from webapp.recorded_api import RecordedApi, serve

_BEFORE, _AFTER, _AWAY = (3.0, 3.0, 3.0) if FULL else (1.0, 0.5, 1.0)
"""Seconds that work goes on before and after a failure, and that something is away."""
_UPLOAD_MB = 3.0 if FULL else 1.5
_MOST_LINES = 60
DOINGS = ("uploads", "freezes", "questions", "follows", "watches")


def kill_server(room: Room) -> float:
    room.pids |= set(room.workers())
    room.server.kill()
    killed = time.monotonic()
    room.start()
    return killed


def kill_workers(room: Room) -> float:
    """Kill each worker there is, the one that follows clusters among them."""
    for pid in room.workers():
        os.kill(pid, signal.SIGKILL)
    return time.monotonic()


def kill_postgres(room: Room) -> float:
    assert room.postgres is not None
    room.postgres.kill()
    _until_health(room, 503)
    time.sleep(_AWAY)
    back = time.monotonic()
    room.postgres.start()
    return back


def kill_redis(room: Room) -> float:
    assert room.redis is not None
    room.redis.kill()
    time.sleep(_AWAY)
    back = time.monotonic()
    room.redis.start()
    return back


def fill_disk(room: Room) -> float:
    filler = room.seen() / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(65_536))
        except OSError:
            pass
        deadline = time.monotonic() + _AWAY
        while time.monotonic() < deadline:
            # What is given back meanwhile is taken, too.
            try:
                file.write(bytes(4_096))
            except OSError:
                time.sleep(0.01)
    filler.unlink()
    return time.monotonic()


def clock(hours: int) -> Callable[[Room], float]:
    def jump(room: Room) -> float:
        aside = room.folder / "clock.next"
        aside.write_text(f"{hours:+d}h")
        aside.rename(room.folder / "clock")
        begun = time.monotonic()
        while abs(room.clock() - time.time() - hours * 3600) > 60:
            assert time.monotonic() - begun < 20, f"the server's clock is {room.clock() - time.time():+.0f} s from ours"
            time.sleep(0.1)
        return begun

    return jump


def lock_files(room: Room) -> float:
    """Let nobody write the SQLite database nor its folder."""
    files = list(room.data.glob("hopline.sqlite3*"))
    for path in files:
        path.chmod(0o444)
    room.data.chmod(0o555)
    time.sleep(_AWAY)
    room.data.chmod(0o755)
    for path in files:
        if path.exists():
            path.chmod(0o644)
    return time.monotonic()


def lock_postgres(room: Room) -> float:
    room.sql("ALTER SYSTEM SET default_transaction_read_only = on")
    room.sql("SELECT pg_reload_conf()")
    time.sleep(_AWAY)
    room.sql("ALTER SYSTEM RESET default_transaction_read_only")
    room.sql("SELECT pg_reload_conf()")
    return time.monotonic()


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """*fail* makes it happen, ends it and returns when that was; *says* are the statuses with which a request may be refused, 0 for a broken connection."""

    fail: Callable[[Room], float]
    says: frozenset[int]
    with_servers: bool = False
    inside: Callable[[Path], tuple[str, ...]] = lambda _: ()
    is_on_fake_clock: bool = False


_DIED = frozenset({503})
FAILURES = {
    "server killed": Failure(fail=kill_server, says=frozenset({0})),
    "workers killed": Failure(fail=kill_workers, says=_DIED),
    "PostgreSQL killed": Failure(fail=kill_postgres, says=_DIED, with_servers=True),
    "Redis killed": Failure(fail=kill_redis, says=frozenset(), with_servers=True),
    "disk full": Failure(fail=fill_disk, says=frozenset({503, 507}), inside=full_disk),
    "clock five hours on": Failure(fail=clock(5), says=frozenset(), is_on_fake_clock=True),
    "clock five hours back": Failure(fail=clock(-5), says=frozenset(), is_on_fake_clock=True),
    "SQLite read-only": Failure(fail=lock_files, says=_DIED, inside=lambda _: without_override()),
    "PostgreSQL read-only": Failure(fail=lock_postgres, says=_DIED, with_servers=True),
    "server killed, with PostgreSQL": Failure(fail=kill_server, says=frozenset({0}), with_servers=True),
    "workers killed, with PostgreSQL": Failure(fail=kill_workers, says=_DIED, with_servers=True),
}


@dataclass(slots=True, kw_only=True)
class Happened:
    """What came of one failure; *refusals* are the statuses of each doing, *found* what is wrong with it."""

    seconds_to_health: float = 0.0
    doings: dict[str, Doing] = field(default_factory=dict)
    found: dict[str, str] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    running: list[int] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    log: str = ""


def happen(name: str, folder: Path) -> Happened:
    failure = FAILURES[name]
    came = Happened()
    with ExitStack() as stack:
        variables = {}
        if failure.is_on_fake_clock:
            (folder / "clock").write_text("+0")
            variables = fake_clock(folder / "clock")
        inside = failure.inside(folder / "data")
        room = Room(folder, stack, with_servers=failure.with_servers, inside=inside, **variables)
        api = RecordedApi(recorded())
        cluster = stack.enter_context(serve(api, token="a-token"))
        (folder / "kubeconfig").write_text(cluster.kubeconfig())
        room.start()
        slug, source = _prepared(room, folder)
        people = [Person(room.server.url, room.key) for _ in DOINGS]
        came.doings = {
            "uploads": Uploads(people[0], archive(_UPLOAD_MB)),
            "freezes": Freezes(people[1], slug),
            "questions": Questions(people[2], slug),
            "follows": Follows(people[3], source, api, lambda: _stored(room, source) == {k: v.decode() for k, v in fresh(cluster).items()}),
            "watches": Watches(people[4], room.server.url, source, room.key),
        }
        for doing in came.doings.values():
            doing.start()
        _until_all_go_on(came.doings, 0.0)
        time.sleep(_BEFORE)
        _until_an_upload_is_read(came.doings)
        before = len(room.log())
        ended = failure.fail(room)
        _until_health(room, 200)
        came.seconds_to_health = time.monotonic() - ended
        _until_all_go_on(came.doings, ended)
        time.sleep(_AFTER)
        for doing in came.doings.values():
            doing.stop()
        for kind, doing in came.doings.items():
            try:
                doing.check()
            except AssertionError as error:
                came.found[kind] = str(error)
        came.log = room.log()[before:]
        came.left = room.left_behind()
        room.stop()
        came.running = room.still_running()
    _print(name, came, ended)
    return came


def _prepared(room: Room, folder: Path) -> tuple[str, str]:
    for path, content in heavy_cluster().items():
        (folder / "made" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "made" / path).write_bytes(content)
    code = (
        "from pathlib import Path; from webapp.storing import stored_snapshots as services; from webapp.live import live_sources as live\n"
        f"print(services.store_snapshot(Path({str(folder / 'made')!r})).id, live.connect('recorded', readings='none').id)"
    )
    slug, source = room.run(code).split()
    return slug, source


def _stored(room: Room, source: str) -> dict[str, str]:
    code = (
        "import json; from webapp.models import LiveItem; from webapp.live.journal import unpacked\n"
        f"rows = LiveItem.objects.filter(source={source!r}, body_zstd__isnull=False, path__startswith='objects/')\n"
        "print(json.dumps({p: unpacked(b).decode() for p, b in rows.values_list('path', 'body_zstd')}))"
    )
    found: dict[str, str] = json.loads(room.run(code))
    return found


def _until_health(room: Room, status: int) -> None:
    deadline = time.monotonic() + 60
    while room.health() != status:
        assert time.monotonic() < deadline, f"the health check says {room.health()}, not {status}:\n{room.log()[-3000:]}"
        time.sleep(0.05)


def _until_all_go_on(doings: dict[str, Doing], since: float) -> None:
    """Wait until each doing has been acknowledged something after *since*."""
    deadline = time.monotonic() + 90
    while waiting := [kind for kind, doing in doings.items() if not any(at > since for at in doing.acknowledged)]:
        said = {kind: (doings[kind].statuses, doings[kind].faults[:3]) for kind in waiting}
        assert time.monotonic() < deadline, f"nothing was acknowledged any more: {said}"
        time.sleep(0.05)


def _until_an_upload_is_read(doings: dict[str, Doing]) -> None:
    uploads, deadline = doings["uploads"], time.monotonic() + 30
    assert isinstance(uploads, Uploads)
    while not uploads.is_reading:
        assert time.monotonic() < deadline, "no upload is being read"
        time.sleep(0.005)


def _print(name: str, came: Happened, ended: float) -> None:
    """Print the rows of the table in docs/verification.md."""
    lines = [line for line in came.log.splitlines() if line]
    print(f"\n{name}: health check after {came.seconds_to_health:.1f} s; {len(lines)} lines of log, {len(tracebacks(came.log))} tracebacks")
    for kind, doing in came.doings.items():
        again = min(at - ended for at in doing.acknowledged if at > ended)
        more = f", {dict(doing.ended)}" if isinstance(doing, Uploads) else ""
        print(f"  {kind}: {len(doing.acknowledged)} acknowledged, refused {doing.statuses}{more}, again after {again:.1f} s")


_things: dict[str, Happened | BaseException] = {}


@pytest.fixture(scope="module")
def happened() -> Iterator[Callable[[str], Happened]]:
    """Return a function that lets a failure happen, once for all tests of the module."""
    with ExitStack() as stack:

        def made(name: str) -> Happened:
            if name not in _things:
                # Not tmp_path: its parents are closed to other accounts.
                folder = Path(tempfile.mkdtemp(prefix="hopline-failures-"))
                stack.callback(shutil.rmtree, folder, ignore_errors=True)
                folder.chmod(0o755)
                if who := account():
                    os.chown(folder, who["user"], who["group"])
                try:
                    _things[name] = happen(name, folder)
                except BaseException as error:
                    _things[name] = error
            found = _things[name]
            if isinstance(found, BaseException):
                raise found
            return found

        yield made


CHOSEN = every(FAILURES, len(FAILURES))


def _can(name: str) -> None:
    failure = FAILURES[name]
    if os.geteuid() != 0 and failure.inside(Path()):
        pytest.skip("needs root")
    if failure.with_servers and (postgres_programs() is None or shutil.which("redis-server") is None):
        pytest.skip("needs PostgreSQL and Redis: apt-get install postgresql redis-server")
    if failure.is_on_fake_clock and not list(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")):
        pytest.skip("needs libfaketime: apt-get install faketime")


@pytest.mark.parametrize("doing", DOINGS)
@pytest.mark.parametrize("name", CHOSEN)
def test_what_was_acknowledged_is_there_and_what_failed_says_so(happened: Callable[[str], Happened], name: str, doing: str) -> None:
    _can(name)
    came = happened(name)
    assert doing not in came.found, came.found[doing] + "\n" + came.log[-3000:]
    assert not came.doings[doing].faults, came.doings[doing].faults[:5]
    # A socket that is open is closed, and opened again: that is all it can be told.
    says = FAILURES[name].says | ({0} if doing == "watches" else set())
    odd = [a for _, a in came.doings[doing].refused if a.status not in says]
    assert not odd, [(a.status, a.words[:300]) for a in odd[:5]]
    silent = [a for _, a in came.doings[doing].refused if a.status and len(a.words) < 20]
    assert not silent, silent[:3]


@pytest.mark.parametrize("name", CHOSEN)
def test_nothing_is_left_behind_and_the_log_is_short(happened: Callable[[str], Happened], name: str) -> None:
    _can(name)
    came = happened(name)
    assert not came.left
    assert not came.running
    assert not tracebacks(came.log), came.log[-6000:]
    refusals = sum(len(doing.refused) for doing in came.doings.values())
    lines = [line for line in came.log.splitlines() if line]
    assert len(lines) <= _MOST_LINES + refusals, came.log[:6000]

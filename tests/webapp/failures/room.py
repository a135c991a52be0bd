"""The room that failures happen in: a server with its data folder, its database and its messenger, each of which can be killed and made anew.

Everything is the room's own: folders, ports, servers, and the name space of a full disk. ``left_behind()`` says what is there in the end
that should not be.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from email.utils import parsedate_to_datetime
from pathlib import Path

from tests.live_server import PROJECT, LiveServer, environment, free_port, live_server
from tests.webapp.test_storage_servers import account, compose_environment, postgres_programs

KEY = "a-key-of-some-length"
_PASSWORD = "only-for-this-test"
_DISK_MB = 96


class Killable:
    """A server program in a process group of its own; *ready* says whether it answers."""

    def __init__(self, command: list[str], log: Path, ready: list[str]) -> None:
        self._command, self._log, self._ready = command, log, ready
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with self._log.open("ab") as output:
            self.process = subprocess.Popen(
                self._command, stdout=output, stderr=subprocess.STDOUT, cwd=self._log.parent, start_new_session=True, **account()
            )
        _until(lambda: subprocess.run(self._ready, capture_output=True, timeout=10).returncode == 0, f"{self._command[0]} answers")

    def kill(self) -> None:
        """Kill it with all its processes, as a power cut would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Room:
    """A server that can be started again and again with the same data."""

    def __init__(self, folder: Path, stack: ExitStack, *, with_servers: bool, inside: tuple[str, ...] = (), **variables: str) -> None:
        self.folder, self.data, self._stack = folder, folder / "data", stack
        self._port, self._inside = free_port(), inside
        self.postgres: Killable | None = None
        self.redis: Killable | None = None
        self.variables = {"HOPLINE_SECRET_KEY": "the-same-after-each-start", "HOPLINE_KUBECONFIG": str(folder / "kubeconfig")} | variables
        if with_servers:
            self.variables |= self._servers() | {"HOPLINE_KUBECONFIG": str(folder / "kubeconfig")}
        self.key = KEY if with_servers else ""
        self._running: ExitStack | None = None
        self.pids: set[int] = set()

    # -- the server ---------------------------------------------------------------------------------------------------------------

    def start(self) -> LiveServer:
        """Start the server; wait until it answers."""
        self._running = ExitStack()
        self._stack.push(self._running)
        self.server = self._running.enter_context(
            live_server(self.data, "--no-demo", "--workers", "1", port=self._port, inside=self._inside, **self.variables)
        )
        return self.server

    def stop(self) -> None:
        """Stop the server as its users do."""
        assert self._running is not None
        self.pids |= set(family(self.server.process.pid))
        self._running.close()

    def health(self) -> int:
        """Return the status of the health check, 0 where nobody answers."""
        try:
            with urllib.request.urlopen(f"{self.server.url}/healthz", timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def clock(self) -> float:
        """Return what the server's clock says, in Unix seconds."""
        with urllib.request.urlopen(f"{self.server.url}/healthz", timeout=5) as answer:
            return parsedate_to_datetime(answer.headers["Date"]).timestamp()

    def workers(self) -> list[int]:
        """Return the processes that work."""
        return [pid for pid in family(self.server.process.pid) if _parent(_parent(pid)) == self.server.process.pid]

    def seen(self) -> Path:
        """Return the data folder as the server sees it."""
        return Path(f"/proc/{self.server.process.pid}/root{self.data}") if self._inside else self.data

    def run(self, code: str) -> str:
        """Return what *code* prints in a process of the application beside the server."""
        beside = (
            ("nsenter", "-t", str(self.server.process.pid), "-m", f"--wd={PROJECT}")
            if self._inside and self.server.process.poll() is None
            else ()
        )
        result = subprocess.run(
            [*beside, sys.executable, "-c", f"import django; django.setup()\n{code}"],
            cwd=PROJECT,
            env=environment(self.data, **self.variables),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert result.returncode == 0, result.stderr[-3000:]
        return result.stdout.strip()

    # -- its surroundings ---------------------------------------------------------------------------------------------------------

    def _servers(self) -> dict[str, str]:
        programs = postgres_programs()
        assert programs is not None
        password, data, ports = self.folder / "password", self.folder / "postgres", (free_port(), free_port())
        password.write_text(_PASSWORD)
        initdb = [programs / "initdb", "-D", data, "-U", "hopline", "--pwfile", password, "-A", "scram-sha-256", "-E", "UTF8"]
        subprocess.run(list(map(str, initdb)), check=True, capture_output=True, cwd=self.folder, timeout=120, **account())
        server = [str(programs / "postgres"), "-D", str(data), "-h", "127.0.0.1", "-p", str(ports[0]), "-k", str(self.folder)]
        ready = [str(programs / "pg_isready"), "-h", "127.0.0.1", "-p", str(ports[0])]
        self.postgres = Killable(server, self.folder / "postgres.log", ready)
        self._stack.callback(self.postgres.kill)
        self._psql = [str(programs / "psql"), "-h", "127.0.0.1", "-p", str(ports[0]), "-U", "hopline", "-qc"]
        self.sql("CREATE DATABASE hopline", "postgres")
        redis = [shutil.which("redis-server") or "redis-server", "--save", "", "--appendonly", "no"]
        redis += ["--bind", "127.0.0.1", "--port", str(ports[1]), "--dir", str(self.folder)]
        self.redis = Killable(redis, self.folder / "redis.log", ["redis-cli", "-h", "127.0.0.1", "-p", str(ports[1]), "ping"])
        self._stack.callback(self.redis.kill)
        return compose_environment(*ports)

    def sql(self, statement: str, database: str = "hopline") -> None:
        """Run *statement* as PostgreSQL's superuser."""
        environ = os.environ | {"PGPASSWORD": _PASSWORD}
        subprocess.run([*self._psql, statement, database], check=True, capture_output=True, env=environ, timeout=60)

    # -- the end ------------------------------------------------------------------------------------------------------------------

    def left_behind(self, data: Path | None = None) -> list[str]:
        """Return what is there and belongs to nothing: parts of files, files without rows, rows without end, processes."""
        data = data or self.seen()
        rows = self.run(
            "from webapp.models import *\n"
            "print(*Snapshot.objects.values_list('storage_name', flat=True), sep='\\n')\n"
            "print('--', *UploadJob.objects.filter(state='reading').values_list('id', flat=True), sep='\\n')"
        ).split("--")
        known, reading = set(rows[0].split()), rows[1].split()
        stored = {path.name for path in (data / "snapshots").glob("*")}
        found = [f"a file without a row: {name}" for name in stored - known] + [
            f"a row without its file: {name}" for name in known - stored
        ]
        found += [f"an upload that never ends: {job}" for job in reading]
        found += [f"left: {path.relative_to(data)}" for name in ("incoming", "recordings") for path in (data / name).glob("*")]
        found += [f"left: {path.relative_to(data)}" for path in (data / "answers").rglob(".part*")]
        return found

    def still_running(self) -> list[int]:
        """Return the processes of servers that have ended; they have a moment to end, too."""
        deadline = time.monotonic() + 5
        while (left := [pid for pid in self.pids if _is_running(pid)]) and time.monotonic() < deadline:
            time.sleep(0.05)
        return left

    def log(self) -> str:
        """Return what all its servers have written."""
        return self.server.log.read_text()


def full_disk(data: Path) -> tuple[str, ...]:
    """Return the command that runs another one where *data* is a small disk of its own, which goes when the process does."""
    mount = f'mount -t tmpfs -o size={_DISK_MB}m none {data} && exec "$@"'
    return ("unshare", "--mount", "--propagation", "private", "sh", "-c", mount, "sh")


def without_override() -> tuple[str, ...]:
    """Return the command that runs another one as a user whom the modes of files bind."""
    return ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all")


def fake_clock(file: Path) -> dict[str, str]:
    """Return the variables of a process whose clock shows what *file* says: +0, +5h, -5h. Its monotonic clock stays as it is."""
    library = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)
    assert library is not None
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def tracebacks(log: str) -> list[str]:
    """Return the last lines of the tracebacks in *log*."""
    return re.findall(r"(?m)^Traceback[^\n]*\n(?:[ \t][^\n]*\n|\n)*([^\n]*)", log)


def family(pid: int) -> Iterator[int]:
    """Yield what came of *pid*, itself first."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            children.setdefault(_parent(int(path.name)), []).append(int(path.name))
    waiting = [pid]
    while waiting:
        one = waiting.pop()
        yield one
        waiting += children.get(one, [])


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _parent(pid: int) -> int:
    try:
        return int(_stat(pid)[1])
    except OSError:
        return 0


def _is_running(pid: int) -> bool:
    try:
        return _stat(pid)[0] != "Z"
    except OSError:
        return False


def _until(is_so: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain: {what}"
        time.sleep(0.05)

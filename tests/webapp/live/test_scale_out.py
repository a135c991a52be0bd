"""Two web processes with PostgreSQL and Redis, as behind the compose file: one follows, both tell; when it is killed, the other takes over."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.live_server import PROJECT, LiveServer, environment, live_server
from tests.webapp.live.following import recorded, until
from tests.webapp.test_storage_servers import compose_environment, folder, postgres, postgres_programs, redis
from webapp.recorded_api import RecordedApi, serve

__all__ = ["folder", "postgres", "redis"]
KEY = "a-key-of-some-length"
TOKEN = "a-token-that-nobody-may-see"
BEARER = {"Authorization": f"Bearer {KEY}"}


def created_database(port: int, name: str, password: str) -> None:
    command = [postgres_programs() / "createdb", "-h", "127.0.0.1", "-p", port, "-U", "hopline", name]
    subprocess.run(list(map(str, command)), check=True, capture_output=True, env=os.environ | {"PGPASSWORD": password}, timeout=60)


def in_project(data: Path, variables: dict[str, str], code: str) -> str:
    """Return what *code* prints in a process of the application with these variables."""
    code = f"import django; django.setup()\n{code}"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, env=environment(data, **variables), capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout.strip()


@pytest.fixture
def variables(postgres: int, redis: int, tmp_path: Path) -> dict[str, str]:
    found = compose_environment(postgres, redis)
    name = f"scale_{time.monotonic_ns()}"
    created_database(postgres, name, "only-for-this-test")
    found["DATABASE_URL"] = found["DATABASE_URL"].rpartition("/")[0] + f"/{name}"
    return found | {"HOPLINE_KUBECONFIG": str(tmp_path / "kubeconfig"), "HOPLINE_SECRET_KEY": "the-same-for-both"}


@contextmanager
def two_servers(data: Path, variables: dict[str, str]) -> Iterator[tuple[LiveServer, LiveServer]]:
    """Start two servers with one data folder and one database, each with a log of its own."""
    with ExitStack() as stack:
        first = stack.enter_context(live_server(data / "one", "--no-demo", **variables))
        second = stack.enter_context(live_server(data / "two", "--no-demo", **variables))
        yield first, second


@contextmanager
def socket(server: LiveServer, source: str, since: int) -> Iterator[ClientConnection]:
    """Open the source's socket on *server* and say which generation the page shows."""
    url = f"{server.url.replace('http', 'ws', 1)}/live/{source}"
    with connect(url, additional_headers=BEARER, origin=server.url) as opened:  # type: ignore[arg-type]
        opened.send(json.dumps({"since": since}))
        yield opened


def until_told(opened: ClientConnection, ref: str, seconds: float = 10.0) -> dict[str, Any]:
    """Return the generation message that names *ref*."""
    deadline = time.monotonic() + seconds
    while True:
        message: dict[str, Any] = json.loads(opened.recv(timeout=max(0.0, deadline - time.monotonic())))
        if message["type"] == "generation" and ref in message["changed"]:
            return message


def state(server: LiveServer, source: str) -> dict[str, Any]:
    with urllib.request.urlopen(urllib.request.Request(f"{server.url}/live/{source}/state", headers=BEARER), timeout=10) as answer:
        found: dict[str, Any] = json.load(answer)["messages"][0]
    return found


def affinity(api: RecordedApi, value: str) -> None:
    service = dict(api.get("services", "default", "api") or {})
    service["spec"] = service["spec"] | {"sessionAffinity": value}
    api.change("MODIFIED", "services", service)


def test_one_follows_both_tell_and_the_other_takes_over(variables: dict[str, str], tmp_path: Path) -> None:
    api = RecordedApi(recorded())
    with serve(api, token=TOKEN) as cluster, two_servers(tmp_path, variables) as (first, second):
        (tmp_path / "kubeconfig").write_text(cluster.kubeconfig())
        source = in_project(
            tmp_path, variables, "from webapp.live import live_sources; print(live_sources.connect('recorded', readings='none').id)"
        )
        until(lambda: state(first, source)["state"] == "live", "the cluster is followed")
        watches = [entry for entry in cluster.faults.log if entry[:2] == ("watch", "services")]
        assert len(watches) == 1, "one follower"

        gen = state(first, source)["gen"]
        with socket(first, source, gen) as one, socket(second, source, gen) as other:
            affinity(api, "ClientIP")
            assert until_told(one, "svc/default/api")["gen"] == until_told(other, "svc/default/api")["gen"]

        holder, survivor = sorted((first, second), key=lambda server: not is_holder(server, tmp_path, variables, source))
        gen = state(survivor, source)["gen"]
        with socket(survivor, source, gen) as opened:
            holder.kill()
            affinity(api, "None")
            # The lease runs for 15 s; then the change that nobody saw is in the new follower's first list.
            assert until_told(opened, "svc/default/api", 40.0)["gen"] > gen
        assert is_holder(survivor, tmp_path, variables, source)
        until(lambda: state(survivor, source)["state"] == "live", "it is live again")
        for server in (first, second):
            log = server.log.read_text()
            assert TOKEN not in log
            assert "Traceback" not in log, log[-3000:]
        assert TOKEN not in dumped(tmp_path, variables)


def test_a_server_that_stops_hands_over_at_once(variables: dict[str, str], tmp_path: Path) -> None:
    api = RecordedApi(recorded())
    with serve(api, token=TOKEN) as cluster, two_servers(tmp_path, variables) as (first, second):
        (tmp_path / "kubeconfig").write_text(cluster.kubeconfig())
        source = in_project(
            tmp_path, variables, "from webapp.live import live_sources; print(live_sources.connect('recorded', readings='none').id)"
        )
        until(lambda: state(first, source)["state"] == "live", "the cluster is followed")
        holder, survivor = sorted((first, second), key=lambda server: not is_holder(server, tmp_path, variables, source))
        holder.process.terminate()
        holder.process.wait(timeout=20)
        begun = time.monotonic()
        until(lambda: is_holder(survivor, tmp_path, variables, source), "the other follows")
        assert time.monotonic() - begun < 8


def is_holder(server: LiveServer, data: Path, variables: dict[str, str], source: str) -> bool:
    """Return whether a worker of *server* follows: the holder's name has its process id in the middle."""
    code = f"from webapp.models import LiveSource; print(LiveSource.objects.get(id={source!r}).lease_holder)"
    _, _, rest = in_project(data, variables, code).partition(":")
    pid = rest.partition(":")[0]
    while pid.isdigit() and int(pid) > 1:
        if int(pid) == server.process.pid:
            return True
        try:
            pid = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
        except OSError:
            return False
    return False


def dumped(data: Path, variables: dict[str, str]) -> str:
    """Return everything in the database, bodies unpacked."""
    code = """
from django.core import serializers
from webapp.live.journal import unpacked
from webapp.models import LiveItem, LiveSource
print(serializers.serialize("json", LiveSource.objects.all()))
for item in LiveItem.objects.exclude(body_zstd=None):
    print(item.path, unpacked(item.body_zstd))
"""
    return in_project(data, variables, code)

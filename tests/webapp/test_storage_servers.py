"""Storage and sockets once more, against Debian's own PostgreSQL and Redis with the compose file's environment.

Each server is started for these tests only, on loopback, with its data in a temporary folder.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.live_server import PROJECT, environment, free_port
from tests.sizes import every

TESTS = ("test_models.py", "test_services.py", "test_upload_jobs.py", "test_upload_socket.py", "test_import_snapshot.py")
LIVE_TESTS = ("live/test_journal.py", "live/test_lease.py", "live/test_replica.py", "live/test_follower.py", "live/test_supervisor.py")
_PASSWORD = "only-for-this-test"


def postgres_programs() -> Path | None:
    """Return the folder of PostgreSQL's server programs, or None."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    which = shutil.which("initdb")
    return found[-1].parent if found else Path(which).parent if which else None


def account() -> dict[str, int]:
    """Return who runs the servers: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    try:
        entry = pwd.getpwnam("postgres")
    except KeyError:
        entry = pwd.getpwnam("nobody")
    return {"user": entry.pw_uid, "group": entry.pw_gid}


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    # Not tmp_path: its parents are closed to other accounts.
    made = Path(tempfile.mkdtemp(prefix="hopline-servers-"))
    made.chmod(0o755)
    if who := account():
        os.chown(made, who["user"], who["group"])
    yield made
    shutil.rmtree(made, ignore_errors=True)


@contextlib.contextmanager
def running(command: list[str], log: Path, ready: list[str]) -> Iterator[None]:
    """Run *command* until the context ends; starts the context when *ready* succeeds."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=log.parent, **account())
    try:
        deadline = time.monotonic() + 30
        while subprocess.run(ready, capture_output=True, timeout=10).returncode:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(timeout=20)


@pytest.fixture(scope="module")
def postgres(folder: Path) -> Iterator[int]:
    """Return the port of a PostgreSQL with the compose file's user and database."""
    programs = postgres_programs()
    if programs is None:
        pytest.skip("needs PostgreSQL: apt-get install postgresql")
    settings = COMPOSE["services"]["postgres"]["environment"]
    data, password, port = folder / "postgres", folder / "password", free_port()
    password.write_text(_PASSWORD)
    initdb = [programs / "initdb", "-D", data, "-U", settings["POSTGRES_USER"], "--pwfile", password, "-A", "scram-sha-256", "-E", "UTF8"]
    subprocess.run(list(map(str, initdb)), check=True, capture_output=True, cwd=folder, timeout=120, **account())
    server = [str(programs / "postgres"), "-D", str(data), "-h", "127.0.0.1", "-p", str(port), "-k", str(folder), "-c", "fsync=off"]
    ready = [str(programs / "pg_isready"), "-h", "127.0.0.1", "-p", str(port)]
    with running(server, folder / "postgres.log", ready):
        yield port


@pytest.fixture(scope="module")
def redis(folder: Path) -> Iterator[int]:
    """Return the port of a Redis started with the compose file's command."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("needs Redis: apt-get install redis-server")
    port = free_port()
    command = [program, *COMPOSE["services"]["redis"]["command"][1:], "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder)]
    with running(command, folder / "redis.log", ["redis-cli", "-h", "127.0.0.1", "-p", str(port), "ping"]):
        yield port


COMPOSE = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())


def compose_environment(postgres: int, redis: int) -> dict[str, str]:
    """Return the web service's environment as compose would expand it, with our servers' addresses for its servers' names."""
    given = {"POSTGRES_PASSWORD": _PASSWORD, "HOPLINE_ACCESS_KEY": "a-key-of-some-length"}
    expanded = {}
    for name, text in COMPOSE["services"]["web"]["environment"].items():
        text = re.sub(r"\$\{(\w+):\?[^}]*\}", lambda m: given[m[1]], text)
        expanded[name] = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)
    assert not [value for value in expanded.values() if "$" in value]
    expanded["DATABASE_URL"] = expanded["DATABASE_URL"].replace("@postgres:5432/", f"@127.0.0.1:{postgres}/")
    expanded["REDIS_URL"] = expanded["REDIS_URL"].replace("//redis:6379/", f"//127.0.0.1:{redis}/")
    return expanded


def test_storage_and_sockets_on_postgresql_and_redis(postgres: int, redis: int, tmp_path: Path) -> None:
    env = environment(tmp_path, **compose_environment(postgres, redis))
    env.pop("DJANGO_SETTINGS_MODULE")
    tests = [f"tests/webapp/{name}" for name in (*TESTS, *every(LIVE_TESTS, 5))]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-m",
        "not needs_shared",
        *tests,
        "tests/webapp/servers_in_use.py",
    ]
    result = subprocess.run(command, cwd=PROJECT, env=env, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-2000:]
    assert re.search(r"[0-9]+ passed", result.stdout)
    assert "skipped" not in result.stdout, result.stdout[-2000:]


def test_the_server_starts_and_serves_with_the_compose_files_environment(postgres: int, redis: int, start_server) -> None:
    import urllib.error
    import urllib.request

    programs = postgres_programs()
    settings = COMPOSE["services"]["postgres"]["environment"]
    create = [programs / "createdb", "-h", "127.0.0.1", "-p", postgres, "-U", settings["POSTGRES_USER"], settings["POSTGRES_DB"]]
    subprocess.run(list(map(str, create)), check=True, capture_output=True, env=os.environ | {"PGPASSWORD": _PASSWORD}, timeout=60)
    env = compose_environment(postgres, redis)
    server = start_server("--no-demo", **env)
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{server.url}/snapshots", timeout=20)
    request = urllib.request.Request(f"{server.url}/snapshots", headers={"Authorization": f"Bearer {env['HOPLINE_ACCESS_KEY']}"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert answer.status == 200
    assert not list(server.data.glob("*.sqlite3"))
    log = server.log.read_text()
    assert _PASSWORD not in log
    assert env["HOPLINE_ACCESS_KEY"] not in log

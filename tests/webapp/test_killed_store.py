"""A process that is killed at any moment while it stores a snapshot: what was there is still there, and nothing half-written is."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live_server import PROJECT, environment
from tests.sizes import every

_KILL_AT = {
    "while files are read": "from webapp.storing.container import ContainerWriter as C; kill_in(C, 'add', 2)",
    "before the container ends": "from webapp.storing.container import ContainerWriter as C; kill_in(C, 'finish', 1)",
    "before the file has its name": "kill_in(os, 'link', 1)",
    "before the row is written": "from webapp.models import Snapshot as S; kill_in(S, 'save', 1)",
    "before the row is committed": "from django.db.backends.base.base import BaseDatabaseWrapper as W; kill_in(W, '_commit', 1)",
}
_STORE = """
import os, signal, sys
import django
django.setup()
from pathlib import Path
from django.db import transaction

def kill_in(owner, name, nth):
    whole, calls = getattr(owner, name), []
    def killing(*args, **kwargs):
        calls.append(name)
        if len(calls) == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(*args, **kwargs)
    setattr(owner, name, killing)

from webapp.storing import stored_snapshots as services
exec(sys.argv[2])
with transaction.atomic() if "commit" in sys.argv[2] else __import__("contextlib").nullcontext():
    services.store_snapshot(Path(sys.argv[1]), name="second", owner="me")
"""


@pytest.mark.parametrize("moment", every(_KILL_AT, 3))
def test_a_process_killed_in_mid_store_leaves_nothing_half_written(small: Path, tmp_path: Path, moment: str) -> None:
    data = tmp_path / "own"
    data.mkdir()
    env = environment(data)
    run = [sys.executable, "manage.py"]
    subprocess.run([*run, "migrate", "-v0"], cwd=PROJECT, env=env, check=True, timeout=60)
    first = subprocess.run(
        [*run, "import_snapshot", str(small)], cwd=PROJECT, env=env, check=True, capture_output=True, text=True, timeout=60
    )
    whole = {path.name: path.read_bytes() for path in (data / "snapshots").iterdir()}

    killed = subprocess.run(
        [sys.executable, "-c", _STORE, str(small), _KILL_AT[moment]], cwd=PROJECT, env=env, capture_output=True, timeout=60
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    with sqlite3.connect(data / "hopline.sqlite3") as database:
        assert database.execute("SELECT id FROM webapp_snapshot").fetchall() == [(first.stdout.strip(),)]

    subprocess.run(
        [sys.executable, "-c", "import django; django.setup(); from webapp.storing import stored_snapshots; stored_snapshots.clean_up()"],
        cwd=PROJECT,
        env=env,
        check=True,
    )
    assert {path.name: path.read_bytes() for path in (data / "snapshots").iterdir()} == whole
    assert list((data / "incoming").iterdir()) == []
    again = subprocess.run([*run, "import_snapshot", str(small)], cwd=PROJECT, env=env, capture_output=True, text=True, timeout=60)
    assert again.returncode == 0, again.stderr

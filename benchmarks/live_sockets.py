"""500 pages of one followed cluster of 10,000 Services on one process: how long until each is told of one change, and what a socket costs.

    python benchmarks/live_sockets.py [SOCKETS]

A recorded API server (in this process) serves the objects of the large recording; ``manage.py serve`` follows it as it would follow any
cluster; the sockets are opened from here. Measured is the time from the change in the API server to the last socket that was told: the
watch, the follower's batch, its transaction, the channel layer and the sockets. Beside it, in the same run: a plain Channels echo, from
one socket's message to the last socket that has it.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.cookiejar
import json
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import websockets
from measuring import PROJECT, ROUNDS, extracted, verdict

sys.path.insert(0, str(PROJECT))

from tests.live_server import free_port, live_server
from webapp.recorded_api import RecordedApi, Timeline, serve

SOCKETS = int(sys.argv[1]) if len(sys.argv) > 1 else 500
WITHIN = 1.0
_PATIENCE = 60.0
_KEPT = ("services.json", "endpointslices.json", "nodes.json", "pods.json", "namespaces.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Seconds until the median and the last socket was told, one value for each round, and the server's bytes for each socket."""

    median: float
    last: float
    memory: float


def main() -> None:
    """Measure both, print both."""
    ours, plain = asyncio.run(_ours()), asyncio.run(_plain())
    print(f"{SOCKETS} sockets on one process, one change of a Service among 10,026; median of {ROUNDS} rounds")
    for name, told in (("Hopline, from the API server to the socket", ours), ("plain Channels echo, from socket to socket", plain)):
        print(f"  {name}: half told in {told.median:.3f} s, all in {told.last:.3f} s; {told.memory / 1024:.0f} KiB a socket")
    sys.exit(not verdict("seconds until every page was told", ours.last, WITHIN))


async def _ours() -> Told:
    with _followed() as (server, api, source):
        before = _resident(server.process.pid)
        path = f"{server.url.replace('http', 'ws')}/live/{source}"
        async with contextlib.AsyncExitStack() as stack:
            lines = [await stack.enter_async_context(websockets.connect(path, origin=server.url)) for _ in range(SOCKETS)]
            for line in lines:
                await line.send('{"since": null}')
                await _heard(line, "source")
            memory = (_resident(server.process.pid) - before) / SOCKETS
            rounds = []
            for number in range(ROUNDS):
                await asyncio.sleep(3)
                begin = time.perf_counter()
                waiting = [asyncio.create_task(_told(line, begin)) for line in lines]
                await asyncio.to_thread(_change, api, number)
                rounds.append(sorted(await asyncio.wait_for(asyncio.gather(*waiting), _PATIENCE)))
        return _middle(rounds, memory)


async def _plain() -> Told:
    port = free_port()
    process = subprocess.Popen([sys.executable, PROJECT / "benchmarks" / "_channels_echo.py", str(port)])
    try:
        await asyncio.to_thread(_wait_for, port)
        before = _resident(process.pid)
        async with contextlib.AsyncExitStack() as stack:
            lines = [await stack.enter_async_context(websockets.connect(f"ws://127.0.0.1:{port}/echo")) for _ in range(SOCKETS)]
            memory = (_resident(process.pid) - before) / SOCKETS
            rounds = []
            for _ in range(ROUNDS):
                await asyncio.sleep(1)
                begin = time.perf_counter()
                waiting = [asyncio.create_task(_told(line, begin)) for line in lines]
                await lines[0].send('{"type": "generation", "gen": 2, "changed": ["svc/default/one"]}')
                rounds.append(sorted(await asyncio.wait_for(asyncio.gather(*waiting), _PATIENCE)))
        return _middle(rounds, memory)
    finally:
        process.terminate()
        process.wait()


async def _told(line: websockets.ClientConnection, begin: float) -> float:
    await _heard(line, "generation")
    return time.perf_counter() - begin


async def _heard(line: websockets.ClientConnection, kind: str) -> dict[str, Any]:
    while True:
        message = json.loads(await line.recv())
        if message["type"] == kind:
            return message


def _middle(rounds: list[list[float]], memory: float) -> Told:
    halves, lasts = [found[len(found) // 2] for found in rounds], [found[-1] for found in rounds]
    return Told(median=statistics.median(halves), last=statistics.median(lasts), memory=memory)


# --- the cluster -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _followed() -> Iterator[tuple[Any, RecordedApi, str]]:
    """Serve the large recording's objects and follow them with a server of its own, until the context ends."""
    with extracted() as folder, tempfile.TemporaryDirectory(prefix="hopline-bench-") as data:
        api = RecordedApi(Timeline.open({name: (folder / name).read_bytes() for name in _KEPT if (folder / name).exists()}))
        with serve(api) as server:
            kubeconfig = Path(data) / "kubeconfig"
            kubeconfig.write_text(server.kubeconfig())
            with live_server(Path(data) / "data", "--no-demo", HOPLINE_KUBECONFIG=str(kubeconfig)) as hopline:
                source = _connect(hopline.url)
                _wait_until_live(hopline.url, source)
                yield hopline, api, source


def _change(api: RecordedApi, number: int) -> None:
    chosen = dict(api.objects("services")[-1])
    chosen["metadata"] = dict(chosen["metadata"]) | {"annotations": {"round": str(number)}}
    api.change("MODIFIED", "services", chosen)


def _connect(url: str) -> str:
    """Press Connect; return the source's id."""
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
    page = browser.open(f"{url}/clusters").read().decode()
    token, context = (re.search(pattern, page)[1] for pattern in (r'csrfmiddlewaretoken" value="(\w+)"', r'<option value="([^"]+)"'))
    form = urllib.parse.urlencode({"csrfmiddlewaretoken": token, "context": context, "readings": "none"}).encode()
    with browser.open(f"{url}/clusters/connect", form) as response:
        return str(response.url).rpartition("/")[2]


def _wait_until_live(url: str, source: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        with urllib.request.urlopen(f"{url}/live/{source}/state") as response:
            said = json.load(response)["messages"][0]
        if said["state"] == "live":
            return
        time.sleep(0.5)
    raise SystemExit(f"the cluster was not followed in {_PATIENCE:g} s: {said}")


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise SystemExit("the echo did not start")


def _resident(pid: int) -> int:
    """Return the resident bytes of a process."""
    return int(re.search(r"VmRSS:\s+([0-9]+) kB", Path(f"/proc/{pid}/status").read_text())[1]) * 1024


if __name__ == "__main__":
    main()

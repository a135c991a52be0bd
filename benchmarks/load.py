"""Many users at once: 50 on different traces, 10 on traces of 1,500 outcomes, 2 uploads of 30 MB, and what the server answers meanwhile.

    python benchmarks/load.py [SECONDS]

``manage.py serve`` runs in a process of its own, with SQLite and a data folder of its own. First, with nobody else there, the health check,
a page that was answered before and a frozen link are asked in turn: their idle times. Then all users work for SECONDS (60), each asking the
next question when the one before is answered, and the three are asked as before. A request is lost when it is not answered at all, or with
another status than it should have; 503 counts as lost here.
Last, in the same run: the processor time of one heavy question, and of four equal ones asked at once.
"""

from __future__ import annotations

import http.client
import http.cookiejar
import io
import os
import random
import re
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from measuring import PROJECT, verdict

sys.path.insert(0, str(PROJECT))

from tests.live_server import LiveServer, environment, live_server
from tests.made_cluster import MadeCluster

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
LIGHT_USERS, HEAVY_USERS, UPLOADS, UPLOAD_MB = 50, 10, 2, 30
HEALTH_MS, STORED_TIMES, EQUAL_TIMES = 50.0, 5.0, 1.1
_PATIENCE = 600
_LIGHT = "/c/shop-iptables/trace?from=external:203.{a}.{b}.{c}&to=198.51.100.10:443"
_HEAVY = "/c/{slug}/trace?from=external:203.{a}.{b}.{c}&to=198.51.100.7:80"


@dataclass
class Times:
    """Milliseconds of each answer, and what went wrong."""

    taken: list[float] = field(default_factory=list)
    lost: Counter[str] = field(default_factory=Counter)

    def p(self, share: float) -> float:
        """Return the time within which *share* of the answers came."""
        return sorted(self.taken)[min(len(self.taken) - 1, int(share * len(self.taken)))] if self.taken else float("nan")


class User:
    """A browser session of its own: one connection at a time, its own cookie."""

    def __init__(self, url: str) -> None:
        self.cookies = http.cookiejar.CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))
        self._url = url
        self.get("/snapshots/new")

    def get(self, path: str, data: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        """Return status and body."""
        try:
            with self._opener.open(urllib.request.Request(self._url + path, data, headers), timeout=_PATIENCE) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def timed(self, path: str, times: Times, **more: object) -> bytes:
        """Ask, and note how long it took."""
        begun = time.perf_counter()
        try:
            status, body = self.get(path, **more)  # type: ignore[arg-type]
        except (OSError, http.client.HTTPException) as error:
            times.lost[type(error).__name__] += 1
            return b""
        if status == 200:
            times.taken.append((time.perf_counter() - begun) * 1000)
        else:
            times.lost[str(status)] += 1
        return body


def main() -> None:
    """Measure, print, judge."""
    with tempfile.TemporaryDirectory(prefix="hopline-load-") as folder:
        data = Path(folder) / "data"
        slug = _store(Path(folder), data)
        archive = _archive()
        with live_server(data) as server:
            good = _judge(server, slug, archive)
    sys.exit(not good)


def _judge(server: LiveServer, slug: str, archive: bytes) -> bool:
    asked = User(server.url)
    stored = _LIGHT.format(a=0, b=113, c=10)
    frozen = _frozen(asked, stored)
    watched = {"health check": "/healthz", "stored answer": stored, "frozen link": frozen}
    for path in watched.values():
        asked.get(path)
    idle = {name: Times() for name in watched}
    _watch(asked, watched, idle, 10.0)
    busy, light, heavy, uploads = {name: Times() for name in watched}, Times(), Times(), Times()
    end = time.monotonic() + SECONDS
    memory: list[int] = []
    threads = [
        *(threading.Thread(target=_asks, args=(server.url, _LIGHT, slug, n, end, light)) for n in range(LIGHT_USERS)),
        *(threading.Thread(target=_asks, args=(server.url, _HEAVY, slug, 100 + n, end, heavy)) for n in range(HEAVY_USERS)),
        *(threading.Thread(target=_uploads, args=(server.url, archive, end, uploads)) for _ in range(UPLOADS)),
        threading.Thread(target=_memory, args=(server.process.pid, end, memory)),
    ]
    for thread in threads:
        thread.start()
    _watch(asked, watched, busy, SECONDS)
    for thread in threads:
        thread.join()
    print(f"{LIGHT_USERS} users, {HEAVY_USERS} on 1,500 outcomes, {UPLOADS} uploads of {UPLOAD_MB} MB for {SECONDS:.0f} s")
    print(f"  load {os.getloadavg()[0]:.1f}")
    for name, times in (("light questions", light), ("heavy questions", heavy), ("uploads", uploads)):
        print(f"  {name}: {len(times.taken)} answered, median {times.p(0.5):.0f} ms, p99 {times.p(0.99):.0f} ms, lost {dict(times.lost)}")
    print(f"  memory of all processes (proportional): {max(memory) / 1e6:.0f} MB at most")
    lost = sum(sum(t.lost.values()) for t in (light, heavy, uploads, *busy.values()))
    results = [verdict("requests lost", float(lost), 0.0), verdict("health check, p99 in ms", busy["health check"].p(0.99), HEALTH_MS)]
    for name in ("stored answer", "frozen link"):
        for when, times in (("idle", idle[name]), ("busy", busy[name])):
            print(f"  {name}, {when}: median {times.p(0.5):.1f} ms, p99 {times.p(0.99):.1f} ms")
        results.append(verdict(f"{name}, busy p99 by idle median", busy[name].p(0.99) / idle[name].p(0.5), STORED_TIMES))
    results.append(verdict("four equal heavy questions by one, processor time", _equal(server, slug), EQUAL_TIMES))
    return all(results)


def _watch(user: User, watched: dict[str, str], into: dict[str, Times], seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for name, path in watched.items():
            user.timed(path, into[name])
        time.sleep(0.02)


def _asks(url: str, path: str, slug: str, number: int, end: float, times: Times) -> None:
    user, draw = User(url), random.Random(number)
    while time.monotonic() < end:
        user.timed(path.format(slug=slug, a=number % 200, b=draw.randrange(256), c=draw.randrange(256)), times)


def _uploads(url: str, archive: bytes, end: float, times: Times) -> None:
    user = User(url)
    while time.monotonic() < end:
        token = re.search(rb'name="csrfmiddlewaretoken" value="([^"]+)"', user.get("/snapshots/new")[1])[1]  # type: ignore[index]
        page = user.get("/snapshots/new")[1]
        name = re.search(rb'<input[^>]*type="file"[^>]*name="([^"]+)"|<input[^>]*name="([^"]+)"[^>]*type="file"', page)
        field_name = (name[1] or name[2]) if name else b"file"
        body = b"".join((
            b'--x\r\nContent-Disposition: form-data; name="csrfmiddlewaretoken"\r\n\r\n', token,
            b'\r\n--x\r\nContent-Disposition: form-data; name="', field_name, b'"; filename="big.tar"\r\n\r\n', archive, b"\r\n--x--\r\n",
        ))  # fmt: skip
        user.timed("/snapshots/new", times, data=body, **{"Content-Type": "multipart/form-data; boundary=x"})


def _memory(process: int, end: float, into: list[int]) -> None:
    while time.monotonic() < end:
        into.append(sum(map(_proportional, _family(process))))
        time.sleep(2)


def _family(process: int) -> list[int]:
    """Return *process* and all that came of it."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents.setdefault(int(path.read_text().rpartition(")")[2].split()[1]), []).append(int(path.parent.name))
        except OSError:
            continue
    found = [process]
    for one in found:
        found += parents.get(one, [])
    return found


def _proportional(process: int) -> int:
    """Return the bytes that a process holds, shared pages by share. Source: proc_pid_smaps_rollup."""
    try:
        match = re.search(r"(?m)^Pss:\s+(\d+) kB", Path(f"/proc/{process}/smaps_rollup").read_text())
    except OSError:
        return 0
    return int(match[1]) * 1024 if match else 0


def _processor(process: int) -> float:
    """Return the processor seconds of all processes of the server; those that ended count with who waited for them."""
    total = 0.0
    for one in _family(process):
        try:
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return total


def _equal(server: LiveServer, slug: str) -> float:
    """Return what four equal heavy questions at once cost, in the processor time of one; medians of three."""
    users = [User(server.url) for _ in range(4)]
    users[0].get(_HEAVY.format(slug=slug, a=250, b=0, c=0))

    def cost(work: Callable[[], None]) -> float:
        time.sleep(2)
        before = _processor(server.process.pid)
        work()
        time.sleep(2)
        return _processor(server.process.pid) - before

    def four(number: int) -> None:
        threads = [threading.Thread(target=user.get, args=(_HEAVY.format(slug=slug, a=252, b=number, c=1),)) for user in users]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    nothing = statistics.median(cost(lambda: time.sleep(3)) for _ in range(3))
    one = statistics.median(cost(lambda n=n: users[0].get(_HEAVY.format(slug=slug, a=251, b=n, c=1))) for n in range(3))  # type: ignore[misc]
    all_four = statistics.median(cost(lambda n=n: four(n)) for n in range(3))  # type: ignore[misc]
    print(f"  processor time: one heavy question {one:.2f} s, four equal ones {all_four:.2f} s, an idle server {nothing:.2f} s")
    return all_four / one


def _frozen(user: User, path: str) -> str:
    """Freeze the answer at *path*; return the link's own."""
    page = user.get(path)[1].decode()
    form = re.search(r'<form[^>]*action="([^"]*/trace/freeze)"[^>]*>(.*?)</form>', page, re.DOTALL)
    assert form is not None
    fields = dict(re.findall(r'<input[^>]*name="([^"]+)"[^>]*value="([^"]*)"', form[2]))
    data = urllib.parse.urlencode({k: v.replace("&amp;", "&") for k, v in fields.items()}).encode()
    _, body = user.get(form[1], data)
    token = re.search(rb"/t/[\w-]+", body)
    assert token is not None
    return token[0].decode()


def _store(folder: Path, data: Path) -> str:
    cluster = MadeCluster(nodes=3)
    pods = [cluster.pod(f"web-{n}", n % 3 + 1) for n in range(500)]
    cluster.service("web", pods, type="LoadBalancer", node_port=30080, lb_ip="198.51.100.7")
    for path, content in cluster.files().items():
        (folder / "cluster" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "cluster" / path).write_bytes(content)
    env = environment(data)
    subprocess.run([sys.executable, "manage.py", "migrate", "--verbosity", "0"], cwd=PROJECT, env=env, check=True)
    command = [sys.executable, "manage.py", "import_snapshot", str(folder / "cluster"), "--name", "500 endpoints"]
    return subprocess.run(command, cwd=PROJECT, env=env, check=True, capture_output=True, text=True).stdout.strip().split()[-1]


def _archive() -> bytes:
    """Return a tar of UPLOAD_MB: the shop, and its rules under many nodes' names."""
    shop, buffer = PROJECT / "demo" / "shop-iptables", io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path in sorted(shop.glob("*.json")):
            tar.add(path, path.name)
        dump = next(shop.glob("nodes/*/iptables-save.txt"))
        for number in range(UPLOAD_MB * 1_000_000 // dump.stat().st_size + 1):
            tar.add(dump, f"nodes/n{number}/iptables-save.txt")
    return buffer.getvalue()


if __name__ == "__main__":
    main()

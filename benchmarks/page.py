"""The trace page in a browser: its first graph, a step, and 500 endpoints behind a load balancer and three nodes.

    python benchmarks/page.py [ROUNDS]

Hopline is started as users start it (``manage.py serve``, a data folder of its own), Chromium is headless. Each first graph is asked for in
a clean context (nothing cached) and from a client that nobody asked for before (no kept answer); each figure is the median of ROUNDS (5),
and beside it stands that of a bare Django page, served by the same server program and painted by the same browser in the same round.
*Painted* is the first frame after the graph's boxes are in the page. Processor time is the server's, with the programs that it starts.
Needs Chromium and the packages of the tests.
"""

from __future__ import annotations

import gzip
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from measuring import PROJECT, verdict

sys.path.insert(0, str(PROJECT))

from playwright.sync_api import Browser, sync_playwright

from tests.browser.conftest import CHROMIUM_FLAGS
from tests.conftest import chromium_path
from tests.live_server import environment, free_port, live_server
from tests.made_cluster import MadeCluster

_ENDPOINTS, _NODES = 500, 3
_SHOP = "/c/shop-iptables/trace?from=external:203.0.113.{client}&to=198.51.100.10:443"
_WEB = "/c/{snapshot}/trace?from=external:203.0.113.{client}&to=198.51.100.7:80"
_SECONDS = 120
# NB: the first animation frame comes before what is in the page by then is painted, the next one behind it.
_PAINTED = """
  window.painted = new Promise((done) => {
    const look = () => document.querySelector("#g .n")
      ? requestAnimationFrame(() => done(performance.now())) : requestAnimationFrame(look);
    requestAnimationFrame(look);
  });
"""
_STEP = """(n) => new Promise((done) => {
  const begun = performance.now();
  const look = () => document.getElementById("inspector").dataset.step === String(n)
    ? requestAnimationFrame(() => done(performance.now() - begun)) : requestAnimationFrame(look);
  document.querySelector(`#steps a[data-step="${n}"]`).click();
  requestAnimationFrame(look);
})"""
_SERVED = "() => { const [n] = performance.getEntriesByType('navigation'); return n.responseStart - n.requestStart; }"


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One page view in a clean context: milliseconds until the graph was painted, those the server took, and those that it computed.

    *steps* are those from a click on a step until the inspector was painted.
    """

    painted: float
    served: float
    processor: float
    boxes: int
    steps: tuple[float, ...] = ()


def _processor(process: int) -> float:
    """The processor time that a process and all that it started have taken, in milliseconds: pages are answered by its workers.

    Source: proc_pid_stat(5).
    """
    found = {int(path.name): _counted(path) for path in Path("/proc").iterdir() if path.name.isdecimal()}
    those, count = {process}, 0
    while count < len(those):
        count = len(those)
        those |= {number for number, (parent, _) in found.items() if parent in those}
    return sum(found[number][1] for number in those if number in found) * 1000 / os.sysconf("SC_CLK_TCK")


def _idle(process: int) -> None:
    """Wait until the server does nothing: it stores an answer once that is sent."""
    before, now = -1.0, _processor(process)
    for _ in range(_SECONDS):
        if now == before:
            return
        time.sleep(1)
        before, now = now, _processor(process)


def _counted(process: Path) -> tuple[int, int]:
    """The parent of a process, and the ticks that it has taken with those of its children that it waited for."""
    try:
        fields = (process / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):  # it has ended
        return 0, 0
    return int(fields[1]), sum(map(int, fields[11:15]))


def _view(browser: Browser, url: str, process: int, steps: int = 0) -> View:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    try:
        page = context.new_page()
        page.set_default_timeout(_SECONDS * 1000)
        page.add_init_script(_PAINTED)
        _idle(process)
        before = _processor(process)
        page.goto(url)
        painted = float(page.evaluate("() => window.painted"))
        processor = _processor(process) - before
        served = float(page.evaluate(_SERVED))
        # A box is what is drawn as one: a fold counts once, what lies on an edge is none.
        boxes = page.locator("#g .nodes > .n:not(.k-way)").count()
        changes = tuple(float(page.evaluate(_STEP, n)) for n in range(2, steps + 2))
        return View(painted=painted, served=served, processor=processor, boxes=boxes, steps=changes)
    finally:
        context.close()


def _packed(url: str) -> int:
    with urllib.request.urlopen(url, timeout=_SECONDS) as answer:
        return len(gzip.compress(answer.read()))


@contextmanager
def _bare() -> Iterator[str]:
    """Serve the bare page for as long as the block runs; its address."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "--app-dir",
        "benchmarks",
        "--port",
        str(port),
        "--log-level",
        "warning",
        "bare_page:application",
    ]
    process = subprocess.Popen(command, cwd=PROJECT)
    url = f"http://127.0.0.1:{port}/"
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(url, timeout=5).close()
                break
            except OSError:
                time.sleep(0.1)
        yield url, process.pid
    finally:
        process.terminate()
        process.wait()


def _stored(data: Path) -> str:
    """Store the made cluster in *data*; the snapshot's id."""
    cluster = MadeCluster(nodes=_NODES)
    pods = [cluster.pod(f"web-{n}", n % _NODES + 1) for n in range(_ENDPOINTS)]
    cluster.service("web", pods, type="LoadBalancer", node_port=30080, lb_ip="198.51.100.7")
    with tempfile.TemporaryDirectory(prefix="hopline-bench-") as folder:
        for path, content in cluster.files().items():
            (Path(folder) / path).parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / path).write_bytes(content)
        command = [sys.executable, "manage.py", "import_snapshot", folder, "--name", "500 endpoints"]
        done = subprocess.run(command, cwd=PROJECT, env=environment(data), check=True, capture_output=True, text=True)
    return done.stdout.strip()


def _shown(name: str, views: list[View], beside: list[View]) -> tuple[float, float, float]:
    """Print the median of *views* beside the bare page's; milliseconds to the paint, those of the server, and of processor time."""
    painted, served = statistics.median(v.painted for v in views), statistics.median(v.served for v in views)
    bare, by_bare = statistics.median(v.painted for v in beside), statistics.median(v.served for v in beside)
    computed = statistics.median(v.processor for v in views)
    print(f"{name}: painted after {painted:.0f} ms, the server's part {served:.0f} ms, its processor time {computed:.0f} ms", end="")
    print(f" (bare page: {bare:.0f} ms, {by_bare:.0f} ms)")
    return painted, served, computed


def main() -> int:
    """Measure, print, and return 0 if all targets are met."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    chromium = chromium_path() or sys.exit("needs Chromium: apt-get install chromium")
    with (
        tempfile.TemporaryDirectory(prefix="hopline-bench-") as folder,
        _bare() as (bare, bare_process),
        sync_playwright() as playwright,
        live_server(Path(folder)) as server,
    ):
        own = server.process.pid
        snapshot = _stored(Path(folder))
        browser = playwright.chromium.launch(executable_path=chromium, args=list(CHROMIUM_FLAGS))
        _view(browser, bare, bare_process)
        first = _view(browser, server.url + _SHOP.format(client=1), own)
        print(f"the very first page of a server just started: painted after {first.painted:.0f} ms")
        beside, shop, web, kept = [], [], [], []
        for client in range(2, rounds + 2):
            many = server.url + _WEB.format(snapshot=snapshot, client=client)
            beside.append(_view(browser, bare, bare_process))
            shop.append(_view(browser, server.url + _SHOP.format(client=client), own, steps=8))
            web.append(_view(browser, many, own))
            kept.append(_view(browser, many, own))
        packed = _packed(many)
        browser.close()
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    painted, served, computed = _shown("P2, sample trace, nine outcomes", shop, beside)
    step = statistics.median(s for view in shop for s in view.steps)
    many_painted, _, many_computed = _shown(f"P4, {_ENDPOINTS} endpoints x {_NODES} nodes", web, beside)
    _shown("P4 once more, its answer kept", kept, beside)
    met = [
        verdict("P2: sample trace painted, ms", painted, 500),
        verdict("P2: the server's part, ms", served, 80),
        verdict("P3: step change to inspector painted, ms", step, 100),
        verdict("P4: painted, ms", many_painted, 800),
        verdict("P4: processor time, of the nine-outcome page's", many_computed / computed, 3),
        verdict("P4: painted, of the bare page's time", many_painted / statistics.median(view.painted for view in beside), 5),
        verdict("P4: boxes drawn", max(view.boxes for view in web), 60),
        verdict("P4: HTML, KB gz", packed / 1000, 60),
    ]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())

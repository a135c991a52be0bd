"""A mixed bundle of 200 MB is read: the memory of the worker that reads it, and what other people wait for meanwhile.

    python benchmarks/bundle.py [SEED]

The bundle is a tar of the large recording with logs of many pods around it, rotated and packed ones among them, links as
troubleshoot.sh writes them, and an archive inside; it is made from the seed, just below the bound of an upload. ``manage.py serve`` runs
with a data folder of its own. The health check, a stored answer and the page of snapshots are asked by somebody else, first with nobody
else there and then until the upload is read. Memory is the largest resident size of any process of the server while the bundle is read,
less the largest before, in sizes of the largest file that is recognised; it is looked at five times a second.
"""

from __future__ import annotations

import gzip
import io
import os
import random
import re
import sys
import tarfile
import tempfile
import threading
import time
from pathlib import Path

from load import Times, User, _family, _watch
from measuring import LARGE, seed, verdict

from tests.live_server import live_server

_BYTES = 195_000_000
_LOG_BYTES = 6_000_000
_MEMORY_TIMES, _PAGE_TIMES, _IDLE_SECONDS = 5.0, 2.0, 10.0
_STORED = "/c/shop-iptables/trace?from=external:203.0.113.10&to=198.51.100.10:443"


def _log(drawn: random.Random) -> bytes:
    words = [drawn.randbytes(8).hex() for _ in range(500)]
    line = "2026-01-01T00:00:{:02}.{:09}Z INFO {} {} {}\n"
    lines = [line.format(n % 60, n, *drawn.choices(words, k=3)) for n in range(20_000)]
    text = "".join(lines).encode()
    return (text * (_LOG_BYTES // len(text) + 1))[:_LOG_BYTES]


def _bundle(path: Path, drawn: random.Random) -> int:
    """Write the bundle; return the size of the largest file in it that is read."""
    largest = 0
    with tarfile.open(path, "w") as out, tarfile.open(LARGE) as recorded:
        for member in recorded:
            if member.isfile():
                largest = max(largest, member.size)
                out.addfile(member, recorded.extractfile(member))

        def add(name: str, content: bytes) -> None:
            info = tarfile.TarInfo(f"large-iptables/{name}")
            info.size = len(content)
            out.addfile(info, io.BytesIO(content))

        inside = io.BytesIO()
        with tarfile.open(fileobj=inside, mode="w:gz") as inner:
            log = _log(drawn)
            info = tarfile.TarInfo("pods/inner.log")
            info.size = len(log)
            inner.addfile(info, io.BytesIO(log))
        add("inner.tar.gz", inside.getvalue())
        for number in range(1_000):
            log = _log(drawn)
            if out.offset + len(log) > _BYTES:
                break
            add(f"pods/web-{number}.log", log)
            add(f"pods/web-{number}.log.1.gz", gzip.compress(log[:500_000], 1))
            link = tarfile.TarInfo(f"large-iptables/app/web-{number}.log")
            link.type, link.linkname = tarfile.SYMTYPE, f"../pods/web-{number}.log"
            out.addfile(link)
    return largest


def _resident(process: int) -> int:
    """Return the largest resident size of any process of the server now. Source: proc_pid_statm."""
    sizes = [0]
    for one in _family(process):
        try:
            sizes.append(int(Path(f"/proc/{one}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
        except OSError:
            continue
    return max(sizes)


def _upload(user: User, archive: bytes) -> None:
    """Hand the bundle in."""
    page = user.get("/snapshots/new")[1]
    token = re.search(rb'name="csrfmiddlewaretoken" value="([^"]+)"', page)
    field = re.search(rb'<input(?=[^>]*type="file")[^>]*name="([^"]+)"', page)
    assert token is not None
    assert field is not None
    body = b"".join((
        b'--x\r\nContent-Disposition: form-data; name="csrfmiddlewaretoken"\r\n\r\n', token[1],
        b'\r\n--x\r\nContent-Disposition: form-data; name="', field[1], b'"; filename="bundle.tar"\r\n\r\n', archive, b"\r\n--x--\r\n",
    ))  # fmt: skip
    status, _ = user.get("/snapshots/new", body, **{"Content-Type": "multipart/form-data; boundary=x"})
    if status != 200:
        raise SystemExit(f"the upload was answered with {status}")


def main() -> int:
    """Measure, print, judge."""
    drawn = random.Random(seed())
    with tempfile.TemporaryDirectory(prefix="hopline-bundle-") as folder:
        largest = _bundle(Path(folder) / "bundle.tar", drawn)
        archive = (Path(folder) / "bundle.tar").read_bytes()
        with live_server(Path(folder) / "data") as server:
            return 0 if _judge(server.url, server.process.pid, server.data, archive, largest) else 1


def _judge(url: str, process: int, data: Path, archive: bytes, largest: int) -> bool:
    watched = {"health check": "/healthz", "stored answer": _STORED, "snapshots": "/snapshots"}
    other = User(url)
    for path in watched.values():
        other.get(path)
    idle, busy = {name: Times() for name in watched}, {name: Times() for name in watched}
    _watch(other, watched, idle, _IDLE_SECONDS)
    before, peak = _resident(process), 0
    handed = threading.Thread(target=_upload, args=(User(url), archive))
    handed.start()
    begun = time.monotonic()
    while handed.is_alive() or any((data / "incoming").glob("*.kept")):
        _watch(other, watched, busy, 0.2)
        peak = max(peak, _resident(process))
    took = time.monotonic() - begun
    print(f"a bundle of {len(archive) / 1e6:.0f} MB, its largest recognised file {largest / 1e6:.1f} MB, read in {took:.1f} s")
    print(f"  load {os.getloadavg()[0]:.1f}; largest process {before / 1e6:.0f} MB before, {peak / 1e6:.0f} MB at most")
    met = [verdict("memory in sizes of the largest recognised file", (peak - before) / largest, _MEMORY_TIMES)]
    for name in watched:
        print(f"  {name}: idle median {idle[name].p(0.5):.1f} ms, busy {busy[name].p(0.5):.1f} ms, lost {dict(busy[name].lost)}")
        met.append(verdict(f"{name}, busy median by idle median", busy[name].p(0.5) / idle[name].p(0.5), _PAGE_TIMES))
    return all(met)


if __name__ == "__main__":
    sys.exit(main())

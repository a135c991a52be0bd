"""A mixed bundle of 200 MB is read: the memory of the worker that reads it, and what other people wait for meanwhile.

    python benchmarks/bundle.py [SEED] [SHAPE]

The SHAPE is how the large recording's objects are kept: "lists", a file a kind as it is recorded, "one", one JSON list of
everything, or "yaml", one YAML list of everything. The bundle is a tar of them and of the node's files with logs of many pods
around it, rotated and packed ones among them, links as troubleshoot.sh writes them, and an archive inside; it is made from the
seed, just below the bound of an upload. ``manage.py serve`` runs with a data folder of its own. The health check, a stored answer
and the page of snapshots are asked by somebody else, first with nobody else there and then until the upload is read. Before that
a small snapshot is read, so that every process has started. Memory is how much the process that grew most did: its largest
resident size since (VmHWM, as the kernel keeps it), less what it had before, in sizes of the largest file that is recognised.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import random
import re
import sys
import tarfile
import tempfile
import threading
import time
from pathlib import Path

import yaml
from load import Times, User, _family, _watch
from measuring import LARGE, seed, verdict

from tests.live_server import live_server
from tests.made_cluster import MadeCluster

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


def _recorded(shape: str) -> dict[str, bytes]:
    """Return the large recording's files, its objects in the *shape* that is asked for."""
    with tarfile.open(LARGE) as recorded:
        files = {m.name.partition("/")[2]: recorded.extractfile(m).read() for m in recorded if m.isfile()}
    if shape == "lists":
        return files
    lists = [json.loads(files.pop(name)).get("items", []) for name in sorted(files) if name.endswith("s.json") and "/" not in name]
    whole = {"apiVersion": "v1", "items": [item for items in lists for item in items], "kind": "List", "metadata": {"resourceVersion": ""}}
    if shape == "one":
        return files | {"cluster.json": json.dumps(whole).encode()}
    return files | {"cluster.yaml": yaml.dump(whole, Dumper=yaml.CSafeDumper).encode()}


def _bundle(path: Path, drawn: random.Random, shape: str) -> int:
    """Write the bundle; return the size of the largest file in it that is read."""
    files = _recorded(shape)
    with tarfile.open(path, "w") as out:

        def add(name: str, content: bytes) -> None:
            info = tarfile.TarInfo(f"large-iptables/{name}")
            info.size = len(content)
            out.addfile(info, io.BytesIO(content))

        for name, content in files.items():
            add(name, content)

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
    return max(map(len, files.values()))


def _status(process: int, key: str) -> dict[int, int]:
    """Return what each process of the server says of its memory, in bytes. Source: proc_pid_status(5)."""
    found: dict[int, int] = {}
    for one in _family(process):
        with contextlib.suppress(OSError, StopIteration):
            lines = Path(f"/proc/{one}/status").read_text().splitlines()
            found[one] = int(next(line for line in lines if line.startswith(f"{key}:")).split()[1]) * 1024
    return found


def _forget_peaks(process: int) -> dict[int, int]:
    """Make every process count its largest size anew; return what each has now. Source: proc_pid_clear_refs(5)."""
    for one in _family(process):
        with contextlib.suppress(OSError):
            Path(f"/proc/{one}/clear_refs").write_text("5")
    return _status(process, "VmRSS")


def _small() -> bytes:
    """A snapshot of a few kilobytes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in MadeCluster().files().items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def _is_read(data: Path) -> bool:
    return not any((data / "incoming").glob("*.kept"))


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
        shape = sys.argv[2] if len(sys.argv) > 2 else "lists"
        largest = _bundle(Path(folder) / "bundle.tar", drawn, shape)
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
    first = User(url)
    _upload(first, _small())
    while not _is_read(data):
        time.sleep(0.2)
    before, peaks = _forget_peaks(process), dict[int, int]()
    handed = threading.Thread(target=_upload, args=(User(url), archive))
    handed.start()
    begun = time.monotonic()
    while handed.is_alive() or not _is_read(data):
        _watch(other, watched, busy, 0.2)
        peaks |= _status(process, "VmHWM")
    took = time.monotonic() - begun
    # A process that began meanwhile is told from the smallest of the others.
    grown = {one: peak - before.get(one, min(before.values())) for one, peak in peaks.items()}
    most = max(grown, key=grown.__getitem__)
    print(f"a bundle of {len(archive) / 1e6:.0f} MB, its largest recognised file {largest / 1e6:.1f} MB, read in {took:.1f} s")
    print(f"  load {os.getloadavg()[0]:.1f}; the reader: {before.get(most, 0) / 1e6:.0f} MB before, {peaks[most] / 1e6:.0f} MB at most")
    met = [verdict("memory in sizes of the largest recognised file", grown[most] / largest, _MEMORY_TIMES)]
    for name in watched:
        print(f"  {name}: idle median {idle[name].p(0.5):.1f} ms, busy {busy[name].p(0.5):.1f} ms, lost {dict(busy[name].lost)}")
        met.append(verdict(f"{name}, busy median by idle median", busy[name].p(0.5) / idle[name].p(0.5), _PAGE_TIMES))
    return all(met)


if __name__ == "__main__":
    sys.exit(main())

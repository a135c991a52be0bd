"""What is fuzzed beside the readers: whole walks, and whatever else goes over a snapshot, where one file of it is damaged.

Strategy: a snapshot that a recording or a made cluster gives, one file replaced by the damaged text, and then all that the application does
with one: sum it up, trace, diagnose, write the answer, take secrets out, rename. What one of them refuses is a TracerError.
"""

from __future__ import annotations

import contextlib
import io
import json
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.made_cluster import MadeCluster
from tracer.errors import TracerError
from tracer.explain.findings import diagnose
from tracer.limits import Limits as QuestionLimits
from tracer.query import query_from_dict
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.snapshot.redact import remove_secrets
from tracer.snapshot.rename import Renaming
from tracer.snapshot.summary import summarise
from tracer.topology.cluster import Cluster
from webapp.uploads import Limits, UploadError, check

_DEMO = Path(__file__).parents[2] / "demo"
_NODE = "nodes/shop-worker/"
# What a question may cost here: the default lets a hostile one take some three seconds, and several are asked of each input.
WORK = QuestionLimits(work=200_000)
Files = Mapping[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """A *file* of a snapshot that is damaged, and what is asked then: *questions* as (from, to)."""

    name: str
    base: Callable[[], Files]
    file: str
    questions: tuple[tuple[str, str], ...]

    def read(self, text: str) -> None:
        """Do everything with the snapshot whose file is *text*."""
        files = {**self.base(), self.file: text.encode("utf-8", "surrogatepass")}
        with_all(files, self.questions)

    @property
    def seed(self) -> str:
        """The file as it is."""
        return self.base()[self.file].decode()


def with_all(files: Files, questions: tuple[tuple[str, str], ...]) -> None:
    """Trace and diagnose *questions* in the snapshot that *files* are. A refusal of one does not keep the others from being asked."""
    cluster = Cluster.from_snapshot(Snapshot.from_files(files, WORK))
    for source, to in questions:
        try:
            answer = diagnose(cluster, trace(cluster, query_from_dict({"from": source, "to": to, "protocol": "tcp"})))
        except TracerError:
            continue
        json.dumps(answer.to_dict())
        if sum(o.probability for o in answer.outcomes) != 1:
            raise AssertionError(f"the odds of {source} -> {to} do not sum to 1")


def sum_up(text: str) -> None:
    """Take secrets out of the objects in *text*, sum up what is left, and rename it."""
    files, _ = remove_secrets({**made(), "services.json": text.encode("utf-8", "surrogatepass")})
    snapshot = Snapshot.from_files(files)
    with contextlib.suppress(TracerError):
        summarise(snapshot)
    for _ in Renaming(snapshot, b"k" * 32).files():
        pass


@cache
def made() -> Files:
    """Return a made cluster of two nodes, with all that iptables rules can hold of it."""
    cluster = MadeCluster(2)
    client = cluster.pod("client", 1)
    servers = [cluster.pod("web-1", 1), cluster.pod("web-2", 2)]
    cluster.service("web", servers)
    cluster.service("self", [client])
    return cluster.files()


@cache
def demo(name: str) -> Files:
    """Return a demonstration cluster."""
    folder = _DEMO / name
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


_MADE_FILES = (
    "nodes/n1/iptables-save.txt",
    "nodes/n1/ip-addr.json",
    "nodes/n1/ip-route.json",
    "nodes/n1/ip-link.json",
    "nodes/n1/sysctl.txt",
    "services.json",
    "endpointslices.json",
    "pods.json",
    "nodes.json",
)
_MADE_QUESTIONS = (("pod:default/client", "10.96.0.10:80"), ("node:n1", "10.96.0.11:80"), ("pod:default/client", "web:80"))


def walks() -> Iterator[Walk]:
    """Yield every walk."""
    for file in _MADE_FILES:
        yield Walk(name=f"walk {file.rpartition('/')[2]}", base=made, file=file, questions=_MADE_QUESTIONS)
    nft, ipvs = _asked("shop-nftables"), _asked("shop-ipvs")
    for file in ("nft-ruleset.txt", "nft-ruleset.json"):
        yield Walk(name=f"walk {file}", base=_only(file), file=_NODE + file, questions=nft)
    for file in ("ipvsadm-save.txt", "ipset-save.txt", "ipvsadm-list.txt", "conntrack.txt"):
        yield Walk(name=f"walk {file}", base=lambda: demo("shop-ipvs"), file=_NODE + file, questions=ipvs)
    yield Walk(name="walk configmaps.json", base=lambda: demo("shop-iptables"), file="configmaps.json", questions=_named())


def _only(file: str) -> Callable[[], Files]:
    """The nftables demonstration with one of its two listings on the node that is asked."""
    other = {"nft-ruleset.txt": "nft-ruleset.json", "nft-ruleset.json": "nft-ruleset.txt"}[file]
    return lambda: {path: content for path, content in demo("shop-nftables").items() if path != _NODE + other}


def _asked(name: str) -> tuple[tuple[str, str], ...]:
    """A pod of the node whose file is damaged to a Service, and the node itself."""
    pods = json.loads(demo(name)["pods.json"])["items"]
    here = (p["metadata"] for p in pods if p["spec"].get("nodeName") == "shop-worker" and not p["spec"].get("hostNetwork"))
    pod = next(here)
    return (f"pod:{pod['namespace']}/{pod['name']}", "svc:default/api:80"), ("node:shop-worker", "svc:default/api:80")


def _named() -> tuple[tuple[str, str], ...]:
    ((pod, _), _) = _asked("shop-iptables")
    return ((pod, "api.default:80"), (pod, "www.example.com:80"))


# -- archives -------------------------------------------------------------------------------------------------------------------------

_LIMITS = Limits(upload_bytes=1_000_000, unpacked_bytes=20_000_000, entries=1_000, levels=20, ratio=250)


def open_archive(text: str) -> None:
    """Check and unpack the archive whose bytes are *text*'s characters."""
    with tempfile.NamedTemporaryFile(suffix=".tgz") as file:
        file.write(text.encode("latin-1", "replace"))
        file.flush()
        try:
            for _ in check(Path(file.name), limits=_LIMITS).files():
                pass
        except UploadError:
            pass


def archives() -> tuple[str, ...]:
    """Return small archives of each kind, their bytes as characters."""
    files = {"top/services.json": b'{"kind": "List", "items": []}', "top/nodes/n1/ss.txt": b"Netid\n" * 20}
    found = []
    for mode in ("w:", "w:gz", "w:bz2", "w:xz"):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode=mode, format=tarfile.PAX_FORMAT) as archive:  # type: ignore[call-overload]
            for name, content in files.items():
                info = tarfile.TarInfo(name + ("é" * 60 if mode == "w:" else ""))
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        found.append(packed.getvalue().decode("latin-1"))
    found += [_around("inner.bin", inner.encode("latin-1")) for inner in tuple(found)]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in files.items():
            zipped.writestr(name, content)
    return (*found, packed.getvalue().decode("latin-1"), _around("inner.zip", packed.getvalue()))


def _around(name: str, content: bytes) -> str:
    """Return a tar with an archive in it and a link."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
        info = tarfile.TarInfo("link")
        info.type, info.linkname = tarfile.SYMTYPE, name
        archive.addfile(info)
    return packed.getvalue().decode("latin-1")

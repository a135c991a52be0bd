"""Damage what decided an answer, ask again, and say where the new answer is certain and another one."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

from tests.garbled.garble import ROUTES, Damage, damaged
from tracer.errors import TracerError
from tracer.query import query_from_dict
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster
from webapp import uploads

SEED = 20261130
LEVELS = ("option", "line", "table", "file")
RECORDINGS = (
    "shop-iptables", "shop-nftables", "shop-ipvs", "shop-ipvs-sh", "shop-iptables-v1.20", "shop-iptables-v1.30", "shop-nftables-v1.30",
    "lab-vxlan", "lab-ipv6", "lab-established",
)  # fmt: skip
_OUTSIDE = "203.0.113.10"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One damage and what came of it: *verdict* is ``same``, ``doubtful``, ``error``, or ``wrong``: certain, and another answer."""

    seed: int
    recording: str
    question: str
    damage: Damage
    verdict: str
    before: frozenset[str]
    after: frozenset[str]

    def __str__(self) -> str:
        """Say in one line what was done and what came of it."""
        done = f"{self.damage.path}:{self.damage.line}: {self.damage.level}: {self.damage.way}"
        return f"[{self.seed}] {self.recording}: {self.question}: {done}: {sorted(self.before - self.after)} became {sorted(self.after - self.before)}"


@cache
def _files(folder: Path) -> Mapping[str, bytes]:
    return uploads.read(folder)


@cache
def _cluster(folder: Path) -> Cluster:
    return Cluster.from_snapshot(Snapshot.from_files(_files(folder)))


def _answer(cluster: Cluster, question: dict[str, Any], *, with_steps: bool = False) -> dict[str, Any] | None:
    try:
        return trace(cluster, query_from_dict(question)).to_dict(with_steps=with_steps)
    except TracerError:
        return None


def _question(cluster: Cluster, drawn: random.Random) -> dict[str, Any]:
    """Draw who asks whom: a pod, a node or somebody outside; a cluster address, a node port, a balancer's address or a pod."""
    objects = cluster.objects
    pods = [f"pod:{p.namespace}/{p.name}" for p in objects.pods if p.ips]
    nodes = cluster.snapshot.node_names
    source = drawn.choice([drawn.choice(pods), drawn.choice(pods), f"node:{drawn.choice(nodes)}", f"external:{_OUTSIDE}"])
    ways: list[tuple[str, str]] = []
    for service in objects.services:
        for port in service.ports:
            proto = str(port.protocol).lower()
            ways += [(f"{_spelled(ip)}:{port.port}", proto) for ip in service.cluster_ips]
            if port.node_port:
                node = drawn.choice(objects.nodes)
                ways += [(f"{_spelled(ip)}:{port.node_port}", proto) for ip in node.internal_ips[:1]]
    if source.startswith("external:"):
        ways = [way for way in ways if not way[0].startswith("[")] or ways
    to, proto = drawn.choice(ways)
    return {"id": "", "from": source, "to": to, "protocol": proto}


def _spelled(ip: object) -> str:
    return f"[{ip}]" if ":" in str(ip) else str(ip)


def _ends(answer: dict[str, Any]) -> frozenset[str]:
    """Return how it ends: each end with its odds, ends that are alike put together."""
    odds: dict[str, Fraction] = {}
    for outcome in answer["outcomes"]:
        to = outcome.get("destination") or {}
        reply = (outcome.get("reply") or {}).get("disposition")
        seen = (outcome.get("source_seen") or {}).get("ip")
        name = f"{outcome['disposition']} {to.get('ip')}:{to.get('port')} from {seen}, reply {reply}"
        odds[name] = odds.get(name, Fraction(0)) + Fraction(outcome["probability"])
    return frozenset(f"{share} {name}" for name, share in odds.items())


def _says_less(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Return whether the same is said but for a source of which only the node is known now."""
    open_ones = [o for o in after["outcomes"] if (o.get("source_seen") or {}).get("ip") is None]
    return bool(open_ones) and _ends(_without_sources(before)) == _ends(_without_sources(after))


def _without_sources(answer: dict[str, Any]) -> dict[str, Any]:
    return {"outcomes": [{name: value for name, value in o.items() if name != "source_seen"} for o in answer["outcomes"]]}


def _is_doubtful(answer: dict[str, Any]) -> bool:
    unsure = any(o["disposition"] == "unknown" or o.get("conditions") or _unknown_reply(o) for o in answer["outcomes"])
    return unsure or bool(answer.get("unknowns"))


def _unknown_reply(outcome: dict[str, Any]) -> bool:
    return (outcome.get("reply") or {}).get("disposition") == "unknown"


def _place(answer: dict[str, Any], cluster: Cluster, drawn: random.Random) -> tuple[str, int] | None:
    """Draw what decided: a rule that matched, or a file of a node that the packet passed."""
    hops = [h for o in answer["outcomes"] for h in [*o["hops"], *((o.get("reply") or {}).get("hops") or [])]]
    places = [(s["file"], s["line"]) for h in hops for s in h.get("steps") or [] if s.get("file") and s.get("line")]
    nodes = sorted({h["node"] for h in hops if h.get("node")})
    if nodes and (not places or drawn.random() < 0.15):
        node = drawn.choice(nodes)
        routes = [path for name in ROUTES if (path := cluster.snapshot.path_of(node, name)) in cluster.snapshot.files]
        return (drawn.choice(routes), 0) if routes else None
    return drawn.choice(places) if places else None


def _other(files: Mapping[str, bytes], path: str, drawn: random.Random) -> str:
    name = path.rpartition("/")[2]
    others = sorted(p for p in files if p != path and p.rpartition("/")[2] == name)
    return files[drawn.choice(others)].decode() if others else ""


def checked(seed: int, root: Path) -> Checked | None:
    """Return what came of damage number *seed* to a recording below *root*, or None when nothing fits what was drawn."""
    drawn = random.Random(seed)
    recording, level = drawn.choice(RECORDINGS), LEVELS[seed % len(LEVELS)]
    cluster, files = _cluster(root / recording), _files(root / recording)
    question = _question(cluster, drawn)
    before = _answer(cluster, question, with_steps=True)
    if before is None or _is_doubtful(before) or (place := _place(before, cluster, drawn)) is None:
        return None
    path, line = place
    damage = damaged(path, files[path].decode(), line, _other(files, path, drawn), level if line else "file", drawn)
    if damage is None:
        return None
    changed = Cluster.from_snapshot(Snapshot.from_files({**files, path: damage.text.encode()}))
    after = _answer(changed, question)
    verdict, ends = "error", frozenset[str]()
    if after is not None:
        ends = _ends(after)
        verdict = "doubtful" if _is_doubtful(after) else "same" if ends == _ends(before) or _says_less(before, after) else "wrong"
    name = f"{question['from']} -> {question['to']}/{question['protocol']}"
    return Checked(seed=seed, recording=recording, question=name, damage=damage, verdict=verdict, before=_ends(before), after=ends)


def run(wanted: int, root: Path, seed: int = SEED) -> Iterator[Checked]:
    """Yield *wanted* damages and what came of them: always the same ones for one *seed*."""
    made = 0
    for number in range(seed * 10_000, seed * 10_000 + wanted * 20):
        if made == wanted:
            return
        if (found := checked(number, root)) is not None:
            made += 1
            yield found

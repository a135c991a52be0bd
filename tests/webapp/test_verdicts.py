"""``manage.py trace --batch FILE --verdicts``: what it says is what the whole answers say, in their words."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.made_cluster import MadeCluster
from tests.sizes import some
from tests.tracer.simulate.truth import queries, whole
from tests.webapp.test_trace_command import run
from tracer.errors import TracerError
from tracer.explain.findings import diagnose
from tracer.query import query_from_dict
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster
from webapp.answering.verdicts import verdict_of

_NTH = 60
RECORDINGS = (
    "shop-iptables",
    "shop-iptables-v1.20",
    "shop-ipvs",
    "shop-ipvs-sh",
    "shop-nftables",
    "lab-vxlan",
    "lab-ipv6",
    "lab-established",
)


def verdict_in(answer: Mapping[str, Any]) -> dict[str, object]:
    """Return the verdict that a whole *answer* holds."""
    words = ("probability", "conditions", "disposition", "destination", "source_seen", "client_sees")
    outcomes = []
    for outcome in answer["outcomes"]:
        reply = {"reply": {word: outcome["reply"][word] for word in ("disposition", "source_seen")}} if "reply" in outcome else {}
        outcomes.append({word: outcome[word] for word in words if word in outcome} | reply)
    return {"version": answer["version"], "id": answer["id"], "outcomes": outcomes}


def whole_answer(cluster: Cluster, asked: object) -> object:
    """Return the verdict in the whole answer, as a reader of its JSON finds it."""
    try:
        return verdict_in(json.loads(json.dumps(diagnose(cluster, trace(cluster, query_from_dict(asked))).to_dict(with_steps=True))))
    except TracerError as error:
        return error.code, str(error)


def verdict(cluster: Cluster, asked: object) -> object:
    try:
        return json.loads(json.dumps(verdict_of(trace(cluster, query_from_dict(asked), is_verdict=True))))
    except TracerError as error:
        return error.code, str(error)


def assert_told_alike(files: dict[str, bytes], questions: Iterable[Any]) -> None:
    """Ask two clusters, each in its own way, so that neither takes anything from the other's answers."""
    one, other = (Cluster.from_snapshot(Snapshot.from_files(files)) for _ in range(2))
    for asked in questions:
        assert verdict(one, asked) == whole_answer(other, asked), asked


@pytest.mark.needs_shared
@pytest.mark.parametrize("recording", RECORDINGS)
def test_they_are_those_of_the_whole_answers(shared: Path, recording: str) -> None:
    folder = shared / "recordings" / recording
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    asked = some(queries(whole(f"{recording}.connections.json.gz")).splitlines(), _NTH)
    assert_told_alike(files, map(json.loads, asked))


def test_conditions_assumptions_and_what_cannot_be_answered() -> None:
    made = MadeCluster(2, nf_call=None, cni="bridge")
    client = made.pod("client", 1)
    pods = [made.pod(f"web-{n}", n % 2 + 1) for n in range(3)]
    made.service("web", pods, type="LoadBalancer", node_port=30080, lb_ip="198.51.100.7")
    made.node(2).rules.append(("filter", "-A FORWARD -m u32 --u32 0x0=0x0 -j DROP"))
    files = made.files()
    sources = ["node:n1", "pod:default/client", "pod:default/web-1", "external:203.0.113.9", "pod:default/gone"]
    places = ["10.96.0.10:80", "svc:default/web", "198.51.100.7:80", f"{client.ips[0]}:8080", "web:80", "10.96.0.99:80"]
    asked = [
        {"id": "x", "from": source, "to": to, "protocol": protocol} for source in sources for to in places for protocol in ("tcp", "udp")
    ]
    assert_told_alike(files, asked)
    cluster = Cluster.from_snapshot(Snapshot.from_files(files))
    told = [found for question in asked if isinstance(found := verdict(cluster, question), dict)]
    outcomes = [outcome for found in told for outcome in found["outcomes"]]
    assert any("conditions" in outcome for outcome in outcomes) and any("reply" in outcome for outcome in outcomes)
    assert len({outcome["disposition"] for outcome in outcomes}) > 2


def test_the_command_writes_a_line_for_each(tmp_path: Path) -> None:
    made = MadeCluster()
    made.pod("client", 1)
    made.service("web", [made.pod("web-1", 2)])
    for path, data in made.files().items():
        (tmp_path / "s" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "s" / path).write_bytes(data)
    asked = {"id": "1", "from": "pod:default/client", "to": "10.96.0.10:80"}
    lines = "\n".join(map(json.dumps, [asked, asked | {"id": "2", "from": "pod:default/clent"}, asked | {"id": "3"}]))
    done = run(tmp_path / "s", "--batch", "-", "--verdicts", stdin=lines)
    first, wrong, last = map(json.loads, done.stdout.splitlines())
    outcome = {
        "probability": "1",
        "disposition": "delivered",
        "destination": {
            "kind": "pod",
            "namespace": "default",
            "name": "web-1",
            "node": "n2",
            "ip": "10.1.2.2",
            "port": 8080,
        },
        "source_seen": {"ip": "10.1.1.2", "port": None},
        "client_sees": "connected",
        "reply": {"disposition": "delivered", "source_seen": {"ip": "10.96.0.10", "port": 80}},
    }
    assert first == {"version": 1, "id": "1", "outcomes": [outcome]}
    assert (wrong["error"]["code"], last, done.returncode) == ("SOURCE_NOT_FOUND", first | {"id": "3"}, 1)


@pytest.mark.parametrize("arguments", [("--batch", "-", "--steps"), ("--from", "node:n1", "--to", "10.96.0.10:80")])
def test_it_goes_with_a_batch_and_without_steps(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = run(tmp_path, *arguments, "--verdicts")
    assert (done.returncode, "--verdicts goes with --batch FILE, and without --steps" in done.stderr) == (2, True)

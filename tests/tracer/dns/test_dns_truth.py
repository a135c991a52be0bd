"""What a real CoreDNS answered and a real resolver asked, in a recorded cluster."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tracer.dns.message import Answer, Question, Record
from tracer.query import query_from_dict
from tracer.simulate import trace
from tracer.simulate.naming import dns_of
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster

pytestmark = pytest.mark.needs_shared
ANSWERS, LOOKUPS = 245, 54


@pytest.fixture(scope="module")
def truth(shared: Path) -> dict[str, Any]:
    with gzip.open(shared / "truth" / "shop-iptables.dns.json.gz", "rt") as file:
        return dict(json.load(file))


@pytest.fixture(scope="module")
def cluster(shared: Path) -> Cluster:
    folder = shared / "recordings" / "shop-iptables"
    files = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    return Cluster.from_snapshot(Snapshot.from_files(files))


def recorded(lines: list[str]) -> list[tuple[str, int, str]]:
    return sorted(split(*line.split(" ", 2)) for line in lines)


def ours(records: tuple[Record, ...]) -> list[tuple[str, int, str]]:
    return sorted(split(r.name, str(r.ttl), f"IN {r.rdtype} {r.rdata}") for r in records)


def split(name: str, ttl: str, rest: str) -> tuple[str, int, str]:
    """The serial of an SOA is the time of CoreDNS's last change, which no snapshot holds."""
    words = rest.split(" ")
    if words[1] == "SOA":
        words[4] = "serial"
    return (name, int(ttl), " ".join(words))


def same(want: list[tuple[str, int, str]], got: list[tuple[str, int, str]]) -> bool:
    """TTLs may have counted down in the cache, never up."""
    return [(n, r) for n, _, r in want] == [(n, r) for n, _, r in got] and all(w[1] <= g[1] for w, g in zip(want, got, strict=True))


def test_every_single_answer(truth: dict[str, Any], cluster: Cluster) -> None:
    server = dns_of(cluster).server
    wrong = []
    for record in truth["answers"]:
        answer: Answer = server.ask(Question(name=record["name"], rdtype=record["type"]))
        sections = ((record["answer"], answer.answer), (record["authority"], answer.authority), (record["additional"], answer.additional))
        fits = [same(recorded(want), ours(got)) for want, got in sections]
        if answer.rcode != record["rcode"] or answer.authoritative is not record["aa"] or not all(fits):
            wrong.append(f"{record}\n  got {answer}")
    assert not wrong, "\n".join(wrong)
    assert len(truth["answers"]) == ANSWERS


def test_every_look_up_of_a_pod(truth: dict[str, Any], cluster: Cluster) -> None:
    """The names asked, in order, each with its rcodes; and the addresses that getaddrinfo returned."""
    wrong = []
    for record in truth["lookups"]:
        source = {"kind": "pod", "namespace": record["namespace"], "name": record["pod"]}
        got = trace(cluster, query_from_dict({"from": source, "to": {"host": record["name"], "port": 80}}))
        want = list(dict.fromkeys((q["name"].lower(), q["rcode"]) for q in record["questions"]))
        asked = list(dict.fromkeys((x.name.lower(), x.rcode) for x in got.lookups))
        addresses = {a for x in got.lookups for a in x.answers if x.rdtype in ("A", "AAAA") and not a.endswith(".")}
        if want != asked or addresses != set(record["addresses"]):
            wrong.append(f"{record}\n  asked {asked}\n  addresses {addresses}")
        assert sum(o.probability for o in got.outcomes) == 1
        assert (record["exit"] != 0) == (got.outcomes[0].disposition == "unresolved"), record
    assert not wrong, "\n".join(wrong)
    assert len(truth["lookups"]) == LOOKUPS

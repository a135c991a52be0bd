"""Recorded pairs: the cluster before with a change's words, and the cluster after, asked the same questions.

python -m tests.what_if.pairs [PAIR …]     every question of each pair (all pairs, without one): which are not answered alike
"""

from __future__ import annotations

import gzip
import json
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

from tests.conftest import SHARED
from tracer.errors import QueryError
from tracer.query import query_from_dict
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster

FOLDER = SHARED / "whatif"


def names() -> list[str]:
    """Return the pairs that are there: ``NN-MODE``."""
    return sorted(path.name[:-7] for path in FOLDER.glob("*.tar.gz") if not path.name.startswith("before"))


@cache
def _files(name: str) -> dict[str, bytes]:
    with tarfile.open(FOLDER / f"{name}.tar.gz") as archive:
        found = {member.name: archive.extractfile(member) for member in archive.getmembers() if member.isfile()}
        return {path: file.read() for path, file in found.items() if file is not None}


@cache
def _cluster(name: str, folder: str) -> Cluster:
    prefix = f"{folder}/"
    files = {path.split(prefix, 1)[1]: text for path, text in _files(name).items() if prefix in path}
    return Cluster.from_snapshot(Snapshot.from_files(files))


@dataclass(frozen=True)
class Pair:
    """One pair: the *words* (and the manifest *apply*) that make of *before* what *after* was recorded as, and the *records* of real packets."""

    name: str
    before: Cluster
    after: Cluster
    change: dict[str, Any]
    records: Sequence[dict[str, Any]]

    def queries(self) -> Iterator[dict[str, Any]]:
        """Yield a plain query for each record of the truth."""
        for number, record in enumerate(self.records):
            source = record["source"]
            kind = source["kind"]
            asks = {"kind": kind}
            if kind == "external":
                asks["ip"] = source["ip6"] if ":" in record["dest"] else source["ip"]
            else:
                asks |= {key: source[key] for key in ("namespace", "name") if key in source}
            to = {"host": record["dest"], "port": record["port"]}
            yield {"id": str(number), "from": asks, "to": to, "protocol": record["proto"].lower()}

    def changed(self, query: dict[str, Any]) -> dict[str, Any]:
        """Return *query* with the pair's words."""
        return query | {"overrides": self.change["set"]} | ({"apply": self.change["apply"]} if "apply" in self.change else {})


def pair(name: str) -> Pair:
    """Return the pair of that name."""
    files = _files(name)
    change = json.loads(next(text for path, text in files.items() if path.endswith("change.json")))
    truth = json.loads(gzip.decompress(next(text for path, text in files.items() if path.endswith("after.connections.json.gz"))))
    before = _cluster(change["before"], "before")
    return Pair(name=name, before=before, after=_cluster(name, "after"), change=change, records=truth["records"])


def told(cluster: Cluster, query: dict[str, Any]) -> object:
    """Return what an answer says of packets: outcomes with their odds, destinations, sources seen, replies; the error's code."""
    try:
        answer = trace(cluster, query_from_dict(query))
    except QueryError as error:
        return error.code
    found: Counter[tuple[object, ...]] = Counter()
    for outcome in answer.outcomes:
        place, back = outcome.destination, outcome.reply
        where = (place.kind, place.name or str(place.ip), place.port) if place is not None else None
        seen = str(outcome.source_seen[0]) if outcome.source_seen is not None else None
        found[outcome.disposition, outcome.client_sees, where, seen, back.disposition if back is not None else None] += Fraction(
            outcome.probability
        )
    return dict(found)


def differences(one: Pair, queries: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield each question that the changed cluster answers otherwise than the recorded one."""
    for query in queries:
        expected, found = told(one.after, query), told(one.before, one.changed(query))
        if expected != found:
            asked = f"{query['from']} -> {query['to']['host']}:{query['to']['port']} {query['protocol']}"
            yield f"{one.name} {query['id']}: {asked}\n    after: {expected}\n    what if: {found}"


def main(arguments: Sequence[str]) -> int:
    """Compare every question of the pairs that are named; the exit code is how many pairs differ."""
    wrong = 0
    for name in arguments or names():
        one = pair(name)
        queries = list(one.queries())
        found = list(differences(one, queries))
        sys.stdout.write(f"{name}: {len(queries) - len(found)} of {len(queries)} as the recorded after {one.change['set']}\n")
        sys.stdout.write("".join(f"  {text}\n" for text in found[:5]))
        sys.stdout.flush()
        wrong += bool(found)
        _files.cache_clear()
    return wrong


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

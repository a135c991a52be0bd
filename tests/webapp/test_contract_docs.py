"""The two documents of the contract name every field, word and file that exists."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.conftest import PROJECT
from tests.made_cluster import MadeCluster
from tracer.explain.explanation import Severity
from tracer.explain.findings import diagnose
from tracer.query import _HEADER
from tracer.snapshot.layout import KINDS
from tracer.snapshot.node_files import BY_NAME
from tracer.stations import StationKind, stations_of
from tracer.trace import Disposition, Listener, Lookup, StackKind


def documented(name: str) -> frozenset[str]:
    """Return every word that stands in code marks in the document *name*."""
    text = re.sub(r"```.*?```", "", (PROJECT / "docs" / name).read_text(), flags=re.DOTALL)
    return frozenset(word for code in re.findall(r"`([^`]+)`", text) for word in re.findall(r"[\w.-]+", code))


def keys(value: object) -> Iterator[str]:
    """Yield every key of a JSON value, but not those of ``query`` (spelled in an example) and the names of rewritten fields."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            if key not in ("query", "rewrote"):
                yield from keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from keys(inner)


def test_every_field_of_an_answer_is_documented() -> None:
    cluster = MadeCluster()
    cluster.pod("client", 1)
    cluster.service("web", [cluster.pod("web-1", 1), cluster.pod("web-2", 2)], type="LoadBalancer", node_port=30080, lb_ip="203.0.113.100")
    cluster.node(1).without |= {"ip-rule.json"}
    found: set[str] = set()
    for source, to in (("external:203.0.113.9", "203.0.113.100:80"), ("pod:default/client", "10.96.0.10:80"), ("node:n1", "192.0.2.1:80")):
        traced = diagnose(cluster.cluster(), cluster.trace(source, to))
        found |= set(keys(traced.to_dict(with_steps=True)))
        found |= {key for stations in stations_of(traced) for station in stations for key in station.to_dict()}
    lookup = Lookup(server="s", name="n", rdtype="A", rcode="NOERROR", why="w", search=(1, 2), plugin="p", notes=("n",))
    found |= set(keys(lookup.to_dict()))
    assert {"probability", "chance", "names", "findings", "reply", "rewrote", "policy", "notes"} <= found
    assert found - documented("trace-json.md") == set()


@pytest.mark.parametrize("words", [Disposition, Listener, StackKind, StationKind, Severity], ids=lambda words: words.__name__)
def test_every_word_of_a_closed_list_is_documented(words: type) -> None:
    assert {word.value for word in words} - documented("trace-json.md") == set()


def test_every_header_field_of_a_query_is_documented() -> None:
    assert set(_HEADER) - documented("trace-json.md") == set()


def test_every_file_that_is_read_is_documented() -> None:
    assert (set(BY_NAME) | set(KINDS)) - documented("snapshot-format.md") == set()

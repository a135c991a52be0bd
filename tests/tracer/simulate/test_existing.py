"""A connection that a node's conntrack.txt holds starts where its source lives: on the node, in a pod there, or wherever it came from."""

from __future__ import annotations

import pytest

from tests.made_cluster import MadeCluster
from tracer.errors import QueryError
from tracer.query import SourceKind
from tracer.trace import StackKind, Trace


def line_of(source: str, destination: str) -> str:
    forth = f"src={source} dst={destination} sport=40000 dport=8080"
    back = f"src={destination} dst={source} sport=8080 dport=40000"
    family = "ipv6     10" if ":" in source else "ipv4     2"
    return f"{family} tcp      6 86399 ESTABLISHED {forth} {back} [ASSURED] mark=0 zone=0 use=2"


def traced(source: str, destination: str, *, line: int = 1) -> Trace:
    """The connection on *line* of n1, which has one: n1 holds the pods client (…2) and web-1 (…3), n2 the pod web-2."""
    cluster = MadeCluster(2)
    cluster.pod("client", 1)
    cluster.pod("web-1", 1)
    cluster.pod("web-2", 2)
    cluster.node(1).texts["conntrack.txt"] = line_of(source, destination) + "\n"
    return cluster.trace("external:203.0.113.9", "10.1.1.3:8080", connection=("n1", line))


@pytest.mark.parametrize(
    ("source", "destination", "kind", "stacks", "replayed"),
    [
        ("192.168.0.11", "10.1.1.3", SourceKind.NODE, [(StackKind.NODE, "n1"), (StackKind.POD, "default/web-1")], True),
        ("10.1.1.1", "10.1.1.3", SourceKind.NODE, [(StackKind.NODE, "n1"), (StackKind.POD, "default/web-1")], True),
        ("127.0.0.1", "192.168.0.11", SourceKind.NODE, [(StackKind.NODE, "n1")], True),
        ("fd00:192::b", "fd00:1:1::3", SourceKind.NODE, [(StackKind.NODE, "n1"), (StackKind.POD, "default/web-1")], True),
        ("10.1.1.2", "10.1.1.3", SourceKind.POD, [(StackKind.POD, "default/client"), (StackKind.NODE, "n1"), (StackKind.POD, "default/web-1")], True),
        ("10.1.2.2", "10.1.1.3", SourceKind.POD, [(StackKind.POD, "default/web-2"), (StackKind.NODE, "n1"), (StackKind.POD, "default/web-1")], False),
        ("192.168.0.12", "10.1.1.3", SourceKind.NODE, [(StackKind.NODE, "n2"), (StackKind.NODE, "n1"), (StackKind.POD, "default/web-1")], False),
        ("203.0.113.9", "10.1.1.3", SourceKind.EXTERNAL, [(StackKind.EXTERNAL, "203.0.113.9"), (StackKind.NODE, "n1"), (StackKind.POD, "default/web-1")], False),
    ],
)  # fmt: skip
def test_who_sent_it_and_from_where_it_is_replayed(
    source: str, destination: str, kind: SourceKind, stacks: list[tuple[StackKind, str]], *, replayed: bool
) -> None:
    answer = traced(source, destination)
    (outcome,) = answer.outcomes
    assert answer.query.source.kind is kind
    assert [(hop.kind, hop.name) for hop in outcome.hops] == stacks
    assert str(outcome.hops[0].packet_in.source) == source
    assert any("as node n1 recorded it: the way here is not replayed" in note for note in outcome.hops[0].notes) is not replayed


def test_a_line_that_holds_no_connection_is_refused() -> None:
    with pytest.raises(QueryError, match=r"line 2 of nodes/n1/conntrack\.txt holds no connection"):
        traced("10.1.1.2", "10.1.1.3", line=2)

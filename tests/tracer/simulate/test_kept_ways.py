"""A way behind a translation that was walked before is taken over, and the answer and its cost are those of a walk."""

from __future__ import annotations

import random

import pytest

from tests.made_cluster import MadeCluster
from tests.sizes import every
from tests.tracer.simulate.test_kept_walks import answer, questions
from tracer.limits import Limits
from tracer.packet import Packet
from tracer.query import Destination, FlowState, Query, parse_source
from tracer.simulate import kept_ways, surroundings, trace
from tracer.simulate.kept_ways import TakenOver
from tracer.simulate.walk import Ending, Walk
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster
from tracer.trace import Disposition, Trace

ORIGINAL = ("filter", "-A FORWARD -p tcp -m conntrack --ctorigdst 10.96.0.11/32 -j DROP")
SENDER = ("filter", "-A FORWARD -p tcp -m tcp --sport 30081 -j DROP")
UNKNOWN = ("filter", "-A FORWARD -m ttl --ttl-eq 62 -j DROP")
LISTED = ("mangle", "-A FORWARD -m recent --name seen --set")
RULES = {"none": (), "original": (ORIGINAL,), "sender": (SENDER,), "unknown": (UNKNOWN,), "listed": (LISTED,)}


def made(*rules: tuple[str, str]) -> MadeCluster:
    """Return a cluster whose Services have endpoints in common, with *rules* on each node."""
    cluster = MadeCluster(3)
    cluster.pod("client", 1)
    pods = [cluster.pod(f"web-{n}", n % 3 + 1) for n in range(4)]
    for n in range(3):
        cluster.service(f"web-{n}", pods[n % 2 :], type="LoadBalancer", node_port=30080 + n, lb_ip=f"198.51.100.{n + 7}", local=n == 2)
    for number in (1, 2, 3):
        cluster.node(number).rules += rules
    return cluster


def read(cluster: MadeCluster, work: int = 4_000_000) -> Cluster:
    return Cluster.from_snapshot(Snapshot.from_files(cluster.files(), Limits(work=work)))


def asked(source: str, host: str, port: int = 80, **options: object) -> Query:
    return Query(source=parse_source(source), destination=Destination(host=host, port=port), **options)  # type: ignore[arg-type]


def services(source: str) -> list[Query]:
    return [asked(source, f"10.96.0.{10 + n}") for n in range(3)]


def node_ports(source: str, node: str) -> list[Query]:
    return [asked(source, node, 30080 + n) for n in range(3)]


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[TakenOver]:
    """Return a list of the ends that are taken over."""
    found: list[TakenOver] = []
    filled = kept_ways._Kept.filled

    def noted(kept: kept_ways._Kept, walk: Walk, dialled: kept_ways._Dialled) -> TakenOver:
        found.append(filled(kept, walk, dialled))
        return found[-1]

    monkeypatch.setattr(kept_ways._Kept, "filled", noted)
    return found


def all_asked(cluster: Cluster, asked: list[Query]) -> list[Trace]:
    return [trace(cluster, query) for query in asked]


@pytest.mark.parametrize("source", ["pod:default/client", "node:n1"])
def test_what_another_service_sent_there_is_not_walked_again(source: str, taken: list[TakenOver]) -> None:
    cluster = read(made())
    first = all_asked(cluster, services(source))
    assert taken
    assert first == [trace(read(made()), query) for query in services(source)]
    dialled = {outcome.reply.source for found in first for outcome in found.outcomes if outcome.reply}
    assert {str(one) for one in dialled} == {f"10.96.0.{10 + n}" for n in range(3)}


def test_a_node_port_is_put_in_where_the_answer_passes_another_node(taken: list[TakenOver]) -> None:
    cluster = read(made())
    node = str(cluster.objects.nodes[1].ips[0])
    first = all_asked(cluster, node_ports("pod:default/client", node))
    assert taken
    assert first == [trace(read(made()), query) for query in node_ports("pod:default/client", node)]


@pytest.mark.parametrize(("rules", "work", "seed"), every([(r, w, s) for s in range(3) for r in RULES for w in (4_000_000, 4_000, 400)], 7))
def test_answers_and_what_they_cost_are_those_of_a_walk(rules: str, work: int, seed: int, taken: list[TakenOver]) -> None:
    cluster, drawn = read(made(*RULES[rules]), work), random.Random(f"ways {seed} {rules}")
    node = str(cluster.objects.nodes[seed % 3].ips[0])
    several = [*services("pod:default/client"), *node_ports("pod:default/client", node), *node_ports("external:203.0.113.10", node)]
    several += [query for query in questions(cluster, drawn, 8) if query.state is FlowState.NEW]
    for query in several:
        assert answer(cluster, query) == answer(read(made(*RULES[rules]), work), query), query
    assert taken or rules not in ("none", "sender") or work < 4_000_000


def test_a_rule_that_asks_what_was_dialled_keeps_ways_apart() -> None:
    cluster = read(made(ORIGINAL))
    several = services("pod:default/client")
    ends = [{o.disposition for o in found.outcomes} for found in all_asked(cluster, [several[n] for n in (0, 2, 1)])]
    assert ends[0] == ends[1] == {Disposition.DELIVERED}
    assert Disposition.DROPPED in ends[2]


def test_a_rule_that_asks_for_the_sender_keeps_ways_apart() -> None:
    """The answer has the node port of the Service as its sender's, on the client's own node."""
    cluster = read(made(SENDER))
    node = str(cluster.objects.nodes[1].ips[0])
    several = node_ports("pod:default/client", node)
    found = all_asked(cluster, [several[n] for n in (0, 2, 1)])
    lost = [{o.reply.disposition for o in one.outcomes if o.reply is not None} for one in found]
    assert lost[0] == {Disposition.DELIVERED}
    assert Disposition.DROPPED in lost[2]


@pytest.mark.parametrize("told", ["asks_for_tuples", "asks_for_sender"])
def test_one_that_forgets_what_rules_ask_for_is_found_out(told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rule, source = ORIGINAL if told == "asks_for_tuples" else SENDER, "pod:default/client"
    node = str(read(made()).objects.nodes[1].ips[0])
    several = services(source) if told == "asks_for_tuples" else node_ports(source, node)
    several = [several[n] for n in (0, 2, 1)]
    expected = [trace(read(made(rule)), query) for query in several]
    assert all_asked(read(made(rule)), several) == expected
    if told == "asks_for_tuples":
        monkeypatch.setattr("tracer.netfilter.kept_runs._ASKS_FOR_TUPLES", FindsNothing())
    else:
        monkeypatch.setattr("tracer.netfilter.kept_runs._ASKS_FOR_SENDER", FindsNothing())
    assert all_asked(read(made(rule)), several) != expected


class FindsNothing:
    """A pattern that finds nothing."""

    def search(self, text: str) -> None:
        """Return that nothing was found."""


def test_one_that_leaves_something_out_of_its_key_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's port decides behind the translation: who forgets it takes over what another port's packet did."""
    rule = ("mangle", "-A POSTROUTING -p tcp -m tcp --sport 40000 -j DROP")
    key = kept_ways._packet_key

    def forgetting(packet: Packet, dialled: kept_ways._Dialled) -> tuple[object, ...]:
        return tuple((part[0], None) if isinstance(part, tuple) and part[-1] in (40000, 40001) else part for part in key(packet, dialled))

    queries = [asked("pod:default/client", f"10.96.0.{10 + n}", source_port=port) for n, port in ((0, 40001), (2, 40001), (1, 40000))]
    expected = [trace(read(made(rule)), query) for query in queries]
    assert all_asked(read(made(rule)), queries) == expected
    monkeypatch.setattr(kept_ways, "_packet_key", forgetting)
    monkeypatch.setattr(kept_ways, "_flow_key", lambda flow, dialled: ())
    assert all_asked(read(made(rule)), queries) != expected


def test_no_more_are_kept_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surroundings, "KEPT_WAYS", 15)
    cluster = read(made())
    all_asked(cluster, services("pod:default/client"))
    (known,) = cluster.once(("hooks",), list)
    assert known.ways is not None and 0 < known.ways.size <= 15


@pytest.mark.parametrize("options", [{"is_plain": True}, {"state": FlowState.RETURNING}], ids=str)
def test_a_plain_walk_and_a_second_connection_take_nothing_over(options: dict[str, object], taken: list[TakenOver]) -> None:
    cluster, is_plain = read(made()), bool(options.pop("is_plain", False))
    for _ in range(3):
        for service in range(3):
            trace(cluster, asked("pod:default/client", f"10.96.0.{10 + service}", **options), is_plain=is_plain)
    assert not taken


def test_a_watched_cluster_keeps_none(monkeypatch: pytest.MonkeyPatch, taken: list[TakenOver]) -> None:
    cluster = read(made())
    monkeypatch.setattr(Cluster, "keeps_answers", False)
    all_asked(cluster, services("pod:default/client"))
    assert not taken


def test_an_end_that_was_taken_over_is_an_end(taken: list[TakenOver]) -> None:
    all_asked(read(made()), services("pod:default/client"))
    assert all(isinstance(one, Ending) and one.outcome.reply is not None for one in taken)

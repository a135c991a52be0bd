"""A crossing that was walked before is taken over, and the answer and its cost are those of a walk."""

from __future__ import annotations

import random
from collections.abc import Sequence
from unittest.mock import patch

import pytest

from tests.made_cluster import MadeCluster
from tests.tracer.simulate.test_kept_walks import answer, questions
from tracer.limits import Limits
from tracer.netfilter.kept_runs import Gone
from tracer.query import Destination, FlowState, Query, parse_source
from tracer.simulate import kept_crossings, surroundings, trace
from tracer.simulate.hooks import HookRunner
from tracer.simulate.kept_ways import KeptWays
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster

PORT = ("mangle", "-A PREROUTING -p tcp -m tcp --sport 40000 -j DROP")


def made(*rules: tuple[str, str]) -> MadeCluster:
    """Return a cluster whose Services have endpoints in common, with rules that ask for what packets have with them, and *rules* on node 2."""
    cluster = MadeCluster(3)
    cluster.pod("client", 1)
    pods = [cluster.pod(f"web-{n}", n % 3 + 1) for n in range(4)]
    for n in range(3):
        cluster.service(f"web-{n}", pods[n % 2 :], type="LoadBalancer", node_port=30080 + n, lb_ip=f"198.51.100.{n + 7}")
    cluster.node(3).rules.append(("filter", "-A FORWARD -m recent --name seen --set"))
    cluster.node(2).rules += [
        *rules,
        ("mangle", "-A PREROUTING -s 10.1.1.2/32 -m conntrack --ctstate NEW -j MARK --set-xmark 0x1/0x1"),
        ("filter", "-A FORWARD -m conntrack --ctstate ESTABLISHED -p udp -j DROP"),
    ]
    return cluster


def read(cluster: MadeCluster, work: int = 4_000_000) -> Cluster:
    return Cluster.from_snapshot(Snapshot.from_files(cluster.files(), Limits(work=work)))


class Taken:
    """Counts the crossings that were taken over, where no whole ways are (``test_kept_ways``)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.number = 0
        again = HookRunner.again

        def counted(runner: HookRunner, ways: Sequence[Gone]) -> None:
            self.number += 1
            again(runner, ways)

        monkeypatch.setattr(HookRunner, "again", counted)
        monkeypatch.setattr(KeptWays, "may_take", lambda ways, walk: False)


def asked(source: str, service: int, **options: object) -> Query:
    return Query(source=parse_source(source), destination=Destination(host=f"10.96.0.{10 + service}", port=80), **options)  # type: ignore[arg-type]


def test_what_another_question_sent_there_and_back_is_not_walked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, cluster = Taken(monkeypatch), read(made())
    for service in (0, 1):  # the second question's packets go where the chains know the way
        trace(cluster, asked("pod:default/client", service))
    assert taken.number == 0
    found = trace(cluster, asked("pod:default/client", 2))
    assert taken.number >= 2
    assert found == trace(read(made()), asked("pod:default/client", 2))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("work", [400, 4_000, 4_000_000])
def test_answers_and_what_they_cost_are_those_of_a_walk(seed: int, work: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = () if seed % 2 else (("filter", "-A FORWARD -m ttl --ttl-eq 62 -j DROP"), PORT)
    taken, cluster = Taken(monkeypatch), read(made(*rules), work)
    drawn = random.Random(f"crossings {seed}")
    several = [asked(source, service) for source in ("pod:default/client", "node:n1") for service in range(3)]
    several += questions(cluster, drawn, 16)
    for query in (*several, *several):
        query = query if query.state is FlowState.NEW else Query(source=query.source, destination=query.destination)
        fresh = read(made(*rules), work)
        assert answer(cluster, query) == answer(fresh, query), query
    assert taken.number > 0 or rules or work < 4_000_000


def test_one_that_leaves_something_out_of_its_key_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's port decides on node 2: who forgets it takes over what another port's packet did."""
    key = kept_crossings._key

    def forgetting(*given: object) -> tuple[object, ...] | None:
        whole = key(*given)  # type: ignore[arg-type]
        return None if whole is None else tuple(None if part in (40000, 40001) else part for part in whole)

    queries = [asked("pod:default/client", n, source_port=port) for n, port in enumerate((40001, 40001, 40000))]
    expected = [trace(read(made(PORT)), query) for query in queries]
    kept = read(made(PORT))
    assert [trace(kept, query) for query in queries] == expected
    monkeypatch.setattr(kept_crossings, "_key", forgetting)
    wrong = read(made(PORT))
    assert [trace(wrong, query) for query in queries] != expected


def test_no_more_are_kept_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surroundings, "KEPT_CROSSINGS", 3)
    cluster = read(made())
    for _ in range(2):
        for service in range(3):
            trace(cluster, asked("pod:default/client", service))
    (known,) = cluster.once(("hooks",), list)
    assert known.crossings is not None and 0 < len(known.crossings) <= 3


@pytest.mark.parametrize("options", [{"is_plain": True}, {"query": {"state": FlowState.RETURNING}}], ids=str)
def test_a_plain_walk_takes_nothing_over(options: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    taken, cluster = Taken(monkeypatch), read(made())
    is_plain = bool(options.get("is_plain"))
    more = options.get("query", {})
    assert isinstance(more, dict)
    for service in (0, 2, 0, 2):
        trace(cluster, asked("pod:default/client", service, **more), is_plain=is_plain)
    assert taken.number == 0 or not is_plain


def test_nothing_is_kept_where_answers_are_not() -> None:
    cluster = read(made())
    with patch.object(Cluster, "keeps_answers", False):
        trace(cluster, asked("pod:default/client", 0))
        assert surroundings.ClusterSurroundings(cluster).known_hooks().crossings is None

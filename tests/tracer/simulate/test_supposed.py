"""Settings that nobody recorded: both values where one decides, none where nothing hangs on it, and the same one on the way back."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest

from tests.made_cluster import MadeCluster
from tracer.trace import Outcome, Trace

CLIENT, HEALTHY = "external:203.0.113.9", "pod:default/client"
RP_FILTER, LOCALNET = "net.ipv4.conf.all.rp_filter", "net.ipv4.conf.all.route_localnet"


def made() -> MadeCluster:
    cluster = MadeCluster(2)
    cluster.pod("client", 1)
    cluster.service("web", [cluster.pod("web", 2)], type="NodePort", node_port=30080)
    return cluster


def another_way_back() -> MadeCluster:
    """Node 2 has a route to the client by another device than the one that its packets come in by."""
    cluster = made()
    cluster.node(2).routes.append({"dst": "203.0.113.0/24", "dev": "vethweb", "flags": []})
    return cluster


def end(outcome: Outcome) -> tuple[str, str]:
    return outcome.disposition.value, outcome.reply.disposition.value if outcome.reply else ""


def ends(answer: Trace) -> dict[tuple[str, str], Fraction]:
    found: dict[tuple[str, str], Fraction] = {}
    for outcome in answer.outcomes:
        found[end(outcome)] = found.get(end(outcome), Fraction(0)) + outcome.probability
    return found


def asked(cluster: MadeCluster, setting: str, value: str | None, source: str, to: str) -> Trace:
    """The answer with *setting* on every node: a value, or None where sysctl.txt says nothing of it."""
    for node in cluster.nodes:
        lines = [line for line in node.sysctls().splitlines() if not line.startswith(setting)]
        node.texts["sysctl.txt"] = "".join(f"{line}\n" for line in (*lines, *([] if value is None else [f"{setting} = {value}"])))
    return cluster.trace(source, to)


@pytest.mark.parametrize(
    ("build", "setting", "source", "to"),
    [
        (another_way_back, RP_FILTER, CLIENT, "192.168.0.12:30080"),
        (made, LOCALNET, "node:n1", "127.0.0.1:30080"),
    ],
)
def test_a_setting_that_decides_is_told_both_ways(build: Callable[[], MadeCluster], setting: str, source: str, to: str) -> None:
    off, on = (ends(asked(build(), setting, value, source, to)) for value in ("0", "1"))
    assert off != on
    answer = asked(build(), setting, None, source, to)
    assert set(ends(answer)) == set(off) | set(on)
    assert sum(o.probability for o in answer.outcomes) == 1
    assert all(o.conditions for o in answer.outcomes)
    key = setting.rpartition(".")[2]
    assert {(u.code, u.at["file"]) for u in answer.unknowns} == {("DATA_MISSING", "sysctl.txt")}
    assert all(key in c for o in answer.outcomes for c in o.conditions)


def test_the_way_back_goes_by_what_was_supposed() -> None:
    answer = asked(made(), LOCALNET, None, "node:n1", "127.0.0.1:30080")
    assert [end(o) for o in answer.outcomes if o.disposition == "delivered"] == [("delivered", "delivered")]
    assert [len(o.conditions) for o in answer.outcomes] == [1, 1]


@pytest.mark.parametrize("setting", [RP_FILTER, LOCALNET])
@pytest.mark.parametrize(("source", "to"), [(HEALTHY, "10.96.0.10:80"), (CLIENT, "192.168.0.11:30080"), ("node:n1", "10.96.0.10:80")])
def test_nothing_hangs_on_it_where_it_does_not_decide(setting: str, source: str, to: str) -> None:
    answer = asked(made(), setting, None, source, to)
    assert ends(answer) == ends(asked(made(), setting, "0", source, to))
    assert not any(o.conditions for o in answer.outcomes)
    assert not answer.unknowns


@pytest.mark.parametrize("where", ["default", "eth0"])
def test_a_device_begins_with_the_default_that_was_recorded(where: str) -> None:
    cluster = another_way_back()
    cluster.node(2).sysctl[f"net.ipv4.conf.{where}.rp_filter"] = "1"
    (outcome,) = cluster.trace(CLIENT, "192.168.0.12:30080").outcomes
    assert outcome.reason is not None
    assert (outcome.disposition, outcome.reason.code, outcome.conditions) == ("dropped", "RP_FILTER", ())

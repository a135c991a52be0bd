"""What nobody recorded, and what makes no difference: leaves that end alike are one outcome, and only what matters stays a condition."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

import pytest

from tests.made_cluster import MadeCluster
from tracer.trace import Disposition, Outcome, Trace

NEW = "-m conntrack --ctstate NEW"
UNKNOWN = f"{NEW} -m u32 --u32 0=0"
OTHER = f"{NEW} -m u32 --u32 1=1"


def cluster(*rules: tuple[str, str], pods: int = 1) -> MadeCluster:
    made = MadeCluster(2)
    made.pod("client", 1)
    made.service("web", [made.pod(f"web-{n}", 1) for n in range(pods)], type="NodePort", node_port=30080)
    made.node(1).rules += list(rules)
    return made


def asked(*rules: tuple[str, str], pods: int = 1) -> Trace:
    found = cluster(*rules, pods=pods).trace("pod:default/client", "10.96.0.10:80")
    assert sum(o.probability for o in found.outcomes) == 1
    return found


def ways(answer: Trace) -> list[tuple[str, Fraction, int, int]]:
    """Disposition, probability, how many conditions, how many other ways."""
    return [(o.disposition.value, o.probability, len(o.conditions), len(o.also)) for o in answer.outcomes]


ONE = [("delivered", Fraction(1), 0, 0)]


@pytest.mark.parametrize("target", ["LOG", "NFLOG --nflog-group 1", "TRACE", "", "MARK --set-xmark 0x0/0x0"])
@pytest.mark.parametrize("match", ["-m limit --limit 5/min", "-m u32 --u32 0=0", "-m string --string x --algo bm", "-m quota --quota 1"])
@pytest.mark.parametrize("table", ["filter", "mangle"])
def test_a_rule_that_changes_nothing_is_not_asked(table: str, match: str, target: str):
    answer = asked((table, f"-A FORWARD {match}" + (f" -j {target}" if target else "")))
    assert ways(answer) == ONE
    assert not answer.unknowns
    assert not answer.outcomes[0].remarks


def test_ways_that_end_alike_are_one():
    answer = asked(("filter", f"-A FORWARD {UNKNOWN} -j ACCEPT"), ("filter", f"-A FORWARD {OTHER} -j ACCEPT"))
    assert ways(answer) == [("delivered", Fraction(1), 0, 2)]
    assert not answer.unknowns
    (outcome,) = answer.outcomes
    assert [r.code for r in outcome.remarks] == ["UNMODELLED_MATCH"] * 2
    assert all("It makes no difference whether nodes/n1/iptables-save.txt:" in r.text for r in outcome.remarks)
    assert all(r.at["file"] == "nodes/n1/iptables-save.txt" for r in outcome.remarks)
    assert not any(step.condition for hop in outcome.hops for step in hop.steps), "the way without the condition is told"
    assert all(any(s.condition for h in way.hops for s in h.steps) and " matches (" in way.condition for way in outcome.also)


def test_sixteen_ways_to_one_pod_are_one():
    rules = [("filter", f"-A FORWARD {NEW} -m u32 --u32 {n}=0 -j ACCEPT") for n in range(15)]
    assert ways(asked(*rules)) == [("delivered", Fraction(1), 0, 15)]


def test_what_chance_decides_stays_apart():
    answer = asked(("filter", f"-A FORWARD {UNKNOWN} -j ACCEPT"), pods=3)
    plain = asked(pods=3)
    assert [o.probability for o in answer.outcomes] == [o.probability for o in plain.outcomes]
    assert [(len(o.conditions), len(o.also)) for o in answer.outcomes] == [(0, 1)] * 3
    assert [o.destination for o in answer.outcomes] == [o.destination for o in plain.outcomes]


def test_a_condition_that_decides_stays_one():
    answer = asked(("filter", f"-A FORWARD {UNKNOWN} -j DROP"))
    assert [w[:1] + w[2:] for w in ways(answer)] == [("dropped", 1, 0), ("delivered", 1, 0)]
    assert len(answer.unknowns) == 1


def test_only_what_does_not_matter_is_taken_away():
    answer = asked(("filter", f"-A FORWARD {UNKNOWN} -j DROP"), ("filter", f"-A FORWARD {OTHER} -j ACCEPT"))
    assert [(w[0], w[2], w[3]) for w in ways(answer)] == [("dropped", 1, 0), ("delivered", 1, 1)]
    assert [u.text for u in answer.unknowns] == ["-m u32 --u32 0=0 has no model"]
    dropped, delivered = answer.outcomes
    assert [r.text.count("1=1") for r in delivered.remarks] == [1]
    assert not dropped.remarks
    assert "does not match" in delivered.conditions[0]


def test_a_condition_matters_where_only_some_of_its_ways_meet_the_other():
    """Accepted at once where the first matches; where it does not, the second decides."""
    answer = asked(("filter", f"-A FORWARD {UNKNOWN} -j ACCEPT"), ("filter", f"-A FORWARD {OTHER} -j DROP"))
    assert sorted((o.disposition.value, o.probability) for o in answer.outcomes) == [
        ("delivered", Fraction(3, 4)),
        ("dropped", Fraction(1, 4)),
    ]
    assert all(o.conditions for o in answer.outcomes)
    assert len(answer.unknowns) == 2


def test_a_way_that_loses_the_answer_does_not_end_alike():
    answer = asked(("filter", "-A FORWARD -p tcp --sport 8080 -m u32 --u32 0=0 -j DROP"))
    assert sorted((o.reply.disposition.value if o.reply else "", len(o.conditions)) for o in answer.outcomes) == [
        ("delivered", 1),
        ("dropped", 1),
    ]


def test_a_condition_of_the_answer_that_makes_no_difference():
    answer = asked(("filter", "-A FORWARD -p tcp --sport 8080 -m u32 --u32 0=0 -j ACCEPT"))
    assert ways(answer) == [("delivered", Fraction(1), 0, 1)]


def test_another_source_is_another_end():
    made = cluster(("nat", f"-A POSTROUTING {UNKNOWN} -j MASQUERADE"))
    answer = made.trace("pod:default/client", "10.96.0.10:80")
    assert {str(o.source_seen and o.source_seen[0]) for o in answer.outcomes} == {"10.1.1.2", "10.1.1.1"}
    assert all(o.conditions for o in answer.outcomes)


def _end(o: Outcome) -> tuple[Any, ...]:
    return (o.disposition, o.reason and o.reason.text, o.destination, o.source_seen, o.reply and o.reply.disposition)


@pytest.mark.parametrize("seed", range(30))
def test_what_is_merged_has_the_odds_of_its_parts(seed: int, monkeypatch: pytest.MonkeyPatch):
    """Random rules: the merged outcomes add up to those before, end by end, and no condition stays that all outcomes of an end share."""
    chance = random.Random(seed)
    targets = ["ACCEPT", "DROP", "LOG", "RETURN", "REJECT --reject-with icmp-port-unreachable"]
    random_match = "-m statistic --mode random --probability 0.5"
    rules = [
        ("filter", f"-A FORWARD {chance.choice([f'{NEW} -m u32 --u32 {n}=0', random_match, ''])} -j {chance.choice(targets)}")
        for n in range(5)
    ]
    made = cluster(*rules, pods=2)
    after = made.trace("pod:default/client", "10.96.0.10:80").outcomes
    monkeypatch.setattr("tracer.simulate.tracing.merged", lambda endings: endings)
    before = made.trace("pod:default/client", "10.96.0.10:80").outcomes

    def total(outcomes: tuple[Outcome, ...]) -> dict[tuple[Any, ...], Fraction]:
        found: dict[tuple[Any, ...], Fraction] = {}
        for outcome in outcomes:
            found[_end(outcome)] = found.get(_end(outcome), Fraction(0)) + outcome.probability
        return found

    assert total(after) == total(before)
    assert sum(1 + len(o.also) for o in after) == len(before)
    ends = {_end(o) for o in before}
    if len(ends) == 1:
        assert not any(o.conditions for o in after), rules


def test_the_document_says_what_made_no_difference():
    written = asked(("filter", f"-A FORWARD {UNKNOWN} -j ACCEPT")).to_dict(with_steps=False)
    (outcome,) = written["outcomes"]
    assert [set(r) for r in outcome["remarks"]] == [{"code", "text", "at"}]
    assert [set(a) for a in outcome["also"]] == [{"condition", "hops"}]
    assert "conditions" not in outcome
    assert outcome["disposition"] == Disposition.DELIVERED.value

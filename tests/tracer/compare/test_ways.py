"""Rules that only one of two answers meets: known by their text and place in the chain's stack, in values and in JSON alike."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.made_cluster import MadeCluster
from tests.made_traces import lb_trace
from tracer.compare.difference import Kind, told
from tracer.compare.ways import of_the_way, steps_of
from tracer.trace import NOT_CHECKED, Lookup, Reason, Trace

WHOLE = lb_trace(nodes=2, endpoints=2)


def test_steps_of_all_ways_are_found_once() -> None:
    made = MadeCluster(2)
    made.pod("client", 2)
    made.service("web", [made.pod("web-0", 1)])
    answer = made.trace("pod:default/client", "10.96.0.10:80")
    keys = steps_of(answer)
    hops = [hop for outcome in answer.outcomes for hop in (*outcome.hops, *(outcome.reply.hops if outcome.reply else ()))]
    assert {key[0] for key in keys} == {f"{hop.kind} {hop.name}" for hop in hops if hop.steps}
    assert "policy ACCEPT" in {key[5] for key in keys}
    assert any(step.event for step in keys.values()), "what the kernel does without a rule is a step, too"


def moved(answer: Trace) -> Trace:
    """*answer* with every rule ten lines further down in its file."""

    def shifted(outcome):
        hops = (replace(h, steps=tuple(replace(s, line=s.line and s.line + 10) for s in h.steps)) for h in outcome.hops)
        return replace(outcome, hops=tuple(hops))

    return replace(answer, outcomes=tuple(map(shifted, answer.outcomes)))


def test_a_rule_that_moved_is_the_same() -> None:
    assert list(of_the_way(WHOLE, moved(WHOLE))) == []


def test_rules_are_told_by_stack() -> None:
    fewer = replace(WHOLE, outcomes=WHOLE.outcomes[:1])
    found = {one.where: one for one in of_the_way(WHOLE, fewer)}
    assert set(found) == {("node shop-worker",), ("node shop-worker1",)}
    [gone] = [one for one in found.values() if one.where == ("node shop-worker1",)]
    assert gone.text == f"Rules met in node shop-worker1: {len(gone.before)} only before, 0 only after."
    assert all(":" in rule for rule in gone.before) and not gone.after


def test_of_very_many_rules_the_others_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracer.compare.ways.TOLD_RULES", 2)
    found = of_the_way(replace(WHOLE, outcomes=()), replace(WHOLE, outcomes=WHOLE.outcomes[:1]))
    [one] = [one for one in found if one.kind is Kind.STEPS]
    assert len(one.after) == 3
    assert one.after[-1].startswith("and ") and one.after[-1].endswith(" others")


def test_names_that_are_looked_up_otherwise() -> None:
    asked = Lookup(server="10.96.0.10", name="web.default.svc.", rdtype="A", rcode="NOERROR", answers=("10.96.0.1", "10.96.0.2"))
    before, after = replace(WHOLE, lookups=(asked,)), replace(WHOLE, lookups=(replace(asked, rcode="NXDOMAIN", answers=()),))
    [one] = of_the_way(before, after)
    assert one.kind is Kind.LOOKUPS
    assert one.before == ("web.default.svc. A at 10.96.0.10: NOERROR 10.96.0.1, 10.96.0.2",)
    assert one.after == ("web.default.svc. A at 10.96.0.10: NXDOMAIN",)
    turned = replace(WHOLE, lookups=(replace(asked, answers=asked.answers[::-1]),))
    assert list(of_the_way(before, turned)) == [], "the order of addresses is the server's whim"


def test_what_is_found_of_one_alone() -> None:
    found = tuple(replace(outcome, findings=(*outcome.findings, Reason(code="NEW", text=""))) for outcome in WHOLE.outcomes)
    after = replace(WHOLE, outcomes=found)
    [one] = of_the_way(WHOLE, after)
    assert (one.kind, one.text, one.before, one.after) == (Kind.FINDINGS, "Found now: NEW.", (), ("NEW",))
    [one] = of_the_way(after, WHOLE)
    assert (one.text, one.before, one.after) == ("Found no more: NEW.", ("NEW",), ())
    assert told([one]) == "Packets end in the same places with the same odds, but something else is found of them."
    unchecked = tuple(replace(o, findings=(*o.findings, Reason(code=NOT_CHECKED, text=""))) for o in WHOLE.outcomes)
    assert list(of_the_way(WHOLE, replace(WHOLE, outcomes=unchecked))) == []

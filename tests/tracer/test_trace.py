"""Answers as trace-json.md writes them."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from ipaddress import ip_address

from tests.made_cluster import MadeCluster
from tracer.trace import VERSION, Disposition, Outcome, Reason, Step, Trace


def answer() -> Trace:
    cluster = MadeCluster()
    cluster.pod("client", 1)
    cluster.service("web", [cluster.pod("web-1", 1), cluster.pod("web-2", 2)], node_port=30080)
    return cluster.trace("external:203.0.113.9", "192.168.0.11:30080", id="q")


def test_the_contracts_fields() -> None:
    value = json.loads(json.dumps(answer().to_dict()))
    assert (value["version"], value["id"], value["lookups"], value["unknowns"]) == (VERSION, "q", [], [])
    assert value["query"]["from"] == {"kind": "external", "ip": "203.0.113.9"}
    for outcome in value["outcomes"]:
        assert set(outcome) >= {"id", "probability", "disposition", "reason", "destination", "source_seen", "listener", "hops"}
        assert outcome["disposition"] == "delivered"
        assert set(outcome["destination"]) == {"kind", "namespace", "name", "node", "ip", "port"}
        for hop in outcome["hops"]:
            assert set(hop) >= {"stack", "node", "in", "out", "packet_in", "packet_out", "steps"}
            assert set(hop["packet_in"]) >= {"protocol", "source", "source_port", "destination", "destination_port", "mark"}
    assert sum(Fraction(o["probability"]) for o in value["outcomes"]) == 1


def test_steps_of_the_contract() -> None:
    steps = [s for o in answer().to_dict()["outcomes"] for h in o["hops"] for s in h["steps"]]  # type: ignore[attr-defined]
    rules, policies = [s for s in steps if "rule" in s], [s for s in steps if "policy" in s]
    assert all(set(s) >= {"hook", "family", "table", "chain", "rule", "file", "line", "verdict"} for s in rules)
    assert all(set(s) == {"hook", "family", "table", "chain", "policy"} for s in policies)
    verdicts = {s["verdict"].split()[0] for s in rules}
    assert verdicts <= {"accept", "drop", "reject", "return", "continue", "jump", "goto", "dnat", "snat", "masquerade", "redirect"}
    (dnat,) = {json.dumps(s["rewrote"]) for s in rules if s["verdict"] == "dnat" and "10.1.1.3:8080" in s["rule"]}
    assert json.loads(dnat) == {"destination": ["192.168.0.11", "10.1.1.3"], "destination_port": [30080, 8080]}


def test_without_steps_there_are_none() -> None:
    assert all("steps" not in hop for o in answer().to_dict(with_steps=False)["outcomes"] for hop in o["hops"])  # type: ignore[attr-defined]


def test_ids_are_stable_and_tell_paths_apart() -> None:
    first, second = answer(), answer()
    assert [o.id for o in first.outcomes] == [o.id for o in second.outcomes]
    assert len({o.id for o in first.outcomes}) == len(first.outcomes)


def test_an_id_does_not_depend_on_odds() -> None:
    outcome = answer().outcomes[0]
    assert replace(outcome, probability=Fraction(1, 7)).id == outcome.id


def test_an_empty_outcome() -> None:
    outcome = Outcome(probability=Fraction(1), disposition=Disposition.UNKNOWN, reason=Reason(code="X", text="y"), conditions=("c",))
    value = outcome.to_dict(with_steps=True)
    assert (value["destination"], value["source_seen"], value["conditions"], value["hops"]) == (None, None, ["c"], [])


def test_a_source_is_written_in_canonical_text() -> None:
    outcome = Outcome(probability=Fraction(1), disposition=Disposition.DELIVERED, source_seen=(ip_address("FD00:0:0::1"), None))
    assert outcome.to_dict(with_steps=False)["source_seen"] == {"ip": "fd00::1", "port": None}


def test_step_with_chance_condition_and_names() -> None:
    step = Step(hook="input", family="ip", table="filter", chain="INPUT", rule="-A", file="f", line=1, verdict="drop", chance=Fraction(1, 3), condition="c", names={"pod": "a/b"})  # fmt: skip
    value = step.to_dict()
    assert (value["chance"], value["condition"], value["names"]) == ("1/3", "c", {"pod": "a/b"})

"""The packet flows of kube-proxy's own tests, each rule set as the only node of a cluster.

The reference walks nat PREROUTING and then the filter chains with the first endpoint as destination; rules that look at history never
match there. So what is compared is which endpoints can be reached (or the refusal), and whether the packet is masqueraded.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import SHARED
from tests.tracer.simulate.one_node import Json, one_node, outcomes_at_node, reached, rules_of, sent

pytestmark = pytest.mark.needs_shared

_FILE = SHARED / "conformance/iptables_flows.json.gz"


@cache
def _flows() -> list[Json]:
    if not Path(_FILE).exists():
        return []
    with gzip.open(_FILE, "rt") as file:
        flows: list[Json] = json.load(file)["flows"]
    return flows


def _cases() -> Iterator[object]:
    for flow in _flows():
        for case in flow["cases"]:  # type: ignore[attr-defined]
            yield pytest.param(flow, case, id=f"{flow['id']}: {flow['test']}: {case['name']}")


def _rules_file(flow: Json) -> str:
    return "ip6tables-save.txt" if flow["ip_family"] == "IPv6" else "iptables-save.txt"


@pytest.mark.parametrize(("flow", "case"), list(_cases()))
def test_flow(flow: Json, case: Json) -> None:
    packet, dialled = sent(case)
    outcomes = outcomes_at_node(one_node(flow, {_rules_file(flow): flow["iptables_save_loadable"]}), packet)
    evidence = "\n\n".join("\n".join([str(o.reason), *rules_of(o)]) for o in outcomes)
    accepted = any("health check node port" in rule for o in outcomes for rule in rules_of(o))
    assert sum(o.probability for o in outcomes) == 1
    listed = "endpointslices" in flow
    assert {reached(o, dialled, health_check=accepted, listed=listed) for o in outcomes} == set(str(case["output"]).split(", ")), evidence
    masqueraded = {any(step.verdict == "masquerade" for hop in o.hops for step in hop.steps) for o in outcomes}
    assert masqueraded == {case["masq"]}, evidence


def test_all_flows_are_there() -> None:
    assert sum(len(flow["cases"]) for flow in _flows()) == 246  # type: ignore[arg-type, misc]

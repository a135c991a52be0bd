"""The packet flows of kube-proxy's own nftables tests, each rule set as the only node of a cluster.

The reference walks the chains that a new packet meets and takes every endpoint that a map can give. So what is compared is which
endpoints can be reached (or the refusal), and whether the packet is masqueraded.
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

_FILE = SHARED / "conformance/nftables_flows.json.gz"


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


@pytest.mark.parametrize(("flow", "case"), list(_cases()))
def test_flow(flow: Json, case: Json) -> None:
    packet, dialled = sent(case)
    outcomes = outcomes_at_node(one_node(flow, {"nft-ruleset.txt": flow["nft_dump"]}), packet)
    evidence = "\n\n".join("\n".join([str(o.reason), *rules_of(o)]) for o in outcomes)
    assert sum(o.probability for o in outcomes) == 1
    listed = "endpointslices" in flow
    assert {reached(o, dialled, health_check=False, listed=listed) for o in outcomes} == set(str(case["output"]).split(", ")), evidence
    masqueraded = {any(step.verdict == "masquerade" for hop in o.hops for step in hop.steps) for o in outcomes}
    assert masqueraded == {case["masq"]}, evidence


def test_all_flows_are_there() -> None:
    assert sum(len(flow["cases"]) for flow in _flows()) == 218  # type: ignore[arg-type, misc]

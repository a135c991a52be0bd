"""Labs of other shapes against the kernel: a VXLAN overlay, IPv6 alone behind two uplinks, connections that outlive their endpoints."""

from __future__ import annotations

import pytest

from tests.sizes import FULL
from tests.tracer.simulate import truth
from tests.tracer.simulate.truth import all_of, verdict
from tests.tracer.simulate.without_rules import untouched

pytestmark = [pytest.mark.needs_shared, pytest.mark.usefixtures("shared")]

_NTH = 24
LABS = {"lab-vxlan": (1995, 1953), "lab-ipv6": (1487, 889), "lab-established": (191, 0)}
"""How many connections were tried in each, and of how many the kernel's rules are known."""


@pytest.mark.parametrize("lab", LABS)
def test_every_connection_is_predicted(lab: str) -> None:
    assert verdict(lab, "check", f"{lab}.connections.json.gz", nth=_NTH) == all_of(LABS[lab][0], nth=_NTH)


@pytest.mark.parametrize("lab", [lab for lab, (_, rules) in LABS.items() if rules])
def test_every_rule_is_the_kernels(lab: str) -> None:
    agree, total = verdict(lab, "rules", f"{lab}.rules.json.gz", nth=_NTH)
    assert agree == total
    assert total == LABS[lab][1] if FULL else total > LABS[lab][1] / _NTH / 2


@pytest.mark.usefixtures("shared")
@pytest.mark.skipif(not FULL, reason="in full size only: all questions are asked with the rules first")
@pytest.mark.parametrize(("recording", "records"), [("lab-vxlan", 119), ("lab-ipv6", 677)])
def test_what_met_no_rule_of_others_is_predicted_without_any_rules(recording: str, records: int) -> None:
    """``python -m tests.tracer.simulate.without_rules`` says which those are."""
    part = untouched(recording, f"{recording}.connections.json.gz")
    said = truth.judged("check", part, truth.answers(recording, truth.queries(part), truth.RULES)).stdout.splitlines()[-1]
    assert said == f"{records} of {records} agree"

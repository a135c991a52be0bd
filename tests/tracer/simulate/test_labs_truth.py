"""Labs of other shapes against the kernel: a VXLAN overlay, IPv6 alone behind two uplinks, connections that outlive their endpoints."""

from __future__ import annotations

import pytest

from tests.sizes import FULL
from tests.tracer.simulate.truth import all_of, verdict

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

"""Chains of one priority of which nobody knows which is asked first, without a kernel; test_hook_order_kernel.py holds them against one."""

from __future__ import annotations

from tests.made_cluster import MadeCluster
from tracer.trace import Disposition

RULESET = """table ip one {
	chain forward {
		type filter hook forward priority -10; policy accept;
		meta cpu 1 meta mark set 0x1
	}
}
table ip other {
	chain forward {
		type filter hook forward priority -10; policy accept;
		ip daddr 10.1.2.2 drop
	}
}
"""


def test_orders_that_end_by_one_rule_and_differ_in_what_was_met_before_are_told() -> None:
    """Found by the oracle of native rules (seed 1796053978): the text of two such ends is one, and there is nothing to list."""
    made = MadeCluster(2)
    made.pod("client", 1)
    made.pod("web-1", 2)
    made.node(1).texts["nft-ruleset.txt"] = RULESET
    answer = made.trace("pod:default/client", "10.1.2.2:8080")
    assert sum(outcome.probability for outcome in answer.outcomes) == 1
    assert {outcome.disposition for outcome in answer.outcomes} == {Disposition.DROPPED}
    assert all(outcome.reason is not None and "ip daddr 10.1.2.2 drop" in outcome.reason.text for outcome in answer.outcomes)

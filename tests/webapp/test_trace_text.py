"""A trace as a tree for a terminal."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from tests.made_cluster import MadeCluster
from tracer.trace import Trace
from webapp.exports.trace_text import trace_text


def cluster() -> MadeCluster:
    made = MadeCluster()
    made.pod("client", 1)
    made.service("web", [made.pod("web-1", 1), made.pod("web-2", 2)], node_port=30080)
    return made


def shown(answer: Trace, *, with_steps: bool = False) -> list[str]:
    return trace_text(answer, with_steps=with_steps).splitlines()


def test_what_branches_share_stands_once() -> None:
    lines = shown(cluster().trace("pod:default/client", "10.96.0.10:80"))
    assert lines[0] == "pod:default/client -> 10.96.0.10:80 tcp: 2 paths"
    assert lines.count("pod default/client out eth0: 10.1.1.2:any > 10.96.0.10:80") == 1
    assert [line for line in lines if line.startswith("+- ")] == ["+- 1/2", "+- 1/2"]
    assert sum("= delivered" in line for line in lines) == 2


def test_rewrites_are_shown_without_steps_and_rules_with_them() -> None:
    answer = cluster().trace("external:203.0.113.9", "192.168.0.11:30080")
    few, all_of_them = shown(answer), shown(answer, with_steps=True)
    assert any("destination 192.168.0.11 -> 10.1.1.3" in line for line in few)
    assert not any("iptables-save.txt" in line for line in few)
    assert any("nodes/n1/iptables-save.txt:" in line and "=> dnat" in line for line in all_of_them)
    assert any("nat POSTROUTING" in line or "filter FORWARD: policy ACCEPT" in line for line in all_of_them)


def test_odds_that_are_no_short_fraction_are_shown_near_and_exact() -> None:
    made = MadeCluster()
    made.pod("client", 1)
    made.service("web", [made.pod(f"web-{i}", 1) for i in range(3)])
    lines = shown(made.trace("pod:default/client", "10.96.0.10:80"))
    assert sum(line.startswith("+- ~1/3 (exactly ") for line in lines) == 3


def test_unknown_odds_are_not_given() -> None:
    made = cluster()
    made.node(1).rules += [("filter", "-A FORWARD -m u32 --u32 0=0 -j DROP")]
    lines = shown(made.trace("pod:default/client", "10.1.1.3:8080"))
    assert "+- odds unknown" in lines
    assert any(line.strip("| ").startswith("if: nodes/n1/iptables-save.txt:") for line in lines)
    assert any(line.startswith("unknown: -m u32 --u32 0=0 has no model [UNMODELLED_MATCH]") for line in lines)


def test_an_ipv6_address_is_bracketed() -> None:
    made = cluster()
    made.service("web6", [p for p in made.pods if p.name == "web-1"], version=6)
    lines = shown(made.trace("pod:default/client", "[fd00:96::b]:80"))
    assert "pod default/client out eth0: [fd00:1:1::2]:any > [fd00:96::b]:80" in lines


def test_a_refusal_says_by_which_rule() -> None:
    made = cluster()
    made.service("empty")
    lines = shown(made.trace("pod:default/client", "10.96.0.11:80"))
    assert any("rejected: a rule says no, and tells the client" in line for line in lines)
    assert any("[RULE_REJECT]" in line for line in lines)


def test_branches_may_part_as_deep_as_they_like() -> None:
    answer = cluster().trace("pod:default/client", "10.1.1.3:8080")
    first = answer.outcomes[0]
    depth = 1100  # more than the interpreter's stack takes
    outcomes = tuple(
        replace(first, probability=Fraction(1, depth), hops=(replace(first.hops[0], notes=tuple(map(str, range(n)))),))
        for n in range(depth)
    )
    lines = shown(replace(answer, outcomes=outcomes))
    assert sum("= delivered" in line for line in lines) == depth
    assert [line.strip("| ") for line in lines].count("700") == 1, "what branches share stands once"


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("icmp-host-prohibited", "  client sees: no-route. The client gets “no route to host” (EHOSTUNREACH)."),
        ("tcp-reset", "  client sees: refused. The client gets “connection refused” (ECONNREFUSED)."),
        (None, "  client sees: connected. The client connects."),
    ],
)
def test_what_the_client_sees_is_said(kind: str | None, line: str) -> None:
    made = MadeCluster()
    made.pod("client", 1)
    made.service("web", [made.pod("web", 1)])
    if kind is not None:
        made.node(1).rules += [("filter", f"-A FORWARD -p tcp --dport 8080 -j REJECT --reject-with {kind}")]
    assert line in shown(made.trace("pod:default/client", "10.96.0.10:80"))

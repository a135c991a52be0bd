"""Ways that end alike, on the page and in a terminal: one path, what makes no difference, and what the other ways are."""

from __future__ import annotations

import html
from typing import Any

import pytest
from django.test import Client

from tests.frozen_links import made_document
from tests.made_cluster import MadeCluster
from tracer.trace import Trace
from webapp.exports.trace_text import trace_text
from webapp.models import TraceLink
from webapp.presenters.also import also_ways

NEW = "-m conntrack --ctstate NEW"
RULES = [f"-A FORWARD {NEW} -m u32 --u32 {n}=0 -j ACCEPT" for n in range(3)]


def asked(rules: list[str]) -> Trace:
    made = MadeCluster(2)
    made.pod("client", 1)
    made.service("web", [made.pod("web", 2)])
    made.node(1).rules += [("filter", rule) for rule in rules]
    return made.trace("pod:default/client", "10.96.0.10:80")


def test_the_terminal_says_what_made_no_difference() -> None:
    lines = trace_text(asked(RULES), with_steps=False).splitlines()
    assert lines[0].endswith("tcp: 1 path")
    assert sum(line.startswith("  remark: It makes no difference whether nodes/n1/iptables-save.txt:") for line in lines) == 3
    also = [line for line in lines if line.startswith("  also, if nodes/n1/iptables-save.txt:")]
    assert len(also) == 3
    assert all(line.endswith(": pod default/client > node n1 > node n2 > pod default/web") for line in also)
    assert not any(line.startswith(("unknown:", "  if:")) for line in lines)


def test_each_other_way_has_the_rules_that_only_it_takes() -> None:
    (outcome,) = asked(RULES).to_dict()["outcomes"]
    ways = also_ways(outcome)
    assert [[rule.split(" ", 1)[1] for rule in way.rules] for way in ways] == [[rule] for rule in RULES]
    assert not any(way.stacks for way in ways)


def test_another_route_is_told() -> None:
    hop: dict[str, Any] = {"stack": {"kind": "node", "name": "n1"}, "steps": []}
    outcome = {"hops": [hop], "also": [{"condition": "it is so", "hops": [hop, hop]}]}
    assert [way.stacks for way in also_ways(outcome)] == ["node n1 → node n1"]


def test_a_page_writes_as_many_as_fit() -> None:
    outcome = {"hops": [], "also": [{"condition": str(n), "hops": []} for n in range(100)]}
    assert len(also_ways(outcome)) == 40


@pytest.mark.django_db
def test_the_page_folds_them_away(client: Client) -> None:
    link = TraceLink(owner="someone", query={"text": "", "query": {}}, snapshot_digest="0", engine_version="made")
    link.document = made_document(asked(RULES))
    link.save(force_insert=True)
    text = html.unescape(client.get(f"/t/{link.token}").content.decode())
    assert "4 ways, all end alike: what is not known makes no difference" in text
    assert text.count("It makes no difference whether nodes/n1/iptables-save.txt:") == 3
    assert text.count('<details class="also"><summary>If nodes/n1/iptables-save.txt:') == 3
    assert "What the snapshot cannot tell decides" not in text

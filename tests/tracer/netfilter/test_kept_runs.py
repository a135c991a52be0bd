"""Kept walks: many packets through one chain end as each of them would alone."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tracer.netfilter.viewing import chain, packet, view
from tracer.conntrack import Connection
from tracer.limits import Budget, Limits
from tracer.netfilter.dump import Chain
from tracer.netfilter.evaluate import XtablesLanguage
from tracer.netfilter.kept_runs import KeptRuns, KnownRuns
from tracer.netfilter.leaf import Leaf
from tracer.netfilter.model import Hook
from tracer.netfilter.nft_rules import NftRules
from tracer.netfilter.rule_language import RuleLanguage
from tracer.netfilter.view import View
from tracer.netfilter.walk import RuleWalk
from tracer.packet import Family, Packet

ADDRESSES = ["10.96.0.1", "10.96.0.2", "10.0.0.9", "192.168.0.1"]
MATCHES = [
    "-d 10.96.0.1/32", "-s 10.0.0.0/24", "! -d 10.96.0.2/32", "-p tcp -m tcp --dport 80", "-p tcp -m tcp --sport 1:40000", "-p udp",
    "-m mark --mark 0x1/0x1", "-m mark ! --mark 0x4000/0x4000", "-m conntrack --ctstate NEW", "-m conntrack --ctstate INVALID",
    "-m addrtype --dst-type LOCAL", "-m statistic --mode random --probability 0.5", "-m connmark --mark 0x2", "-i eth0", "-i lo",
    "-m recent --rcheck --name r", "-m recent --set --name r", "-m nosuch --x", "-m dscp --dscp 10",
    "-m statistic --mode random --probability 1", "-m statistic --mode random --probability 0",
]  # fmt: skip
TARGETS = [
    "", "-j LOG", "-j ACCEPT", "-j DROP", "-j RETURN", "-j web", "-g web", "-j deep", "-j MARK --xor-mark 0x1", "-j MARK --or-mark 0x4000",
    "-j CONNMARK --save-mark", "-j CONNMARK --set-mark 0x2", "-j NOTRACK", "-j DSCP --set-dscp 10", "-j TTL --ttl-set 1", "-j NOSUCH",
    "-j DNAT --to-destination 10.0.0.9", "-j REJECT",
]  # fmt: skip


@st.composite
def rules(draw: st.DrawFn, name: str, most: int, targets: list[str]) -> list[str]:
    """A few rules of chain *name*."""
    line = st.tuples(st.lists(st.sampled_from(MATCHES), max_size=2).map(" ".join), st.sampled_from(targets))
    return [f"-A {name} {matches} {target}".strip() for matches, target in draw(st.lists(line, max_size=most))]


@st.composite
def chains(draw: st.DrawFn) -> str:
    """A base chain, short or so long that it has an index, and two user chains."""
    long = ["-A web -d 10.9.9.9/32 -j DROP"] * 25 if draw(st.booleans()) else []
    inner = [t for t in TARGETS if "web" not in t]
    last = [t for t in inner if "deep" not in t]
    return "\n".join(
        [":web", ":deep", *draw(rules("INPUT", 6, TARGETS)), *long, *draw(rules("web", 4, inner)), *draw(rules("deep", 3, last))]
    )


@st.composite
def views(draw: st.DrawFn) -> View:
    """A packet as a hook sees it."""
    sent: Packet = packet(
        draw(st.sampled_from(ADDRESSES)),
        draw(st.sampled_from(ADDRESSES)),
        draw(st.sampled_from([80, 81, None])),
        source_port=draw(st.sampled_from([None, 80, 50000])),
        protocol=draw(st.sampled_from(["tcp", "udp"])),
        mark=draw(st.sampled_from([0, 1, 0x4000])),
    )
    return view(
        sent,
        in_device=draw(st.sampled_from(["eth0", "lo"])),
        state=draw(st.sampled_from(["NEW", "ESTABLISHED", "INVALID"])),
        connection=draw(st.sampled_from([None, Connection.begin(sent)])),
        connection_mark=draw(st.sampled_from([0, 2])),
        recent=draw(st.sampled_from([frozenset(), frozenset({("r", "10.0.0.9")})])),
        dscp=draw(st.sampled_from([None, 10])),
    )


def alone(base: Chain, seen: View) -> list[object]:
    return list(RuleWalk(XtablesLanguage(base, "ip")).run(seen))


@given(text=chains(), packets=st.lists(views(), min_size=2, max_size=8))
def test_they_end_as_each_packet_alone(text: str, packets: list[View]) -> None:
    base = chain(text)
    kept = KeptRuns(XtablesLanguage(base, "ip"))
    for seen in [*packets, *packets]:
        assert list(kept.run(seen, None)) == alone(base, seen)


STATEMENTS = [
    "ip daddr 10.96.0.1", "ip saddr 10.0.0.0/24", "ip daddr != 10.96.0.2", "tcp dport 80", "tcp sport 1-40000", "meta l4proto udp",
    "meta mark & 0x1 == 0x1", "ct state new", "ct mark 2", 'iifname "lo"', "fib daddr type local", "numgen random mod 2 == 0", "ct label 28",
    "ip daddr @seen", "add @seen { ip daddr }", "ip dscp 10", "meta mark set meta mark ^ 0x1", "ct mark set 0x2", "ip dscp set 10", "notrack",
    "counter", "meta mark set ip daddr map { 10.96.0.1 : 0x7, 10.96.0.2 : 0x8 }",
]  # fmt: skip
VERDICTS = [
    "", "accept", "drop", "return", "jump web", "goto web", "jump deep", "reject", "reject with tcp reset", "queue num 3", "dnat to 10.0.0.9",
    "dnat to ip daddr map { 10.96.0.1 : 10.0.0.9, 10.96.0.2 : 10.0.0.8 }", "ip daddr vmap { 10.96.0.1 : drop, 10.96.0.2 : jump deep }",
    "numgen random mod 2 vmap { 0 : drop, 1 : jump deep }",
]  # fmt: skip


@st.composite
def native_rules(draw: st.DrawFn, most: int, verdicts: list[str]) -> str:
    """A few native rules."""
    line = st.tuples(st.lists(st.sampled_from(STATEMENTS), max_size=2).map(" ".join), st.sampled_from(verdicts))
    return "".join(f"\t\t{' '.join(words).strip() or 'counter'}\n" for words in draw(st.lists(line, max_size=most)))


@st.composite
def native_chains(draw: st.DrawFn) -> str:
    """A base chain and two others, as nft lists them."""
    inner = [v for v in VERDICTS if "web" not in v]
    last = [v for v in inner if "deep" not in v]
    header = "\t\ttype filter hook prerouting priority 0; policy accept;\n"
    chains = (
        f"c {{\n{header}{draw(native_rules(6, VERDICTS))}",
        f"web {{\n{draw(native_rules(4, inner))}",
        f"deep {{\n{draw(native_rules(3, last))}",
    )
    sets = "\tset seen {\n\t\ttype ipv4_addr\n\t\tflags dynamic,timeout\n\t}\n"
    return "table ip t {\n" + sets + "".join(f"\tchain {chain}\t}}\n" for chain in chains) + "}\n"


@given(text=native_chains(), packets=st.lists(views(), min_size=2, max_size=8))
def test_they_end_as_each_packet_alone_in_nft(text: str, packets: list[View]) -> None:
    ((_, base),) = NftRules.from_listing(text, "f").chains(Hook.PREROUTING, Family.IP, ())
    kept = KeptRuns(base.language(Budget()))
    for seen in [*packets, *packets]:
        assert list(kept.run(seen, None)) == list(base.run(seen, None))


def crossed(kept: KeptRuns, seen: View) -> list[object]:
    """Take a packet through a chain as a hook does: past it where it is known to accept, else by its walk."""
    behind = kept.accepted(lambda: seen, None, is_alone=True)
    ends = [Leaf("accept", seen, behind, Fraction(1))] if behind is not None else kept.run(seen, None)
    return [(e.verdict, e.view, e.steps, e.probability, e.conditions, e.unknowns, e.target, e.forks) for e in ends]


def assert_no_cheaper(language: Callable[[Budget], RuleLanguage[Any, Any, Any]], packets: list[View], work: int) -> None:
    """A question that follows others finds what it finds alone, for what it costs it alone, to the last unit."""
    known = KnownRuns()
    for asked in (packets, packets[::-1], packets):
        budget, alone = Budget(Limits(work=work)), Budget(Limits(work=work))
        first, after = KeptRuns(language(alone)), KeptRuns(language(budget), known)
        for seen in (*asked, *asked):
            assert crossed(after, seen) == crossed(first, seen)
            assert budget.left == alone.left


@given(text=chains(), packets=st.lists(views(), min_size=1, max_size=6), work=st.integers(1, 400))
def test_what_others_found_makes_a_question_no_cheaper(text: str, packets: list[View], work: int) -> None:
    base = chain(text)
    assert_no_cheaper(lambda budget: XtablesLanguage(base, "ip", budget=budget), packets, work)


@given(text=native_chains(), packets=st.lists(views(), min_size=1, max_size=6), work=st.integers(1, 1000))
def test_what_others_found_makes_a_question_no_cheaper_in_nft(text: str, packets: list[View], work: int) -> None:
    ((_, base),) = NftRules.from_listing(text, "f").chains(Hook.PREROUTING, Family.IP, ())
    assert_no_cheaper(base.language, packets, work)


@pytest.mark.parametrize(("rule", "is_kept"), [("drop", True), ("ip daddr 10.96.0.1 drop", True), ("ct label 28 drop", False)])
def test_native_walks_are_kept_too(rule: str, is_kept: bool) -> None:
    text = f"table ip t {{\n\tchain c {{\n\t\ttype filter hook prerouting priority 0; policy accept;\n\t\t{rule}\n\t}}\n}}\n"
    ((_, base),) = NftRules.from_listing(text, "f").chains(Hook.PREROUTING, Family.IP, ())
    kept, seen = KeptRuns(base.language(Budget())), view(connection=Connection.begin(packet()))
    list(kept.run(seen, None))
    assert (kept.straight(seen, None) is not None) is is_kept


def test_what_no_earlier_packet_was_asked_is_not_known() -> None:
    base = chain("-A INPUT -d 10.96.0.1/32 -j DROP\n-A INPUT -j ACCEPT")
    kept = KeptRuns(XtablesLanguage(base, "ip"))
    dropped, other, third = (view(packet(destination=d)) for d in ("10.96.0.1", "10.96.0.2", "10.96.0.3"))
    assert kept.straight(dropped, None) is None
    list(kept.run(dropped, None))
    assert kept.straight(dropped, None) is not None
    assert kept.straight(other, None) is None
    list(kept.run(other, None))
    (leaf,) = alone(base, third)
    assert kept.straight(third, None) == leaf
    assert leaf.view.packet.destination == ip_address("10.96.0.3")


@pytest.mark.parametrize(
    "rule",
    [
        "-m statistic --mode random --probability 0.5 -j DROP",
        "-m nosuch -j DROP",
        "-j NOSUCH",
    ],
)
def test_a_walk_that_is_more_than_its_answers_is_not_kept(rule: str) -> None:
    kept = KeptRuns(XtablesLanguage(chain(f"-A INPUT {rule}"), "ip"))
    list(kept.run(view(), None))
    assert kept.straight(view(), None) is None

"""Walking a chain: jumps, returns, gotos, policies, odds, and what cannot be told."""

from __future__ import annotations

import itertools
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tracer.netfilter.viewing import chain, leaves, packet, view
from tracer.netfilter.evaluate import XtablesLanguage
from tracer.netfilter.iptables_save import parse_dump
from tracer.netfilter.leaf import Leaf
from tracer.netfilter.walk import RuleWalk


def steps(leaf: Leaf) -> list[str]:
    """The chains and verdicts of the steps, in order."""
    found = leaf.steps.to_tuple() if leaf.steps else ()
    return [f"{s.chain} policy {s.policy}" if s.policy else f"{s.chain} {s.verdict}" for s in found]


WALKS = [
    # rules, policy, verdict, steps
    ("", "ACCEPT", "accept", ["INPUT policy ACCEPT"]),
    ("", "DROP", "drop", ["INPUT policy DROP"]),
    ("", "QUEUE", "unknown", ["INPUT policy QUEUE"]),
    ("-A INPUT -j ACCEPT", "DROP", "accept", ["INPUT accept"]),
    ("-A INPUT -j DROP", "ACCEPT", "drop", ["INPUT drop"]),
    ("-A INPUT -j REJECT", "ACCEPT", "reject", ["INPUT reject"]),
    ("-A INPUT", "DROP", "drop", ["INPUT continue", "INPUT policy DROP"]),
    ("-A INPUT -s 1.2.3.4 -j ACCEPT", "DROP", "drop", ["INPUT policy DROP"]),
    ("-A INPUT -j RETURN\n-A INPUT -j DROP", "ACCEPT", "accept", ["INPUT return", "INPUT policy ACCEPT"]),
    (":a\n-A INPUT -j a\n-A INPUT -j DROP\n-A a -j RETURN\n-A a -j ACCEPT", "ACCEPT", "drop", ["INPUT jump a", "a return", "INPUT drop"]),
    (":a\n-A INPUT -j a\n-A INPUT -j DROP", "ACCEPT", "drop", ["INPUT jump a", "INPUT drop"]),
    (":a\n-A INPUT -g a\n-A INPUT -j DROP", "ACCEPT", "accept", ["INPUT goto a", "INPUT policy ACCEPT"]),
    (":a\n-A INPUT -g a\n-A INPUT -j DROP\n-A a -j RETURN", "ACCEPT", "accept", ["INPUT goto a", "a return", "INPUT policy ACCEPT"]),
    (
        ":a\n:b\n-A INPUT -j a\n-A INPUT -j DROP\n-A a -g b\n-A a -j ACCEPT\n-A b -j RETURN",
        "ACCEPT",
        "drop",
        ["INPUT jump a", "a goto b", "b return", "INPUT drop"],
    ),
    ("-A INPUT -j LOG\n-A INPUT -j NFLOG\n-A INPUT -j DROP", "ACCEPT", "drop", ["INPUT continue", "INPUT continue", "INPUT drop"]),
    ("-A INPUT -j SET --add-set s src\n-A INPUT -j DROP", "ACCEPT", "drop", ["INPUT continue", "INPUT drop"]),
    ("-A INPUT -j DNAT --to-destination 10.0.0.1", "ACCEPT", "nat", ["INPUT dnat"]),
    ("-A INPUT -j MASQUERADE", "ACCEPT", "nat", ["INPUT masquerade"]),
    ("-A INPUT -j REDIRECT --to-ports 1", "ACCEPT", "nat", ["INPUT redirect"]),
    ("-A INPUT -j MARK --set-mark 1\n-A INPUT -m mark --mark 1 -j DROP", "ACCEPT", "drop", ["INPUT continue", "INPUT drop"]),
    ("-A INPUT -j DSCP --set-dscp 10\n-A INPUT -m dscp --dscp 10 -j DROP", "ACCEPT", "drop", ["INPUT continue", "INPUT drop"]),
    (
        "-A INPUT -j TTL --ttl-set 1\n-A INPUT -j TTL --ttl-inc 2\n-A INPUT -m ttl --ttl-eq 3 -j DROP",
        "ACCEPT",
        "drop",
        ["INPUT continue"] * 2 + ["INPUT drop"],
    ),
    ("-A INPUT -m recent --set --name r\n-A INPUT -m recent --rcheck --name r -j DROP", "ACCEPT", "drop", ["INPUT continue", "INPUT drop"]),
    ("-A INPUT -m recent --rcheck --name r -j DROP", "ACCEPT", "accept", ["INPUT policy ACCEPT"]),
    # recent learns although a match behind it says no …
    ("-A INPUT -m recent --set --name r -m mark --mark 9\n-A INPUT -m recent --rcheck --name r -j DROP", "ACCEPT", "drop", ["INPUT drop"]),
    # … and not when one before it does.
    (
        "-A INPUT -m mark --mark 9 -m recent --set --name r\n-A INPUT -m recent --rcheck --name r -j DROP",
        "ACCEPT",
        "accept",
        ["INPUT policy ACCEPT"],
    ),
    ("-A INPUT -m statistic --mode random --probability 1.0 -j DROP", "ACCEPT", "drop", ["INPUT drop"]),
    ("-A INPUT -m statistic --mode random --probability 0.0 -j DROP", "ACCEPT", "accept", ["INPUT policy ACCEPT"]),
]


@pytest.mark.parametrize(("rules", "policy", "verdict", "taken"), WALKS)
def test_walk(rules: str, policy: str, verdict: str, taken: list[str]) -> None:
    (leaf,) = leaves(rules, policy=policy)
    assert (leaf.verdict, steps(leaf), leaf.probability) == (verdict, taken, 1)
    assert leaf.by_policy == taken[-1].startswith("INPUT policy")


def test_step_has_file_line_and_text() -> None:
    (leaf,) = leaves(":a\n-A INPUT -s 10.0.0.0/8 -j a\n-A a -j MARK --set-xmark 0x4000/0x4000")
    first, second, policy = leaf.steps.to_tuple() if leaf.steps else ()
    assert (first.file, first.line, first.rule, first.table, first.family) == ("f", 4, "-A INPUT -s 10.0.0.0/8 -j a", "filter", "ip")
    assert second.rewrote == {"mark": ("0x0", "0x4000")}
    assert policy.policy == "ACCEPT"
    assert leaf.view.packet.mark == 0x4000


MARKS = [
    # mark before, options, mark after: xt_mark's (mark & ~mask) ^ value
    (0x1, "--set-xmark 0x4000/0x4000", 0x4001),
    (0x4001, "--set-xmark 0x4000/0x0", 0x1),
    (0xFF, "--set-mark 0x1", 0x1),
    (0xFF, "--set-mark 0x100/0xf", 0x1F0),
    (0xFF, "--and-mark 0xf", 0xF),
    (0xF0, "--or-mark 0xf", 0xFF),
    (0xFF, "--xor-mark 0xf", 0xF0),
]


@pytest.mark.parametrize(("before", "options", "after"), MARKS)
def test_mark(before: int, options: str, after: int) -> None:
    (leaf,) = leaves(f"-A INPUT -j MARK {options}", view(packet(mark=before)))
    assert leaf.view.packet.mark == after


def test_equal_shares_of_three() -> None:
    rules = """
        :a
        :b
        :c
        -A INPUT -m statistic --mode random --probability 0.33333333349 -j a
        -A INPUT -m statistic --mode random --probability 0.50000000000 -j b
        -A INPUT -j c
        -A a -j DROP
        -A b -j ACCEPT
        -A c -j REJECT
    """
    third = Fraction(715827883, 1 << 31)
    found = {leaf.verdict: leaf.probability for leaf in leaves(rules)}
    assert found == {"drop": third, "accept": (1 - third) / 2, "reject": (1 - third) / 2}
    assert sum(found.values()) == 1
    chances = [s.chance for leaf in leaves(rules) for s in (leaf.steps.to_tuple() if leaf.steps else ()) if s.chance]
    assert set(chances) == {third, Fraction(1, 2)}


def test_unknown_splits_and_names_what_is_missing() -> None:
    found = leaves("-A INPUT -m u32 --u32 0x0=0x0 -j DROP\n-A INPUT -j ACCEPT")
    assert {leaf.verdict: leaf.probability for leaf in found} == {"drop": Fraction(1, 2), "accept": Fraction(1, 2)}
    dropped, accepted = sorted(found, key=lambda x: x.verdict == "accept")
    assert dropped.conditions == ("f:3 matches (-m u32 --u32 0x0=0x0 has no model)",)
    assert accepted.conditions == ("f:3 does not match (-m u32 --u32 0x0=0x0 has no model)",)
    assert dropped.unknowns[0].at == {"file": "f", "line": 3, "rule": "-A INPUT -m u32 --u32 0x0=0x0 -j DROP"}


def test_unknown_before_a_sure_no_is_no() -> None:
    (leaf,) = leaves("-A INPUT -m u32 --u32 0x0=0x0 -m mark --mark 5 -j DROP")
    assert (leaf.verdict, leaf.unknowns) == ("accept", ())


def test_unknown_match_of_a_harmless_rule_does_not_split() -> None:
    (leaf,) = leaves("-A INPUT -m limit --limit 5/min -j LOG\n-A INPUT -j DROP")
    assert leaf.verdict == "drop"
    assert not leaf.unknowns, "nothing depends on it"
    assert leaf.steps is not None
    assert leaf.steps.to_tuple()[0].condition == "-m limit --limit 5/min has no model"


def test_unmodelled_target_is_unknown_from_there() -> None:
    (leaf,) = leaves("-A INPUT -j TPROXY --on-port 1\n-A INPUT -j DROP")
    assert (leaf.verdict, leaf.unknowns[-1].code, steps(leaf)) == ("unknown", "UNMODELLED_TARGET", ["INPUT continue"])


def test_chance_and_unknown_together() -> None:
    found = leaves("-A INPUT -m u32 --u32 0 -m statistic --mode random --probability 0.25 -j DROP")
    assert sorted(leaf.probability for leaf in found) == [Fraction(1, 8), Fraction(3, 8), Fraction(1, 2)]


def test_recent_learns_only_where_it_was_reached() -> None:
    rules = """
        -A INPUT -m statistic --mode random --probability 0.5 -m recent --set --name r
        -A INPUT -m recent --rcheck --name r -j DROP
    """
    assert {leaf.verdict: leaf.probability for leaf in leaves(rules)} == {"drop": Fraction(1, 2), "accept": Fraction(1, 2)}
    swapped = """
        -A INPUT -m recent --set --name r -m statistic --mode random --probability 0.5
        -A INPUT -m recent --rcheck --name r -j DROP
    """
    assert {leaf.verdict for leaf in leaves(swapped)} == {"drop"}


def test_bad_rule_is_unknown_only_if_it_might_match() -> None:
    rules = "-A INPUT -d 10.96.0.1/32 -j NOSUCH\n-A INPUT -j DROP"
    found = {leaf.verdict: (leaf.probability, leaf.unknowns[0].code, leaf.conditions) for leaf in leaves(rules)}
    assert found == {"unknown": (Fraction(1), "BAD_RULE", ())}
    (leaf,) = leaves(rules, view(packet(destination="10.96.0.2")))
    assert (leaf.verdict, leaf.unknowns) == ("drop", ())


def test_truncated_chain_is_unknown_at_its_end() -> None:
    text = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -s 10.0.0.9 -j ACCEPT\n-A INPUT -s 10.0.0.8 -j DROP\n"
    cut = parse_dump(text, "f").tables["filter"].chains["INPUT"]
    (leaf,) = RuleWalk(XtablesLanguage(cut, "ip")).run(view())
    assert leaf.verdict == "accept"
    (leaf,) = RuleWalk(XtablesLanguage(cut, "ip")).run(view(packet("10.0.0.7")))
    assert (leaf.verdict, leaf.unknowns[0].code) == ("unknown", "TRUNCATED_DUMP")


ENDLESS = [
    ":a\n-A INPUT -j a\n-A a -j a",
    ":a\n-A INPUT -g a\n-A a -g a",
    ":a\n:b\n-A INPUT -j a\n-A a -g b\n-A b -g a",
    ":a\n:b\n-A INPUT -j a\n-A a -j b\n-A b -j a",
]


@pytest.mark.parametrize("rules", ENDLESS)
def test_endless_chains_end(rules: str) -> None:
    (leaf,) = leaves(rules)
    assert (leaf.verdict, leaf.unknowns[0].code) == ("unknown", "BAD_RULE")


def test_many_gotos_in_a_row_are_no_loop() -> None:
    names = [f"c{i}" for i in range(150)]
    rules = [f":{n}" for n in names] + ["-A INPUT -g c0"]
    rules += [f"-A {a} -g {b}" for a, b in itertools.pairwise(names)] + ["-A c149 -j DROP"]
    assert [leaf.verdict for leaf in leaves("\n".join(rules))] == ["drop"]


def test_a_walk_that_would_take_for_ever_is_given_up() -> None:
    names = [f"c{i}" for i in range(40)]
    doubling = [f":{n}" for n in names] + ["-A INPUT -j c0"]
    doubling += [rule for a, b in itertools.pairwise(names) for rule in (f"-A {a} -j {b}", f"-A {a} -j {b}")]
    (leaf,) = leaves("\n".join(doubling))
    assert (leaf.verdict, leaf.unknowns[0].code) == ("unknown", "UNSUPPORTED")


def test_a_tree_of_too_many_branches_is_given_up_and_sums_to_one() -> None:
    rules = "\n".join(["-A INPUT -m statistic --mode random --probability 0.5 -j MARK --xor-mark 1"] * 40)
    found = leaves(rules)
    assert sum(leaf.probability for leaf in found) == 1
    assert found[-1].unknowns[0].code == "UNSUPPORTED"


# -- index --------------------------------------------------------------------------------------------------------------------------

V4 = st.sampled_from(["10.96.0.1", "10.96.0.2", "10.0.0.9", "1.2.3.4", "192.168.0.1"])
V6 = st.sampled_from(["fd00::1", "FD00:0:0::1", "2001:db8::1", "2001:db8::"])
COMMENT = st.sampled_from(
    ["x", '"a -d 1.2.3.4/32 b"', '"-d 10.96.0.1/32 -p tcp"', '"q\\" -d 1.2.3.4"', '""', '"default/web:p -> 10.96.0.1:80"', "-d"]
)
NOT = st.sampled_from(["", "", "! "])


@st.composite
def rule_lines(draw: st.DrawFn, addresses: st.SearchStrategy[str], prefixes: list[str]) -> str:
    """A rule as kube-proxy, a person or a fuzzer might write it; its parts are in an order that index and parser must both cope with."""
    parts = [
        f"{draw(NOT)}-d {draw(addresses)}{draw(st.sampled_from(prefixes))}" if draw(st.integers(0, 3)) else "",
        f"{draw(NOT)}-s {draw(addresses)}{draw(st.sampled_from(prefixes))}" if not draw(st.integers(0, 3)) else "",
        draw(st.sampled_from(["", "-p tcp", "-p udp", "! -p tcp", "-p ! udp", "-p 6", "-p tcp -m tcp", "-m tcp -p tcp"])),
        f"-m comment --comment {draw(COMMENT)}" if draw(st.booleans()) else "",
        draw(st.sampled_from(["", "", "-m addrtype --dst-type LOCAL", "-m addrtype ! --dst-type LOCAL"])),
        draw(st.sampled_from(["", "-m tcp --dport 80", "-m tcp ! --dport 80", "-m tcp --dport ! 80", "-m udp --dport 80", "-m tcp --dport 080", "-m tcp --dport 1:99", "-m tcp --dport 99999"])),
    ]  # fmt: skip
    if draw(st.integers(0, 3)) == 0:
        parts = draw(st.permutations(parts))
    target = draw(
        st.sampled_from(["-j MARK --xor-mark 0x1", "-j MARK --or-mark 0x10", "", "-j LOG", "-j NOSUCH", "-j web", "-j ACCEPT", "-g web"])
    )
    counters = draw(st.sampled_from(["", "[1:2] "]))
    gap = draw(st.sampled_from([" ", " ", " ", "  "]))
    return counters + gap.join(["-A INPUT", *(p for p in parts if p), target]).rstrip()


def shown(leaf: Leaf) -> tuple[object, ...]:
    return (
        leaf.verdict,
        leaf.probability,
        leaf.view.packet,
        leaf.conditions,
        tuple((s.line, s.verdict) for s in (leaf.steps.to_tuple() if leaf.steps else ())),
    )


@pytest.mark.parametrize(
    ("version", "addresses", "prefixes"),
    [(4, V4, ["", "/32", "/24", "/0", "/255.255.255.255", "/33"]), (6, V6, ["", "/128", "/32", "/64"])],
)
@given(data=st.data())
def test_the_index_takes_the_same_rules_as_the_plain_walk(
    version: int, addresses: st.SearchStrategy[str], prefixes: list[str], data: st.DataObject
) -> None:
    few = data.draw(st.lists(rule_lines(addresses, prefixes), min_size=4, max_size=8))
    long = [":web", *few, *(["-A INPUT -d 10.9.9.9/32 -j DROP"] * 30), *few, "-A web -j MARK --or-mark 0x100"]
    sent = packet(
        source=data.draw(addresses),
        destination=data.draw(addresses),
        port=data.draw(st.sampled_from([80, 81])),
        protocol=data.draw(st.sampled_from(["tcp", "udp"])),
    )
    on, off = (leaves("\n".join(long), view(sent), indexed=indexed) for indexed in (True, False))
    assert chain("\n".join(long)).index is not None
    assert [shown(leaf) for leaf in on] == [shown(leaf) for leaf in off]
    assert sum(leaf.probability for leaf in on) == 1

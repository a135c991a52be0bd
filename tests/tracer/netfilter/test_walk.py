"""One walk for both languages: what is settled, what splits, what is only noted, and where a walk ends. Each row is walked in both."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import cycle, product

import pytest

from tests.tracer.netfilter.viewing import KnownTypes, leaves, packet, view
from tracer.conntrack import Connection
from tracer.limits import Budget, Limits
from tracer.netfilter.base_chain import XtablesChain
from tracer.netfilter.ipset_save import parse_sets
from tracer.netfilter.iptables_save import parse_dump
from tracer.netfilter.leaf import Leaf
from tracer.netfilter.model import Hook
from tracer.netfilter.nft_rules import NftRules
from tracer.netfilter.view import View
from tracer.packet import Family

HALF = Fraction(1, 2)
PARTS = (
    "\tset members {\n\t\ttype ipv4_addr\n\t\telements = { 10.0.0.9, 10.7.0.1 }\n\t}\n"
    "\tset strangers {\n\t\ttype ipv4_addr\n\t\telements = { 10.7.0.1 }\n\t}\n"
    "\tset seen {\n\t\ttype ipv4_addr\n\t\tflags dynamic,timeout\n\t}\n"
    "\tmap verdicts {\n\t\ttype ipv4_addr : verdict\n\t\telements = { 10.7.0.1 : drop }\n\t}\n"
    "\tchain user {\n\t\tdrop\n\t}\n"
)
SETS, _ = parse_sets("create members hash:ip\nadd members 10.0.0.9\ncreate strangers hash:ip\nadd strangers 10.7.0.1\n", "s")
SEEN = view(packet(), sets=SETS, routing=KnownTypes(None), connection=Connection.begin(packet()))


def native(rules: str, seen: View = SEEN, *, hook: str = "prerouting", parts: str = PARTS, budget: Budget | None = None) -> list[Leaf]:
    """Return every way a native base chain of *rules* ends."""
    lines = "\n".join(f"\t\t{line.strip()}" for line in rules.strip().splitlines())
    text = f"table inet t {{\n{parts}\tchain c {{\n\t\ttype filter hook {hook} priority 0; policy accept;\n{lines}\n\t}}\n}}\n"
    (found,) = NftRules.from_listing(text, "f").chains(Hook.PREROUTING, Family.IP, ())
    return list(found[1].run(seen, None, budget))


def shown(found: list[Leaf]) -> list[tuple[str, Fraction, tuple[str, ...], list[str]]]:
    """Verdicts, odds, which conditions hold or not, and the verdicts of the steps."""
    return [
        (
            leaf.verdict,
            leaf.probability,
            tuple("no" if " does not match " in condition else "yes" for condition in leaf.conditions),
            [step.verdict or "policy" for step in (leaf.steps.to_tuple() if leaf.steps else ())],
        )
        for leaf in found
    ]


PASSED = [("accept", 1, (), ["policy"])]

# -- a part that is known to say no settles what nobody can tell before it --------------------------------------------------------------

XTABLES_UNKNOWN = [
    "-m u32 --u32 0x0=0x0",
    "-m ipvs --vaddr 10.96.0.1/32",
    "-m ipvs ! --vproto 6",
    "-m limit --limit 5/min",
    "-m set --match-set unrecorded src",
    "-m set ! --match-set unrecorded src",
    "-m set --match-set members src --return-nomatch",
    "-m addrtype --dst-type LOCAL",
    "-m addrtype ! --dst-type LOCAL",
    "-m dscp --dscp 10",
    "-m dscp ! --dscp 10",
    "-m ttl --ttl-gt 3",
    "-p tcp -m tcp --sport 40000:50000",
    "-p tcp -m tcp ! --sport 40000:50000",
    "-m conntrack --ctstatus ASSURED",
    "-m rpfilter",
    "-m rpfilter --invert",
    "-m mac --mac-source 00:00:5E:00:53:01",
    "-m nosuch --option",
]
XTABLES_FALSE = [
    "-m mark --mark 0x5",
    "-m mark ! --mark 0x0",
    "-m conntrack --ctstate RELATED,ESTABLISHED",
    "-m conntrack ! --ctstate NEW",
    "-m set --match-set strangers src",
    "-m set ! --match-set members src",
    "-m multiport --dports 443,8443",
    "-m pkttype --pkt-type multicast",
    "-m iprange --src-range 10.9.0.1-10.9.0.9",
    "-m iprange ! --src-range 10.0.0.1-10.0.0.99",
    "-m recent --rcheck --name never",
    "-m recent --remove --name never",
    "-m owner --uid-owner 0",
    "-m physdev --physdev-is-bridged",
    "-m statistic --mode random --probability 0.0",
    "-m connmark --mark 0x1",
]
XTABLES_TARGETS = [
    "-j DROP",
    "-j user",
    "-j MARK --set-mark 0x1",
    "-j DNAT --to-destination 10.1.0.5",
    "-j TPROXY --on-port 1",
    "-j LOG",
    "",
]
XTABLES_BETWEEN = ["", "-m nosuch --x", "-m statistic --mode random --probability 0.5"]

NATIVE_UNKNOWN = [
    "ct label 28",
    "ct label != 28",
    "limit rate 1/second",
    "ct count over 5",
    "socket transparent 1",
    "meta cpu 0",
    "ip dscp ef",
    "ip dscp != ef",
    "ip ttl > 3",
    "tcp sport 40000-50000",
    "tcp sport != 40000-50000",
    "ip saddr @unlisted",
    "ip saddr != @unlisted",
    "fib daddr type local",
    "fib daddr type != local",
    "fib saddr . iif oif missing",
    "tcp sport != 7 tcp dport != 80",  # which of two comparisons was loaded, a listing does not tell
    'xt match "u32"',
]
NATIVE_FALSE = [
    ("ct state established,related", True),
    ("ct state != new", True),
    ("meta mark 5", True),
    ("meta mark != 0", True),
    ("meta skuid 0", True),
    ("ip saddr @strangers", True),
    ("ip saddr != @members", True),
    ("ip saddr { 10.7.0.1 }", True),
    ("ip6 saddr != fd00::1", True),
    ("udp dport 80", True),
    ("ct mark 5", True),
    ("numgen random mod 2 < 0", True),
    ("ip saddr vmap @verdicts", False),
    ("ip saddr vmap { 10.7.0.1 : drop }", False),
    ("numgen random mod 2 vmap { 5 : drop }", False),
    ("reject with icmpv6 no-route", False),
    ("dnat ip6 to fd00::5", False),
    ("dnat ip to ip saddr map { 10.7.0.1 : 10.1.0.5 }", False),
    ("meta mark set ip saddr map { 10.7.0.1 : 0x1 }", True),
]
NATIVE_ENDS = ["drop", "jump user", "meta mark set 0x1", "dnat ip to 10.1.0.5", "queue num 3", "log", ""]
NATIVE_BETWEEN = ["", "counter", 'log prefix "x"', "meta nftrace set 1", "meta priority set 1", "numgen random mod 2 == 0", "ct label 29"]


def _undecided(found: list[Leaf]) -> bool:
    return len(found) == 2 and all(leaf.unknowns and leaf.conditions for leaf in found)


@pytest.mark.parametrize("rule", XTABLES_UNKNOWN)
def test_alone_nobody_can_tell_in_iptables(rule: str) -> None:
    assert _undecided(leaves(f":user\n-A INPUT {rule} -j DROP", SEEN))


@pytest.mark.parametrize("rule", XTABLES_FALSE)
def test_alone_it_says_no_in_iptables(rule: str) -> None:
    assert shown(leaves(f":user\n-A INPUT {rule} -j DROP", SEEN)) == PASSED


@pytest.mark.parametrize(("vague", "no"), [*product(XTABLES_UNKNOWN, XTABLES_FALSE)])
def test_a_match_that_says_no_settles_an_unknown_one_before_it(vague: str, no: str) -> None:
    for middle, target in zip(cycle(XTABLES_BETWEEN), XTABLES_TARGETS, strict=False):
        found = leaves(f":user\n-A INPUT {vague} {middle} {no} {target}", SEEN)
        assert shown(found) == PASSED, (middle, target)
        assert not found[0].unknowns, (middle, target)


@pytest.mark.parametrize("statement", NATIVE_UNKNOWN)
def test_alone_nobody_can_tell_in_nft(statement: str) -> None:
    assert _undecided(native(f"{statement} drop"))


@pytest.mark.parametrize(("statement", "goes_on"), NATIVE_FALSE)
def test_alone_it_says_no_in_nft(statement: str, goes_on: bool) -> None:
    found = native(f"{statement}{' drop' if goes_on else ''}")
    assert {(leaf.verdict, leaf.by_policy) for leaf in found} == {("accept", True)}
    assert not any(leaf.unknowns for leaf in found)


@pytest.mark.parametrize(("vague", "no"), [*product(NATIVE_UNKNOWN, NATIVE_FALSE)])
def test_a_statement_that_says_no_settles_an_unknown_one_before_it(vague: str, no: tuple[str, bool]) -> None:
    statement, goes_on = no
    for middle, end in zip(NATIVE_BETWEEN, NATIVE_ENDS, strict=True):
        end = end if goes_on else ""
        found = native(f"{vague} {middle} {statement} {end}")
        assert shown(found) == PASSED, (middle, end)
        assert not found[0].unknowns, (middle, end)


# -- what the walk remembers in between is not settled --------------------------------------------------------------------------------

REMEMBERED = [
    (
        "-m nosuch --x",
        "-m recent --set --name r",
        "-m recent --rcheck --name r",
        "ct label 28",
        "add @seen {{ ip saddr }}",
        "ip saddr @seen",
    ),
    (
        "-m statistic --mode random --probability 0.5",
        "-m recent --set --name r",
        "-m recent --rcheck --name r",
        "numgen random mod 2 == 0",
        "add @seen {{ ip saddr }}",
        "ip saddr @seen",
    ),
]


@pytest.mark.parametrize(("vague", "learns", "asks", "n_vague", "n_learns", "n_asks"), REMEMBERED)
def test_what_was_learned_behind_an_open_match_is_walked_both_ways(
    vague: str, learns: str, asks: str, n_vague: str, n_learns: str, n_asks: str
) -> None:
    conditions = ("yes",), ("no",)
    if "random" in vague:
        conditions = (), ()
    expected = [("drop", HALF, conditions[0], ["drop"]), ("accept", HALF, conditions[1], ["policy"])]
    assert shown(leaves(f"-A INPUT {vague} {learns} -m mark --mark 0x5 -j REJECT\n-A INPUT {asks} -j DROP")) == expected
    n_learns = n_learns.format()
    assert shown(native(f"{n_vague} {n_learns} meta mark 5 reject\n{n_asks} drop")) == expected
    # Learned before the open match, it is learned either way, and the no settles the match.
    learned = [("drop", 1, (), ["drop"])]
    assert shown(leaves(f"-A INPUT {learns} {vague} -m mark --mark 0x5 -j REJECT\n-A INPUT {asks} -j DROP")) == learned
    assert shown(native(f"{n_learns} {n_vague} meta mark 5 reject\n{n_asks} drop")) == learned


def test_a_mark_set_behind_an_open_match_is_walked_both_ways() -> None:
    found = native("ct label 28 meta mark set 0x7 ct state established drop\nmeta mark 0x7 drop")
    assert shown(found) == [("drop", HALF, ("yes",), ["drop"]), ("accept", HALF, ("no",), ["policy"])]


# -- the same rules, the same ways ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pair:
    """The same rules in both languages, and every way they end."""

    xtables: str
    native: str
    ends: list[tuple[str, Fraction, tuple[str, ...], list[str]]]


QUARTER = Fraction(1, 4)
PAIRS = {
    "two that nobody can tell are one question": Pair(
        "-A INPUT -m nosuch --a -m nosuch --b -j DROP",
        "ct label 28 ct label 29 drop",
        [("drop", HALF, ("yes",), ["drop"]), ("accept", HALF, ("no",), ["policy"])],
    ),
    "odds before it": Pair(
        "-A INPUT -m statistic --mode random --probability 0.5 -m nosuch --a -j DROP",
        "numgen random mod 2 == 0 ct label 28 drop",
        [("drop", QUARTER, ("yes",), ["drop"]), ("accept", QUARTER, ("no",), ["policy"]), ("accept", HALF, (), ["policy"])],
    ),
    "odds behind it": Pair(
        "-A INPUT -m nosuch --a -m statistic --mode random --probability 0.5 -j DROP",
        "ct label 28 numgen random mod 2 == 0 drop",
        [("drop", QUARTER, ("yes",), ["drop"]), ("accept", QUARTER, ("yes",), ["policy"]), ("accept", HALF, ("no",), ["policy"])],
    ),
    "odds in a row are one": Pair(
        "-A INPUT -m statistic --mode random --probability 0.5 -m statistic --mode random --probability 0.5 -j DROP",
        "numgen random mod 2 == 0 numgen random mod 2 == 0 drop",
        [("drop", QUARTER, (), ["drop"]), ("accept", 1 - QUARTER, (), ["policy"])],
    ),
    "a rule that does nothing is noted": Pair(
        "-A INPUT -m nosuch --a -m mark --mark 0x0 -j LOG",
        "ct label 28 meta mark 0 log",
        [("accept", Fraction(1), (), ["continue", "policy"])],
    ),
    "a jump to a chain that returns": Pair(
        ":sub\n-A INPUT -j sub\n-A INPUT -j DROP\n-A sub -m nosuch --a -j RETURN\n-A sub -j ACCEPT",
        "jump sub\ndrop",
        [("drop", HALF, ("yes",), ["jump sub", "return", "drop"]), ("accept", HALF, ("no",), ["jump sub", "accept"])],
    ),
    "gotos without end": Pair(
        ":round\n-A INPUT -g round\n-A round -g round",
        "goto round",
        [("unknown", Fraction(1), (), ["goto round"] * 5)],
    ),
    "jumps without end": Pair(":deep\n-A INPUT -j deep\n-A deep -j deep", "jump deep", []),
}
OWN = (
    "\tchain sub {\n\t\tct label 28 return\n\t\taccept\n\t}\n\tchain round {\n\t\tgoto round\n\t}\n"
    "\tchain deep {\n\t\tjump deep\n\t}\n\tchain other {\n\t}\n"
)


@pytest.mark.parametrize("name", PAIRS)
def test_both_languages_go_the_same_ways(name: str) -> None:
    pair = PAIRS[name]
    both = leaves(pair.xtables, SEEN), native(pair.native, parts=OWN)
    for found in both:
        assert sum(leaf.probability for leaf in found) == 1
        if "without end" in name:
            assert [(leaf.verdict, leaf.unknowns[-1].code) for leaf in found] == [("unknown", "BAD_RULE")]
        else:
            assert shown(found) == pair.ends


@pytest.mark.parametrize(
    "rule", ["-m statistic --mode random --probability 0.25 -j LOG", "-m statistic --mode nth --every 10 --packet 0 -j NFLOG"]
)
def test_a_draw_in_front_of_what_changes_nothing_splits_nothing_in_iptables(rule: str) -> None:
    assert shown(leaves(f"-A INPUT {rule}", SEEN)) == [("accept", 1, (), ["continue", "policy"])]


def test_and_in_nft() -> None:
    assert shown(native('numgen random mod 4 == 0 log prefix "x"')) == [("accept", 1, (), ["continue", "policy"])]
    assert len(native("numgen random mod 4 == 0 drop")) == 2


def test_how_deep_jumps_may_go_is_the_kernels() -> None:
    """ip_tables keeps as many places as its chains need, nf_tables 16 behind the base chain."""
    for deep, verdict in ((16, "drop"), (17, "unknown")):
        chains = "".join(f"\tchain c{i} {{\n\t\tjump c{i + 1}\n\t}}\n" for i in range(1, deep)) + f"\tchain c{deep} {{\n\t\tdrop\n\t}}\n"
        assert [leaf.verdict for leaf in native("jump c1", parts=chains)] == [verdict]


def test_a_walk_beyond_its_budget_is_given_up_in_one_unknown_way() -> None:
    doubling = "\n".join(["-A INPUT -m statistic --mode random --probability 0.5 -j MARK --xor-mark 1"] * 40)
    text = f"*filter\n:INPUT ACCEPT [0:0]\n{doubling}\nCOMMIT\n"
    chain = XtablesChain(parse_dump(text, "f").tables["filter"].chains["INPUT"], "ip", 0, lambda rule: {})
    limits = Limits(work=20_000, ways=500)
    many = "\n".join(["numgen random mod 2 == 0 meta mark set meta mark ^ 1"] * 40)
    for found in (list(chain.run(SEEN, None, Budget(limits))), native(many, budget=Budget(limits))):
        assert sum(leaf.probability for leaf in found) == 1
        assert len(found) <= 501
        assert found[-1].unknowns[-1].code == "UNSUPPORTED"


def test_a_rule_with_too_many_ways_is_given_up() -> None:
    found = native("numgen random mod 90 vmap { 0-50 : drop, 51-80 : accept }", budget=Budget(Limits(ways=40)))
    assert sum(leaf.probability for leaf in found) == 1
    assert found[-1].unknowns[-1].code == "UNSUPPORTED"


@pytest.mark.parametrize("end", ["drop", "meta mark 5 drop"])
@pytest.mark.parametrize("number", [3, 400])
def test_a_rule_that_hangs_on_too_much_is_given_up_when_the_budget_is_spent(number: int, end: str) -> None:
    """Each part is open with another packet: as many splits as parts, each of which copies the conditions before it."""
    hanging = " ".join(f"add @s{i} {{ ip saddr }} ct label {i % 100}" for i in range(number)) + f" add @seen {{ ip saddr }} {end}"
    sets = "".join(f"\tset s{i} {{\n\t\ttype ipv4_addr\n\t\tflags dynamic,timeout\n\t}}\n" for i in range(number))
    xtables = " ".join(f"-m recent --set --name r{i} -m nosuch{i}" for i in range(number)) + " -m recent --set --name r"
    text = f"*filter\n:INPUT ACCEPT [0:0]\n-A INPUT {xtables} {'-m mark --mark 5 ' if 'mark' in end else ''}-j DROP\nCOMMIT\n"
    chain = XtablesChain(parse_dump(text, "f").tables["filter"].chains["INPUT"], "ip", 0, lambda rule: {})
    for budget in (Budget(Limits(work=40_000)), Budget(Limits(work=40_000))), (Budget(), Budget()):
        for found in (list(chain.run(SEEN, None, budget[0])), native(hanging, parts=PARTS + sets, budget=budget[1])):
            assert sum(leaf.probability for leaf in found) == 1
        is_given_up = number == 400 and budget[0].limits.work == 40_000
        for left in budget:
            assert left.left > (-10_000 if is_given_up else 0), "it goes on although nothing is left"
            assert left.is_spent is is_given_up


def test_what_a_rule_hangs_on_is_paid_for_where_the_packet_stays_the_same() -> None:
    text = f"*filter\n:INPUT ACCEPT [0:0]\n-A INPUT {' '.join(f'-m nosuch{i}' for i in range(400))} -j DROP\nCOMMIT\n"
    chain = XtablesChain(parse_dump(text, "f").tables["filter"].chains["INPUT"], "ip", 0, lambda rule: {})
    assert [leaf.verdict for leaf in chain.run(SEEN, None, Budget())] == ["drop", "accept"]
    (given_up,) = chain.run(SEEN, None, Budget(Limits(work=40_000)))
    assert (given_up.probability, given_up.unknowns[-1].code) == (1, "UNSUPPORTED")

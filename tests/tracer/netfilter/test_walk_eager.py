"""A walk that leaves odds open until something depends on them ends as one that splits at once: the same ends, with the same odds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from tests.tracer.netfilter.test_kept_runs import STATEMENTS, VERDICTS, views
from tests.tracer.netfilter.viewing import chain
from tracer.limits import Budget
from tracer.netfilter.base_chain import BaseChain, XtablesChain
from tracer.netfilter.effects import Alters, Draws, Ends, Jumps, Passes, Returns
from tracer.netfilter.model import Hook
from tracer.netfilter.nft_rules import NftRules
from tracer.netfilter.rule_language import RuleLanguage
from tracer.netfilter.view import View
from tracer.packet import Family

Way = tuple[Fraction, str, Any, View]
Frames = tuple[tuple[Any, int], ...]
LEARNS = ["-m recent --set --name r", "-m recent --rcheck --name r", "-m recent --remove --name r", "-m recent --update --name r"]
# Odds and what is remembered stand in most rules: it is their order that matters.
MATCHES = [
    *LEARNS, *(["-m statistic --mode random --probability 0.5", "-m recent --set --name r"] * 3), "-d 10.96.0.1/32", "-p udp", "-m mark --mark 0x1/0x1", "-m connmark --mark 0x2", "-i lo",
    *(f"-m statistic --mode random --probability {odds}" for odds in ("0.5", "0.25", "0", "1")),
]  # fmt: skip
TARGETS = ["", "-j LOG", "-j ACCEPT", "-j DROP", "-j RETURN", "-j MARK --xor-mark 0x1", "-j CONNMARK --save-mark", "-j DSCP --set-dscp 10"]
KNOWN = [s for s in STATEMENTS if s not in ("ct label 28", "fib daddr type local", "ip dscp 10", "tcp sport 1-40000")]
OPEN = ["numgen random mod 2 == 0", "add @seen { ip saddr }", "meta mark set meta mark ^ 0x1"] * 6
LISTED = [*OPEN, *KNOWN, "delete @seen { ip daddr }", "numgen random mod 3 < 2", "meta mark set numgen random mod 3", "meta mark 1"]
ENDED = [v for v in VERDICTS if v != "queue num 3"]


def eager(language: RuleLanguage[Any, Any, Any], frames: Frames, seen: View) -> Iterator[Way]:
    """Yield how the rules from *frames* on end, split at whatever has odds as soon as it is asked."""
    if not frames:
        yield Fraction(1), language.base.policy.lower(), None, seen
        return
    (asked, place), outer = frames[-1], frames[:-1]
    order = language.order(asked, seen.packet)
    if place == len(order):
        yield from eager(language, outer, seen)
        return
    rule = language.rules(asked)(order[place])
    yield from _rule(language, (*outer, (asked, place + 1)), rule, 0, seen)


def _rule(language: RuleLanguage[Any, Any, Any], behind: Frames, rule: Any, at: int, seen: View) -> Iterator[Way]:
    parts = language.parts(rule)
    if at < len(parts):
        yield from _said(language, behind, rule, at, seen, language.ask(parts[at], rule, seen))
    elif isinstance(effect := language.end(rule, seen), Alters):
        yield from eager(language, behind, effect.view)
    else:
        yield from _said(language, behind, rule, at, seen, effect)


def _said(language: RuleLanguage[Any, Any, Any], behind: Frames, rule: Any, at: int, seen: View, said: object) -> Iterator[Way]:
    match said:
        case True:
            yield from _rule(language, behind, rule, at + 1, seen)
        case False | Passes():
            yield from eager(language, behind, seen)
        case Fraction():
            for share, holds in ((said, True), (1 - said, False)):
                if share:
                    yield from _with(share, _said(language, behind, rule, at, seen, holds))
        case Alters():
            yield from _said(language, behind, rule, at, said.view, said.then)
        case Draws():
            for share, way in said.ways:
                yield from _with(share, _said(language, behind, rule, at, seen, way))
        case Returns():
            yield from eager(language, behind[:-1] if len(behind) > 1 else (), seen)
        case Jumps():
            yield from eager(language, (*(behind[:-1] if said.goto else behind), (language.chain(said.chain), 0)), seen)
        case Ends():
            yield Fraction(1), said.verdict, said.target, seen
        case _:
            raise AssertionError(f"{said} is not known: the reference has no model of that")


def _with(share: Fraction, ways: Iterator[Way]) -> Iterator[Way]:
    return ((share * odds, verdict, target, seen) for odds, verdict, target, seen in ways)


def ends(ways: Iterator[Way]) -> Counter[object]:
    """Return the odds of each way to end: the verdict, and the packet as it is then."""
    found: Counter[object] = Counter()
    for odds, verdict, target, seen in ways:
        after = (seen.packet, seen.connection_mark, seen.state, seen.recent, seen.dscp)
        found[verdict, str(target), after] += odds  # type: ignore[assignment]
    return found


def check(base: BaseChain, seen: View) -> None:
    language = base.language(Budget())
    walked = list(base.run(seen, None))
    assert not any(leaf.unknowns for leaf in walked)
    event("splits" if len(walked) > 1 else "straight")
    wanted = ends(eager(language, ((language.chain(None), 0),), seen))
    assert ends((leaf.probability, leaf.verdict, leaf.target, leaf.view) for leaf in walked) == wanted
    assert sum(wanted.values()) == 1


def lines(pool: list[str], ends: list[str], most: int) -> st.SearchStrategy[list[str]]:
    line = st.tuples(st.lists(st.sampled_from(pool), max_size=4).map(" ".join), st.sampled_from(ends))
    return st.lists(line.map(lambda words: " ".join(words).strip()), max_size=most)


@settings(max_examples=200)
@given(lines(MATCHES, [*TARGETS, "-j web", "-g web"], 5), lines(MATCHES, TARGETS, 4), views())
def test_odds_that_are_left_open_change_no_end_in_iptables(first: list[str], second: list[str], seen: View) -> None:
    text = "\n".join([":web", *(f"-A INPUT {line}" for line in first), *(f"-A web {line}" for line in second)])
    check(XtablesChain(chain(text), "ip", 0, lambda rule: {}), seen)


@settings(max_examples=200)
@given(lines(LISTED, ENDED, 5), lines(LISTED, [v for v in ENDED if "web" not in v], 3), views())
def test_odds_that_are_left_open_change_no_end_in_nft(first: list[str], second: list[str], seen: View) -> None:
    header = "\t\ttype filter hook prerouting priority 0; policy accept;\n"
    deep = "\tchain deep {\n\t\tnumgen random mod 2 == 0 drop\n\t}\n"
    own = [f"\tchain {name} {{\n{top}" + "".join(f"\t\t{line or 'counter'}\n" for line in found) + "\t}\n"
           for name, top, found in (("c", header, first), ("web", "", second))]  # fmt: skip
    sets = "\tset seen {\n\t\ttype ipv4_addr\n\t\tflags dynamic,timeout\n\t}\n"
    ((_, base),) = NftRules.from_listing("table ip t {\n" + sets + "".join(own) + deep + "}\n", "f").chains(Hook.PREROUTING, Family.IP, ())
    check(base, seen)

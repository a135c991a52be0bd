"""What the kernel taught the engine: each row is a rule set, a packet, and the rules that the kernel's own trace named, in its order.

These need no root: the little network's readings (addresses, routes, sysctls) are recorded in lab-files.json.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.oracle.engine import Engine
from tests.oracle.kernel import Kernel, Loaded
from tests.oracle.lab import Lab
from tests.oracle.netns import why_not
from tests.oracle.rulesets import BASES, Chain, Rule, RuleSet, Shot
from tests.oracle.run import usable
from tracer.trace import Disposition

FILES = {path: text.encode() for path, text in json.loads((Path(__file__).parent / "lab-files.json").read_text()).items()}


@dataclass(frozen=True, kw_only=True)
class Row:
    """*rules* are (table, rule) pairs; *steps* the positions in it of the rules that match, in the kernel's order."""

    name: str
    rules: tuple[tuple[str, str], ...]
    steps: tuple[int, ...]
    source: str = "p1"
    destination: str = "10.1.2.2"
    protocol: str = "udp"
    sets: str = ""
    backend: str = "nft"
    end: Disposition = Disposition.DELIVERED
    at: str | None = None
    ttl: int = 64


_INPUT = (("security", "-A INPUT -m mark --mark 0x1"), ("nat", "-A INPUT -j MARK --set-xmark 0x1/0xffffffff"))
ROWS = (
    Row(
        name="a packet whose time to live ends is not forwarded",
        rules=(("mangle", "-A PREROUTING -j TTL --ttl-dec 1"), ("mangle", "-A FORWARD -p udp")),
        steps=(0,),
        ttl=2,
        end=Disposition.DROPPED,
    ),
    Row(
        name="one that has two left is",
        rules=(("mangle", "-A PREROUTING -j TTL --ttl-dec 1"), ("mangle", "-A FORWARD -p udp")),
        steps=(0, 1),
        ttl=3,
    ),
    Row(name="iptables-nft's security comes after nat in INPUT", rules=_INPUT, steps=(1, 0), destination="192.0.2.1"),
    Row(name="the legacy security table comes before nat in INPUT", rules=_INPUT, steps=(1,), destination="192.0.2.1", backend="legacy"),
    Row(
        name="POSTROUTING knows the device that a forwarded packet came in by",
        rules=(("mangle", "-A POSTROUTING -j X"), ("mangle", "-A X -i pod1a"), ("mangle", "-A X ! -i pod+")),
        steps=(0, 1),
    ),
    Row(
        name="and nothing in POSTROUTING came in where it was sent by the node itself",
        rules=(("mangle", "-A POSTROUTING -j X"), ("mangle", "-A X ! -i pod+")),
        steps=(0, 1),
        source="node",
    ),
    Row(
        name="bitmap:port knows no ports of sctp",
        rules=(("raw", "-A PREROUTING -m set --match-set b dst"), ("raw", "-A PREROUTING -m set ! --match-set b dst")),
        steps=(1,),
        sets="create b bitmap:port range 0-65535\nadd b 80\n",
        protocol="sctp",
    ),
    Row(
        name="a template of -j CT has an empty tuple",
        rules=(
            ("raw", "-A PREROUTING -m conntrack ! --ctorigdst 10.9.9.9"),
            ("raw", "-A PREROUTING -j CT --ctevents new"),
            ("raw", "-A PREROUTING -m conntrack ! --ctorigdst 10.9.9.9"),
            ("raw", "-A PREROUTING -m conntrack --ctstate NEW"),
            ("raw", "-A PREROUTING -j NOTRACK"),
            ("mangle", "-A PREROUTING -m conntrack --ctstate UNTRACKED"),
        ),
        steps=(1, 2, 3, 4),
    ),
    Row(
        name="with --ctstate, the other options are not asked where there is no connection",
        rules=(
            ("raw", "-A PREROUTING -m conntrack --ctstate INVALID --ctorigdst 10.9.9.9"),
            ("raw", "-A PREROUTING -m conntrack --ctorigdst 10.9.9.9"),
        ),
        steps=(0,),
    ),
    Row(
        name="SET changes a set for the same packet",
        rules=(
            ("raw", "-A PREROUTING -m set --match-set grow4 src"),
            ("raw", "-A PREROUTING -j SET --add-set grow4 src"),
            ("mangle", "-A PREROUTING -m set --match-set grow4 src"),
            ("mangle", "-A PREROUTING -j SET --del-set grow4 src"),
            ("filter", "-A FORWARD -m set --match-set grow4 src -j DROP"),
        ),
        steps=(1, 2, 3),
        sets="create grow4 hash:ip family inet\n",
    ),
    Row(
        name="recent --remove removes",
        rules=(
            ("raw", "-A PREROUTING -m recent --set --name A --mask 255.255.255.255 --rsource"),
            ("mangle", "-A PREROUTING -m recent --remove --name A --mask 255.255.255.255 --rsource"),
            ("mangle", "-A FORWARD -m recent --rcheck --name A --mask 255.255.255.255 --rsource -j DROP"),
        ),
        steps=(0, 1),
    ),
    Row(
        name="of networks with interfaces the narrowest network decides alone",
        rules=(("mangle", "-A FORWARD -m set --match-set n src,src"), ("mangle", "-A FORWARD -m set --match-set n dst,src")),
        steps=(1,),
        sets="create n hash:net,iface family inet\nadd n 10.1.0.0/16,pod1a\nadd n 10.1.1.0/24,eth0\n",
    ),
    Row(
        name="a set with more dimensions than directions never holds a packet",
        rules=(("mangle", "-A FORWARD -m set --match-set p dst"), ("mangle", "-A FORWARD -m set --match-set p dst,dst")),
        steps=(1,),
        sets="create p hash:ip,port family inet\nadd p 10.1.2.2,udp:80\n",
    ),
    Row(
        name="a node's packet that NAT gives an impossible way out ends before filter",
        rules=(("nat", "-A OUTPUT -j DNAT --to-destination 198.51.100.7"), ("filter", "-A OUTPUT -p udp")),
        steps=(0,),
        source="node",
        destination="127.0.0.1",
        end=Disposition.UNREACHABLE,
    ),
    Row(
        name="a mark of mangle OUTPUT changes the way out",
        rules=(("mangle", "-A OUTPUT -j MARK --set-xmark 0x4000/0x4000"), ("mangle", "-A POSTROUTING -o veth3")),
        steps=(0, 1),
        source="node",
        destination="10.96.7.3",
        end=Disposition.LEAVES,
    ),
    Row(
        name="a mark of filter OUTPUT does not",
        rules=(("filter", "-A OUTPUT -j MARK --set-xmark 0x4000/0x4000"), ("mangle", "-A POSTROUTING -o veth3")),
        steps=(0,),
        source="node",
        destination="10.96.7.3",
        end=Disposition.LEAVES,
    ),
    Row(
        name="the address that DNAT takes from an IPv6 range",
        rules=(("nat", "-A PREROUTING -j DNAT --to-destination fd00:1:9::2-fd00:1:9::3"),),
        steps=(0,),
        destination="fd00:96::2",
        at="fd00:1:9::3",
    ),
    Row(
        name="the address that DNAT takes from an IPv6 range, another flow",
        rules=(("nat", "-A PREROUTING -j DNAT --to-destination fd00:1:9::2-fd00:1:9::3"),),
        steps=(0,),
        destination="fd00:96::1",
        at="fd00:1:9::2",
    ),
    Row(
        name="a bridge that knows no neighbour for the new destination asks no FORWARD rule",
        rules=(("nat", "-A PREROUTING -j NETMAP --to 10.1.9.0/24"), ("mangle", "-A FORWARD -p udp")),
        steps=(0,),
        source="b2",
        destination="198.51.100.7",
        end=Disposition.LOST,
    ),
)


def _rule_set(row: Row) -> RuleSet:
    tables = {}
    for table, names in BASES.items():
        chains = [Chain(name, "ACCEPT", frozenset([name])) for name in names] + [Chain("X", "-", frozenset(names))]
        for own, rule in row.rules:
            _, name, rest = rule.split(" ", 2)
            if own == table:
                next(c for c in chains if c.name == name).rules.append(Rule((rest,), ""))
        tables[table] = chains
    return RuleSet(_version(row), tables, row.sets)


def _version(row: Row) -> int:
    return 6 if ":" in row.destination else 4


def _loaded(row: Row) -> Loaded:
    program = "iptables-save" if _version(row) == 4 else "ip6tables-save"
    head = f"# Generated by {program} v1.8.9" + (" (nf_tables)\n" if row.backend == "nft" else "\n")
    return Loaded(row.backend, _version(row), head + _rule_set(row).text(), row.sets, {}, {}, ())


def _shot(row: Row) -> Shot:
    return Shot(
        source=row.source,
        version=_version(row),
        protocol=row.protocol,
        destination=row.destination,
        destination_port=80,
        source_port=34000,
        ttl=row.ttl,
        said=True,
    )


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_engine_takes_the_rules_that_the_kernel_took(row: Row) -> None:
    (outcome,) = Engine(FILES, _loaded(row)).ask(_shot(row)).outcomes
    steps = [(s.table, s.rule) for hop in outcome.hops for s in hop.steps if s.rule is not None and " -j TRACE" not in s.rule]
    assert steps == [row.rules[number] for number in row.steps]
    assert outcome.disposition is row.end
    if row.at:
        assert str(outcome.hops[-1].packet_out.destination) == row.at


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    if reason := why_not():
        pytest.skip(reason)
    with Lab() as made:
        yield made


@pytest.mark.needs_root
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_kernel_still_does_so(row: Row, lab: Lab) -> None:
    if (row.backend, _version(row)) not in usable(lab):
        pytest.skip(f"iptables-{row.backend} does not work here")
    kernel = Kernel(lab, row.backend, _version(row))
    try:
        loaded = kernel.load(_rule_set(row))
        observed = kernel.shoot(loaded, _shot(row))
    finally:
        kernel.close()
    taken = [(mark.table, loaded.texts[mark.line - 1].split()) for mark in observed.marks if mark.line is not None]
    assert taken == [(table, rule.split()) for table, rule in (row.rules[number] for number in row.steps)]
    if row.at:
        assert [header.destination for _, header in observed.seen.headers] == [row.at]


def test_a_bridge_port_that_nobody_names_is_unknown() -> None:
    row = Row(name="", rules=(("raw", "-A PREROUTING -m physdev --physdev-in brp1 -j DROP"),), steps=(), source="b1")
    ends = {o.disposition for o in Engine(FILES, _loaded(row)).ask(_shot(row)).outcomes}
    assert ends == {Disposition.DROPPED, Disposition.DELIVERED}

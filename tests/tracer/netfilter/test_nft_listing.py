"""Listings and scripts of native rules: tables, chains, sets, what is read when, and what is said of what cannot be read."""

from __future__ import annotations

import json
import random
from contextlib import suppress
from ipaddress import IPv4Address, ip_address

import pytest

from tests.conftest import SHARED
from tracer.errors import TracerError
from tracer.netfilter import nft_model as n
from tracer.netfilter.nft_deferred import Deferred
from tracer.netfilter.nft_json import parse_json
from tracer.netfilter.nft_listing import cut_listing
from tracer.netfilter.nft_set_index import SetIndex, Value
from tracer.netfilter.nft_sets import SetText
from tracer.netfilter.nft_text import _Reader, parse_text
from tracer.netfilter.view import UnknownAnswer

LISTING = """\
table inet t { # handle 7
	comment "a table"
	set plain { # handle 3
		type ipv4_addr . inet_proto . inet_service
		size 65535
		flags timeout
		timeout 3h
		comment "some ; set { with } signs"
		elements = { 10.0.0.1 . tcp . 80 comment "web, first" timeout 1h expires 59m58s, 10.0.0.1 . udp . 53,
			10.0.0.2 . sctp . 9999 counter packets 0 bytes 0 }
	}

	map wide {
		type ipv4_addr : verdict
		flags interval
		elements = { 10.0.0.0/8 : jump user, 192.0.2.1-192.0.2.9 : drop,
			203.0.113.7 : accept, * : continue }
	}

	chain user { # handle 5
		comment "of users"
		tcp dport 80 counter packets 12 bytes 3456 accept comment "web" # handle 11
		return
	}

	chain input {
		type filter hook input priority filter + 10; policy drop;
		ip saddr vmap @wide
	}

	chain empty {
	}
}
"""


def _read_in_full(text: str) -> n.NftRuleset:
    reader = _Reader(n.NftRuleset("f"))
    reader.read(text.split("\n"))
    return reader.ruleset


def test_listing_is_cut_without_reading_rules_or_elements() -> None:
    (table,) = cut_listing(LISTING, "f").tables
    assert (table.family, table.name, table.comment, table.line) == ("inet", "t", "a table", 1)
    assert list(table.chains) == ["user", "input", "empty"]
    assert [isinstance(c.rules, Deferred) and c.rules.was_read for c in table.chains.values()] == [False, False, False]
    assert [isinstance(s.elements, SetText) and s.elements.was_read for s in table.sets.values()] == [False, False]


def test_rules_have_lines_handles_comments_and_no_counts() -> None:
    user = cut_listing(LISTING, "f").tables[0].chains["user"]
    first, second = user.rules
    assert (first.text, first.line, first.handle, first.comment) == ('tcp dport 80 counter accept comment "web"', 22, 11, "web")
    assert (second.text, second.line, second.handle) == ("return", 23, None)
    assert user.comment == "of users"


def test_base_chain_and_sets() -> None:
    table = cut_listing(LISTING, "f").tables[0]
    chain = table.chains["input"]
    assert (chain.type, chain.hook, chain.priority, chain.policy) == ("filter", "input", 10, "drop")
    plain, wide = table.sets["plain"], table.sets["wide"]
    assert (plain.key_types, plain.value_type, plain.size, plain.timeout) == (
        ("ipv4_addr", "inet_proto", "inet_service"),
        None,
        65535,
        10800,
    )
    first, _, third = plain.elements
    assert (first.comment, first.timeout, first.expires, third.has_counter) == ("web, first", 3600, 3598, True)
    assert (wide.value_type, wide.flags, isinstance(wide.elements[3].key, n.Wildcard)) == ("verdict", ("interval",), True)


def test_both_readers_say_the_same() -> None:
    assert cut_listing(LISTING, "f") == _read_in_full(LISTING)


@pytest.mark.needs_shared
@pytest.mark.parametrize("path", sorted(SHARED.glob("recordings/*/nodes/*/nft-ruleset.txt")), ids=lambda p: f"{p.parts[-4]}/{p.parts[-2]}")
def test_both_readers_say_the_same_of_recordings(path) -> None:  # type: ignore[no-untyped-def]
    text = path.read_text()
    cut, full = cut_listing(text, "f"), _read_in_full(text)
    assert cut == full
    lines = [[(c.line, [r.line for r in c.rules]) for c in t.chains.values()] for t in cut.tables]
    assert lines == [[(c.line, [r.line for r in c.rules]) for c in t.chains.values()] for t in full.tables]


PRIORITIES = [
    ("ip", "raw", -300),
    ("ip", "mangle", -150),
    ("ip", "dstnat", -100),
    ("ip", "filter", 0),
    ("ip", "security", 50),
    ("ip", "srcnat", 100),
    ("ip", "dstnat - 10", -110),
    ("ip", "filter + 10", 10),
    ("ip", "-450", -450),
    ("bridge", "filter", -200),
    ("bridge", "out", 100),
]


@pytest.mark.parametrize(("family", "text", "number"), PRIORITIES)
def test_priorities(family: str, text: str, number: int) -> None:
    listing = f"table {family} t {{\n\tchain c {{\n\t\ttype filter hook input priority {text}; policy accept;\n\t}}\n}}\n"
    assert parse_text(listing, "f").tables[0].chains["c"].priority == number


def test_an_unknown_priority_makes_the_rule_set_incomplete() -> None:
    found = parse_text("table ip t {\n\tchain c {\n\t\ttype filter hook input priority urgent; policy accept;\n\t}\n}\n", "f")
    assert found.incomplete is not None
    assert found.incomplete.line == 3


@pytest.mark.parametrize(
    ("line", "devices"),
    [('device "eth0"', ("eth0",)), ("device eth0", ("eth0",)), ('devices = { "eth0", "eth1" }', ("eth0", "eth1"))],
)
def test_devices_of_ingress(line: str, devices: tuple[str, ...]) -> None:
    listing = f"table netdev t {{\n\tchain c {{\n\t\ttype filter hook ingress {line} priority -500; policy accept;\n\t}}\n}}\n"
    chain = parse_text(listing, "f").tables[0].chains["c"]
    assert (chain.hook, chain.devices, chain.priority) == ("ingress", devices, -500)


# -- looking up text that is not parsed -------------------------------------------------------------------------------------------


def _index(elements: str, types: str = "ipv4_addr . inet_proto . inet_service", kind: str = "map") -> SetIndex:
    value = " : verdict" if kind == "map" else ""
    text = f"table ip t {{\n\t{kind} m {{\n\t\ttype {types}{value}\n\t\telements = {{ {elements} }}\n\t}}\n}}\n"
    found = cut_listing(text, "f").tables[0].sets["m"]
    assert isinstance(found.elements, SetText)
    return SetIndex.of(found.elements)


def test_an_element_is_found_by_its_spelling_alone() -> None:
    index = _index('10.0.0.1 . tcp . 80 : goto a,\n\t\t\t     10.0.0.2 . udp . 53 comment "x, y" : drop')
    assert not index.exact
    key: tuple[Value, ...] = (IPv4Address("10.0.0.2"), 17, 53)
    found = index.find(key)
    assert isinstance(found, n.Element)
    assert (found.value, found.comment) == (n.VerdictValue("drop"), "x, y")
    assert index.find((IPv4Address("10.0.0.2"), 6, 53)) is None


@pytest.mark.parametrize(
    ("types", "elements", "key", "hit"),
    [
        ("inet_proto . inet_service", "6 . 80 : accept", (6, 80), True),  # nft -n
        ("inet_proto . inet_service", "tcp . http : accept", (6, 80), True),  # nft -S
        ("ipv6_addr", "FD00::1 : accept", (ip_address("fd00::1"),), True),
        ("ipv6_addr", "fd00:0::1 : accept", (ip_address("fd00::1"),), True),
        ("ipv6_addr", "::ffff:10.0.0.1 : accept", (ip_address("::ffff:10.0.0.1"),), True),
        ("ipv4_addr", "10.0.0.0/8 : accept, 192.0.2.1-192.0.2.3 : drop", (IPv4Address("192.0.2.2"),), True),
        ("ipv4_addr", "10.0.0.1 : accept, * : drop", (IPv4Address("192.0.2.2"),), True),
        ("mark", "0x00000001 : accept", (1,), True),
        ("mark", "1 : accept", (1,), True),
        ("ifname", '"eth0" : accept, "cali*" : drop', ("cali123",), True),
        ("ifname", '"eth0" : accept, "cali*" : drop', ("eth1",), False),
        ("ipv4_addr", "10.0.0.1 : accept", (IPv4Address("10.0.0.2"),), False),
    ],
)
def test_other_spellings_are_found_too(types: str, elements: str, key: tuple[Value, ...], hit: bool) -> None:
    assert (_index(elements, types).find(key) is not None) is hit


def test_an_element_that_cannot_be_read_is_unknown_when_it_is_asked_for() -> None:
    index = _index("10.0.0.1 . tcp . 80 : goto a, 10.0.0.2 . tcp . 80 : goto, 10.0.0.3 . tcp . 80 : drop")
    assert isinstance(index.find((IPv4Address("10.0.0.2"), 6, 80)), UnknownAnswer)
    assert isinstance(index.find((IPv4Address("10.0.0.3"), 6, 80)), n.Element)


def test_indexed_text_is_the_parsed_set() -> None:
    """Whatever is looked up, text that is not parsed answers as the elements do."""
    drawn = random.Random(5)
    keys = [(IPv4Address(f"10.0.{a}.{b}"), p, q) for a in range(2) for b in range(4) for p in (6, 17) for q in (53, 80)]
    names = {6: "tcp", 17: "udp"}
    chosen = drawn.sample(keys, 12)
    spelled = [f"{a} . {names[p] if drawn.random() < 0.7 else p} . {q} : goto x{q}" for a, p, q in chosen]
    index = _index(", ".join(spelled))
    plain = SetIndex.of(list(_index(", ".join(spelled)).source or ()))
    for key in keys:
        assert index.find(key) == plain.find(key)


# -- scripts ----------------------------------------------------------------------------------------------------------------------


def test_commands_make_the_same_model_as_a_listing() -> None:
    script = """
add table inet t { comment "a table" ; }
add chain inet t user { comment "of users" ; }
add chain inet t input { type filter hook input priority filter + 10 ; policy drop ; }
add map inet t wide { type ipv4_addr : verdict ; flags interval ; }
add element inet t wide { 10.0.0.0/8 : jump user }
add element inet t wide { 203.0.113.7 comment "x" : accept }
add rule inet t user tcp dport 80 counter accept comment "web"
insert rule inet t user return
"""
    found = parse_text(script, "f")
    assert not found.check()
    table = found.tables[0]
    assert [rule.text for rule in table.chains["user"].rules] == ["return", 'tcp dport 80 counter accept comment "web"']
    assert (table.chains["input"].priority, table.chains["input"].policy) == (10, "drop")
    assert [element.comment for element in table.sets["wide"].elements] == [None, "x"]


def test_the_usual_way_to_replace_a_table() -> None:
    script = "table ip t { chain a { drop; } }\ntable ip t\ndelete table ip t\ntable ip t {\n  chain b {\n    accept\n  }\n}\n"
    found = parse_text("flush ruleset\n" + script.split("\n", 1)[1], "f")
    assert not found.check()
    assert list(found.tables[0].chains) == ["b"]


INCOMPLETE = [
    ('include "/etc/nftables.d/*.nft"', "not a table"),
    ("define x = 5", "not a table"),
    ("delete rule ip t c handle 5", "takes away"),
    ("table ip t {\n\tsomething odd\n}", "not a part"),
    (LISTING[: LISTING.index("\tchain empty")], "cut off"),
    (LISTING[:100], "cut off"),
    ("add rule ip t c position 3 drop", "position"),
    ("\x00\x01", "not a table"),
]


@pytest.mark.parametrize(("text", "said"), INCOMPLETE)
def test_what_may_hide_chains_is_said(text: str, said: str) -> None:
    found = parse_text(text + "\n", "f")
    assert found.incomplete is not None
    assert any(said in f.message for f in found.faults)


def test_a_chain_that_is_cut_off_ends_in_a_fault() -> None:
    found = parse_text(LISTING[: LISTING.index("return") + 3], "f")
    assert found.tables[0].chains["user"].rules[-1].fault is not None


def test_a_bad_rule_stays_where_it_stood() -> None:
    text = LISTING.replace("\t\treturn\n", "\t\tteleport to mars\n")
    found = cut_listing(text, "f")
    assert found.incomplete is None
    first, second = found.tables[0].chains["user"].rules
    assert first.fault is None
    assert (second.text, second.line, second.statements) == ("teleport to mars", 23, ())
    (fault,) = found.faults
    assert (fault.line, fault.column, fault.file) == (23, 0, "f")


def test_a_bad_set_is_unread_and_says_its_line() -> None:
    found = cut_listing(LISTING.replace("203.0.113.7 : accept", "203.0.113.7 : : accept"), "f")
    wide = found.tables[0].sets["wide"]
    assert len(wide.elements) == 0
    assert wide.unread
    assert [f.line for f in found.faults] == [17]


def test_a_rule_of_iptables_whose_target_nft_does_not_print_is_unknown() -> None:
    text = "table ip6 nat {\n\tchain POSTROUTING {\n\t\tcounter packets 0 bytes 0 \n\t}\n}\n"
    for found in (cut_listing(text, "f"), _read_in_full(text)):
        (rule,) = found.tables[0].chains["POSTROUTING"].rules
        assert isinstance(rule.statements[-1], n.UnmodelledStatement)


# -- JSON -------------------------------------------------------------------------------------------------------------------------

_TABLE = {"table": {"family": "ip", "name": "t", "handle": 1}}
_CHAIN = {"chain": {"family": "ip", "table": "t", "name": "c", "handle": 2}}


def _json(*items: object) -> n.NftRuleset:
    return parse_json(json.dumps({"nftables": [_TABLE, _CHAIN, *items]}), "f")


def _rule(*expressions: object) -> dict[str, object]:
    return {"rule": {"family": "ip", "table": "t", "chain": "c", "handle": 9, "expr": list(expressions)}}


def test_json_rules_are_read_when_asked() -> None:
    found = _json(_rule({"accept": None}), _rule({"match": {"op": "==", "left": 5}}))
    chain = found.tables[0].chains["c"]
    assert isinstance(chain.rules, Deferred)
    assert not chain.rules.was_read
    first, second = chain.rules
    assert (first.text, first.line, first.handle) == ("accept", None, 9)
    assert second.fault is not None
    assert len(found.faults) == 1


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"nftables": 5}', "null", "[" * 100_000, "\x00", '{"nftables": {}}'])
def test_json_that_is_no_listing_is_refused(text: str) -> None:
    with pytest.raises(TracerError):
        parse_json(text, "f")


def test_typeof_is_said_alike() -> None:
    listing = (
        "table ip t {\n\tmap m {\n\t\ttypeof ip saddr . tcp dport : meta mark\n\t\telements = { 10.0.0.1 . 80 : 0x00000001 }\n\t}\n}\n"
    )
    payload = [{"payload": {"protocol": "ip", "field": "saddr"}}, {"payload": {"protocol": "tcp", "field": "dport"}}]
    entry = {
        "family": "ip",
        "table": "t",
        "name": "m",
        "type": {"typeof": {"concat": payload}},
        "map": {"typeof": {"meta": {"key": "mark"}}},
    }
    entry["elem"] = [[{"concat": ["10.0.0.1", 80]}, 1]]
    text, from_json = parse_text(listing, "f"), _json({"map": entry})
    assert text.tables[0].sets == from_json.tables[0].sets
    assert SetIndex.of(text.tables[0].sets["m"].elements).find((IPv4Address("10.0.0.1"), 80)) is not None
    assert not text.check()


@pytest.mark.parametrize("family", ["p", "ipp", "Ip", "ip4"])
def test_a_family_that_is_none_makes_the_rule_set_incomplete(family: str) -> None:
    found = parse_text(f"table {family} t {{\n\tchain c {{\n\t}}\n}}\ntable ip u {{\n}}\n", "f")
    assert found.incomplete is not None
    assert (found.incomplete.line, family in found.incomplete.message) == (1, True)


def test_an_unknown_entry_makes_the_rule_set_incomplete() -> None:
    assert _json({"wormhole": {}}).incomplete is not None
    assert _json({"counter": {"family": "ip", "table": "t", "name": "x"}}).incomplete is None


# -- whatever stands there --------------------------------------------------------------------------------------------------------


def _mutated(text: str, drawn: random.Random) -> str:
    for _ in range(drawn.randint(1, 6)):
        at = drawn.randrange(len(text))
        size = drawn.choice((0, 1, 1, 3, 30))
        put = drawn.choice(("", "", "{", "}", '"', ",", ":", "\n", "\t", "@", "map", "vmap {", "0x", "\x00", "é", text[at : at + 40]))
        text = text[:at] + put + text[at + size :]
    return text


def _lookups(found: n.NftRuleset) -> None:
    for table in found.tables:
        for each in table.sets.values():
            SetIndex.of(each.elements).find((IPv4Address("10.0.0.1"), 6, 80))
    found.check()


@pytest.mark.parametrize("seed", range(300))
def test_mutated_text_never_raises(seed: int) -> None:
    drawn = random.Random(seed)
    rules = "\n".join(f"\t\t{rule}" for rule in drawn.sample(_some_rules(), 12))
    text = LISTING.replace("\t\treturn", rules)
    _lookups(parse_text(_mutated(text, drawn), "f"))
    _lookups(parse_text(text[: drawn.randrange(len(text))], "f"))


@pytest.mark.needs_shared
@pytest.mark.parametrize("seed", range(60))
def test_mutated_json_raises_only_tracer_errors(seed: int) -> None:
    drawn = random.Random(seed)
    path = next(iter(SHARED.glob("recordings/shop-nftables/nodes/shop-worker/nft-ruleset.json")))
    listing = json.loads(path.read_text())
    listing["nftables"] = drawn.sample(listing["nftables"], 60)
    text = json.dumps(listing)
    with suppress(TracerError):
        _lookups(parse_json(_mutated(text, drawn), "f"))
    for entry in listing["nftables"]:
        _scramble(entry, drawn)
    _lookups(parse_json(json.dumps(listing), "f"))


def _scramble(value: object, drawn: random.Random) -> None:
    """Put values of other types into a tree of JSON."""
    if isinstance(value, dict):
        for key in list(value):
            if drawn.random() < 0.05:
                value[key] = drawn.choice((None, 5, "x", [], {}, [[]], {"a": "b"}, True, 1.5))
            else:
                _scramble(value[key], drawn)
    elif isinstance(value, list):
        for at in range(len(value)):
            if drawn.random() < 0.03:
                value[at] = drawn.choice((None, 5, "x", [], {}, True))
            else:
                _scramble(value[at], drawn)


def _some_rules() -> list[str]:
    from tests.tracer.netfilter.test_nft_statements import KUBE_PROXY, OTHERS

    return [line for line in (KUBE_PROXY + OTHERS).strip().splitlines() if line]


@pytest.mark.parametrize(
    ("rule", "known"),
    [
        ("meta l4proto tcp ip daddr 10.96.0.1 # addrtype counter packets 1 bytes 60 jump X", False),
        ("# recent counter packets 3 bytes 4 jump X", False),
        ("ip daddr 10.96.0.1 counter packets 1 bytes 60 drop # handle 9", True),
        ("ip daddr 10.96.0.1 drop # a remark of whoever wrote it", True),
    ],
)
def test_what_nft_prints_as_a_comment_is_not_left_out_of_a_rule(rule: str, known: bool) -> None:
    """Of rules of iptables that it does not understand nft up to 1.0 prints the match behind a ``#``, and the verdict behind that."""
    ruleset = parse_text(f"table ip nat {{\n\tchain c {{\n\t\t{rule}\n\t}}\n}}\n", "f")
    (found,) = ruleset.tables[0].chains["c"].rules
    assert (found.fault is None) is known

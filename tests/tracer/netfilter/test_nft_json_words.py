"""What both forms of a listing say of firewalld's, Docker's and kindnet's rules: rows are what nft 1.0.6 prints, as text and as JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tracer.netfilter import nft_model as n
from tracer.netfilter.model import Hook
from tracer.netfilter.nft_json import parse_json
from tracer.netfilter.nft_print import to_text
from tracer.netfilter.nft_rules import NftRules
from tracer.netfilter.nft_text import parse_text
from tracer.packet import Family

SADDR = {"payload": {"protocol": "ip", "field": "saddr"}}
METER = {"key": SADDR, "stmt": {"limit": {"rate": 3, "burst": 5, "per": "second"}}, "size": 65535, "name": "f1"}
ROWS: list[tuple[str, list[Any]]] = [
    ('log prefix "FINAL_REJECT: " level info', [{"log": {"prefix": "FINAL_REJECT: ", "level": "info"}}]),
    ('ct helper set "ftp-tcp"', [{"ct helper": "ftp-tcp"}]),
    ('quota name "q1" drop', [{"quota": "q1"}, {"drop": None}]),
    ('limit name "l1" accept', [{"limit": "l1"}, {"accept": None}]),
    ("synproxy mss 1460 wscale 7 timestamp sack-perm", [{"synproxy": {"mss": 1460, "wscale": 7, "flags": ["timestamp", "sack-perm"]}}]),
    ('dup to 1.2.3.4 device "eth0"', [{"dup": {"addr": "1.2.3.4", "dev": "eth0"}}]),
    ("queue flags bypass to 100-103", [{"queue": {"num": {"range": [100, 103]}, "flags": "bypass"}}]),
    ("tproxy to 127.0.0.1:50080", [{"tproxy": {"addr": "127.0.0.1", "port": 50080}}]),
    (
        "add @s { ip saddr limit rate 10/minute burst 3 packets } accept",
        [
            {"set": {"op": "add", "elem": SADDR, "set": "@s", "stmt": [{"limit": {"rate": 10, "burst": 3, "per": "minute"}}]}},
            {"accept": None},
        ],
    ),
    ("meter f1 size 65535 { ip saddr limit rate 3/second } drop", [{"meter": METER}, {"drop": None}]),
    ("add @m { ip saddr : 1.2.3.4 }", ["add @m { ip saddr : 1.2.3.4 }"]),  # nft has no JSON for this
    (
        'meta time >= "2024-01-01 00:00:00" accept',
        [{"match": {"op": ">=", "left": {"meta": {"key": "time"}}, "right": "2024-01-01 00:00:00"}}, {"accept": None}],
    ),
    (
        'meta hour "08:00"-"17:00" accept',
        [{"match": {"op": "==", "left": {"meta": {"key": "hour"}}, "right": {"range": ["08:00", "17:00"]}}}, {"accept": None}],
    ),
    (
        'meta day { "Sunday", "Monday" } accept',
        [{"match": {"op": "==", "left": {"meta": {"key": "day"}}, "right": {"set": ["Sunday", "Monday"]}}}, {"accept": None}],
    ),
    (
        "socket mark 0x00000001 accept",
        [{"match": {"op": "==", "left": {"socket": {"key": "mark"}}, "right": 1}}, {"accept": None}],
    ),
    (
        'iifname vmap { "docker0" : jump x, "eth*" : accept }',
        [
            {
                "vmap": {
                    "key": {"meta": {"key": "iifname"}},
                    "data": {"set": [["docker0", {"jump": {"target": "x"}}], ["eth*", {"accept": None}]]},
                }
            }
        ],
    ),
    (
        "tcp flags ! fin,syn drop",
        [{"match": {"op": "!", "left": {"payload": {"protocol": "tcp", "field": "flags"}}, "right": ["fin", "syn"]}}, {"drop": None}],
    ),
    (
        "fib saddr . mark . iif oif 0 drop",
        [{"match": {"op": "==", "left": {"fib": {"result": "oif", "flags": ["saddr", "mark", "iif"]}}, "right": "0"}}, {"drop": None}],
    ),
    (
        'fib daddr oifname "eth0" accept',
        [{"match": {"op": "==", "left": {"fib": {"result": "oifname", "flags": "daddr"}}, "right": "eth0"}}, {"accept": None}],
    ),
    (
        "@nh,160,16 0x50 drop",
        [{"match": {"op": "==", "left": {"payload": {"base": "nh", "offset": 160, "len": 16}}, "right": 80}}, {"drop": None}],
    ),
    (
        "snat ip prefix to ip saddr map { 10.1.1.0/24 : 192.168.2.0/24 }",
        [
            {
                "snat": {
                    "family": "ip",
                    "addr": {
                        "map": {
                            "key": SADDR,
                            "data": {
                                "set": [[{"prefix": {"addr": "10.1.1.0", "len": 24}}, {"prefix": {"addr": "192.168.2.0", "len": 24}}]]
                            },
                        }
                    },
                    "flags": "netmap",
                    "type_flags": "prefix",
                }
            }
        ],
    ),
    (
        'iifname . ip saddr { "eth0" . 10.0.0.1 } drop',
        [
            {
                "match": {
                    "op": "==",
                    "left": {"concat": [{"meta": {"key": "iifname"}}, SADDR]},
                    "right": {"set": [{"concat": ["eth0", "10.0.0.1"]}]},
                }
            },
            {"drop": None},
        ],
    ),
]


def listing(expressions: list[Any]) -> str:
    items: list[Any] = [{"table": {"family": "ip", "name": "t", "handle": 1}}, {"chain": {"family": "ip", "table": "t", "name": "c"}}]
    return json.dumps({"nftables": [*items, {"rule": {"family": "ip", "table": "t", "chain": "c", "handle": 2, "expr": expressions}}]})


@pytest.mark.parametrize(("text", "expressions"), ROWS)
def test_both_forms_are_one_rule(text: str, expressions: list[Any]) -> None:
    plain, read = parse_text(f"table ip t {{\n\tchain c {{\n\t\t{text}\n\t}}\n}}\n", "f"), parse_json(listing(expressions), "f")
    assert (plain.check(), read.check()) == ((), ())
    assert read.tables == plain.tables
    assert [r.text for r in read.tables[0].chains["c"].rules] == [text]


def test_a_set_with_a_limit_inside_is_no_mere_update() -> None:
    """It stops the rule where the limit is reached: neither form may take it for certain."""
    for expressions in (row[1] for row in ROWS if row[0].startswith(("add @s", "meter"))):
        (rule,) = parse_json(listing(expressions), "f").tables[0].chains["c"].rules
        assert isinstance(rule.statements[0], n.UnmodelledMatch)


SETS = """table ip t {
\tset a {
\t\ttypeof ip saddr . tcp dport
\t\tsize 65535
\t\tflags dynamic,timeout
\t\tcounter
\t\ttimeout 1h
\t}

\tset b {
\t\ttype ipv4_addr
\t\tflags interval
\t\tauto-merge
\t\telements = { 10.1.0.0/16, 10.244.0.0/16 }
\t}

\tmap m {
\t\ttypeof ip saddr : ct mark
\t\tflags interval
\t\telements = { 1.2.3.0/24 : 0x00000001 }
\t}
}
"""
PREFIX = {"prefix": {"addr": "10.1.0.0", "len": 16}}
SETS_JSON = [
    {"table": {"family": "ip", "name": "t", "handle": 1}},
    {
        "set": {
            "family": "ip", "name": "a", "table": "t", "type": ["ipv4_addr", "inet_service"], "handle": 2, "size": 65535,
            "flags": ["timeout", "dynamic"], "timeout": 3600, "stmt": [{"counter": None}],
        }
    },
    {
        "set": {
            "family": "ip", "name": "b", "table": "t", "type": "ipv4_addr", "handle": 3, "flags": ["interval"],
            "elem": [PREFIX, {"prefix": {"addr": "10.244.0.0", "len": 16}}],
        }
    },
    {
        "map": {
            "family": "ip", "name": "m", "table": "t", "type": {"typeof": SADDR}, "map": "mark", "handle": 4, "flags": ["interval"],
            "elem": [[{"prefix": {"addr": "1.2.3.0", "len": 24}}, 1]],
        }
    },
]  # fmt: skip


def test_typeof_names_types_and_is_printed_as_it_was() -> None:
    plain = parse_text(SETS, "f")
    sets = plain.tables[0].sets
    assert (plain.check(), sets["a"].key_types, sets["m"].value_type) == ((), ("ipv4_addr", "inet_service"), "mark")
    read = parse_json(json.dumps({"nftables": SETS_JSON}), "f").tables[0].sets
    assert {name: (s.key_types, s.value_type, tuple(s.elements)) for name, s in read.items()} == {
        name: (s.key_types, s.value_type, tuple(s.elements)) for name, s in sets.items()
    }
    assert "\ttypeof ip saddr . tcp dport\n" in to_text(plain)
    assert "\ttypeof ip saddr : ct mark\n" in to_text(plain)


@pytest.mark.parametrize("devices", [' device "eth0"', ""])
def test_a_device_chain_whose_device_is_not_listed_is_not_asked_of_every_packet(devices: str) -> None:
    text = f"table netdev d {{\n\tchain c {{\n\t\ttype filter hook ingress{devices} priority filter; policy accept;\n\t\tdrop\n\t}}\n}}\n"
    ((_, chain),) = NftRules(parse_text(text, "f")).chains(Hook.PREROUTING, Family.IP, ())
    fault = next(iter(chain.chain.rules)).fault
    assert (fault == "the listing does not say which devices it is for") is (devices == "")

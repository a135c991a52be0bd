"""What a facet takes for another value, and what it does not: a row for each side of each facet."""

from __future__ import annotations

import re
from ipaddress import ip_address

import pytest

from tracer.errors import ParseError
from tracer.explain.dependencies import facets
from tracer.explain.dependencies.facets import (
    ChainCount,
    ChainPresence,
    Facet,
    Judgement,
    Members,
    Mention,
    NftPart,
    NftTables,
    Presence,
    Reading,
    Rules,
    Served,
    ServerCount,
    Tables,
    Whole,
    differs,
    once,
)
from tracer.netfilter.dump import Dump
from tracer.packet import Packet, Protocol

DUMP = (
    "*nat\n:PREROUTING ACCEPT [1:2]\n:A - [0:0]\n:B - [0:0]\n-A A -d 10.0.0.1/32 -j B\n-A A -d 10.0.0.2/32 -j B\n-A B -j RETURN\nCOMMIT\n"
)
NFT = "table ip a {\n\tset s {\n\t\ttype ipv4_addr\n\t\telements = { 10.0.0.1 }\n\t}\n\tchain c {\n\t\tip saddr @s drop\n\t}\n\tchain base {\n\t\ttype filter hook input priority 0; policy accept;\n\t}\n}\n"
SERVERS = "-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 10.1.0.1:80 -m -w 1\n-A -t 10.0.0.2:80 -s rr\n"
SETS = "create S hash:ip family inet hashsize 64 maxelem 9\nadd S 10.0.0.1\ncreate T hash:ip family inet hashsize 64 maxelem 9\n"


def to(address: str, port: int = 80) -> Packet:
    source = ip_address("10.9.0.1")
    return Packet(protocol=Protocol.TCP, source=source, destination=ip_address(address), source_port=40000, destination_port=port)


def has_return(dump: Dump) -> bool:
    return any("RETURN" in line for line in dump.lines)


ROWS: list[tuple[Facet, str, str, str, str, bool]] = [
    (Whole(), "x.txt", "a\n", "a\n", "a\n", False),
    (Whole(), "x.txt", "a\n", "a", "b", True),
    (Presence(), "x.txt", "a\n", "a", "b", False),
    (Mention(re.compile("a+")), "x.txt", "a\n", "a", "b", True),
    (Mention(re.compile("a+")), "x.txt", "a\n", "a", "c aa", False),
    # A dump's tables: which there are, whether one is cut off; never their rules.
    (Tables(), "iptables-save.txt", DUMP, "-A B -j RETURN\n", "", False),
    (Tables(), "iptables-save.txt", DUMP, "*nat", "*mangle", True),
    (Tables(), "iptables-save.txt", DUMP, "COMMIT\n", "", True),
    (Tables(), "iptables-save.txt", DUMP, "*nat", "# Warning: iptables-legacy tables present, use iptables-legacy to see them\n*nat", True),
    (Tables(), "iptables-save.txt", DUMP, "*nat", "# Table `filter' is incompatible, use 'nft' tool.\n*nat", True),
    # A chain's rules: all of them, or those for a packet; never their counters.
    (Rules("nat", "A"), "iptables-save.txt", DUMP, "10.0.0.2/32", "10.0.0.3/32", True),
    (Rules("nat", "A"), "iptables-save.txt", DUMP, "-A B -j RETURN", "-A B -j ACCEPT", False),
    (Rules("nat", "A"), "iptables-save.txt", DUMP, "-A A -d 10.0.0.1", "[5:60] -A A -d 10.0.0.1", False),
    (Rules("nat", "A", to("10.0.0.1")), "iptables-save.txt", DUMP, "10.0.0.2/32", "10.0.0.3/32", False),
    (Rules("nat", "A", to("10.0.0.1")), "iptables-save.txt", DUMP, "10.0.0.1/32", "10.0.0.3/32", True),
    (Rules("nat", "A", to("10.0.0.1")), "iptables-save.txt", DUMP, "10.0.0.2/32", "10.0.0.1/32", True),
    (Rules("nat", "PREROUTING"), "iptables-save.txt", DUMP, "PREROUTING ACCEPT", "PREROUTING DROP", True),
    (Rules("nat", "PREROUTING"), "iptables-save.txt", DUMP, "[1:2]", "[3:4]", False),
    (Rules("nat", "Z"), "iptables-save.txt", DUMP, "10.0.0.2/32", "10.0.0.3/32", False),
    (Rules("nat", "Z"), "iptables-save.txt", DUMP, ":A -", ":Z - [0:0]\n:A -", True),
    (Rules("raw", "A"), "iptables-save.txt", DUMP, "*nat", "*raw", True),
    (ChainPresence("nat", "B"), "iptables-save.txt", DUMP, "-A B -j RETURN\n", "", False),
    (ChainPresence("nat", "Z"), "iptables-save.txt", DUMP, ":A -", ":Z - [0:0]\n:A -", True),
    (ChainPresence("nat", "PREROUTING"), "iptables-save.txt", DUMP, "PREROUTING ACCEPT", "PREROUTING DROP", True),
    (ChainPresence("nat", "B"), "iptables-save.txt", DUMP, "*nat", "*raw", True),
    (ChainCount("nat", "B"), "iptables-save.txt", DUMP, "-A B -j RETURN\n", "", True),
    (ChainCount("nat", "B"), "iptables-save.txt", DUMP, "10.0.0.2/32", "10.0.0.3/32", False),
    (Judgement(has_return), "iptables-save.txt", DUMP, "-A B -j RETURN\n", "", True),
    (Judgement(has_return), "iptables-save.txt", DUMP, "10.0.0.2/32", "10.0.0.3/32", False),
    # nft: tables with their base chains; another chain, a set: only who asked for it.
    (NftTables(), "nft-ruleset.txt", NFT, "ip saddr @s drop", "ip saddr @s accept", False),
    (NftTables(), "nft-ruleset.txt", NFT, "policy accept", "policy drop", True),
    (NftTables(), "nft-ruleset.txt", NFT, "table ip a", "table ip6 a", True),
    (NftTables(), "nft-ruleset.txt", NFT, "table ip a", "table ip b {\n}\ntable ip a", True),
    (NftPart("ip", "a", "chain", "c"), "nft-ruleset.txt", NFT, "@s drop", "@s accept", True),
    (NftPart("ip", "a", "chain", "c"), "nft-ruleset.txt", NFT, "10.0.0.1", "10.0.0.2", False),
    (NftPart("ip", "a", "chain", "c"), "nft-ruleset.txt", NFT, "table ip a", "table ip6 a", True),
    (NftPart("ip", "a", "chain", "s"), "nft-ruleset.txt", NFT, "10.0.0.1", "10.0.0.2", False),
    (NftPart("ip", "a", "set", "s"), "nft-ruleset.txt", NFT, "10.0.0.1", "10.0.0.2", True),
    (NftPart("ip", "a", "set", "s"), "nft-ruleset.txt", NFT, "@s drop", "@s accept", False),
    (NftPart("ip", "a", "set", "c"), "nft-ruleset.txt", NFT, "@s drop", "@s accept", False),
    (NftPart("ip", "b", "set", "s"), "nft-ruleset.txt", NFT, "10.0.0.1", "10.0.0.2", False),
    # IPVS: the server that takes the packet, wherever it stands; how many there are.
    (Served(to("10.0.0.1")), "ipvsadm-save.txt", SERVERS, "-w 1", "-w 2", True),
    (Served(to("10.0.0.2")), "ipvsadm-save.txt", SERVERS, "-w 1", "-w 2", False),
    (Served(to("10.0.0.1")), "ipvsadm-save.txt", SERVERS, "-A -t 10.0.0.1", "-A -t 10.0.0.9:80 -s rr\n-A -t 10.0.0.1", False),
    (Served(to("10.0.0.9")), "ipvsadm-save.txt", SERVERS, "-A -t 10.0.0.1", "-A -t 10.0.0.9:80 -s rr\n-A -t 10.0.0.1", True),
    (ServerCount(), "ipvsadm-save.txt", SERVERS, "-w 1", "-w 2", False),
    (ServerCount(), "ipvsadm-save.txt", SERVERS, "-A -t 10.0.0.2:80 -s rr\n", "", True),
    (ServerCount(), "ipvsadm-save.txt", SERVERS, "-A -t 10.0.0.2:80 -s rr", "-A -t 10.0.0.x:80 -s rr", True),
    (Members("S"), "ipset-save.txt", SETS, "add S 10.0.0.1", "add S 10.0.0.2", True),
    (Members("S"), "ipset-save.txt", SETS, "add S", "add T", True),
    (Members("T"), "ipset-save.txt", SETS, "add S 10.0.0.1", "add S 10.0.0.2", False),
    (Members("T"), "ipset-save.txt", SETS, "create T hash:ip family inet ", "create T hash:ip family inet6 ", True),
    (Members("Z"), "ipset-save.txt", SETS, "create T ", "create Z ", True),
]


@pytest.mark.parametrize(
    ("facet", "name", "text", "old", "new", "expected"), ROWS, ids=lambda v: str(v)[:40] if not isinstance(v, bytes) else ""
)
def test_which_changes_are_another_value(facet: Facet, name: str, text: str, old: str, new: str, expected: bool) -> None:
    assert old in text
    assert differs(facet, text.encode(), text.replace(old, new, 1).encode(), name) is expected
    assert not differs(facet, text.encode(), bytes(text.encode()), name)


ABSENT = {name: facet for facet, name, *_ in ROWS for name in (f"{type(facet).__name__} {name}",)}


@pytest.mark.parametrize("label", ABSENT)
def test_a_file_that_comes_or_goes(label: str) -> None:
    facet, name = ABSENT[label], label.split()[-1]
    texts = {n: t for _, n, t, *_ in ROWS if n == name}
    content = texts[name].encode()
    expected = label.split()[0] not in ("Mention", "Rules", "ChainPresence", "NftPart", "Served", "Members") or facet.of(
        content, name
    ) not in (None, False)
    assert differs(facet, None, content, name) is expected
    assert differs(facet, content, None, name) is expected
    assert not differs(facet, None, None, name)


def test_every_reading_is_another() -> None:
    assert differs(Reading(), b"a", b"a", "x.txt")


def test_what_cannot_be_read_counts_as_another() -> None:
    def broken(dump: Dump) -> bool:
        raise ParseError

    assert differs(Judgement(broken), DUMP.encode(), DUMP.encode(), "iptables-save.txt")


def test_a_content_is_parsed_once_while_it_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its identity, apart for each use and name; the oldest goes when there are too many, or they are too large."""
    parsed: list[str] = []

    def parse(text: str) -> str:
        parsed.append(text)
        return text

    monkeypatch.setattr(facets, "_parsed", type(facets._parsed)())
    contents = [f"content {number}".encode() for number in range(20)]
    assert once("a", contents[0], "x.txt", parse) is once("a", contents[0], "x.txt", parse)
    once("b", contents[0], "x.txt", parse)
    once("a", contents[0], "y.txt", parse)
    assert parsed == ["content 0"] * 3
    for content in contents[1:]:
        once("a", content, "x.txt", parse)
    assert len(facets._parsed) == facets._PARSED_KEPT
    once("a", contents[-1], "x.txt", parse)
    assert parsed.count("content 19") == 1
    once("a", contents[0], "x.txt", parse)
    assert parsed.count("content 0") == 4
    monkeypatch.setattr(facets, "_BYTES_KEPT", 30)
    for content in contents:
        once("c", content, "x.txt", parse)
    assert 2 <= len(facets._parsed) <= 3

"""ipset save: every type, nomatch, sets of sets, and what cannot be read."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.netfilter.ipset_save import KNOWN_TYPES, Key, contains, parse_sets

K4 = Key(
    source=ip_address("10.0.0.9"),
    destination=ip_address("10.96.0.1"),
    protocol=6,
    source_port=None,
    destination_port=80,
    in_device="eth0",
    out_device=None,
    mark=0x10,
)
K6 = Key(
    source=ip_address("fd00::9"),
    destination=ip_address("fd00:96::1"),
    protocol=17,
    source_port=4000,
    destination_port=53,
    in_device="eth0",
    out_device="eth1",
    mark=0,
)
CASES = [
    # type, family, entry, directions, key, answer
    ("hash:ip", "inet", "10.0.0.9", "src", K4, True),
    ("hash:ip", "inet", "10.0.0.8", "src", K4, False),
    ("hash:ip", "inet", "10.96.0.1", "dst", K4, True),
    ("hash:ip", "inet6", "fd00::9", "src", K6, True),
    ("hash:ip", "inet", "10.0.0.9", "src", K6, False),
    ("hash:ip", "inet", "10.0.0.0/24", "src", K4, True),
    ("bitmap:ip", "inet", "10.0.0.1-10.0.0.20", "src", K4, True),
    ("bitmap:ip,mac", "inet", "10.0.0.9,00:11:22:33:44:55", "src,src", K4, None),
    ("bitmap:ip,mac", "inet", "10.0.0.8,00:11:22:33:44:55", "src,src", K4, False),
    ("hash:ip,mac", "inet", "10.0.0.9,00:11:22:33:44:55", "src,src", K4, None),
    ("bitmap:port", "inet", "80", "dst", K4, True),
    # A port nobody said is an ephemeral one.
    ("bitmap:port", "inet", "80", "src", K4, False),
    ("bitmap:port", "inet", "40000", "src", K4, None),
    ("bitmap:port", "inet", "81-90", "dst", K4, False),
    ("hash:mac", "inet", "00:11:22:33:44:55", "src", K4, None),
    ("hash:net", "inet", "10.96.0.0/12", "dst", K4, True),
    ("hash:net", "inet6", "fd00:96::/112", "dst", K6, True),
    ("hash:net,net", "inet", "10.0.0.0/8,10.96.0.0/16", "src,dst", K4, True),
    ("hash:net,net", "inet", "10.0.0.0/8,10.97.0.0/16", "src,dst", K4, False),
    ("hash:ip,port", "inet", "10.96.0.1,tcp:80", "dst,dst", K4, True),
    ("hash:ip,port", "inet", "10.96.0.1,udp:80", "dst,dst", K4, False),
    ("hash:ip,port", "inet6", "fd00:96::1,udp:53", "dst,dst", K6, True),
    ("hash:ip,port", "inet", "10.0.0.9,tcp:40000", "src,src", K4, None),
    ("hash:ip,port,ip", "inet", "10.96.0.1,tcp:80,10.0.0.9", "dst,dst,src", K4, True),
    ("hash:ip,port,net", "inet", "10.96.0.1,tcp:80,10.0.0.0/8", "dst,dst,src", K4, True),
    ("hash:ip,port,net", "inet", "10.96.0.1,tcp:80,11.0.0.0/8", "dst,dst,src", K4, False),
    ("hash:net,port", "inet", "10.96.0.0/16,tcp:0-100", "dst,dst", K4, True),
    ("hash:net,port,net", "inet", "10.0.0.0/8,tcp:80,10.96.0.0/16", "src,dst,dst", K4, True),
    ("hash:ip,mark", "inet", "10.0.0.9,0x00000010", "src,src", K4, True),
    ("hash:ip,mark", "inet", "10.0.0.9,0x00000011", "src,src", K4, False),
    ("hash:net,iface", "inet", "10.0.0.0/8,eth0", "src,src", K4, True),
    ("hash:net,iface", "inet", "10.0.0.0/8,eth1", "src,src", K4, False),
    ("hash:net,iface", "inet", "10.0.0.0/8,physdev:eth0", "src,src", K4, None),
    ("hash:strange", "inet", "x", "src", K4, None),
]


@pytest.mark.parametrize(("kind", "family", "entry", "sides", "key", "expected"), CASES)
def test_entry(kind: str, family: str, entry: str, sides: str, key: Key, expected: bool | None) -> None:
    sets, _ = parse_sets(f"create S {kind} family {family} hashsize 1024 maxelem 65536\nadd S {entry} timeout 0\n", "f")
    assert contains(sets["S"], key, tuple(sides.split(",")), sets) is expected


def test_every_known_type_is_in_the_table() -> None:
    assert {kind for kind, *_ in CASES} >= KNOWN_TYPES - {"list:set"}


NETWORKS = [
    # entries, answer: of overlapping networks the most specific decides
    (["10.0.0.0/8", "10.0.0.0/24 nomatch"], False),
    (["10.0.0.0/8 nomatch", "10.0.0.0/24"], True),
    (["10.0.0.0/24", "10.0.0.9/32 nomatch"], False),
    (["10.0.0.0/8", "10.1.0.0/16 nomatch"], True),
    ([], False),
]


@pytest.mark.parametrize(("entries", "expected"), NETWORKS)
def test_nomatch(entries: list[str], expected: bool) -> None:
    text = "create S hash:net family inet\n" + "".join(f"add S {e}\n" for e in entries)
    sets, faults = parse_sets(text, "f")
    assert not faults
    assert contains(sets["S"], K4, ("src",), sets) is expected


LISTS = [
    ("add L A", True),
    ("add L B", False),
    ("add L B\nadd L A", True),
    ("add L gone", None),
    ("add L gone\nadd L A", True),
    ("add L L", None),
]


@pytest.mark.parametrize(("entries", "expected"), LISTS)
def test_set_of_sets(entries: str, expected: bool | None) -> None:
    text = f"create A hash:ip family inet\nadd A 10.0.0.9\ncreate B hash:ip family inet\ncreate L list:set size 8\n{entries}\n"
    sets, _ = parse_sets(text, "f")
    assert contains(sets["L"], K4, ("src",), sets) is expected


FAULTS = [
    ("add gone 10.0.0.1", 2, "not a create or add line"),
    ("add S", 2, "not a create or add line"),
    ("flush S", 2, "not a create or add line"),
    ("add S 10.0.0.300", 2, "not an address"),
    ("add S 10.0.0.1,80", 2, "does not have the parts"),
]


@pytest.mark.parametrize(("line", "number", "message"), FAULTS)
def test_fault(line: str, number: int, message: str) -> None:
    sets, faults = parse_sets(f"create S hash:ip family inet\n{line}\n", "f")
    assert [(f.file, f.line) for f in faults if message in f.message] == [("f", number)]
    assert contains(sets["S"], K4, ("src",), sets) is (None if line.startswith("add S 10") else False)


@given(st.lists(st.text("cread SAinet hsp:,10.-/\n#", max_size=30), max_size=8))
def test_any_text_only_gives_faults(lines: list[str]) -> None:
    sets, faults = parse_sets("create S hash:ip,port,net family inet\n" + "\n".join(lines), "f")
    assert all(f.line for f in faults)
    for found in sets.values():
        assert contains(found, K4, ("src", "dst"), sets) in (True, False, None)


# Printed by ipset 7.17 of the sets below.
LISTED = """\
Name: a
Type: hash:ip,port
Revision: 7
Header: family inet hashsize 1024 maxelem 65536 bucketsize 12 initval 0x4bbd90ee
Size in memory: 264
References: 1
Number of entries: 1
Members:
10.0.0.1,tcp:80

Name: b
Type: hash:net
Revision: 7
Header: family inet hashsize 1024 maxelem 65536 timeout 100 comment bucketsize 12 initval 0x03dfea83
Size in memory: 556
References: 0
Number of entries: 2
Members:
10.0.0.0/8 timeout 99 nomatch comment "x y"
10.0.0.0/16 timeout 99 comment "no nomatch here"

Name: l
Type: list:set
Revision: 3
Header: size 8
Size in memory: 128
References: 0
Number of entries: 1
Members:
a
"""
SAVED = """\
create a hash:ip,port family inet hashsize 1024 maxelem 65536 bucketsize 12 initval 0x4bbd90ee
add a 10.0.0.1,tcp:80
create b hash:net family inet hashsize 1024 maxelem 65536 timeout 100 comment bucketsize 12 initval 0x03dfea83
add b 10.0.0.0/8 timeout 99 nomatch comment "x y"
add b 10.0.0.0/16 timeout 99 comment "no nomatch here"
create l list:set size 8
add l a
"""


def _pastes(text: str) -> tuple[str, ...]:
    lines = text.splitlines()
    return (
        text,
        f"root@n1:~# ipset list\n{text}root@n1:~# exit\n",
        "".join(f"> {line}\n" for line in ("```", *lines, "```")),
        "".join(f"\x1b[1m{line}\x1b[0m\r\n" for line in lines),
    )


@pytest.mark.parametrize("text", [*_pastes(LISTED), *_pastes(SAVED)])
def test_a_listing_holds_the_same_sets(text: str) -> None:
    wanted, _ = parse_sets(SAVED, "f")
    sets, faults = parse_sets(text, "f")
    assert faults == ()
    shape = lambda found: {name: (s.type, s.family, s.entries, s.excluded, s.unread) for name, s in found.items()}  # noqa: E731
    assert shape(sets) == shape(wanted)
    assert (len(sets["b"].entries), len(sets["b"].excluded)) == (1, 1), "a comment's words are nobody's"


@pytest.mark.parametrize(
    ("old", "new", "unread", "message"),
    [
        ("Members:\n10.0.0.1,tcp:80\n", "", "a", "is listed without its members"),
        ("10.0.0.0/16 timeout 99 comment", "no such thing", "b", "is not an address"),
        ("Number of entries: 1\nMembers:\n10.0.0.1,tcp:80", "Number of entries: 3\nMembers:\n10.0.0.1,tcp:80", "a", "counts 3 members and lists 1"),
        ("10.0.0.1,tcp:80", "web,tcp:80", "a", "is not an address"),
        ("Name: l\n", "Name: a\n", "a", "is listed twice"),
    ],
)  # fmt: skip
def test_a_listing_that_lacks_something_answers_nothing(old: str, new: str, unread: str, message: str) -> None:
    assert old in LISTED
    sets, faults = parse_sets(LISTED.replace(old, new), "f")
    assert sets[unread].unread
    assert message in faults[0].message


def test_a_set_that_counts_no_member_is_empty_without_its_list() -> None:
    terse = LISTED.replace("Number of entries: 1\nMembers:\n10.0.0.1,tcp:80\n", "Number of entries: 0\n")
    sets, faults = parse_sets(terse, "f")
    assert (sets["a"].entries, sets["a"].unread, faults) == ([], [], ())

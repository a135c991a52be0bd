"""Entries of ``conntrack -L``, line for line; whatever is damaged is a fault with its place."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.conntrack import FlowTuple
from tracer.conntrack_list import Entry, RecordedConnections, entries_towards, parse_conntrack
from tracer.errors import Fault
from tracer.packet import Family, Protocol

DNATED = (
    "ipv4     2 udp      17 118 src=10.244.1.3 dst=10.96.0.10 sport=40000 dport=53 "
    "src=10.244.2.7 dst=10.244.1.3 sport=53 dport=40000 [ASSURED] mark=16384 zone=3 use=1"
)
UNREPLIED = (
    "ipv4     2 udp      17 28 src=10.244.1.3 dst=10.96.5.5 sport=40000 dport=8125 "
    "[UNREPLIED] src=10.96.5.5 dst=10.244.1.3 sport=8125 dport=40000 mark=0 use=1"
)
TCP6 = (
    "ipv6     10 tcp      6 431998 ESTABLISHED src=fd00:10::1 dst=fd00:20::2 sport=57620 dport=443 packets=4 bytes=300 "
    "src=fd00:10:2::9 dst=fd00:10::1 sport=8443 dport=57620 packets=3 bytes=200 [ASSURED] mark=0 use=1"
)
PING = "icmp     1 29 src=10.0.0.1 dst=10.0.0.2 type=8 code=0 id=7 src=10.0.0.2 dst=10.0.0.1 type=0 code=0 id=7 mark=0 use=1"
OFFLOADED = (
    "ipv4     2 tcp      6 src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 src=10.0.0.2 dst=10.0.0.1 sport=2 dport=1 [OFFLOAD] mark=0 use=2"
)


def the(line):
    entries, faults = parse_conntrack(line, "c")
    assert not faults
    (entry,) = entries
    return entry


def test_a_translated_entry():
    entry = the(DNATED)
    assert (entry.line, entry.family, entry.protocol, entry.timeout, entry.state) == (1, Family.IP, Protocol.UDP, 118, None)
    assert (str(entry.original.destination), entry.original.destination_port) == ("10.96.0.10", 53)
    assert (str(entry.reply.source), entry.reply.source_port) == ("10.244.2.7", 53)
    assert entry.has_dnat
    assert not entry.has_snat
    assert (entry.assured, entry.unreplied, entry.mark, entry.zone) == (True, False, 0x4000, 3)
    assert entry.text == DNATED


def test_an_entry_without_an_answer():
    entry = the(UNREPLIED)
    assert entry.unreplied
    assert not entry.assured
    assert not entry.has_dnat


def test_accounting_and_ipv6():
    entry = the(TCP6)
    assert (entry.family, entry.state, entry.reply.source_port) == (Family.IP6, "ESTABLISHED", 8443)


def test_icmp_has_no_ports():
    entry = the(PING)
    assert (entry.protocol, entry.original.source_port, entry.original.destination_port) == (Protocol.ICMP, None, None)


def test_an_offloaded_entry_has_no_time():
    assert the(OFFLOADED).timeout is None


def test_a_source_that_was_translated():
    entry = the(
        "ipv4 2 tcp 6 100 SYN_SENT src=10.0.0.1 dst=10.0.0.2 sport=5 dport=80 src=10.9.9.9 dst=10.0.0.7 sport=80 dport=6 mark=0 use=1"
    )
    assert entry.has_snat
    assert entry.has_dnat


def test_lines_that_are_no_entries_are_no_faults():
    text = f"\n{DNATED}\r\nconntrack v1.4.7 (conntrack-tools): 1 flow entries have been shown.\n"
    text += "ipv4     2 unknown  2 599 src=10.0.0.1 dst=224.0.0.22 [UNREPLIED] src=224.0.0.22 dst=10.0.0.1 mark=0 use=1\n"
    entries, faults = parse_conntrack(text, "c")
    assert [e.line for e in entries] == [2]
    assert entries[0].text == DNATED
    assert not faults


@pytest.mark.parametrize("around", ["root@n1:~# conntrack -L -o extended\n{}\nroot@n1:~# \n", "```\n{}\n```\n", "\x1b[1m{}\x1b[0m\n"])
def test_what_a_terminal_puts_around_entries_is_no_fault(around):
    entries, faults = parse_conntrack(around.format(DNATED), "c")
    assert ([entry.original for entry in entries], faults) == ([the(DNATED).original], ())
    quoted, faults = parse_conntrack(f"> {DNATED}\n> {UNREPLIED}\n", "c")
    assert ([entry.line for entry in quoted], faults) == ([1, 2], ())
    assert [entry.line for entry in entries_towards(f"> {DNATED}\n> {UNREPLIED}\n", ip_address("10.96.5.5"))] == [2]


@pytest.mark.parametrize(
    ("line", "under_the_caret", "message"),
    [
        ("what is this", "what", "no src="),
        ("ipv4 2 tcp 6 1 CLOSE src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 mark=0", "", "one is missing"),
        (DNATED.replace("dst=10.96.0.10", "dst=10.96.0.300"), "dst=10.96.0.300", "is no address"),
        (DNATED.replace("dport=53 ", "dport=70000 "), "dport=70000", "is no port"),
        (DNATED.replace("sport=40000 ", "", 1), "src=10.244.1.3", "no sport="),
        (DNATED.replace("mark=16384", "mark=x"), "mark=x", "mark 'x'"),
        (DNATED.replace("mark=16384", "mark=4294967296"), "mark=", "up to 4294967295"),
        (DNATED.replace("17 118", "17 118 well?"), "well?", "no state"),
        (DNATED.replace("17 118 ", ""), "", "number is missing"),
        (DNATED.replace("dst=10.244.1.3", "dst=fd00::1"), "ipv4", "two families"),
        (DNATED.replace("ipv4     2", "ipv6     10"), "ipv6", "two families"),
        (DNATED.replace(" use=1", " what"), "what", "KEY=VALUE"),
    ],
)
def test_a_fault_says_where(line, under_the_caret, message):
    entries, faults = parse_conntrack(f"{DNATED}\n{line}\n{DNATED}\n", "nodes/n/conntrack.txt")
    assert [e.line for e in entries] == [1, 3]
    (fault,) = faults
    assert (fault.file, fault.line) == ("nodes/n/conntrack.txt", 2)
    assert message in fault.message
    assert fault.text[fault.column :].startswith(under_the_caret), str(fault)
    assert bool(under_the_caret) or fault.column == len(line), str(fault)


def test_entries_towards_an_address():
    text = f"{TCP6}\n{UNREPLIED}\nbroken dst=10.96.5.5 x\n\n{DNATED}\n{UNREPLIED}\n"
    assert [e.line for e in entries_towards(text, ip_address("10.96.5.5"))] == [2, 6]
    assert [e.line for e in entries_towards(text, ip_address("fd00:20::2"))] == [1]
    # The reply's addresses do not count, and neither does an address that only begins alike.
    assert not list(entries_towards(text, ip_address("10.244.2.7")))
    assert not list(entries_towards(text, ip_address("10.96.5.55")))
    assert not list(entries_towards(text, ip_address("10.244.1.3")))


@given(st.text(alphabet=" \n=[]srcdpotmakzne0123456789.:ABCipv46", max_size=200), st.integers(0, len(DNATED)), st.integers(0, 20))
def test_damage_never_raises(junk, at, cut):
    text = DNATED[:at] + junk + DNATED[at + cut :]
    entries, faults = parse_conntrack(text, "c")
    assert all(isinstance(f, Fault) and f.line for f in faults)
    assert {e.line for e in entries}.isdisjoint(f.line for f in faults)
    for entry in entries:
        assert entry in parse_conntrack(text, "c")[0]
        assert entry.original.destination.version == entry.reply.source.version


def test_recordings_have_no_faults(shared):
    counted = 0
    for path in sorted((shared / "recordings").glob("*/nodes/*/conntrack.txt")):
        entries, faults = parse_conntrack(path.read_text(), str(path))
        assert not faults
        # Of what is neither TCP, UDP, SCTP nor ICMP (IGMP is "unknown") there is no entry.
        lines = [line for line in path.read_text().splitlines() if line.split()[2] != "unknown"]
        assert len(entries) == len(lines)
        counted += len(entries)
    assert counted > 1000


def test_one_entry_of_many_is_found_by_either_direction() -> None:
    other = (
        "ipv4 2 tcp 6 9 ESTABLISHED src=10.0.0.1 dst=10.0.0.2 sport=5 dport=800 src=10.0.0.2 dst=10.0.0.1 sport=800 dport=5 mark=0 use=1"
    )
    seen = other.replace("dport=800 ", "dport=80 ", 1).replace(
        "src=10.0.0.2 dst=10.0.0.1 sport=800", "src=10.9.9.9 dst=10.0.0.1 sport=8080"
    )
    zoned = seen.replace("use=1", "zone=7 use=1")
    proc = (
        "ipv6     10 udp      17 20 src=fd00:0000:0000:0000:0000:0000:0000:0001 dst=fd00:0000:0000:0000:0000:0000:0000:0002 sport=1 dport=2 "
        "src=fd00:0000:0000:0000:0000:0000:0000:0002 dst=fd00:0000:0000:0000:0000:0000:0000:0001 sport=2 dport=1 mark=0 zone=0 use=2"
    )
    held = RecordedConnections("\n".join((other, zoned, seen, proc)) + "\n", "conntrack.txt")

    def flow(source: str, source_port: int | None, to: str, port: int, protocol: Protocol = Protocol.TCP) -> FlowTuple:
        return FlowTuple(
            protocol=protocol, source=ip_address(source), source_port=source_port, destination=ip_address(to), destination_port=port
        )

    def line(found: tuple[Entry, bool] | None) -> tuple[int, bool] | None:
        return None if found is None else (found[0].line, found[1])

    assert line(held.find(flow("10.0.0.1", 5, "10.0.0.2", 80))) == (3, False)
    assert line(held.find(flow("10.9.9.9", 8080, "10.0.0.1", 5))) == (3, True)
    assert line(held.find(flow("10.0.0.2", 800, "10.0.0.1", 5))) == (1, True)
    assert line(held.find(flow("fd00::1", 1, "fd00::2", 2, Protocol.UDP))) == (4, False)
    assert line(held.find(flow("fd00::2", 2, "fd00::1", 1, Protocol.UDP))) == (4, True)
    assert held.find(flow("fd00::1", 1, "fd00::2", 2)) is None
    assert held.find(flow("10.0.0.1", 5, "10.0.0.2", 8)) is None
    assert held.find(flow("10.0.0.1", None, "10.0.0.2", 80)) is None
    assert held.unread is None
    assert RecordedConnections(f"{other}\nsrc=nonsense\n", "c").unread is not None


@pytest.mark.parametrize(("port", "protocol", "has"), [(8472, Protocol.UDP, True), (847, Protocol.UDP, False), (8472, Protocol.TCP, False)])
def test_an_entry_of_a_flow_whose_source_port_nobody_said(port: int, protocol: Protocol, *, has: bool) -> None:
    one, other = ip_address("192.0.2.1"), ip_address("192.0.2.2")
    text = "ipv4     2 udp      17 29 src=192.0.2.1 dst=192.0.2.2 sport=54321 dport=8472 [UNREPLIED] src=192.0.2.2 dst=192.0.2.1 sport=8472 dport=54321 mark=0 use=1\n"
    flow = FlowTuple(protocol=protocol, source=one, source_port=None, destination=other, destination_port=port)
    assert RecordedConnections(text, "f").has_some(flow) is has
    assert not RecordedConnections(text, "f").has_some(flow.inverse)

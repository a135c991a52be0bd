"""The kernel's tables of sockets say what ``ss`` says of the same processes, and no more than they show."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracer.packet import Packet, Protocol
from tracer.query import parse_address
from tracer.topology.proc_sockets import parse_proc_sockets
from tracer.topology.sockets import Sockets, parse_sockets

FOLDER = Path(__file__).parents[1] / "routing" / "proc_text"
TABLES = {(p, v): (FOLDER / f"{p.value}{'6' if v == 6 else ''}.txt").read_text() for p in (Protocol.TCP, Protocol.UDP) for v in (4, 6)}
LISTS = {name: (FOLDER / f"{name}.txt").read_text() for name in ("ss-tuln", "netstat")}


def hears(sockets: Sockets, to: str, port: int, protocol: Protocol) -> bool | None:
    address = parse_address(to)
    assert address is not None
    source = parse_address("192.0.2.9" if address.version == 4 else "2001:db8::9")
    assert source is not None
    packet = Packet(source=source, destination=address, protocol=protocol, source_port=40000, destination_port=port)
    return sockets.hears(packet, "eth0")


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("to", ["192.0.2.11", "127.0.0.1", "2001:db8::11"])
@pytest.mark.parametrize("protocol", [Protocol.TCP, Protocol.UDP])
def test_it_says_what_the_program_says(name: str, to: str, protocol: Protocol) -> None:
    """On every port; where the program says more (whether a socket for IPv6 takes IPv4), the table says that it does not know."""
    kernels, program = parse_proc_sockets(TABLES), parse_sockets(LISTS[name])
    for port in (53, 54, 80, 81, 82, 83, 84, 8472):
        found, wanted = hears(kernels, to, port, protocol), hears(program, to, port, protocol)
        assert found == wanted or found is None, port
    assert (kernels.unread, program.unread) == (None, None)


def test_it_hears_what_is_for_certain() -> None:
    sockets = parse_proc_sockets(TABLES)
    sure = [
        ("192.0.2.11", 80, Protocol.TCP),
        ("192.0.2.11", 83, Protocol.TCP),
        ("2001:db8::11", 82, Protocol.TCP),
        ("127.0.0.1", 53, Protocol.UDP),
    ]
    assert [hears(sockets, *one) for one in sure] == [True] * 4


def test_half_of_a_protocols_tables_deny_nothing() -> None:
    assert hears(parse_proc_sockets(TABLES), "192.0.2.11", 9, Protocol.TCP) is False
    for left_out in TABLES:
        held = parse_proc_sockets({key: text for key, text in TABLES.items() if key != left_out})
        assert hears(held, "192.0.2.11", 9, left_out[0]) is None


def test_a_line_that_is_cut_off_denies_nothing() -> None:
    key = (Protocol.TCP, 4)
    cut = TABLES[key].splitlines()
    cut[2] = cut[2][:30]
    sockets = parse_proc_sockets({**TABLES, key: "\n".join(cut)})
    assert sockets.unread == 3
    assert hears(sockets, "192.0.2.11", 9, Protocol.TCP) is None


def test_what_stands_around_a_list_is_passed_over() -> None:
    key = (Protocol.TCP, 4)
    assert parse_proc_sockets({key: f"/ # cat /proc/net/tcp\n{TABLES[key]}/ # \n"}).unread is None
    for text in LISTS.values():
        wanted = parse_sockets(text)
        assert parse_sockets(f"root@n1:~# ss -tuln\n{text}root@n1:~# \n") == wanted
        assert parse_sockets("".join(f"> {line}\n" for line in text.splitlines())) == wanted


def test_an_address_that_netstat_may_have_cut_off_is_none() -> None:
    line = "tcp6       0      0 2001:db8::1234:5678:90:22 :::*                    LISTEN      1/sshd\n"
    assert parse_sockets(line).unread == 1
    assert parse_sockets(line.replace("2001:db8::1234:5678:90", "2001:db8::12")).unread is None

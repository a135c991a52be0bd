"""Which virtual server takes a packet, what tells two apart, and every option of ``ipvsadm -S`` in both families."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from tracer.ipvs.ipvsadm_save import parse_virtual_servers, to_text
from tracer.ipvs.model import Forwarding, VirtualServer, VirtualServers
from tracer.ipvs.schedule import choices
from tracer.packet import Packet, Protocol


def read(text: str) -> tuple[VirtualServer, ...]:
    servers, faults = parse_virtual_servers(text, "save")
    assert not faults, faults
    return servers


def found(text: str, destination: str, port: int | None, protocol: Protocol = Protocol.TCP, mark: int = 0) -> str | None:
    source = ip_address("fd00:9::9" if ":" in destination else "10.9.9.9")
    packet = Packet(protocol=protocol, source=source, destination=ip_address(destination), destination_port=port, mark=mark)
    server = VirtualServers(read(text), "save").find(packet)
    return server and server.name


BOTH_MARKS = "-A -f 5 -s rr\n-A -f 5 -6 -s rr\n-A -f 6 -6 -s rr\n-A -t 10.0.0.1:80 -s rr\n-A -t [fd00::1]:80 -s rr\n"
FTP = "-A -t 10.0.0.2:21 -s rr -p 60\n-A -t 10.0.0.2:0 -s wrr -p 60\n-A -u 10.0.0.2:21 -s rr\n"


@pytest.mark.parametrize(
    ("text", "destination", "port", "protocol", "mark", "expected"),
    [
        (BOTH_MARKS, "10.0.0.1", 80, Protocol.TCP, 5, "-f 5"),
        (BOTH_MARKS, "fd00::1", 80, Protocol.TCP, 5, "-f 5 -6"),
        (BOTH_MARKS, "10.0.0.1", 80, Protocol.TCP, 6, "-t 10.0.0.1:80"),
        (BOTH_MARKS, "10.0.0.1", 80, Protocol.TCP, 0, "-t 10.0.0.1:80"),
        (BOTH_MARKS, "fd00::1", 80, Protocol.TCP, 0, "-t [fd00::1]:80"),
        (BOTH_MARKS, "10.0.0.1", 81, Protocol.TCP, 0, None),
        (BOTH_MARKS, "10.0.0.1", None, Protocol.TCP, 0, None),
        # FTP's data connections go where its control connection is served.
        (FTP, "10.0.0.2", 21, Protocol.TCP, 0, "-t 10.0.0.2:21"),
        (FTP, "10.0.0.2", 20, Protocol.TCP, 0, "-t 10.0.0.2:21"),
        (FTP, "10.0.0.2", 1023, Protocol.TCP, 0, "-t 10.0.0.2:0"),
        (FTP, "10.0.0.2", 1024, Protocol.TCP, 0, "-t 10.0.0.2:21"),
        (FTP, "10.0.0.2", 1025, Protocol.TCP, 0, "-t 10.0.0.2:21"),
        (FTP, "10.0.0.2", 1024, Protocol.UDP, 0, None),
        (FTP.replace("-t 10.0.0.2:21", "-t 10.0.0.2:22"), "10.0.0.2", 1024, Protocol.TCP, 0, "-t 10.0.0.2:0"),
    ],
)
def test_find(text: str, destination: str, port: int | None, protocol: Protocol, mark: int, expected: str | None):
    assert found(text, destination, port, protocol, mark) == expected


def test_a_node_keeps_the_file_and_its_faults():
    servers, faults = parse_virtual_servers("-A -t 10.0.0.1:80 -s rr\n-A -f x\n", "nodes/n1/ipvsadm-save.txt")
    kept = VirtualServers(iter(servers), "nodes/n1/ipvsadm-save.txt", iter(faults))
    assert (kept.file, len(kept.servers), len(kept.faults)) == ("nodes/n1/ipvsadm-save.txt", 1, 1)
    assert (faults[0].column, faults[0].text) == (6, "-A -f x")


@pytest.mark.parametrize(
    "line",
    [
        "-A -t 10.0.0.1:80 -s rr -p 60",
        "-A -t 10.0.0.1:80 -s rr -p 60 -M 255.255.255.0",
        "-A -t 10.0.0.1:80 -s rr -p 60 -M 0.0.0.0",
        "-A -t [fd00::1]:80 -s rr -p 60",
        "-A -t [fd00::1]:80 -s rr -p 60 -M 64",
        "-A -t [fd00::1]:80 -s rr -p 60 -M 32",
        "-A -f 7 -6 -s rr -p 60 -M 32",
        "-A -u 10.0.0.1:80 -s rr -o",
        "-A -t 10.0.0.1:80 -s mh -b mh-fallback,mh-port",
        "-A --sctp-service [fd00::1]:9 -s sh",
    ],
)
def test_what_ipvsadm_prints_comes_back(line: str):
    assert to_text(read(f"{line}\n")) == f"{line}\n"


@pytest.mark.parametrize(
    ("line", "expected"), [("-t 10.0.0.1:80", 32), ("-t [fd00::1]:80", 128), ("-f 7", 32), ("-f 7 -6", 128), ("-f 7 --ipv6", 128)]
)
def test_without_a_netmask_each_client_is_one(line: str, expected: int):
    (server,) = read(f"-A {line} -s rr -p 60\n")
    assert server.granularity == expected


@pytest.mark.parametrize(
    ("options", "limits", "forwarding", "weight"),
    [
        ("-m -w 0", (0, 0), Forwarding.MASQUERADE, 0),
        ("--masquerading --weight 5 --u-threshold 9", (9, 0), Forwarding.MASQUERADE, 5),
        ("-i --l-threshold 3", (0, 3), Forwarding.TUNNEL, 1),
        ("--gatewaying -x 9 -y 3", (9, 3), Forwarding.GATEWAY, 1),
        ("--ipip --tun-type gue --tun-port 5 --tun-nocsum", (0, 0), Forwarding.TUNNEL, 1),
    ],
)
def test_real_servers(options: str, limits: tuple[int, int], forwarding: Forwarding, weight: int):
    (server,) = read(f"-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 10.1.0.1:8080 {options}\n")
    (real,) = server.real_servers
    assert ((real.upper_threshold, real.lower_threshold), real.forwarding, real.weight) == (limits, forwarding, weight)
    saved = to_text((server,))
    assert to_text(read(saved)) == saved
    assert (" -x " in saved) is (limits != (0, 0))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-A -t [fd00::1]:80 -p 1 -M 129", "'129' is not a prefix length"),
        ("-A -t [fd00::1]:80 -p 1 -M 255.0.0.0", "not a number"),
        ("-A -t fd00::1:80", "not an address and port"),
        ("-A -t [10.0.0.1]:80", "not an address and port"),
        ("-A -t 10.0.0.1:65536", "no valid port"),
        ("-a -t 10.0.0.9:80", "names no real server"),
        ("-a -t 10.0.0.7:80 -r 10.1.0.1:80", "no virtual server -t 10.0.0.7:80 was added"),
        ("-a -u 10.0.0.9:80 -r 10.1.0.1:80", "no virtual server -u 10.0.0.9:80 was added"),
        ("-A -t 10.0.0.1:80 -w", "'-w' needs a value"),
        ("-A -t 10.0.0.1:80 -s -o", "'-s' needs a value"),
        ("-A -t 10.0.0.1:80 ---", "needs a value, or is not an option"),
        ("-A 10.0.0.1:80 x", "not an option"),
    ],
)
def test_a_line_that_cannot_be_read_is_a_fault_and_the_others_count(line: str, message: str):
    text = f"# saved\n\n-A -t 10.0.0.9:80 -s rr\n{line}\n-A -t [fd00::9]:65535 -s rr -p 1 -M 128\n"
    servers, (fault,) = parse_virtual_servers(text, "save")
    assert message in fault.message
    assert (fault.line, fault.text) == (4, line)
    assert fault.column == max(0, line.find(fault.message.split("'")[1])) if "'" in fault.message else fault.column is not None
    assert [(s.port, s.granularity, s.real_servers) for s in servers] == [(80, 32, ()), (65535, 128, ())]


# -- schedulers: what the shares rest on ---------------------------------------------------------------------------------------------


def said(scheduler: str, reals: str, counts: tuple[tuple[int | None, int | None], ...] = ()) -> list[tuple[object, str, str | None]]:
    from dataclasses import replace

    (server,) = read(f"-A -t 10.0.0.1:80 -s {scheduler}\n" + "".join(f"-a -t 10.0.0.1:80 -r {r} -m\n" for r in reals.split(", ")))
    if counts:
        counted = tuple(replace(r, active=a, inactive=i) for r, (a, i) in zip(server.real_servers, counts, strict=True))
        server = replace(server, real_servers=counted)
    return [(c.share, c.reason, c.condition) for c in choices(server)]


@pytest.mark.parametrize(
    ("reals", "counts", "reason"),
    [
        ("10.1.0.1:1 -x 5, 10.1.0.2:1", ((5, 0), (0, 0)), "threshold"),
        ("10.1.0.1:1 -x 5, 10.1.0.2:1", ((4, 0), (0, 0)), "round robin"),
        ("10.1.0.1:1 -x 5, 10.1.0.2:1", ((4, 1), (0, 0)), "threshold"),
        ("10.1.0.1:1 -x 5, 10.1.0.2:1", ((5, None), (0, 0)), "threshold"),
        ("10.1.0.1:1 -x 5, 10.1.0.2:1", (), "threshold"),
        ("10.1.0.1:1, 10.1.0.2:1", ((500, 0), (0, 0)), "round robin"),
        ("10.1.0.1:1 -x 5 -w 0, 10.1.0.2:1, 10.1.0.3:1", ((9, 0), (0, 0), (0, 0)), "round robin"),
    ],
)
def test_a_real_server_at_its_threshold_makes_the_choice_unsure(reals: str, counts: tuple[tuple[int, int], ...], reason: str):
    choices_said = said("rr", reals, counts)
    assert all(reason in why for _, why, _ in choices_said)
    assert all((condition is not None) is (reason == "threshold") for _, _, condition in choices_said)


@pytest.mark.parametrize(
    ("scheduler", "counts", "reason", "sure"),
    [
        ("lc", ((3, 0), (2, 0)), "least connections: 2 active and 0 inactive", True),
        ("lc", ((2, 0), (2, 0)), "equally few", False),
        ("lc", ((None, None), (2, 0)), "least connections", False),
        ("sed", ((1, 0), (2, 0)), "shortest expected delay", True),
        ("nq", ((0, 0), (2, 0)), "never queue", True),
        ("nq", ((0, 0), (None, None)), "shortest expected delay", False),
        ("nq", ((0, 0), (0, 5)), "never queue", False),
        ("lblc", ((0, 0), (2, 0)), "locality", False),
        ("lblcr", ((0, 0), (2, 0)), "locality", False),
        ("own", ((0, 0), (2, 0)), "scheduler own", False),
    ],
)
def test_what_a_choice_rests_on(scheduler: str, counts: tuple[tuple[int | None, int | None], ...], reason: str, sure: bool):
    found_choices = said(scheduler, "10.1.0.1:1, 10.1.0.2:1", counts)
    assert any(reason in f"{why} {condition}" for _, why, condition in found_choices), found_choices
    assert all((condition is None) is sure for _, _, condition in found_choices)


@pytest.mark.parametrize(
    ("scheduler", "flags", "words"),
    [
        ("sh", "", "hash of the source address:"),
        ("sh", "sh-port", "hash of the source address and port:"),
        ("sh", "flag-2", "hash of the source address and port:"),
        ("mh", "mh-port", "hash of the source address and port:"),
        ("dh", "", "hash of the destination address:"),
    ],
)
def test_a_hash_says_what_it_is_of(scheduler: str, flags: str, words: str):
    text = f"-A -t 10.0.0.1:80 -s {scheduler}{f' -b {flags}' if flags else ''}\n-a -t 10.0.0.1:80 -r 10.1.0.1:1 -m\n-a -t 10.0.0.1:80 -r 10.1.0.2:1 -m\n"
    assert {c.reason for c in choices(read(text)[0])} == {f"{words} always the same one"}


@pytest.mark.parametrize(
    ("scheduler", "flags", "refused"),
    [("sh", "", True), ("dh", "", True), ("sh", "flag-1", False), ("sh", "sh-port", True), ("mh", "", True), ("mh", "mh-fallback", False)],
)
def test_who_hashes_to_a_drained_server_is_refused_without_fallback(scheduler: str, flags: str, refused: bool):
    head = f"-A -t 10.0.0.1:80 -s {scheduler}{f' -b {flags}' if flags else ''}\n"
    text = head + "".join(f"-a -t 10.0.0.1:80 -r 10.1.0.{n}:1 -m -w {int(n != 3)}\n" for n in (1, 2, 3))
    assert any(c.real_server is None for c in choices(read(text)[0])) is refused


def test_without_any_usable_real_server_the_reason_says_why():
    (empty,) = read("-A -t 10.0.0.1:80 -s rr\n")
    (drained,) = read("-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 10.1.0.1:1 -m -w 0\n")
    assert [c.reason for c in choices(empty)] == ["it has no real server"]
    assert [c.reason for c in choices(drained)] == ["all its real servers have weight 0"]

"""``ipvsadm -S -n`` to virtual servers and back."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.errors import TracerError
from tracer.ipvs.ipvsadm_save import parse_virtual_servers, to_text
from tracer.ipvs.model import Forwarding, RealServer, VirtualServer, VirtualServers
from tracer.packet import Packet, Protocol

SAVED = """\
-A -t 10.96.0.1:443 -s rr
-a -t 10.96.0.1:443 -r 172.18.0.2:6443 -m -w 1
-A -u 10.96.0.10:53 -s wrr -p 10800 -M 255.255.255.0
-a -u 10.96.0.10:53 -r 10.244.2.7:53 -m -w 3
-a -u 10.96.0.10:53 -r 10.244.3.6:53 -m -w 0
-A --sctp-service 10.96.0.11:9 -s sh -b sh-fallback,sh-port
-a --sctp-service 10.96.0.11:9 -r 10.244.3.6:9 -i -w 1 -x 100 -y 80
-A -t [fd00:10:96::1]:80 -s mh -p 60 -M 64 -o -b mh-port
-a -t [fd00:10:96::1]:80 -r [fd00:10:244::2]:8080 -g -w 1
-A -f 7 -s wlc -p 360 --pe sip
-a -f 7 -r 10.244.1.1:0 -m -w 1
-A -f 7 -6 -s lc
"""


def read(text: str) -> tuple[VirtualServer, ...]:
    servers, faults = parse_virtual_servers(text, "ipvsadm-save.txt")
    assert not faults, faults
    return servers


def test_every_option():
    servers = read(SAVED)
    assert [s.name for s in servers] == [
        "-t 10.96.0.1:443",
        "-u 10.96.0.10:53",
        "--sctp-service 10.96.0.11:9",
        "-t [fd00:10:96::1]:80",
        "-f 7",
        "-f 7 -6",
    ]
    first, persistent, sctp, six, marked, empty = servers
    assert first.real_servers[0].forwarding is Forwarding.MASQUERADE
    assert (first.line, first.text, first.real_servers[0].line) == (1, "-A -t 10.96.0.1:443 -s rr", 2)
    assert (persistent.persistence_timeout, persistent.granularity) == (10800, 24)
    assert [r.weight for r in persistent.real_servers] == [3, 0]
    assert (sctp.flags, sctp.real_servers[0].forwarding) == (("sh-fallback", "sh-port"), Forwarding.TUNNEL)
    assert (sctp.real_servers[0].upper_threshold, sctp.real_servers[0].lower_threshold) == (100, 80)
    assert (six.granularity, six.one_packet, six.real_servers[0].forwarding) == (64, True, Forwarding.GATEWAY)
    assert (marked.fwmark, marked.protocol, marked.persistence_engine, marked.real_servers[0].port) == (7, None, "sip", 0)
    assert (empty.version, empty.real_servers) == (6, ())


def test_text_comes_back():
    assert to_text(read(SAVED)) == SAVED


@pytest.mark.needs_shared
def test_recordings_come_back(shared: Path):
    files = sorted(shared.glob("recordings/*/nodes/*/ipvsadm-save.txt"))
    assert len(files) == 8
    for path in files:
        assert to_text(read(path.read_text())) == path.read_text()


def test_long_options_and_defaults():
    (server,) = read("--add-service --tcp-service 10.0.0.1:80 --scheduler rr --persistent\n-a -t 10.0.0.1:80 -r 10.1.0.1")
    assert server.persistence_timeout == 360
    assert server.real_servers == (
        RealServer(address=ip_address("10.1.0.1"), port=80, forwarding=Forwarding.GATEWAY, text="-a -t 10.0.0.1:80 -r 10.1.0.1", line=2),
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-A -t node.example:http -s rr", "was ipvsadm run without -n"),
        ("-A -s rr", "names no virtual server"),
        ("-D -t 10.0.0.1:80", "neither -A nor -a"),
        ("-A -t 10.0.0.1:80 --frobnicate yes", "not an option"),
        ("-A -t 10.0.0.1:80 -M 255.0.255.0 -p 1", "not a netmask"),
        ("-A -t 10.0.0.1:99999", "no valid port"),
        ("-A -t [10.0.0.1]:80", "not an address and port"),
        ("-a -t 10.0.0.1:80 -r 10.1.0.1:80 -m", "no virtual server -t 10.0.0.1:80 was added"),
        ("-A -t 10.0.0.1:80 -s", "needs a value"),
        ("-A -f twelve", "not a number"),
    ],
)
def test_faults_name_line_and_word(line: str, message: str):
    servers, (fault,) = parse_virtual_servers(f"-A -u 10.0.0.9:1 -s rr\n{line}\n", "save")
    assert message in fault.message
    assert (fault.file, fault.line) == ("save", 2)
    assert [s.port for s in servers] == [1]


@given(st.text(alphabet="-Aatusrpwmf0123456789.:[] \n", max_size=200))
def test_anything_is_read_or_a_fault(text: str):
    try:
        parse_virtual_servers(text, "save")
    except TracerError:
        pytest.fail("faults are returned, not raised")


def packet(destination: str, port: int, *, protocol: Protocol = Protocol.TCP, mark: int = 0) -> Packet:
    return Packet(protocol=protocol, source=ip_address("10.9.9.9"), destination=ip_address(destination), destination_port=port, mark=mark)


def test_find():
    text = "-A -t 10.0.0.1:80 -s rr\n-A -t 10.0.0.1:0 -s rr -p 60\n-A -t 10.0.0.2:21 -s rr -p 60\n-A -f 5 -s rr\n-A -u 10.0.0.1:53 -s rr\n"
    servers = VirtualServers(read(text), "save")

    def found(sent: Packet) -> str | None:
        server = servers.find(sent)
        return server.name if server else None

    assert found(packet("10.0.0.1", 80)) == "-t 10.0.0.1:80"
    assert found(packet("10.0.0.1", 81)) == "-t 10.0.0.1:0"
    assert found(packet("10.0.0.1", 53, protocol=Protocol.UDP)) == "-u 10.0.0.1:53"
    assert found(packet("10.0.0.1", 54, protocol=Protocol.UDP)) is None
    assert found(packet("10.0.0.2", 20)) == "-t 10.0.0.2:21"
    assert found(packet("10.0.0.2", 40000)) == "-t 10.0.0.2:21"
    assert found(packet("10.0.0.2", 80)) is None
    assert found(packet("10.0.0.3", 80, mark=5)) == "-f 5"
    assert found(packet("10.0.0.1", 80, mark=5)) == "-f 5"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-A -f x", "'x' is not a number"),
        ("-Z -t 10.0.0.1:80", "'-Z' is neither -A nor -a"),
        ("-A -t 10.0.0.1:99999", "'10.0.0.1:99999' has no valid port"),
        ("-A -t web:80", "'web:80' is not an address and port (was ipvsadm run without -n?)"),
        ("-a -t 10.0.0.1:80 -r 10.1.0.1:80", "no virtual server -t 10.0.0.1:80 was added before its real server"),
        ("-A -s rr", "the line names no virtual server (-t, -u, --sctp-service or -f)"),
    ],
)
def test_a_fault_is_one_sentence(line: str, message: str):
    _, (fault,) = parse_virtual_servers(line + "\n", "save")
    assert (fault.message, fault.line, fault.text) == (message, 1, line)


def test_two_listings_in_one_file_are_a_fault():
    """Which of them is the node's nobody knows: the second does not win."""
    one = "-A -t 10.96.0.1:80 -s rr\n-a -t 10.96.0.1:80 -r 10.1.0.5:80 -m -w 1\n"
    _, faults = parse_virtual_servers(one + one.replace("10.1.0.5", "10.1.0.6"), "f")
    assert [fault.line for fault in faults] == [3]
    assert "added twice" in faults[0].message

"""Which socket of a node takes a packet: every column of ``ss.txt`` counts, and what the list does not say is not made up."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from tests.made_cluster import MadeCluster
from tracer.packet import Packet, Protocol
from tracer.topology.sockets import parse_sockets
from tracer.trace import Disposition, Listener, Outcome, Sees, StackKind

HEADINGS = "Netid State  Recv-Q Send-Q Local Address:Port  Peer Address:Port Process\n"
CLIENT = "external:203.0.113.9"


def entry(local: str, netid: str = "tcp", state: str = "LISTEN", rest: str = "") -> str:
    return f"{netid:6}{state:7}0      128    {local:>20}      0.0.0.0:*    {rest}\n"


def packet(destination: str, port: int | None = 80, protocol: Protocol = Protocol.TCP) -> Packet:
    address = ip_address(destination)
    source = ip_address("203.0.113.9" if address.version == 4 else "2001:db8::9")
    return Packet(protocol=protocol, source=source, source_port=None, destination=address, destination_port=port)


@pytest.mark.parametrize(
    ("local", "four", "six"),
    [
        ("0.0.0.0:80", True, False),
        ("*:80", True, True),
        ("[::]:80", None, True),
        ("[::]%eth0:80", None, True),
        ("192.168.0.11:80", True, False),
        ("[fd00:192::b]:80", False, True),
        ("[::ffff:192.168.0.11]:80", True, False),
        ("192.168.0.12:80", False, False),
        ("127.0.0.1:80", False, False),
        ("[::1]:80", False, False),
        ("0.0.0.0:81", False, False),
        ("0.0.0.0%eth0:80", True, False),
        ("0.0.0.0%eth1:80", False, False),
        ("*%eth1:80", False, False),
        ("192.168.0.11%lo:80", False, False),
    ],
)
def test_a_socket_takes_what_is_for_its_address_family_device_and_port(local: str, four: bool | None, six: bool | None):
    sockets = parse_sockets(HEADINGS + entry(local))
    assert sockets.hears(packet("192.168.0.11"), "eth0") is four
    assert sockets.hears(packet("fd00:192::b"), "eth0") is six
    assert sockets.hears(packet("192.168.0.11", protocol=Protocol.UDP), "eth0") is False


@pytest.mark.parametrize(("only", "four"), [("v6only:1", False), ("v6only:0", True), ("uid:0 ino:1 sk:1", None)])
def test_v6only_says_whether_ipv4_is_taken(only: str, four: bool | None):
    sockets = parse_sockets(HEADINGS + entry("[::]:80", rest=only))
    assert (sockets.hears(packet("192.168.0.11"), "eth0"), sockets.hears(packet("fd00:192::b"), "eth0")) == (four, True)


def test_an_old_list_shows_ipv4_by_an_asterisk():
    sockets = parse_sockets(HEADINGS + entry("*:80") + entry(":::81"))
    assert [sockets.hears(packet(ip), "eth0") for ip in ("192.168.0.11", "fd00:192::b")] == [True, False]
    assert [sockets.hears(packet(ip, 81), "eth0") for ip in ("192.168.0.11", "fd00:192::b")] == [None, True]


@pytest.mark.parametrize(
    ("netid", "state", "tcp", "udp"),
    [("udp", "UNCONN", False, True), ("tcp", "LISTEN", True, False), ("tcp", "ESTAB", False, False), ("udp", "ESTAB", False, False)],
)
def test_only_what_waits_takes_a_first_packet(netid: str, state: str, tcp: bool, udp: bool):
    sockets = parse_sockets(HEADINGS + entry("0.0.0.0:80", netid, state))
    assert [sockets.hears(packet("192.168.0.11", protocol=p), "eth0") for p in (Protocol.TCP, Protocol.UDP)] == [tcp, udp]


def test_a_list_of_one_protocol_says_nothing_of_the_other():
    sockets = parse_sockets("State  Recv-Q Send-Q Local Address:Port Peer Address:Port\n" + entry("0.0.0.0:80", netid=""))
    assert sockets.hears(packet("192.168.0.11", 81), "eth0") is False
    assert sockets.hears(packet("192.168.0.11", protocol=Protocol.UDP), "eth0") is None
    assert sockets.hears(packet("192.168.0.11", protocol=Protocol.SCTP), "eth0") is None


@pytest.mark.parametrize(
    "line", ["tcp   LISTEN 0      128          0.0.0.0:http        0.0.0.0:*", "bash: ss: command not found", "tcp   LIST"]
)
def test_behind_a_line_that_cannot_be_read_nobody_is_known_not_to_listen(line: str):
    sockets = parse_sockets(HEADINGS + entry("0.0.0.0:22") + line + "\n")
    assert (sockets.unread, sockets.hears(packet("192.168.0.11"), "eth0"), sockets.hears(packet("192.168.0.11", 22), "eth0")) == (
        3,
        None,
        True,
    )


def test_other_families_of_sockets_are_passed_over():
    sockets = parse_sockets(HEADINGS + "u_str LISTEN 0      4096   /run/x.sock 12345   * 0\n" + entry("0.0.0.0:22"))
    assert (sockets.unread, sockets.hears(packet("192.168.0.11"), "eth0")) == (None, False)


def test_the_closest_socket_gets_the_packet():
    sockets = parse_sockets(
        HEADINGS + entry("*:80", rest='users:(("a",pid=1,fd=3))') + entry("192.168.0.11:80", rest='users:(("b",pid=2,fd=3))')
    )
    found = sockets.of(packet("192.168.0.11"), "eth0")
    assert found is not None
    assert found.program == "b"


# -- in an answer -------------------------------------------------------------------------------------------------------------------


def dialled(text: str | None, to: str = "192.168.0.11:12345", protocol: str = "tcp", source: str = CLIENT) -> Outcome:
    """The only outcome of a packet to node n1, whose ss.txt is *text*."""
    cluster = MadeCluster(2)
    cluster.pod("client", 2)
    cluster.service("web", [cluster.pod("web", 2)], type="NodePort", node_port=30080)
    if text is not None:
        cluster.node(1).texts["ss.txt"] = text
    (outcome,) = cluster.trace(source, to, protocol=protocol).outcomes
    assert (outcome.disposition, outcome.destination and outcome.destination.kind) == (Disposition.DELIVERED, "node")
    return outcome


@pytest.mark.parametrize(("protocol", "answer"), [("tcp", "a reset"), ("udp", "an ICMP error (port unreachable)")])
@pytest.mark.parametrize("source", [CLIENT, "pod:default/client", "node:n1", "node:n2"])
def test_a_port_that_nobody_listens_on_refuses(source: str, protocol: str, answer: str):
    outcome = dialled(HEADINGS + entry("0.0.0.0:22") + entry("127.0.0.1:12345", "udp", "UNCONN"), protocol=protocol, source=source)
    assert outcome.reason is not None
    assert outcome.reply is not None
    assert outcome.reply.reason is not None
    assert (outcome.listener, outcome.reason.code) == (Listener.ABSENT, "NOBODY_LISTENS")
    assert answer in outcome.reason.text
    assert outcome.reply.reason.text.startswith(f"The client gets {answer} from 192.168.0.11 ")
    assert outcome.client_sees is Sees.REFUSED


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "nodes/n1/ss.txt is missing"),
        ("", "nodes/n1/ss.txt lists nothing that can be read"),
        ("Error from server (Forbidden): pods is forbidden\n", "nodes/n1/ss.txt lists nothing that can be read"),
        (HEADINGS + "tcp   LISTEN 0  128  0.0.0.0:http  0.0.0.0:*\n", "nodes/n1/ss.txt has a line that cannot be read, line 2"),
        (HEADINGS + entry("[::]:12345"), "nodes/n1/ss.txt does not tell for tcp port 12345 of 192.168.0.11"),
    ],
)
def test_where_the_sockets_do_not_tell_nobody_is_said_to_listen_or_not(text: str | None, said: str):
    outcome = dialled(text)
    assert outcome.reason is not None
    assert (outcome.listener, outcome.reason.code) == (Listener.UNKNOWN, "DELIVERED")
    assert f"whether a process listens there is not recorded ({said})" in outcome.reason.text


@pytest.mark.parametrize(("text", "listener"), [(None, Listener.DECLARED), (HEADINGS + entry("0.0.0.0:22"), Listener.ABSENT)])
def test_what_a_pod_declares_counts_only_without_the_sockets(text: str | None, listener: Listener):
    cluster = MadeCluster(2)
    cluster.pod("agent", 1, host_network=True, port=9100)
    if text is not None:
        cluster.node(1).texts["ss.txt"] = text
    (outcome,) = cluster.trace(CLIENT, "192.168.0.11:9100").outcomes
    assert outcome.listener is listener


@pytest.mark.parametrize("users", ['users:(("kube-proxy",pid=1,fd=3))', ""])
def test_a_node_port_that_is_only_held_never_answers(users: str):
    cluster = MadeCluster(1)
    cluster.service("web", [cluster.pod("web", 1)], type="NodePort", node_port=30080)
    cluster.node(1).texts["ss.txt"] = HEADINGS + entry("0.0.0.0:30080", rest=users)
    cluster.node(1).texts["iptables-save.txt"] = "*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n"
    (outcome,) = cluster.trace(CLIENT, "192.168.0.11:30080").outcomes
    assert outcome.reason is not None
    assert outcome.reason.code == "PROXY_HOLDS_PORT"
    (other,) = cluster.trace("external:2001:db8::9", "[fd00:192::b]:30080").outcomes
    assert other.listener is Listener.ABSENT


def test_an_answer_to_a_process_of_the_node_finds_its_socket():
    cluster = MadeCluster(2)
    cluster.service("web", [cluster.pod("web", 2)])
    cluster.node(1).texts["ss.txt"] = HEADINGS + entry("0.0.0.0:22")
    (outcome,) = cluster.trace("node:n1", "10.96.0.10:80").outcomes
    assert outcome.reply is not None
    assert outcome.reply.disposition is Disposition.DELIVERED
    assert outcome.hops[-1].kind is StackKind.POD

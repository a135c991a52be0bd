"""A connection that a node's conntrack.txt holds starts where its source lives: on the node, in a pod there, or wherever it came from."""

from __future__ import annotations

import pytest

from tests.made_cluster import MadeCluster
from tracer.errors import QueryError
from tracer.query import SourceKind
from tracer.trace import Disposition, Listener, Sees, StackKind, Trace


def line_of(source: str, destination: str) -> str:
    forth = f"src={source} dst={destination} sport=40000 dport=8080"
    back = f"src={destination} dst={source} sport=8080 dport=40000"
    family = "ipv6     10" if ":" in source else "ipv4     2"
    return f"{family} tcp      6 86399 ESTABLISHED {forth} {back} [ASSURED] mark=0 zone=0 use=2"


def traced(source: str, destination: str, *, line: int = 1) -> Trace:
    """The connection on *line* of n1, which has one: n1 holds the pods client (…2) and web-1 (…3), n2 the pod web-2."""
    cluster = MadeCluster(2)
    cluster.pod("client", 1)
    cluster.pod("web-1", 1)
    cluster.pod("web-2", 2)
    cluster.node(1).texts["conntrack.txt"] = line_of(source, destination) + "\n"
    return cluster.trace("external:203.0.113.9", "10.1.1.3:8080", connection=("n1", line))


@pytest.mark.parametrize(
    ("source", "destination", "kind", "stacks", "replayed"),
    [
        ("192.168.0.11", "10.1.1.3", SourceKind.NODE, [(StackKind.NODE, "n1"), (StackKind.POD, "default/web-1")], True),
        ("10.1.1.1", "10.1.1.3", SourceKind.NODE, [(StackKind.NODE, "n1"), (StackKind.POD, "default/web-1")], True),
        ("127.0.0.1", "192.168.0.11", SourceKind.NODE, [(StackKind.NODE, "n1")], True),
        ("fd00:192::b", "fd00:1:1::3", SourceKind.NODE, [(StackKind.NODE, "n1"), (StackKind.POD, "default/web-1")], True),
        ("10.1.1.2", "10.1.1.3", SourceKind.POD, [(StackKind.POD, "default/client"), (StackKind.NODE, "n1"), (StackKind.POD, "default/web-1")], True),
        ("10.1.2.2", "10.1.1.3", SourceKind.POD, [(StackKind.POD, "default/web-2"), (StackKind.NODE, "n1"), (StackKind.POD, "default/web-1")], False),
        ("192.168.0.12", "10.1.1.3", SourceKind.NODE, [(StackKind.NODE, "n2"), (StackKind.NODE, "n1"), (StackKind.POD, "default/web-1")], False),
        ("203.0.113.9", "10.1.1.3", SourceKind.EXTERNAL, [(StackKind.EXTERNAL, "203.0.113.9"), (StackKind.NODE, "n1"), (StackKind.POD, "default/web-1")], False),
    ],
)  # fmt: skip
def test_who_sent_it_and_from_where_it_is_replayed(
    source: str, destination: str, kind: SourceKind, stacks: list[tuple[StackKind, str]], *, replayed: bool
) -> None:
    answer = traced(source, destination)
    (outcome,) = answer.outcomes
    assert answer.query.source.kind is kind
    assert [(hop.kind, hop.name) for hop in outcome.hops] == stacks
    assert str(outcome.hops[0].packet_in.source) == source
    assert any("as node n1 recorded it: the way here is not replayed" in note for note in outcome.hops[0].notes) is not replayed


def test_a_line_that_holds_no_connection_is_refused() -> None:
    with pytest.raises(QueryError, match=r"line 2 of nodes/n1/conntrack\.txt holds no connection"):
        traced("10.1.1.2", "10.1.1.3", line=2)


def entry(
    original: tuple[str, str, int, int], reply: tuple[str, str, int, int], *, state: str = "ESTABLISHED", flag: str = "[ASSURED]"
) -> str:
    """One line of conntrack.txt: both directions as (source, destination, source port, destination port)."""
    forth, back = (f"src={a} dst={b} sport={p} dport={q}" for a, b, p, q in (original, reply))
    marks = (f"[UNREPLIED] {back}" if flag == "[UNREPLIED]" else f"{back} {flag}") + " mark=0 use=1"
    return f"ipv4     2 tcp      6 86399 {state} {forth} {marks}\n"


PLAIN = entry(("10.1.1.2", "10.1.2.2", 40000, 8080), ("10.1.2.2", "10.1.1.2", 8080, 40000))
TO_NODE_PORT = entry(("10.1.1.2", "192.168.0.12", 40000, 30080), ("192.168.0.12", "192.168.0.11", 30080, 40000))
MASQUERADED = entry(("192.168.0.11", "192.168.0.12", 40000, 30080), ("10.1.2.2", "10.1.2.1", 8080, 55555))
DROPPED = ("filter", "-A FORWARD -d 10.1.2.2/32 -p tcp -m conntrack --ctstate {} -j DROP")


def two_nodes(one: str | None, two: str | None, *rules: str, sysctl: dict[str, str] | None = None) -> MadeCluster:
    """n1 holds the pod client, n2 the pod web-1 and the node port 30080; what each one's conntrack.txt holds, and the rules of n2."""
    cluster = MadeCluster(2)
    cluster.pod("client", 1)
    web = cluster.pod("web-1", 2)
    cluster.service("web", [web], type="NodePort", node_port=30080)
    for number, text in ((1, one), (2, two)):
        if text is not None:
            cluster.node(number).texts["conntrack.txt"] = text
    table, rule = DROPPED
    cluster.node(2).rules += [(table, rule.format(state)) for state in rules]
    cluster.node(2).sysctl |= sysctl or {}
    return cluster


def asked(cluster: MadeCluster, node: str = "n1", line: int = 1) -> Trace:
    return cluster.trace("node:n1", "10.1.1.3:1", connection=(node, line))


OTHER = entry(("10.1.1.9", "10.1.2.9", 1, 2), ("10.1.2.9", "10.1.1.9", 2, 1))


@pytest.mark.parametrize(
    ("held", "rule", "dropped"),
    [
        (PLAIN, "ESTABLISHED", True),
        (PLAIN, "NEW", False),
        (OTHER, "ESTABLISHED", False),
        (OTHER, "NEW", True),
        ("", "NEW", True),
        (PLAIN.replace("src=10.1.1.2 dst=10.1.2.2 sport=40000", "src=10.1.1.2 dst=10.1.2.2 sport=40001"), "ESTABLISHED", False),
    ],
)
def test_the_next_node_looks_in_its_own_table(held: str, rule: str, *, dropped: bool) -> None:
    (outcome,) = asked(two_nodes(PLAIN, held, rule)).outcomes
    assert (outcome.disposition is Disposition.DROPPED) is dropped
    assert outcome.hops[2].name == "n2"
    said = [note for note in outcome.hops[2].notes if "holds no entry of this connection" in note]
    assert bool(said) is (held != PLAIN)
    assert not outcome.conditions


@pytest.mark.parametrize(("loose", "rule"), [("0", "INVALID"), ("1", "NEW"), (None, "NEW")])
def test_a_packet_in_the_middle_of_a_connection_that_a_node_does_not_hold(loose: str | None, rule: str) -> None:
    """Source: tcp_new in nf_conntrack_proto_tcp.c."""
    name = "net.netfilter.nf_conntrack_tcp_loose"
    for other in ("INVALID", "NEW", "ESTABLISHED"):
        (outcome,) = asked(two_nodes(PLAIN, OTHER, other, sysctl={name: loose} if loose else {})).outcomes
        steps = outcome.hops[2].steps
        last = (steps[-1].rule or "") if steps else ""
        assert (last.startswith("-A FORWARD -d 10.1.2.2/32") and outcome.disposition is Disposition.DROPPED) is (other == rule), last
        said = next(note for note in outcome.hops[2].notes if "holds no entry" in note)
        assert rule in said
        assert ("taken to be 1" in said) is (loose is None)


def test_a_table_that_was_not_recorded_is_not_empty() -> None:
    for unread in (None, "\x00 no such thing\n" + OTHER):
        answer = asked(two_nodes(PLAIN, unread, "NEW"))
        assert {(o.disposition, o.conditions) for o in answer.outcomes} == {
            (Disposition.DELIVERED, ("node n2 holds an entry of this connection",)),
            (Disposition.DROPPED, ("node n2 holds no entry of this connection",)),
        }
        assert [u.at["file"] for u in answer.unknowns] == ["nodes/n2/conntrack.txt"]
        (outcome,) = asked(two_nodes(PLAIN, unread)).outcomes
        assert outcome.disposition is Disposition.DELIVERED
        assert not outcome.conditions
        assert [r.text for r in outcome.remarks] == ["It makes no difference whether node n2 holds an entry of this connection"]


def test_to_what_an_entry_that_nobody_recorded_translates_is_not_known() -> None:
    answer = asked(two_nodes(TO_NODE_PORT, None))
    held = next(o for o in answer.outcomes if "node n2 holds an entry of this connection" in o.conditions)
    assert held.disposition is Disposition.UNKNOWN
    assert held.reason is not None
    assert held.reason.text.startswith("to what the entry of node n2 translates a packet for 192.168.0.12")


@pytest.mark.parametrize(("node", "line"), [("n1", 1), ("n2", 1)])
def test_it_starts_where_it_was_first_seen(node: str, line: int) -> None:
    """The line of the second node has the first one's address: its pod sent, and the answer has to come back to the pod."""
    answer = asked(two_nodes(TO_NODE_PORT, MASQUERADED), node, line)
    (outcome,) = answer.outcomes
    assert answer.query.source.kind is SourceKind.POD
    assert [hop.name for hop in outcome.hops] == ["default/client", "n1", "n2", "default/web-1"]
    assert (str(outcome.hops[0].packet_in.destination), outcome.hops[0].packet_in.destination_port) == ("192.168.0.12", 30080)
    assert str(outcome.source_seen[0] if outcome.source_seen else None) == "10.1.2.1"
    assert outcome.reply is not None
    assert outcome.reply.disposition is Disposition.DELIVERED
    assert [hop.name for hop in outcome.reply.hops] == ["default/web-1", "n2", "n1", "default/client"]


def test_a_sender_whose_node_does_not_hold_it_is_said() -> None:
    answer = asked(two_nodes(OTHER, MASQUERADED), "n2")
    (outcome,) = answer.outcomes
    assert answer.query.source.kind is SourceKind.NODE
    said = "node n1, from where 192.168.0.11 sends, holds no entry of this connection (nodes/n1/conntrack.txt)"
    assert said in outcome.hops[0].notes


def test_an_entry_that_saw_no_answer_is_met_again_by_the_first_packet() -> None:
    """The SYN is sent again: what an endpoint that is gone was bound to stays bound."""
    bound = entry(("10.1.1.2", "192.168.0.12", 40000, 30080), ("10.1.2.77", "10.1.2.1", 8080, 55555), state="SYN_SENT", flag="[UNREPLIED]")
    sent = entry(
        ("10.1.1.2", "192.168.0.12", 40000, 30080), ("192.168.0.12", "10.1.1.2", 30080, 40000), state="SYN_SENT", flag="[UNREPLIED]"
    )
    outcomes = asked(two_nodes(sent, bound)).outcomes
    assert len(outcomes) == 2, "its pod's route is gone: the wire is another device than MASQUERADE took 10.1.2.1 for"
    for outcome in outcomes:
        assert outcome.hops[2].packet_in.destination_port == 30080
        assert any(step.rewrote.get("destination", ("", ""))[1] == "10.1.2.77" for step in outcome.hops[2].steps)
        assert not any("holds no entry" in note for hop in outcome.hops for note in hop.notes)


def test_a_socket_that_is_gone_from_the_list_may_still_have_its_connections() -> None:
    cluster = two_nodes(entry(("10.1.1.2", "192.168.0.12", 40000, 22), ("192.168.0.12", "10.1.1.2", 22, 40000)), PLAIN)
    cluster.node(2).texts["ss.txt"] = "tcp   LISTEN 0      128          0.0.0.0:80        0.0.0.0:*\n"
    (outcome,) = asked(cluster).outcomes
    assert outcome.disposition is Disposition.DELIVERED
    assert outcome.listener is Listener.UNKNOWN


def test_an_answer_that_a_node_has_not_seen_makes_what_follows_invalid() -> None:
    """The answers went past n2: its entry is still that of the first packet. Source: tcp_conntracks in nf_conntrack_proto_tcp.c."""
    held = entry(("10.1.1.2", "10.1.2.2", 40000, 8080), ("10.1.2.2", "10.1.1.2", 8080, 40000), state="SYN_SENT", flag="[UNREPLIED]")
    for state in ("NEW", "ESTABLISHED", "INVALID"):
        cluster = two_nodes(PLAIN, held)
        cluster.node(2).rules.append(("mangle", f"-A FORWARD -d 10.1.2.2/32 -m conntrack --ctstate {state} -j DROP"))
        (outcome,) = asked(cluster).outcomes
        steps = outcome.hops[2].steps
        assert bool(steps and steps[-1].table == "mangle" and steps[-1].verdict == "drop") is (state == "INVALID")


@pytest.mark.parametrize(("state", "dropped"), [("NEW", True), ("ESTABLISHED", False), ("INVALID", False)])
def test_a_pods_own_node_that_forgot_it_is_passed_all_the_same(state: str, *, dropped: bool) -> None:
    cluster = two_nodes(OTHER, PLAIN)
    cluster.node(1).rules.append(("filter", f"-A FORWARD -s 10.1.1.2/32 -m conntrack --ctstate {state} -j DROP"))
    (outcome,) = asked(cluster, "n2").outcomes
    assert (outcome.disposition is Disposition.DROPPED) is dropped
    assert [hop.name for hop in outcome.hops][:2] == ["default/client", "n1"]
    assert "holds no entry of this connection (nodes/n1/conntrack.txt)" in outcome.hops[0].notes[0]


@pytest.mark.parametrize(
    ("held", "protocol", "sees"),
    [(OTHER, "tcp", Sees.UNKNOWN), (PLAIN, "tcp", Sees.CONNECTED), (OTHER, "udp", Sees.CONNECTED)],
)
def test_a_connection_that_is_taken_for_a_new_one_may_come_to_another_socket(held: str, protocol: str, sees: Sees) -> None:
    """n2 forgot it and redirects what is new: who listens there knows nothing of the connection. A datagram is taken by anybody."""
    as_udp = (("tcp      6 86399 ESTABLISHED", "udp      17 29"),) if protocol == "udp" else ()
    texts = [PLAIN, held]
    for old, new in as_udp:
        texts = [text.replace(old, new) for text in texts]
    cluster = two_nodes(*texts)
    cluster.node(2).rules.append(
        ("nat", f"-A PREROUTING -d 10.1.2.2/32 -p {protocol} -m {protocol} --dport 8080 -j REDIRECT --to-ports 80")
    )
    cluster.node(2).texts["ss.txt"] = "tcp LISTEN 0 128 0.0.0.0:80 0.0.0.0:*\nudp UNCONN 0 0 0.0.0.0:80 0.0.0.0:*\n"
    (outcome,) = asked(cluster).outcomes
    if held == PLAIN:
        assert outcome.destination is not None
        assert outcome.destination.name == "web-1"
    assert outcome.client_sees is sees
    assert [remark.code for remark in outcome.remarks] == (["CONNECTION_MOVED"] if sees is Sees.UNKNOWN else [])


@pytest.mark.parametrize(
    ("target", "sees"),
    [
        ("REJECT", Sees.TIMEOUT),
        ("REJECT --reject-with icmp-host-prohibited", Sees.TIMEOUT),
        ("REJECT --reject-with tcp-reset", Sees.CLOSED),
        ("DROP", Sees.TIMEOUT),
    ],
)
def test_who_is_connected_over_tcp_is_told_of_a_reset_only(target: str, sees: Sees) -> None:
    """Source: tcp_v4_err: a socket that is established keeps an ICMP error to itself, and sends again."""
    cluster = two_nodes(PLAIN, PLAIN)
    cluster.node(2).rules.append(("filter", f"-A FORWARD -d 10.1.2.2/32 -p tcp -j {target}"))
    (outcome,) = asked(cluster).outcomes
    assert outcome.client_sees is sees


@pytest.mark.parametrize(("liberal", "state"), [("0", "INVALID"), (None, "INVALID"), ("1", "ESTABLISHED")])
def test_an_answer_that_acknowledges_what_a_node_did_not_track_is_invalid(liberal: str | None, state: str) -> None:
    """Source: tcp_in_window in nf_conntrack_proto_tcp.c."""
    name = "net.netfilter.nf_conntrack_tcp_be_liberal"
    for other in ("INVALID", "ESTABLISHED"):
        cluster = two_nodes(PLAIN, PLAIN, sysctl={name: liberal} if liberal else {})
        cluster.node(2).rules += [
            ("raw", "-A PREROUTING -d 10.1.2.2/32 -p tcp -j CT --notrack"),
            ("filter", f"-A FORWARD -s 10.1.2.2/32 -m conntrack --ctstate {other} -j DROP"),
        ]
        (outcome,) = asked(cluster).outcomes
        assert outcome.disposition is Disposition.DELIVERED
        assert outcome.reply is not None
        why = outcome.reply.reason.text if outcome.reply.reason else ""
        assert ("-A FORWARD -s 10.1.2.2/32" in why) is (other == state)
        said = [note for hop in outcome.reply.hops for note in hop.notes if "has not seen the packet" in note]
        assert bool(said) is (state == "INVALID")


def test_and_one_of_what_it_tracked_is_not() -> None:
    cluster = two_nodes(PLAIN, PLAIN)
    cluster.node(2).rules.append(("filter", "-A FORWARD -s 10.1.2.2/32 -m conntrack --ctstate INVALID -j DROP"))
    (outcome,) = asked(cluster).outcomes
    assert outcome.reply is not None and outcome.reply.disposition is Disposition.DELIVERED


VIA_TUNNEL, VIA_WIRE = "10.1.2.1", "192.168.0.12"
"""The address that MASQUERADE gives on n2 for its pods' device, and the one for the wire."""


def masqueraded(source: str, protocol: str = "udp") -> Trace:
    """The next packet of a node's connection to the pod web-1 of n2, which n2 once gave *source*."""
    held = entry(("192.168.0.11", "192.168.0.12", 40000, 30080), ("10.1.2.2", source, 8080, 55555))
    if protocol == "udp":
        held = held.replace("tcp      6 86399 ESTABLISHED", "udp      17 29")
    return asked(two_nodes("", held, sysctl={}), "n2")


@pytest.mark.parametrize(("protocol", "seen"), [("udp", Sees.TIMEOUT), ("tcp", Sees.UNKNOWN)])
def test_a_masqueraded_connection_that_leaves_by_another_device_is_ended_by_the_kernel(protocol: str, seen: Sees) -> None:
    """Whether SNAT or MASQUERADE made the entry stands nowhere. Source: nf_nat_oif_changed, Linux 6.18; seed 710090 of the stacks."""
    ends = {outcome.conditions[-1]: outcome for outcome in masqueraded(VIA_WIRE, protocol).outcomes}
    kept, ended = ends[f"SNAT gave the connection the source {VIA_WIRE}"], ends[f"MASQUERADE gave the connection the source {VIA_WIRE}"]
    assert kept.disposition is Disposition.DELIVERED
    assert kept.source_seen is not None
    assert str(kept.source_seen[0]) == VIA_WIRE
    assert (ended.disposition, ended.client_sees) == (Disposition.DROPPED, seen)
    assert ended.reason is not None
    assert ended.reason.code == "MASQUERADE_MOVED"


@pytest.mark.parametrize("source", [VIA_TUNNEL, "203.0.113.77", "192.168.0.11"])
def test_one_that_leaves_as_it_did_or_whose_source_is_no_address_of_the_node_goes_on(source: str) -> None:
    for protocol in ("udp", "tcp"):
        for outcome in masqueraded(source, protocol).outcomes:
            assert outcome.disposition is Disposition.DELIVERED
            assert not outcome.conditions

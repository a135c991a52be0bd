"""The headline of an answer and the sentences below it."""

from __future__ import annotations

import pytest

from tests.made_cluster import MadeCluster
from tracer.dispositions import sees
from tracer.explain.findings import diagnose
from tracer.graph import paths_of
from tracer.query import Query, parse_destination, parse_protocol, parse_source
from tracer.simulate import trace
from tracer.stations import stations_of
from webapp.presenters.verdict import Verdict, lead, rule_sentence, sentence, verdict

SOCKETS = "Netid State  Recv-Q Send-Q Local Address:Port  Peer Address:Port Process\ntcp LISTEN 0 128 0.0.0.0:22 0.0.0.0:*\n"
CLIENT = "external:203.0.113.9"


def told(made: MadeCluster, source: str, to: str, protocol: str = "tcp") -> Verdict:
    """The verdict of one question, told from its first path."""
    cluster = made.cluster()
    query = Query(source=parse_source(source), destination=parse_destination(to), protocol=parse_protocol(protocol))
    found = diagnose(cluster, trace(cluster, query))
    answer = found.to_dict()
    for outcome, stations in zip(answer["outcomes"], stations_of(found), strict=True):
        outcome["stations"] = [station.to_dict() for station in stations]
    paths = paths_of(answer, {})
    return verdict(answer, paths, paths[0])


def cluster() -> MadeCluster:
    made = MadeCluster(2)
    made.pod("client", 1)
    made.service("web", [made.pod("web", 2)], type="NodePort", node_port=30080)
    return made


@pytest.mark.parametrize(
    ("sockets", "port", "head", "icon", "said"),
    [
        (None, 22, "Delivered to the node; whether a process listens is not recorded", "but", "nodes/n1/ss.txt is missing"),
        (SOCKETS, 22, "Delivered", "ok", "node n1"),
        (SOCKETS, 23, "Delivered, but nothing listens on the port at step ", "but", "the kernel answers with a reset"),
    ],
)
def test_who_listens_on_a_node_is_in_the_headline(sockets: str | None, port: int, head: str, icon: str, said: str):
    made = cluster()
    if sockets is not None:
        made.node(1).texts["ss.txt"] = sockets
    found = told(made, CLIENT, f"192.168.0.11:{port}")
    assert found.whole.startswith(head)
    assert found.icon == icon
    assert said in found.text + found.detail


@pytest.mark.parametrize(
    ("text", "first", "rest"),
    [
        ("{long} in two places (nat A: one, nat B: two): the rest", "{long} in two places (nat A: one, nat B: two).", "The rest."),
        ("{long} has the label “a/b: c”: kube-proxy leaves it alone", "{long} has the label “a/b: c”", "kube-proxy leaves it alone."),
        ("{long} has the annotation example.com/a: b", "{long} has the annotation example.com/a: b.", ""),
        ("{long} has session affinity: after this connection", "{long} has session affinity.", "After this connection."),
        ("{long} is held: api-1 is not ready", "{long} is held.", "api-1 is not ready."),
    ],
)
def test_a_long_sentence_is_cut_where_a_statement_ends(text: str, first: str, rest: str) -> None:
    long = "Service default/api" + " of nobody" * 15
    assert lead(text.format(long=long)) == (first.format(long=long), rest)


HASH = '-m comment --comment "cali:nSZbcOoG1xPONxb8"'


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (
            f'-A C {HASH} -m comment --comment "Configured DefaultEndpointToHostAction" -j DROP',
            ": “Configured DefaultEndpointToHostAction”.",
        ),
        (f"-A C {HASH} -j DROP", "."),
        ('-A C -m comment --comment "no thanks" -j DROP', ": “no thanks”."),
        ('meta mark 0x00000001 drop comment "cali:abc; Drop if no policies passed packet"', ": “Drop if no policies passed packet”."),
        ('ip daddr 10.0.0.1 drop comment "no thanks"', ": “no thanks”."),
        ("-A C -j DROP", "."),
    ],
)
def test_a_rule_speaks_for_itself(rule, said):
    outcome = {"hops": [{"stack": {"name": "n1"}, "steps": [{"chain": "C", "rule": rule}]}]}
    assert rule_sentence(outcome, "RULE_DROP") == f"A rule of C on node n1 drops the packet{said}"
    assert rule_sentence(outcome, "NO_ROUTE") == ""


REJECTS = [
    ("icmp-host-prohibited", "no route to host", "connection refused"),
    ("icmp-port-unreachable", "connection refused", "no route to host"),
    ("icmp-net-unreachable", "network is unreachable", "connection refused"),
    ("tcp-reset", "connection refused", "no route to host"),
]


@pytest.mark.parametrize(("kind", "said", "unsaid"), REJECTS)
def test_a_refusal_is_told_as_the_client_sees_it(kind: str, said: str, unsaid: str):
    made = cluster()
    made.node(1).rules.append(("filter", f"-A FORWARD -p tcp --dport 8080 -j REJECT --reject-with {kind}"))
    found = told(made, "pod:default/client", "10.96.0.10:80")
    assert found.whole.startswith("Rejected at step ")
    below = " ".join((found.text, found.detail, *found.extra))
    assert said in below
    assert unsaid not in below


def test_a_refusal_that_is_lost_is_a_timeout():
    made = cluster()
    made.node(2).rules.append(("filter", "-A FORWARD -p tcp --dport 8080 -j REJECT --reject-with icmp-host-prohibited"))
    made.node(1).rules.append(("filter", "-A FORWARD -p icmp -j DROP"))
    found = told(made, "pod:default/client", "10.96.0.10:80")
    assert "arrives" not in found.text, "what was refused did not arrive"
    below = " ".join(found.extra)
    assert "The client hears nothing and runs into a timeout." in below
    assert "The refusal does not reach it: Dropped by nodes/n1/iptables-save.txt:" in below


def test_an_answer_kept_before_it_was_told_has_its_dispositions_words():
    """What a stored document of the form before says of a refusal and of a lost packet."""
    assert sees("rejected", None) == "The client is told so, by an ICMP error or a reset."
    assert sees("delivered", None) == "The client connects."
    assert sees("delivered", "unknown") == ""
    assert sees("lost", "unknown") == "The client runs into a timeout, or gets “host unreachable”."


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("where the packet ends is not recorded", "Where the packet ends is not recorded."),
        ("how node n1 reaches it", "How node n1 reaches it."),
        ("nodes/n1/iptables-save.txt has only table nat", "nodes/n1/iptables-save.txt has only table nat."),
        ("eth0 of node n1 has no carrier", "eth0 of node n1 has no carrier."),
        ("", ""),
    ],
)
def test_a_sentence_begins_large_unless_a_name_begins_it(text, shown):
    assert sentence(text) == shown

"""A source port that nobody said: it is one of those that the client's kernel picks from, in both languages, in sets and on the way back."""

from __future__ import annotations

import pytest

from tests.made_cluster import MadeCluster
from tracer.trace import Trace

POD, NODE, OUTSIDE = "pod:default/client", "node:n1", "external:203.0.113.9"
RANGE = {"net.ipv4.ip_local_port_range": "40000\t50000"}


def asked(rule: str, source: str, *, sysctl: dict[str, str] | None = None, table: str = "raw", chain: str = "", node: int = 1) -> Trace:
    """What becomes of a packet that meets *rule* first on node n1."""
    made = MadeCluster(2)
    made.pod("client", 1)
    made.service("web", [made.pod("web", 2)], type="NodePort", node_port=30080)
    where = chain or ("OUTPUT" if source == NODE else "PREROUTING")
    made.node(node).rules.append((table, f"-A {where} -p tcp {rule} -j DROP"))
    made.node(1).sysctl |= sysctl or {}
    return made.trace(source, "192.168.0.11:30080" if source == OUTSIDE else "10.96.0.10:80")


def shown(answer: Trace) -> str:
    """Whether the rule drops the packet: "yes", "no", or "?" where that is not known."""
    ends = {o.disposition.value for o in answer.outcomes}
    return "?" if len(ends) > 1 else "yes" if ends == {"dropped"} else "no"


@pytest.mark.parametrize(
    ("match", "pod", "node", "outside"),
    [
        ("--sport 1:1023", "no", "no", "no"),
        ("--sport 30412", "no", "no", "no"),
        ("--sport 32768:60999", "yes", "yes", "?"),
        ("--sport 32768:65535", "yes", "yes", "yes"),
        ("--sport 61000:65535", "no", "no", "?"),
        ("--sport 39999", "?", "no", "?"),
        ("--sport 40000:50000", "?", "yes", "?"),
        ("! --sport 40000:50000", "?", "no", "?"),
        ("-m multiport --sports 32768:40000,40001:60999", "yes", "yes", "?"),
        ("--sport 45000", "?", "?", "?"),
    ],
)
def test_the_range_of_the_clients_own_kernel_decides(match: str, pod: str, node: str, outside: str):
    match = match if match.startswith("-m") else f"-m tcp {match}"
    # A pod's network namespace is its own: its range is the default, whatever the node's is.
    assert [shown(asked(match, source, sysctl=RANGE)) for source in (POD, NODE, OUTSIDE)] == [pod, node, outside]


def test_without_sysctl_it_is_the_default():
    assert shown(asked("-m tcp --sport 32768:60999", NODE)) == "yes"
    assert shown(asked("-m tcp --sport 61000:65535", NODE)) == "no"


@pytest.mark.parametrize(("port", "answer"), [(30412, "no"), (45000, "?"), (61000, "no")])
def test_the_way_back_asks_the_same(port: int, answer: str):
    made = MadeCluster(2)
    made.pod("client", 1)
    made.service("web", [made.pod("web", 2)])
    made.node(2).rules.append(("raw", f"-A PREROUTING -p tcp -m tcp --sport 8080 --dport {port} -j DROP"))
    found = made.trace(POD, "10.96.0.10:80")
    lost = {o.reply.disposition.value for o in found.outcomes if o.reply}
    assert lost == ({"delivered"} if answer == "no" else {"delivered", "dropped"})


def test_a_masqueraded_port_is_the_clients_own_again_behind_the_nodes_conntrack():
    """The node's own packet, masqueraded to the address that it has: INPUT sees the port that the process picked, not the one drawn."""
    made = MadeCluster(2)
    made.service("web", [made.pod("web", 2)])
    made.node(1).rules += [
        ("nat", "-A POSTROUTING -p tcp -m tcp --dport 8080 -j MASQUERADE --random-fully"),
        ("filter", "-A INPUT -p tcp -m tcp --dport 30412 -j DROP"),
    ]
    (outcome,) = made.trace(NODE, "10.96.0.10:80").outcomes
    assert not outcome.conditions
    assert outcome.reply is not None
    assert outcome.reply.disposition.value == "delivered"
    assert not outcome.reply.hops[-1].packet_out.destination_port_random


@pytest.mark.parametrize(
    ("match", "answer"),
    [("tcp sport 1-1023", "no"), ("tcp sport 32768-60999", "yes"), ("tcp sport { 39999, 61000-65535 }", "no"), ("tcp sport 45000", "?")],
)
def test_nft_asks_the_same_range(match: str, answer: str):
    made = MadeCluster(2)
    made.pod("client", 1)
    made.service("web", [made.pod("web", 2)])
    made.node(1).sysctl |= RANGE
    made.node(1).texts["nft-ruleset.txt"] = (
        "table ip own {\n\tchain out {\n\t\ttype filter hook output priority -300; policy accept;\n" + f"\t\t{match} drop\n" + "\t}\n}\n"
    )
    assert shown(made.trace(NODE, "10.96.0.10:80")) == answer

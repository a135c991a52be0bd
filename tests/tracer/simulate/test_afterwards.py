"""The packets behind the first one, without a kernel: what is the flow's stays as it fell out, and a SYN again meets what the first one left.

The same ways, held against the kernel, are in test_handshake_kernel.py.
"""

from __future__ import annotations

from fractions import Fraction

import pytest

from tests.made_cluster import MadeCluster
from tracer.trace import Disposition, Outcome, Sees, Trace

LOST, AGAIN = "HANDSHAKE_UNFINISHED", "SYN_SENT_AGAIN"
TO_PODS = "-A FORWARD -d 10.1.2.0/24 -p tcp"


def two_nodes(*rules: tuple[int, str, str]) -> MadeCluster:
    """The pod client on n1; web-1 and web-2 on n2 behind the Service web; *rules* as (node, table, line)."""
    cluster = MadeCluster(2)
    cluster.pod("client", 1)
    pods = [cluster.pod(f"web-{number + 1}", 2) for number in range(2)]
    cluster.service("web", pods, type="NodePort", node_port=30080)
    for node, table, line in rules:
        cluster.node(node).rules.append((table, line))
    return cluster


def codes(outcome: Outcome) -> list[str]:
    return [remark.code for remark in outcome.remarks]


def dialled(cluster: MadeCluster, to: str = "10.96.0.10:80", source: str = "pod:default/client") -> Trace:
    answer = cluster.trace(source, to)
    assert sum(o.probability for o in answer.outcomes) == 1
    return answer


def test_it_is_the_endpoint_that_was_drawn_whose_ack_is_looked_at() -> None:
    answer = dialled(two_nodes((2, "filter", "-A FORWARD -d 10.1.2.2/32 -p tcp -m conntrack --ctstate ESTABLISHED -j DROP")))
    seen = {str(o.destination.name if o.destination else None): (o.client_sees, o.probability, codes(o)) for o in answer.outcomes}
    assert seen == {"web-1": (Sees.HANGS, Fraction(1, 2), [LOST]), "web-2": (Sees.CONNECTED, Fraction(1, 2), [])}
    assert all(o.disposition is Disposition.DELIVERED for o in answer.outcomes)


@pytest.mark.parametrize(
    ("rule", "sees"),
    [
        (f"{TO_PODS} -m conntrack --ctstate ESTABLISHED -j DROP", Sees.HANGS),
        (f"{TO_PODS} ! --syn -j DROP", Sees.HANGS),
        (f"{TO_PODS} -m conntrack --ctstate ESTABLISHED -j REJECT", Sees.HANGS),
        (f"{TO_PODS} -m conntrack --ctstate ESTABLISHED -j REJECT --reject-with tcp-reset", Sees.CLOSED),
        (f"{TO_PODS} -m conntrack --ctstate INVALID -j DROP", Sees.CONNECTED),
        (f"{TO_PODS} -m conntrack --ctstate ESTABLISHED -j ACCEPT", Sees.CONNECTED),
        ("-A FORWARD -s 10.1.2.0/24 -p tcp -m conntrack --ctstate ESTABLISHED -j DROP", Sees.TIMEOUT),
    ],
)
def test_what_meets_the_ack(rule: str, sees: Sees) -> None:
    answer = dialled(two_nodes((2, "filter", rule)))
    assert {o.client_sees for o in answer.outcomes} == {sees}
    assert {tuple(codes(o)) for o in answer.outcomes} == {(LOST,) if sees in (Sees.HANGS, Sees.CLOSED) else ()}


def test_a_condition_that_the_ack_meets_alone_divides_the_outcome() -> None:
    """Whether the set holds the address nobody recorded: the SYN is not asked."""
    rule = f"{TO_PODS} ! --syn -m set --match-set blocked dst -j DROP"
    answer = dialled(two_nodes((2, "filter", rule)), "10.1.2.2:8080")
    assert [(o.client_sees, o.probability) for o in answer.outcomes] == [(Sees.HANGS, Fraction(1, 2)), (Sees.CONNECTED, Fraction(1, 2))]
    assert all(o.conditions for o in answer.outcomes)


def test_a_condition_that_both_meet_is_asked_once() -> None:
    rule = f"{TO_PODS} -m set --match-set blocked dst -j DROP"
    answer = dialled(two_nodes((2, "filter", rule)), "10.1.2.2:8080")
    assert sorted((o.client_sees.value, o.probability) for o in answer.outcomes) == [
        ("connected", Fraction(1, 2)),
        ("timeout", Fraction(1, 2)),
    ]
    assert all(len(o.conditions) == 1 for o in answer.outcomes)


def test_udp_has_no_third_packet_and_is_not_sent_again() -> None:
    cluster = two_nodes((2, "filter", "-A FORWARD -m conntrack --ctstate ESTABLISHED -d 10.1.2.0/24 -j DROP"))
    (outcome,) = cluster.trace("pod:default/client", "10.1.2.2:8080", protocol="udp").outcomes
    assert not codes(outcome)


def marked(*more: tuple[int, str, str]) -> MadeCluster:
    """n1 lets through what is marked only: nat rules mark what goes to the node port, and n2 drops it."""
    return two_nodes(
        (1, "filter", "-A FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT"),
        (1, "filter", "-A FORWARD -p tcp -m conntrack --ctstate NEW -j REJECT --reject-with tcp-reset"),
        *more,
    )


def test_the_second_syn_has_no_mark() -> None:
    answer = dialled(marked((2, "filter", f"{TO_PODS} -j DROP")), "192.168.0.11:30080")
    for outcome in answer.outcomes:
        assert outcome.disposition is Disposition.DROPPED
        assert outcome.hops[-1].name == "n2"
        assert (outcome.client_sees, codes(outcome)) == (Sees.REFUSED, [AGAIN])
        assert "--ctstate NEW -j REJECT" in outcome.remarks[0].text


def test_a_node_that_stopped_the_syn_remembers_nothing() -> None:
    answer = dialled(marked((1, "mangle", "-A POSTROUTING -m mark --mark 0x4000/0x4000 -j DROP")), "192.168.0.11:30080")
    assert {(o.client_sees, tuple(codes(o))) for o in answer.outcomes} == {(Sees.TIMEOUT, ())}


def test_what_is_answered_at_once_is_not_sent_again() -> None:
    answer = dialled(marked((2, "filter", f"{TO_PODS} -j REJECT --reject-with tcp-reset")), "192.168.0.11:30080")
    assert {(o.client_sees, tuple(codes(o))) for o in answer.outcomes} == {(Sees.REFUSED, ())}

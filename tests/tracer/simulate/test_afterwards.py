"""The packets behind the first one, without a kernel: what is the flow's stays as it fell out, and a SYN again meets what the first one left.

The same ways, held against the kernel, are in test_handshake_kernel.py.
"""

from __future__ import annotations

from fractions import Fraction

import pytest

from tests.made_cluster import MadeCluster
from tracer.dispositions import client_sentence
from tracer.limits import Budget, Limits
from tracer.simulate import tracing
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


def test_where_nobody_may_listen_it_may_be_refused_as_well() -> None:
    answer = dialled(two_nodes((2, "filter", f"{TO_PODS} -m conntrack --ctstate ESTABLISHED -j DROP")), "10.1.2.2:81")
    assert [(o.client_sees, codes(o)) for o in answer.outcomes] == [(Sees.UNKNOWN, [LOST])]


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


ONE_DEAD = "-A FORWARD -d 10.1.2.2/32 -j DROP"


def ends(answer: Trace) -> set[tuple[str, Sees, Fraction, tuple[str, ...]]]:
    return {(o.disposition.value, o.client_sees, o.probability, tuple(codes(o))) for o in answer.outcomes}


@pytest.mark.parametrize("dead", ["10.1.2.2", "10.1.2.3"], ids=["drawn by a rule of chance", "left over by all of them"])
@pytest.mark.parametrize("source", ["pod:default/client", "node:n1"])
def test_a_node_that_stopped_its_draw_draws_again(source: str, dead: str) -> None:
    rule = ONE_DEAD.replace("10.1.2.2", dead)
    answer = dialled(two_nodes((1, "filter", rule), (1, "filter", rule.replace("FORWARD", "OUTPUT"))), source=source)
    assert ends(answer) == {
        ("delivered", Sees.CONNECTED, Fraction(1, 2), ()),
        ("dropped", Sees.CONNECTED, Fraction(63, 128), ("SYN_DRAWN_AGAIN",)),
        ("dropped", Sees.TIMEOUT, Fraction(1, 128), ("SYN_DRAWN_AGAIN",)),
    }
    assert len({o.id for o in answer.outcomes}) == 3


@pytest.mark.parametrize(
    ("disposition", "seen", "said"),
    [
        (Disposition.DROPPED, Sees.CONNECTED, "A SYN that is sent again connects"),
        (Disposition.DROPPED, Sees.HANGS, "A SYN that is sent again connects, and then"),
        (Disposition.DELIVERED, Sees.CONNECTED, "The client connects."),
        (Disposition.DELIVERED, Sees.HANGS, "The client connects, and then"),
    ],
)
def test_who_connects_later_is_not_said_to_connect_by_what_was_dropped(disposition: Disposition, seen: Sees, said: str) -> None:
    assert client_sentence(disposition, seen, "tcp").startswith(said)


def test_a_draw_that_got_through_its_node_is_kept() -> None:
    assert ends(dialled(two_nodes((2, "filter", ONE_DEAD)))) == {
        ("delivered", Sees.CONNECTED, Fraction(1, 2), ()),
        ("dropped", Sees.TIMEOUT, Fraction(1, 2), ()),
    }


def test_where_no_draw_gets_through_nothing_is_said() -> None:
    rules = [(1, "filter", f"-A FORWARD -d 10.1.2.{number}/32 -p tcp -j DROP") for number in (2, 3)]
    assert ends(dialled(two_nodes(*rules))) == {("dropped", Sees.TIMEOUT, Fraction(1, 2), ())}


def test_nor_where_the_balancer_keeps_the_node_that_drops_all() -> None:
    cluster = two_nodes((1, "filter", "-A FORWARD -d 10.1.2.0/24 -p tcp -j DROP -m comment --comment a"))
    cluster.node(1).rules.insert(0, ("filter", "-A FORWARD -d 10.1.2.3/32 -p tcp -j DROP"))
    cluster.services[0].type, cluster.services[0].lb_ip = "LoadBalancer", "203.0.113.100"
    answer = dialled(cluster, "203.0.113.100:80", "external:203.0.113.9")
    assert {(o.client_sees, tuple(codes(o))) for o in answer.outcomes} == {(Sees.CONNECTED, ()), (Sees.TIMEOUT, ())}


def test_a_later_draw_may_be_refused() -> None:
    refused = "-A FORWARD -d 10.1.2.3/32 -p tcp -j REJECT --reject-with tcp-reset"
    assert ends(dialled(two_nodes((1, "filter", ONE_DEAD), (1, "filter", refused)))) == {
        ("rejected", Sees.REFUSED, Fraction(1, 2), ()),
        ("dropped", Sees.REFUSED, Fraction(63, 128), ("SYN_DRAWN_AGAIN",)),
        ("dropped", Sees.TIMEOUT, Fraction(1, 128), ("SYN_DRAWN_AGAIN",)),
    }


def test_a_draw_may_be_made_behind_what_keeps_its_own() -> None:
    """The load balancer keeps the node that it picked; the node, which dropped what it drew, draws again."""
    cluster = two_nodes((1, "filter", ONE_DEAD))
    cluster.services[0].type, cluster.services[0].lb_ip = "LoadBalancer", "203.0.113.100"
    answer = dialled(cluster, "203.0.113.100:80", "external:203.0.113.9")
    sees = {sees: sum(o.probability for o in answer.outcomes if o.client_sees is sees) for sees in (Sees.CONNECTED, Sees.TIMEOUT)}
    assert sees == {Sees.TIMEOUT: Fraction(1, 2) * Fraction(1, 128), Sees.CONNECTED: 1 - Fraction(1, 256)}


def test_a_datagram_is_sent_again_by_its_program_only() -> None:
    cluster = MadeCluster(2)
    cluster.pod("client", 1)
    cluster.service("dns", [cluster.pod(f"dns-{number}", 2) for number in range(2)])
    rules = [
        "-A PREROUTING -d 10.96.0.99/32 -p udp -m udp --dport 53 -m statistic --mode random --probability 0.5 -j DNAT --to-destination 10.1.2.2:53"
    ]
    rules.append("-A PREROUTING -d 10.96.0.99/32 -p udp -m udp --dport 53 -j DNAT --to-destination 10.1.2.3:53")
    cluster.node(1).rules += [*(("nat", rule) for rule in rules), ("filter", ONE_DEAD)]
    answer = cluster.trace("pod:default/client", "10.96.0.99:53", protocol="udp")
    (lost,) = [o for o in answer.outcomes if o.disposition is Disposition.DROPPED]
    assert (lost.client_sees, lost.probability, codes(lost)) == (Sees.TIMEOUT, Fraction(1, 2), ["DATAGRAM_SENT_AGAIN"])


def test_what_is_answered_at_once_is_not_sent_again() -> None:
    answer = dialled(marked((2, "filter", f"{TO_PODS} -j REJECT --reject-with tcp-reset")), "192.168.0.11:30080")
    assert {(o.client_sees, tuple(codes(o))) for o in answer.outcomes} == {(Sees.REFUSED, ())}


def test_a_dropped_endpoint_costs_what_the_endpoints_do_not_their_square(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a balancer each SYN is drawn again, and each ACK behind one goes the way that its SYN went: no other is walked."""
    budgets: list[Budget] = []

    def counted(limits: Limits) -> Budget:
        budgets.append(Budget(limits))
        return budgets[-1]

    monkeypatch.setattr(tracing, "Budget", counted)
    spent = {}
    for count in (12, 48):
        made = MadeCluster(3)
        made.service(
            "web", [made.pod(f"web-{i}", i % 3 + 1) for i in range(count)], type="LoadBalancer", node_port=30080, lb_ip="198.51.100.7"
        )
        made.node(2).rules.append(("filter", "-A FORWARD -d 10.1.2.3/32 -p tcp -m tcp --dport 8080 -j DROP"))
        answer = dialled(made, "198.51.100.7:80", "external:203.0.113.9")
        assert any("SYN_DRAWN_AGAIN" in codes(outcome) for outcome in answer.outcomes)
        spent[count] = budgets[-1].limits.work - budgets[-1].left
    assert spent[48] / spent[12] < 8

"""What becomes of the packets behind the first one, as findings: with the rule that stops them, and what to do."""

from __future__ import annotations

from tests.made_findings import all_of, codes, published, shop

POD = "10.1.2.2"
KNOWN = f"-A FORWARD -d {POD}/32 -p tcp -m conntrack --ctstate ESTABLISHED -j DROP"


def test_an_ack_that_does_not_arrive() -> None:
    made = shop()
    made.node(2).rules.append(("filter", KNOWN))
    (found,) = all_of(made.diagnosed("pod:default/client-1", f"{POD}:8080"), "HANDSHAKE_UNFINISHED")
    assert KNOWN in found.text
    assert (found.severity, found.evidence) == ("fault", ("node n2",))
    assert found.fix


def test_an_ack_that_arrives_is_not_worth_a_word() -> None:
    made = shop()
    made.node(2).rules.append(("filter", KNOWN.replace("DROP", "ACCEPT")))
    assert "HANDSHAKE_UNFINISHED" not in codes(made.diagnosed("pod:default/client-1", f"{POD}:8080"))


def test_a_syn_that_is_sent_again_without_its_mark() -> None:
    made = published(pods=(2,))
    made.node(1).rules += [
        ("filter", "-A FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT"),
        ("filter", "-A FORWARD -p tcp -m conntrack --ctstate NEW -j REJECT --reject-with tcp-reset"),
    ]
    made.node(2).rules.append(("filter", f"-A FORWARD -d {POD}/32 -p tcp -j DROP"))
    answer = made.diagnosed("pod:default/client-1", "192.168.0.11:30080")
    (found,) = all_of(answer, "SYN_SENT_AGAIN")
    assert "--ctstate NEW -j REJECT" in found.text
    assert {o.client_sees.value for o in answer.outcomes} == {"refused"}

"""Masquerade, and a node's own choice, where the node's addresses were not recorded: the walk goes on with "an address of node X".

Only what asks for the address itself is unknown; what asks for no more than the node, or matches anything, is answered.
"""

from __future__ import annotations

import json

import pytest

from tests.made_cluster import MadeCluster
from tracer.explain.findings import diagnose
from tracer.trace import Disposition, Outcome, Trace

SOME, WHICH = "an address of node n1", "which address of node n1 the packet has"
CLIENT = "external:203.0.113.9"
FOR = {4: "192.168.0.11:30080", 6: "[fd00:192::b]:30080"}
WEB = {4: "10.96.0.10:80", 6: "[fd00:96::a]:80"}
NFT = """table {family} mine {{
 chain post {{
  type nat hook postrouting priority 100; policy accept;
  oifname != "lo" masquerade
 }}
}}
"""


def made(version: int = 4, *, web: int = 2, without: tuple[str, ...] = ("ip-addr.json",), **node: object) -> MadeCluster:
    """A client on n1 and a Service whose pod is on node *web*; the files *without* are missing on n1."""
    cluster = MadeCluster(2)
    cluster.pod("client", 1)
    cluster.service("web", [cluster.pod("web-1", web)], version=version, node_port=30080, type="NodePort")
    cluster.node(1).without |= {*without}
    for name, value in node.items():
        setattr(cluster.node(1), name, value)
    return cluster


def only(answer: Trace) -> Outcome:
    (outcome,) = answer.outcomes
    return outcome


def arrived(answer: Trace, source: str = SOME) -> Outcome:
    """The only outcome, delivered with *source* and answered; nothing about it is left unknown."""
    found = only(answer)
    assert found.disposition is Disposition.DELIVERED and found.source_seen is not None and found.reply is not None, found.reason
    assert (str(found.source_seen[0]), found.reply.disposition) == (source, Disposition.DELIVERED), found.reply.reason
    assert answer.unknowns == () and found.conditions == ()
    return found


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("web", [1, 2])
def test_kube_proxys_mark(version: int, web: int) -> None:
    """From outside to a node port, to a pod here or on the other node; the answer finds its way back."""
    client = CLIENT if version == 4 else "external:2001:db8::9"
    found = arrived(made(version, web=web).trace(client, FOR[version])).to_dict(with_steps=True)
    assert found["source_seen"] == {"ip": None, "port": None, "node": "n1"}
    assert SOME in json.dumps(found["hops"]) and "which one is not in the snapshot (ip-addr.json)" in json.dumps(found["hops"])


def test_whether_a_node_is_masqueraded_may_depend_on_it() -> None:
    """kube-proxy asks for the source (``! -s`` the pods' network): both ways are told, and end alike."""
    answer = made().trace("node:n1", WEB[4])
    assert {(o.disposition, str(o.source_seen and o.source_seen[0])) for o in answer.outcomes} == {(Disposition.DELIVERED, SOME)}


@pytest.mark.parametrize("version", [4, 6])
def test_egress_that_is_masqueraded(version: int) -> None:
    cluster = made(version, rules=[("nat", "-A POSTROUTING -o eth0 -j MASQUERADE")])
    answer = cluster.trace("pod:default/client", "203.0.113.53:53" if version == 4 else "[2001:db8::53]:53")
    found = only(answer)
    assert found.disposition is Disposition.LEAVES and found.source_seen is not None and found.reply is not None
    assert (str(found.source_seen[0]), found.reply.disposition, answer.unknowns) == (SOME, Disposition.DELIVERED, ())


@pytest.mark.parametrize("version", [4, 6])
def test_nfts_masquerade(version: int) -> None:
    family = {4: "ip", 6: "ip6"}[version]
    cluster = made(version, texts={"nft-ruleset.txt": NFT.format(family=family)})
    pod = cluster.pods[1].ips[0 if version == 4 else 1]
    arrived(cluster.trace("pod:default/client", f"{pod}:8080" if version == 4 else f"[{pod}]:8080"))


def test_a_node_that_sends_by_itself() -> None:
    arrived(made().trace("node:n1", f"{made().pods[1].ips[0]}:8080"))


ASKS = {
    "a network of sources": "-A FORWARD -s 10.99.0.0/16 -j DROP",
    "all but a network": "-A FORWARD ! -s 192.168.0.0/24 -j DROP",
    "a range": "-A FORWARD -m iprange --src-range 10.0.0.1-10.0.0.9 -j DROP",
    "a set": "-A FORWARD -m set --match-set S src -j DROP",
    "a set of pairs": "-A FORWARD -i eth0 -m set --match-set OTHERS dst,dst,src -j DROP",
}
SETS = """create S hash:net family inet
add S 10.99.0.0/16
create PAIRS hash:net,net family inet
add PAIRS 10.99.0.0/16,192.168.0.0/24
create HAIRPINS hash:ip,port,ip family inet
add HAIRPINS 10.1.2.2,tcp:8080,10.1.2.2
create OTHERS hash:ip,port,net family inet
add OTHERS 10.1.2.2,tcp:8080,192.168.0.0/24
"""
ASKS_NOT = {
    "any source": "-A FORWARD -s 0.0.0.0/0 -j ACCEPT",
    "the destination": "-A FORWARD -i eth0 -d 10.99.0.0/16 -j DROP",
    "a set of destinations": "-A FORWARD -i eth0 -m set --match-set S dst -j DROP",
    "a source of its own stack": "-A FORWARD -m addrtype --src-type LOCAL -j DROP",
    "a loopback source": "-A FORWARD -s 127.0.0.0/8 -j DROP",
    "a set of pairs that holds no such destination": "-A FORWARD -m set --match-set PAIRS dst,src -j DROP",
    "a set of hairpins": "-A FORWARD -m set --match-set HAIRPINS dst,dst,src -j DROP",
}


@pytest.mark.parametrize(
    ("rule", "asks"), [(r, True) for r in ASKS.values()] + [(r, False) for r in ASKS_NOT.values()], ids=[*ASKS, *ASKS_NOT]
)
def test_only_what_asks_for_the_address_is_unknown(rule: str, asks: bool) -> None:
    """The other node asks, of what comes to it from an address that n1 did not record."""
    cluster = made()
    cluster.node(2).rules.append(("filter", rule))
    cluster.node(2).texts["ipset-save.txt"] = SETS
    answer = cluster.trace(CLIENT, FOR[4])
    if not asks:
        arrived(answer)
        return
    assert {o.disposition for o in answer.outcomes} == {Disposition.DELIVERED, Disposition.DROPPED}
    assert any(WHICH in u.text and "ip-addr.json" in u.text for u in answer.unknowns)


def test_an_nft_rule_that_asks_for_the_address_is_unknown() -> None:
    cluster = made()
    cluster.node(2).texts["nft-ruleset.txt"] = (
        "table ip mine {\n chain f {\n  type filter hook forward priority 0; policy accept;\n  ip saddr 10.99.0.0/16 drop\n }\n}\n"
    )
    answer = cluster.trace(CLIENT, FOR[4])
    assert {o.disposition for o in answer.outcomes} == {Disposition.DELIVERED, Disposition.DROPPED}
    assert any(WHICH in u.text for u in answer.unknowns)


def test_a_rule_for_the_answers_destination_is_not_passed_over() -> None:
    """An index by destination would take words for an address that no rule asks for."""
    cluster = made()
    cluster.node(2).rules.append(("filter", "-A FORWARD -d 192.168.0.11/32 -m conntrack --ctstate ESTABLISHED -j DROP"))
    replies = {o.reply.disposition for o in cluster.trace(CLIENT, FOR[4]).outcomes if o.reply}
    assert replies == {Disposition.DELIVERED, Disposition.DROPPED}


@pytest.mark.parametrize(("strict", "end"), [("0", Disposition.DELIVERED), ("1", Disposition.UNKNOWN)])
def test_the_way_back_to_it_is_only_asked_where_rp_filter_is_on(strict: str, end: Disposition) -> None:
    cluster = made()
    cluster.node(2).sysctl["net.ipv4.conf.all.rp_filter"] = strict
    assert {o.disposition for o in cluster.trace(CLIENT, FOR[4]).outcomes} == {end}


def test_a_routing_rule_that_asks_for_it_is_unknown() -> None:
    cluster = made()
    cluster.node(2).rules_of_routing.append({"priority": 100, "src": "10.99.0.0", "srclen": 16, "table": "100"})
    cluster.node(2).routes.append({"dst": "default", "gateway": "192.168.0.1", "dev": "eth0", "table": "100", "flags": []})
    assert {o.disposition for o in cluster.trace(CLIENT, FOR[4]).outcomes} == {Disposition.UNKNOWN}


def policy(peer: dict[str, object]) -> bytes:
    spec = {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": [peer]}]}
    item = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"namespace": "default", "name": "p"}, "spec": spec}
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": [item]}).encode()


@pytest.mark.parametrize(
    ("peer", "code"),
    [
        ({"ipBlock": {"cidr": "192.168.0.0/24"}}, "DATA_MISSING"),
        ({"podSelector": {"matchLabels": {"app": "x"}}}, "POLICY_NOT_SEEN_IN_RULES"),
    ],
)
def test_a_policy_is_judged_by_what_is_known(peer: dict[str, object], code: str) -> None:
    """An address block may hold the address: nothing is said of what it does. A selector never selects a node."""
    cluster = made()
    cluster.extra["networkpolicies.json"] = policy(peer)
    (outcome,) = diagnose(cluster.cluster(), cluster.trace(CLIENT, FOR[4])).outcomes
    found = {f.code: f.text for f in outcome.findings if "NetworkPolicy" in f.text}
    assert [*found] == [code]
    assert (SOME in found[code]) is (code == "DATA_MISSING")


def test_without_an_address_of_the_family_nothing_stands_for_it() -> None:
    cluster = made()
    cluster.extra["nodes.json"] = cluster.files()["nodes.json"].replace(
        b'"InternalIP", "address": "192.168.0.11"', b'"Hostname", "address": "x"'
    )
    assert {o.disposition for o in cluster.trace("node:n1", WEB[4]).outcomes} == {Disposition.UNKNOWN}

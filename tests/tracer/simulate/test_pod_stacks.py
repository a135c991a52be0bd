"""A pod's own stack, where its files were recorded: its rules redirect, its firewall drops, its closed port refuses."""

from __future__ import annotations

import json

import pytest

from tests.made_cluster import MadeCluster
from tests.sizes import every
from tests.tracer.simulate.test_links_kernel import POD, PORT, REASON, ROUTES, VETHS, told, world
from tracer.explain.findings import diagnose
from tracer.trace import Disposition, Listener, Outcome, Sees, StackKind

WEB = "10.96.0.10:80"
INBOUND = "*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n{}\nCOMMIT\n"
REDIRECTED = INBOUND.format("-A PREROUTING -p tcp -m tcp --dport 8080 -j REDIRECT --to-ports 15006")
TAKEN = INBOUND.format("-A OUTPUT -p tcp -m owner --uid-owner 1337 -j RETURN\n-A OUTPUT -p tcp -j REDIRECT --to-ports 15001")
FIREWALL = "*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n"
NOBODY = "Netid State Recv-Q Send-Q Local Address:Port Peer Address:Port Process\ntcp LISTEN 0 4096 127.0.0.1:9999 0.0.0.0:*\n"


def made(**files: str) -> MadeCluster:
    """A client on n1 and a Service with a pod on n2; *files* are of the pods' own stacks: ``client`` or ``web`` → iptables-save."""
    cluster = MadeCluster(2)
    cluster.pod("client", 1)
    cluster.service("web", [cluster.pod("web-1", 2)], node_port=30080)
    place = {"client": "nodes/n1/pods/default_client/", "web": "nodes/n2/pods/default_web-1/"}
    for whose, text in files.items():
        cluster.extra[place[whose] + ("ss.txt" if text is NOBODY else "iptables-save.txt")] = text.encode()
    return cluster


def only(cluster: MadeCluster, source: str = "pod:default/client") -> Outcome:
    (outcome,) = cluster.trace(source, WEB).outcomes
    return outcome


def test_what_comes_in_is_redirected_and_answered() -> None:
    """The client sees the answer of the address that it dialled; the rule is shown at the pod, with its file and line."""
    found = only(made(web=REDIRECTED))
    assert (found.disposition, found.destination and (found.destination.name, found.destination.port)) == (
        Disposition.DELIVERED,
        ("web-1", 15006),
    )
    step = next(s for h in found.hops if h.kind is StackKind.POD for s in h.steps if s.rule)
    assert (step.file, step.line) == ("nodes/n2/pods/default_web-1/iptables-save.txt", 6)
    assert found.reply is not None and (found.reply.disposition, str(found.reply.source)) == (Disposition.DELIVERED, "10.96.0.10")


def test_its_rules_are_not_laid_to_the_service() -> None:
    """The port that a sidecar listens on is no target port of a Service, and no container has to declare it."""
    answer = made(web=REDIRECTED).trace("pod:default/client", WEB)
    assert [f.code for o in answer.outcomes for f in o.findings if f.code == "TARGET_PORT_UNPROVEN"] == []
    assert [o.listener for o in answer.outcomes] == [Listener.UNKNOWN]


@pytest.mark.parametrize("is_recorded", [True, False])
def test_a_mesh_is_said_with_its_rules_or_without(is_recorded: bool) -> None:
    cluster = made(**({"web": REDIRECTED} if is_recorded else {}))
    pods = json.loads(cluster.files()["pods.json"])
    for pod in pods["items"]:
        pod["metadata"]["annotations"] = {"sidecar.istio.io/status": "{}"} if pod["metadata"]["name"] == "web-1" else {}
    cluster.extra["pods.json"] = json.dumps(pods).encode()
    built = cluster.cluster()
    answer = diagnose(built, cluster.trace("pod:default/client", WEB))
    (found,) = [f for o in answer.outcomes for f in o.findings if f.code == "SIDECAR"]
    said = found.text
    command = "sh collect.sh --readings auto --allow-debug --pod-stacks pod:default/web-1"
    assert (command in (found.fix or "")) is not is_recorded
    assert ("which are not in the snapshot" in said, "nodes/n2/pods/default_web-1/iptables-save.txt" in said) == (
        not is_recorded,
        is_recorded,
    )


def test_what_goes_out_stays_in_the_pod_unless_the_proxy_sends_it() -> None:
    """Who the sender runs as is in no file: both ways, each on its condition. Where the proxy dials to is its own choice: unknown."""
    answer = made(client=TAKEN).trace("pod:default/client", WEB)
    found = {(o.disposition, o.reason.code if o.reason else ""): o for o in answer.outcomes}
    assert set(found) == {(Disposition.DELIVERED, "DELIVERED"), (Disposition.UNKNOWN, "SIDECAR")}
    assert all(len(o.conditions) == 1 for o in answer.outcomes)
    reason = found[Disposition.UNKNOWN, "SIDECAR"].reason
    assert reason is not None and "port 15001 of the pod itself" in reason.text


def test_a_pods_firewall_drops() -> None:
    found = only(made(web=FIREWALL))
    assert (found.disposition, found.client_sees) == (Disposition.DROPPED, Sees.TIMEOUT)


def test_a_port_that_nothing_listens_on_refuses() -> None:
    found = only(made(web=NOBODY))
    assert (found.listener, found.client_sees) == (Listener.ABSENT, Sees.REFUSED)


EMPTY = "nodes/n2/pods/default_web-1/"
LISTED = '{"nftables": [{"metainfo": {"version": "1.0.6", "release_name": "x", "json_schema_version": 1}}]}'


@pytest.mark.parametrize(
    ("also", "is_assumed"), [({}, True), ({"nft-ruleset.json": LISTED}, False), ({"ip6tables-save.txt": FIREWALL}, False)]
)
def test_an_empty_dump_of_a_pod_says_that_it_has_no_rules(also: dict[str, str], is_assumed: bool) -> None:
    """In a namespace where nobody used a table, iptables-save prints nothing."""
    cluster = made()
    for name, text in {"iptables-save.txt": "", "ip6tables-save.txt": "", "ss.txt": NOBODY, **also}.items():
        cluster.extra[EMPTY + name] = text.encode()
    found = only(cluster)
    assert (found.disposition, found.client_sees) == (Disposition.DELIVERED, Sees.REFUSED)
    assert found.reply is not None
    notes = [note for hop in (*found.hops, *found.reply.hops) if hop.kind is StackKind.POD for note in hop.notes]
    assert any(f"has no rules ({EMPTY}iptables-save.txt is empty)" in note for note in notes) is is_assumed


@pytest.mark.parametrize("name", ["iptables-save.txt", "nft-ruleset.json"])
def test_a_pods_dump_that_cannot_be_read_is_not_empty(name: str) -> None:
    cluster = made()
    cluster.extra[EMPTY + "iptables-save.txt"] = b""
    cluster.extra[EMPTY + name] = b"# Warning: iptables-legacy tables present, use iptables-legacy-save to see them\n"
    assert only(cluster).disposition is Disposition.UNKNOWN


def test_what_is_damaged_is_unknown_and_not_empty() -> None:
    rule = "-A INPUT --nonsense -j DROP\nCOMMIT"
    ends = {
        o.disposition
        for o in made(web=FIREWALL.replace("DROP", "ACCEPT").replace("COMMIT", rule)).trace("pod:default/client", WEB).outcomes
    }
    assert ends != {Disposition.DELIVERED}


# -- against the kernel ---------------------------------------------------------------------------------------------------------------

RULES = [
    ("p2", "nat", f"-A PREROUTING -p tcp --dport 8888 -j REDIRECT --to-ports {PORT}", 8888, "connected"),
    ("p2", "filter", f"-A INPUT -p tcp --dport {PORT} -j DROP", PORT, "timeout"),
    ("p1", "nat", f"-A OUTPUT -p tcp --dport 8888 -j DNAT --to-destination {POD['p2'][0]}:{PORT}", 8888, "connected"),
    ("p1", "filter", f"-A OUTPUT -p tcp --dport {PORT} -j DROP", PORT, "timeout"),
    ("p1", "filter", f"-A INPUT -p tcp --sport {PORT} -j DROP", PORT, "timeout"),
    ("p2", "filter", "-A OUTPUT -p tcp -j DROP", PORT, "timeout"),
    ("p1", "nat", f"-A OUTPUT -p tcp --dport {PORT} -j REDIRECT --to-ports 15001", PORT, "refused"),
]


@pytest.mark.needs_root
@pytest.mark.skipif(REASON is not None, reason=REASON or "")
@pytest.mark.parametrize(("pod", "table", "rule", "port", "seen"), every(RULES, 3), ids=lambda value: str(value).replace(" ", "-")[:40])
def test_a_pods_own_rules_do_what_the_kernels_do(pod: str, table: str, rule: str, port: int, seen: str) -> None:
    with world(VETHS, ROUTES, ()) as built:
        space = built.spaces[pod]
        space.run("iptables-legacy", "-t", table, *rule.split())
        sockets = {f"{name}/ss.txt": built.spaces[name].run("ss", "-ltnu") for name in ("p1", "p2")}
        cluster = built.cluster(own={f"{pod}/iptables-save.txt": space.run("iptables-legacy-save"), **sockets})
        kernel = built.dial("p1", POD["p2"][0], port=port, wait=0.8)
    assert kernel == seen or (seen == "refused" and "refused" in kernel)
    assert {o.client_sees for o in told(cluster, "pod:shop/p1", POD["p2"][0], port=port)} == {Sees(seen)}


def _filter(rule: str) -> str:
    return f"*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n{rule}\nCOMMIT\n"


def test_a_pods_own_refusal_travels() -> None:
    reject = _filter("-A INPUT -p tcp -m tcp --dport 8080 -j REJECT --reject-with icmp-admin-prohibited")
    found = only(made(web=reject))
    assert found.reply is not None
    assert (found.disposition, found.client_sees, str(found.reply.source)) == (Disposition.REJECTED, Sees.NO_ROUTE, "10.96.0.10")
    cluster = made(web=reject)
    cluster.node(1).rules.append(("filter", "-A FORWARD -p icmp -j DROP"))
    assert only(cluster).client_sees is Sees.TIMEOUT


@pytest.mark.parametrize(("protocol", "seen"), [("tcp", Sees.TIMEOUT), ("udp", Sees.EPERM)])
def test_a_pods_own_rule_that_drops_is_told_at_once(protocol: str, seen: Sees) -> None:
    (found,) = (
        made(client=_filter("-A OUTPUT -d 192.168.0.12/32 -j DROP"))
        .trace("pod:default/client", "192.168.0.12:53", protocol=protocol)
        .outcomes
    )
    assert found.client_sees is seen

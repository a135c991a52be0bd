"""The userspace proxy: the hop through a process, its second connection, and what it does without endpoints."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from tracer.kube.pod import Pod
from tracer.query import FlowState, Query, parse_destination, parse_protocol, parse_source
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster
from tracer.trace import Disposition, Outcome, StackKind, Trace

pytestmark = pytest.mark.needs_shared

Files = dict[str, bytes]


@pytest.fixture(scope="module")
def files(shared: Path) -> Files:
    root = shared / "recordings/shop-userspace-v1.20"
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def cluster(files: Files) -> Cluster:
    return Cluster.from_snapshot(Snapshot.from_files(files))


def changed(files: Files, name: str, change: Callable[[str], str]) -> Cluster:
    """The recording with every node's file *name* changed."""
    found = {k: change(v.decode()).encode() if k.endswith(f"/{name}") else v for k, v in files.items()}
    return Cluster.from_snapshot(Snapshot.from_files(found))


def client(cluster: Cluster) -> Pod:
    return next(p for p in cluster.objects.pods if p.labels.get("app") == "client" or p.name.startswith("client-"))


def asked(cluster: Cluster, to: str, *, source: str = "", protocol: str = "tcp", state: FlowState = FlowState.NEW) -> Trace:
    pod = client(cluster)
    query = Query(
        source=parse_source(source or f"pod:{pod.namespace}/{pod.name}"),
        destination=parse_destination(to),
        protocol=parse_protocol(protocol),
        state=state,
    )
    return trace(cluster, query)


def ends(answer: Trace) -> dict[tuple[Disposition, str | None], Fraction]:
    found: dict[tuple[Disposition, str | None], Fraction] = {}
    for o in answer.outcomes:
        key = (o.disposition, o.destination and o.destination.name)
        found[key] = found.get(key, Fraction(0)) + o.probability
    return found


def api_pods(cluster: Cluster) -> set[str]:
    return {p.name for p in cluster.objects.pods if p.name.startswith("api-")}


def test_every_endpoint_by_way_of_the_process(cluster: Cluster):
    answer = asked(cluster, "svc:default/api:80")
    assert ends(answer) == {(Disposition.DELIVERED, name): Fraction(1, 3) for name in api_pods(cluster)}
    node = client(cluster).node_name
    for outcome in answer.outcomes:
        kinds = [h.kind for h in outcome.hops]
        assert kinds[:4] == [StackKind.POD, StackKind.NODE, StackKind.PROXY, StackKind.NODE]
        assert {h.node for h in outcome.hops[1:4:2]} == {node}
        assert outcome.source_seen
        assert node is not None
        assert cluster.stack(node).routing.is_local(outcome.source_seen[0])
        assert outcome.source_seen[1] is None


def test_the_client_hears_the_service(cluster: Cluster):
    answer = asked(cluster, "svc:default/api:80")
    service = cluster.objects.service("default", "api")
    assert service
    for outcome in answer.outcomes:
        assert outcome.reply
        assert (outcome.reply.disposition, outcome.reply.source) == (Disposition.DELIVERED, service.cluster_ips[0])
        assert outcome.reply.hops[-1].kind is StackKind.POD


@pytest.mark.parametrize("source", ["node:shop-worker", "external:203.0.113.10"])
def test_node_ports_from_outside_and_from_a_node(cluster: Cluster, source: str):
    found = ends(asked(cluster, "172.18.0.3:31080", source=source))
    assert sum(found.values()) == 1
    assert {d for d, _ in found} == {Disposition.DELIVERED}
    assert all(name and name.startswith("demo-app-") for _, name in found)


def test_local_policies_are_not_looked_at(cluster: Cluster):
    slices = cluster.objects.slices_of("staging", "demo-app-local")
    local = {e.node_name for s in slices for e in s.endpoints}
    elsewhere = next(n for n in cluster.objects.nodes if n.name not in local)
    found = asked(cluster, f"{elsewhere.internal_ips[0]}:31081", source="external:203.0.113.10")
    assert {o.disposition for o in found.outcomes} == {Disposition.DELIVERED}


def test_accepted_then_closed_without_endpoints(cluster: Cluster):
    (outcome,) = asked(cluster, "svc:default/typo:80").outcomes
    assert (outcome.disposition, outcome.reason and outcome.reason.code) == (Disposition.CLOSED, "PROXY_NO_ENDPOINT")
    assert outcome.hops[-1].kind is StackKind.PROXY


def refusing(files: Files, cluster: Cluster, pods: set[str]) -> Cluster:
    """The recording where every node refuses to send to *pods*."""
    addresses = [str(ip) for p in cluster.objects.pods if p.name in pods for ip in p.ips if ip.version == 4]
    rules = "".join(f"-A OUTPUT -d {a}/32 -p tcp -j REJECT --reject-with icmp-port-unreachable\n" for a in addresses)
    return changed(files, "iptables-save.txt", lambda text: re.sub(r"(\*filter\n(?::.*\n)+)", lambda m: m[1] + rules, text))


def test_the_next_endpoint_is_tried(files: Files, cluster: Cluster):
    first, *others = sorted(api_pods(cluster))
    found = ends(asked(refusing(files, cluster, {first}), "svc:default/api:80"))
    assert {name for _, name in found} == set(others)
    assert sum(found.values()) == 1
    assert sorted(found.values()) == [Fraction(1, 3), Fraction(2, 3)]


def test_closed_when_no_endpoint_can_be_reached(files: Files, cluster: Cluster):
    answer = asked(refusing(files, cluster, api_pods(cluster)), "svc:default/api:80")
    assert ends(answer) == {(Disposition.CLOSED, None): Fraction(1)}
    assert {o.reason.code for o in answer.outcomes if o.reason} == {"PROXY_CLOSED"}
    notes = [n for n in answer.outcomes[0].hops[-1].notes if "does not answer" in n]
    assert len(notes) == 3


def test_udp_is_forwarded_or_thrown_away(files: Files, cluster: Cluster):
    found = ends(asked(cluster, "svc:default/voice:5060", protocol="udp"))
    assert {d for d, _ in found} == {Disposition.DELIVERED}
    empty = changed(files, "nothing", str)
    text = re.sub(rb'"ready": ?true', b'"ready": false', empty.snapshot.files["endpointslices.json"])
    gone = Cluster.from_snapshot(Snapshot.from_files({**files, "endpointslices.json": text, "endpoints.json": b'{"items": []}'}))
    (outcome,) = asked(gone, "svc:default/voice:5060", protocol="udp").outcomes
    assert (outcome.disposition, outcome.reason and outcome.reason.code) == (Disposition.DROPPED, "PROXY_NO_ENDPOINT")


def test_a_held_node_port_is_never_answered(cluster: Cluster):
    (outcome,) = asked(cluster, "[fd00:172:18::4]:31090", source="node:shop-worker").outcomes
    assert outcome.reason
    assert outcome.reason.code == "PROXY_HOLDS_PORT"


def test_affinity_keeps_the_endpoint(cluster: Cluster):
    answer = asked(cluster, "svc:production/backend-api:80", state=FlowState.RETURNING)
    assert sum(o.probability for o in answer.outcomes) == 1
    assert len(answer.outcomes) == 4
    assert {o.probability for o in answer.outcomes} == {Fraction(1, 4)}
    other = asked(cluster, "svc:default/api:80", state=FlowState.RETURNING)
    assert {o.probability for o in other.outcomes} == {Fraction(1, 3)}


def shown(answer: Trace) -> set[tuple[object, ...]]:
    def one(o: Outcome) -> tuple[object, ...]:
        return (o.disposition, o.destination and o.destination.name, o.source_seen, o.probability)

    return set(map(one, answer.outcomes))


@pytest.mark.parametrize("to", ["svc:default/api:80", "svc:default/typo:80", "172.18.0.4:31080"])
def test_neither_comments_nor_chain_names_matter(files: Files, cluster: Cluster, to: str):
    bare = changed(files, "iptables-save.txt", lambda t: re.sub(r' -m comment --comment ("[^"]*"|\S+)', "", t))
    renamed = changed(files, "iptables-save.txt", lambda t: t.replace("KUBE-PORTALS-", "X-").replace("KUBE-NODEPORT-", "Y-"))
    plain = shown(asked(cluster, to))
    assert shown(asked(bare, to)) == plain
    assert shown(asked(renamed, to)) == plain


def test_without_ss_the_mode_tells(files: Files, cluster: Cluster):
    blind = Cluster.from_snapshot(Snapshot.from_files({k: v for k, v in files.items() if not k.endswith("ss.txt")}))
    assert shown(asked(blind, "svc:default/api:80")) == shown(asked(cluster, "svc:default/api:80"))


def test_another_process_on_the_port_is_no_proxy(files: Files):
    other = changed(files, "ss.txt", lambda t: t.replace('"kube-proxy"', '"nginx"'))
    (outcome,) = asked(other, "svc:default/api:80").outcomes
    assert (outcome.disposition, outcome.destination and outcome.destination.kind) == (Disposition.DELIVERED, "node")
    assert not any(h.kind is StackKind.PROXY for h in outcome.hops)

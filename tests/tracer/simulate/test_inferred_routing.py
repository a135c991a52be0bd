"""Nodes whose routes, addresses and devices were not recorded: what the objects tell is told right, what they do not tell stays unknown."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest

from tests.conftest import DEMO
from tests.made_cluster import MadeCluster
from tests.tracer.topology.test_followed import query, questions
from tracer.changes import FileChange, ObjectChange
from tracer.query import Query
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster
from tracer.topology.followed import FollowedCluster, changes_of
from tracer.trace import Disposition, Outcome, Trace

IP_FILES = ("ip-addr.json", "ip-link.json", "ip-route.json", "ip6-route.json", "ip-rule.json", "ip6-rule.json", "ip-neigh.json")
RECORDINGS = sorted(p.name for p in DEMO.iterdir() if (p / "services.json").exists()) if DEMO.is_dir() else []
recorded = pytest.mark.parametrize("name", RECORDINGS or [pytest.param("", marks=pytest.mark.skip(reason="demo/ is not there"))])


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def without(files: dict[str, bytes], *names: str) -> dict[str, bytes]:
    return {path: content for path, content in files.items() if path.rpartition("/")[2] not in names}


def end(outcome: Outcome) -> tuple[object, ...]:
    """Return what the client and the server see, and where the packet went."""
    place, reply = outcome.destination, outcome.reply
    arrived = outcome.disposition is Disposition.DELIVERED
    return (
        outcome.disposition,
        place and (place.kind, place.name, place.ip, place.port),
        outcome.source_seen and outcome.source_seen[0],
        None if arrived or outcome.reason is None else outcome.reason.code,
        reply and reply.disposition,
        tuple(h.name for h in outcome.hops),
    )


def ends(answer: Trace) -> tuple[Counter[tuple[object, ...]], Fraction]:
    """Return how likely each end is, and how likely an unknown one."""
    known: Counter[tuple[object, ...]] = Counter()
    for outcome in answer.outcomes:
        if outcome.disposition is not Disposition.UNKNOWN:
            known[end(outcome)] += outcome.probability  # type: ignore[assignment]
    return known, Fraction(1) - sum(known.values(), Fraction(0))


def _odds_of(found: tuple[object, ...], expected: Counter[tuple[object, ...]]) -> Fraction:
    """Return how likely an end is; one whose answer is not known fits every answer."""
    *there, back, hops = found
    fits = [odds for end, odds in expected.items() if [*end[:-2]] == there and end[-1] == hops and back in (end[-2], Disposition.UNKNOWN)]
    return Fraction(sum(fits))


def asked(cluster: Cluster) -> list[Query]:
    """Return questions from pods, nodes and outside; from two nodes, so that endpoints are both local and remote."""
    pods = [p for p in cluster.objects.pods if not p.host_network and p.ips and not p.has_ended]
    direct = [
        query(f"pod:{a.namespace}/{a.name}", f"{b.ips[0]}:8080") for a, b in zip(pods[:6], pods[3:9], strict=True) if b.ips[0].version == 4
    ]
    return [*list(questions(cluster))[::2], *direct, query(f"pod:{pods[0].namespace}/{pods[0].name}", "198.51.100.7:443")]


@recorded
@pytest.mark.parametrize("more", [(), ("sysctl.txt",)])
def test_what_is_inferred_is_what_was_recorded(name: str, more: tuple[str, ...]) -> None:
    files = files_of(DEMO / name)
    full = Cluster.from_snapshot(Snapshot.from_files(files))
    less = Cluster.from_snapshot(Snapshot.from_files(without(files, *IP_FILES, *more)))
    wrong, unknown, total = [], Fraction(0), 0
    for question in asked(full):
        expected, _ = ends(trace(full, question))
        found, lost = ends(trace(less, question))
        wrong += [(str(question.source), question.destination.host, e) for e, odds in found.items() if odds > _odds_of(e, expected)]
        unknown += lost
        total += 1
    assert wrong == []
    # Most is known; what is not is the address of a device towards pods, which userspace mode needs for every connection.
    assert unknown / total < (0.6 if "userspace" in name else 0.3)


def made() -> MadeCluster:
    cluster = MadeCluster()
    cluster.pod("client", 1)
    cluster.service("web", [cluster.pod("web-1", 1), cluster.pod("web-2", 2)], type="NodePort", node_port=30080)
    for node in cluster.nodes:
        node.without |= set(IP_FILES)
    return cluster


def test_every_hop_of_a_node_says_what_was_inferred_and_from_what() -> None:
    for outcome in made().trace("pod:default/client", "10.96.0.10:80").outcomes:
        assert outcome.disposition is Disposition.DELIVERED
        hops = [*outcome.hops, *(outcome.reply.hops if outcome.reply else ())]
        for hop in (h for h in hops if h.node):
            notes = "\n".join(hop.notes)
            assert f"inferred: nodes/{hop.node}/ip-route.json, ip-addr.json and ip-link.json are missing" in notes
        # A device that nobody named has no name.
        assert {hop.came_in for hop in hops} | {hop.went_out for hop in hops} <= {None, "eth0", "lo"}
        assert "?" not in str(outcome.to_dict(with_steps=True))


def test_a_refusal_names_no_device_that_nobody_named() -> None:
    cluster = made()
    cluster.node(1).sysctl["net.ipv4.conf.all.route_localnet"] = "0"
    cluster.node(1).rules.append(("nat", "-A OUTPUT -p tcp -m tcp --dport 7777 -j DNAT --to-destination 10.1.1.3:8080"))
    (outcome,) = cluster.trace("node:n1", "127.0.0.1:7777").outcomes
    assert outcome.reason and outcome.reason.code == "MARTIAN_SOURCE", outcome.reason
    assert "through a device that was not recorded" in outcome.reason.text and "?" not in str(outcome.to_dict(with_steps=True))


@pytest.mark.parametrize(
    ("pod", "networks", "setting", "seen"),
    [
        (None, (), "vpc", "192.168.0.11"),
        (None, ("10.1.1.0/24",), "bridge", "10.1.1.1"),
        (("kindnet-x7", {}), ("10.1.1.0/24",), "bridge", "10.1.1.1"),
        (("calico-node-x7", {"k8s-app": "calico-node"}), ("10.1.1.0/24",), "routed", "192.168.0.11"),
        (("aws-node-x7", {}), ("10.1.1.0/24",), "vpc", "192.168.0.11"),
    ],
)
def test_the_address_towards_pods_of_the_node_is_assumed(
    pod: tuple[str, dict[str, str]] | None, networks: tuple[str, ...], setting: str, seen: str
) -> None:
    cluster = made()
    cluster.node(1).pod_cidrs = networks
    if pod is not None:
        cluster.pod(pod[0], 1, host_network=True).labels.update(pod[1])
    answer = cluster.trace("node:n1", "10.1.1.3:8080")
    (outcome,) = answer.outcomes
    assert outcome.disposition is Disposition.DELIVERED and outcome.source_seen is not None
    assert str(outcome.source_seen[0]) == seen
    (assumption,) = [a for a in answer.assumptions if a.code.startswith("cni:")]
    assert (assumption.code, assumption.changes) == (f"cni:{setting}", True)


def test_the_address_towards_pods_is_some_address_of_the_node_where_nothing_tells_of_it() -> None:
    """A node with a tunnel and without a pod network of its own."""
    (outcome,) = trace(annotated(made(), "flannel.alpha.coreos.com/backend-type", "vxlan"), query("node:n1", "10.1.1.3:8080")).outcomes
    assert outcome.source_seen is not None
    assert str(outcome.source_seen[0]) == "an address of node n1"


def test_an_address_of_the_nodes_own_pod_network_without_a_pod_stays_unknown() -> None:
    cluster = made()
    files = cluster.files()
    files["nodes.json"] = files["nodes.json"].replace(b'"spec": {}', b'"spec": {"podCIDR": "10.1.1.0/24"}', 1)
    answer = trace(Cluster.from_snapshot(Snapshot.from_files(files)), query("pod:default/client", "10.1.1.77:80"))
    assert {o.disposition for o in answer.outcomes} == {Disposition.UNKNOWN}
    # It may be the node's own, as a bridge's is: whether it is local is not known either, and decides nothing here.
    assert {u.code for u in answer.unknowns} == {"NO_ROUTES"}
    assert {r.code for o in answer.outcomes for r in o.remarks} == {"UNKNOWN_MATCH"}


def annotated(cluster: MadeCluster, *annotation: str) -> Cluster:
    """The cluster with *annotation*, a name and a value, on each node."""
    files = cluster.files()
    if annotation:
        text = f'"annotations": {{"{annotation[0]}": "{annotation[1]}"}}, "labels"'
        files["nodes.json"] = files["nodes.json"].replace(b'"labels"', text.encode())
    return Cluster.from_snapshot(Snapshot.from_files(files))


@pytest.mark.parametrize(
    ("annotation", "networks", "seen", "assumes"),
    [
        ((), (), "192.168.0.11", ()),
        (("flannel.alpha.coreos.com/backend-type", "host-gw"), (), "192.168.0.11", ()),
        (("flannel.alpha.coreos.com/backend-type", "vxlan"), (), "an address of node n1", ()),
        (("flannel.alpha.coreos.com/backend-type", "vxlan"), ("10.1.1.0/24",), "10.1.1.0", ("cni:overlay",)),
        (("projectcalico.org/IPv4IPIPTunnelAddr", "10.1.1.192"), (), "10.1.1.192", ()),
        (("projectcalico.org/IPv4VXLANTunnelAddr", "nonsense"), (), "an address of node n1", ()),
    ],
)
def test_what_a_node_sends_through_a_tunnel_from_is_written_on_it_or_assumed(
    annotation: tuple[str, ...], networks: tuple[str, ...], seen: str, assumes: tuple[str, ...]
) -> None:
    unannotated = made()
    unannotated.node(1).pod_cidrs = networks
    cluster = annotated(unannotated, *annotation)
    answer = trace(cluster, query("node:n1", "10.1.2.2:8080"))
    (to_pod,) = answer.outcomes
    assert to_pod.disposition is Disposition.DELIVERED and to_pod.source_seen is not None
    assert str(to_pod.source_seen[0]) == seen
    assert tuple(word for word in to_pod.assumes if word.startswith("cni:")) == assumes
    # A pod keeps its own address, and the world outside is no tunnel's end.
    assert trace(cluster, query("pod:default/client", "10.1.2.2:8080")).outcomes[0].disposition is Disposition.DELIVERED
    (outside,) = trace(cluster, query("node:n1", "198.51.100.7:443")).outcomes
    assert outside.disposition is Disposition.LEAVES


def test_a_rule_that_asks_for_a_device_cannot_be_told() -> None:
    cluster = made()
    cluster.node(1).rules.append(("filter", "-A FORWARD -i eth7 -j DROP"))
    answer = cluster.trace("pod:default/client", "10.1.2.2:8080")
    assert {o.disposition for o in answer.outcomes} == {Disposition.DROPPED, Disposition.DELIVERED}
    assert all("which device the packet crosses" in c for o in answer.outcomes for c in o.conditions)
    loopback = made()
    loopback.node(1).rules.append(("filter", "-A FORWARD -i lo -j DROP"))
    assert len(loopback.trace("pod:default/client", "10.1.2.2:8080").outcomes) == 1


@pytest.mark.parametrize("kept", ["ip-addr.json", "ip-route.json"])
def test_nothing_is_inferred_where_something_was_recorded(kept: str) -> None:
    cluster = made()
    cluster.node(1).without -= {kept}
    answer = cluster.trace("pod:default/client", "10.1.2.2:8080")
    notes = [n for o in answer.outcomes for h in o.hops if h.node == "n1" for n in h.notes]
    assert not any(n.startswith("inferred: nodes/n1/") for n in notes)


def test_without_a_node_object_nothing_is_inferred() -> None:
    cluster = made()
    cluster.extra["nodes.json"] = None
    answer = cluster.trace("pod:default/client", "10.1.2.2:8080")
    assert {u.code for u in answer.unknowns} == {"NO_ROUTES"}


def test_what_is_inferred_follows_the_objects() -> None:
    followed = FollowedCluster()
    followed.apply(tuple(changes_of(Snapshot.from_files(made().files()))), now=0.0)
    there = query("pod:default/client", "10.1.1.9:8080")
    assert trace(followed.cluster, there).outcomes[0].disposition is Disposition.LOST
    value = dict(next(raw.value for raw, _ in followed.snapshot.objects.others("Pod") if raw.value["metadata"]["name"] == "web-1"))  # type: ignore[index]
    new = {**value, "metadata": {"namespace": "default", "name": "new"}, "status": {"phase": "Running", "podIPs": [{"ip": "10.1.1.9"}]}}
    followed.apply([ObjectChange(kind="Pod", namespace="default", name="new", before=None, after=new)], now=1.0)
    (outcome,) = trace(followed.cluster, there).outcomes
    assert (outcome.disposition, outcome.hops[-1].name) == (Disposition.DELIVERED, "default/new")
    node = next(raw.value for raw, _ in followed.snapshot.objects.others("Node") if raw.value["metadata"]["name"] == "n1")  # type: ignore[index]
    moved = {**node, "status": {"addresses": [{"type": "InternalIP", "address": "192.168.0.99"}]}}
    followed.apply([ObjectChange(kind="Node", namespace="", name="n1", before=None, after=moved)], now=2.0)
    seen = trace(followed.cluster, query("node:n1", "10.1.2.2:8080")).outcomes[0].source_seen
    assert seen is not None
    assert str(seen[0]) == "192.168.0.99"
    addresses = MadeCluster().files()["nodes/n1/ip-addr.json"]
    followed.apply([FileChange(node="n1", name="ip-addr.json", before=None, after=addresses)], now=3.0)
    assert not followed.cluster.stack("n1").routing.inferred_from

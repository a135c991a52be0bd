"""A cluster that changes in place answers what one that is read anew answers, and reads nothing twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.conftest import DEMO
from tests.made_cluster import MadeCluster
from tests.sizes import FULL, every
from tests.tracer.timeline import moments
from tracer.changes import Change, FileChange, ObjectChange
from tracer.explain.findings import diagnose
from tracer.packet import Family
from tracer.query import Query, parse_destination, parse_protocol, parse_source
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.snapshot.summary import summarise
from tracer.snapshot.taken_at import taken_at
from tracer.topology.cluster import Cluster
from tracer.topology.followed import FollowedCluster, changes_of

TIMELINE = DEMO / "shop-timeline"
needs_timeline = pytest.mark.skipif(not TIMELINE.is_dir(), reason="demo/ is not there")


def query(sender: str, host: str, protocol: str = "tcp") -> Query:
    return Query(source=parse_source(sender), destination=parse_destination(host), protocol=parse_protocol(protocol))


def questions(cluster: Cluster) -> Iterator[Query]:
    """Yield a question from a pod, a node and outside to every Service of the cluster."""
    client = next(p for p in cluster.objects.pods if p.name.startswith("client-"))
    for service in cluster.objects.services:
        for port in service.ports[:1]:
            yield query(f"node:{cluster.node_names[0]}", f"svc:{service.namespace}/{service.name}:{port.port}", port.protocol.value)
            yield query(f"pod:{client.namespace}/{client.name}", f"{service.name}.{service.namespace}:{port.port}", port.protocol.value)
            if port.node_port:
                address = cluster.objects.nodes[0].internal_ips[0]
                yield query("external:203.0.113.10", f"{address}:{port.node_port}", port.protocol.value)


def untimed(change: Change) -> Change:
    return replace(change, seen_at=None) if isinstance(change, ObjectChange) else replace(change, read_at=None)


def answer(cluster: Cluster, asked: Query) -> dict[str, object]:
    return diagnose(cluster, trace(cluster, asked)).to_dict(with_steps=True)


@needs_timeline
def test_after_every_step_it_answers_as_if_read_anew() -> None:
    followed = FollowedCluster()
    different: set[str] = set()
    last: dict[str, object] = {}
    for moment in moments(TIMELINE):
        # Without times: when an endpoint came is what only a follower can know, and findings say it.
        followed.apply([untimed(change) for change in moment.changes], now=moment.at)
        fresh = Cluster.from_snapshot(Snapshot.from_files(followed.files))
        asked = list(questions(followed.cluster))
        assert asked == list(questions(fresh))
        found = {str(q): answer(followed.cluster, q) for q in every(asked, 9)}
        assert found == {str(q): answer(fresh, q) for q in every(asked, 9)}, moment.title
        assert summarise(followed.snapshot) == summarise(fresh.snapshot)
        assert len(asked) > 50
        different |= {moment.title} if found != last else set()
        last = found
    # Not a test of an unchanging cluster.
    assert len(different) == 12 if FULL else len(different) > 4


@needs_timeline
def test_the_files_are_a_snapshot_of_the_moment() -> None:
    followed = FollowedCluster(about={"collector": "a test", "kubernetes": "v1.36.2"})
    first = next(moments(TIMELINE))
    followed.apply(first.changes, now=first.at)
    files = followed.files
    about = json.loads(files["snapshot.json"])
    assert (about["collector"], about["kubernetes"]) == ("a test", "v1.36.2")
    assert about["files"]["nodes/shop-worker/iptables-save.txt"]["read_at"] == about["collected_at"]
    moment, source = taken_at(Snapshot.from_files(files))
    assert moment is not None
    assert (round(moment.timestamp(), 2), source) == (round(first.at, 2), "snapshot.json")
    followed.apply([FileChange(node="shop-worker", name="ss.txt", before=None, after=b"x\n", read_at=first.at + 9)], now=first.at + 10)
    assert "nodes/shop-worker/ss.txt" not in files or files["nodes/shop-worker/ss.txt"] != b"x\n"
    assert followed.files["nodes/shop-worker/ss.txt"] == b"x\n"
    assert followed.snapshot.read_at("shop-worker", "ss.txt") == first.at + 9


def made() -> tuple[FollowedCluster, MadeCluster]:
    cluster = MadeCluster()
    cluster.pod("client", 1)
    cluster.service("web", [cluster.pod("web-1", 1), cluster.pod("web-2", 2)])
    followed = FollowedCluster()
    followed.apply(tuple(changes_of(Snapshot.from_files(cluster.files()))), now=0.0)
    return followed, cluster


def test_what_did_not_change_is_not_read_again() -> None:
    followed, cluster = made()
    asked = query("pod:default/client", "svc:default/web:80")
    trace(followed.cluster, asked)
    one, two = followed.cluster.stack("n1"), followed.cluster.stack("n2")
    rules = cluster.files()["nodes/n1/iptables-save.txt"]
    followed.apply([FileChange(node="n1", name="iptables-save.txt", before=rules, after=rules + b"\n")], now=1.0)
    again = followed.cluster.stack("n1")
    assert followed.cluster.stack("n2") is two
    assert again is not one
    assert again.dumps(Family.IP) is not one.dumps(Family.IP)
    assert again.routing is one.routing


def test_a_change_that_changes_nothing_keeps_the_cluster() -> None:
    followed, cluster = made()
    before = followed.cluster
    same = [FileChange(node="n1", name="sysctl.txt", before=None, after=cluster.files()["nodes/n1/sysctl.txt"], read_at=7.0)]
    assert followed.apply(same, now=8.0) == ()
    assert followed.cluster is before
    assert followed.snapshot.read_at("n1", "sysctl.txt") == 7.0
    assert json.loads(followed.files["snapshot.json"])["files"]["nodes/n1/sysctl.txt"]["read_at"] == "1970-01-01T00:00:07.000Z"


def test_a_heartbeat_keeps_what_was_worked_out() -> None:
    followed, _ = made()
    before, nodes = followed.cluster, followed.cluster.objects.nodes
    value = next(raw.value for raw, _ in followed.snapshot.objects.others("Node"))
    name = value["metadata"]["name"]  # type: ignore[index]
    beat = {**value, "status": {**value["status"], "conditions": [{"type": "DiskPressure", "lastHeartbeatTime": "now"}]}}  # type: ignore[dict-item]
    (change,) = followed.apply([ObjectChange(kind="Node", namespace="", name=name, before=None, after=beat)], now=1.0)
    assert change.after == beat
    assert followed.cluster is before
    assert followed.cluster.objects.nodes is nodes
    assert b"DiskPressure" in followed.files["nodes.json"]
    followed.apply([ObjectChange(kind="Node", namespace="", name=name, before=None, after=None)], now=2.0)
    assert followed.cluster is not before


def test_what_was_there_before_comes_back_with_the_change() -> None:
    followed, _ = made()
    (gone,) = followed.apply([ObjectChange(kind="Pod", namespace="default", name="web-1", before=None, after=None)], now=1.0)
    assert isinstance(gone, ObjectChange)
    assert gone.before is not None
    assert gone.before["kind"] == "Pod"
    assert followed.cluster.objects.pod("default", "web-1") is None
    (file,) = followed.apply([FileChange(node="n2", name="sysctl.txt", before=None, after=None)], now=1.0)
    assert file.before
    assert not followed.snapshot.has_node_file("n2", "sysctl.txt")


def test_a_kind_that_is_followed_and_empty_is_known_to_be_empty() -> None:
    followed, _ = made()
    held = Snapshot.from_files(followed.files)
    assert "networkpolicies.json" in followed.files
    assert not held.objects.network_policies
    assert {o.kind for o in followed.snapshot.layout.objects} >= {"NetworkPolicy", "Ingress"}


def test_a_node_that_goes_takes_its_files_with_it() -> None:
    followed, cluster = made()
    files = [p for p in cluster.files() if p.startswith("nodes/n2/")]
    gone = [FileChange(node="n2", name=p.rpartition("/")[2], before=None, after=None) for p in files]
    followed.apply([*gone, ObjectChange(kind="Node", namespace="", name="n2", before=None, after=None)], now=1.0)
    assert followed.cluster.node_names == ("n1",)
    assert not [p for p in followed.files if p.startswith("nodes/n2")]


def test_a_pods_own_stack_comes_changes_and_goes() -> None:
    """In place as read anew, and it is no node."""
    made = MadeCluster(2)
    made.pod("client", 1)
    made.service("web", [made.pod("web-1", 2)])
    rules = b"*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp -m tcp --dport 8080 -j REDIRECT --to-ports 15006\nCOMMIT\n"
    files, node, name = made.files(), "n2/pods/default_web-1", "iptables-save.txt"
    followed = FollowedCluster()
    followed.apply(tuple(changes_of(Snapshot.from_files(files))), now=0.0)
    asked = query("pod:default/client", "svc:default/web:80")
    before: bytes | None = None
    found = []
    for after in (rules, rules.replace(b"8080", b"80"), None, rules):
        followed.apply((FileChange(node=node, name=name, before=before, after=after),), now=0.0)
        anew = Cluster.from_snapshot(Snapshot.from_files(files | ({f"nodes/{node}/{name}": after} if after else {})))
        answers = [json.dumps(trace(cluster, asked).to_dict(with_steps=True)) for cluster in (followed.cluster, anew)]
        assert answers[0] == answers[1]
        assert followed.cluster.node_names == anew.node_names
        assert ("15006" in answers[0]) is (after == rules)
        before = after
        found.append(answers[0])
    assert found[0] == found[3] != found[1]

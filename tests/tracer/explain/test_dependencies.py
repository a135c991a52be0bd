"""An answer that no change touched is still the answer; and one Service's change leaves the answers about others alone."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping

import pytest

from tests.conftest import DEMO
from tests.made_cluster import MadeCluster
from tests.sizes import FULL, every
from tests.tracer.timeline import moments
from tests.tracer.topology.test_followed import query, questions
from tracer.changes import Change, FileChange, ObjectChange
from tracer.errors import QueryError
from tracer.explain.dependencies import Dependencies, WatchedCluster, dependencies_of
from tracer.explain.findings import diagnose
from tracer.query import Query
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster
from tracer.topology.followed import FOLLOWED, FollowedCluster, changes_of
from tracer.trace import Trace

TIMELINE = DEMO / "shop-timeline"
needs_timeline = pytest.mark.skipif(not TIMELINE.is_dir(), reason="demo/ is not there")


def answered(cluster: Cluster, asked: Query) -> Trace:
    return diagnose(cluster, trace(cluster, asked))


class Kept:
    """Answers that are kept while nothing touches them."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[Trace, Dependencies]] = {}
        self.untouched = self.touched = self.moved = 0

    def check(self, cluster: Cluster, changes: tuple[Change, ...], asked: Query) -> list[str]:
        """Return what is wrong with the answer that was kept to *asked*; afterwards the present one is kept."""
        try:
            fresh = answered(cluster, asked)
        except QueryError:
            self.answers.pop(str(asked), None)
            return []
        kept = self.answers.get(str(asked))
        if kept is None or any(kept[1].touched_by(change, lines=False) for change in changes):
            self.touched += kept is not None
            self.answers[str(asked)] = (fresh, dependencies_of(cluster, fresh))
            return []
        old, dependencies = kept
        if not any(dependencies.touched_by(change) for change in changes) and old != fresh:
            return [f"lines of {asked.destination} moved unnoticed"]
        for change in changes:
            old, dependencies = dependencies.relined(old, change), dependencies.after(change)
        self.untouched += 1
        self.moved += old != kept[0]
        self.answers[str(asked)] = (old, dependencies)
        same = old.to_dict(with_steps=True) == fresh.to_dict(with_steps=True)
        return [] if same else [f"{asked.source} to {asked.destination} is another answer"]


@needs_timeline
def test_what_no_step_of_the_timeline_touched_is_still_the_answer() -> None:
    followed, kept = FollowedCluster(), Kept()
    for moment in moments(TIMELINE):
        changes = followed.apply(moment.changes, now=moment.at)
        wrong = [w for asked in every(questions(followed.cluster), 9) for w in kept.check(followed.cluster, changes, asked)]
        assert wrong == [], moment.title
    # It must spare work, or it would be right by touching everything.
    assert kept.untouched > (200 if FULL else 20)
    assert kept.moved > (180 if FULL else 15)


@needs_timeline
def test_scaling_a_service_touches_no_answer_about_another() -> None:
    followed = FollowedCluster()
    steps = moments(TIMELINE)
    first = next(steps)
    followed.apply(first.changes, now=first.at)
    cluster = followed.cluster
    client = next(p for p in cluster.objects.pods if p.name.startswith("client-"))
    about = {
        name: dependencies_of(cluster, answered(cluster, query(f"pod:{client.namespace}/{client.name}", f"svc:{name}")))
        for name in ("default/api:80", "production/metrics:9100", "staging/demo-app:80", "production/public-api:80")
    }
    scaled = next(steps)
    assert scaled.title == "api scaled from 3 to 5"
    changes = followed.apply(scaled.changes, now=scaled.at)
    touched = {name for name, found in about.items() if any(found.touched_by(c, lines=False) for c in changes)}
    assert touched == {"default/api:80"}
    assert "svc/default/api" in about["default/api:80"].refs
    assert "svc/default/api" not in about["staging/demo-app:80"].refs


@needs_timeline
def test_a_heartbeat_of_a_node_touches_nothing() -> None:
    followed = FollowedCluster()
    first = next(moments(TIMELINE))
    followed.apply(first.changes, now=first.at)
    asked = next(questions(followed.cluster))
    found = dependencies_of(followed.cluster, answered(followed.cluster, asked))
    for raw, _ in followed.snapshot.objects.others("Node"):
        value = json.loads(json.dumps(raw.value).replace("lastHeartbeatTime", "lastBeatTime"))
        value["metadata"]["resourceVersion"] = "99999"
        change = ObjectChange(kind="Node", namespace="", name=value["metadata"]["name"], before=raw.value, after=value)
        assert change.before != change.after
        assert not found.touched_by(change)


# -- made clusters that change at random ----------------------------------------------------------------------------------------------


def made(rng: random.Random) -> MadeCluster:
    cluster = MadeCluster(cni=rng.choice(["route", "bridge"]))
    cluster.pod("client", 1)
    pods = [cluster.pod(f"web-{i}", 1 + i % 2) for i in range(4)]
    cluster.service("web", pods[:2])
    cluster.service("db", pods[2:], type="NodePort", node_port=30080)
    cluster.service("empty")
    cluster.service("lb", pods[:3], type="LoadBalancer", node_port=30081, lb_ip="203.0.113.100", local=rng.random() < 0.5)
    return cluster


def altered(cluster: MadeCluster, rng: random.Random) -> None:
    """Change one thing."""
    service, node = rng.choice(cluster.services), rng.choice(cluster.nodes)
    match rng.randrange(8):
        case 0 | 1 | 2 if service.endpoints:
            service.endpoints.pop(rng.randrange(len(service.endpoints)))
        case 0 | 1 | 2 | 3:
            pod = rng.choice([p for p in cluster.pods if p.name != "client"])
            service.endpoints.append((pod.ips[0], pod.node))
        case 4:
            cluster.pod(f"web-{len(cluster.pods)}", node.number)
        case 5:
            node.rules.append(("filter", f"-A FORWARD -d 10.1.{rng.randrange(1, 3)}.{rng.randrange(2, 6)}/32 -j DROP"))
        case 6:
            node.sysctl["net.ipv4.conf.all.rp_filter"] = rng.choice("012")
        case 7:
            node.labels["zone"] = rng.choice("abc")


def between(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> Iterator[Change]:
    """Yield what a follower would report between two snapshots."""
    old, new = ({_name(c): c.after for c in changes_of(Snapshot.from_files(files), FOLLOWED)} for files in (before, after))
    for name in dict.fromkeys((*old, *new)):
        if old.get(name) == new.get(name):
            continue
        if name[0] == "file":
            yield FileChange(node=name[1], name=name[2], before=old.get(name), after=new.get(name))  # type: ignore[arg-type]
        else:
            yield ObjectChange(kind=name[0], namespace=name[1], name=name[2], before=old.get(name), after=new.get(name))  # type: ignore[arg-type]


def _name(change: Change) -> tuple[str, str, str]:
    return ("file", change.node, change.name) if isinstance(change, FileChange) else (change.kind, change.namespace, change.name)


ASKED = [
    query("pod:default/client", "svc:default/web:80"),
    query("pod:default/client", "svc:default/db:80"),
    query("pod:default/client", "svc:default/empty:80"),
    query("pod:default/web-1", "svc:default/lb:80"),
    query("pod:default/client", "203.0.113.100:80"),
    query("node:n2", "svc:default/web:80"),
    query("external:198.51.100.7", "192.168.0.11:30080"),
    query("external:198.51.100.7", "203.0.113.100:80"),
    query("pod:default/client", "10.1.2.3:8080"),
    query("pod:default/client", "10.1.2.9:8080"),
    query("pod:default/client", "web.default:80"),
]


@pytest.mark.parametrize("seed", every(range(5), 2))
def test_what_no_random_change_touched_is_still_the_answer(seed: int) -> None:
    rng = random.Random(seed)
    cluster, kept, followed = made(rng), Kept(), FollowedCluster()
    files = cluster.files()
    followed.apply(tuple(between({}, files)), now=0.0)
    for asked in ASKED:
        kept.check(followed.cluster, (), asked)
    for step in range(12):
        altered(cluster, rng)
        before, files = files, cluster.files()
        changes = followed.apply(tuple(between(before, files)), now=float(step))
        assert [w for asked in ASKED for w in kept.check(followed.cluster, changes, asked)] == []
    assert kept.untouched > 20
    assert kept.touched > 5


@pytest.mark.parametrize("name", every(["shop-nftables", "shop-ipvs", "shop-userspace-v1.20", "shop-iptables-v1.20"], 2))
def test_a_watched_cluster_answers_the_same(name: str) -> None:
    folder = DEMO / name
    if not folder.is_dir():
        pytest.skip("demo/ is not there")
    files = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    cluster = Cluster.from_snapshot(Snapshot.from_files(files))
    asked = list(questions(cluster))[::2]
    watched = [answered(WatchedCluster(cluster), q) for q in asked]
    assert watched == [answered(cluster, q) for q in asked]


@pytest.mark.parametrize("name", ["shop-nftables", "shop-ipvs"])
def test_rules_of_another_service_are_none_of_its_business(name: str) -> None:
    """A chain or virtual server that goes, of a Service that was not asked about, touches nothing but lines."""
    folder = DEMO / name
    if not folder.is_dir():
        pytest.skip("demo/ is not there")
    files = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    cluster = Cluster.from_snapshot(Snapshot.from_files(files))
    client = next(p for p in cluster.objects.pods if p.name.startswith("client-"))
    found = dependencies_of(cluster, answered(cluster, query(f"pod:{client.namespace}/{client.name}", "svc:default/api:80")))
    node = client.node_name or ""
    file = "nft-ruleset.txt" if name == "shop-nftables" else "ipvsadm-save.txt"
    text = files[f"nodes/{node}/{file}"]
    other = cluster.objects.service("staging", "demo-app")
    own = cluster.objects.service("default", "api")
    assert other is not None
    assert own is not None
    for service, expected in ((other, False), (own, True)):
        after = _without_an_endpoint(text, str(service.cluster_ips[0]), f"{service.namespace}/{service.name}/")
        assert after != text
        change = FileChange(node=node, name=file, before=text, after=after)
        assert found.touched_by(change, lines=False) is expected


def _without_an_endpoint(text: bytes, address: str, name: str) -> bytes:
    """Return a dump with another rule for one Service: IPVS's last real server is drained, nft's chain has another first rule."""
    lines = text.decode().split("\n")
    for at, line in enumerate(lines):
        if line.startswith(f"-a -t {address}:"):
            lines[at] = line.replace("-w 1", "-w 0")
            return "\n".join(lines).encode()
        if line.startswith("\tchain service-") and name in line:
            lines.insert(at + 1, "\t\tip saddr 192.0.2.1 drop")
            return "\n".join(lines).encode()
    return text

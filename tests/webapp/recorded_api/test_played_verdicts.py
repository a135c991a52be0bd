"""The timeline as it is played, read node by node, answers at every step as the recording of that step does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import DEMO
from tests.tracer.timeline import Moment, moments
from tests.webapp.recorded_api import shop
from tracer.changes import Change, FileChange, ObjectChange
from tracer.explain.example_queries import example_queries
from tracer.simulate import trace
from tracer.snapshot.node_files import CONNTRACK, READ
from tracer.topology.cluster import Cluster
from tracer.topology.followed import FollowedCluster
from tracer.trace import Disposition
from webapp.live.node_files import NodeFiles
from webapp.live.store import Store
from webapp.reading.changes import FileRead, NodeRead
from webapp.reading.paths import FilePath, parse_path

pytestmark = pytest.mark.skipif(not (DEMO / "shop-timeline").is_dir(), reason="demo/ is not there")
FAILED = "ip ended with 2: the recording has no output of it"
ASKED = tuple(file.name for file in READ)


class Played:
    """A follower of the timeline that is played: what it is told of the objects, and what it reads of the nodes at each step."""

    def __init__(self) -> None:
        self.followed = FollowedCluster()
        self._store = Store()
        self._files = NodeFiles(self._store)

    def take(self, moment: Moment, position: float) -> Cluster:
        objects = [change for change in moment.changes if isinstance(change, ObjectChange)]
        self._files.note(filter(None, map(self._told, objects)))
        self.followed.apply((*objects, *self._read(position)), now=moment.at)
        return self.followed.cluster

    def _told(self, change: ObjectChange) -> object:
        value = change.after or {"metadata": {"namespace": change.namespace, "name": change.name}}
        return self._store.apply(
            change.kind, change.kind, "MODIFIED" if change.after else "DELETED", dict(value), seen_at=change.seen_at or 0.0
        )

    def _read(self, position: float) -> Iterator[Change]:
        timeline, at = shop.timeline(), position + 1e9 * 2
        for node in shop.NODES:
            read = {name: timeline.node_file(node, name, position, lag=0.8) for name in timeline.file_names(node) if name in ASKED}
            files = tuple(FileRead(name=name, content=text, error="" if text else FAILED, read_at=at) for name, text in read.items())
            for change in self._files.take(NodeRead(node=node, pod="kube-system/p", files=files, read_at=at, seconds=0.1)):
                path = parse_path(change.path)
                assert isinstance(path, FilePath)
                yield FileChange(node=path.node, name=path.name, before=change.before, after=change.after, read_at=at)


def verdicts(cluster: Cluster) -> dict[str, list[tuple[object, ...]]]:
    """Return what becomes of each example question's packets, with its odds."""
    found = {}
    for example in example_queries(cluster.objects):
        outcomes = trace(cluster, example.query).outcomes
        found[str(example.query)] = sorted(
            (
                o.disposition.value,
                str(o.probability),
                str(o.destination),
                str(o.source_seen),
                str(o.reply and o.reply.disposition),
                o.reason.text if o.reason else "",
            )
            for o in outcomes
        )
    return found


def test_every_verdict_of_the_played_timeline_is_the_recordings() -> None:
    played, recorded = Played(), FollowedCluster()
    delivered = 0
    steps = 0
    for moment, step in zip(moments(DEMO / "shop-timeline"), shop.timeline().steps, strict=True):
        recorded.apply(moment.changes, now=moment.at)
        wanted, got = verdicts(recorded.cluster), verdicts(played.take(moment, step.position))
        assert got == wanted, moment.title
        rows = [row for rows in got.values() for row in rows]
        delivered += sum(row[0] == Disposition.DELIVERED for row in rows)
        # A pod that came after the node's routes were read: that alone is not known.
        assert all("older than the pod" in str(row[-1]) for row in rows if row[0] == Disposition.UNKNOWN), moment.title
        steps += 1
    assert steps == 12
    assert delivered > 200


@pytest.mark.parametrize("node", shop.NODES)
def test_a_played_step_has_the_files_that_the_base_has(node: str) -> None:
    timeline = shop.timeline()
    kept = [name for name in timeline.file_names(node) if name not in ("iptables-save.txt", CONNTRACK.name)]
    assert {"ip-route.json", "ip-addr.json", "ip-link.json"} <= set(kept)
    for step in timeline.steps:
        for name in kept:
            assert timeline.node_file(node, name, step.position, lag=0.8) == shop.files()[f"base/nodes/{node}/{name}"], (step, name)


def test_connections_of_the_beginning_are_nobodys_later() -> None:
    timeline = shop.timeline()
    assert timeline.node_file("shop-worker", CONNTRACK.name, 0.0, lag=0.8) is not None
    assert timeline.node_file("shop-worker", CONNTRACK.name, timeline.length, lag=0.8) is None

"""A process's picture catches up from the rows, and answers stay until something touches them."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import pytest
from django.db import connection

from tracer.changes import Change
from webapp.live import journal, live_sources
from webapp.live.replica import Replica, Replicas
from webapp.live.store import Store
from webapp.models import LiveItem, LiveSource


@dataclass(frozen=True)
class On:
    """Depends on one ref."""

    ref: str

    def touched_by(self, change: Change) -> bool:
        return self.ref in change.refs


@pytest.fixture
def source(db: None) -> LiveSource:
    return LiveSource.objects.create(name="c", kind="context", context="c", lease_holder="me")


def service(name: str, ip: str) -> dict[str, object]:
    return {"metadata": {"namespace": "shop", "name": name}, "spec": {"clusterIP": ip, "clusterIPs": [ip], "ports": [{"port": 80}]}}


class Cluster:
    """Writes as a follower would."""

    def __init__(self, source: str) -> None:
        self.source, self.store = source, Store()

    def services(self, **ips: str) -> None:
        changes = self.store.replace("services", "Service", [service(n, ip) for n, ip in ips.items()], seen_at=time.time())
        journal.write(self.source, "me", changes)

    def file(self, content: bytes | None, read_at: float = 1.0) -> None:
        journal.write(self.source, "me", [self.store.put_file("nodes/n1/iptables-save.txt", content, seen_at=read_at)])


def addresses(replica: Replica) -> dict[str, str]:
    with replica.using() as view:
        return {s.name: str(s.addresses[0][0]) for s in view.cluster.objects.services}


def test_it_catches_up_when_somebody_looks(source: LiveSource) -> None:
    cluster, replica = Cluster(source.id), Replica(source.id)
    assert addresses(replica) == {}
    cluster.services(a="10.0.0.1", b="10.0.0.2")
    assert addresses(replica) == {"a": "10.0.0.1", "b": "10.0.0.2"}
    cluster.services(b="10.0.0.3")
    assert addresses(replica) == {"b": "10.0.0.3"}
    assert replica.generation == 2
    cluster.file(b"*nat\nCOMMIT\n")
    with replica.using() as view:
        assert view.generation == 3
        assert view.at is not None
        assert view.cluster.snapshot.node_file("n1", "iptables-save.txt") == "*nat\nCOMMIT\n"
    cluster.file(None)
    with replica.using() as view:
        assert view.cluster.snapshot.node_file("n1", "iptables-save.txt") is None


def test_a_late_replica_is_like_one_that_saw_everything(source: LiveSource) -> None:
    cluster, early = Cluster(source.id), Replica(source.id)
    for ips in ({"a": "10.0.0.1"}, {"a": "10.0.0.1", "b": "10.0.0.2"}, {"b": "10.0.0.9"}, {"c": "10.0.0.3"}):
        cluster.services(**ips)
        addresses(early)
    late = Replica(source.id)
    assert addresses(late) == addresses(early) == {"c": "10.0.0.3"}
    assert late.generation == early.generation


def test_who_missed_pruned_rows_reads_everything_anew(source: LiveSource) -> None:
    cluster, replica = Cluster(source.id), Replica(source.id)
    cluster.services(a="10.0.0.1", b="10.0.0.2")
    assert set(addresses(replica)) == {"a", "b"}
    cluster.services(b="10.0.0.2")
    LiveItem.objects.filter(body_zstd=None).update(seen_at=0.0)
    assert journal.prune(source.id) == 1
    assert set(addresses(replica)) == {"b"}


def test_answers_stay_until_something_touches_them(source: LiveSource) -> None:
    cluster, replica = Cluster(source.id), Replica(source.id)
    cluster.services(a="10.0.0.1", b="10.0.0.2")
    with replica.using() as view:
        view.answers.keep("to a", "answer a", On("svc/shop/a"))
        view.answers.keep("to b", "answer b", On("svc/shop/b"))
    cluster.services(a="10.0.0.7", b="10.0.0.2")
    with replica.using() as view:
        assert view.answers.get("to a") is None
        assert view.answers.get("to b") == "answer b"


def test_a_file_read_once_more_touches_what_speaks_of_its_age(source: LiveSource) -> None:
    cluster, replica = Cluster(source.id), Replica(source.id)
    cluster.file(b"*nat\nCOMMIT\n")
    with replica.using() as view:
        view.answers.keep("x", "answer", On("node/n1"))
    cluster.file(b"*nat\nCOMMIT\n", read_at=9.0)
    with replica.using() as view:
        assert view.answers.get("x") is None
        assert view.cluster.snapshot.read_at("n1", "iptables-save.txt") == 9.0


def test_only_so_many_answers_are_kept(source: LiveSource) -> None:
    replica = Replica(source.id)
    with replica.using() as view:
        for number in range(100):
            view.answers.keep(number, number, On("x"))
        assert len(view.answers) == 64
        assert view.answers.get(0) is None
        assert view.answers.get(99) == 99


def test_a_source_that_was_disconnected_raises(source: LiveSource) -> None:
    replica = Replica(source.id)
    LiveSource.objects.all().delete()
    with pytest.raises(LiveSource.DoesNotExist), replica.using():
        pass


def reconnected(name: str) -> LiveSource:
    """Connect *name* anew, as another process would: this one's picture is told nothing."""
    LiveSource.objects.filter(context=name).delete()
    row = live_sources.connect(name)
    LiveSource.objects.update(lease_holder="me")
    return row


def test_a_source_that_was_connected_anew_is_another_cluster(db: None) -> None:
    first = reconnected("prod")
    cluster, replica = Cluster(first.id), Replica(first.id)
    cluster.services(a="10.0.0.1", b="10.0.0.2")
    with replica.using() as view:
        before = view.generation
        view.answers.keep("to a", "answer", On("svc/shop/a"))
    again = reconnected("prod")
    assert again.id == first.id
    with replica.using() as view:
        assert (view.generation, view.cluster.objects.services, view.answers.get("to a")) == (0, (), None)
    Cluster(again.id).services(a="10.9.9.9")
    assert addresses(replica) == {"a": "10.9.9.9"}
    assert before < replica.generation < 2**53, "pages compare generations as numbers"


def test_a_generation_that_goes_back_is_of_another_cluster(source: LiveSource) -> None:
    cluster, replica = Cluster(source.id), Replica(source.id)
    cluster.services(a="10.0.0.1")
    cluster.services(a="10.0.0.2")
    addresses(replica)
    LiveItem.objects.all().delete()
    LiveSource.objects.update(generation=0)
    assert addresses(replica) == {}


def test_replicas_that_nobody_looks_at_are_dropped() -> None:
    kept = Replicas()
    old = kept.of("old")
    old.used_at -= 3600
    assert kept.of("new") is kept.of("new")
    assert kept.of("old") is not old


@pytest.mark.django_db(transaction=True)
def test_readers_beside_a_writer_see_whole_batches() -> None:
    """Both Services of a batch always have the same address's last number."""
    row = LiveSource.objects.create(name="c", kind="context", context="c", lease_holder="me")
    cluster, over, torn = Cluster(row.id), threading.Event(), []

    def write() -> None:
        try:
            for number in range(1, 60):
                cluster.services(a=f"10.0.0.{number}", b=f"10.0.1.{number}")
        finally:
            over.set()
            connection.close()

    replica = Replica(row.id)
    writer = threading.Thread(target=write)
    writer.start()
    while not over.is_set():
        found = addresses(replica)
        if len({ip.rpartition(".")[2] for ip in found.values()}) > 1:
            torn.append(found)
    writer.join()
    assert torn == []
    assert addresses(replica) == {"a": "10.0.0.59", "b": "10.0.1.59"}

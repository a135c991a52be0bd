"""What the one who writes makes of messages."""

from __future__ import annotations

from typing import Any

import pytest

from webapp.cluster.kinds import FOLLOWED_KINDS, FollowedKind
from webapp.live.messages import Happened
from webapp.live.stream import Outbox
from webapp.live.writer import Writer
from webapp.models import LiveItem, LiveSource
from webapp.reading.changes import FileRead, NodeRead

KINDS = {kind.plural: kind for kind in FOLLOWED_KINDS}


@pytest.fixture
def writer(db: None) -> Writer:
    return Writer(LiveSource.objects.create(name="c", kind="context", context="c", lease_holder="me").id, "me", Outbox())


def happened(kind: FollowedKind, event: str, value: dict[str, Any]) -> Happened:
    return Happened(kind=kind, event=event, object=value, resource_version="5", seen_at=1.0)


def pod(name: str, node: str) -> dict[str, Any]:
    return {"metadata": {"namespace": "kube-system", "name": name}, "spec": {"nodeName": node}, "status": {"phase": "Running"}}


def read(node: str) -> NodeRead:
    file = FileRead(name="iptables-save.txt", content=b"*nat\nCOMMIT\n", read_at=1.0)
    return NodeRead(node=node, pod="kube-system/p", files=(file,), read_at=1.0, seconds=0.1)


def after(writer: Writer, *messages: Any) -> tuple[list[str], list[str]]:
    """Return the nodes that have rows and files once *messages* have been written."""
    for message in messages:
        writer._take(message)
        writer._nodes_at = 0.0
        writer._write()
    paths = LiveItem.objects.filter(path__startswith="nodes/", body_zstd__isnull=False).values_list("path", flat=True)
    return list(LiveSource.objects.get().nodes), [path.split("/")[1] for path in paths]


def test_a_node_that_is_no_object_goes_with_its_last_pod(writer: Writer) -> None:
    pods = KINDS["pods"]
    here = after(writer, happened(pods, "ADDED", pod("p", "ghost")), happened(pods, "ADDED", pod("q", "ghost")), read("ghost"))
    assert here == (["ghost"], ["ghost"])
    assert after(writer, happened(pods, "DELETED", pod("p", "ghost"))) == (["ghost"], ["ghost"])
    assert after(writer, happened(pods, "DELETED", pod("q", "ghost"))) == ([], [])


def test_a_node_stays_without_pods(writer: Writer) -> None:
    pods = KINDS["pods"]
    node = happened(KINDS["nodes"], "ADDED", {"metadata": {"name": "n1"}})
    assert after(writer, node, happened(pods, "ADDED", pod("p", "n1")), read("n1")) == (["n1"], ["n1"])
    assert after(writer, happened(pods, "DELETED", pod("p", "n1"))) == (["n1"], ["n1"])
    assert after(writer, happened(KINDS["nodes"], "DELETED", {"metadata": {"name": "n1"}})) == ([], [])


def test_readings_that_are_stored_behind_their_news_are_told(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table of nodes is written once a second at most: a page that came in between has to hear that there is more."""
    told: list[dict[str, Any]] = []
    monkeypatch.setattr("webapp.live.announce.send", lambda source, message: told.append(message))
    after(writer, read("n1"))
    writer._take(read("n2"))
    writer._write()
    assert (list(LiveSource.objects.get().nodes), told[-1]["type"]) == (["n1"], "generation")
    writer._nodes_at = 0.0
    writer._write()
    assert list(LiveSource.objects.get().nodes) == ["n1", "n2"]
    assert (told[-1]["type"], told[-1]["nodes"]) == ("source", True)
    before = len(told)
    writer._take(read("n2"))  # the same again: no news, and nobody waits for it
    writer._nodes_at = 0.0
    writer._write()
    assert len(told) == before

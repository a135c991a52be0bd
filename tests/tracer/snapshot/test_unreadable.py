"""A node's file that is there and cannot be read is called so, with its name: at upload, at the hop, and in the verdict; never missing."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.conftest import PROJECT
from tracer.errors import QueryError
from tracer.explain.findings import diagnose
from tracer.query import Query, parse_destination, parse_source
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.snapshot.node_files import NODE_FILES, Holds
from tracer.snapshot.summary import summarise
from tracer.snapshot.unreadable import unread_files, why_unread
from tracer.topology.cluster import Cluster
from tracer.trace import Trace

_CASE = PROJECT / "tests" / "field_cases" / "cases" / "ip-rule-is-an-error" / "snapshot"
FILES = {str(path.relative_to(_CASE)): path.read_bytes() for path in _CASE.rglob("*") if path.is_file()}
FILES["nodes/n1/ip-rule.json"] = FILES["nodes/n2/ip-rule.json"]
GARBAGE: Mapping[str, bytes] = {
    "the API server": b'Error from server (Forbidden): pods "kube-proxy-x" is forbidden: User "dev" cannot create resource "pods/exec"\n',
    "a shell": b"sh: 1: conntrack: not found\n",
    "BusyBox": b'Object "rule" is unknown, try "ip help".\n',
    "usage": b"Usage: ip [ OPTIONS ] OBJECT { COMMAND | help }\n       ip [ -force ] -batch filename\n",
    "a page": b"<html>\n<head><title>502 Bad Gateway</title></head>\n</html>\n",
    "no text": b"\x1f\x8b\x08\x00\xff\xfe\xfd",
    "nothing": b"",
    "blanks": b"\n \n",
}
RESTED_ON = ("ip-rule.json", "ip-route.json", "ip-addr.json", "ip-link.json", "sysctl.txt", "ip-neigh.json", "kube-proxy-mode.txt")


def _asked(files: Mapping[str, bytes], to: str = "10.96.7.7:80") -> Trace:
    cluster = Cluster(Snapshot.from_files(files))
    return diagnose(cluster, trace(cluster, Query(source=parse_source("pod:shop/client"), destination=parse_destination(to))))


@pytest.mark.parametrize("kind", GARBAGE)
@pytest.mark.parametrize("name", RESTED_ON)
def test_the_hop_and_the_verdict_name_it(name: str, kind: str) -> None:
    path = f"nodes/n1/{name}"
    found = _asked(FILES | {path: GARBAGE[kind]})
    said = [r for o in found.outcomes for r in (o.reason.text, *(f.text for f in o.findings))]
    notes = [note for o in found.outcomes for hop in o.hops for note in hop.notes]
    wanted = f"{path} is empty" if not GARBAGE[kind].strip() else f"{path} cannot be read"
    assert any(wanted in text for text in said), said
    assert any(wanted in note for note in notes) or found.outcomes[0].disposition == "unknown", notes
    assert not any(f"{name} is missing" in text for text in (*said, *notes))


@pytest.mark.parametrize("name", RESTED_ON)
def test_nothing_is_said_of_a_file_that_is_read_or_not_there(name: str) -> None:
    for files in (FILES, {path: raw for path, raw in FILES.items() if not path.endswith(name)}):
        found = _asked(files)
        assert "PARSE_ERROR" not in {f.code for o in found.outcomes for f in o.findings}


@pytest.mark.parametrize("kind", GARBAGE)
@pytest.mark.parametrize("file", [f for f in NODE_FILES if f.check is not None], ids=lambda f: f.name)
def test_it_is_a_fault_when_the_snapshot_is_stored(file: object, kind: str) -> None:
    name, may_be_empty = file.name, file.may_be_empty  # type: ignore[attr-defined]
    path = f"nodes/n1/{name}"
    files = {"services.json": FILES["services.json"], "nodes.json": FILES["nodes.json"], path: GARBAGE[kind]}
    named = {f.file for f in summarise(Snapshot.from_files(files)).faults}
    assert (path in named) is (bool(GARBAGE[kind].strip()) or not may_be_empty)


def test_the_page_lists_it_among_what_is_missing() -> None:
    found = summarise(Snapshot.from_files(FILES | {"nodes/n1/sysctl.txt": GARBAGE["a shell"]}))
    assert any(m.what == "readable sysctl.txt" and m.nodes == ("n1",) for m in found.missing)


@pytest.mark.parametrize("kind", GARBAGE)
def test_connections_that_cannot_be_read(kind: str) -> None:
    query = Query(source=parse_source("pod:shop/client"), destination=parse_destination("10.96.7.7:80"), connection=("n1", 1))
    with pytest.raises(QueryError) as refused:
        trace(Cluster(Snapshot.from_files(FILES | {"nodes/n1/conntrack.txt": GARBAGE[kind]})), query)
    assert "nodes/n1/conntrack.txt" in str(refused.value)
    assert "is missing" not in str(refused.value)


@pytest.mark.parametrize("kind", ["the API server", "nothing"])
def test_a_resolvers_settings_that_cannot_be_read(kind: str) -> None:
    files = FILES | {"nodes/n1/resolv.conf": GARBAGE[kind]}
    cluster = Cluster(Snapshot.from_files(files))
    found = trace(cluster, Query(source=parse_source("node:n1"), destination=parse_destination("web.shop.svc.cluster.local:80")))
    assert "nodes/n1/resolv.conf " + ("is empty" if kind == "nothing" else "cannot be read") in found.outcomes[0].reason.text


def test_a_list_with_one_bad_line_counts() -> None:
    """A file that is read line by line is not thrown away for one of them."""
    text = b"create S hash:ip family inet hashsize 64 maxelem 9\nadd S 10.0.0.1\nfrobnicate\n"
    snapshot = Snapshot.from_files({"nodes/n1/ipset-save.txt": text})
    assert list(unread_files(snapshot)) == []
    sets = next(file for file in NODE_FILES if file.name == "ipset-save.txt")
    assert sets.holds is Holds.SETS
    assert why_unread(Snapshot.from_files({"nodes/n1/ipset-save.txt": b"frobnicate\n"}), "n1", sets) is not None

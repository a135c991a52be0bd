"""Reading nodes through the node reader, and what cannot happen with a server that answers well."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from webapp.cluster.errors import Unreachable
from webapp.cluster.remote_program import Output
from webapp.collecting.cluster_nodes import NodeReadings, take_nodes
from webapp.collecting.collection import Collection, Entry, How
from webapp.collecting.report import report
from webapp.reading.places import NO_READER

NODES = [{"metadata": {"name": name}, "status": {"nodeInfo": {"operatingSystem": "linux"}}} for name in ("a", "b", "c")]
READER = {"app.kubernetes.io/name": "hopline-node-reader"}


def reader(node: str) -> dict[str, Any]:
    metadata = {"name": f"reader-{node}", "namespace": "readers", "labels": READER}
    spec = {"nodeName": node, "containers": [{"name": "node-reader"}]}
    return {"metadata": metadata, "spec": spec, "status": {"phase": "Running"}}


def archive(**contents: bytes) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, content in contents.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return made.getvalue()


class Readers:
    """A connection to a cluster on whose node ``b`` the reader does not answer."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, tuple[str, ...]]] = []
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True

    def exec(self, namespace: str, pod: str, container: str, argv: tuple[str, ...], **_: Any) -> Output:
        self.calls.append((namespace, pod, argv))
        if pod == "reader-b":
            raise Unreachable("The connection broke.")
        said = {"nft-ruleset.json": {"error": "The container has no program nft.", "seconds": 0.1}, "sysctl.txt": {"error": None}}
        files = {"sysctl.txt": b"kernel.x = 1\nnet.x = 1\n", "../evil": b"evil", "reading.json": json.dumps({"files": said}).encode()}
        return Output(stdout=archive(**files), stderr="", exit_code=0, seconds=0.1)


def test_the_reader_brings_all_files_of_a_node_at_once(tmp_path: Path) -> None:
    connection, into, lines = Readers(), Collection(tmp_path / "out"), []
    how = NodeReadings(how="daemonset", reader_namespace="readers", conntrack=True)
    objects = {"nodes": NODES, "pods": [reader("a"), reader("b")]}
    take_nodes(connection, objects, into, lines.append, how)  # type: ignore[arg-type]
    assert {call[:2] for call in connection.calls} == {("readers", "reader-a"), ("readers", "reader-b")}
    assert {call[2] for call in connection.calls} == {("hopline-node-reader", "--conntrack")}
    assert {(entry.path, entry.how, entry.error) for entry in into.entries} == {
        ("nodes/a/nft-ruleset.json", How.LACKING, "The container has no program nft."),
        ("nodes/a/sysctl.txt", How.TAKEN, ""),
        ("nodes/b/iptables-save.txt", How.FAILED, "The connection broke."),
        ("nodes/c/iptables-save.txt", How.FAILED, NO_READER),
    }
    assert (tmp_path / "out/nodes/a/sysctl.txt").read_bytes() == b"net.x = 1\n"
    assert len(lines) == 3


def test_without_a_list_of_nodes_those_with_pods_are_read(tmp_path: Path) -> None:
    into = Collection(tmp_path / "out")
    how = NodeReadings(how="daemonset", reader_namespace="readers")
    take_nodes(Readers(), {"pods": [reader("a")]}, into, lambda _: None, how)  # type: ignore[arg-type]
    assert {entry.stack for entry in into.entries} == {"a"}


def test_a_disk_that_is_full_is_not_passed_over(tmp_path: Path) -> None:
    into = Collection(tmp_path / "out")
    (tmp_path / "out").write_text("in the way")
    how = NodeReadings(how="daemonset", reader_namespace="readers")
    connection = Readers()
    with pytest.raises(OSError, match="out"):
        take_nodes(connection, {"pods": [reader("a")]}, into, lambda _: None, how)  # type: ignore[arg-type]
    assert connection.is_closed


@pytest.mark.parametrize("path", ["../x.json", "nodes/../iptables-save.txt", "nodes/a/notes.txt", "nodes/a/b/ss.txt", "x.txt", "/x.json"])
def test_other_names_are_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(ValueError, match="no file of a collected snapshot"):
        Collection(tmp_path).take(path, b"", 0.0)


def test_the_report_counts_and_cuts() -> None:
    taken = [Entry(path="services.json", read_at=0), Entry(path="nodes/a/ss.txt", read_at=0)]
    lacking = [Entry(path=f"nodes/{n}/ss.txt", read_at=0, how=How.LACKING, error="no ss") for n in ("b", "c")]
    programs = [
        Entry(path=f"nodes/b/{file}.txt", read_at=0, how=How.LACKING, error=f"The container has no program {program}.")
        for file, program in (("x", "ip"), ("y", "nft"), ("z", "ip"))
    ]
    failed = [Entry(path=f"nodes/{n}/sysctl.txt", read_at=0, how=How.FAILED, error="Not allowed: on {n}") for n in range(5)]
    others = [Entry(path=f"{n}.json", read_at=0, how=How.FAILED, error=f"broken {n}") for n in range(3)]
    refused = [Entry(path=f"{n}.json", read_at=0, how=How.FAILED, error=f"Not allowed: {n}") for n in "xy"]
    assert report([*taken, *lacking, *programs, *failed, *refused, *others], most=3).splitlines() == [
        "Taken: 1 files of the cluster, 1 files of 1 nodes.",
        "Not there to be read, on 2 nodes: ss.txt (no ss)",
        "Not there to be read, on 1 nodes: x.txt, y.txt, z.txt (The container has no program ip, nft.)",
        "Refused or failed: 10 files",
        "  5 files of 0, 1, 2 and 2 more: Not allowed: on {n}",
        "  x.json, y.json: Not allowed: x",
        "  0.json: broken 0",
        "  and 2 more, see snapshot.json",
    ]

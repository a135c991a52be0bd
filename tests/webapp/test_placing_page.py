"""/snapshots/ID/place: whose the files are that had no node."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from tests.webapp.made_rows import MINE, OTHER, client_of
from tests.webapp.stored import service, store
from tests.webapp.test_snapshots_new import finished
from webapp.models import Snapshot, UploadJob
from webapp.storing import stored_snapshots
from webapp.storing.snapshot_store import open_container

pytestmark = pytest.mark.django_db
RULES = "*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n"
OTHERS = RULES.replace("0:0", "1:1")
KEPT = "unplaced/iptables-save.txt/rules.txt"


def node(name: str) -> dict:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}


def three(folder: Path, **files: str) -> Snapshot:
    """Return a stored snapshot of three nodes, and *files* of which nobody knows whose they are."""
    named = {f"{name}.txt": text for name, text in files.items()}
    return store(folder, {"services.json": [service()], "nodes.json": [node(name) for name in ("a", "b", "c")], **named})


def contents(row: Snapshot) -> dict[str, bytes]:
    with contextlib.closing(open_container(row)) as files:
        return dict(files)


@pytest.mark.django_db(transaction=True)
def test_it_works(tmp_path):
    """A file is kept without being used; with the node that is chosen for it there is a new snapshot, and the old one stays."""
    row, mine = three(tmp_path, rules=RULES), client_of(MINE)
    assert contents(row)[KEPT] == RULES.encode()
    assert [one["files"] for one in row.summary["nodes"]] == [[], [], []]
    page = mine.get(f"/snapshots/{row.id}").content.decode()
    assert f'action="/snapshots/{row.id}/place"' in page
    assert page.count("<option>") == 3
    assert "no node&#x27;s rules." in page
    response = mine.post(f"/snapshots/{row.id}/place", {"file": [KEPT], "node": ["b"]})
    assert finished(mine, response["Location"]).status_code == 302
    new = Snapshot.objects.exclude(id=row.id).get()
    assert (new.name, new.summary["parent"]["id"], new.summary["unplaced"]) == (row.name, row.id, [])
    assert [one["files"] for one in new.summary["nodes"]] == [[], ["iptables-save.txt"], []]
    assert contents(new).keys() == {"services.json", "nodes.json", "nodes/b/iptables-save.txt"}
    assert KEPT in contents(row)
    assert "Every file that was recognised is used." in mine.get(f"/snapshots/{new.id}/place").content.decode()


REFUSED: list[tuple[list[str], list[str], str]] = [
    ([KEPT], [""], "For none of the files a node was chosen."),
    ([], [], "For none of the files a node was chosen."),
    ([KEPT], ["d"], "There is no node d in this snapshot."),
    ([KEPT], ["../a"], "There is no node ../a in this snapshot."),
    (["services.json"], ["a"], "services.json: there is no such file without a node."),
    (["unplaced/iptables-save.txt/../../x"], ["a"], "there is no such file without a node."),
    ([KEPT, "unplaced/iptables-save.txt/more.txt"], ["a", "a"], "Only one of these files can be nodes/a/iptables-save.txt"),
]


def test_it_says_why_nothing_was_placed(tmp_path):
    row, mine = three(tmp_path, rules=RULES, more=OTHERS), client_of(MINE)
    for files, nodes, said in REFUSED:
        response = mine.post(f"/snapshots/{row.id}/place", {"file": files, "node": nodes})
        assert (response.status_code, said in response.content.decode()) == (422, True), (files, nodes)
    assert not UploadJob.objects.exists()


def test_it_404s_for_unknown_and_for_another_session(tmp_path):
    row = three(tmp_path, rules=RULES)
    assert client_of(OTHER).post(f"/snapshots/{row.id}/place", {"file": [KEPT], "node": ["a"]}).status_code == 404
    assert client_of(MINE).get("/snapshots/none/place").status_code == 404


def test_without_known_nodes_one_is_typed(tmp_path):
    row = store(tmp_path, {"services.json": [service()], "rules.txt": RULES})
    page = client_of(MINE).get(f"/snapshots/{row.id}/place").content.decode()
    assert 'name="node" list="nodes"' in page
    response = client_of(MINE).post(f"/snapshots/{row.id}/place", {"file": [KEPT], "node": ["No Name"]})
    assert "No Name is no name of a node." in response.content.decode()


def test_a_downloaded_snapshot_opens_with_the_same_files_without_a_node(tmp_path):
    row = three(tmp_path / "first", rules=RULES)
    archive = tmp_path / "again.tar.gz"
    archive.write_bytes(b"".join(stored_snapshots.download(row, "tar.gz")))
    again = stored_snapshots.store_snapshot(archive, owner=MINE)
    assert (again.digest, again.summary["unplaced"]) == (row.digest, row.summary["unplaced"])


def test_the_only_node_that_is_added_takes_what_waited_for_it(tmp_path):
    row = store(tmp_path / "first", {"services.json": [service()], "rules.txt": RULES})
    (tmp_path / "nodes.json").write_text(
        '{"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"}}]}'
    )
    new = stored_snapshots.store_snapshot(tmp_path / "nodes.json", owner=MINE, parent=row)
    assert (new.summary["unplaced"], new.summary["from"]) == ([], {"nodes/a/iptables-save.txt": "rules.txt"})
    assert new.summary["assumed"] == ["rules.txt is taken to be a's, as there is one node"]


def test_of_two_files_with_one_name_none_is_lost(tmp_path):
    row = three(tmp_path / "first", rules=RULES)
    (tmp_path / "rules.txt").write_text(OTHERS)
    new = stored_snapshots.store_snapshot(tmp_path / "rules.txt", owner=MINE, parent=row)
    waiting = {path: text for path, text in contents(new).items() if path.startswith("unplaced/")}
    assert sorted(waiting.values()) == [RULES.encode(), OTHERS.encode()]
    assert {f"unplaced/{one['file']}/{one['path']}" for one in new.summary["unplaced"]} == set(waiting)

"""The commands: import, load the demonstration clusters, delete."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from tests.conftest import PROJECT
from tests.webapp.conftest import SECRET, SERVICE, write_cluster
from tracer.snapshot import Snapshot as RecordedSnapshot
from webapp.management.commands.load_demo import demonstration_clusters
from webapp.models import Snapshot
from webapp.storing import stored_snapshots
from webapp.storing.snapshot_store import open_container

pytestmark = pytest.mark.django_db


def test_it_prints_the_id_and_everybody_sees_it(small: Path) -> None:
    out = io.StringIO()
    call_command("import_snapshot", str(small), "--name", "prod", stdout=out)
    row = Snapshot.objects.get(id=out.getvalue().strip())
    assert (row.name, row.is_visible_to("anybody"), row.is_deletable_by("anybody")) == ("prod", True, False)


def test_a_refusal_has_code_2_and_every_reason(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="No such file") as caught:
        call_command("import_snapshot", str(tmp_path / "nowhere"))
    assert caught.value.returncode == 2


def test_a_first_import_into_an_empty_data_folder_makes_the_database(small: Path, tmp_path: Path) -> None:
    own = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
    variables = own | {"HOPLINE_DATA": str(tmp_path / "new/data"), "DJANGO_SETTINGS_MODULE": "webapp.settings"}
    ran = subprocess.run(
        [sys.executable, str(PROJECT / "manage.py"), "import_snapshot", str(small)],
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, len(ran.stdout.strip())) == (0, 16), ran.stderr


def test_several_files_are_one_snapshot(tmp_path: Path) -> None:
    write_cluster(tmp_path / "c")
    (tmp_path / "c/rules.txt").write_text("Chain INPUT (policy ACCEPT)\ntarget     prot opt source               destination\n")
    out, err = io.StringIO(), io.StringIO()
    called = [str(tmp_path / "c" / name) for name in ("services.json", "nodes", "rules.txt")]
    call_command("import_snapshot", *called, stdout=out, stderr=err)
    row = Snapshot.objects.get(id=out.getvalue().strip())
    with contextlib.closing(open_container(row)) as files:
        assert set(files) == {"services.json", "nodes/node-a/iptables-save.txt", "nodes/node-b/iptables-save.txt"}
    assert err.getvalue().startswith("Found 1 Service; rules of 2 of 2 nodes")
    assert "kubectl get endpointslices,pods,nodes -A -o json > more.json" in err.getvalue()
    assert "Not usable: rules.txt: rules as iptables -L lists them" in err.getvalue()
    assert "nothing tells what" not in err.getvalue()


def test_what_is_added_is_laid_over_a_parent(tmp_path: Path) -> None:
    write_cluster(tmp_path / "c", nodes=("node-a",))
    write_cluster(tmp_path / "d", nodes=("node-a", "node-b"))
    parent = stored_snapshots.store_snapshot(tmp_path / "c", name="prod")
    (tmp_path / "d/nodes/node-a/iptables-save.txt").write_text("*nat\nCOMMIT\n")
    out = io.StringIO()
    call_command("import_snapshot", "--add-to", "prod", str(tmp_path / "d/nodes"), stdout=out, stderr=io.StringIO())
    row = Snapshot.objects.get(id=out.getvalue().strip())
    with contextlib.closing(open_container(row)) as files:
        assert set(files) == {"services.json", "nodes/node-a/iptables-save.txt", "nodes/node-b/iptables-save.txt"}
        assert files["nodes/node-a/iptables-save.txt"] == b"*nat\nCOMMIT\n"
    assert row.summary["parent"] == {"id": parent.id, "name": "prod"}
    with pytest.raises(CommandError, match="no snapshot nosuch"):
        call_command("import_snapshot", "--add-to", "nosuch", str(tmp_path / "d"))
    with pytest.raises(CommandError, match="Several snapshots are called prod"):
        call_command("import_snapshot", "--add-to", "prod", str(tmp_path / "d"))


def test_one_file_of_many_kinds_is_completed_and_not_replaced(tmp_path: Path) -> None:
    """Two such files may have one name and hold different kinds; of an object in both the new one counts."""
    row = None
    for turn, items in enumerate([[SERVICE, _namespace("old"), _namespace("kept")], [_namespace("old", "1")], [_namespace("old", "2")]]):
        path = tmp_path / str(turn) / "cluster.json"
        path.parent.mkdir()
        path.write_text(json.dumps({"kind": "List", "items": items}))
        row = stored_snapshots.store_snapshot(path, parent=row)
    assert row is not None
    assert row.summary["objects"] == {"Service": 1, "Namespace": 2}
    with contextlib.closing(open_container(row)) as files:
        found = {one.name: one.labels.get("at") for one in RecordedSnapshot.from_files(files).objects.namespaces}
    assert found == {"old": "2", "kept": None}


def _namespace(name: str, label: str = "") -> dict:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"at": label} if label else {}}}


def _other_nodes(folder: Path) -> None:
    write_cluster(folder, nodes=("else-1",))
    (folder / "services.json").unlink()


def _other_services(folder: Path) -> None:
    other = json.loads(json.dumps(SERVICE).replace("10.96.0.10", "10.200.0.9"))
    folder.mkdir()
    (folder / "services.json").write_text(json.dumps({"kind": "List", "items": [other]}))


@pytest.mark.parametrize("write", [_other_nodes, _other_services])
def test_two_clusters_are_never_mixed(tmp_path: Path, write) -> None:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-a"}}
    parent = stored_snapshots.store_snapshot(write_cluster(tmp_path / "c", node), name="prod")
    write(tmp_path / "other")
    with pytest.raises(CommandError, match="not of the cluster of prod") as caught:
        call_command("import_snapshot", "--add-to", parent.id, str(tmp_path / "other"))
    assert caught.value.returncode == 2
    assert Snapshot.objects.get() == parent


def test_delete_removes_row_and_bytes(small: Path, own_storage: Path) -> None:
    row = stored_snapshots.store_snapshot(small)
    call_command("delete_snapshot", row.id)
    assert not Snapshot.objects.exists()
    assert list(own_storage.iterdir()) == []
    with pytest.raises(CommandError, match="no snapshot") as caught:
        call_command("delete_snapshot", row.id)
    assert caught.value.returncode == 2


def test_the_demonstration_clusters_are_those_of_the_folder(demo: Path) -> None:
    found = dict(demonstration_clusters(demo))
    assert found["shop-iptables"] == demo / "shop-iptables"
    assert found["shop-timeline"] == demo / "shop-timeline"
    assert found["large-iptables"] == demo / "large-iptables.tar.gz"
    assert len(found) == 10


def test_load_demo_loads_all_of_them_once(demo: Path, tmp_path: Path, settings) -> None:
    settings.DEMO_DIR = tmp_path / "demo"
    settings.DEMO_DIR.mkdir()
    for name in ("shop-iptables", "shop-userspace-v1.20", "shop-timeline"):
        (settings.DEMO_DIR / name).symlink_to(demo / name)
    first, second = io.StringIO(), io.StringIO()
    call_command("load_demo", stdout=first)
    call_command("load_demo", stdout=second)
    assert first.getvalue().split() == ["Loaded", "shop-iptables", "Loaded", "shop-timeline", "Loaded", "shop-userspace-v1.20"]
    assert second.getvalue() == ""
    assert {(row.id, row.owner, row.is_demo) for row in Snapshot.objects.all()} == {
        (name, "", True) for name in ("shop-iptables", "shop-userspace-v1.20", "shop-timeline")
    }


def test_a_timeline_is_stored_with_all_its_steps(demo: Path) -> None:
    out = io.StringIO()
    call_command("import_snapshot", str(demo / "shop-timeline"), stdout=out)
    row = Snapshot.objects.get(id=out.getvalue().strip())
    steps = row.summary["timeline"]["steps"]
    assert [step["step"] for step in steps] == list(range(12))
    assert steps[1]["title"] == "api scaled from 3 to 5"
    assert row.summary["unknown_files"] == []
    recorded = {path.relative_to(demo / "shop-timeline").as_posix() for path in (demo / "shop-timeline").rglob("*") if path.is_file()}
    with contextlib.closing(open_container(row)) as files:
        assert set(files) == recorded
        events = [json.loads(line) for line in (demo / "shop-timeline/pods.watch.jsonl").read_text().splitlines()]
        for event in events:
            event["object"]["metadata"].pop("managedFields", None)
        assert [json.loads(line) for line in files["pods.watch.jsonl"].splitlines()] == events
        rules = [path for path in recorded if path.endswith("save.txt")]
        assert all(files[path] == (demo / "shop-timeline" / path).read_bytes() for path in rules)


def test_a_timeline_loses_its_secrets_too(tmp_path: Path) -> None:
    write_cluster(tmp_path / "t/base", SECRET)
    (tmp_path / "t/steps.json").write_text(json.dumps([{"step": 0, "title": "", "at": 1, "resource_version": "1"}]))
    lines = [{"type": "ADDED", "object": one} for one in (SECRET, SERVICE)]
    (tmp_path / "t/services.watch.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "t/secrets.list.json").write_text(json.dumps({"kind": "SecretList", "items": [SECRET]}))
    row = stored_snapshots.store_snapshot(tmp_path / "t")
    with contextlib.closing(open_container(row)) as files:
        stored = {name: files[name] for name in files}
    assert not any(b"aHVudGVy" in content for content in stored.values())
    assert b"10.96.0.10" in stored["services.watch.jsonl"]
    assert row.summary["timeline"]["steps"][0]["resource_version"] == "1"


@pytest.mark.needs_shared
def test_the_demonstration_clusters_equal_the_recordings(demo: Path, shared: Path) -> None:
    """What is in the project is what was recorded, byte for byte."""
    ours = {path.relative_to(demo): path.read_bytes() for path in demo.rglob("*") if path.is_file()}
    recorded = {
        path.relative_to(shared / "recordings"): path
        for path in (shared / "recordings").rglob("*")
        if path.is_file() and path.name != "README.md"
    }
    # Not all recordings are demonstrations, but each that is one is there whole.
    recorded = {name: path for name, path in recorded.items() if name.parts[0] in {other.parts[0] for other in ours}}
    assert ours.keys() == recorded.keys()
    assert [name for name, content in ours.items() if content != recorded[name].read_bytes()] == []

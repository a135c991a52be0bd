"""``manage.py migrate SNAPSHOT --to MODE``: forms, exit codes, and Django's own command behind the same name."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from tests.made_cluster import MadeCluster

COUNTS = ("same", "changed", "unexplained", "unknown")


@pytest.fixture
def made(tmp_path: Path) -> str:
    """A cluster of two nodes with one Service, as a folder."""
    cluster = MadeCluster(2)
    cluster.pod("client", 1)
    cluster.service("web", [cluster.pod("web", 2)], type="NodePort", node_port=30080)
    for path, content in cluster.files().items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    return str(tmp_path)


def migrated(*arguments: str) -> str:
    out = StringIO()
    call_command("migrate", *arguments, stdout=out)
    return out.getvalue()


def test_it_says_what_changes_and_why(made: str):
    said = migrated(made, "--to", "nftables")
    assert said.startswith(f"From iptables to nftables: {made}\n")
    assert "each for a known reason" in said
    assert "node -> node port on loopback: connected -> a port of the node's own; 2 questions: default/web" in said
    assert "to keep what was: Nothing sets it." in said


def test_markdown_has_a_table_of_each_reason(made: str):
    said = migrated(made, "--to", "nftables", "--format", "markdown")
    assert "\n## no-node-port-on-loopback\n" in said
    assert "| node | node port on loopback |  | connected | a port of the node's own | 2 | default/web |" in said
    services = next(line for line in said.splitlines() if line.startswith("| default/web |"))
    assert services.endswith("| no-node-port-on-loopback, undefined-port-refused, ping-refused |")


def test_json_and_lines_of_cells_count_alike(made: str):
    told = json.loads(migrated(made, "--to", "nftables", "--format", "json"))
    cells = [json.loads(line) for line in migrated(made, "--to", "nftables", "--cells").splitlines()]
    assert len(cells) == told["cells"] == sum(told[name] for name in COUNTS)
    assert {name: sum(cell["outcome"] == name for cell in cells) for name in COUNTS} == {name: told[name] for name in COUNTS}


def test_the_mode_that_is_there_changes_nothing(made: str):
    assert "Nothing changes: " in migrated(made, "--to", "iptables")


def test_nodes_and_services_are_chosen(made: str):
    cells = [json.loads(line) for line in migrated(made, "--to", "iptables", "--node", "n1", "--cells").splitlines()]
    assert {cell["query"]["from"].get("name") for cell in cells} == {None, "n1", "client"}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--node", "n9"), "the snapshot has no node 'n9'"),
        (("--service", "default/wep"), "the snapshot has no Service 'default/wep': did you mean default/web?"),
    ],
)
def test_what_is_not_there_is_an_error(made: str, more: tuple[str, ...], said: str):
    with pytest.raises(CommandError, match=said) as error:
        migrated(made, "--to", "nftables", *more)
    assert error.value.returncode == 2


def test_a_snapshot_is_needed():
    with pytest.raises(CommandError, match="give one snapshot") as error:
        migrated("--to", "nftables")
    assert error.value.returncode == 2


def test_a_file_that_is_not_there():
    with pytest.raises(CommandError, match="no such file or folder"):
        migrated("nowhere", "--to", "nftables")


@pytest.mark.django_db
def test_without_a_mode_it_is_djangos_own():
    assert "No planned migration operations" in migrated("--plan")


def test_what_is_unexplained_is_the_exit_code(made: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tracer.migration.known.ROWS", ())
    with pytest.raises(SystemExit) as ended:
        migrated(made, "--to", "nftables")
    assert ended.value.code == 1

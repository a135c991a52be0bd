"""Migration reports of the demonstration clusters: every change has its reason, and each answer is that of the other mode's modelled rules."""

from __future__ import annotations

import json
import re

import pytest

from tests.conftest import PROJECT
from tests.made_cluster import MadeCluster
from tests.sizes import FULL
from tests.tracer.migration.shops import SERVICES, migration, modelled
from tracer.limits import MIGRATED
from tracer.migration.cells import Outcome, Switch
from tracer.migration.known import ROWS
from tracer.migration.report import Migration
from tracer.migration.verdict import verdict_of
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster

_ROW = re.compile(r"^\| `(?P<row>[a-z0-9-]+)` \| (?P<recordings>[^|]+) \| [^|]+ \|$", re.MULTILINE)
_BETWEEN_IPTABLES_AND_NFTABLES = {"no-node-port-on-loopback", "undefined-port-refused", "ping-refused"}


def _seen() -> dict[str, set[str]]:
    """The rows of the first table of docs/modes.md: name → the recordings that show it."""
    text = (PROJECT / "docs/modes.md").read_text()
    return {found["row"]: {name.strip() for name in found["recordings"].split(",")} for found in _ROW.finditer(text)}


@pytest.mark.parametrize(
    ("name", "mode", "rows"),
    [
        ("shop-iptables", "nftables", _BETWEEN_IPTABLES_AND_NFTABLES),
        ("shop-nftables", "iptables", _BETWEEN_IPTABLES_AND_NFTABLES | ({"unallocated-dropped"} if FULL else set())),
    ],
)
def test_every_change_has_its_reason_and_is_that_of_the_modelled_rules(name: str, mode: str, rows: set[str]):
    asked = migration(name, mode, whole=FULL)
    other = modelled(name, mode)
    bare = 0
    for at, one in enumerate(asked.run()):
        if one.cell.way == "node port on loopback" and mode == "iptables":
            continue  # route_localnet was recorded in the mode that is left: the rules alone do not make it
        if FULL or at % 7 == 0:
            bare += 1
            assert one.after == verdict_of(trace(other, one.cell.query, is_verdict=True)), one.to_dict()
    report = asked.report
    assert bare > 50
    assert {row.id for row in report.rows} == rows
    assert not report.of(None), [kind.to_dict() for kind in report.of(None)]
    assert report.totals[Outcome.SAME] > report.totals[Outcome.CHANGED] > 0
    seen = _seen()
    recording = "shop-nftables"
    assert all(recording in seen[row.id] for row in report.rows if row.id in seen)


@pytest.mark.parametrize(("name", "mode"), [("shop-nftables", "nftables"), ("shop-ipvs", "ipvs")])
def test_nothing_changes_where_the_mode_is_the_same(name: str, mode: str):
    report = migration(name, mode, whole=FULL).finished()
    assert report.cells > 100
    assert set(report.totals) <= {Outcome.SAME, Outcome.UNKNOWN}
    assert not report.kinds


def test_leaving_ipvs_is_explained():
    report = migration("shop-ipvs", "iptables", whole=FULL).finished()
    found = {row.id for row in report.rows}
    assert not report.of(None), [kind.to_dict() for kind in report.of(None)]
    assert {"local-refused", "local-node-port-local-only", "no-node-port-on-loopback", "undefined-port-refused"} <= found
    assert all("shop-ipvs" in recordings for row, recordings in _seen().items() if row in found)


def _files(services: int = 2) -> dict[str, str]:
    made = MadeCluster(2)
    made.pod("client", 1)
    web = made.pod("web", 2)
    for number in range(services):
        made.service(f"web-{number}", [web], type="NodePort", node_port=30080 + number)
    return made.files()


def _made(services: int) -> Cluster:
    return Cluster.from_snapshot(Snapshot.from_files(_files(services)))


def test_a_service_is_asked_about_as_a_whole_or_named():
    before = _made(3)
    whole = Migration(before, before, "iptables").finished()
    each = whole.cells // 3
    cut = Migration(before, before, "iptables").finished(most=2 * each)
    assert (cut.cells, cut.not_asked) == (2 * each, ("default/web-2",))
    assert not cut.is_complete and whole.not_asked == ()
    assert whole.cells < MIGRATED


def test_the_report_counts_what_it_lists():
    before = _made(1)
    report = Migration(before, before.overridden(("mode=nftables",)), "nftables").finished()
    told = json.loads(json.dumps(report.to_dict()))
    assert told["changed"] == sum(kind["cells"] for kind in told["kinds"]) == sum(row["cells"] for row in told["rows"]) > 0
    assert told["cells"] == sum(told[outcome.value] for outcome in Outcome)
    (service,) = told["services"]
    assert (service["namespace"], service["name"], service["changed"]) == ("default", "web-0", told["changed"])
    assert sum(service["rows"].values()) == service["changed"]
    assert {kind["row"] for kind in told["kinds"]} <= {row.id for row in ROWS}
    assert all(row["keep"] and row["source"] for row in told["rows"])
    loopback = next(kind for kind in told["kinds"] if kind["way"] == "node port on loopback")
    assert (loopback["before"], loopback["after"]) == ("connected", "a port of the node's own")
    assert any("127.0.0.1" in json.dumps(loopback["example"][side]) for side in ("query", "after"))


def test_services_that_are_named_are_those_that_are_asked():
    asked = migration("shop-ipvs", "ipvs", whole=False)
    assert [service.key for service in asked.universe.services] == sorted(SERVICES)


def test_which_mode_a_node_without_rules_runs_is_told_without_making_them(monkeypatch: pytest.MonkeyPatch):
    """A large cluster has many such nodes: making the rules of all Services for each of them costs more than the report."""
    made: list[str] = []

    def programmed(snapshot: Snapshot, node: str, *_: object) -> None:
        made.append(node)

    monkeypatch.setattr("tracer.topology.programming.programmed", programmed)
    cluster = _made(2)
    bare = Cluster.from_snapshot(Snapshot.from_files({path: text for path, text in _files().items() if "save" not in path}))
    assert Switch.of(bare, "nftables").modes == Switch.of(cluster, "nftables").modes == {"iptables"}
    assert made == []

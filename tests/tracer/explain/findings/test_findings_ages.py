"""How old a difference between rules and objects is, and what it proves: rules that were read first prove nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.made_cluster import MadeCluster
from tests.tracer.topology.test_followed import query
from tracer.changes import Change, FileChange, ObjectChange
from tracer.explain.dependencies import dependencies_of
from tracer.explain.findings import diagnose
from tracer.explain.findings.ages import span
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster
from tracer.topology.followed import FollowedCluster, changes_of
from tracer.trace import Finding, Trace

ASKED = query("pod:default/client", "svc:default/web:80")
RULES = "nodes/n1/iptables-save.txt"


def made(endpoints: int) -> MadeCluster:
    cluster = MadeCluster()
    cluster.pod("client", 1)
    pods = [cluster.pod(f"web-{i}", 2) for i in range(3)]
    cluster.service("web", pods[:endpoints])
    return cluster


def followed(first: int, listed_at: float, then: int | None, seen_at: float, read_at: float) -> FollowedCluster:
    """A cluster whose Service had *first* endpoints and then *then*; node n1's rules are those of the first, read at *read_at*."""
    model = FollowedCluster()
    start = [timed(c, listed_at, read_at) for c in changes_of(Snapshot.from_files(made(first).files()))]
    model.apply(start, now=listed_at)
    if then is not None:
        later = changes_of(Snapshot.from_files(made(then).files()))
        model.apply([timed(c, seen_at, read_at) for c in later if isinstance(c, ObjectChange) and c.kind == "EndpointSlice"], now=seen_at)
    return model


def timed(change: Change, seen_at: float, read_at: float) -> Change:
    return replace(change, seen_at=seen_at) if isinstance(change, ObjectChange) else replace(change, read_at=read_at)


def answered(cluster: Cluster) -> Trace:
    return diagnose(cluster, trace(cluster, ASKED))


def found(cluster: Cluster, code: str) -> Finding:
    return next(f for o in answered(cluster).outcomes for f in o.findings if isinstance(f, Finding) and f.code == code)


def test_rules_that_were_read_before_an_endpoint_came_are_a_notice() -> None:
    finding = found(followed(1, 100.0, 2, 160.0, 157.0).cluster, "RULES_BEHIND_OBJECTS")
    said = "The rules of node n1 were read 3.0 s before that endpoint was first seen ready: its proxy may have caught up since"
    assert said in finding.text
    assert (finding.severity, finding.fix.startswith("Read the rules of node n1 again")) == ("notice", True)


def test_rules_that_were_read_after_an_endpoint_came_and_lack_it_are_behind() -> None:
    finding = found(followed(1, 100.0, 3, 160.0, 200.0).cluster, "RULES_BEHIND_OBJECTS")
    assert finding.text.endswith("The rules of node n1 were read 40 s after the first of them was first seen ready")
    assert (finding.severity, "kube-proxy" in finding.fix) == ("warning", True)


def test_the_reverse_a_rule_for_an_endpoint_that_went() -> None:
    late = found(followed(2, 100.0, 1, 160.0, 1000.0).cluster, "STALE_RULE_FOR_REMOVED_POD")
    assert late.text.endswith("The rules of node n1 were read 14 min after that endpoint was seen to go")
    assert late.severity == "fault"
    early = found(followed(2, 100.0, 1, 160.0, 159.5).cluster, "STALE_RULE_FOR_REMOVED_POD")
    assert "0.5 s before that endpoint was seen to go" in early.text
    assert early.severity == "notice"


def test_an_endpoint_that_is_back_counts_from_then() -> None:
    model = followed(2, 100.0, 1, 160.0, 300.0)
    again = changes_of(Snapshot.from_files(made(2).files()))
    model.apply([timed(c, 290.0, 0.0) for c in again if isinstance(c, ObjectChange) and c.kind == "EndpointSlice"], now=290.0)
    assert model.snapshot.endpoint_changed_at("default", "web", answered(model.cluster).outcomes[1].destination.ip) == 290.0  # type: ignore[arg-type, union-attr]


def test_without_times_nothing_is_said_of_them() -> None:
    cluster, more = made(1), made(2)
    cluster.extra["endpointslices.json"] = more.files()["endpointslices.json"]
    finding = found(cluster.cluster(), "RULES_BEHIND_OBJECTS")
    assert "were read" not in finding.text
    assert finding.severity == "warning"


def collected(rules_at: str | None, objects_at: str | None, changed: str | None = None) -> Cluster:
    """A snapshot whose rules lack an endpoint, with what its collector noted of times."""
    cluster, more = made(1), made(2)
    slices: dict[str, Any] = json.loads(more.files()["endpointslices.json"])
    if changed is not None:
        slices["items"][0]["metadata"]["annotations"] = {"endpoints.kubernetes.io/last-change-trigger-time": changed}
    noted = {RULES: {"read_at": rules_at}, "endpointslices.json": {"read_at": objects_at}}
    about = {"collected_at": "2026-11-20T12:00:00Z", "files": {p: at for p, at in noted.items() if at["read_at"]}}
    cluster.extra |= {"endpointslices.json": json.dumps(slices).encode(), "snapshot.json": json.dumps(about).encode()}
    return cluster.cluster()


COLLECTED = [
    ("2026-11-20T12:00:05Z", "2026-11-20T12:00:08Z", None, "3.0 s before the EndpointSlices were read: its proxy may", "notice"),
    ("2026-11-20T12:00:09Z", "2026-11-20T12:00:08Z", None, "1.0 s after the EndpointSlices were read", "warning"),
    (
        "2026-11-20T12:00:09Z",
        "2026-11-20T12:00:08Z",
        "2026-11-20T11:58:00Z",
        "2 min 9 s after the EndpointSlice last followed a change",
        "warning",
    ),
    ("2026-11-20T12:00:05+00:00", None, None, None, "warning"),
    (None, "2026-11-20T12:00:08Z", None, None, "warning"),
    ("yesterday", "2026-11-20T12:00:08Z", None, None, "warning"),
]


@pytest.mark.parametrize(("rules_at", "objects_at", "changed", "said", "severity"), COLLECTED)
def test_a_collected_snapshot_says_what_its_collector_noted(
    rules_at: str | None, objects_at: str | None, changed: str | None, said: str | None, severity: str
) -> None:
    finding = found(collected(rules_at, objects_at, changed), "RULES_BEHIND_OBJECTS")
    assert finding.severity == severity
    assert (said or "") in finding.text
    assert ("were read" in finding.text) is (said is not None)


def test_reading_again_touches_an_answer_that_speaks_of_the_age() -> None:
    behind = followed(1, 100.0, 2, 160.0, 157.0)
    content = behind.files[RULES]
    again = FileChange(node="n1", name="iptables-save.txt", before=content, after=content, read_at=170.0)
    assert dependencies_of(behind.cluster, answered(behind.cluster)).touched_by(again)
    current = followed(2, 100.0, None, 0.0, 157.0)
    assert not dependencies_of(current.cluster, answered(current.cluster)).touched_by(again)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (3, "3.0 s"), (9.96, "10 s"), (40, "40 s"), (125, "2 min 5 s"), (3600, "1 h"), (90061, "1 d 1 h")],
)
def test_span(seconds: float, text: str) -> None:
    assert span(seconds) == text

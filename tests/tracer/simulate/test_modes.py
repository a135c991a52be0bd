"""Every difference between the recordings has a named row in docs/modes.md, and every row is seen."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from tests.sizes import every
from tests.tracer.simulate.mode_questions import Answer, Key, Recording
from tracer.kube.service import Service, TrafficPolicy

pytestmark = pytest.mark.needs_shared

BASE = "shop-iptables"
_ROW = re.compile(r"^\| `(?P<row>[a-z0-9-]+)` \| (?P<recordings>[^|]+) \| [^|]+ \|$", re.MULTILINE)
ZONAL = "production/backend-zonal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One question whose answers differ. *service* is what was dialled, None for nobody's address."""

    key: Key
    before: frozenset[Answer]
    after: frozenset[Answer]
    service: Service | None

    @property
    def internal_is_local(self) -> bool:
        return self.service is not None and self.service.internal_traffic_policy is TrafficPolicy.LOCAL

    @property
    def external_is_local(self) -> bool:
        return self.service is not None and self.service.external_traffic_policy is TrafficPolicy.LOCAL

    def turns(self, before: str, after: str) -> bool:
        """Return whether everybody saw *before*, and sees *after*."""
        return _sees(self.before) == {before} and _sees(self.after) == {after}

    def becomes(self, **fields: str) -> bool:
        """Return whether the answers are as before but for *fields*."""
        return self.after == {replace(a, **fields) for a in self.before}

    def __str__(self) -> str:
        return f"{self.key}\n    before: {sorted(self.before)}\n    after:  {sorted(self.after)}"


def _sees(answers: Iterable[Answer]) -> set[str]:
    return {a.sees for a in answers}


def _sources(answers: Iterable[Answer]) -> set[str]:
    return {a.source for a in answers}


def _from_node(c: Change) -> bool:
    return c.key.source == "node"


def _local_load_balancer_from_node(c: Change) -> bool:
    if not (_from_node(c) and c.key.way == "load balancer" and c.external_is_local):
        return False
    return c.becomes(source="the dialled address") if c.key.here else c.turns("connected", "timeout")


def _policy_ignored(c: Change) -> bool:
    """All endpoints are reached, and they see a node."""
    return _sees(c.after) == {"connected"} and {a.reach for a in c.after} == {"all"} and _sources(c.after) == {"a node"}


def _hints_ignored(c: Change) -> bool:
    if c.key.service != ZONAL or {a.reach for a in c.before} != {"some"}:
        return False
    return c.becomes(reach="all") or c.becomes(reach="all", source="a node")


def _internal_policy_ignored(c: Change) -> bool:
    return c.internal_is_local and c.key.way == "cluster IP" and c.turns("timeout", "connected") and {a.reach for a in c.after} == {"all"}


def _source_ranges_leak(c: Change) -> bool:
    ranges = c.service is not None and bool(c.service.load_balancer_source_ranges)
    return ranges and c.key.source.startswith("pod") and _sees(c.before) == {"timeout"} and "connected" in _sees(c.after)


def _external_policy_ignored(c: Change) -> bool:
    return c.external_is_local and c.key.way in ("node port", "load balancer") and _policy_ignored(c)


def _source_ranges_ignored(c: Change) -> bool:
    return bool(c.service and c.service.load_balancer_source_ranges) and _sees(c.before) == {"timeout"} and _policy_ignored(c)


# Answers of one question may be few: where a pod of the Service asks, it may meet itself, and be masqueraded, or not.
EXPLAINS: dict[str, Callable[[Change], bool]] = {
    "local-refused": lambda c: c.internal_is_local and c.key.way == "cluster IP" and not c.key.here and c.turns("timeout", "refused"),
    "external-ip-by-arp": lambda c: c.key.source == "outside" and c.key.way == "external IP" and c.turns("nobody there", "connected"),
    "local-load-balancer-from-node": _local_load_balancer_from_node,
    "local-node-port-local-only": lambda c: c.external_is_local and c.key.way == "node port" and c.key.own and c.becomes(reach="some"),
    "no-node-port-on-loopback": lambda c: c.key.way == "node port on loopback" and c.turns("connected", "a port of the node's own"),
    "undefined-port-refused": lambda c: c.key.way == "undefined port" and c.turns("nobody there", "refused"),
    "unallocated-dropped": lambda c: c.key.way == "unallocated cluster IP" and c.turns("nobody there", "timeout"),
    "local-load-balancer-dropped": lambda c: (
        _from_node(c) and c.key.way == "load balancer" and c.external_is_local and not c.key.here and c.turns("connected", "timeout")
    ),
    "hints-ignored": _hints_ignored,
    "internal-policy-ignored": _internal_policy_ignored,
    "ipv4-only": lambda c: c.key.version == 6 and c.key.way == "cluster IP" and c.turns("connected", "nobody there"),
    "node-port-held": lambda c: c.key.version == 6 and c.key.way == "node port" and _sees(c.after) == {"silence"},
    "node-port-of-ipv4-only": lambda c: c.key.version == 6 and c.key.way == "node port" and c.turns("connected", "refused"),
    "sockets-recorded": lambda c: c.turns("a port of the node's own", "refused"),
    "external-ip-not-from-node": lambda c: _from_node(c) and c.key.way == "external IP" and c.turns("connected", "nobody there"),
    "source-ranges-leak": _source_ranges_leak,
    "node-is-the-client": lambda c: "the client" in _sources(c.before) and c.becomes(source="a node"),
    "external-policy-ignored": _external_policy_ignored,
    "source-ranges-ignored": _source_ranges_ignored,
    "accepted-then-closed": lambda c: c.turns("refused", "closed"),
}


def _rows() -> dict[str, list[str]]:
    """The rows of docs/modes.md: name → recordings."""
    text = (PROJECT / "docs/modes.md").read_text()
    return {m["row"]: [x.strip() for x in m["recordings"].split(",")] for m in _ROW.finditer(text)}


RECORDINGS = sorted({name for names in _rows().values() for name in names})


def test_every_row_has_a_predicate():
    assert list(_rows()) == list(EXPLAINS)


def test_every_other_recording_is_compared(shared: Path):
    found = {p.name for p in (shared / "recordings").iterdir() if p.name.startswith("shop-") and (p / "services.json").exists()}
    assert set(RECORDINGS) == found - {BASE}


@pytest.fixture(scope="module")
def base(shared: Path) -> dict[Key, frozenset[Answer]]:
    return Recording(shared / "recordings" / BASE).answers()


@pytest.mark.parametrize("name", every(RECORDINGS, 7))
def test_differences_are_explained(shared: Path, base: dict[Key, frozenset[Answer]], name: str):
    recording = Recording(shared / "recordings" / name)
    answers = recording.answers()
    common = base.keys() & answers.keys()
    assert len(common) > 0.9 * len(base), "the recordings hardly have a question in common"
    assert not [k for k in common if "unknown" in _sees(answers[k]) and "unknown" not in _sees(base[k])]
    changes = []
    for key in sorted(common):
        if answers[key] != base[key]:
            namespace, _, service = key.service.partition("/")
            found = recording.objects.service(namespace, service)
            changes.append(Change(key=key, before=base[key], after=answers[key], service=found))
    mine = [row for row, names in _rows().items() if name in names]
    unexplained = [c for c in changes if not any(EXPLAINS[row](c) for row in mine)]
    assert not unexplained, f"{len(unexplained)} differences that no row explains:\n" + "\n".join(map(str, unexplained[:10]))
    idle = [row for row in mine if not any(EXPLAINS[row](c) for c in changes)]
    assert not idle, f"rows that explain nothing in {name}: {idle}"

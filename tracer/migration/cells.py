"""Each question of a migration report asked twice and judged: what stays, what changes by which row, what nobody can tell."""

from __future__ import annotations

from enum import StrEnum

from tracer.errors import ParseError, TracerError
from tracer.migration.known import Row, explained
from tracer.migration.universe import Cell
from tracer.migration.verdict import Verdict, verdict_of
from tracer.simulate import trace
from tracer.snapshot.proxy_configuration import proxy_configuration
from tracer.topology.cluster import Cluster
from tracer.topology.mode import mode_of, without_rules
from tracer.topology.programmed import has_rules
from tracer.trace import Trace
from tracer.values import dataclass


class Outcome(StrEnum):
    """What came of one cell."""

    SAME = "same"
    CHANGED = "changed"
    UNEXPLAINED = "unexplained"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One cell with what came of it. *row* explains a change, *why* says what is not known, *before* or *after* are None without an answer.

    *traces* are both answers as they are, of a change only.
    """

    cell: Cell
    outcome: Outcome
    before: Verdict | None = None
    after: Verdict | None = None
    row: Row | None = None
    why: tuple[str, ...] = ()
    traces: tuple[Trace, Trace] | None = None

    def to_dict(self) -> dict[str, object]:
        """Return the cell as one line of ``manage.py migrate --cells``."""
        cell, service = self.cell, self.cell.service
        out: dict[str, object] = {
            "service": f"{service.namespace}/{service.name}" if service is not None else None,
            "asker": cell.asker.value,
            "way": cell.way.value,
            "query": {key: value for key, value in cell.query.to_dict().items() if key not in ("id", "source_port")},
            "outcome": self.outcome.value,
        }
        out |= {"row": self.row.id} if self.row is not None else {}
        out |= {"why": list(self.why)} if self.why else {}
        out["before"] = self.before.to_dict()["outcomes"] if self.before is not None else None
        out["after"] = self.after.to_dict()["outcomes"] if self.after is not None else None
        return out


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """A change of mode: from which *modes* and with which releases (1.N) of kube-proxy, to which *mode*."""

    modes: frozenset[str]
    minors: frozenset[int]
    mode: str
    unknown: tuple[str, ...] = ()

    @classmethod
    def of(cls, cluster: Cluster, mode: str) -> Switch:
        """Return what switching every node of *cluster* to *mode* is. *unknown* are the nodes of which nothing tells the mode."""
        found = {node: _mode(cluster, node) for node in cluster.node_names}
        releases = {proxy_configuration(cluster.snapshot, node).configuration.release for node in found}
        return cls(
            modes=frozenset(one for one in found.values() if one is not None),
            minors=frozenset(release.minor for release in releases),
            mode=mode,
            unknown=tuple(node for node, one in found.items() if one is None),
        )


def _mode(cluster: Cluster, node: str) -> str | None:
    """The mode that *node* runs: what its files say, else what it is modelled in. No rules are modelled to find that out."""
    told = mode_of if has_rules(cluster.snapshot, node) else without_rules
    try:
        found = told(cluster, node)
    except ParseError:
        return None
    if found is not None and found.mode is not None:
        return found.mode
    return proxy_configuration(cluster.snapshot, node).configuration.mode


def judge(cell: Cell, before: Cluster, after: Cluster, switch: Switch) -> Judged:
    """Return what comes of *cell*: both clusters are asked the same."""
    try:
        was = trace(before, cell.query, is_verdict=True)
        now = was if after is before else trace(after, cell.query, is_verdict=True)
    except TracerError as error:
        return Judged(cell=cell, outcome=Outcome.UNKNOWN, why=(str(error),))
    one, other = verdict_of(was), verdict_of(now)
    if one.is_unknown or other.is_unknown:
        why = dict.fromkeys(unknown.text for found in (was, now) for unknown in found.unknowns)
        return Judged(cell=cell, outcome=Outcome.UNKNOWN, before=one, after=other, why=tuple(why))
    if one.is_same(other):
        return Judged(cell=cell, outcome=Outcome.SAME, before=one, after=other)
    row = explained(cell, one, other, modes=switch.modes, mode=switch.mode, minors=switch.minors)
    outcome = Outcome.CHANGED if row is not None else Outcome.UNEXPLAINED
    return Judged(cell=cell, outcome=outcome, before=one, after=other, row=row, traces=(was, now))

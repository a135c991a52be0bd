"""The report of a migration: cells folded by row and kind, Service by Service, and what of it nobody can tell.

A report is made as its cells are asked and keeps none of them: of each kind one example, of each Service how often what came of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from tracer.compare import differences
from tracer.errors import ParseError
from tracer.kube.fields import Network
from tracer.kube.service import Service
from tracer.limits import MIGRATED
from tracer.migration.cells import Judged, Outcome, Switch, judge
from tracer.migration.known import ROWS, Row
from tracer.migration.universe import UNIVERSE, Cell, Universe
from tracer.migration.words import about, told
from tracer.packet import Address
from tracer.snapshot.proxy_configuration import proxy_configuration
from tracer.topology.cluster import Cluster

VERSION = 1
_MOST_WHYS = 20
Key = tuple[str, str]
KindKey = tuple[str, str, str, str, str, str]


@dataclass(kw_only=True)
class Kind:
    """Equal differences: who dials what, with which settings of the Service, and what becomes of it before and after.

    *example* is the first cell, *sentences* what differs there.
    """

    row: Row | None
    asker: str
    way: str
    about: str
    before: str
    after: str
    example: Judged
    sentences: tuple[str, ...] = ()
    cells: int = 0
    services: dict[Key, None] = field(default_factory=dict)
    nodes: dict[str, None] = field(default_factory=dict)

    @property
    def service_names(self) -> tuple[str, ...]:
        """Return the Services that it is found of."""
        return tuple(f"{namespace}/{name}" for namespace, name in self.services)

    def to_dict(self) -> dict[str, object]:
        """Return the kind as JSON has it."""
        return {
            "row": self.row.id if self.row is not None else None,
            "asker": self.asker,
            "way": self.way,
            "about": self.about,
            "before": self.before,
            "after": self.after,
            "cells": self.cells,
            "services": list(self.service_names),
            "nodes": list(self.nodes),
            "differences": list(self.sentences),
            "example": self.example.to_dict(),
        }


@dataclass(kw_only=True)
class Report:
    """What came of switching a cluster's nodes to another mode.

    *services* counts, of each Service that was asked about, what came of its cells: outcomes, and rows by their names. *whys* are the
    reasons of what is not known. *not_asked* are the Services behind the bound on cells. *notes* are what the switch takes for granted.
    """

    switch: Switch
    totals: Counter[str] = field(default_factory=Counter)
    kinds: dict[KindKey, Kind] = field(default_factory=dict)
    services: dict[Key, Counter[str]] = field(default_factory=dict)
    whys: Counter[str] = field(default_factory=Counter)
    not_asked: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def cells(self) -> int:
        """Return how many questions were asked of each mode."""
        return sum(self.totals.values())

    @property
    def title(self) -> str:
        """Return what is reported."""
        return f"From {' and '.join(sorted(self.switch.modes)) or 'an unknown mode'} to {self.switch.mode}"

    @property
    def sentence(self) -> str:
        """Return in one sentence what the migration comes to."""
        changed, unexplained, same = (self.totals[o] for o in (Outcome.CHANGED, Outcome.UNEXPLAINED, Outcome.SAME))
        of = f"of {self.cells:,} questions"
        if not self.cells:
            return "Nothing was asked: no Service that kube-proxy serves is among these."
        if unexplained:
            return f"{changed + unexplained:,} {of} are answered otherwise, {unexplained:,} of them for no reason that is known."
        if changed:
            return f"{changed:,} {of} are answered otherwise, each for a known reason."
        return f"Nothing changes: {same:,} {of} are answered as before." if same else "Nothing can be told."

    @property
    def is_complete(self) -> bool:
        """Return whether every Service was asked about, and everything could be told."""
        return not self.not_asked and not self.totals[Outcome.UNKNOWN]

    @property
    def rows(self) -> tuple[Row, ...]:
        """Return the rows that explain something, in the table's order."""
        found = {kind.row.id for kind in self.kinds.values() if kind.row is not None}
        return tuple(row for row in ROWS if row.id in found)

    def of(self, row: Row | None) -> tuple[Kind, ...]:
        """Return the kinds that *row* explains, those of most cells first; None: those that no row does."""
        found = (kind for kind in self.kinds.values() if kind.row is row)
        return tuple(sorted(found, key=lambda kind: -kind.cells))

    def add(self, one: Judged, is_of_a_node: Callable[[Address], bool]) -> None:
        """Take in one cell."""
        self.totals[one.outcome] += 1
        if (service := one.cell.service) is not None:
            counts = self.services.setdefault(service.key, Counter())
            counts.update((one.outcome.value, *((one.row.id,) if one.row is not None else ())))
        if len(self.whys) < _MOST_WHYS or all(why in self.whys for why in one.why):
            self.whys.update(one.why)
        if one.before is None or one.after is None or one.outcome not in (Outcome.CHANGED, Outcome.UNEXPLAINED):
            return
        before, after = told(one.cell, one.before, one.after, is_of_a_node)
        row, said = one.row.id if one.row is not None else "", about(one.cell)
        key = (row, one.cell.asker.value, one.cell.way.value, said, before, after)
        kind = self.kinds.get(key) or self.kinds.setdefault(key, _kind(one, said, before, after))
        kind.cells += 1
        if service is not None:
            kind.services[service.key] = None
        if (node := one.cell.target or one.cell.node) is not None:
            kind.nodes[node] = None

    def to_dict(self) -> dict[str, object]:
        """Return the report as docs/migration.md writes it."""
        return {
            "version": VERSION,
            "from": sorted(self.switch.modes),
            "to": self.switch.mode,
            "asked": list(UNIVERSE),
            "cells": self.cells,
            **{outcome.value: self.totals[outcome] for outcome in Outcome},
            "complete": self.is_complete,
            "rows": [self._row(row) for row in self.rows],
            "kinds": [kind.to_dict() for row in (*self.rows, None) for kind in self.of(row)],
            "services": [self._service(key, counts) for key, counts in self.services.items()],
            "not_asked": list(self.not_asked),
            "unknown_because": list(self.whys),
            "notes": list(self.notes),
        }

    def _row(self, row: Row) -> dict[str, object]:
        cells = sum(kind.cells for kind in self.of(row))
        return {"id": row.id, "text": row.text, "keep": row.keep.get(self.switch.mode, ""), "source": row.source, "cells": cells}

    def _service(self, key: Key, counts: Mapping[str, int]) -> dict[str, object]:
        outcomes = {outcome.value: counts.get(outcome.value, 0) for outcome in Outcome}
        rows = {row.id: counts[row.id] for row in self.rows if counts.get(row.id)}
        return {"namespace": key[0], "name": key[1], **outcomes, "rows": rows}


def _kind(one: Judged, said: str, before: str, after: str) -> Kind:
    found = differences(*one.traces, ways=False) if one.traces is not None else ()
    return Kind(
        row=one.row,
        asker=one.cell.asker.value,
        way=one.cell.way.value,
        about=said,
        before=before,
        after=after,
        example=one,
        sentences=tuple(difference.text for difference in found),
    )


class Migration:
    """A migration that is asked about: *before* is the cluster, *after* the same with every node in *mode*."""

    def __init__(
        self,
        before: Cluster,
        after: Cluster,
        mode: str,
        *,
        nodes: Sequence[str] | None = None,
        services: Sequence[Key] | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        self._before, self._after = before, after
        self._switch = Switch.of(before, mode)
        networks = cluster_ip_networks((before, after))
        self.universe = Universe(before, nodes=nodes, services=services, cluster_ips=networks)
        unsaid = () if networks or services is not None else (_NO_RANGE,)
        lacking = (f"Nothing tells the mode of {node}." for node in self._switch.unknown)
        self.report = Report(switch=self._switch, notes=(*notes, *unsaid, *lacking))

    @classmethod
    def to(cls, cluster: Cluster, mode: str, *, nodes: Sequence[str] | None = None, services: Sequence[Key] | None = None) -> Migration:
        """Return the migration of *cluster* to *mode*. :raises QueryError: nodes cannot be switched to it."""
        after = cluster.overridden((f"mode={mode}",))
        notes = after.what_if.notes if after.what_if is not None else ()
        return cls(cluster, after, mode, nodes=nodes, services=services, notes=notes)

    def run(self, *, most: int = MIGRATED, begin: Key = ("", "")) -> Iterator[Judged]:
        """Yield each cell as it is judged, at most *most*, and take it into the report; a Service is asked about as a whole, or not.

        *begin* is the first Service, by its name; those before it are not asked about.
        """
        services = (service for service in self.universe.services if service.key >= begin)
        left = most
        for service in services:
            cells = list(self.universe.of(service))
            if len(cells) > left:
                self._leave(chain((service,), services))
                return
            left -= len(cells)
            yield from (self._judged(cell) for cell in cells)
        yield from (self._judged(cell) for cell in self.universe.of_nobody())

    def finished(self, *, most: int = MIGRATED, begin: Key = ("", "")) -> Report:
        """Return the report after all cells were asked, as ``run`` does."""
        for _ in self.run(most=most, begin=begin):
            pass
        return self.report

    def _judged(self, cell: Cell) -> Judged:
        one = judge(cell, self._before, self._after, self._switch)
        self.report.add(one, self._is_of_a_node)
        return one

    def _leave(self, services: Iterable[Service]) -> None:
        self.report.not_asked = tuple(f"{service.namespace}/{service.name}" for service in services)

    def _is_of_a_node(self, address: Address) -> bool:
        return self._before.looked_up(("migrated", address), lambda: self._holds(address))

    def _holds(self, address: Address) -> bool:
        clusters = (self._before, self._after)
        return any(cluster.stack(node).routing.device_of(address) is not None for cluster in clusters for node in cluster.node_names)


_NO_RANGE = (
    "Which addresses cluster IPs are taken from is not known: no ServiceCIDR, no ConfigMap kubeadm-config, and no rule tells. What becomes "
    "of one that no Service has is not asked (row unallocated-dropped)."
)


def cluster_ip_networks(clusters: Iterable[Cluster]) -> tuple[Network, ...]:
    """Return the networks that cluster IPs are taken from, by the first node of which the snapshot tells them."""
    for cluster in clusters:
        for node in cluster.node_names:
            try:
                found = proxy_configuration(cluster.snapshot, node).configuration.service_cidrs
            except ParseError:
                continue
            if found:
                return found
    return ()

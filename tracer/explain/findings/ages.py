"""How old the difference between a node's rules and the objects is: rules and objects are not read at the same instant.

Times are the follower's or the collector's; nothing is compared with a clock of the engine's. What nobody noted is not said.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tracer.explain.findings.case import Case
from tracer.explain.findings.passage import Mark
from tracer.explain.findings.subject import Subject
from tracer.packet import Address
from tracer.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """*text* says how the rules' reading and the change lie to each other; *is_early*: the rules were read first, so they prove nothing."""

    text: str
    is_early: bool


def lag_of(case: Case, at: Mark, subject: Subject, addresses: Iterable[Address], *, seen: str) -> Lag | None:
    """Return how far the rules of the node of *at* are behind endpoints of *subject* that were *seen* to change; None without times."""
    node, read = at.hop.node or "", rules_read_at(case, at)
    if read is None:
        return None
    namespace, name = subject.service.namespace, subject.service.name
    times = [case.cluster.snapshot.endpoint_changed_at(namespace, name, a) for a in addresses]
    known = [t for t in times if t is not None]
    if known and len(known) == len(times):
        which = "that endpoint" if len(known) == 1 else "the first of them"
        return _between(node, read, min(known), f"{which} was {seen}")
    changed = [s.changed.timestamp() for s in case.objects.slices_of(namespace, name) if s.changed is not None]
    if changed and max(changed) <= read:
        return _between(node, read, max(changed), "the EndpointSlice last followed a change")
    listed = case.cluster.snapshot.objects_read_at("EndpointSlice")
    return None if listed is None else _between(node, read, listed, "the EndpointSlices were read")


def rules_read_at(case: Case, at: Mark) -> float | None:
    """Return when the file that holds the rule of *at* was read (Unix seconds), None when nobody noted it."""
    snapshot, node = case.cluster.snapshot, at.hop.node or ""
    name = next((name for name, path in snapshot.node_files.get(node, {}).items() if path == at.step.file), None)
    return None if name is None else snapshot.read_at(node, name)


def _between(node: str, read: float, change: float, what: str) -> Lag:
    early = read < change
    text = f"The rules of node {node} were read {span(abs(read - change))} {'before' if early else 'after'} {what}"
    return Lag(text=f"{text}: its proxy may have caught up since" if early else text, is_early=early)


def span(seconds: float) -> str:
    """Return a length of time as a sentence says it: in the two largest units, tenths below ten seconds."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    parts: list[tuple[int, str]] = []
    rest = round(seconds)
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        parts.append((rest // length, unit))
        rest %= length
    first = next(i for i, (count, _) in enumerate(parts) if count)
    return _said(parts[first : first + 2])


def _said(parts: Sequence[tuple[int, str]]) -> str:
    return " ".join(f"{count} {unit}" for count, unit in parts if count)

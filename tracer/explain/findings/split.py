"""UNEVEN_SPLIT: endpoints of one Service that are not equally likely, and which choice makes it so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction

from tracer.explain.findings.case import Case, finding, some
from tracer.explain.findings.endpoints import Target
from tracer.explain.findings.passage import Passage
from tracer.trace import Disposition, Finding

_EVEN = Fraction(101, 100)  # the kernel's 31-bit odds differ by less than a millionth


def findings(case: Case, passage: Passage) -> Iterator[Finding]:
    """Yield UNEVEN_SPLIT for a delivered outcome of a Service whose endpoints have unequal odds."""
    if case.subject is None or not case.complete or not passage.dnats or passage.outcome.disposition is not Disposition.DELIVERED:
        return
    at = passage.dnats[0]
    node = at.hop.node or ""
    here, total = case.shares.get(node, {}), case.totals
    if uneven := _uneven(case, node, here):
        text = f"Node {node}'s own rules for Service {case.subject.name} do not share evenly: {uneven} ({at.where} is one of them)"
        proxy = case.proxy_at(at.hop)
        fix = f"{proxy.name} gives every endpoint the same share: look for hand-made or half-written rules on node {node}"
        fix += " and restart it there." if case.is_of_proxy(at) else f"; {at.where} is none of its."
        yield finding(code="UNEVEN_SPLIT", text=text, fix=fix, at=at, evidence=_odds(passage))
    elif uneven := _uneven(case, None, total):
        text = (
            f"The endpoints of Service {case.subject.name} are not equally likely: {uneven}. The choice of a node comes first "
            f"({len(case.shares)} nodes), and each node then chooses among the endpoints it uses"
        )
        fix = (
            "Spread the pods evenly over the nodes, or use externalTrafficPolicy: Cluster (an even split, and the client's address "
            "is lost)."
        )
        yield finding(code="UNEVEN_SPLIT", text=text, fix=fix, at=at)


def _uneven(case: Case, node: str | None, shares: Mapping[Target, Fraction]) -> str | None:
    """The shares as a list, when they differ by more than the kernel's rounding; worked out once a node (None: the whole trace)."""
    if node not in case.uneven:
        differ = len(shares) > 1 and max(shares.values()) > min(shares.values()) * _EVEN
        case.uneven[node] = _list(shares) if differ else None
    return case.uneven[node]


def _list(shares: Mapping[Target, Fraction]) -> str:
    whole = sum(shares.values(), start=Fraction(0))
    ordered = sorted(shares.items(), key=lambda x: (-x[1], str(x[0])))
    return some([f"{t[0]} {float(100 * s / whole):.1f}%" for t, s in ordered])


def _odds(passage: Passage) -> tuple[str, ...]:
    hop = passage.dnats[0].hop
    return tuple(f"{s.where} chance {s.chance}" for s in hop.steps if s.chance is not None and s.file)

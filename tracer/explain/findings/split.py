"""UNEVEN_SPLIT: endpoints of one Service that are not equally likely, and which choice makes it so."""

from __future__ import annotations

from collections.abc import Iterator
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
    node = passage.dnats[0].hop.node or ""
    here = case.shares.get(node, {})
    total = _total(case)
    at = passage.dnats[0]
    if _uneven(here):
        text = f"Node {node}'s own rules for Service {case.subject.name} do not share evenly: {_list(here)} ({at.where} is one of them)"
        fix = (
            f"kube-proxy gives every endpoint the same share: look for hand-made or half-written rules on node {node} and restart it there."
        )
        yield finding(code="UNEVEN_SPLIT", text=text, fix=fix, at=at, evidence=_odds(passage))
    elif _uneven(total):
        text = (
            f"The endpoints of Service {case.subject.name} are not equally likely: {_list(total)}. The choice of a node comes first "
            f"({len(case.shares)} nodes), and each node then chooses among the endpoints it uses"
        )
        fix = (
            "Spread the pods evenly over the nodes, or use externalTrafficPolicy: Cluster (an even split, and the client's address "
            "is lost)."
        )
        yield finding(code="UNEVEN_SPLIT", text=text, fix=fix, at=at)


def _total(case: Case) -> dict[Target, Fraction]:
    found: dict[Target, Fraction] = {}
    for shares in case.shares.values():
        for target, share in shares.items():
            found[target] = found.get(target, Fraction(0)) + share
    return found


def _uneven(shares: dict[Target, Fraction]) -> bool:
    return len(shares) > 1 and max(shares.values()) > min(shares.values()) * _EVEN


def _list(shares: dict[Target, Fraction]) -> str:
    whole = sum(shares.values(), start=Fraction(0))
    ordered = sorted(shares.items(), key=lambda x: (-x[1], str(x[0])))
    return some([f"{t[0]} {float(100 * s / whole):.1f}%" for t, s in ordered])


def _odds(passage: Passage) -> tuple[str, ...]:
    hop = passage.dnats[0].hop
    return tuple(f"{s.file}:{s.line} chance {s.chance}" for s in hop.steps if s.chance is not None and s.file)

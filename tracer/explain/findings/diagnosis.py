"""Put the findings into a trace: every theme looks at every outcome, the worst finding stands first.

What is found is about the trace as the engine gave it; outcomes, odds and reasons stay as they are.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from tracer.explain.explanation import Severity
from tracer.explain.findings.affinity import findings as _affinity
from tracer.explain.findings.case import Case, Known
from tracer.explain.findings.client_address import findings as _client_address
from tracer.explain.findings.connections import findings as _connections
from tracer.explain.findings.drifted import findings as _drifted
from tracer.explain.findings.echoes import findings as _echoes
from tracer.explain.findings.encapsulation import findings as _encapsulation
from tracer.explain.findings.hairpin import findings as _hairpin
from tracer.explain.findings.handshake import findings as _handshake
from tracer.explain.findings.inputs import findings as _inputs
from tracer.explain.findings.likewise import Likewise
from tracer.explain.findings.load_balancers import findings as _load_balancers
from tracer.explain.findings.modes import findings as _modes
from tracer.explain.findings.network_policies import findings as _network_policies
from tracer.explain.findings.node_rules import findings as _node_rules
from tracer.explain.findings.passage import Passage
from tracer.explain.findings.pod_routes import findings as _pod_routes
from tracer.explain.findings.replies import findings as _replies
from tracer.explain.findings.rules_and_objects import findings as _rules_and_objects
from tracer.explain.findings.service_endpoints import findings as _service_endpoints
from tracer.explain.findings.sidecars import findings as _sidecars
from tracer.explain.findings.split import findings as _split
from tracer.explain.findings.whose_rules import findings as _whose_rules
from tracer.topology.cluster import Cluster
from tracer.trace import Disposition, Finding, Outcome, Trace
from tracer.unopened import items_of, many


def _names(case: Case, passage: Passage) -> Iterable[Finding]:
    """What a look-up shows; most questions are about an address, and need nothing of DNS."""
    if not case.trace.lookups and passage.outcome.disposition is not Disposition.UNRESOLVED:
        return ()
    from tracer.explain.findings.names import findings

    return findings(case, passage)


Theme = Callable[[Case, Passage], Iterable[Finding]]

THEMES: tuple[Theme, ...] = (
    _names,
    _service_endpoints,
    _load_balancers,
    _node_rules,
    _modes,
    _echoes,
    _rules_and_objects,
    _whose_rules,
    _drifted,
    _hairpin,
    _replies,
    _connections,
    _handshake,
    _affinity,
    _network_policies,
    _client_address,
    _split,
    _encapsulation,
    _pod_routes,
    _sidecars,
    _inputs,
)
_RANK = {severity.value: severity.rank for severity in Severity}
_KNOWN: weakref.WeakKeyDictionary[Cluster, Known] = weakref.WeakKeyDictionary()


def diagnose(cluster: Cluster, trace: Trace) -> Trace:
    """Return *trace* with findings added to its outcomes, the worst first; those that were there stay.

    :raises TracerError: a file that the walk already read can no longer be read.
    """
    cluster = cluster.overridden(trace.query.overrides, trace.query.apply).programmed_as(trace.query.assume).programmed_for(trace.services)
    case = Case(cluster, trace, _KNOWN.setdefault(cluster, Known()))
    # Where nothing was sent there is only the look-up to judge.
    themes = THEMES if case.sent is not None else (_names,)
    likewise = Likewise(case, lambda passage: _diagnosed(case, passage, themes))
    return replace(trace, outcomes=many(map(likewise.of, items_of(trace.outcomes))))


def _diagnosed(case: Case, passage: Passage, themes: tuple[Theme, ...]) -> Outcome:
    found = sorted(_findings(case, passage, themes), key=lambda f: _RANK[f.severity])
    outcome = passage.outcome
    return replace(outcome, findings=(*found, *outcome.findings)) if found else outcome


def _findings(case: Case, passage: Passage, themes: tuple[Theme, ...]) -> Iterator[Finding]:
    """Yield each finding once: one code says one thing about one outcome unless the sentences differ."""
    seen: set[tuple[str, str]] = set()
    for theme in themes:
        for found in theme(case, passage):
            if (found.code, found.text) not in seen:
                seen.add((found.code, found.text))
                yield found

"""The whole catalogue: look-up by code, order of severity, nearest codes.

Every code that the engine or the application emits has an entry here; a test collects the emitted ones from the source.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from itertools import chain
from types import MappingProxyType

from tracer.explain import (
    connection_reasons,
    ending_reasons,
    load_balancer_reasons,
    mode_reasons,
    name_reasons,
    question_reasons,
    routing_reasons,
    rule_reasons,
    service_reasons,
    snapshot_reasons,
)
from tracer.explain.explanation import Explanation, Severity, Theme
from tracer.trace import Finding, Reason

_ENTRIES = tuple(
    chain.from_iterable(
        module.REASONS
        for module in (
            ending_reasons,
            service_reasons,
            load_balancer_reasons,
            mode_reasons,
            rule_reasons,
            connection_reasons,
            routing_reasons,
            name_reasons,
            snapshot_reasons,
            question_reasons,
        )
    )
)
CATALOGUE = MappingProxyType({entry.code: entry for entry in _ENTRIES})
"""Every explanation by its code, in the order of the themes."""

if len(CATALOGUE) != len(_ENTRIES):
    raise RuntimeError("a reason code has two entries in the catalogue")


def explain(code: str) -> Explanation | None:
    """Return the explanation of *code*, or None when there is none."""
    return CATALOGUE.get(code)


def severity_of(code: str) -> Severity:
    """Return the severity of *code*; a code without an entry counts as a warning, so that it is not overlooked."""
    entry = CATALOGUE.get(code)
    return entry.severity if entry else Severity.WARNING


def severity_here(reason: Reason) -> Severity:
    """Return the severity of a reason in its own case: what a finding says of itself, else its code's."""
    said = reason.severity if isinstance(reason, Finding) else None
    return Severity(said) if said in tuple(Severity) else severity_of(reason.code)


def worst_finding(findings: Iterable[Reason]) -> Reason | None:
    """Return the finding with the worst severity, the first of equals, or None when there is none."""
    return min(findings, key=lambda finding: severity_here(finding).rank, default=None)


def nearest_codes(text: str, limit: int = 4) -> tuple[str, ...]:
    """Return up to *limit* codes most like *text*, best first; separators and case do not count."""
    wanted = text.upper().replace("-", "_").replace(" ", "_")
    containing = [code for code in CATALOGUE if len(wanted) >= 3 and wanted in code]
    alike = difflib.get_close_matches(wanted, CATALOGUE, n=limit, cutoff=0.5)
    return tuple(dict.fromkeys([*containing, *alike]))[:limit]


def search(text: str) -> tuple[Explanation, ...]:
    """Return the entries that hold every word of *text* in code, title, sentence or meaning, in catalogue order."""
    words = text.casefold().split()
    return tuple(entry for entry in _ENTRIES if all(word in _searchable(entry) for word in words))


def by_theme(entries: Iterable[Explanation]) -> tuple[tuple[Theme, tuple[Explanation, ...]], ...]:
    """Return *entries* grouped by theme, in the themes' order, themes without an entry left out."""
    grouped: dict[Theme, list[Explanation]] = {theme: [] for theme in Theme}
    for entry in entries:
        grouped[entry.theme].append(entry)
    return tuple((theme, tuple(found)) for theme, found in grouped.items() if found)


def _searchable(entry: Explanation) -> str:
    text = " ".join((entry.code, entry.title, entry.sentence, *entry.meaning))
    return f"{text} {entry.code.replace('_', ' ')}".casefold()

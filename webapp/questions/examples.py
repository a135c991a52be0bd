"""Traces to try in a source, as links. No page looks through all objects for them: they are kept with the source (example_questions.py).

A snapshot's never change. Those of a followed cluster are looked for again where a pod that asks is gone, and after an hour.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

from django.db import Error
from django.urls import NoReverseMatch, reverse

from tracer.query import SourceKind, parse_destination, parse_source
from tracer.values import dataclass
from webapp.models import LiveItem, LiveSource, Snapshot
from webapp.questions import sources
from webapp.questions.sources import Source
from webapp.questions.trace_query import TraceQuery
from webapp.reading.paths import ObjectPath
from webapp.storing.example_questions import find_examples, kept_examples

_SMALL = 8_000_000
_FEW = 5_000
_KEPT_SECONDS = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleLink:
    """One trace to try: what is asked, what it shows, and the address of its page."""

    title: str
    shows: str
    question: str
    url: str


def trace_url(row: Source) -> str:
    """Return the address of the trace form for *row*, or "" while there is none."""
    try:
        return reverse("trace", args=[row.id])
    except NoReverseMatch:
        return ""


def is_quick(row: Source) -> bool:
    """Return whether the examples of *row* are at hand, or its objects few enough to look through, once, while a page waits."""
    if _at_hand(row) is not None:
        return True
    return LiveItem.objects.filter(source=row).count() <= _FEW if isinstance(row, LiveSource) else row.size <= _SMALL


def example_links(row: Source) -> tuple[ExampleLink, ...]:
    """Return the traces to try in *row*, none where its objects cannot be read."""
    found = _at_hand(row)
    if found is None:
        found = _found(row)
    page = trace_url(row)
    return tuple(_link(page, *example) for example in found) if page else ()


def _at_hand(row: Source) -> list[list[str]] | None:
    """Return the examples that are kept with *row*, None where they must be looked for."""
    if isinstance(row, Snapshot):
        return kept_examples(row.summary.get("examples"))
    found = kept_examples(row.examples)
    is_old = found is not None and time.time() - float(row.examples["at"]) > _KEPT_SECONDS
    return None if found is None or is_old or not _still_there(row, found) else found


def _still_there(row: LiveSource, found: Sequence[Sequence[str]]) -> bool:
    """Return whether every pod that asks in *found* is still in the cluster: one look into the index of its rows."""
    asking = (parse_source(source) for _, _, source, _ in found)
    paths = {
        str(ObjectPath(kind="Pod", namespace=one.namespace or "", name=one.name or "")) for one in asking if one.kind is SourceKind.POD
    }
    return LiveItem.objects.filter(source=row, path__in=paths, body_zstd__isnull=False).count() == len(paths)


def _found(row: Source) -> list[list[str]]:
    """Look for the examples of *row*, and keep them with it; a database that takes no writes keeps none."""
    with sources.using(row) as cluster:
        kept = find_examples(cluster.objects, cluster.snapshot.node_files)
    # Of a followed cluster nothing may be known yet.
    with contextlib.suppress(Error):
        if isinstance(row, LiveSource) and kept["found"]:
            row.examples = kept
            LiveSource.objects.filter(id=row.id).update(examples=kept)
        elif isinstance(row, Snapshot):
            row.summary["examples"] = kept
            Snapshot.objects.filter(id=row.id).update(summary=row.summary)
    return list(kept["found"])


def _link(page: str, title: str, shows: str, source: str, destination: str) -> ExampleLink:
    query = TraceQuery(source=parse_source(source), destination=parse_destination(destination))
    return ExampleLink(title=title, shows=shows, question=f"{source} → {destination}", url=query.url(page))

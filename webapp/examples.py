"""Traces to try in a source, as links; found once for each snapshot's content and kept, those of a followed cluster for a minute."""

from __future__ import annotations

from dataclasses import dataclass

from django.core.cache import cache
from django.urls import NoReverseMatch, reverse

from tracer.errors import QueryError, TracerError
from tracer.explain.example_queries import ExampleQuery, example_queries
from tracer.query import parse_destination, parse_source
from webapp import __version__, sources
from webapp.models import LiveItem, LiveSource
from webapp.sources import Source
from webapp.trace_query import TraceQuery

_RULES = frozenset({"iptables-save.txt", "iptables-legacy-save.txt", "nft-ruleset.json", "nft-ruleset.txt"})
_SMALL = 8_000_000
_FEW = 5_000
_KEPT_SECONDS = 86_400
_KEPT_SECONDS_LIVE = 60


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
    """Return whether the examples of *row* are at hand, or its objects few enough to look through while a page waits."""
    if cache.get(_key(row)) is not None:
        return True
    return LiveItem.objects.filter(source=row).count() <= _FEW if isinstance(row, LiveSource) else row.size <= _SMALL


def example_links(row: Source) -> tuple[ExampleLink, ...]:
    """Return the traces to try in *row*, none where its objects cannot be read."""
    found = cache.get(_key(row))
    if found is None:
        found = _find(row)
        cache.set(_key(row), found, _KEPT_SECONDS_LIVE if isinstance(row, LiveSource) else _KEPT_SECONDS)
    page = trace_url(row)
    return tuple(_link(page, *example) for example in found) if page else ()


def _find(row: Source) -> list[tuple[str, str, str, str]]:
    try:
        with sources.using(row) as cluster:
            files = cluster.snapshot.node_files.items()
            recorded = {node for node, held in files if _RULES & held.keys()}
            examples = tuple(example_queries(cluster.objects, recorded=recorded or None))
    except TracerError:
        return []
    return [(e.title, e.shows, str(e.query.source), str(e.query.destination)) for e in examples if _can_be_asked(e)]


def _can_be_asked(example: ExampleQuery) -> bool:
    """Return whether the address bar's words can spell it; a file may name a pod in ways that no API server would allow."""
    try:
        parsed = parse_source(str(example.query.source)), parse_destination(str(example.query.destination))
    except QueryError:
        return False
    return parsed == (example.query.source, example.query.destination)


def _link(page: str, title: str, shows: str, source: str, destination: str) -> ExampleLink:
    query = TraceQuery(source=parse_source(source), destination=parse_destination(destination))
    return ExampleLink(title=title, shows=shows, question=f"{source} → {destination}", url=query.url(page))


def _key(row: Source) -> str:
    return f"examples:{__version__}:{f'live:{row.id}' if isinstance(row, LiveSource) else row.digest}"

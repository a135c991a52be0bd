"""The trace page: its form, its panels and its files. Works by links and forms alone; htmx asks for parts of the same address."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.http import HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.cache import patch_vary_headers
from django.utils.dateparse import parse_datetime
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from tracer.kube.near import nearest
from webapp.answering import trace_answers
from webapp.answering.document import Answer
from webapp.answering.trace_answers import NotAnswered
from webapp.exports.formats import CONTENT_TYPES, ExportError, export, json_parts
from webapp.http.access import current_owner
from webapp.live.settling import is_settling
from webapp.models import LiveSource, Snapshot
from webapp.presenters.form import KINDS, PROTOCOLS, RESOLVERS, STATES, problems, question_form, summary
from webapp.presenters.page import TracePage, trace_page, with_origins
from webapp.presenters.shown import Shown
from webapp.presenters.source import connection_of, source_head
from webapp.presenters.what_if import typed
from webapp.questions import sources
from webapp.questions.applied import with_manifest
from webapp.questions.examples import example_links, is_quick
from webapp.questions.sources import Source
from webapp.questions.trace_query import FieldError, TraceQuery, from_params, is_form
from webapp.storing import stored_snapshots
from webapp.views.errors import not_found
from webapp.views.htmx_request import HtmxHttpRequest
from webapp.work import place
from webapp.work.lanes import Lane

PARTS = {"inspector": "trace/_inspector.html", "graph-box": "trace/_graph.html", "trace": "trace/_trace.html"}
MOST_EXAMPLES = 4
FIRST_READING = timedelta(seconds=30)
# A page of a followed cluster wants parts of the answer it shows, or nothing but another answer than that.
SHOWN_ANSWER, HAD_ANSWER = "Hopline-Answer", "Hopline-Had"
# Such a page waits while a change is under way (it is told so), but for somebody who asks to see what there is now.
SETTLING, NOW = "Hopline-Settling", "Hopline-Now"
_MOST_DIGITS = 19  # of a generation: what the database holds


@require_safe
def start(request: HtmxHttpRequest) -> HttpResponse:
    """Go to the trace form of the newest own snapshot, or of the first demonstration cluster."""
    rows = stored_snapshots.visible_snapshots(current_owner(request))
    first = rows.filter(is_demo=False).first() or rows.first()
    return HttpResponseRedirect(reverse("trace", args=[first.id]) if first else reverse("home"))


@never_cache
@require_safe
def trace(request: HtmxHttpRequest, source: str) -> HttpResponse:
    """Show the answer to the question in the address, or the form with examples when there is none."""
    row = find(request, source)
    if isinstance(row, HttpResponse):
        return row
    query = with_manifest(from_params(dict(request.GET.lists())), current_owner(request))
    path = reverse("trace", args=[row.id])
    if is_form(request.GET) and not query.errors:
        return HttpResponseRedirect(query.url(path))
    errors, status, page = query.errors, 422 if query.errors else 200, None
    if not errors and not query.is_empty and not is_waiting(row):
        try:
            if is_settling_for(request, row):
                return HttpResponse(status=204, headers={SETTLING: str(settings.SETTLE_SECONDS)})
            found = trace_answers.answer(row, query, generation(request, SHOWN_ANSWER, row))
            if found.generation and found.generation == generation(request, HAD_ANSWER, row):
                return HttpResponse(status=204)
            page = trace_page(found, query, path, Shown.of(request.headers))
            if isinstance(row, Snapshot) and (origins := row.summary.get("from")):
                page = with_origins(page, origins)
        except NotAnswered as failure:
            # While a cluster is read for the first time, nothing is wrong with a question about what has not been read yet.
            errors, status = ((), 200) if is_connecting(row) else (failure.errors, 404 if failure.missing else 422)
    return respond(request, live_context(request, row, query, page, errors), status)


def find(request: HtmxHttpRequest, slug: str) -> Source | HttpResponse:
    """Return the snapshot or followed cluster that this session may see, or a 404 with the nearest names."""
    owner = current_owner(request)
    try:
        return sources.find(slug, owner)
    except sources.NoSuchSource:
        names = {row.id: row.name for row in sources.visible(owner)}
        near = [(names[name], reverse("trace", args=[name])) for name in nearest(slug, names)]
        return not_found(request, f"There is no snapshot and no cluster “{slug}” here.", near)


def generation(request: HtmxHttpRequest, header: str, row: Source) -> str:
    """Return the generation of the answer that the page shows, "" where that is none of this following of the cluster."""
    generation, _, connection = request.headers.get(header, "").partition(".")
    return generation if isinstance(row, LiveSource) and connection == connection_of(row) else ""


def is_settling_for(request: HtmxHttpRequest, row: Source) -> bool:
    """Return whether a change is under way that a page had better wait for."""
    had = generation(request, HAD_ANSWER, row)
    is_one = had.isascii() and had.isdecimal() and len(had) < _MOST_DIGITS
    return isinstance(row, LiveSource) and is_one and NOW not in request.headers and is_settling(row, int(had), time.time())


def is_waiting(row: Source) -> bool:
    """Return whether *row* is a followed cluster of which nothing is known yet, or for a moment not every node's rules."""
    if not isinstance(row, LiveSource):
        return False
    read, there = sum("/pods/" not in name for name in row.nodes), row.heads.get("nodes", {}).get("count") or 0
    lacks_nodes = row.readings != LiveSource.Readings.NONE and read < max(there, 1) and row.state != LiveSource.State.STALE
    return row.generation == 0 or (lacks_nodes and timezone.now() - row.created_at < FIRST_READING)


def is_connecting(row: Source) -> bool:
    """Return whether *row* is a followed cluster that has not been read to its end."""
    return isinstance(row, LiveSource) and row.state == LiveSource.State.CONNECTING


def respond(request: HtmxHttpRequest, context: dict[str, Any], status: int = 200) -> HttpResponse:
    """Return the page, or the part of it that htmx asked for; caches must tell the two apart."""
    target = request.htmx.target if request.htmx else None
    template = PARTS.get(target or "", "trace/page.html") if context["page"] or target == "trace" else "trace/page.html"
    response = render(request, template, context, status=status)
    patch_vary_headers(response, ["HX-Request", "HX-Target", "Cookie"])
    return response


def live_context(
    request: HtmxHttpRequest, row: Source, query: TraceQuery, page: TracePage | None, errors: tuple[FieldError, ...]
) -> dict[str, Any]:
    """Return the template's context for a page that is answered now, not frozen."""
    path, waiting = reverse("trace", args=[row.id]), page is None and not errors and (is_waiting(row) or is_connecting(row))
    examples = example_links(row)[:MOST_EXAMPLES] if page is None and not errors and not waiting and is_quick(row) else ()
    return {
        "source": source_head(row, current_owner(request), str(query) if page else ""),
        "waiting": waiting,
        "names_url": reverse("names", args=[row.id]),
        "query": query,
        "here": page.here if page else query,
        "path": path,
        "page": page,
        "title": page.title if page else f"Trace in {row.name}",
        "summary": summary(query),
        "form": question_form(query, errors, page.affinity if page else None),
        "kinds": KINDS,
        "protocols": PROTOCOLS,
        "states": STATES,
        "resolvers": RESOLVERS,
        "connections_url": reverse("connections", args=[row.id]),
        "errors": problems(query, errors, path),
        "errors_title": "This cannot be traced" if errors else "",
        "examples": examples,
        "freeze_url": reverse("trace-freeze", args=[row.id]),
        "apply_url": reverse("trace-apply", args=[row.id]),
        "typed": typed(query, errors) if page is None else (),
        **hidden_fields(page.here if page else query),
    }


def hidden_fields(query: TraceQuery) -> dict[str, Any]:
    """Return what each of the page's small forms carries along: everything but its own fields."""
    kept = query.params()
    return {
        "hidden": [(name, value) for name, value in kept if name in ("assume", "set", "apply", "detail", "group", "view")],
        "view_hidden": [(name, value) for name, value in kept if name not in ("find", "detail")],
        "typed_hidden": [(name, value) for name, value in kept if name != "set"],
        "list_hidden": [(name, value) for name, value in kept if name != "find"],
    }


@never_cache
@require_safe
def trace_export(request: HtmxHttpRequest, source: str, suffix: str) -> HttpResponse | StreamingHttpResponse:
    """Return the answer to the question in the address as a file."""
    row = find(request, source)
    if isinstance(row, HttpResponse):
        return row
    query = with_manifest(from_params(dict(request.GET.lists())), current_owner(request))
    if query.errors or query.is_empty:
        return plain_text("\n".join(error.message for error in query.errors) or "Nothing is asked: from and to are missing.", 422)
    # Drawing takes long, also of an answer that is already there.
    place.belongs_in(Lane.HEAVY, Lane.LIVE)
    try:
        found = trace_answers.answer(row, query)
    except NotAnswered as failure:
        return plain_text("\n".join(error.message for error in failure.errors), 404 if failure.missing else 422)
    return export_response(request, found, query, suffix)


def export_response(request: HtmxHttpRequest, found: Answer, query: TraceQuery, suffix: str) -> HttpResponse | StreamingHttpResponse:
    """Return *found* as a file to download."""
    if suffix not in CONTENT_TYPES:
        return not_found(request, f"There is no “.{suffix}” of a trace.")
    headers = {"Content-Disposition": f'attachment; filename="trace.{suffix}"'}
    if suffix == "json":
        return StreamingHttpResponse(json_parts(found, query), content_type=CONTENT_TYPES[suffix], headers=headers)
    try:
        data = export(found, query, suffix, dark=request.COOKIES.get("theme") == "dark")
    except ExportError as error:
        return plain_text(str(error), 422)
    return HttpResponse(data, content_type=CONTENT_TYPES[suffix], headers=headers)


def plain_text(text: str, status: int) -> HttpResponse:
    """Return *text* as plain text."""
    return HttpResponse(text + "\n", status=status, content_type="text/plain; charset=utf-8")


def moment(text: str) -> Any:
    """Return an ISO time as a datetime, None when it is not one."""
    return parse_datetime(text) if text else None

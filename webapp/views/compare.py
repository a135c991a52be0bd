"""Two answers beside each other: the question about the cluster as it is, and what if something were otherwise."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from webapp.answering import trace_answers
from webapp.answering.document import Answer
from webapp.answering.trace_answers import NotAnswered
from webapp.exports.compared import CONTENT_TYPES, export_comparison
from webapp.exports.formats import ExportError
from webapp.http.access import current_owner
from webapp.presenters.compare import ComparePage, compare_page
from webapp.presenters.form import problems, summary
from webapp.presenters.shown import Shown
from webapp.presenters.source import source_head
from webapp.presenters.what_if import typed
from webapp.questions.applied import with_manifest
from webapp.questions.sources import Source
from webapp.questions.trace_query import FieldError, TraceQuery, from_params
from webapp.views.errors import not_found
from webapp.views.frozen import answer_of, opened
from webapp.views.htmx_request import HtmxHttpRequest
from webapp.views.trace import HAD_ANSWER, SETTLING, SHOWN_ANSWER, find, generation, is_connecting, is_settling_for, is_waiting, plain_text
from webapp.work import place
from webapp.work.lanes import Lane


@never_cache
@require_safe
def compare(request: HtmxHttpRequest, source: str) -> HttpResponse:
    """Show both answers; a question that changes nothing goes to its own page."""
    row = find(request, source)
    if isinstance(row, HttpResponse):
        return row
    query, path = _query(request), reverse("compare", args=[row.id])
    if not query.errors and (query.is_empty or not query.is_what_if):
        return HttpResponseRedirect(query.url(reverse("trace", args=[row.id])))
    errors, status, page = query.errors, 422 if query.errors else 200, None
    if not errors and not is_waiting(row):
        try:
            if is_settling_for(request, row):
                return HttpResponse(status=204, headers={SETTLING: str(settings.SETTLE_SECONDS)})
            found = trace_answers.answer(row, query, generation(request, SHOWN_ANSWER, row), compares=True)
            if found.generation and found.generation == generation(request, HAD_ANSWER, row):
                return HttpResponse(status=204)
            page = compare_page(found, query, path, Shown.of(request.headers))
        except NotAnswered as failure:
            errors, status = ((), 200) if is_connecting(row) else (failure.errors, 404 if failure.missing else 422)
    return _respond(request, _context(request, row, query, page, errors), status)


def _query(request: HtmxHttpRequest) -> TraceQuery:
    return with_manifest(from_params(dict(request.GET.lists())), current_owner(request)).but(seed=None)


def _respond(request: HtmxHttpRequest, context: dict[str, Any], status: int) -> HttpResponse:
    template = "compare/_compare.html" if request.htmx and request.htmx.target == "trace" else "compare/page.html"
    response = render(request, template, context, status=status)
    patch_vary_headers(response, ["HX-Request", "HX-Target", "Cookie"])
    return response


def _context(
    request: HtmxHttpRequest, row: Source, query: TraceQuery, page: ComparePage | None, errors: tuple[FieldError, ...]
) -> dict[str, Any]:
    path, trace_url = reverse("compare", args=[row.id]), reverse("trace", args=[row.id])
    return {
        "source": source_head(row, current_owner(request)),
        "query": query,
        "page": page,
        "path": path,
        "title": page.title if page else f"Compare in {row.name}",
        "summary": summary(query),
        "trace_url": query.but(follow="", step=None).url(trace_url),
        "freeze_url": reverse("trace-freeze", args=[row.id]),
        "errors": problems(query, errors, path),
        "errors_title": "This cannot be compared" if errors else "",
        "typed": typed(query, errors) if page is None else (),
        "typed_hidden": [(name, value) for name, value in query.params() if name != "set"],
        "waiting": page is None and not errors,
    }


@never_cache
@require_safe
def compare_export(request: HtmxHttpRequest, source: str, suffix: str) -> HttpResponse:
    """Return both answers and what differs as a file."""
    row = find(request, source)
    if isinstance(row, HttpResponse):
        return row
    query = _query(request)
    if query.errors or query.is_empty or not query.is_what_if:
        return plain_text("\n".join(error.message for error in query.errors) or "Nothing is compared: from, to and set are needed.", 422)
    place.belongs_in(Lane.HEAVY, Lane.LIVE)
    try:
        found = trace_answers.answer(row, query, compares=True)
    except NotAnswered as failure:
        return plain_text("\n".join(error.message for error in failure.errors), 404 if failure.missing else 422)
    return _file(request, found, query, suffix)


@never_cache
@require_safe
def frozen_export(request: HtmxHttpRequest, token: str, suffix: str) -> HttpResponse:
    """Return the stored comparison as a file."""
    link = opened(request, token)
    if isinstance(link, HttpResponse):
        return link
    found = answer_of(link)
    if not found.is_comparison:
        return not_found(request, "This link holds one answer, and nothing that it is compared with.")
    return _file(request, found, from_params(dict(request.GET.lists()), frozen=True), suffix)


def _file(request: HtmxHttpRequest, found: Answer, query: TraceQuery, suffix: str) -> HttpResponse:
    try:
        data = export_comparison(found, query, suffix)
    except ExportError as error:
        return not_found(request, str(error))
    headers = {"Content-Disposition": f'attachment; filename="compare.{suffix}"'}
    return HttpResponse(data, content_type=CONTENT_TYPES[suffix], headers=headers)

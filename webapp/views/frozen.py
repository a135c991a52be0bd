"""Frozen answers: making the link, opening it, and its files. The stored document is all that is read."""

from __future__ import annotations

from datetime import timedelta

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from tracer.snapshot.told import untraceable
from webapp.answering import trace_answers
from webapp.answering.document import Answer, AnswerCache
from webapp.answering.outcome_dicts import plain
from webapp.answering.trace_answers import NotAnswered
from webapp.http.access import current_owner, ensure_owner, request_is_granted
from webapp.models import Snapshot, TraceLink
from webapp.presenters.compare import compare_page
from webapp.presenters.page import trace_page
from webapp.questions import sources
from webapp.questions.applied import with_manifest
from webapp.questions.trace_query import TraceQuery, from_params, parse
from webapp.storing import stored_answers, stored_snapshots
from webapp.storing.frozen_document import has_neighbours, to_freeze
from webapp.views.errors import not_found, refused
from webapp.views.htmx_request import HtmxHttpRequest
from webapp.views.trace import export_response, find, hidden_fields, moment, respond

_kept = AnswerCache()
LEFT_OUT = ("", "neighbours")
LIFETIMES = {"": None, "1": timedelta(days=1), "7": timedelta(days=7), "30": timedelta(days=30)}


@require_POST
def freeze(request: HtmxHttpRequest, source: str) -> HttpResponse:
    """Store the answer to the posted question under a new link, and open it."""
    row = find(request, source)
    if isinstance(row, HttpResponse):
        return row
    query = with_manifest(parse(request.POST.get("query", "")), current_owner(request))
    compares = bool(request.POST.get("compare")) and query.is_what_if
    chosen, without = request.POST.get("expires", ""), request.POST.get("without", "")
    if query.errors or query.is_empty or chosen not in LIFETIMES or without not in LEFT_OUT:
        return refused(request, "This is not a question that can be frozen.")
    try:
        found = trace_answers.answer(row, query, compares=compares)
    except NotAnswered as failure:
        return refused(request, str(failure))
    lifetime = LIFETIMES[chosen]
    expires = None if lifetime is None else timezone.now() + lifetime
    kept = {"text": str(query), "query": found.answer["query"]}
    stored = row if isinstance(row, Snapshot) else None
    if stored is not None and (remark := untraceable(stored.summary)):
        kept["remark"] = remark
    document = to_freeze(plain(found.document), neighbours=not without)
    link = stored_snapshots.create_link(document=document, query=kept, owner=ensure_owner(request), snapshot=stored, expires=expires)
    messages.success(request, "This link always shows this answer. Copy it from the address bar.", extra_tags="ok")
    return HttpResponseRedirect(query.look().url(reverse("frozen", args=[link.token])))


@never_cache
@require_safe
def frozen(request: HtmxHttpRequest, token: str) -> HttpResponse:
    """Show the stored answer, read-only."""
    link = opened(request, token)
    if isinstance(link, HttpResponse):
        return link
    query, found = from_params(dict(request.GET.lists()), frozen=True), answer_of(link)
    path = reverse("frozen", args=[token])
    if found.is_comparison:
        return _compared(request, link, found, query, path)
    page = trace_page(found, query, path)
    context = {
        "link": link,
        "query": query,
        "path": path,
        "page": page,
        "title": page.title,
        "summary": page.question,
        "taken_at": moment(page.taken_at),
        "neighbours": has_neighbours(link.document),
    }
    context |= _live(request, link) | hidden_fields(page.here) | {"errors": ()}
    return respond(request, context)


def _compared(request: HtmxHttpRequest, link: TraceLink, found: Answer, query: TraceQuery, path: str) -> HttpResponse:
    page = compare_page(found, query, path)
    context = {"link": link, "query": query, "path": path, "page": page, "title": page.title, "summary": page.question, "errors": ()}
    context |= {"taken_at": moment(page.page.taken_at), "neighbours": has_neighbours(link.document)} | _live(request, link)
    return render(request, "compare/page.html", context)


@never_cache
@require_safe
def frozen_export(request: HtmxHttpRequest, token: str, suffix: str) -> HttpResponse | StreamingHttpResponse:
    """Return the stored answer as a file."""
    link = opened(request, token)
    if isinstance(link, HttpResponse):
        return link
    return export_response(request, answer_of(link), from_params(dict(request.GET.lists()), frozen=True), suffix)


def answer_of(link: TraceLink) -> Answer:
    """Return the stored answer; its document never changes, so what is derived from it is kept between requests."""
    key = (link.token,)
    found = _kept.get(key)
    if found is None:
        with stored_answers.one_large_at_a_time(len(link.document_zstd)):
            found = _kept.get(key) or Answer(link.document)
            _kept.put(key, found)
    return found


def opened(request: HtmxHttpRequest, token: str) -> TraceLink | HttpResponse:
    """Return the link if it is open, else the page that says why it is not."""
    try:
        return stored_snapshots.read_link(token)
    except TraceLink.DoesNotExist:
        return not_found(request, "There is no such link.")
    except stored_snapshots.LinkGone as gone:
        return render(request, "410.html", {"link": gone.link}, status=410)


def _live(request: HtmxHttpRequest, link: TraceLink) -> dict[str, object]:
    """Return where the same question is asked live, for those who may see the snapshot or followed cluster it was asked of.

    Nothing else of that source, and nothing of any other: the page is for whoever has its token.
    """
    if not request_is_granted(request):
        return {}
    document = answer_of(link).document
    asked = link.snapshot_id or (document["snapshot"]["id"] if "live" in document else "")
    try:
        row = sources.find(str(asked), current_owner(request))
    except sources.NoSuchSource:
        return {}
    where = "compare" if "compared" in document else "trace"
    return {"live_name": row.name, "live_url": f"{reverse(where, args=[row.id])}?{link.query['text']}"}

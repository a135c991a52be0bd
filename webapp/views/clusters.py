"""Clusters: what is followed and what could be, what either may do, what was read of its nodes; timelines being played are here as well."""

from __future__ import annotations

from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from webapp.http.access import current_owner, ensure_owner
from webapp.live import live_sources as live
from webapp.models import LiveSource, Snapshot
from webapp.presenters.clusters import PROGRAMS, READINGS, checked, cluster_page, cluster_row, manifest
from webapp.presenters.source import source_head
from webapp.presenters.timeline_bar import timeline as bar
from webapp.questions import sources
from webapp.questions.first_question import first_question
from webapp.storing import stored_snapshots
from webapp.views.errors import not_found
from webapp.views.form_fields import posted_name
from webapp.views.htmx_request import HtmxHttpRequest

_MOST_SAID = 300


@never_cache
@require_safe
def index(request: HtmxHttpRequest) -> HttpResponse:
    """List the followed clusters and timelines, and the contexts that could be connected."""
    return render(request, "clusters/index.html", _index_context(request, _readings(request.GET.get("readings", ""))))


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def check(request: HtmxHttpRequest) -> HttpResponse:
    """Ask the cluster of a context what Hopline may do there, and show the manifest that grants what is missing.

    That runs a credential plugin and connects to the cluster: only a form of our own does it. Who comes by the address gets the list.
    """
    if request.method != "POST":
        return HttpResponseRedirect(reverse("clusters"))
    context, readings = request.POST.get("context"), _readings(request.POST.get("readings", ""))
    if context not in ("", *live.contexts().names):
        return not_found(request, "The server's kubeconfig has no such context.", [("Clusters", reverse("clusters"))])
    found = {"checked": checked(live.check(context or None), context or "", readings)}
    template = "clusters/_check.html" if request.htmx and request.htmx.target == "check" else "clusters/index.html"
    response = render(request, template, _index_context(request, readings) | found)
    patch_vary_headers(response, ["HX-Request", "HX-Target"])
    return response


@require_POST
def connect(request: HtmxHttpRequest) -> HttpResponse:
    """Follow the cluster of the posted context, and go to its page."""
    context, known = request.POST.get("context", ""), live.contexts()
    if context not in known.names and not (context == "" and known.in_cluster):
        return not_found(request, "The server's kubeconfig has no such context.", [("Clusters", reverse("clusters"))])
    row = live.connect(context or None, _readings(request.POST.get("readings", "")))
    return HttpResponseRedirect(reverse("cluster", args=[row.id]))


@require_POST
def play(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Open a timeline to be played, where it stands or else at its beginning, and go to the trace that shows what changes.

    The page begins to play when it shows an answer (``#play``): what changes first is not missed while the recording is read.
    """
    try:
        timeline = stored_snapshots.get_snapshot(slug, current_owner(request))
    except Snapshot.DoesNotExist:
        return not_found(request, "There is no such timeline.", [("Snapshots", reverse("snapshots"))])
    try:
        row = _played(timeline, ensure_owner(request))
    except live.TooManyTimelines:
        messages.error(request, "This server plays as many timelines as it can at once. Try again in a while.", extra_tags="warn")
        return HttpResponseRedirect(reverse("snapshot", args=[slug]))
    question, path = first_question(timeline), reverse("trace", args=[row.id])
    return HttpResponseRedirect(f"{question.url(path) if question else path}#play")


@never_cache
@require_safe
def detail(request: HtmxHttpRequest, source: str) -> HttpResponse:
    """Show one followed cluster: its state, what was read of each node and what that limits."""
    row = _find(request, source)
    if isinstance(row, HttpResponse):
        return row
    context = {"source": source_head(row, current_owner(request)), "row": row, "cluster": cluster_page(row)}
    template = "clusters/_cluster.html" if request.htmx and request.htmx.target == "cluster-now" else "clusters/detail.html"
    response = render(request, template, context)
    patch_vary_headers(response, ["HX-Request", "HX-Target"])
    return response


@require_POST
def disconnect(request: HtmxHttpRequest, source: str) -> HttpResponse:
    """Follow the cluster no longer."""
    row = _find(request, source)
    if isinstance(row, HttpResponse):
        return row
    live.disconnect(row)
    messages.success(request, f"{row.name} is not followed any more. What was learnt of it is forgotten.", extra_tags="ok")
    return HttpResponseRedirect(reverse("clusters"))


@require_POST
def save(request: HtmxHttpRequest, source: str) -> HttpResponse:
    """Store the present moment as a snapshot of this session, and open it."""
    row = _find(request, source)
    if isinstance(row, HttpResponse):
        return row
    try:
        made = live.save_snapshot(row, ensure_owner(request), posted_name(request))
    except stored_snapshots.StoreError as error:
        messages.error(request, " ".join(error.problems)[:_MOST_SAID], extra_tags="bad")
        return HttpResponseRedirect(reverse("cluster", args=[row.id]))
    return HttpResponseRedirect(reverse("snapshot", args=[made.id]))


@require_POST
def record(request: HtmxHttpRequest, source: str) -> HttpResponse:
    """Begin to record the cluster as a timeline, or end it: the timeline is then one of this session's snapshots."""
    row = _find(request, source)
    if isinstance(row, HttpResponse):
        return row
    try:
        if request.POST.get("recording") == "1":
            live.start_recording(row, ensure_owner(request), posted_name(request))
            messages.success(request, f"What changes in {row.name} is being recorded.", extra_tags="ok")
        else:
            live.stop_recording(row)
            messages.success(request, "The recording is being stored; it appears among your snapshots.", extra_tags="ok")
    except ValueError as error:
        # A second click, or another's: the page shows how it stands.
        messages.info(request, f"Nothing was done: {error}.")
    return HttpResponseRedirect(reverse("cluster", args=[row.id]))


@require_POST
def conntrack(request: HtmxHttpRequest, source: str) -> HttpResponse:
    """Ask for the connection table of one node."""
    row = _find(request, source)
    if isinstance(row, HttpResponse):
        return row
    node = request.POST.get("node", "")
    if node not in row.nodes:
        return not_found(request, "There is no such node in this cluster.", [(row.name, reverse("cluster", args=[row.id]))])
    live.read_conntrack(row, node)
    messages.success(request, f"The connections of {node} are being read.", extra_tags="ok")
    return HttpResponseRedirect(reverse("cluster", args=[row.id]))


def _played(timeline: Snapshot, owner: str) -> LiveSource:
    """Return *timeline* standing still: where it stood, a new one when that was its end. :raises TooManyTimelines: as live.play."""
    with transaction.atomic():
        # In one transaction: whoever plays it never sees it move.
        row = live.play(timeline, owner)
        if bar(row).at_end:
            live.disconnect(row)
            row = live.play(timeline, owner)
        live.control(row, playing=False)
    live.control(row, playing=False)
    return row


def _find(request: HtmxHttpRequest, slug: str) -> LiveSource | HttpResponse:
    try:
        return sources.find_live(slug, current_owner(request))
    except sources.NoSuchSource:
        return not_found(request, "No such cluster is followed.", [("Clusters", reverse("clusters"))])


def _readings(text: str) -> str:
    return text if text in READINGS else LiveSource.Readings.EXEC


def _index_context(request: HtmxHttpRequest, readings: str) -> dict[str, object]:
    rows = [cluster_row(row) for row in live.sources(current_owner(request))]
    return {
        "clusters": [row for row in rows if not row.is_timeline],
        "timelines": [row for row in rows if row.is_timeline],
        "contexts": live.contexts(),
        "readings": tuple((value, words, value == readings) for value, words in READINGS.items()),
        "manifest": manifest(readings),
        "programs": PROGRAMS,
    }

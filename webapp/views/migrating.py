"""What changes for whom when kube-proxy runs in another mode: a part of the Services on each page, and the same as a file."""

from __future__ import annotations

import json

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from tracer.errors import TracerError
from tracer.limits import MIGRATED_ON_PAGE
from tracer.migration.report import Migration, Report
from tracer.override_words import MODES
from webapp.exports.migration_text import markdown
from webapp.http.access import current_owner
from webapp.presenters.migration import migration_page, mode_links
from webapp.presenters.source import source_head
from webapp.questions import sources
from webapp.questions.sources import Source
from webapp.views.errors import not_found
from webapp.views.htmx_request import HtmxHttpRequest
from webapp.views.trace import find, plain_text

_TYPES = {"md": "text/markdown; charset=utf-8", "json": "application/json"}


@never_cache
@require_safe
def migrate(request: HtmxHttpRequest, source: str) -> HttpResponse:
    """Report the mode ``to``, from the Service ``from`` on; without a mode offer each."""
    row = find(request, source)
    if isinstance(row, HttpResponse):
        return row
    mode, begin = request.GET.get("to", ""), request.GET.get("from", "")
    path, head = reverse("migrate", args=[row.id]), source_head(row, current_owner(request))
    if mode and mode not in MODES:
        return not_found(request, f"“{mode}” is no mode that nodes can be switched to.", [(m.name, m.url) for m in mode_links(path, "")])
    context: dict[str, object] = {"source": head, "modes": mode_links(path, mode), "mode": mode}
    if not mode:
        return render(request, "trace/migrate.html", context)
    try:
        report = _report(row, mode, begin)
    except TracerError as error:
        return render(request, "trace/migrate.html", context | {"problem": str(error)}, status=422)
    return render(request, "trace/migrate.html", context | {"report": migration_page(report, row.id, begin=begin)})


@never_cache
@require_safe
def migrate_export(request: HtmxHttpRequest, source: str, suffix: str) -> HttpResponse:
    """Return what the page reports as a file: Markdown or JSON."""
    row = find(request, source)
    if isinstance(row, HttpResponse):
        return row
    mode = request.GET.get("to", "")
    if suffix not in _TYPES or mode not in MODES:
        return not_found(request, f"There is no “.{suffix}” of a migration to “{mode}”.")
    try:
        report = _report(row, mode, request.GET.get("from", ""))
    except TracerError as error:
        return plain_text(str(error), 422)
    text = markdown(report, row.name) if suffix == "md" else json.dumps(report.to_dict(), indent=1)
    headers = {"Content-Disposition": f'attachment; filename="migrate-{mode}.{suffix}"'}
    return HttpResponse(text, content_type=_TYPES[suffix], headers=headers)


def _report(row: Source, mode: str, begin: str) -> Report:
    """The report of as many Services as a page asks about. :raises TracerError: the cluster cannot be read, or not be switched."""
    namespace, _, name = begin.partition("/")
    with sources.using(row) as cluster:
        return Migration.to(cluster, mode).finished(most=MIGRATED_ON_PAGE, begin=(namespace, name))

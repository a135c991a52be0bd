"""A manifest that is handed in from the trace page: kept for its session, and put into the question."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from tracer.errors import QueryError, TracerError
from tracer.limits import APPLIED
from tracer.query import manifest_text
from tracer.snapshot.manifest import read_manifest
from webapp.http.access import ensure_owner
from webapp.models import Manifest
from webapp.questions.trace_query import FieldError, parse
from webapp.storing import manifests
from webapp.views.errors import refused
from webapp.views.htmx_request import HtmxHttpRequest
from webapp.views.trace import find, live_context, respond

_BYTES = 4 * APPLIED
_MOST_SAID = 20


@require_POST
def apply(request: HtmxHttpRequest, source: str) -> HttpResponse:
    """Keep the posted manifest, and ask the posted question with it; every mistake in it is told, and nothing kept then."""
    row = find(request, source)
    if isinstance(row, HttpResponse):
        return row
    query = parse(request.POST.get("query", ""))
    if query.errors or query.is_empty:
        return refused(request, "This is not a question that a manifest can be applied to.")
    try:
        kept = _kept(request)
    except TracerError as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        errors = tuple(FieldError(field="apply", message=line) for line in lines[:_MOST_SAID])
        return respond(request, live_context(request, row, query, None, errors), 422)
    asked = query.but(apply=kept.digest, follow="", step=None, expand=())
    return HttpResponseRedirect(asked.url(reverse("trace", args=[row.id])))


def _kept(request: HttpRequest) -> Manifest:
    """Keep what the form hands in. :raises TracerError: it cannot be read."""
    file = request.FILES.get("manifest")
    text = request.POST.get("text", "")
    name = "the pasted manifest"
    if file is not None and file.size:
        if file.size > _BYTES:
            raise QueryError(f"{file.name}: a manifest may have {APPLIED:,} characters (limit APPLIED)", code="BAD_OVERRIDE", field="apply")
        name, text = file.name or name, file.read().decode("utf-8", "replace")
    found = manifest_text(list(read_manifest(text, name)))
    return manifests.keep(found, owner=ensure_owner(request), name=name)

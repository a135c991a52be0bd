"""The session's own frozen links: what they answer, until when, and a way to close them."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from tracer.errors import QueryError
from tracer.query import query_from_dict
from tracer.values import dataclass
from webapp.http.access import current_owner
from webapp.models import TraceLink
from webapp.storing import stored_snapshots
from webapp.views.errors import not_found
from webapp.views.htmx_request import HtmxHttpRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkRow:
    """One link as the pages show it: *question* in the address bar's words, *state* is open, expired or revoked."""

    link: TraceLink
    question: str
    state: str

    @classmethod
    def of(cls, link: TraceLink) -> LinkRow:
        """Return the row of *link*."""
        state = "open" if link.is_open else "revoked" if link.revoked_at else "expired"
        return cls(link=link, question=_question(link.query), state=state)


@never_cache
@require_safe
def index(request: HtmxHttpRequest) -> HttpResponse:
    """List the links that this browser session made."""
    rows = [LinkRow.of(link) for link in stored_snapshots.visible_links(current_owner(request))]
    return render(request, "links/index.html", {"rows": rows})


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def revoke(request: HtmxHttpRequest, token: str) -> HttpResponse:
    """Ask whether to close the link for good, and close it. Another session's link is not found."""
    owner = current_owner(request)
    link = stored_snapshots.visible_links(owner).filter(token=token).first()
    if link is None:
        return not_found(request, "This browser session has made no such link.", [("Your links", reverse("links"))])
    if request.method == "POST":
        stored_snapshots.revoke_link(token, owner)
        messages.success(request, "The link is closed. Whoever opens it is told that it was revoked.", extra_tags="ok")
        return HttpResponseRedirect(reverse("links"))
    return render(request, "links/revoke.html", {"row": LinkRow.of(link)})


def _question(query: object) -> str:
    try:
        parsed = query_from_dict(query.get("query") if isinstance(query, dict) else None)
    except QueryError:
        return "A question of an earlier version"
    changed = [*parsed.overrides, *(["a manifest applied"] if parsed.apply else [])]
    what_if = f", what if {', '.join(changed)}" if changed else ""
    return f"{parsed.source} → {parsed.destination} over {parsed.protocol.value}{what_if}"

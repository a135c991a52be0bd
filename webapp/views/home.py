"""The first page: what Hopline is, the demonstration clusters with traces to try, and what this session made."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from webapp.http.access import current_owner
from webapp.live import live_sources as live
from webapp.presenters.clusters import cluster_row
from webapp.questions.coverage import Coverage
from webapp.storing import demonstrations, stored_snapshots
from webapp.views.htmx_request import HtmxHttpRequest
from webapp.views.links import LinkRow

_RECENT = 5


@never_cache
@require_safe
def home(request: HtmxHttpRequest) -> HttpResponse:
    """Show the demonstration clusters as cards, the three ways in, and this session's recent snapshots and links."""
    owner = current_owner(request)
    found = [Coverage(row=row, owner=owner) for row in stored_snapshots.visible_snapshots(owner)]
    followed = [cluster_row(row) for row in live.sources(owner)]
    demos = sorted((one for one in found if one.row.is_demo), key=lambda one: demonstrations.rank(one.row.id))
    context = {
        "modelled": [one for one in demos if one.is_modelled],
        "followed": followed,
        "timeline": next((one for one in demos if one.steps), None),
        "others": [one for one in demos if not one.is_modelled],
        "own": [one for one in found if not one.row.is_demo][:_RECENT],
        "links": [LinkRow.of(link) for link in stored_snapshots.visible_links(owner)[:_RECENT]],
    }
    return render(request, "home/index.html", context)

"""Whose the files are that had no node: a choice for each, and a new snapshot of it."""

from __future__ import annotations

import re

from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from tracer.patterns import pattern
from webapp.http.access import current_owner, ensure_owner
from webapp.questions.coverage import Coverage
from webapp.storing import stored_snapshots
from webapp.views.htmx_request import HtmxHttpRequest
from webapp.views.snapshots import find_row

_NODE = pattern(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?", re.ASCII)
_NONE = "For none of the files a node was chosen. Choose one for each file of which you know whose it is."


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def place(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Show which files have no node; take the nodes that are chosen for them and store all of it as a new snapshot. The old one stays."""
    row = find_row(request, slug)
    if isinstance(row, HttpResponse):
        return row
    coverage = Coverage(row=row, owner=current_owner(request))
    if request.method != "POST":
        return render(request, "snapshots/place.html", {"row": row, "coverage": coverage})
    chosen = dict(zip(request.POST.getlist("file"), map(str.strip, request.POST.getlist("node")), strict=False))
    nodes = {path: node for path, node in chosen.items() if node}
    problems = list(_faults(nodes, coverage)) or ([] if nodes else [_NONE])
    try:
        if not problems:
            job = stored_snapshots.place_files(row, nodes, owner=ensure_owner(request))
            return HttpResponseRedirect(reverse("upload", args=[job.id]))
    except stored_snapshots.StoreError as error:
        problems = list(error.problems)
    return render(request, "snapshots/place.html", {"row": row, "coverage": coverage, "problems": problems}, status=422)


def _faults(nodes: dict[str, str], coverage: Coverage) -> list[str]:
    known = {node["name"] for node in coverage.nodes}
    wrong = dict.fromkeys(node for node in nodes.values() if (node not in known if known else not _NODE.fullmatch(node)))
    return [f"There is no node {node[:60]} in this snapshot." if known else f"{node[:60]} is no name of a node." for node in wrong]

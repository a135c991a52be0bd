"""The connections that a snapshot's nodes recorded: choose one and trace it."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from tracer.conntrack_list import parse_conntrack
from tracer.errors import TracerError
from tracer.kube.near import nearest
from tracer.snapshot.node_files import CONNTRACK
from webapp.http.access import current_owner
from webapp.presenters.connections import ConnectionList, connection_list, node_choices, read_at
from webapp.presenters.source import source_head
from webapp.questions import sources
from webapp.questions.sources import Source
from webapp.views.errors import not_found
from webapp.views.htmx_request import HtmxHttpRequest
from webapp.views.trace import find

FILE = CONNTRACK.name
LONGEST_SEARCH = 100


@never_cache
@require_safe
def connections(request: HtmxHttpRequest, source: str) -> HttpResponse:
    """List the connections of one node, the first one with a recording unless ``node`` says which; ``find`` narrows them down."""
    row = find(request, source)
    if isinstance(row, HttpResponse):
        return row
    path, wanted = reverse("connections", args=[row.id]), request.GET.get("find", "").strip()[:LONGEST_SEARCH]
    try:
        with sources.using(row) as cluster:
            nodes = [name for name, files in cluster.snapshot.node_files.items() if FILE in files]
            node = request.GET.get("node", "") or min(nodes, default="")
            if node and node not in nodes:
                near = [(name, f"{path}?{urlencode({'node': name})}") for name in nearest(node, nodes)]
                return not_found(request, f"No connections of a node “{node}” are recorded in {row.name}.", near)
            text = cluster.snapshot.node_file(node, FILE) or ""
            file = cluster.snapshot.path_of(node, FILE)
    except TracerError as error:
        return render(request, "trace/connections.html", _context(request, row, path) | {"problem": str(error)}, status=422)
    found = _listed(row, node, file, text, wanted) if node else None
    listed = {"list": found, "nodes": node_choices(nodes, node, path), "find": wanted, "read_at": read_at(row, node, FILE)}
    return render(request, "trace/connections.html", _context(request, row, path) | listed)


def _listed(row: Source, node: str, file: str, text: str, wanted: str) -> ConnectionList:
    entries, faults = parse_conntrack(text, file)
    return connection_list(node, file, entries, len(faults), wanted, reverse("trace", args=[row.id]))


def _context(request: HtmxHttpRequest, row: Source, path: str) -> dict[str, object]:
    head = source_head(row, current_owner(request))
    return {"source": head, "path": path, "trace_url": head.trace_url}

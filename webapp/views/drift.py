"""Where a node's recorded rules are not what kube-proxy would program for the objects."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from tracer.errors import TracerError
from tracer.kube.near import nearest
from tracer.snapshot.drift import node_drift
from tracer.topology.programmed import has_rules
from webapp.http.access import current_owner
from webapp.presenters.drift import drift_list, drift_nodes
from webapp.presenters.source import source_head
from webapp.questions import sources
from webapp.views.errors import not_found
from webapp.views.htmx_request import HtmxHttpRequest
from webapp.views.trace import find


@never_cache
@require_safe
def drift(request: HtmxHttpRequest, source: str) -> HttpResponse:
    """Compare one node, the first one with rules unless ``node`` says which."""
    row = find(request, source)
    if isinstance(row, HttpResponse):
        return row
    path, head = reverse("drift", args=[row.id]), source_head(row, current_owner(request))
    context: dict[str, object] = {"source": head, "path": path, "trace_url": head.trace_url}
    try:
        with sources.using(row) as cluster:
            nodes = list(cluster.snapshot.node_names)
            recorded = [name for name in nodes if has_rules(cluster.snapshot, name)]
            node = request.GET.get("node", "") or next(iter(recorded or nodes), "")
            if node and node not in nodes:
                near = [(name, f"{path}?{urlencode({'node': name})}") for name in nearest(node, nodes)]
                return not_found(request, f"No node “{node}” is in {row.name}.", near)
            found = drift_list(node_drift(cluster.snapshot, node)) if node else None
    except TracerError as error:
        return render(request, "trace/drift.html", context | {"problem": str(error)}, status=422)
    return render(request, "trace/drift.html", context | {"drift": found, "nodes": drift_nodes(nodes, recorded, node, path)})

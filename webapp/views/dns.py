"""The DNS page: one name as dig answers it, every question a resolver asks for it, resolv.conf, and the names that exist."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from tracer.errors import QueryError, TracerError
from tracer.query import Resolver
from webapp.http.access import current_owner
from webapp.presenters.dns import TYPES, DnsQuestion, dns_page, known_names
from webapp.presenters.source import source_head
from webapp.questions import sources
from webapp.views.htmx_request import HtmxHttpRequest
from webapp.views.trace import find

if TYPE_CHECKING:
    from tracer.topology.cluster import Cluster


@never_cache
@require_safe
def dns(request: HtmxHttpRequest, source: str) -> HttpResponse:
    """Show how the name in the address is looked up, or the form with examples when there is none."""
    row = find(request, source)
    if isinstance(row, HttpResponse):
        return row
    path, trace_path = reverse("dns", args=[row.id]), reverse("trace", args=[row.id])
    asked = DnsQuestion.of({k: str(v) for k, v in request.GET.items()})
    page, error, status = None, "", 200
    near: tuple[str, ...] = ()
    examples: tuple[tuple[str, str], ...] = ()
    with sources.using(row) as cluster:
        try:
            page = dns_page(cluster, asked, trace_path) if asked.name else None
            examples = () if page else _examples(cluster, path)
        except QueryError as failure:
            error, near, status = str(failure), failure.near, 404 if failure.code.endswith("_NOT_FOUND") else 422
        except TracerError as failure:
            error, status = str(failure), 422
    context = {
        "source": source_head(row, current_owner(request)),
        "asked": asked,
        "page": page,
        "error": error,
        "near": near,
        "types": TYPES,
        "resolvers": tuple(Resolver),
        "path": path,
        "examples": examples,
        "names_url": reverse("names", args=[row.id]),
    }
    template = "dns/_answer.html" if request.htmx and request.htmx.target == "dns-answer" else "dns/page.html"
    response = render(request, template, context, status=status)
    patch_vary_headers(response, ["HX-Request", "HX-Target", "Cookie"])
    return response


def _examples(cluster: Cluster, path: str) -> tuple[tuple[str, str], ...]:
    """Return up to four look-ups to try, as (sentence, address): a Service of the pod's own namespace, of another, a pod's, one outside."""
    pod = next((p for p in cluster.objects.pods if not p.host_network and not p.has_ended and p.namespace != "kube-system"), None)
    if pod is None:
        return ()
    others = [s for s in cluster.objects.services if s.namespace != pod.namespace and not s.headless]
    own = [s for s in cluster.objects.services if s.namespace == pod.namespace]
    headless = [s for s in cluster.objects.services if s.headless]
    names = [s.name for s in own[:1]] + [f"{s.name}.{s.namespace}" for s in (*others[:1], *headless[:1])] + ["api.example.com"]
    source = f"pod:{pod.namespace}/{pod.name}"
    return tuple((f"{pod.namespace}/{pod.name} looks up {n}", DnsQuestion(source=source, name=n).url(path)) for n in dict.fromkeys(names))


@never_cache
@require_safe
def names(request: HtmxHttpRequest, source: str) -> HttpResponse:
    """Return the options of a list of names: those that hold what was typed so far."""
    row = find(request, source)
    if isinstance(row, HttpResponse):
        return row
    typed = str(request.GET.get("to") or request.GET.get("name") or "")
    with sources.using(row) as cluster:
        try:
            found = known_names(cluster, typed)
        except TracerError:
            found = ()
    return render(request, "dns/_names.html", {"names": found})

"""The reasons: an index grouped by theme, and a page for each code."""

from __future__ import annotations

from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_safe

from tracer.explain.catalogue import CATALOGUE, by_theme, explain, nearest_codes, search
from webapp.views.errors import not_found
from webapp.views.htmx_request import HtmxHttpRequest

_LONGEST_SEARCH = 100


@require_safe
def index(request: HtmxHttpRequest) -> HttpResponse:
    """Show every reason by theme, or those that hold all the words of ``q``."""
    words = request.GET.get("q", "").strip()[:_LONGEST_SEARCH]
    found = search(words)
    context = {"q": words, "groups": by_theme(found), "count": len(found), "total": len(CATALOGUE)}
    template = "reasons/_list.html" if request.htmx.target == "reasons" else "reasons/index.html"
    response = render(request, template, context)
    patch_vary_headers(response, ["HX-Request", "HX-Target"])
    return response


@require_safe
def reason(request: HtmxHttpRequest, code: str) -> HttpResponse:
    """Show what *code* means, how to confirm it and what to do; codes in another spelling are sent to the right one."""
    entry = explain(code)
    if entry is None and code.upper() in CATALOGUE:
        return HttpResponseRedirect(reverse("reason", args=[code.upper()]))
    if entry is None:
        near = [(name, reverse("reason", args=[name])) for name in nearest_codes(code)]
        return not_found(request, f"There is no reason {code[:60]}.", near)
    siblings = [other for other in CATALOGUE.values() if other.theme is entry.theme and other is not entry]
    return render(request, "reasons/reason.html", {"entry": entry, "siblings": siblings})

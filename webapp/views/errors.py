"""Pages for what cannot be shown, with the nearest things that can."""

from __future__ import annotations

from collections.abc import Iterable

from django.http import HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers

from webapp.views.htmx_request import HtmxHttpRequest


def not_found(request: HtmxHttpRequest, message: str, near: Iterable[tuple[str, str]] = ()) -> HttpResponse:
    """Return a 404 that says *message* and offers *near*, pairs of (name, address); a fragment for htmx."""
    template = "errors/_not_found.html" if request.htmx else "404.html"
    response = render(request, template, {"message": message, "near": tuple(near)}, status=404)
    patch_vary_headers(response, ["HX-Request"])
    return response

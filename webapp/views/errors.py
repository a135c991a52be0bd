"""Pages for what cannot be shown, with the nearest things that can, and for requests that cannot be understood."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django.views import defaults

from webapp.http.failures import FAILURES, answer, cause_of
from webapp.http.refusals import log_refusal
from webapp.views.htmx_request import HtmxHttpRequest


def not_found(request: HtmxHttpRequest, message: str, near: Iterable[tuple[str, str]] = ()) -> HttpResponse:
    """Return a 404 that says *message* and offers *near*, pairs of (name, address); a fragment for htmx."""
    template = "errors/_not_found.html" if request.htmx else "404.html"
    response = render(request, template, {"message": message, "near": tuple(near)}, status=404)
    patch_vary_headers(response, ["HX-Request"])
    return response


def refused(request: HttpRequest, words: str) -> HttpResponse:
    """Return a 400 that says *words*: what was sent is nothing that one of our pages sends."""
    log_refusal(400, f"{request.method} {request.path}", words)
    return render(request, "400.html", {"words": words}, status=400)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Return the page for a request that Django could not read, and log one line."""
    if isinstance(exception, RequestDataTooBig):
        log_refusal(413, f"{request.method} {request.path}", str(exception))
        said = f"A form without a file is taken up to {settings.DATA_UPLOAD_MAX_MEMORY_SIZE / 1_000_000:g} MB."
        return render(request, "413.html", {"problems": [said]}, status=413)
    log_refusal(400, f"{request.method} {request.path}", str(exception) or type(exception).__name__)
    return render(request, "400.html", {}, status=400)


def server_error(request: HttpRequest) -> HttpResponse:
    """Return the page for what failed here before a view was asked: why, where disk or database are away (503, 507), else 500."""
    error = sys.exc_info()[1]
    if error is None or (cause := cause_of(error)) is None:
        return defaults.server_error(request)
    log_refusal(FAILURES[cause].status, f"{request.method} {request.path}", FAILURES[cause].why)
    return answer(cause)

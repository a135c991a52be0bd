"""What every request passes first: the health check, the access key, the limit of a request's body.

And what an answer without words passes last: the page for a method that an address does not know.
"""

from __future__ import annotations

from collections.abc import Callable

from django.db import Error, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from webapp import __version__
from webapp.http import access
from webapp.http.body_limit import refused_limit
from webapp.http.failures import answer, cause_of, log_seldom
from webapp.work.place import ELSEWHERE, SPENT, Elsewhere, here

_Next = Callable[[HttpRequest], HttpResponse]


class HealthMiddleware:
    """Answers ``/healthz`` before anything else looks at the request: a probe's Host header is an address nobody listed."""

    def __init__(self, get_response: _Next) -> None:
        self._next = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Return 200 when the database answers, 503 when it does not; every other path goes on."""
        if request.path != "/healthz":
            return self._next(request)
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
        except Error:
            return JsonResponse({"status": "database unreachable", "version": __version__}, status=503)
        return JsonResponse({"status": "ok", "version": __version__})


class AccessKeyMiddleware:
    """Lets a request pass when no access key is set, it proves the key, or its path is public."""

    def __init__(self, get_response: _Next) -> None:
        self._next = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Return the page, or what access.ask_for_key() says."""
        if access.is_public_path(request.path) or access.request_is_granted(request):
            return self._next(request)
        return access.ask_for_key(request)


class MethodMiddleware:
    """Gives the answer to a method that an address does not know a page: Django's own is empty."""

    def __init__(self, get_response: _Next) -> None:
        self._next = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Return 405 with words, and every other answer as it is."""
        response = self._next(request)
        if response.status_code != 405 or response.streaming or response.content:
            return response
        page = render(request, "405.html", {"allowed": response["Allow"]}, status=405)
        page["Allow"] = response["Allow"]
        return page


class BodyLimitMiddleware:
    """Turns the mark that body_limit.py leaves on an oversized request into a page that names the limit."""

    def __init__(self, get_response: _Next) -> None:
        self._next = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Return 413 with the limit for an oversized request; every other goes on."""
        if (limit := refused_limit(request)) is None:
            return self._next(request)
        said = f"The upload is larger than this server accepts: the limit is {limit // 1_000_000:,} MB."
        problems = [said if limit else "This server takes uploads only from those who have its access key."]
        template = "snapshots/_problems.html" if request.headers.get("HX-Request") else "413.html"
        return render(request, template, {"problems": problems}, status=413)


class PlaceMiddleware:
    """Turns what a worker's code raises about its place, and about a disk or database that is away, into words for the worker."""

    def __init__(self, get_response: _Next) -> None:
        self._next = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Return the page."""
        return self._next(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Say to the worker where the request belongs, or why nothing came of it that is no fault of ours; anything else goes on."""
        if isinstance(exception, Elsewhere):
            return HttpResponse(headers={ELSEWHERE: str(exception.lane)})
        if isinstance(exception, MemoryError) and here() is not None:
            return HttpResponse(headers={SPENT: "memory"})
        if (cause := cause_of(exception)) is None:
            return None
        log_seldom(f"requests are refused ({cause})", exception)
        if here() is not None:
            return HttpResponse(headers={SPENT: cause})
        return answer(cause)

"""The request as views see it: django-htmx's middleware has put on it what htmx says of itself."""

from __future__ import annotations

from django.http import HttpRequest
from django_htmx.middleware import HtmxDetails


class HtmxHttpRequest(HttpRequest):
    """A request behind HtmxMiddleware; *htmx* is false when the browser, and not htmx, asked."""

    htmx: HtmxDetails

"""What is said to a request that no page answers: a page that needs nothing of the request, and one line of log without a traceback.

The page carries the headers of every other page. It is made here for whoever refuses before Django has looked at the request
(gate.py, http_protocol.py); views/errors.py does it for the rest.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import cast

from csp.middleware import CSPMiddleware
from django.http import HttpRequest, HttpResponse
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.security import SecurityMiddleware
from django.template.loader import render_to_string

from tracer.values import dataclass

logger = logging.getLogger(__name__)
MOST_LOGGED = 200
socket_refused: ContextVar[bool] = ContextVar("socket_refused", default=False)
"""Whether the socket that this task serves was answered with a page: uvicorn then logs that no handshake was completed (log_filter.py)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a request is refused: *heading* and *words* are for whoever sent it, *why* is for the log."""

    status: int
    why: str
    heading: str = "This request cannot be understood"
    words: str = "It is not what a browser sends from one of these pages. Nothing was changed."


def bare_response(refusal: Refusal) -> HttpResponse:
    """Return the page that says *refusal*, with the headers that the middleware gives every page."""
    page = HttpResponse(status=refusal.status)
    context = {"name": page.reason_phrase, "number": refusal.status, "heading": refusal.heading, "words": refusal.words}
    page.content = render_to_string("errors/bare.html", context)
    page["Content-Length"] = str(len(page.content))
    page["Cache-Control"] = "no-store"
    wrapped = SecurityMiddleware(CSPMiddleware(XFrameOptionsMiddleware(lambda _: page)))
    # No coroutine: the innermost of them is a function that is none.
    return cast(HttpResponse, wrapped(HttpRequest()))


def log_refusal(status: int, asked: str, why: str) -> None:
    """Write the one line of a refused request; *asked* and *why* are the sender's text and cannot begin a line of their own."""
    logger.warning("%d for %s: %s", status, one_line(asked), one_line(why))


def one_line(text: str) -> str:
    """Return *text* in printable ASCII, cut to MOST_LOGGED characters."""
    return text[:MOST_LOGGED].encode("unicode_escape").decode("ascii") + ("…" if len(text) > MOST_LOGGED else "")

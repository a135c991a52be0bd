"""Django's handler as a worker uses it."""

from __future__ import annotations

from typing import IO, Any

from django.core import signals
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import set_script_prefix


class Handler(ASGIHandler):
    """Django's own handler, called from a thread that may block."""

    def __init__(self) -> None:
        self.load_middleware(is_async=False)

    def request_of(self, scope: dict[str, Any], body: IO[bytes]) -> tuple[HttpRequest | None, HttpResponseBase | None]:
        """Return the request in *scope*, or what is wrong with it."""
        set_script_prefix(get_script_prefix(scope))
        signals.request_started.send(sender=self.__class__, scope=scope)
        return self.create_request(scope, body)

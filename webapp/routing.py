"""The WebSocket addresses."""

from typing import Any, cast

from django.urls import path, re_path

from webapp.consumers import LiveUpdates, UploadProgress
from webapp.http.gate import no_such_socket

# Any: Django's types know of no callback that is an ASGI application, which is what Channels' router takes.
websocket_urlpatterns: list[Any] = [
    path("live/uploads/<str:job>", cast(Any, UploadProgress.as_asgi())),
    path("live/<str:source>", cast(Any, LiveUpdates.as_asgi())),
    re_path("", cast(Any, no_such_socket)),
]

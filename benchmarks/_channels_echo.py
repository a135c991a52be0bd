"""A plain Channels echo: what one socket says, all are told. What live_sockets.py is compared with.

python benchmarks/_channels_echo.py PORT
"""

from __future__ import annotations

import sys
from typing import Any

import django
import uvicorn
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.urls import path

_GROUP = "everybody"


class Echo(AsyncWebsocketConsumer):
    """Passes every message on to everybody."""

    async def connect(self) -> None:
        """Join."""
        await self.channel_layer.group_add(_GROUP, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        """Leave."""
        await self.channel_layer.group_discard(_GROUP, self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Tell everybody."""
        await self.channel_layer.group_send(_GROUP, {"type": "said", "text": text_data})

    async def said(self, event: dict[str, Any]) -> None:
        """Pass it on."""
        await self.send(text_data=event["text"])


def main() -> None:
    """Serve until stopped."""
    layer = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    settings.configure(SECRET_KEY="echo", ALLOWED_HOSTS=["*"], ROOT_URLCONF=(), INSTALLED_APPS=["channels"], CHANNEL_LAYERS=layer)
    django.setup()
    pages = get_asgi_application()
    application = ProtocolTypeRouter({"http": pages, "websocket": URLRouter([path("echo", Echo.as_asgi())])})
    uvicorn.run(application, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", lifespan="off")


if __name__ == "__main__":
    main()

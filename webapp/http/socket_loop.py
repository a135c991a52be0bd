"""Telling a channel group from any thread: the in-memory layer must be spoken to from the loop that serves this process's sockets.

A worker has none: the process that serves tells them for it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from asgiref.sync import async_to_sync
from channels.layers import BaseChannelLayer, get_channel_layer
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from webapp.http.failures import cause_of, log_seldom
from webapp.work import place

logger = logging.getLogger(__name__)
_WAIT_SECONDS = 5
_loop: asyncio.AbstractEventLoop | None = None


def layer() -> BaseChannelLayer:
    """Return the layer that the settings name. :raises ImproperlyConfigured: they name none."""
    found = get_channel_layer()
    if found is None:
        raise ImproperlyConfigured("CHANNEL_LAYERS has no default.")
    return found


def remember() -> None:
    """Note that the running loop serves sockets; every consumer calls it when it connects."""
    global _loop
    _loop = asyncio.get_running_loop()


def tell(group: str, message: dict[str, Any]) -> None:
    """Send *message* to the sockets of *group*, here and (with Redis) in the other processes. Never raises: pages poll as well.

    Not to be called from the loop that serves the sockets: it waits until the layer has taken the message.
    """
    if place.send({"type": "tell", "group": group, "message": message}):
        return
    try:
        if _loop is not None and _loop.is_running():
            asyncio.run_coroutine_threadsafe(layer().group_send(group, message), _loop).result(timeout=_WAIT_SECONDS)
        elif settings.REDIS_URL:
            async_to_sync(layer().group_send)(group, message)
    except Exception as error:
        if cause_of(error):
            log_seldom("sockets are not told", error)
        else:
            logger.exception("the sockets of %s were not told", group)

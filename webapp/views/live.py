"""What a page hears of a followed cluster when it has no socket, and the buttons of a timeline."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator
from typing import Any

from asgiref.sync import sync_to_async
from django.http import HttpResponse, HttpResponseRedirect, JsonResponse, StreamingHttpResponse
from django.urls import reverse
from django.utils.cache import patch_cache_control
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST, require_safe

from webapp.http import socket_loop
from webapp.http.access import current_owner
from webapp.live import live_sources as live
from webapp.models import LiveSource
from webapp.presenters.timeline_bar import position_of, settled_at, speed_of
from webapp.questions import sources
from webapp.views.htmx_request import HtmxHttpRequest

ALIVE_EVERY = 20.0
_MOST_DIGITS = 18


@require_safe
def state(request: HtmxHttpRequest, source: str) -> HttpResponse:
    """Return the messages for a page that shows the generation ``since``, for pages that ask again and again; 304 when nothing is new."""
    row = sources.find_live(source, current_owner(request))
    told = _told(row, _since(request))
    steady = [{name: value for name, value in message.items() if name != "position"} for message in told]
    tag = f'"{hashlib.sha256(json.dumps(steady, sort_keys=True).encode()).hexdigest()[:32]}"'
    if request.headers.get("If-None-Match") == tag:
        response: HttpResponse = HttpResponse(status=304)
    else:
        response = JsonResponse({"messages": told})
    response["ETag"] = tag
    patch_cache_control(response, private=True, no_cache=True)
    return response


@require_safe
async def events(request: HtmxHttpRequest, source: str) -> StreamingHttpResponse:
    """Stream the messages of the source as server-sent events, for networks that let no WebSocket through."""
    owner = await sync_to_async(current_owner)(request)
    row = await sync_to_async(sources.find_live)(source, owner)
    stream = _stream(row, _since(request))
    # X-Accel-Buffering: a proxy that collects the answer before it passes it on would pass on nothing.
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingHttpResponse(stream, content_type="text/event-stream", headers=headers)


@require_POST
def control(request: HtmxHttpRequest, source: str) -> HttpResponse:
    """Move, pause or speed up a timeline. A browser that fetches gets the new playback, a form goes back to its page."""
    row = sources.find_live(source, current_owner(request))
    if row.kind != LiveSource.Kind.TIMELINE:
        return _refused("Only a timeline can be steered.", 400)
    try:
        told = live.control(row, **_wishes(request, row))
    except ValueError as error:
        return _refused(str(error), 422)
    if request.headers.get("Accept") == "application/json":
        return JsonResponse(told)
    back = request.POST.get("next", "")
    safe = url_has_allowed_host_and_scheme(back, allowed_hosts={request.get_host()}, require_https=request.is_secure())
    return HttpResponseRedirect(back if safe else reverse("trace", args=[row.id]))


def _wishes(request: HtmxHttpRequest, row: LiveSource) -> dict[str, Any]:
    """Return what the form asks of the timeline. :raises ValueError: a value is no number, or none that the timeline has."""
    posted = request.POST
    wishes: dict[str, Any] = {}
    if at := posted.get("at"):
        wishes["position"] = position_of(row.playback, float(at))
    if step := posted.get("step"):
        # One who stands still wants to see what came of the step, one who watches wants to see it happen.
        playing = live.messages(row)[1]["playing"]
        wishes["position"] = position_of(row.playback, int(step)) if playing else settled_at(row.playback, int(step))
    if speed := posted.get("speed"):
        wishes["speed"] = speed_of(speed)
    if "playing" in posted:
        wishes["playing"] = posted["playing"] == "1"
    return wishes


def _refused(text: str, status: int) -> HttpResponse:
    return HttpResponse(f"{text}\n", status=status, content_type="text/plain; charset=utf-8")


async def _stream(row: LiveSource, since: int | None) -> AsyncIterator[str]:
    layer = socket_loop.layer()
    channel = await layer.new_channel()
    socket_loop.remember()
    await layer.group_add(live.group_of(row.id), channel)
    try:
        with contextlib.suppress(LiveSource.DoesNotExist):
            for message in await sync_to_async(_told)(row, since):
                yield _event(message)
            while True:
                yield await _next(row, channel)
    finally:
        await layer.group_discard(live.group_of(row.id), channel)


async def _next(row: LiveSource, channel: str) -> str:
    try:
        found = await asyncio.wait_for(socket_loop.layer().receive(channel), ALIVE_EVERY)
    except TimeoutError:
        await sync_to_async(live.watched)(row)
        return ": still here\n\n"
    return _event(found["message"])


def _event(message: dict[str, Any]) -> str:
    return f"data: {json.dumps(message, ensure_ascii=False)}\n\n"


def _told(row: LiveSource, since: int | None) -> list[dict[str, Any]]:
    try:
        return list(live.messages(row, since))
    except LiveSource.DoesNotExist:
        raise sources.NoSuchSource(row.id) from None


def _since(request: HtmxHttpRequest) -> int | None:
    text = request.GET.get("since", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else None

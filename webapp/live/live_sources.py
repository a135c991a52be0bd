"""Use cases of followed clusters: connect or play one, look at it, hear what changed, steer a timeline, keep its present moment.

Pages, sockets and commands call these functions and nothing below them. None waits for the network but ``check`` and ``contexts``.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.text import slugify

from webapp.live import announce, connecting, saving
from webapp.live.announce import group_of as group_of
from webapp.live.connecting import Check, Contexts
from webapp.live.playback import open_timeline, playback_of, steered
from webapp.live.replica import View, replicas
from webapp.live.wake import nudge
from webapp.models import LiveItem, LiveSource, Snapshot, new_slug
from webapp.work import place
from webapp.work.lanes import Lane

_WATCHED_EVERY = timedelta(seconds=30)
_IN_CLUSTER = "in-cluster"


class TooManyTimelines(Exception):
    """As many timelines as this server plays at once are being played."""


# --- which there are -----------------------------------------------------------------------------------------------------


def sources(owner: str) -> QuerySet[LiveSource]:
    """Return what *owner* may watch: clusters first, then the session's own timelines; without those that were disconnected."""
    visible = LiveSource.objects.filter(Q(owner="") | Q(owner=owner) if owner else Q(owner=""))
    return (
        visible.exclude(Q(kind=LiveSource.Kind.TIMELINE) & Q(wanted=False)).select_related("timeline").order_by("owner", "created_at", "id")
    )


def get(slug: str, owner: str) -> LiveSource:
    """Return the source if *owner* may watch it, and note that somebody does. :raises LiveSource.DoesNotExist: there is none for them."""
    row = LiveSource.objects.select_related("timeline").get(id=slug)
    if not row.is_visible_to(owner):
        raise LiveSource.DoesNotExist
    watched(row)
    return row


def watched(source: LiveSource) -> None:
    """Note that somebody looks at *source*; a timeline that was stopped because nobody did goes on, if there is room for one more."""
    now = timezone.now()
    is_asleep = source.kind == LiveSource.Kind.TIMELINE and not source.wanted
    if is_asleep and _woken(source, now):
        source.watched_at, source.wanted = now, True
        nudge()
    elif source.watched_at < now - _WATCHED_EVERY:
        LiveSource.objects.filter(id=source.id).update(watched_at=now)
        source.watched_at = now


# --- coming and going ----------------------------------------------------------------------------------------------------


def connect(context: str | None, readings: str = LiveSource.Readings.EXEC) -> LiveSource:
    """Follow the cluster of *context* (a name in the server's kubeconfig; None: the cluster Hopline runs in) for everybody.

    Returns its row, the one there was if the cluster was followed before. Whether it can be reached, its state tells.
    """
    how = LiveSource.Readings(readings)
    try:
        row = _connected(context, how)
    except IntegrityError:
        # Somebody else has connected it in the same moment.
        row = _connected(context, how)
    nudge()
    return row


def play(timeline: Snapshot, owner: str) -> LiveSource:
    """Play *timeline* from its beginning for the session *owner* alone; the row there was, if it is being played already.

    :raises TooManyTimelines: the server plays HOPLINE_TIMELINES_MAX already. :raises ValueError: *owner* is empty.
    :raises TracerError: the recording cannot be read.
    """
    if not owner:
        raise ValueError("a timeline is played for a session")
    playback = playback_of(open_timeline(timeline), now=time.time())
    with transaction.atomic():
        playing = _timelines_playing()
        row = LiveSource.objects.select_for_update().filter(kind=LiveSource.Kind.TIMELINE, timeline=timeline, owner=owner).first()
        if (row is None or not row.wanted) and playing >= settings.TIMELINES_MAX:
            raise TooManyTimelines
        if row is None:
            row = LiveSource(kind=LiveSource.Kind.TIMELINE, timeline=timeline, owner=owner, name=timeline.name)
            row.playback = playback | {"playing": True}
            row.save(force_insert=True)
        else:
            row.wanted, row.watched_at = True, timezone.now()
            row.save(update_fields=["wanted", "watched_at"])
    nudge()
    return row


def disconnect(source: LiveSource) -> None:
    """Follow *source* no longer, and forget what was learnt of it."""
    LiveSource.objects.filter(id=source.id).delete()
    replicas.forget(source.id)
    announce.send(source.id, {"type": "source", "state": "stopped", "since": timezone.now().isoformat(), "text": "Disconnected"})
    nudge()


# --- looking -------------------------------------------------------------------------------------------------------------


def using(source: LiveSource) -> AbstractContextManager[View]:
    """Return a context that gives the newest picture of *source* to one thread at a time; trace inside it.

    ``View(cluster, generation, at, answers)``: ``answers.get(key)`` and ``.keep(key, value, dependencies)`` keep what no change touched.
    :raises LiveSource.DoesNotExist: (on entering) it was disconnected.
    """
    place.belongs_in(Lane.LIVE)
    return replicas.of(source.id).using()


def message(source: LiveSource) -> dict[str, Any]:
    """Return what tells a browser how fresh *source* is: ``{"type": "source", "state", "since", "text", "gen"}``."""
    return announce.source_message(source) | {"gen": source.generation}


def messages(source: LiveSource, since: int | None = None) -> tuple[dict[str, Any], ...]:
    """Return what a browser that knows generation *since* needs to be told: the state, a timeline's playback, the newest generation.

    *since* None: it has just loaded its page. Reads the row anew. :raises LiveSource.DoesNotExist: it was disconnected.
    """
    row = LiveSource.objects.get(id=source.id)
    told = [message(row)]
    if row.kind == LiveSource.Kind.TIMELINE:
        told.append(announce.playback_message(row))
    if since is not None and since != row.generation:
        told.append(announce.generation_message(row.generation, changes_since(row, since)))
    return tuple(told)


def changes_since(source: LiveSource, generation: int) -> tuple[str, ...]:
    """Return what changed after *generation* (``svc/NS/NAME``, ``node/NAME`` …); ``("*",)``: more than can be told."""
    if not source.told_from <= generation <= source.generation:
        return (announce.EVERYTHING,)
    rows = LiveItem.objects.filter(source=source.id, generation__gt=generation).order_by("generation", "id")
    found = rows.values_list("refs", flat=True)[: 4 * announce.MOST_REFS + 1]
    if len(found) > 4 * announce.MOST_REFS:
        return (announce.EVERYTHING,)
    return tuple(announce.named(ref for refs in found for ref in refs.split()))


# --- steering a timeline -------------------------------------------------------------------------------------------------


def control(
    source: LiveSource, *, position: float | None = None, speed: float | None = None, playing: bool | None = None
) -> dict[str, Any]:
    """Move the timeline *source* (seconds from its beginning), change its *speed* (0.1 to 60), pause it or let it go on.

    What is out of range is taken as its end. Returns the playback message, which every socket of the source is told as well.
    :raises ValueError: *source* is no timeline.
    """
    if source.kind != LiveSource.Kind.TIMELINE:
        raise ValueError("only a timeline can be steered")
    now = time.time()
    with transaction.atomic():
        row = LiveSource.objects.select_for_update().get(id=source.id)
        row.playback = steered(row.playback, now, position=position, speed=speed, playing=playing)
        row.save(update_fields=["playback"])
    watched(row)
    nudge()
    source.playback = row.playback
    told = announce.playback_message(row, now)
    announce.send(row.id, told)
    return told


# --- keeping -------------------------------------------------------------------------------------------------------------


def save_snapshot(source: LiveSource, owner: str, name: str = "") -> Snapshot:
    """Store the present moment of *source* as an ordinary snapshot of the session *owner*; return its row.

    :raises UploadError: nothing was stored, and why. :raises LiveSource.DoesNotExist: it was disconnected.
    """
    row = LiveSource.objects.get(id=source.id)
    return saving.save(row, owner=owner, name=name)


def read_conntrack(source: LiveSource, node: str) -> None:
    """Ask the follower to read the connection table of *node* once; it comes as a change of ``node/NAME``, or as an error in ``nodes``."""
    with transaction.atomic():
        row = LiveSource.objects.select_for_update().get(id=source.id)
        row.asked = row.asked | {"conntrack": {**row.asked.get("conntrack", {}), node: time.time()}}
        row.save(update_fields=["asked"])
    nudge()


def start_recording(source: LiveSource, owner: str, name: str = "") -> None:
    """Record *source* from now on, as a timeline that will belong to the session *owner*. ``recording`` of its row says how it stands:
    ``{"id", "state": "recording" | "storing" | "stored" | "failed", "name", "owner", "since", "snapshot", "error"}``.

    :raises ValueError: it is being recorded, or is itself a timeline.
    """
    with transaction.atomic():
        row = LiveSource.objects.select_for_update().get(id=source.id)
        if row.kind == LiveSource.Kind.TIMELINE or row.recording.get("state") in ("recording", "storing"):
            raise ValueError("it is a timeline, or being recorded already")
        called = name.strip() or f"{row.name}, {timezone.now():%Y-%m-%d %H:%M}"
        row.recording = {"id": new_slug(), "state": "recording", "name": called, "owner": owner, "since": time.time()}
        row.save(update_fields=["recording"])
    source.recording = row.recording
    nudge()


def stop_recording(source: LiveSource) -> None:
    """End the recording: the follower stores it as a snapshot, whose id then is in ``recording``. :raises ValueError: there is none."""
    with transaction.atomic():
        row = LiveSource.objects.select_for_update().get(id=source.id)
        if row.recording.get("state") != "recording":
            raise ValueError("it is not being recorded")
        row.recording = row.recording | {"state": "storing"}
        row.save(update_fields=["recording"])
    source.recording = row.recording
    nudge()


# --- what may be connected -----------------------------------------------------------------------------------------------


def contexts() -> Contexts:
    """Return the contexts that the server's kubeconfig offers, and whether Hopline runs in a cluster."""
    return connecting.contexts()


def check(context: str | None) -> Check:
    """Return what the API server allows Hopline in *context* (None: in the cluster), permission by permission. Waits for the network."""
    return connecting.check(context)


def _connected(context: str | None, readings: LiveSource.Readings) -> LiveSource:
    """Return the row of *context*, wanted and read as *readings* say. :raises IntegrityError: somebody made it meanwhile.

    What its follower writes is left to it: only who reads nodes in another way, or had stopped, begins anew.
    """
    kind = LiveSource.Kind.IN_CLUSTER if context is None else LiveSource.Kind.CONTEXT
    now = timezone.now()
    with transaction.atomic():
        row = LiveSource.objects.select_for_update().filter(kind=kind, context=context or "").first()
        if row is None:
            name = context or _IN_CLUSTER
            made = LiveSource(id=_free_slug(name), name=name[:200], kind=kind, context=context or "", readings=readings)
            # Unix milliseconds: more than any generation of the same cluster before it was disconnected, which pages may still show.
            made.told_from = int(now.timestamp() * 1000)
            made.save(force_insert=True)
            return made
        fields = ["watched_at"]
        if not row.wanted or row.readings != readings:
            row.wanted, row.readings = True, readings
            row.state, row.state_text, row.state_since = LiveSource.State.CONNECTING, "", now
            fields += ["wanted", "readings", "state", "state_text", "state_since"]
        row.watched_at = now
        row.save(update_fields=fields)
    return row


def _woken(timeline: LiveSource, now: datetime) -> bool:
    """Let *timeline* go on; return whether there was room for it."""
    with transaction.atomic():
        if _timelines_playing() >= settings.TIMELINES_MAX:
            return False
        LiveSource.objects.filter(id=timeline.id).update(watched_at=now, wanted=True)
    return True


def _timelines_playing() -> int:
    """Return how many timelines are being played; until the transaction ends, nobody else begins one.

    What everybody who plays a timeline locks is the oldest snapshot: that there is one, the timeline shows.
    NB: with no_key, rows may go on referring to it.
    """
    Snapshot.objects.select_for_update(no_key=True).order_by("created_at", "id").values_list("id").first()
    return LiveSource.objects.filter(kind=LiveSource.Kind.TIMELINE, wanted=True).count()


def _free_slug(name: str) -> str:
    """Return a readable id that no snapshot and no source has."""
    wanted = slugify(name)[:40]
    taken = LiveSource.objects.filter(id=wanted).exists() or Snapshot.objects.filter(id=wanted).exists()
    return wanted if wanted and not taken else new_slug()

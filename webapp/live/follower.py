"""Following one source: a connection, a thread for each kind of object, one that writes, one that has nodes read.

Knows nothing of leases but the holder's name, under which it writes.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from django.conf import settings
from django.db import connection as database
from django.utils import timezone

from tracer.errors import TracerError
from tracer.kube.kinds import moving
from webapp.cluster.connection import Connection
from webapp.cluster.errors import ClusterError, Denied
from webapp.cluster.kinds import FOLLOWED_KINDS
from webapp.live import announce, journal
from webapp.live.backoff import Backoff, Pace
from webapp.live.connecting import connection_of
from webapp.live.messages import VersionRead
from webapp.live.own_stacks import OwnStacks
from webapp.live.player import Player
from webapp.live.readings import Readings
from webapp.live.rhythm import PLAYED, Rhythm
from webapp.live.stream import Outbox, Stopped, Stream
from webapp.live.taping import Taping
from webapp.live.writer import Writer
from webapp.models import LiveSource
from webapp.reading.changes import StoredChange
from webapp.reading.paths import ObjectPath, parse_path
from webapp.reading.places import NO_PROXY, NO_READER, Places

logger = logging.getLogger(__name__)

_RULED_BY = moving()
"""Kinds whose changes rules or routes follow."""
_VERSION_EVERY, _VERSION_RETRY = 120.0, 15.0
_REFUSED_TIMES = 4
_ASKED_SECONDS = 60.0
"""What somebody asked for longer ago was the business of the follower before."""


class Follower:
    """Follows the source *row* as *holder* from ``start()`` to ``stop()``; ``is_over``: it has ended, by itself or not.

    *connect* makes the connection (None: to what the row names).
    """

    def __init__(self, row: LiveSource, holder: str, *, connect: Callable[[], Connection] | None = None, pace: Pace | None = None) -> None:
        self.source = row.id
        self.readings_mode = row.readings
        self._row, self._holder = row, holder
        self._connect, self._pace = connect, pace or Pace()
        self._outbox = Outbox()
        self._player: Player | None = None
        self._connection: Connection | None = None
        self._readings: Readings | None = None
        self._writer: Writer | None = None
        self._taping = Taping(row.id)
        self._asked: dict[str, float] = {}
        self._lock = threading.Lock()
        self.is_over = threading.Event()

    def start(self) -> None:
        """Begin; returns at once."""
        self._spawn(self._main, "main")

    def stop(self) -> None:
        """End; what is under way is broken off. Returns without waiting."""
        self._outbox.stop.set()
        with self._lock:
            connection, readings, player = self._connection, self._readings, self._player
        for part in (readings.stop if readings else None, connection.close if connection else None, player.close if player else None):
            if part is not None:
                _quietly(part)

    def is_of_another(self, row: LiveSource) -> bool:
        """Return whether *row* is to be followed by another follower: nodes are read in another way, or it was connected anew."""
        return (self._row.created_at, self.readings_mode) != (row.created_at, row.readings)

    @property
    def is_writing(self) -> bool:
        """Return whether something may still be written."""
        return self._writer is not None and not self._writer.is_over.is_set()

    def join(self, seconds: float) -> None:
        """Wait until nothing is written any more, at most so long."""
        if self._writer is not None:
            self._writer.is_over.wait(seconds)

    def look(self, row: LiveSource) -> None:
        """Take what people want of this source: a steered timeline, a node's connections, a recording."""
        if self._player is not None:
            self._player.nudge()
        self._taping.look(row.recording)
        for node, at in row.asked.get("conntrack", {}).items():
            is_new = self._asked.get(node) != at and time.time() - at < _ASKED_SECONDS
            if is_new and self._readings is not None and self._readings.ask_conntrack(node):
                self._asked[node] = at

    # -----------------------------------------------------------------------------------------------------------------------------

    def _main(self) -> None:
        try:
            connection = self._connected()
            self._begin(connection)
            self._ask_version(connection)
        except (Stopped, journal.LeaseLost):
            pass
        except Exception:
            logger.exception("source %s cannot be followed", self.source)
        finally:
            self.is_over.set()
            self.stop()
            database.close()

    def _connected(self) -> Connection:
        """Return a connection, however long it takes to get usable credentials. :raises Stopped: nobody wants it any more."""
        backoff = Backoff(first=1.0, most=60.0)
        while True:
            try:
                connection = self._open()
            except (ClusterError, TracerError) as error:
                self._say(LiveSource.State.STALE, str(error))
                self._outbox.wait(backoff.failed(at_least=1.0))
                continue
            with self._lock:
                self._connection = connection
            if self._outbox.stop.is_set():
                raise Stopped
            return connection

    def _open(self) -> Connection:
        if self._connect is not None:
            return self._connect()
        if self._row.kind != LiveSource.Kind.TIMELINE:
            return connection_of(self._row)
        player = Player(self._row)
        with self._lock:
            self._player = player
        return player.connect()

    def _begin(self, connection: Connection) -> None:
        noticed: list[Callable[[Sequence[StoredChange]], None]] = [self._taping.note]
        own = self._own_stacks()
        if self.readings_mode != LiveSource.Readings.NONE:
            noticed.append(self._with_readings(connection, own))
        writer = Writer(self.source, self._holder, self._outbox, noticed, taping=self._taping, unwanted=own.unwanted)
        self._writer = writer
        self._spawn(writer.run, "writer")
        for kind in FOLLOWED_KINDS:
            self._spawn(Stream(kind, connection, self._outbox, self._pace).run, kind.key)
        if self._player is not None:
            player = self._player
            self._spawn(lambda: player.run(self._outbox.stop), "player")

    def _own_stacks(self) -> OwnStacks:
        """Return which pods' own stacks are read: those that were recorded, or by the node reader those that somebody wants."""
        is_reader = self.readings_mode == LiveSource.Readings.DAEMONSET
        wanted = self._player.stacks if self._player is not None else settings.POD_STACKS if is_reader else ()
        return OwnStacks(wanted, known=LiveSource.objects.values_list("nodes", flat=True).get(id=self.source))

    def _with_readings(self, connection: Connection, own: OwnStacks) -> Callable[[Sequence[StoredChange]], None]:
        is_reader = self.readings_mode == LiveSource.Readings.DAEMONSET
        readings = Readings(connection, self._outbox.put, self._rhythm(), NO_READER if is_reader else NO_PROXY, own.of)
        places = Places(self.readings_mode, settings.READER_NAMESPACE, readings.place)
        with self._lock:
            self._readings = readings
        self._spawn(readings.run, "readings")

        def note(changes: Sequence[StoredChange]) -> None:
            for node in _nodes_there(changes):
                readings.expect(node)
            own.note(changes)
            places.note(changes)
            if any(_is_ruling(change) for change in changes):
                readings.note_events()

        return note

    def _rhythm(self) -> Rhythm:
        return PLAYED if self._row.kind == LiveSource.Kind.TIMELINE else Rhythm(period=float(settings.RULES_EVERY_SECONDS))

    def _ask_version(self, connection: Connection) -> None:
        """Ask now and then until stopped, or until the credentials have been refused so often that the kubeconfig must be read anew."""
        refused = 0
        while refused < _REFUSED_TIMES:
            try:
                self._outbox.put(VersionRead(value=connection.version()))
                refused = 0
                self._outbox.wait(_VERSION_EVERY)
            except ClusterError as error:
                # The streams say what is wrong.
                refused = refused + 1 if isinstance(error, Denied) and error.status == 401 else 0
                self._outbox.wait(_VERSION_RETRY)

    def _say(self, state: LiveSource.State, text: str) -> None:
        journal.write(self.source, self._holder, (), state=state, state_text=text[:500], state_since=timezone.now())
        announce.send(self.source, announce.source_message(LiveSource.objects.get(id=self.source)))

    def _spawn(self, work: Callable[[], None], name: str) -> None:
        threading.Thread(target=work, name=f"{self.source[:20]} {name}", daemon=True).start()


def _nodes_there(changes: Sequence[StoredChange]) -> list[str]:
    """Return the names of the nodes that *changes* say there are."""
    named = [parse_path(change.path) for change in changes if change.after is not None]
    return [path.name for path in named if isinstance(path, ObjectPath) and path.kind == "Node"]


def _is_ruling(change: StoredChange) -> bool:
    parsed = parse_path(change.path)
    return isinstance(parsed, ObjectPath) and parsed.kind in _RULED_BY


def _quietly(part: Callable[[], None]) -> None:
    try:
        part()
    except Exception:
        logger.exception("something did not end as it should")

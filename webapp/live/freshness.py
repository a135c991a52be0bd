"""How fresh the picture of a cluster is, from how each of its streams is doing: connecting, live, stale, and a sentence for people.

Pure: times come in (monotonic seconds). A broken connection that is back within two seconds is nobody's business.
"""

from __future__ import annotations

from typing import Any

from tracer.values import dataclass
from webapp.models import LiveSource

GRACE_SECONDS = 2.0
_STEADY_SECONDS = 1.0
State = LiveSource.State


@dataclass(slots=True, kw_only=True)
class StreamState:
    """How one kind is doing. *failing_since* is kept until the stream has run for a second; *resumed_at*: when it began to."""

    key: str
    count: int = 0
    is_listed: bool = False
    resource_version: str = ""
    expected: int | None = None
    failing_since: float | None = None
    resumed_at: float | None = None
    error: str = ""
    is_refused: bool = False

    def resumed(self, now: float) -> None:
        """The watch runs."""
        self.resumed_at = now
        self.is_refused = False

    def heard(self) -> None:
        """The server has answered: whatever was wrong is over."""
        self.failing_since, self.error, self.is_refused = None, "", False

    def failed(self, text: str, now: float, *, for_good: bool) -> None:
        """The stream broke."""
        self.resumed_at, self.error, self.is_refused = None, text, for_good
        if self.failing_since is None:
            self.failing_since = now

    def is_failing(self, now: float) -> bool:
        """Return whether it has been broken for longer than anybody should care about."""
        if self.resumed_at is not None and now - self.resumed_at >= _STEADY_SECONDS:
            self.heard()
        return self.failing_since is not None and not self.is_refused and now - self.failing_since >= GRACE_SECONDS

    def to_dict(self) -> dict[str, Any]:
        """Return what the source's row says of it."""
        return {"resource_version": self.resource_version, "count": self.count, "listed": self.is_listed, "error": self.error}


class Freshness:
    """The states of all streams of one source, by key."""

    def __init__(self, keys: tuple[str, ...]) -> None:
        self._streams = {key: StreamState(key=key) for key in keys}

    def __getitem__(self, key: str) -> StreamState:
        return self._streams[key]

    def to_dict(self) -> dict[str, Any]:
        """Return what the source's row says of them."""
        return {key: stream.to_dict() for key, stream in self._streams.items()}

    def state(self, now: float) -> tuple[State, str]:
        """Return the source's state at *now*, with a sentence (empty when there is nothing to say)."""
        streams = tuple(self._streams.values())
        failing = [stream for stream in streams if stream.is_failing(now)]
        refused = [stream for stream in streams if stream.is_refused]
        waiting = [stream for stream in streams if not stream.is_listed and not stream.is_refused]
        if failing:
            return State.STALE, failing[0].error
        if len(refused) == len(streams):
            return State.STALE, refused[0].error
        if waiting:
            return State.CONNECTING, _progress(waiting)
        return State.LIVE, f"Not shown: {', '.join(stream.key for stream in refused)}. {refused[0].error}" if refused else ""


def _progress(waiting: list[StreamState]) -> str:
    stream = max(waiting, key=lambda s: s.count)
    if not stream.count:
        return f"Reading {stream.key}"
    return f"Reading {stream.key}: {stream.count:,}" + (f" of {stream.expected:,}" if stream.expected else "")

"""What the threads that talk to a cluster tell the one thread that writes."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any

from tracer.values import dataclass
from webapp.reading.changes import NodeRead

if TYPE_CHECKING:
    from webapp.cluster.kinds import FollowedKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A list of *kind* begins (again)."""

    kind: FollowedKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One page of a list: *remaining* objects follow (None: nobody said).

    Whoever lists waits for *taken* before asking for the next page.
    """

    kind: FollowedKind
    items: list[dict[str, object]] = field(repr=False)
    resource_version: str
    is_last: bool
    remaining: int | None
    seen_at: float
    taken: threading.Event = field(default_factory=threading.Event, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """One event of a watch."""

    kind: FollowedKind
    event: str
    object: Mapping[str, Any] = field(repr=False)
    resource_version: str
    seen_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """An object of *kind* cannot be kept, for it has no usable name; *name*: what it calls itself. Not *is_there*: it is gone."""

    kind: FollowedKind
    name: str
    is_there: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """The watch of *kind* runs (again)."""

    kind: FollowedKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """*kind* cannot be followed at the moment: *text* says why. *for_good*: not allowed or not served, which nobody waits for."""

    kind: FollowedKind
    text: str
    for_good: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRead:
    """What ``/version`` says."""

    value: Mapping[str, object]


Message = Begun | Listed | Happened | LeftOut | Resumed | Failed | NodeRead | VersionRead

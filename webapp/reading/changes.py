"""What a reading brings: the files of one node, and one part of a cluster before and after."""

from __future__ import annotations

from dataclasses import field

from tracer.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRead:
    """What came of reading one file of a node. *content* None: *error* says why; *is_lacking*: the container has no program for it.

    *read_at*: when the reading began (Unix seconds); *seconds* how long it took.
    """

    name: str
    content: bytes | None = field(repr=False)
    error: str = ""
    is_lacking: bool = False
    read_at: float
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRead:
    """One reading of a node. *pod* is where (``NS/NAME``), *error* what made it end before its end (*is_denied*: that is not allowed)."""

    node: str
    pod: str
    files: tuple[FileRead, ...]
    error: str = ""
    is_denied: bool = False
    read_at: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredChange:
    """One part of the cluster before and after, None where it is not there. *refs* name it as it was and as it is.

    *seen_at*: when the follower learnt it, or read the file (Unix seconds).
    """

    path: str
    refs: tuple[str, ...]
    before: bytes | None
    after: bytes | None
    seen_at: float

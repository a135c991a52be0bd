"""A snapshot being collected: its files in a folder, and of each when it was read or why it could not be."""

from __future__ import annotations

import json
import re
import threading
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from tracer.patterns import pattern
from tracer.snapshot.node_files import BY_NAME, OF_A_POD
from tracer.values import dataclass

_POD = pattern(r"[A-Za-z0-9][A-Za-z0-9.-]*_[A-Za-z0-9][A-Za-z0-9.-]*", re.ASCII)
_MISSING_BY_NATURE = ("The container has no program", "IPVS is not loaded", "kube-proxy does not answer", "Nothing was printed")

_OTHER_BUILD = pattern("JSON support not compiled|[Ii](?:nvalid|llegal) option|[Uu]n(?:recognized|known) option|Option .-j. is unknown")
"""What nft says that was built without JSON, and busybox's ip and old ones of ``-j``: the plain text is asked for then."""


class How(StrEnum):
    """How the reading of a file ended: ``LACKING`` means that there is nothing there to read it with, which is nobody's failure."""

    TAKEN = "taken"
    LACKING = "lacking"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file: when its reading began (Unix seconds), and how it ended. *error* is empty for what was taken."""

    path: str
    read_at: float
    how: How = How.TAKEN
    error: str = ""

    @property
    def stack(self) -> str | None:
        """Return whose file it is: a node's, or a pod's own (``NODE/pods/NAMESPACE_NAME``). None for the cluster's own."""
        parts = self.path.split("/")
        if parts[0] != "nodes" or len(parts) < 2:
            return None
        return "/".join(parts[1:4]) if len(parts) == 5 and parts[2] == "pods" else parts[1]

    @property
    def name(self) -> str:
        """Return what the file is called in its folder."""
        return self.path.rpartition("/")[2]

    def to_dict(self) -> dict[str, str]:
        """Return what snapshot.json says of the file."""
        said = {"read_at": _text(self.read_at)}
        return said | ({"error": self.error} if self.error else {})


class Collection:
    """Writes into *folder*; safe to use from several threads, each with its own files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._entries: dict[str, Entry] = {}
        self._lock = threading.Lock()

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Return what was tried, by path."""
        with self._lock:
            return tuple(self._entries[path] for path in sorted(self._entries))

    def take(self, path: str, content: bytes, read_at: float) -> None:
        """Write a file. :raises ValueError: *path* is none that a collected snapshot has (a node's name that leads elsewhere)."""
        target = self.folder / _checked(path)
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        target.write_bytes(content)
        self._note(Entry(path=path, read_at=read_at))

    def miss(self, path: str, error: str, read_at: float, *, is_lacking: bool = False) -> None:
        """Note that a file could not be read, and why."""
        is_lacking = is_lacking or error.startswith(_MISSING_BY_NATURE) or _OTHER_BUILD.search(error) is not None
        how = How.LACKING if is_lacking else How.FAILED
        self._note(Entry(path=path, read_at=read_at, how=how, error=" ".join(error.split())[:400]))

    def say(self, *, collector: str, collected_at: float, kubernetes: str | None) -> None:
        """Write snapshot.json."""
        about = {
            "collected_at": _text(collected_at),
            "collector": collector,
            "kubernetes": kubernetes,
            "redacted": False,
            "files": {entry.path: entry.to_dict() for entry in self.entries},
        }
        (self.folder / "snapshot.json").write_text(json.dumps(about, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")

    def _note(self, entry: Entry) -> None:
        with self._lock:
            self._entries[entry.path] = entry


def _checked(path: str) -> str:
    parts = path.split("/")
    is_node_file = len(parts) == 3 and parts[2] in BY_NAME
    is_pods = len(parts) == 5 and parts[2] == "pods" and parts[4] in OF_A_POD and _POD.fullmatch(parts[3]) is not None
    is_in_place = parts[0] == "nodes" and len(parts) > 1 and parts[1] not in ("", ".", "..")
    if not (is_in_place and (is_node_file or is_pods)) and not (len(parts) == 1 and path.endswith(".json")):
        raise ValueError(f"{path!r} is no file of a collected snapshot")
    return path


def _text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

"""Writing what a followed cluster does as a timeline (docs/snapshot-format.md), which plays like the cluster did.

Owns the folder's layout and where one step ends. Knows no clock: every time comes in, in Unix seconds. What collect leaves out of a
snapshot is left out here as well, so a recording holds the API server's objects, not its bytes.
A step ends when nothing has happened for a while, so that the rules that follow an event stand in the same step as the event.
What is written is never more than may be stored: a step that does not fit any more is dropped whole.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tracer.kube.kinds import BY_NAME
from tracer.patterns import pattern
from tracer.snapshot.layout import KINDS
from tracer.snapshot.node_files import READ
from tracer.snapshot.timeline import Step
from webapp.live.step_titles import Happened, title_of
from webapp.reading.stored_parts import kept

QUIET_SECONDS = 4.0
"""A step ends when neither an event nor a changed node file came for so long …"""
LONGEST_SECONDS = 30.0
"""… or when it has lasted so long."""
MOST_BYTES = 500_000_000
MOST_FILES = 20_000
_STEPS = "steps.json"
_FIRST_TITLE = "as it was"
_NODE_FILE = pattern(r"nodes/(?P<node>[^/]+(?:/pods/[^/]+)?)/(?P<name>[^/]+)")
_WATCHED = frozenset(file.name for file in READ if file.follows_events)
_PLURALS = {kind: plural for plural, kind in KINDS.items()}


class RecordingFull(Exception):
    """The recording has reached its limit; what was written so far is whole."""


class Recorder:
    """One recording under way, in *folder* (made, and must be empty). Not safe to use from several threads at once."""

    def __init__(self, folder: Path, *, most_bytes: int = MOST_BYTES, most_files: int = MOST_FILES) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if any(folder.iterdir()):
            raise ValueError(f"{folder} is not empty")
        self.folder = folder
        self.steps: list[Step] = []
        self.size = 0
        self._most_bytes, self._most_files = most_bytes, most_files
        self._lengths: dict[str, int] = {}
        self._watched_lengths: dict[str, int] = {}
        self._happened: list[Happened] = []
        self._files: dict[tuple[str, str], bytes] = {}
        self._began: float | None = None
        self._latest: float = 0.0
        self._version = "0"

    def begin(self, base: Mapping[str, bytes], resource_versions: Mapping[str, str], at: float) -> None:
        """Write the cluster as it is: *base* are the files of an ordinary snapshot, *resource_versions* those of the lists by kind."""
        items = {plural: _items(base.get(f"{plural}.json"), kind) for plural, kind in KINDS.items()}
        for path, content in base.items():
            # Whoever plays it must know that these were watched all along, also where they never change.
            if (node_file := _NODE_FILE.fullmatch(path)) and node_file["name"] in _WATCHED:
                self._files[node_file["node"], node_file["name"]] = content
            listed = items.get(path.removesuffix(".json"))
            self._write(f"base/{path}", content if listed is None else _listed(listed))
        for kind, version in resource_versions.items():
            plural = _PLURALS[kind]
            # NB: objects in the API server's own lists carry neither kind nor apiVersion.
            bare = [{key: part for key, part in item.items() if key not in ("kind", "apiVersion")} for item in items[plural] or ()]
            answer = {"kind": f"{kind}List", "apiVersion": _api_version(kind), "metadata": {"resourceVersion": version}, "items": bare}
            self._write(f"{plural}.list.json", _compact(answer))
            self._write(f"{plural}.watch.jsonl", b"")
            self._version = _later(self._version, version)
        self._end_step(_FIRST_TITLE, at)

    def event(self, event: str, kind: str, value: Mapping[str, Any], at: float) -> None:
        """Write what a watch said: *event* is ``ADDED``, ``MODIFIED`` or ``DELETED``, *value* the object with its resourceVersion.

        Of a deleted object the last known state will do: it gets a resourceVersion after all others, as the API server's own would have.
        :raises RecordingFull: nothing was written.
        """
        path, cleaned = f"{_PLURALS[kind]}.watch.jsonl", kept(value, kind)
        cleaned = {"kind": kind, "apiVersion": _api_version(kind)} | cleaned
        if event == "DELETED" and _later(self._version, version := str(cleaned["metadata"].get("resourceVersion") or "")) != version:
            cleaned["metadata"] = cleaned["metadata"] | {"resourceVersion": _next(self._version)}
        self._append(path, _compact({"type": event, "object": cleaned}) + b"\n")
        metadata = cleaned["metadata"]
        self._version = _later(self._version, str(metadata.get("resourceVersion") or ""))
        self._happened.append(Happened(event=event, kind=kind, namespace=metadata.get("namespace") or "", name=metadata.get("name") or ""))
        self._touch(at)

    def file(self, node: str, name: str, content: bytes, at: float) -> None:
        """Take a node's file that was read and differs from what it was; it is written when the step ends."""
        self._files[node, name] = content
        self._touch(at)

    def tick(self, now: float) -> Step | None:
        """End the step if it is time; return it. :raises RecordingFull: its files do not fit any more; it was dropped."""
        if self._began is None or (now - self._latest < QUIET_SECONDS and now - self._began < LONGEST_SECONDS):
            return None
        return self._end_step(title_of(self._happened, {node for node, _ in self._files}), self._latest)

    def finish(self, now: float) -> Path:
        """End the last step, however short, or drop it if it does not fit; return the folder, ready to be stored."""
        if self._began is not None:
            with contextlib.suppress(RecordingFull):
                self._end_step(title_of(self._happened, {node for node, _ in self._files}), max(self._latest, now))
        return self.folder

    # -- steps and files ------------------------------------------------------------------------------------------------------

    def _touch(self, at: float) -> None:
        self._began = at if self._began is None else self._began
        self._latest = max(self._latest, at)

    def _end_step(self, title: str, at: float) -> Step:
        try:
            return self._ended_step(title, at)
        except (RecordingFull, OSError):
            self._drop_step()
            raise

    def _ended_step(self, title: str, at: float) -> Step:
        number = len(self.steps)
        step = Step(number=number, title=title, at=max(at, self.steps[-1].at) if self.steps else at, resource_version=self._version)
        for (node, name), content in sorted(self._files.items()):
            self._write(f"step-{number:02}/{node}.{name}", content)
        self._write(_STEPS, json.dumps([one.to_dict() for one in (*self.steps, step)], indent=1).encode())
        self.steps.append(step)
        self._happened, self._files, self._began = [], {}, None
        self._watched_lengths = {path: length for path, length in self._lengths.items() if path.endswith(".watch.jsonl")}
        return step

    def _drop_step(self) -> None:
        """Undo the step under way: its node files and its events. Before the first step has ended there is nothing to keep."""
        if self.steps:
            folder = f"step-{len(self.steps):02}"
            shutil.rmtree(self.folder / folder, ignore_errors=True)
            self._lengths = {path: length for path, length in self._lengths.items() if not path.startswith(f"{folder}/")}
            for path in [path for path in self._lengths if path.endswith(".watch.jsonl")]:
                self._cut(path, self._watched_lengths.get(path, 0))
            self.size = sum(self._lengths.values())
            self._version = self.steps[-1].resource_version
        self._happened, self._files, self._began = [], {}, None

    def _write(self, path: str, content: bytes) -> None:
        self._spend(path, len(content))
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _replace(target, content)

    def _append(self, path: str, line: bytes) -> None:
        before = self._lengths.get(path, 0)
        self._spend(path, before + len(line))
        try:
            with (self.folder / path).open("ab") as file:
                file.write(line)
        except OSError:
            # Of a line that only half fits the disk nothing may stay.
            self._cut(path, before)
            raise

    def _cut(self, path: str, length: int) -> None:
        self._lengths[path] = length
        if (self.folder / path).exists():
            os.truncate(self.folder / path, length)

    def _spend(self, path: str, length: int) -> None:
        """Note that *path* has *length* bytes from now on. :raises RecordingFull: that would be too much; nothing was noted."""
        size = self.size + length - self._lengths.get(path, 0)
        if size > self._most_bytes:
            raise RecordingFull(f"The recording is full: it has reached its limit of {self._most_bytes / 1e6:,.0f} MB.")
        if path not in self._lengths and len(self._lengths) >= self._most_files:
            raise RecordingFull(f"The recording is full: it has reached its limit of {self._most_files:,} files.")
        self._lengths[path], self.size = length, size


def _items(raw: bytes | None, kind: str) -> list[dict[str, Any]] | None:
    """Return the objects of a snapshot's file of one *kind* without what is left out; None: there is no such file."""
    if raw is None:
        return None
    value = json.loads(raw)
    said = {"apiVersion": _api_version(kind), "kind": kind}
    return [said | kept(item, kind) for item in value.get("items", [value])]


def _listed(items: list[dict[str, Any]]) -> bytes:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items}, ensure_ascii=False, indent=1).encode()


def _api_version(kind: str) -> str:
    return BY_NAME[kind].api_version if kind in BY_NAME else "v1"


def _later(one: str, other: str) -> str:
    """Return the later of two resource versions; *other* where they cannot be compared.

    Source: KEP-5504, resourceVersions of one cluster are whole numbers and can be compared.
    """
    if one.isdecimal() and other.isdecimal():
        return max(one, other, key=int)
    return other or one


def _next(version: str) -> str:
    return str(int(version) + 1) if version.isdecimal() else version


def _compact(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _replace(path: Path, content: bytes) -> None:
    aside = path.with_name(f"{path.name}.new")
    aside.write_bytes(content)
    aside.replace(path)

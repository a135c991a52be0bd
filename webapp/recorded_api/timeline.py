"""A recorded timeline as data: the objects at its start, the events after it, its steps, and each node's files after every step.

An ordinary snapshot is a timeline of one step in which nothing happens.
NB: a recording says in which order events came and between which steps, not when exactly. They are placed shortly after the step before
(a change was made right after the last one had been recorded), close together, in the recorded order.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import field

from tracer.errors import ParseError, SnapshotError
from tracer.kube.kinds import Kind
from tracer.snapshot import node_files
from tracer.snapshot.snapshot import Snapshot
from tracer.snapshot.timeline import STEPS, Step, file_after_step, is_timeline, read_steps
from tracer.values import dataclass
from webapp import zstd
from webapp.cluster.trimmed import is_named
from webapp.recorded_api.fields import key_of
from webapp.recorded_api.resources import RESOURCES

_LEAD = 0.3
_APART = 0.05
_MOST_OF_THE_WINDOW = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedEvent:
    """One event: *resource_version* orders all of them, *at* is its position in seconds; *raw* the API server's own line."""

    plural: str
    type: str
    resource_version: int
    at: float
    object: Mapping[str, object] = field(repr=False)
    raw: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineStep:
    """One step: from *starts* on things change, at *position* (both in seconds) all has settled, rules included."""

    number: int
    title: str
    starts: float
    position: float
    last_event: float
    resource_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """A recording to be played. *objects*: plural → objects at its start; *node_files*: node → name → content at the start.

    Among the nodes are pods' own stacks, as NODE/pods/NAMESPACE_NAME. *files_after*: (node, name) → (number of a step, content after
    it), in order. Contents are compressed: there are as many dumps of rules as nodes times steps, and they are much alike.
    """

    objects: Mapping[str, tuple[Mapping[str, object], ...]] = field(repr=False)
    resource_version: int
    events: tuple[RecordedEvent, ...] = field(repr=False, default=())
    steps: tuple[TimelineStep, ...]
    node_files: Mapping[str, Mapping[str, bytes]] = field(repr=False, default_factory=dict)
    files_after: Mapping[tuple[str, str], tuple[tuple[int, bytes], ...]] = field(repr=False, default_factory=dict)
    version: Mapping[str, object] = field(repr=False, default_factory=dict)

    @classmethod
    def open(cls, files: Mapping[str, bytes]) -> Timeline:
        """Return the timeline that *files* (path → content, top folder left out) are, or the one step that a snapshot is.

        :raises ParseError: a file cannot be read. :raises SnapshotError: its parts contradict each other.
        """
        snapshot = Snapshot.from_files(files)
        objects = _first_objects(snapshot)
        listed = _listed(files) if is_timeline(set(files)) else {}
        objects.update({plural: items for plural, (items, _) in listed.items()})
        versions = [version for _, version in listed.values()] or [version_of(o) for items in objects.values() for o in items]
        start = max(versions, default=1)
        lines = sorted(_lines(files, start), key=lambda line: line[0])
        recorded = read_steps(files[STEPS].decode(errors="replace"), STEPS) if STEPS in files else ()
        steps, times = _placed(recorded, [version for version, *_ in lines])
        return cls(
            objects=objects,
            resource_version=start,
            events=tuple(
                RecordedEvent(plural=plural, type=kind, resource_version=version, at=at, object=value, raw=raw)
                for (version, plural, kind, value, raw), at in zip(lines, times, strict=True)
            ),
            steps=steps,
            node_files={
                stack: {_printed_as(name, path): zstd.packed(files[path], level=1) for name, path in named.items()}
                for stack, named in (*snapshot.node_files.items(), *snapshot.pod_stacks.items())
            },
            files_after=_files_after(files),
            version=_version(snapshot),
        )

    @property
    def length(self) -> float:
        """Return the position of the last step in seconds, 0 for an ordinary snapshot."""
        return self.steps[-1].position

    def step_at(self, position: float) -> TimelineStep:
        """Return the step that is under way, or has settled, at *position* seconds."""
        return self.steps[max(0, bisect_right([s.starts for s in self.steps], position) - 1)]

    @property
    def stacks(self) -> tuple[str, ...]:
        """Return what the pods' own stacks are called that have files at some time: NODE/pods/NAMESPACE_NAME."""
        return tuple(sorted(name for name in {*self.node_files, *(name for name, _ in self.files_after)} if "/pods/" in name))

    def file_names(self, node: str) -> tuple[str, ...]:
        """Return the documented names of all files that *node* has at some time."""
        later = (name for where, name in self.files_after if where == node)
        return tuple(sorted({*self.node_files.get(node, {}), *later}))

    def node_file(self, node: str, name: str, position: float, *, lag: float) -> bytes | None:
        """Return a node's file at *position*: rules follow the last event of their step by *lag* seconds. None: there is none.

        A file that no step has is what it was at the start. NB: connections are not: those of the start are over when something happened.
        """
        settled = [s.number for s in self.steps if min(s.last_event + lag, s.position) <= position]
        content = self.node_files.get(node, {}).get(name)
        recorded = self.files_after.get((node, name), ())
        if not recorded and name == node_files.CONNTRACK.name and any(event.at <= position for event in self.events[:1]):
            return None
        for number, after in recorded:
            if settled and number <= settled[-1]:
                content = after
        return None if content is None else zstd.unpacked(content)


def version_of(value: Mapping[str, object]) -> int:
    """Return an object's resourceVersion, 1 when it says none (some bundles leave it out).

    :raises SnapshotError: it is no number. (Clients must not care; this server, like the real one, orders by it.)
    """
    metadata = value.get("metadata")
    text = metadata.get("resourceVersion") if isinstance(metadata, Mapping) else None
    if text is None or text == "":
        return 1
    if not isinstance(text, str) or not text.isascii() or not text.isdigit() or len(text) > 18:
        raise SnapshotError(f"a resourceVersion is {text!r}, which is no number")
    return int(text)


def _first_objects(snapshot: Snapshot) -> dict[str, tuple[Mapping[str, object], ...]]:
    return {resource.plural: tuple(_of_kind(snapshot, resource)) for resource in RESOURCES}


def _of_kind(snapshot: Snapshot, resource: Kind) -> Iterator[Mapping[str, object]]:
    """Yield the snapshot's objects of one kind; where several files have an object of one name, the first counts."""
    seen: set[tuple[str, str]] = set()
    for raw, _ in snapshot.objects.others(resource.name):
        key = key_of(raw.value)
        if is_named(raw.value) and key not in seen:
            seen.add(key)
            yield {"apiVersion": resource.api_version, "kind": resource.name, **raw.value}


def _listed(files: Mapping[str, bytes]) -> dict[str, tuple[tuple[Mapping[str, object], ...], int]]:
    """Return plural → the items and the resourceVersion of the list that the API server answered."""
    found: dict[str, tuple[tuple[Mapping[str, object], ...], int]] = {}
    for resource in RESOURCES:
        path = f"{resource.plural}.list.json"
        if path in files:
            value = _object(files[path], path)
            items = value.get("items") or []
            if not isinstance(items, list) or not all(is_named(item) for item in items):
                raise SnapshotError(f"{path} is no list of objects with usable names")
            named = tuple({"apiVersion": resource.api_version, "kind": resource.name, **item} for item in items)
            found[resource.plural] = (named, version_of(value))
    return found


def _lines(files: Mapping[str, bytes], start: int) -> Iterator[tuple[int, str, str, Mapping[str, object], bytes]]:
    """Yield (resourceVersion, plural, type, object, line) of the recorded events after *start*, bookmarks left out."""
    for resource in RESOURCES:
        path = f"{resource.plural}.watch.jsonl"
        for line in files.get(path, b"").splitlines():
            if not line.strip():
                continue
            event = _object(line, path)
            value, kind = event.get("object"), event.get("type")
            if not isinstance(value, dict) or kind not in ("ADDED", "MODIFIED", "DELETED"):
                if kind in ("BOOKMARK", "ERROR"):
                    continue
                raise SnapshotError(f"{path} holds a line that is no event")
            if not is_named(value):
                raise SnapshotError(f"{path} holds an event about an object without a usable name")
            version = version_of(value)
            if version > start:
                yield version, resource.plural, str(kind), value, line


def _object(data: bytes, path: str) -> dict[str, object]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise SnapshotError(f"{path} does not hold the JSON of an API server")
    return value


def _placed(recorded: tuple[Step, ...], versions: list[int]) -> tuple[tuple[TimelineStep, ...], list[float]]:
    """Return the steps, and the position of each event (they are in order of resourceVersion)."""
    if not recorded:
        recorded = (Step(number=0, title="as it was", at=0.0, resource_version="0"),)
    begin = recorded[0].at
    first = recorded[0]
    steps = [TimelineStep(number=0, title=first.title, starts=0, position=0, last_event=0, resource_version=_number(first))]
    times: list[float] = [0.0 for version in versions if version <= _number(first)]
    for step in recorded[1:]:
        until = _number(step)
        count = sum(version <= until for version in versions[len(times) :])
        before, position = steps[-1].position, max(step.at - begin, steps[-1].position)
        placed = _spread(before, position, count)
        starts = placed[0] if placed else before + min(_LEAD, (position - before) / 10)
        last = placed[-1] if placed else starts
        steps.append(
            TimelineStep(number=step.number, title=step.title, starts=starts, position=position, last_event=last, resource_version=until)
        )
        times += placed
    end = steps[-1].position
    times += [end] * (len(versions) - len(times))
    return tuple(steps), times


def _number(step: Step) -> int:
    return version_of({"metadata": {"resourceVersion": step.resource_version}})


def _spread(before: float, position: float, count: int) -> list[float]:
    window = position - before
    lead = min(_LEAD, window / 10)
    apart = min(_APART, (window * _MOST_OF_THE_WINDOW) / count) if count else 0
    return [before + lead + apart * i for i in range(count)]


def _printed_as(name: str, path: str) -> str:
    """Return the file whose command printed what is at *path*: a file that stands in for *name* is not what that one's command prints."""
    own = path.rpartition("/")[2]
    return own if own in node_files.BY_NAME else name


def _files_after(files: Mapping[str, bytes]) -> dict[tuple[str, str], tuple[tuple[int, bytes], ...]]:
    found: dict[tuple[str, str], list[tuple[int, bytes]]] = {}
    for path in files:
        if (after := file_after_step(path, node_files.BY_NAME)) is not None:
            step, node, name = after
            found.setdefault((node, name), []).append((step, zstd.packed(files[path], level=1)))
    return {key: tuple(sorted(steps, key=lambda pair: pair[0])) for key, steps in found.items()}


def _version(snapshot: Snapshot) -> Mapping[str, object]:
    for path in snapshot.layout.versions:
        try:
            value = json.loads(snapshot.text(path))
        except (ValueError, ParseError):
            continue
        if isinstance(value, dict):
            # kubectl version -o json nests what /version says itself.
            server = value.get("serverVersion")
            return server if isinstance(server, dict) else value
    return {}

"""The state of the API server that replays a recording: objects, resourceVersions, and the history that watches are served from.

Pure state under a lock, no network and no clock: ``advance_to`` moves it. Moving backwards is what restoring a backup of etcd is: all that
was ever answered is void (410 Gone), a list shows the old state, and resourceVersions go on from far above the old ones, so that they never
name two states.
"""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import field

from tracer.kube.kinds import Kind
from tracer.values import dataclass
from webapp.recorded_api import programs
from webapp.recorded_api.fields import key_of, mapping, mappings
from webapp.recorded_api.node_pods import DEBUGGER, KUBE_PROXY, NODE_READER, NodePods
from webapp.recorded_api.programs import Printed
from webapp.recorded_api.resources import BY_PLURAL, is_optional
from webapp.recorded_api.timeline import Timeline, TimelineStep, version_of

RULES_LAG = 0.8
"""Seconds by which a node's rules follow the objects: kube-proxy's own delay, long enough to be seen."""
_EPOCH = 1_000_000_000
Key = tuple[str, str]
State = dict[str, dict[Key, Mapping[str, object]]]


class TooOldError(Exception):
    """The resourceVersion is older than the history, or from before the playback was moved back: 410."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEvent:
    """One event as a watch sends it; *line* is its JSON, without an end."""

    plural: str
    type: str
    resource_version: int
    key: Key
    object: Mapping[str, object] = field(repr=False)
    line: bytes = field(repr=False)


class RecordedApi:
    """An API server's state at a position of a timeline. Safe to use from several threads. *readers*: the nodes have our reader's pods.

    *takes_pods*: pods for debugging may be made and removed; they run at once. *read_in*: the containers that have the node's programs,
    in the pods of the recording; without, kube-proxy's, whose pods are there even where the recording has none.
    """

    def __init__(
        self,
        timeline: Timeline,
        *,
        rules_lag: float = RULES_LAG,
        readers: bool = False,
        takes_pods: bool = False,
        read_in: Collection[str] | None = None,
    ) -> None:
        self.timeline = timeline
        self.takes_pods = takes_pods
        self._read_in = read_in
        self._rules_lag = rules_lag
        self._lock = threading.RLock()
        self._listeners: set[Callable[[], None]] = set()
        self._start = _keyed(timeline, (*((KUBE_PROXY,) if read_in is None else ()), *((NODE_READER,) if readers else ())))
        self._epoch = 0
        self._position = 0.0
        self._next = 0
        self._changes = 0
        self._first: State = self._start
        self._state: State = _copied(self._start)
        self._history: list[HistoryEvent] = []
        self._oldest = self._current = timeline.resource_version
        self._advance(0.0)

    # -- where it stands ----------------------------------------------------------------------------------------------------------

    @property
    def position(self) -> float:
        """Return how far the timeline has been played, in seconds."""
        return self._position

    @property
    def step(self) -> TimelineStep:
        """Return the step that is under way or has settled."""
        return self.timeline.step_at(self._position)

    @property
    def epoch(self) -> int:
        """Return how often the playback has been moved back."""
        return self._epoch

    @property
    def resource_version(self) -> int:
        """Return the newest resourceVersion."""
        return self._current

    @property
    def oldest(self) -> int:
        """Return the oldest resourceVersion that a watch or a continued list may name."""
        return self._oldest

    def advance_to(self, position: float) -> None:
        """Play up to *position* seconds, or go back to it; whoever listens is told if anything changed. Never goes past the end."""
        position = min(max(0.0, position), self.timeline.length)
        with self._lock:
            before = (self._epoch, len(self._history))
            is_back = position < self._position
            if is_back:
                self._rewind()
            self._advance(position)
            if is_back:
                # What led here is no news to anybody; what happens from now on is.
                self._history = []
                self.compact()
            changed = before != (self._epoch, len(self._history))
        if changed:
            self._tell()

    def change(self, type_: str, plural: str, value: Mapping[str, object]) -> int:
        """Let something happen that was not recorded (*type_* ADDED, MODIFIED or DELETED) and return its resourceVersion.

        For tests and measurements; moving the playback back forgets it.
        :raises ValueError: an object is added twice, or what does not exist is changed or deleted.
        """
        with self._lock:
            exists = key_of(value) in self._state[plural]
            if exists is (type_ == "ADDED"):
                raise ValueError(f"{plural} {key_of(value)} {'exists' if exists else 'does not exist'}")
            self._changes += 1
            version = self._current + 1
            self._happen(plural, type_, version, _with_version(BY_PLURAL[plural].api_version, BY_PLURAL[plural].name, value, version), None)
        self._tell()
        return version

    def compact(self) -> None:
        """Forget the history: what is older than now is Gone. Running watches go on, as they do on a real server."""
        with self._lock:
            self._first = _copied(self._state)
            self._oldest = self._current

    @property
    def served(self) -> tuple[Kind, ...]:
        """Return the resources that the cluster has: those that it may lack only where there is one of them."""
        with self._lock:
            return tuple(resource for plural, resource in BY_PLURAL.items() if self._state[plural] or not is_optional(resource))

    # -- what is asked ------------------------------------------------------------------------------------------------------------

    def objects(self, plural: str, version: int | None = None) -> tuple[Mapping[str, object], ...]:
        """Return the objects of one resource in order of namespace and name: now, or as they were at *version*.

        :raises TooOldError: the history does not reach back to *version*.
        """
        with self._lock:
            if version is None or version == self._current:
                found = self._state[plural]
            else:
                self.check_version(version)
                found = dict(self._first[plural])
                for event in self._history:
                    if event.plural == plural and self._oldest < event.resource_version <= version:
                        _apply(found, event)
            return tuple(found[key] for key in sorted(found))

    def now(self, plural: str) -> tuple[int, tuple[Mapping[str, object], ...]]:
        """Return the newest resourceVersion and one resource's objects at it."""
        with self._lock:
            return self._current, self.objects(plural)

    def get(self, plural: str, namespace: str, name: str) -> Mapping[str, object] | None:
        """Return one object as it is now, or None."""
        with self._lock:
            return self._state[plural].get((namespace, name))

    def check_version(self, version: int) -> None:
        """Do nothing if a watch may begin at *version*. :raises TooOldError: it may not."""
        if not self._oldest <= version <= self._current:
            raise TooOldError(f"too old resource version: {version} ({self._oldest})")

    def events(self, begin: int) -> tuple[HistoryEvent, ...]:
        """Return the history from index *begin* on."""
        with self._lock:
            return tuple(self._history[begin:])

    def since(self, epoch: int, begin: int) -> tuple[int, tuple[HistoryEvent, ...]] | None:
        """Return the newest resourceVersion, and the history from index *begin* on; None if the playback was moved back after *epoch*.

        NB: one step under the lock. A bookmark from after such a move would let a client go on as if nothing had happened.
        """
        with self._lock:
            return (self._current, tuple(self._history[begin:])) if epoch == self._epoch else None

    def index_after(self, version: int) -> int:
        """Return where in the history the events after *version* begin. :raises TooOldError: they are no longer all there."""
        with self._lock:
            self.check_version(version)
            return next((i for i, e in enumerate(self._history) if e.resource_version > version), len(self._history))

    def run_in(self, pod: Mapping[str, object], container: str, argv: tuple[str, ...]) -> Printed | None:
        """Return what *argv* prints in a *container* of *pod* now. None: it has no such program.

        No containers but kube-proxy's and our reader's have any, and those of pods whose own stack was recorded.
        """
        node = str(mapping(pod, "spec").get("nodeName") or "")
        if (own := self._stack_of(pod)) in self.timeline.stacks:
            return programs.run_in_own_container(argv, _may_print_rules(pod, container), lambda name: self._node_file(own, name))
        if programs.is_of_pods(argv) and (NODE_READER.is_one(pod) or KUBE_PROXY.is_one(pod)):
            # NB: of a recording that is played nobody installs our reader: kube-proxy's pod stands in for it.
            return programs.run_reader_of_pods(argv, lambda uid: self._files_of_pod(node, uid))
        if container in self._read_in if self._read_in is not None else KUBE_PROXY.is_one(pod) and container == KUBE_PROXY.container:
            return self.run(node, argv)
        if NODE_READER.is_one(pod) and container == NODE_READER.container:
            return programs.run_reader(argv, self.timeline.file_names(node), lambda name: self._node_file(node, name))
        if self.takes_pods and container == DEBUGGER:
            plain = functools.partial(programs.run_on_host, run_plain=lambda asked: self.run(node, asked))
            return programs.run_in_network(argv, lambda uid: self._files_of_pod(node, uid), plain)
        return None

    def _stack_of(self, pod: Mapping[str, object]) -> str:
        return f"{mapping(pod, 'spec').get('nodeName') or ''}/pods/{'_'.join(key_of(pod))}"

    def _files_of_pod(self, node: str, uid: str) -> Callable[[str], bytes | None] | None:
        """Return what reads the recorded files of the own stack of the pod *uid* on *node*; None: it has none."""
        for pod in self.objects("pods"):
            stack = self._stack_of(pod)
            if mapping(pod, "metadata").get("uid") == uid and stack.startswith(f"{node}/") and stack in self.timeline.stacks:
                return functools.partial(self._node_file, stack)
        return None

    def run(self, node: str, argv: tuple[str, ...]) -> Printed | None:
        """Return what *argv* prints in kube-proxy's container on *node* now; None: the container has no such program."""
        return programs.run(argv, lambda name: self._node_file(node, name))

    def _node_file(self, node: str, name: str) -> bytes | None:
        return self.timeline.node_file(node, name, self._position, lag=self._rules_lag)

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call *listener*, in whichever thread moves the playback, after every change; return what ends that."""
        with self._lock:
            self._listeners.add(listener)
        return lambda: self._listeners.discard(listener)

    # -- moving -------------------------------------------------------------------------------------------------------------------

    def _rewind(self) -> None:
        self._epoch += 1
        self._history = []
        self._next = 0
        self._state = {plural: {k: self._bumped(o) for k, o in found.items()} for plural, found in self._start.items()}
        self._current = self.timeline.resource_version + self._epoch * _EPOCH
        self._position = 0.0

    def _advance(self, position: float) -> None:
        while self._next < len(self.timeline.events) and self.timeline.events[self._next].at <= position:
            event = self.timeline.events[self._next]
            self._next += 1
            if self._is_possible(event.plural, event.type, event.object):
                untouched = not self._epoch and not self._changes
                version = event.resource_version + self._epoch * _EPOCH + self._changes
                value = event.object if untouched else _with_version("", "", event.object, version)
                self._happen(event.plural, event.type, version, value, event.raw if untouched else None)
        self._position = position

    def _is_possible(self, plural: str, type_: str, value: Mapping[str, object]) -> bool:
        """A recording may overlap with the list it begins with; and an unrecorded change may have taken an object away."""
        return type_ != "DELETED" or key_of(value) in self._state[plural]

    def _happen(self, plural: str, type_: str, version: int, value: Mapping[str, object], line: bytes | None) -> None:
        if line is None:
            line = json.dumps({"type": type_, "object": value}, ensure_ascii=False, separators=(",", ":")).encode()
        event = HistoryEvent(plural=plural, type=type_, resource_version=version, key=key_of(value), object=value, line=line)
        self._history.append(event)
        self._current = version
        _apply(self._state[plural], event)

    def _bumped(self, value: Mapping[str, object]) -> Mapping[str, object]:
        return _with_version("", "", value, version_of(value) + self._epoch * _EPOCH)

    def _tell(self) -> None:
        with self._lock:
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener()


def _may_print_rules(pod: Mapping[str, object], container: str) -> bool:
    found = next((one for one in mappings(pod, "spec", "containers") if one.get("name") == container), {})
    added = mapping(found, "securityContext", "capabilities").get("add")
    return isinstance(added, list) and "NET_ADMIN" in added


def _apply(found: dict[Key, Mapping[str, object]], event: HistoryEvent) -> None:
    if event.type == "DELETED":
        found.pop(event.key, None)
    else:
        found[event.key] = event.object


def _keyed(timeline: Timeline, added_pods: tuple[NodePods, ...]) -> State:
    state: State = {plural: {key_of(o): o for o in timeline.objects.get(plural, ())} for plural in BY_PLURAL}
    for pods in added_pods:
        added = pods.missing(state["pods"].values(), state["nodes"].values())
        state["pods"].update({key_of(pod): pod for pod in tuple(added)})
    return state


def _copied(state: State) -> State:
    return {plural: dict(found) for plural, found in state.items()}


def _with_version(api_version: str, kind: str, value: Mapping[str, object], version: int) -> Mapping[str, object]:
    said = {"apiVersion": api_version, "kind": kind} if kind else {}
    return {**said, **value, "metadata": {**mapping(value, "metadata"), "resourceVersion": str(version)}}

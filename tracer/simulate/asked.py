"""What a walk asks of its cluster, noted while it is asked: the questions whose answers decide where a packet goes.

Before a cluster and what hangs on it (stacks, routing, objects, connections) stand stand-ins that answer as they do. What a chain of
rules was asked is noted by the packet that it saw. ``tracer.simulate.classes`` asks the same of another endpoint. Whoever walks must come
to everything that tells endpoints apart through these stand-ins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import GeneratorType, MethodType
from typing import Any, TypeVar, cast

from tracer.conntrack_list import RecordedConnections
from tracer.ipvs.model import VirtualServers
from tracer.kube.objects import Objects
from tracer.netfilter.kept_runs import KeptRuns
from tracer.netfilter.view import View
from tracer.routing import Routing
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster
from tracer.topology.stack import NodeStack
from tracer.values import dataclass

T = TypeVar("T")
_HELD = (Cluster, NodeStack, Routing, Objects, Snapshot, VirtualServers, RecordedConnections)
"""What is not a value: its parts are asked for one by one."""


@dataclass(frozen=True, slots=True)
class Called:
    """A question and its answer."""

    method: MethodType
    args: tuple[Any, ...]
    named: Mapping[str, Any]
    answer: object


@dataclass(frozen=True, slots=True)
class Looked:
    """A value of *held* that was looked at as a whole: what was done with it is not known."""

    held: object
    value: object


@dataclass(frozen=True, slots=True)
class Ran:
    """A base chain, and the packet that came to it."""

    runs: KeptRuns
    view: View


@dataclass(frozen=True, slots=True)
class WorkedOut:
    """What *work* made of a value of the walk's own, asking nobody: a hash of an address, say."""

    work: Callable[[Any], object]
    given: object
    answer: object


Asked = Called | Looked | Ran | WorkedOut


class Notes:
    """The questions of one walk, noted while somebody is *listening*."""

    def __init__(self) -> None:
        self.listening = False
        self._found: list[Asked] = []
        self._stand_ins: dict[int, _StandIn] = {}

    def listen(self) -> None:
        """Begin with an empty list."""
        self.listening, self._found = True, []

    def heard(self) -> list[Asked]:
        """Stop, and return what was asked. It is let go here: stand-ins may be kept longer than a question, with what chains were asked."""
        self.listening, found, self._found = False, self._found, []
        return found

    def note(self, asked: Asked) -> None:
        """Note a question."""
        if self.listening:
            self._found.append(asked)

    def ran(self, runs: KeptRuns, view: View) -> None:
        """Note that a packet came to a chain."""
        if self.listening:
            self._found.append(Ran(runs, view))

    def worked_out(self, work: Callable[[T], object], given: T) -> None:
        """Note that the walk goes on with what *work* makes of *given*."""
        if self.listening:
            self._found.append(WorkedOut(work, given, work(given)))

    def stand_in(self, inner: T) -> T:
        """Return what answers as *inner* does, and notes what it is asked."""
        found = self._stand_ins.get(id(inner))
        if found is None:
            found = self._stand_ins[id(inner)] = _StandIn(inner, self)  # it holds the inner one: its id stays its own
        return cast("T", found)


class _StandIn:
    """Answers as *inner* does. What it finds at an attribute is a fact of the snapshot, so it is kept."""

    def __init__(self, inner: object, notes: Notes) -> None:
        self.__dict__["_inner"], self.__dict__["_notes"] = inner, notes

    def __getattr__(self, name: str) -> Any:
        inner, notes = self.__dict__["_inner"], self.__dict__["_notes"]
        value = getattr(inner, name)
        if isinstance(value, _HELD):
            value = notes.stand_in(value)
        elif isinstance(value, MethodType):
            value = _asking(value, notes)
        elif not _is_plain(value):
            notes.note(Looked(inner, value))
            return value
        self.__dict__[name] = value
        return value

    def __bool__(self) -> bool:
        return bool(self.__dict__["_inner"])

    def __iter__(self) -> Iterator[Any]:
        found = tuple(self.__dict__["_inner"])
        self.__dict__["_notes"].note(Looked(self.__dict__["_inner"], found))
        return iter(found)

    def __len__(self) -> int:
        return len(self.__dict__["_inner"])


def is_stand_in(value: object) -> bool:
    """Return whether *value* stands for a part of the cluster: the same for whoever asks."""
    return isinstance(value, _StandIn)


def _asking(method: MethodType, notes: Notes) -> Callable[..., Any]:
    def asked(*args: Any, **named: Any) -> Any:
        answer = method(*args, **named)
        if isinstance(answer, GeneratorType):
            answer = tuple(answer)
            if notes.listening:
                notes.note(Called(method, args, named, answer))
            return iter(answer)
        if isinstance(answer, _HELD):
            answer = notes.stand_in(answer)
        if notes.listening:
            notes.note(Called(method, args, named, answer))
        return answer

    return asked


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, (str, int, bytes)) or callable(value)

"""API objects that change by event: the look-ups of ``Objects``, answered from indexes that every change updates in place.

Strategy: an object is read once, when it comes; each kind has a shelf with its objects and, for every value a look-up may ask for
(address, node port, Service name, …), which objects have it. Nothing is rebuilt: one change costs what the object itself costs.
Objects come in the API server's own order, by namespace and name, whatever order they arrived in.
What cannot be read is kept as text, left out of every answer, and its fault is among ``faults``.
"""

from __future__ import annotations

import json
from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property

from tracer.errors import Fault, ParseError
from tracer.kube.fields import Origin
from tracer.kube.kinds import BY_NAME, Model
from tracer.kube.object_file import Aspect, RawObject
from tracer.kube.objects import Look, M, Objects, read_object
from tracer.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """One object: its compact JSON, and what it says (nothing, with *faults*, when it cannot be read)."""

    text: bytes
    models: tuple[Model, ...] = ()
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Replaced:
    """What was kept before: its JSON, and whether the engine reads the very same in what came instead (a heartbeat, say)."""

    text: bytes | None
    says_the_same: bool


class _Shelf:
    """All objects of one kind, by ``namespace/name``, in that order."""

    def __init__(self, kind: str) -> None:
        self._keys = BY_NAME[kind].keys if kind in BY_NAME else None
        self.kept: dict[str, _Kept] = {}
        self._order: list[str] = []
        self._having: dict[tuple[Aspect, str], set[str]] = {}

    def put(self, name: str, kept: _Kept | None) -> _Kept | None:
        """Keep *kept* under *name*, or nothing. Return what was there."""
        before = self.kept.pop(name, None)
        for key in self._keys_of(before):
            self._forget(key, name)
        for key in self._keys_of(kept):
            self._having.setdefault(key, set()).add(name)
        if kept is not None:
            self.kept[name] = kept
        if (before is None) is not (kept is None):
            self._reorder(name, kept is not None)
        return before

    def _keys_of(self, kept: _Kept | None) -> set[tuple[Aspect, str]]:
        """Return every value that a look-up may find the object by."""
        models = kept.models if kept is not None and self._keys is not None else ()
        return {key for model in models for key in (self._keys(model) if self._keys is not None else ())}

    def _forget(self, key: tuple[Aspect, str], name: str) -> None:
        names = self._having.get(key)
        if names is not None:
            names.discard(name)
            if not names:
                del self._having[key]

    def _reorder(self, name: str, here: bool) -> None:
        if here:
            insort(self._order, name)
        else:
            del self._order[bisect_left(self._order, name)]

    def having(self, aspect: Aspect, key: str) -> Iterator[Model]:
        """Yield what the objects say that have *key*, in order."""
        for name in sorted(self._having.get((aspect, key), ())):
            yield from self.kept[name].models

    def __iter__(self) -> Iterator[_Kept]:
        return (self.kept[name] for name in self._order)


class KeptObjects(Objects):
    """The API objects of a followed cluster. Not for several threads at once: who changes it while others look holds a lock."""

    def __init__(self) -> None:
        super().__init__()
        self._shelves: dict[str, _Shelf] = {}
        self._faulty: dict[tuple[str, str], tuple[Fault, ...]] = {}

    def put(self, kind: str, namespace: str, name: str, value: Mapping[str, object] | None, *, origin: Origin) -> Replaced:
        """Keep *value* as the object of that kind and name, or forget it (None). Return what was there before."""
        key = f"{namespace}/{name}" if namespace else name
        kept = None if value is None else _read(kind, value, origin)
        before = self._shelves.setdefault(kind, _Shelf(kind)).put(key, kept)
        self._faulty.pop((kind, key), None)
        if kept is not None and kept.faults:
            self._faulty[kind, key] = kept.faults
        says_the_same = before is not None and kept is not None and bool(kept.models) and kept.models == before.models
        for derived in BY_NAME[kind].derived if kind in BY_NAME and not says_the_same else ():
            self.__dict__.pop(derived, None)
        return Replaced(text=None if before is None else before.text, says_the_same=says_the_same)

    def texts(self, kind: str) -> Iterator[bytes]:
        """Yield the JSON of every object of one kind, in the API server's order."""
        yield from (kept.text for kept in self._shelves.get(kind, ()))

    def text(self, kind: str, namespace: str, name: str) -> bytes | None:
        """Return the JSON of one object, or None."""
        shelf = self._shelves.get(kind)
        kept = shelf.kept.get(f"{namespace}/{name}" if namespace else name) if shelf else None
        return None if kept is None else kept.text

    def raw(self, kind: str, namespace: str, name: str) -> Mapping[str, object] | None:
        """Return the API object of that kind and name as it was decoded, or None."""
        text = self.text(kind, namespace, name)
        value = None if text is None else json.loads(text)
        return value if isinstance(value, Mapping) else None

    # -- the look-ups of Objects --------------------------------------------------------------------------------------------------

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Return what is wrong with the objects that are there now."""
        return tuple(fault for key in sorted(self._faulty) for fault in self._faulty[key])

    def check_all(self, look: Look | None = None) -> Mapping[str, int]:
        """Return how many of each kind there are; *look* is shown each."""
        if look is not None:
            for kind in self._shelves:
                for raw, _ in self.others(kind):
                    look(raw, True)
        return {kind: len(shelf.kept) for kind, shelf in sorted(self._shelves.items()) if shelf.kept}

    @cached_property
    def uses_legacy_endpoints(self) -> bool:
        """Return whether there is no EndpointSlice but Endpoints are."""
        counts = self.check_all()
        return "Endpoints" in counts and "EndpointSlice" not in counts

    def number_of(self, kind: str) -> int:
        """Return how many objects of *kind* there are."""
        shelf = self._shelves.get(kind)
        return len(shelf.kept) if shelf is not None else 0

    def _has(self, kind: str) -> bool:
        return self.number_of(kind) > 0

    def others(self, kind: str) -> Iterator[tuple[RawObject, Origin]]:
        """Yield every object of a *kind*, decoded anew."""
        for text in self.texts(kind):
            yield RawObject(kind=kind, value=json.loads(text)), Origin()

    def _having(self, model: type[M], kind: str, aspect: Aspect, key: str) -> tuple[M, ...]:
        shelf = self._shelves.get(kind)
        return tuple(m for m in shelf.having(aspect, key) if isinstance(m, model)) if shelf else ()

    def _named(self, model: type[M], namespace: str, name: str) -> M | None:
        shelf = self._shelves.get(model.__name__)
        kept = shelf.kept.get(f"{namespace}/{name}" if namespace else name) if shelf else None
        return next((m for m in kept.models if isinstance(m, model)), None) if kept else None

    def _all(self, model: type[M], kind: str) -> tuple[M, ...]:
        return tuple(m for kept in self._shelves.get(kind, ()) for m in kept.models if isinstance(m, model))


def _read(kind: str, value: Mapping[str, object], origin: Origin) -> _Kept:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="surrogatepass")
    try:
        return _Kept(text=text, models=read_object(RawObject(kind=kind, value=value), origin))
    except ParseError as error:
        return _Kept(text=text, faults=tuple(replace(f, file=f.file or origin.file) for f in error.faults))

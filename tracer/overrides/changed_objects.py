"""API objects of which some are changed, come or go: the look-ups of ``Objects``, answered by those of before but for what was changed.

Strategy: nothing is copied. A look-up takes what the base finds, puts what became of a changed object in its place, and adds what came;
of the changed objects, which are few, each is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tracer.errors import Fault
from tracer.kube.fields import Origin
from tracer.kube.kinds import BY_NAME, Model
from tracer.kube.object_file import Aspect, RawObject
from tracer.kube.objects import Look, M, Objects, name_of
from tracer.values import dataclass

Key = tuple[str, str]
"""Namespace and name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """What became of one object: its *value* as the API would give it (None where only *models* are known, or it is gone), and what the
    engine reads of it, nothing when it is gone. *existed*: it was there before."""

    value: Mapping[str, object] | None = None
    models: tuple[Model, ...] = ()
    existed: bool = True


Changes = Mapping[str, Mapping[Key, Changed]]
"""Changed objects by kind, and by namespace and name."""


class ChangedObjects(Objects):
    """The objects of *base* with *changes*. Not to be used any longer when the base changes."""

    def __init__(self, base: Objects, changes: Changes) -> None:
        super().__init__()
        self._base = base
        self._changes = {kind: changed for kind, changed in changes.items() if changed}

    def number_of(self, kind: str) -> int:
        """Return how many objects of *kind* there are."""
        changed = self._changes.get(kind, {}).values()
        return self._base.number_of(kind) + sum(bool(one.models or one.value) - one.existed for one in changed)

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Return the faults that reading the objects of before met so far."""
        return self._base.faults

    def check_all(self, look: Look | None = None) -> Mapping[str, int]:
        """Read every object that was there before. Return how many of each kind there were."""
        return self._base.check_all(look)

    def others(self, kind: str) -> Iterator[tuple[RawObject, Origin]]:
        """Yield every object of a *kind* that is not modelled here."""
        changed = dict(self._changes.get(kind, {}))
        for raw, origin in self._base.others(kind):
            one = changed.pop(name_of(raw.value), None)
            if one is None:
                yield raw, origin
            elif one.value is not None:
                yield RawObject(kind=kind, value=one.value), Origin()
        yield from ((RawObject(kind=kind, value=one.value), Origin()) for one in changed.values() if one.value is not None)

    def raw(self, kind: str, namespace: str, name: str) -> Mapping[str, object] | None:
        """Return the API object of that kind and name, or None."""
        one = self._changes.get(kind, {}).get((namespace, name))
        return one.value if one is not None else self._base.raw(kind, namespace, name)

    def _has(self, kind: str) -> bool:
        if kind not in self._changes:
            return self._base._has(kind)
        return self.number_of(kind) > 0

    def _having(self, model: type[M], kind: str, aspect: Aspect, key: str) -> tuple[M, ...]:
        kept = self._base._having(model, kind, aspect, key)
        changed, keys = self._changes.get(kind), BY_NAME[kind].keys
        if not changed:
            return kept
        own = {
            name: tuple(m for m in one.models if isinstance(m, model) and keys is not None and (aspect, key) in set(keys(m)))
            for name, one in changed.items()
        }
        return _put(kept, own)

    def _named(self, model: type[M], namespace: str, name: str) -> M | None:
        one = self._changes.get(model.__name__, {}).get((namespace, name))
        if one is None:
            return self._base._named(model, namespace, name)
        return next((m for m in one.models if isinstance(m, model)), None)

    def _all(self, model: type[M], kind: str) -> tuple[M, ...]:
        kept = self._base._all(model, kind)
        changed = self._changes.get(kind)
        return kept if not changed else _put(kept, {n: tuple(m for m in one.models if isinstance(m, model)) for n, one in changed.items()})


def _put(kept: tuple[M, ...], own: Mapping[Key, tuple[M, ...]]) -> tuple[M, ...]:
    """*kept* with what became of each changed object in its place, what came behind them."""
    left: dict[Key, tuple[M, ...]] = dict(own)
    found: list[M] = []
    for model in kept:
        found += left.pop(model.key, ()) if model.key in own else (model,)
    for came in left.values():
        found += came
    return tuple(found)

"""Outcomes that nobody opened: those of a class are its first with another endpoint's addresses and names, each made when it is asked for.

An answer before a thousand endpoints has as many outcomes, of a few kinds. Who tells of kinds, of ends and of odds needs none of them:
:func:`items_of` gives what there is, and an outcome that is not opened tells of itself what a view of the first tells, its own put in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Any, Protocol, TypeGuard, TypeVar, cast, overload

Made = TypeVar("Made")
Made_co = TypeVar("Made_co", covariant=True)
T = TypeVar("T")


class Unopened(Protocol[Made_co]):
    """An outcome that was not made."""

    @property
    def first(self) -> Made_co:
        """Return the outcome that it is like."""

    @property
    def probability(self) -> Fraction:
        """Return its odds."""

    @property
    def place(self) -> int:
        """Return at which hop it parts from others: those before it are the first one's."""

    @property
    def drawn(self) -> Sequence[Any]:
        """Return the steps of that hop up to where its endpoint was drawn: what it has of its own beside addresses and names."""

    def told(self, view: Callable[[Made_co], T]) -> T:
        """Return what *view* is of the outcome. It may rest on nothing of the odds, nor on what is *drawn*."""

    def opened(self) -> Made_co:
        """Return the outcome."""


class Outcomes(Sequence[Made]):
    """Outcomes in their order, each opened when it is first asked for."""

    __slots__ = ("_items",)

    def __init__(self, items: Iterable[Made | Unopened[Made]]) -> None:
        self._items = list(items)

    def __len__(self) -> int:
        """Return how many there are, opened or not."""
        return len(self._items)

    @overload
    def __getitem__(self, at: int) -> Made: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[Made, ...]: ...
    def __getitem__(self, at: int | slice) -> Made | tuple[Made, ...]:
        """Return the outcome at a place, or some of them, opened."""
        if isinstance(at, slice):
            return tuple(self[place] for place in range(*at.indices(len(self._items))))
        item = self._items[at]
        opened = _opened(item)
        if opened is not item:
            self._items[at] = opened
        return opened

    def __iter__(self) -> Iterator[Made]:
        """Yield every outcome, opened."""
        return (self[place] for place in range(len(self._items)))

    def __eq__(self, other: object) -> bool:
        """Return whether *other* are the same outcomes in the same order, opened or not."""
        if not isinstance(other, (tuple, Outcomes)):
            return NotImplemented
        return len(self) == len(other) and all(one == another for one, another in zip(self, other, strict=True))

    def __hash__(self) -> int:
        """Return the hash of a tuple of them."""
        return hash(tuple(self))

    def __repr__(self) -> str:
        """Return them as a tuple is shown."""
        return repr(tuple(self))

    @property
    def items(self) -> tuple[Made | Unopened[Made], ...]:
        """Return what there is, opened or not."""
        return tuple(self._items)


def _opened(item: Made | Unopened[Made]) -> Made:
    return item.opened() if _is_unopened(item) else cast("Made", item)


def _is_unopened(item: Made | Unopened[Made]) -> TypeGuard[Unopened[Made]]:
    return hasattr(item, "opened")


def items_of(outcomes: Sequence[Made]) -> Sequence[Made | Unopened[Made]]:
    """Return *outcomes* as far as they are opened: who only needs what all of a class have in common opens none."""
    return outcomes.items if isinstance(outcomes, Outcomes) else outcomes


def seen(item: Made | Unopened[Made], view: Callable[[Made], T]) -> T:
    """Return what *view* is of an outcome, opened or not; see :meth:`Unopened.told`."""
    return item.told(view) if _is_unopened(item) else view(cast("Made", item))


def first_of(item: Made | Unopened[Made]) -> Made:
    """Return the outcome that an item is like: itself where it is opened."""
    return item.first if _is_unopened(item) else cast("Made", item)


def firsts(outcomes: Sequence[Made]) -> list[Made]:
    """Return the opened outcomes, and what the others are like: all that can differ between kinds."""
    found = {id(first_of(item)): first_of(item) for item in items_of(outcomes)}
    return list(found.values())


def many(outcomes: Iterable[Made | Unopened[Made]]) -> Sequence[Made]:
    """Return outcomes of which some may not be opened; a tuple where all are."""
    held = tuple(outcomes)
    return Outcomes(held) if any(map(_is_unopened, held)) else tuple(map(_opened, held))

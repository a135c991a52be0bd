"""The outcomes of an answer document, as the contract writes them: the first of each class is written, another when it is asked for.

Who draws or lists all of them asks for what one has of its own (``odds``, ``end``, ``drawn``) and for the place of the one that it is like.
What is sent away or frozen is ``whole``: a plain list. What other processes read has what many share once (``stored_outcomes``).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, overload

from tracer.stations import Numbering
from tracer.told_odds import told
from tracer.trace import Outcome, Place, Trace, Written, heads
from tracer.unopened import first_of, items_of, seen

Json = Mapping[str, Any]


class SomeOpened(Sequence[dict[str, Any]]):
    """Outcomes of an answer of which each is put together when it is first asked for. NB: they are shared, for reading only."""

    def __init__(self) -> None:
        self._held: dict[int, dict[str, Any]] = {}

    @overload
    def __getitem__(self, at: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, at: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, at: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        """Return the outcome at a place, or some of them."""
        if isinstance(at, slice):
            return [self[place] for place in range(*at.indices(len(self)))]
        place = range(len(self))[at]
        if place not in self._held:
            self._held[place] = self._at(place)
        return self._held[place]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield every outcome."""
        return (self[place] for place in range(len(self)))

    @abstractmethod
    def _at(self, place: int) -> dict[str, Any]: ...

    @property
    @abstractmethod
    def odds(self) -> list[Fraction]:
        """Return the exact odds of each."""

    @abstractmethod
    def like(self, place: int) -> int:
        """Return the place of the outcome that the one at *place* is like: its own where it is like no other."""

    @abstractmethod
    def end(self, place: int) -> Json | None:
        """Return the ``destination`` of the outcome at *place*."""

    @abstractmethod
    def drawn(self, place: int) -> tuple[int, Sequence[Json]]:
        """Return the steps that the outcome at *place* has of its own, and the hop that begins with them. It is like another one."""

    @abstractmethod
    def whole(self) -> list[dict[str, Any]]:
        """Return all of them as one list, long odds told in a row."""


class OutcomeDicts(SomeOpened):
    """The outcomes of *trace* with their stations."""

    def __init__(self, trace: Trace) -> None:
        super().__init__()
        self._trace, self._written, self._numbering = trace, Written(), Numbering(trace)
        self._items = items_of(trace.outcomes)
        places = {id(item): place for place, item in enumerate(self._items)}
        self._likes = [places[id(first_of(item))] for item in self._items]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._items)

    def _at(self, place: int) -> dict[str, Any]:
        outcome = self._trace.outcomes[place]
        return self._dict(outcome, {"id": outcome.id, **told(outcome.probability)})

    def _dict(self, outcome: Outcome, head: Json) -> dict[str, Any]:
        found = outcome.to_dict(with_steps=True, written=self._written, head=head)
        found["stations"] = [station.to_dict() for station in self._numbering.of(outcome)]
        return found

    @property
    def waits(self) -> bool:
        """Return whether there are outcomes that nobody opened."""
        return any(place != like for place, like in enumerate(self._likes))

    @property
    def odds(self) -> list[Fraction]:
        """Return the exact odds of each."""
        return [item.probability for item in self._items]

    def like(self, place: int) -> int:
        """Return the place of the outcome that the one at *place* is like: its own where it is like no other."""
        return self._likes[place]

    def end(self, place: int) -> Json | None:
        """Return the ``destination`` of the outcome at *place*."""
        found = seen(self._items[place], _destination)
        return None if found is None else found.to_dict()

    def drawn(self, place: int) -> tuple[int, Sequence[Json]]:
        """Return the steps that the outcome at *place* has of its own, and the hop that begins with them. It is like another one."""
        item = self._items[place]
        steps: Any = [] if isinstance(item, Outcome) else self._written.steps(item.drawn)
        return (0 if isinstance(item, Outcome) else item.place), steps

    def whole(self) -> list[dict[str, Any]]:
        """Return all of them as one list, long odds told in a row."""
        outcomes = tuple(self._trace.outcomes)
        return [{**self[place], **head} for place, head in enumerate(heads(outcomes))]


def _destination(outcome: Outcome) -> Place | None:
    return outcome.destination


def plain(document: Json) -> dict[str, Any]:
    """Return *document* with nothing in it that waits to be opened, nor in the one that it is compared with."""
    held, answer = dict(document), document["answer"]
    if isinstance(answer["outcomes"], SomeOpened):
        held["answer"] = {**answer, "outcomes": answer["outcomes"].whole()}
    if "compared" in held:
        held["compared"] = {**held["compared"], "before": plain(held["compared"]["before"])}
    return held

"""A class whose methods are written when they are used is the one that ``dataclasses`` makes."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, field
from typing import Any

import pytest

from tracer import values
from tracer.frozen import changed

OPTIONS: dict[str, Any] = {"frozen": True, "slots": True, "kw_only": True}
MANY = 20
"""So many values of a class are more than are filled before what fills them is written."""
Decorator = Callable[[type], type]


def both(define: Callable[[Decorator], type], **options: Any) -> tuple[Any, Any]:
    """Return the class as ``dataclasses`` makes it, and as ``tracer.values`` does."""
    return define(dataclasses.dataclass(**options)), define(values.dataclass(**options))


def plain(decorate: Decorator) -> type:
    class Value:
        """Some value."""

        name: str
        port: int = 80
        words: tuple[str, ...] = ()
        found: list[str] = field(default_factory=list, compare=False)
        secret: str = field(default="", repr=False)
        place: int = field(default=0, hash=False)

        @property
        def text(self) -> str:
            return f"{self.name}:{self.port}"

    return decorate(Value)


def grown(decorate: Decorator) -> type:
    base: Any = plain(decorate)

    class Grown(base):  # type: ignore[misc]
        extra: int | None = None

    return decorate(Grown)


def empty(decorate: Decorator) -> type:
    class Nothing:
        pass

    return decorate(Nothing)


ASKED: tuple[dict[str, Any], ...] = ({"name": "a"}, {"name": "b", "port": 1, "words": ("x",), "found": ["y"], "secret": "s", "place": 3})


@pytest.mark.parametrize("define", [plain, grown])
@pytest.mark.parametrize("given", ASKED, ids=str)
def test_made_compared_hashed_and_shown_alike(define: Callable[[Decorator], type], given: dict[str, Any]) -> None:
    theirs, ours = both(define, **OPTIONS)
    for _ in range(MANY):
        one, other = theirs(**given), ours(**given)
        assert repr(one) == repr(other)
        assert hash(one) == hash(other)
        assert other == ours(**given) and other != ours(**given | {"name": "other"}) and other != one
        assert other == ours(**given | {"found": ["not compared"]})
        assert hash(other) == hash(ours(**given | {"place": 17}))
    assert dataclasses.asdict(one) == dataclasses.asdict(other)
    assert ours.__match_args__ == theirs.__match_args__
    assert ours.__slots__ == theirs.__slots__
    assert not hasattr(other, "__dict__")


@pytest.mark.parametrize("first", ["==", "hash", "repr", "copy", "pickle"])
def test_whatever_is_asked_first(first: str) -> None:
    _, ours = both(plain, **OPTIONS)
    one = ours(name="a", found=["x"])
    match first:
        case "==":
            assert one == ours(name="a")
        case "hash":
            assert {one: 1}[ours(name="a")] == 1
        case "repr":
            assert repr(one).endswith("Value(name='a', port=80, words=(), found=['x'], place=0)")
        case "copy":
            assert copy.deepcopy(one) == copy.copy(one) == changed(one, secret="") == dataclasses.replace(one, port=80) == one
        case _:
            # A class inside a function cannot be pickled by name: its state is what pickle takes.
            made = object.__new__(ours)
            made.__setstate__(one.__getstate__())
            assert made == one


PICKLED = values.dataclass(frozen=True, slots=True)(type("PICKLED", (), {"__annotations__": {"x": "int"}, "__module__": __name__}))


def test_pickle() -> None:
    one = PICKLED(3)  # type: ignore[call-arg]
    assert pickle.loads(pickle.dumps(one)) == one


def test_a_value_cannot_be_changed() -> None:
    for made in both(plain, **OPTIONS):
        one = made(name="a")
        with pytest.raises(FrozenInstanceError, match="cannot assign to field 'port'"):
            one.port = 1
        with pytest.raises(FrozenInstanceError, match="cannot delete field 'port'"):
            del one.port
        # NB: of what is no field dataclasses says a TypeError, as it asks the class that it had before the slots.
        with pytest.raises((FrozenInstanceError, TypeError)):
            one.new = 1
        assert one.port == 80


@pytest.mark.parametrize("given", [{}, {"name": "a", "unknown": 1}], ids=str)
def test_wrong_arguments_are_refused_with_the_same_words(given: dict[str, Any]) -> None:
    said = []
    for made in (*both(plain, **OPTIONS), *both(plain, slots=True, kw_only=True)):
        for _ in range(MANY):
            with pytest.raises(TypeError) as refused:
                made(**given)
            said.append(str(refused.value))
    assert len(set(said)) == 1


def test_places_in_a_row_and_a_value_without_fields() -> None:
    def positional(decorate: Decorator) -> type:
        class Pair:
            left: int
            right: int = 2

        return decorate(Pair)

    theirs, ours = both(positional, frozen=True, slots=True)
    assert repr(theirs(1)) == repr(ours(1)) and (ours(1).left, ours(1, 3).right) == (1, 3)
    match ours(5, 6):
        case ours(left, right):
            assert (left, right) == (5, 6)
    none, nothing = both(empty, **OPTIONS)
    assert (repr(nothing()), hash(nothing()), nothing() == nothing()) == (repr(none()), hash(none()), True)


@pytest.mark.parametrize("options", [OPTIONS, {"frozen": True, "kw_only": True}, {"frozen": True}], ids=str)
@pytest.mark.parametrize("define", [plain, grown])
@pytest.mark.parametrize("given", ASKED, ids=str)
def test_one_without_slots_and_one_of_a_class_below(
    define: Callable[[Decorator], type], given: dict[str, Any], options: dict[str, Any]
) -> None:
    theirs, ours = both(define, **options)
    for _ in range(MANY):
        assert repr(ours(**given)) == repr(theirs(**given)) and hash(ours(**given)) == hash(theirs(**given))
    assert list(inspect.signature(ours.__init__).parameters)[1:] == list(inspect.signature(theirs.__init__).parameters)[1:]
    for made in (ours, both(define, **options)[1]):
        below = type("Below", (made,), {"more": 1})
        one = below(**given)
        assert type(one) is below and one.more == 1 and repr(one).partition("(")[2] == repr(theirs(**given)).partition("(")[2]
    with pytest.raises((FrozenInstanceError, TypeError)):
        ours(**given).port = 1
    assert type(ours(**given)) is ours and type(changed(ours(**given), port=2)) is ours


@pytest.mark.parametrize("given", ASKED, ids=str)
@pytest.mark.parametrize("options", [{"slots": True}, {"slots": True, "kw_only": True}], ids=str)
def test_one_that_is_not_frozen(options: dict[str, Any], given: dict[str, Any]) -> None:
    theirs, ours = both(plain, **options)
    for _ in range(MANY):
        one, other = theirs(**given), ours(**given)
        assert repr(one) == repr(other) and other == ours(**given) != ours(**given | {"name": "other"}) and other != one
    other.port = 443
    assert other.port == 443 and other != ours(**given) and dataclasses.asdict(other) == dataclasses.asdict(one) | {"port": 443}
    assert ours.__hash__ is theirs.__hash__ is None and ours.__slots__ == theirs.__slots__ and not hasattr(other, "__dict__")
    assert list(inspect.signature(ours.__init__).parameters)[1:] == list(inspect.signature(theirs.__init__).parameters)[1:]
    assert copy.deepcopy(other) == copy.copy(other) == dataclasses.replace(other) == other


@pytest.mark.parametrize("number", [1, MANY])
def test_places_are_filled_by_the_first_values_as_by_the_others(number: int) -> None:
    def positional(decorate: Decorator) -> type:
        class Pair:
            left: int
            found: list[int] = field(default_factory=list)
            right: int = 2

        return decorate(Pair)

    for options in ({"frozen": True, "slots": True}, {"slots": True}, {"frozen": True}):
        theirs, ours = both(positional, **options)
        made = [(ours(1), ours(1, right=3), ours(1, [4], 5), ours(left=6, found=[7])) for _ in range(number)][-1]
        assert list(map(repr, made)) == list(map(repr, (theirs(1), theirs(1, right=3), theirs(1, [4], 5), theirs(left=6, found=[7]))))
        assert ours(1).found is not ours(1).found
        for wrong in (lambda made: made(1, left=2), lambda made: made(1, [], 2, 3), lambda made: made()):
            said = set()
            for one in (theirs, ours):
                with pytest.raises(TypeError) as refused:
                    wrong(one)
                said.add(str(refused.value))
            assert len(said) == 1


def test_a_value_that_cannot_be_made_is_none() -> None:
    class Fails:
        found: list[str] = field(default_factory=lambda: [][0])

    with pytest.raises(IndexError):
        values.dataclass(**OPTIONS)(Fails)()


def test_what_is_not_plain_is_left_to_dataclasses() -> None:
    def checked(decorate: Decorator) -> type:
        class Checked:
            port: int

            def __post_init__(self) -> None:
                if not self.port:
                    raise ValueError("no port")

        return decorate(Checked)

    def own(decorate: Decorator) -> type:
        class Own:
            name: str

            def __eq__(self, other: object) -> bool:
                return True

            def __hash__(self) -> int:
                return 1

        return decorate(Own)

    _, ours = both(checked, **OPTIONS)
    with pytest.raises(ValueError, match="no port"):
        ours(port=0)
    _, ours = both(own, **OPTIONS)
    assert ours(name="a") == ours(name="b") and hash(ours(name="a")) == 1
    for options in ({}, {"frozen": True, "slots": True, "order": True}, {"frozen": True, "slots": True, "eq": False}):
        made, ours = both(plain, **options)
        assert inspect.signature(ours.__init__) == inspect.signature(made.__init__)
    with pytest.raises(ValueError, match="mutable default"):
        both(lambda decorate: decorate(type("Bad", (), {"__annotations__": {"x": "list"}, "x": []})), **OPTIONS)


def test_nothing_is_written_before_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    make = dataclasses._create_fn  # type: ignore[attr-defined]
    monkeypatch.setattr(dataclasses, "_create_fn", lambda name, *rest, **more: written.append(name) or make(name, *rest, **more))
    ours = plain(values.dataclass(**OPTIONS))
    unwritten = ours.__init__  # type: ignore[misc]
    one: Any = ours(name="a")
    assert ours.__init__ is unwritten  # type: ignore[misc]
    assert [ours(name="a") for _ in range(MANY)] and ours.__init__ is not unwritten and written == []  # type: ignore[misc]
    assert one == one.__class__(name="a")
    assert written.count("__eq__") == 1 and "__repr__" not in written

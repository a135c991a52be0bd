"""The bounds of the engine: as values, and as docs/limits.md lists them."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from tracer import limits
from tracer.limits import Budget, Limits

DOCUMENT = (Path(__file__).parents[2] / "docs" / "limits.md").read_text()
ROW = re.compile(r"^\| `(?P<name>[A-Za-z_]+)` \| (?P<default>[0-9][0-9,]*) \| [^|]+ \| [^|]+ \|$", re.MULTILINE)


def test_the_document_lists_every_limit_with_its_default() -> None:
    listed = {row["name"]: int(row["default"].replace(",", "")) for row in ROW.finditer(DOCUMENT)}
    constants = {name: value for name, value in vars(limits).items() if name.isupper() and isinstance(value, int)}
    assert listed == {field.name: getattr(Limits(), field.name) for field in fields(Limits)} | constants


@pytest.mark.parametrize("name", [field.name for field in fields(Limits)])
def test_a_limit_leaves_room_for_something(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        Limits(**{name: 0})


def test_a_budget_ends() -> None:
    budget = Budget(Limits(work=10))
    budget.spend(9)
    assert not budget.is_spent
    budget.spend(5)
    assert budget.is_spent

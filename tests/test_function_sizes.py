"""Functions stay short: at most 6 lines in the middle and none over 60, counted from ``def`` to the last line, docstring included."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from statistics import median

import pytest

from tests.live_server import PROJECT

MEDIAN, MOST = 6, 60


def functions(text: str) -> Iterator[tuple[str, int]]:
    """Yield each function of a module with its lines, those inside others and methods included."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


def lines_of(root: str) -> dict[str, list[int]]:
    """Return the lines of every function below *root*, by the path of its module and its name."""
    found: dict[str, list[int]] = {}
    for path in sorted((PROJECT / root).rglob("*.py")):
        for name, lines in functions(path.read_text()):
            found.setdefault(f"{path.relative_to(PROJECT)} {name}", []).append(lines)
    return found


@pytest.mark.parametrize("root", ["tracer", "webapp"])
def test_half_of_all_functions_are_as_short_as_the_models(root: str) -> None:
    assert median(lines for found in lines_of(root).values() for lines in found) <= MEDIAN


@pytest.mark.parametrize("root", ["tracer", "webapp"])
def test_no_function_is_long(root: str) -> None:
    assert {name for name, found in lines_of(root).items() if max(found) > MOST} == set()


def test_lines_are_counted_from_the_definition_to_the_end() -> None:
    text = 'class A:\n    @cached\n    def one(self):\n        """Say."""\n\n        def two(): ...\n\n        return two\n'
    assert dict(functions(text)) == {"one": 6, "two": 1}

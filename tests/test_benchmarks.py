"""Programs beside the application import what there is: nothing else runs them between two measurements."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import PROJECT

PROGRAMS = sorted((*PROJECT.glob("benchmarks/*.py"), *PROJECT.glob("scripts/*.py")))
OURS = ("tracer", "webapp", "tests", "scripts")


def imports(text: str) -> Iterator[tuple[str, str]]:
    """Yield the module and name of each import of something of ours; "" for a whole module."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in OURS:
            yield from ((str(node.module), alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name.split(".")[0] in OURS)


def is_there(module: str, name: str) -> bool:
    try:
        found = import_module(module)
    except ModuleNotFoundError:
        return False
    return not name or hasattr(found, name) or (hasattr(found, "__path__") and find_spec(f"{module}.{name}") is not None)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.relative_to(PROJECT).as_posix())
def test_a_program_imports_what_there_is(program: Path) -> None:
    assert [wanted for wanted in imports(program.read_text()) if not is_there(*wanted)] == []


def test_what_is_not_there_is_told() -> None:
    wanted = list(imports("from tracer.packet import Packet, Parcel\nimport tracer.parcel\nfrom tracer import packet\nimport json\n"))
    assert [is_there(*one) for one in wanted] == [True, False, False, True]

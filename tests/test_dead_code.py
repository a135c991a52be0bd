"""The check for dead code finds what nothing uses, and the lines of its list that spare nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import dead_code

CODE = """
class Kept:
    field = 1

def used(): ...

def dead(): ...

used()
"""


def tree(root: Path, *, template: str = "", settings: str = "", spared: str = "") -> Path:
    for path, text in {
        "tracer/code.py": CODE,
        "webapp/settings.py": settings,
        "templates/page.html": template,
        dead_code.LIST: spared,
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


@pytest.mark.parametrize(
    ("made", "faults"),
    [
        ({}, ["class Kept", "variable field", "function dead"]),
        ({"template": "{{ one.field }} and in words: dead"}, ["class Kept", "function dead"]),
        ({"template": "{% if one.field %}"}, ["class Kept", "function dead"]),
        ({"settings": 'MIDDLEWARE = ["webapp.code.Kept"]\nMADE_UP = 1\n'}, ["variable field", "function dead", "variable MADE_UP"]),
        ({"spared": "tracer/code.py dead  # called by the kernel\n"}, ["class Kept", "variable field"]),
        ({"spared": "tracer dead  # called by the kernel\n"}, ["class Kept", "variable field"]),
        (
            {"spared": "webapp dead  # called by the kernel\n"},
            ["class Kept", "variable field", "function dead", "webapp dead is not needed"],
        ),
        ({"spared": "tracer used  # by itself\n"}, ["class Kept", "variable field", "function dead", "tracer used is not needed"]),
        ({"spared": "tracer dead\n"}, [":1: not a path", "class Kept", "variable field", "function dead"]),
    ],
)
def test_what_is_dead_is_said(tmp_path: Path, made: dict[str, str], faults: list[str]) -> None:
    said = dead_code.faults(tree(tmp_path, **made))
    assert len(said) == len(faults), said
    for words in faults:
        assert any(words in sentence for sentence in said), (words, said)


def test_a_fault_fails_the_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert dead_code.main([]) == 0
    assert dead_code.main(["tracer/code.py:7: nothing uses the function dead"]) == 1
    assert "function dead" in capsys.readouterr().out

"""No test of a page asserts what the page shows at once: it would fail, or pass, by how busy the machine is."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

_HERE = Path(__file__).parent
# What Playwright reads at once, without waiting for it.
_READ_AT_ONCE = frozenset(
    {
        "all_inner_texts",
        "all_text_contents",
        "count",
        "get_attribute",
        "inner_text",
        "input_value",
        "is_checked",
        "is_disabled",
        "is_enabled",
        "is_hidden",
        "is_visible",
        "text_content",
    }
)


def read_at_once(source: str) -> list[str]:
    """Return the asserts of *source* that read a page without waiting."""
    return [
        ast.unparse(found)
        for found in ast.walk(ast.parse(source))
        if isinstance(found, ast.Assert) and any(_reads(part) for part in ast.walk(found.test))
    ]


def _reads(part: ast.AST) -> bool:
    if isinstance(part, ast.Call):
        return isinstance(part.func, ast.Attribute) and part.func.attr in _READ_AT_ONCE
    return (
        isinstance(part, ast.Attribute) and part.attr == "url" and isinstance(part.value, ast.Name) and part.value.id in ("page", "quiet")
    )


@pytest.mark.parametrize("module", sorted(_HERE.glob("test_*.py")), ids=lambda path: path.stem)
def test_what_a_page_shows_is_waited_for(module):
    assert read_at_once(module.read_text()) == []


@pytest.mark.parametrize(
    "wrong",
    [
        'assert page.get_by_text("Deleted").is_visible()',
        'assert page.locator("li").count() == 2',
        'assert "lacks" in page.inner_text("#node")',
        'assert page.url.endswith("/snapshots")',
        'assert not page.locator("#steps").is_visible(), "hidden"',
    ],
)
def test_such_an_assert_is_found(wrong):
    assert read_at_once(wrong)


def test_what_waits_is_left():
    assert not read_at_once('expect(page.locator("li")).to_have_count(2)\nassert violations(page) == []')

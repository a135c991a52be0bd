"""Sizes in the style sheets follow the reader's text size: rem, and em in media queries; only lines are in px."""

from __future__ import annotations

import re

import pytest
from django.conf import settings

SHEETS = sorted((settings.BASE_DIR / "static" / "css").glob("*.css"))
OF_LINES = (
    "border",
    "outline",
    "box-shadow",
    "text-decoration",
    "text-underline-offset",
    "background",
    "stroke",
    "transform",
    "translate",
    "--",
)
PX = re.compile(r"(?<![\w.#-])-?([0-9.]+)px")
LARGEST = 4.0
OWN_UNITS = ("graph.css",)
"""The picture has units of its own, and is sized by its zoom."""


def in_px(sheet: str) -> list[str]:
    """Return the declarations and conditions of *sheet* with a size in px that is not a line's."""
    text = re.sub(r"/\*.*?\*/", "", sheet, flags=re.DOTALL)
    said = [part.strip() for part in re.split(r"[{};]", text)]
    return [
        one for one in said if any(float(n) >= LARGEST or one.startswith("@") for n in PX.findall(one)) and not one.startswith(OF_LINES)
    ]


@pytest.mark.parametrize("path", [path for path in SHEETS if path.name not in OWN_UNITS], ids=lambda path: path.name)
def test_sizes_follow_the_text(path: object) -> None:
    assert in_px(path.read_text()) == []  # type: ignore[attr-defined]


def test_px_is_found() -> None:
    found = in_px("a { font-size: 14px; border: 6px solid; padding: 2px; } @media (max-width: 720px) { b { inset: 0 40px auto } }")
    assert found == ["font-size: 14px", "@media (max-width: 720px)", "inset: 0 40px auto"]

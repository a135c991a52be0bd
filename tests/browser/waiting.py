"""A page answers later than it was asked: what a test wants of it is waited for, as Playwright's own ``expect`` does."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.browser.live_page import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

_MILLISECONDS = 50


def becomes(page: Page, question: Callable[[Page], object], wanted: object) -> None:
    """Wait until *question* about *page* is answered with *wanted*; for what ``expect`` has no word for."""
    until = time.monotonic() + PATIENCE / 1000
    while (got := question(page)) != wanted and time.monotonic() < until:
        page.wait_for_timeout(_MILLISECONDS)
    assert got == wanted


def holds(page: Page, question: Callable[[Page], bool]) -> None:
    """Wait until *question* about *page* is answered with yes."""
    becomes(page, question, True)


def focused(read: str) -> Callable[[Page], object]:
    """Return the question for property *read* of the element that has the focus."""
    return lambda page: page.evaluate(f"document.activeElement.{read}")

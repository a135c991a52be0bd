"""The DNS page in a browser: accessible, wide and narrow, quiet on the console, with names completed while typing."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.axe import violations

pytestmark = pytest.mark.browser
PAGE = "/c/shop-iptables/dns"


def first_example(page: Page) -> str:
    page.goto(PAGE)
    return page.locator("#dns-answer li a").nth(1).get_attribute("href") or ""


@pytest.mark.parametrize("width", [1440, 390])
def test_it_is_accessible_and_fits(page: Page, width: int) -> None:
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(first_example(page))
    expect(page.get_by_role("heading", name="As dig shows it")).to_be_visible()
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert said == []


def test_names_are_completed_while_typing(page: Page) -> None:
    page.goto(PAGE)
    page.get_by_label("Name or address").press_sequentially("public-a")
    expect(page.locator("#dns-names option").first).to_have_attribute("value", "public-api.production")


def test_a_question_is_followed(page: Page) -> None:
    page.goto(first_example(page))
    page.get_by_role("link", name="Follow question 1").click()
    expect(page.locator("#vt")).to_contain_text("Delivered")

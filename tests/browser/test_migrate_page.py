"""The page of another mode in a browser: accessible, wide and narrow, quiet on the console, with links that go on and into a comparison."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.axe import violations

pytestmark = pytest.mark.browser
PAGE = "/c/shop-iptables/migrate"
_REPORT = 120_000
"""Milliseconds."""


@pytest.mark.parametrize("width", [1440, 390])
def test_it_is_accessible_and_fits(page: Page, width: int) -> None:
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(PAGE)
    # Every question of the shop is asked twice before the page is there: on a busy machine that takes its time.
    page.get_by_role("link", name="To nftables").click(timeout=_REPORT, no_wait_after=True)
    expect(page.locator("#migrate-h")).to_contain_text("each for a known reason", timeout=_REPORT)
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert said == []


def test_a_change_leads_to_both_answers(page: Page) -> None:
    page.goto(f"{PAGE}?to=nftables&from=staging/demo-app")
    page.get_by_role("region", name="Changes: no-node-port-on-loopback").get_by_role("link").first.click()
    page.wait_for_url("**/compare?*")
    expect(page.locator("main")).to_contain_text("127.0.0.1")

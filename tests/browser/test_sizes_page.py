"""Sizes of the trace page in a browser: text twice as large, widths from 1024 to 2560, one Tab stop for the steps, paper."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import CHROMIUM_FLAGS
from tests.browser.waiting import holds
from tests.conftest import chromium_path

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser
ASKED = "/c/shop-iptables/trace?from=external:203.0.113.10&to=198.51.100.10:443"
TEXTS = """() => {
  // What is written, line by line; what lies over the list on purpose (the sheet, its tabs) and the picture are another matter.
  let at = 0;
  const found = [], walk = document.createTreeWalker(document.getElementById('main'), NodeFilter.SHOW_TEXT);
  for (let node = walk.nextNode(); node; node = walk.nextNode()) {
    const parent = node.parentElement;
    if (!node.data.trim() || parent.closest('svg, .sheet, .tabs, .vh, dialog, [popover]') || !parent.checkVisibility()) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const r of range.getClientRects()) if (r.width > 1) found.push([`${at}: ${node.data.trim()}`, r.left, r.top, r.right, r.bottom]);
    at += 1;
  }
  return found;
}"""


@pytest.fixture(scope="module")
def doubled(browser: Browser) -> Iterator[Browser]:
    """Return a browser whose reader has set text to twice the usual size."""
    large = browser.browser_type.launch(executable_path=chromium_path(), args=[*CHROMIUM_FLAGS, "--blink-settings=defaultFontSize=32"])
    yield large
    large.close()


def opened(browser: Browser, url: str, width: int) -> Page:
    page = browser.new_context(base_url=url, viewport={"width": width, "height": 900}).new_page()
    page.goto(ASKED)
    expect(page.locator("#steps a[aria-current]")).to_be_visible()
    return page


def overlapping(page: Page) -> list[tuple[str, str]]:
    """Return the pairs of texts, with their numbers, of which one is written over the other, by more than two pixels."""
    texts = page.evaluate(TEXTS)
    found = []
    for at, (one, left, top, right, bottom) in enumerate(texts):
        for other, left2, top2, right2, bottom2 in texts[at + 1 :]:
            if one != other and min(right, right2) - max(left, left2) > 2 and min(bottom, bottom2) - max(top, top2) > 4:
                found.append((one, other))
    return found


@pytest.mark.parametrize("width", [2560, 1440, 1024, 640])
def test_text_of_twice_the_size_overlaps_nothing(doubled: Browser, live_url: str, width: int) -> None:
    page = opened(doubled, live_url, width)
    assert page.evaluate("getComputedStyle(document.querySelector('#verdict p')).fontSize") == "28px"
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert len(page.evaluate(TEXTS)) > 30
    assert overlapping(page) == []
    page.context.close()


def test_a_text_over_another_is_seen(browser: Browser, live_url: str) -> None:
    page = opened(browser, live_url, 1440)
    assert overlapping(page) == []
    page.evaluate("document.querySelector('#s-2').style.marginTop = '-20px'")
    assert overlapping(page) != []
    page.context.close()


@pytest.mark.parametrize("width", [1024, 1180])
def test_no_row_is_broken_at_1024(browser: Browser, live_url: str, width: int) -> None:
    page = opened(browser, live_url, width)
    box = {
        name: page.locator(name).first.bounding_box() or {} for name in (".verdict .vi", ".verdict h1", ".verdict .act", ".gt", ".gt h2")
    }
    assert box[".verdict .vi"]["x"] + box[".verdict .vi"]["width"] <= box[".verdict h1"]["x"]
    assert box[".verdict .act"]["x"] > box[".verdict h1"]["x"]
    assert box[".gt"]["height"] <= 52
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.context.close()


@pytest.mark.parametrize("width", [1440, 1920, 2560])
def test_rules_and_reasons_share_the_width(browser: Browser, live_url: str, width: int) -> None:
    page = opened(browser, live_url, width)
    rules, why = (page.locator(name).bounding_box() or {} for name in (".rulebox", ".why"))
    assert 0.6 <= why["width"] / rules["width"] <= 1
    assert rules["y"] == why["y"]
    page.context.close()


def test_the_list_of_steps_is_one_tab_stop(page: Page) -> None:
    page.goto(ASKED)
    expect(page.locator("#steps a[tabindex='0']")).to_have_count(1)
    expect(page.locator("#steps a[tabindex='0']")).to_have_attribute("aria-current", "step")
    page.locator("#steps a[tabindex='0']").focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator("#steps a[data-step='10']")).to_be_focused()
    expect(page.locator("#inspector")).to_have_attribute("data-step", "10")
    page.keyboard.press("Home")
    expect(page.locator("#steps a[data-step='1']")).to_be_focused()
    expect(page.locator("#steps a[tabindex='0']")).to_have_count(1)
    page.keyboard.press("Tab")
    holds(page, lambda now: bool(now.evaluate("!document.activeElement.closest('#steps')")))


def test_without_scripts_every_step_is_reached(browser: Browser, live_url: str) -> None:
    page = browser.new_context(base_url=live_url, java_script_enabled=False).new_page()
    page.goto(ASKED)
    expect(page.locator("#steps a")).to_have_count(16)
    expect(page.locator("#steps a[tabindex]")).to_have_count(0)
    page.context.close()


def test_paper_says_what_was_asked_where_and_when_and_numbers_the_steps(page: Page) -> None:
    page.goto(ASKED)
    said = page.locator(".printed")
    expect(said).to_be_hidden()
    page.emulate_media(media="print")
    expect(said).to_be_visible()
    expect(said).to_have_text(
        re.compile(r"^From external 203\.0\.113\.10 to 198\.51\.100\.10:443, TCP\. Cluster shop-iptables, as of 2026-11-20 [0-9:]+")
    )
    for n in (1, 9, 16):
        expect(page.locator(f"#s-{n} .no")).to_be_visible()
        expect(page.locator(f"#s-{n} .no")).to_have_text(str(n))
    expect(page.locator("#play")).to_be_hidden()

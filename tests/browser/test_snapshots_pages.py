"""Home, snapshots, links and reasons in Chromium: no accessibility violation, no sideways scroll, nothing refused by the policy."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.browser.axe import violations
from tests.browser.waiting import holds
from tests.sizes import diagonal

pytestmark = pytest.mark.browser
PAGES = [
    "/",
    "/snapshots",
    "/snapshots/new",
    "/snapshots/shop-iptables",
    "/snapshots/shop-nftables",
    "/links",
    "/reasons",
    "/reasons/CLIENT_IP_LOST",
    "/no/such/page",
]


LOOKS = [(width, theme) for theme in ("light", "dark") for width in (1440, 390, 360)]


@pytest.fixture
def sized(browser, live_url, width, theme) -> Iterator:
    context = browser.new_context(base_url=live_url, viewport={"width": width, "height": 900}, color_scheme=theme)
    page = context.new_page()
    page.heard = []
    page.on("console", lambda message: page.heard.append(message.text))
    page.on("pageerror", lambda error: page.heard.append(str(error)))
    yield page
    context.close()


def settle(page) -> None:
    """Wait until everything that the page fetches after it has loaded is there."""
    page.locator("[hx-trigger=load]").first.wait_for(state="detached")


@pytest.mark.parametrize(("path", "width", "theme"), [(path, *look) for path, look in diagonal(PAGES, LOOKS, 6)])
def test_a1_a7_s2(sized, path, width):
    response = sized.goto(path)
    settle(sized)
    assert violations(sized) == []
    assert sized.evaluate("document.documentElement.scrollWidth") == width
    refused = [text for text in sized.heard if not (response.status == 404 and "404" in text)]
    assert refused == []


@pytest.mark.parametrize("path", PAGES)
def test_a6_targets(browser, live_url, path):
    """Targets are 24 by 24 pixels at least; links inside a sentence are exempt (WCAG 2.5.8)."""
    context = browser.new_context(base_url=live_url, viewport={"width": 390, "height": 900})
    page = context.new_page()
    page.goto(path)
    settle(page)
    small = page.evaluate("""() => Array.from(document.querySelectorAll("a, button, input:not([type=hidden])")).filter((e) => {
        const box = e.getBoundingClientRect();
        const sentence = e.tagName === "A" && e.closest("p, dd") && e.parentElement.textContent.trim() !== e.textContent.trim();
        return box.width && !sentence && !e.classList.contains("skip") && (box.height < 23.5 || box.width < 23.5);
    }).map((e) => e.outerHTML.slice(0, 160))""")
    context.close()
    assert small == []


def test_reasons_search_as_you_type(page):
    page.goto("/reasons")
    page.get_by_label("Search the reasons").press_sequentially("hairpin bridge")
    page.get_by_text("hold “hairpin bridge”").wait_for()
    holds(page, lambda page: page.locator("a.reason").count() < 5)
    expect(page).to_have_url(re.compile(re.escape("?q=hairpin%20bridge") + "$"))
    page.reload()
    expect(page.get_by_label("Search the reasons")).to_have_value("hairpin bridge")


def test_a_command_is_copied(context, page):
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto("/reasons/NO_ROUTE")
    page.get_by_role("button", name="Copy the command").first.click()
    page.get_by_role("button", name="Copy the command").first.get_by_text("Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == "ip route get ADDRESS from SOURCE iif DEVICE"


def test_u3_without_javascript(browser, live_url):
    context = browser.new_context(base_url=live_url, java_script_enabled=False)
    page = context.new_page()
    page.goto("/reasons")
    page.get_by_label("Search the reasons").fill("hairpin")
    page.get_by_role("button", name="Search").click()
    holds(page, lambda page: page.locator("a.reason").count() < 10)
    page.locator("a.reason").first.click()
    expect(page.get_by_role("heading", name="What it means")).to_be_visible()
    expect(page.get_by_role("button", name="Copy")).to_have_count(0)
    context.close()


def test_the_first_example_is_the_sample_trace(page, live_url):
    """From outside to production/public-api's load balancer address, found in the snapshot."""
    page.goto("/")
    address = page.get_by_role("link", name="Open the sample trace").get_attribute("href")
    assert address == "/c/shop-iptables/trace?from=external:203.0.113.10&to=198.51.100.10:443"


def test_every_recorded_mode_can_be_tried(page):
    page.goto("/")
    shown = page.locator("section", has=page.get_by_role("heading", name="Try this"))
    for name in ("shop-nftables", "shop-ipvs", "shop-userspace-v1.20"):
        expect(shown.get_by_role("link", name=name, exact=True)).to_be_visible()
    expect(page.get_by_text("not modelled yet")).to_have_count(0)

"""The what-if panel and the comparison in a browser: accessible, wide and on a phone, in both themes, and without JavaScript."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.axe import violations
from tests.frozen_links import frozen_path
from tests.live_server import LiveServer
from tests.made_traces import dropped_trace, lb_trace
from tests.webapp.test_compare_page import comparison

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser
ASKED = "/c/shop-iptables/trace?from=external:203.0.113.10&to=198.51.100.10:443"
FAULTY = f"{ASKED}&set=mode=ebpf&set=svc/default=deleted"
SIZES = {1440: 900, 390: 844}


@pytest.fixture(scope="module")
def compared(live: LiveServer) -> dict[str, str]:
    """Return the paths of frozen comparisons: an endpoint that goes, and packets that are dropped."""
    return {
        "fewer": frozen_path(live, comparison(lb_trace(nodes=2, endpoints=3), lb_trace(nodes=2, endpoints=2))),
        "dropped": frozen_path(live, comparison(lb_trace(nodes=1, endpoints=1), dropped_trace())),
        "same": frozen_path(live, comparison(lb_trace(), lb_trace())),
    }


def fits(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", SIZES)
def test_the_comparison_is_accessible(browser: Browser, live_url: str, compared: dict[str, str], width: int, scheme: str) -> None:
    context = browser.new_context(base_url=live_url, viewport={"width": width, "height": SIZES[width]}, color_scheme=scheme)
    page = context.new_page()
    for name, path in compared.items():
        page.goto(path)
        assert violations(page) == [], name
        assert fits(page), name
        expect(page.locator(".gcard svg.graph")).to_have_count(2)
        expect(page.locator(".gcard svg.graph").first, name).to_be_visible()
    context.close()


@pytest.mark.parametrize("width", SIZES)
def test_the_panel_is_accessible(browser: Browser, live_url: str, width: int) -> None:
    context = browser.new_context(base_url=live_url, viewport={"width": width, "height": SIZES[width]})
    page = context.new_page()
    page.goto(ASKED)
    page.click(".wi-more summary")
    expect(page.get_by_role("link", name="externalTrafficPolicy: Local")).to_be_visible()
    assert violations(page) == []
    assert fits(page)
    page.goto(FAULTY)
    expect(page.locator("#errors")).to_be_focused()
    assert violations(page) == []
    assert fits(page)
    context.close()


def test_what_differs_is_marked_in_pictures_and_steps(page: Page, compared: dict[str, str]) -> None:
    page.goto(compared["dropped"])
    expect(page.locator("#differences h2")).to_have_text("Packets end otherwise.")
    expect(page.locator("#before-g .n.only")).not_to_have_count(0)
    expect(page.locator("#after-g .n.only")).not_to_have_count(0)
    expect(page.locator(".csteps tr.ch .how", has_text="only before")).not_to_have_count(0)
    page.goto(compared["same"])
    expect(page.locator("#differences h2")).to_contain_text("Nothing changes for these packets")
    expect(page.locator(".only")).to_have_count(0)


def test_the_comparison_works_without_javascript(browser: Browser, live_url: str, compared: dict[str, str]) -> None:
    context = browser.new_context(base_url=live_url, java_script_enabled=False)
    page = context.new_page()
    page.goto(compared["fewer"])
    page.get_by_role("link", name="public-api-6f7d9c5b8-00002").first.click()
    expect(page.locator(".ends tr.me")).to_contain_text("public-api-6f7d9c5b8-00002")
    expect(page).to_have_url(re.compile("follow="))
    context.close()


POD = "from=node:shop-worker2&to=svc:production/backend-api:80"
LB = "from=external:203.0.113.10&to=198.51.100.10:443"
SHOP = {
    f"{LB}&set=svc/production/public-api.spec.externalTrafficPolicy=Local": "Packets end otherwise.",
    f"{LB}&set=pod/production/public-api-57485dc85f-8h9j9=deleted": "Packets end otherwise.",
    f"{LB}&set=node/shop-worker=removed": "Packets end otherwise.",
    f"{LB}&set=svc/production/public-api.spec.type=ClusterIP": "Packets end otherwise.",
    f"{LB}&set=mode=nftables": "Nothing changes for these packets: they take another way",
    f"{POD}&set=networkpolicy/production/backend-only-from-checkout=deleted": "Packets end in the same places with the same odds, but something else is found of them.",
}


@pytest.mark.parametrize("width", SIZES)
def test_six_what_ifs_of_the_shop(browser: Browser, live_url: str, width: int) -> None:
    context = browser.new_context(base_url=live_url, viewport={"width": width, "height": SIZES[width]})
    page = context.new_page()
    for asked, sentence in SHOP.items():
        page.goto(f"/c/shop-iptables/compare?{asked}")
        expect(page.locator("#differences h2")).to_contain_text(sentence)
        assert violations(page) == [], asked
        assert fits(page), asked
    context.close()


def test_an_offer_is_asked_taken_back_and_compared(page: Page) -> None:
    page.goto(ASKED)
    page.click(".wi-more summary")
    page.get_by_role("link", name="externalTrafficPolicy: Local").click()
    expect(page.locator(".chips .chip")).to_have_count(1)
    expect(page).to_have_url(re.compile(r"set=svc/production/public-api\.spec\.externalTrafficPolicy=Local"))
    page.get_by_role("link", name="Compare with as it is").click()
    expect(page.locator("#differences h2")).to_have_text("Packets end otherwise.")
    page.get_by_role("link", name="Trace page").click()
    page.locator(".chips .chip a").click()
    expect(page.locator(".chips .chip")).to_have_count(0)
    expect(page).not_to_have_url(re.compile("set="))

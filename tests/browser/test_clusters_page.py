"""The clusters' pages in a browser, with a recorded API server behind a kubeconfig: check, connect, watch the nodes being read, keep."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from tests.browser.axe import violations
from tests.browser.live_page import PATIENCE, pill
from tests.browser.test_trace_page import watch
from tests.live_server import LiveServer, live_server
from tests.webapp.live.following import recorded
from webapp.recorded_api import RecordedApi, serve

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser
ASKED = "from=pod:default/client-5b59cb7b48-2bqm6&to=svc:default/api:80"


@pytest.fixture(scope="module")
def api() -> RecordedApi:
    """Return the recorded API, which a test may move."""
    return RecordedApi(recorded())


@pytest.fixture(scope="module")
def connected(api: RecordedApi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """Return a running server whose kubeconfig leads to the recorded API."""
    folder = tmp_path_factory.mktemp("clusters")
    with serve(api) as server:
        (folder / "kubeconfig").write_text(server.kubeconfig())
        with live_server(folder / "data", "--no-demo", HOPLINE_KUBECONFIG=str(folder / "kubeconfig")) as hopline:
            yield hopline


def test_check_connect_and_follow(browser: Browser, connected: LiveServer, api: RecordedApi) -> None:
    context = browser.new_context(base_url=connected.url, viewport={"width": 1440, "height": 900})
    page = context.new_page()
    said = watch(page)
    page.goto("/clusters")
    page.get_by_role("button", name="Check connection").click()
    page.get_by_text("Everything that is needed is granted.").wait_for(timeout=PATIENCE)
    expect(page).to_have_url(re.compile(re.escape("/clusters") + "$"))  # only the part was fetched
    assert violations(page) == []
    page.get_by_role("button", name="Connect", exact=True).click()
    page.wait_for_url("**/clusters/recorded")
    pill(page, "Live")
    # The table of nodes fills by itself.
    page.wait_for_function("() => document.querySelectorAll('#cluster-now .nodes tbody tr time').length === 4", timeout=PATIENCE)
    expect(page.locator("#node-shop-worker")).to_contain_text("lacks")
    assert violations(page) == []
    page.goto(f"/c/recorded/trace?{ASKED}")
    page.wait_for_function("() => document.querySelectorAll('#g .pl').length === 3", timeout=PATIENCE)
    expect(page.locator("#live-text")).to_contain_text("Live, rules read")
    expect(page.locator("#timeline")).to_have_count(0)
    api.advance_to(9.565)
    page.wait_for_function("() => document.querySelectorAll('#g .pl').length === 5", timeout=PATIENCE)
    save(page)
    assert said == []
    context.close()


def save(page: Page) -> None:
    """Save the moment from the cluster's page, and see that it is a snapshot like any other."""
    page.goto("/clusters/recorded")
    page.fill("#name", "after the scaling")
    page.get_by_role("button", name="Save this moment as a snapshot").click()
    page.wait_for_url("**/snapshots/*")
    expect(page.locator("h1")).to_have_text("after the scaling")


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (360, "dark"), (1440, "dark")])
def test_axe_finds_nothing_and_nothing_is_too_wide(browser: Browser, connected: LiveServer, width: int, scheme: Any) -> None:
    context = browser.new_context(base_url=connected.url, viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    found: dict[str, list[str]] = {}
    for path in ("/clusters", "checked", "/clusters/recorded", "/"):
        if path == "checked":
            page.get_by_text("All that Hopline runs").click()
            page.get_by_role("button", name="Check connection").click()
            page.get_by_text("Everything that is needed is granted.").wait_for(timeout=PATIENCE)
        else:
            page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") == width, path
        if broken := violations(page):
            found[path] = broken
    context.close()
    assert found == {}


def test_without_javascript_it_is_forms(browser: Browser, connected: LiveServer) -> None:
    context = browser.new_context(base_url=connected.url, java_script_enabled=False)
    page = context.new_page()
    page.goto("/clusters")
    page.get_by_role("button", name="Check connection").click()
    expect(page.locator("main")).to_contain_text("Everything that is needed is granted.")
    page.get_by_role("button", name="Connect", exact=True).click()
    page.get_by_role("link", name="Reload").click()
    expect(page.locator("h1")).to_contain_text("recorded")
    context.close()


def test_an_open_page_goes_on_after_the_cluster_was_connected_anew(browser: Browser, connected: LiveServer, api: RecordedApi) -> None:
    context = browser.new_context(base_url=connected.url, viewport={"width": 1440, "height": 900})
    other = context.new_page()
    connect(other)
    page = context.new_page()
    page.goto(f"/c/recorded/trace?{ASKED}")
    page.wait_for_selector("#g .pl", timeout=PATIENCE)
    other.get_by_role("button", name="Disconnect").click()
    other.wait_for_url("**/clusters")
    pill(page, "Stopped")
    connect(other)
    pill(page, "Live")
    api.advance_to(api.timeline.steps[2].position)
    page.wait_for_function("() => document.querySelectorAll('#g .pl').length === 4", timeout=PATIENCE)
    context.close()


def connect(page: Page) -> None:
    """Connect the recorded cluster, if it is not, and open its page."""
    page.goto("/clusters")
    page.get_by_role("button", name="Connect", exact=True).click()
    page.wait_for_url("**/clusters/recorded")
    page.wait_for_function("() => document.querySelectorAll('#cluster-now .nodes tbody tr time').length >= 4", timeout=PATIENCE)

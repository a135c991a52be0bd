"""Fixtures of the pages: one running server for all of them, headless Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.browser.live_page import PATIENCE
from tests.conftest import chromium_path
from tests.live_server import LiveServer, live_server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

CHROMIUM_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="package")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """Return a running server with the demonstration clusters loaded; shared by all pages, so leave it as it was."""
    # Nodes are read late where every processor is busy: a change is waited for longer than people would.
    with live_server(tmp_path_factory.mktemp("live"), HOPLINE_SETTLE_SECONDS="20") as server:
        yield server


@pytest.fixture(scope="package")
def live_url(live: LiveServer) -> str:
    """Return the address of the running server."""
    return live.url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return a headless Chromium with a fresh profile, for one module: Django must not meet Playwright's event loop in the next."""
    path = chromium_path()
    if path is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=list(CHROMIUM_FLAGS))
        yield launched
        launched.close()


@pytest.fixture
def context(browser: Browser, live_url: str) -> Iterator[BrowserContext]:
    """Return a clean browser context on the running server, 1440 pixels wide."""
    made = browser.new_context(base_url=live_url, viewport={"width": 1440, "height": 900})
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """Return an empty page of the clean context."""
    return context.new_page()

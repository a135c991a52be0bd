"""Fixtures for every test: the recordings beside the project, a running server, headless Chromium."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.live_server import LiveServer, live_server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

PROJECT = Path(__file__).resolve().parent.parent
SHARED = PROJECT.parent / "shared"
DEMO = PROJECT / "demo"
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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, with the reason, what this machine cannot run."""
    lacking = {
        "needs_root": None if os.geteuid() == 0 else "needs root (network namespaces)",
        "needs_shared": None if SHARED.is_dir() else "needs the recordings in ../shared",
        "browser": None if chromium_path() else "needs Chromium: apt-get install chromium",
    }
    for item in items:
        for marker, reason in lacking.items():
            if reason and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


def chromium_path() -> str | None:
    """Return where Chromium is installed, or None."""
    return next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of recordings, truth and conformance files; skips without it."""
    if not SHARED.is_dir():
        pytest.skip("needs the recordings in ../shared")
    return SHARED


@pytest.fixture(scope="session")
def demo() -> Path:
    """Return the project's own recordings."""
    return DEMO


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """Return a running server with the demonstration clusters loaded; shared by all tests, so leave it as it was."""
    with live_server(tmp_path_factory.mktemp("live")) as server:
        yield server


@pytest.fixture(scope="session")
def live_url(live: LiveServer) -> str:
    """Return the address of the running server."""
    return live.url


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., LiveServer]]:
    """Return a function that starts a server of its own: ``start_server("--no-demo", HOPLINE_ACCESS_KEY="…")``."""
    with ExitStack() as stack:
        yield lambda *arguments, **changes: stack.enter_context(live_server(tmp_path / "data", *arguments, **changes))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return a headless Chromium with a fresh profile, for one module: Django must not meet Playwright's event loop in the next."""
    path = chromium_path()
    if path is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    from playwright.sync_api import sync_playwright

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

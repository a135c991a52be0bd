"""Fixtures for every test: the recordings beside the project, servers of a test's own; and which tests run where."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.live_server import LiveServer, live_server
from tests.schedule import in_order, scope_of

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import LoadScopeScheduling

PROJECT = Path(__file__).resolve().parent.parent
SHARED = PROJECT.parent / "shared"
DEMO = PROJECT / "demo"


def pytest_configure() -> None:
    """Take Ctrl-C as a terminal's programs do: what a shell started behind ``&`` ignores it, and what the tests start would, too."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


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
    places = {nodeid: place for place, nodeid in enumerate(in_order([item.nodeid for item in items]))}
    items.sort(key=lambda item: places[item.nodeid])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Give the workers whole scopes, in the order of the tests."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return scope_of(nodeid)

    config.option.loadscopereorder = False
    return Scheduling(config, log)


def chromium_path() -> str | None:
    """Return where Chromium is installed, or None; its build without windows where there is one: each page costs a third of the processor."""
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


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


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., LiveServer]]:
    """Return a function that starts a server of its own: ``start_server("--no-demo", HOPLINE_ACCESS_KEY="…")``."""
    with ExitStack() as stack:
        yield lambda *arguments, **changes: stack.enter_context(live_server(tmp_path / "data", *arguments, **changes))

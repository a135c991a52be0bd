"""The live graph in a browser (L1 to L4): it moves with the cluster, never under somebody who steps, and survives the loss of its line."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from tests.browser.axe import violations
from tests.browser.live_page import PATIENCE, odds, opened, pill, seek
from tests.browser.test_trace_page import POLICY, quiet, step_of, wait_for_step, watch
from tests.browser.waiting import becomes
from tests.live_server import free_port, live_server
from tests.sizes import diagonal, every

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser
__all__ = ["quiet"]

# Where each box stands by what is drawn, frame by frame, while a change is shown.
_RECORD = """() => {
  window.frames = [];
  const known = new Set([...document.querySelectorAll('#g .nodes > .n')].map((node) => node.id));
  const kept = window.kept;
  const began = performance.now();
  (function look() {
    const fresh = [...document.querySelectorAll('#g .nodes > .n')].filter((node) => !known.has(node.id));
    const offset = document.getElementById('g').getBoundingClientRect().top;
    window.frames.push([kept.getBoundingClientRect().top - offset, fresh.length, Math.min(1, ...fresh.map((n) => Number(getComputedStyle(n).opacity)))]);
    if (performance.now() - began < 12000) requestAnimationFrame(look);
  })();
}"""
# conntrack is no row: it stands where there is room for it.
_ROWS = "() => [...document.querySelectorAll('#g .nodes > .n:not(.k-conntrack)')].map((n) => [n.id, n.getBoundingClientRect().left, n.getBoundingClientRect().top])"
_NO_SOCKETS = """
  Math.random = () => 0;
  window.WebSocket = class extends EventTarget { constructor() { super(); setTimeout(() => this.dispatchEvent(new CloseEvent('close', { code: 1006 })), 5); } };
"""
_KEEP_LINES = "const Real = WebSocket; window.lines = []; window.WebSocket = class extends Real { constructor(...a) { super(...a); window.lines.push(this); } };"
_TELL = "(told) => told.forEach((one) => window.lines.at(-1).dispatchEvent(new MessageEvent('message', { data: JSON.stringify(one) })))"
_NO_EVENTS = "window.EventSource = class extends EventTarget { constructor() { super(); setTimeout(() => this.dispatchEvent(new Event('error')), 5); } close() {} };"


# --- L1: it moves ------------------------------------------------------------------------------------------------------


def test_two_pods_glide_in_and_odds_change_from_a_third_to_a_fifth(quiet: Page) -> None:
    page = quiet
    opened(page)
    page.focus("#g .n[aria-current]")
    step, followed = step_of(page), page.inner_text(".gt .fol").split(",")[0]
    page.evaluate(
        "window.kept = document.querySelector('#g .k-choice, #g .k-svc') || document.activeElement; window.held = document.activeElement"
    )
    page.evaluate(_RECORD)
    seek(page, 2)
    odds(page, ["1/5"] * 5)
    page.wait_for_timeout(1000)
    assert page.evaluate("window.kept.isConnected && window.held === document.activeElement"), "the same elements, and the focus stays"
    becomes(page, step_of, step)
    expect(page.locator(".gt .fol")).to_have_text(re.compile("^\\s*" + re.escape(followed) + ","))
    frames = page.evaluate("window.frames")
    first, last = frames[0][0], frames[-1][0]
    assert abs(last - first) > 5, "the box has another place"
    between = [top for top, *_ in frames if min(first, last) + 1 < top < max(first, last) - 1]
    assert between, "it is drawn on its way there"
    assert any(count >= 2 and 0 < opacity < 1 for _, count, opacity in frames), "what is new fades in"


def test_a_live_change_does_not_shift_the_page(quiet: Page) -> None:
    quiet.add_init_script(
        "window.shift = 0; window.moved = 0; new PerformanceObserver((l) => { for (const e of l.getEntries()) { window.shift += e.value; window.moved = performance.now(); } }).observe({type: 'layout-shift', buffered: true})"
    )
    opened(quiet)
    seek(quiet, 2)  # the answer becomes one of several ends, and has more to say
    odds(quiet, ["1/5"] * 5)
    quiet.wait_for_timeout(700)
    # On a busy machine the page is still settling then.
    quiet.wait_for_function("() => performance.now() - window.moved > 700", timeout=PATIENCE)
    quiet.evaluate("window.shift = 0")
    seek(quiet, 3)
    odds(quiet, ["1/4"] * 4)
    quiet.wait_for_timeout(800)
    assert quiet.evaluate("window.shift") <= 0.02


def test_playing_moves_the_bar_and_the_picture(quiet: Page) -> None:
    opened(quiet)
    quiet.click("#tl-play")
    pill(quiet, "Playing, step 2 of 12")
    expect(quiet.locator("#tl-title")).to_have_text("api scaled from 3 to 5")
    odds(quiet, ["1/5"] * 5)
    quiet.click("#tl-play")
    pill(quiet, "Paused, step")
    place = quiet.input_value("#tl-place")
    quiet.wait_for_timeout(500)
    expect(quiet.locator("#tl-place")).to_have_value(place)


def test_the_scrubber_goes_by_keys(quiet: Page) -> None:
    opened(quiet)
    quiet.focus("#tl-place")
    quiet.keyboard.press("ArrowRight")
    pill(quiet, "Paused, step 2 of 12")
    expect(quiet.locator("#tl-place")).to_have_attribute("aria-valuetext", "Step 2 of 12: api scaled from 3 to 5")
    odds(quiet, ["1/5"] * 5)
    quiet.keyboard.press("ArrowLeft")
    odds(quiet, ["1/3"] * 3)


# --- L2: never under somebody who steps ----------------------------------------------------------------------------------


def test_nothing_moves_under_somebody_who_steps(quiet: Page) -> None:
    page = quiet
    opened(page)
    page.locator("#steps a[data-step='2']").click()
    wait_for_step(page, 2)
    drawn = page.evaluate("document.getElementById('g').outerHTML")
    seek(page, 2)
    page.wait_for_selector("#live-bar:not([hidden])", timeout=PATIENCE)
    pill(page, "Paused")
    assert page.evaluate("document.getElementById('g').outerHTML") == drawn
    # The step belongs to the answer that is shown, not to the newer one.
    page.locator("#steps a[data-step='3']").click()
    wait_for_step(page, 3)
    expect(page.locator("#pt")).to_contain_text("of 3 picked")
    page.wait_for_function("() => /The answer is now/.test(document.querySelector('[data-live-all]').textContent)", timeout=PATIENCE)
    page.get_by_text("Show changes").click()
    # What becomes of a packet to a pod that is newer than the routes is not known: nobody is said to be reached.
    expect(page.locator("[data-live-all]")).to_contain_text("3 of 5 paths deliver")
    expect(page.locator("[data-live-all]")).not_to_contain_text("reached")
    expect(page.locator("[data-live-all]")).to_contain_text("1/5 instead of 1/3")
    expect(page.locator("#g .pl")).to_have_count(3)
    page.get_by_role("button", name="Update").click()
    odds(page, ["1/5"] * 5)
    expect(page.locator("#live-bar:not([hidden])")).to_have_count(0)
    becomes(page, step_of, 3)


def test_what_is_typed_is_not_overwritten(quiet: Page) -> None:
    opened(quiet)
    quiet.fill("#to", "production/public-api:443")
    quiet.locator("h1").click()
    seek(quiet, 2)
    quiet.wait_for_selector("#live-bar:not([hidden])", timeout=PATIENCE)
    expect(quiet.locator("#to")).to_have_value("production/public-api:443")
    quiet.get_by_role("button", name="Trace", exact=True).click()
    quiet.wait_for_url(re.compile("svc:production"))
    quiet.wait_for_function("() => document.getElementById('live-bar')?.hidden !== false")


# --- L3: the line is lost --------------------------------------------------------------------------------------------------


def test_the_page_survives_the_servers_death(browser: Browser, tmp_path: Path) -> None:
    port = free_port()
    with live_server(tmp_path / "data", port=port) as server:
        context = browser.new_context(base_url=server.url, viewport={"width": 1440, "height": 900})
        page = context.new_page()
        page.add_init_script("Math.random = () => 0")
        opened(page)
        pill(page, "Paused, step 1")
        server.kill()
        page.wait_for_function("() => document.getElementById('live-status').dataset.state === 'reconnecting'", timeout=2000)
        expect(page.locator("#live-text")).to_contain_text("Reconnecting")
        expect(page.locator("#g .pl")).to_have_count(3)  # what was shown stays
    with live_server(tmp_path / "data", port=port):
        pill(page, "Paused, step 1")
        seek(page, 2)
        odds(page, ["1/5"] * 5)
        context.close()


def test_a_change_while_the_line_was_lost_is_told_afterwards(browser: Browser, live_url: str) -> None:
    context = browser.new_context(base_url=live_url, viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.add_init_script(_KEEP_LINES)
    path = opened(page)
    sent = []
    page.on("websocket", lambda line: line.on("framesent", lambda frame: sent.append(str(frame))))
    other = context.new_page()
    other.goto(path)
    context.set_offline(True)
    page.evaluate("window.lines.at(-1).close()")
    page.wait_for_function("() => document.getElementById('live-status').dataset.state === 'reconnecting'", timeout=2500)
    context.set_offline(False)
    seek(other, 2)
    odds(page, ["1/5"] * 5)
    pill(page, "Paused, step 2")
    assert re.search(r'"since":\s*[0-9]+', sent[0])
    context.close()


@pytest.mark.parametrize(
    "told",
    [
        [{"type": "generation", "gen": 0, "changed": ["*"]}],
        [{"type": "source", "state": "stopped"}, {"type": "source", "state": "connecting"}, {"type": "source", "state": "live"}],
    ],
    ids=["the generation falls", "stopped, then live"],
)
def test_a_cluster_connected_anew_is_looked_at_again(browser: Browser, live_url: str, told: list[dict[str, Any]]) -> None:
    context = browser.new_context(base_url=live_url, viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.add_init_script(_KEEP_LINES)
    opened(page)
    page.wait_for_timeout(3000)
    with page.expect_request(lambda request: "/trace?" in request.url and request.headers.get("hx-target") == "trace", timeout=PATIENCE):
        page.evaluate(_TELL, told)
    context.close()


@pytest.mark.parametrize(("broken", "asked"), [(_NO_SOCKETS, "/events?since="), (_NO_SOCKETS + _NO_EVENTS, "/state?since=")])
def test_without_sockets_the_changes_come_otherwise(browser: Browser, live_url: str, broken: str, asked: str) -> None:
    context = browser.new_context(base_url=live_url, viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.add_init_script(broken)
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    opened(page)
    page.wait_for_function(
        "(asked) => performance.getEntriesByType('resource').some((e) => e.name.includes(asked))", arg=asked, timeout=PATIENCE
    ) if asked.startswith("/state") else page.wait_for_timeout(4500)
    seek(page, 2)
    odds(page, ["1/5"] * 5)
    assert any(asked in url for url in requests)
    context.close()


# --- L4: rows stay in order -------------------------------------------------------------------------------------------------


def test_two_changes_never_reorder_what_stays(quiet: Page) -> None:
    opened(quiet)
    before = settled(quiet)
    seek(quiet, 2)
    odds(quiet, ["1/5"] * 5)
    between = settled(quiet)
    assert in_order(before, between)
    seek(quiet, 3)
    odds(quiet, ["1/4"] * 4)
    assert in_order(between, settled(quiet))


def settled(page: Page) -> list[tuple[str, float, float]]:
    """Return the boxes with their places, when they have come to rest: on a busy machine a glide takes longer than its time."""
    before: list[tuple[str, float, float]] = []
    for _ in range(40):
        page.wait_for_timeout(450)
        now = rows(page)
        if now == before:
            return now
        before = now
    raise AssertionError("the boxes never come to rest")


def rows(page: Page) -> list[tuple[str, float, float]]:
    """Return the boxes with their places."""
    return [tuple(row) for row in page.evaluate(_ROWS)]


def in_order(before: list[tuple[str, float, float]], after: list[tuple[str, float, float]]) -> bool:
    """Return whether boxes of one column that both pictures have stand in the same order in both."""
    places = {name: top for name, _, top in after}
    stay = [row for row in before if row[0] in places]
    columns = {round(left / 40) for _, left, _ in stay}
    found = []
    for column in columns:
        names = [name for name, left, _ in sorted(stay, key=lambda row: row[2]) if round(left / 40) == column]
        found.append(names == sorted(names, key=places.__getitem__))
    return bool(found) and all(found)


# --- access, phones, no JavaScript ------------------------------------------------------------------------------------------


LOOKS = [(1440, 900, "light"), (1440, 900, "dark"), (390, 844, "light"), (360, 740, "dark")]


@pytest.mark.parametrize(("width", "height", "scheme"), every(LOOKS, 2))
def test_axe_finds_nothing_and_nothing_is_too_wide(browser: Browser, live_url: str, width: int, height: int, scheme: Any) -> None:
    context = browser.new_context(base_url=live_url, viewport={"width": width, "height": height}, color_scheme=scheme)
    page = context.new_page()
    said = watch(page)
    path = opened(page)
    found: dict[str, list[str]] = {}
    name = path.split("/")[2]
    others = ("/clusters", f"/clusters/{name}", "/", "/snapshots/shop-timeline", f"/c/{name}/trace", f"/c/{name}/dns")
    for address in (path, *(other for look, other in diagonal(LOOKS, others, 3) if look == (width, height, scheme))):
        page.goto(address)
        page.evaluate("() => { document.querySelector('.canvas')?.scrollTo(0, 0); scrollTo(0, 0); }")
        assert page.evaluate("document.documentElement.scrollWidth") == width, address
        if address == path:
            expect(page.locator("#verdict")).to_have_count(1)
        if broken := violations(page):
            found[address] = broken
    page.goto(path)
    page.click("#live-status")
    found |= {"menu": broken} if (broken := violations(page)) else {}
    page.keyboard.press("Escape")
    page.locator("#steps a[data-step='2']").click()
    wait_for_step(page, 2)
    seek(page, 2)
    page.wait_for_selector("#live-bar:not([hidden])", timeout=PATIENCE)
    found |= {"bar": broken} if (broken := violations(page)) else {}
    context.close()
    assert found == {}
    assert said == []


def test_the_content_policy_is_exact(page: Page) -> None:
    path = opened(page)
    policy = page.goto(path).headers["content-security-policy"]
    assert sorted(part.strip() for part in policy.split(";")) == sorted(part.strip() for part in POLICY.split(";"))


def test_without_javascript_a_timeline_is_forms_and_links(browser: Browser, live_url: str) -> None:
    context = browser.new_context(base_url=live_url, java_script_enabled=False, viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto("/")
    page.get_by_role("button", name="Play shop-timeline").first.click()
    reload_until(page, lambda: page.locator("#g .pl").count() == 3)
    page.get_by_role("button", name="2 api scaled from 3 to 5").click()
    reload_until(page, lambda: page.locator("#g .pl").count() == 5)
    expect(page.locator("#tl-title")).to_have_text("api scaled from 3 to 5")
    page.select_option("#tl-speed", "5")
    page.get_by_role("button", name="Set speed").click()
    expect(page.locator("#tl-speed")).to_have_value("5")
    page.get_by_role("button", name="Play", exact=True).first.click()
    expect(page.locator("#tl-play")).to_have_text("Pause")
    context.close()


def reload_until(page: Page, holds: Callable[[], bool]) -> None:
    """Press Reload until *holds*."""
    for _ in range(40):
        if holds():
            return
        page.wait_for_timeout(500)
        page.get_by_role("link", name="Reload").click()
    raise AssertionError("it never came")


def test_a_frozen_answer_of_a_timeline_opens_for_ever(quiet: Page) -> None:
    opened(quiet)
    quiet.get_by_role("button", name="Freeze").click()
    quiet.get_by_role("button", name="Make the link").click()
    quiet.wait_for_url(re.compile(r"/t/\w{26}"))
    expect(quiet.locator("#g .pl")).to_have_count(3)
    expect(quiet.locator("#timeline")).to_have_count(0)
    expect(quiet.get_by_role("link", name="Open in shop-timeline")).to_have_count(1)


def test_scripts_styles_and_pages_stay_small(page: Page) -> None:
    path = opened(page)
    sizes = {"js": 0, "css": 0}
    page.on(
        "response",
        lambda r: (
            sizes.__setitem__(kind, sizes[kind] + len(gzip.compress(r.body()))) if (kind := r.url.rpartition(".")[2]) in sizes else None
        ),
    )
    response = page.goto(path)
    page.wait_for_selector("#tl-title")
    page.wait_for_timeout(1000)
    assert 0 < sizes["js"] <= 40_000
    assert 0 < sizes["css"] <= 12_000
    assert len(gzip.compress(response.body())) <= 30_000


def test_steps_have_words_the_caption_is_whole_and_one_player_plays(quiet: Page) -> None:
    opened(quiet)
    expect(quiet.locator("#tl-play")).to_be_visible()
    expect(quiet.locator("#play")).to_be_hidden()
    quiet.get_by_text("All 12 steps in words").click()
    expect(quiet.locator(".tl-all button")).to_have_count(12)
    quiet.get_by_role("button", name="5 public-api switched to externalTrafficPolicy Local").last.click()
    expect(quiet.locator("#tl-title")).to_have_text("public-api switched to externalTrafficPolicy Local")
    shown = quiet.evaluate(
        "(({ scrollWidth, clientWidth, scrollHeight, clientHeight }) => [scrollWidth - clientWidth, scrollHeight - clientHeight])"
        "(document.getElementById('tl-title'))"
    )
    assert shown == [0, 0]
    assert quiet.evaluate("getComputedStyle(document.getElementById('tl-title')).textOverflow") == "clip"

"""The trace page in a browser: accessible, steppable by keys, the same from its address, quiet on the console."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from tests.browser.axe import violations
from tests.browser.waiting import becomes, focused, holds
from tests.frozen_links import frozen_path, made_document
from tests.live_server import LiveServer
from tests.made_traces import Made, lb_trace
from tests.sizes import diagonal

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

pytestmark = pytest.mark.browser
TRACE = "/c/shop-iptables/trace"
CONNECTIONS = "/c/shop-iptables/connections?node=shop-worker"
AFFINE = f"{TRACE}?from=node:shop-worker&to=svc:production/backend-api:80"
NAMED = f"{TRACE}?from=node:shop-worker&to=public-api.production.svc.cluster.local:443"
ASKED = f"{TRACE}?from=external:203.0.113.10&to=198.51.100.10:443"
LEAVING = f"{TRACE}?from=node:shop-worker&to=192.0.2.53:53&protocol=udp"
ZONES = {"shop-worker": "us-east-1a", "shop-worker1": "us-east-1b", "shop-worker2": "us-east-1c"}
SIZES = {1440: 900, 390: 844, 360: 740}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'; object-src 'none'"
)


@pytest.fixture
def quiet(page: Page) -> Iterator[Page]:
    """Return a page that must not say anything on the console nor break the content policy."""
    said = watch(page)
    yield page
    assert said == []


def watch(page: Page) -> list[str]:
    """Return a list that fills with what *page* complains about."""
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.add_init_script(
        "addEventListener('securitypolicyviolation', (e) => console.error('CSP ' + e.violatedDirective + ' ' + e.blockedURI))"
    )
    return said


def step_of(page: Page) -> int:
    return int(page.get_attribute("#inspector", "data-step") or 0)


def wait_for_step(page: Page, step: int) -> None:
    page.wait_for_function("(n) => document.getElementById('inspector').dataset.step === String(n)", arg=step, timeout=5000)


def normal(page: Page) -> list[str]:
    """Return the page's content in lines, without what differs by request (CSRF tokens) or is the viewport's."""
    html = page.evaluate("""() => {
      const copy = document.getElementById('trace').cloneNode(true);
      for (const field of copy.querySelectorAll('[name=csrfmiddlewaretoken]')) field.remove();
      for (const node of copy.querySelectorAll('[class]')) {
        node.className.baseVal === undefined && node.setAttribute('class', [...node.classList].filter((c) => !c.startsWith('htmx-')).sort().join(' '));
      }
      for (const node of copy.querySelectorAll('*')) {
        const all = [...node.attributes].map((a) => [a.name, a.value]).sort((a, b) => (a[0] < b[0] ? -1 : 1));
        for (const [name] of all) node.removeAttribute(name);
        for (const [name, value] of all) node.setAttribute(name, value);
      }
      for (const level of copy.querySelectorAll('#zoom-level, #say, #toast')) level.textContent = '';
      return copy.innerHTML.replace(/\\s+/g, ' ').replace(/></g, '>\\n<').replace(/> </g, '>\\n<');
    }""")
    return html.splitlines()


# axe takes a row that tabs or sheet cover almost for a small target: scroll on until none is cut so.
WHOLE_ROWS = """() => {
  const edge = (name, side, otherwise) => document.querySelector(name)?.getBoundingClientRect()[side] ?? otherwise;
  for (let tries = 0; tries < 12; tries += 1) {
    const top = edge('.tabs', 'bottom', 0), bottom = edge('.sheet', 'top', innerHeight);
    const rows = [...document.querySelectorAll('#steps a')].map((row) => row.getBoundingClientRect());
    const seen = rows.flatMap((row) => [Math.min(row.bottom, bottom) - Math.max(row.top, top), Math.min(row.bottom - innerHeight, row.height)]);
    if (!seen.some((height) => height > 0 && height < 24)) return;
    scrollBy(0, 7);
  }
}"""


# --- A: access ---------------------------------------------------------------------------------------------------------


LOOKS = [(width, scheme) for scheme in ("light", "dark") for width in SIZES]
LOOKED_AT = (
    f"{ASKED}&step=1",
    ASKED,
    f"{ASKED}&step=16",
    f"{ASKED}&view=graph",
    f"{ASKED}&expand=all",
    TRACE,
    f"{TRACE}?from_name=&to=a+b",
    f"{AFFINE}&state=returning",
    f"{NAMED}&resolver=musl",
    f"{TRACE}?connection=shop-worker:1",
    CONNECTIONS,
    LEAVING,
    f"{ASKED}&assume=front:kept&assume=network:drops-pods",
)


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_axe_finds_nothing(browser: Browser, live_url: str, width: int, scheme: Any) -> None:
    context = browser.new_context(base_url=live_url, viewport={"width": width, "height": SIZES[width]}, color_scheme=scheme)
    page = context.new_page()
    found: dict[str, list[str]] = {}
    for path in (path for look, path in diagonal(LOOKS, LOOKED_AT, 6) if look == (width, scheme)):
        page.goto(path)
        # axe compares names with the text it can see: a box that the frame cuts at its left has half of its text.
        page.evaluate("() => document.querySelector('.canvas')?.scrollTo(0, 0)")
        page.evaluate(WHOLE_ROWS)
        if broken := violations(page):
            found[path] = broken
    context.close()
    assert found == {}


def test_axe_finds_nothing_in_legend_menus_and_sheet(browser: Browser, live_url: str) -> None:
    context = browser.new_context(base_url=live_url, viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto(ASKED)
    for button in ("Legend", "Export", "Freeze"):
        page.get_by_role("button", name=button, exact=True).click()
        assert violations(page) == [], button
        page.keyboard.press("Escape")
    page.set_viewport_size({"width": 390, "height": 844})
    page.get_by_role("button", name="Rule and reason").click()
    page.evaluate(WHOLE_ROWS)
    assert violations(page) == []
    context.close()


def test_another_setting_of_an_assumption_is_asked_in_place(quiet: Page) -> None:
    page = quiet
    page.goto(ASKED)
    page.evaluate("() => { document.body.dataset.same = '1'; }")
    expect(page.locator(".assumed .aw")).to_have_text("front:node-port")
    page.locator(".assumed").get_by_role("link", name="front:kept").click()
    page.wait_for_function("() => document.querySelector('.assumed .aw').textContent === 'front:kept'", timeout=20000)
    expect(page).to_have_url(re.compile(re.escape("to=198.51.100.10:443&assume=front:kept") + "$"))
    assert page.evaluate("() => document.body.dataset.same") == "1"
    page.go_back()
    page.wait_for_function("() => document.querySelector('.assumed .aw').textContent === 'front:node-port'", timeout=20000)


def test_what_leaves_the_cluster_is_not_red(quiet: Page) -> None:
    page = quiet
    page.goto(LEAVING)
    expect(page.locator("#vt")).to_have_text("Leaves the cluster")
    colours = page.evaluate("""() => {
      const style = getComputedStyle(document.documentElement), probe = document.createElement('i');
      document.body.append(probe);
      const of = (name) => { probe.style.color = `var(--${name})`; return getComputedStyle(probe).color; };
      const box = getComputedStyle(document.querySelector('#g .k-outside .sh'));
      return { out: of('out'), bad: of('bad'), drawn: [box.fill, box.stroke], icon: getComputedStyle(document.querySelector('.vi.out .outs')).stroke };
    }""")
    assert colours["out"] in colours["drawn"] and colours["icon"] == colours["out"]
    assert colours["bad"] not in colours["drawn"]


def test_arrow_keys_in_the_picture_step(quiet: Page) -> None:
    page = quiet
    page.goto(ASKED)
    start = step_of(page)
    page.focus("#g .n[aria-current]")
    page.keyboard.press("ArrowRight")
    wait_for_step(page, start + 1)
    expect(page).to_have_url(re.compile(re.escape(f"step={start + 1}")))
    becomes(page, focused("getAttribute('aria-current')"), "step")
    holds(page, lambda page: str(start + 1) in (page.evaluate("document.activeElement.dataset.steps") or "").split(","))
    expect(page.locator("#say")).to_contain_text(f"Step {start + 1} of 16. ")
    page.keyboard.press("Home")
    wait_for_step(page, 1)
    expect(page.locator("#say")).to_contain_text("Step 1 of 16. Client sends SYN. ")
    page.keyboard.press("End")
    wait_for_step(page, 16)
    expect(page.locator("#g .n[tabindex='0']")).to_have_count(1)  # the picture is one Tab stop


def test_up_and_down_go_to_the_sibling(quiet: Page) -> None:
    quiet.goto(f"{ASKED}&step=7")
    quiet.focus("#g .n[aria-current]")
    before = quiet.evaluate("document.activeElement.id")
    quiet.keyboard.press("ArrowUp")
    expect(quiet.locator("#g .n:focus")).not_to_have_attribute("id", before)
    expect(quiet.locator("#g .n:focus")).to_have_attribute("aria-label", re.compile("KUBE-SEP"))
    quiet.keyboard.press("Enter")
    quiet.wait_for_url(re.compile("follow="))


def test_letters_as_keys_can_be_switched_off(quiet: Page) -> None:
    quiet.goto(f"{ASKED}&step=3")
    quiet.keyboard.press("j")
    wait_for_step(quiet, 4)
    quiet.get_by_role("button", name="Legend").click()
    quiet.uncheck("#shortcuts")
    quiet.keyboard.press("Escape")
    quiet.keyboard.press("j")
    quiet.keyboard.press("/")
    quiet.wait_for_timeout(300)
    becomes(quiet, step_of, 4)
    assert quiet.evaluate("document.activeElement.id") != "find"


@pytest.mark.parametrize(("width", "least"), [(1440, 24), (390, 24)])
def test_targets_are_large_enough(page: Page, width: int, least: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    page.goto(f"{ASKED}&expand=all")
    small = page.evaluate(
        """(least) => [...document.querySelectorAll('a, button, select, input, summary')].filter((e) => {
          const box = e.getBoundingClientRect();
          if (!box.width || !e.checkVisibility() || e.closest('#g, p, dd, .mut, td, .skip, li > span') || e.type === 'radio' || e.type === 'checkbox') return false;
          return box.height < least || box.width < least;
        }).map((e) => e.outerHTML.slice(0, 120))""",
        least,
    )
    assert small == []


@pytest.mark.parametrize("width", [360, 320])
@pytest.mark.parametrize(
    "path",
    [ASKED, f"{ASKED}&view=graph", f"{ASKED}&expand=all", TRACE, f"{TRACE}?from_name=&to=a+b", f"{ASKED}&detail=rules", NAMED, CONNECTIONS],
)
def test_nothing_is_wider_than_a_phone(page: Page, width: int, path: str) -> None:
    page.set_viewport_size({"width": width, "height": 740})
    page.goto(path)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    clipped = page.evaluate(
        """() => [...document.querySelectorAll('.verdict h1, .verdict p, .st .ti, .st .ad, .sheet h2 em, .tup td')].filter((e) => e.checkVisibility())
          .filter((e) => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== 'inline').map((e) => e.textContent.slice(0, 60))"""
    )
    assert clipped == []


def test_focus_is_not_hidden_by_tabs_or_sheet(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(ASKED)
    hidden = []
    for _ in range(40):
        page.keyboard.press("Tab")
        covered = page.evaluate(
            """() => { const e = document.activeElement; if (!e || e === document.body) return null; const b = e.getBoundingClientRect();
              const at = document.elementFromPoint(b.left + Math.min(b.width / 2, 20), b.top + Math.min(b.height / 2, 12));
              return at && (e.contains(at) || at.contains(e)) ? null : e.outerHTML.slice(0, 100); }"""
        )
        if covered:
            hidden.append(covered)
    assert hidden == []


# --- P: speed and size -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", SIZES)
def test_the_page_does_not_shift(browser: Browser, live_url: str, width: int) -> None:
    context = browser.new_context(base_url=live_url, viewport={"width": width, "height": SIZES[width]})
    page = context.new_page()
    page.add_init_script(
        "window.shift = 0; new PerformanceObserver((l) => { for (const e of l.getEntries()) window.shift += e.value; }).observe({type: 'layout-shift', buffered: true})"
    )
    page.goto(ASKED)
    page.wait_for_timeout(1500)
    shift = page.evaluate("window.shift")
    context.close()
    assert shift <= 0.02


@pytest.fixture(scope="module")
def many(live: LiveServer) -> str:
    """Return the path of an answer with 500 endpoints behind 3 nodes: 1,500 paths."""
    return frozen_path(live, made_document(lb_trace(endpoints=500), zones=ZONES))


def test_five_hundred_endpoints_are_folded(quiet: Page, many: str) -> None:
    response = quiet.goto(many)
    expect(quiet.locator("#gh")).to_have_text("500 endpoints × 3 nodes = 1,500 paths")
    holds(quiet, lambda page: page.locator("#g .nodes > .n").count() <= 60)
    assert len(gzip.compress(response.body())) <= 60_000
    quiet.get_by_role("link", name="list all 500").click()
    quiet.wait_for_selector("#paths tbody tr")
    quiet.fill("#list-find", "0001f")
    quiet.keyboard.press("Enter")
    quiet.wait_for_function("() => document.querySelectorAll('#paths tbody tr').length === 1")
    quiet.locator("#paths").get_by_role("link", name="Follow").click()
    quiet.wait_for_function("() => document.querySelector('.gt .fol').textContent.includes('0001f')")


def test_scripts_styles_and_pages_are_small(page: Page) -> None:
    sizes = {"js": 0, "css": 0}
    page.on(
        "response",
        lambda r: (
            sizes.__setitem__(kind, sizes[kind] + len(gzip.compress(r.body()))) if (kind := r.url.rpartition(".")[2]) in sizes else None
        ),
    )
    response = page.goto(ASKED)
    page.wait_for_load_state("networkidle")
    assert 0 < sizes["js"] <= 40_000
    assert 0 < sizes["css"] <= 12_000
    assert len(gzip.compress(response.body())) <= 30_000


# --- S: safety ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [ASKED, TRACE, f"{TRACE}?from_name=&to=a+b"])
def test_the_content_policy_is_exact(page: Page, path: str) -> None:
    policy = page.goto(path).headers["content-security-policy"]
    assert sorted(part.strip() for part in policy.split(";")) == sorted(part.strip() for part in POLICY.split(";"))


def test_a_whole_tour_is_quiet(quiet: Page, live: LiveServer) -> None:
    page = quiet
    page.goto(TRACE)
    page.fill("#from_name", "203.0.113.10")
    page.fill("#to", "198.51.100.10:443")
    page.get_by_role("button", name="Trace", exact=True).click()
    page.wait_for_selector("#verdict")
    expect(page).to_have_url(re.compile(re.escape(ASKED) + "$"))
    page.get_by_role("link", name="Next step").click()
    page.select_option("#detail", "objects")
    page.wait_for_url(re.compile("detail=objects"))
    page.select_option("#detail", "rules")
    page.wait_for_url(re.compile("detail=rules"))
    for name in ("Zoom in", "Zoom out", "Legend"):
        page.get_by_role("button", name=name).click()
    page.keyboard.press("Escape")
    with page.expect_response(lambda response: response.request.method == "POST"):  # a reload before it is a reload without the cookie
        page.get_by_role("button", name="Dark theme").click()
    page.wait_for_selector("html[data-theme=dark]")
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.get_by_role("button", name="Play").click()
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("link", name="1 of 3 nodes").click()
    page.wait_for_url(re.compile("expand=nodes"))


HOSTILE = Made(service='a"><script>document.title="owned"</script>/</text>{x|y}', pod='p</text>"; x -> y [label="z"]')


def test_hostile_names_are_shown_as_text(quiet: Page, live: LiveServer) -> None:
    path = frozen_path(live, made_document(HOSTILE.trace()))
    for query in ("", "?detail=objects", "?expand=all,nodes", "?step=6", "?find=</text>"):
        quiet.goto(path + query)
        assert "owned" not in quiet.title()
        expect(quiet.locator("main script")).to_have_count(0)
    expect(quiet.locator(".gt .fol")).to_contain_text('</text>"')


# --- U: the address is the state ---------------------------------------------------------------------------------------

CONTROLS: dict[str, Callable[[Page], object]] = {
    "next": lambda page: page.get_by_role("link", name="Next step").click(),
    "last": lambda page: page.get_by_role("link", name="Last step").click(),
    "list": lambda page: page.locator("#steps a[data-step='5']").click(),
    "box": lambda page: page.locator("#g .n[data-steps='7']").click(),
    "way": lambda page: page.locator("#g .k-way").first.click(),
    "follow": lambda page: page.locator("#g .n.off").first.click(),
    "detail": lambda page: page.select_option("#detail", "objects"),
    "nodes": lambda page: page.get_by_role("link", name="1 of 3 nodes").click(),
    "all": lambda page: page.get_by_role("link", name="list all 3").click(),
    "find": lambda page: (page.fill("#find", "KUBE-SVC"), page.keyboard.press("Enter")),
    "sample": lambda page: (page.check("input[name=paths][value=one]"), page.get_by_role("button", name="Trace", exact=True).click()),
    "port": lambda page: (page.fill("#source_port", "40000"), page.get_by_role("button", name="Trace", exact=True).click()),
    "protocol": lambda page: (page.select_option("#protocol", "udp"), page.get_by_role("button", name="Trace", exact=True).click()),
}


# The same for what only some questions offer: where it is asked, and what is then changed.
OFFERED: dict[str, tuple[str, Callable[[Page], object]]] = {
    "returning": (
        AFFINE,
        lambda page: (page.select_option("#state", "returning"), page.get_by_role("button", name="Trace", exact=True).click()),
    ),
    "resolver": (
        NAMED,
        lambda page: (page.select_option("#resolver", "musl"), page.get_by_role("button", name="Trace", exact=True).click()),
    ),
    "connection": (f"{TRACE}?connection=shop-worker:1", lambda page: page.get_by_role("link", name="Next step").click()),
}


@pytest.mark.parametrize("offered", OFFERED)
def test_a_copied_address_keeps_what_was_offered(quiet: Page, browser: Browser, live_url: str, offered: str) -> None:
    path, change = OFFERED[offered]
    same_from_its_address(quiet, browser, live_url, path, change)


@pytest.mark.parametrize("control", CONTROLS)
def test_a_copied_address_shows_the_same(quiet: Page, browser: Browser, live_url: str, control: str) -> None:
    same_from_its_address(quiet, browser, live_url, f"{ASKED}&step=3", CONTROLS[control])


def same_from_its_address(quiet: Page, browser: Browser, live_url: str, path: str, change: Callable[[Page], object]) -> None:
    """Fail unless a clean browser shows at the address what *quiet* shows after *change* on the page *path*."""
    quiet.goto(path)
    before = quiet.url
    change(quiet)
    quiet.wait_for_url(lambda url: url != before)
    quiet.wait_for_function("() => !document.querySelector('#trace[aria-busy]')")
    quiet.wait_for_timeout(250)
    clean = browser.new_context(base_url=live_url, viewport={"width": 1440, "height": 900})
    other = clean.new_page()
    other.goto(quiet.url)
    for _ in range(20):
        other.wait_for_timeout(150)
        there, here = normal(other), normal(quiet)
        if here == there:
            break
    clean.close()
    assert here == there


def test_tabs_are_in_the_address(page: Page, browser: Browser, live_url: str) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(ASKED)
    page.get_by_role("link", name="Graph", exact=True).click()
    expect(page).to_have_url(re.compile(re.escape("view=graph") + "$"))
    page.reload()
    expect(page.locator("#g")).to_be_visible()
    expect(page.locator("#steps")).not_to_be_visible()


def test_back_and_forward_show_whole_pages(quiet: Page) -> None:
    page = quiet
    page.goto(f"{ASKED}&step=1")
    for step in (2, 3, 4, 5):
        page.get_by_role("link", name="Next step").click()
        wait_for_step(page, step)
    page.fill("#to", "production/public-api:443")
    page.get_by_role("button", name="Trace", exact=True).click()
    page.wait_for_url(re.compile("svc:production"))
    for step in (5, 4, 3, 2, 1):
        page.go_back()
        wait_for_step(page, step)
        expect(page.locator("#to")).to_have_value("198.51.100.10:443")
    page.go_forward()
    wait_for_step(page, 2)
    page.goto("/reasons")
    page.go_back()
    wait_for_step(page, 2)
    expect(page.locator("header.top")).to_be_visible()
    holds(page, lambda page: page.locator("#steps li").count() > 5)


def test_without_javascript_everything_is_a_link_or_a_form(browser: Browser, live_url: str) -> None:
    context = browser.new_context(base_url=live_url, java_script_enabled=False, viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto(TRACE)
    page.fill("#from_name", "203.0.113.10")
    page.fill("#to", "198.51.100.10:443")
    page.get_by_role("button", name="Trace", exact=True).click()
    expect(page).to_have_url(re.compile(re.escape(ASKED) + "$"))
    page.get_by_role("link", name="Next step").click()
    becomes(page, step_of, 10)
    page.locator("#steps a[data-step='3']").click()
    becomes(page, step_of, 3)
    page.locator("#g .n[data-steps='7']").click()
    becomes(page, step_of, 7)
    page.get_by_role("link", name="1 of 3 nodes").click()
    expect(page).to_have_url(re.compile(re.escape("expand=nodes")))
    page.select_option("#detail", "objects")
    page.get_by_role("button", name="Show").click()
    expect(page).to_have_url(re.compile(re.escape("detail=objects")))
    page.get_by_role("button", name="Export").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="JSON answer").click()
    assert download.value.suggested_filename == "trace.json"
    page.get_by_role("button", name="Dark theme").click()
    page.wait_for_selector("html[data-theme=dark]")
    expect(page.get_by_role("button", name="Play")).to_have_count(0)
    context.close()


def test_the_same_address_gives_the_same_picture(page: Page) -> None:
    def drawn() -> str:
        return re.search(r'<svg id="g".*?</svg>', page.request.get(f"{ASKED}&step=4").text(), re.DOTALL)[0]

    assert drawn() == drawn()


def test_a_step_keeps_the_picture_and_the_focus(quiet: Page) -> None:
    quiet.goto(f"{ASKED}&step=4")
    quiet.evaluate("window.kept = document.querySelector('#g .n')")
    quiet.focus("[data-go=next]")
    quiet.keyboard.press("Enter")
    wait_for_step(quiet, 5)
    assert quiet.evaluate("window.kept.isConnected")
    becomes(quiet, focused("dataset.go"), "next")


def test_a_new_trace_morphs_the_old_picture(quiet: Page) -> None:
    quiet.goto(ASKED)
    quiet.evaluate("window.kept = document.querySelector('#g .k-client')")
    quiet.get_by_role("link", name="1 of 3 nodes").click()
    quiet.wait_for_url(re.compile("expand=nodes"))
    assert quiet.evaluate("window.kept.isConnected && window.kept === document.querySelector('#g .k-client')")


def test_play_steps_and_stops_at_a_key(quiet: Page) -> None:
    quiet.goto(f"{ASKED}&step=2")
    quiet.select_option("#speed", "4")
    quiet.get_by_role("button", name="Play").click()
    wait_for_step(quiet, 4)
    quiet.keyboard.press("Shift")
    step = step_of(quiet)
    quiet.wait_for_timeout(900)
    assert step_of(quiet) <= step + 1
    expect(quiet.locator("#play")).to_have_text("Play")


def test_reduced_motion_plays_nothing_by_itself(browser: Browser, live_url: str) -> None:
    context = browser.new_context(base_url=live_url, reduced_motion="reduce")
    page = context.new_page()
    page.goto(f"{ASKED}&step=2")
    page.get_by_role("button", name="Play").click()
    wait_for_step(page, 3)
    page.wait_for_timeout(1800)
    becomes(page, step_of, 3)
    context.close()


def test_errors_are_shown_in_place_with_focus(page: Page) -> None:
    page.goto(ASKED)
    page.fill("#to", "production/public-apo:443")
    page.get_by_role("button", name="Trace", exact=True).click()
    page.wait_for_selector("#errors")
    becomes(page, focused("id"), "errors")
    page.get_by_role("link", name="production/public-api", exact=True).click()
    page.wait_for_selector("#verdict")


def test_a_dead_server_leaves_the_answer_on_screen(browser: Browser, start_server: Callable[..., LiveServer]) -> None:
    server = start_server()
    context = browser.new_context(base_url=server.url)
    page = context.new_page()
    page.goto(ASKED)
    server.kill()
    page.select_option("#detail", "objects")
    page.get_by_role("button", name="Retry").wait_for()
    expect(page.locator("#verdict")).to_be_visible()
    context.close()


def test_copy_link_copies_the_address(context: BrowserContext, page: Page) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{ASKED}&step=6")
    page.get_by_role("button", name="Copy link to this step").click()
    page.get_by_text("Link copied.").wait_for()
    holds(page, lambda page: page.evaluate("navigator.clipboard.readText()") == page.url)


def test_freezing_from_the_page(quiet: Page) -> None:
    quiet.goto(ASKED)
    quiet.get_by_role("button", name="Freeze").click()
    quiet.get_by_role("button", name="Make the link").click()
    quiet.wait_for_url(re.compile(r"/t/\w{26}"))
    expect(quiet.locator(".q.frozen")).to_contain_text("The stored answer of")
    expect(quiet.locator("#trace-form")).to_have_count(0)

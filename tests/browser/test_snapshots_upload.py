"""F1 and U3: adding a snapshot by button, drop and keyboard; progress, cancel, refusals; and all of it without JavaScript."""

from __future__ import annotations

import gzip
import io
import json
import random
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.waiting import becomes, focused
from tests.conftest import DEMO

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
LIMIT_MB = 12


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    """Return a snapshot as an archive."""
    path = tmp_path_factory.mktemp("files") / "shop.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(DEMO / "shop-iptables", arcname="shop")
    return path


@pytest.fixture(scope="module")
def padded(tmp_path_factory) -> Path:
    """Return a snapshot of 8 MB: with a file nobody knows, of noise that does not compress."""
    path = tmp_path_factory.mktemp("files") / "padded.tar"
    with tarfile.open(path, "w") as tar:
        tar.add(DEMO / "shop-iptables", arcname="shop")
        noise = random.Random(1).randbytes(8_000_000)
        entry = tarfile.TarInfo("shop/notes.bin")
        entry.size = len(noise)
        tar.addfile(entry, io.BytesIO(noise))
    return path


@pytest.fixture(scope="module")
def refused(tmp_path_factory) -> Path:
    """Return an archive with three reasons to refuse it: two links, and nothing else."""
    path = tmp_path_factory.mktemp("files") / "bad.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name in ("link.json", "another.json"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(entry)
    return path


@pytest.fixture
def slow(context, page) -> Iterator[Page]:
    """Return a page whose uploads take seconds."""
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    session.send(
        "Network.emulateNetworkConditions", {"offline": False, "latency": 20, "downloadThroughput": -1, "uploadThroughput": 3_000_000}
    )
    yield page
    session.detach()


def arrived(page: Page, name: str) -> None:
    page.wait_for_url("**/snapshots/*", wait_until="load", timeout=30_000)
    page.get_by_role("heading", level=1, name=name, exact=True).wait_for(timeout=30_000)


def test_by_button_with_progress(slow, padded):
    slow.goto("/snapshots/new")
    slow.evaluate("""() => {
        window.seen = [];
        const bar = document.querySelector("#upload-sending progress");
        const words = document.querySelector("[data-upload-words]");
        const note = () => window.seen.push(`${bar.value} ${words.textContent}`);
        new MutationObserver(note).observe(document.getElementById("upload-sending"), {childList: true, characterData: true, subtree: true, attributes: true});
        window.addEventListener("beforeunload", () => sessionStorage.setItem("seen", JSON.stringify(window.seen)));
    }""")
    slow.get_by_label("Choose files").set_input_files(padded)
    slow.get_by_label("Name, if another").fill("padded shop")
    slow.get_by_role("button", name="Upload").click()
    arrived(slow, "padded shop")
    seen = json.loads(slow.evaluate("sessionStorage.getItem('seen')"))
    percents = {text.split()[0] for text in seen if "Uploading" in text}
    assert len(percents) >= 3, seen


def test_by_keyboard(page, archive):
    # Asked for before the page loads: Chromium is told of it without waiting, and would otherwise open its own dialog now and then.
    page.on("filechooser", lambda _: None)
    page.goto("/snapshots/new")
    page.get_by_label("Choose files").focus()
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(archive)
    page.get_by_label("Name, if another").focus()
    page.keyboard.type("by keyboard")
    page.keyboard.press("Tab")
    becomes(page, focused("name"), "nodes")  # of a sketch, where manifests are uploaded
    page.keyboard.press("Tab")
    becomes(page, focused("textContent"), "Upload")
    page.keyboard.press("Enter")
    arrived(page, "by keyboard")


def test_by_drop_anywhere(page, archive):
    page.goto("/snapshots")
    content = list(archive.read_bytes())
    transfer = page.evaluate_handle(
        "bytes => { const t = new DataTransfer(); t.items.add(new File([new Uint8Array(bytes)], 'dropped.tar.gz')); return t; }", content
    )
    page.dispatch_event("footer", "dragenter", {"dataTransfer": transfer})
    expect(page.locator("html")).to_have_class(re.compile("dropping"))
    page.dispatch_event("footer", "drop", {"dataTransfer": transfer})
    expect(page.locator("html")).not_to_have_class(re.compile("dropping"))
    page.get_by_text("dropped.tar.gz is ready. Press Upload.").wait_for()
    becomes(page, focused("textContent"), "Upload")
    page.keyboard.press("Enter")
    arrived(page, "dropped")


def test_several_dropped_files_and_a_pasted_piece_are_one_upload(page):
    service = {
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"clusterIP": "10.96.0.7", "ports": [{"port": 80}]},
    }
    node = {"kind": "Node", "metadata": {"name": "node-a"}, "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}}
    page.goto("/snapshots/new")
    transfer = page.evaluate_handle(
        """texts => { const t = new DataTransfer();
        texts.forEach((text, at) => t.items.add(new File([text], `${at}.json`))); return t; }""",
        [json.dumps({"kind": "List", "items": [one]}) for one in (service, {"kind": "Namespace", "metadata": {"name": "shop"}})],
    )
    page.dispatch_event("body", "drop", {"dataTransfer": transfer})
    page.get_by_text("2 files are ready. Press Upload.").wait_for()
    page.get_by_role("button", name="Add another piece").click()
    becomes(page, focused("id"), "paste-2")
    page.get_by_label("Text (piece 2)").fill(json.dumps({"kind": "List", "items": [node]}))
    page.get_by_label("Name, if another").fill("three pieces")
    page.get_by_role("button", name="Upload").click()
    arrived(page, "three pieces")
    expect(page.get_by_text("Found 1 Service, 1 Node; no node's rules.")).to_be_visible()
    expect(page.get_by_role("group", name="The command that would add most")).to_contain_text("sh collect.sh")
    page.get_by_role("link", name="Add what is missing").click()
    page.get_by_role("heading", level=1, name="Add to three pieces").wait_for()
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_what_is_pasted_is_recognised_while_it_is_pasted(page):
    """Under its own box, when typing pauses; what is said changes with what is typed, and goes with it."""
    page.goto("/snapshots/new")
    said = page.locator("[data-says]").first
    page.get_by_label("Text", exact=True).fill("*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n")
    said.get_by_text("Recognised, but not whose it is").wait_for()
    page.get_by_label("Node it is of").fill("node-a")
    said.get_by_text("rules of iptables, of node node-a").wait_for()
    page.get_by_role("button", name="Add another piece").click()
    page.get_by_label("Text (piece 2)").fill("hello")
    page.locator("[data-says]").nth(1).get_by_text("Not usable").wait_for()
    expect(said).to_contain_text("of node node-a")
    page.get_by_label("Text", exact=True).fill("")
    said.get_by_text("Recognised").wait_for(state="detached")


def test_a_file_without_a_node_is_given_to_one(page, tmp_path):
    """The choice stands first, on a phone too; what comes of it is another snapshot."""
    items = [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"clusterIP": "10.96.0.7", "ports": [{"port": 80}]}},
        *({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}} for name in ("node-a", "node-b")),
    ]
    (tmp_path / "cluster.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    (tmp_path / "rules.txt").write_text("*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n")
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto("/snapshots/new")
    page.get_by_label("Choose files").set_input_files([tmp_path / "cluster.json", tmp_path / "rules.txt"])
    page.get_by_label("Name, if another").fill("two nodes")
    page.get_by_role("button", name="Upload").click()
    arrived(page, "two nodes")
    choice = page.get_by_label("rules.txt")
    assert choice.bounding_box()["y"] < 500
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    choice.select_option("node-b")
    page.get_by_role("button", name="Use it so").click()
    page.get_by_text("It completes").wait_for(timeout=30_000)
    expect(page.get_by_role("heading", name="Whose file")).to_have_count(0)


def test_cancel(slow, padded):
    slow.goto("/snapshots/new")
    slow.get_by_label("Choose files").set_input_files(padded)
    slow.get_by_role("button", name="Upload").click()
    slow.get_by_text("Uploading").wait_for()
    slow.get_by_role("button", name="Cancel").click()
    slow.get_by_text("Cancelled. Nothing was stored.").wait_for()
    expect(slow.get_by_role("button", name="Upload")).to_be_enabled()
    slow.goto("/snapshots")
    expect(slow.get_by_role("link", name="padded")).to_have_count(0)


def test_422_lists_every_problem(page, refused):
    page.goto("/snapshots/new")
    page.get_by_label("Choose files").set_input_files(refused)
    page.get_by_role("button", name="Upload").click()
    alert = page.get_by_role("alert")
    alert.get_by_role("heading", name="Not stored").wait_for()
    expect(alert.locator("li")).to_have_count(2)
    expect(alert).to_contain_text("another.json")
    becomes(page, focused("id"), "upload-state")


def test_422_says_file_and_line(page, tmp_path):
    broken = tmp_path / "services.json"
    broken.write_text('{"kind": "List",\n "items": [\n  {"kind": "Service"\n')
    page.goto("/snapshots/new")
    page.get_by_label("Choose files").set_input_files(broken)
    page.get_by_role("button", name="Upload").click()
    page.get_by_role("alert").get_by_text("services.json:").first.wait_for()


class TestSmallServer:
    """A server that accepts little."""

    @pytest.fixture
    def small(self, browser, start_server) -> Iterator[Page]:
        server = start_server("--no-demo", HOPLINE_UPLOAD_MAX_MB=str(LIMIT_MB))
        context = browser.new_context(base_url=server.url)
        yield context.new_page()
        context.close()

    @pytest.fixture
    def huge(self, tmp_path) -> Path:
        path = tmp_path / "huge.json.gz"
        path.write_bytes(gzip.compress(random.Random(2).randbytes((LIMIT_MB + 2) * 1_000_000), 0))
        return path

    def test_413_before_the_upload(self, small, huge):
        small.goto("/snapshots/new")
        expect(small.get_by_text(f"up to {LIMIT_MB} MB")).to_be_visible()
        small.get_by_label("Choose files").set_input_files(huge)
        expect(small.get_by_role("alert")).to_contain_text(f"accepts up to {LIMIT_MB} MB")

    def test_413_from_the_server(self, small, huge):
        small.goto("/snapshots/new")
        # The page's own check is blinded, so that the server has to say it.
        small.evaluate("Object.defineProperty(File.prototype, 'size', {get: () => 1})")
        small.get_by_label("Choose files").set_input_files(huge)
        small.get_by_role("button", name="Upload").click()
        alert = small.get_by_role("alert")
        alert.get_by_text(f"{LIMIT_MB} MB").wait_for()
        expect(alert).to_contain_text("Not stored")


def test_u3_without_javascript(browser, live_url, archive, refused):
    context = browser.new_context(base_url=live_url, java_script_enabled=False)
    page = context.new_page()
    page.goto("/snapshots/new")
    page.get_by_label("Choose files").set_input_files(refused)
    page.get_by_role("button", name="Upload").click()
    page.get_by_role("heading", name="Not stored").wait_for(timeout=15_000)
    expect(page.get_by_role("alert").locator("li")).to_have_count(2)
    page.get_by_label("Choose files").set_input_files(archive)
    page.get_by_label("Name, if another").fill("without script")
    page.get_by_role("button", name="Upload").click()
    page.get_by_role("heading", level=1, name="without script", exact=True).wait_for(timeout=15_000)
    page.goto("/snapshots")
    page.get_by_role("link", name="Delete without script").click()
    page.get_by_role("button", name="Delete the snapshot").click()
    expect(page.get_by_text("Deleted without script.")).to_be_visible()
    context.close()

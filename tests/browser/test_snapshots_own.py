"""A1, A7 and S3 on what a session has added itself: a snapshot with faults and names full of markup, its links, and the confirmations."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.axe import violations
from tests.conftest import DEMO
from tests.sizes import every

pytestmark = pytest.mark.browser
NAME = '"><script>window.broken=1</script></text>}];'
SIZES = [(1440, "light"), (390, "dark"), (360, "light")]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> Path:
    """Return a snapshot whose names are markup, quotes and DOT syntax, with a damaged dump, a Secret and an unknown file."""
    services = json.loads((DEMO / "shop-iptables" / "services.json").read_text())
    services["items"][0]["metadata"]["name"] = NAME
    services["items"].append({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": NAME, "namespace": "a"}, "data": {}})
    rules = (DEMO / "shop-iptables" / "nodes" / "shop-worker" / "iptables-save.txt").read_text()
    files = {
        "services.json": json.dumps(services),
        "pods.json": (DEMO / "shop-iptables" / "pods.json").read_text(),
        "nodes/shop-worker/iptables-save.txt": rules[:9000] + "\n-A INPUT -m comment --comment <b> --bogus",
        "notes<img src=x>.bin": "hello",
    }
    path = tmp_path_factory.mktemp("files") / "hostile.tar"
    with tarfile.open(path, "w") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(f"top/{name}")
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
    return path


@pytest.mark.parametrize(("width", "theme"), every(SIZES, 2))
def test_a1_a7_s3(browser, live_url, hostile, width, theme):
    context = browser.new_context(base_url=live_url, viewport={"width": width, "height": 900}, color_scheme=theme)
    page = context.new_page()
    heard: list[str] = []
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.goto("/snapshots/new")
    page.get_by_label("Choose files").set_input_files(hostile)
    page.get_by_label("Name, if another").fill(NAME)
    page.get_by_role("button", name="Upload").click()
    page.get_by_role("heading", level=1, name=NAME, exact=True).wait_for(timeout=30_000)
    own = page.url
    page.goto("/c/shop-iptables/trace?from=external:203.0.113.10&to=198.51.100.10:443")
    token = page.evaluate("""async () => {
        const form = document.querySelector("form[action$='/trace/freeze']");
        return (await fetch(form.action, {method: "POST", body: new FormData(form)})).url.split("/t/")[1].split("?")[0];
    }""")
    try:
        for address in (own, f"{own}/delete", f"{own}/examples", "/snapshots", "/links", f"/links/{token}/revoke", "/"):
            page.goto(address)
            assert violations(page) == [], address
            assert page.evaluate("document.documentElement.scrollWidth") == width, address
            assert page.evaluate("window.broken") is None
            expect(page.locator("img")).to_have_count(0)
        assert heard == []
    finally:
        page.goto(f"{own}/delete")
        page.get_by_role("button", name="Delete the snapshot").click()
        page.get_by_text("Deleted").wait_for()
    context.close()

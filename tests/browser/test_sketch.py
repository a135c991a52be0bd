"""A sketch in a browser: a learner uploads manifests, sees what their Services would do, and is told every mistake; wide, narrow, dark."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.axe import violations
from tests.browser.test_snapshots_upload import arrived
from tests.made_manifests import SHOP

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser
WIDE, PHONE = (1440, 900), (390, 844)
WRONG = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 80800}], type: Nodeport}\n"


def _fits(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


@pytest.mark.parametrize(("size", "scheme"), [(WIDE, "light"), (PHONE, "light"), (WIDE, "dark")])
def test_manifests_are_uploaded_and_asked(browser: Browser, live_url: str, size: tuple[int, int], scheme: str, tmp_path: Path) -> None:
    context = browser.new_context(base_url=live_url, viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    page = context.new_page()
    page.goto("/snapshots/new")
    page.get_by_label("Choose files").set_input_files(SHOP)
    page.get_by_label("Name, if another").fill("my shop")
    page.get_by_role("button", name="Upload").click()
    arrived(page, "my shop sketch")
    expect(page.locator("main")).to_contain_text("sketch")
    assert violations(page) == []
    assert _fits(page)
    page.get_by_role("link", name="From outside to shop/web-public").click()
    expect(page.locator("h1")).to_contain_text("the client IP is lost")
    expect(page.locator("main")).to_contain_text("Nothing of this cluster was recorded")
    expect(page.locator("svg.graph").first).to_be_attached()
    assert violations(page) == []
    assert _fits(page)
    context.close()


def test_every_mistake_is_listed_where_the_files_are_chosen(page: Page, tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text(WRONG)
    page.goto("/snapshots/new")
    page.get_by_label("Choose files").set_input_files(file)
    page.get_by_role("button", name="Upload").click()
    expect(page.locator("main")).to_contain_text(re.compile("80800 is no port"))
    expect(page.locator("main")).to_contain_text("Nodeport")
    assert violations(page) == []

"""A timeline in a page: opened at its beginning and standing still, moved by its own form, watched while it moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

PATIENCE = 20_000
_STEER = """async (wishes) => {
  const form = document.querySelector('.tl-rail'), body = new FormData(form);
  body.delete('at');
  for (const [name, value] of Object.entries(wishes)) body.set(name, value);
  const answer = await fetch(form.action, { method: 'POST', body, headers: { Accept: 'application/json' } });
  if (!answer.ok) throw new Error(answer.status);
}"""


def opened(page: Page) -> str:
    """Open shop-timeline at its beginning, standing still, at the trace it is opened with; return its address without the server."""
    page.goto("/")
    page.get_by_role("button", name="Play shop-timeline").first.click()
    page.wait_for_url("**/trace?**")
    address = page.url.partition("#")[0]
    page.goto(address)
    page.wait_for_selector("#verdict", timeout=PATIENCE)
    odds(page, ["1/3"] * 3)
    return address.partition("/c/")[1] + address.partition("/c/")[2]


def seek(page: Page, step: int) -> None:
    """Move the timeline to where the change of *step* (from 1) has settled."""
    page.evaluate(_STEER, {"step": str(step - 1)})


def odds(page: Page, wanted: list[str]) -> None:
    """Wait until the picture's odds are *wanted*, whatever the kernel's rounding does to them."""
    page.wait_for_function(
        "(wanted) => JSON.stringify([...document.querySelectorAll('#g .pl text')].map((t) => t.textContent.replace('≈', ''))) === wanted",
        arg=f"[{','.join(chr(34) + value + chr(34) for value in wanted)}]",
        timeout=PATIENCE,
    )


def pill(page: Page, words: str) -> None:
    """Wait until the state at the top right says *words*."""
    page.wait_for_function("(words) => document.getElementById('live-text').textContent.includes(words)", arg=words, timeout=PATIENCE)

"""axe-core in a page: what breaks the accessibility rules that ui.md names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.conftest import PROJECT

if TYPE_CHECKING:
    from playwright.sync_api import Page

_SCRIPT = PROJECT / "tests" / "vendor" / "axe-core-4.14.1" / "axe.min.js"
_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def violations(page: Page) -> list[str]:
    """Return one line for each violation: the rule, what it says, the elements."""
    # Evaluated by the debugger, not loaded by the page: the page's own policy allows no foreign script.
    page.evaluate(_SCRIPT.read_text() + "\n;undefined")
    result: dict[str, Any] = page.evaluate(
        "tags => axe.run(document, {runOnly: {type: 'tag', values: tags}, resultTypes: ['violations']})", _TAGS
    )
    return [f"{v['id']}: {v['help']}: " + "; ".join(n["html"][:160] for n in v["nodes"][:5]) for v in result["violations"]]

"""axe-core in a page: what breaks the accessibility rules that ui.md names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.conftest import PROJECT

if TYPE_CHECKING:
    from playwright.sync_api import Page

_SCRIPT = PROJECT / "tests" / "vendor" / "axe-core-4.14.1" / "axe.min.js"
_COVERED = """selectors => {
    const e = document.querySelector(selectors.at(-1)), box = e?.getBoundingClientRect();
    for (const down of [0.05, 0.5, 0.95]) for (const along of [0.05, 0.5, 0.95]) {
        const over = box && document.elementFromPoint(box.x + box.width * along, box.y + box.height * down);
        if (box && !over) return true;
        for (let part = over; over && !e.contains(over) && part; part = part.parentElement)
            if (["fixed", "sticky"].includes(getComputedStyle(part).position)) return true;
    }
    return false;
}"""
_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def violations(page: Page) -> list[str]:
    """Return one line for each violation: the rule, what it says, the elements.

    How large a target is does not count where a bar that stays in view lies over a part of it, or it is not all in
    view: the page scrolls.
    """
    # Evaluated by the debugger, not loaded by the page: the page's own policy allows no foreign script.
    page.evaluate(_SCRIPT.read_text() + "\n;undefined")
    result: dict[str, Any] = page.evaluate(
        "tags => axe.run(document, {runOnly: {type: 'tag', values: tags}, resultTypes: ['violations']})", _TAGS
    )
    for found in result["violations"]:
        if found["id"] == "target-size":
            found["nodes"] = [node for node in found["nodes"] if not page.evaluate(_COVERED, node["target"])]
    told = (found for found in result["violations"] if found["nodes"])
    return [f"{v['id']}: {v['help']}: " + "; ".join(n["html"][:160] for n in v["nodes"][:5]) for v in told]

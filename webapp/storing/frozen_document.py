"""What of an answer a frozen link holds: the answer document less what no page of the link needs.

A link holds the question and every way the packet can take, with the names, addresses and nodes of the pods and Services on them, the
zones and proxy modes of those nodes, the readiness of those pods, and the rules that matched. With them, unless it is to be left out, what
stands beside those rules in their files (answers.NEIGHBOURS lines either side): mostly rules of the same chain, often of other Services.
Never held is what else the answer of a followed cluster depends on: names of objects that are on no way; and what a what-if could change.
"""

from __future__ import annotations

from typing import Any

OFFERED = frozenset({"services", "policies"})
"""What of a document only says what could be asked next."""


def to_freeze(document: dict[str, Any], *, neighbours: bool) -> dict[str, Any]:
    """Return the document that a link keeps; without *neighbours* its steps still have the text of their own rules."""
    kept = {word: value for word, value in document.items() if word not in OFFERED}
    if "live" in kept:
        kept["live"] = {word: value for word, value in kept["live"].items() if word != "depends"}
    if "compared" in kept:
        before = to_freeze(kept["compared"]["before"], neighbours=neighbours)
        kept["compared"] = {**kept["compared"], "before": before}
    if not neighbours:
        kept["rules"] = {}
        kept["neighbours"] = False
    return kept


def has_neighbours(document: dict[str, Any]) -> bool:
    """Return whether a link's document holds what stands beside its rules."""
    return bool(document.get("neighbours", True))

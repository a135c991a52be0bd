"""What the catalogue of reasons says about one step: the finding, what to do about it, and where to read more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.urls import NoReverseMatch, reverse

from tracer.explain.catalogue import explain
from tracer.values import dataclass
from webapp.presenters.journey import Moment
from webapp.presenters.verdict import cause_step, rule_sentence, sentence

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """One finding: its sentence for this case, what to do about it here, the lines and objects that prove it.

    *remedies* are the catalogue's, as (action, trade-off); *url* is the address of its page, "" when there is none.
    """

    code: str
    title: str
    text: str
    fix: str
    evidence: tuple[str, ...]
    remedies: tuple[tuple[str, str], ...]
    url: str


def reason_url(code: str) -> str:
    """Return the address of the page about *code*, "" when there is none."""
    if not code or explain(code) is None:
        return ""
    try:
        return reverse("reason", args=[code])
    except NoReverseMatch:
        return ""


def advice(outcome: Json, moment: Moment) -> Advice | None:
    """Return the first finding of *outcome* that this step causes, or None."""
    if moment.reply:
        return None
    found = [*(outcome.get("findings") or ()), *([outcome["reason"]] if outcome.get("reason") else ())]
    for finding in found:
        entry = explain(finding["code"])
        if entry and cause_step(outcome, finding["code"]) == moment.n:
            remedies = tuple((fix.action, fix.trade_off) for fix in entry.fix)
            return Advice(
                code=entry.code,
                title=entry.title,
                text="" if rule_sentence(outcome, entry.code) else sentence(finding["text"]),
                fix=sentence(finding.get("fix") or ""),
                evidence=tuple(finding.get("evidence") or ()),
                remedies=remedies,
                url=reason_url(entry.code),
            )
    return None

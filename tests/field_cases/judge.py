"""What is wrong with an answer, or with an import, by a field case's ``expect.json``.

A case is a folder with what it is about (a snapshot folder, an archive or a single file) and an ``expect.json``:

    {"kind": "...", "why": "what is right, and how one knows", "source": "where it was met", "snapshot": "NAME, default snapshot",
     "import": {"accepted": true, "objects": {"Service": 2}, "text_any": [...], "stored_none": [...]},
     "questions": [{"question": {"from": "pod:ns/name", "to": "10.0.0.1:80"}, "must": {...}}], "seconds_max": 60}

What an answer must be, all of it:

* dispositions: a list (every outcome has one of them) or totals, {"delivered": "2/3"}; not_dispositions; replies: a list, of the replies
* destinations: exactly these, as namespace/name of a pod, node:NAME or an address; sources: patterns, each source seen fits one ("none")
* outcomes_max; certain: true (nothing unknown, no condition); doubtful: true (always one of them); codes_any, codes_none: anywhere
* text_any, text_none: patterns, in any case, over all that an answer says beside its hops; notes_any, notes_none: over the
  hops' notes; a question's "told" has text_any and text_none over the page of the trace

Where several answers are right, *must* (and import) is a list of them, and one has to hold.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any


def _strings(value: object) -> Iterator[str]:
    """Yield every text in *value* but the hops'; a place is given as FILE:LINE."""
    if isinstance(value, dict):
        if "file" in value:
            yield f"{value['file']}:{value.get('line', '')}"
        yield from (text for key, item in value.items() if key not in ("hops", "stations") for text in _strings(item))
    elif isinstance(value, list):
        yield from (text for item in value for text in _strings(item))
    elif isinstance(value, str):
        yield value


def _place(outcome: dict[str, Any]) -> str:
    to = outcome.get("destination") or {}
    named = {"pod": f"{to.get('namespace')}/{to.get('name')}", "node": f"node:{to.get('name') or to.get('node')}"}
    return named.get(to.get("kind", ""), str(to.get("ip", "none")))


def patterns(must: dict[str, Any], text: str, prefix: str = "text") -> Iterator[str]:
    hits = {p: re.search(p, text, re.IGNORECASE | re.DOTALL) for key in ("any", "none") for p in must.get(f"{prefix}_{key}", ())}
    if (wanted := must.get(f"{prefix}_any")) and not any(hits[p] for p in wanted):
        yield f"nothing says any of {wanted}"
    yield from (f"it says {hit[0]!r}" for p in must.get(f"{prefix}_none", ()) if (hit := hits[p]))


def _ends(outcomes: list[dict[str, Any]], must: dict[str, Any]) -> Iterator[str]:
    """What is wrong with where the packets end."""
    totals: dict[str, Fraction] = {}
    for outcome in outcomes:
        totals[outcome["disposition"]] = totals.get(outcome["disposition"], Fraction(0)) + Fraction(outcome["probability"])
    wanted = must.get("dispositions", list(totals))
    is_wrong = bool(set(totals) - set(wanted) or set(totals) & set(must.get("not_dispositions", ())))
    if is_wrong or (isinstance(wanted, dict) and totals != {name: Fraction(odds) for name, odds in wanted.items()}):
        yield f"ends {', '.join(f'{name} {odds}' for name, odds in totals.items())}, not {must.get('dispositions', 'right')}"
    replies = {o["reply"]["disposition"] for o in outcomes if o.get("reply")}
    if replies - set(must.get("replies", replies)):
        yield f"replies end {replies}, not {must['replies']}"
    if "destinations" in must and (places := {_place(o) for o in outcomes}) != set(must["destinations"]):
        yield f"reaches {sorted(places)}, not {must['destinations']}"
    seen = {str((o.get("source_seen") or {}).get("ip") or "none") for o in outcomes}
    if "sources" in must and not all(any(re.fullmatch(p, s) for p in must["sources"]) for s in seen):
        yield f"source seen {sorted(seen)}, not {must['sources']}"


def answer_faults(answer: dict[str, Any], must: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with *answer*, by *must*."""
    if "error" in answer:
        return (yield f"error {answer['error']['message'][-200:]!r}")
    outcomes, unknowns = answer["outcomes"], answer.get("unknowns", [])
    yield from _ends(outcomes, must)
    if len(outcomes) > must.get("outcomes_max", len(outcomes)):
        yield f"{len(outcomes)} outcomes, more than {must['outcomes_max']}"
    doubts = [unknowns, [o.get("conditions") or () for o in outcomes], [o["reason"] for o in outcomes if o["disposition"] == "unknown"]]
    if must.get("certain") and any(map(any, doubts)):
        yield f"not certain: {next(_strings(doubts))!r}"
    said = [*unknowns, *(s for o in outcomes for s in (o.get("reason"), (o.get("reply") or {}).get("reason"), *(o.get("findings") or [])))]
    codes = {s["code"] for s in said if s}
    if must.get("doubtful") and not all(o["disposition"] == "unknown" or o.get("conditions") for o in outcomes):
        yield "an outcome without a doubt"
    if "codes_any" in must and not codes & set(must["codes_any"]):
        yield f"codes {sorted(codes)}, none of {must['codes_any']}"
    yield from (f"code {code}" for code in must.get("codes_none", ()) if code in codes)
    yield from patterns(must, "\n".join(_strings([outcomes, unknowns])))
    yield from patterns(must, "\n".join(_strings([h.get("notes") for o in outcomes for h in o.get("hops") or []])), "notes")


def import_faults(stored: dict[str, Any], must: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with an import, by *must*."""
    if stored["crashed"]:
        yield f"crashed: {stored['text'][-200:]!r}"
    if stored["accepted"] != must.get("accepted", stored["accepted"]):
        yield "accepted" if stored["accepted"] else f"refused: {stored['text'].strip()[:200]!r}"
    counted = must.get("objects", {}).items() if stored["accepted"] else ()
    yield from (f"not {n} {kind}" for kind, n in counted if not re.search(rf"\b{n} {kind}s?\b", stored["page"]))
    yield from patterns(must, stored["text"])
    yield from (f"stored: {p!r}" for p in must.get("stored_none", ()) if re.search(p.encode(), stored["stored"]))


def one_of(check: Callable[[Any, Any], Iterator[str]], value: object, must: object) -> list[str]:
    """Return what *check* finds wrong with *value*, nothing when one of the alternatives in *must* holds."""
    tried = [list(check(value, way)) for way in (must if isinstance(must, list) else [must])]
    return [] if [] in tried else [" OR ".join("; ".join(faults) for faults in tried)]

"""One step in full: the packet before and after, the exact rule among its neighbours, and why."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

from tracer.graph import Path, kind_of, passes
from tracer.odds_text import exact_text, odds_text
from tracer.values import dataclass
from webapp.presenters.evidence import Evidence, evidence
from webapp.presenters.journey import FIELDS, Moment, shown, side_text
from webapp.presenters.reasons_for import Advice, advice
from webapp.presenters.rule_text import Meaning, meanings
from webapp.presenters.verdict import rule_sentence, sentence

Json = Mapping[str, Any]
MOST_PICKS = 8
_LABELS = {
    "source": "Source IP",
    "source_port": "Source port",
    "destination": "Destination IP",
    "destination_port": "Destination port",
    "protocol": "Protocol",
    "mark": "Mark",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldRow:
    """One field of the packet. *tint* is ``cs`` for the caller's side, ``dd`` for the called side, ``mm`` for the mark, "" if unchanged."""

    label: str
    before: str
    after: str
    changed: bool
    tint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PickRow:
    """One endpoint a random choice can take."""

    name: str
    node: str
    odds: str
    current: bool
    follow: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionRow:
    """One question to a DNS server and what came back."""

    rdtype: str
    server: str
    transport: str
    answer: str
    found: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspector:
    """Everything about one step."""

    n: int
    total: int
    title: str
    where: str
    rows: tuple[FieldRow, ...]
    evidence: tuple[Evidence, ...]
    meanings: tuple[Meaning, ...]
    effect: str
    cause: tuple[str, ...]
    advice: Advice | None
    picks: tuple[PickRow, ...] = ()
    more_picks: int = 0
    exactly: str = ""
    say: str = ""
    questions: tuple[QuestionRow, ...] = ()
    mode: str = ""

    @property
    def changes(self) -> bool:
        """Return whether any field of the packet changes at this step."""
        return any(row.changed for row in self.rows)


def inspector(document: Json, outcome: Json, moments: Sequence[Moment], n: int, paths: Sequence[Path], followed: Path) -> Inspector:
    """Return the panels of step *n* of *outcome*."""
    moment = next((m for m in moments if m.n == n), moments[0])
    picks, more = _picks(moment, paths, followed)
    effect = _effect(moment, outcome, moments, picks)
    return Inspector(
        n=moment.n,
        total=len(moments),
        title=moment.title,
        where=moment.where,
        rows=tuple(_rows(moment)),
        evidence=tuple(evidence(document, outcome, moment, followed)),
        meanings=_meanings(moment),
        effect=effect,
        cause=tuple(_causes(moment, outcome, moments)),
        advice=advice(outcome, moment),
        picks=picks,
        more_picks=more,
        exactly=_exactly(moment, paths, followed),
        questions=tuple(_questions(moment)),
        mode=_mode(document, moment),
        say=f"Step {moment.n} of {len(moments)}. {moment.title}. {effect}",
    )


# --- the look-up -------------------------------------------------------------------------------------------------------


def _questions(moment: Moment) -> Iterator[QuestionRow]:
    for lookup in moment.lookups:
        answers = ", ".join(lookup.get("answers") or ())
        empty = "no records" if lookup["rcode"] == "NOERROR" else lookup["rcode"]
        yield QuestionRow(
            rdtype=lookup["question"]["type"],
            server=lookup["server"],
            transport=lookup.get("transport", "udp"),
            answer=answers or empty,
            found=bool(answers),
        )


def _asked_why(moment: Moment, moments: Sequence[Moment]) -> Iterator[str]:
    """Yield why this name was asked, and how many questions of the whole look-up were in vain."""
    search = next((lookup["search"] for lookup in moment.lookups if lookup.get("search")), None)
    if search:
        yield f"The name has too few dots to be tried as it stands first: search suffix {search['number']} of {search['of']}."
    asked = [m for m in moments if m.kind == "dns"]
    total = sum(len(m.lookups) for m in asked)
    wasted = sum(len(m.lookups) for m in asked if not any(lookup.get("answers") for lookup in m.lookups))
    if wasted and moment is asked[-1]:
        yield f"{wasted} of {total} questions of this look-up were in vain."


# --- the packet --------------------------------------------------------------------------------------------------------


def _rows(moment: Moment) -> Iterator[FieldRow]:
    caller, called = ("dd", "cs") if moment.reply else ("cs", "dd")
    for name in FIELDS:
        before, after = shown(moment.before, name), shown(moment.after, name)
        if not moment.before or (name == "mark" and {before, after} == {"0x0"}):
            continue
        tint = "mm" if name == "mark" else caller if name.startswith("source") else called
        yield FieldRow(label=_LABELS[name], before=before, after=after, changed=before != after, tint=tint if before != after else "")


def _meanings(moment: Moment) -> tuple[Meaning, ...]:
    for step in reversed(moment.steps):
        if step.get("rule") and (found := meanings(str(step["rule"]))):
            return found
    return ()


# --- the random choice -------------------------------------------------------------------------------------------------


def _siblings(moment: Moment, paths: Sequence[Path], followed: Path) -> dict[str, list[Path]]:
    """Return the paths that pass this choice on the same node, by where they end."""
    at = next((place for place, stop in enumerate(followed.stops) if stop.n == moment.n), None)
    if at is None:
        return {}
    key = followed.stops[at].key
    found: dict[str, list[Path]] = {}
    for path in paths:
        if path.entry == followed.entry and (passes(kind_of(path), key) or passes(path, key)):
            found.setdefault(path.target, []).append(path)
    return found


def _share(paths: Sequence[Path]) -> Fraction:
    return sum((path.probability for path in paths), Fraction(0))


def _picks(moment: Moment, paths: Sequence[Path], followed: Path) -> tuple[tuple[PickRow, ...], int]:
    if moment.kind != "pick":
        return (), 0
    groups = _siblings(moment, paths, followed)
    total = _share([path for members in groups.values() for path in members])
    if not total:
        return (), 0
    sure = not any(path.conditions for members in groups.values() for path in members)
    ordered = sorted(groups.items(), key=lambda item: (item[0] != followed.target, -_share(item[1]), item[1][0].subtitle))
    shown_rows = sorted(ordered[:MOST_PICKS], key=lambda item: _address_key(item[1][0].subtitle))
    rows = tuple(
        PickRow(
            name=members[0].subtitle or members[0].title,
            node=members[0].node,
            odds=odds_text(_share(members) / total) if sure else "–",
            current=target == followed.target,
            follow=members[0].id,
        )
        for target, members in shown_rows
    )
    return rows, len(groups) - len(rows)


def _address_key(text: str) -> tuple[object, ...]:
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"[.:]", text))


def _exactly(moment: Moment, paths: Sequence[Path], followed: Path) -> str:
    if moment.kind != "pick":
        return ""
    groups = _siblings(moment, paths, followed)
    total = _share([path for members in groups.values() for path in members])
    if not total or any(path.conditions for members in groups.values() for path in members):
        return ""
    return exact_text(_share(groups.get(followed.target, [])) / total)


# --- why ---------------------------------------------------------------------------------------------------------------


def _effect(moment: Moment, outcome: Json, moments: Sequence[Moment], picks: Sequence[PickRow]) -> str:
    after_source, after_destination = side_text(moment.after, "source"), side_text(moment.after, "destination")
    name = str(moment.stack.get("name", ""))
    match moment.kind:
        case "send":
            return f"The packet leaves for {after_destination} with the source {after_source}."
        case "dns":
            return _found(moment)
        case "load-balancer":
            kept = "" if moment.changes_source else " The source stays."
            return f"The destination becomes {after_destination}, a node and its node port.{kept}"
        case "mark":
            return f"The mark becomes {shown(moment.after, 'mark')}. No header field changes yet."
        case "pick":
            mine = next((row for row in picks if row.current), None)
            if mine and _is_ipvs(moment):
                return f"The scheduler picks {mine.name}" + (f", probability {mine.odds}." if mine.odds != "–" else ".")
            return (
                f"A random draw picks {mine.name}" + (f", probability {mine.odds}." if mine.odds != "–" else ".")
                if mine
                else "A random draw picks an endpoint."
            )
        case "dnat":
            return f"The destination becomes {after_destination}."
        case "snat":
            gone = "" if moment.before.get("source") == moment.after.get("source") else f" {moment.before.get('source')} is gone."
            put = str(moment.after.get("source"))
            own = f"its own address {put}" if " " not in put else "an address of its own (which one is not recorded)"
            return f"Node {name} puts {own} into the source field.{gone}"
        case "deliver":
            seen = (outcome.get("source_seen") or {}).get("ip") or moment.after.get("source")
            who = {"pod": "The pod", "node": "The node"}.get(str((outcome.get("destination") or {}).get("kind")), "The receiver")
            return f"{who} sees {seen} as its client."
        case "drop" | "reject" | "unknown" | "leave":
            reason = outcome.get("reason") or {}
            return rule_sentence(outcome, reason.get("code", "")) or sentence(str(reason.get("text") or moment.title))
        case "reply":
            return f"The answer goes to {after_destination}."
        case "un-nat":
            return "Connection tracking takes back what it did to the first packet."
        case "receive":
            return f"The client sees the answer come from {after_source}."
    return _passing(moment, name)


def _is_ipvs(moment: Moment) -> bool:
    return bool(moment.steps) and moment.steps[-1]["table"] == "ipvs"


def _found(moment: Moment) -> str:
    """Return what the look-up of one name came to."""
    name = moment.question or "the name"
    found = [answer for lookup in moment.lookups for answer in lookup.get("answers") or ()]
    if found:
        return f"{name} is {', '.join(found)}."
    return {"NOERROR": f"{name} exists, but has no address.", "NXDOMAIN": f"{name} does not exist."}.get(
        moment.lookups[0]["rcode"] if moment.lookups else "", f"{name} could not be looked up."
    )


def _mode(document: Json, moment: Moment) -> str:
    """Return the mode of the node that this step is on, with what tells it; "" where the step is on none."""
    name = str(moment.stack.get("name", "")) if moment.stack.get("kind") == "node" else ""
    node = document.get("nodes", {}).get(name, {})
    evidence = "; ".join(node.get("evidence") or ())
    return sentence(f"Node {name} is in {node['mode']} mode: {evidence}") if node.get("mode") else sentence(evidence)


def _passing(moment: Moment, name: str) -> str:
    names = [step["names"] for step in moment.steps if step.get("names")]
    if moment.stack.get("kind") == "proxy":
        new = f"{side_text(moment.after, 'source')} to {side_text(moment.after, 'destination')}"
        return f"The process accepts the connection and makes a new one, from {new}."
    count = len(moment.steps)
    rules = f"{count} {'rule' if count == 1 else 'rules'}"
    if moment.chain and names and names[-1].get("service"):
        port = f" port {names[-1]['port']}" if names[-1].get("port") else ""
        return f"The packet belongs to Service {names[-1].get('service', '')}{port}."
    if moment.chain and moment.steps and (to := re.match(r"(?:jump|goto) (\S+)", str(moment.steps[-1].get("verdict")))):
        return f"{moment.chain} sends the packet on to {to[1]}."
    if moment.chain:
        return f"The packet passes {moment.chain}."
    return f"{rules} of node {name} matched here. None of them changes the packet."


def _causes(moment: Moment, outcome: Json, moments: Sequence[Moment]) -> Iterator[str]:
    if moment.kind == "dns":
        yield from _asked_why(moment, moments)
    if moment.stack.get("kind") == "proxy" and moment.kind == "chain":
        yield "What arrives is another connection: the client's address and the original destination are not in it."
    yield from dict.fromkeys(step["condition"] for step in moment.steps if step.get("condition"))
    if moment.kind == "mark":
        later = next((m for m in moments if m.n > moment.n and m.kind == "snat" and m.hop == moment.hop), None)
        if later:
            yield f"The mark says “rewrite my source later”: step {later.n} does it."
    if moment.kind == "snat":
        marked = next((m for m in moments if m.n < moment.n and m.kind == "mark" and m.hop == moment.hop), None)
        if marked:
            yield f"The packet carries mark {shown(marked.after, 'mark')} since step {marked.n}."
    if moment.kind == "pick" and _is_ipvs(moment):
        yield from (sentence(note.removeprefix(f"{moment.chain}: ").capitalize()) for note in moment.notes if note.startswith(moment.chain))
    elif moment.kind == "pick":
        yield "The draw is made once for a connection, not for every packet."
    if moment.kind == "dnat":
        node, here = (outcome.get("destination") or {}).get("node"), moment.stack.get("name")
        if node and node != here:
            yield f"The pod is on another node ({node}), so the packet is routed onward after this."
        elif node:
            yield "The pod is on this node."
    if moment.kind == "load-balancer":
        yield "The load balancer is a model, made from the Service's status; it is not read from the cloud."
    if moment.leaves_node:
        yield from (sentence(note[:1].upper() + note[1:]) for note in moment.notes if not note.startswith(f"{moment.chain}: "))
    if moment.kind == "send" and shown(moment.after, "source_port") == "any":
        yield "No source port was given, so none is shown; rules that ask for one are answered “unknown”."

"""Where one step comes from: the lines of the dump around its rules, the map's element that was taken, or the facts behind it.

A rule that came without a line number, as in a listing that is JSON alone, is shown as the step itself has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tracer.frontends.kinds import LISTED
from tracer.graph import Path
from tracer.values import dataclass
from webapp.presenters.journey import Moment, shown, side_text
from webapp.presenters.rule_text import Token, chain_of, tokens, without_counters

Json = Mapping[str, Any]
_LISTENERS = {
    "declared": "a container declares this port, or a socket listens",
    "undeclared": "no container declares this port",
    "absent": "nothing listens, by the node's list of sockets",
}
_NO_RULE = ("type ", "policy ", "comment ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of evidence: *hit* matched, *miss* was asked and did not match; *gap* says that lines are left out before it."""

    number: str
    tokens: tuple[Token, ...]
    hit: bool = False
    miss: bool = False
    gap: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The lines of one file; *title* is "The exact rule" for rules. *origin*: what it was called when it was handed in, if otherwise."""

    title: str
    file: str
    lines: tuple[Line, ...]
    origin: str = ""


def evidence(document: Json, outcome: Json, moment: Moment, path: Path) -> Iterator[Evidence]:
    """Yield what step *moment* of *outcome* rests on, one value a file; *path* is the outcome as the graph has it."""
    by_file: dict[str, list[Json]] = {}
    for step in moment.steps:
        if step.get("rule"):
            by_file.setdefault(str(step.get("file") or ""), []).append(step)
    for file, steps in by_file.items():
        made = [str(step["as"]) for step in steps if "as" in step]
        title = f"As {made[0]} would write it" if made else "The exact rule" if len(steps) == 1 else "The exact rules"
        yield Evidence(title=title, file=file, lines=tuple(_lines(document, file, steps)))
    if policies := [step for step in moment.steps if step.get("policy")]:
        said = tuple(Line(number="", tokens=(Token(text=f"{s['table']} {s['chain']}: policy {s['policy']}"),), hit=True) for s in policies)
        yield Evidence(title="Where a chain ends without a verdict", file="", lines=said)
    if events := [step for step in moment.steps if step.get("event")]:
        yield Evidence(title="What the kernel does without a rule", file="", lines=tuple(fact(str(s["event"])) for s in events))
    if not moment.steps:
        yield Evidence(title="Where this comes from", file=_origin(moment), lines=tuple(_facts(document, outcome, moment, path)))


def _lines(document: Json, file: str, steps: Sequence[Json]) -> Iterator[Line]:
    known: Mapping[str, str] = document.get("rules", {}).get(file, {})
    hits = {int(step["line"]): step for step in steps if step.get("line")}
    last: int | None = None
    for number in sorted(_wanted(hits, known)):
        step = hits.get(number)
        text = str(step["rule"]) if step else without_counters(known[str(number)].strip())
        miss = step is None and any(
            number < hit and other["table"] != "ipvs" for hit, other in hits.items() if _near(known, number, hit, other)
        )
        gap = last is not None and number != last + 1
        yield Line(number=str(number), tokens=tokens(text, _element(step)), hit=step is not None, miss=miss, gap=gap)
        if step:
            yield from _taken(step, text)
        last = number
    for step in steps:
        if not step.get("line"):
            yield Line(number="", tokens=tokens(str(step["rule"]), _element(step)), hit=True)
            yield from _taken(step, str(step["rule"]))


def _taken(step: Json, text: str) -> Iterator[Line]:
    """Yield the element of a named map that was taken: it stands elsewhere in the file."""
    element = str((step.get("names") or {}).get("element", ""))
    if element and _element(step) not in text:
        yield Line(number="", tokens=(Token(text="element", css="cm"), Token(text=element, css="tg el")), hit=True)


def _element(step: Json | None) -> str:
    """Return the words of an anonymous map's element that was taken, "" where none was."""
    if step is None:
        return ""
    rewrote = step.get("rewrote") or {}
    if "destination" in rewrote and " map {" in str(step.get("rule", "")):
        port = rewrote.get("destination_port", ("", ""))[1]
        return f"{rewrote['destination'][1]} . {port}" if port else str(rewrote["destination"][1])
    return str((step.get("names") or {}).get("element", ""))


def _wanted(hits: Mapping[int, Json], known: Mapping[str, str]) -> set[int]:
    """Return the lines to show: every hit, and while there are few of them a line of the same chain either side."""
    wanted = set(hits)
    around = (-2, -1, 1) if len(hits) <= 2 else (-1,) if len(hits) <= 5 else ()
    for hit, step in hits.items():
        wanted |= {hit + offset for offset in around if _near(known, hit + offset, hit, step)}
    return wanted


def _near(known: Mapping[str, str], number: int, hit: int, step: Json) -> bool:
    """Whether line *number* is a rule of the same chain as the rule of *step* on line *hit*."""
    text = known.get(str(number), "").strip()
    if not text or step["table"] in LISTED:  # what stands beside a line of JSON is a part of the same entry
        return False
    if step["table"] == "ipvs":
        return text.startswith(f"-a {step['chain']} ")
    if str(step["rule"]).startswith("-A "):
        return chain_of(text) == str(step["chain"])
    # nft: a chain is a block of lines in braces, its rules behind its type, policy and comment.
    low, high = sorted((number, hit))
    between = [known.get(str(at), "{").strip() for at in range(low, high + 1)]
    return not text.startswith(_NO_RULE) and not any(line.endswith("{") or line == "}" for line in between)


def _origin(moment: Moment) -> str:
    if moment.kind == "send":
        return "Input to this trace"
    if moment.kind == "load-balancer":
        return f"Service {moment.stack.get('name', '')}, status.loadBalancer"
    return {"deliver": "EndpointSlices and Pods", "dns": "DNS, as the source asks it", "reply": "The answer, as it is sent"}.get(
        moment.kind, ""
    )


def _facts(document: Json, outcome: Json, moment: Moment, path: Path) -> Iterator[Line]:
    begins = not document["answer"]["query"].get("connection")
    protocol = shown(moment.before, "protocol").lower()
    flow = f"{protocol} {side_text(moment.before, 'source')} > {side_text(moment.before, 'destination')}"
    if moment.kind == "dns":
        yield from _looked_up(moment)
    elif moment.kind in ("send", "reply", "receive"):
        back = " RST" if "tcp-reset" in (outcome.get("reject_with"), _no_listener(outcome)) else " SYN-ACK"
        flags = " SYN" if moment.title.endswith(" SYN") else back if moment.reply and begins and protocol == "tcp" else ""
        yield fact(flow + flags)
    elif moment.kind == "load-balancer":
        yield fact(f"{side_text(moment.before, 'destination')} → {side_text(moment.after, 'destination')}")
        yield from (fact(note) for note in moment.notes)
    elif moment.kind == "deliver":
        place = outcome.get("destination") or {}
        owner = f"{place.get('namespace')}/{place.get('name')}" if place.get("namespace") else place.get("name", "")
        yield fact(f"{place.get('kind', '')} {owner}")
        if place.get("node") and place.get("kind") != "node":
            yield fact(f"on node {place['node']}")
        if path.state:
            yield fact(f"the pod is {path.state}")
        if outcome.get("listener"):
            yield fact(f"port {place.get('port')}: {_LISTENERS.get(outcome['listener'], 'whether something listens is not known')}")
    elif moment.kind == "un-nat":
        yield fact(f"{side_text(moment.before, 'source')} > {side_text(moment.before, 'destination')}")
        yield fact(f"{side_text(moment.after, 'source')} > {side_text(moment.after, 'destination')}")
    elif moment.stack.get("kind") == "proxy" and moment.kind == "chain":
        yield from (fact(note) for note in moment.notes)
    elif outcome.get("reason"):
        yield fact(str(outcome["reason"]["text"]))
    else:
        yield fact(flow)


def _no_listener(outcome: Json) -> str:
    """How the kernel refuses a TCP connection where nothing listens, "" where that is not so."""
    return "tcp-reset" if outcome.get("listener") == "absent" else ""


def fact(text: str) -> Line:
    """Return *text* as a line that is lit."""
    return Line(number="", tokens=(Token(text=text),), hit=True)


def _looked_up(moment: Moment) -> Iterator[Line]:
    first = moment.lookups[0] if moment.lookups else {}
    if first:
        yield fact(first["question"]["name"])
    if first.get("why"):
        yield fact(first["why"])
    if first.get("plugin"):
        yield fact(f"answered by CoreDNS, plugin {first['plugin']}")
    yield from (fact(note) for note in dict.fromkeys(note for lookup in moment.lookups for note in lookup.get("notes") or ()))

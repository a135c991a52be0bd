"""The answer in one sentence: what happens to this packet, at which step, and what to read about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

from tracer.dispositions import WORDS, sees
from tracer.explain.catalogue import explain, severity_here, severity_of, worst_finding
from tracer.explain.explanation import Severity
from tracer.graph import Path, firsts, kind_of, most_likely, named
from tracer.netfilter.rule_comments import spoken_in
from tracer.odds_text import odds_text
from tracer.patterns import pattern
from tracer.trace import Finding, Reason
from tracer.values import dataclass

Json = Mapping[str, Any]

_PHRASES = {
    "CLIENT_IP_LOST": "the client IP is lost",
    "TARGET_PORT_UNPROVEN": "no container declares this port",
    "POLICY_NOT_SEEN_IN_RULES": "a NetworkPolicy would deny this",
    "UNEVEN_SPLIT": "endpoints have unequal odds",
    "LEAVES_CLUSTER": "",
    "DELIVERED": "",
}
_STATIONS = {
    "CLIENT_IP_LOST": ("snat", "proxy"),
    "UNEVEN_SPLIT": ("pick",),
    "AFFINITY_PINS_CLIENT": ("pick", "dnat"),
    "ZONE_HINTS_UNUSED": ("pick",),
    "TARGET_PORT_UNPROVEN": ("deliver",),
    "POLICY_NOT_SEEN_IN_RULES": ("deliver",),
    "LB_BYPASSED": ("send",),
    "NAMES_NOT_MODELLED": ("dns", "unknown"),
    "DNS_SEARCH_EXPANSION": ("dns",),
    "DNS_QUERY_RACE": ("dns",),
    "EXTERNALNAME_TLS": ("dns",),
}
LONG = 150
_COLON = pattern(r": ")
_GOES_ON = frozenset(("after", "at", "from", "in", "on", "pod", "rules", "with", "for", "by", "their", "they", "that", "those", "every"))
_BEGINNERS = (
    *("node", "the", "a", "an", "it", "no", "this", "there", "nothing", "its", "all", "none"),
    *("where", "which", "whether", "how", "what", "who", "whose", "when"),
)
"""Words that begin a sentence written large; any other first word may be a name, which keeps its letters."""
QUIET = (Severity.INFO,)
_FAILS = ("refused", "hangs")
"""What a client may see of a packet that was delivered, and that no other sentence says."""
UNCHECKED = "DATA_MISSING"
_BY_RULE = ("RULE_DROP", "RULE_REJECT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The headline in two parts (the second one lit), the icon, the step that causes it, and the sentences below.

    *text* is the first sentence, *detail* what follows it where it is long.
    *follow* is set when the causing step is on another path than the followed one.
    """

    head: str
    lit: str
    icon: str
    step: int
    code: str
    text: str
    extra: tuple[str, ...] = ()
    detail: str = ""
    follow: str = ""
    others: tuple[tuple[str, str, str], ...] = ()

    @property
    def whole(self) -> str:
        """Return the headline as one line."""
        return f"{self.head} {self.lit}".strip()


def verdict(answer: Json, paths: Sequence[Path], followed: Path) -> Verdict:
    """Return the verdict of the whole answer, told from the followed path where paths agree."""
    outcomes = firsts(answer["outcomes"])
    kinds = {_word(outcome) for outcome in outcomes}
    if len(kinds) > 1:
        return _mixed(answer, paths, followed)
    outcome = answer["outcomes"][followed.index]
    finding = _worst(outcomes)
    if finding is not None:
        # The followed path tells it, when it has the same finding in its own words.
        outcome, finding = next(_told(finding.code, [outcome, *outcomes]))
    chosen = followed if outcome["id"] == followed.id else named(paths, outcome["id"]) or followed
    step = cause_step(outcome, finding.code if finding else "")
    head, lit = _headline(outcome, finding, step)
    text = rule_sentence(outcome, finding.code) or finding.text if finding else _plain(outcome)
    return Verdict(
        head=head,
        lit=lit,
        icon=_icon(outcome, finding),
        step=step,
        code=finding.code if finding else "",
        text=lead(text)[0],
        detail=lead(text)[1],
        extra=tuple(_extra(answer, paths, outcome)),
        follow="" if chosen.index == followed.index else chosen.id,
    )


def path_to_show(answer: Json, paths: Sequence[Path]) -> Path:
    """Return the path to follow when none was asked for: the one on which the headline's step lies; of several the most likely one."""
    likely = most_likely(paths)
    told = verdict(answer, paths, likely).follow
    return (named(paths, told) if told else None) or likely


def _word(outcome: Json) -> str:
    reply = (outcome.get("reply") or {}).get("disposition", "delivered")
    if outcome["disposition"] == "leaves" and reply == "unknown":
        return "leaves"
    return "no answer" if outcome["disposition"] in ("delivered", "leaves") and reply != "delivered" else str(outcome["disposition"])


def _mixed(answer: Json, paths: Sequence[Path], followed: Path) -> Verdict:
    words = {kind_of(path).index: _word(answer["outcomes"][kind_of(path).index]) for path in paths}
    word_of = {path.index: words[kind_of(path).index] for path in paths}
    good = sum(word == "delivered" for word in word_of.values())
    bad = [path for path in paths if word_of[path.index] != "delivered"]
    ranks = {index: severity_of((answer["outcomes"][index].get("reason") or {}).get("code", "")).rank for index in words}
    chosen = min(bad, key=lambda path: (ranks[kind_of(path).index], -path.probability, path.index))
    worst = answer["outcomes"][chosen.index]
    cause = _worst([worst])
    step = cause_step(worst, cause.code if cause else "")
    lit = f"{good} of {len(paths)} paths deliver" if good else f"{len(set(word_of.values()))} ways to end, none delivers"
    code, said = (cause.code, cause.text) if cause else ("", _sees(worst))
    others = tuple(_ways(paths, word_of))
    return Verdict(
        head="Depends on the path:",
        lit=lit,
        icon="mixed",
        step=step,
        code=code,
        text=lead(rule_sentence(worst, code) or said)[0],
        detail=lead(rule_sentence(worst, code) or said)[1],
        extra=tuple(_extra(answer, paths, worst)),
        follow="" if worst["id"] == followed.id else worst["id"],
        others=others,
    )


def _ways(paths: Sequence[Path], word_of: Mapping[int, str]) -> Iterator[tuple[str, str, str]]:
    """Yield (verdict word, odds, most likely path's id) for each way to end; no odds where conditions decide."""
    sure = not any(path.conditions for path in paths)
    for word in sorted(set(word_of.values())):
        those = [path for path in paths if word_of[path.index] == word]
        share = sum((path.probability for path in those), Fraction(0))
        yield WORDS[word].title if word in WORDS else word.capitalize(), odds_text(share) if sure else "", most_likely(those).id


def _findings(outcome: Json) -> list[Reason]:
    found = [*(outcome.get("findings") or ()), *([outcome["reason"]] if outcome.get("reason") else ())]
    reply = (outcome.get("reply") or {}).get("reason")
    return [_reason(item) for item in [*found, *([reply] if reply else ())]]


def _reason(item: Json) -> Reason:
    """Return a reason, or a finding with the severity that it has in this case."""
    if "severity" in item:
        return Finding(code=item["code"], text=item["text"], severity=item["severity"])
    return Reason(code=item["code"], text=item["text"])


def _worst(outcomes: Sequence[Json]) -> Reason | None:
    found = [
        finding
        for outcome in outcomes
        for finding in _findings(outcome)
        if severity_here(finding) not in QUIET and not (finding.code == UNCHECKED and outcome["disposition"] != "unknown")
    ]
    return worst_finding(found)


def unchecked(answer: Json) -> tuple[str, ...]:
    """Return what could not be checked for lack of input, although the packet's fate is known."""
    found = (
        f["text"]
        for outcome in firsts(answer["outcomes"])
        if outcome["disposition"] != "unknown"
        for f in outcome.get("findings") or ()
        if f["code"] == UNCHECKED
    )
    return tuple(dict.fromkeys(found))


def _told(code: str, outcomes: Sequence[Json]) -> Iterator[tuple[Json, Reason]]:
    """Yield each outcome that has a finding with *code*, with that finding."""
    for outcome in outcomes:
        yield from ((outcome, finding) for finding in _findings(outcome) if finding.code == code)


def sentence(text: str) -> str:
    """Return *text* begun large, and with a full stop unless it ends with a mark of its own."""
    if text.split(" ", 1)[0] in _BEGINNERS:
        text = text[:1].upper() + text[1:]
    return text if not text or text[-1] in ".!?”" else f"{text}."


def lead(text: str) -> tuple[str, str]:
    """Return a long *text* as its first statement and the rest, which gives the reasons; a short one whole."""
    at = next((m.start() for m in _COLON.finditer(text) if _is_statement(text[: m.start()])), None)
    if len(text) < LONG or at is None:
        return sentence(text), ""
    rest = text[at + 2 :]
    # What follows a colon begins small wherever no name does; a name of several parts keeps its letters.
    first = rest.split(" ", 1)[0]
    return sentence(text[:at]), sentence(rest[:1].upper() + rest[1:] if first in _GOES_ON else rest)


def _is_statement(text: str) -> bool:
    """Return whether what stands before a colon is one: nothing in it is still open, and it does not end with a key."""
    return text.count("(") == text.count(")") and text.count("“") == text.count("”") and "/" not in text.rpartition(" ")[2]


def phrase(code: str) -> str:
    """Return a reason as the end of "Delivered, but …"."""
    if code in _PHRASES:
        return _PHRASES[code]
    entry = explain(code)
    title = entry.title if entry else code
    # Names keep their letters: only an ordinary first word is written small.
    first = title.split(" ")[0]
    return title[:1].lower() + title[1:] if first[1:].islower() or len(first) == 1 else title


def _headline(outcome: Json, finding: Reason | None, step: int) -> tuple[str, str]:
    word = _word(outcome)
    if word == "no answer":
        return "No answer:", f"the reply is lost at step {step}"
    if word == "delivered":
        if outcome.get("listener") == "undeclared" and (finding is None or finding.code == "TARGET_PORT_UNPROVEN"):
            return "Delivered, but", "no container declares this port"
        if finding is None and _is_unheard(outcome):
            return "Delivered to the node;", "whether a process listens is not recorded"
        said = phrase(finding.code) if finding else ""
        return ("Delivered, but", f"{said} at step {step}") if said else ("Delivered", "")
    if word == "unknown":
        return f"{WORDS[word].title}:", WORDS[word].line
    if word == "unresolved":
        return WORDS[word].title, ""
    said = phrase(finding.code) if finding else ""
    if word == "leaves":
        return (f"{WORDS[word].title}, but", f"{said} at step {step}") if said else (WORDS[word].title, "")
    head = f"{WORDS[word].title} at step {step}"
    return (f"{head}:", said) if said and finding and finding.code not in (*_BY_RULE, "NOT_OWNED", "NO_ROUTE") else (head, "")


def rule_sentence(outcome: Json, code: str) -> str:
    """Return what the rule that ended this outcome says in its comment, "" where another reason is given or it has none."""
    hops = outcome.get("hops") or []
    steps = hops[-1].get("steps") if hops else None
    if code not in _BY_RULE or not steps or not steps[-1].get("rule"):
        return ""
    words = spoken_in(steps[-1]["rule"])
    does = "drops" if code == "RULE_DROP" else "rejects"
    said = f": “{words}”." if words else "."
    return f"A rule of {steps[-1]['chain']} on node {hops[-1]['stack']['name']} {does} the packet{said}"


def _icon(outcome: Json, finding: Reason | None) -> str:
    word = _word(outcome)
    if word == "delivered":
        but = finding is not None or outcome.get("listener") == "undeclared" or _is_unheard(outcome)
        return "but" if but else "ok"
    return {"unknown": "unknown", "leaves": "out"}.get(word, "bad")


def _plain(outcome: Json) -> str:
    place = outcome.get("destination") or {}
    if outcome["disposition"] == "delivered" and place.get("name") and not _is_unheard(outcome):
        name = f"{place['namespace']}/{place['name']}" if place.get("namespace") else place["name"]
        return f"The packet reaches {place.get('kind', '')} {name}."
    return str((outcome.get("reason") or {}).get("text") or _sees(outcome))


def _is_unheard(outcome: Json) -> bool:
    """Whether the packet reached a node of which nobody recorded who listens."""
    return outcome.get("listener") == "unknown" and (outcome.get("destination") or {}).get("kind") == "node"


def _sees(outcome: Json) -> str:
    first = next(iter(outcome.get("hops") or ()), None)
    return sees(outcome["disposition"], outcome.get("client_sees"), first["packet_in"]["protocol"] if first else "")


def _extra(answer: Json, paths: Sequence[Path], outcome: Json) -> Iterator[str]:
    """Yield the sentences behind the first: how many paths, what the client sees, what was supposed."""
    if (outcome["disposition"] not in ("delivered", "unknown") and outcome.get("reason")) or outcome.get("client_sees") in _FAILS:
        yield from filter(None, [_sees(outcome)])
    if (
        outcome["disposition"] not in ("delivered", "leaves")
        and (outcome.get("reply") or {}).get("disposition", "delivered") != "delivered"
    ):
        yield sentence(f"The refusal does not reach it: {outcome['reply']['reason']['text']}")
    if outcome["disposition"] == "unknown":
        yield from (
            sentence(unknown["text"])
            for unknown in answer.get("unknowns") or ()
            if unknown["text"] != (outcome.get("reason") or {}).get("text")
        )
    if any(path.conditions for path in paths):
        yield "What the snapshot cannot tell decides between the paths, so no odds are given."


def _at_proxy(station: Json, outcome: Json) -> bool:
    hops = outcome.get("hops") or []
    return bool(station["hop"] < len(hops) and hops[station["hop"]]["stack"]["kind"] == "proxy")


def cause_step(outcome: Json, code: str) -> int:
    """Return the number of the station that causes finding *code* on this outcome: the last one of the way there by default."""
    stations = [station for station in outcome.get("stations") or () if not station.get("reply")]
    if _word(outcome) == "no answer":
        return int(outcome["stations"][-1]["n"])
    for finding in outcome.get("findings") or ():
        if finding["code"] == code and "step" in finding and not finding.get("reply"):
            for station in stations:
                if station["hop"] == finding["hop"] and finding["step"] in station["steps"]:
                    return int(station["n"])
    for kind in _STATIONS.get(code, ()):
        for station in stations:
            if station["kind"] == kind or (kind == "proxy" and _at_proxy(station, outcome)):
                return int(station["n"])
    return int(stations[-1]["n"]) if stations else 1

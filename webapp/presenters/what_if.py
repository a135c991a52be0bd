"""The what-if panel: what is otherwise than it is, with a way to take each word back, and what could be, built from what is on the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tracer.errors import QueryError
from tracer.override_words import MODES, parse_overrides
from tracer.patterns import pattern
from tracer.values import dataclass
from webapp.presenters.assumed import what_if_words
from webapp.questions.trace_query import FieldError, TraceQuery

Json = Mapping[str, Any]
MOST_NODES, MOST_POLICIES, MOST_SERVICES = 4, 4, 3
_NOTHING = "Nothing is changed by that: it is so already, or nothing that is traced follows from it."
_FIELD = pattern(r"Service (?P<name>[^\s:]+): (?P<field>[^\s:]+)")
_MODES = {"ipvs": "IPVS"}
_OTHER = {"Cluster": "Local", "Local": "Cluster"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One change that can be asked about: *label* on a button, its *word*, and the address of the question with it."""

    label: str
    word: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Offers:
    """What could be otherwise of one thing."""

    about: str
    offers: tuple[Offer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """One change that is asked about; *url* asks without it, "" where the answer is frozen."""

    word: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """A word as it was typed, and what is wrong with it."""

    word: str
    errors: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """The panel. *changes* say what follows from the words, *notes* what stays or is taken for granted.

    *compare* is (label, address) of the answers beside each other, or what could be held against this one; None where nothing could.
    """

    chips: tuple[Chip, ...]
    changes: tuple[str, ...]
    notes: tuple[str, ...]
    groups: tuple[Offers, ...]
    compare: tuple[str, str] | None
    hidden: tuple[tuple[str, str], ...]

    @property
    def is_active(self) -> bool:
        """Return whether anything is otherwise than it is."""
        return bool(self.chips)


def what_if(document: Json, outcome: Json, query: TraceQuery, path: str) -> WhatIf:
    """Return the panel for a page at *path* that follows *outcome* of the answer in *document*."""
    live = not path.startswith("/t/")
    said = document["answer"].get("what_if") or {}
    groups = tuple(_grouped(_offers(document, outcome), query, path)) if live else ()
    return WhatIf(
        chips=tuple(_chips(query, path)) if live else tuple(Chip(word=word, url="") for word in what_if_words(document["answer"])),
        changes=tuple(said.get("changes") or ()) or ((_NOTHING,) if what_if_words(document["answer"]) else ()),
        notes=tuple(said.get("notes") or ()),
        groups=groups,
        compare=_compare(document, query, path) if live else None,
        hidden=tuple((name, value) for name, value in query.but(follow="", step=None, expand=()).params()),
    )


def typed(query: TraceQuery, errors: Sequence[FieldError]) -> tuple[Typed, ...]:
    """Return the words as they were typed, each with its errors; what is wrong with none of them alone stands at the last one."""
    wrong = [error.message for error in errors if error.field == "set"]
    rows = [Typed(word=word, errors=tuple(text for text in wrong if _is_of(text, word))) for word in query.said]
    left = tuple(text for text in wrong if not any(text in row.errors for row in rows))
    if rows and left:
        rows[-1] = Typed(word=rows[-1].word, errors=(*rows[-1].errors, *left))
    return tuple(rows)


def _is_of(message: str, word: str) -> bool:
    """Whether *message* is about *word*: it begins with it, or names the field of a Service that it sets."""
    found = _FIELD.match(message)
    return message.startswith(f"{word}:") or (found is not None and word.startswith(f"svc/{found['name']}.{found['field']}"))


def _chips(query: TraceQuery, path: str) -> Iterator[Chip]:
    plain = query.but(follow="", step=None, expand=())
    for word in query.overrides:
        yield Chip(word=word, url=plain.but(overrides=tuple(other for other in query.overrides if other != word)).url(path))
    if query.apply:
        yield Chip(word=f"manifest {query.apply[:8]} applied", url=plain.but(apply="", manifest="").url(path))


# --- what could be otherwise ---------------------------------------------------------------------------------------------------------

_Offered = tuple[str, str, str]
"""What it is of, the button's label, the word."""


def _offers(document: Json, outcome: Json) -> Iterator[_Offered]:
    for name, service in list((document.get("services") or {}).items())[:MOST_SERVICES]:
        yield from _of_service(name, service)
    yield from _of_pod(outcome.get("destination") or {}, document.get("pods") or {})
    yield from _of_nodes(outcome)
    yield from _of_policies(document, outcome)
    modes = {node.get("mode") for node in (document.get("nodes") or {}).values()}
    yield from (("Mode of every node", _MODES.get(mode, mode), f"mode={mode}") for mode in MODES if modes != {mode})


def _of_service(name: str, service: Json) -> Iterator[_Offered]:
    about, spec = f"Service {name}", f"svc/{name}.spec"
    if service["type"] in ("NodePort", "LoadBalancer"):
        other = _OTHER[service["external"]]
        yield about, f"externalTrafficPolicy: {other}", f"{spec}.externalTrafficPolicy={other}"
    if service["type"] != "ExternalName":
        other = _OTHER[service["internal"]]
        yield about, f"internalTrafficPolicy: {other}", f"{spec}.internalTrafficPolicy={other}"
        if service["affinity"] == "ClientIP":
            yield about, "no session affinity", f"{spec}.sessionAffinity=None"
        else:
            yield about, "session affinity", f"{spec}.sessionAffinity=ClientIP"
    if service["ranges"]:
        yield about, "without source ranges", f"{spec}.loadBalancerSourceRanges=null"
    if service["type"] in ("NodePort", "LoadBalancer"):
        yield about, "type: ClusterIP", f"{spec}.type=ClusterIP"
    yield about, "this Service gone", f"svc/{name}=deleted"


def _of_pod(place: Json, pods: Json) -> Iterator[_Offered]:
    if place.get("kind") not in ("pod", "node") or not place.get("namespace"):
        return
    name = f"{place['namespace']}/{place['name']}"
    ready = (pods.get(name) or {}).get("ready")
    yield f"Pod {name}", "this pod gone", f"pod/{name}=deleted"
    if ready is not None:
        yield f"Pod {name}", f"this pod {'unready' if ready else 'ready'}", f"pod/{name}.ready={'false' if ready else 'true'}"


def _of_nodes(outcome: Json) -> Iterator[_Offered]:
    names = dict.fromkeys(hop["node"] for hop in outcome.get("hops") or () if hop.get("node"))
    for name in list(names)[:MOST_NODES]:
        yield f"Node {name}", "this node gone", f"node/{name}=removed"
        yield f"Node {name}", "this node cordoned", f"node/{name}=cordoned"


def _of_policies(document: Json, outcome: Json) -> Iterator[_Offered]:
    policies, asked = document.get("policies") or {}, document["answer"]["query"]["from"]
    place = outcome.get("destination") or {}
    ends = [f"{one.get('namespace')}/{one.get('name')}" for one in (asked, place) if one.get("namespace")]
    found = dict.fromkeys(policy for name in ends for policy in policies.get(name) or ())
    for policy in list(found)[:MOST_POLICIES]:
        yield "Network policies", f"without {policy}", f"networkpolicy/{policy}=deleted"


def _grouped(offered: Iterable[_Offered], query: TraceQuery, path: str) -> Iterator[Offers]:
    groups: dict[str, list[Offer]] = {}
    for about, label, word in offered:
        if url := _with(query, word, path):
            groups.setdefault(about, []).append(Offer(label=label, word=word, url=url))
    yield from (Offers(about=about, offers=tuple(offers)) for about, offers in groups.items())


def _with(query: TraceQuery, word: str, path: str) -> str:
    """The question with *word* as well, "" where something is said of that already."""
    if any(other.partition("=")[0] == word.partition("=")[0] for other in query.overrides):
        return ""
    try:
        words = parse_overrides((*query.overrides, word))
    except QueryError:
        return ""
    return query.but(overrides=words, follow="", step=None, expand=()).url(path)


def _compare(document: Json, query: TraceQuery, path: str) -> tuple[str, str] | None:
    """The two answers beside each other: as it is and what if; or, of a plain question, its Service with the other traffic policy."""
    there = path.removesuffix("/trace") + "/compare"
    if query.is_what_if:
        return "Compare with as it is", query.but(follow="", step=None, expand=()).url(there)
    for name, service in (document.get("services") or {}).items():
        side = "internal" if service["inside"] or service["type"] == "ClusterIP" else "external"
        if service["type"] != "ExternalName":
            other = _OTHER[service[side]]
            if url := _with(query, f"svc/{name}.spec.{side}TrafficPolicy={other}", there):
                return f"Compare with {other}", url
    return None

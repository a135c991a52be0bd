"""The words of a what-if question: one change of the cluster each, read and checked by their form.

Owns the grammar of trace-json.md's overrides and which words contradict each other. Whether what a word names is there, and whether the
API would take its value, is the business of ``tracer.overrides``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from enum import StrEnum

from tracer.errors import QueryError
from tracer.json_values import check_depth, decoder
from tracer.limits import OVERRIDE_TEXT, OVERRIDES
from tracer.patterns import pattern
from tracer.values import dataclass

FIELD = "overrides"
"""The field of a query that errors name."""
MODES = ("iptables", "nftables", "ipvs")
"""The modes that a node can be switched to."""


class On(StrEnum):
    """What a word is about, as it begins."""

    SERVICE = "svc"
    SLICE = "endpointslice"
    POLICY = "networkpolicy"
    INGRESS = "ingress"
    ROUTE = "httproute"
    ENDPOINT = "endpoint"
    POD = "pod"
    NODE = "node"
    MODE = "mode"


@dataclass(frozen=True, slots=True)
class Named:
    """The item of a list whose field *name* is *value*: ``[name=http]``."""

    name: str
    value: str


Segment = str | int | Named
"""One step of a path: a field or a key of a map, a place in a list, or an item by one of its fields."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One word: *text* as it was given, what it is about (*namespace* empty for nodes), and either a *path* with a *value*, or a *state*.

    *value* is what the text behind ``=`` is in JSON where it reads as that, *raw* that text. *state* is ``deleted``, ``terminating``,
    ``added``, ``cordoned``, ``removed``, or a mode. Of an endpoint *address* is which one; of an added pod *options* are what stands
    behind ``added:``.
    """

    text: str
    on: On
    namespace: str = ""
    name: str = ""
    path: tuple[Segment, ...] = ()
    value: object = field(default=None, compare=False)
    raw: str = ""
    state: str = ""
    address: str = ""
    options: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def key(self) -> tuple[str, str]:
        """Return the namespace and the name of what it is about."""
        return (self.namespace, self.name)


_NAME = r"[A-Za-z0-9](?:[-A-Za-z0-9._]{0,251}[A-Za-z0-9])?"
_OF_NAMESPACE = pattern(rf"({_NAME})/({_NAME})", re.ASCII)
_ENDPOINT = pattern(rf"({_NAME})/({_NAME})/([0-9a-fA-F.:]{{2,45}})\.(\w{{1,20}})", re.ASCII)
_ONLY_NAME = pattern(_NAME, re.ASCII)
_PATH = pattern(r"\.(?:(?:metadata|spec|status)(?=[.\[]|$)|(?:ready|mode)$)", re.ASCII)
_SEGMENT = pattern(r"\.(?P<key>[A-Za-z][A-Za-z0-9]{0,62})|\[(?P<place>[0-9]{1,4})\]|\[(?P<inner>[^\[\]]{1,320})\]", re.ASCII)
_MOST_SHOWN = 120
_CONDITIONS = ("ready", "serving", "terminating")
_OPTIONS = ("like", "node", "ips")
_STATES: Mapping[On, tuple[str, ...]] = {
    On.SERVICE: ("deleted",),
    On.SLICE: ("deleted",),
    On.POLICY: ("deleted",),
    On.INGRESS: ("deleted",),
    On.ROUTE: ("deleted",),
    On.POD: ("deleted", "terminating", "added:like=POD,node=NODE[,ips=IP+IP6]"),
    On.NODE: ("cordoned", "removed"),
}
_FORMS = (
    "svc/NAMESPACE/NAME.spec.FIELD=VALUE, svc/NAMESPACE/NAME=deleted, endpoint/NAMESPACE/SERVICE/IP.ready=false, "
    "pod/NAMESPACE/NAME=deleted, pod/NAMESPACE/NAME.ready=false, node/NAME=cordoned, node/NAME=removed, mode=nftables"
)


def refusal(word: str, why: str, *, near: tuple[str, ...] = ()) -> QueryError:
    """Return the error that refuses *word*, a sentence that says *why*."""
    return QueryError(f"{_shown(word)}: {why}", code="BAD_OVERRIDE", field=FIELD, near=near)


def parse_overrides(texts: Iterable[object]) -> tuple[str, ...]:
    """Return the words *texts*, each once, in one order.

    :raises QueryError: one is none, two contradict each other, or there are too many.
    """
    found: dict[str, Word] = {}
    for text in texts:
        if not isinstance(text, str):
            raise QueryError("overrides is not a list of words", code="BAD_OVERRIDE", field=FIELD)
        if len(found) >= OVERRIDES and text not in found:
            message = f"a question may change at most {OVERRIDES} things (limit OVERRIDES)"
            raise QueryError(message, code="BAD_OVERRIDE", field=FIELD)
        found[text] = parse_word(text)
    _agree(list(found.values()))
    return tuple(sorted(found))


def parse_word(text: str) -> Word:
    """Return what one word says. :raises QueryError: it has none of the forms."""
    if len(text) > OVERRIDE_TEXT:
        raise refusal(text, f"it is longer than {OVERRIDE_TEXT:,} characters (limit OVERRIDE_TEXT)")
    left, raw = _halves(text)
    begins, _, rest = left.partition("/")
    if left == On.MODE:
        return Word(text=text, on=On.MODE, state=_mode(text, raw), raw=raw)
    try:
        on = On(begins)
    except ValueError:
        raise refusal(text, f"it is no change that can be asked: give one of {_FORMS}") from None
    if on is On.ENDPOINT:
        return _endpoint(text, rest, raw)
    found = _PATH.search(rest)
    named, path = (rest, "") if found is None else (rest[: found.start()], rest[found.start() :])
    namespace, name = _names(text, on, named)
    about = Word(text=text, on=on, namespace=namespace, name=name, raw=raw)
    if path == ".ready" and on is On.POD:
        return replace(about, path=("ready",), value=_flag(text, raw))
    if path == ".mode" and on is On.NODE:
        return replace(about, state=_mode(text, raw))
    if not path or path in (".ready", ".mode"):
        return _state(about, text, raw, path)
    return replace(about, path=_segments(text, path), value=_value(raw))


def _halves(text: str) -> tuple[str, str]:
    """What stands before the first ``=`` outside brackets, and what behind it."""
    depth = 0
    for place, character in enumerate(text):
        depth += (character == "[") - (character == "]")
        if character == "=" and depth <= 0:
            return text[:place], text[place + 1 :]
    raise refusal(text, f"it says no value: give one of {_FORMS}")


def _names(text: str, on: On, named: str) -> tuple[str, str]:
    if on is On.NODE:
        if _ONLY_NAME.fullmatch(named) is None:
            raise refusal(text, "a node is named as node/NAME")
        return "", named
    found = _OF_NAMESPACE.fullmatch(named)
    if found is None:
        raise refusal(text, f"it is named as {on}/NAMESPACE/NAME, and its fields begin with .metadata or .spec")
    return found[1], found[2]


def _endpoint(text: str, rest: str, raw: str) -> Word:
    found = _ENDPOINT.fullmatch(rest)
    if found is None or found[4] not in _CONDITIONS:
        raise refusal(text, "an endpoint's conditions are set as endpoint/NAMESPACE/SERVICE/IP.ready, .serving or .terminating")
    made = Word(text=text, on=On.ENDPOINT, namespace=found[1], name=found[2], address=found[3], raw=raw)
    return replace(made, path=(found[4],), value=_flag(text, raw))


def _state(about: Word, text: str, raw: str, path: str) -> Word:
    """A word without a path: what becomes of an object as a whole."""
    states = _STATES[about.on]
    if path:
        raise refusal(text, f"{path} is nothing that {about.on}/… has")
    if about.on is On.POD and raw.startswith("added:"):
        return replace(about, state="added", options=_added(text, raw.removeprefix("added:")))
    if raw not in states or ":" in raw:
        raise refusal(text, f"{about.on}/… can be {' or '.join(states)}, or a field of it be set (.spec.FIELD=VALUE)")
    return replace(about, state=raw)


def _added(text: str, said: str) -> Mapping[str, str]:
    options: dict[str, str] = {}
    for part in said.split(","):
        name, equals, value = part.partition("=")
        if name not in _OPTIONS or not equals or not value or name in options:
            raise refusal(text, "a pod is added as added:like=POD,node=NODE[,ips=IP+IP6]")
        options[name] = value
    if missing := [name for name in _OPTIONS[:2] if name not in options]:
        raise refusal(text, f"{missing[0]}= is missing: a pod is added as added:like=POD,node=NODE[,ips=IP+IP6]")
    return options


def _mode(text: str, raw: str) -> str:
    if raw not in MODES:
        raise refusal(text, f"{_shown(raw) or 'nothing'} is no mode that nodes can be switched to: {', '.join(MODES[:-1])} or {MODES[-1]}")
    return raw


def _flag(text: str, raw: str) -> bool:
    if raw not in ("true", "false"):
        raise refusal(text, f"{_shown(raw) or 'nothing'} is neither true nor false")
    return raw == "true"


def _value(raw: str) -> object:
    """What *raw* is in JSON, itself where it is none."""
    try:
        check_depth(raw)
        return decoder().decode(raw)
    except ValueError:
        return raw


def _segments(text: str, path: str) -> tuple[Segment, ...]:
    found: list[Segment] = []
    at = 0
    while at < len(path):
        one = _SEGMENT.match(path, at)
        if one is None:
            why = f"the path {_shown(path)} cannot be read at {_shown(path[at:])}"
            raise refusal(text, f"{why}: fields are dotted, items are [0] or [name=http]")
        found.append(_segment(one))
        at = one.end()
    return tuple(found)


def _segment(found: re.Match[str]) -> Segment:
    if found["key"] is not None:
        return str(found["key"])
    if found["place"] is not None:
        return int(found["place"])
    name, equals, value = found["inner"].partition("=")
    return Named(name, value) if equals else name


def _agree(words: Sequence[Word]) -> None:
    """Check that no two words say different things of one thing. :raises QueryError: two do."""
    said: dict[tuple[On, str, str, str], list[Word]] = {}
    for word in words:
        said.setdefault((word.on, word.namespace, word.name, word.address), []).append(word)
    for alike in said.values():
        for place, one in enumerate(alike):
            for other in alike[place + 1 :]:
                if _contradict(one, other):
                    raise refusal(one.text, f"it contradicts {_shown(other.text)}")
    every = next((word for word in words if word.on is On.MODE), None)
    own = next((w for w in words if w.on is On.NODE and w.state in MODES and every is not None and w.state != every.state), None)
    if every is not None and own is not None:
        raise refusal(own.text, f"it contradicts {_shown(every.text)}, which is for every node")


def _contradict(one: Word, other: Word) -> bool:
    """Whether two words about the same thing cannot both hold."""
    if one.path and other.path:
        shorter = min(len(one.path), len(other.path))
        return one.path[:shorter] == other.path[:shorter]
    states = {one.state, other.state} - {""}
    if states & {"deleted", "removed"} or (one.state in MODES and other.state in MODES):
        return True
    if "terminating" in states:
        return any(w.path == ("ready",) and w.value is True for w in (one, other)) or "added" in states
    return len(states) == 1 and not (one.path or other.path)


def _shown(text: str) -> str:
    """A part of a word as an error shows it."""
    short = text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"
    return "".join(character if character.isprintable() else "?" for character in short)

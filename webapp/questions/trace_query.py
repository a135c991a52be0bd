"""The trace page's URL: every control's state, read, checked and written back in one order.

``parse`` never raises: it collects every error, so that a form can show them all at once. ``parse(str(query)) == query``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from typing import Any, TypeVar
from urllib.parse import parse_qs, quote

from tracer.assumptions import parse_assumptions
from tracer.errors import QueryError
from tracer.override_words import parse_overrides, parse_word
from tracer.packet import Protocol
from tracer.patterns import pattern
from tracer.query import (
    ANYONE,
    ANYWHERE,
    Destination,
    FlowState,
    Query,
    Resolver,
    Source,
    parse_destination,
    parse_port,
    parse_protocol,
    parse_source,
)
from tracer.values import dataclass

T = TypeVar("T")
DETAILS = ("objects", "chains", "rules")
GROUPS = ("zone", "node", "none")
VIEWS = ("steps", "graph", "rules")
SORTS = ("probability", "name", "node")
KINDS = ("external", "node", "pod")
FORM_FIELDS = ("from_kind", "from_name")
LATER = {
    "gen": "generations of a live cluster",
}
MOST_DIGITS = 18
_SERVICE = pattern(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?/[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[0-9]{1,5})?", re.ASCII)
_CONNECTION = pattern(r"(?P<node>[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?):(?P<line>[1-9][0-9]{0,8})", re.ASCII)
_ID = pattern(r"[0-9a-f]{10}", re.ASCII)
_MANIFEST = pattern(r"[0-9a-f]{32}", re.ASCII)
_FOLD = pattern(r"f-[0-9a-f]{10}|nodes|all", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldError:
    """One thing that is wrong, with the form field it belongs to; *near* are names that exist and look like the one given."""

    field: str
    message: str
    near: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceQuery:
    """What is asked (*source* … *apply*) and how it is looked at. None and the defaults are left out of the URL.

    *connection* is a line of a node's conntrack.txt: it says who sends what to whom, so that nothing else of the question is given.
    *overrides* are what-if words (tracer.override_words). *apply* is the id of a manifest that was handed in, *manifest* its text, which
    is not in the URL: whoever may see it puts it there (webapp.questions.applied). *said* are the what-if words as they were typed.
    """

    source: Source | None = None
    destination: Destination | None = None
    protocol: Protocol = Protocol.TCP
    source_port: int | None = None
    seed: int | None = None
    state: FlowState = FlowState.NEW
    connection: tuple[str, int] | None = None
    resolver: Resolver = Resolver.GLIBC
    assume: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    apply: str = ""
    manifest: str = field(default="", compare=False, repr=False)
    follow: str = ""
    step: int | None = None
    detail: str = "chains"
    group: str = ""
    expand: tuple[str, ...] = ()
    view: str = "steps"
    find: str = ""
    sort: str = "probability"
    errors: tuple[FieldError, ...] = field(default=(), compare=False)
    said: tuple[str, ...] = field(default=(), compare=False)
    raw: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def is_empty(self) -> bool:
        """Return whether nothing was asked: the page then offers examples."""
        return self.source is None and self.destination is None and self.connection is None and not self.errors

    @property
    def is_what_if(self) -> bool:
        """Return whether the question is about another cluster than the one that is there."""
        return bool(self.overrides or self.apply)

    @property
    def paths(self) -> str:
        """Return ``one`` for one seeded sample, else ``all``."""
        return "all" if self.seed is None else "one"

    def params(self) -> tuple[tuple[str, str], ...]:
        """Return the URL's parameters in canonical order, defaults left out."""
        found = [
            ("from", "" if self.source is None else str(self.source)),
            ("to", "" if self.destination is None else str(self.destination)),
            ("protocol", "" if self.protocol is Protocol.TCP else self.protocol.value),
            ("source_port", "" if self.source_port is None else str(self.source_port)),
            ("paths", "" if self.seed is None else "one"),
            ("seed", "" if self.seed is None else str(self.seed)),
            ("state", "" if self.state is FlowState.NEW else self.state.value),
            ("connection", "" if self.connection is None else f"{self.connection[0]}:{self.connection[1]}"),
            ("resolver", "" if self.resolver is Resolver.GLIBC else self.resolver.value),
            *(("assume", word) for word in self.assume),
            *(("set", word) for word in self.overrides),
            ("apply", self.apply),
            ("follow", self.follow),
            ("step", "" if self.step is None else str(self.step)),
            ("detail", "" if self.detail == "chains" else self.detail),
            ("group", self.group),
            ("expand", ",".join(self.expand)),
            ("view", "" if self.view == "steps" else self.view),
            ("find", self.find),
            ("sort", "" if self.sort == "probability" else self.sort),
        ]
        return tuple((name, value) for name, value in found if value)

    def __str__(self) -> str:
        return "&".join(f"{name}={quote(value, safe=_SAFE_WORD if name == 'set' else _SAFE)}" for name, value in self.params())

    def url(self, path: str) -> str:
        """Return *path* with this query behind it."""
        text = str(self)
        return f"{path}?{text}" if text else path

    def but(self, **changes: Any) -> TraceQuery:
        """Return this query with some of it changed."""
        return replace(self, **changes)

    def question(self) -> TraceQuery:
        """Return what is asked, without the way it is looked at: the key under which an answer is kept."""
        return TraceQuery(
            source=self.source,
            destination=self.destination,
            protocol=self.protocol,
            source_port=self.source_port,
            state=self.state,
            connection=self.connection,
            resolver=self.resolver,
            assume=self.assume,
            overrides=self.overrides,
            apply=self.apply,
            manifest=self.manifest,
        )

    def plain(self) -> TraceQuery:
        """Return the same question about the cluster as it is, looked at alike; the path that is followed is its own."""
        return self if not self.is_what_if else replace(self, overrides=(), apply="", manifest="", follow="", step=None)

    def look(self) -> TraceQuery:
        """Return how the answer is looked at, without what is asked: the address of a frozen answer."""
        asked = (*_ASKED, "overrides", "apply", "manifest")
        return replace(self, **{name: getattr(_NOTHING, name) for name in asked})

    def to_query(self) -> Query:
        """Return the engine's query. :raises QueryError: the source or the destination is missing, or the text of the manifest."""
        if self.apply and not self.manifest:
            raise QueryError("the manifest of this question is not here", code="BAD_OVERRIDE", field="apply")
        changed: dict[str, Any] = {"assume": self.assume, "overrides": self.overrides, "apply": self.manifest}
        if self.connection is not None:
            return Query(source=ANYONE, destination=ANYWHERE, connection=self.connection, **changed)
        if self.source is None or self.destination is None:
            raise QueryError("from and to are both needed", code="BAD_QUERY", field="from" if self.source is None else "to")
        return Query(
            source=self.source,
            destination=self.destination,
            protocol=self.protocol,
            source_port=self.source_port,
            state=self.state,
            resolver=self.resolver,
            **changed,
        )


_ASKED = ("source", "destination", "protocol", "source_port", "state", "connection", "resolver", "assume")
_NOTHING = TraceQuery()
# What a query string may hold as it is (RFC 3986, 3.4), except what separates its parts.
_SAFE = ":/[],@!$'()*?"
_SAFE_WORD = f"{_SAFE}="


def parse(text: str, *, frozen: bool = False) -> TraceQuery:
    """Return the query in a URL's query string; see :func:`from_params`."""
    return from_params(parse_qs(text, keep_blank_values=True), frozen=frozen)


def from_params(params: Mapping[str, Sequence[str]], *, frozen: bool = False) -> TraceQuery:
    """Return the query that *params* say, with every error found: each name with its values, of which the last counts.

    Of ``assume`` and ``set`` all do. *frozen*: the question is stored elsewhere, so what is asked is neither read nor missed.
    """
    raw = {name: values[-1].strip() for name, values in params.items() if values}
    words = {name: [word for value in params.get(name, ()) if (word := value.strip())] for name in ("assume", "set")}
    reader = _Reader(raw, words)
    return reader.read(frozen=frozen)


def is_form(params: Mapping[str, Sequence[str]]) -> bool:
    """Return whether *params* come from the page's form, and want the canonical address instead."""
    return any(name in params for name in FORM_FIELDS)


class _Reader:
    """Reads one set of parameters and keeps a list of what is wrong."""

    def __init__(self, raw: dict[str, str], words: Mapping[str, Sequence[str]]) -> None:
        self.raw = raw
        self.words = words
        self.errors: list[FieldError] = []

    def read(self, *, frozen: bool) -> TraceQuery:
        asked = {} if frozen else self._asked()
        query = TraceQuery(
            **asked,
            follow=self._pattern("follow", _ID),
            step=self._whole("step"),
            detail=self._choice("detail", DETAILS, "chains"),
            group=self._choice("group", GROUPS, ""),
            expand=self._folds(),
            view=self._choice("view", VIEWS, "steps"),
            find=self.raw.get("find", "")[:100],
            sort=self._choice("sort", SORTS, "probability"),
            raw=self.raw,
            said=tuple(dict.fromkeys(self.words["set"])),
        )
        if not frozen:
            self._later()
        return replace(query, errors=tuple(self.errors))

    def _asked(self) -> dict[str, Any]:
        if self.raw.get("connection"):
            return {"connection": self._connection(), "seed": self._seed(), **self._changed()}
        source, destination = self._source(), self._destination()
        wanted = any(self.raw.get(name) for name in ("from", "from_name", "to"))
        if wanted and source is None and not self._has_error("from"):
            self._error("from", "Say who sends the packet: an IP address outside, a node, or a pod as namespace/name.")
        if wanted and destination is None and not self._has_error("to"):
            self._error("to", "Say where the packet goes: a name, a Service as namespace/name, or IP:port.")
        return {
            "source": source,
            "destination": destination,
            "protocol": self._protocol(),
            "source_port": self._checked("source_port", lambda text: parse_port(text, "source_port"), None),
            "seed": self._seed(),
            "state": FlowState(self._choice("state", [state.value for state in FlowState], FlowState.NEW.value)),
            "resolver": Resolver(self._choice("resolver", [resolver.value for resolver in Resolver], Resolver.GLIBC.value)),
            **self._changed(),
        }

    def _changed(self) -> dict[str, Any]:
        """What is assumed, and what is otherwise than it is."""
        return {"assume": self._assumptions(), "overrides": self._overrides(), "apply": self._pattern("apply", _MANIFEST, "a manifest")}

    def _overrides(self) -> tuple[str, ...]:
        """The what-if words that can be read; each of the others is an error of its own."""
        read: list[str] = []
        for word in dict.fromkeys(self.words["set"]):
            try:
                read.append(parse_word(word).text)
            except QueryError as error:
                self._error("set", str(error), near=error.near)
        try:
            return parse_overrides(read)
        except QueryError as error:
            self._error("set", str(error))
            return ()

    def _assumptions(self) -> tuple[str, ...]:
        try:
            return parse_assumptions(self.words["assume"])
        except QueryError as error:
            self._error("assume", _sentence(error))
            return ()

    def _connection(self) -> tuple[str, int] | None:
        m = _CONNECTION.fullmatch(self.raw["connection"])
        if m is None:
            self._error("connection", "A recorded connection is NODE:LINE, a line of that node’s conntrack.txt.")
        return (m["node"], int(m["line"])) if m else None

    def _source(self) -> Source | None:
        text = self.raw.get("from", "")
        if "from_name" in self.raw:
            name, kind = self.raw["from_name"], self.raw.get("from_kind", "external")
            text = "" if not name else name if name.partition(":")[0] in KINDS else f"{kind}:{name}"
        try:
            return parse_source(text) if text else None
        except QueryError as error:
            self._error("from", _sentence(error))
            return None

    def _destination(self) -> Destination | None:
        text = self.raw.get("to", "")
        if _SERVICE.fullmatch(text):
            text = f"svc:{text}"
        try:
            return parse_destination(text) if text else None
        except QueryError as error:
            self._error("to", _sentence(error))
            return None

    def _protocol(self) -> Protocol:
        return self._checked("protocol", parse_protocol, Protocol.TCP)

    def _checked(self, name: str, reader: Callable[[str], T], default: T) -> T:
        text = self.raw.get(name, "")
        if not text:
            return default
        try:
            return reader(text)
        except QueryError as error:
            self._error(name, _sentence(error))
            return default

    def _seed(self) -> int | None:
        if self._choice("paths", ("all", "one"), "all") == "all":
            return None
        return self._whole("seed", least=0) or 0

    def _whole(self, name: str, least: int = 1) -> int | None:
        text = self.raw.get(name, "")
        if not text:
            return None
        if not re.fullmatch(rf"[0-9]{{1,{MOST_DIGITS}}}", text, re.ASCII) or int(text) < least:
            self._error(name, f"{name} is a whole number from {least} on, not {text[:40]!r}.")
            return None
        return int(text)

    def _choice(self, name: str, choices: Sequence[str], default: str) -> str:
        text = self.raw.get(name, "")
        if text and text not in choices:
            self._error(name, f"{name} is one of {', '.join(choices)}, not {text[:40]!r}.")
        return text if text in choices else default

    def _pattern(self, name: str, pattern: re.Pattern[str], what: str = "a path") -> str:
        text = self.raw.get(name, "")
        if text and not pattern.fullmatch(text):
            self._error(name, f"{name} is not the id of {what}.")
            return ""
        return text

    def _folds(self) -> tuple[str, ...]:
        names = [name for name in self.raw.get("expand", "").split(",") if name]
        if wrong := [name for name in names if not _FOLD.fullmatch(name)]:
            self._error("expand", f"{wrong[0][:40]!r} is not the id of a fold.")
        return tuple(sorted({name for name in names if _FOLD.fullmatch(name)}))

    def _later(self) -> None:
        for name, what in LATER.items():
            if self.raw.get(name):
                self._error(name, f"“{name}” ({what}) is not built yet. Take it out of the address.")

    def _error(self, name: str, message: str, near: tuple[str, ...] = ()) -> None:
        self.errors.append(FieldError(field=name, message=message, near=near))

    def _has_error(self, name: str) -> bool:
        return any(error.field == name for error in self.errors)


def _sentence(error: QueryError) -> str:
    text = str(error)
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")

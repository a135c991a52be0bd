"""The question's form: what stands in its fields, which of them are wrong, and the sentences of the summary above the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tracer.assumptions import parse_assumptions
from tracer.override_words import parse_word
from tracer.packet import Protocol
from tracer.query import FlowState, Resolver, parse_address
from tracer.values import dataclass
from webapp.questions.trace_query import FieldError, TraceQuery

KINDS = (("external", "External client"), ("node", "Node"), ("pod", "Pod"))
PROTOCOLS = (Protocol.TCP.value, Protocol.UDP.value, Protocol.SCTP.value, Protocol.ICMP.value)
STATES = ((FlowState.NEW.value, "First packet"), (FlowState.RETURNING.value, "Returning client"))
RESOLVERS = ((Resolver.GLIBC.value, "glibc"), (Resolver.MUSL.value, "musl"))
ANCHORS = {name: name for name in ("to", "source_port", "seed", "protocol", "state", "resolver", "connection", "set")} | {
    "from": "from_name"
}


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionForm:
    """The fields' values as they were given, right or wrong, and the errors of each field.

    *affinity* says which Service keeps its clients, "" where none does: then nobody can return. *named*: the destination is a name, which
    somebody has to look up. *connection* stands instead of all fields.
    """

    from_kind: str
    from_name: str
    to: str
    protocol: str
    source_port: str
    paths: str
    seed: str
    state: str
    resolver: str
    affinity: str
    named: bool
    connection: str
    errors: dict[str, tuple[FieldError, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """A name that exists, and the same question about it."""

    name: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One line of the summary: *anchor* is the field's id, *near* the names that were probably meant."""

    message: str
    anchor: str
    near: tuple[Near, ...] = ()


def question_form(query: TraceQuery, errors: Sequence[FieldError], affinity: Mapping[str, int] | None = None) -> QuestionForm:
    """Return the form for *query*; what could not be read is shown as it was typed.

    *affinity* has the Services on the way that keep their clients, with the seconds they do.
    """
    kind, _, name = (str(query.source) if query.source else query.raw.get("from", "")).partition(":")
    if query.source is None and "from_name" in query.raw:
        kind, name = query.raw.get("from_kind", "external"), query.raw["from_name"]
    if kind not in dict(KINDS):
        kind, name = "external", name or kind
    to = str(query.destination).removeprefix("svc:") if query.destination else query.raw.get("to", "")
    wrong = {error.field: tuple(e for e in errors if e.field == error.field) for error in errors}
    return QuestionForm(
        from_kind=kind,
        from_name=name,
        to=to,
        protocol=query.protocol.value,
        source_port=query.raw.get("source_port", "") if "source_port" in wrong else str(query.source_port or ""),
        paths=query.paths,
        seed=str(query.seed) if query.seed is not None else query.raw.get("seed", "") if "seed" in wrong else "7",
        state=query.state.value,
        resolver=query.resolver.value,
        affinity="; ".join(f"{name} keeps a client at one endpoint for {duration(seconds)}" for name, seconds in (affinity or {}).items()),
        named=is_name(query),
        connection=query.raw.get("connection", ""),
        errors=wrong,
    )


def is_name(query: TraceQuery) -> bool:
    """Return whether the destination is a name that must be looked up first."""
    asked = query.destination
    return asked is not None and asked.service is None and asked.address is None


def duration(seconds: int) -> str:
    """Return *seconds* in the largest unit that needs no fraction: 10800 is “3 hours”."""
    for size, word in ((3600, "hour"), (60, "minute")):
        if seconds and seconds % size == 0:
            return f"{seconds // size} {word}{'' if seconds == size else 's'}"
    return f"{seconds} second{'' if seconds == 1 else 's'}"


def problems(query: TraceQuery, errors: Sequence[FieldError], path: str) -> tuple[Problem, ...]:
    """Return the summary's lines, with links that ask the same about the names that exist."""
    return tuple(Problem(message=e.message, anchor=ANCHORS.get(e.field, ""), near=tuple(_near(query, e, path))) for e in errors)


def _near(query: TraceQuery, error: FieldError, path: str) -> list[Near]:
    from webapp.questions.trace_query import parse

    found = []
    for name in error.near:
        if error.field == "set":
            words = _with_near(query.overrides, error.message, name)
            if words is None:
                continue
            changed = query.but(overrides=words)
        elif error.field == "assume":
            kept = (word for word in query.assume if word.partition(":")[0] != name.partition(":")[0])
            changed = query.but(assume=parse_assumptions((*kept, name)))
        elif error.field == "from" and query.source:
            text = f"{query.source.kind.value}:{name}"
            changed = query.but(source=parse(f"from={text}&to=1.1.1.1:1").source)
        else:
            port = f":{query.destination.port}" if query.destination and query.destination.port else ""
            changed = query.but(destination=parse(f"from=node:a&to=svc:{name}{port}").destination)
        found.append(Near(name=name, url=changed.but(follow="", step=None, expand=()).url(path)))
    return found


def _with_near(words: Sequence[str], message: str, near: str) -> tuple[str, ...] | None:
    """The what-if words with *near* for the name, or the address, in the one that *message* begins with; None where that is not it."""
    wrong = next((word for word in words if message.startswith(f"{word}:")), "")
    said = parse_word(wrong) if wrong else None
    if said is None or said.state == "added":
        return None
    named = said.address if parse_address(near) is not None else f"{said.namespace}/{said.name}" if said.namespace else said.name
    return tuple(sorted({*(word for word in words if word != wrong), wrong.replace(named, near, 1)})) if named else None


def summary(query: TraceQuery) -> str:
    """Return the question in one line, as the phone shows it."""
    if query.connection:
        return f"connection {query.connection[0]}:{query.connection[1]}"
    source = str(query.source).removeprefix("external:") if query.source else ""
    return f"{source} → {str(query.destination).removeprefix('svc:') if query.destination else ''}"

"""The question's form: what stands in its fields, which of them are wrong, and the sentences of the summary above the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tracer.packet import Protocol
from webapp.trace_query import FieldError, TraceQuery

KINDS = (("external", "External client"), ("node", "Node"), ("pod", "Pod"))
PROTOCOLS = (Protocol.TCP.value, Protocol.UDP.value, Protocol.SCTP.value)
ANCHORS = {"from": "from_name", "to": "to", "source_port": "source_port", "seed": "seed", "protocol": "protocol"}


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionForm:
    """The fields' values as they were given, right or wrong, and the errors of each field."""

    from_kind: str
    from_name: str
    to: str
    protocol: str
    source_port: str
    paths: str
    seed: str
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


def question_form(query: TraceQuery, errors: Sequence[FieldError]) -> QuestionForm:
    """Return the form for *query*; what could not be read is shown as it was typed."""
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
        errors=wrong,
    )


def problems(query: TraceQuery, errors: Sequence[FieldError], path: str) -> tuple[Problem, ...]:
    """Return the summary's lines, with links that ask the same about the names that exist."""
    return tuple(Problem(message=e.message, anchor=ANCHORS.get(e.field, ""), near=tuple(_near(query, e, path))) for e in errors)


def _near(query: TraceQuery, error: FieldError, path: str) -> list[Near]:
    from webapp.trace_query import parse

    found = []
    for name in error.near:
        if error.field == "from" and query.source:
            text = f"{query.source.kind.value}:{name}"
            changed = query.but(source=parse(f"from={text}&to=1.1.1.1:1").source)
        else:
            port = f":{query.destination.port}" if query.destination and query.destination.port else ""
            changed = query.but(destination=parse(f"from=node:a&to=svc:{name}{port}").destination)
        found.append(Near(name=name, url=changed.but(follow="", step=None, expand=()).url(path)))
    return found


def summary(query: TraceQuery) -> str:
    """Return the question in one line, as the phone shows it."""
    source = str(query.source).removeprefix("external:") if query.source else ""
    return f"{source} → {str(query.destination).removeprefix('svc:') if query.destination else ''}"

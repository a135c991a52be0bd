"""The use case behind the trace page: one question to one snapshot, answered and kept for the next steps."""

from __future__ import annotations

from tracer.errors import QueryError, TracerError
from webapp import __version__, services
from webapp.answers import Answer, AnswerCache, document
from webapp.models import Snapshot
from webapp.surroundings import surroundings
from webapp.trace_query import FieldError, TraceQuery

_kept = AnswerCache()


class NotAnswered(Exception):
    """The question cannot be answered; *errors* say why and name what was probably meant. *missing*: something asked for does not exist."""

    def __init__(self, *errors: FieldError, missing: bool) -> None:
        super().__init__("; ".join(error.message for error in errors))
        self.errors = errors
        self.missing = missing


def answer(row: Snapshot, query: TraceQuery) -> Answer:
    """Return the answer to *query* in the snapshot *row*, from the last few answers when it is among them.

    :raises NotAnswered: the question names something that does not exist, or the snapshot cannot be read.
    """
    key = (row.digest, str(query.question()), __version__)
    found = _kept.get(key)
    if found is None:
        found = Answer(_document(row, query))
        _kept.put(key, found)
    if found.document["snapshot"]["id"] != row.id:
        # The same bytes stored twice: the answer is the same, the name on it is not.
        found = Answer(found.document | {"snapshot": _snapshot(row)})
    return found


def _document(row: Snapshot, query: TraceQuery) -> dict[str, object]:
    from tracer.explain.findings import diagnose
    from tracer.simulate import trace

    try:
        with services.using_cluster(row) as cluster:
            traced = diagnose(cluster, trace(cluster, query.to_query()))
            found = document(traced, cluster.snapshot, snapshot=_snapshot(row), engine_version=__version__)
            return found | surroundings(cluster, traced)
    except QueryError as error:
        missing = error.code.endswith("_NOT_FOUND")
        raise NotAnswered(FieldError(field=error.field or "to", message=_sentence(str(error)), near=error.near), missing=missing) from error
    except TracerError as error:
        problems = [FieldError(field="", message=line) for line in str(error).splitlines() if line.strip()]
        raise NotAnswered(*problems[:20], missing=False) from error


def _snapshot(row: Snapshot) -> dict[str, object]:
    return {"id": row.id, "name": row.name, "digest": row.digest, "taken_at": row.taken_at.isoformat() if row.taken_at else None}


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?")) else ".")

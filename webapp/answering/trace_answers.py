"""The use case behind the trace page: one question to one snapshot or followed cluster, answered and kept for the next steps."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

from tracer.errors import QueryError, TooMuchWork, TracerError
from tracer.override_words import FIELD as OVERRIDES
from webapp import __version__
from webapp.answering.comparison import differing
from webapp.answering.document import Answer, AnswerCache, document
from webapp.answering.stored_outcomes import for_storing, from_stored
from webapp.answering.surroundings import surroundings
from webapp.models import LiveSource, Snapshot
from webapp.questions import sources
from webapp.questions.sources import Source
from webapp.questions.trace_query import FieldError, TraceQuery
from webapp.storing import stored_answers, stored_snapshots
from webapp.work import place
from webapp.work.lanes import Lane
from webapp.work.place import Elsewhere

if TYPE_CHECKING:
    from tracer.topology.cluster import Cluster
    from tracer.trace import Trace

QUICK_WORK = 150_000
"""How much work (tracer.limits) a question may be that is answered where quick ones are; about as many microseconds."""

_MOST_SAID = 20
_kept = AnswerCache()
# Answers of followed clusters that a page may still show, while the cluster is further.
_shown = AnswerCache()


class NotAnswered(Exception):
    """The question cannot be answered; *errors* say why and name what was probably meant. *missing*: something asked for does not exist."""

    def __init__(self, *errors: FieldError, missing: bool) -> None:
        super().__init__("; ".join(error.message for error in errors))
        self.errors = errors
        self.missing = missing


def answer(row: Source, query: TraceQuery, shown: str = "", *, compares: bool = False) -> Answer:
    """Return the answer to *query* in the source *row*, from the last few answers when it is among them.

    *compares*: of a what-if question, with the answer about the cluster as it is beside it (``Answer.before``), and what differs.

    That of a followed cluster is kept until something it depends on changes; ``document["live"]`` then says what that is, and of which
    generation it is. *shown* is the generation of an answer that a page shows: that one is returned while it is known.
    :raises NotAnswered: the question names something that does not exist, or the source cannot be read.
    """
    try:
        if isinstance(row, LiveSource):
            return _shown.get((row.id, _question(query, compares), shown)) or _of_followed(row, query, compares)
        return _of_snapshot(row, query, compares)
    except QueryError as error:
        missing = error.code.endswith("_NOT_FOUND")
        field = "set" if error.field == OVERRIDES else error.field or "to"
        # What-if words begin their own errors, and are spelled as they are.
        problems = [_sentence(line) if field != "set" else line for line in str(error).splitlines() if line.strip()]
        found = [FieldError(field=field, message=line, near=error.near) for line in problems[:_MOST_SAID]]
        raise NotAnswered(*found, missing=missing) from error
    except TracerError as error:
        faults = [FieldError(field="", message=line) for line in str(error).splitlines() if line.strip()]
        raise NotAnswered(*faults[:_MOST_SAID], missing=False) from error


def _question(query: TraceQuery, compares: bool) -> str:
    """The key under which an answer is kept."""
    return f"{query.question()}&compare" if compares else str(query.question())


def _of_snapshot(row: Snapshot, query: TraceQuery, compares: bool) -> Answer:
    question = _question(query, compares)
    key = (row.digest, question, __version__)
    found = _kept.get(key) or _stored(row, question, key)
    if found is None:
        place.belongs_in(Lane.QUICK, Lane.HEAVY, Lane.LIVE)
        with stored_snapshots.using_cluster(row) as cluster:
            # Whoever asked the same a moment before has answered it by now.
            found = _kept.get(key)
            if found is None:
                found = Answer(_answered(cluster, query, _snapshot(row), compares)[0])
                _kept.put(key, found)
                _store(row, question, found)
    if found.document["snapshot"]["id"] != row.id:
        # The same bytes stored twice: the answer is the same, the name on it is not.
        found = Answer(found.document | {"snapshot": _snapshot(row)})
    return found


def _stored(row: Snapshot, question: str, key: tuple[str, ...]) -> Answer | None:
    """Return the answer that another process has stored, None where there is none, or no other process."""
    if place.here() is None:
        return None
    with stored_answers.one_large_at_a_time(stored_answers.size(row.digest, question)):
        if found := _kept.get(key):
            return found
        document = stored_answers.get(row.digest, question)
        if document is None:
            return None
        found = Answer(from_stored(document))
        _kept.put(key, found)
        return found


def _store(row: Snapshot, question: str, found: Answer) -> None:
    """Keep the answer for the other processes, once it has been sent."""
    if place.here() in (Lane.QUICK, Lane.HEAVY):
        place.afterwards(lambda: _put_while_there(row.digest, question, found))


def _put_while_there(digest: str, question: str, found: Answer) -> bool:
    """Store the answer, unless its snapshot was deleted while it was worked out: then nothing of it is left."""
    if not stored_answers.put(digest, question, for_storing(found.document)):
        return False
    if Snapshot.objects.filter(digest=digest).exists():
        return True
    stored_answers.forget(digest)
    return False


def _of_followed(row: LiveSource, query: TraceQuery, compares: bool) -> Answer:
    from tracer.explain.dependencies import Dependencies, WatchedCluster, watched_dependencies

    with sources.using_live(row) as view:
        question = _question(query, compares)
        key = ("answer", question)
        found: Answer | None = view.answers.get(key)
        if found is None:
            # Worked out once, on a cluster that notes what it is asked: what the page shows and what it rests on cannot drift apart.
            watched = WatchedCluster(view.cluster)
            moment: dict[str, object] = {"id": row.id, "name": row.name, "digest": "", "taken_at": view.at.isoformat() if view.at else None}
            around, traces = _answered(watched, query, moment, compares)
            dependencies = reduce(Dependencies.together, (watched_dependencies(watched, traced) for traced in traces))
            depends = {"generation": view.generation, "depends": sorted(dependencies.refs)}
            found = Answer(around | {"live": depends})
            view.answers.keep(key, found, dependencies)
            _shown.put((row.id, question, str(view.generation)), found)
        return found


def _answered(
    cluster: Cluster, query: TraceQuery, snapshot: dict[str, object], compares: bool
) -> tuple[dict[str, object], tuple[Trace, ...]]:
    """The answer document, with what it is compared with where *compares*, and the traces it is made of."""
    traced = _traced(cluster, query)
    found = _document(cluster, traced, snapshot)
    if not compares:
        return found, (traced,)
    before = _traced(cluster, query.plain())
    compared = {"before": _document(cluster, before, snapshot), **differing(before, traced)}
    return found | {"compared": compared}, (traced, before)


def _traced(cluster: Cluster, query: TraceQuery) -> Trace:
    from tracer.explain.findings import diagnose
    from tracer.simulate import trace

    try:
        return diagnose(cluster, trace(cluster, query.to_query(), patience=QUICK_WORK if place.here() is Lane.QUICK else None))
    except TooMuchWork:
        raise Elsewhere(Lane.HEAVY) from None


def _document(cluster: Cluster, traced: Trace, snapshot: dict[str, object]) -> dict[str, object]:
    cluster = cluster.overridden(traced.query.overrides, traced.query.apply)
    found = document(traced, cluster.snapshot, snapshot=snapshot, engine_version=__version__)
    return found | surroundings(cluster, traced)


def _snapshot(row: Snapshot) -> dict[str, object]:
    return {"id": row.id, "name": row.name, "digest": row.digest, "taken_at": row.taken_at.isoformat() if row.taken_at else None}


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?")) else ".")

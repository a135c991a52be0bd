"""The manifest of a question: the address has its id, and whoever handed it in may ask with it."""

from __future__ import annotations

from webapp.questions.trace_query import FieldError, TraceQuery
from webapp.storing import manifests

_GONE = (
    "This browser session has no manifest {id} (or it has been forgotten since). Hand it in again, or take “apply” out of the address. "
    "A frozen link shows others what you see."
)


def with_manifest(query: TraceQuery, owner: str) -> TraceQuery:
    """Return *query* with the text of its manifest; with an error of the field ``apply`` where *owner* has none of that id."""
    if not query.apply:
        return query
    row = manifests.find(query.apply, owner)
    if row is None:
        return query.but(errors=(*query.errors, FieldError(field="apply", message=_GONE.format(id=query.apply))))
    return query.but(manifest=row.text)

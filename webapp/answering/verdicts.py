"""The verdict on a question: where its packets end and what the client sees, in the words of the whole answer and without the way there."""

from __future__ import annotations

from tracer.frozen import changed
from tracer.told_odds import told
from tracer.trace import VERSION, Outcome, Reply, Trace
from tracer.unopened import Unopened, items_of, seen


def verdict_of(found: Trace) -> dict[str, object]:
    """Return the verdict on a question."""
    origin = {"origin": found.origin} if found.origin else {}
    return {"version": VERSION, "id": found.query.id, **origin, "outcomes": [_outcome(item) for item in items_of(found.outcomes)]}


def _end(outcome: Outcome) -> Outcome:
    """The outcome without the way there and back."""
    reply = changed(outcome.reply, hops=()) if outcome.reply is not None else None
    return changed(outcome, hops=(), reply=reply, also=(), findings=(), of_class=None)


def _outcome(item: Outcome | Unopened[Outcome]) -> dict[str, object]:
    out, outcome = told(item.probability), seen(item, _end)
    if outcome.conditions:
        out["conditions"] = list(outcome.conditions)
    out["disposition"] = outcome.disposition.value
    out["destination"] = outcome.destination.to_dict() if outcome.destination else None
    out["source_seen"] = outcome.seen()
    out["client_sees"] = outcome.client_sees.value
    if outcome.reply:
        out["reply"] = _reply(outcome.reply)
    return out


def _reply(reply: Reply) -> dict[str, object]:
    return {"disposition": reply.disposition.value, "source_seen": reply.seen()}

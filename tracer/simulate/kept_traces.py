"""Answers that were given before, of a cluster that has not changed since: the same question costs a look-up.

A finding asks again with another destination (``explain.findings.asked_again``), and a batch or a reader asks that one, too. What an answer
cost is kept with it and spent again, so that whoever has little patience gets as much or as little as from a walk.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import replace

from tracer.kept import Kept
from tracer.limits import KEPT_HOPS, Budget
from tracer.query import Query
from tracer.topology.cluster import Cluster
from tracer.trace import Trace
from tracer.unopened import firsts
from tracer.values import dataclass

Key = tuple[Query, int]


@dataclass(frozen=True, slots=True)
class _Given:
    """An answer, and what it cost."""

    answer: Trace
    spent: int


_KEPT: weakref.WeakKeyDictionary[Cluster, Kept[Key, _Given]] = weakref.WeakKeyDictionary()


def kept_or(cluster: Cluster, query: Query, budget: Budget, walked: Callable[[], Trace]) -> Trace:
    """Return the answer of *cluster* to *query* that is kept, else the one that *walked* gives; it is spent from *budget* either way.

    NB: an answer says of objects that cannot be read what was met of them so far, so how much that is belongs to the key.

    :raises TooMuchWork: as *walked* does.
    """
    if not cluster.keeps_answers:
        return walked()
    kept = _KEPT.setdefault(cluster, Kept(KEPT_HOPS))
    asked = replace(query, id="", seed=None)
    given = kept.get((asked, len(cluster.objects.faults)))
    if given is not None:
        budget.spend(given.spent)
        return replace(given.answer, query=replace(given.answer.query, id=query.id, seed=query.seed))
    before = budget.left
    answer = walked()
    kept.put((asked, len(cluster.objects.faults)), _Given(answer, before - budget.left), _hops(answer))
    return answer


def _hops(answer: Trace) -> int:
    """How large an answer is: its hops hold every step on the way. An outcome that nobody opened counts as one."""
    outcomes = firsts(answer.outcomes)
    ways = (way for o in outcomes for way in (o.hops, o.reply.hops if o.reply is not None else (), *(a.hops for a in o.also)))
    return 1 + sum(map(len, ways)) + len(answer.outcomes) - len(outcomes)

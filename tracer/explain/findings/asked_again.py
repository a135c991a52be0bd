"""Asking again: whether what a finding would suggest (a name, an address, a port) answers better than the question did.

A suggestion that was not asked is not made: one that leads nowhere costs more than none. Each costs a walk; how many there may be in one
answer, and what one may cost, are limits. Asked is the same question with another destination.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction

from tracer.errors import TooMuchWork, TracerError
from tracer.explain.findings.case import Case
from tracer.limits import AGAIN, SUGGESTIONS
from tracer.packet import Address
from tracer.query import Destination, FlowState, parse_address
from tracer.simulate import trace
from tracer.trace import Disposition, Listener, Outcome, Trace
from tracer.unopened import first_of, firsts, items_of

_REACHES = (Disposition.DELIVERED, Disposition.LEAVES)
_MAY_ANSWER = (Disposition.DELIVERED, Disposition.UNKNOWN)


def asked_again(case: Case, host: str | Address, port: int | None) -> Trace | None:
    """Return the answer to the question with another destination; None when it cannot be had, or not within the limits."""
    key = (str(host), port)
    if key not in case.again:
        case.again[key] = _asked(case, *key) if len(case.again) < SUGGESTIONS else None
    return case.again[key]


def _asked(case: Case, host: str, port: int | None) -> Trace | None:
    query = replace(
        case.trace.query,
        destination=Destination(host=host, port=port, given=case.trace.query.destination.given if parse_address(host) is None else None),
        connection=None,
        seed=None,
        state=FlowState.NEW,
    )
    try:
        return trace(case.cluster, query, patience=AGAIN)
    except (TooMuchWork, TracerError):
        return None


def is_better(case: Case, host: str | Address, port: int | None) -> bool:
    """Return whether *host* and *port* answer better than the question did: more often, or at all."""
    found = asked_again(case, host, port)
    return found is not None and _rank(found) > _rank(case.trace)


def is_hopeless(case: Case, host: str | Address, port: int | None) -> bool:
    """Return whether *host* and *port* were asked and are known not to answer."""
    found = asked_again(case, host, port)
    return found is not None and not any(_is_answered(o) or o.disposition is Disposition.UNKNOWN for o in firsts(found.outcomes))


def is_cheaper(case: Case, host: str) -> bool:
    """Return whether the name *host* gets as good an answer with fewer look-ups."""
    found = asked_again(case, host, case.trace.query.destination.port)
    if found is None or not case.trace.lookups or len(found.lookups) >= len(case.trace.lookups):
        return False
    return _rank(found) >= max(_rank(case.trace), (1, Fraction(0)))


def those_better(case: Case, hosts: Iterable[str | Address], port: int | None, *, most: int = 3) -> tuple[str, ...]:
    """Return the first *most* of *hosts* that answer better, as the client may dial them."""
    return tuple(_first(most, (str(host) for host in hosts if is_better(case, host, port))))


def _first(most: int, found: Iterator[str]) -> Iterator[str]:
    yield from (host for host, _ in zip(found, range(most), strict=False))


def _rank(answer: Trace) -> tuple[int, Fraction]:
    """How good an answer is: the odds that the client is answered. A name that at least resolves is better than one that does not."""
    share = sum((item.probability for item in items_of(answer.outcomes) if _is_answered(first_of(item))), Fraction(0))
    open_end = all(o.disposition is Disposition.UNKNOWN for o in firsts(answer.outcomes)) and any(x.answers for x in answer.lookups)
    return (2, share) if share else (1 if open_end else 0, share)


def _is_answered(outcome: Outcome) -> bool:
    """Whether somebody answers. NB: a packet that came to a node's own processes says nothing of the Service that was meant."""
    reply, place = outcome.reply, outcome.destination
    if outcome.listener is Listener.ABSENT or (place is not None and place.kind == "node" and outcome.listener is not Listener.DECLARED):
        return False
    return outcome.disposition in _REACHES and (reply is None or reply.disposition in _MAY_ANSWER)

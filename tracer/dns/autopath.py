"""The autopath plugin: CoreDNS walks the client's search list itself and answers the first question with the result.

Source: plugin/autopath/{autopath,cname}.go and plugin/kubernetes/autopath.go of CoreDNS 1.14.
"""

from __future__ import annotations

from dataclasses import replace

from tracer.dns.message import Answer, Ask, Question, Rcode, Record
from tracer.dns.names import is_below, without_zone


def first_in_search_path(name: str, search: tuple[str, ...]) -> bool:
    """Return whether *name* was completed with the first entry of *search*: only then does the server walk on."""
    return bool(search) and is_below(name.lower(), search[0].lower())


def autopath(question: Question, search: tuple[str, ...], following: Ask) -> Answer:
    """Return the answer to the first name of the search path that exists, under the name that was asked.

    *search* ends with an empty entry, for the name as it stands. When no name exists the first answer stands: the client walks on itself.
    """
    base = without_zone(question.name, search[0])
    first: Answer | None = None
    for suffix in search:
        answer = following(Question(name=f"{base}.{suffix}", rdtype=question.rdtype))
        first = first or answer
        if answer.rcode in (Rcode.NXDOMAIN, Rcode.SERVFAIL, Rcode.REFUSED, Rcode.NOTIMP):
            continue
        return replace(answer, answer=_aliased(question, answer.answer))
    return first if first is not None else following(question)


def _aliased(question: Question, records: tuple[Record, ...]) -> tuple[Record, ...]:
    """Return *records* behind a CNAME from the name that was asked to the first other name."""
    other = next((r for r in records if r.name.lower() != question.name.lower()), None)
    if other is None:
        return records
    return (Record(name=question.name, ttl=other.ttl, rdtype="CNAME", rdata=other.name), *records)

"""DNS questions, records and answers as values.

Unknown is an rcode of its own here: the snapshot does not say what a server outside the cluster answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from enum import StrEnum

from tracer.packet import Address
from tracer.query import parse_address
from tracer.values import dataclass

ADDRESS_TYPES = {"A": 4, "AAAA": 6}


class Rcode(StrEnum):
    """How a question was answered. UNKNOWN is none of DNS's: the snapshot cannot tell."""

    NOERROR = "NOERROR"
    SERVFAIL = "SERVFAIL"
    NXDOMAIN = "NXDOMAIN"
    REFUSED = "REFUSED"
    NOTIMP = "NOTIMP"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked: an absolute name, in the case it was asked with, and a type in upper case."""

    name: str
    rdtype: str

    def __str__(self) -> str:
        return f"{self.name} {self.rdtype}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One resource record of class IN. *rdata* is its text in zone-file form, *ttl* in seconds."""

    name: str
    ttl: int
    rdtype: str
    rdata: str

    @property
    def address(self) -> Address | None:
        """Return the address of an A or AAAA record, None for other types."""
        return parse_address(self.rdata) if self.rdtype in ADDRESS_TYPES else None

    def to_text(self) -> str:
        """Return the record as dig prints it, single spaces between the fields."""
        return f"{self.name} {self.ttl} IN {self.rdtype} {self.rdata}"

    def __str__(self) -> str:
        return self.to_text()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A server's answer, by section.

    *plugin* is what answered. *outside* is a name that only a server outside the cluster can resolve, with *servers* as written in the
    Corefile; the records are then complete up to that name. *why* says in words what an rcode alone does not. *unread* is what of the
    Corefile Hopline does not know and what this answer may depend on.
    """

    rcode: Rcode
    answer: tuple[Record, ...] = ()
    authority: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    authoritative: bool = False
    plugin: str = ""
    outside: str | None = None
    servers: tuple[str, ...] = ()
    why: str = ""
    unread: tuple[str, ...] = ()

    @property
    def is_nodata(self) -> bool:
        """Return whether the name exists and has no record of the type asked for."""
        return self.rcode is Rcode.NOERROR and not self.answer

    def addresses_of(self, question: Question) -> tuple[Address, ...]:
        """Return the addresses that *question* leads to through CNAMEs; records of other names do not count, as resolvers have it."""
        wanted, found = question.name.lower(), []
        aliases = {r.name.lower(): r.rdata.lower() for r in self.answer if r.rdtype == "CNAME"}
        seen: set[str] = set()
        while wanted in aliases and wanted not in seen:
            seen.add(wanted)
            wanted = aliases[wanted]
        for record in self.answer:
            if record.name.lower() == wanted and record.rdtype == question.rdtype and record.address is not None:
                found.append(record.address)
        return tuple(dict.fromkeys(found))

    def with_ttls(self, most: int) -> Answer:
        """Return the answer with no TTL above *most* seconds."""
        answer, authority, additional = (
            tuple(replace(r, ttl=min(r.ttl, most)) for r in section) for section in (self.answer, self.authority, self.additional)
        )
        return replace(self, answer=answer, authority=authority, additional=additional)

    @property
    def least_ttl(self) -> int | None:
        """Return the smallest TTL of all records, None when there is none."""
        return min((r.ttl for r in (*self.answer, *self.authority, *self.additional)), default=None)


Ask = Callable[[Question], Answer]


def without_repeats(records: Iterable[Record]) -> tuple[Record, ...]:
    """Return *records*, each only once: names and types count, whatever the TTL."""
    found: dict[tuple[str, str, str], Record] = {}
    for record in records:
        found.setdefault((record.name.lower(), record.rdtype, record.rdata.lower()), record)
    return tuple(found.values())


def servfail(plugin: str, why: str) -> Answer:
    """Return the answer of a server that cannot answer."""
    return Answer(rcode=Rcode.SERVFAIL, plugin=plugin, why=why)


def unknown(plugin: str, why: str, *, outside: str | None = None, servers: tuple[str, ...] = ()) -> Answer:
    """Return the answer that the snapshot does not hold."""
    return Answer(rcode=Rcode.UNKNOWN, plugin=plugin, why=why, outside=outside, servers=servers)


def soa(zone: str, *, ttl: int, name_server: str, mailbox: str, serial: int = 0) -> Record:
    """Return CoreDNS's SOA record of *zone*. *serial* is when it last saw a change, as Unix time; 0 when that is not known."""
    rdata = f"{name_server} {mailbox} {serial} 7200 1800 86400 {ttl}"
    return Record(name=zone, ttl=min(ttl, 300), rdtype="SOA", rdata=rdata)

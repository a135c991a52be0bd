"""What a resolver asks for a name, in order, and what it concludes: glibc's getaddrinfo and musl's.

Both ask A and AAAA for each name, side by side. They differ: after the name as it stands failed, musl tries no search list when the name
has enough dots, and it stops at the first name that exists without an address or that the server failed on; glibc goes on with both.
Source: glibc 2.41 resolv/{res_query,res_send}.c and nss/getaddrinfo; musl 1.2.5 src/network/{lookup_name,res_msend}.c.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum

from tracer.dns.message import Answer, Question, Rcode
from tracer.dns.names import absolute, is_valid
from tracer.dns.resolv_conf import ResolvConf
from tracer.packet import Address
from tracer.query import Resolver
from tracer.values import dataclass

Serve = Callable[[Question], Answer]
_TYPES = ("A", "AAAA")


class Result(StrEnum):
    """How a look-up ended."""

    FOUND = "found"
    NO_SUCH_NAME = "no such name"
    NO_ADDRESS = "the name has no address"
    FAILED = "the server failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One name to ask. *suffix* is the search domain added to it, None for the name as it stands; *number* of *total* counts those."""

    name: str
    suffix: str | None
    number: int
    total: int

    @property
    def why(self) -> str:
        """Return why the name is asked, as a sentence says it."""
        return "the name as it stands" if self.suffix is None else f"search domain {self.number} of {self.total}: {self.suffix}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One question that was asked, of which server, and what came back. *side_by_side*: sent together with the other type's."""

    server: Address
    question: Question
    answer: Answer
    candidate: Candidate
    side_by_side: bool = True
    over_tcp: bool = False

    @property
    def is_futile(self) -> bool:
        """Return whether the question led nowhere: the name that was asked does not exist."""
        return self.answer.rcode is Rcode.NXDOMAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """Every question of one look-up, in order, and its end. *addresses* are as the answers hold them, A before AAAA.

    *canonical* is the name the addresses belong to. *notes* say what costs time. *outside* is the name that only an upstream knows.
    """

    name: str
    result: Result
    asked: tuple[Asked, ...]
    addresses: tuple[Address, ...] = ()
    canonical: str | None = None
    notes: tuple[str, ...] = ()
    outside: str | None = None
    why: str = ""

    @property
    def futile(self) -> int:
        """Return how many questions were asked in vain."""
        return sum(a.is_futile for a in self.asked)


def candidates(name: str, conf: ResolvConf, resolver: Resolver = Resolver.GLIBC) -> tuple[Candidate, ...]:
    """Return the names that are asked for *name* until one answers, in order.

    A final dot asks for the name alone. With fewer dots than ``ndots`` the search list comes first, else the name as it stands;
    musl then leaves the search list out. Names too long for a message are not asked.
    """
    plain = name.removesuffix(".")
    as_is = Candidate(name=absolute(plain), suffix=None, number=0, total=len(conf.search))
    if name.endswith("."):
        return (as_is,)
    searched = list(_searched(plain, conf))
    enough = plain.count(".") >= conf.number("ndots", resolver)
    if enough:
        order = [as_is] if resolver is Resolver.MUSL else [as_is, *searched]
    elif any(c.suffix == "." for c in searched):
        order = searched  # the root in the list is the name as it stands
    else:
        order = [*searched, as_is]
    return tuple(c for c in order if is_valid(c.name))


def _searched(plain: str, conf: ResolvConf) -> Iterator[Candidate]:
    for number, domain in enumerate(conf.search, start=1):
        suffix = domain.removeprefix(".").removesuffix(".") or "."
        full = absolute(plain) if suffix == "." else f"{plain}.{suffix}."
        yield Candidate(name=full, suffix=suffix, number=number, total=len(conf.search))


def resolve(name: str, conf: ResolvConf, serve: Serve, *, resolver: Resolver = Resolver.GLIBC) -> Resolution:
    """Return what *resolver* asks for *name* and how it ends. *serve* answers what the server of *conf* is asked."""
    asked: list[Asked] = []
    result, why = Result.NO_SUCH_NAME, ""
    server = conf.addresses()[0]
    seen: list[Result] = []
    for candidate in candidates(name, conf, resolver):
        pair = [_one(server, candidate, rdtype, conf, resolver, serve) for rdtype in _TYPES]
        asked += pair
        result, why = _judged(pair)
        if result is Result.FOUND or _stops(result, pair, resolver):
            break
        seen.append(result)
    else:
        # The worst thing met on the way is what the caller is told. Source: the end of __res_context_search.
        result = next((r for r in (Result.NO_ADDRESS, Result.FAILED) if r in seen), Result.NO_SUCH_NAME)
    last = asked[-2:]
    addresses = tuple(a for p in last for a in p.answer.addresses_of(p.question)) if result is Result.FOUND else ()
    outside = next((p.answer.outside for p in last if p.answer.outside), None)
    if result is Result.FOUND and not addresses:
        result = Result.UNKNOWN if outside else Result.NO_ADDRESS
    return Resolution(
        name=name,
        result=result,
        asked=tuple(asked),
        addresses=addresses,
        canonical=_canonical(last) if addresses else None,
        notes=tuple(_notes(conf, resolver, asked)),
        outside=outside if result is Result.UNKNOWN else None,
        why=why,
    )


def _one(server: Address, candidate: Candidate, rdtype: str, conf: ResolvConf, resolver: Resolver, serve: Serve) -> Asked:
    question = Question(name=candidate.name, rdtype=rdtype)
    single = resolver is Resolver.GLIBC and (conf.has("single-request") or conf.has("single-request-reopen"))
    tcp = resolver is Resolver.GLIBC and conf.has("use-vc")
    return Asked(server=server, question=question, answer=serve(question), candidate=candidate, side_by_side=not single, over_tcp=tcp)


def _judged(pair: list[Asked]) -> tuple[Result, str]:
    """Return what the two answers to one name mean together, and the words of the answer that decided."""
    if any(p.answer.rcode is Rcode.NOERROR and p.answer.answer for p in pair):
        return Result.FOUND, next((p.answer.why for p in pair if p.answer.why), "")
    if (unknown := next((p for p in pair if p.answer.rcode is Rcode.UNKNOWN), None)) is not None:
        return Result.UNKNOWN, unknown.answer.why
    # Of two answers without a record the first decides, unless it only says that the name exists. Source: __res_context_query.
    decisive = pair[1] if pair[0].answer.rcode is Rcode.NOERROR else pair[0]
    if decisive.answer.rcode is Rcode.NOERROR:
        return Result.NO_ADDRESS, ""
    return (Result.NO_SUCH_NAME if decisive.answer.rcode is Rcode.NXDOMAIN else Result.FAILED), decisive.answer.why


def _stops(result: Result, pair: list[Asked], resolver: Resolver) -> bool:
    if result is Result.UNKNOWN:
        return True
    if resolver is Resolver.GLIBC:
        # REFUSED and NOTIMP end the search; NODATA and SERVFAIL do not.
        return result is Result.FAILED and any(p.answer.rcode in (Rcode.REFUSED, Rcode.NOTIMP) for p in pair)
    # musl looks at the first answer, the one for A.
    return pair[0].answer.rcode is not Rcode.NXDOMAIN


def _canonical(pair: list[Asked]) -> str | None:
    for one in pair:
        for address in one.answer.addresses_of(one.question)[:1]:
            return next((r.name for r in one.answer.answer if r.address == address), None)
    return None


def _notes(conf: ResolvConf, resolver: Resolver, asked: list[Asked]) -> Iterator[str]:
    """Yield what costs time, or changes how the questions travel."""
    timeout, attempts = conf.number("timeout", resolver), conf.number("attempts", resolver)
    servers = conf.addresses()
    if any(a.answer.rcode is Rcode.SERVFAIL for a in asked):
        yield f"A server that fails is asked {attempts} times"
    if resolver is Resolver.MUSL and len(servers) > 1:
        yield f"musl asks all {len(servers)} servers at once and takes the first answer"
    elif len(servers) > 1:
        how = "in turns (rotate)" if conf.has("rotate") else f"only after {timeout} seconds without an answer from the first"
        yield f"The other servers ({', '.join(map(str, servers[1:]))}) are asked {how}"
    if asked and not asked[0].side_by_side:
        yield "single-request: AAAA is asked after A was answered, which takes a little longer and cannot race"
    if asked and asked[0].over_tcp:
        yield "use-vc: questions go over TCP"
    if conf.has("edns0") or conf.has("trust-ad"):
        yield "edns0: answers may be larger than 512 bytes"

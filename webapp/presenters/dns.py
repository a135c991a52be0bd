"""What the DNS page shows: the answer as dig prints it, every question a resolver asks, resolv.conf, and the pod's Service variables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from tracer.dns.message import Answer, Question, Record
from tracer.dns.names import absolute, is_valid, reverse_name
from tracer.dns.resolver import Asked, Resolution
from tracer.dns.service_environment import ServiceVariables, service_environment
from tracer.errors import QueryError
from tracer.packet import endpoint_text
from tracer.query import Destination, Query, Resolver, Source, SourceKind, parse_address, parse_source
from tracer.simulate.naming import Client, dns_of, looked_up
from tracer.values import dataclass

if TYPE_CHECKING:
    from tracer.topology.cluster import Cluster

TYPES = ("A", "AAAA", "SRV", "PTR", "CNAME", "TXT", "NS", "SOA")
MOST_NAMES = 20
_LONGEST = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsQuestion:
    """What the page's address asks; *source* and *name* are empty on the page without a question."""

    source: str = ""
    name: str = ""
    rdtype: str = "A"
    resolver: str = "glibc"

    @classmethod
    def of(cls, params: dict[str, str]) -> DnsQuestion:
        """Return what the parameters say; a type or resolver that is not known counts as the usual one."""
        rdtype, resolver = params.get("type", "A").upper(), params.get("resolver", "glibc")
        return cls(
            source=params.get("from", "").strip()[:_LONGEST],
            name=params.get("name", "").strip()[:_LONGEST],
            rdtype=rdtype if rdtype in TYPES else "A",
            resolver=resolver if resolver in tuple(Resolver) else "glibc",
        )

    def url(self, path: str) -> str:
        """Return *path* with this question behind it, defaults left out."""
        given = {"from": self.source, "name": self.name}
        given |= {"type": self.rdtype} if self.rdtype != "A" else {}
        given |= {"resolver": self.resolver} if self.resolver != "glibc" else {}
        return f"{path}?{urlencode({k: v for k, v in given.items() if v}, safe=':/')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One question of the query tree, and where to follow its packet."""

    asked: Asked
    answers: str
    follow_url: str

    @property
    def is_futile(self) -> bool:
        """Return whether it was asked in vain."""
        return self.asked.is_futile


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsPage:
    """The page of one question."""

    dig: str
    question: Question
    answer: Answer
    resolution: Resolution | None
    rows: tuple[Row, ...]
    client: Client | None
    resolv_conf: str
    variables: tuple[ServiceVariables, ...]
    trace_url: str
    notes: tuple[str, ...]
    advice: str


def dns_page(cluster: Cluster, asked: DnsQuestion, trace_path: str) -> DnsPage:
    """Return the page for *asked*.

    :raises QueryError: the source is not in the snapshot, or there is no name to ask.
    :raises ParseError: CoreDNS would refuse its Corefile.
    """
    source = parse_source(asked.source) if asked.source else None
    client, resolution = _resolved(cluster, source, asked) if source else (None, None)
    question = _question(asked, resolution)
    dns = dns_of(cluster)
    sender = client.sources[0] if client and client.sources else None
    answer = dns.server.ask(question, sender)
    server = client.conf.addresses()[0] if client and client.conf else None
    conf = client.conf.to_text() if client and client.conf else ""
    return DnsPage(
        dig="\n".join(_dig(question, answer, str(server or (dns.service.cluster_ips[0] if dns.service else "the cluster's DNS")))),
        question=question,
        answer=answer,
        resolution=resolution,
        rows=tuple(_row(a, asked.source, trace_path) for a in resolution.asked) if resolution else (),
        client=client,
        resolv_conf=conf,
        variables=_variables(cluster, source),
        trace_url=_trace_url(asked, trace_path) if source else "",
        notes=tuple(_notes(cluster, resolution)),
        advice=_advice(resolution) if resolution else "",
    )


def _resolved(cluster: Cluster, source: Source, asked: DnsQuestion) -> tuple[Client, Resolution | None]:
    query = Query(source=source, destination=Destination(host=asked.name, port=None), resolver=Resolver(asked.resolver))
    client, resolution = looked_up(cluster, query)
    # getaddrinfo asks for addresses only; other types are asked for as dig does.
    return client, resolution if asked.rdtype in ("A", "AAAA") and parse_address(asked.name) is None else None


def _question(asked: DnsQuestion, resolution: Resolution | None) -> Question:
    """The one question that dig would ask: of a short name, the name that the look-up ended with. :raises QueryError: it is no name."""
    address = parse_address(asked.name)
    if address is not None:
        return Question(name=reverse_name(address), rdtype="PTR")
    if not is_valid(asked.name):
        raise QueryError(f"{asked.name[:80]!r} is not a name that DNS can carry", code="BAD_DESTINATION", field="name")
    ended = resolution.asked[-1].question.name if resolution and resolution.asked and resolution.addresses else absolute(asked.name)
    return Question(name=ended, rdtype=asked.rdtype)


def _dig(question: Question, answer: Answer, server: str) -> Iterator[str]:
    flags = "qr aa rd" if answer.authoritative else "qr rd"
    sections = (("ANSWER", answer.answer), ("AUTHORITY", answer.authority), ("ADDITIONAL", answer.additional))
    counts = ", ".join(f"{name}: {len(records)}" for name, records in sections)
    yield f";; status: {answer.rcode}, flags: {flags}; QUERY: 1, {counts}"
    yield ""
    yield ";; QUESTION SECTION:"
    yield f";{question.name}  IN  {question.rdtype}"
    for name, records in sections:
        if records:
            yield ""
            yield f";; {name} SECTION:"
            yield from _aligned(records)
    yield ""
    yield f";; SERVER: {server}#53" + (f", plugin {answer.plugin}" if answer.plugin else "")
    if answer.why:
        yield f";; {answer.why}"


def _aligned(records: tuple[Record, ...]) -> Iterator[str]:
    width = max(len(r.name) for r in records)
    for record in records:
        yield f"{record.name:{width}}  {record.ttl:>5}  IN  {record.rdtype:5}  {record.rdata}"


def _row(asked: Asked, source: str, trace_path: str) -> Row:
    given = {"from": source, "to": endpoint_text(asked.server, 53)} | ({} if asked.over_tcp else {"protocol": "udp"})
    return Row(
        asked=asked,
        answers=", ".join(r.rdata for r in asked.answer.answer),
        follow_url=f"{trace_path}?{urlencode(given, safe=':/')}",
    )


def _trace_url(asked: DnsQuestion, trace_path: str) -> str:
    return f"{trace_path}?{urlencode({'from': asked.source, 'to': f'{asked.name}:80'}, safe=':/')}"


def _advice(resolution: Resolution) -> str:
    """Return how to spare the questions that were in vain."""
    last = resolution.asked[-1] if resolution.asked else None
    if last is None or not resolution.futile:
        return ""
    if last.candidate.suffix is not None:
        return f"The full name with its final dot, {last.question.name}, is asked at once."
    dots = max(resolution.name.count("."), 1)
    return (
        f"A final dot ({resolution.name.removesuffix('.')}.), or ndots:{dots} in the pod's dnsConfig, asks for the name as it stands first."
    )


def _variables(cluster: Cluster, source: Source | None) -> tuple[ServiceVariables, ...]:
    if source is None or source.kind is not SourceKind.POD:
        return ()
    pod = cluster.objects.pod(source.namespace or "", source.name or "")
    return service_environment(pod, cluster.objects.services) if pod else ()


def _notes(cluster: Cluster, resolution: Resolution | None) -> Iterator[str]:
    dns = dns_of(cluster)
    if dns.assumption:
        yield dns.assumption[:1].upper() + dns.assumption[1:] + "."
    if dns.node_local is not None:
        where = ", ".join(map(str, dns.node_local.addresses)) or "an address that its ConfigMap does not name"
        yield f"NodeLocal DNSCache takes questions at {where} ({dns.node_local.source}); what it has cached is not known here."
    yield from resolution.notes if resolution else ()


def known_names(cluster: Cluster, text: str) -> tuple[str, ...]:
    """Return names in the cluster that begin with or hold *text*: Services short and full, and pods of StatefulSets. At most twenty."""
    wanted = text.strip().lower()[:_LONGEST]
    domain = dns_of(cluster).domain
    found = [f"{s.name}.{s.namespace}" for s in cluster.objects.services]
    if "svc" in wanted or wanted.count(".") > 1:
        found += [f"{s.name}.{s.namespace}.svc.{domain}" for s in cluster.objects.services]
    found += [f"{p.hostname}.{p.subdomain}.{p.namespace}" for p in cluster.objects.pods if p.hostname and p.subdomain and not p.has_ended]
    fitting = sorted((n for n in found if wanted in n), key=lambda n: (not n.startswith(wanted), n))
    return tuple(dict.fromkeys(fitting))[:MOST_NAMES]

"""What a look-up shows: names that do not exist, futile questions, aliases that TLS does not follow, questions that get lost or race."""

from __future__ import annotations

from collections.abc import Iterator

from tracer.dns.names import absolute, is_below
from tracer.dns.zone_name import SVC, ZoneName, parse_zone_name
from tracer.explain.explanation import Severity
from tracer.explain.findings.asked_again import is_cheaper, those_better
from tracer.explain.findings.case import Case, finding, some
from tracer.explain.findings.linux_release import release
from tracer.explain.findings.passage import Passage
from tracer.kube.endpoints import ready_addresses
from tracer.kube.near import nearest
from tracer.kube.service import Service, ServiceType
from tracer.query import SourceKind, parse_address
from tracer.simulate.naming import dns_of
from tracer.trace import Disposition, Finding, Lookup

_TLS_PORTS = frozenset((443, 465, 636, 853, 993, 995, 5671, 6443, 8443, 8883, 9443))
_MANY = 4
_NO_SHORTER = "A complete name costs none of these questions; whether there is one for this, the snapshot does not show."
# Kernels before insert clashing UDP entries by dropping one. Source: Linux 6a757c07e51f (netfilter: allow insertion of clashing entries).
_RACES_BEFORE = (5, 7)


def findings(case: Case, passage: Passage) -> Iterator[Finding]:
    """Yield what the look-up before the packet shows, or what there is to say of a name that was not looked up."""
    reason = passage.outcome.reason
    code = reason.code if reason is not None and passage.outcome.disposition is Disposition.UNRESOLVED else ""
    if code in ("DNS_NXDOMAIN", "DNS_SERVFAIL"):
        yield from _missing(case, failed=code == "DNS_SERVFAIL")
    if code == "DNS_HEADLESS_NO_PODS" and reason is not None:
        fix = "Make the pods ready (kubectl describe pod), correct the Service's selector, or set publishNotReadyAddresses."
        yield finding(code=code, text=reason.text, fix=fix)
    if code == "DNS_BLOCKED" and reason is not None:
        fix = "Allow UDP and TCP port 53 to the cluster's DNS on the way, and see that kube-dns has ready endpoints."
        yield finding(code=code, text=reason.text, fix=fix, evidence=case.trace.lookups[0].notes if case.trace.lookups else ())
    if not code:
        yield from _lost_partly(case)
    yield from _alias(case)
    yield from _futile(case, failed=bool(code))
    yield from _race(case)


# --- names that do not exist -----------------------------------------------------------------------------------------------------


def _missing(case: Case, *, failed: bool) -> Iterator[Finding]:
    """Yield why the name does not exist: no such Service, or no such port of one that does; with names that are alike.

    *failed*: the server could not tell of the name as it stands, which may well exist outside the cluster.
    """
    asked = tuple(dict.fromkeys(x.name for x in case.trace.lookups))
    missing = [x for x in case.trace.lookups if x.rcode == "NXDOMAIN"]
    if not missing:
        return
    zone = absolute(dns_of(case.cluster).domain)
    parsed = [(n, p) for n in asked if is_below(n, zone) and (p := parse_zone_name(n, zone)) is not None and p.kind == SVC]
    for name, wanted in parsed:
        service = case.objects.service(wanted.namespace, wanted.service) if wanted.service else None
        if service is not None and wanted.port:
            yield _wrong_port(name, wanted, service)
            return
    host = case.trace.query.destination.host
    near = _near(case, parsed)
    hint = f"; there is {some(near)}" if near else ""
    lead = f"No Service answers to {host} for {case.client}" if failed else f"{host} does not exist for {case.client}"
    text = f"{lead}: {len(asked)} names were asked, from {asked[0]} on{hint}"
    source = case.trace.query.source
    where = f" of namespace {source.namespace}" if source.kind is SourceKind.POD else ""
    fix = f"Use SERVICE.NAMESPACE for a Service of another namespace: a short name is completed with the client's own{where}."
    if failed:
        fix += " For a name outside the cluster, see that the Corefile forwards it and that the server it is forwarded to answers."
    yield finding(code="DNS_NXDOMAIN", text=text, fix=fix, evidence=tuple(f"{x.name} {x.rdtype}: {x.rcode}" for x in missing[:_MANY]))


def _near(case: Case, parsed: list[tuple[str, ZoneName]]) -> tuple[str, ...]:
    """Return the Services that look like what was asked and would answer this client, as names it could use."""
    wanted = [f"{p.namespace}/{p.service}" for _, p in parsed if p.service] or [case.trace.query.destination.host]
    names = [f"{s.namespace}/{s.name}" for s in case.objects.services]
    found = [n for text in wanted[:2] for n in nearest(text, names, count=3)]
    dialled = [f"{name}.{namespace}" for namespace, _, name in (n.partition("/") for n in dict.fromkeys(found))]
    return those_better(case, dialled[:3], case.trace.query.destination.port)


def _wrong_port(name: str, wanted: ZoneName, service: Service) -> Finding:
    ports = [f"_{p.name}._{p.protocol.value}" for p in service.ports if p.name]
    has = f"its named ports are {some(ports)}" if ports else "none of its ports has a name"
    asked = f"_{wanted.port}._{wanted.protocol}"
    text = f"{name} does not exist: Service {service.namespace}/{service.name} has no port {asked}; {has}"
    fix = "Ask for the port by the name and protocol that the Service gives it, or name the Service's port so."
    return finding(code="PORT_NAME_MISMATCH", text=text, fix=fix, evidence=(f"Service {service.namespace}/{service.name} spec.ports",))


# --- aliases ---------------------------------------------------------------------------------------------------------------------


def _alias(case: Case) -> Iterator[Finding]:
    """Yield EXTERNALNAME_TLS where the dialled name is an ExternalName Service: a note, a warning on a port that speaks TLS."""
    zone = absolute(dns_of(case.cluster).domain)
    for lookup in case.trace.lookups:
        parsed = parse_zone_name(lookup.name, zone) if is_below(lookup.name, zone) else None
        service = case.objects.service(parsed.namespace, parsed.service) if parsed and parsed.kind == SVC and parsed.service else None
        if service is None or service.type is not ServiceType.EXTERNAL_NAME or lookup.rcode != "NOERROR":
            continue
        query = case.trace.query
        text = (
            f"{query.destination.host} is Service {service.namespace}/{service.name}, an alias of {service.external_name}: {case.client} "
            f"connects there, and still asks for the certificate and the host of {query.destination.host}"
        )
        fix = f"Dial {service.external_name} itself, or set the TLS server name and the Host header in the client."
        severe = Severity.WARNING if query.destination.port in _TLS_PORTS else Severity.NOTICE
        proof = (f"Service {service.namespace}/{service.name} spec.externalName", f"{lookup.name} CNAME {lookup.answers[:1]}")
        yield finding(code="EXTERNALNAME_TLS", text=text, fix=fix, severity=severe, evidence=proof)
        return


# --- questions in vain -----------------------------------------------------------------------------------------------------------


def _futile(case: Case, *, failed: bool) -> Iterator[Finding]:
    """Yield DNS_SEARCH_EXPANSION where the search list cost questions before the name that answered, or before the name as it stands."""
    lookups = case.trace.lookups
    futile = [x for x in lookups if x.rcode == "NXDOMAIN"]
    last = lookups[-1] if lookups else None
    if last is None or len(futile) < _MANY or (failed and last.search is None and last.rcode == "NXDOMAIN"):
        return
    host = case.trace.query.destination.host
    dots = host.count(".")
    text = (
        f"{len(futile)} of {len(lookups)} questions for {host} were in vain: it has {dots} {'dot' if dots == 1 else 'dots'}, fewer than "
        f"ndots of {case.client}, so the search list is tried first, for A and AAAA each"
    )
    yield finding(
        code="DNS_SEARCH_EXPANSION",
        text=text,
        fix=_shorter_way(case, last, host, dots),
        evidence=tuple(f"{x.name} {x.rdtype}: {x.rcode} ({x.why})" for x in futile[:_MANY]),
    )


def _shorter_way(case: Case, last: Lookup, host: str, dots: int) -> str:
    """What to write instead, where that gets the same answer. NB: a final dot ends the search list; behind a wrong name it ends all."""
    if last.search is not None:
        return f"Write the full name with its final dot: {last.name}" if is_cheaper(case, last.name) else _NO_SHORTER
    whole = f"{host.removesuffix('.')}."
    if not is_cheaper(case, whole):
        return _NO_SHORTER
    return f"Write {whole} with a final dot" + (f", or set dnsConfig options ndots to {dots} for this pod." if dots else ".")


# --- the questions' own packets --------------------------------------------------------------------------------------------------


def _lost_partly(case: Case) -> Iterator[Finding]:
    """Yield DNS_BLOCKED where some of the questions get no answer."""
    first: Lookup | None = next(iter(case.trace.lookups), None)
    for note in first.notes if first else ():
        if "get no answer" in note or "cannot be asked" in note:
            fix = "Follow the question itself: trace UDP port 53 to the server from the same client."
            yield finding(
                code="DNS_BLOCKED", text=f"{case.client[:1].upper()}{case.client[1:]}: {note}", fix=fix, severity=Severity.WARNING
            )


def _race(case: Case) -> Iterator[Finding]:
    """Yield DNS_QUERY_RACE where A and AAAA leave side by side over UDP through DNAT, on a kernel that drops one of two that clash.

    A newer kernel, TCP, single-request or a server that is not behind a Service rule it out.
    """
    lookups = case.trace.lookups
    sent = [x for x in lookups if x.transport == "udp" and x.rcode != "TIMEOUT"]
    if not sent or any("single-request" in note for note in lookups[0].notes):
        return
    server, service = parse_address(sent[0].server), dns_of(case.cluster).service
    if server is None or service is None or server not in service.cluster_ips:
        return
    ready = ready_addresses(case.objects.slices_of(*service.key))
    node = case.client_pod.node_name if case.client_pod is not None else case.trace.query.source.name
    found = case.cluster.node(node or "")
    version = found.kernel_version if found else None
    kernel = release(version)
    if len(ready) < 2 or kernel is None or kernel[:2] >= _RACES_BEFORE:
        return
    text = (
        f"{case.client[:1].upper()}{case.client[1:]} asks A and AAAA at once from one port, and node {node} translates both to one of "
        f"{len(ready)} servers behind {server}; its kernel {version} drops one of two such packets when they race: a look-up then takes "
        "5 seconds"
    )
    fix = "Use NodeLocal DNSCache, dnsConfig option single-request-reopen (glibc), or a kernel from 5.7 on."
    evidence = (f"Node {node} status.nodeInfo.kernelVersion", f"Service {service.namespace}/{service.name}: {some(list(map(str, ready)))}")
    yield finding(code="DNS_QUERY_RACE", text=text, fix=fix, evidence=evidence)

"""A destination that is a name: looked up as the source would look it up, then traced to the address that is dialled first.

The look-up's own packets are traced too: when none of them comes back, the name does not resolve, whatever the server would say.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction

from tracer.dns.address_order import equals_of_first
from tracer.dns.cluster_dns import ClusterDns
from tracer.dns.kubelet import NO_DNS_SERVICE
from tracer.dns.names import absolute, is_below
from tracer.dns.resolv_conf import ResolvConf
from tracer.dns.resolver import Asked, Candidate, Resolution, Result, candidates, resolve
from tracer.dns.zone_name import SVC, parse_zone_name
from tracer.errors import ParseError
from tracer.kube.endpoints import ready_endpoints
from tracer.kube.pod import Pod
from tracer.kube.service import Service
from tracer.limits import Budget
from tracer.packet import Address, Protocol
from tracer.query import Destination, Query, Resolver, SourceKind
from tracer.simulate.start import source_exists
from tracer.snapshot.node_files import RESOLVER
from tracer.snapshot.unreadable import why_unread
from tracer.topology.cluster import Cluster
from tracer.topology.programmed import Keys
from tracer.trace import Assumption, Disposition, Lookup, Outcome, Reason, Sees, Trace, Unknown
from tracer.values import dataclass

Tracing = Callable[[Cluster, Query], Trace]
Budgeted = Callable[[Cluster, Query, Budget], Trace]
DNS_PORT = 53
_KNOWN: weakref.WeakKeyDictionary[Cluster, ClusterDns] = weakref.WeakKeyDictionary()
_ENDS = {
    Result.NO_SUCH_NAME: "DNS_NXDOMAIN",
    Result.NO_ADDRESS: "DNS_NO_ADDRESS",
    Result.FAILED: "DNS_SERVFAIL",
}


def dns_of(cluster: Cluster) -> ClusterDns:
    """Return the DNS of *cluster*, worked out once."""
    found = _KNOWN.get(cluster)
    if found is None:
        snapshot = cluster.snapshot

        def node_text(node: str) -> str | None:
            return None if why_unread(snapshot, node, RESOLVER) else snapshot.node_file(node, RESOLVER.name)

        found = _KNOWN[cluster] = ClusterDns(cluster.objects, node_text)
    return found


def dns_packet_query(query: Query, server: Address, *, over_tcp: bool = False) -> Query:
    """Return the query that traces a look-up's own packet: from *query*'s source to port 53 of *server*."""
    destination = Destination(host=str(server), port=DNS_PORT)
    return Query(source=query.source, destination=destination, protocol=Protocol.TCP if over_tcp else Protocol.UDP, id=query.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Who looks the name up: *conf* None when it is not known, for the reason in *lacks*. *sources* are the addresses it may send from."""

    conf: ResolvConf | None
    sources: tuple[Address, ...] = ()
    lacks: str = ""
    why: str = ""


def client_of(cluster: Cluster, query: Query) -> Client:
    """Return the resolver settings of *query*'s source. :raises QueryError: the source is not in the snapshot."""
    pod = source_exists(cluster, query)
    dns = dns_of(cluster)
    if pod is not None:
        found = dns.pod_conf(pod)
        conf = found.conf if not found.unknown else None
        lacks = found.unknown and _lacking_resolver(cluster, pod.node_name or "", found.unknown)
        return Client(conf=conf, sources=_addresses(cluster, pod, pod.node_name), lacks=lacks, why=found.why)
    if query.source.kind is SourceKind.EXTERNAL:
        return Client(conf=None, lacks="how a client outside the cluster resolves names is not in the snapshot")
    node = query.source.name or ""
    conf = dns.node_conf(node)
    lacks = "" if conf else _lacking_resolver(cluster, node, f"nodes/{node}/resolv.conf is not in the snapshot")
    return Client(conf=conf, sources=_addresses(cluster, None, node), lacks=lacks, why=f"resolv.conf of node {node}")


def _lacking_resolver(cluster: Cluster, node: str, missing: str) -> str:
    """What is said where a node's own resolver settings would tell: *missing*, or that the file there cannot be read."""
    why = why_unread(cluster.snapshot, node, RESOLVER) if RESOLVER.name in missing else None
    return f"{cluster.snapshot.path_of(node, RESOLVER.name)} {why}" if why else missing


def _addresses(cluster: Cluster, pod: Pod | None, node: str | None) -> tuple[Address, ...]:
    if pod is not None and not pod.host_network:
        return pod.owned_ips
    found = cluster.objects.node(node or "")
    return found.ips if found else ()


def looked_up(cluster: Cluster, query: Query) -> tuple[Client, Resolution | None]:
    """Return who asks, and everything asked for *query*'s host; None instead when the resolver's settings are not known.

    :raises QueryError: the source is not in the snapshot.
    :raises ParseError: CoreDNS would refuse the Corefile.
    """
    client = client_of(cluster, query)
    return client, None if client.conf is None else _resolved(cluster, query, client, client.conf)


def _resolved(cluster: Cluster, query: Query, client: Client, conf: ResolvConf) -> Resolution:
    dns, server = dns_of(cluster), conf.addresses()[0]
    sender = next((a for a in client.sources if a.version == server.version), None)
    return resolve(query.destination.host, conf, lambda question: dns.ask(question, server=server, client=sender), resolver=query.resolver)


def traced_name(cluster: Cluster, query: Query, walk: Budgeted, budget: Budget) -> Trace:
    """Return the trace of *query*, whose destination is a name; *walk* traces a query to an address within *budget*.

    :raises QueryError: the source is not in the snapshot.
    """

    def trace(cluster: Cluster, query: Query) -> Trace:
        return walk(cluster, query, budget)

    try:
        client, resolution = looked_up(cluster, query)
    except ParseError as error:
        return _unknown(query, "COREFILE_INVALID", f"CoreDNS cannot read its Corefile: {error.faults[0].message}")
    if resolution is None or client.conf is None:
        return _outside(cluster, query, client.lacks, trace, ())
    way = _way_to_server(cluster, query, client.conf, trace)
    if way.blocked and way.blocked.code == "NOT_OWNED" and dns_of(cluster).service is None:
        # Nobody is known to have the server's address, and the Service that may have it was not recorded.
        return _outside(cluster, query, NO_DNS_SERVICE, trace, ())
    if way.blocked:
        return _blocked(query, client.conf, way)
    notes = (*way.notes, *((dns_of(cluster).assumption,) if dns_of(cluster).assumption else ()))
    lookups = tuple(_lookup(a, (*notes, *resolution.notes) if not i else ()) for i, a in enumerate(resolution.asked))
    if resolution.result is Result.UNKNOWN:
        why = resolution.why or f"{resolution.outside} is resolved outside the cluster"
        return _outside(cluster, query, why, trace, lookups)
    if resolution.result is Result.NO_SUCH_NAME and (lost := _not_recorded(cluster, resolution)):
        return _unknown(query, "DATA_MISSING", lost, lookups)
    if resolution.result is not Result.FOUND:
        return _in_doubt(_ended(query, _reason(cluster, query, resolution), lookups), resolution)
    return _in_doubt(_dialled(cluster, query, client, resolution, lookups, trace, budget), resolution)


def _in_doubt(answer: Trace, resolution: Resolution) -> Trace:
    """The answer on the condition that what Hopline does not know of the Corefile changes nothing of what was asked."""
    unread = tuple(dict.fromkeys(words for asked in resolution.asked for words in asked.answer.unread))
    if not unread:
        return answer
    said = tuple(f"CoreDNS answers as without {words}" for words in unread)
    return replace(answer, outcomes=tuple(replace(o, conditions=(*said, *o.conditions)) for o in answer.outcomes))


# --- the answer --------------------------------------------------------------------------------------------------------------


def _dialled(
    cluster: Cluster, query: Query, client: Client, resolution: Resolution, lookups: tuple[Lookup, ...], trace: Tracing, budget: Budget
) -> Trace:
    """The traces to every address that may be dialled first, each with its share: getaddrinfo's order, and chance among equals."""
    equal = equals_of_first(resolution.addresses, client.sources, query.resolver)
    shuffled = dns_of(cluster).server.shuffles(resolution.canonical or resolution.name)
    dialled = equal if shuffled else equal[:1]
    lookups = (*lookups[:-1], replace(lookups[-1], notes=(*lookups[-1].notes, *_order_notes(resolution, dialled, query.resolver))))
    share = Fraction(1, len(dialled))
    outcomes: list[Outcome] = []
    unknowns: dict[tuple[str, str], Unknown] = {}
    assumed: dict[str, Assumption] = {}
    services: Keys = frozenset()
    for number, address in enumerate(dialled):
        if outcomes and (budget.is_spent or len(outcomes) > budget.limits.ways):
            text = f"{len(dialled) - number} more addresses may be dialled than one question may walk to (limits work, ways)"
            rest = _unknown(query, "UNSUPPORTED", text)
            outcomes += (replace(o, probability=share * (len(dialled) - number)) for o in rest.outcomes)
            unknowns |= {(u.code, u.text): u for u in rest.unknowns}
            break
        found = trace(cluster, replace(query, destination=Destination(host=str(address), port=query.destination.port)))
        outcomes += (replace(o, probability=o.probability * share) for o in found.outcomes)
        unknowns |= {(u.code, u.text): u for u in found.unknowns}
        assumed |= {a.code: a for a in found.assumptions if a.code not in assumed}
        services |= found.services
    return Trace(
        query=query,
        outcomes=tuple(outcomes),
        lookups=lookups,
        unknowns=tuple(unknowns.values()),
        assumptions=tuple(assumed.values()),
        services=services,
    )


def _order_notes(resolution: Resolution, dialled: tuple[Address, ...], resolver: Resolver) -> Iterator[str]:
    if len({a.version for a in resolution.addresses}) > 1:
        family = f"IPv{dialled[0].version}"
        yield f"Both families: {resolver.value}'s getaddrinfo puts {family} first here (RFC 6724), so {dialled[0]} is dialled first"
    if len(dialled) > 1:
        yield f"{len(dialled)} addresses in random order (plugin loadbalance): a client dials the first, each is first equally often"


def _lookup(asked: Asked, notes: tuple[str, ...]) -> Lookup:
    answer, candidate = asked.answer, asked.candidate
    said = (answer.why,) if answer.why else ()
    return Lookup(
        server=str(asked.server),
        name=asked.question.name,
        rdtype=asked.question.rdtype,
        rcode=answer.rcode.value,
        answers=tuple(r.rdata for r in answer.answer),
        why=candidate.why,
        search=None if candidate.suffix is None else (candidate.number, candidate.total),
        transport="tcp" if asked.over_tcp else "udp",
        plugin=answer.plugin,
        notes=(*notes, *said),
    )


# --- the ends ----------------------------------------------------------------------------------------------------------------


def _reason(cluster: Cluster, query: Query, resolution: Resolution) -> Reason:
    name = query.destination.host
    empty = empty_headless(cluster, resolution)
    if empty is not None:
        text = f"{name} has no address: no pod of the headless Service {empty.namespace}/{empty.name} is ready"
        return Reason(code="DNS_HEADLESS_NO_PODS", text=text)
    names = tuple(dict.fromkeys(a.question.name for a in resolution.asked))
    code = _ENDS[resolution.result]
    if code == "DNS_NXDOMAIN":
        return Reason(
            code=code,
            text=f"{name} does not exist: {len(names)} names were asked, from {names[0]} on" if names else f"{name} cannot be asked",
        )
    if code == "DNS_NO_ADDRESS":
        alias = next((r for a in resolution.asked[-2:] for r in a.answer.answer if r.rdtype == "CNAME"), None)
        text = f"{alias.name} is an alias of {alias.rdata}, which does not resolve" if alias else f"{name} exists and has no address"
        return Reason(code=code, text=f"{text}{_because(resolution)}")
    return Reason(code=code, text=f"The DNS server failed on {names[-1]}{_because(resolution)}")


def _not_recorded(cluster: Cluster, resolution: Resolution) -> str | None:
    """What keeps a name from being denied: it is of a namespace that is there, and none of whose Services was recorded.

    Whether all Services were recorded is told by default/kubernetes, which every cluster has.
    """
    objects, domain = cluster.objects, absolute(dns_of(cluster).domain)
    if objects.service("default", "kubernetes") is not None:
        return None
    held = {service.namespace for service in objects.services}
    for name in dict.fromkeys(a.question.name.lower() for a in resolution.asked):
        asked = parse_zone_name(name, domain) if is_below(name, domain) else None
        namespace = asked.namespace if asked is not None and asked.kind == SVC and asked.service else ""
        if namespace and namespace not in held and (objects.namespace(namespace) or any(p.namespace == namespace for p in objects.pods)):
            return (
                f"Whether {name} exists is not known: no Service of namespace {namespace} is in the {cluster.snapshot.called}, nor "
                "default/kubernetes, which every cluster has: not all Services were recorded (kubectl get services -A)"
            )
    return None


def _because(resolution: Resolution) -> str:
    return f": {resolution.why}" if resolution.why else ""


def empty_headless(cluster: Cluster, resolution: Resolution) -> Service | None:
    """Return the headless Service that one of the names asked is of, when none of its endpoints is ready; else None."""
    domain = absolute(dns_of(cluster).domain)
    for name in dict.fromkeys(a.question.name.lower() for a in resolution.asked):
        asked = parse_zone_name(name, domain) if is_below(name, domain) else None
        if asked is None or asked.kind != SVC or not asked.service:
            continue
        service = cluster.objects.service(asked.namespace, asked.service)
        if service is None or not service.headless:
            continue
        if not ready_endpoints(cluster.objects.slices_of(*service.key)):
            return service
    return None


def _ended(query: Query, reason: Reason, lookups: tuple[Lookup, ...]) -> Trace:
    outcome = Outcome(probability=Fraction(1), disposition=Disposition.UNRESOLVED, reason=reason, client_sees=Sees.NAME_ERROR)
    return Trace(query=query, outcomes=(outcome,), lookups=lookups)


def _unknown(query: Query, code: str, text: str, lookups: tuple[Lookup, ...] = ()) -> Trace:
    outcome = Outcome(probability=Fraction(1), disposition=Disposition.UNKNOWN, reason=Reason(code=code, text=text))
    unknown = Unknown(code=code, text=text, at={"name": query.destination.host})
    return Trace(query=query, outcomes=(outcome,), lookups=lookups, unknowns=(unknown,))


def _outside(cluster: Cluster, query: Query, why: str, trace: Tracing, lookups: tuple[Lookup, ...]) -> Trace:
    """A name that the snapshot does not resolve: traced on to the address that was given, or to a load balancer's; else unknown."""
    address = query.destination.given or _balancer_address(cluster, query)
    if address is not None:
        found = trace(cluster, replace(query, destination=Destination(host=str(address), port=query.destination.port)))
        return replace(found, query=query, lookups=lookups)
    name = query.destination.host
    text = f"{name} is not resolved further: {why}. Give it an address to trace on: {name}=ADDRESS:{query.destination.port}"
    code = "RESOLV_CONF_NOT_RECORDED" if RESOLVER.name in why and not lookups else "NAME_OUTSIDE_CLUSTER"
    code = "DNS_SERVICE_NOT_RECORDED" if why == NO_DNS_SERVICE else code
    return _unknown(query, code, text, lookups)


def _balancer_address(cluster: Cluster, query: Query) -> Address | None:
    """The address of a load balancer whose host name is the one asked for, where its status has both."""
    wanted = absolute(query.destination.host.lower())
    if query.source.kind is not SourceKind.EXTERNAL:
        return None
    for service in cluster.objects.services:
        hosts = [absolute(i.hostname.lower()) for i in service.load_balancer_ingress if i.hostname]
        if wanted in hosts:
            return next((i.ip for i in service.load_balancer_ingress if i.ip is not None), None)
    return None


# --- the way to the server ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """Whether the questions get through. *blocked* is how the first server's packets end, None when some may come back."""

    blocked: Reason | None = None
    notes: tuple[str, ...] = ()


def _way_to_server(cluster: Cluster, query: Query, conf: ResolvConf, trace: Tracing) -> Way:
    notes: list[str] = []
    first: Reason | None = None
    for server in conf.addresses():
        found = trace(cluster, dns_packet_query(query, server, over_tcp=conf.has("use-vc")))
        lost = [o for o in found.outcomes if _is_lost(o)]
        if len(lost) < len(found.outcomes):
            if lost:
                share = sum((o.probability for o in lost), start=Fraction(0))
                notes.append(f"{_percent(share)} of the questions to {server} get no answer: {_end_of(lost[0]).text}")
            return Way(notes=tuple(notes))
        first = first or _end_of(lost[0])
        notes.append(f"{server} cannot be asked: {_end_of(lost[0]).text}")
    return Way(blocked=first, notes=tuple(notes))


def _percent(share: Fraction) -> str:
    return f"{float(share) * 100:.0f} %"


def _is_lost(outcome: Outcome) -> bool:
    """Whether a question surely gets no answer; what rests on a condition or an assumption is not sure."""
    if outcome.disposition is Disposition.UNKNOWN or outcome.conditions or outcome.assumes:
        return False
    if outcome.disposition not in (Disposition.DELIVERED, Disposition.LEAVES):
        return True
    return outcome.reply is not None and outcome.reply.disposition not in (Disposition.DELIVERED, Disposition.UNKNOWN)


def _end_of(outcome: Outcome) -> Reason:
    reason = outcome.reason
    if outcome.disposition in (Disposition.DELIVERED, Disposition.LEAVES) and outcome.reply is not None:
        reason = outcome.reply.reason
    return reason or Reason(code="DNS_BLOCKED", text=f"the packet ends as {outcome.disposition.value}")


def _blocked(query: Query, conf: ResolvConf, way: Way) -> Trace:
    """No question gets through: the first one is all that is asked, again and again."""
    server, reason = conf.addresses()[0], way.blocked
    asked: tuple[Candidate, ...] = candidates(query.destination.host, conf, query.resolver)[:1]
    lookups = tuple(
        Lookup(server=str(server), name=c.name, rdtype=t, rcode="TIMEOUT", why=c.why, notes=way.notes) for c in asked for t in ("A", "AAAA")
    )
    seconds = conf.number("timeout", query.resolver) * max(conf.number("attempts", query.resolver), 1)
    cause = reason.text if reason else ""
    end = f"questions to {server} port {DNS_PORT} get no answer within {seconds} seconds ({cause})"
    text = f"{query.destination.host} cannot be looked up: {end}"
    return _ended(query, Reason(code="DNS_BLOCKED", text=text), lookups)

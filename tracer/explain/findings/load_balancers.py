"""Load balancers and node ports: source ranges, the way past the load balancer, node ports among the ephemeral ports.

LB_SOURCE_RANGE_DENIED, LB_SOURCE_RANGE_BYPASSED, LB_BYPASSED, NODE_PORT_IN_LOCAL_RANGE, and what a client outside meets at a cluster IP.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tracer.assumptions import FRONT
from tracer.explain.explanation import Severity
from tracer.explain.findings.asked_again import is_hopeless, those_better
from tracer.explain.findings.case import Case, finding, some
from tracer.explain.findings.passage import Passage
from tracer.explain.findings.subject import Subject, WayIn
from tracer.kube.service import ServiceType
from tracer.packet import Address, Protocol, endpoint_text
from tracer.query import SourceKind
from tracer.snapshot.node_files import SYSCTL
from tracer.trace import Disposition, Finding


def findings(case: Case, passage: Passage) -> Iterator[Finding]:
    """Yield what load balancers and node ports explain of this outcome."""
    subject = case.subject
    if subject is not None:
        yield from _source_ranges(case, subject, passage)
        yield from _bypassed(case, subject, passage)
        yield from _unreachable_from_outside(case, subject, passage)
    yield from _ephemeral(case, passage)


# -- source ranges --------------------------------------------------------------------------------------------------------------------


def _source_ranges(case: Case, subject: Subject, passage: Passage) -> Iterator[Finding]:
    ranges = [r for r in subject.service.load_balancer_source_ranges if r.version == subject.address.version]
    if not ranges or case.sent is None or subject.way not in (WayIn.LOAD_BALANCER, WayIn.NODE_PORT):
        return
    listed, source = some([str(r) for r in ranges]), case.sent.source
    at = passage.cause
    if word := next((w for w in passage.outcome.assumes if w.startswith(f"{FRONT}:")), ""):
        if not any(source in r for r in ranges):
            yield _assumed(case, subject, word, listed)
        return
    if at is not None and subject.way is WayIn.LOAD_BALANCER and case.is_of_proxy(at) and case.is_about(at, subject):
        arriving = at.hop.packet_in.source
        if not any(arriving in r for r in ranges):
            text = (
                f"Node {at.hop.node} drops the packet at {at.where}: its source {arriving} ({case.client}) is in none of the "
                f"loadBalancerSourceRanges of Service {subject.name} ({listed})"
            )
            inside = cluster_ip(case, subject)
            fix = f"Add {arriving} to loadBalancerSourceRanges of Service {subject.name}" + (
                f", or dial its cluster IP {inside} from inside: the ranges do not apply there." if inside else "."
            )
            yield finding(code="LB_SOURCE_RANGE_DENIED", text=text, fix=fix, at=at)
    elif passage.outcome.disposition is Disposition.DELIVERED and not any(source in r for r in ranges) and _is_meant(case, subject):
        yield _not_enforced(case, subject, passage, listed)


def _assumed(case: Case, subject: Subject, word: str, listed: str) -> Finding:
    """Which ranges are asked for hangs on how the balancer hands over: nothing is said of who is kept out, but on what it hangs."""
    text = (
        f"Whether loadBalancerSourceRanges of Service {subject.name} ({listed}), which do not list {case.client}, keep it out depends on "
        f"how the load balancer hands over, which is assumed ({word}): the nodes' rules compare the source of what still has the "
        "balancer's address as its destination, and of nothing else; whether the balancer itself compares it is in no file"
    )
    return finding(code="LB_SOURCE_RANGE_ASSUMED", text=text, fix="Ask again with the way in which this load balancer hands over.")


def _is_meant(case: Case, subject: Subject) -> bool:
    """Whether the ranges are about this client: everybody at the load balancer's address, clients outside at the node port."""
    return case.outside or subject.way is WayIn.LOAD_BALANCER


def _not_enforced(case: Case, subject: Subject, passage: Passage, listed: str) -> Finding:
    node = passage.nodes[0].node if passage.nodes else None
    number = subject.port.node_port if subject.port else None
    how = f"at node port {number} of node {node}, where no rule compares the source"
    if passage.through_load_balancer:
        how = f"because the load balancer hands it to node port {number} of node {node}, where no rule compares the source"
    elif subject.way is WayIn.LOAD_BALANCER:
        how = f"because no rule of node {node} compares the source before it is rewritten"
    text = (
        f"{case.client[:1].upper()}{case.client[1:]} is let in, although loadBalancerSourceRanges of Service {subject.name} "
        f"({listed}) do not list it: {how}"
    )
    fix = (
        "Let the load balancer itself apply the ranges, and keep node ports closed to clients outside (a firewall, "
        "allocateLoadBalancerNodePorts: false)."
    )
    return finding(code="LB_SOURCE_RANGE_BYPASSED", text=text, fix=fix, at=passage.dnats[0] if passage.dnats else None)


# -- past the load balancer -----------------------------------------------------------------------------------------------------------


def _bypassed(case: Case, subject: Subject, passage: Passage) -> Iterator[Finding]:
    if subject.way is not WayIn.LOAD_BALANCER or case.outside or passage.through_load_balancer or not passage.dnats:
        return
    at = passage.dnats[0]
    ingress = next((i for i in subject.service.load_balancer_ingress if i.ip == subject.address), None)
    text = (
        f"The packet never reaches the load balancer {subject.address} of Service {subject.name}: node {at.hop.node} sends it to "
        f"an endpoint itself, at {at.where} (ipMode {ingress.ip_mode if ingress else 'VIP'}). What the load balancer would add is missing: "
        f"TLS termination, the PROXY protocol, its own source address"
    )
    fix = "If the load balancer does such things, let its controller publish ipMode: Proxy (or a host name)."
    yield finding(code="LB_BYPASSED", text=text, fix=fix, at=at)


def _unreachable_from_outside(case: Case, subject: Subject, passage: Passage) -> Iterator[Finding]:
    """A cluster IP dialled from outside: say whose it is and which doors there are."""
    reason = passage.outcome.reason
    if not case.outside or subject.way is WayIn.NODE_PORT or passage.nodes or reason is None or reason.code != "NOT_OWNED":
        return
    text = (
        f"{subject.address} is the {subject.way} of Service {subject.name}, which exists only in the rules of the nodes: "
        f"{_doors(case, subject)}"
    )
    yield finding(
        code="NOT_OWNED",
        text=text,
        fix="Dial one of the addresses that clients outside can reach, or make the Service a NodePort or LoadBalancer.",
    )


def _doors(case: Case, subject: Subject) -> str:
    """The ways in from outside, and whether those that were tried are open to this client."""
    service, port = subject.service, subject.port
    balancers = [str(i.ip or i.hostname) for i in service.load_balancer_ingress]
    if balancers:
        addresses = [i.ip for i in service.load_balancer_ingress if i.ip is not None]
        return f"from outside its load balancer is at {some(balancers)}{_tried(case, addresses, port.port if port else None)}"
    pending = "its load balancer has no address yet; " if service.type is ServiceType.LOAD_BALANCER else ""
    ports = [p for p in service.ports if p.node_port and port in (None, p)]
    if ports:
        nodes = [a for node in case.objects.nodes for a in node.ips if a.version == subject.address.version]
        listed = some([f"{p.node_port}/{p.protocol.value}" for p in ports])
        tried = _tried(case, nodes, ports[0].node_port)
        verb = "it answers at" if tried.startswith(" ") else "its way in is"
        return f"{pending}from outside {verb} node port {listed} of the nodes{tried}"
    return f"{pending}it has no way in from outside"


def _tried(case: Case, addresses: Sequence[Address], number: int | None) -> str:
    """What came of asking some of *addresses* instead."""
    some_of_them = addresses[:3]
    if found := those_better(case, some_of_them, number, most=1):
        return f" ({endpoint_text(found[0], number)} answers)"
    return ", which does not answer this client either" if some_of_them and all(is_hopeless(case, a, number) for a in some_of_them) else ""


def cluster_ip(case: Case, subject: Subject) -> str:
    """Return the Service's cluster IP with its port where that answers better than what was dialled, else nothing."""
    port = subject.port
    ips = [a for a in subject.service.cluster_ips if a.version == subject.address.version and a != subject.address]
    if port is None or case.outside or not (found := those_better(case, ips[:1], port.port)):
        return ""
    return endpoint_text(found[0], port.port)


# -- ephemeral ports ------------------------------------------------------------------------------------------------------------------


def _ephemeral(case: Case, passage: Passage) -> Iterator[Finding]:
    subject = case.subject
    through_port = subject is not None and (subject.way is WayIn.NODE_PORT or passage.through_load_balancer)
    if subject is not None and subject.port is not None and through_port and passage.nodes and passage.nodes[0].node:
        if subject.port.node_port is not None:
            yield from _in_range(case, subject.name, subject.port.node_port, passage.nodes[0].node, "")
    elif case.trace.query.source.kind is SourceKind.NODE and (port := case.trace.query.source_port) and passage.nodes and case.sent:
        yield from _collides(case, port, case.sent.source, case.sent.protocol, passage.nodes[0].node or "")


def _collides(case: Case, port: int, source: Address, protocol: Protocol, node: str) -> Iterator[Finding]:
    """The node's own source port is a Service's node port: answers to it are rewritten like requests."""
    for service, _ in case.objects.services_with_node_port(port, protocol):
        yield from _in_range(
            case, f"{service.namespace}/{service.name}", port, node, f" This very connection uses it as its source port on {source}."
        )


def _in_range(case: Case, name: str, port: int, node: str, more: str) -> Iterator[Finding]:
    stack = case.cluster.stack(node)
    limits = stack.routing.local_port_range
    if limits is None or not limits[0] <= port <= limits[1] or _reserved(stack.routing.get("net.ipv4.ip_local_reserved_ports"), port):
        return
    text = (
        f"Node port {port} of Service {name} lies in the range from which node {node} takes source ports of its own connections "
        f"(net.ipv4.ip_local_port_range {limits[0]}-{limits[1]}, {case.path(node, SYSCTL.name)}): a connection of the node that draws it "
        f"gets answers that the node port's rule takes away, and hangs.{more}"
    )
    fix = f"Reserve the node ports (net.ipv4.ip_local_reserved_ports={port} or the whole range), or make the two ranges disjoint."
    yield finding(code="NODE_PORT_IN_LOCAL_RANGE", text=text, fix=fix, severity=Severity.WARNING)


def _reserved(text: str | None, port: int) -> bool:
    """Whether ``ip_local_reserved_ports`` (``8080,9148-9150``) holds *port*."""
    for part in (text or "").split(","):
        low, _, high = part.strip().partition("-")
        if low.isascii() and low.isdigit() and int(low) <= port <= int(high if high.isascii() and high.isdigit() else low):
            return True
    return False

"""The same questions put to every recording: asked by what things are (a pod of a workload, a Service's node port), answered in kinds.

Recordings differ in names, addresses and placement. So a question has a key (who asks, what, and where endpoints are in relation to it),
and an answer says what the client sees, which workload answers, whose address it sees as the source, and how many endpoints are in reach.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tracer.kube.pod import Pod
from tracer.kube.service import Service, ServicePort
from tracer.packet import Address, Protocol
from tracer.query import Destination, Query, Source, SourceKind
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster
from tracer.trace import Disposition, Listener, Outcome

CLIENT = {4: ipaddress.ip_address("203.0.113.10"), 6: ipaddress.ip_address("2001:db8:c::10")}
ASKING = ("client", "api")
MISDIALLED = ("default/api", "production/gateway-local", "default/ext")
UNDEFINED_PORT, UNUSED_NODE_PORT = 4444, 32766


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Key:
    """A question, by what it is. *here*: the Service has a ready endpoint where the packet enters; *own*: a node port of the own node."""

    source: str
    service: str
    way: str
    port: str
    protocol: str
    version: int
    here: bool
    own: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Answer:
    """What a client sees, as far as it does not depend on names and placement."""

    sees: str
    by: str = ""
    source: str = ""
    reach: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """One concrete question of a key."""

    key: Key
    query: Query


class Recording:
    """A recorded cluster and its questions."""

    def __init__(self, root: Path) -> None:
        files = {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}
        self.cluster = Cluster.from_snapshot(Snapshot.from_files(files))
        self.objects = self.cluster.objects

    def answers(self) -> dict[Key, frozenset[Answer]]:
        """Return every key's answers."""
        found: dict[Key, set[Answer]] = {}
        for question in self.questions():
            found.setdefault(question.key, set()).update(self.asked(question))
        return {key: frozenset(answers) for key, answers in found.items()}

    # -- questions

    def questions(self) -> Iterator[Question]:
        for name, source, node in self._sources():
            for service in self.objects.services:
                for port in service.ports:
                    yield from self._of_port(name, source, node, service, port)
            yield from self._of_nobody(name, source, node)

    def _sources(self) -> Iterator[tuple[str, Source, str | None]]:
        for version in (4, 6):
            yield "outside", Source(kind=SourceKind.EXTERNAL, ip=CLIENT[version]), None
        for node in self.objects.nodes:
            yield "node", Source(kind=SourceKind.NODE, name=node.name), node.name
        for pod in self.objects.pods:
            if workload(pod) in ASKING and pod.node_name and not pod.host_network:
                yield f"pod of {workload(pod)}", Source(kind=SourceKind.POD, namespace=pod.namespace, name=pod.name), pod.node_name

    def _of_port(self, name: str, source: Source, node: str | None, service: Service, port: ServicePort) -> Iterator[Question]:
        ways = [("cluster IP", a) for a in service.cluster_ips]
        ways += [("external IP", a) for a in service.external_ips]
        ways += [("load balancer", i.ip) for i in service.load_balancer_ingress if i.ip is not None]
        for way, address in ways:
            yield from self._one(name, source, service, port, way, address, port.port, node)
        first = next((a for way, a in ways if way == "cluster IP"), None)
        if first is not None and port is service.ports[0] and f"{service.namespace}/{service.name}" in MISDIALLED:
            yield from self._one(name, source, service, port, "undefined port", first, UNDEFINED_PORT, node)
        for target in self.objects.nodes if port.node_port else ():
            for address in target.internal_ips:
                own = target.name == node
                yield from self._one(name, source, service, port, "node port", address, port.node_port or 0, target.name, own=own)
        if port.node_port and source.kind is SourceKind.NODE:
            loopback = ipaddress.ip_address("127.0.0.1")
            yield from self._one(name, source, service, port, "node port on loopback", loopback, port.node_port, node, own=True)

    def _of_nobody(self, name: str, source: Source, node: str | None) -> Iterator[Question]:
        key = Key(source=name, service="", way="unallocated cluster IP", port="", protocol="tcp", version=4, here=False)
        yield from _asked_by(source, key, ipaddress.ip_address("10.96.255.254"), 80, Protocol.TCP)
        for target in self.objects.nodes:
            address = next(a for a in target.internal_ips if a.version == 4)
            key = Key(
                source=name, service="", way="unused node port", port="", protocol="tcp", version=4, here=False, own=target.name == node
            )
            yield from _asked_by(source, key, address, UNUSED_NODE_PORT, Protocol.TCP)

    def _one(
        self,
        name: str,
        source: Source,
        service: Service,
        port: ServicePort,
        way: str,
        address: Address,
        number: int,
        entry: str | None,
        *,
        own: bool = False,
    ) -> Iterator[Question]:
        here = entry is not None and any(node == entry for _, node in self._ready(service))
        key = Key(
            source=name,
            service=f"{service.namespace}/{service.name}",
            way=way,
            port=port.name,
            protocol=port.protocol.value,
            version=address.version,
            here=here,
            own=own,
        )
        yield from _asked_by(source, key, address, number, port.protocol)

    # -- answers

    def asked(self, question: Question) -> set[Answer]:
        """Return the answers to one question."""
        outcomes = trace(self.cluster, question.query).outcomes
        ends = {o.destination.ip for o in outcomes if o.destination and o.disposition is Disposition.DELIVERED}
        return {self._kind(question, o, ends) for o in outcomes}

    def _kind(self, question: Question, outcome: Outcome, ends: set[Address]) -> Answer:
        if outcome.disposition is not Disposition.DELIVERED:
            return Answer(sees=_SEES[outcome.disposition])
        if outcome.reason and outcome.reason.code == "PROXY_HOLDS_PORT":
            return Answer(sees="silence")
        if outcome.listener is Listener.ABSENT:
            return Answer(sees="refused")
        if outcome.reply and outcome.reply.disposition is not Disposition.DELIVERED:
            return Answer(sees="timeout")
        place = outcome.destination
        if place is None or (place.kind == "node" and place.namespace is None):
            return Answer(sees="a port of the node's own")
        by = place.kind
        if place.kind in ("pod", "node") and (pod := self.objects.pod(place.namespace or "", place.name or "")):
            by = workload(pod)
        return Answer(sees="connected", by=by, source=self._seen(question, outcome), reach=self._reach(question, outcome, ends))

    def _seen(self, question: Question, outcome: Outcome) -> str:
        """Whose address the far end sees."""
        if outcome.source_seen is None:
            return ""
        seen = outcome.source_seen[0]
        if seen == question.query.destination.address and not self.objects.node_with_ip(seen):
            return "the dialled address"
        if question.query.source.kind is not SourceKind.NODE and seen == outcome.hops[0].packet_in.source:
            return "the client"
        held = any(self.cluster.stack(n.name).routing.device_of(seen) for n in self.objects.nodes)
        return "a node" if held else "somebody else"

    def _reach(self, question: Question, outcome: Outcome, ends: set[Address]) -> str:
        """How many of the Service's ready endpoints a new connection may end at."""
        namespace, _, name = question.key.service.partition("/")
        service = self.objects.service(namespace, name)
        version = outcome.destination.ip.version if outcome.destination else 4
        ready = {a for a, _ in self._ready(service) if a.version == version} if service else set()
        return "all" if ready <= ends else "some"

    def _ready(self, service: Service) -> Iterator[tuple[Address, str | None]]:
        for slice_ in self.objects.slices_of(service.namespace, service.name):
            for endpoint in slice_.endpoints:
                if endpoint.ready and not endpoint.terminating:
                    yield from ((a, endpoint.node_name) for a in endpoint.addresses)


_SEES = {
    Disposition.REJECTED: "refused",
    Disposition.DROPPED: "timeout",
    Disposition.LOOP: "timeout",
    Disposition.LOST: "nobody there",
    Disposition.UNREACHABLE: "no route",
    Disposition.CLOSED: "closed",
    Disposition.UNKNOWN: "unknown",
    Disposition.UNRESOLVED: "unknown",
}


def workload(pod: Pod) -> str:
    """Return the name of what made *pod*: its label ``app``, or its name without the made-up parts."""
    return pod.labels.get("app") or pod.name.rsplit("-", 2)[0]


def _asked_by(source: Source, key: Key, address: Address, number: int, protocol: Protocol) -> Iterator[Question]:
    """Yield the question, unless the client outside is of another family."""
    if source.ip is None or source.ip.version == address.version:
        to = Destination(host=str(address), port=number)
        yield Question(key, Query(source=source, destination=to, protocol=protocol))

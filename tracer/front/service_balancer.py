"""The load balancer of a Service: a model of its status, DNAT to the node port of a healthy node, the client's address kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from functools import partial

from tracer.assumptions import FRONT, KEPT, KINDS, NODE_PORT, POD
from tracer.forks import Fork
from tracer.front.marks import mark_of
from tracer.front.probes import Probe, probes_of
from tracer.frozen import changed
from tracer.kube.endpoints import listed_on, ready_endpoints, ready_of, stays
from tracer.kube.node import Node
from tracer.kube.objects import Objects
from tracer.kube.service import AddressOf, Service, ServicePort, TrafficPolicy
from tracer.packet import Address, Packet
from tracer.stack_protocols import Balancer, Check, Choice, End, Handing, Health, Passing, TableId, TableKind
from tracer.trace import Disposition, Reason, Unknown
from tracer.values import dataclass


@dataclass(frozen=True, slots=True)
class ServiceBalancer:
    """What balances for *service*, as far as *objects* tell."""

    objects: Objects
    service: Service
    how: Callable[[str | None], Handing] | None = None

    def handing_over(self, how: Callable[[str | None], Handing]) -> ServiceBalancer:
        """Return the balancer that asks *how* it hands over, once it has to."""
        return changed(self, how=how)

    def _handing(self) -> Handing:
        mark = mark_of(self.service)
        way = None if mark is None else mark.way
        return Handing(way=way or NODE_PORT) if self.how is None else self.how(way)

    @property
    def name(self) -> str:
        """Return the Service's namespace and name."""
        return f"{self.service.namespace}/{self.service.name}"

    @property
    def is_announced(self) -> bool:
        """Return whether a mark of its provider says that nodes announce its address."""
        mark = mark_of(self.service)
        return mark is not None and mark.is_announced

    @property
    def note(self) -> str:
        """Return what is modelled of it."""
        mark = mark_of(self.service)
        told = f"; {mark.what} says that it hands over {KINDS[FRONT].settings[mark.way]}" if mark is not None else ""
        return f"modelled from the Service's status: passes the client's address on, picks any that is healthy with equal odds{told}"

    def choices(self, walk: Passing) -> Iterator[Choice | End | Unknown]:
        """Yield a choice for each healthy node, or why there is none."""
        packet, name = walk.packet, self.name
        if not packet.protocol.has_ports:
            yield from self._echoed(packet)
            return
        port = self.service.port(packet.destination_port or 0, packet.protocol)
        if port is None:
            text = f"The load balancer of {name} has no listener for {packet.protocol.value} port {packet.destination_port}"
            yield End(disposition=Disposition.LOST, reason=Reason(code="LB_NO_LISTENER", text=text))
            return
        handing = self._handing()
        if handing.way == POD:
            yield from self._to_pods(packet, port)
        elif port.node_port is None and handing.way == NODE_PORT:
            text = f"{name} has no node port for port {port.port}: how its load balancer reaches the pods is up to its controller"
            yield Unknown(code="LB_NOT_MODELLED", text=text, at={"service": name})
        elif handing.entry is None and (unknown := self._health_not_known()):
            yield unknown
        else:
            yield from self._to_healthy(packet, port, handing)

    def _echoed(self, packet: Packet) -> Iterator[Choice | End | Unknown]:
        """An echo request: a machine in front does as it likes; where nodes announce the address, one of them gets it as it is."""
        text = f"whether the load balancer of {self.name} answers echo requests, or passes them on, is up to its provider"
        if self.is_announced and not ready_endpoints(self.objects.slices_of(self.service.namespace, self.service.name)):
            text = f"whether a node announces the address of {self.name}, which has no ready endpoint"
        elif self.is_announced:
            handing = self._handing()
            unknown = self._health_not_known() if handing.entry is None else None
            yield from self._to_healthy(packet, None, handing) if unknown is None else [unknown]
            return
        yield Unknown(code="LB_NOT_MODELLED", text=text, at={"service": self.name})

    def _health_not_known(self) -> Unknown | None:
        if self.objects.nodes and (self.service.external_traffic_policy is not TrafficPolicy.LOCAL or self.objects.slices):
            return None
        file = "endpointslices.json" if self.objects.nodes else "nodes.json"
        text = f"which nodes the load balancer of {self.name} finds healthy: {file} is not in the snapshot"
        return Unknown(code="DATA_MISSING", text=text, at={"file": file})

    def _to_healthy(self, packet: Packet, port: ServicePort | None, handing: Handing) -> Iterator[Choice | End]:
        """Pass *packet* on to a healthy node; *port* is None of an echo request, which goes on as it is."""
        nodes = self.healthy_nodes() if handing.entry is None else [n for n in self.objects.nodes if n.name == handing.entry]
        healthy = [(n.name, a) for n in nodes if (a := _internal_ip(n, packet.destination.version)) is not None]
        probes = probes_of(self.service, self.objects.nodes, port) if handing.entry is None and port is not None else ()
        found = {at: _checked(handing, at, probes) for at in healthy} if probes else {}
        lost = tuple(health.why for health in found.values() if health.gets_through is False)
        picked = partial(self._picked, packet, port, handing, {at: health.why for at, health in found.items() if health.gets_through})
        sure = [at for at in healthy if at not in found or found[at].gets_through]
        doubted = [at for at in healthy if at in found and found[at].gets_through is None]
        if not doubted:
            yield from picked(sure, lost)
            return
        unsure = tuple(found[at].why for at in doubted)
        asked = f"whether the health check of the load balancer of {self.name} gets through to {', '.join(node for node, _ in doubted)}"
        unknown = Unknown(code="LB_CHECK_NOT_KNOWN", text=f"{asked}: {unsure[0]}", at={"service": self.name})
        ways = ([at for at in healthy if at in sure or at in doubted], lost), (sure, (*lost, *unsure))
        for number, (nodes_then, without) in enumerate(ways):
            condition = asked.removeprefix("whether ").replace(" gets through", " gets through" if number == 0 else " does not get through")
            fork = Fork(question=asked, branch=number, condition=condition, unknowns=(unknown,))
            for way in picked(nodes_then, without):
                yield changed(way, share=way.share / 2, fork=fork)

    def _picked(
        self,
        packet: Packet,
        port: ServicePort | None,
        handing: Handing,
        said: Mapping[tuple[str, Address], str],
        nodes: list[tuple[str, Address]],
        lost: tuple[str, ...],
    ) -> Iterator[Choice | End]:
        """One of *nodes*; *said* is what there is to say of their health checks, *lost* why others' fail."""
        if not nodes:
            why = f": its health check fails, as {lost[0]}" if lost else ""
            text = f"The load balancer of {self.name} has no healthy node to send to{why}"
            yield End(disposition=Disposition.DROPPED, reason=Reason(code="LB_NO_HEALTHY_NODE", text=text))
        for node, address in nodes:
            passed = packet
            if port is not None and handing.way != KEPT:
                passed = changed(packet, destination=address, destination_port=port.node_port)
            notes = (*(f"left out by its health check: {why}" for why in lost), said.get((node, address), ""))
            yield Choice(node=node, packet=passed, share=Fraction(1, len(nodes)), notes=tuple(filter(None, notes)))

    def _to_pods(self, packet: Packet, port: ServicePort) -> Iterator[Choice | End | Unknown]:
        """To a ready endpoint that runs on a node, as a balancer with pods as its targets does; no policy of the Service counts there."""
        slices = self.objects.slices_of(self.service.namespace, self.service.name)
        if not slices and not self.objects.slices:
            text = f"which pods the load balancer of {self.name} hands over to: endpointslices.json is not in the snapshot"
            yield Unknown(code="DATA_MISSING", text=text, at={"file": "endpointslices.json"})
            return
        ready = ready_of(e for e in listed_on(slices, port, version=packet.destination.version) if e.endpoint.node_name)
        targets = {e.target: e.endpoint.node_name for e in ready}
        if not targets:
            text = f"The load balancer of {self.name} has no ready pod to send to"
            yield End(disposition=Disposition.DROPPED, reason=Reason(code="LB_NO_HEALTHY_NODE", text=text))
        for (address, number), node in targets.items():
            passed = changed(packet, destination=address, destination_port=number)
            yield Choice(node=str(node), packet=passed, share=Fraction(1, len(targets)))

    def healthy_nodes(self) -> list[Node]:
        """Return the nodes that a health check finds good: with policy Local those with a ready endpoint, else all.

        Nodes labelled ``node.kubernetes.io/exclude-from-external-load-balancers`` are never among them.
        """
        nodes = [n for n in self.objects.nodes if not n.exclude_from_external_load_balancers]
        if self.service.external_traffic_policy is not TrafficPolicy.LOCAL:
            return nodes
        slices = self.objects.slices_of(self.service.namespace, self.service.name)
        local = {e.node_name for e in ready_endpoints(slices) if stays(e)}
        return [n for n in nodes if n.name in local]

    def back(self, walk: Passing) -> Packet | None:
        """Return the answer from the address that the client dialled, None when it is of no connection that passed here."""
        found = walk.entry(TableId(TableKind.BALANCER, self.name), walk.packet)
        if found is None:
            return None
        asked = found[0].original
        port = asked.destination_port if isinstance(asked.destination_port, int) else None
        return changed(walk.packet, source=asked.destination, source_port=port, mark=0)


def balancer_at(objects: Objects, address: Address) -> Balancer | None:
    """Return the load balancer that has *address* in the status of its Service."""
    found = (s for s, kind in objects.services_with_address(address) if kind is AddressOf.LOAD_BALANCER)
    service = next(found, None)
    return None if service is None else ServiceBalancer(objects, service)


def _internal_ip(node: Node, version: int) -> Address | None:
    return next((a for a in node.internal_ips if a.version == version), None)


def _checked(handing: Handing, at: tuple[str, Address], probes: tuple[Probe, ...]) -> Health:
    """What the health checks of one node come to: *probes*, of which it may be that nobody knows whether they are sent."""
    if handing.check is None:
        return Health(gets_through=True)
    found = [(probe, handing.check(_check(at, probe))) for probe in probes]
    failed = next((health for probe, health in found if health.gets_through is False and probe.is_sure), None)
    if failed is not None:
        return failed
    doubted = next(((probe, health) for probe, health in found if not health.gets_through), None)
    if doubted is None:
        return Health(gets_through=True, why=next((health.why for _, health in found if health.why), ""))
    probe, health = doubted
    why = health.why if probe.is_sure else f"whether it checks nodes at port {probe.port} is not known, and {health.why}"
    return Health(gets_through=None, why=why)


def _check(at: tuple[str, Address], probe: Probe) -> Check:
    return Check(node=at[0], address=at[1], port=probe.port, sources=probe.sources, is_of_service=probe.is_of_service)

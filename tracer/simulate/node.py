"""A packet inside one node's stack: sent by a process, received from a device, delivered or forwarded.

Source: ip_rcv_finish, ip_route_input_slow, ip_forward, ip_output, ip_route_me_harder, br_netfilter_hooks.c, Linux 6.18; modes.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracer.frozen import changed
from tracer.netfilter.model import Hook
from tracer.packet import Address, Packet
from tracer.routing import ResultKind, RouteResult, SourceCheck, shown_device
from tracer.simulate.crossing import Crossing
from tracer.simulate.frontends import without_rules
from tracer.simulate.hooks import HookRunner, Passed
from tracer.simulate.proxy import into_proxy
from tracer.simulate.walk import Ending, Walk
from tracer.topology.data_path import data_path, unrecorded_rules
from tracer.topology.proxy_ports import ProxyPort, proxy_port
from tracer.topology.stack import NodeStack
from tracer.trace import Disposition, Listener, Place, Reason, Unknown

if TYPE_CHECKING:
    from tracer.simulate.fabric import Fabric


@dataclass(frozen=True, slots=True)
class _StackAddresses:
    """The addresses that NAT takes from the stack a packet is crossing."""

    crossing: Crossing

    def masquerade(self, packet: Packet) -> Address | None:
        crossing = self.crossing
        if crossing.route is None or crossing.route.device is None:
            return None
        return crossing.stack.routing.masquerade_address(crossing.route.device, crossing.route, packet.destination)

    def redirect(self, packet: Packet) -> Address | None:
        crossing = self.crossing
        return crossing.stack.redirect_address(crossing.in_device, packet.destination.version) if crossing.in_device else None


class NodeWalk:
    """Walks packets through node stacks; *fabric* carries them from one stack to the next."""

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric
        self._cluster = fabric.cluster
        self._hooks = HookRunner(_StackAddresses, _reroute, fabric.budget)

    # -- sending ------------------------------------------------------------------------------------------------------------------

    def send(self, walk: Walk, stack: NodeStack, *, source: Address | None) -> Iterator[Ending]:
        """Send a packet that a process of *stack* made; without *source* the kernel picks the address."""
        if path := data_path(self._cluster, stack):
            yield from without_rules(self._cluster, walk, path, Hook.OUTPUT.value)
            return
        if gap := self._gap(stack, walk):
            yield walk.unknown(gap)
            return
        walk, packet = _inferred_note(walk, stack), walk.packet
        results = stack.routing.lookup(
            packet.destination,
            source=source,
            mark=packet.mark,
            protocol=packet.protocol.number,
            source_port=packet.source_port,
            destination_port=packet.destination_port,
        )
        for result in results:
            yield from self._send_by(_shared(walk, result, len(results)), stack, result, source)

    def _send_by(self, walk: Walk, stack: NodeStack, result: RouteResult, source: Address | None) -> Iterator[Ending]:
        if ended := _no_way(walk, result, stack):
            yield ended
            return
        picked = source or stack.routing.source_address(result, walk.packet.destination)
        if picked is None:
            text = f"which source address node {stack.name} picks: its addresses are not in the snapshot (ip-addr.json)"
            yield walk.unknown(Unknown(code="DATA_MISSING", text=text, at={"node": stack.name, "file": "ip-addr.json"}))
            return
        packet = changed(walk.packet, source=picked)
        visit = changed(walk.visit, packet_in=packet)
        walk = _route_note(changed(walk, packet=packet, visit=visit), result, stack)
        crossing = Crossing(stack=stack, out_device=result.device, local_process=True, header=walk.header)
        for passed in self._hooks.run(walk, crossing, Hook.OUTPUT):
            if isinstance(passed, Ending):
                yield passed
            else:
                yield from self._leave(*passed, passed[1].route or result)

    # -- receiving ----------------------------------------------------------------------------------------------------------------

    def receive(self, walk: Walk, stack: NodeStack, device: str | None, *, phys_in: str | None = None) -> Iterator[Ending]:
        """Receive a packet by *device* (*phys_in*: the bridge port it came through)."""
        if path := data_path(self._cluster, stack):
            yield from without_rules(self._cluster, walk, path, Hook.PREROUTING.value)
            return
        if gap := self._gap(stack, walk):
            yield walk.unknown(gap)
            return
        state = (stack.name, device, walk.packet, walk.answering)
        if state in walk.seen:
            text = f"The packet comes to node {stack.name} again just as it was: it goes in circles until its TTL is used up"
            yield walk.end(Disposition.LOOP, Reason(code="TTL_LOOP", text=text))
            return
        walk = _inferred_note(changed(walk, seen=walk.seen | {state}), stack)
        crossing = Crossing(stack=stack, in_device=device, phys_in=phys_in, header=walk.header)
        for passed in self._hooks.run(walk, crossing, Hook.PREROUTING):
            if isinstance(passed, Ending):
                yield passed
            else:
                yield from self._route_in(*passed)

    def _route_in(self, walk: Walk, crossing: Crossing) -> Iterator[Ending]:
        packet, stack = walk.packet, crossing.stack
        results = stack.routing.lookup(
            packet.destination,
            source=packet.source,
            mark=packet.mark,
            iif=crossing.in_device,
            protocol=packet.protocol.number,
            source_port=packet.source_port,
            destination_port=packet.destination_port,
        )
        for result in results:
            branch = _shared(walk, result, len(results))
            if ended := self._refused(branch, crossing) or _no_way(branch, result, stack):
                yield ended
            elif result.kind is ResultKind.LOCAL:
                yield from self._deliver(branch, crossing)
            elif crossing.phys_in is not None and result.device == crossing.in_device:
                yield from self._bridge(branch, crossing, result)
            else:
                yield from self._forward(branch, crossing, result)

    def _refused(self, walk: Walk, crossing: Crossing) -> Ending | None:
        """The kernel's look at the addresses of a packet that came by a device. Source: ip_route_input_slow, fib_validate_source."""
        if crossing.in_device is None:
            return None
        packet = walk.packet
        verdict = crossing.stack.routing.validate_source(
            packet.source,
            crossing.in_device,
            packet.destination,
            mark=packet.mark,
            protocol=packet.protocol,
            source_port=packet.source_port,
            destination_port=packet.destination_port,
        )
        codes = {
            SourceCheck.MARTIAN_SOURCE: "MARTIAN_SOURCE",
            SourceCheck.MARTIAN_DESTINATION: "MARTIAN_DESTINATION",
            SourceCheck.RP_FILTER: "RP_FILTER",
        }
        if verdict.check in codes:
            text = f"Node {crossing.stack.name} drops the packet when it comes in by {shown_device(crossing.in_device)}: {verdict.reason}"
            return walk.end(Disposition.DROPPED, Reason(code=codes[verdict.check], text=text))
        if verdict.check is SourceCheck.UNKNOWN:
            return walk.unknown(crossing.stack.unknown_way(walk.packet.source, verdict.reason))
        return None

    def _deliver(self, walk: Walk, crossing: Crossing) -> Iterator[Ending]:
        for passed in self._hooks.run(walk, crossing, Hook.INPUT):
            if isinstance(passed, Ending):
                yield passed
            elif passed[1].route is not None:  # IPVS took it: its real server is elsewhere
                yield from self._leave(*passed, passed[1].route)
            elif port := self._proxy_port(*passed):
                yield from into_proxy(self._fabric, *passed, port)
            else:
                yield self._to_process(*passed)

    def _proxy_port(self, walk: Walk, crossing: Crossing) -> ProxyPort | None:
        """The port of kube-proxy's own process that a new connection reached, None when it is somebody else's."""
        if walk.answering or walk.midstream:
            return None
        return proxy_port(self._cluster, crossing.stack, walk.packet)

    def _to_process(self, walk: Walk, crossing: Crossing) -> Ending:
        """The packet reached a socket of the node, or of a pod that shares the node's stack."""
        packet, name = walk.packet, crossing.stack.name
        port = packet.destination_port
        pods = [p for p in self._cluster.host_network_pods(name) if port is not None and p.declares(port, packet.protocol)]
        listening = crossing.stack.listens(packet)
        listener = Listener.DECLARED if pods or listening else Listener.UNKNOWN if listening is None else Listener.UNDECLARED
        pod = pods[0] if len(pods) == 1 else None
        place = Place(
            kind="node",
            namespace=pod.namespace if pod else None,
            name=pod.name if pod else name,
            node=name,
            ip=packet.destination,
            port=port,
        )
        who = f"pod {pod.namespace}/{pod.name}, which shares the stack of node {name}" if pod else f"a process of node {name}"
        reason = Reason(code="DELIVERED", text=f"Handed to {who}, at {packet.destination} port {port}")
        return walk.end(Disposition.DELIVERED, reason, destination=place, listener=listener)

    def _forward(self, walk: Walk, crossing: Crossing, result: RouteResult) -> Iterator[Ending]:
        stack = crossing.stack
        if stack.routing.forwarding(walk.packet.destination.version, crossing.in_device) is False:
            text = f"Node {stack.name} does not forward packets: forwarding is switched off"
            yield walk.end(Disposition.DROPPED, Reason(code="FORWARDING_OFF", text=text))
            return
        if crossing.header.get("ttl", 64) <= 1:
            text = f"Node {stack.name} does not forward the packet: its time to live ends here, and the sender is told (ICMP time exceeded)"
            yield walk.end(Disposition.DROPPED, Reason(code="TTL_EXCEEDED", text=text))
            return
        crossing = changed(crossing, out_device=result.device, header=_aged(crossing))
        walk = _route_note(walk, result, stack)
        for passed in self._hooks.run(walk, crossing, Hook.FORWARD):
            if isinstance(passed, Ending):
                yield passed
            else:
                yield from self._leave(*passed, result)

    def _bridge(self, walk: Walk, crossing: Crossing, result: RouteResult) -> Iterator[Ending]:
        """To a pod of the same bridge, with bridge-nf-call on: bridged, not routed. Source: br_nf_pre_routing_finish."""
        target = self._cluster.pod_with_ip(walk.packet.destination, crossing.stack.name)
        sender = self._cluster.pod_with_ip(walk.packet.source, crossing.stack.name)
        if target is not None and sender is not None and target.key == sender.key:
            hairpin = self._hairpin(crossing)
            if hairpin is None:
                text = f"whether the bridge {crossing.in_device} sends a packet back out of the port it came in by (ip-link.json, ip -d)"
                yield walk.unknown(Unknown(code="DATA_MISSING", text=text, at={"node": crossing.stack.name, "file": "ip-link.json"}))
                return
            if not hairpin:
                text = f"Bridge {crossing.in_device} does not send a packet back out of the port it came in by: hairpin mode is off"
                yield walk.end(Disposition.DROPPED, Reason(code="HAIRPIN_OFF", text=text))
                return
        if target is None and walk.packet.destination != walk.visit.packet_in.destination:
            looked = f"Node {crossing.stack.name} looks on bridge {result.device} for {walk.packet.destination}"
            text = f"{looked}, which nobody in the snapshot owns"
            yield walk.end(Disposition.LOST, Reason(code="LEAVES_CLUSTER", text=text), went_out=result.device)
            return
        crossing = changed(crossing, out_device=result.device, phys_out="?", bridged=True)
        for passed in self._hooks.run(walk.note(f"bridged by {result.device}, not routed"), crossing, Hook.FORWARD):
            if isinstance(passed, Ending):
                yield passed
            else:
                yield from self._leave(*passed, result)

    def _hairpin(self, crossing: Crossing) -> bool | None:
        """Whether the ports of the bridge reflect: known when all of them agree."""
        routing = crossing.stack.routing
        modes = {routing.port_hairpin(p.name) for p in routing.bridge_ports(crossing.in_device or "")}
        return modes.pop() if len(modes) == 1 else None

    # -- leaving ------------------------------------------------------------------------------------------------------------------

    def _leave(self, walk: Walk, crossing: Crossing, result: RouteResult) -> Iterator[Ending]:
        crossing = changed(crossing, out_device=result.device, route=result)
        for passed in self._hooks.run(walk, crossing, Hook.POSTROUTING):
            if isinstance(passed, Ending):
                yield passed
                continue
            walk, after = passed
            if result.kind is ResultKind.LOCAL or result.device == "lo":
                yield from self._loop_back(walk, after)
            else:
                yield from self._fabric.carry(changed(walk, header=after.header), after, result)

    def _loop_back(self, walk: Walk, crossing: Crossing) -> Iterator[Ending]:
        """Over lo a packet keeps its conntrack entry: nat PREROUTING is not asked again (its side is settled)."""
        inward = changed(crossing, in_device="lo", out_device=None, local_process=False, route=None)
        before = walk.packet
        for passed in self._hooks.run(walk, inward, Hook.PREROUTING):
            if isinstance(passed, Ending):
                yield passed
            else:
                yield from self._looped(*passed, before=before)

    def _looped(self, walk: Walk, crossing: Crossing, *, before: Packet) -> Iterator[Ending]:
        if walk.packet.destination == before.destination:
            yield from self._deliver(walk, crossing)
        else:
            yield from self._route_in(walk, crossing)

    def _gap(self, stack: NodeStack, walk: Walk) -> Unknown | None:
        return stack.gap(walk.packet.family) or unrecorded_rules(self._cluster, stack)


def _reroute(walk: Walk, crossing: Crossing) -> Iterator[Passed | Ending]:
    """Find the way out again. NB: the rules behind still see the device that was chosen first."""
    packet = walk.packet
    results = crossing.stack.routing.lookup(packet.destination, source=packet.source, mark=packet.mark)
    for again in results:
        branch = _shared(walk, again, len(results))
        yield _no_way(branch, again, crossing.stack) or (_route_note(branch, again, crossing.stack), changed(crossing, route=again))


def _aged(crossing: Crossing) -> dict[str, int]:
    header = dict(crossing.header)
    if "ttl" in header:
        header["ttl"] -= 1
    return header


def _shared(walk: Walk, result: RouteResult, ways: int) -> Walk:
    if ways == 1:
        return walk
    text = f"one of {ways} next hops of a multipath route: {result.next_hop} by {result.device}"
    return changed(walk, probability=walk.probability * result.share).note(text)


def _inferred_note(walk: Walk, stack: NodeStack) -> Walk:
    """Say what stood in for the files that would tell the node's routes, once a visit."""
    return walk.note(stack.routing.inferred_from) if stack.routing.inferred_from else walk


def _route_note(walk: Walk, result: RouteResult, stack: NodeStack) -> Walk:
    if result.route is None:
        return walk
    assumptions = (stack.assumed_rules(walk.packet.destination.version), stack.assumed_legacy(walk.packet.family))
    for assumed in filter(None, assumptions):
        walk = walk.note(assumed)
    inferred = " (inferred from the node's addresses: its routes are not in the snapshot)" if result.inferred else ""
    if stack.routing.inferred_from:
        inferred = " (inferred)"
    return walk.note(f"route: {result.route.to_text()}{inferred}")


def _no_way(walk: Walk, result: RouteResult, stack: NodeStack) -> Ending | None:
    """The end of a packet that routing refuses, None when it may go on."""
    destination, name = walk.packet.destination, stack.name
    match result.kind:
        case ResultKind.LOCAL | ResultKind.UNICAST:
            return None
        case ResultKind.NONE:
            return walk.end(Disposition.UNREACHABLE, Reason(code="NO_ROUTE", text=f"Node {name} has no route to {destination}"))
        case ResultKind.UNREACHABLE:
            return walk.end(
                Disposition.UNREACHABLE, Reason(code="NO_ROUTE", text=f"Node {name} has an unreachable route for {destination}")
            )
        case ResultKind.PROHIBIT:
            text = f"Node {name} has a prohibit route for {destination}"
            return walk.end(Disposition.UNREACHABLE, Reason(code="ROUTE_PROHIBITED", text=text))
        case ResultKind.BLACKHOLE:
            text = f"Node {name} has a blackhole route for {destination}: the packet vanishes"
            return walk.end(Disposition.DROPPED, Reason(code="ROUTE_BLACKHOLE", text=text))
        case ResultKind.INVALID:
            text = f"The kernel of node {name} refuses to send from {walk.packet.source} to {destination}: {result.invalid_reason}"
            return walk.end(Disposition.UNREACHABLE, Reason(code="MARTIAN_SOURCE", text=text))
        case ResultKind.UNKNOWN:
            return walk.unknown(stack.unknown_way(destination, result.unknown_reason))
        case _:
            text = f"{destination} is a {result.kind.value} address to node {name}, which is not modelled"
            return walk.unknown(Unknown(code="UNMODELLED_MATCH", text=text, at={"node": name}))

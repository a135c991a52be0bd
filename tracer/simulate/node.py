"""A packet inside one node's stack: sent by a process, received from a device, delivered or forwarded.

It yields ends and departures, and asks what is around it only by ``Surroundings``: a node is walked without a cluster of others.

Source: ip_rcv_finish, ip_route_input_slow, ip_forward, ip_output, ip_route_me_harder, br_netfilter_hooks.c, Linux 6.18; modes.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from functools import partial
from typing import ClassVar, Protocol

from tracer.frontends.kinds import Replay
from tracer.frozen import changed
from tracer.kube.pod import Pod
from tracer.limits import Budget
from tracer.netfilter.leaf import Leaf
from tracer.netfilter.model import Hook
from tracer.packet import Address, Family, Packet, at_text, unsaid
from tracer.refusals import EXPIRED, REFUSALS, TOO_LARGE, no_listener
from tracer.routing import ResultKind, RouteResult, SourceCheck, SourceVerdict, Supposition, is_unnamed, shown_device
from tracer.simulate import echo
from tracer.simulate.asked import Notes, is_stand_in
from tracer.simulate.assuming import Assuming
from tracer.simulate.classes import Grouping, Plain
from tracer.simulate.crossing import Crossing, Passed, relayed
from tracer.simulate.departure import Accepted, Departure, LeftForNode, Routed, SentByNode, Way
from tracer.simulate.frontends import without_rules
from tracer.simulate.hooks import HookRunner, Known
from tracer.simulate.kept_crossings import KeptCrossings
from tracer.simulate.kept_ways import KeptWays
from tracer.simulate.links import passed_over_text, shut_with_address, stopped
from tracer.simulate.pod import handed
from tracer.simulate.policy_queue import Judged
from tracer.simulate.supposed import shared, supposed
from tracer.simulate.taken import programming, shown_by
from tracer.simulate.ties import Ties
from tracer.simulate.walk import Ending, Visit, Walk
from tracer.snapshot.node_files import IP_ADDR, IP_LINK
from tracer.stack_protocols import Passing, Process, StackId
from tracer.topology.data_path import DataPath
from tracer.topology.stack import NodeStack
from tracer.trace import Disposition, Listener, Place, Reason, StackKind, Unknown
from tracer.values import dataclass


@dataclass(frozen=True, slots=True)
class _StackAddresses:
    """The addresses that NAT takes from the stack a packet is crossing."""

    crossing: Crossing

    def masquerade(self, packet: Packet) -> Address | None:
        crossing = self.crossing
        if crossing.route is None or crossing.route.device is None:
            return None
        known = crossing.stack.routing.masquerade_address(crossing.route.device, crossing.route, packet.destination)
        return known or crossing.stack.some_address(packet.destination.version, crossing.route.device)

    def redirect(self, packet: Packet) -> Address | None:
        crossing, version = self.crossing, packet.destination.version
        known = crossing.stack.redirect_address(crossing.in_device, version) if crossing.in_device else None
        return known or crossing.stack.some_address(version, None)


class Surroundings(Protocol):
    """What a node's stack asks of what is around it."""

    def data_path(self, stack: NodeStack) -> DataPath:
        """Return the data path of a node."""

    def gap(self, stack: NodeStack, family: Family) -> Unknown | None:
        """Return what keeps the rules of *stack* from being replayed for *family*, None when nothing does."""

    def unlisted(self, stack: NodeStack, packet: Packet) -> Unknown | None:
        """Return what keeps the modelled rules of *stack* from telling what becomes of a first *packet*."""

    def queued(self, walk: Walk, crossing: Crossing, leaf: Leaf) -> Judged | None:
        """Return what the program does that a rule hands the packet to, None where it is none that is known."""

    def process_at(self, host: StackId, walk: Passing) -> Process | None:
        """Return the process that accepts what reached a socket of *host*, to make a connection of its own; None for any other."""

    def pods_sharing(self, node: str) -> tuple[Pod, ...]:
        """Return the pods that use the stack of *node*."""

    def pod_with_ip(self, address: Address, node: str | None = None) -> Pod | None:
        """Return the pod that owns *address*; of several, the one on *node*."""

    def is_inside(self, address: Address) -> bool:
        """Return whether a pod or a node of the cluster has *address*."""


@dataclass(frozen=True, slots=True)
class NodeHost:
    """A node's stack, as its processes' own connections see it."""

    stack: NodeStack

    def visit(self, packet: Packet) -> Visit:
        """Return the visit of the node that begins with *packet*."""
        name = self.stack.name
        return Visit(kind=StackKind.NODE, name=name, node=name, came_in=None, packet_in=packet)

    def source_towards(self, destination: Address) -> Address | None:
        """Return the address that the node sends from, by the first of its routes."""
        results = self.stack.routing.lookup(destination)
        return self.stack.routing.source_address(results[0], destination) if results else None

    def sent(self, walk: Walk, after: Callable[[Ending], Iterator[Way]]) -> Departure:
        """Return the departure of *walk*; the kernel picks its source address again, by the route that is taken."""
        return SentByNode(walk=walk, node=self.stack.name, after=after)


class NodeWalk:
    """Walks packets through node stacks, within *budget*; *around* says what they do not hold themselves, *assuming* what is assumed.

    *known* is what was found in their hooks before, *grouping* sees where ways part, *notes* what chains are asked.
    """

    def __init__(
        self,
        around: Surroundings,
        budget: Budget,
        assuming: Assuming | None = None,
        known: Known | None = None,
        grouping: Grouping | None = None,
        notes: Notes | None = None,
    ) -> None:
        self._around = around
        self._assuming = assuming or Assuming()
        self._hooks = HookRunner(
            _StackAddresses,
            _reroute,
            budget,
            queued=around.queued,
            ties=Ties(self._assuming),
            known=known or Known(),
            grouping=grouping or Plain(),
            notes=notes,
        )
        self._kept = KeptCrossings(self._hooks)
        self._ways = grouping if isinstance(grouping, KeptWays) else None
        if self._ways is not None:
            self._ways.bind(self._hooks)

    def _entered(self, walk: Walk, stack: NodeStack, hook: Hook, by_rules: Callable[[Walk], Iterator[Way]]) -> Iterator[Way]:
        """The ways of a packet that comes to *hook*, the first of a node, as far as the node's data path is replayed."""
        path = self._around.data_path(stack)
        if path.decides is not None and (walk.answering or walk.midstream or not path.decides(walk.packet)):
            return self._ruled(walk, stack, path, hook, by_rules)
        return self._REPLAYED[path.kind.replay](self, walk, stack, path, hook, by_rules)

    def _ruled(self, walk: Walk, stack: NodeStack, path: DataPath, hook: Hook, by_rules: Callable[[Walk], Iterator[Way]]) -> Iterator[Way]:
        if gap := self._around.gap(stack, walk.packet.family):
            return iter([walk.unknown(gap)])
        is_first = not (walk.answering or walk.midstream)
        if is_first and (unlisted := self._around.unlisted(stack, walk.packet)) is not None:
            return iter([walk.unknown(unlisted)])
        return by_rules(_inferred_note(programming(walk, self._assuming, stack), stack))

    def _drawn(self, walk: Walk, stack: NodeStack, path: DataPath, hook: Hook, by_rules: Callable[[Walk], Iterator[Way]]) -> Iterator[Way]:
        return without_rules(self._around, walk, path, hook.value)

    _REPLAYED: ClassVar = {Replay.RULES: _ruled, Replay.LIST: _drawn}
    """How a packet goes on in each kind of data path."""

    # -- sending ------------------------------------------------------------------------------------------------------------------

    def send(self, walk: Walk, stack: NodeStack, *, source: Address | None) -> Iterator[Way]:
        """Return the ways of a packet that a process of *stack* made; without *source* the kernel picks the address."""
        by_rules = partial(self._send, stack=stack, source=source)
        if source is not None and source is not walk.packet.source:
            return self._entered(walk, stack, Hook.OUTPUT, by_rules)
        return self._kept.of(walk, stack, ("sent", source is None), lambda: self._entered(walk, stack, Hook.OUTPUT, by_rules))

    def _send(self, walk: Walk, *, stack: NodeStack, source: Address | None) -> Iterator[Way]:
        packet = walk.wire
        results = stack.routing.lookup(
            packet.destination,
            source=_asking_from(walk, stack, source),
            mark=packet.mark,
            protocol=packet.protocol.number,
            source_port=packet.source_port,
            destination_port=packet.destination_port,
        )
        for branch, result in shared(walk, stack, results):
            yield from self._send_by(branch, stack, result, source)

    def _send_by(self, walk: Walk, stack: NodeStack, result: RouteResult, source: Address | None) -> Iterator[Way]:
        if ended := _no_way(walk, result, stack):
            yield ended
            return
        picked = source or stack.routing.source_address(result, walk.packet.destination)
        if picked is None and (picked := stack.some_address(walk.packet.destination.version, result.device)) is not None:
            if unsaid(picked) is not None:
                walk = walk.note(f"sent from {picked}: which one the kernel picks is not in the snapshot (ip-addr.json)")
            walk = shown_by(walk, self._assuming, stack, picked, result.device)
        if picked is None:
            text = f"which source address {stack.called} picks: its addresses are not in the snapshot (ip-addr.json)"
            yield walk.unknown(Unknown(code="DATA_MISSING", text=text, at={"node": stack.name, "file": IP_ADDR.name}))
            return
        walk = changed(walk, packet=changed(walk.packet, source=picked))
        if walk.is_error and not stack.routing.is_local(picked):
            walk = changed(walk, sender=stack.routing.source_address(result, walk.packet.destination))
        walk = _route_note(changed(walk, visit=changed(walk.visit, packet_in=walk.wire)), result, stack)
        crossing = Crossing(stack=stack, out_device=result.device, local_process=True, header=walk.header)
        yield from relayed(self._hooks.run(walk, crossing, Hook.OUTPUT), partial(self._leave_by, settled=result))

    # -- receiving ----------------------------------------------------------------------------------------------------------------

    def receive(self, walk: Walk, stack: NodeStack, device: str | None, *, phys_in: str | None = None) -> Iterator[Way]:
        """Return the ways of a packet that comes in by *device* (*phys_in*: the bridge port it came through)."""
        crossing = Crossing(stack=stack, in_device=device, phys_in=phys_in, header=walk.header)
        by_rules = partial(self._receive, crossing=crossing)
        if self._ways is not None:
            self._ways.comes(walk.packet, stack)
            if self._ways.may_take(walk):
                return self._entered(walk, stack, Hook.PREROUTING, by_rules)
        return self._kept.of(walk, stack, (device, phys_in), lambda: self._entered(walk, stack, Hook.PREROUTING, by_rules))

    def _receive(self, walk: Walk, *, crossing: Crossing) -> Iterator[Way]:
        return relayed(self._hooks.run(walk, crossing, Hook.PREROUTING), self._route_in)

    def _route_in(self, walk: Walk, crossing: Crossing) -> Iterator[Way]:
        packet, stack = walk.wire, crossing.stack
        results = stack.routing.lookup(
            packet.destination,
            source=packet.source,
            mark=packet.mark,
            iif=crossing.in_device,
            protocol=packet.protocol.number,
            source_port=packet.source_port,
            destination_port=packet.destination_port,
        )
        for branch, result in shared(walk, stack, results):
            for looked in self._looked_at(branch, crossing):
                yield from [looked] if isinstance(looked, Ending) else self._routed_in(looked, crossing, result)

    def _routed_in(self, walk: Walk, crossing: Crossing, result: RouteResult) -> Iterator[Way]:
        """Take a packet the way that its route says."""
        if ended := _lost_way(walk, result, crossing):
            yield ended
        elif result.kind is ResultKind.LOCAL:
            yield from self._deliver(walk, crossing)
        elif crossing.phys_in is not None and result.device == crossing.in_device:
            yield from self._bridge(walk, crossing, result)
        else:
            yield from self._forward(walk, crossing, result)

    def _looked_at(self, walk: Walk, crossing: Crossing) -> Iterator[Walk | Ending]:
        """The kernel's look at the addresses of a packet that came by a device. Source: ip_route_input_slow, fib_validate_source."""
        if crossing.in_device is None:
            yield walk
            return
        verdict = _validated(walk, crossing, crossing.in_device)
        if verdict.otherwise is None or crossing.stack.routing.inferred_from:
            yield _refused(walk, crossing, verdict) or walk
            return
        for is_set, either in ((False, verdict), (True, verdict.otherwise)):
            if branch := supposed(walk, crossing.stack, Supposition(key=verdict.hinge, is_set=is_set), Fraction(1, 2)):
                yield _refused(branch, crossing, either) or branch

    def _deliver(self, walk: Walk, crossing: Crossing) -> Iterator[Way]:
        return relayed(self._hooks.run(walk, crossing, Hook.INPUT), self._delivered)

    def _delivered(self, walk: Walk, crossing: Crossing) -> Iterator[Way]:
        walk = _confirmed(walk, crossing)
        if crossing.route is not None:  # IPVS took it: its real server is elsewhere
            ended = _too_large(walk, crossing.stack, crossing.route)
            return self._leave(walk, crossing, crossing.route) if ended is None else iter([ended])
        if crossing.stack.pod is not None:
            return iter([_dialled_anew(walk, crossing) or self._handed(walk, crossing, crossing.stack.pod)])
        process = self._around.process_at(StackId(StackKind.NODE, crossing.stack.name), walk)
        return iter([self._to_process(walk, crossing) if process is None else self._accepted(walk, crossing, process)])

    def _handed(self, walk: Walk, crossing: Crossing, pod: Pod) -> Way:
        return handed(walk, pod, crossing.stack, crossing.in_device, self._around.process_at)

    def _accepted(self, walk: Walk, crossing: Crossing, process: Process) -> Way:
        """The packet reached a process that makes a connection of its own, or never answers."""
        silence = process.silence(walk)
        if silence is None:
            return Accepted(walk=walk, process=process, host=NodeHost(crossing.stack))
        packet, name = walk.packet, crossing.stack.name
        place = Place(kind="node", name=name, node=name, ip=packet.destination, port=packet.destination_port)
        return walk.end(Disposition.DELIVERED, silence, destination=place, listener=Listener.DECLARED)

    def _to_process(self, walk: Walk, crossing: Crossing) -> Ending:
        """The packet reached a socket of the node, or of a pod that shares the node's stack."""
        packet, name = walk.packet, crossing.stack.name
        if ended := echo.ignored(walk, crossing.stack):
            return ended
        port = packet.destination_port
        pods = [p for p in self._around.pods_sharing(name) if port is not None and p.declares(port, packet.protocol)]
        listening = True if walk.answering else crossing.stack.listens(packet, crossing.in_device)
        if walk.midstream and not listening:
            listening = None  # the connection has a socket of its own, if it is still there: nobody lists those
        listener = None if echo.is_request(walk) else _listener(listening, is_declared=bool(pods))
        pod = pods[0] if len(pods) == 1 and listener is Listener.DECLARED else None
        place = Place(
            kind="node",
            namespace=pod.namespace if pod else None,
            name=pod.name if pod else name,
            node=name,
            ip=packet.destination,
            port=port,
        )
        text = f"Handed to {_process(crossing.stack, packet, listener, pod)}"
        code = "NOBODY_LISTENS" if listener is Listener.ABSENT else "DELIVERED"
        return walk.end(Disposition.DELIVERED, Reason(code=code, text=text), destination=place, listener=listener)

    def _forward(self, walk: Walk, crossing: Crossing, result: RouteResult) -> Iterator[Way]:
        stack, version = crossing.stack, walk.packet.destination.version
        if ended := _not_forwarded(walk, crossing):
            yield ended
            return
        if crossing.header.get("ttl", 64) <= 1:
            text = f"{stack.begins} does not forward the packet: its time to live ends here, and the sender is told (ICMP time exceeded)"
            yield changed(walk, says=EXPIRED[version]).end(Disposition.DROPPED, Reason(code="TTL_EXCEEDED", text=text))
            return
        if ended := _too_large(walk, stack, result):
            yield ended
            return
        crossing = changed(crossing, out_device=result.device, header=_aged(crossing))
        walk = _route_note(walk, result, stack)
        yield from relayed(self._hooks.run(walk, crossing, Hook.FORWARD), partial(self._leave, result=result))

    def _bridge(self, walk: Walk, crossing: Crossing, result: RouteResult) -> Iterator[Way]:
        """To a pod of the same bridge, with bridge-nf-call on: bridged, not routed. Source: br_nf_pre_routing_finish."""
        target = self._around.pod_with_ip(walk.packet.destination, crossing.stack.name)
        sender = self._around.pod_with_ip(walk.packet.source, crossing.stack.name)
        if target is not None and sender is not None and target.key == sender.key:
            hairpin = self._hairpin(crossing)
            if hairpin is None:
                text = f"whether the bridge {crossing.in_device} sends a packet back out of the port it came in by (ip-link.json, ip -d)"
                yield walk.unknown(Unknown(code="DATA_MISSING", text=text, at={"node": crossing.stack.name, "file": IP_LINK.name}))
                return
            if not hairpin:
                text = f"Bridge {crossing.in_device} does not send a packet back out of the port it came in by: hairpin mode is off"
                yield walk.end(Disposition.DROPPED, Reason(code="HAIRPIN_OFF", text=text))
                return
        if target is None and walk.packet.destination != walk.visit.packet_in.destination:
            looked = f"{crossing.stack.begins} looks on bridge {result.device} for {walk.packet.destination}"
            text = f"{looked}, which nobody in the snapshot owns"
            yield walk.end(Disposition.LOST, Reason(code="NOT_OWNED", text=text), went_out=result.device)
            return
        crossing = changed(crossing, out_device=result.device, phys_out="?", bridged=True)
        bridged = walk.note(f"bridged by {result.device}, not routed")
        yield from relayed(self._hooks.run(bridged, crossing, Hook.FORWARD), partial(self._leave, result=result))

    def _hairpin(self, crossing: Crossing) -> bool | None:
        """Whether the ports of the bridge reflect: known when all of them agree."""
        routing = crossing.stack.routing
        modes = {routing.port_hairpin(p.name) for p in routing.bridge_ports(crossing.in_device or "")}
        return modes.pop() if len(modes) == 1 else None

    # -- leaving ------------------------------------------------------------------------------------------------------------------

    def _leave_by(self, walk: Walk, crossing: Crossing, *, settled: RouteResult) -> Iterator[Way]:
        """Leave by the way out that OUTPUT found again, else by the one that was *settled* before."""
        return self._leave(walk, crossing, crossing.route or settled)

    def _leave(self, walk: Walk, crossing: Crossing, result: RouteResult) -> Iterator[Way]:
        crossing = changed(crossing, out_device=result.device, route=result)
        return relayed(self._hooks.run(walk, crossing, Hook.POSTROUTING), partial(self._left, result=result))

    def _left(self, walk: Walk, crossing: Crossing, *, result: RouteResult) -> Iterator[Way]:
        walk = _confirmed(walk, crossing)
        if result.kind is ResultKind.LOCAL or result.device == "lo":
            return self._loop_back(walk, crossing)
        sent, pod = changed(walk, header=crossing.header), crossing.stack.pod
        if pod is not None and pod.node_name is not None:
            left = LeftForNode(walk=sent, node=pod.node_name, pod=pod, route=result)
            return iter([stopped(walk, crossing.stack, result, self._around.is_inside) or left])
        routed = Routed(walk=sent, node=crossing.stack.name, route=result)
        return iter([stopped(walk, crossing.stack, result, self._around.is_inside) or routed])

    def _loop_back(self, walk: Walk, crossing: Crossing) -> Iterator[Way]:
        """Over lo a packet keeps its conntrack entry: nat PREROUTING is not asked again (its side is settled)."""
        if self._ways is not None:
            self._ways.comes(walk.packet, crossing.stack)
        inward = changed(crossing, in_device="lo", out_device=None, local_process=False, route=None)
        return relayed(self._hooks.run(walk, inward, Hook.PREROUTING), partial(self._looped, before=walk.packet))

    def _looped(self, walk: Walk, crossing: Crossing, *, before: Packet) -> Iterator[Way]:
        if walk.packet.destination == before.destination:
            return self._deliver(walk, crossing)
        return self._route_in(walk, crossing)


def _confirmed(walk: Walk, crossing: Crossing) -> Walk:
    """The walk whose connection the stack's table keeps: it forgets that of a packet which it stops. Source: nf_confirm."""
    return walk if crossing.table in walk.confirmed else changed(walk, confirmed=walk.confirmed | {crossing.table})


def _listener(listening: bool | None, *, is_declared: bool) -> Listener:
    """Who listens on a port of a node: its sockets say so where they were recorded, else only what a pod of its stack declares."""
    if listening is None:
        return Listener.DECLARED if is_declared else Listener.UNKNOWN
    return Listener.DECLARED if listening else Listener.ABSENT


def _process(stack: NodeStack, packet: Packet, listener: Listener | None, pod: Pod | None) -> str:
    """Who a packet for the node itself is handed to, in words."""
    at = f"at {at_text(packet.destination, packet.destination_port)}"
    if listener is None:
        return f"node {stack.name} itself, {at}"
    if pod is not None:
        return f"pod {pod.namespace}/{pod.name}, which shares the stack of {stack.called}, {at}"
    if listener is Listener.UNKNOWN:
        return f"{stack.called}, {at}; {stack.unheard(packet)}"
    if listener is Listener.ABSENT:
        said = REFUSALS[no_listener(packet.protocol, packet.destination.version)].said
        return f"{stack.called}, {at}, where nothing listens (ss.txt): the kernel answers with {said}"
    return f"a process of {stack.called}, {at}"


def _dialled_anew(walk: Walk, crossing: Crossing) -> Ending | None:
    """The end, for all that is known, of what a pod's own rules hand to a process of the pod itself: that makes a connection of its own."""
    sent, packet = walk.visit.packet_in, walk.packet
    if walk.answering or crossing.in_device != "lo" or sent.destination == packet.destination:
        return None
    if crossing.stack.listens(packet, "lo") is False:
        return None
    text = (
        f"where {crossing.stack.called} is connected to: its own rules hand what it sends to {sent.destination} port "
        f"{sent.destination_port} to port {packet.destination_port} of the pod itself, and the process that accepts there (a sidecar's) "
        "dials as it likes"
    )
    return walk.unknown(Unknown(code="SIDECAR", text=text, at={"node": crossing.stack.name.partition("/")[0]}))


def _reroute(walk: Walk, crossing: Crossing) -> Iterator[Passed | Ending]:
    """Find the way out again. NB: the rules behind still see the device that was chosen first.

    It is asked with the ports that the packet has by now; IPv4 asks for no user, which is root. Source: ip_route_me_harder,
    ip6_route_me_harder, fib4_rules_early_flow_dissect.
    """
    packet = walk.wire
    results = crossing.stack.routing.lookup(
        packet.destination,
        source=packet.source,
        mark=packet.mark,
        protocol=packet.protocol.number,
        source_port=packet.source_port,
        destination_port=packet.destination_port,
        uid=0 if packet.destination.version == 4 else None,
    )
    for branch, again in shared(walk, crossing.stack, results):
        yield _no_way(branch, again, crossing.stack) or (_route_note(branch, again, crossing.stack), changed(crossing, route=again))


def _asking_from(walk: Walk, stack: NodeStack, source: Address | None) -> Address | None:
    """The source by which the way out is asked. A refusal in another's name goes as if it had none. Source: ip_route_me_harder."""
    is_anothers = walk.refusal is not None and source is not None and not stack.routing.is_local(source)
    return None if is_anothers else source


def _aged(crossing: Crossing) -> dict[str, int]:
    header = dict(crossing.header)
    if "ttl" in header:
        header["ttl"] -= 1
    return header


_REFUSALS = {
    SourceCheck.MARTIAN_SOURCE: "MARTIAN_SOURCE",
    SourceCheck.MARTIAN_DESTINATION: "MARTIAN_DESTINATION",
    SourceCheck.RP_FILTER: "RP_FILTER",
}


def _validated(walk: Walk, crossing: Crossing, device: str) -> SourceVerdict:
    """What the kernel makes of the packet's addresses when it comes in by *device*: by whichever, where nobody named it."""
    packet, routing = walk.wire, crossing.stack.routing
    asked = partial(
        routing.validate_source,
        packet.source,
        destination=packet.destination,
        mark=packet.mark,
        protocol=packet.protocol,
        source_port=packet.source_port,
        destination_port=packet.destination_port,
    )
    if not is_unnamed(device) or routing.inferred_from:
        return asked(device)
    found = [asked(link.name) for link in routing.links if not link.loopback and not link.is_down]
    if all(verdict.check is SourceCheck.UNKNOWN for verdict in found):  # as its way on is, which says what is missing
        return SourceVerdict(check=SourceCheck.OK)
    if len({verdict.check for verdict in found}) > 1:
        return SourceVerdict(check=SourceCheck.UNKNOWN, reason="by which of its devices the packet comes in, which is not recorded")
    return found[0]


def _refused(walk: Walk, crossing: Crossing, verdict: SourceVerdict) -> Ending | None:
    """The end of a packet whose addresses the kernel does not take, None when it does."""
    if verdict.check in _REFUSALS:
        text = f"{crossing.stack.begins} drops the packet when it comes in by {shown_device(crossing.in_device)}: {verdict.reason}"
        return walk.end(Disposition.DROPPED, Reason(code=_REFUSALS[verdict.check], text=text))
    if verdict.check is SourceCheck.UNKNOWN:
        return walk.unknown(crossing.stack.unknown_way(walk.wire.source, verdict.reason))
    return None


def _inferred_note(walk: Walk, stack: NodeStack) -> Walk:
    """Say what stood in for the files that would tell the node's routes, once a visit."""
    return walk.note(stack.routing.inferred_from) if stack.routing.inferred_from else walk


def _route_note(walk: Walk, result: RouteResult, stack: NodeStack) -> Walk:
    if result.route is None:
        return walk
    version = walk.packet.destination.version
    if is_stand_in(stack):  # whoever listens hears what is asked, each time
        return walk.note(*_said_of_way(result, version, stack))
    return walk.note(*stack.said_of(result, version, lambda: _said_of_way(result, version, stack)))


def _said_of_way(result: RouteResult, version: int, stack: NodeStack) -> tuple[str, ...]:
    notes = stack.rests_on(version)
    inferred = " (inferred from the node's addresses: its routes are not in the snapshot)" if result.inferred else ""
    if stack.routing.inferred_from:
        inferred = " (inferred)"
    if passed := passed_over_text(stack, result):
        notes += (passed,)
    return (*notes, f"route: {result.route.to_text() if result.route is not None else ''}{inferred}")


_TOLD: Mapping[ResultKind, tuple[str, str]] = {
    ResultKind.NONE: ("icmp-net-unreachable", "icmp6-no-route"),
    ResultKind.UNREACHABLE: ("icmp-host-unreachable", "icmp6-no-route"),
    ResultKind.PROHIBIT: ("icmp-admin-prohibited", "icmp6-adm-prohibited"),
}
"""What routing says of a packet that came in → the ICMP error, and the ICMPv6 one, that the node answers with. Source: ip_error,
ip6_pkt_drop."""


def _lost_way(walk: Walk, result: RouteResult, crossing: Crossing) -> Ending | None:
    """The end of a packet that came in and that routing refuses, None when it may go on.

    NB: where nothing is forwarded IPv4 looks no further and tells nobody; IPv6 tells what it would tell as a router.
    Source: ip_route_input_slow, ip6_pkt_drop.
    """
    version, stack = walk.packet.destination.version, crossing.stack
    is_refused = result.kind in _TOLD or result.kind is ResultKind.BLACKHOLE
    if is_refused and version == 4 and (ended := _not_forwarded(walk, crossing)):
        return ended
    told = _TOLD.get(_said(result))
    return _no_way(walk if told is None else changed(walk, says=told[version == 6]), result, stack)


def _said(result: RouteResult) -> ResultKind:
    """What routing says, as its errors spell it: a policy rule that says unreachable means that there is no route.

    Source: fib4_rule_action, fib6_rule_action.
    """
    return ResultKind.NONE if result.kind is ResultKind.UNREACHABLE and result.route is None else result.kind


def _not_forwarded(walk: Walk, crossing: Crossing) -> Ending | None:
    """The end of a packet where the stack forwards nothing, or not what comes in by this device; None where it does."""
    stack, version = crossing.stack, walk.packet.destination.version
    devices: tuple[str | None, ...] = (crossing.in_device,)
    if is_unnamed(crossing.in_device) and not stack.routing.inferred_from:
        devices = tuple(link.name for link in stack.routing.links if not link.loopback and not link.is_down) or devices
    found = {stack.routing.forwarding(version, device) for device in devices}
    if False not in found:
        return None
    if len(found) > 1:
        text = f"by which of its devices {stack.called} gets the packet, which is not recorded: it does not forward what comes in by some"
        return walk.unknown(Unknown(code="DATA_MISSING", text=text, at={"node": stack.name}))
    text = f"{stack.begins} does not forward packets: forwarding is switched off"
    return walk.end(Disposition.DROPPED, Reason(code="FORWARDING_OFF", text=text))


def _too_large(walk: Walk, stack: NodeStack, result: RouteResult) -> Ending | None:
    """The end of a packet that its next device does not take, of which the sender is told; None where it fits, or nobody recorded the MTU.

    Source: ip_forward, ip6_forward, ensure_mtu_is_adequate in ip_vs_xmit.c.
    """
    if walk.size is None or result.device is None:
        return None
    link, by_route = stack.routing.link(result.device), result.route.mtu if result.route is not None else None
    fitting = [mtu for mtu in (link.mtu if link is not None else None, by_route) if mtu is not None]
    if not fitting or walk.size <= min(fitting):
        return None
    text = f"{stack.begins} does not forward {walk.size} bytes, which may not be cut: {result.device} takes {min(fitting)}"
    walk = changed(walk, says=TOO_LARGE[walk.packet.destination.version])
    return walk.end(Disposition.DROPPED, Reason(code="MTU_BLACK_HOLE", text=text))


def _no_way(walk: Walk, result: RouteResult, stack: NodeStack) -> Ending | None:
    """The end of a packet that routing refuses, None when it may go on."""
    destination = walk.packet.destination
    walk = changed(walk, no_way=_said(result))
    by = "route" if result.route is not None or result.rule is None else f"policy rule ({result.rule.to_text()})"
    match result.kind:
        case ResultKind.LOCAL | ResultKind.UNICAST:
            return None
        case ResultKind.NONE:
            passed = passed_over_text(stack, result) or shut_with_address(stack.routing)
            text = f"{stack.begins} has no route to {destination}" + (f" ({passed})" if passed else "")
            return walk.end(Disposition.UNREACHABLE, Reason(code="NO_ROUTE", text=text))
        case ResultKind.UNREACHABLE:
            text = f"{stack.begins} has an unreachable {by} for {destination}"
            return walk.end(Disposition.UNREACHABLE, Reason(code="NO_ROUTE", text=text))
        case ResultKind.PROHIBIT:
            text = f"{stack.begins} has a prohibit {by} for {destination}"
            return walk.end(Disposition.UNREACHABLE, Reason(code="ROUTE_PROHIBITED", text=text))
        case ResultKind.BLACKHOLE:
            text = f"{stack.begins} has a blackhole {by} for {destination}: the packet vanishes"
            return walk.end(Disposition.DROPPED, Reason(code="ROUTE_BLACKHOLE", text=text))
        case ResultKind.INVALID:
            text = f"The kernel of {stack.called} refuses to send from {walk.packet.source} to {destination}: {result.invalid_reason}"
            return walk.end(Disposition.UNREACHABLE, Reason(code="MARTIAN_SOURCE", text=text))
        case ResultKind.UNKNOWN:
            return walk.unknown(stack.unknown_way(destination, result.unknown_reason))
        case _:
            text = f"{destination} is a {result.kind.value} address to {stack.called}, which is not modelled"
            return walk.unknown(Unknown(code="UNMODELLED_MATCH", text=text, at={"node": stack.name}))

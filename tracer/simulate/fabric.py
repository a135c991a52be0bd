"""Between stacks: who gets a packet that leaves one. Pods, nodes, load balancers, processes, clients outside, or nobody.

Stacks yield ends and departures; one loop here turns each departure into the next stack, from a table of their kinds, and bounds the way:
hops, a packet that comes again as it was, and what the question may cost. No stack knows the fabric.
The snapshot holds no switch or router of the network between the nodes: a packet to an address of the cluster is taken there, and
where no node's route said so, the hop says that it was inferred.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from functools import partial
from itertools import chain
from typing import Any, ClassVar

from tracer.assumptions import DROPS_PODS, ENTERS, FRONT, KINDS, NETWORK, POD, ROUTES_PODS
from tracer.forks import Fork
from tracer.front.service_balancer import balancer_at
from tracer.frontends.kinds import Replay
from tracer.frozen import changed
from tracer.kube.endpointslice import Endpoint
from tracer.kube.pod import Pod
from tracer.limits import Budget
from tracer.packet import Address, Packet
from tracer.routing import IPVS_DUMMY, SOME_DEVICE, ResultKind, RouteResult, is_unnamed, shown_device
from tracer.simulate import announced, links, outside
from tracer.simulate import departure as d
from tracer.simulate import pod as pods
from tracer.simulate.asked import is_stand_in
from tracer.simulate.assuming import Assuming
from tracer.simulate.balancing import balanced, passed_back
from tracer.simulate.classes import Classes, Grouping, Plain, Reference
from tracer.simulate.departure import Departure, Way
from tracer.simulate.hooks import Known
from tracer.simulate.kept_ways import KeptWays
from tracer.simulate.node import NodeWalk
from tracer.simulate.process import accepted
from tracer.simulate.surroundings import ACCEPTORS, Acceptor, ClusterSurroundings
from tracer.simulate.tunnelled import carrier_sent
from tracer.simulate.walk import Ending, Walk
from tracer.snapshot.node_files import IP_ADDR, IP_LINK, SYSCTL, WG_ALLOWED, WG_ENDPOINTS
from tracer.stack_protocols import Balancer, Check, Handing, Health, TableId, TableKind
from tracer.topology.arp import arp_answerers, hearing, unlisted_holder
from tracer.topology.belonging import why_the_clusters
from tracer.topology.cluster import Cluster, Port
from tracer.topology.overlay import overlay_mark
from tracer.topology.pod_routes import Lacked, lacked_route
from tracer.topology.stack import NodeStack
from tracer.topology.tunnels import Carried, carried
from tracer.trace import Disposition, Hop, Reason, StackKind, Unknown
from tracer.values import dataclass

_MOST_HOPS = 32
_PROCESS = 300
"""What a process on the way costs, behind the first: no rule pays for it."""


def _sent(walk: Walk) -> Packet:
    """The packet as its sender sent it; behind a process that accepted, the one that the process made."""
    first = walk.accepted[-1].next_hop if walk.accepted else 0
    return walk.hops[first].packet_in if first < len(walk.hops) else walk.visit.packet_in


def _placed(way: Way) -> Ending | tuple[Walk, str]:
    """A way of a load balancer: the walk, and the node that it goes to."""
    if isinstance(way, Ending):
        return way
    if not isinstance(way, d.Balanced):
        raise TypeError("a load balancer passes on, or ends")
    return way.walk, way.node


def _device_of_pod(stack: NodeStack, pod: Pod) -> str:
    """The device of a pod's own stack that holds its address, by which packets come in."""
    held = (stack.routing.device_of(address) for address in pod.owned_ips)
    return next((device for device in held if device is not None), SOME_DEVICE)


@dataclass(frozen=True, slots=True)
class _Watch:
    """Who looks at the ends of a departure, and who looks at what it makes of them."""

    after: Callable[[Ending], Iterator[Way]]
    outer: _Watch | None


class Fabric:
    """Carries packets from stack to stack. *client* is the address of the client outside, when there is one; *budget* the question's.

    *acceptors* know the processes that accept connections, *assuming* what the question assumes, *check* walks health checks. It keeps what
    it met, so it is for one question only.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        client: Address | None = None,
        budget: Budget | None = None,
        acceptors: tuple[Acceptor, ...] = ACCEPTORS,
        assuming: Assuming | None = None,
        check: Callable[[Check], Health] | None = None,
        grouping: Grouping | None = None,
    ) -> None:
        notes = grouping.notes if isinstance(grouping, Classes) else None
        self._no_pod_has_its_own = cluster.keeps_answers and not cluster.snapshot.pod_stacks  # who watches hears of each pod
        cluster = notes.stand_in(cluster) if notes is not None else cluster
        self.cluster = cluster
        self.budget = budget or Budget(cluster.limits)
        self.assuming = assuming or Assuming()
        self._client = client
        self._check = check
        self._grouping = grouping or Plain()
        self._dialling: set[Address] = set()
        self._around = ClusterSurroundings(cluster, acceptors)
        known = Known() if isinstance(grouping, Reference) else self._around.known_hooks()
        if notes is not None:
            known = Known(runs=known.runs)  # orders speak of stacks, and here stand-ins are asked for those
        self._nodes = NodeWalk(self._around, self.budget, self.assuming, known, grouping, notes)
        self._balancers: dict[TableId, Balancer] = {}
        self._ways = grouping if isinstance(grouping, KeptWays) else None

    def stack_of(self, hop: Hop) -> NodeStack | None:
        """Return the stack that *hop* passed, a node's or a pod's own; None where it has no rules that anybody recorded."""
        if hop.kind is StackKind.NODE:
            return self.cluster.stack(hop.node or hop.name)
        if hop.kind is not StackKind.POD or self._no_pod_has_its_own:
            return None
        pod = self.cluster.objects.pod(*hop.name.split("/", 1))
        return self.cluster.pod_stack(pod) if pod is not None else None

    def goes_by_rules(self, stack: NodeStack) -> bool:
        """Return whether *stack* hands on what it gets by its rules alone, not by a list that a program keeps."""
        return self._around.data_path(stack).decides is None

    # -- the loop -----------------------------------------------------------------------------------------------------------------

    def endings(self, first: Departure) -> Iterator[Ending]:
        """Yield every way the packet of *first* can end, one branch after the other to its end; none that strays (``Walk.strays``)."""
        if self._ways is not None:
            self._ways.sends(first.walk)
        pending: list[tuple[Iterator[Way], _Watch | None]] = [(iter([first]), None)]
        try:
            while pending:
                ways, watch = pending[-1]
                way = next(ways, None)
                if way is None:
                    pending.pop()
                elif way.walk.strays:
                    continue
                elif isinstance(way, Departure):
                    pending.append((self._next(way), watch if way.after is None else _Watch(way.after, watch)))
                elif watch is not None:
                    pending.append((watch.after(way), watch.outer))
                else:
                    yield way
        finally:
            for ways, _ in reversed(pending):
                if isinstance(ways, Generator):
                    ways.close()

    def _next(self, departure: Departure) -> Iterator[Way]:
        """The ways of *departure* in the next stack."""
        if len(departure.walk.hops) > _MOST_HOPS:
            text = f"The packet passed {_MOST_HOPS} stacks and does not arrive"
            return iter([departure.walk.end(Disposition.LOOP, Reason(code="TTL_LOOP", text=text))])
        return self._CARRIED[type(departure)](self, departure)

    # -- from the sources ---------------------------------------------------------------------------------------------------------

    def _sent_by_node(self, sent: d.SentByNode) -> Iterator[Way]:
        return self._nodes.send(sent.walk, self.cluster.stack(sent.node), source=sent.source)

    def _sent_by_pod(self, sent: d.SentByPod) -> Iterator[Way]:
        walk, stack = sent.walk, self.cluster.pod_stack(sent.pod)
        has_address = walk.packet.source != pods.NO_ADDRESS[walk.packet.destination.version]
        if stack is not None and has_address and sent.pod.node_name is not None:
            return self._nodes.send(walk, stack, source=walk.packet.source)
        return iter([pods.sent(walk, sent.pod, self._around.process_at)])

    def _recorded(self, found: d.Recorded) -> Iterator[Way]:
        return self._to_node(found.walk, Port(node=found.node, device=found.device), None)

    def _sent_from_outside(self, sent: d.SentFromOutside) -> Iterator[Way]:
        """Somebody outside sends: a client, or a process that dials from there or answers its client."""
        walk, destination = sent.walk, sent.walk.packet.destination
        if walk.accepted:
            self._dialling.add(walk.packet.source)
        if ended := self._stays_outside(walk):
            return iter([ended])
        if self.cluster.is_node_address(destination):
            return self._from_outside_to_node(walk)
        if balancer := balancer_at(self.cluster.objects, destination):
            return self._to_balancer(walk, balancer, None)
        entry, answering = self.assuming.setting(ENTERS), self._answering_outside(destination)
        if answering and (entry is None or entry not in {port.node for port in answering}):
            return self._by_arp(walk, answering, None)
        if (pod := self.cluster.pod_with_ip(destination)) is not None and pod.node_name:
            return self._outside_to_pod(walk, pod, pod.node_name)
        unclaimed = None if answering else self._unclaimed(walk)
        if unclaimed is None and entry is not None and self._is_the_clusters(walk):
            return self._entering(walk, (entry, *self.cluster.node_names))
        return iter([unclaimed or self._not_found(walk)])

    def _answering_outside(self, destination: Address) -> tuple[Port, ...]:
        """The nodes that answer for an address on a link that leads outside; a bridge of containers has a subnet of its own."""
        return tuple(
            port
            for port in arp_answerers(self.cluster, destination)
            if port.device in (*self._facing_network(port.node), *self.cluster.router_devices(port.node, destination.version))
        )

    def _outside_to_pod(self, walk: Walk, pod: Pod, node: str) -> Iterator[Way]:
        """Somebody outside sends to a pod's own address: whether the network there knows it is in no file."""
        destination, name = walk.packet.destination, f"{pod.namespace}/{pod.name}"
        marked = overlay_mark(self.cluster, node)
        because = f" ({marked})" if marked else ""
        texts = {
            ROUTES_PODS: "the network outside the cluster is taken to bring pod addresses to their nodes",
            DROPS_PODS: f"the network outside the cluster is taken not to know pod addresses{because}",
        }
        order = (DROPS_PODS, ROUTES_PODS) if marked else (ROUTES_PODS, DROPS_PODS)
        setting = self.assuming.picked(NETWORK, order, texts.__getitem__)
        walk = walk.assuming(f"{NETWORK}:{setting}")
        if setting == DROPS_PODS:
            text = f"Nobody outside brings {destination}, the address of pod {name}, to the cluster"
            return iter([walk.end(Disposition.LOST, Reason(code="NETWORK_DROPS_PODS", text=text))])
        return self._entering(walk, (node, *self.cluster.node_names))

    def _entering(self, walk: Walk, nodes: tuple[str, ...]) -> Iterator[Way]:
        """A packet from outside comes in at the first of *nodes*, or at the one that the question assumes."""
        destination = walk.packet.destination
        settings = tuple(dict.fromkeys(nodes))
        node = settings[0]
        if len(settings) > 1:
            node = self.assuming.picked(
                ENTERS, settings, lambda name: f"what is sent to {destination} from outside is taken to come in at node {name}"
            )
            walk = walk.assuming(f"{ENTERS}:{node}")
        return self._by_some_device(walk, node, self._arrivals(node, walk.packet), None)

    def _is_the_clusters(self, walk: Walk) -> bool:
        """Whether the cluster takes the packet's destination, wherever it comes in."""
        destination = walk.packet.destination
        return bool(self.cluster.ports_of(destination)) or why_the_clusters(self.cluster, destination, _sent(walk)) is not None

    def _not_found(self, walk: Walk) -> Ending:
        """The end of a packet from outside for an address that no node and no load balancer of the snapshot is known to take."""
        destination = walk.packet.destination
        if (holders := self.cluster.ports_of(destination)) and not self.cluster.objects.services_with_address(destination):
            return self._not_known_to_come(walk, holders[0].node)
        if holder := unlisted_holder(self.cluster, destination):
            text = f"whether node {holder} answers on its link for {destination}, which {IPVS_DUMMY} holds: its addresses were not recorded"
            return walk.unknown(Unknown(code="DATA_MISSING", text=text, at={"node": holder, "file": IP_ADDR.name}))
        if why := why_the_clusters(self.cluster, destination, _sent(walk)):
            text = f"{destination} is no address of a node or a load balancer, so nobody outside takes it; {why}"
            return walk.end(Disposition.LOST, Reason(code="NOT_OWNED", text=text))
        text = f"{destination} is no address of the cluster: the packet does not come to it"
        return outside.beyond(walk, None, Reason(code="LEAVES_CLUSTER", text=text), left_from=None)

    def _stays_outside(self, walk: Walk) -> Ending | None:
        """The end of what a process outside sends and no node sees: it has no address to dial from, or answers a client outside."""
        destination = walk.packet.destination
        if walk.accepted and walk.packet.source == pods.NO_ADDRESS[destination.version]:
            text = f"which IPv{destination.version} address {walk.visit.name}, outside the cluster, sends from to {destination}"
            return walk.unknown(Unknown(code="DATA_MISSING", text=text))
        asking = destination == self._client or destination in self._dialling
        if walk.answering and walk.visit.kind is StackKind.LOAD_BALANCER and asking:
            return outside.to_client(walk, None)
        return None

    def _from_outside_to_node(self, walk: Walk) -> Iterator[Way]:
        destination = walk.packet.destination
        port = self.cluster.port_of(destination)
        if port is None or port.device is not None or not self.cluster.stack(port.node).routing.addresses:
            return self._to_node(walk, port, None)
        if self._uplinks(port.node, walk.packet):
            return self._by_an_uplink(walk, port.node, None)
        held = "none of whose devices holds that address"
        if self.cluster.stack(port.node).routing.inferred_from:
            held = f"whose devices were not recorded ({self.cluster.snapshot.path_of(port.node, IP_ADDR.name)} is missing)"
        text = f"how the network outside brings {destination} to node {port.node}, {held}"
        return iter([walk.unknown(Unknown(code="DATA_MISSING", text=text, at={"node": port.node}))])

    def _uplinks(self, node: str, packet: Packet) -> tuple[str, ...]:
        """The devices by which *node* may get a packet for an address that it takes and has on none of them (on lo, by BGP).

        Those by which it answers, and those that lead to a router: a router brings the packet by whichever of its links it likes.
        """
        routing = self.cluster.stack(node).routing
        if routing.inferred_from or not routing.is_local(packet.destination):
            return ()
        back = [way.device for way in routing.lookup(packet.source) if way.kind is ResultKind.UNICAST and way.device is not None]
        return tuple(dict.fromkeys((*back, *self.cluster.router_devices(node, packet.destination.version))))

    def _by_an_uplink(self, walk: Walk, node: str, went_out: str | None) -> Iterator[Way]:
        """To an address on a node's loopback: it comes by a device that leads to the network, of several nobody recorded which."""
        uplinks, destination = self._uplinks(node, walk.packet), walk.packet.destination
        if len(uplinks) == 1:
            note = f"taken to come in by {uplinks[0]}, by which the node answers: {destination} is on none of its devices to the network"
            walk = walk.note(note)
        return self._by_some_device(walk, node, uplinks, went_out)

    def _by_some_device(self, walk: Walk, node: str, devices: tuple[str, ...], went_out: str | None) -> Iterator[Way]:
        """To a node by one of *devices*, nobody recorded which; by one of which nothing is known where there is none."""
        if len(devices) < 2:
            yield from self._enter(walk, Port(node=node, device=devices[0] if devices else SOME_DEVICE), went_out)
            return
        destination, named = walk.packet.destination, ", ".join(devices)
        outside = " from outside" if walk.visit.kind is StackKind.EXTERNAL else ""
        asked = f"by which of its devices {named} node {node} gets what is sent to {destination}{outside}"
        unknown = Unknown(code="DATA_MISSING", text=asked, at={"node": node})
        ports = {f"node {node} gets what is sent to {destination} by {device}": Port(node=node, device=device) for device in devices}
        yield from self._either(walk, asked, ports, unknown, went_out)

    def _either(self, walk: Walk, asked: str, ports: Mapping[str, Port], unknown: Unknown, went_out: str | None) -> Iterator[Way]:
        """Each of *ports* on its condition, as nobody recorded *asked*."""
        for number, (condition, port) in enumerate(ports.items()):
            fork = Fork(question=asked, branch=number, condition=condition, ways=len(ports), unknowns=(unknown,))
            branch = changed(
                walk,
                probability=walk.probability / len(ports),
                conditions=(*walk.conditions, condition),
                unknowns=(*walk.unknowns, unknown),
                forks=(*walk.forks, fork),
            )
            yield from self._to_node(branch, port, went_out)

    def _left_for_node(self, left: d.LeftForNode) -> Iterator[Way]:
        walk, node, pod = left.walk, left.node, left.pod
        stack = self.cluster.stack(node)
        device = self._device_of(node, walk.packet.source)
        if ended := links.cut_off(walk, stack, device):
            return iter([ended])
        own = self.cluster.pod_stack(pod) if pod is not None and left.route is not None else None
        if own is not None and left.route is not None and device and (ended := links.unanswered(walk, own, left.route, stack, (device,))):
            return iter([ended])
        link = stack.routing.link(device) if device else None
        entered = walk.enter(StackKind.NODE, node, node=node, came_in=device, went_out="eth0")
        bridged = link is not None and link.is_bridge
        nf_call = self._passes_rules(stack, walk.packet.destination.version) if bridged else False
        neighbour = self.cluster.pod_with_ip(walk.packet.destination, node)
        if bridged and not nf_call and neighbour and neighbour.node_name == node and neighbour is not pod:
            if nf_call is None:
                text = f"whether frames on bridge {device} pass the node's rules (net.bridge.bridge-nf-call-iptables in sysctl.txt)"
                return iter([entered.unknown(Unknown(code="DATA_MISSING", text=text, at={"node": node, "file": SYSCTL.name}))])
            return self._to_pod(entered.note(f"bridged by {device}, past the node's rules"), neighbour, device)
        return self._received(entered, stack, device, phys_in="?" if bridged and nf_call else None)

    def _passes_rules(self, stack: NodeStack, version: int) -> bool | None:
        """Whether bridged frames pass iptables; without br_netfilter there is no such sysctl, and they do not."""
        recorded = stack.routing.bridge_nf_call(version)
        if recorded is not None or not stack.routing.sysctls.values:
            return recorded
        return False

    def _device_of(self, node: str, address: Address) -> str | None:
        """The node's device towards a pod's *address*.

        NB: by which device a pod is attached is no matter of what it sends. Where policy rules ask for what only a packet has (its ports,
        its user), the routes on links themselves tell.
        """
        routing = self.cluster.stack(node).routing
        results = routing.lookup(address)
        if all(result.kind is not ResultKind.UNKNOWN for result in results):
            return next((r.device for r in results if r.kind is ResultKind.UNICAST and r.gateway is None), None)
        near = [r for r in routing.routes(address.version) if address in r.destination and r.destination.prefixlen]
        longest = max((r.destination.prefixlen for r in near), default=0)
        hops = {(hop.device, hop.gateway) for r in near if r.destination.prefixlen == longest for hop in r.nexthops}
        device, gateway = next(iter(hops)) if len(hops) == 1 else (None, None)
        return device if gateway is None else None

    # -- from a node --------------------------------------------------------------------------------------------------------------

    def _routed(self, routed: d.Routed) -> Iterator[Way]:
        """A packet leaves a node by its route's device towards the next hop."""
        walk, node, route = routed.walk, routed.node, routed.route
        if (carried := self._carried(node, route)) is not None:
            peer = carried.peer
            deaf = self._unheard(walk, Port(node=peer, device=carried.peer_device), route) if peer is not None else None
            return iter([deaf or carrier_sent(walk, carried, node, self._unpacked)])
        destination, device = walk.packet.destination, route.device
        walk = self._unwalked(walk, node, device)
        pod = self.cluster.pod_with_ip(destination, node)
        if route.gateway is None and pod and pod.node_name == node:
            return self._to_pod(walk, pod, device)
        port = self.cluster.port_of(route.next_hop)
        if walk.answering and (through := self._back_through_balancer(walk, device)) is not walk:
            walk, device, port = through, None, self.cluster.port_of(destination)
        if port is not None and port.node != node:
            return self._to_node(walk, port, device, by=route if device else None)
        if pod is not None and pod.node_name == node:
            return self._to_own_pod(walk, pod, device, through_itself=port is not None)
        return self._beyond(walk, routed, device, pod)

    def _carried(self, node: str, way: RouteResult) -> Carried | None:
        """What carries a packet that leaves *node* by *way*; None where nothing does, or the carrier's way is not in the nodes' rules."""
        found = carried(self.cluster, node, way)
        if found is None or not all(
            self._around.data_path(self.cluster.stack(name)).kind.replay is Replay.RULES for name in (node, found.peer) if name is not None
        ):
            return None
        return found

    def _unwalked(self, walk: Walk, node: str, device: str | None) -> Walk:
        """Say of a tunnel that what carries the packet is not walked: firewalls on its way are not asked."""
        link = self.cluster.stack(node).routing.link(device) if device is not None else None
        if link is None or not link.is_tunnel:
            return walk
        text = f"what carries it out of {device} ({link.kind}) is not walked: whether firewalls let that through is not known"
        stack = self.cluster.stack(node)
        if link.kind == "wireguard" and stack.wireguard is None:
            has, lists = self.cluster.snapshot.has_node_file, (WG_ENDPOINTS, WG_ALLOWED)
            lacking = next((file for file in lists if not has(node, file.name) or stack.why_unread(file)), WG_ENDPOINTS)
            text += f" ({stack.lacking(lacking)})"
        return walk.note(text)

    def _unpacked(self, walk: Walk, carried: Carried) -> Iterator[Way]:
        """A packet that came out of a tunnel at the other end."""
        walk = walk.note(f"unpacked by {carried.peer_device}: carried in {carried.text} (the other end is {carried.told_by})")
        return self._received(walk, self.cluster.stack(str(carried.peer)), carried.peer_device)

    def _to_own_pod(self, walk: Walk, pod: Pod, device: str | None, *, through_itself: bool) -> Iterator[Way]:
        """A pod of this node, by a gateway: the node itself (as Cilium's cilium_host), or a router, which a node's own pods never need."""
        name, address = f"{pod.namespace}/{pod.name}", walk.packet.destination
        if through_itself:
            note = f"{device} takes {address} to pod {name} (inferred: the route ends at the node)"
            return self._to_pod(walk.note(note), pod, device)
        stack = self.cluster.stack(str(pod.node_name))
        text = f"how node {pod.node_name} reaches its own pod {name} at {address}: the routes that were read lead out of {device} instead"
        if dead := links.dead_ways(stack.routing, address):
            text += f", since its link is down ({dead}); where the packet ends then is not recorded"
            return iter([walk.unknown(Unknown(code="LINK_STATE_UNKNOWN", text=text, at={"node": stack.name, "pod": name}))])
        text += ", as they do when they are older than the pod"
        if shut := links.shut_veths(stack.routing):
            text += f", or when its link is down: {', '.join(shut[:3])} of the node {'is' if len(shut) == 1 else 'are'} shut"
        return iter([walk.unknown(Unknown(code="DATA_MISSING", text=text, at={"node": str(pod.node_name), "pod": name}))])

    def _beyond(self, walk: Walk, routed: d.Routed, device: str | None, pod: Pod | None) -> Iterator[Way]:
        """The next hop is no node: a router, or an address on the link that no node holds."""
        destination, node = walk.packet.destination, routed.node
        port = self.cluster.port_of(destination)
        behind = self._held_behind(destination) if routed.route.gateway is not None else ()
        # NB: nodes hold a Service's address to take it themselves (NodeLocal DNS, on each of them): no router brings it.
        if behind and not self.cluster.objects.services_with_address(destination):
            yield from self._to_holder(walk, routed, behind[0].node, device)
        elif port is not None and not behind:
            yield from self._to_node(walk, port, device)
        elif pod is not None and pod.node_name and (lacked := self._lacked(node, pod.node_name, destination)):
            router = f"to {routed.route.next_hop}, of which nothing is recorded"
            text = f"where the packet for {destination} ends: {lacked.text}; its default route hands it {router}"
            yield walk.unknown(Unknown(code="POD_ROUTE_MISSING", text=text, at={"node": node}))
        elif pod is not None and pod.node_name and pod.node_name != node:
            yield from self._by_network(walk, routed, pod.node_name, device)
        elif walk.answering and destination in self._dialling:
            yield outside.to_client(walk, device)
        elif balancer := balancer_at(self.cluster.objects, destination):
            stack, ways = self.cluster.stack(node), self._to_balancer(walk, balancer, device)
            ended = announced.left_alone(walk, balancer, stack, routed.route)
            yield from announced.unheard_by_itself(walk, ways, balancer, stack, routed.route) if ended is None else [ended]
        elif destination == self._client:
            through = self._back_through_balancer(walk, device)
            yield outside.to_client(through, device if through is walk else None)
        elif (found := self.cluster.endpoint_with_ip(destination)) and (gone := self._gone_node(found[1])):
            sends = f"Node {node} sends the packet out of {shown_device(device)} to {destination}"
            listed = f"an endpoint that an EndpointSlice of {found[0].namespace}/{found[0].service} lists on node {gone}"
            text = f"{sends}, {listed}: no Node object of that name is left, and no pod has the address"
            yield walk.end(Disposition.LOST, Reason(code="ENDPOINT_NODE_GONE", text=text), went_out=device)
        elif found:
            yield outside.to_endpoint(walk, found[0].namespace, found[0].service, found[1].node_name, device)
        elif not behind and (answering := arp_answerers(self.cluster, destination)):
            yield from self._by_arp(walk, answering, device)
        else:
            yield self._left_behind(walk, routed)

    def _held_behind(self, destination: Address) -> tuple[Port, ...]:
        """The nodes that hold an address, where none does on a device that leads to the network: on a bridge of containers, say."""
        if self.cluster.is_node_address(destination) or self._answering_outside(destination):
            return ()
        return self.cluster.ports_of(destination)

    def _to_holder(self, walk: Walk, routed: d.Routed, node: str, device: str | None) -> Iterator[Way]:
        """A router gets a packet for an address that *node* holds towards its pods or containers: whether it knows the way is in no file.

        Where it is of the node's own range of pods, the network is taken to bring it as it brings their addresses.
        """
        destination, holder = walk.packet.destination, self.cluster.node(node)
        if holder is not None and any(destination in network for network in holder.pod_cidrs):
            return self._by_network(walk, routed, node, device)
        return iter([self._not_known_to_come(walk, node)])

    def _not_known_to_come(self, walk: Walk, node: str) -> Ending:
        """The end of a packet outside that somebody there may bring to *node*, which holds its destination, or may not."""
        held = f"node {node} holds and its Node object does not list"
        text = f"whether the network outside brings {walk.packet.destination} to the cluster, an address that {held}"
        return walk.unknown(Unknown(code="DATA_MISSING", text=text, at={"node": node}))

    def _gone_node(self, endpoint: Endpoint) -> str | None:
        """The node of an endpoint that no Pod object owns, where the Node objects that were read have none of that name."""
        objects, name = self.cluster.objects, endpoint.node_name
        read_whole = bool(objects.nodes and objects.pods) and not objects.faults
        return name if name and read_whole and self.cluster.node(name) is None else None

    def _lacked(self, node: str, other: str, destination: Address) -> Lacked | None:
        """The route that *node* lacks to a pod of *other*, unless the question assumes that the network does without."""
        return None if self.assuming.setting(NETWORK) is not None else lacked_route(self.cluster, node, other, destination)

    def _by_network(self, walk: Walk, routed: d.Routed, other: str, device: str | None) -> Iterator[Way]:
        """A node sends to a pod of node *other* by a next hop that is no node: the network between them has to know the way."""
        destination, node = walk.packet.destination, routed.node
        texts = {
            ROUTES_PODS: "the network between the nodes is taken to bring pod addresses to their nodes, as no node's route says so",
            DROPS_PODS: "the network between the nodes is taken not to know pod addresses",
        }
        setting = self.assuming.picked(NETWORK, (ROUTES_PODS, DROPS_PODS), texts.__getitem__)
        walk = walk.assuming(f"{NETWORK}:{setting}")
        if setting == DROPS_PODS:
            text = (
                f"Node {node} sends the packet out of {shown_device(device)} to {destination}, and no node's route leads it to node {other}"
            )
            reason = Reason(code="NETWORK_DROPS_PODS", text=f"{text}: {texts[DROPS_PODS]}")
            return iter([walk.end(Disposition.LOST, reason, went_out=device)])
        note = f"the network takes {destination} to node {other} (inferred: no node's route says so)"
        return self._by_some_device(walk.note(note), other, self._arrivals(other, walk.packet, routed.route), device)

    def _by_arp(self, walk: Walk, answering: tuple[Port, ...], went_out: str | None) -> Iterator[Way]:
        """No device of the link holds the address, but nodes answer for it: which one the sender hears first is not known."""
        destination = walk.packet.destination
        if len(answering) == 1:
            yield from self._to_node(walk.note(f"node {answering[0].node} answers ARP requests for {destination}"), answering[0], went_out)
            return
        text = f"which of {len(answering)} nodes answers the ARP request for {destination} first: all hold it on a dummy device"
        unknown = Unknown(code="ARP_ANSWERED_BY_SEVERAL", text=text, at={"address": str(destination)})
        asked = f"which of nodes {', '.join(p.node for p in answering)} answers the ARP request for {destination} first"
        ports = {f"node {port.node} answers the ARP request for {destination} first": port for port in answering}
        yield from self._either(walk, asked, ports, unknown, went_out)

    def _arrivals(self, node: str, packet: Packet, sent: RouteResult | None = None) -> tuple[str, ...]:
        """The devices by which the network may bring *node* a packet for an address that none of them holds (a pod's own, in a cloud).

        Where it was *sent* on a link: those that hold an address of that link's network (a flat overlay, several cards in one subnet). Else
        the one of the node's address, and the one by which the answer leaves where policy routing names another.
        """
        routing = self.cluster.stack(node).routing
        network = sent.route.destination if sent is not None and sent.route is not None and sent.gateway is None else None
        if network is not None and network.prefixlen:
            held = dict.fromkeys(a.device for a in routing.addresses if a.network == network)
            if held:
                return tuple(held)
        entrance = self._entrance(node, packet.destination)
        if entrance is None or routing.inferred_from or not routing.rules(packet.destination.version):
            return () if entrance is None else (entrance,)
        back = routing.lookup(packet.source, source=packet.destination, iif=self._device_of(node, packet.destination))
        leading = self.cluster.router_devices(node, packet.destination.version)
        others = (way.device for way in back if way.kind is ResultKind.UNICAST and way.device in leading and way.device is not None)
        return tuple(dict.fromkeys((entrance, *others)))

    def _entrance(self, node: str, destination: Address) -> str | None:
        """The device by which traffic from the network comes to *node*: the one of its internal address."""
        found = self.cluster.node(node)
        for address in found.ips if found else ():
            if address.version == destination.version and (port := self.cluster.port_of(address)):
                return port.device
        return None

    def _unclaimed(self, walk: Walk) -> Ending | None:
        """The end where nobody claims the address only because the objects that could are missing or cannot be read."""
        destination, objects = walk.packet.destination, self.cluster.objects
        if objects.faults:
            text = f"whether {destination} belongs to an object that could not be read: {objects.faults[0]}"
            return walk.unknown(Unknown(code="DATA_MISSING", text=text.splitlines()[0], at={"file": objects.faults[0].file}))
        if not objects.services and not any(o.kind == "Service" for o in self.cluster.snapshot.layout.objects):
            text = f"whether {destination} is a Service's address: no Service objects are in the snapshot (services.json)"
            return walk.unknown(Unknown(code="DATA_MISSING", text=text, at={"file": "services.json"}))
        in_pod_network = any(destination in cidr for node in objects.nodes for cidr in node.pod_cidrs)
        if in_pod_network and not objects.pods:
            text = f"which pod has {destination}: no Pod objects are in the snapshot (pods.json)"
            return walk.unknown(Unknown(code="DATA_MISSING", text=text, at={"file": "pods.json"}))
        return None

    def _left_behind(self, walk: Walk, routed: d.Routed) -> Ending:
        """The end of a packet that leaves *routed*'s node for an address that nobody of the snapshot has."""
        if unclaimed := self._unclaimed(walk):
            return unclaimed
        destination, device = walk.packet.destination, routed.route.device
        sends = f"Node {routed.node} sends the packet out of {shown_device(device)} to {destination}"
        if why := why_the_clusters(self.cluster, destination, _sent(walk)):
            text = f"{sends}, which no pod, node, endpoint or load balancer of the snapshot owns; {why}"
            return walk.end(Disposition.LOST, Reason(code="NOT_OWNED", text=text), went_out=device)
        text = f"{sends}, which is no address of the cluster, from {walk.packet.source}: what is beyond is not recorded"
        return outside.beyond(walk, device, Reason(code="LEAVES_CLUSTER", text=text), left_from=routed.node)

    # -- into the next stack ------------------------------------------------------------------------------------------------------

    def _to_node(self, walk: Walk, port: Port | None, went_out: str | None, *, by: RouteResult | None = None) -> Iterator[Way]:
        if port is None:
            text = f"which node holds {walk.packet.destination}: several claim it"
            return iter([walk.unknown(Unknown(code="DATA_MISSING", text=text))])
        if by is not None and walk.visit.kind is StackKind.NODE and (ended := self._unanswered(walk, port, by)):
            return iter([self._unheard(walk, port, by) or ended])
        if port.device is None:
            return self._by_an_uplink(walk, port.node, went_out)
        return self._enter(walk, port, went_out, by=by)

    def _unanswered(self, walk: Walk, port: Port, by: RouteResult) -> Ending | None:
        """The end of what a node sends by a way whose next hop, at *port*, does not answer who has it."""

        def ended() -> Ending | None:
            sender = self.cluster.stack(walk.visit.name)
            heard = self._hearing(walk.visit.name, sender, by, port)
            return links.unanswered(walk, sender, by, self.cluster.stack(port.node), heard)

        if is_stand_in(self.cluster):  # whoever listens hears what decides it, each time
            return ended()
        asked = ("answers", walk.visit.name, by.device, by.next_hop, port, walk.packet.source)
        return None if self.cluster.looked_up(asked, lambda: ended() is None) else ended()

    def _hearing(self, node: str, sender: NodeStack, by: RouteResult, port: Port) -> tuple[str, ...]:
        """The devices of *port*'s node that hear *sender*, the stack of *node*, ask who has the next hop of *by*."""
        if is_stand_in(self.cluster):
            return hearing(self.cluster, sender.routing, by, port)
        asked = ("hearing", node, by.device, by.next_hop.version, port)
        return self.cluster.looked_up(asked, lambda: hearing(self.cluster, sender.routing, by, port))

    def _enter(self, walk: Walk, port: Port, went_out: str | None, *, by: RouteResult | None = None) -> Iterator[Way]:
        """A packet comes to a node by a device, by one that nobody named where that is not known."""
        if ended := self._unheard(walk, port, by):
            return iter([ended])
        entered = walk.enter(StackKind.NODE, port.node, node=port.node, came_in=port.device, went_out=went_out)
        return self._received(entered, self.cluster.stack(port.node), port.device)

    def _unheard(self, walk: Walk, port: Port, by: RouteResult | None) -> Ending | None:
        """The end of what is sent to a node whose device to the network does not work; a tunnel's packets come by that one too.

        NB: an address of another device is answered for by every device of the node; only those of the network's own count here. Nor is
        an IPv6 address left on a device that is shut.
        """
        stack = self.cluster.stack(port.node)
        facing = self._facing_network(port.node)
        device = None if is_unnamed(port.device) else port.device
        device = (links.underlay(stack.routing, device) if device else None) or device
        if device is None and len(facing) == 1:
            device = facing[0]
        if device is None or (device == port.device and device not in facing):
            return None
        sender = self.cluster.stack(walk.visit.name) if walk.visit.kind is StackKind.NODE else None
        return links.unheard(walk, stack, device, sender, by)

    def _facing_network(self, node: str) -> tuple[str, ...]:
        """The devices that hold an address by which the cluster knows *node*."""
        return self.cluster.once(("facing the network", node), lambda: self._holding_its_addresses(node))

    def _holding_its_addresses(self, node: str) -> tuple[str, ...]:
        found = self.cluster.node(node)
        held = (p.device for a in (found.ips if found else ()) for p in self.cluster.ports_of(a) if p.node == node)
        return tuple(dict.fromkeys(device for device in held if device is not None))

    def _received(self, walk: Walk, stack: NodeStack, device: str | None, *, phys_in: str | None = None) -> Iterator[Way]:
        """A packet that has entered a node by a device, by one that nobody named where it is None."""
        device = device or SOME_DEVICE
        state = (stack.name, device, walk.packet, walk.answering)
        if state in walk.seen:
            text = f"The packet comes to node {stack.name} again just as it was: it goes in circles until its TTL is used up"
            return iter([walk.end(Disposition.LOOP, Reason(code="TTL_LOOP", text=text))])
        return self._nodes.receive(changed(walk, seen=walk.seen | {state}), stack, device, phys_in=phys_in)

    def _to_pod(self, walk: Walk, pod: Pod, went_out: str | None) -> Iterator[Way]:
        if pod.node_name and went_out and (ended := self._behind_some_port(walk, pod, pod.node_name, went_out)):
            return iter([ended])
        entered = walk.enter(StackKind.POD, pods.name_of(pod), node=None, came_in="eth0", went_out=went_out)
        stack = self.cluster.pod_stack(pod)
        if stack is not None and walk.packet.source != walk.packet.destination:
            return self._nodes.receive(entered, stack, _device_of_pod(stack, pod))
        return iter([pods.received(entered, pod, self._around.process_at)])

    def _behind_some_port(self, walk: Walk, pod: Pod, node: str, bridge: str) -> Ending | None:
        """Unknown where a bridge has ports without carrier and fewer others than pods: which pod is behind which port is not recorded."""
        routing = self.cluster.stack(node).routing
        link = routing.link(bridge)
        ports = routing.bridge_ports(bridge) if link is not None and link.is_bridge else ()
        dead = [port.name for port in ports if port.is_down or port.has_carrier is False]
        if not dead:
            return None
        networks = [held.network for held in routing.addresses_of(bridge)]
        pods_here = [
            p
            for p in self.cluster.objects.pods
            if p.node_name == node and not p.host_network and not p.has_ended and any(a in n for a in p.ips for n in networks)
        ]
        if len(pods_here) <= len(ports) - len(dead):
            return None
        text = (
            f"whether pod {pods.name_of(pod)} is behind a port that works: bridge {bridge} of node {node} has {len(ports)} ports for "
            f"{len(pods_here)} pods, and {', '.join(dead[:3])} without carrier; whose port is whose is not recorded"
        )
        return walk.unknown(Unknown(code="LINK_STATE_UNKNOWN", text=text, at={"node": node, "file": IP_LINK.name}))

    def _to_balancer(self, walk: Walk, balancer: Balancer, went_out: str | None) -> Iterator[Way]:
        self._balancers[TableId(TableKind.BALANCER, balancer.name)] = balancer
        return self._by_classes(walk, balanced(walk, balancer, went_out, self._around.process_at, partial(self._handing, balancer.name)))

    def _by_classes(self, walk: Walk, ways: Iterator[Way]) -> Iterator[Way]:
        """Group *ways* of a load balancer that picks pods; behind one that picks nodes, what these draw is grouped."""
        first = next(ways, None)
        if first is None:
            return
        if not isinstance(first, d.Balanced) or self.cluster.pod_with_ip(first.walk.packet.destination, first.node) is None:
            yield first
            yield from ways
            return
        for way in self._grouping.of(walk, (_placed(way) for way in chain((first,), ways))):
            yield way if isinstance(way, Ending) else d.Balanced(walk=way[0], node=way[1])

    def _handing(self, name: str, marked: str | None, met: list[str]) -> Handing:
        """How the load balancer of the Service *name* hands over: as its provider's marks say, else as is assumed."""
        settings = KINDS[FRONT].settings
        text = f"the load balancer of {name} is taken to hand over "
        way = marked or self.assuming.picked(FRONT, tuple(settings), lambda setting: text + settings[setting])
        met += [] if marked else [f"{FRONT}:{way}"]
        entry = self.assuming.setting(ENTERS) if way != POD else None
        if entry is not None:
            nodes = (entry, *self.cluster.node_names)
            self.assuming.picked(
                ENTERS, tuple(dict.fromkeys(nodes)), lambda node: f"the load balancer of {name} is taken to pick node {node}"
            )
            met.append(f"{ENTERS}:{entry}")
        return Handing(way=way, entry=entry, check=self._check)

    def _balanced(self, chosen: d.Balanced) -> Iterator[Way]:
        destination = chosen.walk.packet.destination
        held = self.cluster.port_of(destination)
        if held is None:
            return self._by_some_device(chosen.walk, chosen.node, self._arrivals(chosen.node, chosen.walk.packet), None)
        return self._to_node(chosen.walk, held, None)

    def _back_through_balancer(self, walk: Walk, went_out: str | None) -> Walk:
        """An answer to a client whose request came through a load balancer passes it again, which undoes its translation."""
        for table in dict.fromkeys(table for table, _ in walk.entries if table in self._balancers):
            if (through := passed_back(walk, self._balancers[table], went_out)) is not None:
                return through
        return walk

    def _accepted(self, departure: d.Accepted) -> Iterator[Way]:
        """A process accepted the connection. NB: the first one on a way is free, as the rules that led to it have paid."""
        walk, name = departure.walk, departure.process.name
        if any(taken.process.name == name and taken.walk.packet == walk.packet for taken in walk.accepted):
            text = f"The connection comes to {name} again just as it was: it is made anew in circles"
            return iter([walk.end(Disposition.LOOP, Reason(code="TTL_LOOP", text=text))])
        if walk.accepted:
            self.budget.spend(_PROCESS)
            if self.budget.is_spent:
                text = "the packet has more processes to pass than one question may walk to (limit work)"
                return iter([walk.unknown(Unknown(code="UNSUPPORTED", text=text))])
        return accepted(departure)

    _CARRIED: ClassVar[Mapping[type[Departure], Callable[[Fabric, Any], Iterator[Way]]]] = {
        d.SentByNode: _sent_by_node,
        d.SentByPod: _sent_by_pod,
        d.SentFromOutside: _sent_from_outside,
        d.Recorded: _recorded,
        d.LeftForNode: _left_for_node,
        d.Routed: _routed,
        d.Balanced: _balanced,
        d.Accepted: _accepted,
    }
    """Where each kind of departure leads."""

"""Between stacks: who gets a packet that leaves a device. Pods, nodes, load balancers, clients outside, or nobody.

The snapshot holds no switch or router of the network between the nodes: a packet to an address of the cluster is taken there, and
where no node's route said so, the hop says that it was inferred.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from tracer.conntrack import Connection
from tracer.frozen import changed
from tracer.kube.node import Node
from tracer.kube.pod import Pod
from tracer.kube.service import Service, ServicePort, TrafficPolicy
from tracer.limits import Budget
from tracer.packet import Address, Family
from tracer.routing import ResultKind, RouteResult, shown_device
from tracer.simulate.crossing import Crossing
from tracer.simulate.node import NodeWalk
from tracer.simulate.walk import Ending, Walk
from tracer.topology.arp import arp_answerers
from tracer.topology.cluster import Cluster, Port
from tracer.topology.stack import NodeStack
from tracer.trace import Disposition, Listener, Place, Reason, StackKind, Unknown

_MOST_HOPS = 32
_BALANCER = "load-balancer "


class Fabric:
    """Carries packets from stack to stack. *client* is the address of the client outside, when there is one; *budget* the question's."""

    def __init__(self, cluster: Cluster, *, client: Address | None = None, budget: Budget | None = None) -> None:
        self.cluster = cluster
        self.budget = budget or Budget(cluster.limits)
        self._client = client
        self.nodes = NodeWalk(self)

    # -- from the sources ---------------------------------------------------------------------------------------------------------

    def from_outside(self, walk: Walk) -> Iterator[Ending]:
        """Carry a packet that a client outside sent."""
        destination = walk.packet.destination
        if self.cluster.is_node_address(destination):
            port = self.cluster.port_of(destination)
            if port is not None and port.device is None and self.cluster.stack(port.node).routing.addresses:
                held = "none of whose devices holds that address"
                if self.cluster.stack(port.node).routing.inferred_from:
                    held = f"whose devices were not recorded ({self.cluster.snapshot.path_of(port.node, 'ip-addr.json')} is missing)"
                text = f"how the network outside brings {destination} to node {port.node}, {held}"
                yield walk.unknown(Unknown(code="DATA_MISSING", text=text, at={"node": port.node}))
                return
            yield from self._to_node(walk, port, None)
        elif balancer := self.cluster.load_balancer(destination):
            yield from self.to_load_balancer(walk, balancer, None)
        elif answering := arp_answerers(self.cluster, destination):
            yield from self._by_arp(walk, answering, None)
        else:
            text = f"{destination} is no address of a node or a load balancer: outside the cluster nobody owns it"
            yield self._unclaimed(walk) or walk.end(Disposition.LOST, Reason(code="NOT_OWNED", text=text))

    def from_pod(self, walk: Walk, pod: Pod) -> Iterator[Ending]:
        """Carry a packet that left a pod's own stack to its node."""
        if pod.node_name is None:
            text = f"pod {pod.namespace}/{pod.name} runs on no node"
            yield walk.unknown(Unknown(code="DATA_MISSING", text=text, at={"pod": f"{pod.namespace}/{pod.name}"}))
            return
        yield from self.from_workload(walk, pod.node_name, pod)

    def from_workload(self, walk: Walk, node: str, pod: Pod | None) -> Iterator[Ending]:
        """Carry a packet from a pod (or an endpoint without a Pod object) to the node it runs on."""
        stack = self.cluster.stack(node)
        device = self._device_of(node, walk.packet.source)
        link = stack.routing.link(device) if device else None
        entered = walk.enter(StackKind.NODE, node, node=node, came_in=device, went_out="eth0")
        bridged = link is not None and link.is_bridge
        nf_call = self._passes_rules(stack, walk.packet.destination.version) if bridged else False
        neighbour = self.cluster.pod_with_ip(walk.packet.destination, node)
        if bridged and not nf_call and neighbour and neighbour.node_name == node and neighbour is not pod:
            if nf_call is None:
                text = f"whether frames on bridge {device} pass the node's rules (net.bridge.bridge-nf-call-iptables in sysctl.txt)"
                yield entered.unknown(Unknown(code="DATA_MISSING", text=text, at={"node": node, "file": "sysctl.txt"}))
                return
            yield from self._to_pod(entered.note(f"bridged by {device}, past the node's rules"), neighbour, device)
            return
        yield from self.nodes.receive(entered, stack, device, phys_in="?" if bridged and nf_call else None)

    def _passes_rules(self, stack: NodeStack, version: int) -> bool | None:
        """Whether bridged frames pass iptables; without br_netfilter there is no such sysctl, and they do not."""
        recorded = stack.routing.bridge_nf_call(version)
        if recorded is not None or not stack.routing.sysctls.values:
            return recorded
        return False

    def _device_of(self, node: str, address: Address) -> str | None:
        """The node's device towards a pod's *address*."""
        results = self.cluster.stack(node).routing.lookup(address)
        return next((r.device for r in results if r.kind is ResultKind.UNICAST and r.gateway is None), None)

    # -- from a node --------------------------------------------------------------------------------------------------------------

    def carry(self, walk: Walk, crossing: Crossing, result: RouteResult) -> Iterator[Ending]:
        """Carry a packet that leaves a node by *result*'s device towards its next hop."""
        destination, device, node = walk.packet.destination, result.device, crossing.stack.name
        if len(walk.hops) > _MOST_HOPS:
            yield walk.end(Disposition.LOOP, Reason(code="TTL_LOOP", text=f"The packet passed {_MOST_HOPS} stacks and does not arrive"))
            return
        pod = self.cluster.pod_with_ip(destination, node)
        if result.gateway is None and pod and pod.node_name == node:
            yield from self._to_pod(walk, pod, device)
            return
        port = self.cluster.port_of(result.next_hop)
        if walk.answering and (through := self._through_load_balancer(walk, device)) is not walk:
            walk, device, port = through, None, self.cluster.port_of(destination)
        if port is not None and port.node != node:
            yield from self._to_node(walk, port, device)
            return
        if pod is not None and pod.node_name == node:
            yield from self._to_own_pod(walk, pod, device, through_itself=port is not None)
            return
        yield from self._beyond(walk, node, device, destination, pod)

    def _to_own_pod(self, walk: Walk, pod: Pod, device: str | None, *, through_itself: bool) -> Iterator[Ending]:
        """A pod of this node, by a gateway: the node itself (as Cilium's cilium_host), or a router, which a node's own pods never need."""
        name, address = f"{pod.namespace}/{pod.name}", walk.packet.destination
        if through_itself:
            note = f"{device} takes {address} to pod {name} (inferred: the route ends at the node)"
            yield from self._to_pod(walk.note(note), pod, device)
            return
        text = (
            f"how node {pod.node_name} reaches its own pod {name} at {address}: the routes that were read lead out of {device} instead, "
            "as they do when they are older than the pod"
        )
        yield walk.unknown(Unknown(code="DATA_MISSING", text=text, at={"node": str(pod.node_name), "pod": name}))

    def _beyond(self, walk: Walk, node: str, device: str | None, destination: Address, pod: Pod | None) -> Iterator[Ending]:
        """The next hop is no node: a router, or an address on the link that no node holds."""
        port = self.cluster.port_of(destination)
        if port is not None:
            yield from self._to_node(walk, port, device)
        elif pod is not None and pod.node_name and pod.node_name != node:
            note = f"the network takes {destination} to node {pod.node_name} (inferred: no node's route says so)"
            arrival = self._entrance(pod.node_name, destination)
            yield from self._to_node(walk.note(note), Port(node=pod.node_name, device=arrival), device)
        elif balancer := self.cluster.load_balancer(destination):
            yield from self.to_load_balancer(walk, balancer, device)
        elif destination == self._client:
            through = self._through_load_balancer(walk, device)
            yield self._to_client(through, device if through is walk else None)
        elif found := self.cluster.endpoint_with_ip(destination):
            yield self._to_endpoint(walk, found[0].namespace, found[0].service, found[1].node_name, device)
        elif answering := arp_answerers(self.cluster, destination):
            yield from self._by_arp(walk, answering, device)
        else:
            yield self._lost(walk, node, device)

    def _by_arp(self, walk: Walk, answering: tuple[Port, ...], went_out: str | None) -> Iterator[Ending]:
        """No device of the link holds the address, but nodes answer for it: which one the sender hears first is not known."""
        destination = walk.packet.destination
        if len(answering) == 1:
            yield from self._to_node(walk.note(f"node {answering[0].node} answers ARP requests for {destination}"), answering[0], went_out)
            return
        text = f"which of {len(answering)} nodes answers the ARP request for {destination} first: all hold it on a dummy device"
        unknown = Unknown(code="ARP_ANSWERED_BY_SEVERAL", text=text, at={"address": str(destination)})
        for port in answering:
            condition = f"node {port.node} answers the ARP request for {destination} first"
            branch = changed(
                walk,
                probability=walk.probability / len(answering),
                conditions=(*walk.conditions, condition),
                unknowns=(*walk.unknowns, unknown),
            )
            yield from self._to_node(branch, port, went_out)

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

    def _lost(self, walk: Walk, node: str, device: str | None) -> Ending:
        if unclaimed := self._unclaimed(walk):
            return unclaimed
        destination = walk.packet.destination
        owners = "no pod, node, endpoint or load balancer of the snapshot"
        text = f"Node {node} sends the packet out of {shown_device(device)} to {destination}, which {owners} owns"
        return walk.end(Disposition.LOST, Reason(code="LEAVES_CLUSTER", text=text), went_out=device)

    def _to_node(self, walk: Walk, port: Port | None, went_out: str | None) -> Iterator[Ending]:
        if port is None:
            text = f"which node holds {walk.packet.destination}: several claim it"
            yield walk.unknown(Unknown(code="DATA_MISSING", text=text))
            return
        entered = walk.enter(StackKind.NODE, port.node, node=port.node, came_in=port.device, went_out=went_out)
        yield from self.nodes.receive(entered, self.cluster.stack(port.node), port.device)

    def _to_pod(self, walk: Walk, pod: Pod, went_out: str | None) -> Iterator[Ending]:
        entered = walk.enter(StackKind.POD, f"{pod.namespace}/{pod.name}", node=None, came_in="eth0", went_out=went_out)
        yield self.into_pod(entered, pod)

    def into_pod(self, walk: Walk, pod: Pod) -> Ending:
        """End the walk in a pod's own stack; a pod is taken to have no rules of its own."""
        packet, name = walk.packet, f"{pod.namespace}/{pod.name}"
        if packet.source == packet.destination and packet.family is Family.IP and len(walk.hops) > 1:
            text = f"Pod {name} gets a packet from its own address {packet.source} and drops it: nothing masqueraded the hairpin connection"
            return walk.end(Disposition.DROPPED, Reason(code="HAIRPIN_WITHOUT_MASQ", text=text))
        port = packet.destination_port
        declared = port is not None and pod.declares(port, packet.protocol)
        place = Place(kind="pod", namespace=pod.namespace, name=pod.name, node=pod.node_name, ip=packet.destination, port=port)
        reason = Reason(code="DELIVERED", text=f"Handed to pod {name} at {packet.destination} port {port}")
        return walk.end(Disposition.DELIVERED, reason, destination=place, listener=Listener.DECLARED if declared else Listener.UNDECLARED)

    def _to_client(self, walk: Walk, went_out: str | None) -> Ending:
        packet = walk.packet
        place = Place(kind="external", ip=packet.destination, port=packet.destination_port)
        walk = walk.enter(StackKind.EXTERNAL, str(packet.destination), node=None, came_in=None, went_out=went_out)
        reason = Reason(code="DELIVERED", text=f"Handed to the client at {packet.destination}")
        return walk.end(Disposition.DELIVERED, reason, destination=place, listener=Listener.UNKNOWN)

    def _to_endpoint(self, walk: Walk, namespace: str, service: str | None, node: str | None, went_out: str | None) -> Ending:
        packet = walk.packet
        shown = f"{namespace}/{service}" if service else None
        place = Place(kind="endpoint", ip=packet.destination, port=packet.destination_port, node=node, service=shown)
        walk = walk.enter(StackKind.EXTERNAL, str(packet.destination), node=None, came_in=None, went_out=went_out)
        text = f"Handed to {packet.destination}, which an EndpointSlice of {shown} lists and no Pod object owns"
        return walk.end(Disposition.DELIVERED, Reason(code="DELIVERED", text=text), destination=place, listener=Listener.UNKNOWN)

    def _through_load_balancer(self, walk: Walk, went_out: str | None) -> Walk:
        """An answer to a client whose request came through a load balancer passes it again, which undoes its translation."""
        for name in dict.fromkeys(stack for stack, _ in walk.entries if stack.startswith(_BALANCER)):
            if found := walk.entry(name, walk.packet):
                connection, _ = found
                entered = walk.enter(StackKind.LOAD_BALANCER, name.removeprefix(_BALANCER), node=None, came_in=None, went_out=went_out)
                port = connection.original.destination_port
                packet = changed(
                    walk.packet, source=connection.original.destination, source_port=port if isinstance(port, int) else None, mark=0
                )
                return changed(entered, packet=packet).note("modelled: the answer passes the load balancer, which restores its own address")
        return walk

    # -- load balancers -----------------------------------------------------------------------------------------------------------

    def to_load_balancer(self, walk: Walk, service: Service, went_out: str | None) -> Iterator[Ending]:
        """Carry a packet to a Service's load balancer: a model, DNAT to the node port of a healthy node, the client's address kept."""
        packet, name = walk.packet, f"{service.namespace}/{service.name}"
        walk = walk.enter(StackKind.LOAD_BALANCER, name, node=None, came_in=None, went_out=went_out)
        walk = walk.note("modelled from the Service's status: passes the client's address on, picks any healthy node with equal odds")
        port = service.port(packet.destination_port or 0, packet.protocol)
        if port is None:
            text = f"The load balancer of {name} has no listener for {packet.protocol.value} port {packet.destination_port}"
            yield walk.end(Disposition.LOST, Reason(code="LB_NO_LISTENER", text=text))
            return
        if port.node_port is None:
            text = f"{name} has no node port for port {port.port}: how its load balancer reaches the pods is up to its controller"
            yield walk.unknown(Unknown(code="LB_NOT_MODELLED", text=text, at={"service": name}))
            return
        yield from self._balanced(walk, service, port, name)

    def _balanced(self, walk: Walk, service: Service, port: ServicePort, name: str) -> Iterator[Ending]:
        version = walk.packet.destination.version
        objects = self.cluster.objects
        if not objects.nodes or (service.external_traffic_policy is TrafficPolicy.LOCAL and not objects.slices):
            file = "endpointslices.json" if objects.nodes else "nodes.json"
            text = f"which nodes the load balancer of {name} finds healthy: {file} is not in the snapshot"
            yield walk.unknown(Unknown(code="DATA_MISSING", text=text, at={"file": file}))
            return
        healthy = [(n, a) for n in self.healthy_nodes(service) if (a := _internal_ip(n, version)) is not None]
        if not healthy:
            text = f"The load balancer of {name} has no healthy node to send to"
            yield walk.end(Disposition.LOST, Reason(code="NO_HEALTHY_NODES", text=text))
            return
        for node, address in healthy:
            packet = changed(walk.packet, destination=address, destination_port=port.node_port)
            connection = Connection.begin(walk.packet).translated(packet)
            branch = changed(walk, packet=packet, probability=walk.probability * Fraction(1, len(healthy)))
            branch = branch.with_entry(f"{_BALANCER}{name}", connection)
            held = self.cluster.port_of(address)
            yield from self._to_node(branch, held or Port(node=node.name, device=None), None)

    def healthy_nodes(self, service: Service) -> list[Node]:
        """Return the nodes that a load balancer's health check finds good: with policy Local those with a ready endpoint, else all.

        Nodes labelled ``node.kubernetes.io/exclude-from-external-load-balancers`` are never among them.
        """
        nodes = [n for n in self.cluster.objects.nodes if not n.exclude_from_external_load_balancers]
        if service.external_traffic_policy is not TrafficPolicy.LOCAL:
            return nodes
        slices = self.cluster.objects.slices_of(service.namespace, service.name)
        local = {e.node_name for s in slices for e in s.endpoints if e.ready and not e.terminating}
        return [n for n in nodes if n.name in local]


def _internal_ip(node: Node, version: int) -> Address | None:
    return next((a for a in node.internal_ips if a.version == version), None)

"""The cluster as a set of stacks, and who owns an address in it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from tracer.assumptions import MODE, PROGRAMMING
from tracer.kept import Kept
from tracer.kube.endpointslice import Endpoint, EndpointSlice
from tracer.kube.fields import Network
from tracer.kube.node import Node
from tracer.kube.objects import Objects
from tracer.kube.pod import Pod
from tracer.limits import COMPARED, KEPT_LOOKS, PROGRAMMED, PROGRAMS, WHAT_IFS, Limits
from tracer.packet import Address, said, unsaid
from tracer.routing import IPVS_DUMMY, Placement, is_unnamed
from tracer.snapshot import Snapshot
from tracer.snapshot.node_files import HELD_ADDRESSES, VIRTUAL_SERVERS, WAYS, names
from tracer.snapshot.proxy_mode import proxy_mode
from tracer.topology.names import RuleNames
from tracer.topology.plugin import plugin_of, through_tunnel, towards_pods
from tracer.topology.stack import NodeStack
from tracer.topology.virtual_names import VirtualNames
from tracer.values import dataclass

if TYPE_CHECKING:
    from tracer.overrides.node_change import NodeChange
    from tracer.overrides.what_if import Overridden
    from tracer.snapshot.drift import NodeDrift
    from tracer.topology.programmed import Keys, Programmed

T = TypeVar("T")
Walked = tuple[str, str, str]
"""A chain: the file that it stands in, its table and its name."""
_VIRTUAL_KINDS = {"dummy"}
_OF_A_POD = "the pod is taken to hold its addresses on one device, and to send everything to its node"


def _pod_networks(nodes: Iterable[Node]) -> Iterator[tuple[Network, Address]]:
    """Yield each pod network of *nodes*, with the node's own address of that family."""
    for node in nodes:
        for network in node.pod_cidrs:
            yield from ((network, a) for a in [a for a in node.internal_ips if a.version == network.version][:1])


# What is worked out of all objects of a kind, and the files that say which addresses a node holds.
_DERIVED = {"node_names": "Node", "_ports": "Node", "_host_pods": "Pod"}
_EVERY = 1_000_000
_HELD_FILES = frozenset(names(HELD_ADDRESSES))


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """What a question made of the cluster *before*."""

    before: Cluster
    what: Overridden


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A device of a node that holds an address: where packets to that address come in."""

    node: str
    device: str | None


def stack_of_pod(pod: Pod) -> str:
    """Return what the own stack of *pod* is called: where its files are, below ``nodes/``."""
    return f"{pod.node_name}/pods/{pod.namespace}_{pod.name}"


class Cluster:
    """Everything a walk asks of a snapshot. Build it once a snapshot: it reads files when first needed and keeps what it read."""

    def __init__(
        self,
        snapshot: Snapshot,
        *,
        indexed: bool = True,
        settings: Mapping[str, str] | None = None,
        only: Keys | None = None,
        base: Cluster | None = None,
        changed: Changed | None = None,
    ) -> None:
        self.snapshot = snapshot
        self.objects: Objects = snapshot.objects
        self._indexed = indexed
        self._settings: Mapping[str, str] = settings or {}
        self._only, self._base = only, base
        self._changed = changed
        self._what_ifs: Kept[tuple[tuple[str, ...], str], tuple[Cluster]] = Kept(WHAT_IFS)
        self._with_settings: Kept[tuple[tuple[str, str], ...], tuple[Cluster]] = Kept(PROGRAMS)
        self._for_services: Kept[Keys, tuple[Cluster]] = Kept(PROGRAMS)
        self._stacks: dict[str, NodeStack] = {}
        self._recorded: dict[str, bool] = {}
        self._router_devices: dict[tuple[str, int], tuple[str, ...]] = {}
        self._once: dict[tuple[Hashable, ...], Any] = {}
        self._looks: Kept[tuple[Hashable, ...], tuple[Any]] = Kept(KEPT_LOOKS)

    @classmethod
    def from_snapshot(cls, snapshot: Snapshot, *, indexed: bool = True) -> Cluster:
        """Return the cluster of *snapshot*; *indexed* False walks every chain rule by rule (the reference, slower)."""
        return cls(snapshot, indexed=indexed)

    def programmed_as(self, words: Iterable[str]) -> Cluster:
        """Return the cluster whose nodes without recorded rules are programmed as assumptions (*words*) say: this one where none does."""
        parts = [word.partition(":") for word in words]
        settings = tuple(sorted((name, setting) for name, _, setting in parts if name in PROGRAMMING))
        if settings == tuple(sorted(self._settings.items())) or not self._rests_on_assumptions:
            return self
        return self._with_settings.once(settings, lambda: self._based(settings=dict(settings)))

    def _based(self, *, settings: Mapping[str, str], only: Keys | None = None) -> Cluster:
        """Return this cluster with other settings, or with the rules of other Services: what was recorded is read once."""
        return Cluster(self.snapshot, indexed=self._indexed, settings=settings, only=only, base=self, changed=self._changed)

    def overridden(self, words: tuple[str, ...], apply: str = "") -> Cluster:
        """Return the cluster as what-if words, and a manifest (the JSON of a list of objects), would make it: this one where all is so.

        :raises QueryError: something that is named is not there, or the API would refuse a change.
        """
        if not words and not apply:
            return self
        return self._what_ifs.once((words, apply), lambda: self._overridden(words, apply))

    def _overridden(self, words: tuple[str, ...], apply: str) -> Cluster:
        from tracer.overrides.changed_snapshot import ChangedSnapshot
        from tracer.overrides.what_if import what_if

        what = what_if(self.snapshot, words, apply)
        if what.is_nothing:
            return self
        changed = Changed(before=self, what=what)
        return Cluster(ChangedSnapshot(self.snapshot, what), indexed=self._indexed, settings=self._settings, changed=changed)

    @property
    def what_if(self) -> Overridden | None:
        """Return what a question changed of the recorded cluster; None where nothing was."""
        return self._changed.what if self._changed is not None else None

    def _change_of(self, node: str) -> NodeChange | None:
        if self._changed is None:
            return None
        from tracer.overrides.changed_snapshot import ChangedSnapshot
        from tracer.overrides.node_change import NodeChange

        if not isinstance(self.snapshot, ChangedSnapshot):
            raise TypeError("a changed cluster has a changed snapshot")
        return NodeChange(self._changed.before.snapshot, self.snapshot, self._changed.what, node)

    @cached_property
    def _rests_on_assumptions(self) -> bool:
        """Whether there is a node of which no rules, or nothing of its addresses and routes, were recorded."""
        return not all(self._is_recorded(node) and self._has_ways(node) for node in self.node_names)

    def programmed_for(self, services: Keys) -> Cluster:
        """Return the cluster whose nodes without recorded rules have those of *services* only: this one where that is not worth while."""
        if not self.is_large or self._only is not None:
            return self
        return self._for_services.once(services, lambda: self._based(settings=self._settings, only=services))

    @cached_property
    def is_large(self) -> bool:
        """Return whether there are so many Services, and a node without recorded rules, that all rules are not made for one question."""
        from tracer.topology.programmed import has_rules

        bare = sum(not has_rules(self.snapshot, node) for node in self.node_names)
        return bare * self.objects.number_of("Service") > PROGRAMMED

    def _programmed(self, node: str) -> Programmed | None:
        if self._is_recorded(node):
            return None
        from tracer.topology.programming import programmed

        return programmed(self.snapshot, node, self._settings, self._only)

    @property
    def keeps_answers(self) -> bool:
        """Return whether what one question found may answer the next: not where chains are walked rule by rule, as the reference."""
        return self._indexed

    def once(self, key: tuple[Hashable, ...], worked_out: Callable[[], T]) -> T:
        """Return what was *worked_out* under *key* before, else do so now: something of a node, or of all, as the cluster is."""
        if key not in self._once:
            self._once[key] = worked_out()
        found: T = self._once[key]
        return found

    def looked_up(self, key: tuple[Hashable, ...], worked_out: Callable[[], T]) -> T:
        """Return the same of something that only addresses name, of which there are many: what was kept first is let go."""
        found: T = self._looks.once(key, worked_out)
        return found

    @property
    def limits(self) -> Limits:
        """Return what a question to this cluster may cost."""
        return self.snapshot.limits

    def stack(self, node: str) -> NodeStack:
        """Return the stack of *node*; one without files says so itself."""
        if self._base is not None and self._is_recorded(node) and (self._settings == self._base._settings or self._has_ways(node)):
            return self._base.stack(node)
        if node not in self._stacks:
            change = self._change_of(node)
            if change is not None and change.is_none and self._changed is not None:
                return self._changed.before.stack(node)
            self._stacks[node] = NodeStack(
                node,
                self.snapshot,
                indexed=self._indexed,
                annotate=self.names,
                annotate_nft=self.names.looked_up,
                annotate_virtual=VirtualNames(self.objects, self.names),
                kernel=self._kernel_of(node),
                place=self._placement,
                program=self._programmed,
                change=change,
            )
        return self._stacks[node]

    def drift(self, node: str, walked: Collection[Walked] = ()) -> NodeDrift | None:
        """Return where the rules recorded on *node* are not what kube-proxy would program; None where that is not looked at for a question.

        It is not where rules are modelled, where not everything is known of how kube-proxy is set up or can be compared, and where there
        are more Services than ``COMPARED`` or ten times as many endpoints.
        *walked* are the chains in which the asker looks for differences.
        """
        if self._base is not None or self._changed is not None:
            before = self._base or (self._changed.before if self._changed is not None else self)
            return before.drift(node, walked)
        if not self._is_recorded(node) or self.is_too_large_to_compare:
            return None
        return self.once(("drift", node), lambda: self._drift(node))

    def _drift(self, node: str) -> NodeDrift | None:
        from tracer.snapshot.drift import node_drift

        found = node_drift(self.snapshot, node, most=_EVERY)
        is_known = set(found.found.assumed) <= set(found.found.shown) and not found.unknown
        return found if found.is_recorded and is_known else None

    @cached_property
    def is_too_large_to_compare(self) -> bool:
        """Return whether there is too much for a node's rules to be compared with kube-proxy's for one question."""
        # NB: by names in the texts there are at least as many as there are objects.
        if self.objects.number_of("Service") > 4 * COMPARED or self.objects.number_of("EndpointSlice") > 10 * COMPARED:
            return True
        return len(self.objects.services) > COMPARED or sum(len(s.endpoints) for s in self.objects.slices) > 10 * COMPARED

    def _is_recorded(self, node: str) -> bool:
        if node not in self._recorded:
            from tracer.topology.programmed import has_rules

            self._recorded[node] = has_rules(self.snapshot, node)
        return self._recorded[node]

    def _has_ways(self, node: str) -> bool:
        """Whether anything of the node's addresses and routes was recorded: then no assumption says how they are."""
        return any(self.snapshot.has_node_file(node, name) for name in names(WAYS))

    def pod_stack(self, pod: Pod) -> NodeStack | None:
        """Return the own stack of *pod*, None where nothing of it was recorded: it is taken to have no rules, then."""
        name = stack_of_pod(pod)
        if pod.host_network or name not in self.snapshot.pod_stacks:
            return None
        if name not in self._stacks:
            self._stacks[name] = self._stack_of_pod(name, pod)
        return self._stacks[name]

    def _stack_of_pod(self, name: str, pod: Pod) -> NodeStack:
        return NodeStack(
            name,
            self.snapshot,
            indexed=self._indexed,
            annotate=self.names,
            annotate_nft=self.names.looked_up,
            annotate_virtual=VirtualNames(self.objects, self.names),
            kernel=self._kernel_of(pod.node_name or ""),
            place=lambda _: Placement(addresses=pod.owned_ips, taken=_OF_A_POD),
            pod=pod,
        )

    def renewed(self, *, files: Mapping[str, Collection[str]], kinds: Collection[str]) -> Cluster:
        """Return the cluster after its snapshot changed in place: *files* of nodes by their names, objects of *kinds*.

        What was read from files that did not change is taken over; what anybody worked out of this cluster and remembers is not.
        """
        cluster = Cluster(self.snapshot, indexed=self._indexed, settings=self._settings)
        kernels = {name: self._kernel_of(name) for name in self._stacks} if "Node" in kinds else {}
        for name, stack in self._stacks.items():
            if name not in kernels or kernels[name] == stack.kernel:
                if stack.is_programmed and (kinds or files.get(name)):
                    continue  # what it follows from changed, or may have
                stale = {*files.get(name, ()), *(_HELD_FILES if "Node" in kinds and stack.is_placed else ())}
                cluster._stacks[name] = stack.renewed(stale) if stale else stack
        if not _HELD_FILES.isdisjoint(name for names in files.values() for name in names):
            kinds = {*kinds, "Node"}
        kept = {"names", *(derived for derived, asked in _DERIVED.items() if asked not in kinds)}
        cluster.__dict__.update({derived: self.__dict__[derived] for derived in kept if derived in self.__dict__})
        if kinds:
            cluster.names.forget()
        return cluster

    def _placement(self, stack: NodeStack) -> Placement | None:
        """Where the objects place a node whose own files do not say it; None without a Node object that has an address."""
        node = self.objects.node(stack.name)
        if node is None or not node.internal_ips:
            return None
        objects, name = self.objects, stack.name
        plugin = plugin_of(objects, node, self._settings)
        virtual = stack.virtual_servers if self._may_have_servers(name) else None
        servers = virtual.servers if virtual is not None else ()
        return Placement(
            addresses=node.internal_ips,
            networks=node.pod_cidrs,
            others=lambda: _pod_networks(n for n in objects.nodes if n.name != name),
            served=tuple(dict.fromkeys(s.address for s in servers if s.address is not None and s.address not in node.ips)),
            is_pod=lambda address: any(address in p.owned_ips for p in objects.pods_with_ip(address)),
            has_overlay=node.has_overlay,
            towards_pods=towards_pods(node, plugin[0]),
            through_tunnel=through_tunnel(node, plugin[0]) if node.has_overlay else {},
            told=frozenset(node.tunnel_ips),
            plugin=plugin,
            is_pod_here=lambda address: any(address in p.owned_ips and p.node_name == name for p in objects.pods_with_ip(address)),
        )

    def _may_have_servers(self, node: str) -> bool:
        """Whether virtual servers of *node* were recorded, or would be modelled: not asked of each node what its rules would be."""
        if self._is_recorded(node):
            return self.snapshot.has_node_file(node, VIRTUAL_SERVERS.name)
        said = proxy_mode(self.snapshot, node)
        return (said.mode if said is not None else self._settings.get(MODE)) == VIRTUAL_SERVERS.mode

    def _kernel_of(self, node: str) -> str | None:
        listed = self.objects.node(node)
        return listed.kernel_version if listed else None

    @cached_property
    def names(self) -> RuleNames:
        """Return what names the Kubernetes objects that a rule stands for."""
        return RuleNames(self.objects)

    @cached_property
    def node_names(self) -> tuple[str, ...]:
        """Return every node that has an object or files."""
        return tuple(sorted({n.name for n in self.objects.nodes} | set(self.snapshot.node_names)))

    @cached_property
    def _ports(self) -> Mapping[Address, tuple[Port, ...]]:
        found: dict[Address, tuple[Port, ...]] = {}
        for name in self.node_names:
            routing = self.stack(name).routing
            for held in routing.addresses:
                link = routing.link(held.device)
                if (
                    held.address.is_loopback
                    or held.device == IPVS_DUMMY
                    or (link is not None and (link.loopback or link.kind in _VIRTUAL_KINDS))
                ):
                    continue
                found[held.address] = (*found.get(held.address, ()), Port(node=name, device=held.device))
        for node in self.objects.nodes:
            for address in node.ips:
                if not any(p.node == node.name for p in found.get(address, ())):
                    found[address] = (*found.get(address, ()), Port(node=node.name, device=self._unlisted_device(node.name, address)))
        return found

    def _unlisted_device(self, node: str, address: Address) -> str | None:
        """The device of a node's address that its listing does not have, by the node's own routes."""
        routing = self.stack(node).routing
        device = None if routing.lists_addresses(address.version) else routing.device_of(address)
        return None if is_unnamed(device) else device

    def ports_of(self, address: Address) -> tuple[Port, ...]:
        """Return every node and device that hold *address*; the loopback device and those that stand for no link do not count."""
        if (node := unsaid(address)) is not None:
            return tuple(p for p in self._ports.get(said(address), ()) if p.node == node)
        return self._ports.get(address, ())

    def port_of(self, address: Address) -> Port | None:
        """Return the node and device that hold *address*, None when no node does, or several do."""
        found = self.ports_of(address)
        if len(found) > 1:
            listed = self.objects.node_with_ip(address)
            found = tuple(p for p in found if listed and p.node == listed.name)
        return found[0] if len(found) == 1 else None

    def is_node_address(self, address: Address) -> bool:
        """Return whether a client outside can reach a node by *address*.

        It can when a Node object lists the address, or when the device that holds it also holds one that is listed, or leads to a router.
        """
        return self.looked_up(("node", address), lambda: self._is_node_address(address))

    def _is_node_address(self, address: Address) -> bool:
        if self.objects.node_with_ip(said(address)):
            return True
        port = self.port_of(address)
        if port is None or port.device is None:
            return False
        listed = self.objects.node(port.node)
        if listed is not None and any(p.device == port.device for a in listed.ips for p in self.ports_of(a) if p.node == port.node):
            return True
        return port.device in self.router_devices(port.node, address.version)

    def router_devices(self, node: str, version: int) -> tuple[str, ...]:
        """Return the devices by which a route of *node* leads to a router: a next hop of IP *version* that nobody of the cluster has.

        A tunnel leads to the other end only, and of a node whose routes were not recorded none is known.
        """
        key = (node, version)
        if key not in self._router_devices:
            routing = self.stack(node).routing
            hops = () if routing.inferred_from else (hop for route in routing.routes(version) for hop in route.nexthops)
            leading = (h.device for h in hops if h.device is not None and h.gateway is not None and not self._is_somebodys(h.gateway, node))
            links = ((device, routing.link(device)) for device in dict.fromkeys(leading))
            self._router_devices[key] = tuple(device for device, link in links if link is None or not link.is_tunnel)
        return self._router_devices[key]

    def _is_somebodys(self, address: Address, node: str) -> bool:
        return bool(self.ports_of(address)) or self.pod_with_ip(address, node) is not None

    def pod_with_ip(self, address: Address, node: str | None = None) -> Pod | None:
        """Return the pod that owns *address*; of several, the one on *node*."""
        return self.looked_up(("pod", address, node), lambda: self._pod_with_ip(address, node))

    def _pod_with_ip(self, address: Address, node: str | None) -> Pod | None:
        pods = [p for p in self.objects.pods_with_ip(address) if not p.host_network and not p.has_ended]
        if len(pods) > 1:
            pods = [p for p in pods if p.node_name == node] or [p for p in pods if not p.terminating]
        return pods[0] if pods else None

    def endpoint_with_ip(self, address: Address) -> tuple[EndpointSlice, Endpoint] | None:
        """Return an EndpointSlice and its endpoint that list *address*."""
        return next(iter(self.objects.endpoints_with_address(address)), None)

    def host_network_pods(self, node: str) -> tuple[Pod, ...]:
        """Return the pods that use *node*'s own stack."""
        if node not in self._host_pods:
            return ()
        return self._host_pods[node]

    @cached_property
    def _host_pods(self) -> Mapping[str, tuple[Pod, ...]]:
        found: dict[str, tuple[Pod, ...]] = {}
        for pod in self.objects.host_network_pods:
            if pod.node_name:
                found[pod.node_name] = (*found.get(pod.node_name, ()), pod)
        return found

    def node(self, name: str) -> Node | None:
        """Return the Node object *name*."""
        return self.objects.node(name)

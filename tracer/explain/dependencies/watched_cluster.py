"""A cluster that answers as another does, and notes everything that is asked of it: its objects, and the parts of its nodes' files.

Nothing is parsed again: the rule sets, routes and indexes are the other cluster's own. What is remembered of a cluster (names of rules,
its DNS, findings about its nodes) is remembered for the watched one apart, so that it is asked for again and noted.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING

from tracer.explain.dependencies.facets import Facet, Legible, Mention, Presence, Reading, Rules, Whole
from tracer.explain.dependencies.routing_facets import Covering
from tracer.explain.dependencies.watched_objects import ALL, Asked, WatchedObjects
from tracer.explain.dependencies.watched_routing import WatchedRouting
from tracer.explain.dependencies.watched_rules import WatchedDump, WatchedServers, watched_nft, watched_sets
from tracer.ipvs.ipvsadm_list import RecordedConnection
from tracer.ipvs.model import VirtualServers
from tracer.kube.kinds import FOLLOWED
from tracer.kube.objects import Objects
from tracer.kube.pod import Pod
from tracer.netfilter.dump import Dump
from tracer.netfilter.ipset_save import IpSet
from tracer.netfilter.nft_evaluate import no_names
from tracer.netfilter.nft_rules import NftRules
from tracer.packet import Address, Family, said
from tracer.routing import Routing
from tracer.routing.model import Forwarding
from tracer.routing.wireguard import Peers
from tracer.snapshot import Snapshot
from tracer.snapshot.node_files import (
    BRIDGE_FDB,
    IP_ADDR,
    NFT_LISTINGS,
    OF_A_POD,
    PROXY_MODE,
    PROXY_VERSION,
    SETS,
    SYSCTL,
    VIRTUAL_CLIENTS,
    VIRTUAL_COUNTERS,
    VIRTUAL_SERVERS,
    WG_ALLOWED,
    WG_ENDPOINTS,
    NodeFile,
    names,
)
from tracer.snapshot.proxy_configuration import CONFIGURED_BY
from tracer.snapshot.wrong_form import WrongForm
from tracer.topology.cluster import Cluster, Port, Walked, stack_of_pod
from tracer.topology.programmed import MADE_OF, RULE_FILES, Keys, Programmed
from tracer.topology.stack import NodeStack
from tracer.topology.virtual_names import VirtualNames

if TYPE_CHECKING:
    from tracer.snapshot.drift import NodeDrift

FileName = tuple[str, str]


class Reads:
    """What was asked: look-ups of objects, facets of nodes' files, and which node holds an address (*held*), asked of them all."""

    def __init__(self) -> None:
        self.asked: set[Asked] = set()
        self.facets: dict[FileName, set[Facet]] = {}
        self.held: set[Address] = set()

    def note_object(self, asked: Asked) -> None:
        """Note a look-up."""
        self.asked.add(asked)

    def note_file(self, node: str, name: str, facet: Facet) -> None:
        """Note that *facet* of a node's file was read."""
        self.facets.setdefault((node, name), set()).add(facet)


class WatchedSnapshot(Snapshot):
    """Answers as *snapshot* does, and notes which files of nodes are read."""

    def __init__(self, snapshot: Snapshot, reads: Reads) -> None:
        super().__init__(snapshot.files, snapshot.layout, snapshot.limits)
        self.inner = snapshot
        self._reads = reads

    @cached_property
    def objects(self) -> Objects:
        """Return the API objects, watched."""
        return WatchedObjects(self.inner.objects, self._reads.note_object)

    @cached_property
    def node_files(self) -> Mapping[str, Mapping[str, str]]:
        """Return node → documented name → path."""
        return self.inner.node_files

    def held_files(self, stack: str) -> Mapping[str, str]:
        """Return documented name → path of the files of a node, or of a pod's own stack."""
        return self.inner.held_files(stack)

    @cached_property
    def node_names(self) -> tuple[str, ...]:
        """Return the names of all nodes."""
        self._reads.note_object(Asked("Node", "names"))
        return self.inner.node_names

    def path_of(self, node: str, name: str) -> str:
        """Return the path to print for a file."""
        return self.inner.path_of(node, name)

    def is_refusal(self, path: str) -> bool:
        """Return whether a file of objects holds what somebody was told instead: a recorded file, which does not change."""
        return self.inner.is_refusal(path)

    def rules_asked_for_at(self) -> float | None:
        """Return when rules were last asked for: whoever speaks of it notes when the rules were read."""
        return self.inner.rules_asked_for_at()

    def wrong_form(self, path: str) -> WrongForm | None:
        """Return what a file is instead of objects: as ``is_refusal``."""
        return self.inner.wrong_form(path)

    def has_node_file(self, node: str, name: str) -> bool:
        """Return whether the snapshot holds the file."""
        self._reads.note_file(node, name, Presence())
        return self.inner.has_node_file(node, name)

    def node_file(self, node: str, name: str) -> str | None:
        """Return the text of a file, all of which may be read."""
        self._reads.note_file(node, name, Whole())
        return self.inner.node_file(node, name)

    def text(self, path: str) -> str:
        """Return the text of the file at *path*, all of which may be read."""
        for node, name in self._nodes_with(path):
            self._reads.note_file(node, name, Whole())
        return self.inner.text(path)

    def read_at(self, node: str, name: str) -> float | None:
        """Return when a file was read."""
        self._reads.note_file(node, name, Reading())
        return self.inner.read_at(node, name)

    def objects_read_at(self, kind: str) -> float | None:
        """Return when the objects of *kind* were read."""
        return self.inner.objects_read_at(kind)

    def endpoint_changed_at(self, namespace: str, service: str, address: Address) -> float | None:
        """Return when an endpoint of a Service was seen to change: when its slices did."""
        self._reads.note_object(Asked("EndpointSlice", "service", f"{namespace}/{service}"))
        return self.inner.endpoint_changed_at(namespace, service, address)

    def mentions(self, path: str, pattern: re.Pattern[str]) -> bool:
        """Return whether *pattern* is found anywhere in the file at *path*."""
        for node, name in self._nodes_with(path):
            self._reads.note_file(node, name, Mention(pattern))
        return self.inner.mentions(path, pattern)

    def lines(self, path: str) -> Sequence[str]:
        """Return the lines of the file at *path*: shown beside a step, which is noted itself."""
        return self.inner.lines(path)

    def _nodes_with(self, path: str) -> Iterator[FileName]:
        for node, files in (*self.inner.node_files.items(), *self.inner.pod_stacks.items()):
            yield from ((node, name) for name, held in files.items() if held == path)


class WatchedStack(NodeStack):
    """Answers as *stack* does, and notes which parts of its rules and routes are asked for."""

    def __init__(self, stack: NodeStack, cluster: Cluster, reads: Reads) -> None:
        super().__init__(
            stack.name,
            cluster.snapshot,
            indexed=stack._indexed,
            annotate=cluster.names,
            annotate_nft=cluster.names.looked_up,
            annotate_virtual=VirtualNames(cluster.objects, cluster.names),
            kernel=stack.kernel,
            pod=stack.pod,
        )
        self._inner = stack
        self._reads = reads

    def _note(self, name: str, facet: Facet) -> None:
        self._reads.note_file(self.name, name, facet)

    def why_unread(self, file: NodeFile) -> str | None:
        """Return why a file of the node is there and nothing of it counts: more than that is not read of it here."""
        self._note(file.name, Legible())
        return self._inner.why_unread(file)

    def mentions(self, name: str, pattern: re.Pattern[str]) -> bool:
        """Return whether *pattern* is found in a file of the node."""
        self._note(name, Mention(pattern))
        return self._inner.mentions(name, pattern)

    @cached_property
    def routing(self) -> Routing:
        """Return the stack's routing, watched."""
        found = self._inner.routing
        if not found.inferred_from:
            if not (found.lists_addresses(4) and found.lists_addresses(6)):  # what its object names stands in for them
                self._reads.note_object(Asked("Node", ALL))
            return WatchedRouting(found, self._note)
        # Inferred from Node objects, the virtual servers and, address by address, the pods.
        self._reads.note_object(Asked("Node", ALL))
        self._note(VIRTUAL_SERVERS.name, Whole())
        return WatchedRouting(found, self._note_placed)

    def some_address(self, version: int, device: str | None) -> Address | None:
        """Return what stands for an address of the node that no file tells; the Node object is noted with the stack."""
        self._note(IP_ADDR.name, Whole())
        return self._inner.some_address(version, device)

    def assumed_plugin(self, address: Address, device: str | None) -> tuple[str, str] | None:
        """Return what is assumed of the network plugin where *address* rests on it: the pods of the node tell."""
        if self._inner.routing.inferred_from:
            self._reads.note_object(Asked("Pod", ALL))
        return self._inner.assumed_plugin(address, device)

    def _note_placed(self, name: str, facet: Facet) -> None:
        self._note(name, facet)
        if isinstance(facet, Covering):
            self._reads.note_object(Asked("Pod", "address", str(facet.address)))

    @cached_property
    def programmed(self) -> Programmed | None:
        """Return the rules that the node is taken to hold: they follow from all Services, endpoints and nodes, and kube-proxy's set-up."""
        for name in RULE_FILES:
            self._note(name, Presence())
        found = self._inner.programmed
        if found is not None:
            for kind in MADE_OF:
                self._reads.note_object(Asked(kind, ALL))
            for name in CONFIGURED_BY:
                self._snapshot.objects.config_map("kube-system", name)
            self._note(PROXY_MODE.name, Whole())
            self._note(PROXY_VERSION.name, Whole())
            self._note(SYSCTL.name, Whole())
            self._note(IP_ADDR.name, Whole())
        return found

    def dumps(self, family: Family) -> tuple[Dump, ...]:
        """Return the stack's xtables dumps, watched."""
        if family not in self._dumps and (made := self.programmed) is not None and made.texts:
            self._dumps[family] = self._inner.dumps(family)  # no file holds it: what it follows from is noted
        if family not in self._dumps:
            for name in self.rule_files(family):
                self._note(name, Presence())
            self._dumps[family] = tuple(WatchedDump(d, partial(self._note, self._name_of(d.file))) for d in self._inner.dumps(family))
        return self._dumps[family]

    def _name_of(self, path: str) -> str:
        return next((name for name, held in self._snapshot.held_files(self.name).items() if held == path), path)

    @cached_property
    def nft(self) -> NftRules | None:
        """Return the node's native nftables rules, watched."""
        if (made := self.programmed) is not None and made.nft:
            return self._inner.nft  # no file holds them: what they follow from is noted
        for name in names(NFT_LISTINGS):
            self._note(name, Presence())
        found = self._inner.nft
        if found is None:
            return None
        rules = NftRules(found.ruleset, self._annotate_nft or no_names, found._indexes)
        return watched_nft(rules, partial(self._note, self._name_of(found.ruleset.file)))

    @cached_property
    def sets(self) -> Mapping[str, IpSet] | None:
        """Return the node's ipsets, watched."""
        self._note(SETS.name, Presence())
        found = self._inner.sets
        if (made := self.programmed) is not None and made.sets:
            return found
        return None if found is None else watched_sets(dict(found), partial(self._note, SETS.name))

    @cached_property
    def virtual_servers(self) -> VirtualServers | None:
        """Return the node's IPVS servers, watched."""
        self._note(VIRTUAL_SERVERS.name, Presence())
        self._note(VIRTUAL_COUNTERS.name, Whole())
        found = self._inner.virtual_servers
        if found is not None and found.made_as:
            return found
        return None if found is None else WatchedServers(found, partial(self._note, VIRTUAL_SERVERS.name))

    @cached_property
    def forwarding(self) -> tuple[Forwarding, ...]:
        """Return where the node's tunnels and bridges send frames."""
        self._note(BRIDGE_FDB.name, Whole())
        return self._inner.forwarding

    @cached_property
    def wireguard(self) -> Peers | None:
        """Return the peers of the node's WireGuard devices."""
        for file in (WG_ENDPOINTS, WG_ALLOWED):
            self._note(file.name, Whole())
        return self._inner.wireguard

    @cached_property
    def remembered_clients(self) -> tuple[RecordedConnection, ...]:
        """Return the templates by which IPVS remembers persistent clients."""
        self._note(VIRTUAL_CLIENTS.name, Whole())
        return self._inner.remembered_clients


class WatchedCluster(Cluster):
    """Answers as *cluster* does; ``reads`` is what was asked of it so far."""

    def __init__(self, cluster: Cluster, reads: Reads | None = None) -> None:
        self.reads = reads or Reads()
        super().__init__(WatchedSnapshot(cluster.snapshot, self.reads), indexed=cluster._indexed)
        self._inner = cluster
        self._otherwise: dict[Cluster, WatchedCluster] = {}

    def overridden(self, words: tuple[str, ...], apply: str = "") -> Cluster:
        """Return the changed cluster, not watched: what it follows from is everything."""
        found = self._inner.overridden(words, apply)
        if words or apply:
            for kind in FOLLOWED:
                self.reads.note_object(Asked(kind.name, ALL))
            for node in self._inner.snapshot.node_names:
                for name in {*self._inner.snapshot.held_files(node), *RULE_FILES}:
                    self.reads.note_file(node, name, Whole())
        return self._also_watched(found) if found is self._inner else found

    def programmed_as(self, words: Iterable[str]) -> Cluster:
        """Return the cluster whose nodes are programmed as assumptions say, watched; what is asked of it is noted with the rest."""
        return self._also_watched(self._inner.programmed_as(words))

    def programmed_for(self, services: Keys) -> Cluster:
        """Return the cluster whose nodes have the rules of *services* only, watched."""
        return self._also_watched(self._inner.programmed_for(services))

    @cached_property
    def is_large(self) -> bool:
        """Return whether there are so many Services that all rules are not made for one question: that is no answer's business."""
        return self._inner.is_large

    def _also_watched(self, other: Cluster) -> Cluster:
        if other is self._inner:
            return self
        if other not in self._otherwise:
            self._otherwise[other] = WatchedCluster(other, self.reads)
        return self._otherwise[other]

    @property
    def keeps_answers(self) -> bool:
        """Return false: what an answer rests on is noted while it is worked out."""
        return False

    def stack(self, node: str) -> NodeStack:
        """Return the stack of *node*, watched."""
        if node not in self._stacks:
            self.reads.note_object(Asked("Node", "name", node))
            self._stacks[node] = WatchedStack(self._inner.stack(node), self, self.reads)
        return self._stacks[node]

    def drift(self, node: str, walked: Collection[Walked] = ()) -> NodeDrift | None:
        """Return where the node's rules drifted. What the Service's rules follow from is noted by the walk; kube-proxy's set-up is not."""
        found = self._inner.drift(node, walked)
        if self._inner.is_too_large_to_compare:
            return None
        self.reads.note_object(Asked("Node", "name", node))
        for kind in ("ServiceCIDR", "ConfigMap"):
            self.reads.note_object(Asked(kind, ALL))
        for name in (PROXY_MODE.name, PROXY_VERSION.name, SYSCTL.name):
            self.reads.note_file(node, name, Whole())
        held = {path: name for name, path in self.snapshot.held_files(node).items()}
        for file, table, chain in walked:
            if file in held and held[file] not in names(NFT_LISTINGS):  # parts of listings are noted as a whole when they are walked
                self.reads.note_file(node, held[file], Rules(table, chain))
        for file in dict.fromkeys(one.file for one in found.findings if one.file in held) if found is not None else ():
            self.reads.note_file(node, held[file], Reading())
        return found

    def pod_stack(self, pod: Pod) -> NodeStack | None:
        """Return the own stack of *pod*, watched: whether there is one is whether any file of it is there."""
        if not pod.host_network:
            for name in OF_A_POD:
                self.reads.note_file(stack_of_pod(pod), name, Presence())
        found = self._inner.pod_stack(pod)
        if found is not None and found.name not in self._stacks:
            self._stacks[found.name] = WatchedStack(found, self, self.reads)
        return None if found is None else self._stacks[found.name]

    @property
    def node_names(self) -> tuple[str, ...]:
        """Return every node that has an object or files."""
        self.reads.note_object(Asked("Node", "names"))
        return self._inner.node_names

    def ports_of(self, address: Address) -> tuple[Port, ...]:
        """Return every node and device that hold *address*: whichever node it may be, its addresses say so."""
        self.reads.note_object(Asked("Node", "names"))
        self.reads.note_object(Asked("Node", "address", str(said(address))))
        self.reads.held.add(said(address))
        return self._inner.ports_of(address)

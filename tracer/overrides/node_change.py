"""What a what-if question makes of one node: its rules as a difference of two models, its ways, and who listens on it.

Strategy: kube-proxy's rules are worked out for the objects before and after, of the Services that may be others alone, as this node's
kube-proxy is set up; ``iptables_changes``, ``nftables_changes`` and ``ipvs_changes`` put the difference on what was recorded. A node that
goes to another mode loses what kube-proxy itself programs and gets all of it anew. Where what it programs is not modelled, its rules are
unknown.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from tracer.ipvs.model import VirtualServers
from tracer.kube.objects import Objects
from tracer.kube.pod import Pod
from tracer.kube.selected import selected_slices
from tracer.kubeproxy.configuration import Configuration
from tracer.kubeproxy.iptables_rules import iptables_rules
from tracer.kubeproxy.ipvs_rules import IpvsState, ipvs_state
from tracer.kubeproxy.nft_layout import NftLayout, layout_of, layout_shown, likely_layout
from tracer.kubeproxy.nftables_rules import nftables_table
from tracer.kubeproxy.rule_tables import LARGE, Chains
from tracer.netfilter.dump import Dump
from tracer.netfilter.ipset_save import IpSet
from tracer.netfilter.nft_evaluate import NftAnnotator
from tracer.netfilter.nft_rules import NftRules
from tracer.overrides.changed_objects import Key
from tracer.overrides.changed_snapshot import ChangedSnapshot
from tracer.overrides.iptables_changes import changed_dump, new_dump, without_own
from tracer.overrides.ipvs_changes import bound, changed_servers, changed_sets, made_servers
from tracer.overrides.nftables_changes import TABLE, changed_rules, with_tables
from tracer.overrides.nftables_changes import without_own as without_tables
from tracer.overrides.what_if import Overridden
from tracer.packet import Address, Family, Protocol
from tracer.query import parse_address
from tracer.routing import Routing
from tracer.routing.changed import ChangedFacts, FactsChange, Twin
from tracer.routing.model import Route
from tracer.snapshot.node_files import DUMPS, NFT_JSON, NFT_TEXT, VIRTUAL_SERVERS
from tracer.snapshot.proxy_configuration import IPVS_DEVICE, proxy_configuration
from tracer.snapshot.proxy_mode import proxy_mode
from tracer.snapshot.snapshot import Snapshot

_LOCALNET = "net.ipv4.conf.all.route_localnet"
Listening = tuple[Protocol, int]
_MODES = ("iptables", "nftables", "ipvs")


class NodeChange:
    """What *what* makes of one *node* of the snapshot *before*; *after* is the snapshot as it makes it."""

    def __init__(self, before: Snapshot, after: ChangedSnapshot, what: Overridden, node: str) -> None:
        self._before = before
        self._after = after
        self._what = what
        self._node = node

    # -- what there is to change ----------------------------------------------------------------------------------------------------

    @cached_property
    def switches(self) -> bool:
        """Return whether the node goes to another mode."""
        return self._node in self._what.modes

    @property
    def is_none(self) -> bool:
        """Return whether nothing of the node is other than it was."""
        what = self._what
        return not (what.services or what.gone or what.added or what.removed or self.switches or self._node in what.nodes)

    @cached_property
    def _touches_rules(self) -> bool:
        return bool(self._what.services) or self.switches or self._was != self._is

    @cached_property
    def _was(self) -> Configuration:
        return proxy_configuration(self._before, self._node).configuration

    @cached_property
    def _is(self) -> Configuration:
        return proxy_configuration(self._after, self._node).configuration

    @property
    def why_unknown(self) -> str:
        """Return why the node's rules are not known after the change, "" where they are."""
        return self._why if self._touches_rules else ""

    @cached_property
    def _why(self) -> str:
        for configuration in (self._was, self._is) if not self.switches else (self._is,):
            mode, release = configuration.mode, configuration.release
            if mode not in _MODES:
                return f"what kube-proxy programs in {mode} mode is not modelled as a difference"
            if mode == "nftables" and self._layout(configuration) is None:
                return f"how kube-proxy {release} lays out its table of nftables is not known"
            if mode != "nftables" and not release.is_modelled:
                return f"what kube-proxy {release} programs is not modelled"
        if not self.switches and proxy_mode(self._before, self._node) is None:
            return "nothing says in which mode kube-proxy runs there"
        return ""

    # -- models ---------------------------------------------------------------------------------------------------------------------

    @cached_property
    def _keys(self) -> frozenset[Key] | None:
        """The Services that are looked at, with those that share addresses with them; None: all."""
        # In IPVS mode a rule stands there while a set has entries, whichever Service's they are.
        if self.switches or self._was != self._is or self._is.mode == "ipvs":
            return None
        found = set(self._what.services)
        for objects in (self._before.objects, self._after.objects):
            for key in self._what.services:
                service = objects.service(*key)
                held = {a for a, _ in service.addresses} if service is not None else set()
                found |= {other.key for address in held for other, _ in objects.services_with_address(address)}
                listed = {a for one in objects.slices_of(*key) for e in one.endpoints for a in e.addresses}
                found |= {(s.namespace, s.service) for a in listed for s, _ in objects.endpoints_with_address(a) if s.service}
        return frozenset(found)

    def _objects(self, objects: Objects) -> Objects:
        keys = self._keys
        services = objects.services if keys is None else [s for key in sorted(keys) if (s := objects.service(*key)) is not None]
        if not objects.has_endpoints:
            return Objects.of(services, selected_slices(services, objects.pods))
        if keys is None:
            return objects
        return Objects.of(services, [one for key in sorted(keys) for one in objects.slices_of(*key)])

    @cached_property
    def _old(self) -> Objects:
        return self._objects(self._before.objects)

    @cached_property
    def _new(self) -> Objects:
        return self._objects(self._after.objects)

    @cached_property
    def _has_comments(self) -> bool:
        return self._before.objects.number_of("EndpointSlice") <= LARGE

    def _tables(self, objects: Objects, configuration: Configuration, version: int) -> dict[str, Chains]:
        if version not in configuration.versions or configuration.mode == "nftables":
            return {}
        if configuration.mode == "ipvs":
            return ipvs_state(objects, configuration, version=version).tables
        return iptables_rules(objects, configuration, version=version, has_comments=self._has_comments)

    def _states(self, objects: Objects, configuration: Configuration) -> list[IpvsState]:
        if configuration.mode != "ipvs":
            return []
        return [ipvs_state(objects, configuration, version=version) for version in configuration.versions]

    def _text(self, objects: Objects, configuration: Configuration) -> str:
        layout = self._layout(configuration)
        if configuration.mode != "nftables" or layout is None:
            return ""
        return "".join(nftables_table(objects, configuration, layout, version=v).to_text() for v in configuration.versions)

    def _layout(self, configuration: Configuration) -> NftLayout | None:
        return layout_of(configuration.release) or self._shown or likely_layout(configuration.release)

    @cached_property
    def _shown(self) -> NftLayout | None:
        """The layout of the table that was recorded, where one was."""
        for file in (NFT_TEXT, NFT_JSON):
            text = self._before.node_file(self._node, file.name)
            if text is not None:
                rules = NftRules.from_listing(text, file.name).ruleset
                table = next((t for t in rules.tables if t.name == TABLE and t.family in ("ip", "ip6")), None)
                if table is not None:
                    said = "\n".join(rule.text for chain in table.chains.values() for rule in chain.rules)
                    return layout_shown(table.chains, table.sets, said)
        return None

    @property
    def _by(self) -> str:
        return f"kube-proxy {self._is.release} {self._is.mode}"

    def _modelled(self, name: str) -> str:
        return f"modelled/{self._node}/{name}"

    # -- rules ----------------------------------------------------------------------------------------------------------------------

    def dumps(self, family: Family, dumps: tuple[Dump, ...], *, indexed: bool) -> tuple[Dump, ...]:
        """Return the node's iptables rules after the change."""
        if not self._touches_rules or self._why:
            return dumps
        version, file = 4 if family is Family.IP else 6, self._modelled(DUMPS[family][0].name)
        after = self._tables(self._new, self._is, version)
        place = next((i for i, d in enumerate(dumps) if "nat" in d.tables and "KUBE-SERVICES" in d.tables["nat"].chains), 0)
        if not self.switches:
            before = self._tables(self._old, self._was, version)
            return tuple(changed_dump(d, before, after, by=self._by, file=file) if i == place else d for i, d in enumerate(dumps))
        left = [without_own(dump) for dump in dumps]
        if not after:
            return tuple(left)
        if not left:
            return (new_dump(after, by=self._by, file=file, indexed=indexed),)
        left[place] = changed_dump(left[place], {}, after, by=self._by, file=file)
        return tuple(left)

    def nft(self, rules: NftRules | None, annotate: NftAnnotator | None) -> NftRules | None:
        """Return the node's nftables rules after the change."""
        if not self._touches_rules or self._why:
            return rules
        file = self._modelled(NFT_TEXT.name)
        if self.switches:
            if self._is.mode == "nftables":
                return with_tables(rules, self._text(self._new, self._is), by=self._by, file=file, annotate=annotate)
            return None if rules is None else without_tables(rules)
        if rules is None or self._is.mode != "nftables":
            return rules
        recorded = self._before.node_file(self._node, NFT_TEXT.name) or ""
        before, after = self._text(self._old, self._was), self._text(self._new, self._is)
        return changed_rules(rules, before, after, by=self._by, file=file, behind=recorded.count("\n") + 1)

    def virtual_servers(self, servers: VirtualServers | None) -> VirtualServers | None:
        """Return the node's virtual servers after the change."""
        if not self._touches_rules or self._why:
            return servers
        file = self._modelled(VIRTUAL_SERVERS.name)
        after = self._states(self._new, self._is)
        if self.switches:
            return made_servers(after, by=self._by, file=file) if self._is.mode == "ipvs" else None
        if servers is None or self._is.mode != "ipvs":
            return servers
        return changed_servers(servers, self._states(self._old, self._was), after, by=self._by, file=file)

    def sets(self, sets: dict[str, IpSet] | None) -> dict[str, IpSet] | None:
        """Return the node's ipsets after the change."""
        if not self._touches_rules or self._why or "ipvs" not in (self._was.mode, self._is.mode):
            return sets
        before = self._states(self._old, self._was)
        found = changed_sets(sets, before, self._states(self._new, self._is))
        return None if found is None else dict(found)

    # -- ways -----------------------------------------------------------------------------------------------------------------------

    def routing(self, found: Routing) -> Routing:
        """Return the node's routing after the change."""
        change = self._facts_change(found)
        return found if change is None else found.with_facts(lambda facts: ChangedFacts(facts, change))

    def _facts_change(self, found: Routing) -> FactsChange | None:
        what = self._what
        gone = {a for pod in what.gone if pod.node_name == self._node for a in pod.owned_ips}
        twins = tuple(self._twins(found))
        settings = {}
        if self.switches and self._is.mode == "iptables" and self._is.has_localhost_node_ports(4):
            settings[_LOCALNET] = "1"
        held = self._held(found)
        if not (gone or twins or settings or what.removed or held is not None):
            return None
        goes = _Goes(self._before.objects, what, gone)
        return FactsChange(goes=goes, device=IPVS_DEVICE, held=held, twins=twins, settings=settings)

    def _held(self, found: Routing) -> tuple[Address, ...] | None:
        """The addresses of kube-proxy's device after the change; None where they stay."""
        if not self._touches_rules or self._why or "ipvs" not in (self._was.mode, self._is.mode):
            return None
        recorded = [a.address for a in found.addresses_of(IPVS_DEVICE)]
        if self._is.mode != "ipvs":
            return ()
        after = _addresses(self._states(self._new, self._is))
        if self.switches:
            return after
        before = _addresses(self._states(self._old, self._was))
        if before == after:
            return None
        return tuple(dict.fromkeys((*(a for a in recorded if a not in before or a in after), *after)))

    def _twins(self, found: Routing) -> Iterator[Twin]:
        """Yield a device for each pod that comes, where pods of the node have one each."""
        for number, pod in enumerate(p for p in self._what.added if p.node_name == self._node and not p.host_network):
            for like in self._before.objects.pods:
                if like.node_name == self._node and like.owned_ips and (device := _own_device(found, like)) is not None:
                    yield Twin(like=device, name=f"veth-whatif{number}", instead=like.owned_ips, addresses=pod.owned_ips)
                    break

    # -- who listens ----------------------------------------------------------------------------------------------------------------

    def ports(self) -> tuple[frozenset[Listening], frozenset[Listening]]:
        """Return the ports of the node that are closed, and those that are opened.

        Those are kube-proxy's at which it tells balancers about health, and what pods on the host's network declare that come or go.
        """
        was, now = (frozenset(self._listening(objects)) for objects in (self._before.objects, self._after.objects))
        return was - now, now - was

    def _listening(self, objects: Objects) -> Iterator[Listening]:
        for service in (objects.service(*key) for key in self._what.services):
            if service is not None and service.health_check_node_port:
                yield Protocol.TCP, service.health_check_node_port
        for pod in objects.host_network_pods if self._what.gone or self._what.added else ():
            if pod.node_name == self._node:
                yield from ((port.protocol, port.container_port) for port in pod.ports)


class _Goes:
    """Which routes go: to pods that are gone, and to the pods of nodes that are."""

    def __init__(self, objects: Objects, what: Overridden, gone: set[Address]) -> None:
        nodes = [node for name in what.removed if (node := objects.node(name)) is not None]
        self._gone = gone
        self._gateways = {address for node in nodes for address in node.ips}
        self._networks = [network for node in nodes for network in node.pod_cidrs]

    def __call__(self, route: Route) -> bool:
        destination = route.destination
        if destination.prefixlen == destination.max_prefixlen and destination.network_address in self._gone:
            return True
        if destination.prefixlen == 0 or (not self._networks and not self._gateways):
            return False
        of_node = any(n.version == destination.version and destination.subnet_of(n) for n in self._networks)  # type: ignore[arg-type]
        return of_node or (len(route.nexthops) == 1 and route.gateway in self._gateways)


def _addresses(states: list[IpvsState]) -> tuple[Address, ...]:
    return tuple(address for text in bound(states) if (address := parse_address(text)) is not None)


def _own_device(found: Routing, pod: Pod) -> str | None:
    """The device by which a route leads to one pod alone."""
    for address in pod.owned_ips:
        for route in found.routes(address.version):
            if route.destination.prefixlen == address.max_prefixlen and address in route.destination and route.gateway is None:
                return route.device
    return None

"""kube-proxy's nftables table of one family, as ``nft list ruleset`` prints it.

Strategy: one pass over the ports, each of which adds elements to the maps that dispatch and chains of its own. What stands there once comes
first, by the layout of the release.
Source: pkg/proxy/nftables/proxier.go of Kubernetes 1.36 and 1.30, written anew and held against its own outputs (docs/kube-proxy-model.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network, summarize_address_range

from tracer.kube.endpoints import PortEndpoint
from tracer.kube.fields import Network
from tracer.kube.objects import Objects
from tracer.kubeproxy.chain_names import nft_name
from tracer.kubeproxy.configuration import Configuration, LocalDetector
from tracer.kubeproxy.nft_layout import NftLayout
from tracer.kubeproxy.nft_table_text import ChainText, SetText, TableText
from tracer.kubeproxy.programmed_port import ProgrammedPort, programmed_ports
from tracer.packet import Address

_SET_SIZE = 65535  # of a set that rules fill, where nobody says otherwise
_FILTERS_BEFORE = {
    "filter-prerouting": ("filter hook prerouting priority dstnat - 10", ("firewall-check",)),
    "filter-input": ("filter hook input priority -110", ("nodeport-endpoints-check", "service-endpoints-check")),
    "filter-forward": ("filter hook forward priority -110", ("service-endpoints-check", "cluster-ips-check")),
    "filter-output": ("filter hook output priority -110", ("service-endpoints-check", "firewall-check")),
    "filter-output-post-dnat": ("filter hook output priority -90", ("cluster-ips-check",)),
}
_FILTERS_AFTER = {
    "filter-prerouting-pre-dnat": ("filter hook prerouting priority dstnat - 10", ("firewall-check",)),
    "filter-output-pre-dnat": ("filter hook output priority -110", ("firewall-check",)),
    "filter-input": ("filter hook input priority filter", ("nodeport-endpoints-check", "service-endpoints-check")),
    "filter-forward": ("filter hook forward priority filter", ("service-endpoints-check", "cluster-ips-check")),
    "filter-output": ("filter hook output priority filter", ("service-endpoints-check", "cluster-ips-check")),
}
_NAT = {
    "nat-prerouting": ("nat hook prerouting priority dstnat", "services"),
    "nat-output": ("nat hook output priority -100", "services"),
    "nat-postrouting": ("nat hook postrouting priority srcnat", "masquerading"),
}


def nftables_table(objects: Objects, configuration: Configuration, layout: NftLayout, *, version: int) -> TableText:
    """Return the table that kube-proxy writes for one family."""
    program = _Program(configuration, layout, version)
    for port in programmed_ports(objects, configuration, version=version):
        program.add(port)
    return program.finished()


class _Program:
    """The table under way."""

    def __init__(self, configuration: Configuration, layout: NftLayout, version: int) -> None:
        self._configuration = configuration
        self._layout = layout
        self._version = version
        self._ip = "ip" if version == 4 else "ip6"
        self._type = f"ipv{version}_addr"
        self._detector = configuration.detectors.get(version)
        self._mark = f"0x{1 << configuration.masquerade_bit:08x}"
        self._marks = "jump mark-for-masquerade" if layout.marks_by_chain else f"meta mark set meta mark | {self._mark}"
        self._table = TableText(family=self._ip)
        self._add_sets()
        self._add_chains()

    # -- what stands there once ---------------------------------------------------------------------------------------------------

    def _add_sets(self) -> None:
        own, by_port = self._type, f"{self._type} . inet_proto . inet_service"
        sets = self._table.sets
        if self._layout.has_hairpin_set:
            sets["hairpin-connections"] = SetText(type=f"{own} . {by_port}", comment="service hairpin connections")
        sets["cluster-ips"] = SetText(type=own, comment="Active ClusterIPs")
        chosen = self._configuration.node_ports_on(self._version)
        if not chosen.is_all:
            accepted = [str(address) for address in chosen.addresses if not address.is_loopback]
            sets["nodeport-ips"] = SetText(type=own, comment="IPs that accept NodePort traffic", elements=accepted)
        for name, types, says in (
            ("no-endpoint-services", by_port, "vmap to drop or reject packets to services with no endpoints"),
            ("no-endpoint-nodeports", "inet_proto . inet_service", "vmap to drop or reject packets to service nodeports with no endpoints"),
            ("firewall-ips", by_port, "destinations that are subject to LoadBalancerSourceRanges"),
            ("service-ips", by_port, "ClusterIP, ExternalIP and LoadBalancer IP traffic"),
            ("service-nodeports", "inet_proto . inet_service", "NodePort traffic"),
        ):
            sets[name] = SetText(type=types, value="verdict", comment=says)

    def _add_chains(self) -> None:
        filters = _FILTERS_AFTER if self._layout.filters_after_dnat else _FILTERS_BEFORE
        for name, (head, targets) in filters.items():
            rules = [f"ct state new jump {target}" for target in targets]
            self._table.chains[name] = ChainText(head=f"type {head}; policy accept;", rules=rules)
        for name, (head, target) in _NAT.items():
            self._table.chains[name] = ChainText(head=f"type {head}; policy accept;", rules=[f"jump {target}"])
        to_port = f"{self._ip} daddr . meta l4proto . th dport vmap"
        # What reaches that chain is for the node: it is called in input alone.
        unanswered = self._node_ports.removeprefix("fib daddr type local ")
        self._table.chain("nodeport-endpoints-check").append(f"{unanswered} @no-endpoint-nodeports")
        self._table.chain("service-endpoints-check").append(f"{to_port} @no-endpoint-services")
        self._table.chain("firewall-check").append(f"{to_port} @firewall-ips")
        services = self._table.chain("services")
        if self._layout.masquerades_in_services and (said := self._masquerades_cluster_ips()):
            services.append(f"{self._ip} daddr @cluster-ips {said}")
        services += [f"{to_port} @service-ips", f"{self._node_ports} @service-nodeports"]
        self._add_masquerading()
        self._add_refusals()

    @property
    def _node_ports(self) -> str:
        if not self._configuration.node_ports_on(self._version).is_all:
            return f"{self._ip} daddr @nodeport-ips meta l4proto . th dport vmap"
        loopback = "127.0.0.0/8" if self._version == 4 else "::1"
        return f"fib daddr type local {self._ip} daddr != {loopback} meta l4proto . th dport vmap"

    def _masquerades_cluster_ips(self) -> str:
        """Return the rest of the rule that marks packets to cluster IPs, "" where none does."""
        if self._configuration.masquerade_all:
            return f'{self._marks} comment "masquerade all clusterIP traffic"'
        if self._detector is None:
            return ""
        return f'{_not_local(self._detector, self._ip)} {self._marks} comment "masquerade clusterIP traffic from outside cluster"'

    def _add_masquerading(self) -> None:
        mark, rules = self._mark, self._table.chain("masquerading")
        if self._layout.marks_by_chain:
            rules += [f"meta mark & {mark} == 0x00000000 return", f"meta mark set meta mark ^ {mark}", "masquerade fully-random"]
            self._table.chain("mark-for-masquerade").append(f"meta mark set meta mark | {mark}")
        else:
            rules.append(f"meta mark & {mark} != 0x00000000 meta mark set meta mark ^ {mark} masquerade fully-random")
        if self._layout.has_hairpin_set:
            key = f"{self._ip} saddr . {self._ip} daddr . meta l4proto . th dport"
            rules.append(f"ct status dnat {key} @hairpin-connections masquerade fully-random")

    def _add_refusals(self) -> None:
        rules = self._table.chain("cluster-ips-check")
        rules.append(f'{self._ip} daddr @cluster-ips reject comment "Reject traffic to invalid ports of ClusterIPs"')
        networks = [n for n in self._configuration.service_cidrs if n.version == self._version]
        if self._layout.drops_unallocated and networks:
            rules.append(f'{self._ip} daddr {_in_braces(networks)} drop comment "Drop traffic to unallocated ClusterIPs"')
        says = "helper for @no-endpoint-services / @no-endpoint-nodeports"
        self._table.chains["reject-chain"] = ChainText(comment=says, rules=["reject"])

    # -- what each port adds ------------------------------------------------------------------------------------------------------

    def add(self, port: ProgrammedPort) -> None:
        """Add what *port* brings: elements of the maps, its own chains and its endpoints'."""
        service, protocol = port.service, port.port.protocol.value
        name = nft_name(service.namespace, service.name, protocol, port.port.name)
        has_any = port.in_use.has_any
        self._table.sets["cluster-ips"].elements.append(str(port.cluster_ip))
        self._dispatch(port, name, has_any=has_any)
        if port.load_balancer_ips and port.source_ranges:
            self._restrict(port, name)
        self._masquerade_internal(port, name)
        if has_any and port.is_accessible:
            self._external(port, name)
        self._endpoints(port, name)

    def _dispatch(self, port: ProgrammedPort, name: str, *, has_any: bool) -> None:
        """Lead the addresses of *port* to its chains, or to a refusal."""
        sets, protocol, number = self._table.sets, port.port.protocol.value, port.port.port
        refuses = f'comment "{port.name}" : {"drop" if has_any else "goto reject-chain"}'
        inside = f"goto {'local' if port.is_internal_local else 'service'}-{name}"
        key = f"{port.cluster_ip} . {protocol} . {number}"
        if port.has_internal:
            sets["service-ips"].elements.append(f"{key} : {inside}")
        else:
            sets["no-endpoint-services"].elements.append(f"{key} {refuses}")
        for address in (*port.external_ips, *port.load_balancer_ips):
            key = f"{address} . {protocol} . {number}"
            if has_any:
                sets["service-ips"].elements.append(f"{key} : goto external-{name}")
            if not port.has_external:
                sets["no-endpoint-services"].elements.append(f"{key} {refuses}")
        if port.port.node_port is not None:
            key = f"{protocol} . {port.port.node_port}"
            if has_any:
                sets["service-nodeports"].elements.append(f"{key} : goto external-{name}")
            if not port.has_external:
                sets["no-endpoint-nodeports"].elements.append(f"{key} {refuses}")

    def _restrict(self, port: ProgrammedPort, name: str) -> None:
        """Drop what comes to the load balancer's addresses from elsewhere than the ranges that the Service names."""
        sources = list(port.source_ranges)
        own = self._configuration.node_ips.get(self._version)
        if own is not None and any(own in network for network in port.source_ranges):
            sources += map(ip_network, port.load_balancer_ips)
        self._table.chain(f"firewall-{name}").append(f"{self._ip} saddr != {_in_braces(sources)} drop")
        says = f' comment "{port.name}"' if self._layout.comments_on_firewall else ""
        for address in port.load_balancer_ips:
            key = f"{address} . {port.port.protocol.value} . {port.port.port}"
            self._table.sets["firewall-ips"].elements.append(f"{key}{says} : goto firewall-{name}")

    def _masquerade_internal(self, port: ProgrammedPort, name: str) -> None:
        if not port.has_internal:
            return
        rules = self._table.chain(f"{'local' if port.is_internal_local else 'service'}-{name}")
        if self._layout.masquerades_in_services or not (self._configuration.masquerade_all or self._detector):
            return
        outside = "" if self._configuration.masquerade_all or not self._detector else f" {_not_local(self._detector, self._ip)}"
        to = f"{self._ip} daddr {port.cluster_ip} {port.port.protocol.value} dport {port.port.port}"
        rules.append(f"{to}{outside} {self._marks}")

    def _external(self, port: ProgrammedPort, name: str) -> None:
        """Write the chain of what comes from outside."""
        rules = self._table.chain(f"external-{name}")
        if port.is_external_local:
            if self._detector:
                pods = _local(self._detector, self._ip)
                rules.append(f'{pods} goto service-{name} comment "short-circuit pod traffic"')
            rules.append(f'fib saddr type local {self._marks} comment "masquerade local traffic"')
            rules.append(f'fib saddr type local goto service-{name} comment "short-circuit local traffic"')
        else:
            rules.append(self._marks if self._layout.marks_by_chain else f'{self._marks} comment "masquerade"')
        if port.has_external:
            rules.append(f"goto {'local' if port.is_external_local else 'service'}-{name}")

    # -- endpoints ----------------------------------------------------------------------------------------------------------------

    def _endpoints(self, port: ProgrammedPort, name: str) -> None:
        protocol, seconds = port.port.protocol.value, port.service.session_affinity_timeout
        by_map = self._layout.maps_endpoints and seconds is None
        names = {} if by_map else {id(e): self._name_of(port, e) for e in port.in_use.reachable}
        for prefix, chosen in (("service", port.cluster), ("local", port.local)):
            if chosen:
                self._choose(self._table.chain(f"{prefix}-{name}"), chosen, names, protocol, has_affinity=seconds is not None)
        for endpoint in port.in_use.reachable:
            if self._layout.has_hairpin_set and endpoint.is_local:
                element = f"{endpoint.address} . {endpoint.address} . {protocol} . {endpoint.port}"
                self._table.sets["hairpin-connections"].elements.append(element)
            if not by_map:
                self._endpoint(endpoint, names[id(endpoint)], protocol, seconds)

    def _name_of(self, port: ProgrammedPort, endpoint: PortEndpoint) -> str:
        service, protocol = port.service, port.port.protocol.value
        return nft_name(service.namespace, service.name, protocol, port.port.name, (str(endpoint.address), endpoint.port))

    def _choose(
        self, rules: list[str], endpoints: Sequence[PortEndpoint], names: dict[int, str], protocol: str, *, has_affinity: bool
    ) -> None:
        """Write the rules that choose one of *endpoints*: the one of before where there is affinity, else each with the same odds."""
        if has_affinity:
            rules += [f"{self._ip} saddr @affinity-{names[id(e)]} goto endpoint-{names[id(e)]}" for e in endpoints]
        if names:
            goals = ", ".join(f"{n} : goto endpoint-{names[id(e)]}" for n, e in enumerate(endpoints))
            rules.append(f"numgen random mod {len(endpoints)} vmap {{ {goals} }}")
        else:
            goals = ", ".join(f"{n} : {e.address} . {e.port}" for n, e in enumerate(endpoints))
            rules.append(f"meta l4proto {protocol} dnat {self._ip} to numgen random mod {len(endpoints)} map {{ {goals} }}")

    def _endpoint(self, endpoint: PortEndpoint, name: str, protocol: str, seconds: int | None) -> None:
        """Write the chain of one endpoint, and the set of clients that it had."""
        rules = self._table.chain(f"endpoint-{name}")
        if not self._layout.has_hairpin_set:
            rules.append(f"{self._ip} saddr {endpoint.address} {self._marks}")
        if seconds is not None:
            options = (f"size {_SET_SIZE}", "flags dynamic,timeout", f"timeout {_time(seconds)}")
            self._table.sets[f"affinity-{name}"] = SetText(type=self._type, options=options)
            rules.append(f"update @affinity-{name} {{ {self._ip} saddr }}")
        rules.append(f"meta l4proto {protocol} dnat to {endpoint}")

    def finished(self) -> TableText:
        """Return the table, each element once: several ports share a cluster IP, several Services an endpoint."""
        for name in ("cluster-ips", "hairpin-connections"):
            if name in self._table.sets:
                self._table.sets[name].elements = list(dict.fromkeys(self._table.sets[name].elements))
        return self._table


def _in_braces(networks: Sequence[Network]) -> str:
    """Return a set of addresses as nft lists it: in order, what touches joined, and no braces around one thing."""
    ranges = list[tuple[Address, Address]]()
    for network in sorted(networks, key=lambda n: (int(n[0]), int(n[-1]))):
        if ranges and int(network[0]) <= int(ranges[-1][1]) + 1:
            ranges[-1] = (ranges[-1][0], max(ranges[-1][1], network[-1], key=int))
        else:
            ranges.append((network[0], network[-1]))
    told = [_range(low, high) for low, high in ranges]
    return told[0] if len(told) == 1 else f"{{ {', '.join(told)} }}"


def _range(low: Address, high: Address) -> str:
    networks = list(summarize_address_range(low, high))
    if len(networks) > 1:
        return f"{low}-{high}"
    return str(low) if low == high else str(networks[0])


def _local(detector: LocalDetector, ip: str) -> str:
    """Return nft's match for a local pod's packet."""
    return f"{ip} saddr {detector.network}" if detector.network else f"iifname {_device(detector)}"


def _not_local(detector: LocalDetector, ip: str) -> str:
    return f"{ip} saddr != {detector.network}" if detector.network else f"iifname != {_device(detector)}"


def _device(detector: LocalDetector) -> str:
    return f'"{detector.device[:-1]}*"' if detector.device.endswith("+") else f'"{detector.device}"'


def _time(seconds: int) -> str:
    """Return a time as nft prints it."""
    parts = ((seconds // 86400, "d"), (seconds // 3600 % 24, "h"), (seconds // 60 % 60, "m"), (seconds % 60, "s"))
    return "".join(f"{count}{unit}" for count, unit in parts if count) or "0s"

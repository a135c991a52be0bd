"""What kube-proxy programs in IPVS mode for one family: virtual servers, ipsets, the addresses of kube-ipvs0, and iptables rules.

Strategy: one pass over the ports fills sets and virtual servers; the iptables rules follow from which sets have entries.
Source: pkg/proxy/ipvs/proxier.go of Kubernetes 1.36, written anew and held against its own outputs (docs/kube-proxy-model.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import field
from ipaddress import ip_address

from tracer.ipvs.model import RealServer, VirtualServer
from tracer.kube.endpoints import PortEndpoint
from tracer.kube.objects import Objects
from tracer.kubeproxy.configuration import Configuration
from tracer.kubeproxy.ipvs_sets import SETS, save_sets, set_name
from tracer.kubeproxy.programmed_port import ProgrammedPort, programmed_ports
from tracer.kubeproxy.rule_spelling import WORDS, source_then
from tracer.kubeproxy.rule_tables import FORWARD_ACCEPTS, OUT_FILTER, Chains, add_jumps
from tracer.packet import Address, Protocol
from tracer.values import dataclass

_JUMPS = {
    "nat": (
        ("PREROUTING", "", "kubernetes service portals", "KUBE-SERVICES"),
        ("OUTPUT", "", "kubernetes service portals", "KUBE-SERVICES"),
        ("POSTROUTING", "", "kubernetes postrouting rules", "KUBE-POSTROUTING"),
    ),
    "filter": (
        ("INPUT", "", "kubernetes ipvs access filter", "KUBE-IPVS-FILTER"),
        ("INPUT", "", "kube-proxy firewall rules", "KUBE-PROXY-FIREWALL"),
        ("INPUT", "", "kubernetes health check rules", "KUBE-NODE-PORT"),
        ("FORWARD", "", "kube-proxy firewall rules", "KUBE-PROXY-FIREWALL"),
        ("FORWARD", "", "kubernetes forwarding rules", "KUBE-FORWARD"),
        ("OUTPUT", "", "kubernetes ipvs access filter", OUT_FILTER),
    ),
}
# Set → table, chain, protocol, which sides of a packet are asked, target: a rule stands there while the set has entries.
_ASKED = (
    ("KUBE-LOOP-BACK", "nat", "KUBE-POSTROUTING", "", "dst,dst,src", "MASQUERADE"),
    ("KUBE-LOAD-BALANCER", "nat", "KUBE-SERVICES", "", "dst,dst", "KUBE-LOAD-BALANCER"),
    ("KUBE-LOAD-BALANCER-LOCAL", "nat", "KUBE-LOAD-BALANCER", "", "dst,dst", "RETURN"),
    ("KUBE-LOAD-BALANCER-FW", "filter", "KUBE-PROXY-FIREWALL", "", "dst,dst", "KUBE-SOURCE-RANGES-FIREWALL"),
    ("KUBE-LOAD-BALANCER-SOURCE-CIDR", "filter", "KUBE-SOURCE-RANGES-FIREWALL", "", "dst,dst,src", "RETURN"),
    ("KUBE-LOAD-BALANCER-SOURCE-IP", "filter", "KUBE-SOURCE-RANGES-FIREWALL", "", "dst,dst,src", "RETURN"),
    ("KUBE-NODE-PORT-LOCAL-TCP", "nat", "KUBE-NODE-PORT", "-p tcp ", "dst", "RETURN"),
    ("KUBE-NODE-PORT-TCP", "nat", "KUBE-NODE-PORT", "-p tcp ", "dst", "KUBE-MARK-MASQ"),
    ("KUBE-NODE-PORT-LOCAL-UDP", "nat", "KUBE-NODE-PORT", "-p udp ", "dst", "RETURN"),
    ("KUBE-NODE-PORT-UDP", "nat", "KUBE-NODE-PORT", "-p udp ", "dst", "KUBE-MARK-MASQ"),
    ("KUBE-NODE-PORT-LOCAL-SCTP-HASH", "nat", "KUBE-NODE-PORT", "-p sctp ", "dst,dst", "RETURN"),
    ("KUBE-NODE-PORT-SCTP-HASH", "nat", "KUBE-NODE-PORT", "-p sctp ", "dst,dst", "KUBE-MARK-MASQ"),
)
_RETURNED = ("KUBE-LOAD-BALANCER", "KUBE-CLUSTER-IP", "KUBE-EXTERNAL-IP", "KUBE-EXTERNAL-IP-LOCAL")


@dataclass(frozen=True, slots=True, kw_only=True)
class IpvsState:
    """What is programmed for one family: *sets* by the names of IPv4 with their entries, each virtual server with its Service port.

    *bound* are the addresses of kube-ipvs0. *ports_of* says which Service port an entry of a set, or a virtual server, is for.
    """

    version: int
    tables: dict[str, Chains]
    sets: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in SETS})
    servers: list[VirtualServer] = field(default_factory=list)
    ports_of: dict[str, str] = field(default_factory=dict)

    @property
    def bound(self) -> tuple[str, ...]:
        """Return the addresses that kube-ipvs0 gets: what is loopback another device has already."""
        return tuple(text for text in self.sets["KUBE-IPVS-IPS"] if not ip_address(text).is_loopback)

    def save_sets(self) -> Iterator[str]:
        """Yield the lines of ``ipset save``."""
        return save_sets(self.sets, self.version)


def ipvs_state(objects: Objects, configuration: Configuration, *, version: int) -> IpvsState:
    """Return what kube-proxy programs for one family."""
    program = _Program(configuration, version)
    for port in programmed_ports(objects, configuration, version=version):
        program.add(port)
    return program.finished()


class _Program:
    """The state under way."""

    def __init__(self, configuration: Configuration, version: int) -> None:
        self._configuration = configuration
        self._version = version
        names = {
            "nat": ("KUBE-SERVICES", "KUBE-POSTROUTING", "KUBE-NODE-PORT", "KUBE-LOAD-BALANCER", "KUBE-MARK-MASQ"),
            "filter": (
                *("KUBE-FORWARD", "KUBE-NODE-PORT", "KUBE-PROXY-FIREWALL", "KUBE-SOURCE-RANGES-FIREWALL"),
                *("KUBE-IPVS-FILTER", OUT_FILTER),
            ),
        }
        tables: dict[str, Chains] = {table: {name: [] for name in chains} for table, chains in names.items()}
        self._state = IpvsState(version=version, tables=tables)

    # -- what each port adds ------------------------------------------------------------------------------------------------------

    def add(self, port: ProgrammedPort) -> None:
        """Add what *port* brings: entries of sets, and a virtual server for each of its addresses."""
        protocol, number = port.port.protocol, port.port.port
        for endpoint in port.listed:
            if endpoint.is_local:
                self._enter("KUBE-LOOP-BACK", f"{endpoint.address},{protocol}:{endpoint.port},{endpoint.address}", port)
        self._enter("KUBE-CLUSTER-IP", f"{port.cluster_ip},{protocol}:{number}", port)
        self._serve(port, port.cluster_ip, number, is_local=port.is_internal_local)
        local = "-LOCAL" if port.is_external_local else ""
        for address in port.external_ips:
            self._enter(f"KUBE-EXTERNAL-IP{local}", f"{address},{protocol}:{number}", port)
            self._serve(port, address, number, is_local=port.is_external_local)
        for address in port.load_balancer_ips:
            self._balancer(port, address, f"{address},{protocol}:{number}")
            self._serve(port, address, number, is_local=port.is_external_local)
        self._node_port(port)
        if port.health_check_node_port is not None:
            self._enter("KUBE-HEALTH-CHECK-NODE-PORT", str(port.health_check_node_port), port)

    def _balancer(self, port: ProgrammedPort, address: Address, entry: str) -> None:
        """Enter a load balancer's address, and from where it may be reached."""
        self._enter("KUBE-LOAD-BALANCER", entry, port)
        if port.is_external_local:
            self._enter("KUBE-LOAD-BALANCER-LOCAL", entry, port)
        if not port.source_ranges:
            return
        self._enter("KUBE-LOAD-BALANCER-FW", entry, port)
        for network in port.source_ranges:
            told = str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)
            self._enter("KUBE-LOAD-BALANCER-SOURCE-CIDR", f"{entry},{told}", port)
        own = self._configuration.node_ips.get(self._version)
        if own is not None and any(own in network for network in port.source_ranges):
            self._enter("KUBE-LOAD-BALANCER-SOURCE-IP", f"{entry},{address}", port)
        else:
            # The address is on the node itself: its own packets to it come from the address, and must not get back as a client's.
            is_own = f"-s {address}{WORDS[self._version].prefix} -m ipvs --vaddr {address} --vproto {port.port.protocol.number}"
            rules = self._state.tables["filter"][OUT_FILTER]
            rules.append(f"-A {OUT_FILTER} {is_own} --vport {port.port.port} -j DROP")

    def _node_port(self, port: ProgrammedPort) -> None:
        addresses = self._configuration.node_ports_on(self._version).addresses
        if port.port.node_port is None or not addresses:
            return
        protocol, number = port.port.protocol, port.port.node_port
        for local in ("", "-LOCAL") if port.is_external_local else ("",):
            if protocol is Protocol.SCTP:
                for address in addresses:
                    self._enter(f"KUBE-NODE-PORT{local}-SCTP-HASH", f"{address},sctp:{number}", port)
            else:
                self._enter(f"KUBE-NODE-PORT{local}-{protocol.upper()}", str(number), port)
        for address in addresses:
            self._serve(port, address, number, is_local=port.is_external_local, is_bound=False)

    def _enter(self, name: str, entry: str, port: ProgrammedPort) -> None:
        self._state.sets[name].append(entry)
        self._state.ports_of[f"{set_name(name, self._version)} {entry}"] = port.name

    def _serve(self, port: ProgrammedPort, address: Address, number: int, *, is_local: bool, is_bound: bool = True) -> None:
        """Add the virtual server of one address. A Local one without local endpoints keeps those of other nodes: local pods may use it."""
        scheduler = self._configuration.scheduler
        server = VirtualServer(
            protocol=port.port.protocol,
            address=address,
            port=number,
            version=self._version,
            scheduler=scheduler,
            flags=("mh-port",) if scheduler == "mh" else (),
            persistence_timeout=port.service.session_affinity_timeout,
            granularity=address.max_prefixlen,
            real_servers=_real_servers((port.local or port.cluster) if is_local else port.cluster),
        )
        self._state.servers.append(server)
        self._state.ports_of[server.name] = port.name
        if is_bound:
            self._state.sets["KUBE-IPVS-IPS"].append(str(address))
            self._state.ports_of.setdefault(f"{set_name('KUBE-IPVS-IPS', self._version)} {address}", port.name)

    # -- rules --------------------------------------------------------------------------------------------------------------------

    def finished(self) -> IpvsState:
        """Return the state with its rules, each entry once: several ports share a cluster IP, several Services an endpoint."""
        for name, entries in self._state.sets.items():
            self._state.sets[name] = list(dict.fromkeys(entries))
        tables, words = self._state.tables, WORDS[self._version]
        add_jumps(tables, _JUMPS)
        tables["nat"]["KUBE-SERVICES"].append(f"-A KUBE-SERVICES -s {words.loopback} -j RETURN")
        for name, table, chain, protocol, sides, target in _ASKED:
            if self._state.sets[name]:
                tables[table][chain].append(f"-A {chain} {protocol}{self._asks(name, sides)} -j {target}")
        self._add_services()
        self._add_masquerading()
        self._add_filters()
        return self._state

    def _asks(self, name: str, sides: str, *, is_said: bool = True) -> str:
        said = f'-m comment --comment "{SETS[name].says}" ' if is_said else ""
        return f"{said}-m set --match-set {set_name(name, self._version)} {sides}"

    def _add_services(self) -> None:
        """Add the rest of KUBE-SERVICES: what is masqueraded, and what is let through to the virtual servers."""
        sets, rules = self._state.sets, self._state.tables["nat"]["KUBE-SERVICES"]
        detector = self._configuration.detectors.get(self._version)
        if sets["KUBE-CLUSTER-IP"]:
            is_all = self._configuration.masquerade_all
            # NB: without a way to tell local traffic only what comes from a cluster IP itself is masqueraded.
            asks = self._asks("KUBE-CLUSTER-IP", "dst,dst" if is_all or detector else "src,dst")
            source = detector.is_not_local if detector and not is_all else ""
            rules.append(f"-A KUBE-SERVICES {source_then(source, asks)} -j KUBE-MARK-MASQ")
        for name, is_masqueraded in (("KUBE-EXTERNAL-IP", True), ("KUBE-EXTERNAL-IP-LOCAL", False)):
            asks = f"-A KUBE-SERVICES {self._asks(name, 'dst,dst')}"
            if sets[name]:
                rules += [f"{asks} -j KUBE-MARK-MASQ"] if is_masqueraded else []
                rules.append(f"{asks} -m physdev ! --physdev-is-in -m addrtype ! --src-type LOCAL -j ACCEPT")
                rules.append(f"{asks} -m addrtype --dst-type LOCAL -j ACCEPT")
        rules.append("-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODE-PORT")
        for name in ("KUBE-CLUSTER-IP", "KUBE-LOAD-BALANCER"):
            if sets[name]:
                rules.append(f"-A KUBE-SERVICES {self._asks(name, 'dst,dst', is_said=False)} -j ACCEPT")

    def _add_masquerading(self) -> None:
        nat, mark = self._state.tables["nat"], self._configuration.mark
        random = " --random-fully" if self._configuration.has_random_fully else ""
        nat["KUBE-POSTROUTING"] += [
            f"-A KUBE-POSTROUTING -m mark ! --mark {mark}/{mark} -j RETURN",
            f"-A KUBE-POSTROUTING -j MARK --set-xmark {mark}/0x0",
            f'-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE{random}',
        ]
        nat["KUBE-LOAD-BALANCER"].append("-A KUBE-LOAD-BALANCER -j KUBE-MARK-MASQ")
        nat["KUBE-MARK-MASQ"].append(f"-A KUBE-MARK-MASQ -j MARK --set-xmark {mark}/{mark}")

    def _add_filters(self) -> None:
        filters, mark = self._state.tables["filter"], self._configuration.mark
        filters["KUBE-SOURCE-RANGES-FIREWALL"].append("-A KUBE-SOURCE-RANGES-FIREWALL -j DROP")
        filters["KUBE-FORWARD"] += [
            f'-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark {mark}/{mark} -j ACCEPT',
            f"-A KUBE-FORWARD {FORWARD_ACCEPTS}",
        ]
        filters["KUBE-NODE-PORT"].append(f"-A KUBE-NODE-PORT {self._asks('KUBE-HEALTH-CHECK-NODE-PORT', 'dst')} -j ACCEPT")
        access = [f"-A KUBE-IPVS-FILTER {self._asks(name, 'dst,dst', is_said=False)} -j RETURN" for name in _RETURNED]
        access.append(f"-A KUBE-IPVS-FILTER {self._asks('KUBE-HEALTH-CHECK-NODE-PORT', 'dst', is_said=False)} -j RETURN")
        new = f"-m conntrack --ctstate NEW {self._asks('KUBE-IPVS-IPS', 'dst', is_said=False)}"
        access.append(f"-A KUBE-IPVS-FILTER {new} -j REJECT --reject-with {WORDS[self._version].reject}")
        filters["KUBE-IPVS-FILTER"] += access


def _real_servers(endpoints: Sequence[PortEndpoint]) -> tuple[RealServer, ...]:
    return tuple(RealServer(address=e.address, port=e.port) for e in endpoints)

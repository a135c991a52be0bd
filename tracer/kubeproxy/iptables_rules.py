"""kube-proxy's iptables rules from 1.28 on, as iptables-save prints them.

Owns the chains of one family: what stands there once, and what each port adds. Strategy: one pass over the ports; each writes whole lines
where they belong. Where more than ``LARGE`` endpoints are listed the rules of endpoints go without comments, but in chains that
were written before.
Source: pkg/proxy/iptables/proxier.go of Kubernetes 1.36, written anew and held against its own outputs (docs/kube-proxy-model.md).
"""

from __future__ import annotations

from collections.abc import Sequence

from tracer.kube.objects import Objects
from tracer.kubeproxy.chain_names import endpoint_chain, port_hash
from tracer.kubeproxy.configuration import INVALID, LOCALHOST, Configuration
from tracer.kubeproxy.iptables_old import old_iptables_rules
from tracer.kubeproxy.programmed_port import ProgrammedPort, programmed_ports
from tracer.kubeproxy.rule_spelling import WORDS, odds, source_range, source_then, to_address
from tracer.kubeproxy.rule_tables import FORWARD_ACCEPTS, LARGE, LAST, NEW, Chains, add_jumps

_JUMPS = {
    "filter": (
        ("INPUT", NEW, "kubernetes load balancer firewall", "KUBE-PROXY-FIREWALL"),
        ("INPUT", "", "kubernetes health check service ports", "KUBE-NODEPORTS"),
        ("INPUT", NEW, "kubernetes externally-visible service portals", "KUBE-EXTERNAL-SERVICES"),
        ("FORWARD", NEW, "kubernetes load balancer firewall", "KUBE-PROXY-FIREWALL"),
        ("FORWARD", "", "kubernetes forwarding rules", "KUBE-FORWARD"),
        ("FORWARD", NEW, "kubernetes service portals", "KUBE-SERVICES"),
        ("FORWARD", NEW, "kubernetes externally-visible service portals", "KUBE-EXTERNAL-SERVICES"),
        ("OUTPUT", NEW, "kubernetes load balancer firewall", "KUBE-PROXY-FIREWALL"),
        ("OUTPUT", NEW, "kubernetes service portals", "KUBE-SERVICES"),
    ),
    "nat": (
        ("PREROUTING", "", "kubernetes service portals", "KUBE-SERVICES"),
        ("OUTPUT", "", "kubernetes service portals", "KUBE-SERVICES"),
        ("POSTROUTING", "", "kubernetes postrouting rules", "KUBE-POSTROUTING"),
    ),
}


def iptables_rules(objects: Objects, configuration: Configuration, *, version: int, has_comments: bool | None = None) -> dict[str, Chains]:
    """Return the tables that kube-proxy writes for one family, with the jumps that it puts into built-in chains.

    *has_comments* None: the rules of endpoints have them as kube-proxy decides, in small clusters.
    """
    if configuration.release.is_old:
        return old_iptables_rules(objects, configuration, version=version, has_comments=has_comments)
    ports = tuple(programmed_ports(objects, configuration, version=version))
    is_large = sum(len(p.listed) for p in ports) > LARGE if has_comments is None else not has_comments
    program = _Program(configuration, version, is_large=is_large)
    for port in ports:
        program.add(port)
    program.finish()
    return program.tables


class _Program:
    """The tables under way. *is_large*: the rules of endpoints go without comments."""

    def __init__(self, configuration: Configuration, version: int, *, is_large: bool) -> None:
        self._configuration = configuration
        self._version = version
        self._words = WORDS[version]
        self._detector = configuration.detectors.get(version)
        self._is_large = is_large
        mangle: Chains = {"KUBE-PROXY-CANARY": []}
        self._filter: Chains = {name: [] for name in ("KUBE-PROXY-CANARY", "KUBE-FIREWALL", "KUBE-FORWARD")}
        self._nat: Chains = {name: [] for name in ("KUBE-PROXY-CANARY", "KUBE-MARK-MASQ", "KUBE-POSTROUTING")}
        self._services = self._nat["KUBE-SERVICES"] = list[str]()
        self._node_ports = self._nat["KUBE-NODEPORTS"] = list[str]()
        self._refused = self._filter["KUBE-SERVICES"] = list[str]()
        self._refused_outside = self._filter["KUBE-EXTERNAL-SERVICES"] = list[str]()
        self._health = self._filter["KUBE-NODEPORTS"] = list[str]()
        self._firewall = self._filter["KUBE-PROXY-FIREWALL"] = list[str]()
        self.tables = {"mangle": mangle, "filter": self._filter, "nat": self._nat}

    # -- what each port adds ------------------------------------------------------------------------------------------------------

    def add(self, port: ProgrammedPort) -> None:
        """Add what *port* brings: its addresses, its refusals, its own chains and its endpoints'."""
        hashed = port_hash(port.name, port.port.protocol)
        has_any = port.in_use.has_any
        has_firewall = has_any and bool(port.load_balancer_ips) and bool(port.source_ranges)
        if has_any:
            self._lead(port, hashed, has_firewall=has_firewall)
        self._refuse(port)
        if (check := port.health_check_node_port) is not None:
            self._health.append(
                f'-A KUBE-NODEPORTS -p tcp -m comment --comment "{port.name} health check node port" -m tcp --dport {check} -j ACCEPT'
            )
        self._masquerade_internal(port, hashed)
        if has_any and port.is_accessible:
            self._external(port, hashed)
        if has_firewall:
            self._restrict(port, hashed)
        self._endpoints(port, hashed)

    def _lead(self, port: ProgrammedPort, hashed: str, *, has_firewall: bool) -> None:
        """Lead each address of *port* to its chain."""
        protocol, number = port.port.protocol.value, port.port.port
        outside = f"KUBE-EXT-{hashed}"
        behind = f'-p {protocol} -m comment --comment "{port.name}'
        ends = f"-m {protocol} --dport {number} -j"
        if port.has_internal:
            inside = f"KUBE-SV{'L' if port.is_internal_local else 'C'}-{hashed}"
            self._services.append(f'-A KUBE-SERVICES {to_address(port.cluster_ip)}{behind} cluster IP" {ends} {inside}')
        for address in port.external_ips:
            self._services.append(f'-A KUBE-SERVICES {to_address(address)}{behind} external IP" {ends} {outside}')
        for address in port.load_balancer_ips:
            target = f"KUBE-FW-{hashed}" if has_firewall else outside
            self._services.append(f'-A KUBE-SERVICES {to_address(address)}{behind} loadbalancer IP" {ends} {target}')
        if port.port.node_port is not None:
            ends = f"-m {protocol} --dport {port.port.node_port}"
            if LOCALHOST in self._configuration.counters and self._configuration.has_localhost_node_ports(self._version):
                accounted = f"-m nfacct --nfacct-name  {LOCALHOST}"
                self._node_ports.append(f'-A KUBE-NODEPORTS -d {self._words.loopback} {behind}" {ends} {accounted} -j {outside}')
            self._node_ports.append(f'-A KUBE-NODEPORTS {behind}" {ends} -j {outside}')

    def _refuse(self, port: ProgrammedPort) -> None:
        """Refuse or drop what reaches an address of *port* with no endpoint behind it."""
        has_any = port.in_use.has_any
        if port.has_internal and port.has_external:
            return
        protocol, number = port.port.protocol.value, port.port.port
        why = f"{port.name} has no {'local ' if has_any else ''}endpoints"
        target = "-j DROP" if has_any else f"-j REJECT --reject-with {self._words.reject}"
        says = f'-p {protocol} -m comment --comment "{why}" -m'
        if not port.has_internal:
            self._refused.append(f"-A KUBE-SERVICES {to_address(port.cluster_ip)}{says} {protocol} --dport {number} {target}")
        if port.has_external:
            return
        for address in (*port.external_ips, *port.load_balancer_ips):
            self._refused_outside.append(f"-A KUBE-EXTERNAL-SERVICES {to_address(address)}{says} {protocol} --dport {number} {target}")
        if port.port.node_port is not None:
            local = f"addrtype --dst-type LOCAL -m {protocol} --dport {port.port.node_port}"
            self._refused_outside.append(f"-A KUBE-EXTERNAL-SERVICES {says} {local} {target}")

    def _masquerade_internal(self, port: ProgrammedPort, hashed: str) -> None:
        """Mark what comes to the cluster IP from elsewhere than a local pod; everything where the proxy is told so."""
        if not port.has_internal:
            return
        chain = f"KUBE-SV{'L' if port.is_internal_local else 'C'}-{hashed}"
        source = "" if self._configuration.masquerade_all else self._detector.is_not_local if self._detector else None
        rules = self._nat.setdefault(chain, [])
        if source is not None:
            protocol, number = port.port.protocol.value, port.port.port
            says = f'-m comment --comment "{port.name} cluster IP"'
            to = f"{to_address(port.cluster_ip)}-p {protocol} {says} -m {protocol} --dport {number}"
            rules.append(f"-A {chain} {source_then(source, to)} -j KUBE-MARK-MASQ")

    def _external(self, port: ProgrammedPort, hashed: str) -> None:
        """Write the chain of what comes from outside."""
        chain = f"KUBE-EXT-{hashed}"
        rules = self._nat[chain] = []
        to = f'{port.name} external destinations"'
        if port.is_external_local:
            local = "-m addrtype --src-type LOCAL -j"
            if self._detector:
                pods = f'-m comment --comment "pod traffic for {to}'
                rules.append(f"-A {chain} {self._detector.is_local}{pods} -j KUBE-SVC-{hashed}")
            rules.append(f'-A {chain} -m comment --comment "masquerade LOCAL traffic for {to} {local} KUBE-MARK-MASQ')
            rules.append(f'-A {chain} -m comment --comment "route LOCAL traffic for {to} {local} KUBE-SVC-{hashed}')
        else:
            rules.append(f'-A {chain} -m comment --comment "masquerade traffic for {to} -j KUBE-MARK-MASQ')
        if port.has_external:
            rules.append(f"-A {chain} -j KUBE-SV{'L' if port.is_external_local else 'C'}-{hashed}")

    def _restrict(self, port: ProgrammedPort, hashed: str) -> None:
        """Let only the ranges that the Service names reach its load balancer's addresses."""
        chain, protocol = f"KUBE-FW-{hashed}", port.port.protocol.value
        rules = self._nat[chain] = []
        says = f'-m comment --comment "{port.name} loadbalancer IP" -j KUBE-EXT-{hashed}'
        rules += [f"-A {chain} {source_range(network)}{says}" for network in port.source_ranges]
        own = self._configuration.node_ips.get(self._version)
        if own is not None and any(own in network for network in port.source_ranges):
            rules += [f"-A {chain} -s {address}{self._words.prefix} {says}" for address in port.load_balancer_ips]
        rules.append(f'-A {chain} -m comment --comment "other traffic to {port.name} will be dropped by KUBE-PROXY-FIREWALL"')
        for address in port.load_balancer_ips:
            says = f'-m comment --comment "{port.name} traffic not accepted by {chain}"'
            self._firewall.append(
                f"-A KUBE-PROXY-FIREWALL {to_address(address)}-p {protocol} {says} -m {protocol} --dport {port.port.port} -j DROP"
            )

    # -- endpoints ----------------------------------------------------------------------------------------------------------------

    def _endpoints(self, port: ProgrammedPort, hashed: str) -> None:
        """Write the chains that choose among endpoints, and one for each that some rule leads to."""
        protocol = port.port.protocol.value
        named = {id(e): (text := port.text_of(e), endpoint_chain(port.name, protocol, text)) for e in port.in_use.reachable}
        if port.cluster:
            self._choose(port, f"KUBE-SVC-{hashed}", [named[id(e)] for e in port.cluster])
        if port.local:
            self._choose(port, f"KUBE-SVL-{hashed}", [named[id(e)] for e in port.local])
        says = "" if self._is_large else f'-m comment --comment "{port.name}" '
        remembers = ""
        for endpoint in port.in_use.reachable:
            text, chain = named[id(endpoint)]
            if port.service.session_affinity_timeout is not None:
                remembers = f"-m recent --set --name {chain} --mask {self._words.mask} --rsource "
            address = text.rpartition(":")[0].strip("[]")
            self._nat[chain] = [
                f"-A {chain} -s {address}{self._words.prefix} {says}-j KUBE-MARK-MASQ",
                f"-A {chain} -p {protocol} {says}{remembers}-m {protocol} -j DNAT --to-destination {text}",
            ]

    def _choose(self, port: ProgrammedPort, chain: str, named: Sequence[tuple[str, str]]) -> None:
        """Write the rules that choose one of the endpoints *named* with their chains: with affinity the client's last one comes first."""
        rules = self._nat.setdefault(chain, [])
        saying = [("" if self._is_large else f'-m comment --comment "{port.name} -> {text}" ', own) for text, own in named]
        if (seconds := port.service.session_affinity_timeout) is not None:
            for says, own in saying:
                known = f"-m recent --rcheck --seconds {seconds} --reap --name {own} --mask {self._words.mask} --rsource"
                rules.append(f"-A {chain} {says}{known} -j {own}")
        left = len(named)
        for says, own in saying:
            chance = f"-m statistic --mode random --probability {odds(left)} " if left > 1 else ""
            rules.append(f"-A {chain} {says}{chance}-j {own}")
            left -= 1

    # -- what stands there once ---------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Add what is the same whatever the objects are; the rule that leads to node ports is the last of its chain."""
        configuration, mark = self._configuration, self._configuration.mark
        add_jumps(self.tables, _JUMPS)
        for chain in ("INPUT", "OUTPUT"):
            self._filter[chain].insert(0, f"-A {chain} -j KUBE-FIREWALL")
        if configuration.has_localhost_node_ports(self._version):
            self._filter["KUBE-FIREWALL"].append(
                "-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment "
                '"block incoming localnet connections" -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP'
            )
        if not configuration.is_conntrack_liberal:
            counted = f"-m nfacct --nfacct-name  {INVALID} " if INVALID in configuration.counters else ""
            self._filter["KUBE-FORWARD"].append(f"-A KUBE-FORWARD -m conntrack --ctstate INVALID {counted}-j DROP")
        marked = f'-m comment --comment "kubernetes forwarding rules" -m mark --mark {mark}/{mark} -j ACCEPT'
        self._filter["KUBE-FORWARD"] += [f"-A KUBE-FORWARD {marked}", f"-A KUBE-FORWARD {FORWARD_ACCEPTS}"]
        self._nat["KUBE-MARK-MASQ"].append(f"-A KUBE-MARK-MASQ -j MARK --set-xmark {mark}/{mark}")
        random = " --random-fully" if configuration.has_random_fully else ""
        self._nat["KUBE-POSTROUTING"] += [
            f"-A KUBE-POSTROUTING -m mark ! --mark {mark}/{mark} -j RETURN",
            f"-A KUBE-POSTROUTING -j MARK --set-xmark {mark}/0x0",
            f'-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE{random}',
        ]
        self._lead_to_node_ports()

    def _lead_to_node_ports(self) -> None:
        chosen = self._configuration.node_ports_on(self._version)
        if chosen.is_all:
            spared = "" if self._configuration.has_localhost_node_ports(self._version) else f"! -d {self._words.loopback} "
            self._services.append(f"-A KUBE-SERVICES {spared}{LAST} -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS")
            return
        for address in chosen.addresses:
            if not address.is_loopback or self._configuration.has_localhost_node_ports(self._version):
                self._services.append(f"-A KUBE-SERVICES {to_address(address)}{LAST} -j KUBE-NODEPORTS")

"""kube-proxy's iptables rules in the layout of 1.20, as far as recordings show it, with the few that its kubelet writes beside them.

What differs from later releases: masquerading is decided in KUBE-SERVICES, Local traffic goes through KUBE-XLB chains, what the ranges of
a load balancer do not name is marked to be dropped, an external IP takes no packets of the node's own, nothing guards health checks.
Source: pkg/proxy/iptables/proxier.go and pkg/kubelet/kubelet_network_linux.go of Kubernetes 1.20; recordings of 1.20.2.
"""

from __future__ import annotations

from collections.abc import Sequence

from tracer.kube.objects import Objects
from tracer.kubeproxy.chain_names import endpoint_chain, port_hash
from tracer.kubeproxy.configuration import Configuration
from tracer.kubeproxy.programmed_port import ProgrammedPort, programmed_ports
from tracer.kubeproxy.rule_spelling import WORDS, odds, source_range, source_then, to_address
from tracer.kubeproxy.rule_tables import LARGE, LAST, NEW, Chains, add_jumps

_DROP_MARK = "0x8000"
_JUMPS = {
    "filter": (
        ("INPUT", NEW, "kubernetes externally-visible service portals", "KUBE-EXTERNAL-SERVICES"),
        ("FORWARD", "", "kubernetes forwarding rules", "KUBE-FORWARD"),
        ("FORWARD", NEW, "kubernetes service portals", "KUBE-SERVICES"),
        ("FORWARD", NEW, "kubernetes externally-visible service portals", "KUBE-EXTERNAL-SERVICES"),
        ("OUTPUT", NEW, "kubernetes service portals", "KUBE-SERVICES"),
    ),
    "nat": (
        ("PREROUTING", "", "kubernetes service portals", "KUBE-SERVICES"),
        ("OUTPUT", "", "kubernetes service portals", "KUBE-SERVICES"),
        ("POSTROUTING", "", "kubernetes postrouting rules", "KUBE-POSTROUTING"),
    ),
}


def old_iptables_rules(
    objects: Objects, configuration: Configuration, *, version: int, has_comments: bool | None = None
) -> dict[str, Chains]:
    """Return the tables of one family. *has_comments* None: the rules of endpoints have them as kube-proxy decides."""
    ports = tuple(programmed_ports(objects, configuration, version=version))
    is_large = sum(len(p.in_use.reachable) for p in ports) > LARGE if has_comments is None else not has_comments
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
        names = "KUBE-PROXY-CANARY KUBE-MARK-DROP KUBE-MARK-MASQ KUBE-POSTROUTING KUBE-SERVICES KUBE-NODEPORTS"
        self._nat: Chains = {name: [] for name in names.split()}
        names = "KUBE-PROXY-CANARY KUBE-FIREWALL KUBE-FORWARD KUBE-SERVICES KUBE-EXTERNAL-SERVICES"
        self._filter: Chains = {name: [] for name in names.split()}
        self.tables: dict[str, Chains] = {"mangle": {"KUBE-PROXY-CANARY": []}, "filter": self._filter, "nat": self._nat}

    def add(self, port: ProgrammedPort) -> None:
        """Add what *port* brings."""
        if not port.cluster:
            self._refuse(port)
            return
        hashed = port_hash(port.name, port.port.protocol)
        inside = outside = f"KUBE-SVC-{hashed}"
        if port.is_external_local:
            outside = f"KUBE-XLB-{hashed}"
        self._lead(port, inside, outside)
        if port.load_balancer_ips:
            self._balancer(port, f"KUBE-FW-{hashed}", outside)
        self._node_port(port, outside)
        self._endpoints(port, inside, outside)

    def _to(self, port: ProgrammedPort, address: str, says: str) -> str:
        protocol = port.port.protocol.value
        return f'{address}-p {protocol} -m comment --comment "{port.name}{says}" -m {protocol} --dport {port.port.port}'

    def _lead(self, port: ProgrammedPort, inside: str, outside: str) -> None:
        """Lead the cluster IP and the external IPs to the endpoints, and mark what has to be masqueraded."""
        rules = self._nat["KUBE-SERVICES"]
        to = self._to(port, to_address(port.cluster_ip), " cluster IP")
        if self._configuration.masquerade_all or self._detector:
            source = self._detector.is_not_local if self._detector and not self._configuration.masquerade_all else ""
            rules.append(f"-A KUBE-SERVICES {source_then(source, to)} -j KUBE-MARK-MASQ")
        rules.append(f"-A KUBE-SERVICES {to} -j {inside}")
        for address in port.external_ips:
            to = self._to(port, to_address(address), " external IP")
            if not port.is_external_local:
                rules.append(f"-A KUBE-SERVICES {to} -j KUBE-MARK-MASQ")
            rules.append(f"-A KUBE-SERVICES {to} -m physdev ! --physdev-is-in -m addrtype ! --src-type LOCAL -j {outside}")
            rules.append(f"-A KUBE-SERVICES {to} -m addrtype --dst-type LOCAL -j {outside}")

    def _balancer(self, port: ProgrammedPort, chain: str, outside: str) -> None:
        """Let the ranges that the Service names reach its load balancer's addresses; mark everything else to be dropped."""
        rules = self._nat[chain] = []
        says = f'-m comment --comment "{port.name} loadbalancer IP"'
        if not port.is_external_local:
            rules.append(f"-A {chain} {says} -j KUBE-MARK-MASQ")
        if not port.source_ranges:
            rules.append(f"-A {chain} {says} -j {outside}")
        rules += [f"-A {chain} {source_range(network)}{says} -j {outside}" for network in port.source_ranges]
        own = self._configuration.node_ips.get(self._version)
        if own is not None and any(own in network for network in port.source_ranges):
            rules += [f"-A {chain} -s {address}{self._words.prefix} {says} -j {outside}" for address in port.load_balancer_ips]
        rules.append(f"-A {chain} {says} -j KUBE-MARK-DROP")
        for address in port.load_balancer_ips:
            self._nat["KUBE-SERVICES"].append(f"-A KUBE-SERVICES {self._to(port, to_address(address), ' loadbalancer IP')} -j {chain}")

    def _node_port(self, port: ProgrammedPort, outside: str) -> None:
        if port.port.node_port is None:
            return
        protocol = port.port.protocol.value
        to = f'-p {protocol} -m comment --comment "{port.name}" -m {protocol} --dport {port.port.node_port}'
        source = f"-s {self._words.loopback} " if port.is_external_local else ""
        self._nat["KUBE-NODEPORTS"] += [f"-A KUBE-NODEPORTS {source}{to} -j KUBE-MARK-MASQ", f"-A KUBE-NODEPORTS {to} -j {outside}"]

    def _refuse(self, port: ProgrammedPort) -> None:
        """Refuse what reaches a port without endpoints, wherever they are."""
        protocol, number = port.port.protocol.value, port.port.port
        says = f'-p {protocol} -m comment --comment "{port.name} has no endpoints" -m'
        target = f"-j REJECT --reject-with {self._words.reject}"
        self._filter["KUBE-SERVICES"].append(f"-A KUBE-SERVICES {to_address(port.cluster_ip)}{says} {protocol} --dport {number} {target}")
        refused = self._filter["KUBE-EXTERNAL-SERVICES"]
        for address in (*port.external_ips, *port.load_balancer_ips):
            refused.append(f"-A KUBE-EXTERNAL-SERVICES {to_address(address)}{says} {protocol} --dport {number} {target}")
        if port.port.node_port is not None:
            local = f"addrtype --dst-type LOCAL -m {protocol} --dport {port.port.node_port}"
            refused.append(f"-A KUBE-EXTERNAL-SERVICES {says} {local} {target}")

    def _endpoints(self, port: ProgrammedPort, inside: str, outside: str) -> None:
        """Write the chains that choose among endpoints, and one for each."""
        protocol = port.port.protocol.value
        says = "" if self._is_large else f'-m comment --comment "{port.name}" '
        chains = [endpoint_chain(port.name, protocol, str(e)) for e in port.cluster]
        seconds = port.service.session_affinity_timeout
        self._choose(inside, chains, seconds, says, [says] * len(chains))
        remembers = ""
        for endpoint, chain in zip(port.cluster, chains, strict=True):
            if seconds is not None:
                remembers = f"-m recent --set --name {chain} --mask {self._words.mask} --rsource "
            self._nat[chain] = [
                f"-A {chain} -s {endpoint.address}{self._words.prefix} {says}-j KUBE-MARK-MASQ",
                f"-A {chain} -p {protocol} {says}{remembers}-m {protocol} -j DNAT --to-destination {endpoint}",
            ]
        if outside != inside:
            self._local(port, inside, outside, [c for e, c in zip(port.cluster, chains, strict=True) if e.is_local])

    def _local(self, port: ProgrammedPort, inside: str, chain: str, local: Sequence[str]) -> None:
        """Write the chain of what comes from outside and may not leave the node."""
        rules = self._nat[chain] = []
        if self._detector:
            says = '-m comment --comment "Redirect pods trying to reach external loadbalancer VIP to clusterIP"'
            rules.append(f"-A {chain} {self._detector.is_local}{says} -j {inside}")
        own = "-m addrtype --src-type LOCAL -j"
        rules.append(f'-A {chain} -m comment --comment "masquerade LOCAL traffic for {port.name} LB IP" {own} KUBE-MARK-MASQ')
        rules.append(f'-A {chain} -m comment --comment "route LOCAL traffic for {port.name} LB IP to service chain" {own} {inside}')
        if not local:
            rules.append(f'-A {chain} -m comment --comment "{port.name} has no local endpoints" -j KUBE-MARK-DROP')
        balancing = [f'-m comment --comment "Balancing rule {n} for {port.name}" ' for n in range(len(local))]
        self._choose(chain, local, port.service.session_affinity_timeout, f'-m comment --comment "{port.name}" ', balancing)

    def _choose(self, chain: str, chains: Sequence[str], seconds: int | None, known: str, balancing: Sequence[str]) -> None:
        """Write the rules that choose one of *chains*: with affinity (*known* is what these say) the client's last one, else by odds."""
        rules = self._nat.setdefault(chain, [])
        for own in chains if seconds is not None else ():
            recent = f"-m recent --rcheck --seconds {seconds} --reap --name {own} --mask {self._words.mask} --rsource"
            rules.append(f"-A {chain} {known}{recent} -j {own}")
        left = len(chains)
        for own, says in zip(chains, balancing, strict=True):
            chance = f"-m statistic --mode random --probability {odds(left)} " if left > 1 else ""
            rules.append(f"-A {chain} {says}{chance}-j {own}")
            left -= 1

    def finish(self) -> None:
        """Add what is the same whatever the objects are."""
        mark = self._configuration.mark
        add_jumps(self.tables, _JUMPS)
        for chain in ("INPUT", "OUTPUT"):
            self._filter[chain].append(f"-A {chain} -j KUBE-FIREWALL")
        dropped = f'-m comment --comment "kubernetes firewall for dropping marked packets" -m mark --mark {_DROP_MARK}/{_DROP_MARK} -j DROP'
        self._filter["KUBE-FIREWALL"].append(f"-A KUBE-FIREWALL {dropped}")
        if self._version == 4:
            self._filter["KUBE-FIREWALL"].append(
                "-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment "
                '"block incoming localnet connections" -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP'
            )
        established = "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
        self._filter["KUBE-FORWARD"] += [
            "-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP",
            f'-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark {mark}/{mark} -j ACCEPT',
            f'-A KUBE-FORWARD -m comment --comment "kubernetes forwarding conntrack pod source rule" {established}',
            f'-A KUBE-FORWARD -m comment --comment "kubernetes forwarding conntrack pod destination rule" {established}',
        ]
        random = " --random-fully" if self._configuration.has_random_fully else ""
        self._nat["KUBE-MARK-DROP"].append(f"-A KUBE-MARK-DROP -j MARK --set-xmark {_DROP_MARK}/{_DROP_MARK}")
        self._nat["KUBE-MARK-MASQ"].append(f"-A KUBE-MARK-MASQ -j MARK --set-xmark {mark}/{mark}")
        self._nat["KUBE-POSTROUTING"] += [
            f"-A KUBE-POSTROUTING -m mark ! --mark {mark}/{mark} -j RETURN",
            f"-A KUBE-POSTROUTING -j MARK --set-xmark {mark}/0x0",
            f'-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE{random}',
        ]
        chosen = self._configuration.node_ports_on(self._version)
        if chosen.is_all:
            self._nat["KUBE-SERVICES"].append(f"-A KUBE-SERVICES {LAST} -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS")
        else:
            self._nat["KUBE-SERVICES"] += [f"-A KUBE-SERVICES {to_address(a)}{LAST} -j KUBE-NODEPORTS" for a in chosen.addresses]

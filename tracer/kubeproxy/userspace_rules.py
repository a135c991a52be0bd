"""kube-proxy's iptables rules of one family in userspace mode: each Service port leads to a port of kube-proxy's own process.

Which port that is kube-proxy draws when it begins: here they are numbered, and stand for whichever it is. Services without endpoints have
rules as well, since the process accepts before it looks for one. Of a Service with two cluster IPs only the first is served, SCTP is not.
Traffic policies, source ranges and hints are not looked at.
Source: pkg/proxy/userspace/proxier.go of Kubernetes 1.20, and what recordings of 1.20 show.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from tracer.kube.objects import Objects
from tracer.kubeproxy.configuration import Configuration
from tracer.kubeproxy.programmed_port import ProgrammedPort, programmed_ports
from tracer.kubeproxy.rule_tables import Chains
from tracer.packet import Address, Protocol, endpoint_text

FIRST_PORT, MOST_PORTS = 40_000, 20_000
_LAST = "handle service NodePorts; NOTE: this must be the last rule in the chain"
_FIRST = "handle ClusterIPs; NOTE: this must be before the NodePort rules"
_NEVER = {4: "192.0.2.0", 6: "2001:db8::"}
"""For a node whose address nothing tells: such a packet goes nowhere that is known."""


def userspace_rules(objects: Objects, configuration: Configuration, *, version: int) -> dict[str, Chains]:
    """Return the tables of one family, of at most ``MOST_PORTS`` Service ports."""
    own = configuration.node_ips.get(version, ip_address(_NEVER[version]))
    nat: Chains = {name: [] for name in ("KUBE-PORTALS-CONTAINER", "KUBE-PORTALS-HOST", "KUBE-NODEPORT-CONTAINER", "KUBE-NODEPORT-HOST")}
    held: Chains = {"KUBE-NODEPORT-NON-LOCAL": []}
    for hook, by in (("PREROUTING", "CONTAINER"), ("OUTPUT", "HOST")):
        nat[hook] = [
            f'-A {hook} -m comment --comment "{_FIRST}" -j KUBE-PORTALS-{by}',
            f'-A {hook} -m addrtype --dst-type LOCAL -m comment --comment "{_LAST}" -j KUBE-NODEPORT-{by}',
        ]
    held["INPUT"] = ['-A INPUT -m comment --comment "Ensure that non-local NodePort traffic can flow" -j KUBE-NODEPORT-NON-LOCAL']
    served = (p for p in programmed_ports(objects, configuration, version=version) if _is_served(p))
    for number, port in zip(range(MOST_PORTS), served, strict=False):
        _add(nat, held, port, own, FIRST_PORT + number)
    return {"mangle": {}, "filter": held, "nat": nat}


def _is_served(port: ProgrammedPort) -> bool:
    return port.cluster_ip == port.service.cluster_ips[0] and port.port.protocol in (Protocol.TCP, Protocol.UDP)


def _add(nat: Chains, held: Chains, port: ProgrammedPort, own: Address, number: int) -> None:
    """Lead the addresses of *port*, and its node port, to the process at *number*."""
    redirected, translated = f"-j REDIRECT --to-ports {number}", f"-j DNAT --to-destination {endpoint_text(own, number)}"
    for address, more, is_of_host in _addresses(port):
        asked = f"-d {address}/{32 if port.version == 4 else 128} {_asks(port, port.port.port)} {more}"
        nat["KUBE-PORTALS-CONTAINER"].append(f"-A KUBE-PORTALS-CONTAINER {asked}{redirected}")
        if is_of_host:
            nat["KUBE-PORTALS-HOST"].append(f"-A KUBE-PORTALS-HOST {asked}{translated}")
    if port.port.node_port is not None:
        asked = _asks(port, port.port.node_port)
        nat["KUBE-NODEPORT-CONTAINER"].append(f"-A KUBE-NODEPORT-CONTAINER {asked} {redirected}")
        nat["KUBE-NODEPORT-HOST"].append(f"-A KUBE-NODEPORT-HOST {asked} {translated}")
        held["KUBE-NODEPORT-NON-LOCAL"].append(f"-A KUBE-NODEPORT-NON-LOCAL {_asks(port, number)} -m state --state NEW -j ACCEPT")


def _addresses(port: ProgrammedPort) -> Iterator[tuple[Address, str, bool]]:
    """Yield each address of *port*, what else is asked there, and whether the node's own packets are asked as well."""
    yield port.cluster_ip, "", True
    for address in port.external_ips:
        yield address, "-m physdev ! --physdev-is-in ", False
        yield address, "-m addrtype --dst-type LOCAL ", True
    for address in port.load_balancer_ips:
        yield address, "", True


def _asks(port: ProgrammedPort, number: int) -> str:
    protocol = port.port.protocol.value
    return f'-p {protocol} -m comment --comment "{port.name}" -m {protocol} --dport {number}'

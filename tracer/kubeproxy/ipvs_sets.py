"""The ipsets of kube-proxy's IPVS mode: what each holds, what its rules call it, and how ``ipset save`` prints them.

Source: pkg/proxy/ipvs/ipset.go of Kubernetes 1.36; ipset(8) 7.17.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tracer.values import dataclass

_LONGEST = 31  # characters of a set's name, as the kernel has it


@dataclass(frozen=True, slots=True, kw_only=True)
class SetKind:
    """One set: the *type* of its entries, and what rules that ask it *say*."""

    type: str
    says: str


_PORTS, _PAIRS = "bitmap:port", "hash:ip,port"
SETS = {
    "KUBE-LOOP-BACK": SetKind(type="hash:ip,port,ip", says="Kubernetes endpoints dst ip:port, source ip for solving hairpin purpose"),
    "KUBE-CLUSTER-IP": SetKind(type=_PAIRS, says="Kubernetes service cluster ip + port for masquerade purpose"),
    "KUBE-EXTERNAL-IP": SetKind(type=_PAIRS, says="Kubernetes service external ip + port for masquerade and filter purpose"),
    "KUBE-EXTERNAL-IP-LOCAL": SetKind(type=_PAIRS, says="Kubernetes service external ip + port with externalTrafficPolicy=local"),
    "KUBE-LOAD-BALANCER": SetKind(type=_PAIRS, says="Kubernetes service lb portal"),
    "KUBE-LOAD-BALANCER-LOCAL": SetKind(type=_PAIRS, says="Kubernetes service load balancer ip + port with externalTrafficPolicy=local"),
    "KUBE-LOAD-BALANCER-FW": SetKind(type=_PAIRS, says="Kubernetes service load balancer ip + port for load balancer with sourceRange"),
    "KUBE-LOAD-BALANCER-SOURCE-CIDR": SetKind(
        type="hash:ip,port,net", says="Kubernetes service load balancer ip + port + source cidr for packet filter purpose"
    ),
    "KUBE-LOAD-BALANCER-SOURCE-IP": SetKind(
        type="hash:ip,port,ip", says="Kubernetes service load balancer ip + port + source IP for packet filter purpose"
    ),
    "KUBE-NODE-PORT-LOCAL-TCP": SetKind(type=_PORTS, says="Kubernetes nodeport TCP port with externalTrafficPolicy=local"),
    "KUBE-NODE-PORT-TCP": SetKind(type=_PORTS, says="Kubernetes nodeport TCP port for masquerade purpose"),
    "KUBE-NODE-PORT-LOCAL-UDP": SetKind(type=_PORTS, says="Kubernetes nodeport UDP port with externalTrafficPolicy=local"),
    "KUBE-NODE-PORT-UDP": SetKind(type=_PORTS, says="Kubernetes nodeport UDP port for masquerade purpose"),
    "KUBE-NODE-PORT-LOCAL-SCTP-HASH": SetKind(
        type=_PAIRS, says="Kubernetes nodeport SCTP port with externalTrafficPolicy=local with type 'hash ip:port'"
    ),
    "KUBE-NODE-PORT-SCTP-HASH": SetKind(type=_PAIRS, says="Kubernetes nodeport SCTP port for masquerade purpose with type 'hash ip:port'"),
    "KUBE-HEALTH-CHECK-NODE-PORT": SetKind(type=_PORTS, says="Kubernetes health check node port"),
    "KUBE-IPVS-IPS": SetKind(type="hash:ip", says="Addresses on the ipvs interface"),
}


def set_name(name: str, version: int) -> str:
    """Return what a set is called in a family: those of IPv6 have names of their own, cut to what the kernel takes."""
    return name if version == 4 else f"KUBE-6-{name.removeprefix('KUBE-')}"[:_LONGEST]


def save_sets(entries: Mapping[str, list[str]], version: int) -> Iterator[str]:
    """Yield the lines of ``ipset save`` for the sets of one family; *entries* by the names of IPv4."""
    for name, kind in SETS.items():
        family = "range 0-65535" if kind.type == _PORTS else f"family inet{'' if version == 4 else '6'} hashsize 1024 maxelem 65536"
        yield f"create {set_name(name, version)} {kind.type} {family}"
        yield from (f"add {set_name(name, version)} {entry}" for entry in entries[name])

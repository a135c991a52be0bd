"""What the demonstration clusters are for, in a sentence each; a cluster that is not listed goes without one."""

from __future__ import annotations

from types import MappingProxyType

SENTENCES = MappingProxyType(
    {
        "shop-iptables": "A shop on four nodes in three zones, dual-stack, kube-proxy 1.36. Every kind of Service, and the usual mistakes.",
        "shop-timeline": "The same shop while it changes twelve times: a timeline to play. As a snapshot it is its first moment.",
        "large-iptables": "10,026 Services and 30,000 endpoints; one node's dump has 156,000 lines.",
        "shop-iptables-v1.30": "The shop under kube-proxy 1.30: zone hints are not followed.",
        "shop-iptables-v1.20": "The shop under kube-proxy 1.20: KUBE-XLB chains, IPv4 only, no internalTrafficPolicy.",
        "shop-nftables": "The shop under kube-proxy 1.36 in nftables mode.",
        "shop-nftables-v1.30": "The shop under kube-proxy 1.30, where nftables mode was new.",
        "shop-ipvs": "The shop in IPVS mode, scheduler rr.",
        "shop-ipvs-sh": "The shop in IPVS mode, scheduler sh, with strict ARP.",
        "shop-userspace-v1.20": "The shop under the userspace proxy of 1.20: every client hidden behind a node.",
    }
)
"""One sentence for each demonstration cluster, by its slug, the most instructive cluster first."""


def rank(slug: str) -> tuple[int, str]:
    """Return a sort key: the order above, then those not listed by name."""
    order = list(SENTENCES)
    return (order.index(slug) if slug in SENTENCES else len(order), slug)

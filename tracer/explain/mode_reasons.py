"""Reasons that belong to one mode of kube-proxy: IPVS, userspace, Windows kernelspace, and data paths in eBPF."""

from __future__ import annotations

from tracer.explain.explanation import Check, Explanation, Remedy, Severity, Theme, kernel, kubernetes_docs, manual

_MODES = kubernetes_docs("Virtual IPs and Service Proxies", "reference/networking/virtual-ips/")

REASONS = (
    Explanation(
        code="NO_REAL_SERVER",
        severity=Severity.FAULT,
        theme=Theme.SERVICES,
        title="A virtual server without a real server",
        sentence="IPVS has the Service's address and port, and nothing behind it: it refuses the connection.",
        meaning=(
            "Where the scheduler finds no real server, IPVS answers with ICMP port unreachable, and the client is refused at once. "
            "There is none when the Service has no ready endpoint, when a Local traffic policy has none on this node, or when all "
            "drain with weight 0.",
            "In iptables mode a Local policy without a local endpoint drops the packet instead, and the client times out.",
        ),
        confirm=(Check(look_for="The virtual server and its real servers.", command="ipvsadm -L -n -t ADDRESS:PORT"),),
        fix=(Remedy(action="Make an endpoint ready, on this node where the policy is Local.", trade_off="None."),),
        sources=(kernel("net/netfilter/ipvs/ip_vs_core.c"), _MODES),
    ),
    Explanation(
        code="SCHEDULER_STATE",
        severity=Severity.INFO,
        theme=Theme.SNAPSHOT,
        title="The scheduler's state is not recorded",
        sentence="Which real server IPVS takes depends on something that ipvsadm does not print.",
        meaning=(
            "Hashing schedulers (sh, dh, mh) fill their tables in the order in which the real servers were added, and ipvsadm prints "
            "them sorted; schedulers by load (lc, wlc, sed, nq) need the connection counts; locality schedulers their caches. Each "
            "possible real server is then a way of its own, under a condition, and no odds are shown.",
        ),
        confirm=(Check(look_for="Which real server the client's connections have.", command="ipvsadm -L -c -n"),),
        fix=(Remedy(action="Record ipvsadm-list.txt and ipvsadm-conn.txt as well.", trade_off="They hold addresses of clients."),),
        sources=(manual("ipvsadm(8)"), kernel("net/netfilter/ipvs/ip_vs_sh.c")),
    ),
    Explanation(
        code="ARP_ANSWERED_BY_SEVERAL",
        severity=Severity.WARNING,
        theme=Theme.ROUTING,
        title="Several nodes answer for one address",
        sentence="In IPVS mode every node holds every Service address, and answers ARP requests for those of its own link.",
        meaning=(
            "kube-proxy puts all cluster IPs, external IPs and load-balancer addresses on the device kube-ipvs0. Without strictARP a "
            "node answers ARP requests for them on any device, so that whoever asks gets an answer from each node, and keeps the "
            "one it heard last or first.",
            "An announcer such as MetalLB then competes with all nodes for the address.",
        ),
        confirm=(Check(look_for="arp_ignore 0.", command="sysctl net.ipv4.conf.all.arp_ignore net.ipv4.conf.all.arp_announce"),),
        fix=(
            Remedy(
                action="Set ipvs.strictARP: true in kube-proxy's configuration.",
                trade_off="An external IP that nobody else announces is no longer reached from outside.",
            ),
        ),
        sources=(kernel("net/ipv4/arp.c"), _MODES),
    ),
)

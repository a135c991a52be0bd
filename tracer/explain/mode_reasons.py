"""Reasons that belong to one mode of kube-proxy: IPVS, userspace, Windows kernelspace, and data paths in eBPF."""

from __future__ import annotations

from tracer.explain.explanation import Check, Citation, Explanation, Remedy, Severity, Theme, kernel, kubernetes_docs, manual

_MODES = kubernetes_docs("Virtual IPs and Service Proxies", "reference/networking/virtual-ips/")
_USERSPACE = Citation(
    label="Kubernetes 1.20, pkg/proxy/userspace", url="https://github.com/kubernetes/kubernetes/tree/v1.20.2/pkg/proxy/userspace"
)
_CILIUM = Citation(
    label="Cilium documentation: Kubernetes Without kube-proxy",
    url="https://docs.cilium.io/en/stable/network/kubernetes/kubeproxy-free/",
)
_OVN = Citation(label="OVN-Kubernetes: topology and traffic flows", url="https://ovn-kubernetes.io/design/topology/")
_ANTREA = Citation(label="Antrea: architecture", url="https://antrea.io/docs/main/docs/design/architecture/")
_LEAVE = Remedy(action="Leave userspace mode: Kubernetes 1.26 removed it.", trade_off="Rules refuse instead of accepting, as servers do.")

REASONS = (
    Explanation(
        code="NO_REAL_SERVER",
        severity=Severity.FAULT,
        theme=Theme.MODES,
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
        theme=Theme.MODES,
        title="The scheduler's state is not recorded",
        sentence="Which real server IPVS takes depends on something that ipvsadm does not print.",
        meaning=(
            "Hashing schedulers (sh, dh, mh) fill their tables in the order in which the real servers were added, and ipvsadm prints "
            "them sorted; for mh that order seldom matters. With a port flag the client's port counts. Schedulers by load (lc, wlc, sed, "
            "nq) need the connection counts; locality schedulers their caches. Each possible real server is then a way of its own, under "
            "a condition, and no odds are shown.",
        ),
        confirm=(Check(look_for="Which real server the client's connections have.", command="ipvsadm -L -c -n"),),
        fix=(Remedy(action="Record ipvsadm-list.txt and ipvsadm-conn.txt as well.", trade_off="They hold addresses of clients."),),
        sources=(manual("ipvsadm(8)"), kernel("net/netfilter/ipvs/ip_vs_sh.c")),
    ),
    Explanation(
        code="ARP_ANSWERED_BY_SEVERAL",
        severity=Severity.WARNING,
        theme=Theme.MODES,
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
    Explanation(
        code="PROXY_NO_ENDPOINT",
        severity=Severity.FAULT,
        theme=Theme.MODES,
        title="The proxy accepts and finds no endpoint",
        sentence="In userspace mode kube-proxy accepts a connection before it knows an endpoint, and closes it when there is none.",
        meaning=(
            "The client is connected and closed at once, and not refused: a health check that only connects takes the Service for alive. "
            "A UDP datagram is thrown away.",
        ),
        confirm=(Check(look_for="No ready address.", command="kubectl get endpoints -n NAMESPACE NAME"),),
        fix=(Remedy(action="Make an endpoint ready.", trade_off="None."), _LEAVE),
        sources=(_USERSPACE,),
    ),
    Explanation(
        code="PROXY_CLOSED",
        severity=Severity.FAULT,
        theme=Theme.MODES,
        title="The proxy accepts and cannot connect",
        sentence="In userspace mode kube-proxy accepted the connection, could not connect to an endpoint, and closed it.",
        meaning=("It tries up to four endpoints, each a little longer; until then the client is connected and hears nothing.",),
        confirm=(Check(look_for="Failed to connect to balancer.", command="kubectl logs -n kube-system PROXY_POD"),),
        fix=(Remedy(action="Find out why the endpoints do not answer: the trace shows each try.", trade_off="None."), _LEAVE),
        sources=(_USERSPACE,),
    ),
    Explanation(
        code="PROXY_HOLDS_PORT",
        severity=Severity.WARNING,
        theme=Theme.MODES,
        title="A node port that is held and not served",
        sentence="kube-proxy listens on the node port so that nobody else takes it, and no rule translated the packet before it got there.",
        meaning=(
            "Before Kubernetes 1.23 kube-proxy opened a socket on every node port. Where its rules do not apply, as for IPv6 on a cluster "
            "without it, a packet reaches that socket: the kernel accepts the connection, and nobody ever reads from it.",
        ),
        confirm=(Check(look_for="kube-proxy on the node port.", command="ss -ltnup | grep kube-proxy"),),
        fix=(Remedy(action="Dial an address family and an address that kube-proxy serves.", trade_off="None."),),
        sources=(_MODES,),
    ),
    Explanation(
        code="EBPF_MAPS_MISSING",
        severity=Severity.NOTICE,
        theme=Theme.MODES,
        title="The data path is in eBPF maps",
        sentence="This node's Services are in eBPF maps, not in rules, and the snapshot does not hold them.",
        meaning=(
            "Cilium and Calico can replace kube-proxy: programs in the kernel look Services up in maps, which no dump of rules shows. The "
            "node was recognised by its agent and by the absence of Service rules.",
        ),
        confirm=(Check(look_for="The services in the maps.", command="cilium-dbg service list; calico-node -bpf nat dump"),),
        fix=(
            Remedy(
                action="With Cilium, record cilium-dbg service list -o json as nodes/NODE/cilium-services.json.",
                trade_off="It gives frontends and backends, not policies and routes. Of Calico's maps no listing is read.",
            ),
        ),
        sources=(_CILIUM,),
    ),
    Explanation(
        code="EBPF_NOT_REPLAYED",
        severity=Severity.INFO,
        theme=Theme.MODES,
        title="Beyond the list of frontends",
        sentence="The list gives the frontend and its backends; the eBPF programs that do the rest are not replayed.",
        meaning=(
            "Which source address the pod sees, whether a policy lets the packet pass and how it travels is decided in the programs.",
        ),
        sources=(_CILIUM,),
    ),
    Explanation(
        code="OVS_FLOWS_MISSING",
        severity=Severity.NOTICE,
        theme=Theme.MODES,
        title="The data path is in Open vSwitch",
        sentence="Flows of Open vSwitch decide here, not the node's rules, and the snapshot does not hold them.",
        meaning=(
            "OVN-Kubernetes and Antrea answer Services in flow tables of Open vSwitch, before the node's own rules are asked. The node was "
            "recognised by a device, an agent or chains of theirs. Rules of kube-proxy's that stand there as well do not decide it; with "
            "Antrea they still decide what comes from outside and from the node itself.",
        ),
        confirm=(
            Check(
                look_for="The flows, and OVN's load balancers.",
                command="ovs-ofctl dump-flows br-int; ovn-nbctl lb-list; antctl get ovsflows",
            ),
        ),
        sources=(_OVN, _ANTREA),
    ),
    Explanation(
        code="WINDOWS_NOT_REPLAYED",
        severity=Severity.INFO,
        theme=Theme.MODES,
        title="Windows: only what its lists say",
        sentence="HNS' lists give the address, the backends and their flags; what Windows' virtual switch does with them is not replayed.",
        meaning=(
            "Where no list was recorded, the load balancers are those that kube-proxy would make of the objects: who may get the packet, "
            "likely and not checked.",
            "There is no kernel truth for Windows nodes: this reading was built from the tools' documentation and source, and was not yet "
            "checked on a real bundle.",
        ),
        confirm=(Check(look_for="Load balancers and endpoints.", command="hnsdiag list all -df"),),
        sources=(_MODES,),
    ),
)

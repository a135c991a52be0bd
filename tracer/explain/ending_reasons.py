"""Reasons that say how a packet ended, one for each way a walk can end without a finer diagnosis."""

from __future__ import annotations

from tracer.explain.explanation import Check, Explanation, Remedy, Severity, Theme, issue, kernel, kubernetes_docs, manual, standard

_COUNTERS = Check(
    look_for="The rule's packet counter grows while you repeat the connection.",
    command="iptables-save -c | grep -F -- 'RULE TEXT'",
)

REASONS = (
    Explanation(
        code="DELIVERED",
        severity=Severity.INFO,
        theme=Theme.ENDING,
        title="Delivered",
        sentence="The packet reaches the destination's network stack.",
        meaning=(
            "Every rule set and routing decision on the way let the packet through, and the last stack owns the destination address.",
            "Delivered is not the same as answered: if no process listens on the port, the client is refused. Hopline says "
            "whether a container declares the port; it cannot see listening sockets unless the snapshot has them.",
        ),
        confirm=(
            Check(look_for="The process listens on that port.", command="kubectl exec -n NAMESPACE POD -- ss -ltnu"),
            Check(look_for="The port is open from the source.", command="kubectl exec -n NAMESPACE SOURCE-POD -- nc -vz -w 3 ADDRESS PORT"),
        ),
        sources=(kubernetes_docs("Debug Services", "tasks/debug/debug-application/debug-service/"),),
    ),
    Explanation(
        code="NOBODY_LISTENS",
        severity=Severity.FAULT,
        theme=Theme.ENDING,
        title="Nothing listens on the port",
        sentence="The packet reaches the node, and the node's list of sockets has none that takes it.",
        meaning=(
            "The kernel answers for the port: with a reset for TCP, with an ICMP error (port unreachable) for UDP. The client is refused.",
            "A socket takes a packet by its protocol, port, address and family: one on 0.0.0.0 takes no IPv6, one on 127.0.0.1 nothing "
            "from outside, one that is bound to a device only what comes in by it.",
        ),
        confirm=(
            Check(look_for="No line with that port, or only lines with other addresses.", command="ss -ltnup"),
            Check(look_for="The refusal itself.", command="nc -vz -w 3 ADDRESS PORT"),
        ),
        fix=(
            Remedy(action="Start the process, or have it listen on that address and family.", trade_off="None, if it belongs there."),
            Remedy(
                action="Dial a port that is listened on; a node port is served by kube-proxy's rules, not by a process.",
                trade_off="Its Service has to have that node port, in the family of the address.",
            ),
        ),
        sources=(manual("ss(8)"), kernel("net/ipv4/inet_hashtables.c"), kernel("net/ipv4/udp.c")),
    ),
    Explanation(
        code="ECHO_IGNORED",
        severity=Severity.NOTICE,
        theme=Theme.ENDING,
        title="Told to ignore echo requests",
        sentence="The echo request arrives, and a setting of the stack there keeps it from being answered.",
        meaning=(
            "Echo requests (ping) are answered by the kernel, without a process. net.ipv4.icmp_echo_ignore_all, and "
            "net.ipv6.icmp.echo_ignore_all, switch that off. Everything else is taken as ever.",
        ),
        confirm=(Check(look_for="The value is 1.", command="sysctl net.ipv4.icmp_echo_ignore_all net.ipv6.icmp.echo_ignore_all"),),
        fix=(Remedy(action="Ask for a port instead of an echo, or set it to 0.", trade_off="Some set it so that scans find less."),),
        sources=(kernel("net/ipv4/icmp.c"), kernel("net/ipv6/icmp.c")),
    ),
    Explanation(
        code="SERVICE_TAKES_NO_ECHO",
        severity=Severity.NOTICE,
        theme=Theme.ENDING,
        title="A Service's address does not answer ping",
        sentence="An echo request has no port, and a Service takes packets by protocol and port.",
        meaning=(
            "In iptables mode no rule takes it: the cluster IP is nobody's address, and the packet goes where the routes lead. In nftables "
            "mode a rule refuses what is for a cluster IP and none of its ports. In IPVS mode the node holds the address on a device "
            "of its own and answers by itself, unless a rule refuses. None of that says whether the Service works.",
        ),
        confirm=(Check(look_for="A port of the Service answers.", command="nc -vz -w 3 ADDRESS PORT"),),
        fix=(Remedy(action="Ask for one of the Service's ports, or ping a pod's own address.", trade_off="None."),),
        sources=(kubernetes_docs("Virtual IPs and Service Proxies", "reference/networking/virtual-ips/"),),
    ),
    Explanation(
        code="RULE_DROP",
        severity=Severity.FAULT,
        theme=Theme.ENDING,
        title="Dropped by a rule",
        sentence="A rule on the path has the target DROP.",
        meaning=(
            "The rule discards the packet without an answer, so the client waits and times out.",
            "The step names the rule, its file and its line. kube-proxy writes such rules on purpose, for a Local traffic policy "
            "without a local endpoint or for loadBalancerSourceRanges; anything else was written by the CNI, a firewall or an "
            "administrator.",
        ),
        confirm=(
            _COUNTERS,
            Check(look_for="Who wrote the chain: comments and chain names tell.", command="iptables-save | grep -F -- 'CHAIN'"),
        ),
        fix=(
            Remedy(
                action="Change what the rule was made from (Service, NetworkPolicy, firewall configuration).",
                trade_off="Safe: the owner rewrites it.",
            ),
            Remedy(
                action="Delete the rule by hand on the node.", trade_off="The owner puts it back at its next sync; use it as a test only."
            ),
        ),
        sources=(manual("iptables(8)"),),
    ),
    Explanation(
        code="POLICY_DROP",
        severity=Severity.FAULT,
        theme=Theme.ENDING,
        title="Dropped by a chain's policy",
        sentence="No rule decided, and the base chain's policy is DROP.",
        meaning=(
            "A packet that reaches the end of a built-in chain gets the chain's policy. Here that policy discards it, so the "
            "client times out.",
            "Nothing on the path refused this packet; nothing allowed it either.",
        ),
        confirm=(
            Check(look_for="The policy in brackets, and its growing counter.", command="iptables -t TABLE -nvL CHAIN | head -n 1"),
            Check(
                look_for="Who sets it: Docker, ufw, firewalld or a hardening script.",
                command="systemctl list-units 'docker*' 'ufw*' 'firewalld*'",
            ),
        ),
        fix=(
            Remedy(
                action="Add an accepting rule for the pod and Service ranges.",
                trade_off="Keeps the default-deny stance; the ranges must be kept up to date.",
            ),
            Remedy(action="Set the policy to ACCEPT.", trade_off="Simple; the node then forwards for anybody who routes through it."),
        ),
        sources=(manual("iptables(8)"), issue("kubernetes/kubernetes#39823")),
    ),
    Explanation(
        code="RULE_REJECT",
        severity=Severity.FAULT,
        theme=Theme.ENDING,
        title="Rejected by a rule",
        sentence="A rule on the path has the target REJECT.",
        meaning=(
            "The rule discards the packet and answers with an ICMP error or a TCP reset, so the client sees the refusal at once.",
            "kube-proxy rejects packets to a Service that has no endpoints. A refusal by REJECT looks to the client like a refusal by "
            "the pod; only the rule tells them apart.",
        ),
        confirm=(
            _COUNTERS,
            Check(
                look_for="Endpoints of the Service.",
                command="kubectl get endpointslices -n NAMESPACE -l kubernetes.io/service-name=SERVICE",
            ),
        ),
        fix=(Remedy(action="Give the Service ready endpoints.", trade_off="None: kube-proxy removes the rule by itself."),),
        sources=(manual("iptables-extensions(8)"), standard(792, "Internet Control Message Protocol")),
    ),
    Explanation(
        code="TTL_LOOP",
        severity=Severity.FAULT,
        theme=Theme.ENDING,
        title="Loops until its time to live ends",
        sentence="The packet comes back to a state it has been in before.",
        meaning=(
            "Two routing tables, or a route and a rewriting rule, send the packet in a circle. Each router on the circle lowers the time "
            "to live, and the packet is discarded when it reaches zero. The client sees a timeout.",
        ),
        confirm=(
            Check(look_for="The same routers again and again.", command="traceroute -n -T -p PORT ADDRESS"),
            Check(look_for="The next hop on each node of the circle.", command="ip route get ADDRESS from SOURCE iif DEVICE"),
        ),
        fix=(
            Remedy(
                action="Correct the route that points back.", trade_off="On a managed network the CNI owns it: correct its configuration."
            ),
        ),
        sources=(standard(1812, "Requirements for IP Version 4 Routers, 5.3.1"), kernel("net/ipv4/ip_forward.c")),
    ),
    Explanation(
        code="TTL_EXCEEDED",
        severity=Severity.FAULT,
        theme=Theme.ENDING,
        title="Its time to live ends on the way",
        sentence="A node does not forward the packet: its time to live (hop limit) is used up.",
        meaning=(
            "Every router takes one from the time to live, and a rule may take more (TTL or HL in the mangle table). A packet that arrives "
            "with one left is not forwarded: it is discarded before the FORWARD chains, and the sender gets an ICMP time exceeded.",
        ),
        confirm=(
            Check(look_for="Rules that lower it.", command="iptables-save -t mangle | grep -E 'TTL|HL'"),
            Check(look_for="The node that answers with time exceeded.", command="traceroute -n -T -p PORT ADDRESS"),
        ),
        fix=(
            Remedy(
                action="Send the packet with a larger time to live, or remove the rule that lowers it.",
                trade_off="Rules that lower it often keep tethered or looping traffic out on purpose.",
            ),
        ),
        sources=(
            standard(1812, "Requirements for IP Version 4 Routers, 5.3.1"),
            kernel("net/ipv4/ip_forward.c"),
            kernel("net/ipv6/ip6_output.c"),
        ),
    ),
    Explanation(
        code="NOT_OWNED",
        severity=Severity.FAULT,
        theme=Theme.ENDING,
        title="Nobody owns the address",
        sentence="The packet is routed to an address that nobody in the snapshot owns.",
        meaning=(
            "A route leads there, and the cluster itself should have the address: it is of the pods' or the Services' range, a Service "
            "names it, or a rule made it of a Service's. No pod, node, load balancer or endpoint of the snapshot has it. The host on that "
            "network finds no neighbour, and the client sees a timeout or 'host unreachable'.",
            "Common causes: a rule still names a pod that is gone, or an address inside the Service range that no Service has.",
        ),
        confirm=(
            Check(look_for="Whether any object has the address.", command="kubectl get pods,services,nodes -A -o wide | grep -F ADDRESS"),
            Check(look_for="FAILED or INCOMPLETE for the address.", command="ip neigh show ADDRESS"),
        ),
        fix=(Remedy(action="Ask for the address that the Service or pod has now.", trade_off="None."),),
        sources=(kernel("net/ipv4/arp.c"), standard(1122, "Requirements for Internet Hosts, 3.3.1")),
    ),
    Explanation(
        code="ENDPOINT_NODE_GONE",
        severity=Severity.FAULT,
        theme=Theme.ENDING,
        title="An endpoint of a node that is gone",
        sentence="An EndpointSlice still lists an address on a node that the cluster no longer has.",
        meaning=(
            "The endpoint names a node, and no Node object has that name; nor does any Pod object have the address. The node was removed "
            "and its endpoint stayed: kube-proxy goes on sending it its share of the connections, which nobody takes. What the client "
            "sees is up to the network: a timeout, or 'network unreachable' from the next router.",
            "An EndpointSlice that its controller made loses such addresses by itself when the pod is removed; one written by hand, or by "
            "a controller that no longer runs, keeps them.",
        ),
        confirm=(
            Check(look_for="Whether the node exists.", command="kubectl get nodes"),
            Check(
                look_for="Who made the EndpointSlice (label endpointslice.kubernetes.io/managed-by), and the node it names.",
                command="kubectl get endpointslices -n NAMESPACE -l kubernetes.io/service-name=SERVICE -o yaml",
            ),
        ),
        fix=(
            Remedy(action="Remove the address from the EndpointSlice, or the EndpointSlice if nobody keeps it.", trade_off="None."),
            Remedy(
                action="Where the Pod object is left on the node that is gone: kubectl delete pod POD --force.",
                trade_off="If the node comes back, the pod's processes run there until the kubelet ends them.",
            ),
        ),
        sources=(kubernetes_docs("EndpointSlices: Ownership", "concepts/services-networking/endpoint-slices/#ownership"),),
    ),
    Explanation(
        code="NETWORK_DROPS_PODS",
        severity=Severity.WARNING,
        theme=Theme.ENDING,
        title="The network is taken not to know pod addresses",
        sentence="The packet is for a pod's own address, and the network that it is in is taken not to bring it to the pod's node.",
        meaning=(
            "Whether the network around the nodes routes pod addresses (BGP, cloud routes, a static route) is in no file of a snapshot: it "
            "is an assumption, network:routes-pods or network:drops-pods. Where nodes carry pod traffic in a tunnel, the network need not "
            "know pod addresses, and seldom does; where no node's route leads to another node's pods, it has to.",
        ),
        confirm=(
            Check(look_for="Whether the packet comes in at the pod's node.", command="tcpdump -ni any host POD-ADDRESS"),
            Check(look_for="A route to the pods' range, on the router.", command="ip route get POD-ADDRESS"),
        ),
        fix=(
            Remedy(
                action="Dial a Service that is reachable from outside (NodePort, LoadBalancer), not the pod's address.",
                trade_off="None: pod addresses change with every pod.",
            ),
            Remedy(action="Route the pods' ranges to their nodes.", trade_off="The ranges must not be used elsewhere in the network."),
        ),
        sources=(kubernetes_docs("Cluster Networking", "concepts/cluster-administration/networking/"),),
    ),
    Explanation(
        code="TUNNEL_PACKET_LOST",
        severity=Severity.FAULT,
        theme=Theme.ENDING,
        title="The tunnel's own packet does not arrive",
        sentence="The packet leaves its node inside a packet of a tunnel, and that one does not come out at the other node.",
        meaning=(
            "An overlay (VXLAN, Geneve) carries pods' packets in UDP between the nodes. That UDP packet passes the rules of both nodes "
            "like any other: a firewall that forgets its port (8472 for Linux and Flannel, 4789 for most others, 6081 for Geneve) takes "
            "all traffic between pods of the two nodes away, while everything on one node works. Whatever ends it, the tunnel tells "
            "nobody: the client waits until it times out.",
            "It ends too where nothing unpacks it on the other node, and where the sender still knows the link-layer address that the "
            "other node's tunnel had before.",
        ),
        confirm=(
            Check(look_for="Tunnel packets that leave one node and do not come in at the other.", command="tcpdump -ni any udp port 8472"),
            Check(
                look_for="The peer's address by the link-layer address of its tunnel.",
                command="bridge fdb show dev DEVICE; ip neigh show dev DEVICE",
            ),
            Check(look_for="A rule that counts them.", command="iptables-save -c | grep -E '8472|4789|6081'"),
        ),
        fix=(
            Remedy(
                action="Let the tunnel's UDP port in from the addresses of all nodes, on every node and in the network between them.",
                trade_off="The port carries pods' traffic unencrypted: open it to nodes only.",
            ),
        ),
        sources=(kernel("drivers/net/vxlan/vxlan_core.c"), standard(7348, "Virtual eXtensible Local Area Network (VXLAN)")),
    ),
    Explanation(
        code="LEAVES_CLUSTER",
        severity=Severity.INFO,
        theme=Theme.ENDING,
        title="Goes to somebody outside",
        sentence="The packet is handed to a network outside the snapshot.",
        meaning=(
            "The last node sent the packet through its default route or an external link, to an address that is not part of the cluster. "
            "What happens beyond is not recorded, so Hopline stops here and claims nothing.",
            "The source that it leaves with is what the host outside sees. Where that is a node's address, the way of an answer through "
            "the cluster is walked as if one came; where it is a pod's, the network outside has to know pod addresses.",
        ),
        confirm=(Check(look_for="The device and gateway used.", command="ip route get ADDRESS"),),
        sources=(kubernetes_docs("Cluster Networking", "concepts/cluster-administration/networking/"),),
    ),
)

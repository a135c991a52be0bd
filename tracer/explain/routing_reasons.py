"""Reasons about routes, and the checks that the kernel makes without any rule."""

from __future__ import annotations

from tracer.explain.explanation import Check, Explanation, Remedy, Severity, Theme, issue, kernel, kubernetes_docs, manual, standard
from tracer.snapshot.told import stack_command

_ROUTE_GET = Check(look_for="What the kernel itself decides.", command="ip route get ADDRESS from SOURCE iif DEVICE")
_SYSCTL = kernel("Documentation/networking/ip-sysctl.rst")

REASONS = (
    Explanation(
        code="NO_ROUTE",
        severity=Severity.FAULT,
        theme=Theme.ROUTING,
        title="No route",
        sentence="No routing table that applies has a route to the destination.",
        meaning=("The host answers 'network unreachable': to its own process at once, to somebody else by ICMP.",),
        confirm=(_ROUTE_GET, Check(look_for="Rules and tables.", command="ip rule; ip route show table all")),
        fix=(
            Remedy(
                action="Add the missing route, or repair the component that owns it (CNI).",
                trade_off="A route by hand is lost at the next restart.",
            ),
        ),
        sources=(manual("ip-route(8)"), kernel("net/ipv4/fib_semantics.c")),
    ),
    Explanation(
        code="NO_CARRIER",
        severity=Severity.FAULT,
        theme=Theme.ROUTING,
        title="A link is down",
        sentence="The packet has to pass a device that has no carrier, or that is shut.",
        meaning=(
            "A device without carrier keeps its routes (marked linkdown): the kernel asks for the neighbour three times into nothing and "
            "then says 'host unreachable'. With a permanent neighbour entry, as flannel writes for its VXLAN, or on a device without ARP "
            "it does not ask, and the packet vanishes. A device that is shut has no routes at all.",
            "A veth has carrier while both its ends are up; a bridge while one of its ports has.",
        ),
        confirm=(
            Check(look_for="NO-CARRIER, LOWERLAYERDOWN or a missing UP.", command="ip -d link show dev DEVICE"),
            Check(look_for="linkdown or dead.", command="ip route show table all dev DEVICE"),
        ),
        fix=(
            Remedy(action="ip link set dev DEVICE up, on both ends of the link.", trade_off="Find out first who shut it."),
            Remedy(action="Recreate the pod whose device it is.", trade_off="Its connections end."),
        ),
        sources=(kernel("net/sched/sch_generic.c"), kernel("net/core/neighbour.c"), kernel("net/core/link_watch.c"), _SYSCTL),
    ),
    Explanation(
        code="POD_ROUTE_MISSING",
        severity=Severity.FAULT,
        theme=Theme.ROUTING,
        title="A node lacks the route to another node's pods",
        sentence="The node has no route to the pods of another node, though its peers have such routes.",
        meaning=(
            "Its packets to those pods go by the default route, to a router of which a snapshot holds nothing; most routers do not know "
            "pod addresses. Where no node has such routes the network knows them itself, and none is missing.",
        ),
        confirm=(
            _ROUTE_GET,
            Check(look_for="The routes of a node that works, beside this one's.", command="ip route show table main"),
            Check(
                look_for="Whether the CNI's agent runs on the node.",
                command="kubectl get pods -A -o wide --field-selector spec.nodeName=NODE",
            ),
        ),
        fix=(
            Remedy(action="Restart the CNI's agent on the node, and read its log.", trade_off="None, where the routes are gone anyway."),
            Remedy(action="ip route add POD-NETWORK via NODE-ADDRESS", trade_off="By hand: lost at the next restart."),
        ),
        sources=(kubernetes_docs("Cluster Networking", "concepts/cluster-administration/networking/"), manual("ip-route(8)")),
    ),
    Explanation(
        code="LINK_STATE_UNKNOWN",
        severity=Severity.WARNING,
        theme=Theme.ROUTING,
        title="Whether the link works is not certain",
        sentence="What was recorded of a link contradicts itself, or does not say whose link it is that is down.",
        meaning=(
            "Files of one node are read one after the other, so a route may be marked linkdown whose device has carrier in the next file. "
            "And of a bridge's ports, or of devices that are shut, it is not recorded which pod is behind which.",
        ),
        confirm=(
            Check(look_for="NO-CARRIER or a missing UP.", command="ip -d link show"),
            Check(look_for="Which port has the pod's address.", command="bridge fdb show; ip neigh show"),
        ),
        sources=(manual("ip-link(8)"), manual("bridge(8)")),
    ),
    Explanation(
        code="NEIGHBOUR_FAILED",
        severity=Severity.WARNING,
        theme=Theme.ROUTING,
        title="The neighbour did not answer",
        sentence="When the node asked last who has the next hop's address, nobody answered.",
        meaning=(
            "The kernel keeps such an entry (FAILED, INCOMPLETE) for about a minute, and asks again for the next packet: if nobody answers "
            "then either, the sender is told 'host unreachable'. An entry that was made before the pod had its address says nothing of it, "
            "so Hopline does not take it for proof. STALE, DELAY and PROBE are entries that were answered.",
        ),
        confirm=(
            Check(look_for="FAILED after a new attempt.", command="ping -c 1 ADDRESS; ip neigh show ADDRESS"),
            Check(look_for="Whether the pod's device is up and has the address.", command="kubectl exec -n NAMESPACE POD -- ip addr"),
        ),
        sources=(kernel("net/core/neighbour.c"), manual("ip-neighbour(8)")),
    ),
    Explanation(
        code="NEIGHBOUR_SILENT",
        severity=Severity.FAULT,
        theme=Theme.ROUTING,
        title="The next hop does not answer who it is",
        sentence="The sender asks on the link who has the next hop's address, and the node that has it does not answer there.",
        meaning=(
            "Over IPv4 a node answers an ARP request on any device for any of its addresses, unless arp_ignore (1: the device's own only, "
            "2: within the subnet, 3: none of scope host, 8: none), arp_filter or rp_filter of the device forbid it; by which address is "
            "asked is the sender's arp_announce. Over IPv6 a device answers for its own addresses only. Nobody answers, and after three "
            "questions the sender is told 'host unreachable'.",
            "A device with NOARP does not answer, and sends without asking: to its own link-layer address, so that the packet vanishes.",
        ),
        confirm=(
            Check(look_for="INCOMPLETE or FAILED, on the sender.", command="ip neigh show ADDRESS"),
            Check(
                look_for="Values other than 0, on the node that should answer.",
                command="sysctl -a | grep -E 'arp_(ignore|filter|announce)|rp_filter'",
            ),
            Check(look_for="NOARP.", command="ip -d link show dev DEVICE"),
        ),
        fix=(
            Remedy(action="Put the address on the device that is asked.", trade_off="None for a node's own address."),
            Remedy(action="sysctl -w net.ipv4.conf.DEVICE.arp_ignore=0", trade_off="The node answers for Service addresses (IPVS), too."),
            Remedy(action="ip link set dev DEVICE arp on", trade_off="None on a link that is shared."),
        ),
        sources=(kernel("net/ipv4/arp.c"), kernel("net/ipv6/ndisc.c"), _SYSCTL),
    ),
    Explanation(
        code="ROUTE_PROHIBITED",
        severity=Severity.FAULT,
        theme=Theme.ROUTING,
        title="A route forbids it",
        sentence="The best route has the type prohibit or unreachable.",
        meaning=(
            "Such a route refuses on purpose and says so: prohibit answers 'communication administratively prohibited', unreachable "
            "answers 'host unreachable'.",
        ),
        confirm=(
            _ROUTE_GET,
            Check(
                look_for="prohibit or unreachable routes.",
                command="ip route show table all type prohibit; ip route show table all type unreachable",
            ),
        ),
        fix=(Remedy(action="Remove the route, or add a more specific one.", trade_off="Ask first who put it there."),),
        sources=(manual("ip-route(8)"),),
    ),
    Explanation(
        code="ROUTE_BLACKHOLE",
        severity=Severity.FAULT,
        theme=Theme.ROUTING,
        title="A route swallows it",
        sentence="The best route has the type blackhole.",
        meaning=(
            "A forwarded packet is discarded in silence; a process of the host itself gets 'invalid argument'. CNIs put "
            "blackhole routes over "
            "a node's own pod range, so that addresses of removed pods do not wander off: the pod's own route is more specific.",
        ),
        confirm=(_ROUTE_GET, Check(look_for="blackhole routes.", command="ip route show table all type blackhole")),
        fix=(Remedy(action="Find out why the more specific route is missing: the pod may be gone.", trade_off="None."),),
        sources=(manual("ip-route(8)"),),
    ),
    Explanation(
        code="MARTIAN_SOURCE",
        severity=Severity.FAULT,
        theme=Theme.ROUTING,
        title="Martian source",
        sentence="The kernel drops a packet that arrives with an impossible source address.",
        meaning=(
            "A packet from the network whose source is one of the node's own addresses, a loopback, multicast or broadcast "
            "address cannot be "
            "genuine. The kernel drops it before INPUT and FORWARD unless accept_local (own addresses) or route_localnet "
            "(loopback) is set.",
        ),
        confirm=(
            Check(look_for="'martian source' lines.", command="sysctl -w net.ipv4.conf.all.log_martians=1; dmesg | grep -i martian"),
            Check(look_for="The settings.", command="sysctl net.ipv4.conf.DEVICE.accept_local net.ipv4.conf.DEVICE.route_localnet"),
        ),
        fix=(
            Remedy(action="Masquerade where the packet is sent, so that it has another source.", trade_off="The original source is lost."),
        ),
        sources=(
            kernel("net/ipv4/fib_frontend.c"),
            standard(1812, "Requirements for IP Version 4 Routers, 5.3.7"),
            issue("kubernetes/kubernetes#57922"),
        ),
    ),
    Explanation(
        code="MARTIAN_DESTINATION",
        severity=Severity.FAULT,
        theme=Theme.ROUTING,
        title="Martian destination",
        sentence="The kernel drops a packet that arrives for an impossible destination address.",
        meaning=(
            "A packet from the network to 127.0.0.0/8 or 0.0.0.0/8 is dropped, unless route_localnet allows loopback on that device.",
        ),
        confirm=(Check(look_for="The setting.", command="sysctl net.ipv4.conf.all.route_localnet net.ipv4.conf.DEVICE.route_localnet"),),
        fix=(Remedy(action="Dial an address of the node instead of loopback.", trade_off="None."),),
        sources=(kernel("net/ipv4/route.c"), _SYSCTL),
    ),
    Explanation(
        code="RP_FILTER",
        severity=Severity.FAULT,
        theme=Theme.ROUTING,
        title="Reverse path filter",
        sentence="The kernel drops a packet because it would not send to that source through the device it came from.",
        meaning=(
            "rp_filter 1 (strict) asks for the best way back to be the arriving device; 2 (loose) asks for any way back. The "
            "larger of 'all' "
            "and the device's own setting counts. Several interfaces or policy routes make the ways differ, and the client sees a timeout.",
        ),
        confirm=(
            Check(look_for="0, 1 or 2.", command="sysctl net.ipv4.conf.all.rp_filter net.ipv4.conf.DEVICE.rp_filter"),
            Check(look_for="Growing IPReversePathFilter.", command="nstat -az TcpExtIPReversePathFilter"),
        ),
        fix=(
            Remedy(action="Set rp_filter to 2 on that device.", trade_off="Spoofed sources of other networks are not caught."),
            Remedy(action="Make the routes symmetric.", trade_off="More work, keeps the strict check."),
        ),
        sources=(_SYSCTL, standard(3704, "Ingress Filtering for Multihomed Networks")),
    ),
    Explanation(
        code="FORWARDING_OFF",
        severity=Severity.FAULT,
        theme=Theme.ROUTING,
        title="Forwarding is switched off",
        sentence="The node is not a router: it drops packets that are not for itself.",
        meaning=(
            "ip_forward (IPv6: forwarding) is 0 for the device the packet came from. Pods of this node are then unreachable "
            "from elsewhere.",
        ),
        confirm=(
            Check(look_for="1 is on.", command="sysctl net.ipv4.ip_forward net.ipv4.conf.DEVICE.forwarding net.ipv6.conf.all.forwarding"),
        ),
        fix=(
            Remedy(
                action="sysctl -w net.ipv4.ip_forward=1, and keep it in /etc/sysctl.d.",
                trade_off="The node forwards for anybody; use FORWARD rules.",
            ),
        ),
        sources=(_SYSCTL, kernel("net/ipv4/route.c")),
    ),
    Explanation(
        code="HAIRPIN_OFF",
        severity=Severity.FAULT,
        theme=Theme.ROUTING,
        title="Hairpin mode is off",
        sentence="The bridge does not send a packet back through the port it came from.",
        meaning=(
            "The rewritten packet is for the very pod that sent it. A bridge never sends out of the arriving port unless "
            "hairpin mode is on "
            "for it, so the packet is dropped before FORWARD: one in N connections of the pod to its own Service times out.",
        ),
        confirm=(
            Check(look_for="hairpin on or off.", command="bridge -d link show dev VETH"),
            Check(look_for="The CNI's setting.", command="grep -rn hairpinMode /etc/cni/net.d/"),
        ),
        fix=(
            Remedy(
                action="Set hairpinMode: true in the CNI's bridge configuration.", trade_off="For new pods only; needs masquerade as well."
            ),
            Remedy(action="bridge link set dev VETH hairpin on", trade_off="Until the pod is recreated."),
        ),
        sources=(kernel("net/bridge/br_forward.c"), issue("kubernetes/kubernetes#45790"), manual("bridge(8)")),
    ),
    Explanation(
        code="SIDECAR",
        severity=Severity.NOTICE,
        theme=Theme.ROUTING,
        title="A proxy inside the pod takes the connection",
        sentence="The pod is in a service mesh: its own rules hand its connections to a proxy inside it.",
        meaning=(
            "Istio, Linkerd, Consul and others put a proxy beside a pod's program, and rules into the pod's own network stack that "
            "redirect its connections to it. What the program dials ends in the proxy, which opens a connection of its own: often straight "
            "to the address of an endpoint that it chose itself, so that the Service's rules on the nodes are never asked.",
            "Where the pod's own rules were not recorded (nodes/NODE/pods/NAMESPACE_NAME/), the way that is told is the cluster's alone: "
            "right for what the proxy does not take (excluded ports and networks), and for the connection that it makes, if it dials the "
            "same address. Where they were, what comes in is followed to the proxy's port, and where the proxy dials to is unknown.",
        ),
        confirm=(
            Check(look_for="The proxy among the pod's containers.", command="kubectl get pod POD -o jsonpath='{.spec.containers[*].name}'"),
            Check(
                look_for="Which endpoints it knows.", command="istioctl proxy-config endpoints POD; linkerd diagnostics endpoints NAME:PORT"
            ),
            Check(look_for="The pod's own rules.", command="kubectl debug -it POD --profile=netadmin --image=IMAGE -- iptables-save"),
        ),
        fix=(
            Remedy(
                action=f"{stack_command('NAMESPACE', 'POD')} collects the cluster with the pod's own rules: by the pod's containers, which "
                "seldom may print them, else in a privileged pod that it makes on the node and removes.",
                trade_off="Needs the right to make such pods; what the proxy dials stays unknown.",
            ),
            Remedy(
                action="Ask the mesh's own tools for the way inside the pod; trace from the pod to the endpoint that they name.",
                trade_off="None.",
            ),
        ),
        sources=(issue("istio/istio#28106"),),
    ),
    Explanation(
        code="VXLAN_CHECKSUM",
        severity=Severity.NOTICE,
        theme=Theme.ROUTING,
        title="Known checksum fault with VXLAN and masquerade",
        sentence="A node's own masqueraded packet leaves through a VXLAN device, on a kernel that may spoil its checksum.",
        meaning=(
            "Some kernels compute a wrong UDP checksum for such packets when checksum offload is on. The far node drops them, and the "
            "connection succeeds only after about 63 seconds, or never.",
        ),
        confirm=(
            Check(look_for="The kernel's version.", command="uname -r"),
            Check(look_for="tx-checksum-ip-generic of the VXLAN device.", command="ethtool -k VXLAN-DEVICE | grep tx-checksum"),
            Check(look_for="Bad checksums on the wire.", command="tcpdump -vvni DEVICE udp port 8472 | grep -i 'bad udp cksum'"),
        ),
        fix=(
            Remedy(action="ethtool -K VXLAN-DEVICE tx-checksum-ip-generic off", trade_off="More work for the processor; lost at restart."),
            Remedy(action="Use a corrected kernel.", trade_off="Reboot."),
        ),
        sources=(
            issue("kubernetes/kubernetes#88986"),
            issue("projectcalico/calico#3145"),
            issue("k3s-io/k3s#2013"),
            issue("flannel-io/flannel#1279"),
        ),
    ),
)

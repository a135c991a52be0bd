"""Reasons about routes, and the checks that the kernel makes without any rule."""

from __future__ import annotations

from tracer.explain.explanation import Check, Explanation, Remedy, Severity, Theme, issue, kernel, manual, standard

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

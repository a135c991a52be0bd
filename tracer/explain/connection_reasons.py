"""Reasons about rewriting addresses, and the connections that the kernel remembers."""

from __future__ import annotations

from tracer.explain.explanation import Check, Explanation, Remedy, Severity, Theme, issue, kernel, kubernetes_docs, manual, standard

_ENTRIES = Check(look_for="Entries to the Service's address, and where their replies come from.", command="conntrack -L -d SERVICE-ADDRESS")

REASONS = (
    Explanation(
        code="CLIENT_IP_LOST",
        severity=Severity.WARNING,
        theme=Theme.CONNECTIONS,
        title="The client's address is lost",
        sentence="A node replaces the client's source address with its own.",
        meaning=(
            "With externalTrafficPolicy Cluster the pod may be on another node, and its reply must return through the node that "
            "rewrote the "
            "destination. So that node marks the packet and masquerades it. The pod sees a node's address: allow-lists, rate "
            "limits and logs "
            "by client address no longer work.",
        ),
        confirm=(
            Check(look_for="The policy.", command="kubectl get service -n NAMESPACE SERVICE -o jsonpath='{.spec.externalTrafficPolicy}'"),
            Check(
                look_for="The source the pod sees.",
                command="kubectl debug -n NAMESPACE POD -it --image=nicolaka/netshoot -- tcpdump -ni any port PORT",
            ),
        ),
        fix=(
            Remedy(
                action="Set externalTrafficPolicy: Local.",
                trade_off="Keeps the address; only nodes with a local endpoint answer, load follows pods per node.",
            ),
            Remedy(
                action="Carry the address in the protocol (PROXY protocol, X-Forwarded-For).",
                trade_off="Load balancer and application must both support it.",
            ),
        ),
        sources=(
            issue("kubernetes/kubernetes#91374"),
            issue("kubernetes/kubernetes#58338"),
            issue("kubernetes/kubernetes#114058"),
            kubernetes_docs("Using Source IP", "tutorials/services/source-ip/"),
        ),
    ),
    Explanation(
        code="HAIRPIN_WITHOUT_MASQ",
        severity=Severity.FAULT,
        theme=Theme.CONNECTIONS,
        title="Hairpin without masquerade",
        sentence="A pod reaches itself through its Service, and its source address is not rewritten.",
        meaning=(
            "The pod would receive a packet from its own address, discard it or answer it inside itself, and the client socket never gets "
            "the reply it waits for. It happens for one in N connections, where N is the number of endpoints.",
        ),
        confirm=(
            Check(look_for="A rule '-s POD-ADDRESS -j KUBE-MARK-MASQ'.", command="iptables-save -t nat | grep -F -- '-s POD-ADDRESS/32'"),
            Check(look_for="hairpin on, for the pod's bridge port.", command="bridge -d link show dev VETH"),
        ),
        fix=(
            Remedy(
                action="Turn on hairpin mode in the CNI (bridge plugin: hairpinMode), with masquerade.",
                trade_off="The pod sees its node or gateway as client for these.",
            ),
            Remedy(action="Let the pod talk to itself on loopback.", trade_off="Needs a change of the application."),
        ),
        sources=(
            issue("kubernetes/kubernetes#45790"),
            issue("kubernetes/kubernetes#20475"),
            issue("kubernetes/kubernetes#53775"),
            issue("cloudnativelabs/kube-router#1235"),
        ),
    ),
    Explanation(
        code="REPLY_BYPASSES_NAT",
        severity=Severity.FAULT,
        theme=Theme.CONNECTIONS,
        title="The reply misses the node that rewrote the request",
        sentence="The reply takes a way that does not pass the node which holds the connection's rewriting.",
        meaning=(
            "Only the node that rewrote the request can undo it. A reply that reaches the client another way carries the pod's address as "
            "its source, the client knows no such connection, and answers with a reset or ignores it.",
        ),
        confirm=(
            Check(look_for="Replies with the pod's address as source.", command="tcpdump -ni any host POD-ADDRESS and port PORT"),
            Check(look_for="How the pod's node routes to the client.", command="ip route get CLIENT-ADDRESS from POD-ADDRESS iif DEVICE"),
        ),
        fix=(
            Remedy(
                action="Masquerade on the node that rewrites (Cluster policy, correct clusterCIDR).",
                trade_off="The client's address is lost.",
            ),
            Remedy(action="Route replies back through that node.", trade_off="Policy routing, to be kept in step with the cluster."),
        ),
        sources=(issue("kubernetes/kubernetes#44916"), kernel("net/netfilter/nf_nat_core.c")),
    ),
    Explanation(
        code="CONNTRACK_TO_REMOVED_ENDPOINT",
        severity=Severity.FAULT,
        theme=Theme.CONNECTIONS,
        title="A remembered connection leads to a removed endpoint",
        sentence="A connection-tracking entry still rewrites the Service's address to an endpoint that is gone.",
        meaning=(
            "The kernel looks up known connections before it asks nat rules. A client that keeps sending from one UDP port keeps the old "
            "entry alive, and all its packets go to an address nobody has. kube-proxy should delete such entries.",
        ),
        confirm=(
            _ENTRIES,
            Check(look_for="Current endpoints.", command="kubectl get endpointslices -n NAMESPACE -l kubernetes.io/service-name=SERVICE"),
        ),
        fix=(
            Remedy(
                action="conntrack -D -p udp -d SERVICE-ADDRESS on the node.", trade_off="All clients of that address start new connections."
            ),
            Remedy(action="Use a kube-proxy with the corrected clean-up.", trade_off="An upgrade."),
        ),
        sources=(issue("kubernetes/kubernetes#139628"), issue("kubernetes/kubernetes#125467"), manual("conntrack(8)")),
    ),
    Explanation(
        code="CONNTRACK_WITHOUT_NAT",
        severity=Severity.FAULT,
        theme=Theme.CONNECTIONS,
        title="A remembered connection was never rewritten",
        sentence="A connection-tracking entry to the Service's address has no rewriting, although rules now exist.",
        meaning=(
            "The first packet was sent while the Service had no endpoint. nat rules are asked for the first packet only, so the client's "
            "later packets stay unrewritten for as long as it keeps sending.",
        ),
        confirm=(_ENTRIES,),
        fix=(
            Remedy(
                action="Delete the entry: conntrack -D -p udp -d SERVICE-ADDRESS.",
                trade_off="The client's next packet is a new connection.",
            ),
            Remedy(action="Let the client open a new socket after a timeout.", trade_off="Needs a change of the application."),
        ),
        sources=(issue("kubernetes/kubernetes#48370"), issue("kubernetes/kubernetes#122740")),
    ),
    Explanation(
        code="INVALID_NOT_DROPPED",
        severity=Severity.WARNING,
        theme=Theme.CONNECTIONS,
        title="Packets that connection tracking calls invalid are let through",
        sentence="No rule drops ctstate INVALID, and nf_conntrack_tcp_be_liberal is 0.",
        meaning=(
            "A TCP packet outside the expected window is INVALID: its addresses are not restored. The client receives a packet "
            "from the pod's "
            "address, answers with a reset, and a busy connection breaks now and then. The opposite trap: a DROP for INVALID breaks "
            "connections whose two directions take different ways. Linux 6.1 corrected what made this frequent; nftables mode "
            "has no such rule at all.",
        ),
        confirm=(
            Check(look_for="The DROP for INVALID.", command="iptables-save -t filter | grep -F 'ctstate INVALID'"),
            Check(look_for="1 means liberal.", command="sysctl net.netfilter.nf_conntrack_tcp_be_liberal"),
            Check(look_for="Growing 'invalid'.", command="conntrack -S"),
        ),
        fix=(
            Remedy(action="Let kube-proxy drop INVALID (its default).", trade_off="Breaks asymmetric routes."),
            Remedy(action="Set nf_conntrack_tcp_be_liberal=1.", trade_off="Window checks are off; only resets are still checked."),
        ),
        sources=(
            issue("kubernetes/kubernetes#74839"),
            issue("kubernetes/kubernetes#117924"),
            issue("kubernetes/kubernetes#94861"),
            issue("kubernetes/kubernetes#120412"),
            kubernetes_docs("Virtual IPs and Service Proxies, Conntrack bug workarounds", "reference/networking/virtual-ips/"),
        ),
    ),
    Explanation(
        code="IPVS_CONNECTION_REUSED",
        severity=Severity.WARNING,
        theme=Theme.CONNECTIONS,
        title="IPVS reuses a connection to an ending endpoint",
        sentence="A real server of weight 0 still has connections that a client's reused source port can hit.",
        meaning=(
            "IPVS keeps an endpoint that is being removed at weight 0 until its connections end. A new connection from the same "
            "address and "
            "port reuses the old entry: one second of delay, or 'no route to host', during a rollout under load.",
        ),
        confirm=(
            Check(look_for="Weight 0 with InActConn above 0.", command="ipvsadm -L -n"),
            Check(look_for="The mode.", command="sysctl net.ipv4.vs.conn_reuse_mode net.ipv4.vs.expire_nodest_conn"),
        ),
        fix=(
            Remedy(action="Linux 5.9 or later with conn_reuse_mode=1.", trade_off="An older kernel delays by a second with it."),
            Remedy(action="Keep connections open in the client.", trade_off="Spreads load less evenly."),
        ),
        sources=(
            issue("kubernetes/kubernetes#81775"),
            issue("kubernetes/kubernetes#70747"),
            issue("kubernetes/kubernetes#90042"),
            kernel("Documentation/networking/ipvs-sysctl.rst"),
        ),
    ),
    Explanation(
        code="HANDSHAKE_UNFINISHED",
        severity=Severity.FAULT,
        theme=Theme.CONNECTIONS,
        title="The connection opens and then hangs",
        sentence="The first packet and its answer arrive, but the ACK that ends the handshake, or what the server says then, does not.",
        meaning=(
            "connect succeeds as soon as the answer is there; what the client sends then meets rules as the ACK does. A node that did "
            "not see the answer (it took another way, or a rule does not track it) takes the ACK for INVALID, and does not translate it; "
            "one that does not know the connection takes it for NEW, or for INVALID where nf_conntrack_tcp_loose is 0. A mark that a nat "
            "rule sets is on the first packet only, and a rule for --syn lets in nothing else. The server's answer begins no connection; "
            "what it says behind it does, to a node that saw no more of this one, whose nat rules and rules for NEW are asked then.",
        ),
        confirm=(
            Check(look_for="The SYN's entry, still SYN_SENT [UNREPLIED].", command="conntrack -L -p tcp --dport PORT"),
            Check(look_for="The rule's growing counter.", command="iptables-save -c -t filter | grep -E 'INVALID|--syn|state'"),
            Check(look_for="Growing 'invalid'.", command="conntrack -S"),
        ),
        fix=(
            Remedy(action="Lead requests and answers through the same node.", trade_off="Routes to be kept in step with the cluster."),
            Remedy(action="Exempt this traffic from the rule, in both directions.", trade_off="It is not filtered by its state any more."),
        ),
        sources=(
            issue("kubernetes/kubernetes#117924"),
            issue("projectcalico/calico#3795"),
            kernel("net/netfilter/nf_conntrack_proto_tcp.c"),
        ),
    ),
    Explanation(
        code="MTU_BLACK_HOLE",
        severity=Severity.FAULT,
        theme=Theme.CONNECTIONS,
        title="The connection opens, and large packets are lost",
        sentence="A device on the way takes smaller packets than both ends send, and the sender is not told.",
        meaning=(
            "A SYN is small and passes. A segment as large as both ends allow does not fit a device behind; the node there throws it away "
            "and says so (ICMP fragmentation needed, ICMPv6 packet too big), and the sender sends smaller ones. Where a rule drops that "
            "error, or it does not find its way back, the sender repeats the same segment until it gives up: small requests work, large "
            "answers hang.",
            "The same becomes of a tunnel's own packets that may not be cut (over IPv6, or with df set) and are larger than the device "
            "below takes.",
        ),
        confirm=(
            Check(look_for="Whether a full-sized packet comes back.", command="ping -M do -s 1472 ADDRESS"),
            Check(look_for="The MTU of every device on the way.", command="ip -d link show"),
            Check(look_for="Rules that drop ICMP.", command="iptables-save | grep -i icmp"),
        ),
        fix=(
            Remedy(action="Let ICMP type 3 code 4 and ICMPv6 type 2 through, in both directions.", trade_off="None."),
            Remedy(action="Set the network plugin's MTU to what fits every way.", trade_off="Pods have to be made anew."),
            Remedy(
                action="iptables -t mangle -A FORWARD -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu",
                trade_off="Helps TCP only.",
            ),
        ),
        sources=(standard(2923, "TCP Problems with Path MTU Discovery, 2.1"), kernel("net/ipv4/ip_forward.c"), kernel("net/ipv4/route.c")),
    ),
    Explanation(
        code="MTU_FRAGMENTS",
        severity=Severity.WARNING,
        theme=Theme.CONNECTIONS,
        title="A tunnel cuts its packets",
        sentence="With the tunnel's own headers a full-sized packet does not fit the device below, and goes in two fragments.",
        meaning=(
            "VXLAN and Geneve over IPv4 let their packets be cut. The other end puts them together, so the connection works, at the price "
            "of twice the packets; networks and firewalls that drop fragments lose all that is large.",
            "The kernel gives a VXLAN device that is bound to another (dev) an MTU that fits, and one that is not 1500.",
        ),
        confirm=(
            Check(look_for="Growing FragCreates and ReasmReqds.", command="nstat -az IpFragCreates IpReasmReqds"),
            Check(look_for="The MTU of the tunnel and of the device below.", command="ip -d link show"),
        ),
        fix=(Remedy(action="Set the plugin's MTU: 50 less than the device's, 70 over IPv6.", trade_off="Pods have to be made anew."),),
        sources=(kernel("drivers/net/vxlan/vxlan_core.c"), standard(7348, "VXLAN, 4.3")),
    ),
    Explanation(
        code="HANDSHAKE_UNKNOWN",
        severity=Severity.NOTICE,
        theme=Theme.CONNECTIONS,
        title="Whether the handshake ends is not known",
        sentence="The first packet and its answer arrive; what becomes of the client's ACK, the snapshot does not tell.",
        meaning=(
            "Rules can treat the ACK otherwise than the first packet: by its state, its flags, its mark. A file that would tell is "
            "missing.",
        ),
        sources=(kernel("net/netfilter/nf_conntrack_proto_tcp.c"),),
    ),
    Explanation(
        code="SYN_DRAWN_AGAIN",
        severity=Severity.WARNING,
        theme=Theme.CONNECTIONS,
        title="The next SYN draws another endpoint",
        sentence="The first packet is stopped by the stack that drew an endpoint for it, and the SYN that is sent again is drawn for anew.",
        meaning=(
            "A stack keeps a connection once its first packet has got through it. One that picks an endpoint and then drops the packet "
            "forgets both, so each SYN that the client's kernel sends again (after one second, two, four and so on, seven in all) is a new "
            "draw. The client connects late where one of them falls out better, and gives up where none does: each is an outcome with its "
            "odds. Where the packet is stopped further on, the stack that drew keeps the endpoint, and all SYNs go the same way.",
        ),
        confirm=(
            Check(look_for="SYNs that are sent again.", command="tcpdump -ni any 'tcp[tcpflags] & tcp-syn != 0 and port PORT'"),
            Check(
                look_for="The rule that stops some endpoints on the node that draws.", command="iptables-save -c | grep -E 'DROP|REJECT'"
            ),
        ),
        fix=(Remedy(action="Take the endpoint out of the Service, or let its packets through.", trade_off="None."),),
        sources=(kernel("net/netfilter/nf_conntrack_core.c"), kernel("net/ipv4/tcp_timer.c")),
    ),
    Explanation(
        code="CONNECTION_MOVED",
        severity=Severity.WARNING,
        theme=Theme.CONNECTIONS,
        title="Another socket may have this connection by now",
        sentence="A stack on the way holds no entry of a connection that exists, and its nat rules are about such packets.",
        meaning=(
            "Which endpoint a connection has stands in the stack's table of connections, not in its rules. Where the entry is gone, or the "
            "stack does not track the packets, the next packet is translated anew, as the rules say by now, or not at all: it may come to "
            "another socket, which knows nothing of the connection and resets it. Whether the one that it comes to has it, no file tells.",
        ),
        confirm=(
            Check(look_for="An entry with the client's address and port.", command="conntrack -L -s CLIENT --orig-port-src PORT"),
            Check(look_for="The connection among the pod's own.", command="ss -tn state established"),
        ),
        sources=(kernel("net/netfilter/nf_conntrack_core.c"), kernel("net/netfilter/nf_nat_core.c")),
    ),
    Explanation(
        code="MASQUERADE_MOVED",
        severity=Severity.FAULT,
        theme=Theme.CONNECTIONS,
        title="A masqueraded connection leaves by another device",
        sentence="MASQUERADE took the connection's source address from one device, and the route sends its packets out of another by now.",
        meaning=(
            "The kernel notes by which device a masqueraded connection left. When the route changes, it drops the next packet and forgets "
            "the connection, so that the one behind it begins anew with the new device's address: a datagram that is sent again gets "
            "through, a TCP server sees a stranger's segment and resets it. SNAT notes no device, and goes on with the old address. Which "
            "of the two made an entry, no file tells: its source is a local address, and the way out would give another.",
        ),
        confirm=(
            Check(look_for="The entry's source on the way out, and whether it goes.", command="conntrack -E -s CLIENT"),
            Check(look_for="The device of the way out.", command="ip route get DESTINATION"),
        ),
        fix=(Remedy(action="Close the connection and open it again.", trade_off="None: it is lost already."),),
        sources=(kernel("net/netfilter/nf_nat_core.c"), kernel("net/netfilter/nf_nat_masquerade.c")),
    ),
    Explanation(
        code="DATAGRAM_SENT_AGAIN",
        severity=Severity.INFO,
        theme=Theme.CONNECTIONS,
        title="The next datagram may end otherwise",
        sentence="A datagram that the program sends again from the same port does not meet what the first one met.",
        meaning=(
            "Nothing sends a datagram again but the program itself, as a DNS client does. The second one meets what the first one left: a "
            "node that let it through keeps its endpoint for half a minute, asks no nat rule and sets no mark; one that stopped it draws "
            "anew. What the client sees is said of the first one alone.",
        ),
        sources=(kernel("net/netfilter/nf_conntrack_core.c"),),
    ),
    Explanation(
        code="SYN_SENT_AGAIN",
        severity=Severity.WARNING,
        theme=Theme.CONNECTIONS,
        title="The second SYN meets something else",
        sentence="The first packet gets no answer, and the one that the kernel sends again does not go the same way.",
        meaning=(
            "A SYN without an answer is sent again after a second, then after two, four and so on. The nodes that the first one got "
            "through know the connection by then: nat rules are not asked, so a mark that kube-proxy sets there is missing, and routes "
            "and rules that ask for the mark lead elsewhere. Lists of -m recent remember the first one. The client connects late, or is "
            "stopped by another rule than the one that stopped the first packet.",
        ),
        confirm=(
            Check(look_for="SYNs that are sent again.", command="tcpdump -ni any 'tcp[tcpflags] & tcp-syn != 0 and port PORT'"),
            Check(look_for="Rules and routes for the mark.", command="iptables-save | grep -F -- '--mark'; ip rule"),
        ),
        fix=(
            Remedy(
                action="Keep the mark in the connection (CONNMARK --save-mark, --restore-mark) where routes or rules ask for it.",
                trade_off="One more rule for every packet.",
            ),
        ),
        sources=(kernel("net/ipv4/tcp_timer.c"), kernel("net/netfilter/nf_nat_core.c")),
    ),
)

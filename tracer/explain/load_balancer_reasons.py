"""Reasons about load balancers, their source ranges, and node ports."""

from __future__ import annotations

from tracer.explain.explanation import Check, Explanation, Remedy, Severity, Theme, enhancement, issue, kubernetes_docs

_LB_STATUS = Check(
    look_for="Addresses and ipMode in the Service's status.",
    command="kubectl get service -n NAMESPACE SERVICE -o jsonpath='{.status.loadBalancer}'",
)
_NODE_PORT = Check(
    look_for="The node port of each Service port.", command="kubectl get service -n NAMESPACE SERVICE -o jsonpath='{.spec.ports}'"
)

REASONS = (
    Explanation(
        code="LB_NOT_MODELLED",
        severity=Severity.NOTICE,
        theme=Theme.LOAD_BALANCERS,
        title="A load balancer that Hopline does not model",
        sentence="What its load balancer does with this packet is in no file.",
        meaning=(
            "Hopline models a load balancer that passes packets to the node ports of healthy nodes. With "
            "allocateLoadBalancerNodePorts: false there is none: such load balancers send to the pods directly, or deliver the packet to a "
            "node with the address unchanged. Neither is recorded in a snapshot, so the answer is unknown.",
            "Nor is it recorded whether a provider's balancer answers an echo request (ping). Where nodes announce the address (MetalLB, "
            "kube-vip) they get it as it is, and the walk goes on there.",
        ),
        confirm=(_LB_STATUS, _NODE_PORT),
        fix=(Remedy(action="Trace from a node or a pod to the same address.", trade_off="Leaves the load balancer out of the question."),),
        sources=(enhancement(1864, "Optionally disable node ports for Services of type LoadBalancer"),),
    ),
    Explanation(
        code="LB_NO_LISTENER",
        severity=Severity.FAULT,
        theme=Theme.LOAD_BALANCERS,
        title="The load balancer does not listen on that port",
        sentence="The address is a load balancer's, and its Service has no such port and protocol.",
        meaning=(
            "A load balancer has one listener for each port of its Service. Other ports are usually dropped, sometimes refused: which "
            "of the two is up to the provider, so the client sees a timeout or a refusal.",
        ),
        confirm=(
            Check(look_for="Ports and protocols of the Service.", command="kubectl get service -n NAMESPACE SERVICE -o wide"),
            _LB_STATUS,
        ),
        fix=(
            Remedy(action="Dial a port that the Service has.", trade_off="None."),
            Remedy(action="Add the port to the Service.", trade_off="It opens on the load balancer and as a node port on every node."),
        ),
        sources=(kubernetes_docs("Service, Multi-port Services", "concepts/services-networking/service/#multi-port-services"),),
    ),
    Explanation(
        code="LB_CHECK_NOT_KNOWN",
        severity=Severity.NOTICE,
        theme=Theme.LOAD_BALANCERS,
        title="Whether its health check gets through is not known",
        sentence="Rules stop a check that may or may not be the load balancer's: from where it asks, and at which port, is not recorded.",
        meaning=(
            "A load balancer asks each node whether it may be used, and leaves out those that do not answer: with externalTrafficPolicy "
            "Local at healthCheckNodePort, with Cluster at kube-proxy's port 10256 or at the Service's node port. The check is walked like "
            "any other packet. Where it comes from is known of some providers (Google, Azure), at which port it asks of more; of others a "
            "snapshot does not tell, so both ways are shown, each with its condition.",
        ),
        confirm=(
            Check(look_for="The events that the load balancer's controller left.", command="kubectl describe service -n NAMESPACE NAME"),
            Check(look_for="Whether the port answers.", command="curl -s http://NODE:HEALTHCHECKNODEPORT/healthz"),
            Check(look_for="Whether kube-proxy's does.", command="curl -s http://NODE:10256/healthz"),
        ),
        fix=(
            Remedy(
                action="Let the provider's addresses reach healthCheckNodePort, and port 10256, on every node.",
                trade_off="None: these ports tell no more than how many endpoints the node has, and how kube-proxy is.",
            ),
        ),
        sources=(kubernetes_docs("Create an External Load Balancer", "tasks/access-application-cluster/create-external-load-balancer/"),),
    ),
    Explanation(
        code="LB_NO_HEALTHY_NODE",
        severity=Severity.FAULT,
        theme=Theme.LOAD_BALANCERS,
        title="No healthy node behind the load balancer",
        sentence="The load balancer has no node to send to.",
        meaning=(
            "A node is healthy for a Service with externalTrafficPolicy Local when it has a ready endpoint of it; with Cluster "
            "every node is. Its health check (healthCheckNodePort; with Cluster kube-proxy's port 10256 or the node port, by provider) has "
            "to get through to it, and the answer back: a firewall of the node that drops it takes the node out, though the Service's own "
            "packets would be let in. Where every check fails, some balancers (Google's) send to any of their nodes as a last resort: that "
            "is not modelled. "
            "Nodes labelled node.kubernetes.io/exclude-from-external-load-balancers are never used. No node is left, so the "
            "client is not served.",
        ),
        confirm=(
            Check(look_for="Nodes that run a ready pod of the Service.", command="kubectl get pods -n NAMESPACE -l KEY=VALUE -o wide"),
            Check(look_for="The health check is answered.", command="curl -s http://NODE:HEALTHCHECKNODEPORT/healthz"),
            Check(look_for="With Cluster: kube-proxy's is.", command="curl -s http://NODE:10256/healthz"),
            Check(look_for="Excluded nodes.", command="kubectl get nodes -L node.kubernetes.io/exclude-from-external-load-balancers"),
        ),
        fix=(
            Remedy(action="Make a pod of the Service ready on a node that is not excluded.", trade_off="None."),
            Remedy(action="Set externalTrafficPolicy: Cluster.", trade_off="Every node is then healthy; the client's address is lost."),
        ),
        sources=(
            kubernetes_docs(
                "Well-Known Labels", "reference/labels-annotations-taints/#node-kubernetes-io-exclude-from-external-load-balancers"
            ),
        ),
    ),
    Explanation(
        code="ADDRESS_ONLY_ANNOUNCED",
        severity=Severity.NOTICE,
        theme=Theme.LOAD_BALANCERS,
        title="An address that is announced, and that no node has",
        sentence="A node announces the load balancer's address, no rule of it takes this packet, and none of its devices has the address.",
        meaning=(
            "MetalLB and kube-vip bring packets for a Service's address to a node; what the node does with them is up to its rules. "
            "Those of kube-proxy take the Service's ports. Anything else, an echo request (ping) above all, the node sends on by its "
            "routes: on the address's own network nobody else has it. Where the address is on a device (kube-vip's in ARP mode, the dummy "
            "device of IPVS mode) the node answers echo requests itself. Neither says anything of the Service.",
        ),
        confirm=(
            _LB_STATUS,
            Check(look_for="Whether a device of the node holds the address.", command="ip addr show to ADDRESS"),
        ),
        fix=(Remedy(action="Ask for a port of the Service.", trade_off="None: that a ping is answered says nothing of the Service."),),
        sources=(issue("metallb/metallb#469"), issue("metallb/metallb#2721")),
    ),
    Explanation(
        code="LB_SOURCE_RANGE_DENIED",
        severity=Severity.FAULT,
        theme=Theme.LOAD_BALANCERS,
        title="Source is outside loadBalancerSourceRanges",
        sentence="The source address that the node sees is not in the Service's loadBalancerSourceRanges.",
        meaning=(
            "kube-proxy accepts packets to the load balancer's address only from the listed ranges and drops the rest. It compares the "
            "source that arrives: a load balancer that rewrites the source, or a pod inside the cluster, must be listed as well.",
        ),
        confirm=(
            Check(
                look_for="The listed ranges.",
                command="kubectl get service -n NAMESPACE SERVICE -o jsonpath='{.spec.loadBalancerSourceRanges}'",
            ),
            Check(look_for="The chain that compares the source.", command="iptables-save -t nat | grep -F 'KUBE-FW-'"),
            Check(look_for="The source that really arrives.", command="tcpdump -ni any 'port NODE-PORT or port PORT'"),
        ),
        fix=(
            Remedy(action="Add the source's range.", trade_off="Everybody in the range is let in."),
            Remedy(
                action="Reach the Service by its cluster IP from inside.",
                trade_off="Source ranges do not apply there, and no load balancer is involved.",
            ),
        ),
        sources=(
            issue("cilium/cilium#42334"),
            issue("kubernetes/kubernetes#88698"),
            issue("kubernetes/kubernetes#119656"),
            issue("kubernetes/kubernetes#85572"),
        ),
    ),
    Explanation(
        code="LB_SOURCE_RANGE_ASSUMED",
        severity=Severity.INFO,
        theme=Theme.LOAD_BALANCERS,
        title="Whether source ranges apply is not known",
        sentence="How the load balancer hands over is assumed, and on that depends whether the nodes compare the source.",
        meaning=(
            "kube-proxy compares the source of packets to the load balancer's own address only. A balancer that leaves its address as the "
            "destination has them compared by the nodes; one that hands over to node ports or pods has to compare them itself.",
            "Where no mark of the provider tells which it is, nothing is said of who gets in: front:node-port, front:kept and front:pod "
            "are assumptions.",
        ),
        confirm=(
            Check(
                look_for="The listed ranges.",
                command="kubectl get service -n NAMESPACE SERVICE -o jsonpath='{.spec.loadBalancerSourceRanges}'",
            ),
            Check(look_for="With which destination packets reach a node.", command="tcpdump -ni any 'port NODE-PORT or port PORT'"),
        ),
        sources=(kubernetes_docs("Service, Load balancer source ranges", "concepts/services-networking/service/#loadbalancer"),),
    ),
    Explanation(
        code="LB_SOURCE_RANGE_BYPASSED",
        severity=Severity.WARNING,
        theme=Theme.LOAD_BALANCERS,
        title="Source ranges are not applied on this way",
        sentence="The source is outside the Service's loadBalancerSourceRanges, and the packet is delivered all the same.",
        meaning=(
            "kube-proxy compares the source of packets to the load balancer's own address only. A load balancer that hands packets to "
            "node ports must apply the ranges itself, and whoever dials a node port directly is not asked at all.",
        ),
        confirm=(
            Check(
                look_for="The listed ranges.",
                command="kubectl get service -n NAMESPACE SERVICE -o jsonpath='{.spec.loadBalancerSourceRanges}'",
            ),
            Check(look_for="Whether the load balancer has rules of its own for the sources (its controller's console or log)."),
            _NODE_PORT,
        ),
        fix=(
            Remedy(
                action="Let the load balancer's controller apply the ranges.",
                trade_off="Not every provider does; its documentation says so.",
            ),
            Remedy(
                action="Set allocateLoadBalancerNodePorts: false.", trade_off="The load balancer must be able to do without node ports."
            ),
            Remedy(action="Close the node ports to the outside with a firewall.", trade_off="To be kept in step with the load balancer."),
        ),
        sources=(
            kubernetes_docs("Service, Load balancer source ranges", "concepts/services-networking/service/#loadbalancer"),
            enhancement(1864, "Optionally disable node ports for Services of type LoadBalancer"),
        ),
    ),
    Explanation(
        code="LB_IP_DROPPED_ON_NODE",
        severity=Severity.FAULT,
        theme=Theme.LOAD_BALANCERS,
        title="Load balancer address dropped on a node",
        sentence="In nftables mode this node drops packets to the load balancer's address, because it has no local endpoint.",
        meaning=(
            "With externalTrafficPolicy Local, nftables mode lists the address among those without endpoints on nodes that have none, and "
            "drops it also for clients of the cluster. iptables mode sends such clients to any endpoint. The same manifests "
            "behave differently.",
        ),
        confirm=(Check(look_for="The address with verdict drop.", command="nft list map ip kube-proxy no-endpoint-services"), _LB_STATUS),
        fix=(
            Remedy(action="Use the cluster IP from inside the cluster.", trade_off="Clients need another name inside than outside."),
            Remedy(action="Run an endpoint on every node.", trade_off="More pods."),
        ),
        sources=(issue("kubernetes/kubernetes#131765"),),
    ),
    Explanation(
        code="LB_BYPASSED",
        severity=Severity.NOTICE,
        theme=Theme.LOAD_BALANCERS,
        title="The load balancer is bypassed",
        sentence="A client in the cluster dials the load balancer's address, and the node answers in its place.",
        meaning=(
            "With ipMode VIP (the default) kube-proxy takes the load balancer's address as one of the Service's own, so packets from "
            "inside never reach the load balancer. Whatever it would add is missing: TLS termination, the PROXY protocol, its "
            "own source address.",
        ),
        confirm=(_LB_STATUS,),
        fix=(
            Remedy(
                action="Let the provider publish ipMode: Proxy.",
                trade_off="Inside clients go out to the load balancer and back; needs provider support.",
            ),
            Remedy(action="Publish a hostname instead of an address.", trade_off="Depends on the provider; DNS must resolve it inside."),
        ),
        sources=(
            enhancement(1860, "Make Kubernetes aware of the load balancer behaviour"),
            issue("kubernetes/kubernetes#115931"),
            issue("hetznercloud/hcloud-cloud-controller-manager#727"),
        ),
    ),
    Explanation(
        code="NODEPORT_NOT_PROGRAMMED",
        severity=Severity.FAULT,
        theme=Theme.LOAD_BALANCERS,
        title="Node port without a rule",
        sentence="The Service has this node port, and no rule of the node answers it at the dialled address.",
        meaning=(
            "kube-proxy serves node ports on the addresses that nodePortAddresses selects (nftables mode: the primary address "
            "only, by default). "
            "Where no rule takes the packet, it reaches the node's own stack, and nobody listens there.",
        ),
        confirm=(
            _NODE_PORT,
            Check(look_for="A rule with the node port.", command="iptables-save -t nat | grep -F -- '--dport NODE-PORT'"),
            Check(
                look_for="nodePortAddresses.",
                command="kubectl get configmap -n kube-system kube-proxy -o yaml | grep -A3 nodePortAddresses",
            ),
        ),
        fix=(
            Remedy(action="Dial an address that is served.", trade_off="None."),
            Remedy(action="Widen nodePortAddresses.", trade_off="Node ports open on more networks."),
        ),
        sources=(kubernetes_docs("Virtual IPs and Service Proxies", "reference/networking/virtual-ips/"),),
    ),
    Explanation(
        code="NODE_PORT_NOT_ON_LOOPBACK",
        severity=Severity.NOTICE,
        theme=Theme.LOAD_BALANCERS,
        title="Node ports are not served on loopback",
        sentence="127.0.0.1 is not among the addresses on which this node serves node ports.",
        meaning=(
            "nftables and IPVS mode do not serve node ports on loopback, by design: it would need route_localnet. iptables mode "
            "does for IPv4 "
            "unless told otherwise, never for ::1. The client is refused.",
        ),
        confirm=(
            Check(look_for="The addresses that are served.", command="nft list set ip kube-proxy nodeport-ips"),
            Check(look_for="The mode of the node's proxy.", command="curl -s http://127.0.0.1:10249/proxyMode"),
        ),
        fix=(
            Remedy(action="Dial the node's own address.", trade_off="None."),
            Remedy(action="Use a hostPort or a host-network pod for what must be on loopback.", trade_off="One pod a node and port."),
        ),
        sources=(issue("k0sproject/k0s#5760"), issue("zarf-dev/zarf#3684"), enhancement(3866, "An nftables-based kube-proxy backend")),
    ),
    Explanation(
        code="NODE_PORT_IN_LOCAL_RANGE",
        severity=Severity.WARNING,
        theme=Theme.LOAD_BALANCERS,
        title="Node port inside the local port range",
        sentence="The node's own connections may be given this node port as their source port.",
        meaning=(
            "When ip_local_port_range overlaps the node port range, replies to such a connection look like packets to the node port, are "
            "rewritten, and the connection hangs. It happens at random and rarely, which makes it hard to find.",
        ),
        confirm=(
            Check(look_for="An overlap with 30000-32767.", command="sysctl net.ipv4.ip_local_port_range net.ipv4.ip_local_reserved_ports"),
            Check(look_for="Live node ports.", command="kubectl get services -A -o jsonpath='{..nodePort}'"),
        ),
        fix=(
            Remedy(
                action="Reserve the range: net.ipv4.ip_local_reserved_ports=30000-32767.",
                trade_off="Fewer source ports for the node's own connections.",
            ),
            Remedy(
                action="Keep ip_local_port_range above it (32768-60999, the default).",
                trade_off="None, unless something needed more ports.",
            ),
        ),
        sources=(issue("kubernetes/kubernetes#111682"), issue("kubernetes/kops#6342"), issue("awslabs/amazon-eks-ami#1307")),
    ),
)

"""The programs of a cluster whose command line and environment a trace may need, and which of their flags and variables those are.

The one table for every way into Hopline: uploads, ``manage.py collect``, followed clusters, and ``collect.sh``, which repeats it (a test
compares the two). What it does not name is never kept of a Pod, and of what it names no value that looks like a secret.
Source: each program's own documentation of its flags (kube-proxy, node-cache, kindnetd, flanneld, calico/node, cilium-agent, aws-node,
kube-router, MetalLB, kube-vip, klipper-lb, ingress-nginx, HAProxy, Traefik, Contour, Kong, istio-iptables, linkerd2-proxy-init).
"""

from __future__ import annotations

from tracer.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One program: containers and images that are called so (a ``*`` at the end: or begin so), and what is kept of them."""

    containers: str
    images: str = ""
    flags: str = ""
    variables: str = ""

    def runs_in(self, container: str, image: str) -> bool:
        """Return whether a container of that name and image (its last part, without tag and digest) runs the program."""
        return is_listed(container, self.containers) or is_listed(image, self.images)


KUBE_PROXY = Program(
    containers="kube-proxy",
    images="kube-proxy kube-proxy-amd64 hyperkube",
    flags="bind-address cluster-cidr config detect-local-mode hostname-override iptables-localhost-nodeports iptables-masquerade-bit "
    "ipvs-scheduler ipvs-strict-arp masquerade-all nodeport-addresses pod-bridge-interface pod-interface-name-prefix proxy-mode",
)
PROGRAMS = (
    KUBE_PROXY,
    Program(containers="coredns", images="coredns hardened-coredns", flags="conf dns.port"),
    Program(
        containers="node-cache",
        images="k8s-dns-node-cache",
        flags="basecorefile conf interfacename localip setupebtables setupinterface setupiptables upstreamsvc",
    ),
    Program(containers="kubedns", images="k8s-dns-kube-dns", flags="config-dir dns-port domain"),
    Program(
        containers="kindnet-cni",
        images="kindnetd",
        flags="disable-cni dns-caching fastpath-threshold hostname-override ipv6-enabled masquerading nat64 network-policy "
        "no-masquerade-cidr",
        variables="CONTROL_PLANE_ENDPOINT NO_MASQUERADE_CIDR POD_SUBNET",
    ),
    Program(
        containers="kube-flannel",
        images="flannel",
        flags="iface iface-regex ip-masq iptables-forward-rules kube-subnet-mgr net-config-path public-ip",
        variables="CONT_WHEN_CACHE_NOT_READY FLANNEL_MTU",
    ),
    Program(
        containers="calico-node",
        images="node calico-node",
        variables="CALICO_IPV4POOL_CIDR CALICO_IPV4POOL_IPIP CALICO_IPV4POOL_NAT_OUTGOING CALICO_IPV4POOL_VXLAN CALICO_IPV6POOL_CIDR "
        "CALICO_IPV6POOL_NAT_OUTGOING CALICO_IPV6POOL_VXLAN CALICO_NETWORKING_BACKEND CLUSTER_TYPE DATASTORE_TYPE FELIX_BPFENABLED "
        "FELIX_CHAININSERTMODE FELIX_DEFAULTENDPOINTTOHOSTACTION FELIX_INTERFACEPREFIX FELIX_IPTABLESBACKEND FELIX_IPTABLESMARKMASK "
        "FELIX_IPV6SUPPORT FELIX_KUBENODEPORTRANGES FELIX_NATOUTGOINGADDRESS FELIX_NATPORTRANGE FELIX_NFTABLESMODE "
        "FELIX_VXLANMTU FELIX_VXLANPORT "
        "FELIX_WIREGUARDENABLED IP IP6 IP6_AUTODETECTION_METHOD IP_AUTODETECTION_METHOD",
    ),
    Program(
        containers="cilium-agent",
        images="cilium",
        flags="bpf-lb-mode cluster-pool-ipv4-cidr config-dir enable-bpf-masquerade enable-ipv4-masquerade enable-ipv6-masquerade "
        "ipv4-native-routing-cidr kube-proxy-replacement node-port-range routing-mode tunnel tunnel-protocol",
    ),
    Program(
        containers="aws-node aws-vpc-cni",
        images="amazon-k8s-cni",
        variables="AWS_VPC_CNI_NODE_PORT_SUPPORT AWS_VPC_ENI_MTU AWS_VPC_K8S_CNI_* ENABLE_IPv4 ENABLE_IPv6 ENABLE_NFTABLES ENABLE_POD_ENI "
        "ENABLE_PREFIX_DELEGATION ENABLE_V4_EGRESS ENABLE_V6_EGRESS POD_SECURITY_GROUP_ENFORCING_MODE",
    ),
    Program(containers="aws-eks-nodeagent", images="aws-network-policy-agent", flags="enable-ipv6 enable-network-policy"),
    Program(
        containers="ip-masq-agent azure-ip-masq-agent",
        images="ip-masq-agent ip-masq-agent-v2",
        flags="enable-ipv6 masq-chain nomasq-all-reserved-ranges random-fully resync-interval",
    ),
    Program(
        containers="kube-router",
        images="kube-router",
        flags="enable-ibgp enable-overlay enable-pod-egress hairpin-mode masquerade-all nodeport-bindon-all-ip overlay-type run-firewall "
        "run-router run-service-proxy service-cluster-ip-range service-external-ip-range service-node-port-range",
    ),
    Program(containers="weave", images="weave-kube", variables="EXPECT_NPC IPALLOC_RANGE NO_MASQ_LOCAL WEAVE_MTU"),
    Program(containers="speaker metallb-speaker", flags="host lb-class port", variables="METALLB_HOST METALLB_ML_BIND_PORT"),
    Program(
        containers="kube-vip*",
        images="kube-vip",
        flags="address arp bgp controlplane enableloadbalancer interface lbclassname loadbalancerclass services vip",
        variables="address bgp_as bgp_enable cp_enable cp_namespace lb_class_name lb_class_only lb_enable lb_fwdmethod lb_port port "
        "svc_election svc_enable vip_address vip_arp vip_cidr vip_interface vip_leaderelection vip_routingtable "
        "vip_servicesinterface vip_subnet",
    ),
    Program(containers="lb-tcp-* lb-udp-*", images="klipper-lb", variables="DEST_IPS DEST_PORT DEST_PROTO SRC_PORT SRC_RANGES"),
    Program(
        containers="controller nginx-ingress-controller ingress-nginx-controller",
        images="nginx-ingress-controller ingress-nginx-controller",
        flags="configmap controller-class default-backend-service election-id enable-ssl-passthrough http-port https-port ingress-class "
        "ingress-class-by-name publish-service publish-status-address report-node-internal-ip-address tcp-services-configmap "
        "udp-services-configmap update-status watch-ingress-without-class watch-namespace",
    ),
    Program(
        containers="haproxy-ingress kubernetes-ingress-controller haproxy-ingress-controller",
        images="kubernetes-ingress haproxy-ingress",
        flags="configmap default-backend-service http-bind-port https-bind-port ingress-class ingress.class publish-service",
    ),
    Program(
        containers="traefik",
        images="traefik",
        flags="entrypoints.* providers.kubernetescrd* providers.kubernetesgateway* providers.kubernetesingress*",
    ),
    Program(
        containers="contour envoy",
        images="contour",
        flags="envoy-service-http-port envoy-service-https-port ingress-class-name ingress-status-address",
    ),
    Program(
        containers="ingress-controller proxy",
        images="kong kubernetes-ingress-controller",
        variables="CONTROLLER_INGRESS_CLASS CONTROLLER_PUBLISH_SERVICE KONG_PORT_MAPS KONG_PROXY_LISTEN KONG_STREAM_LISTEN",
    ),
    Program(containers="aws-load-balancer-controller", images="aws-load-balancer-controller", flags="cluster-name ingress-class"),
    Program(
        containers="istio-init istio-validation",
        flags="b c d envoy-port g i inbound-capture-port inbound-tunnel-port istio-exclude-interfaces istio-inbound-interception-mode "
        "istio-inbound-ports istio-local-exclude-ports istio-local-outbound-ports-exclude istio-outbound-ports istio-service-cidr "
        "istio-service-exclude-cidr k m o p proxy-gid proxy-uid q t u x z",
    ),
    Program(
        containers="linkerd-init",
        images="proxy-init",
        flags="inbound-ports-to-ignore incoming-proxy-port iptables-mode ipv6 outbound-ports-to-ignore outgoing-proxy-port "
        "ports-to-redirect "
        "proxy-gid proxy-uid subnets-to-ignore",
    ),
    Program(
        containers="kuma-init",
        images="kuma-init",
        flags="exclude-inbound-ports exclude-outbound-ports kuma-dp-uid redirect-dns redirect-inbound redirect-inbound-port "
        "redirect-outbound-port",
    ),
)


def is_listed(word: str, words: str) -> bool:
    """Return whether *word* is one of *words*, which stand with blanks between them; one that ends in ``*`` stands for its beginning."""
    return any(word == one or (one.endswith("*") and word.startswith(one[:-1])) for one in words.split())


def image_name(image: str) -> str:
    """Return the last part of an image's name, without registry, tag and digest."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[0]


def program_in(container: str, image: str) -> Program | None:
    """Return the known program that a container of this name and image runs, or None."""
    last = image_name(image)
    return next((program for program in PROGRAMS if program.runs_in(container, last)), None)

#!/bin/sh
# collect.sh - record one moment of a Kubernetes cluster as a snapshot for Hopline.
#
# Needs kubectl, a POSIX shell with its usual programs (awk, sed, sort, date), and for an archive tar and gzip; nothing on the nodes.
# It only reads: API objects with "kubectl get", and what each node's rules and routes are with "kubectl exec" into kube-proxy's pods (or
# the network plugin's), one program at a time. It creates nothing, but for debug pods where these are asked for ("--readings debug", "auto
# --allow-debug"), which it removes. No Secret is asked for. "collect.sh --help" says the rest.
# "manage.py collect" writes the same files. The layout is docs/snapshot-format.md.
set -u
LC_ALL=C
export LC_ALL
umask 077

version='collect.sh 1'
kubectl=${KUBECTL:-kubectl}
kubeconfig=''
context=''
readings='exec'
reader_namespace='hopline'
debug_image='docker.io/nicolaka/netshoot:v0.13'
debug_profile='sysadmin'
debug_namespace='default'
debug_mark=''
allow_debug='no'
only=''
pod_stacks=''
conntrack='no'
seconds=60
parallel=4
target=''
temporary=''
state=''
inside='' # before a program: what runs the node's own in a debug pod
uid=''    # of the pod whose network a program in a debug pod is to be run in

# What is asked of each node: the file, then the program and its arguments (tracer/snapshot/node_files.py is the same list; a test compares them).
node_commands='iptables-save.txt iptables-save
ip6tables-save.txt ip6tables-save
nft-ruleset.json nft -j list ruleset
ipvsadm-save.txt ipvsadm -S -n
ipset-save.txt ipset save
ip-addr.json ip -j addr
ip-link.json ip -d -j link
ip-route.json ip -j route show table all
ip6-route.json ip -6 -j route show table all
ip-rule.json ip -j rule
ip6-rule.json ip -6 -j rule
sysctl.txt sysctl -a
resolv.conf cat /etc/resolv.conf
kube-proxy-version.txt kube-proxy --version'
conntrack_command='conntrack.txt conntrack -L -o extended'
# What is asked on top: the file, those without which only (or +FILE: where that warns of tables of iptables-legacy; - for always), the program.
more_commands='nft-ruleset.txt nft-ruleset.json nft list ruleset
iptables-legacy-save.txt +iptables-save.txt iptables-legacy-save
ip6tables-legacy-save.txt +ip6tables-save.txt ip6tables-legacy-save
nft-hooks.txt - nft list hooks
ip-neigh.json - ip -j neigh
bridge-fdb.json - bridge -j fdb
wg-endpoints.txt - wg show all endpoints
wg-allowed-ips.txt - wg show all allowed-ips
ss.txt - ss -ltnu
ip-addr.txt ip-addr.json ip addr
ip-link.txt ip-link.json ip -d link
ip-route.txt ip-route.json ip route show table all
ip6-route.txt ip6-route.json ip -6 route show table all
ip-rule.txt ip-rule.json ip rule
ip6-rule.txt ip6-rule.json ip -6 rule
ip-neigh.txt ip-neigh.json ip neigh
bridge-fdb.txt bridge-fdb.json bridge fdb
proc-net-route.txt ip-route.json,ip-route.txt cat /proc/net/route
proc-net-fib-trie.txt ip-route.json,ip-route.txt cat /proc/net/fib_trie
proc-net-if-inet6.txt ip-addr.json,ip-addr.txt cat /proc/net/if_inet6
proc-net-ipv6-route.txt ip6-route.json,ip6-route.txt cat /proc/net/ipv6_route
proc-net-dev.txt ip-link.json,ip-link.txt cat /proc/net/dev
proc-net-arp.txt ip-neigh.json,ip-neigh.txt cat /proc/net/arp
proc-net-tcp.txt ss.txt cat /proc/net/tcp
proc-net-tcp6.txt ss.txt cat /proc/net/tcp6
proc-net-udp.txt ss.txt cat /proc/net/udp
proc-net-udp6.txt ss.txt cat /proc/net/udp6
proc-net-ip-vs.txt ipvsadm-save.txt cat /proc/net/ip_vs
proc-sys.txt sysctl.txt @settings'
# What of both is not asked of a pod's own stack; of how many pods it is asked, in how many of the containers of each, and of how much (blocks of
# 512 bytes) one program may print there (webapp/collecting/pod_stacks.py).
not_of_pods='ipvsadm-save.txt resolv.conf kube-proxy-version.txt conntrack.txt bridge-fdb.json wg-endpoints.txt wg-allowed-ips.txt bridge-fdb.txt proc-net-ip-vs.txt proc-net-nf-conntrack.txt proc-net-ip-vs-conn.txt'
most_stacks=50
most_containers=4
most_blocks=32768
# Runs a program in the network of the pod whose uid comes first: of its processes the oldest one's that has a network of its own. Looked for each
# time, as the number of a process that ended may be another's. A fixed text for the shell of a debug pod, which only reads.
# shellcheck disable=SC2016 # for the shell of the container
enter_script='u=$1; shift; f=$(grep -l -F -e "pod$u" -e "pod$(echo "$u" | tr - _)" /proc/[0-9]*/cgroup 2>/dev/null); [ -n "$f" ] || { echo "No process of the pod runs there." >&2; exit 69; }; o=$(readlink /proc/1/ns/net) || { echo "The networks of processes may not be seen." >&2; exit 69; }; p=$(for d in $f; do d=${d%/cgroup}; n=$(readlink "$d/ns/net") && [ "$n" != "$o" ] && echo "$(sed "s/.*) //" "$d/stat" | cut -d " " -f 20) $d"; done 2>/dev/null | sort -n | sed -n "1s/.* //p"); [ -n "$p" ] || { echo "No process of the pod has a network of its own." >&2; exit 69; }; nsenter --net="$p/ns/net" true || { echo "The network of the pod may not be entered." >&2; exit 69; }; exec nsenter --net="$p/ns/net" "$@"'
more_connections='proc-net-nf-conntrack.txt conntrack.txt cat /proc/net/nf_conntrack
proc-net-ip-vs-conn.txt - cat /proc/net/ip_vs_conn'
# Prints settings as grep would, with nothing but a shell and cat: a fixed text, which only reads.
# shellcheck disable=SC2016 # for the shell of the container
settings_script='cd /proc/sys/net && for f in ipv4/*_* ipv4/vs/* bridge/* netfilter/* ipv4/conf/*/accept_local ipv4/conf/*/arp_announce ipv4/conf/*/arp_filter ipv4/conf/*/arp_ignore ipv4/conf/*/forwarding ipv4/conf/*/proxy_arp ipv4/conf/*/route_localnet ipv4/conf/*/rp_filter ipv4/conf/*/src_valid_mark ipv6/conf/*/forwarding ipv6/conf/*/proxy_ndp; do [ -f "$f" ] && v=$(cat "$f") && echo "/proc/sys/net/$f:$v"; done 2>/dev/null; :'
# The network plugins whose pods share the network of their node: label, then the containers to read in (webapp/collecting/plugin_pods.py).
plugin_pods='app=ovnkube-node ovnkube-controller ovnkube-node ovn-controller
app=sdn sdn
k8s-app=cilium cilium-agent
k8s-app=calico-node calico-node
k8s-app=canal calico-node kube-flannel
k8s-app=kube-router kube-router
k8s-app=kindnet kindnet-cni
app=kindnet kindnet-cni
app=flannel kube-flannel
app=antrea antrea-agent
k8s-app=aws-node aws-node'
# What kind of cluster it is: name, what is found in its Nodes, and what gets at the rules of nodes (webapp/collecting/platforms.py).
platforms='kind|"providerID": "kind://|docker exec NODE iptables-save; or COLLECT --readings debug makes a pod on each node, and removes it.
minikube|"minikube\.k8s\.io/name"|minikube ssh -n NODE sudo iptables-save; or COLLECT --readings debug makes a pod on each node, and removes it.
EKS Auto Mode|"eks\.amazonaws\.com/compute-type": "auto"|kube-proxy is a service of the system there, so no pod can be read in. COLLECT --readings debug makes a pod on each node, and removes it.
EKS|"kubeletVersion": "[^"]{0,60}-eks-|COLLECT --readings debug makes a pod on each node, and removes it; or with SSM: sudo iptables-save on the node.
AKS|"kubernetes\.azure\.com/cluster"|COLLECT --readings debug makes a pod on each node, and removes it.
GKE Autopilot|"name": "gk3-|Nodes cannot be read there by anybody but Google: the objects are all that can be had (--readings none).
GKE|"kubeletVersion": "[^"]{0,60}-gke\.|COLLECT --readings debug makes a pod on each node, and removes it; or on the node, with SSH: sudo iptables-save.
k3s|"kubeletVersion": "[^"]{0,60}\+k3s|kube-proxy runs inside k3s itself, so no pod can be read in. COLLECT --readings debug makes a pod on each node, and removes it; or on the node as root: iptables-save.
RKE2|"kubeletVersion": "[^"]{0,60}\+rke2|COLLECT --readings debug makes a pod on each node, and removes it; or on the node as root: iptables-save.
OpenShift|"node\.openshift\.io/os_id"|COLLECT --readings debug --debug-namespace NAME does it, in a namespace that allows privileged pods, and removes its pods.
Talos|"osImage": "Talos |COLLECT --readings debug makes a pod on each node, and removes it (with the programs of the image, as Talos has none).
MicroK8s|"microk8s\.io/cluster"|kube-proxy runs inside kubelite there. COLLECT --readings debug makes a pod on each node, and removes it; or on the node as root: iptables-save.
kubeadm|"kubeadm\.alpha\.kubernetes\.io/cri-socket"|COLLECT --readings debug makes a pod on each node, and removes it; or on the node as root: iptables-save.'
otherwise='COLLECT --readings debug makes a pod on each node, and removes it; or on the node as root: iptables-save.'
# The ConfigMaps that say how kube-proxy, the cluster's DNS and its network are set up: namespace, name, and what has to be found in the Nodes,
# Namespaces or Pods before one is asked for. No other is (webapp/collecting/more_objects.py).
config_maps='kube-system kube-proxy
kube-system coredns
kube-system node-local-dns
kube-system kube-proxy-config "kubeletVersion": "[^"]{0,60}-eks-
kube-system coredns-custom "kubernetes\.azure\.com/cluster"|"kubeletVersion": "[^"]{0,60}\+k3s
kube-system rke2-coredns-rke2-coredns "kubeletVersion": "[^"]{0,60}\+rke2
kube-system rke2-canal-config "kubeletVersion": "[^"]{0,60}\+rke2
kube-system kube-dns "kubeletVersion": "[^"]{0,60}-gke\.
openshift-dns dns-default "name": "openshift-dns"
openshift-sdn sdn-config "name": "openshift-sdn"
openshift-ovn-kubernetes ovnkube-config "name": "openshift-ovn-kubernetes"
kube-system ip-masq-agent "k8s-app": "ip-masq-agent"
kube-system azure-ip-masq-agent-config "kubernetes\.azure\.com/cluster"
kube-system cilium-config "k8s-app": "cilium"
kube-system antrea-config "app": "antrea"
kube-system calico-config "k8s-app": "(calico-node|canal)"
kube-flannel kube-flannel-cfg "namespace": "kube-flannel"
kube-system kube-flannel-cfg "app": "flannel"
ingress-nginx ingress-nginx-controller "namespace": "ingress-nginx"'
# Kinds that a cluster may have: the file, and the resource (the same module).
more_kinds='ingressclasses.json ingressclasses.networking.k8s.io
gatewayclasses.json gatewayclasses.gateway.networking.k8s.io
gateways.json gateways.gateway.networking.k8s.io
httproutes.json httproutes.gateway.networking.k8s.io
grpcroutes.json grpcroutes.gateway.networking.k8s.io
tlsroutes.json tlsroutes.gateway.networking.k8s.io
tcproutes.json tcproutes.gateway.networking.k8s.io
udproutes.json udproutes.gateway.networking.k8s.io
referencegrants.json referencegrants.gateway.networking.k8s.io
adminnetworkpolicies.json adminnetworkpolicies.policy.networking.k8s.io
baselineadminnetworkpolicies.json baselineadminnetworkpolicies.policy.networking.k8s.io
clusternetworkpolicies.json clusternetworkpolicies.policy.networking.k8s.io
networkpolicies.crd.projectcalico.org.json networkpolicies.crd.projectcalico.org
globalnetworkpolicies.crd.projectcalico.org.json globalnetworkpolicies.crd.projectcalico.org
ciliumnetworkpolicies.json ciliumnetworkpolicies.cilium.io
ciliumclusterwidenetworkpolicies.json ciliumclusterwidenetworkpolicies.cilium.io
networkpolicies.crd.antrea.io.json networkpolicies.crd.antrea.io
clusternetworkpolicies.crd.antrea.io.json clusternetworkpolicies.crd.antrea.io
egressfirewalls.json egressfirewalls.k8s.ovn.org
egressnetworkpolicies.json egressnetworkpolicies.network.openshift.io
serviceexports.json serviceexports.multicluster.x-k8s.io
serviceimports.json serviceimports.multicluster.x-k8s.io'
# Of these programs' containers the named flags and variables are kept (tracer/kube/known_programs.py is the same table; a test compares them):
# containers|images|flags|variables, a * at the end of a word for whatever follows.
known_programs='kube-proxy|kube-proxy kube-proxy-amd64 hyperkube|bind-address cluster-cidr config detect-local-mode hostname-override iptables-localhost-nodeports iptables-masquerade-bit ipvs-scheduler ipvs-strict-arp masquerade-all nodeport-addresses pod-bridge-interface pod-interface-name-prefix proxy-mode|
coredns|coredns hardened-coredns|conf dns.port|
node-cache|k8s-dns-node-cache|basecorefile conf interfacename localip setupebtables setupinterface setupiptables upstreamsvc|
kubedns|k8s-dns-kube-dns|config-dir dns-port domain|
kindnet-cni|kindnetd|disable-cni dns-caching fastpath-threshold hostname-override ipv6-enabled masquerading nat64 network-policy no-masquerade-cidr|CONTROL_PLANE_ENDPOINT NO_MASQUERADE_CIDR POD_SUBNET
kube-flannel|flannel|iface iface-regex ip-masq iptables-forward-rules kube-subnet-mgr net-config-path public-ip|CONT_WHEN_CACHE_NOT_READY FLANNEL_MTU
calico-node|node calico-node||CALICO_IPV4POOL_CIDR CALICO_IPV4POOL_IPIP CALICO_IPV4POOL_NAT_OUTGOING CALICO_IPV4POOL_VXLAN CALICO_IPV6POOL_CIDR CALICO_IPV6POOL_NAT_OUTGOING CALICO_IPV6POOL_VXLAN CALICO_NETWORKING_BACKEND CLUSTER_TYPE DATASTORE_TYPE FELIX_BPFENABLED FELIX_CHAININSERTMODE FELIX_DEFAULTENDPOINTTOHOSTACTION FELIX_INTERFACEPREFIX FELIX_IPTABLESBACKEND FELIX_IPTABLESMARKMASK FELIX_IPV6SUPPORT FELIX_KUBENODEPORTRANGES FELIX_NATOUTGOINGADDRESS FELIX_NATPORTRANGE FELIX_NFTABLESMODE FELIX_VXLANMTU FELIX_VXLANPORT FELIX_WIREGUARDENABLED IP IP6 IP6_AUTODETECTION_METHOD IP_AUTODETECTION_METHOD
cilium-agent|cilium|bpf-lb-mode cluster-pool-ipv4-cidr config-dir enable-bpf-masquerade enable-ipv4-masquerade enable-ipv6-masquerade ipv4-native-routing-cidr kube-proxy-replacement node-port-range routing-mode tunnel tunnel-protocol|
aws-node aws-vpc-cni|amazon-k8s-cni||AWS_VPC_CNI_NODE_PORT_SUPPORT AWS_VPC_ENI_MTU AWS_VPC_K8S_CNI_* ENABLE_IPv4 ENABLE_IPv6 ENABLE_NFTABLES ENABLE_POD_ENI ENABLE_PREFIX_DELEGATION ENABLE_V4_EGRESS ENABLE_V6_EGRESS POD_SECURITY_GROUP_ENFORCING_MODE
aws-eks-nodeagent|aws-network-policy-agent|enable-ipv6 enable-network-policy|
ip-masq-agent azure-ip-masq-agent|ip-masq-agent ip-masq-agent-v2|enable-ipv6 masq-chain nomasq-all-reserved-ranges random-fully resync-interval|
kube-router|kube-router|enable-ibgp enable-overlay enable-pod-egress hairpin-mode masquerade-all nodeport-bindon-all-ip overlay-type run-firewall run-router run-service-proxy service-cluster-ip-range service-external-ip-range service-node-port-range|
weave|weave-kube||EXPECT_NPC IPALLOC_RANGE NO_MASQ_LOCAL WEAVE_MTU
speaker metallb-speaker||host lb-class port|METALLB_HOST METALLB_ML_BIND_PORT
kube-vip*|kube-vip|address arp bgp controlplane enableloadbalancer interface lbclassname loadbalancerclass services vip|address bgp_as bgp_enable cp_enable cp_namespace lb_class_name lb_class_only lb_enable lb_fwdmethod lb_port port svc_election svc_enable vip_address vip_arp vip_cidr vip_interface vip_leaderelection vip_routingtable vip_servicesinterface vip_subnet
lb-tcp-* lb-udp-*|klipper-lb||DEST_IPS DEST_PORT DEST_PROTO SRC_PORT SRC_RANGES
controller nginx-ingress-controller ingress-nginx-controller|nginx-ingress-controller ingress-nginx-controller|configmap controller-class default-backend-service election-id enable-ssl-passthrough http-port https-port ingress-class ingress-class-by-name publish-service publish-status-address report-node-internal-ip-address tcp-services-configmap udp-services-configmap update-status watch-ingress-without-class watch-namespace|
haproxy-ingress kubernetes-ingress-controller haproxy-ingress-controller|kubernetes-ingress haproxy-ingress|configmap default-backend-service http-bind-port https-bind-port ingress-class ingress.class publish-service|
traefik|traefik|entrypoints.* providers.kubernetescrd* providers.kubernetesgateway* providers.kubernetesingress*|
contour envoy|contour|envoy-service-http-port envoy-service-https-port ingress-class-name ingress-status-address|
ingress-controller proxy|kong kubernetes-ingress-controller||CONTROLLER_INGRESS_CLASS CONTROLLER_PUBLISH_SERVICE KONG_PORT_MAPS KONG_PROXY_LISTEN KONG_STREAM_LISTEN
aws-load-balancer-controller|aws-load-balancer-controller|cluster-name ingress-class|
istio-init istio-validation||b c d envoy-port g i inbound-capture-port inbound-tunnel-port istio-exclude-interfaces istio-inbound-interception-mode istio-inbound-ports istio-local-exclude-ports istio-local-outbound-ports-exclude istio-outbound-ports istio-service-cidr istio-service-exclude-cidr k m o p proxy-gid proxy-uid q t u x z|
linkerd-init|proxy-init|inbound-ports-to-ignore incoming-proxy-port iptables-mode ipv6 outbound-ports-to-ignore outgoing-proxy-port ports-to-redirect proxy-gid proxy-uid subnets-to-ignore|
kuma-init|kuma-init|exclude-inbound-ports exclude-outbound-ports kuma-dp-uid redirect-dns redirect-inbound redirect-inbound-port redirect-outbound-port|'
# What is found in annotations that hold whole objects, or look like secrets, and in other values that do (tracer/kube/kept_parts.py).
whole_object='(^|[^A-Za-z0-9_./-])(apiVersion|args|command|data|env|envFrom|kind|spec|stringData|template)[^A-Za-z0-9_./-]*:'
packed='^ *H4sI'
secret='(password|passwd|passphrase|secret|token|api[-_]?key|credential|private|bearer|authorization|-----begin|://[^/@: ]*:[^/@: ]*@)'
kubeconfig_like='(client-key-data|client-certificate-data|certificate-authority-data|-----BEGIN|(^|[^A-Za-z])(token|password)[^A-Za-z0-9]*:)'
secret_property='(^|[^A-Za-z0-9_])(aws_access_key|client_secret|credentials|password|secret|tenant|token)[ \t][^\n]*'
object_annotations='banzaicloud.com/last-applied kapp.k14s.io/original* objectset.rio.cattle.io/applied pod.beta.kubernetes.io/init-containers'
# The ConfigMaps' keys that are kept, one ConfigMap a line (tracer/kube/configmap.py).
config_map_keys='kube-system kube-proxy config.conf
kube-system coredns Corefile Corefile-* NodeHosts hosts *.db *.hosts *.include *.override *.server *.zone db.*
kube-system node-local-dns Corefile Corefile-* NodeHosts hosts *.db *.hosts *.include *.override *.server *.zone db.*
kube-system kube-proxy-config config
kube-system coredns-custom Corefile Corefile-* NodeHosts hosts *.db *.hosts *.include *.override *.server *.zone db.*
kube-system rke2-coredns-rke2-coredns Corefile Corefile-* NodeHosts hosts *.db *.hosts *.include *.override *.server *.zone db.*
kube-system rke2-canal-config canal_iface masquerade net-conf.json veth_mtu
kube-system kube-dns federations stubDomains upstreamNameservers
openshift-dns dns-default Corefile Corefile-* NodeHosts hosts *.db *.hosts *.include *.override *.server *.zone db.*
openshift-sdn sdn-config kube-proxy-config.yaml
openshift-ovn-kubernetes ovnkube-config ovnkube.conf
kube-system ip-masq-agent config
kube-system azure-ip-masq-agent-config ip-masq-agent
kube-system cilium-config bpf-lb-* cluster-pool-ipv4-cidr cluster-pool-ipv6-cidr enable-bpf-masquerade enable-host-legacy-routing enable-ipv4 enable-ipv4-masquerade enable-ipv6 enable-ipv6-masquerade enable-node-port ipam ipv4-native-routing-cidr ipv6-native-routing-cidr kube-proxy-replacement node-port-range routing-mode tunnel tunnel-protocol
kube-system antrea-config antrea-agent.conf
kube-system calico-config calico_backend veth_mtu
kube-flannel kube-flannel-cfg net-conf.json
kube-system kube-flannel-cfg net-conf.json
ingress-nginx ingress-nginx-controller allow-backend-server-header allow-snippet-annotations annotations-risk-level bind-address compute-full-forwarded-for enable-real-ip forwarded-for-header hsts http-redirect-code proxy-protocol-header-timeout proxy-real-ip-cidr server-name-hash-bucket-size ssl-redirect strict-validate-path-type upstream-hash-by use-forwarded-headers use-proxy-protocol whitelist-source-range'

usage() {
  cat <<'END'
Usage: collect.sh [OPTIONS] [TARGET]

Records one moment of a cluster as a snapshot for Hopline. It only reads, but for debug pods where these are asked for.

TARGET  what to write: an archive where it ends in .tar.gz, .tgz or .tar, else a folder.
        Without: snapshot-DATE-TIME.tar.gz in the current folder (a folder where tar or gzip is missing).

  --context NAME      the context of the kubeconfig (default: the current one)
  --kubeconfig FILE   the kubeconfig (default: what kubectl takes)
  --kubectl PROGRAM   the kubectl to call (default: kubectl, or $KUBECTL)
  --readings HOW      how the rules of the nodes are read:
                        exec       with the programs in kube-proxy's own pods, or in the network plugin's where there are none (default)
                        daemonset  with Hopline's node reader, where it is installed (deploy/)
                        debug      in a pod that "kubectl debug node/NODE" makes on each node and collect.sh removes again; never
                                   taken by itself
                        auto       as exec; with --allow-debug then as debug on the nodes whose rules did not come by that
                        none       not at all
  --allow-debug       with --readings auto: make debug pods where they are needed. Without, it is said where they would be.
  --reader-namespace NAME   where the node reader is installed (default: hopline)
  --debug-image IMAGE       of debug pods (default: docker.io/nicolaka/netshoot:v0.13); programs of the node itself come first
  --debug-profile PROFILE   sysadmin (default) or netadmin
  --debug-namespace NAME    where the pods are made (default: default)
  --node NAME         read this node only; may be given again (default: every node)
  --pod-stacks WHICH  read the rules, routes and sockets that pods have of their own (a sidecar's, a firewall's); may be given again:
                      pod:NAMESPACE/NAME, svc:NAMESPACE/NAME (the pods behind it) or label:NAMESPACE/KEY=VALUE, 50 pods at most.
                      By the programs in their own containers, which seldom may print rules; with --readings debug, or auto with
                      --allow-debug, in the debug pods on their nodes; with --readings daemonset by the node reader, where it may
  --conntrack         read the nodes' connections too: large, and they say who talks to whom
  --timeout SECONDS   give up on one command after so long (default: 60)
  --parallel COUNT    nodes read at the same time (default: 4)
  --help, --version

What is in it: Services, EndpointSlices, Nodes, Pods, Namespaces, NetworkPolicies, Ingresses, Gateways and their routes, policies of network
plugins, the ConfigMaps of kube-proxy, of the cluster's DNS and its network, and each node's rules, routes, addresses, neighbours and sockets.
What is not: Secrets, other ConfigMaps, logs, traffic; of Pods neither environment variables nor commands and their arguments, but for named
ones of the cluster's own programs; annotations that hold whole objects. Names and addresses are the real ones; to replace them, run on a
machine with Hopline:  manage.py redact SNAPSHOT REDACTED

Prints the name of what it wrote. Exit code: 0 everything was read that is there to be read; 1 written, but something was refused or
failed (said, and noted in snapshot.json); 2 the arguments cannot be used; 3 nothing was written.
END
}

say() { printf '%s\n' "$*" >&2; }

fail() { # CODE TEXT: says why, and ends
  fail_code=$1
  shift
  say "collect.sh: $*"
  exit "$fail_code"
}

now() { date -u +%Y-%m-%dT%H:%M:%SZ; }

is_number() { case $1 in '' | 0* | *[!0-9]* | ??????*) return 1 ;; esac; }

is_name() { case $1 in '' | [.-]* | *[!A-Za-z0-9.-]*) return 1 ;; esac; }

is_stacks() { # WHICH
  case $1 in pod:*/* | svc:*/* | label:*/*) ;; *) return 1 ;; esac
  stacks_in=${1#*:}
  is_name "${stacks_in%%/*}" || return 1
  case ${stacks_in#*/} in '' | [-=]* | *=*=* | *[!A-Za-z0-9./_=-]*) return 1 ;; esac
  case $1 in
    label:*=) return 1 ;;
    label:*=*) ;;
    label:* | *=*) return 1 ;;
    *) is_name "${stacks_in#*/}" ;;
  esac
}

clean_up() {
  [ -z "$temporary" ] || rm -rf "$temporary"
}

# shellcheck disable=SC2317 # called by the trap below
stop() { # a signal: ends what still runs, leaves nothing behind
  trap '' INT TERM HUP
  [ ! -d "$state" ] || : >"$state/stopping"
  # shellcheck disable=SC2086 # process ids, one word each
  kill ${children:-} ${watchdog:-} ${child:-} 2>/dev/null
  wait
  remove_debug_pods
  clean_up
  say 'collect.sh: stopped; nothing was written'
  exit 130
}

# --- arguments -------------------------------------------------------------------------------------------------------------------

read_arguments() {
  while [ $# -gt 0 ]; do
    case $1 in
      --help | -h) usage; exit 0 ;;
      --version) printf '%s\n' "$version"; exit 0 ;;
      --conntrack) conntrack='yes' ;;
      --allow-debug) allow_debug='yes' ;;
      --*=*) # --option=value is --option value
        option=${1%%=*}
        value=${1#*=}
        shift
        set -- "$option" "$value" "$@"
        continue
        ;;
      --context | --kubeconfig | --kubectl | --readings | --reader-namespace | --debug-image | --debug-profile | --debug-namespace | --node | --pod-stacks | --timeout | --parallel)
        [ -n "${2:-}" ] || fail 2 "$1 needs a value (collect.sh --help)"
        set_option "$1" "$2"
        shift
        ;;
      -*) fail 2 "there is no option $1 (collect.sh --help)" ;;
      *)
        [ -z "$target" ] || fail 2 "one target only: $target, or $1?"
        target=$1
        ;;
    esac
    shift
  done
}

set_option() {
  case $1 in
    --context) context=$2 ;;
    --kubeconfig) kubeconfig=$2 ;;
    --kubectl) kubectl=$2 ;;
    --readings)
      case $2 in exec | daemonset | debug | auto | none) readings=$2 ;; *) fail 2 "--readings is exec, daemonset, debug, auto or none, not $2" ;; esac
      ;;
    --reader-namespace) is_name "$2" || fail 2 "$2 is no name of a namespace"; reader_namespace=$2 ;;
    --debug-image) case $2 in -* | *[!A-Za-z0-9./:@_-]*) fail 2 "$2 is no name of an image" ;; esac; debug_image=$2 ;;
    --debug-profile)
      case $2 in sysadmin | netadmin) debug_profile=$2 ;; *) fail 2 "--debug-profile is sysadmin or netadmin, not $2" ;; esac
      ;;
    --debug-namespace) is_name "$2" || fail 2 "$2 is no name of a namespace"; debug_namespace=$2 ;;
    --node) is_name "$2" || fail 2 "$2 is no name of a node"; only="$only $2" ;;
    --pod-stacks) is_stacks "$2" || fail 2 "--pod-stacks is pod:NAMESPACE/NAME, svc:NAMESPACE/NAME or label:NAMESPACE/KEY=VALUE, not $2"
      pod_stacks="$pod_stacks $2" ;;
    --timeout) is_number "$2" || fail 2 "--timeout is a whole number of seconds, not $2"; seconds=$2 ;;
    --parallel) is_number "$2" || fail 2 "--parallel is a whole number, not $2"; parallel=$2 ;;
  esac
}

choose_target() { # sets form, target, name (of the folder inside an archive) and parent
  if [ -z "$target" ]; then
    target="snapshot-$(date -u +%Y%m%d-%H%M%S)"
    if command -v tar >/dev/null && command -v gzip >/dev/null; then
      target="$target.tar.gz"
    else
      say 'tar or gzip is missing here: a folder is written instead of an archive.'
    fi
  fi
  while [ "$target" != / ] && [ "$target" != "${target%/}" ]; do target=${target%/}; done
  case $target in
    *.tar.gz) form='tar.gz' name=${target%.tar.gz} ;;
    *.tgz) form='tar.gz' name=${target%.tgz} ;;
    *.tar) form='tar' name=${target%.tar} ;;
    *.tar.* | *.zip) fail 2 "collect.sh writes .tar.gz, .tar or a folder, not $target" ;;
    *) form='folder' name=$target ;;
  esac
  case $target in -* | /) fail 2 "$target cannot be written; begin with ./ or another folder" ;; esac
  name=${name##*/}
  case $name in '' | . | ..) name='snapshot' ;; esac
  case $target in */*) parent=${target%/*} ;; *) parent=. ;; esac
  parent=${parent:-/}
  [ ! -e "$target" ] || fail 2 "$target exists already"
  [ -d "$parent" ] || fail 2 "there is no folder $parent"
  [ -w "$parent" ] || fail 2 "$parent cannot be written to"
  [ "$form" = folder ] || command -v tar >/dev/null || fail 2 "tar is missing here; give a folder as the target"
  [ "$form" != tar.gz ] || command -v gzip >/dev/null || fail 2 "gzip is missing here; give a .tar or a folder as the target"
}

# --- calling kubectl ---------------------------------------------------------------------------------------------------------------

# ask LABEL ARGUMENTS...: runs kubectl, its output in $state/LABEL.out and .err. Returns its exit code, 124 when it took too long.
# There is no "timeout" in POSIX, hence the watchdog. NB: exec, so that the process killed is kubectl itself.
# NB: a signal that comes before a new subshell has let go of its parent's traps is lost. So what the signal means is on disk before it is
# sent (LABEL.ended: kubectl is; stopping: we are), and a subshell looks there when a signal can no longer be lost.
ask() {
  label=$1
  shift
  rm -f "$state/$label.late" "$state/$label.ended"
  (
    [ ! -e "$state/stopping" ] || exit 143
    # NB: past the bound the system ends kubectl by a signal.
    case $label in node-*/pods/*) ulimit -f "$most_blocks" ;; esac
    exec "$kubectl" ${kubeconfig:+--kubeconfig="$kubeconfig"} ${context:+--context="$context"} "$@" \
      >"$state/$label.out" 2>"$state/$label.err" </dev/null
  ) &
  child=$!
  (
    trap 'kill "$!"; exit 0' TERM
    is_over && exit 0
    sleep "$seconds" &
    wait "$!"
    is_over && exit 0
    : >"$state/$label.late"
    kill "$child"
    sleep 3 &
    wait "$!"
    is_over || kill -9 "$child"
  ) >/dev/null 2>&1 </dev/null &
  watchdog=$!
  wait "$child"
  ask_code=$?
  : >"$state/$label.ended"
  kill "$watchdog" 2>/dev/null
  wait "$watchdog" 2>/dev/null
  [ ! -e "$state/$label.late" ] || ask_code=124
  return "$ask_code"
}

is_over() { [ -e "$state/$label.ended" ] || [ -e "$state/stopping" ]; }

# is_missing LABEL CODE: whether the runtime said that the container has no such program. Docker says it on the standard output.
is_missing() {
  missing_words='executable file .*not found|failed to run command|exec.*no such file or directory'
  grep -E -i -q "$missing_words" "$state/$1.err" && return 0
  case $2 in 126 | 127) head -n 5 "$state/$1.out" | grep -E -i -q "$missing_words" ;; *) return 1 ;; esac
}

is_flood() { # LABEL: whether the output has come to the bound of pods' own stacks
  case $1 in node-*/pods/*) [ "$(wc -c <"$state/$1.out")" -ge $((most_blocks * 512)) ] ;; *) return 1 ;; esac
}

# why LABEL CODE [PROGRAM]: prints in one line why the last "ask" failed, in the words of "manage.py collect" where it was a program.
why() {
  last=$(awk 'NF && !/^command terminated with exit code/ { line = $0 } END { print substr(line, 1, 300) }' "$state/$1.err")
  if [ "$2" -eq 124 ]; then
    printf '%s did not end within %s s.' "${3:-kubectl}" "$seconds"
  elif [ "$2" -eq 69 ] && [ -n "$uid" ]; then
    printf '%s' "$last"
  elif is_flood "$1"; then
    printf 'The program prints more than 16,777,216 bytes.'
  elif [ -n "${3:-}" ] && is_missing "$1" "$2"; then
    printf 'The container has no program %s.' "$3"
  elif grep -q -i -e 'forbidden' -e 'unauthorized' -e 'must be logged in' "$state/$1.err"; then
    printf 'Not allowed: %s' "$last"
  elif [ -n "${3:-}" ] && [ "$3" = ipvsadm ] && grep -q -e 'initialize ipvs' "$state/$1.err"; then
    printf 'IPVS is not loaded there.'
  else
    printf '%s ended with %s%s' "${3:-kubectl}" "$2" "${last:+: $last}"
  fi
}

# note LOG PATH MOMENT HOW TEXT: remembers how the reading of PATH ended. HOW: taken, lacking (nothing there to read it with), failed.
note() {
  printf '%s\t%s\t%s\t%s\n' "$2" "$3" "$4" "$(printf '%s' "$5" | tr '\t\n\r' '   ' | tr -d '\000-\037\177')" >>"$state/$1.log"
}

# --- objects -----------------------------------------------------------------------------------------------------------------------

# Leaves out what tracer/kube/kept_parts.py leaves out of every object, line by line: kubectl indents by four blanks, so what begins on a line
# ends at the bracket below its first letter. A container is held until its name and image are known. What of it is kept, the tables above say.
# KEYS: those kept of a ConfigMap.
without_private() { # PODS: "yes" for a file of Pods; KEYS: of a ConfigMap, else "-"
  known_programs=$known_programs whole_object=$whole_object packed=$packed secret=$secret kubeconfig_like=$kubeconfig_like \
    secret_property=$secret_property object_annotations=$object_annotations keys=$2 awk -v pods="$1" '
    BEGIN { property = ENVIRON["secret_property"]; gsub(/\\n/, "\n", property); gsub(/\\t/, "\t", property) }
    function listed(word, words, all, count, i, one) {
      count = split(words, all, " ")
      for (i = 1; i <= count; i++) {
        one = all[i]
        if (word == one) return 1
        if (one ~ /[*]$/ && index(word, substr(one, 1, length(one) - 1)) == 1) return 1
      }
      return 0
    }
    function kept_key(key, words, all, count, i, end) {
      if (listed(key, words)) return 1
      count = split(words, all, " ")
      for (i = 1; i <= count; i++) {
        if (all[i] !~ /^[*]/) continue
        end = substr(all[i], 2)
        if (length(key) >= length(end) && substr(key, length(key) - length(end) + 1) == end) return 1
      }
      return 0
    }
    function emit(line) {
      if (held != "") { if (line ~ /^ *[]}]/) sub(/,$/, "", held); print held }
      held = line
    }
    function indent_of(line) { match(line, /^ */); return substr(line, 1, RLENGTH) }
    function key_of(line) { sub(/^ *"/, "", line); sub(/": .*$/, "", line); return line }
    function value_of(line) { # a text as JSON writes it, without its quotes
      sub(/^ *("([^"\\]|\\.)*": )?"/, "", line)
      sub(/",?$/, "", line)
      return line
    }
    function decoded(text) { gsub(/\\n/, "\n", text); gsub(/\\t/, "\t", text); gsub(/\\"/, "\"", text); return text }
    function looks_secret(text) { return tolower(text) ~ ENVIRON["secret"] }
    function kept_annotation(line, key, text) {
      key = key_of(line)
      text = decoded(value_of(line))
      if (length(text) > 4096 || key ~ /last-applied-configuration$/ || listed(key, ENVIRON["object_annotations"])) return 0
      return !(text ~ ENVIRON["whole_object"] || text ~ ENVIRON["packed"] || looks_secret(key) || looks_secret(text))
    }
    function without_properties(line, start, text, out, found, lead) {
      match(line, /^ *"([^"\\]|\\.)*": "/)
      start = substr(line, 1, RLENGTH)
      text = substr(line, RLENGTH + 1)
      lead = text ~ /,$/ ? "\"," : "\""
      text = substr(text, 1, length(text) - length(lead))
      gsub(/\\n/, "\n", text)
      gsub(/\\t/, "\t", text)
      if (decoded(text) ~ ENVIRON["kubeconfig_like"]) return ""
      out = ""
      while (match(text, property)) {
        found = substr(text, RSTART, RLENGTH)
        out = out substr(text, 1, RSTART - 1)
        text = substr(text, RSTART + RLENGTH)
        if (found !~ /^[A-Za-z]/) { out = out substr(found, 1, 1); found = substr(found, 2) }
        sub(/[ \t].*$/, "", found)
        out = out found " removed"
      }
      out = out text
      gsub(/\n/, "\\n", out)
      gsub(/\t/, "\\t", out)
      return start out lead
    }
    # One line that is in no container: what begins there and is left out is left out to its end.
    function plain(line, indent) {
      indent = indent_of(line)
      if (skipping != "") { if (line == skipping || line == skipping ",") skipping = ""; return }
      if (annotations != "") {
        if (line == annotations || line == annotations ",") annotations = ""
        else if (!kept_annotation(line)) return
      } else if (data != "") {
        if (line == data || line == data ",") data = ""
        else {
          if (!kept_key(key_of(line), ENVIRON["keys"])) return
          line = without_properties(line)
          if (line == "") return
        }
      } else if (line ~ /^ *"managedFields": \[/ || (pods == "yes" && line ~ /^ *"(args|command|env|envFrom|httpHeaders)": \[/)) {
        if (line !~ /\],?$/) skipping = indent "]"
        return
      } else if ((pods == "yes" && line ~ /^ *"(flexVolume|volumeAttributes)": \{/) || (ENVIRON["keys"] != "-" && line ~ /^ *"binaryData": \{/)) {
        if (line !~ /\},?$/) skipping = indent "}"
        return
      } else if (pods == "yes" && !metadata && line ~ /^ *"message": "/) {
        return
      } else if (line ~ /^ *"annotations": \{$/) {
        annotations = indent "}"
      } else if (ENVIRON["keys"] != "-" && line ~ /^ *"data": \{$/) {
        data = indent "}"
      }
      if (line ~ /^            "metadata": \{$/) metadata = 1
      else if (line ~ /^            \}/) metadata = 0
      emit(line)
    }
    function find_program(keys_at, i, name, image, all, parts, count) {
      program_flags = program_variables = ""
      name = image = ""
      for (i = 1; i <= lines; i++) {
        if (index(buffer[i], keys_at "\"name\": \"") == 1) name = value_of(buffer[i])
        if (index(buffer[i], keys_at "\"image\": \"") == 1) image = value_of(buffer[i])
      }
      sub(/@.*/, "", image)
      sub(/^.*\//, "", image)
      sub(/:.*/, "", image)
      count = split(ENVIRON["known_programs"], all, "\n")
      for (i = 1; i <= count; i++) {
        split(all[i], parts, "|")
        if (listed(name, parts[1]) || listed(image, parts[2])) { program_flags = parts[3]; program_variables = parts[4]; return 1 }
      }
      return 0
    }
    # The words from line i on that are flags which are kept; returns the line on which the list ends.
    function words(i, keys_at, key, word, name, has, is_flag, is_value, opened) {
      key = buffer[i]
      is_value = opened = 0
      for (i++; buffer[i] !~ ("^" keys_at "\\],?$"); i++) {
        word = value_of(buffer[i])
        if (length(word) > 512) { is_value = 0; continue }
        if (word ~ /^-/) {
          name = word
          sub(/^-+/, "", name)
          has = index(name, "=")
          if (has) name = substr(name, 1, has - 1)
          is_flag = listed(tolower(name), program_flags) && !looks_secret(word)
          is_value = is_flag && !has
          if (!is_flag) continue
        } else if (is_value) {
          is_value = 0
          if (looks_secret(word)) word = ""
        } else continue
        if (!opened) emit(key)
        opened = 1
        emit(keys_at "    \"" word "\",")
      }
      if (opened) emit(keys_at "],")
      return i
    }
    function variables(i, keys_at, key, opened, name, value, only, from, to) {
      key = buffer[i]
      opened = 0
      for (i++; buffer[i] !~ ("^" keys_at "\\],?$"); i++) {
        from = i
        name = value = ""
        only = 1
        for (i++; buffer[i] !~ ("^" keys_at "    \\},?$"); i++) {
          if (index(buffer[i], keys_at "        \"name\": \"") == 1) name = value_of(buffer[i])
          else if (index(buffer[i], keys_at "        \"value\": \"") == 1) value = value_of(buffer[i])
          else only = 0
        }
        if (!only || !listed(name, program_variables) || length(value) > 512 || looks_secret(value)) continue
        if (!opened) emit(key)
        opened = 1
        for (to = from; to < i; to++) emit(buffer[to])
        emit(keys_at "    },")
      }
      if (opened) emit(keys_at "],")
      return i
    }
    function container(keys_at, i, known) {
      keys_at = indent_of(buffer[1]) "    "
      known = find_program(keys_at)
      for (i = 1; i <= lines; i++) {
        if (known && skipping == "" && (buffer[i] == keys_at "\"args\": [" || buffer[i] == keys_at "\"command\": [")) i = words(i, keys_at)
        else if (known && skipping == "" && buffer[i] == keys_at "\"env\": [") i = variables(i, keys_at)
        else plain(buffer[i])
      }
    }
    closing != "" {
      buffer[++lines] = $0
      if ($0 == closing || $0 == closing ",") { container(); closing = ""; lines = 0 }
      next
    }
    list != "" && skipping == "" && $0 == list "    {" { closing = list "    }"; lines = 1; buffer[1] = $0; next }
    list != "" && ($0 == list "]" || $0 == list "],") { list = "" }
    pods == "yes" && list == "" && skipping == "" && annotations == "" && /^ *"(containers|ephemeralContainers|initContainers)": \[$/ { list = indent_of($0) }
    { plain($0) }
    END { if (held != "") print held }'
}

take_objects() { # FILE RESOURCE
  moment=$(now)
  pods='no'
  [ "$1" != pods.json ] || pods='yes'
  ask objects get "$2" --all-namespaces -o json
  code=$?
  if [ "$code" -eq 0 ]; then
    without_private "$pods" - <"$state/objects.out" >"$work/$1"
    note objects "$1" "$moment" taken ''
    say "  $1"
  else
    reason=$(why objects "$code")
    note objects "$1" "$moment" failed "$reason"
    say "  $1: $reason"
  fi
}

# Each by its name, so that nobody needs the right to read them all: "list" with a field selector is what RBAC can narrow to a name.
take_config_maps() {
  moment=$(now)
  reasons=''
  separator=''
  printf '{\n"apiVersion": "v1",\n"kind": "List",\n"items": [\n' >"$state/configmaps.json"
  while read -r namespace config_map sign; do
    [ -z "$sign" ] || cat "$work/nodes.json" "$work/namespaces.json" "$work/pods.json" 2>/dev/null | grep -q -E -e "$sign" || continue
    if ask objects get configmaps -n "$namespace" --field-selector "metadata.name=$config_map" -o json; then
      keys=$(printf '%s\n' "$config_map_keys" | sed -n "s/^$namespace $config_map //p")
      without_private no "$keys" <"$state/objects.out" | awk '/^    \],?$/ { inside = 0 } inside; /^    "items": \[$/ { inside = 1 }' >"$state/objects.item"
      [ -s "$state/objects.item" ] || continue
      [ -z "$separator" ] || printf '%s\n' "$separator" >>"$state/configmaps.json"
      cat "$state/objects.item" >>"$state/configmaps.json"
      separator=','
    else
      reasons="$reasons$config_map: $(why objects $?); "
    fi
  done <<END
$config_maps
END
  printf '],\n"metadata": {"resourceVersion": ""}\n}\n' >>"$state/configmaps.json"
  if [ -n "$separator" ]; then
    mv "$state/configmaps.json" "$work/configmaps.json"
    say "  configmaps.json"
  fi
  if [ -n "$reasons" ]; then
    note objects configmaps.json "$moment" failed "${reasons%; }"
    say "  configmaps.json: ${reasons%; }"
  elif [ -n "$separator" ]; then
    note objects configmaps.json "$moment" taken ''
  fi
}

# What the cluster has of the further kinds: one question says which.
take_more_kinds() {
  moment=$(now)
  if ! ask objects api-resources --verbs=list -o name; then
    reason="The kinds that the cluster has cannot be listed: $(why objects $?)"
    if [ ! -s "$state/objects.out" ]; then
      note objects "${more_kinds%% *}" "$moment" failed "$reason"
      say "  $reason"
      return
    fi
  fi
  mv "$state/objects.out" "$state/kinds"
  while read -r file resource; do
    ! grep -q -x -F -e "$resource" "$state/kinds" || take_objects "$file" "$resource"
  done <<END
$more_kinds
END
}

take_version() {
  moment=$(now)
  if ask objects get --raw /version; then
    cp "$state/objects.out" "$work/version.json"
    note objects version.json "$moment" taken ''
    say "  version.json"
  else
    reason=$(why objects $?)
    note objects version.json "$moment" failed "$reason"
    say "  version.json: $reason"
  fi
}

# --- nodes -------------------------------------------------------------------------------------------------------------------------

# Fills $state/nodes (NODE|system) and $state/pods (NODE|phase|namespace|pod|containers|when it is to be gone) for the way of reading.
find_nodes() {
  : >"$state/pods"
  fields='{range .items[*]}{.spec.nodeName}|{.status.phase}|{.metadata.namespace}|{.metadata.name}|{.spec.containers[*].name}|{.metadata.deletionTimestamp}{"\n"}{end}'
  if [ "$readings" = debug ]; then
    :
  elif [ "$readings" = daemonset ]; then
    find_pods "$reader_namespace" 'app.kubernetes.io/name=hopline-node-reader'
  else
    find_pods kube-system 'k8s-app=kube-proxy' # kubeadm, EKS, kops, kind
    find_pods kube-system 'component=kube-proxy' # AKS, GKE, RKE2
    find_pods kube-system 'app.kubernetes.io/name=kube-proxy'
  fi
  if ask nodes get nodes -o 'jsonpath={range .items[*]}{.metadata.name}|{.status.nodeInfo.operatingSystem}{"\n"}{end}'; then
    cp "$state/nodes.out" "$state/nodes"
  else
    say "  The nodes cannot be listed ($(why nodes $?)); those are read on which pods were found."
    awk -F'|' '$1 != "" && !seen[$1]++ { print $1 "|linux" }' "$state/pods" >"$state/nodes"
  fi
  case $readings in exec | auto) find_plugins ;; esac
}

# Fills $state/plugins (LABEL|NODE|phase|namespace|pod|containers|when it is to be gone) where a node has no pod of kube-proxy's that runs.
find_plugins() {
  : >"$state/plugins"
  awk -F'|' 'FILENAME ~ /pods$/ { if ($2 == "Running" && $6 == "") has[$1] = 1; next } $2 != "windows" && !has[$1] { none = 1 } END { exit !none }' \
    "$state/pods" "$state/nodes" || return 0
  for key in k8s-app app; do
    values=$(printf '%s\n' "$plugin_pods" | sed -n "s/^$key=\([^ ]*\) .*/\1/p" | tr '\n' ',')
    plugin_fields='{range .items[*]}{.spec.hostNetwork}|{.metadata.labels.'"$key"'}|'"${fields#*\]\}}"
    if ask nodes get pods --all-namespaces -l "$key in (${values%,})" -o "jsonpath=$plugin_fields"; then
      sed -n "s/^true|/$key=/p" "$state/nodes.out" >>"$state/plugins"
    else
      say "  Pods of network plugins ($key) cannot be listed: $(why nodes $?)"
    fi
  done
}

plugin_of() { # NODE: prints "NAMESPACE POD CONTAINER" of the network plugin's pod there
  plugin_pods=$plugin_pods awk -F'|' -v node="$1" '
    $2 == node && $3 == "Running" && $7 == "" {
      count = split(ENVIRON["plugin_pods"], rows, "\n")
      for (i = 1; i <= count; i++) {
        wanted = split(rows[i], row, " ")
        if (row[1] != $1 || (best != "" && i >= best)) continue
        for (j = 2; j <= wanted; j++) if (index(" " $6 " ", " " row[j] " ")) { best = i; found = $4 " " $5 " " row[j]; break }
      }
    }
    END { if (found != "") print found }' "$state/plugins"
}

# Fills $state/stacks (NODE|namespace|pod|uid|containers) with the pods whose own stacks were asked for, and says which of them have none.
find_stacks() {
  : >"$state/stacks"
  : >"$state/stacks-asked"
  for which in $pod_stacks; do
    stacks_in=${which#*:}
    space=${stacks_in%%/*}
    if ask_stacks "$which" "$space" "${stacks_in#*/}"; then
      [ ! -s "$state/stacks-found" ] || { cat "$state/stacks-found" >>"$state/stacks-asked"; continue; }
      reason='No pod is found by it.'
    fi
    note objects "$which" "$(now)" failed "$reason"
    say "  $which: $reason"
  done
  sort -u "$state/stacks-asked" | sort -t '|' -k 2,2 -k 3,3 >"$state/stacks-sorted"
  while IFS='|' read -r node space pod pod_uid network phase going containers; do
    if ! is_name "$node" || ! is_name "$space" || ! is_name "$pod" || ! is_wanted "$node"; then continue; fi
    mkdir -p "$state/node-$node/pods"
    how=''
    if [ "$network" = true ]; then how='lacking' reason='It has the network of its node, and no stack of its own.'
    elif [ "$phase" != Running ] || [ -n "$going" ]; then how='failed' reason='It does not run.'
    else case $pod_uid in '' | *[!A-Za-z0-9-]*) how='failed' reason='It has no uid.' ;; esac; fi
    if [ -z "$how" ]; then printf '%s|%s|%s|%s|%s\n' "$node" "$space" "$pod" "$pod_uid" "$containers" >>"$state/stacks"
    else unread "$node/pods/${space}_$pod" iptables-save.txt "$how" "$reason"; fi
  done <"$state/stacks-sorted"
  cp "$state/stacks" "$state/stacks-asked-for"
  over=$(($(wc -l <"$state/stacks") - most_stacks))
  if [ "$over" -gt 0 ]; then
    head -n "$most_stacks" "$state/stacks" >"$state/stacks-most"
    mv "$state/stacks-most" "$state/stacks"
    cp "$state/stacks" "$state/stacks-asked-for"
    note objects pod-stacks "$(now)" failed "Of $most_stacks pods the own stacks are read: of $over more they are not."
    say "  Of $most_stacks pods the own stacks are read: of $over more they are not."
  fi
}

ask_stacks() { # WHICH NAMESPACE NAME: fills $state/stacks-found; returns 1 and sets reason where that cannot be asked
  stack_fields='{range .items[*]}{.spec.nodeName}|{.metadata.namespace}|{.metadata.name}|{.metadata.uid}|{.spec.hostNetwork}|{.status.phase}|{.metadata.deletionTimestamp}|{.spec.containers[*].name}{"\n"}{end}'
  : >"$state/behind"
  case $1 in
    pod:*) set -- "$1" "$2" --field-selector "metadata.name=$3" ;;
    label:*) set -- "$1" "$2" -l "$3" ;;
    svc:*)
      ask nodes get endpointslices.discovery.k8s.io -n "$2" -l "kubernetes.io/service-name=$3" \
        -o 'jsonpath={range .items[*]}{range .endpoints[*]}{.targetRef.kind}|{.targetRef.name}{"\n"}{end}{end}' || { reason=$(why nodes $?); return 1; }
      sed -n 's/^Pod|//p' "$state/nodes.out" >"$state/behind"
      set -- "$1" "$2"
      ;;
  esac
  which=$1 space=$2
  shift 2
  ask nodes get pods -n "$space" "$@" -o "jsonpath=$stack_fields" || { reason=$(why nodes $?); return 1; }
  case $which in
    svc:*) awk -F'|' 'FILENAME ~ /behind$/ { behind[$0] = 1; next } $3 in behind' "$state/behind" "$state/nodes.out" >"$state/stacks-found" ;;
    *) cp "$state/nodes.out" "$state/stacks-found" ;;
  esac
}

# make_debug_pod NODE: has "kubectl debug" make a pod on the node; sets made to its name when it runs. Its command bears the mark of this run.
make_debug_pod() {
  made=''
  ask "node-$1" debug "node/$1" -n "$debug_namespace" --profile="$debug_profile" --image="$debug_image" -- \
    sh -c 'sleep 900' "$debug_mark" || return
  # kubectl says it on standard error, in older versions on standard output.
  made=$(cat "$state/node-$1.out" "$state/node-$1.err" | sed -n 's/.*[Cc]reating debugging pod \([a-z0-9.-]*\) .*/\1/p' | head -n 1)
  is_name "$made" || made=$(debug_pods | head -n 1)
  is_name "$made" || return 1
  printf '%s\n' "$made" >>"$state/made-$1"
  ask "node-$1" wait "pod/$made" -n "$debug_namespace" --for='jsonpath={.status.phase}=Running' --timeout="${seconds}s" || return
}

debug_pods() { # prints the names of the pods that this run made
  "$kubectl" ${kubeconfig:+--kubeconfig="$kubeconfig"} ${context:+--context="$context"} get pods -n "$debug_namespace" --request-timeout=20s \
    -o 'jsonpath={range .items[*]}{.metadata.name}|{.spec.containers[*].command}{.spec.containers[*].args}{"\n"}{end}' 2>/dev/null </dev/null |
    awk -F'|' -v mark="$debug_mark" 'index($0, mark) { print $1 }'
}

# Removes every pod that this run made, however far it came: those whose name kubectl said, and those that bear the mark.
remove_debug_pods() {
  [ -n "$debug_mark" ] || return 0
  for left in $({ cat "$state"/made-* 2>/dev/null; debug_pods; } | sort -u); do
    ! is_name "$left" || [ -e "$state/removed-$left" ] || remove_pod "$left"
  done
}

remove_pod() { # POD
  if "$kubectl" ${kubeconfig:+--kubeconfig="$kubeconfig"} ${context:+--context="$context"} delete pod "$1" -n "$debug_namespace" \
    --ignore-not-found --wait=false --grace-period=1 --request-timeout=20s >/dev/null 2>&1 </dev/null; then
    : >"$state/removed-$1"
  else
    say "  The debug pod $1 could not be removed; it ends by itself after 15 minutes: kubectl delete pod $1 -n $debug_namespace"
  fi
}

find_pods() { # NAMESPACE SELECTOR
  if ask nodes get pods -n "$1" -l "$2" -o "jsonpath=$fields"; then
    cat "$state/nodes.out" >>"$state/pods"
  else
    say "  Pods with $2 in $1 cannot be listed: $(why nodes $?)"
  fi
}

pod_of() { # NODE: prints "NAMESPACE POD CONTAINER" of the pod to read it with
  awk -F'|' -v node="$1" '
    $1 == node && $2 == "Running" && $6 == "" {
      count = split($5, names, " ")
      container = names[1]
      for (i = 1; i <= count; i++) if (names[i] == "kube-proxy" || names[i] == "node-reader") container = names[i]
      print $3, $4, container
      exit
    }' "$state/pods"
}

is_wanted() { # NODE
  [ -n "$only" ] || return 0
  case "$only " in *" $1 "*) return 0 ;; esac
  return 1
}

# Several workers, each with every so-manieth line, so that a node which hangs holds up those of its own worker only.
in_parallel() { # "nodes" or "stacks": reads what each line of that file names
  children=''
  worker=0
  while [ "$worker" -lt "$parallel" ]; do
    (
      child=''
      watchdog=''
      trap 'kill $child $watchdog 2>/dev/null; wait $child; exit 143' TERM
      awk -v worker="$worker" -v of="$parallel" 'NR % of == worker' "$state/$1" >"$state/worker-$worker"
      while IFS='|' read -r node second pod _ containers; do
        case $1 in
          nodes) ! is_name "$node" || ! is_wanted "$node" || read_node "$node" "$second" ;;
          stacks) read_stack_in_containers "$node" "$second" "$pod" "$containers" ;;
        esac
      done <"$state/worker-$worker"
    ) &
    children="$children $!"
    worker=$((worker + 1))
  done
  wait
  children=''
}

say_unknown_nodes() {
  for wanted in $only; do
    grep -q "^$wanted|" "$state/nodes" || { note objects "nodes/$wanted" "$(now)" failed 'There is no such node.'; say "  $wanted: There is no such node."; }
  done
}

say_debug_pods() { # says what will be made, before anything is
  debug_mark="hopline-collect-$$-$(date -u +%Y%m%d%H%M%S)"
  say "  A pod is made on each node that is read, with $debug_image (profile $debug_profile, namespace $debug_namespace), and removed again."
}

# With debug pods the nodes whose rules did not come. What was refused of their files before counts where no pod runs there.
read_what_is_left() {
  gather
  left_nodes >"$state/left"
  left_stacks | awk -F'|' 'FILENAME == "-" { left[$0] = 1; next } ($1 "/pods/" $2 "_" $3) in left' - "$state/stacks" >"$state/stacks-left"
  mv "$state/stacks-left" "$state/stacks"
  cp "$state/left" "$state/rules-left"
  awk -F'|' '{ print $1 }' "$state/stacks" >>"$state/left"
  [ -s "$state/left" ] || return 0
  readings='debug'
  awk -F'|' 'FILENAME ~ /left$/ { left[$1] = 1; next } $1 in left' "$state/left" "$state/nodes" >"$state/nodes-left"
  mv "$state/nodes-left" "$state/nodes"
  say_debug_pods
  in_parallel nodes
}

gather() { # all that was noted, of a file that was tried twice the last word
  cat "$state"/objects.log "$state"/node-*.log "$state"/node-*/pods/*.log 2>/dev/null | last_words >"$state/all"
}

last_words() { awk -F'\t' '{ if (!($1 in said)) order[++count] = $1; said[$1] = $0 } END { for (i = 1; i <= count; i++) print said[order[i]] }'; }

read_node() { # NODE SYSTEM
  if [ "$2" = windows ]; then
    unread "$1" hns-endpoints.json lacking 'A Windows node: only Linux nodes are read. Run hnsdiag list all there, and add what it prints as hnsdiag.txt.'
    return
  fi
  by=''
  inside=''
  if [ "$readings" = debug ]; then
    if ! make_debug_pod "$1"; then
      reason="No debug pod runs there: $(why "node-$1" "$ask_code")"
      unread_with_stacks "$1" "$reason"
      [ -z "$made" ] || remove_pod "$made"
      return
    fi
    found="$debug_namespace $made debugger"
    inside='chroot /host'
    by=" by debugger in $debug_namespace/$made"
  else
    found=$(pod_of "$1")
    if [ -z "$found" ] && [ "$readings" != daemonset ]; then
      found=$(plugin_of "$1")
      # shellcheck disable=SC2086 # three words
      [ -z "$found" ] || by=$(printf ' by %s in %s/%s' "${found##* }" ${found% *})
    fi
  fi
  if [ -z "$found" ]; then
    if [ "$readings" = daemonset ]; then unread_with_stacks "$1" 'No pod of the node reader runs there.'
    else unread "$1" iptables-save.txt failed 'No kube-proxy pod runs there: it may be a service of the system, or something else does its work.'; fi
    return
  fi
  # shellcheck disable=SC2086 # three words: namespace, pod, container
  if is_to_be_read "$1"; then
    mkdir -p "$work/nodes/$1"
    if [ "$readings" = daemonset ]; then read_with_reader "$1" $found; else read_with_exec "$1" $found; fi
    rmdir "$work/nodes/$1" 2>/dev/null
    say_files "$1" "$by"
  fi
  # shellcheck disable=SC2086 # three words: namespace, pod, container
  case $readings in
    daemonset) read_stacks_with_reader "$1" $found ;;
    debug)
      read_stacks_with_debug "$1"
      remove_pod "$made"
      ;;
  esac
}

is_to_be_read() { # NODE: whether its own files are asked for, and not only those of pods on it
  [ ! -e "$state/rules-left" ] || grep -q -x -F -e "$1" "$state/rules-left"
}

# --- pods' own stacks --------------------------------------------------------------------------------------------------------------

# A stack is called NODE/pods/NAMESPACE_NAME, which is where its files are, and what it is asked for and what it said as well.

# With the programs in the pod's own containers, one after the other until one has printed rules.
read_stack_in_containers() { # NODE NAMESPACE POD CONTAINERS
  stack="$1/pods/$2_$3"
  mkdir -p "$work/nodes/$stack"
  inside=''
  uid=''
  tried=0
  for container in $4; do
    if [ "$tried" -ge "$most_containers" ] || has_rules "$stack"; then break; fi
    tried=$((tried + 1))
    read_with_exec "$stack" "$2" "$3" "$container"
    [ -z "$given_up" ] || break
  done
  rmdir "$work/nodes/$stack" 2>/dev/null
  say_files "$stack" ''
}

read_stacks_with_debug() { # NODE: in the debug pod that runs there
  awk -F'|' -v node="$1" '$1 == node { print $2, $3, $4 }' "$state/stacks" >"$state/stacks-$1"
  while read -r space pod uid; do
    stack="$1/pods/${space}_$pod"
    mkdir -p "$work/nodes/$stack"
    read_with_exec "$stack" "$debug_namespace" "$made" debugger
    rmdir "$work/nodes/$stack" 2>/dev/null
    say_files "$stack" " by debugger in $debug_namespace/$made"
  done <"$state/stacks-$1"
  uid=''
}

read_stacks_with_reader() { # NODE NAMESPACE POD CONTAINER: one call brings all files of all stacks there as a tar
  awk -F'|' -v node="$1" '$1 == node { print $2, $3, $4 }' "$state/stacks" >"$state/stacks-$1"
  [ -s "$state/stacks-$1" ] || return 0
  uids=$(awk '{ text = text (NR > 1 ? "," : "") $3 } END { print text }' "$state/stacks-$1")
  moment=$(now)
  ask "node-$1/pods/all" exec -n "$2" "$3" -c "$4" -- hopline-node-reader --pods "$uids"
  all_code=$?
  mv "$state/node-$1/pods/all.out" "$state/node-$1/pods/all.tar"
  while read -r space pod pod_uid; do
    stack="$1/pods/${space}_$pod"
    mkdir -p "$work/nodes/$stack"
    if [ "$all_code" -eq 0 ]; then unpack_reading "$stack" "$state/node-$1/pods/all.tar" "pods/$pod_uid/"
    else note "node-$stack" "nodes/$stack/iptables-save.txt" "$moment" failed "$(why "node-$1/pods/all" "$all_code" hopline-node-reader)"; fi
    rmdir "$work/nodes/$stack" 2>/dev/null
    say_files "$stack" ''
  done <"$state/stacks-$1"
}

has_rules() { # STACK
  for of_rules in iptables-save.txt iptables-legacy-save.txt nft-ruleset.json nft-ruleset.txt; do
    [ ! -e "$work/nodes/$1/$of_rules" ] || return 0
  done
  return 1
}

is_taken() { # STACK FILE: whether another container of the pod has printed it
  case $1 in */pods/*) [ -e "$work/nodes/$1/$2" ] ;; *) return 1 ;; esac
}

asked_of() { # STACK COMMANDS: prints those that are asked of a node, or of a pod's own stack
  case $1 in
    */pods/*) printf '%s\n' "$2" | awk -v without=" $not_of_pods " '!index(without, " " $1 " ")' ;;
    *) printf '%s\n' "$2" ;;
  esac
}

say_files() { # STACK BY: in one line how its reading went, and a line for each reason why something did not come
  say "$(last_words <"$state/node-$1.log" | sort | awk -F'\t' -v node="$1" -v by="$2" '
    { sub(/^.*\//, "", $1) }
    $3 == "taken" { taken++ }
    $3 == "lacking" { lacking++ }
    $3 == "failed" {
      if (!($4 in count)) reason[++reasons] = $4
      if (++count[$4] <= 3) named[$4] = named[$4] (count[$4] > 1 ? ", " : "") $1
    }
    END {
      printf "  %s: %d files%s%s", node, taken, by, (lacking ? "; " lacking " cannot be read there" : "")
      for (i = 1; i <= reasons; i++) printf "\n    %s%s: %s", named[reason[i]], (count[reason[i]] > 3 ? " and " count[reason[i]] - 3 " more" : ""), reason[i]
    }')"
}

unread() { # NODE FILE HOW TEXT
  note "node-$1" "nodes/$1/$2" "$(now)" "$3" "$4"
  say "  $1: $4"
}

unread_with_stacks() { # NODE TEXT: of the node, where it was to be read, and of each pod on it whose own stack was
  ! is_to_be_read "$1" || unread "$1" iptables-save.txt failed "$2"
  awk -F'|' -v node="$1" '$1 == node { print $1 "/pods/" $2 "_" $3 }' "$state/stacks" >"$state/stacks-$1"
  while read -r stack; do unread "$stack" iptables-save.txt failed "$2"; done <"$state/stacks-$1"
}

# A node that is not listed is not come to, but with the programs of its pods.
say_left_stacks() {
  while IFS='|' read -r node space pod _; do
    stack="$node/pods/${space}_$pod"
    [ -s "$state/node-$stack.log" ] || unread "$stack" iptables-save.txt failed 'Its node was not read.'
  done <"$state/stacks-asked-for"
}

read_with_exec() { # NODE NAMESPACE POD CONTAINER
  commands=$node_commands
  [ "$conntrack" = no ] || commands="$commands
$conntrack_command"
  commands=$(asked_of "$1" "$commands")
  given_up=''
  late=0
  while read -r file argv; do
    ! is_taken "$1" "$file" || continue
    moment=$(now)
    if [ -n "$given_up" ]; then
      note "node-$1" "nodes/$1/$file" "$moment" failed "$given_up"
      continue
    fi
    # shellcheck disable=SC2086 # a program and its arguments, one word each
    run_surely "$1" "$2" "$3" "$4" $argv
    keep_output "$1" "$file" "$?" "${argv%% *}"
  done <<END
$commands
END
  [ -n "$given_up" ] || read_more "$@"
}

run_there() { # NODE NAMESPACE POD CONTAINER PROGRAM...: in a debug pod the node's own program, and the image's where it has none
  there=$1 space=$2 within=$3 part=$4
  shift 4
  if [ -n "$inside" ]; then
    # shellcheck disable=SC2086 # two words
    ask_there $inside "$@"
    there_code=$?
    is_missing "node-$there" "$there_code" || return "$there_code"
  fi
  ask_there "$@"
}

ask_there() { # PROGRAM...: where run_there says; with a uid in the network of that pod
  [ -z "$uid" ] || set -- sh -c "$enter_script" sh "$uid" "$@"
  ask "node-$there" exec -n "$space" "$within" -c "$part" -- "$@"
}

# NB: kubectl exec may lose what a program printed, and how it ended, and end with 0 (seen with 1.32): empty counts when it came twice.
run_surely() { # as run_there
  run_there "$@"
  sure_code=$?
  if [ "$sure_code" -eq 0 ] && [ ! -s "$state/node-$1.out" ]; then
    run_there "$@"
    sure_code=$?
  fi
  return "$sure_code"
}

# What is asked on top, each where it is wanted. A program that is missing is not tried again, and none of these fails a node.
read_more() { # NODE NAMESPACE POD CONTAINER
  commands=$more_commands
  [ "$conntrack" = no ] || commands="$commands
$more_connections"
  commands=$(asked_of "$1" "$commands")
  has=$(awk -F'\t' '$3 == "taken" { sub(/^.*\//, "", $1); print $1 }' "$state/node-$1.log")
  programs=' ' absent=' '
  while read -r file argv; do
    program=${argv%% *}
    case "
$has
" in *"
$file
"*) programs="$programs$program " ;; esac
  done <<END
$node_commands
$conntrack_command
END
  while read -r file unless argv; do
    [ -z "$given_up" ] || return 0
    [ "$argv" != @settings ] || argv='sh'
    program=${argv%% *}
    case $absent in *" $program "*) case $programs in *" $program "*) ;; *) continue ;; esac ;; esac
    if is_taken "$1" "$file" || ! is_asked "$1" "$unless"; then continue; fi
    moment=$(now)
    if [ "$program" = sh ]; then
      run_surely "$1" "$2" "$3" "$4" sh -c "$settings_script"
    else
      # shellcheck disable=SC2086 # a program and its arguments, one word each
      run_surely "$1" "$2" "$3" "$4" $argv
    fi
    keep_more "$1" "$file" "$?" "$program"
  done <<END
$commands
END
}

is_asked() { # NODE UNLESS: whether something more is wanted there
  case $2 in
    -) return 0 ;;
    +*) grep -q -e '-legacy tables present' "$work/nodes/$1/${2#+}" 2>/dev/null ;;
    *,*) [ ! -e "$work/nodes/$1/${2%%,*}" ] && [ ! -e "$work/nodes/$1/${2#*,}" ] ;;
    *) [ ! -e "$work/nodes/$1/$2" ] ;;
  esac
}

keep_more() { # NODE FILE CODE PROGRAM: as keep_output, but what did not come is lacking
  if [ "$3" -eq 0 ]; then
    case $2 in
      nft-ruleset.txt | *-legacy-save.txt) ;;
      *) [ -s "$state/node-$1.out" ] || { note "node-$1" "nodes/$1/$2" "$moment" lacking 'Nothing was printed.'; return; } ;;
    esac
    programs="$programs$4 "
    keep_output "$@"
    return
  fi
  reason=$(why "node-$1" "$3" "$4")
  how='lacking'
  case $reason in
    'The container has no program'*) case $programs in *" $4 "*) ;; *) absent="$absent$4 " ;; esac ;;
    'Not allowed:'* | *'did not end within'*) how='failed' given_up=$reason ;;
  esac
  if [ "$3" -eq 69 ] && [ -n "$uid" ]; then how='failed' given_up=$reason; fi
  note "node-$1" "nodes/$1/$2" "$moment" "$how" "$reason"
}

# is_whole FILE OUTPUT: whether the output ends as such files do. NB: kubectl exec may lose the end of large outputs and say nothing.
is_whole() {
  [ -s "$2" ] || return 0
  case $1 in
    *tables-save.txt) tail -n 1 "$2" | grep -q -e '^COMMIT' -e '^#' ;;
    *.json) tail -c 4 "$2" | grep -q '[]}]' ;;
    *) return 0 ;;
  esac
}

keep_output() { # NODE FILE CODE PROGRAM: keeps what the last "ask" printed, or says why there is nothing to keep
  output="$state/node-$1.out"
  if [ "$2" = sysctl.txt ]; then
    # "sysctl -a" ends with an error for every setting that nobody may read; the network's are what counts.
    grep '^net\.' "$output" >"$state/node-$1.net"
    mv "$state/node-$1.net" "$output"
    [ "$3" -eq 124 ] || [ ! -s "$output" ] || set -- "$1" "$2" 0 "$4"
  fi
  if [ "$3" -eq 0 ]; then
    case $2 in
      *.json) [ -s "$output" ] || { note "node-$1" "nodes/$1/$2" "$moment" lacking 'Nothing was printed.'; return; } ;;
    esac
    if ! is_whole "$2" "$output"; then
      note "node-$1" "nodes/$1/$2" "$moment" failed 'The end of the output is missing.'
      return
    fi
    mv "$output" "$work/nodes/$1/$2"
    note "node-$1" "nodes/$1/$2" "$moment" taken ''
    return
  fi
  reason=$(why "node-$1" "$3" "$4")
  how='failed'
  case $reason in
    'The container has no program'* | 'IPVS is not loaded'*) how='lacking' ;;
    # nft that was built without JSON; ip of busybox, and old ones: the plain text is asked for then.
    *'JSON support not compiled'* | *[Ii]'nvalid option'* | *[Ii]'llegal option'* | *[Uu]'nrecognized option'* | *[Uu]'nknown option'* | *'Option "-j" is unknown'*) how='lacking' ;;
    'Not allowed:'*) given_up=$reason ;;
    *'did not end within'*) late=$((late + 1)); [ "$late" -lt 2 ] || given_up='Not tried: two programs before did not end.' ;;
  esac
  [ "$3" -ne 69 ] || [ -z "$uid" ] || given_up=$reason
  note "node-$1" "nodes/$1/$2" "$moment" "$how" "$reason"
}

read_with_reader() { # NODE NAMESPACE POD CONTAINER: one call brings all files of the node as a tar
  moment=$(now)
  set -- "$1" "$2" "$3" "$4" hopline-node-reader
  [ "$conntrack" = no ] || set -- "$@" --conntrack
  node=$1 namespace=$2 pod=$3 container=$4
  shift 4
  if ask "node-$node" exec -n "$namespace" "$pod" -c "$container" -- "$@"; then
    mv "$state/node-$node.out" "$state/node-$node.tar"
    unpack_reading "$node" "$state/node-$node.tar" ''
  else
    note "node-$node" "nodes/$node/iptables-save.txt" "$moment" failed "$(why "node-$node" $? hopline-node-reader)"
  fi
}

# Takes the documented names only, each through a pipe, so that no name in the tar leads anywhere.
unpack_reading() { # STACK TAR PREFIX (of the names of its files in the tar)
  if ! tar -xOf "$2" reading.json >"$state/node-$1.reading" 2>/dev/null; then
    note "node-$1" "nodes/$1/iptables-save.txt" "$moment" failed 'What the node reader printed is no archive of its files.'
    return
  fi
  # One line for each file: NAME, and its error as JSON spells it, or nothing. reading.json has one file a line for this.
  sed -n 's|^ *"'"$3"'\([a-z0-9.-]*\)": {"error": null, .*|\1 |p; s|^ *"'"$3"'\([a-z0-9.-]*\)": {"error": "\(.*\)", "seconds": .*|\1 \2|p' \
    "$state/node-$1.reading" >"$state/node-$1.files"
  if [ -n "$3" ] && [ ! -s "$state/node-$1.files" ]; then
    note "node-$1" "nodes/$1/iptables-save.txt" "$moment" failed 'The node reader left it out.'
  fi
  while read -r file reason; do
    if [ -n "$reason" ]; then
      how='failed'
      case $reason in 'The container has no program'* | 'IPVS is not loaded'* | 'kube-proxy does not answer'*) how='lacking' ;; esac
      note "node-$1" "nodes/$1/$file" "$moment" "$how" "$(printf '%s' "$reason" | sed 's/\\\(["\\]\)/\1/g')"
    elif tar -xOf "$2" "$3$file" >"$work/nodes/$1/$file" 2>/dev/null; then
      note "node-$1" "nodes/$1/$file" "$moment" taken ''
    else
      rm -f "$work/nodes/$1/$file"
      note "node-$1" "nodes/$1/$file" "$moment" failed 'The node reader left it out.'
    fi
  done <"$state/node-$1.files"
}

# --- the end -----------------------------------------------------------------------------------------------------------------------

write_about() { # snapshot.json
  kubernetes=''
  [ ! -f "$work/version.json" ] || kubernetes=$(sed -n 's/.*"gitVersion": *"\([A-Za-z0-9.+_-]*\)".*/\1/p' "$work/version.json" | head -n 1)
  {
    printf '{\n "collected_at": "%s",\n "collector": "%s",\n "kubernetes": ' "$began" "$version"
    if [ -n "$kubernetes" ]; then printf '"%s"' "$kubernetes"; else printf 'null'; fi
    printf ',\n "redacted": false,\n "files": {'
    sort "$state/all" | sed 's/\\/\\\\/g; s/"/\\"/g' | awk -F'\t' '
      { printf "%s\n  \"%s\": {\"read_at\": \"%s\"", (NR > 1 ? "," : ""), $1, $2; if ($3 != "taken") printf ", \"error\": \"%s\"", $4; printf "}" }'
    printf '\n }\n}\n'
  } >"$work/snapshot.json"
}

write_target() {
  case $form in
    folder) mv "$work" "$target" ;;
    tar) (cd "$temporary" && tar -cf archive "$name") && mv "$temporary/archive" "$target" ;;
    tar.gz) (cd "$temporary" && tar -cf archive "$name" && gzip archive) && mv "$temporary/archive.gz" "$target" ;;
  esac
}

# What was taken, what was not, each reason once, and what is inside (webapp/collecting/report.py); returns 1 if something failed.
report() {
  say ''
  sort "$state/all" | awk -F'\t' '
    function some(group, what) { return text[group, what] (many[group, what] > 3 ? " and " many[group, what] - 3 " more" : "") }
    function name_once(group, what, name) {
      if ((group, what, name) in seen) return
      seen[group, what, name] = 1
      if (++many[group, what] <= 3) text[group, what] = text[group, what] (many[group, what] > 1 ? ", " : "") name
    }
    function reason_of(error) {
      if (index(error, "Not allowed: ")) return "Not allowed: "
      if (index(error, "No debug pod runs there: ")) return "No debug pod runs there: "
      if (index(error, "The container has no program ")) return "The container has no program "
      if (index(error, "(you must be root)")) return "(you must be root)"
      if (index(error, "Operation not permitted")) return "Operation not permitted"
      return error
    }
    {
      parts = split($1, part, "/")
      node = part[1] == "nodes" && parts > 1 ? part[2] : ""
      kind = node == "" ? "" : "nodes"
      if (parts == 5 && part[3] == "pods") { kind = "pods"; node = part[4]; sub(/_/, "/", node) }
    }
    $3 == "taken" { if (kind != "") { of[kind]++; if (!counted[kind, node]++) count[kind]++ } else of_objects++; next }
    {
      if ($3 == "failed") failed++
      group = $3 SUBSEP kind SUBSEP (reason_of($4))
      if (!(group in size)) { order[++groups] = group; first[group] = $4; path[group] = $1; how[group] = $3; of_kind[group] = kind }
      size[group]++
      name_once(group, "files", part[parts])
      if (index($4, "The container has no program ") == 1 && !((group, $4) in seen)) {
        seen[group, $4] = 1
        programs[group] = programs[group] (programs[group] == "" ? "" : ", ") substr($4, 30, length($4) - 30)
        if ($3 == "lacking") first[group] = "The container has no program " programs[group] "."
      }
      if (node != "") name_once(group, "nodes", node)
    }
    END {
      printf "Taken: %d files of the cluster, %d files of %d nodes", of_objects, of["nodes"], count["nodes"]
      if (of["pods"]) printf ", %d files of the own stacks of %d pods", of["pods"], count["pods"]
      printf ".\n"
      for (i = 1; i <= groups; i++)
        if (how[order[i]] == "lacking") printf "Not there to be read, %s %d %s: %s (%s)\n", (of_kind[order[i]] == "pods" ? "in" : "on"), many[order[i], "nodes"], (of_kind[order[i]] == "pods" ? "pods" : "nodes"), some(order[i], "files"), first[order[i]]
      if (failed) printf "Refused or failed: %d files\n", failed
      for (i = 1; i <= groups; i++) {
        group = order[i]
        if (how[group] != "failed" || ++kinds > 30) continue
        if (size[group] == 1) printf "  %s: %s\n", path[group], first[group]
        else if (many[group, "nodes"]) printf "  %d files of %s: %s\n", size[group], some(group, "nodes"), first[group]
        else printf "  %s: %s\n", some(group, "files"), first[group]
      }
      if (kinds > 30) printf "  and %d more, see snapshot.json\n", kinds - 30
    }' >&2
  say 'Inside are real names and addresses. Not inside: Secrets, other ConfigMaps, logs, traffic; of Pods neither environment variables'
  say 'nor commands and their arguments, but for named ones of the own programs of the cluster. To replace names and addresses, where Hopline is installed: manage.py redact SNAPSHOT REDACTED'
  ! grep -q '	failed	' "$state/all"
}

left_nodes() { # prints the Linux nodes whose rules are not there, of those that were to be read
  sort "$state/all" | awk -F'\t' '
    split($1, part, "/") == 3 && part[1] == "nodes" && part[3] != "hns-endpoints.json" {
      if (!(part[2] in has)) { order[++count] = part[2]; has[part[2]] = 0 }
      if ($3 == "taken" && part[3] ~ /^(iptables-save|iptables-legacy-save|nft-ruleset)\.(txt|json)$/) has[part[2]] = 1
    }
    END { for (i = 1; i <= count; i++) if (!has[order[i]]) print order[i] }'
}

left_stacks() { # prints the pods' own stacks whose rules are not there, of those that were to be read, as NODE/pods/NAMESPACE_NAME
  sort "$state/all" | awk -F'\t' '
    split($1, part, "/") == 5 && part[3] == "pods" && $4 !~ /^It (has|does) / {
      stack = part[2] "/pods/" part[4]
      if (!(stack in has)) { order[++count] = stack; has[stack] = 0 }
      if ($3 == "taken" && part[5] ~ /^(iptables-save|iptables-legacy-save|nft-ruleset)\.(txt|json)$/) has[stack] = 1
    }
    END { for (i = 1; i <= count; i++) if (!has[order[i]]) print order[i] }'
}

next_step() {
  advice=$otherwise
  while IFS='|' read -r platform sign hint; do
    grep -q -E -e "$sign" "$work/nodes.json" 2>/dev/null || continue
    say "The cluster looks like $platform."
    advice=$hint
    break
  done <<END
$platforms
END
  without=$(left_nodes | awk 'NR <= 3 { text = text (NR > 1 ? ", " : "") $0 } END { print text (NR > 3 ? " and " NR - 3 " more" : "") }')
  if [ "$readings" = none ]; then
    say 'No node was read: a trace ends in unknown where a node decides.'
  elif [ -n "$without" ]; then
    say "Without rules: $without. Traces end in unknown there."
    [ "$readings" != debug ] || advice='See above why. Another namespace or image: --debug-namespace, --debug-image.'
    say "$(printf '%s' "$advice" | sed 's/COLLECT/sh collect.sh/')"
    [ "$readings" != auto ] || say 'sh collect.sh --readings auto --allow-debug makes pods on these nodes only, and removes them.'
  fi
  without=$(left_stacks | awk '{ sub(/^.*\//, ""); sub(/_/, "/") } NR <= 3 { text = text (NR > 1 ? ", " : "") $0 } END { print text (NR > 3 ? " and " NR - 3 " more" : "") }')
  if [ -n "$without" ]; then
    say "Without rules of their own: pods $without. A sidecar or a firewall in them is not known."
    [ "$readings" = debug ] || say "sh collect.sh --readings auto --allow-debug --pod-stacks WHICH reads them from their nodes, in pods that it makes and removes."
  fi
  say "Next: open $target in Hopline (page Snapshots), or: manage.py import_snapshot $target"
}

read_arguments "$@"
command -v awk >/dev/null || fail 3 'awk is missing here'
command -v "$kubectl" >/dev/null || fail 3 "there is no program $kubectl here; it is needed to reach the cluster"
[ "$allow_debug" = no ] || [ "$readings" = auto ] || fail 2 '--allow-debug goes with --readings auto'
[ -z "$pod_stacks" ] || [ "$readings" != none ] || fail 2 '--pod-stacks does not go with --readings none'
[ "$readings" != daemonset ] || command -v tar >/dev/null || fail 2 'tar is missing here; --readings daemonset needs it'
choose_target
trap stop INT TERM HUP
temporary="$parent/.collect-$$"
mkdir "$temporary" || fail 3 "$temporary cannot be made"
temporary=$(cd "$temporary" && pwd)
work="$temporary/$name"
state="$temporary/.state"
mkdir "$work" "$state"
began=$(now)

say 'Objects'
take_version
take_objects services.json services
if [ ! -f "$work/services.json" ]; then
  clean_up
  fail 3 "the Services cannot be read, and without them there is no snapshot: $reason"
fi
take_objects endpointslices.json endpointslices.discovery.k8s.io
take_objects nodes.json nodes
take_objects pods.json pods
take_objects namespaces.json namespaces
take_objects networkpolicies.json networkpolicies.networking.k8s.io
take_objects ingresses.json ingresses.networking.k8s.io
take_config_maps
take_more_kinds
if [ "$readings" != none ]; then
  say 'Nodes'
  [ "$readings" != debug ] || say_debug_pods
  find_nodes
  say_unknown_nodes
  find_stacks
  in_parallel nodes
  case $readings in exec | auto) in_parallel stacks ;; esac
  [ "$allow_debug" = no ] || read_what_is_left
  remove_debug_pods
  say_left_stacks
fi

for folder in "$work"/nodes/*/pods "$work"/nodes/*; do rmdir "$folder" 2>/dev/null; done
gather
write_about
result=0
report || result=1
next_step
write_target || { clean_up; fail 3 "$target cannot be written"; }
clean_up
printf '%s\n' "$target"
exit "$result"

"""ConfigMap: only those that say how kube-proxy, the cluster's DNS and its network are set up; every other one is left unread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from tracer.kube.fields import Fields, Origin
from tracer.patterns import pattern
from tracer.values import dataclass

_COREFILES = "Corefile Corefile-* NodeHosts hosts *.db *.hosts *.include *.override *.server *.zone db.*"
_NGINX = (
    "allow-backend-server-header allow-snippet-annotations annotations-risk-level bind-address compute-full-forwarded-for enable-real-ip "
    "forwarded-for-header hsts http-redirect-code proxy-protocol-header-timeout proxy-real-ip-cidr "
    "server-name-hash-bucket-size ssl-redirect "
    "strict-validate-path-type upstream-hash-by use-forwarded-headers use-proxy-protocol whitelist-source-range"
)
_CILIUM = (
    "bpf-lb-* cluster-pool-ipv4-cidr cluster-pool-ipv6-cidr enable-bpf-masquerade enable-host-legacy-routing "
    "enable-ipv4 enable-ipv4-masquerade "
    "enable-ipv6 enable-ipv6-masquerade enable-node-port ipam ipv4-native-routing-cidr ipv6-native-routing-cidr kube-proxy-replacement "
    "node-port-range routing-mode tunnel tunnel-protocol"
)
KEPT_KEYS = {
    ("kube-system", "kube-proxy"): "config.conf",
    ("kube-system", "kube-proxy-config"): "config",  # EKS
    ("kube-system", "coredns"): _COREFILES,
    ("kube-system", "coredns-custom"): _COREFILES,  # AKS
    ("kube-system", "rke2-coredns-rke2-coredns"): _COREFILES,
    ("kube-system", "kube-dns"): "federations stubDomains upstreamNameservers",
    ("kube-system", "node-local-dns"): _COREFILES,
    ("openshift-dns", "dns-default"): _COREFILES,
    ("openshift-sdn", "sdn-config"): "kube-proxy-config.yaml",
    ("openshift-ovn-kubernetes", "ovnkube-config"): "ovnkube.conf",
    ("kube-system", "kubeadm-config"): "ClusterConfiguration",
    ("kube-system", "ip-masq-agent"): "config",
    ("kube-system", "azure-ip-masq-agent-config"): "ip-masq-agent",
    ("kube-system", "cilium-config"): _CILIUM,
    ("kube-system", "antrea-config"): "antrea-agent.conf",
    ("kube-system", "calico-config"): "calico_backend veth_mtu",
    ("kube-system", "rke2-canal-config"): "canal_iface masquerade net-conf.json veth_mtu",
    ("kube-flannel", "kube-flannel-cfg"): "net-conf.json",
    ("kube-system", "kube-flannel-cfg"): "net-conf.json",
    ("ingress-nginx", "ingress-nginx-controller"): _NGINX,
}
"""The ConfigMaps that are kept, and of each the keys: with blanks between them, ``*`` at an end for whatever stands there."""
_CLUSTER_CONFIGURATION = "ClusterConfiguration"
SECRET_PROPERTY = r"(^|[^A-Za-z0-9_])(aws_access_key|client_secret|credentials|password|secret|tenant|token)[ \t][^\n]*"  # noqa: S105 - a pattern
"""What in a Corefile stands before secrets: properties of its plugins route53, azure, etcd, tsig."""
_SECRET_PROPERTY = pattern(SECRET_PROPERTY)
_KEPT_BLOCKS = ("apiVersion:", "kind:", "kubernetesVersion:", "networking:")


def is_wanted(namespace: object, name: object) -> bool:
    """Return whether a ConfigMap is kept: one of kube-proxy's, of the cluster DNS's, or that says how the network is set up."""
    return isinstance(namespace, str) and isinstance(name, str) and (namespace, name) in KEPT_KEYS


def kept_keys(namespace: object, name: object) -> str:
    """Return which keys of a ConfigMap are kept, with blanks between them; none of one that is not."""
    return KEPT_KEYS.get((namespace, name), "") if isinstance(namespace, str) and isinstance(name, str) else ""


def kept_text(key: str, text: object) -> object:
    """Return *text* without the values of a Corefile's secret properties (those of route53, azure, etcd), its lines where they were.

    Of kubeadm's ClusterConfiguration only what says how the network is set up: its other parts hold arguments.
    """
    if not isinstance(text, str):
        return text
    return _networking_of(text) if key == _CLUSTER_CONFIGURATION else _SECRET_PROPERTY.sub(r"\1\2 removed", text)


def _networking_of(text: str) -> str:
    kept, is_kept = [], False
    for line in text.splitlines(keepends=True):
        if not line.startswith((" ", "-", "\t")):
            is_kept = line.startswith(_KEPT_BLOCKS)
        if is_kept:
            kept.append(line)
    return "".join(kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigMap:
    """A ConfigMap's texts by key."""

    namespace: str
    name: str
    texts: Mapping[str, str] = field(default_factory=dict)
    origin: Origin = field(default_factory=Origin, compare=False)

    @property
    def key(self) -> tuple[str, str]:
        """Return (namespace, name)."""
        return (self.namespace, self.name)

    @classmethod
    def from_dict(cls, value: object, origin: Origin | None = None) -> ConfigMap:
        """Return the ConfigMap an API object describes. :raises ParseError: a field has the wrong type."""
        top = Fields.of(value, "ConfigMap", origin)
        metadata = top.nested("metadata")
        return cls(
            namespace=metadata.text_or("namespace", "default"),
            name=metadata.name(),
            texts=top.text_map("data"),
            origin=origin or Origin(),
        )

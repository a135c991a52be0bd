"""The resolv.conf that the kubelet gives a pod, by its dnsPolicy and dnsConfig.

The kubelet's own settings (clusterDNS, clusterDomain, resolvConf) are in no snapshot: the cluster's DNS Service and the Corefile stand for
them, and the node's resolv.conf where it was recorded. Source: pkg/kubelet/network/dns/dns.go of Kubernetes 1.36.
"""

from __future__ import annotations

from dataclasses import replace

from tracer.dns.resolv_conf import MOST_SERVERS, ResolvConf, once
from tracer.kube.pod import DnsConfig, Pod
from tracer.packet import Address
from tracer.values import dataclass

_MOST_SEARCHES = 32
_MOST_SEARCH_CHARACTERS = 2048
_LONGEST_SEARCH = 253
_CLUSTER_OPTIONS = ("ndots:5",)


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeletSettings:
    """What the kubelet would have been told: the servers of the cluster's DNS and its domain (without a final dot)."""

    cluster_dns: tuple[Address, ...]
    cluster_domain: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PodResolvConf:
    """A pod's resolv.conf. *why* says where it comes from; *unknown* what the snapshot lacks for it, empty when it is all there."""

    conf: ResolvConf
    why: str
    unknown: str = ""


NO_DNS_SERVICE = (
    "the snapshot has no DNS Service (kube-system/kube-dns, or one with the label k8s-app=kube-dns), so where pods send their questions is "
    "not known; the Services of all namespaces are wanted (kubectl get services -A)"
)
"""What is said where the cluster's DNS would be asked, and nothing shows where that is."""


def effective_policy(pod: Pod) -> str:
    """Return the policy that counts: on the node's network ClusterFirst means Default."""
    return "Default" if pod.dns_policy == "ClusterFirst" and pod.host_network else pod.dns_policy


def pod_resolv_conf(pod: Pod, settings: KubeletSettings, node: ResolvConf | None) -> PodResolvConf:
    """Return what the kubelet writes for *pod*. *node* is the node's own file, None when it was not recorded."""
    policy = effective_policy(pod)
    cluster = policy in ("ClusterFirst", "ClusterFirstWithHostNet")
    lacks = ""
    if policy == "None":
        conf, why = ResolvConf(), "dnsPolicy None: only what dnsConfig says"
    elif cluster and settings.cluster_dns:
        conf = _cluster_first(pod, settings, node)
        why = f"dnsPolicy {pod.dns_policy}: the cluster's DNS, with the search list of namespace {pod.namespace}"
        if node is None:
            why += "; search domains of the node, if it has any, would follow (its resolv.conf is not recorded)"
    elif cluster:
        # NB: a kubelet that was told no DNS server writes the node's own, and one that was asks a Service which was not recorded.
        conf, why, lacks = ResolvConf(), f"dnsPolicy {pod.dns_policy}: the cluster's DNS, whose Service was not recorded", NO_DNS_SERVICE
    else:
        conf = node or ResolvConf()
        why = f"dnsPolicy {pod.dns_policy}: the node's own resolv.conf"
        if pod.host_network and pod.dns_policy == "ClusterFirst":
            why += " (on the node's network ClusterFirst means Default)"
        if node is None:
            lacks = f"nodes/{pod.node_name}/resolv.conf is not in the snapshot"
    if pod.dns_config is not None:
        conf = _with_config(conf, pod.dns_config)
        why += ", and dnsConfig"
        # A server of its own is enough to go on with.
        lacks = "" if conf.servers and policy == "None" else lacks
    return PodResolvConf(conf=_fitted(conf), why=why, unknown=lacks)


def _cluster_first(pod: Pod, settings: KubeletSettings, node: ResolvConf | None) -> ResolvConf:
    domain = settings.cluster_domain
    host = tuple(s.removesuffix(".") for s in node.search) if node else ()
    search = once((f"{pod.namespace}.svc.{domain}", f"svc.{domain}", domain, *host))
    return ResolvConf(servers=tuple(map(str, settings.cluster_dns)), search=search, options=_CLUSTER_OPTIONS)


def _with_config(conf: ResolvConf, config: DnsConfig) -> ResolvConf:
    """Return *conf* with the pod's own settings: they are added, and replace options of the same name."""
    named: dict[str, str] = {}
    for option in conf.options:
        name, _, value = option.partition(":")
        named[name] = value
    for name, given in config.options:
        named[name] = given or ""
    return ResolvConf(
        servers=once((*conf.servers, *config.nameservers)),
        search=once((*conf.search, *config.searches)),
        options=tuple(f"{name}:{value}" if value else name for name, value in named.items()),
    )


def _fitted(conf: ResolvConf) -> ResolvConf:
    """Return *conf* within the kubelet's limits: 3 servers, 32 search domains of 2048 characters in all."""
    search = [s for s in conf.search[:_MOST_SEARCHES] if len(s) <= _LONGEST_SEARCH]
    while search and len(" ".join(search)) > _MOST_SEARCH_CHARACTERS:
        search.pop()
    return replace(conf, servers=conf.servers[:MOST_SERVERS], search=tuple(search))

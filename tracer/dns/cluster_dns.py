"""The DNS of one cluster: its Corefile, its Service, NodeLocal DNSCache, and the resolv.conf of every pod and node.

Owns where these stand in the objects. A snapshot without a Corefile gets kubeadm's, and says so.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from tracer.dns.corefile import Corefile, parse_corefile
from tracer.dns.kubelet import KubeletSettings, PodResolvConf, pod_resolv_conf
from tracer.dns.message import Answer, Question, unknown
from tracer.dns.resolv_conf import ResolvConf, parse_resolv_conf
from tracer.dns.server import DnsServer
from tracer.dns.service_import import Imports, ServiceImport
from tracer.errors import ParseError
from tracer.kube.configmap import ConfigMap
from tracer.kube.endpoints import ready_addresses
from tracer.kube.objects import Objects
from tracer.kube.pod import Pod
from tracer.kube.service import Service
from tracer.packet import Address
from tracer.values import dataclass

_COREFILES = (("kube-system", "coredns"), ("kube-system", "rke2-coredns-rke2-coredns"), ("openshift-dns", "dns-default"))
_SERVICES = (
    ("kube-system", "kube-dns"),
    ("kube-system", "coredns"),
    ("kube-system", "rke2-coredns-rke2-coredns"),
    ("openshift-dns", "dns-default"),
)
_NODE_LOCAL = ("kube-system", "node-local-dns")
_CUSTOM = ("kube-system", "coredns-custom")
_DEFAULT_DOMAIN = "cluster.local"
# kubeadm's, of Kubernetes 1.36 (cmd/kubeadm/app/phases/addons/dns/manifests.go).
_USUAL = """.:53 {
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }
    forward . /etc/resolv.conf
    cache 30
    loadbalance
}
"""
_ASSUMED = "the Corefile is not in the snapshot, the one that kubeadm writes is assumed"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLocal:
    """NodeLocal DNSCache: the addresses it takes questions at on every node, as its ConfigMap or a resolv.conf names them."""

    addresses: tuple[Address, ...]
    source: str


class ClusterDns:
    """What answers names in a cluster. *node_text* returns the text of a node's resolv.conf, None when it was not recorded."""

    def __init__(self, objects: Objects, node_text: Callable[[str], str | None]) -> None:
        self._objects = objects
        self._node_text = node_text

    # -- the server ---------------------------------------------------------------------------------------------------------------

    @cached_property
    def config_map(self) -> ConfigMap | None:
        """Return the ConfigMap with the Corefile, or None."""
        found = (self._objects.config_map(*key) for key in _COREFILES)
        return next((c for c in found if c is not None and "Corefile" in c.texts), None)

    @property
    def assumption(self) -> str:
        """Return what had to be assumed about the server, empty when the snapshot says it."""
        return "" if self.config_map is not None else _ASSUMED

    @cached_property
    def corefile(self) -> Corefile:
        """Return the Corefile. :raises ParseError: CoreDNS would refuse it."""
        found = self.config_map
        if found is None:
            return parse_corefile(_USUAL)
        custom = self._objects.config_map(*_CUSTOM)
        files = {**found.texts, **(custom.texts if custom else {})}
        return parse_corefile(found.texts["Corefile"], file=f"ConfigMap {found.namespace}/{found.name}", files=files)

    @cached_property
    def server(self) -> DnsServer:
        """Return CoreDNS. :raises ParseError: it would refuse its Corefile."""
        return DnsServer(self.corefile, self._objects, imports=self._imports, local_addresses=self._local_addresses)

    @cached_property
    def _imports(self) -> Imports | None:
        """The ServiceImports; None where a snapshot has none, which may only mean that they were not recorded."""
        found = [ServiceImport.from_dict(raw.value, origin) for raw, origin in self._objects.others("ServiceImport")]
        return Imports.of(found, self._objects.slices) if found else None

    @cached_property
    def _local_addresses(self) -> tuple[Address, ...]:
        """The address of the pod that answers: any endpoint of the DNS Service will do, they serve the same zone."""
        if self.service is None:
            return ()
        return ready_addresses(self._objects.slices_of(*self.service.key))[:1]

    @cached_property
    def service(self) -> Service | None:
        """Return the Service that pods ask, or None."""
        named = next((s for key in _SERVICES if (s := self._objects.service(*key)) is not None), None)
        return named or next((s for s in self._objects.services if s.labels.get("k8s-app") == "kube-dns" and s.cluster_ips), None)

    @cached_property
    def domain(self) -> str:
        """Return the cluster's domain without a final dot: the first zone of the kubernetes plugin."""
        return (self.server.primary_zone or f"{_DEFAULT_DOMAIN}.").removesuffix(".")

    @cached_property
    def node_local(self) -> NodeLocal | None:
        """Return NodeLocal DNSCache, None when nothing shows it."""
        config = self._objects.config_map(*_NODE_LOCAL)
        if config is None:
            return None
        try:
            blocks = parse_corefile(config.texts.get("Corefile", ""), file=f"ConfigMap {'/'.join(_NODE_LOCAL)}").blocks
        except ParseError:
            return NodeLocal(addresses=(), source=f"ConfigMap {'/'.join(_NODE_LOCAL)}")
        bound = [a for b in blocks for line in b.all_of("bind") for a in ResolvConf(servers=line.args).addresses() if not a.is_loopback]
        return NodeLocal(addresses=tuple(dict.fromkeys(bound)), source=f"ConfigMap {'/'.join(_NODE_LOCAL)}")

    def serves(self, server: Address) -> bool:
        """Return whether questions to *server* are answered by the cluster's DNS: its Service, a pod of it, or NodeLocal DNSCache."""
        if self.node_local is not None and server in self.node_local.addresses:
            return True
        if self.service is None:
            return False
        if server in self.service.cluster_ips:
            return True
        behind = self._objects.endpoints_with_address(server)
        return any((s.namespace, s.service) == self.service.key for s, _ in behind)

    def ask(self, question: Question, *, server: Address, client: Address | None = None) -> Answer:
        """Return what *server* answers to *client*; unknown for a server that is not the cluster's own."""
        if self.serves(server):
            return self.server.ask(question, client)
        return unknown("", f"{server} is not the cluster's DNS: what it answers is not in the snapshot", outside=question.name)

    # -- who asks -----------------------------------------------------------------------------------------------------------------

    def pod_conf(self, pod: Pod) -> PodResolvConf:
        """Return the resolv.conf of *pod*'s containers."""
        return pod_resolv_conf(pod, self.kubelet, self.node_conf(pod.node_name or ""))

    @cached_property
    def kubelet(self) -> KubeletSettings:
        """Return what kubelets were told, as far as the cluster's DNS shows it."""
        addresses = self.service.cluster_ips if self.service is not None else ()
        return KubeletSettings(cluster_dns=addresses, cluster_domain=self.domain)

    def node_conf(self, node: str) -> ResolvConf | None:
        """Return a node's own resolv.conf, None when it was not recorded."""
        text = self._node_text(node)
        return None if text is None else parse_resolv_conf(text)

"""The cluster's DNS of a sketch: CoreDNS as kubeadm deploys it, added where the manifests bring none.

Source: cmd/kubeadm/app/phases/addons/dns/manifests.go of Kubernetes 1.36.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from tracer.sketch.manifest import Manifest

NAMESPACE = "kube-system"
SERVICE, DEPLOYMENT, CONFIG = "kube-dns", "coredns", "coredns"
_LABELS = {"k8s-app": "kube-dns"}
_IMAGE = "registry.k8s.io/coredns/coredns"
_COREFILE = """.:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30 {
       disable success cluster.local
       disable denial cluster.local
    }
    loop
    reload
    loadbalance
}
"""
_PORTS = (("dns", "UDP", 53), ("dns-tcp", "TCP", 53), ("metrics", "TCP", 9153))


def dns_manifests(given: Collection[tuple[str, str, str]], *, is_dual: bool) -> Iterator[Manifest]:
    """Yield what of the cluster's DNS is not among the *given* (kind, namespace, name); nothing where its Service is."""
    if ("Service", NAMESPACE, SERVICE) in given:
        return
    family = {"ipFamilyPolicy": "PreferDualStack"} if is_dual else {}
    ports = [{"name": name, "protocol": protocol, "port": port, "targetPort": port} for name, protocol, port in _PORTS]
    yield _object("v1", "Service", SERVICE, {"selector": dict(_LABELS), "ports": ports, **family})
    if ("Deployment", NAMESPACE, DEPLOYMENT) not in given:
        declared = [{"name": name, "protocol": protocol, "containerPort": port} for name, protocol, port in _PORTS]
        container = {"name": "coredns", "image": _IMAGE, "ports": declared}
        template = {"metadata": {"labels": dict(_LABELS)}, "spec": {"containers": [container], "dnsPolicy": "Default"}}
        selector = {"matchLabels": dict(_LABELS)}
        yield _object("apps/v1", "Deployment", DEPLOYMENT, {"replicas": 2, "selector": selector, "template": template})
    if ("ConfigMap", NAMESPACE, CONFIG) not in given:
        value = _object("v1", "ConfigMap", CONFIG, {}).value
        yield Manifest(kind="ConfigMap", value={**value, "data": {"Corefile": _COREFILE}})


def _object(version: str, kind: str, name: str, spec: Mapping[str, object]) -> Manifest:
    metadata = {"name": name, "namespace": NAMESPACE, "labels": dict(_LABELS)}
    return Manifest(kind=kind, value={"apiVersion": version, "kind": kind, "metadata": metadata, "spec": dict(spec)})

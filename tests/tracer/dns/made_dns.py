"""A small cluster to look names up in, changed by each test."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tracer.dns.cluster_dns import ClusterDns
from tracer.dns.message import Answer, Question
from tracer.snapshot import Snapshot

COREFILE = """.:53 {
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods verified
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }
    forward . /etc/resolv.conf
    cache 30
    loadbalance
}
"""


def metadata(namespace: str, name: str, **more: Any) -> dict[str, Any]:
    return {"namespace": namespace, "name": name} | more


def service(namespace: str, name: str, ip: str | None = "10.96.0.7", **spec: Any) -> dict[str, Any]:
    addresses = {"clusterIP": ip, "clusterIPs": [ip]} if ip else {}
    body = {"type": "ClusterIP", "ports": [{"name": "http", "protocol": "TCP", "port": 80}]} | addresses | spec
    return {"kind": "Service", "metadata": metadata(namespace, name), "spec": body}


def endpoints(namespace: str, name: str, *ips: str, ready: bool = True, hostname: str | None = None) -> dict[str, Any]:
    entries = [{"addresses": [ip], "conditions": {"ready": ready}} | ({"hostname": hostname} if hostname else {}) for ip in ips]
    return {
        "kind": "EndpointSlice",
        "metadata": metadata(namespace, f"{name}-x1", labels={"kubernetes.io/service-name": name}),
        "addressType": "IPv4",
        "endpoints": entries,
        "ports": [{"name": "http", "protocol": "TCP", "port": 8080}],
    }


def pod(namespace: str, name: str, ip: str, **spec: Any) -> dict[str, Any]:
    status = {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}
    return {"kind": "Pod", "metadata": metadata(namespace, name), "spec": {"nodeName": "n1"} | spec, "status": status}


def namespaces(*names: str) -> list[dict[str, Any]]:
    return [{"kind": "Namespace", "metadata": {"name": name}} for name in names]


def corefile(text: str) -> dict[str, Any]:
    return {"kind": "ConfigMap", "metadata": metadata("kube-system", "coredns"), "data": {"Corefile": text}}


USUAL: tuple[dict[str, Any], ...] = (
    *namespaces("default", "shop", "kube-system"),
    service("kube-system", "kube-dns", "10.96.0.10"),
    service("shop", "web"),
    pod("shop", "client", "10.244.0.5"),
)


def made(*objects: dict[str, Any], core: str = COREFILE, usual: Iterable[dict[str, Any]] = USUAL) -> ClusterDns:
    """Return the DNS of a cluster with the usual objects and *objects*."""
    items = [*usual, *objects, corefile(core)]
    snapshot = Snapshot.from_files({"cluster.json": json.dumps({"kind": "List", "items": items}).encode()})
    return ClusterDns(snapshot.objects, lambda node: None)


def asked(dns: ClusterDns, name: str, rdtype: str = "A") -> Answer:
    """Return the server's answer."""
    return dns.server.ask(Question(name=name, rdtype=rdtype))

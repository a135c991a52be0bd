"""Plants three faults of twelve kinds into what ``kubectl get -o json`` printed, for a trial: who looks for them does not know them.

``python scripts/plant_faults.py demo/shop-iptables OUT --seed 7`` writes OUT/*.json (objects only, as a cluster's user has them) and
OUT.answers.json, which says what was planted where. Without --seed one is drawn, and stands in the answers. Objects follow from each other
as in a cluster: a Service whose selector finds nobody has an EndpointSlice without endpoints.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

Json = dict[str, Any]
FAULTS = 3
_KINDS = ("services", "endpointslices", "pods", "nodes", "networkpolicies", "namespaces", "configmaps", "ingresses")


class Cluster:
    """The objects of a cluster, to be changed."""

    def __init__(self, folder: Path) -> None:
        self.objects: dict[str, Json] = {
            kind: json.loads(path.read_text()) for kind in _KINDS if (path := folder / f"{kind}.json").exists()
        }

    def items(self, kind: str) -> list[Json]:
        """Return the objects of *kind*, which may be changed."""
        found: list[Json] = self.objects.setdefault(kind, {"apiVersion": "v1", "kind": "List", "items": []})["items"]
        return found

    def slices(self, service: Json) -> list[Json]:
        """Return the EndpointSlices of *service*."""
        named = "kubernetes.io/service-name"
        return [s for s in self.items("endpointslices") if _key(s, s["metadata"].get("labels", {}).get(named, "")) == _key(service)]

    def let_only_one_stay(self, service: Json) -> None:
        """Keep the first endpoint of *service*; the other pods are gone."""
        for found in self.slices(service):
            kept, gone = (found.get("endpoints") or [])[:1], (found.get("endpoints") or [])[1:]
            found["endpoints"] = kept
            self.remove_pods({address for endpoint in gone for address in endpoint["addresses"]})

    def remove_pods(self, addresses: set[str]) -> None:
        """Remove the pods that have one of *addresses*."""
        pods = self.items("pods")
        pods[:] = [pod for pod in pods if not addresses & _addresses(pod)]

    def services(self, *types: str) -> list[Json]:
        """Return the Services of *types* that have ready endpoints, but the cluster's own."""
        return [
            s
            for s in self.items("services")
            if s["spec"].get("type", "ClusterIP") in types
            and s["spec"].get("clusterIP") != "None"
            and s["metadata"]["namespace"] not in ("kube-system",)
            and s["metadata"]["name"] != "kubernetes"
            and s["spec"].get("selector")
            and any(e.get("conditions", {}).get("ready", True) for found in self.slices(s) for e in found.get("endpoints") or ())
        ]

    def write(self, folder: Path) -> None:
        """Write each kind's list into *folder*."""
        folder.mkdir(parents=True)
        for kind, value in self.objects.items():
            (folder / f"{kind}.json").write_text(json.dumps(value, indent=1))


def _key(value: Json, name: str | None = None) -> str:
    return f"{value['metadata'].get('namespace', '')}/{value['metadata']['name'] if name is None else name}"


def _addresses(pod: Json) -> set[str]:
    status = pod.get("status", {})
    return {status.get("podIP", ""), *(one.get("ip", "") for one in status.get("podIPs") or ())} - {""}


def _endpoints(cluster: Cluster, service: Json) -> Iterator[Json]:
    for found in cluster.slices(service):
        yield from found.get("endpoints") or ()


def _selects_nobody(cluster: Cluster, service: Json) -> str:
    service["spec"]["selector"] = {"app": f"{service['metadata']['name']}-v2"}
    for found in cluster.slices(service):
        found["endpoints"] = []
    return "its selector finds no pod"


def _none_ready(cluster: Cluster, service: Json) -> str:
    for endpoint in _endpoints(cluster, service):
        endpoint["conditions"] = {"ready": False, "serving": False, "terminating": False}
        for pod in cluster.items("pods"):
            if set(endpoint["addresses"]) & _addresses(pod):
                for condition in pod["status"].get("conditions") or ():
                    if condition["type"] in ("Ready", "ContainersReady"):
                        condition["status"] = "False"
    return "none of its pods is ready"


def _port_name(cluster: Cluster, service: Json) -> str:
    service["spec"]["ports"][0]["targetPort"] = "htpp"
    wanted = service["spec"]["ports"][0].get("name", "")
    for found in cluster.slices(service):
        found["ports"] = [p for p in found.get("ports") or () if p.get("name", "") != wanted]
    return "its targetPort is a name that no container has"


def _policy(cluster: Cluster, service: Json) -> str:
    metadata = {"name": "lock-down", "namespace": service["metadata"]["namespace"]}
    spec = {"podSelector": {"matchLabels": service["spec"]["selector"]}, "policyTypes": ["Ingress"], "ingress": []}
    cluster.items("networkpolicies").append(
        {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}
    )
    return "a NetworkPolicy lets nobody in to its pods"


def _internal_local(cluster: Cluster, service: Json) -> str:
    service["spec"]["internalTrafficPolicy"] = "Local"
    cluster.let_only_one_stay(service)
    return "internalTrafficPolicy Local, and an endpoint on one node only"


def _external_local(cluster: Cluster, service: Json) -> str:
    service["spec"]["externalTrafficPolicy"] = "Local"
    cluster.let_only_one_stay(service)
    return "externalTrafficPolicy Local, and an endpoint on one node only"


def _ranges(cluster: Cluster, service: Json) -> str:
    service["spec"]["loadBalancerSourceRanges"] = ["192.0.2.0/28"]
    return "loadBalancerSourceRanges leaves out nearly everybody"


def _pending(cluster: Cluster, service: Json) -> str:
    service["status"] = {"loadBalancer": {}}
    return "its load balancer never got an address"


def _no_node_ports(cluster: Cluster, service: Json) -> str:
    service["spec"]["allocateLoadBalancerNodePorts"] = False
    for port in service["spec"]["ports"]:
        port.pop("nodePort", None)
    return "it has no node port"


def _other_proxy(cluster: Cluster, service: Json) -> str:
    service["metadata"].setdefault("labels", {})["service.kubernetes.io/service-proxy-name"] = "mesh"
    return "a label gives it to another proxy than kube-proxy"


def _gone_pod(cluster: Cluster, service: Json) -> str:
    endpoint = next(_endpoints(cluster, service))
    gone = endpoint["addresses"][0]
    cluster.remove_pods({gone})
    return f"an endpoint, {gone}, is of a pod that is no more"


def _pinned(cluster: Cluster, service: Json) -> str:
    service["spec"]["sessionAffinity"] = "ClientIP"
    service["spec"]["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": 10800}}
    return "session affinity pins a client to one pod"


_ANY, _OUTSIDE, _BALANCED = ("ClusterIP", "NodePort", "LoadBalancer"), ("NodePort", "LoadBalancer"), ("LoadBalancer",)
KINDS: dict[str, tuple[tuple[str, ...], Callable[[Cluster, Json], str]]] = {
    "selector": (_ANY, _selects_nobody),
    "readiness": (_ANY, _none_ready),
    "port-name": (_ANY, _port_name),
    "policy": (_ANY, _policy),
    "internal-local": (_ANY, _internal_local),
    "external-local": (_OUTSIDE, _external_local),
    "source-ranges": (_BALANCED, _ranges),
    "pending": (_BALANCED, _pending),
    "no-node-ports": (_BALANCED, _no_node_ports),
    "other-proxy": (_ANY, _other_proxy),
    "gone-pod": (_ANY, _gone_pod),
    "affinity": (_ANY, _pinned),
}


def plant(cluster: Cluster, random: Random, count: int = FAULTS) -> list[Json]:
    """Change *cluster* by *count* faults of different kinds on different Services; return what was done."""
    planted: list[Json] = []
    for kind in random.sample(sorted(KINDS), len(KINDS)):
        types, change = KINDS[kind]
        taken = {one["service"] for one in planted}
        free = [service for service in cluster.services(*types) if _key(service) not in taken]
        random.shuffle(free)
        for service in free if len(planted) < count else ():
            before = json.dumps(cluster.objects, sort_keys=True)
            what = change(cluster, service)
            if json.dumps(cluster.objects, sort_keys=True) != before:  # it may have been so already
                planted.append({"kind": kind, "service": _key(service), "what": what})
                break
    return planted


def main() -> int:
    """Read the arguments, plant, write; return 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    if not (options.source / "services.json").exists():
        parser.error(f"{options.source} holds no services.json")
    if options.target.exists():
        parser.error(f"{options.target} is there already")
    seed = secrets.randbelow(2**31) if options.seed is None else options.seed
    cluster = Cluster(options.source)
    planted = plant(cluster, Random(seed))
    cluster.write(options.target)
    answers = options.target.with_name(f"{options.target.name}.answers.json")
    answers.write_text(json.dumps({"seed": seed, "planted": planted}, indent=1))
    print(f"{len(planted)} faults in {options.target}; what they are stands in {answers}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

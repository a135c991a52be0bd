"""kube-proxy's pods, for recordings that hold none.

Clusters whose kube-proxy runs beside the kubelet (and all the demonstration recordings) have no such pods; rules are read by running a
program in one. So the served cluster gets one pod a node, labelled and placed as kubeadm does it, unless the recording has any of its own.
They are the only objects that the recording does not contain.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

CONTAINER = "kube-proxy"
LABELS = {"k8s-app": "kube-proxy"}
_NAMESPACE = "kube-system"


def is_proxy_pod(pod: Mapping[str, object]) -> bool:
    """Return whether *pod* is one of kube-proxy's, by kubeadm's label, in kube-system."""
    metadata = pod.get("metadata")
    if not isinstance(metadata, Mapping) or metadata.get("namespace") != _NAMESPACE:
        return False
    labels = metadata.get("labels")
    return isinstance(labels, Mapping) and labels.get("k8s-app") == "kube-proxy"


def missing_proxy_pods(pods: Iterable[Mapping[str, object]], nodes: Iterable[Mapping[str, object]]) -> Iterator[Mapping[str, object]]:
    """Yield a kube-proxy pod for every node of *nodes*, or nothing if *pods* has any."""
    if any(is_proxy_pod(pod) for pod in pods):
        return
    for node in nodes:
        yield _proxy_pod(node)


def _proxy_pod(node: Mapping[str, object]) -> Mapping[str, object]:
    metadata, status = node.get("metadata") or {}, node.get("status") or {}
    name = metadata["name"]
    addresses = [a["address"] for a in status.get("addresses") or () if a.get("type") == "InternalIP"]
    created = metadata.get("creationTimestamp")
    ready = [{"type": kind, "status": "True", "lastTransitionTime": created} for kind in ("PodScheduled", "Ready")]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"kube-proxy-{name}",
            "namespace": _NAMESPACE,
            "uid": f"kube-proxy-{metadata.get('uid')}",
            "resourceVersion": metadata.get("resourceVersion", "1"),
            "creationTimestamp": created,
            "labels": LABELS,
        },
        "spec": {
            "nodeName": name,
            "hostNetwork": True,
            "containers": [{"name": CONTAINER, "image": "registry.k8s.io/kube-proxy"}],
            "priorityClassName": "system-node-critical",
            "serviceAccountName": "kube-proxy",
            "tolerations": [{"operator": "Exists"}],
        },
        "status": {
            "phase": "Running",
            "conditions": ready,
            "hostIP": addresses[0] if addresses else None,
            "podIP": addresses[0] if addresses else None,
            "podIPs": [{"ip": address} for address in addresses],
            "containerStatuses": [{"name": CONTAINER, "ready": True, "started": True, "restartCount": 0, "state": {"running": {}}}],
        },
    }

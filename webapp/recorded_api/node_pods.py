"""The pods through which nodes are read, for recordings that hold none.

Clusters whose kube-proxy runs beside the kubelet (and all the demonstration recordings) have no such pods; rules are read by running a
program in one. So the served cluster gets one kube-proxy pod a node, labelled and placed as kubeadm does it, unless the recording has any
of its own; and, where that is asked for, one of our node readers. They are the only objects that the recording does not contain.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from tracer.values import dataclass
from webapp.recorded_api.fields import key_of, mapping, mappings


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePods:
    """A DaemonSet's pods: their *namespace*, the *label* they are known by, and their *container* with its *image*."""

    name: str
    namespace: str
    label: tuple[str, str]
    container: str
    image: str

    def is_one(self, pod: Mapping[str, object]) -> bool:
        """Return whether *pod* is one of these."""
        namespace, _ = key_of(pod)
        return namespace == self.namespace and mapping(pod, "metadata", "labels").get(self.label[0]) == self.label[1]

    def missing(self, pods: Iterable[Mapping[str, object]], nodes: Iterable[Mapping[str, object]]) -> Iterator[Mapping[str, object]]:
        """Yield such a pod for every node of *nodes*, or nothing if *pods* has any."""
        if not any(self.is_one(pod) for pod in pods):
            for node in nodes:
                yield self._on(node)

    def _on(self, node: Mapping[str, object]) -> Mapping[str, object]:
        metadata, (_, name) = mapping(node, "metadata"), key_of(node)
        addresses = [str(a["address"]) for a in mappings(node, "status", "addresses") if a.get("type") == "InternalIP" and a.get("address")]
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"{self.name}-{name}",
                "namespace": self.namespace,
                "uid": f"{self.name}-{metadata.get('uid')}",
                "resourceVersion": metadata.get("resourceVersion", "1"),
                "creationTimestamp": metadata.get("creationTimestamp"),
                "labels": {self.label[0]: self.label[1]},
            },
            "spec": {
                "nodeName": name,
                "hostNetwork": True,
                "containers": [{"name": self.container, "image": self.image}],
                "tolerations": [{"operator": "Exists"}],
            },
            "status": _running(self.container, addresses, metadata.get("creationTimestamp")),
        }


KUBE_PROXY = NodePods(
    name="kube-proxy",
    namespace="kube-system",
    label=("k8s-app", "kube-proxy"),
    container="kube-proxy",
    image="registry.k8s.io/kube-proxy",
)
NODE_READER = NodePods(
    name="hopline-node-reader",
    namespace="hopline",
    label=("app.kubernetes.io/name", "hopline-node-reader"),
    container="node-reader",
    image="hopline-node-reader",
)
"""As deploy/node-reader/daemonset.yaml makes them."""
DEBUGGER = "debugger"
"""The container of the pods that ``kubectl debug node`` makes, and ``manage.py collect``."""


def _running(container: str, addresses: list[str], since: object) -> Mapping[str, object]:
    """Return the status of a pod that is ready."""
    return {
        "phase": "Running",
        "conditions": [{"type": kind, "status": "True", "lastTransitionTime": since} for kind in ("PodScheduled", "Ready")],
        "hostIP": addresses[0] if addresses else None,
        "podIP": addresses[0] if addresses else None,
        "podIPs": [{"ip": address} for address in addresses],
        "containerStatuses": [{"name": container, "ready": True, "started": True, "restartCount": 0, "state": {"running": {}}}],
    }

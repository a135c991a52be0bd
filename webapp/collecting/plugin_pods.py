"""The pods of network plugins that a node can be read in where it has no kube-proxy pod: those that share the node's network.

collect.sh has the same table; a test compares them. Source: the manifests and charts of each project, as of 2025.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tracer.values import dataclass
from webapp.reading.node_reader import ReadFrom
from webapp.reading.places import node_of


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginPods:
    """One plugin's pods: *label* is what they have, *containers* which of theirs to run programs in, the first that is there."""

    label: tuple[str, str]
    containers: tuple[str, ...]


PLUGIN_PODS = (
    PluginPods(label=("app", "ovnkube-node"), containers=("ovnkube-controller", "ovnkube-node", "ovn-controller")),
    PluginPods(label=("app", "sdn"), containers=("sdn",)),
    PluginPods(label=("k8s-app", "cilium"), containers=("cilium-agent",)),
    PluginPods(label=("k8s-app", "calico-node"), containers=("calico-node",)),
    PluginPods(label=("k8s-app", "canal"), containers=("calico-node", "kube-flannel")),
    PluginPods(label=("k8s-app", "kube-router"), containers=("kube-router",)),
    PluginPods(label=("k8s-app", "kindnet"), containers=("kindnet-cni",)),
    PluginPods(label=("app", "kindnet"), containers=("kindnet-cni",)),
    PluginPods(label=("app", "flannel"), containers=("kube-flannel",)),
    PluginPods(label=("app", "antrea"), containers=("antrea-agent",)),
    PluginPods(label=("k8s-app", "aws-node"), containers=("aws-node",)),
)
"""In the order in which they are tried."""


def plugin_places(pods: Iterable[Mapping[str, Any]]) -> dict[str, ReadFrom]:
    """Return node → where it can be read in a network plugin's pod, by the first row that fits."""
    found: dict[str, tuple[int, ReadFrom]] = {}
    for pod in pods:
        metadata, spec, status = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
        node = node_of(pod)
        if node is None or not spec.get("hostNetwork") or status.get("phase") != "Running" or metadata.get("deletionTimestamp"):
            continue
        names = [container.get("name") for container in spec.get("containers") or ()]
        for rank, row in enumerate(PLUGIN_PODS):
            container = next((name for name in row.containers if name in names), None)
            if (metadata.get("labels") or {}).get(row.label[0]) == row.label[1] and container is not None:
                place = ReadFrom(namespace=metadata.get("namespace", ""), pod=metadata["name"], container=container)
                if node not in found or rank < found[node][0]:
                    found[node] = (rank, place)
    return {node: place for node, (_, place) in found.items()}

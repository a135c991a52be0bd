"""What the network plugin of a node whose own files were not recorded is taken to do, and what of the snapshot speaks for it."""

from __future__ import annotations

from collections.abc import Mapping

from tracer.assumptions import BRIDGE, CNI, OVERLAY, ROUTED, VPC
from tracer.frontends.kinds import IN_KERNEL_MAPS
from tracer.kube.node import Node
from tracer.kube.objects import Objects
from tracer.packet import Address

_PLUGINS = (
    ("kindnet", BRIDGE),
    ("kube-flannel", BRIDGE),
    ("weave-net", BRIDGE),
    ("canal", ROUTED),
    ("aws-node", VPC),
    ("azure-cns", VPC),
)
"""How the pods of a plugin begin their names on a node, and what the node then shows its own pods. Those of ``IN_KERNEL_MAPS`` have labels.

Source: the plugins' own manifests; kindnet gives each pod's device the first address, flannel its bridge; Calico's devices have none.
"""


def plugin_of(objects: Objects, node: Node, settings: Mapping[str, str]) -> tuple[str, str]:
    """Return the setting of the assumption ``cni`` that holds for *node*, and what speaks for it; a question's own comes first."""
    if CNI in settings:
        return settings[CNI], "the question sets it"
    pods = [pod for pod in objects.host_network_pods if pod.node_name == node.name]
    agent = next((pod.name for pod in pods if any(kind.is_agent(pod.labels) for kind in IN_KERNEL_MAPS)), None)
    if agent is not None:
        return ROUTED, f"pod {agent} runs there"
    for begins, setting in _PLUGINS:
        found = next((pod.name for pod in pods if pod.name.startswith(begins)), None)
        if found is not None:
            return OVERLAY if setting == BRIDGE and node.has_overlay else setting, f"pod {found} runs there"
    if node.has_overlay:
        return OVERLAY, "an annotation of the Node speaks of a tunnel"
    return (BRIDGE, "the Node has a pod network of its own") if node.pod_cidrs else (VPC, "the Node has no pod network of its own")


def towards_pods(node: Node, setting: str) -> dict[int, Address]:
    """Return, by version, the address that *node* shows to its own pods under a setting of ``cni``."""
    if setting in (BRIDGE, OVERLAY):
        return {network.version: network[1] for network in reversed(node.pod_cidrs) if network.num_addresses > 1}
    own = list(reversed(node.internal_ips))
    return {address.version: address for address in own if sum(a.version == address.version for a in own) == 1}


def through_tunnel(node: Node, setting: str) -> dict[int, Address]:
    """Return, by version, the address that *node* shows to pods of other nodes that are behind a tunnel.

    Calico writes it on the Node; flannel's device has the first address of the node's network, which is the network's own.
    Source: flannel's pkg/backend/vxlan/vxlan_network.go.
    """
    assumed: dict[int, Address] = {network.version: network[0] for network in reversed(node.pod_cidrs)} if setting == OVERLAY else {}
    return assumed | {address.version: address for address in reversed(node.tunnel_ips)}

"""Whether a node reaches the pods of other nodes through a tunnel: then the network around the nodes need not know pod addresses."""

from __future__ import annotations

from tracer.kube.fields import Network
from tracer.topology.cluster import Cluster


def overlay_mark(cluster: Cluster, node: str) -> str:
    """Return what shows that *node* reaches pods of other nodes through a tunnel, as a clause; empty where nothing does."""
    listed = cluster.node(node)
    if listed is not None and listed.has_overlay:
        return f"the Node object of {node} says that a tunnel carries pod traffic between the nodes"
    routing = cluster.stack(node).routing
    tunnels = {link.name for link in routing.links if link.is_tunnel}
    for route in (route for version in (4, 6) for route in routing.routes(version) if tunnels):
        if route.device in tunnels and route.destination.prefixlen and _has_pods(cluster, route.destination):
            return f"node {node} has a route to pods by the tunnel {route.device}"
    return ""


def _has_pods(cluster: Cluster, network: Network) -> bool:
    return any(ip in network for pod in cluster.objects.pods for ip in pod.owned_ips)

"""The nodes of a sketch: how many, in which zones, with which labels and networks."""

from __future__ import annotations

from collections.abc import Mapping

from tracer.kube.node import ZONE_LABEL
from tracer.sketch.plan import Numbers, node_address, pod_network, pod_numbers
from tracer.values import dataclass

MARK = "hopline.dev/sketched"
"""The annotation of everything in a sketch; its value says of what it was made."""
MOST_PODS = 110
"""How many pods run on one node. Source: the kubelet's own maxPods."""
_ZONES = ("a", "b")


@dataclass(frozen=True, slots=True, kw_only=True)
class SketchedNode:
    """The node *number*, from 1, in a cluster with these IP *versions*."""

    number: int
    versions: tuple[int, ...]

    @property
    def name(self) -> str:
        """Return its name."""
        return f"sketch-node-{self.number}"

    @property
    def zone(self) -> str:
        """Return its zone: two of them take turns, so that of three nodes two are neighbours and one is far."""
        return f"sketch-zone-{_ZONES[(self.number - 1) % len(_ZONES)]}"

    @property
    def labels(self) -> Mapping[str, str]:
        """Return the labels that a kubelet and a cloud would give it."""
        return {
            "kubernetes.io/arch": "amd64",
            "kubernetes.io/hostname": self.name,
            "kubernetes.io/os": "linux",
            "topology.kubernetes.io/region": "sketch-region",
            ZONE_LABEL: self.zone,
        }

    @property
    def addresses(self) -> tuple[str, ...]:
        """Return its addresses, one of each family."""
        return tuple(str(node_address(self.number, version)) for version in self.versions)

    def to_object(self) -> dict[str, object]:
        """Return the Node."""
        networks = [str(pod_network(self.number, version)) for version in self.versions]
        addresses = [{"type": "InternalIP", "address": address} for address in self.addresses]
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": self.name, "labels": dict(self.labels), "annotations": {MARK: "no manifest: a node of the sketch"}},
            "spec": {"podCIDR": networks[0], "podCIDRs": networks},
            "status": {
                "addresses": [*addresses, {"type": "Hostname", "address": self.name}],
                "conditions": [{"type": "Ready", "status": "True", "reason": "Sketched"}],
                "nodeInfo": {"operatingSystem": "linux", "architecture": "amd64"},
            },
        }


class Room:
    """What a node has left for pods: numbers in its network, places, and ports of its own."""

    def __init__(self, node: SketchedNode) -> None:
        self.node = node
        self._labels = node.labels.items()
        self._left = MOST_PODS
        self._numbers: Numbers = pod_numbers()
        self._ports: set[tuple[str, int]] = set()

    def has(self, labels: Mapping[str, str]) -> bool:
        """Return whether the node has all of *labels*."""
        return labels.items() <= self._labels

    def why_not(self, ports: frozenset[tuple[str, int]]) -> str:
        """Return why no pod that needs these ports of the node fits any more, "" where one does."""
        if not self._left:
            return f"each node that it may run on has {MOST_PODS} pods"
        if not self._ports.isdisjoint(ports):
            return f"port {min(self._ports & ports)[1]} of each node that it may run on is taken by another pod"
        return ""

    def take(self, pod: str, ports: frozenset[tuple[str, int]]) -> int:
        """Give *pod* a place, and return its number in the node's network."""
        self._left -= 1
        self._ports |= ports
        return self._numbers.take(pod)

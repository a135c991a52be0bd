"""Node: a machine of the cluster, its addresses and what it lets be scheduled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime

from tracer.kube.fields import Fields, Network, Origin
from tracer.packet import Address
from tracer.query import parse_address
from tracer.values import dataclass

EXCLUDE_LABEL = "node.kubernetes.io/exclude-from-external-load-balancers"
ZONE_LABEL = "topology.kubernetes.io/zone"
_FLANNEL_BACKEND = "flannel.alpha.coreos.com/backend-type"
_DIRECT_BACKENDS = ("host-gw", "alloc", "extension")
_CALICO_TUNNELS = (
    "projectcalico.org/IPv4IPIPTunnelAddr",
    "projectcalico.org/IPv4VXLANTunnelAddr",
    "projectcalico.org/IPv6VXLANTunnelAddr",
    "projectcalico.org/IPv4WireguardInterfaceAddr",
)
_OLD_ZONE_LABEL = "failure-domain.beta.kubernetes.io/zone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Taint:
    """A taint: *effect* is NoSchedule, PreferNoSchedule or NoExecute."""

    key: str
    value: str
    effect: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A Node. *ready* None: its Ready condition is absent or Unknown."""

    name: str
    internal_ips: tuple[Address, ...] = ()
    external_ips: tuple[Address, ...] = ()
    pod_cidrs: tuple[Network, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    ready: bool | None = None
    unschedulable: bool = False
    taints: tuple[Taint, ...] = ()
    provider_id: str | None = None
    kubelet_version: str | None = None
    kube_proxy_version: str | None = None
    kernel_version: str | None = None
    os_image: str | None = None
    operating_system: str | None = None
    created: datetime | None = None
    origin: Origin = field(default_factory=Origin, compare=False)

    @property
    def key(self) -> tuple[str, str]:
        """Return ("", name): a Node has no namespace."""
        return ("", self.name)

    @property
    def zone(self) -> str | None:
        """Return the node's zone by its label, or None."""
        return self.labels.get(ZONE_LABEL) or self.labels.get(_OLD_ZONE_LABEL) or None

    @property
    def exclude_from_external_load_balancers(self) -> bool:
        """Return whether the label is there that keeps load balancers away; its value does not matter."""
        return EXCLUDE_LABEL in self.labels

    @property
    def has_overlay(self) -> bool:
        """Return whether the network plugin says that it reaches the pods of other nodes through a tunnel.

        Source: flannel's pkg/subnet/kube/annotations.go; Calico's libcalico-go/lib/backend/k8s/conversion (annotations of the Node).
        """
        backend = self.annotations.get(_FLANNEL_BACKEND, "host-gw")
        return backend not in _DIRECT_BACKENDS or any(key in self.annotations for key in _CALICO_TUNNELS)

    @property
    def tunnel_ips(self) -> tuple[Address, ...]:
        """Return the addresses of the node's tunnels that the network plugin writes on it (Calico)."""
        texts = (self.annotations.get(name, "") for name in _CALICO_TUNNELS)
        return tuple(address for text in texts if (address := parse_address(text)) is not None)

    @property
    def ips(self) -> tuple[Address, ...]:
        """Return all addresses, internal ones first."""
        return self.internal_ips + self.external_ips

    @classmethod
    def from_dict(cls, value: object, origin: Origin | None = None) -> Node:
        """Return the Node an API object describes. :raises ParseError: a field has the wrong type."""
        top = Fields.of(value, "Node", origin)
        metadata, spec, status = top.nested("metadata"), top.nested("spec"), top.nested("status")
        machine = status.nested("nodeInfo")
        return cls(
            name=metadata.name(),
            internal_ips=_addresses(status, "InternalIP"),
            external_ips=_addresses(status, "ExternalIP"),
            pod_cidrs=_pod_cidrs(spec),
            labels=metadata.text_map("labels"),
            annotations=metadata.text_map("annotations"),
            ready=_ready(status),
            unschedulable=bool(spec.flag("unschedulable")),
            taints=tuple(map(_taint, spec.each("taints"))),
            provider_id=spec.text("providerID"),
            kubelet_version=machine.text("kubeletVersion") or None,
            kube_proxy_version=machine.text("kubeProxyVersion") or None,
            kernel_version=machine.text("kernelVersion") or None,
            os_image=machine.text("osImage") or None,
            operating_system=machine.text("operatingSystem") or None,
            created=metadata.time("creationTimestamp"),
            origin=origin or Origin(),
        )


def _taint(entry: Fields) -> Taint:
    return Taint(key=entry.text_or("key", ""), value=entry.text_or("value", ""), effect=entry.text_or("effect", ""))


def _addresses(status: Fields, kind: str) -> tuple[Address, ...]:
    """Return the node's addresses of one type. Some clouds list a host name as InternalIP: what is no address is left out."""
    texts = (a.text("address") or "" for a in status.each("addresses") if a.text("type") == kind)
    return tuple(ip for ip in map(parse_address, texts) if ip is not None)


def _pod_cidrs(spec: Fields) -> tuple[Network, ...]:
    if several := spec.networks("podCIDRs"):
        return several
    return (spec.network("podCIDR"),) if spec.text("podCIDR") else ()


def _ready(status: Fields) -> bool | None:
    said = next((c.text("status") for c in status.each("conditions") if c.text("type") == "Ready"), None)
    return {"True": True, "False": False}.get(said or "")

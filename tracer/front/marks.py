"""The marks of who balances for a Service: classes, and annotations that controllers write. Only what is certain by them is told.

Source: the controllers' own code, as docs/sources.md lists it. An annotation that users write may be left from another cloud, and the
``ipMode`` of the status only says whether nodes take the address themselves: neither tells how packets arrive.
"""

from __future__ import annotations

from tracer.assumptions import KEPT, NODE_PORT, POD
from tracer.kube.service import Service
from tracer.values import dataclass

_AWS = "service.k8s.aws/nlb"
_AWS_TARGETS = "service.beta.kubernetes.io/aws-load-balancer-nlb-target-type"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """How the balancer of a Service hands over (a setting of ``front``), and *what* on the Service says so.

    *is_announced*: nodes answer for its address on their link, or tell routers the way to them; no machine stands in front of them.
    """

    way: str
    what: str
    is_announced: bool = False


_CLASSES = {
    "networking.gke.io/l4-regional-external": KEPT,
    "networking.gke.io/l4-regional-external-legacy": KEPT,
    "networking.gke.io/l4-regional-internal-legacy": KEPT,
    "kube-vip.io/kube-vip-class": KEPT,
    "io.cilium/l2-announcer": KEPT,
    "io.cilium/bgp-control-plane": KEPT,
}
_WRITTEN = {
    "metallb.io/ip-allocated-from-pool": KEPT,
    "metallb.universe.tf/ip-allocated-from-pool": KEPT,
    "kube-vip.io/vipHost": KEPT,
}
_ANNOUNCED = (*_WRITTEN, "kube-vip.io/kube-vip-class")
"""The marks of those whose nodes' own stacks get every packet. NB: what Cilium's program makes of an echo request is up to its settings."""


def mark_of(service: Service) -> Mark | None:
    """Return what on *service* tells how its load balancer hands over, None where nothing does."""
    chosen = service.load_balancer_class or ""
    if chosen in _CLASSES:
        return Mark(way=_CLASSES[chosen], what=f"loadBalancerClass {chosen}", is_announced=chosen in _ANNOUNCED)
    targets = service.annotations.get(_AWS_TARGETS, "")
    if chosen == _AWS and targets in ("ip", "instance"):
        return Mark(way=POD if targets == "ip" else NODE_PORT, what=f"loadBalancerClass {chosen} with {targets} targets")
    if chosen:
        return None
    found = (key for key in _WRITTEN if key in service.annotations)
    return next((Mark(way=_WRITTEN[key], what=f"annotation {key}", is_announced=key in _ANNOUNCED) for key in found), None)

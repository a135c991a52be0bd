"""What kind of cluster the Nodes are of, and what gets at the rules of nodes that were not read there.

Told by what platforms write into their Nodes: labels, ``providerID``, the end of the kubelet's version. collect.sh has the same table; a
test compares them. What is advised was never tried on a cluster of each kind (docs/operations.md).
"""

from __future__ import annotations

import re

from tracer.patterns import pattern
from tracer.values import dataclass

PROGRAM = "COLLECT"
"""What stands for the program that is run, in what is advised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """One platform: the *sign* of a line in its ``nodes.json`` (extended, as grep has it too), and what is advised."""

    name: str
    sign: re.Pattern[str]
    advice: str


def _row(name: str, sign: re.Pattern[str], advice: str) -> Platform:
    return Platform(name=name, sign=sign, advice=advice)


_DEBUG = "COLLECT --readings debug makes a pod on each node, and removes it"
PLATFORMS = (
    _row("kind", pattern('"providerID": "kind://'), f"docker exec NODE iptables-save; or {_DEBUG}."),
    _row("minikube", pattern(r'"minikube\.k8s\.io/name"'), f"minikube ssh -n NODE sudo iptables-save; or {_DEBUG}."),
    _row(
        "EKS Auto Mode",
        pattern(r'"eks\.amazonaws\.com/compute-type": "auto"'),
        f"kube-proxy is a service of the system there, so no pod can be read in. {_DEBUG}.",
    ),
    _row("EKS", pattern('"kubeletVersion": "[^"]{0,60}-eks-'), f"{_DEBUG}; or with SSM: sudo iptables-save on the node."),
    _row("AKS", pattern(r'"kubernetes\.azure\.com/cluster"'), f"{_DEBUG}."),
    _row(
        "GKE Autopilot",
        pattern('"name": "gk3-'),
        "Nodes cannot be read there by anybody but Google: the objects are all that can be had (--readings none).",
    ),
    _row("GKE", pattern(r'"kubeletVersion": "[^"]{0,60}-gke\.'), f"{_DEBUG}; or on the node, with SSH: sudo iptables-save."),
    _row(
        "k3s",
        pattern(r'"kubeletVersion": "[^"]{0,60}\+k3s'),
        f"kube-proxy runs inside k3s itself, so no pod can be read in. {_DEBUG}; or on the node as root: iptables-save.",
    ),
    _row("RKE2", pattern(r'"kubeletVersion": "[^"]{0,60}\+rke2'), f"{_DEBUG}; or on the node as root: iptables-save."),
    _row(
        "OpenShift",
        pattern(r'"node\.openshift\.io/os_id"'),
        "COLLECT --readings debug --debug-namespace NAME does it, in a namespace that allows privileged pods, and removes its pods.",
    ),
    _row("Talos", pattern('"osImage": "Talos '), f"{_DEBUG} (with the programs of the image, as Talos has none)."),
    _row(
        "MicroK8s",
        pattern(r'"microk8s\.io/cluster"'),
        f"kube-proxy runs inside kubelite there. {_DEBUG}; or on the node as root: iptables-save.",
    ),
    _row("kubeadm", pattern(r'"kubeadm\.alpha\.kubernetes\.io/cri-socket"'), f"{_DEBUG}; or on the node as root: iptables-save."),
)
"""In the order in which they are looked for: what is built on another comes before it."""
OTHERWISE = f"{_DEBUG}; or on the node as root: iptables-save."


def platform_of(nodes: str) -> Platform | None:
    """Return the platform that the text of ``nodes.json`` shows; None: none that is known."""
    return next((one for one in PLATFORMS if one.sign.search(nodes)), None)

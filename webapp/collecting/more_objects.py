"""What collectors ask for beside the kinds that are followed: how other platforms set up their network, and kinds that a cluster may have.

A ConfigMap is asked for by its name, and only where what was read before shows a sign of the program it belongs to. Kinds are asked for
where the API server says that it serves them: one question for all of them. collect.sh has the same tables; a test compares them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from tracer.patterns import pattern
from tracer.values import dataclass
from webapp.cluster.kinds import FOLLOWED_KINDS, FollowedKind

SIGNS_IN = ("nodes.json", "namespaces.json", "pods.json")
"""The files in whose text signs are looked for, as the collectors write them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MoreMap:
    """One ConfigMap, and the pattern of a line that shows its program in one of ``SIGNS_IN`` (extended, as grep has it too)."""

    namespace: str
    name: str
    sign: re.Pattern[str]

    @property
    def kind(self) -> FollowedKind:
        """Return the list of the API that is this ConfigMap alone."""
        return FollowedKind(kind="ConfigMap", plural="configmaps", namespace=self.namespace, name=self.name)


def _map(namespace: str, name: str, sign: re.Pattern[str]) -> MoreMap:
    return MoreMap(namespace=namespace, name=name, sign=sign)


MORE_MAPS = (
    _map("kube-system", "kube-proxy-config", pattern('"kubeletVersion": "[^"]{0,60}-eks-')),
    _map("kube-system", "coredns-custom", pattern(r'"kubernetes\.azure\.com/cluster"|"kubeletVersion": "[^"]{0,60}\+k3s')),
    _map("kube-system", "rke2-coredns-rke2-coredns", pattern(r'"kubeletVersion": "[^"]{0,60}\+rke2')),
    _map("kube-system", "rke2-canal-config", pattern(r'"kubeletVersion": "[^"]{0,60}\+rke2')),
    _map("kube-system", "kube-dns", pattern(r'"kubeletVersion": "[^"]{0,60}-gke\.')),
    _map("openshift-dns", "dns-default", pattern('"name": "openshift-dns"')),
    _map("openshift-sdn", "sdn-config", pattern('"name": "openshift-sdn"')),
    _map("openshift-ovn-kubernetes", "ovnkube-config", pattern('"name": "openshift-ovn-kubernetes"')),
    _map("kube-system", "ip-masq-agent", pattern('"k8s-app": "ip-masq-agent"')),
    _map("kube-system", "azure-ip-masq-agent-config", pattern(r'"kubernetes\.azure\.com/cluster"')),
    _map("kube-system", "cilium-config", pattern('"k8s-app": "cilium"')),
    _map("kube-system", "antrea-config", pattern('"app": "antrea"')),
    _map("kube-system", "calico-config", pattern('"k8s-app": "(calico-node|canal)"')),
    _map("kube-flannel", "kube-flannel-cfg", pattern('"namespace": "kube-flannel"')),
    _map("kube-system", "kube-flannel-cfg", pattern('"app": "flannel"')),
    _map("ingress-nginx", "ingress-nginx-controller", pattern('"namespace": "ingress-nginx"')),
)
"""Those of ``tracer.kube.configmap`` that are not followed. Of kubeadm's own nothing is read, and most of it is arguments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MoreKind:
    """One kind that a cluster may serve, in the API *group*, and the file that it is written to."""

    plural: str
    group: str
    path: str


def _kinds(group: str, plurals: str, *, has_namesakes: bool = False) -> tuple[MoreKind, ...]:
    end = f".{group}.json" if has_namesakes else ".json"
    return tuple(MoreKind(plural=plural, group=group, path=f"{plural}{end}") for plural in plurals.split())


MORE_KINDS = (
    *_kinds("networking.k8s.io", "ingressclasses"),
    *_kinds("gateway.networking.k8s.io", "gatewayclasses gateways httproutes grpcroutes tlsroutes tcproutes udproutes referencegrants"),
    *_kinds("policy.networking.k8s.io", "adminnetworkpolicies baselineadminnetworkpolicies clusternetworkpolicies"),
    *_kinds("crd.projectcalico.org", "networkpolicies globalnetworkpolicies", has_namesakes=True),
    *_kinds("cilium.io", "ciliumnetworkpolicies ciliumclusterwidenetworkpolicies"),
    *_kinds("crd.antrea.io", "networkpolicies clusternetworkpolicies", has_namesakes=True),
    *_kinds("k8s.ovn.org", "egressfirewalls"),
    *_kinds("network.openshift.io", "egressnetworkpolicies"),
    *_kinds("multicluster.x-k8s.io", "serviceexports serviceimports"),
)
"""Gateways, routes, grants, classes and policies; what an upload keeps of them is ``tracer.kube.kept_parts.KEPT_KINDS``."""

CONFIG_MAPS = tuple(kind for kind in FOLLOWED_KINDS if kind.name)


def maps_wanted(written: Mapping[str, str]) -> tuple[FollowedKind, ...]:
    """Return the further ConfigMaps to ask for, by the texts that were written so far (path → text)."""
    texts = [text for path in SIGNS_IN if (text := written.get(path))]
    return tuple(one.kind for one in MORE_MAPS if any(one.sign.search(text) for text in texts))

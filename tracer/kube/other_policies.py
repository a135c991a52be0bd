"""Policies of other kinds than Kubernetes' own NetworkPolicy: known by name, and not evaluated.

Where any of them stands, a verdict of NetworkPolicy objects is not the last word: some are asked before, some after, some beside it.
Source: policy.networking.k8s.io v1alpha1 and v1alpha2; the custom resources of Calico, Cilium, Antrea, OVN-Kubernetes and OpenShift SDN.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tracer.kube.kinds import group_of
from tracer.kube.objects import Objects
from tracer.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyKind:
    """One kind: *groups* are its API groups, *order* says when its rules are asked."""

    name: str
    groups: tuple[str, ...]
    order: str

    @property
    def is_namesake(self) -> bool:
        """Return whether its objects have the kind of Kubernetes' own, so that only their group tells."""
        return self.name == "NetworkPolicy"


_API, _CALICO = ("policy.networking.k8s.io",), ("crd.projectcalico.org", "projectcalico.org")
_ANTREA = ("crd.antrea.io", "security.antrea.tanzu.vmware.com")
_BESIDE = "beside every NetworkPolicy, in the order of its own program"
POLICY_KINDS = (
    PolicyKind(name="AdminNetworkPolicy", groups=_API, order="before every NetworkPolicy"),
    PolicyKind(name="BaselineAdminNetworkPolicy", groups=_API, order="where no NetworkPolicy selects the pod"),
    PolicyKind(name="ClusterNetworkPolicy", groups=_API, order="before every NetworkPolicy (tier Admin) or behind them (tier Baseline)"),
    PolicyKind(name="NetworkPolicy", groups=_CALICO, order=_BESIDE),
    PolicyKind(name="GlobalNetworkPolicy", groups=_CALICO, order=_BESIDE),
    PolicyKind(name="CiliumNetworkPolicy", groups=("cilium.io",), order=_BESIDE),
    PolicyKind(name="CiliumClusterwideNetworkPolicy", groups=("cilium.io",), order=_BESIDE),
    PolicyKind(name="NetworkPolicy", groups=_ANTREA, order=_BESIDE),
    PolicyKind(name="ClusterNetworkPolicy", groups=_ANTREA, order=_BESIDE),
    PolicyKind(name="EgressFirewall", groups=("k8s.ovn.org",), order=_BESIDE),
    PolicyKind(name="EgressNetworkPolicy", groups=("network.openshift.io",), order=_BESIDE),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherPolicy:
    """One policy that was recorded and is not evaluated."""

    kind: PolicyKind
    group: str
    namespace: str
    name: str

    def __str__(self) -> str:
        which = f"{self.kind.name} ({self.group})" if self.kind.is_namesake else self.kind.name
        return f"{which} {f'{self.namespace}/' if self.namespace else ''}{self.name}"


def other_policies(objects: Objects) -> Iterator[OtherPolicy]:
    """Yield the recorded policies of other kinds. One without a readable name is one all the same."""
    for word in dict.fromkeys(kind.name for kind in POLICY_KINDS):
        for raw, _ in objects.others(word):
            group = group_of(raw.value)
            kind = next((k for k in POLICY_KINDS if k.name == word and group in k.groups), None)
            if kind is not None:
                metadata = raw.value.get("metadata")
                named = metadata if isinstance(metadata, Mapping) else {}
                yield OtherPolicy(kind=kind, group=group, namespace=str(named.get("namespace") or ""), name=str(named.get("name") or "?"))

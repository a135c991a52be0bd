"""ConfigMap: only those that say how kube-proxy and the cluster's DNS are set up; every other one is left unread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tracer.kube.fields import Fields, Origin

_ALLOWED = frozenset(
    {
        ("kube-system", "kube-proxy"),
        ("kube-system", "kube-proxy-config"),  # EKS
        ("kube-system", "coredns"),
        ("kube-system", "coredns-custom"),  # AKS
        ("kube-system", "rke2-coredns-rke2-coredns"),
        ("kube-system", "kube-dns"),
        ("kube-system", "node-local-dns"),
        ("openshift-dns", "dns-default"),
        ("openshift-sdn", "sdn-config"),
    }
)


def is_wanted(namespace: object, name: object) -> bool:
    """Return whether a ConfigMap is one of kube-proxy's or the cluster DNS's."""
    return isinstance(namespace, str) and isinstance(name, str) and (namespace, name) in _ALLOWED


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigMap:
    """A ConfigMap's texts by key."""

    namespace: str
    name: str
    texts: Mapping[str, str] = field(default_factory=dict)
    origin: Origin = field(default_factory=Origin, compare=False)

    @property
    def key(self) -> tuple[str, str]:
        """Return (namespace, name)."""
        return (self.namespace, self.name)

    @classmethod
    def from_dict(cls, value: object, origin: Origin | None = None) -> ConfigMap:
        """Return the ConfigMap an API object describes. :raises ParseError: a field has the wrong type."""
        top = Fields.of(value, "ConfigMap", origin)
        metadata = top.nested("metadata")
        return cls(
            namespace=metadata.text_or("namespace", "default"),
            name=metadata.name(),
            texts=top.text_map("data"),
            origin=origin or Origin(),
        )

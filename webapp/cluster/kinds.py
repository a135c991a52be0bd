"""The kinds of objects that are followed, and where the API server keeps them."""

from __future__ import annotations

from dataclasses import replace

from tracer.kube.kinds import FOLLOWED, Kind
from tracer.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowedKind:
    """One list of the API. *namespace* and *name* narrow it to one object, which is all that is then listed, watched and permitted."""

    kind: str
    plural: str
    group: str = ""
    version: str = "v1"
    namespaced: bool = True
    namespace: str | None = None
    name: str | None = None

    @property
    def key(self) -> str:
        """Return what tells this list from the others: ``services``, ``configmaps/coredns``."""
        return self.plural if self.name is None else f"{self.plural}/{self.name}"

    @property
    def api_version(self) -> str:
        """Return what its objects say as ``apiVersion``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def path(self) -> str:
        """Return the URL's path. Source: Kubernetes API concepts, "Resource URIs"."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        return f"{root}/{self.plural}" if self.namespace is None else f"{root}/namespaces/{self.namespace}/{self.plural}"

    @property
    def field_selector(self) -> str | None:
        """Return the selector of its only object, or None.

        NB: RBAC rules with resourceNames allow list and watch only to requests that say the name in this way.
        """
        return None if self.name is None else f"metadata.name={self.name}"


_CONFIG_MAPS = ("kube-proxy", "coredns", "node-local-dns")
SYSTEM_NAMESPACE = "kube-system"

_FIRST = ("Namespace", "Node")
"""Listed before the others, which stand in them."""


def _lists(kind: Kind) -> tuple[FollowedKind, ...]:
    """The lists of one kind: one, or for ConfigMaps one for each object that is wanted."""
    whole = FollowedKind(kind=kind.name, plural=kind.plural, group=kind.group, version=kind.version, namespaced=kind.namespaced)
    if kind.name != "ConfigMap":
        return (whole,)
    return tuple(replace(whole, namespace=SYSTEM_NAMESPACE, name=name) for name in _CONFIG_MAPS)


FOLLOWED_KINDS = tuple(
    one for kind in sorted(FOLLOWED, key=lambda k: _FIRST.index(k.name) if k.name in _FIRST else len(_FIRST)) for one in _lists(kind)
)

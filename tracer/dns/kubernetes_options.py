"""The options of CoreDNS's kubernetes plugin that concern answers."""

from __future__ import annotations

from enum import StrEnum

from tracer.dns.corefile_text import Line
from tracer.dns.names import is_below, is_reverse
from tracer.kube.selector import LabelSelector
from tracer.values import dataclass

DEFAULT_TTL = 5


class PodMode(StrEnum):
    """Whether names of pods by their address are answered."""

    DISABLED = "disabled"
    INSECURE = "insecure"
    VERIFIED = "verified"


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesOptions:
    """One ``kubernetes`` stanza. Zones are absolute and in lower case.

    *fallthrough* None: name errors are final; else those below one of its zones go to the next plugin.
    *namespaces* empty: all; *labels* and *namespace_labels* None: no selector. *unread* are lines with a property that Hopline does not
    know: CoreDNS may, and each of its answers may then be another.
    """

    zones: tuple[str, ...]
    pods: PodMode = PodMode.DISABLED
    endpoint_pod_names: bool = False
    namespaces: frozenset[str] = frozenset()
    labels: LabelSelector | None = None
    namespace_labels: LabelSelector | None = None
    ttl: int = DEFAULT_TTL
    no_endpoints: bool = False
    ignore_empty_service: bool = False
    fallthrough: tuple[str, ...] | None = None
    multicluster: tuple[str, ...] = ()
    zonal: bool = False
    unread: tuple[Line, ...] = ()

    @property
    def primary_zone(self) -> str:
        """Return the first zone that is no reverse one: names in PTR answers end with it."""
        return next((z for z in self.zones if not is_reverse(z)), self.zones[0] if self.zones else ".")

    def falls_through(self, name: str) -> bool:
        """Return whether a name error for *name* goes to the next plugin."""
        return self.fallthrough is not None and any(is_below(name, z) for z in self.fallthrough)

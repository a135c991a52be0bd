"""How kube-proxy lays out its nftables table: it changed while the mode grew up.

Only the layouts of 1.30 (alpha) and 1.36 are known from real ones. Of a node with another release the recorded table itself tells; where
none was recorded, its source does (``likely_layout``).
Source: pkg/proxy/nftables/proxier.go of Kubernetes 1.30, 1.33 and 1.36; changes: kubernetes/kubernetes pull requests 132456 (refusals
behind DNAT, 1.34), 135800 and 136499 (marks in place, hairpin set, 1.36); KEP-1880 (ServiceCIDR objects on by default, 1.33).
"""

from __future__ import annotations

from collections.abc import Container

from tracer.kubeproxy.configuration import Release
from tracer.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class NftLayout:
    """What a table has.

    *filters_after_dnat*: refusals are met behind DNAT, not before it. *marks_by_chain*: a chain of its own sets the mark.
    *has_hairpin_set*: endpoints that reach themselves are known by a set, else by a rule of the endpoint's chain.
    *maps_endpoints*: the chain of a Service without affinity translates by a map. *masquerades_in_services*: packets to cluster IPs are
    marked before the Service is known. *drops_unallocated*: nobody's cluster IPs are dropped. *comments_on_firewall*: elements of
    firewall-ips name their Service.
    """

    filters_after_dnat: bool = True
    marks_by_chain: bool = False
    has_hairpin_set: bool = True
    maps_endpoints: bool = True
    masquerades_in_services: bool = True
    drops_unallocated: bool = True
    comments_on_firewall: bool = False


ALPHA_MINOR, NEW_MINOR = 30, 36
NEW = NftLayout()
ALPHA = NftLayout(
    filters_after_dnat=False,
    marks_by_chain=True,
    has_hairpin_set=False,
    maps_endpoints=False,
    masquerades_in_services=False,
    drops_unallocated=False,
    comments_on_firewall=True,
)


_AFTER_DNAT_MINOR, _SERVICE_CIDR_MINOR = 34, 33


def likely_layout(release: Release) -> NftLayout | None:
    """Return the layout of *release*, or of one between those that are known what its source says; None where nothing is known."""
    if not ALPHA_MINOR < release.minor < NEW_MINOR:
        return layout_of(release)
    return NftLayout(
        filters_after_dnat=release.minor >= _AFTER_DNAT_MINOR,
        marks_by_chain=True,
        has_hairpin_set=False,
        maps_endpoints=False,
        masquerades_in_services=False,
        drops_unallocated=release.minor >= _SERVICE_CIDR_MINOR,
    )


def layout_of(release: Release) -> NftLayout | None:
    """Return the layout of *release*; None where it is not known."""
    return NEW if release.minor >= NEW_MINOR else ALPHA if release.minor == ALPHA_MINOR else None


def layout_shown(chains: Container[str], sets: Container[str], rules: str) -> NftLayout:
    """Return the layout that a recorded table shows: by the names in it, and by the text of its *rules*."""
    return NftLayout(
        filters_after_dnat="filter-output-pre-dnat" in chains,
        marks_by_chain="mark-for-masquerade" in chains,
        has_hairpin_set="hairpin-connections" in sets,
        maps_endpoints=" to numgen random mod " in rules,
        masquerades_in_services="clusterIP traffic" in rules,
        drops_unallocated="unallocated ClusterIPs" in rules,
    )

"""What kube-proxy is told on one node, beside the objects: its release, its mode, and the settings that its rules show.

Owns the defaults, and which release does what (``Release``). Where a value comes from is ``found``'s business.
Source: pkg/proxy/apis/config, cmd/kube-proxy/app of Kubernetes 1.36; KEP-2433, KEP-3015, KEP-1669, KEP-1860, KEP-2086.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum

from tracer.kube.fields import Network
from tracer.packet import Address
from tracer.patterns import pattern
from tracer.values import dataclass

_RELEASE = pattern(r"v?(?P<major>[0-9]{1,3})\.(?P<minor>[0-9]{1,3})(?:\.[0-9]{1,5})?(?![0-9])", re.ASCII)
MASQUERADE_BIT = 14
INVALID, LOCALHOST = "ct_state_invalid_dropped_pkts", "localhost_nps_accepted_pkts"
COUNTERS = frozenset((INVALID, LOCALHOST))
"""What kube-proxy has nfacct count: packets that conntrack calls invalid, and those to node ports at loopback addresses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A release of kube-proxy by its *minor* version, and what it does that not every one does."""

    minor: int

    def __str__(self) -> str:
        return f"1.{self.minor}"

    @property
    def is_modelled(self) -> bool:
        """Return whether rules of this release are modelled: 1.20's layout as recordings show it, and from 1.28 on."""
        return self.minor == 20 or self.minor >= 28

    @property
    def is_old(self) -> bool:
        """Return whether it writes the layout of 1.20: no KUBE-EXT chains, Local traffic through KUBE-XLB chains, drops by a mark."""
        return self.minor < 28

    @property
    def is_dual_stack(self) -> bool:
        """Return whether it programs both families, whichever the cluster uses (on from 1.21)."""
        return self.minor >= 21

    @property
    def counts_by_nfacct(self) -> bool:
        """Return whether it counts what it drops and accepts by nfacct, where the node's kernel can (from 1.32 on)."""
        return self.minor >= 32

    @property
    def honours_hints(self) -> bool:
        """Return whether zone hints count whoever asked for them (ServiceTrafficDistribution is on from 1.31)."""
        return self.minor >= 31

    @property
    def honours_annotated_hints(self) -> bool:
        """Return whether zone hints count where the Service asks for them by annotation (1.24 on)."""
        return self.minor >= 24

    @property
    def honours_node_hints(self) -> bool:
        """Return whether node hints count (PreferSameTrafficDistribution is on from 1.34)."""
        return self.minor >= 34

    @property
    def honours_internal_policy(self) -> bool:
        """Return whether internalTrafficPolicy counts (on from 1.22)."""
        return self.minor >= 22

    @property
    def uses_terminating(self) -> bool:
        """Return whether endpoints that serve while they terminate are used where none is ready (on from 1.26)."""
        return self.minor >= 26

    @property
    def honours_ip_mode(self) -> bool:
        """Return whether a load balancer's address of mode Proxy is left alone (on from 1.30)."""
        return self.minor >= 30


NEWEST = Release(minor=36)


def read_release(text: str) -> Release | None:
    """Return the release that a version or an image's tag names (``v1.36.2``, ``Kubernetes v1.30.5``); None where it names none."""
    found = _RELEASE.search(text)
    return Release(minor=int(found["minor"])) if found and found["major"] == "1" else None


class LocalMode(StrEnum):
    """How kube-proxy tells its own pods' packets from others', as the configuration spells it; otherwise by the cluster's network."""

    NODE_CIDR = "NodeCIDR"
    BRIDGE_INTERFACE = "BridgeInterface"
    INTERFACE_NAME_PREFIX = "InterfaceNamePrefix"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalDetector:
    """By what a pod's packet is known: the network it comes from, or the device (*device* ends in ``+`` for a beginning of names)."""

    network: Network | None = None
    device: str = ""

    @property
    def is_local(self) -> str:
        """Return iptables' match for such a packet, with a blank behind it."""
        return f"-s {self.network} " if self.network else f"-i {self.device} "

    @property
    def is_not_local(self) -> str:
        """Return iptables' match for any other packet."""
        return f"! {self.is_local}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePortAddresses:
    """Which addresses of a node take node ports: *is_all* every local one, else *addresses*, in the order in which rules name them.

    IPVS has no such word as every one: there *addresses* are all that count, whatever *is_all* is.
    """

    is_all: bool = True
    addresses: tuple[Address, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """What kube-proxy on *node* is told, and what it found there.

    *detectors* by IP version: a family without one has no way to tell local traffic. *node_ips* by version too, the node's own address.
    *node_port_addresses* by version. *counters* are what nfacct counts there, *has_random_fully* is what the node's iptables can.
    *service_cidrs* are those that cluster IPs are taken from. *localhost_node_ports* is as configured; IPv6 never has them.
    *versions* are the families that it programs, *scheduler* is IPVS's.
    """

    node: str
    zone: str = ""
    mode: str = "iptables"
    release: Release = NEWEST
    versions: tuple[int, ...] = (4, 6)
    detectors: Mapping[int, LocalDetector] = field(default_factory=dict)
    service_cidrs: tuple[Network, ...] = ()
    node_ips: Mapping[int, Address] = field(default_factory=dict)
    node_port_addresses: Mapping[int, NodePortAddresses] = field(default_factory=dict)
    scheduler: str = "rr"
    masquerade_all: bool = False
    masquerade_bit: int = MASQUERADE_BIT
    localhost_node_ports: bool = True
    is_conntrack_liberal: bool = False
    counters: frozenset[str] = COUNTERS
    has_random_fully: bool = True

    @property
    def mark(self) -> str:
        """Return the masquerade mark as rules spell it."""
        return f"0x{1 << self.masquerade_bit:x}"

    def may_lack(self, version: int) -> bool:
        """Return whether the node has no address of that family, as far as is known: kube-proxy need not have programmed it then."""
        return bool(self.node_ips) and version not in self.node_ips

    def node_ports_on(self, version: int) -> NodePortAddresses:
        """Return which addresses of one family take node ports."""
        return self.node_port_addresses.get(version, NodePortAddresses())

    def has_localhost_node_ports(self, version: int) -> bool:
        """Return whether node ports are reachable at loopback addresses: IPv4 only, and only where its addresses are among them."""
        chosen = self.node_ports_on(version)
        return version == 4 and self.localhost_node_ports and (chosen.is_all or any(a.is_loopback for a in chosen.addresses))

"""How kube-proxy is set up on a node, as far as the snapshot tells, with what says each thing; the defaults are said to be assumed.

What counts first: kube-proxy's own word (version and mode files), its pod's flags, its ConfigMap, the node's files; last what its recorded
rules show. A pod's flags count where it is given no configuration file, as kube-proxy itself has it.
Source: cmd/kube-proxy/app/options.go, server_linux.go, pkg/proxy/apis/config/v1alpha1 of Kubernetes 1.36.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from ipaddress import ip_network

from tracer.assumptions import MODE, PROXY
from tracer.errors import ParseError
from tracer.kube.fields import Network
from tracer.kube.pod import ProxyContainer
from tracer.kubeproxy.configuration import (
    COUNTERS,
    MASQUERADE_BIT,
    NEWEST,
    Configuration,
    LocalDetector,
    LocalMode,
    NodePortAddresses,
    Release,
    read_release,
)
from tracer.kubeproxy.nft_layout import layout_of, likely_layout
from tracer.netfilter.nft_json import parse_json
from tracer.netfilter.nft_print import to_text
from tracer.packet import Address, Family
from tracer.patterns import pattern
from tracer.snapshot.held_addresses import held_addresses
from tracer.snapshot.node_files import DUMPS, NFT_JSON, NFT_TEXT, PROXY_VERSION, SYSCTL
from tracer.snapshot.proxy_mode import CONFIG_MAPS, is_set_up_by_flags, proxy_container, proxy_mode
from tracer.snapshot.snapshot import Snapshot
from tracer.values import dataclass

_KUBEADM = "kubeadm-config"
CONFIGURED_BY = (*(name for name, _ in CONFIG_MAPS), _KUBEADM)
"""The ConfigMaps of kube-system that tell how kube-proxy is set up."""
_RANDOM = "--random-fully"
IPVS_DEVICE = "kube-ipvs0"
"""What kube-proxy holds the addresses of Services on, in IPVS mode."""
_OWN_SOURCE = pattern(r"-A KUBE-SV[CL]-\S+ ! -s (\S+) -d |-A KUBE-EXT-\S+ -s (\S+) -m comment --comment \"pod traffic for ", re.ASCII)
_OWN_NFT = pattern(
    r"@cluster-ips ip6? saddr != (\S+) |ip6? saddr != (\S+) jump mark-for-masquerade|ip6? saddr (\S+) goto service-", re.ASCII
)
_UNALLOCATED = pattern(r"ip6? daddr \{? ?([0-9a-f.:/, ]{3,400}?) ?\}? drop comment \"Drop traffic to unallocated ClusterIPs\"", re.ASCII)
_NFT_TABLE = pattern(r"^table (ip6?) kube-proxy \{\n(?:[^}\n][^\n]*\n|\n)*\}", re.MULTILINE | re.ASCII)
_MARK = pattern(r"-A KUBE-MARK-MASQ -j MARK --set-xmark (0x[0-9a-f]{1,8})/", re.ASCII)
_LIBERAL = pattern(r"^net\.netfilter\.nf_conntrack_tcp_be_liberal ?= ?[1-9]", re.MULTILINE | re.ASCII)
_SUBNET = pattern(r"^ +podSubnet: ?[\"']?([0-9a-fA-F.:/,]{1,100})", re.MULTILINE | re.ASCII)
_SERVICE_SUBNET = pattern(r"^ +serviceSubnet: ?[\"']?([0-9a-fA-F.:/,]{1,100})", re.MULTILINE | re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundConfiguration:
    """A node's *configuration*; *said* is what says so, *assumed* what nothing says, each in words.

    *assumes* are the names of the assumptions (tracer.assumptions) among them: what a question may set otherwise. *taken* are the others,
    *shown* those of them that the node's own rules show. *is_dsr*: on Windows, endpoints answer clients themselves.
    """

    configuration: Configuration
    said: tuple[str, ...]
    assumed: tuple[str, ...]
    assumes: frozenset[str] = frozenset()
    taken: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    is_dsr: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Settings:
    """What a configuration says, whichever way it is written. *source* is empty where there is none."""

    source: str = ""
    cluster_cidr: str = ""
    detect_local_mode: str = ""
    device: str = ""
    masquerade_all: bool = False
    masquerade_bit: int = MASQUERADE_BIT
    node_port_addresses: tuple[str, ...] = ()
    localhost_node_ports: bool = True
    is_conntrack_liberal: bool = False
    scheduler: str = ""
    is_dsr: bool = False


def proxy_configuration(snapshot: Snapshot, node: str, settings: Mapping[str, str] | None = None) -> FoundConfiguration:
    """Return how kube-proxy is set up on *node*. *settings* are those of assumptions, for what nothing says."""
    found = _Finding(snapshot, node, settings or {})
    configuration = found.configuration()
    return FoundConfiguration(
        configuration=configuration,
        is_dsr=found.is_dsr,
        said=tuple(found.said),
        assumed=(*found.assumes.values(), *found.assumed, *found.shown),
        assumes=frozenset(found.assumes),
        taken=(*found.assumed, *found.shown),
        shown=tuple(found.shown),
    )


class _Finding:
    """What is found of one node, and the words for it."""

    def __init__(self, snapshot: Snapshot, node: str, settings: Mapping[str, str]) -> None:
        self._snapshot = snapshot
        self._node = node
        self._set = settings
        self._listed = snapshot.objects.node(node)
        self.said: list[str] = []
        self.assumed: list[str] = []
        self.shown: list[str] = []
        self.assumes: dict[str, str] = {}
        self.is_dsr = False

    def configuration(self) -> Configuration:
        """Return everything that is found."""
        container = proxy_container(self._snapshot, self._node)
        release, mode = self._release(container), self._mode()
        if self._snapshot.objects.uses_legacy_endpoints and not release.is_old:
            self.assumed.append(
                "no endpoint has hints or serves while it terminates: Endpoints do not tell, and there are no EndpointSlices"
            )
        if mode == "nftables" and layout_of(release) is None and likely_layout(release) is not None:
            self.assumed.append(
                f"kube-proxy {release}'s table of nftables is laid out as its source has it, or as the recorded one shows: none of that"
                " release was held against the model"
            )
        settings = self._settings(container, mode)
        self.is_dsr = settings.is_dsr
        rules = _rules(self._snapshot, self._node)
        node_ips: dict[int, Address] = {a.version: a for a in reversed(self._listed.internal_ips if self._listed else ())}
        known = any("-A KUBE-POSTROUTING " in text for text in rules.values())
        return Configuration(
            node=self._node,
            zone=(self._listed.zone or "") if self._listed else "",
            mode=mode,
            release=release,
            versions=(4, 6) if release.is_dual_stack else tuple(node_ips)[-1:] or (4,),
            detectors=self._detectors(settings, rules),
            service_cidrs=self._service_cidrs(rules) if mode == "nftables" else (),
            scheduler=settings.scheduler or "rr",
            node_ips=node_ips,
            node_port_addresses={v: self._node_ports(settings, mode, v, node_ips) for v in (4, 6)},
            masquerade_all=settings.masquerade_all,
            masquerade_bit=self._bit(settings, rules),
            localhost_node_ports=settings.localhost_node_ports,
            is_conntrack_liberal=settings.is_conntrack_liberal or self._is_liberal(),
            counters=frozenset(c for c in COUNTERS if (any(c in t for t in rules.values()) if known else release.counts_by_nfacct)),
            has_random_fully=not known or any(_RANDOM in text for text in rules.values()),
        )

    def _release(self, container: ProxyContainer | None) -> Release:
        listed = self._listed
        for text, source in (
            (_text(self._snapshot, self._node, PROXY_VERSION.name), self._snapshot.path_of(self._node, PROXY_VERSION.name)),
            (container.image.rpartition(":")[2] if container else None, "the image of kube-proxy's pod"),
            (listed.kube_proxy_version if listed else None, f"Node {self._node}"),
            (listed.kubelet_version if listed else None, f"the kubelet of Node {self._node}"),
        ):
            if text and (release := read_release(text)) is not None:
                self.said.append(f"kube-proxy {release}: {source}")
                return release
        release = read_release(self._set.get(PROXY, "")) or NEWEST
        self.assumes[PROXY] = f"kube-proxy {release}: nothing says its version"
        return release

    def _mode(self) -> str:
        found = proxy_mode(self._snapshot, self._node)
        if found is None:
            self.assumes[MODE] = "mode iptables: nothing says the mode, and this is the default"
            return self._set.get(MODE, "iptables")
        self.said.append(f"mode {found.mode}: {found.source}")
        return found.mode

    def _settings(self, container: ProxyContainer | None, mode: str) -> _Settings:
        if container is not None and is_set_up_by_flags(container):
            return self._say(_from_flags(container.flags))
        for name, key in CONFIG_MAPS:
            config = self._snapshot.objects.config_map("kube-system", name)
            value = _value_of(config.texts.get(key) if config else None)
            if value is not None:
                return self._say(_from_value(value, mode, f"ConfigMap kube-system/{name}"))
        self.assumed.append("kube-proxy's settings: neither its ConfigMap nor its pod's flags are there, so the defaults")
        return _Settings()

    def _say(self, settings: _Settings) -> _Settings:
        self.said.append(f"settings: {settings.source}")
        return settings

    def _bit(self, settings: _Settings, rules: Mapping[int, str]) -> int:
        marks = [found[1] for text in rules.values() if (found := _MARK.search(text)) is not None] if not settings.source else []
        value = int(marks[0], 16) if marks else 0
        return value.bit_length() - 1 if value else settings.masquerade_bit

    # -- local traffic ------------------------------------------------------------------------------------------------------------

    def _detectors(self, settings: _Settings, rules: Mapping[int, str]) -> dict[int, LocalDetector]:
        if settings.device:
            return {version: LocalDetector(device=settings.device) for version in (4, 6)}
        if settings.detect_local_mode == LocalMode.NODE_CIDR:
            return _by_version(self._listed.pod_cidrs if self._listed else ())
        if settings.source:
            return _by_version(_networks(settings.cluster_cidr))
        return self._guessed(rules)

    def _guessed(self, rules: Mapping[int, str]) -> dict[int, LocalDetector]:
        subnet = _SUBNET.search(self._cluster_configuration)
        if subnet is not None:
            self.said.append(f"pods are in {subnet[1]}: ConfigMap kube-system/kubeadm-config")
            return _by_version(_networks(subnet[1]))
        looks = (found for text in rules.values() for one in (_OWN_SOURCE, _OWN_NFT) if (found := one.search(text)) is not None)
        shown = [network for found in looks for network in _networks(next(filter(None, found.groups())))]
        if shown:
            self.shown.append(f"pods are in {', '.join(map(str, shown))}: the node's own rules say so, and nothing else does")
        return _by_version(shown)

    def _service_cidrs(self, rules: Mapping[int, str]) -> tuple[Network, ...]:
        """Return the networks of cluster IPs: those of ServiceCIDR objects, kubeadm's, or those that the rules show."""
        objects = [raw.value.get("spec") for raw, _ in self._snapshot.objects.others("ServiceCIDR")]
        cidrs = [one.get("cidrs") for one in objects if isinstance(one, Mapping)]
        texts = [str(text) for one in cidrs if isinstance(one, list) for text in one]
        if texts:
            self.said.append(f"cluster IPs are of {', '.join(texts)}: ServiceCIDR objects")
        elif found := _SERVICE_SUBNET.search(self._cluster_configuration):
            texts = found[1].split(",")
            self.said.append(f"cluster IPs are of {found[1]}: ConfigMap kube-system/kubeadm-config")
        else:
            texts = [told for text in rules.values() for found in _UNALLOCATED.finditer(text) for told in found[1].split(",")]
            if texts:
                self.shown.append(f"cluster IPs are of {', '.join(texts)}: the node's own rules say so, and nothing else does")
        return tuple(network for text in texts for network in _networks(text))

    @property
    def _cluster_configuration(self) -> str:
        kubeadm = self._snapshot.objects.config_map("kube-system", _KUBEADM)
        return kubeadm.texts.get("ClusterConfiguration", "") if kubeadm else ""

    # -- node ports ---------------------------------------------------------------------------------------------------------------

    def _node_ports(self, settings: _Settings, mode: str, version: int, node_ips: Mapping[int, Address]) -> NodePortAddresses:
        asked = settings.node_port_addresses or (("primary",) if mode == "nftables" else ())
        if asked == ("primary",):
            own = node_ips.get(version)
            # Of a family in which the node has no address nothing is asked, and that means every one.
            return NodePortAddresses() if own is None else NodePortAddresses(is_all=False, addresses=(own,))
        networks = [n for text in asked for n in _networks(text) if n.version == version]
        if not networks or any(n.prefixlen == 0 for n in networks):
            # Virtual servers stand on every address: a loopback one takes none.
            every = [a for a in self._held(version) if not a.is_loopback] if mode == "ipvs" else ()
            return NodePortAddresses(addresses=tuple(every))
        return NodePortAddresses(is_all=False, addresses=tuple(a for a in self._held(version) if any(a in n for n in networks)))

    def _held(self, version: int) -> tuple[Address, ...]:
        """Return the node's addresses of one family, but those of kube-proxy's own device; those of its Node where no file lists them."""
        held = held_addresses(self._snapshot, self._node)
        if held is None:
            self.assumed.append("the node's addresses are those of its Node object: no file lists them")
            held = tuple(("", address) for address in (self._listed.ips if self._listed else ()))
        found = (a for device, a in held if device != IPVS_DEVICE and not a.is_link_local)
        return tuple(dict.fromkeys(a for a in found if a.version == version))

    def _is_liberal(self) -> bool:
        return _LIBERAL.search(_text(self._snapshot, self._node, SYSCTL.name) or "") is not None


def _from_flags(flags: Mapping[str, str]) -> _Settings:
    """Return what a command line says. A flag of yes or no without a value says yes."""
    prefix = flags.get("pod-interface-name-prefix", "")
    bit = flags.get("iptables-masquerade-bit", "")
    return _Settings(
        source="the flags of kube-proxy's pod",
        cluster_cidr=flags.get("cluster-cidr", ""),
        detect_local_mode=flags.get("detect-local-mode", ""),
        device=_device(flags.get("detect-local-mode", ""), flags.get("pod-bridge-interface", ""), prefix),
        masquerade_all=flags.get("masquerade-all", "false") in ("", "true"),
        masquerade_bit=int(bit) if bit.isascii() and bit.isdecimal() and int(bit) < 32 else MASQUERADE_BIT,
        node_port_addresses=tuple(t for t in flags.get("nodeport-addresses", "").split(",") if t),
        localhost_node_ports=flags.get("iptables-localhost-nodeports", "true") != "false",
        scheduler=flags.get("ipvs-scheduler", ""),
        is_dsr=flags.get("enable-dsr", "false") in ("", "true"),
    )


def _from_value(value: Mapping[str, object], mode: str, source: str) -> _Settings:
    """Return what a KubeProxyConfiguration says. Source: conversion of v1alpha1, which has masqueradeAll in the part of the mode."""
    own = _part(value, "nftables" if mode == "nftables" else "iptables")
    local, addresses = _part(value, "detectLocal"), value.get("nodePortAddresses")
    bit, detect = own.get("masqueradeBit"), str(value.get("detectLocalMode") or "")
    return _Settings(
        source=source,
        cluster_cidr=str(value.get("clusterCIDR") or ""),
        detect_local_mode=detect,
        device=_device(detect, str(local.get("bridgeInterface") or ""), str(local.get("interfaceNamePrefix") or "")),
        masquerade_all=own.get("masqueradeAll") is True,
        masquerade_bit=bit if isinstance(bit, int) and not isinstance(bit, bool) and 0 <= bit < 32 else MASQUERADE_BIT,
        node_port_addresses=tuple(map(str, addresses)) if isinstance(addresses, list) else (),
        localhost_node_ports=_part(value, "iptables").get("localhostNodePorts") is not False,
        is_conntrack_liberal=_part(value, "conntrack").get("tcpBeLiberal") is True,
        scheduler=str(_part(value, "ipvs").get("scheduler") or ""),
        is_dsr=_part(value, "winkernel").get("enableDSR") is True,
    )


def _part(value: Mapping[str, object], key: str) -> Mapping[str, object]:
    part = value.get(key)
    return part if isinstance(part, Mapping) else {}


def _device(mode: str, bridge: str, prefix: str) -> str:
    """Return the device by which local traffic is known, ``+`` behind the beginning of a name, or "" where it is known otherwise."""
    if mode == LocalMode.BRIDGE_INTERFACE:
        return bridge
    return f"{prefix}+" if mode == LocalMode.INTERFACE_NAME_PREFIX and prefix else ""


def _networks(text: str) -> tuple[Network, ...]:
    """Return the networks of a list with commas; what is none is left out."""
    found = []
    for one in text.split(","):
        try:
            found.append(ip_network(one.strip(), strict=False))
        except ValueError:
            continue
    return tuple(found)


def _by_version(networks: Sequence[Network]) -> dict[int, LocalDetector]:
    """Return a detector by version: the first network of each family counts."""
    found: dict[int, LocalDetector] = {n.version: LocalDetector(network=n) for n in reversed(networks)}
    return found


def _value_of(text: str | None) -> Mapping[str, object] | None:
    from tracer.snapshot.yaml_documents import read_yaml

    if text is None:
        return None
    try:
        value = next((d.value for d in read_yaml(text, "")), None)
    except ParseError:
        return None
    return value if isinstance(value, Mapping) else None


def _rules(snapshot: Snapshot, node: str) -> dict[int, str]:
    """Return the rules recorded on the node by version: those of both back ends of iptables, and kube-proxy's own table of nftables."""
    texts = {f: [t for file in files if (t := _text(snapshot, node, file.name))] for f, files in DUMPS.items()}
    listed = _nft_tables(_listing(snapshot, node))
    return {v: "".join((*texts[Family.of(v)], listed.get(Family.of(v), ""))) for v in (4, 6)}


def _listing(snapshot: Snapshot, node: str) -> str:
    """Return the node's listing of nftables as text, whichever way it is recorded."""
    text = _text(snapshot, node, NFT_TEXT.name)
    if text is None and (json := _text(snapshot, node, NFT_JSON.name)) is not None:
        with suppress(ParseError):  # said where its rules are compared
            text = to_text(parse_json(json, snapshot.path_of(node, NFT_JSON.name)))
    return text or ""


def _nft_tables(text: str) -> dict[str, str]:
    """Return kube-proxy's tables of an nft listing, each as its text, by family."""
    return {found[1]: found[0] for found in _NFT_TABLE.finditer(text)}


def _text(snapshot: Snapshot, node: str, name: str) -> str | None:
    try:
        return snapshot.node_file(node, name)
    except ParseError:
        return None

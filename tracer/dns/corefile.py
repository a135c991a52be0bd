"""The Corefile: server blocks with their zones and plugins, and the options of the plugins that concern answers.

Plugins that do not change an answer (errors, log, health …) are kept by name; those that do and are not modelled are told apart.
Source: CoreDNS 1.14: core/dnsserver, plugin.cfg, and each plugin's setup.go.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import field, replace

from tracer.dns.corefile_text import Line, RawBlock, parse_blocks
from tracer.dns.external_zone import ExternalOptions
from tracer.dns.kubernetes_options import KubernetesOptions, PodMode
from tracer.dns.label_expression import parse_labels
from tracer.dns.names import absolute, is_reverse
from tracer.errors import Fault, ParseError
from tracer.kube.selector import LabelSelector
from tracer.patterns import pattern
from tracer.values import dataclass

DNS_PORT = 53
_TRANSPORTS = {"dns": DNS_PORT, "tls": 853, "grpc": 443, "https": 443, "https3": 443, "quic": 853}
_NUMBER = pattern(r"[0-9]{1,9}", re.ASCII)
_PORT = pattern(r"(?P<zone>.*):(?P<port>[0-9]{1,5})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerBlock:
    """One server block. *zones* are absolute and in lower case; *plugins* are its directives as written, in the order written."""

    zones: tuple[str, ...]
    port: int
    transport: str
    plugins: tuple[Line, ...]
    line: int

    def plugin(self, name: str) -> Line | None:
        """Return the first directive of a plugin, or None."""
        return next((p for p in self.plugins if p.name == name), None)

    def all_of(self, name: str) -> tuple[Line, ...]:
        """Return every directive of a plugin, in the order written."""
        return tuple(p for p in self.plugins if p.name == name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Corefile:
    """All server blocks, one for each transport and port that a block is written for."""

    blocks: tuple[ServerBlock, ...] = field(default=())

    def block_for(self, name: str, *, port: int = DNS_PORT) -> ServerBlock | None:
        """Return the block with the longest zone that holds *name* among those that serve plain DNS on *port*."""
        fitting = [(zone, b) for b in self.blocks if b.port == port and b.transport == "dns" for zone in b.zones if _holds(name, zone)]
        return max(fitting, key=lambda pair: len(pair[0]), default=("", None))[1]


def _holds(name: str, zone: str) -> bool:
    low = name.lower()
    return zone == "." or low == zone or low.endswith(f".{zone}")


def parse_corefile(text: str, *, file: str = "Corefile", files: Mapping[str, str] | None = None) -> Corefile:
    """Return what a Corefile says. *files* are those it may import, by name.

    :raises ParseError: the text is malformed, or CoreDNS would refuse to start with the plugin's options. A plugin or property that Hopline
        does not know is no such fault.
    """
    blocks = [b for raw in parse_blocks(text, file=file, files=files) for b in _server_blocks(raw)]
    for block in blocks:
        _check(block)
    return Corefile(blocks=tuple(blocks))


def _server_blocks(raw: RawBlock) -> list[ServerBlock]:
    found: dict[tuple[str, int], list[str]] = {}
    for key in raw.keys:
        transport, zones, port = parse_key(key, raw)
        found.setdefault((transport, port), []).extend(zones)
    return [
        ServerBlock(zones=tuple(dict.fromkeys(zones)), port=port, transport=transport, plugins=raw.lines, line=raw.line)
        for (transport, port), zones in found.items()
    ]


def parse_key(key: str, raw: RawBlock) -> tuple[str, tuple[str, ...], int]:
    """Return transport, zones and port of a server block's key such as ``dns://example.org:1053`` or ``10.0.0.0/24``.

    :raises ParseError: the port is out of range or the zone is no name.
    """
    scheme, separator, rest = key.partition("://")
    transport, text = (scheme.lower(), rest) if separator else ("dns", key)
    if transport not in _TRANSPORTS:
        raise ParseError(Fault(file=raw.file, line=raw.line, column=None, message=f"{scheme!r} is no transport of CoreDNS", text=key))
    port = _TRANSPORTS[transport]
    match = _PORT.fullmatch(text)
    # NB: an IPv6 network holds colons; its port, if any, stands after the prefix length.
    if match and (text.count(":") == 1 or "/" in match["zone"]):
        text, port = match["zone"], int(match["port"])
    if not 0 < port < 65536:
        raise ParseError(Fault(file=raw.file, line=raw.line, column=None, message=f"{port} is no port", text=key))
    return transport, normal_zones(text or "."), port


def normal_zones(text: str) -> tuple[str, ...]:
    """Return *text* as absolute zones in lower case; a network in CIDR notation becomes the reverse zones that cover it.

    Source: plugin.Host.NormalizeExact and plugin/pkg/cidr.
    """
    if "/" in text:
        try:
            return _reverse_zones(ipaddress.ip_network(text, strict=False))
        except ValueError:
            return (absolute(text.lower()),)
    return (absolute(text.lower()),)


def _reverse_zones(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> tuple[str, ...]:
    step = 8 if network.version == 4 else 4
    length = -(-network.prefixlen // step) * step
    if length == 0:
        return ("in-addr.arpa.",) if network.version == 4 else ("ip6.arpa.",)
    parts = network.max_prefixlen // step - length // step
    subnets = network.subnets(new_prefix=length)
    return tuple(".".join(s.network_address.reverse_pointer.split(".")[parts:]) + "." for s in subnets)


def _check(block: ServerBlock) -> None:
    for name in ("kubernetes", "k8s_external", "autopath", "cache", "hosts"):
        if len(found := block.all_of(name)) > 1:
            found[1].refuse("this plugin can only be used once per Server Block")
    if (line := block.plugin("kubernetes")) is not None:
        kubernetes_options(line, block.zones)
    if (line := block.plugin("k8s_external")) is not None:
        external_options(line, block.zones)


def plugin_zones(args: tuple[str, ...], block_zones: tuple[str, ...]) -> tuple[str, ...]:
    """Return the zones a plugin is told, the server block's when it is told none."""
    return tuple(dict.fromkeys(z for a in args for z in normal_zones(a))) or block_zones


# --- kubernetes --------------------------------------------------------------------------------------------------------------


def kubernetes_options(line: Line, block_zones: tuple[str, ...]) -> KubernetesOptions:
    """Return the options of a ``kubernetes`` stanza. :raises ParseError: CoreDNS would refuse them."""
    zones = plugin_zones(line.args, block_zones)
    if all(is_reverse(z) for z in zones):
        line.refuse("non-reverse zone name must be used")
    options = KubernetesOptions(zones=zones)
    for option in line.block:
        options = _kubernetes_option(option, options)
    if options.namespaces and options.namespace_labels is not None:
        line.refuse("namespaces and namespace_labels cannot both be set")
    if stray := [z for z in options.multicluster if z not in zones]:
        line.refuse(f"is not authoritative for the multicluster zone {stray[0]}")
    return options


def _kubernetes_option(option: Line, options: KubernetesOptions) -> KubernetesOptions:
    args = option.args
    match option.name:
        case "endpoint_pod_names" | "noendpoints" | "zonal" if args:
            option.wrong_count()
        case "endpoint_pod_names":
            return replace(options, endpoint_pod_names=True)
        case "noendpoints":
            return replace(options, no_endpoints=True)
        case "zonal":
            return replace(options, zonal=True)
        case "pods":
            return replace(options, pods=_pod_mode(option))
        case "namespaces":
            return replace(options, namespaces=options.namespaces | set(_some(option)))
        case "labels":
            return replace(options, labels=_labels(option))
        case "namespace_labels":
            return replace(options, namespace_labels=_labels(option))
        case "fallthrough":
            return replace(options, fallthrough=fall_zones(option))
        case "ttl":
            return replace(options, ttl=_ttl(option))
        case "ignore":
            if args[:1] != ("empty_service",):
                option.refuse(f"unable to parse ignore value: '{' '.join(args)}'")
            return replace(options, ignore_empty_service=True)
        case "multicluster":
            return replace(options, multicluster=tuple(z for a in _some(option) for z in normal_zones(a)))
        case "kubeconfig":
            if len(args) not in (1, 2):
                option.wrong_count()
        case "endpoint" | "tls" | "startup_timeout" | "apiserver_qps" | "apiserver_burst" | "apiserver_max_inflight":
            _some(option)
        case "upstream" | "transfer" | "resyncperiod":
            pass  # of older CoreDNS, without effect or for zone transfers only
        case _:
            # NB: no fault of the Corefile: whoever runs it has a CoreDNS that knows the word.
            return replace(options, unread=(*options.unread, option))
    return options


def _some(option: Line) -> tuple[str, ...]:
    return option.args or option.wrong_count()


def _pod_mode(option: Line) -> PodMode:
    if len(option.args) != 1:
        option.wrong_count()
    if option.args[0] not in tuple(PodMode):
        option.refuse(f"wrong value for pods: {option.args[0]},  must be one of: disabled, verified, insecure")
    return PodMode(option.args[0])


def _labels(option: Line) -> LabelSelector:
    text = " ".join(_some(option))
    try:
        return parse_labels(text)
    except ParseError as error:
        option.refuse(f"unable to parse label selector value: '{text}': {error.faults[0].message}")


def _ttl(option: Line, most: int = 3600) -> int:
    text = _some(option)[0]
    if not _NUMBER.fullmatch(text) or int(text) > most:
        option.refuse(f"ttl must be in range [0, {most}]: {text}")
    return int(text)


def fall_zones(option: Line) -> tuple[str, ...]:
    """Return the zones of a ``fallthrough`` line, all names when it has none."""
    return tuple(z for a in option.args for z in normal_zones(a)) or (".",)


# --- k8s_external ------------------------------------------------------------------------------------------------------------


def external_options(line: Line, block_zones: tuple[str, ...]) -> ExternalOptions:
    """Return the options of a ``k8s_external`` stanza. :raises ParseError: CoreDNS would refuse them."""
    options = ExternalOptions(zones=plugin_zones(line.args, block_zones))
    for option in line.block:
        match option.name:
            case "apex":
                options = replace(options, apex=_some(option)[0])
            case "ttl":
                options = replace(options, ttl=_ttl(option))
            case "headless":
                options = replace(options, headless=True)
            case "fallthrough":
                options = replace(options, fallthrough=fall_zones(option))
            case _:
                options = replace(options, unread=(*options.unread, option))
    return options


def not_known(plugin: str, options: tuple[Line, ...]) -> tuple[str, ...]:
    """Return what to say of the *options* of a plugin that Hopline does not know."""
    return tuple(f"{' '.join(o.words)!r} of plugin {plugin} (Corefile line {o.line}), which Hopline does not know" for o in options)

"""Which mode kube-proxy runs in on a node, and how the snapshot knows."""

from __future__ import annotations

from tracer.errors import ParseError
from tracer.kube.pod import ProxyContainer
from tracer.snapshot.node_files import IPTABLES, LEGACY_IPTABLES, MODES, NFT_JSON, NFT_TEXT, PROXY_MODE, VIRTUAL_SERVERS
from tracer.snapshot.snapshot import Snapshot
from tracer.values import dataclass

CONFIG_MAPS = (("kube-proxy", "config.conf"), ("kube-proxy-config", "config"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyMode:
    """A mode of kube-proxy's, and in *source* what says so."""

    mode: str
    source: str


def proxy_mode(snapshot: Snapshot, node: str) -> ProxyMode | None:
    """Return *node*'s mode by its kube-proxy-mode.txt, its pod's flags, its ConfigMap, the look of its rules; None if none tells."""
    if (asked := snapshot.asked_mode(node)) is not None:
        return ProxyMode(mode=asked, source="what if")
    return _from_file(snapshot, node) or _from_flags(snapshot, node) or _from_config_map(snapshot, node) or _from_rules(snapshot, node)


def proxy_container(snapshot: Snapshot, node: str) -> ProxyContainer | None:
    """Return what the pod of kube-proxy on *node* runs; None where there is no such pod."""
    pods = (p for p in snapshot.objects.host_network_pods if p.node_name == node)
    return next((p.kube_proxy for p in pods if p.kube_proxy is not None), None)


def is_set_up_by_flags(container: ProxyContainer) -> bool:
    """Return whether flags tell how kube-proxy is set up: given a configuration file it looks at hardly any other."""
    return bool(set(container.flags) - {"hostname-override"}) and "config" not in container.flags


def _from_flags(snapshot: Snapshot, node: str) -> ProxyMode | None:
    container = proxy_container(snapshot, node)
    if container is None or not is_set_up_by_flags(container):
        return None
    mode = container.flags.get("proxy-mode", "").lower()
    return ProxyMode(mode=mode, source="the flags of kube-proxy's pod") if mode in MODES else None


def _from_file(snapshot: Snapshot, node: str) -> ProxyMode | None:
    said = (_text(snapshot, node, PROXY_MODE.name) or "").strip().lower()
    return ProxyMode(mode=said, source=snapshot.path_of(node, PROXY_MODE.name)) if said in MODES else None


def _from_config_map(snapshot: Snapshot, node: str) -> ProxyMode | None:
    for name, key in CONFIG_MAPS:
        config = snapshot.objects.config_map("kube-system", name)
        text = config.texts.get(key) if config else None
        if text is None:
            continue
        mode = _configured(text)
        if mode == "":
            listed = snapshot.objects.node(node)
            mode = "kernelspace" if listed and listed.operating_system == "windows" else "iptables"
        if mode in MODES:
            return ProxyMode(mode=mode, source=f"ConfigMap kube-system/{name}")
    return None


def _configured(text: str) -> str | None:
    """Return the mode a KubeProxyConfiguration asks for; empty is the platform's default."""
    from tracer.snapshot.yaml_documents import read_yaml

    try:
        value = next((d.value for d in read_yaml(text, "")), None)
    except ParseError:
        return None
    mode = value.get("mode") if isinstance(value, dict) else None
    return (mode.lower() if isinstance(mode, str) else "") if isinstance(value, dict) else None


def _from_rules(snapshot: Snapshot, node: str) -> ProxyMode | None:
    """Return the mode whose tables the node holds. IPVS keeps a few iptables rules of kube-proxy's, so it is asked first."""
    for file, mark, mode in (
        (VIRTUAL_SERVERS, "-A -", "ipvs"),
        (NFT_JSON, '"kube-proxy"', "nftables"),
        (NFT_TEXT, " kube-proxy {", "nftables"),
        (IPTABLES, ":KUBE-PORTALS-CONTAINER ", "userspace"),
        (IPTABLES, ":KUBE-SVC-", "iptables"),
        (LEGACY_IPTABLES, ":KUBE-SVC-", "iptables"),
    ):
        text = _text(snapshot, node, file.name)
        if text is not None and mark in text:
            return ProxyMode(mode=mode, source=snapshot.path_of(node, file.name))
    return None


def _text(snapshot: Snapshot, node: str, name: str) -> str | None:
    try:
        return snapshot.node_file(node, name)
    except ParseError:
        return None

"""The one table of assumptions: what no recording tells, and a question may set. docs/trace-json.md is held against it.

An assumption picks one way, has a name, a default and a switch. Neither a condition (both ways are told), nor a remark (nothing differs),
nor an unknown (the way ends). To add one: a row here, and whoever meets it on the walk asks ``simulate.assuming``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field

from tracer.errors import QueryError
from tracer.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One assumption: what it is *about*, and its *settings*, each with what then holds. Without settings it is set to a node's name."""

    about: str
    settings: Mapping[str, str] = field(default_factory=dict)

    def spelled(self, name: str) -> tuple[str, ...]:
        """Return every word that sets it, as *name*."""
        return tuple(f"{name}:{setting}" for setting in self.settings or ("NODE",))


FRONT, ENTERS, NETWORK, HOOKS = "front", "enters", "network", "hooks"
MODE, PROXY, MASQUERADE, CNI = "mode", "proxy", "masquerade", "cni"
BRIDGE, ROUTED, OVERLAY, VPC = "bridge", "routed", "overlay", "vpc"
NODE_PORT, KEPT, POD = "node-port", "kept", "pod"
ROUTES_PODS, DROPS_PODS = "routes-pods", "drops-pods"
PROGRAMMING = frozenset((MODE, PROXY, MASQUERADE, CNI))
"""The assumptions on what a node holds of which no rules, or no addresses, were recorded."""
NON_POD, NOTHING = "non-pod", "none"
NFT_FIRST, LEGACY_FIRST = "nft-first", "legacy-first"

KINDS: Mapping[str, Kind] = {
    FRONT: Kind(
        about="how a load balancer hands over, where no mark of its provider tells",
        settings={
            NODE_PORT: "to a node's address and the Service's node port",
            KEPT: "to a node, with the balancer's own address and port left as the destination",
            POD: "to a pod's address and port, past the nodes' Service rules",
        },
    ),
    ENTERS: Kind(about="at which node a packet from outside comes in, where several could take it"),
    NETWORK: Kind(
        about="whether the network around the nodes knows pod addresses that no node's route names",
        settings={
            ROUTES_PODS: "the network around the nodes brings pod addresses to their nodes",
            DROPS_PODS: "the network around the nodes does not know pod addresses",
        },
    ),
    MODE: Kind(
        about="in which mode kube-proxy runs, where a node's rules were not recorded and nothing says it",
        settings={
            "iptables": "kube-proxy's rules are those of iptables mode",
            "nftables": "kube-proxy's rules are those of nftables mode",
            "ipvs": "kube-proxy's rules and virtual servers are those of ipvs mode",
        },
    ),
    PROXY: Kind(
        about="which release of kube-proxy runs, where a node's rules were not recorded and nothing says it",
        settings={
            "1.36": "kube-proxy is of release 1.36",
            "1.30": "kube-proxy is of release 1.30",
            "1.28": "kube-proxy is of release 1.28",
        },
    ),
    MASQUERADE: Kind(
        about="what the network plugin does to packets that leave the pods' networks, where a node's rules were not recorded",
        settings={
            NON_POD: "the network plugin masquerades what pods send to others than pods",
            NOTHING: "the network plugin masquerades nothing",
        },
    ),
    CNI: Kind(
        about="how the network plugin connects pods to their node, where the node's addresses were not recorded",
        settings={
            BRIDGE: "a node's device towards its own pods has the first address of its pod network",
            ROUTED: "a node's devices towards its own pods have no address: it sends to them from its own",
            OVERLAY: "as bridge, and pods of other nodes are reached through a tunnel",
            VPC: "pods have addresses of the nodes' own network, and a node sends to them from its own",
        },
    ),
    HOOKS: Kind(
        about="which back end is asked first where both have chains of equal priority; without a word both orders are told",
        settings={
            NFT_FIRST: "the chains of nftables and iptables-nft before those of iptables-legacy",
            LEGACY_FIRST: "the chains of iptables-legacy before those of nftables and iptables-nft",
        },
    ),
}
"""Name → what it is; the first setting is the default, unless what was recorded speaks for another. ``hooks`` has none: it is not assumed
unless it is set."""


def assumption_words() -> tuple[str, ...]:
    """Return every word that sets an assumption, NODE standing for a node's name."""
    return tuple(word for name, kind in KINDS.items() for word in kind.spelled(name))


def parse_assumptions(texts: Iterable[object]) -> tuple[str, ...]:
    """Return the assumptions that *texts* set (``front:kept``), each once, in the table's order.

    :raises QueryError: a text is none of :func:`assumption_words`, or two set the same assumption to different things.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, _, setting = text.partition(":") if isinstance(text, str) else ("", "", "")
        kind = KINDS.get(name)
        if kind is None or not setting or setting.split() != [setting] or (kind.settings and setting not in kind.settings):
            words = ", ".join(kind.spelled(name) if kind is not None else assumption_words())
            raise QueryError(f"{str(text)[:80]!r} is no assumption: give one of {words}", code="BAD_ASSUMPTION", field="assume")
        if found.setdefault(name, setting) != setting:
            raise QueryError(f"{name} is assumed to be both {found[name]} and {setting}", code="BAD_ASSUMPTION", field="assume")
    return tuple(f"{name}:{found[name]}" for name in KINDS if name in found)

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
NODE_PORT, KEPT, POD = "node-port", "kept", "pod"
ROUTES_PODS, DROPS_PODS = "routes-pods", "drops-pods"
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

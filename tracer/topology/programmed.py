"""What a node of which no rules were recorded is taken to hold. How it is made of the objects is ``programming``'s business."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tracer.kube.fields import Network
from tracer.kube.kinds import Follows, moving
from tracer.kube.objects import Objects
from tracer.packet import Address, Family, Packet, Protocol
from tracer.snapshot import Snapshot
from tracer.snapshot.node_files import DUMPS, IPSET_LIST, NFT_LISTINGS, SETS, VIRTUAL_SERVERS, names
from tracer.values import dataclass

Keys = frozenset[tuple[str, str]]
"""Services by namespace and name."""
RULE_FILES = names((*(file for files in DUMPS.values() for file in files), *NFT_LISTINGS, VIRTUAL_SERVERS, SETS, IPSET_LIST))
"""The files of which any one shows that a node's rules were recorded."""
MADE_OF = moving(Follows.SERVICE_RULES, Follows.WAYS)
"""The kinds of objects that a node's rules follow from, where they are modelled; beside the ConfigMaps of ``CONFIGURED_BY``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Programmed:
    """What a node is taken to hold: *texts* by family, *nft*, *sets* and *virtual* servers as its tools would print them,
    *by* whom (``kube-proxy 1.36 iptables``).

    *assumed* are the assumptions that it rests on, name → (setting, the sentence); *taken* is what else is taken for granted, in words.
    *pods* are the pods' networks, *modes* those that are modelled of this release. *why_not*: nothing is modelled, and why.
    """

    by: str = ""
    texts: Mapping[Family, str]
    nft: str = ""
    sets: str = ""
    virtual: str = ""
    assumed: Mapping[str, tuple[str, str]]
    taken: tuple[str, ...] = ()
    pods: tuple[Network, ...] = ()
    modes: tuple[str, ...] = ()
    why_not: str = ""
    lacks: Callable[[Packet], Keys] = lambda packet: frozenset()


def has_rules(snapshot: Snapshot, node: str) -> bool:
    """Return whether any rules of *node* were recorded, in whatever form."""
    return any(snapshot.has_node_file(node, name) for name in RULE_FILES)


def services_for(objects: Objects, address: Address, port: int | None, protocol: Protocol) -> Keys:
    """Return the Services whose rules may be about a packet to *address* and *port*."""
    found = [service.key for service, _ in objects.services_with_address(address)]
    if port is not None:
        found += [service.key for service, _ in objects.services_with_node_port(port, protocol)]
    return frozenset(found)

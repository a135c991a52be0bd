"""What the kernel has registered at one hook, by name, and what is known of the order of two of equal priority.

The kernel puts what is registered later before what it has with the same priority, whichever back end registers it, and in the list of NAT
chains as well. So the order of making tells, and no dump has it: a listing's tables stand in the order in which *they* were made, and a
chain may have been added to any of them later (iptables-nft makes a chain when its first rule comes). Known is the order of chains of one
table, which are listed as they were made, and what ``nft list hooks`` says.
Source: nf_hook_entries_grow (netfilter/core.c), nf_nat_register_fn (nf_nat_core.c), nf_tables_newchain, Linux 6.18.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from tracer.values import dataclass


class BackEnd(Enum):
    """Whose tables a chain is in."""

    NFT = "nft"
    LEGACY = "legacy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """A chain, or a function of the kernel's own. *name* is the same in a list of hooks, *title* is what sentences call it.

    *listed_in* is the table whose listing has the chain, "" where its place among the table's chains is not known. *apart*: it is in a
    list of its own, and meets none of the others.
    """

    name: str
    title: str
    back_end: BackEnd | None = None
    listed_in: str = ""
    apart: bool = False


def is_before(one: Registered, other: Registered, places: Mapping[str, int]) -> bool | None:
    """Return whether *one* is asked before *other*, None where nothing tells.

    *places* are those of the hook in ``nft list hooks``. Of chains of one table *one* is the one that was made later.
    """
    if one.name in places and other.name in places:
        return places[one.name] < places[other.name]
    if one.apart or other.apart or (one.listed_in and one.listed_in == other.listed_in):
        return True
    return None

"""``nft list hooks``: what the kernel calls at each hook, in its order. It tells which of several chains of equal priority is asked first.

Strategy: a line is a priority and a name, below a family and a hook. What has no name of ours (functions of other modules, programs, flow
tables) and what belongs to one device keeps no place; nothing is refused but a text that names no family.
NB: a kernel without CONFIG_NETFILTER_NETLINK_HOOK prints nothing at all: an empty listing is none. Chains of type nat are called by a
function of nf_nat's, and kernels before 2026 list that one in their place; newer ones list the chains, in their order.
Source: print_hooks in nft's mnl.c, nftables 1.0.6 and 1.1.6; nfnl_hook_dump_one and nfnl_hook_dump_nat (nfnetlink_hook.c); the functions'
names in iptable_filter.c and its siblings, nf_conntrack_proto.c, nf_nat_proto.c, ip_vs_core.c.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from tracer.errors import Fault, ParseError
from tracer.netfilter.hook_order import HOOKS
from tracer.netfilter.model import Hook
from tracer.patterns import pattern
from tracer.values import dataclass

TRACKING, NAT, ANSWERS, REQUESTS = "conntrack", "nat", "ipvs answers", "ipvs requests"
"""What the kernel's own functions are called here."""
_FAMILY = pattern(r"\bfamily (\w{1,10})\b", re.ASCII)
_HOOK = pattern(r"\bhook (\w{1,20})\b(?P<device> device)?", re.ASCII)
_ENTRY = pattern(r"[ \t>|]*(?P<priority>[+-]?[0-9]{1,10}) (?P<name>[A-Za-z_][^\[\]]{0,400})(?:\[(?P<module>[\w-]{1,60})\]\s*)?$", re.ASCII)
_CHAIN = pattern(r"(?:nft )?chain (\w{1,10} \S{1,200} \S{1,200})", re.ASCII)
_LEGACY = pattern(r"ip6?t_do_table|ip6?table_(?:(?P<table>raw|mangle|nat|filter|security)_)?\w{0,30}", re.ASCII)
_OWN = (
    (pattern(r"ipv[46]_conntrack_(?:in|local)", re.ASCII), TRACKING),
    (pattern(r"nf_nat_ipv[46]_\w{1,30}", re.ASCII), NAT),
    (pattern(r"ip_vs_(?:out_hook|(?:local_)?reply[46])", re.ASCII), ANSWERS),
    (pattern(r"ip_vs_(?:in_hook|(?:local|remote)_request[46])", re.ASCII), REQUESTS),
)
_SHOWN = 200


@dataclass(frozen=True, slots=True)
class HookListing:
    """The places of what is known by name, from the first on, for each family (``ip``, ``ip6``) and hook."""

    places: Mapping[tuple[str, str], Mapping[str, int]]

    def at(self, family: str, hook: Hook) -> Mapping[str, int]:
        """Return the places at one hook; empty where the listing has nothing of it."""
        return self.places.get((family, hook.value), {})


def parse_hooks(text: str, file: str) -> HookListing:
    """Return the places that *text* lists, none where it is empty. :raises ParseError: it is something else."""
    places: dict[tuple[str, str], dict[str, int]] = {}
    family = hook = ""
    for line in text.splitlines():
        if found := _FAMILY.search(line):
            family, hook = found[1], ""
        if found := _HOOK.search(line):
            hook = "" if found["device"] else found[1]
            if hook:
                places.setdefault((family, hook), {})
        elif hook and (entry := _ENTRY.match(line)):
            names = places[family, hook]
            if name := _name(entry, hook):
                names.setdefault(name, len(names))
    first = next((x for x in text.splitlines() if x.strip()), "")
    if first and not family:
        raise ParseError(Fault(file=file, line=1, column=0, message="no list of hooks (nft list hooks)", text=first[:_SHOWN]))
    return HookListing(places)


def _name(entry: re.Match[str], hook: str) -> str | None:
    """The name of what a line lists, as ``Registered`` has it."""
    said = entry["name"].strip()
    if chain := _CHAIN.fullmatch(said):
        return chain[1]
    if found := _LEGACY.fullmatch(said):
        table = found["table"] or _table_at(hook, int(entry["priority"]))
        return f"legacy {table}" if table else None
    return next((name for own, name in _OWN if own.fullmatch(said)), None)


def _table_at(hook: str, priority: int) -> str | None:
    """The table whose legacy hook has that priority: one function serves several."""
    return next((table for at, table in HOOKS[Hook(hook)] if at == priority), None) if hook in {h.value for h in Hook} else None

"""The one table of hooks: which tables are asked in each, in which order, and what each may translate.

Base chains are ordered by it, dumps know their built-in chains from it, and ``scripts/hook_order.py`` draws docs/theory.md's table from it.
Source: include/uapi/linux/netfilter_ipv4.h; the hooks that each table's module registers (iptable_nat.c, iptable_mangle.c and so on).
"""

from __future__ import annotations

from tracer.netfilter.model import Hook, Priority

Asked = tuple[Priority, str]
_RAW, _MANGLE = (Priority.RAW, "raw"), (Priority.MANGLE, "mangle")
_DESTINATION, _SOURCE = (Priority.NAT_DST, "nat"), (Priority.NAT_SRC, "nat")
_FILTER, _SECURITY = (Priority.FILTER, "filter"), (Priority.SECURITY, "security")

HOOKS: dict[Hook, tuple[Asked, ...]] = {
    Hook.PREROUTING: (_RAW, _MANGLE, _DESTINATION),
    Hook.INPUT: (_MANGLE, _FILTER, _SECURITY, _SOURCE),
    Hook.FORWARD: (_MANGLE, _FILTER, _SECURITY),
    Hook.OUTPUT: (_RAW, _MANGLE, _DESTINATION, _FILTER, _SECURITY),
    Hook.POSTROUTING: (_MANGLE, _SOURCE),
}
"""Hook → its tables in the order in which the kernel asks them."""
TRANSLATES = {
    Hook.PREROUTING: ("DNAT", "REDIRECT"),
    Hook.INPUT: ("SNAT",),
    Hook.OUTPUT: ("DNAT", "REDIRECT"),
    Hook.POSTROUTING: ("SNAT", "MASQUERADE"),
}
"""Hook → the targets by which its nat table translates."""
TRACKS = {Hook.PREROUTING: "looks up", Hook.OUTPUT: "looks up", Hook.POSTROUTING: "confirms, last"}
"""Hook → what connection tracking does there, at its own priority where nothing else is said."""
BUILT_IN_CHAINS = tuple(hook.name for hook in Hook)
"""The built-in chains of iptables, one for each hook, in the order in which a forwarded packet could meet them."""
CHAINS_OF_TABLE = {
    table: tuple(hook.name for hook, asked in HOOKS.items() if table in [name for _, name in asked])
    for table in ("raw", "mangle", "nat", "filter", "security")
}
"""Table → its built-in chains."""

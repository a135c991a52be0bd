"""Whether a node's rules can tell a connection's later packets from its first: by state, flags, mark or time, or by a policy that drops.

kube-proxy's own rules let every packet through whose answer the node has seen; what others wrote is looked at by its words. A yes costs a
walk, so words that could matter are enough for it.
"""

from __future__ import annotations

import re

from tracer.netfilter.nft_rule_line import XTABLES
from tracer.packet import Family
from tracer.topology.stack import PROXY_TABLE, NodeStack

_OTHERS = re.compile(
    r"^(?:\[[0-9]+:[0-9]+\] )?-A (?!KUBE-)(?![^\n]* -[jg] KUBE-)[^\n]*"
    r"(?:state|--syn|tcp-(?:flags|option)|mark|ctstatus|connbytes|connlimit|limit|recent|statistic|random|length|time|u32|bpf|ecn|osf|TRACK|TPROXY)"
    r"|^:(?:PREROUTING|INPUT|FORWARD|OUTPUT|POSTROUTING) DROP\b",
    re.ASCII | re.MULTILINE,
)
"""A rule that is not kube-proxy's and asks for more than addresses, or a policy that drops what no rule accepts."""


def may_tell_apart(stack: NodeStack, family: Family) -> bool:
    """Return whether *stack* may treat a later packet of a connection otherwise than the first one."""
    version = 4 if family is Family.IP else 6
    asks_for_marks = any(rule.fwmark or rule.fwmask for rule in stack.routing.rules(version))
    if asks_for_marks or any(stack.mentions(name, _OTHERS) for name in stack.rule_files(family)):
        return True
    tables = stack.nft.ruleset.tables if stack.nft is not None else ()
    others = (t for t in tables if t.family in (family.value, "inet", "netdev", "bridge") and t.name not in (PROXY_TABLE, *XTABLES))
    return any(chain.hook is not None and chain.type != "nat" for table in others for chain in table.chains.values())

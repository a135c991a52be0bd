"""Whether a node's rules can tell a connection's later packets from its first: by state, flags, mark or time, or by a policy that drops.

kube-proxy's own rules let every packet through whose answer the node has seen; what others wrote is looked at by its words. A yes costs a
walk, so words that could matter are enough for it.
"""

from __future__ import annotations

from tracer.netfilter.dump import Dump
from tracer.packet import Family
from tracer.patterns import pattern
from tracer.topology.stack import PROXY_TABLE, NodeStack

_KUBE_PROXYS = "KUBE-"
_LEADS_TO_THEM = pattern(r" -[jg] KUBE-")
_ASKS_FOR_MORE = pattern(
    r"state|--syn|tcp-(?:flags|option)|mark|ctstatus|connbytes|connlimit|limit|recent|statistic|random|length|time|u32|bpf|ecn|osf|TRACK|TPROXY"
)
"""A rule that is not kube-proxy's and asks for more than addresses."""


def may_tell_apart(stack: NodeStack, family: Family) -> bool:
    """Return whether *stack* may treat a later packet of a connection otherwise than the first one."""
    version = 4 if family is Family.IP else 6
    asks_for_marks = any(rule.fwmark or rule.fwmask for rule in stack.routing.rules(version))
    if asks_for_marks or any(dump.judged(_may_tell_apart) for dump in stack.dumps(family)):
        return True
    if stack.nft is None:
        return False
    from tracer.netfilter.nft_rule_line import XTABLES

    tables = stack.nft.ruleset.tables
    others = (t for t in tables if t.family in (family.value, "inet", "netdev", "bridge") and t.name not in (PROXY_TABLE, *XTABLES))
    return any(chain.hook is not None and chain.type != "nat" for table in others for chain in table.chains.values())


def _may_tell_apart(dump: Dump) -> bool:
    """Whether a chain drops what no rule of it accepts, or a rule that is not kube-proxy's asks for more than addresses."""
    for table in dump.tables.values():
        for name, chain in table.chains.items():
            if chain.policy == "DROP":
                return True
            if not name.startswith(_KUBE_PROXYS) and any(_is_anothers(chain.text(place)) for place in range(len(chain))):
                return True
    return False


def _is_anothers(line: str) -> bool:
    return _LEADS_TO_THEM.search(line) is None and _ASKS_FOR_MORE.search(line) is not None

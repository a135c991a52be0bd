"""An echo request where it arrives: the stack itself answers, without a process, unless it was told not to.

Source: icmp_echo in net/ipv4/icmp.c, icmpv6_echo_reply in net/ipv6/icmp.c, Linux 6.18.
"""

from __future__ import annotations

from tracer.simulate.walk import Ending, Walk
from tracer.topology.stack import NodeStack
from tracer.trace import Disposition, Reason

_IGNORED = {4: "net.ipv4.icmp_echo_ignore_all", 6: "net.ipv6.icmp.echo_ignore_all"}


def is_request(walk: Walk) -> bool:
    """Return whether the packet of *walk* is an echo request, which the stack that gets it answers by itself."""
    return not walk.packet.protocol.has_ports and not walk.answering


def ignored(walk: Walk, stack: NodeStack) -> Ending | None:
    """Return the end of an echo request that *stack* ignores, None for any other packet, and where the setting was not recorded."""
    name = _IGNORED[walk.packet.destination.version]
    if not is_request(walk) or stack.routing.get(name) in (None, "0"):
        return None
    text = f"{stack.begins} is told to ignore echo requests ({name} is {stack.routing.get(name)})"
    return walk.end(Disposition.DROPPED, Reason(code="ECHO_IGNORED", text=text))

"""Look up the rules of a long chain by what they pin down, instead of walking them.

Strategy: one regular expression reads what iptables-save prints first (``-s``, ``-d``, ``-p``) and, when nothing but a comment and the
protocol's module stands between, ``--dport``. A rule with a plain single destination goes into that address's bucket, else one with a
plain single destination port into that protocol's and port's bucket, else to the rules that are always walked. Whatever the expression
does not read for certain (a negation, another option before) is always walked, so the index only leaves out rules that cannot match.
"""

from __future__ import annotations

import ipaddress
import re
from heapq import merge

from tracer.packet import Packet

_QUOTED = r'(?:"(?:[^"\\]|\\.)*"|[^\s"]+)'
_HEAD = re.compile(
    r"(?:\[[0-9]+:[0-9]+\] )?-A \S+"
    r"(?: (?:! )?-s [^\s!\"]+)?"
    r"(?: (?P<negated>! )?-d (?P<destination>[0-9a-fA-F.:]+)(?P<prefix>/[^\s!\"]+)?(?= ))?"
    r"(?P<rest>(?: -p (?P<protocol>tcp|udp|sctp)(?= ))?"
    rf"(?: -m comment --comment {_QUOTED})?"
    r"(?: -m addrtype --dst-type LOCAL)?"
    rf"(?: -m comment --comment {_QUOTED})?"
    r"(?: -m (?P<module>tcp|udp|sctp) --dport (?P<port>[0-9]{1,5})(?=\s|$))?)",
    re.ASCII,
)


class ChainIndex:
    """Positions of one chain's rules by destination address and by protocol and port."""

    def __init__(self, texts: list[str]) -> None:
        self._by_destination: dict[str, list[int]] = {}
        self._by_port: dict[tuple[str, str], list[int]] = {}
        self._always: list[int] = []
        for position, text in enumerate(texts):
            found = _HEAD.match(text)
            if found and found["destination"] and not found["negated"] and found["prefix"] in (None, "/32", "/128"):
                destination = _canonical(found["destination"])
                self._by_destination.setdefault(destination, []).append(position)
            elif found and found["port"] and found["protocol"] == found["module"]:
                self._by_port.setdefault((found["module"], found["port"].lstrip("0") or "0"), []).append(position)
            else:
                self._always.append(position)

    def candidates(self, packet: Packet) -> list[int]:
        """Return, in order, the positions of the rules that *packet* may match."""
        addressed = self._by_destination.get(str(packet.destination), ())
        ported = self._by_port.get((packet.protocol.value, str(packet.destination_port)), ())
        return list(merge(self._always, addressed, ported))


def _canonical(text: str) -> str:
    if ":" not in text:
        return text
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return text

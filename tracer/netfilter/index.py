"""Look up the rules of a long chain by what they pin down, instead of walking them.

Strategy: one regular expression reads what iptables-save prints first (``-s``, ``-d``, ``-p``) and, when nothing but a comment and the
protocol's module stands between, ``--dport``. A rule with a plain single destination goes into that address's bucket, else one with a
plain single destination port into that protocol's and port's bucket, else to the rules that are always walked. Whatever the expression
does not read for certain (a negation, another option before) is always walked, so the index only leaves out rules that cannot match.
A rule with a fault is no exception: what its head pins down counts in the plain walk, too.
"""

from __future__ import annotations

import ipaddress
import re
from heapq import merge

from tracer.netfilter import model as m
from tracer.packet import Packet, unsaid
from tracer.patterns import pattern

_QUOTED = r'(?:"(?:[^"\\]|\\.)*"|[^\s"]+)'
_HEAD = pattern(
    r"(?:\[[0-9]+:[0-9]+\] )?-A \S+"
    r"(?: (?:! )?-s [^\s!\"]+)?"
    r"(?: (?P<negated>! )?-d (?P<destination>[0-9a-fA-F.:]+)(?P<prefix>/[^\s!\"]+)?(?= ))?"
    r"(?:(?: -p (?P<protocol>tcp|udp|sctp)(?= ))?"
    rf"(?: -m comment --comment {_QUOTED})?"
    r"(?: -m addrtype --dst-type LOCAL)?"
    rf"(?: -m comment --comment {_QUOTED})?"
    r"(?: -m (?P<module>tcp|udp|sctp) --dport (?P<port>0|[1-9][0-9]{0,4})(?=\s|$))?)",
    re.ASCII,
)
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = pattern(rf"{_OCTET}(?:\.{_OCTET}){{3}}", re.ASCII)
_SINGLE = pattern(rf"-A \S+ -d ({_OCTET}(?:\.{_OCTET}){{3}})(?:/32)? ", re.ASCII)
"""What most rules of a long chain begin with: it says at once what the two above say."""
_PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}

Pin = str | tuple[str, int]
"""What a rule cannot match without: a destination, in canonical text, or a protocol and a destination port."""


def pin_of(text: str) -> Pin | None:
    """Return what the rule of *text* pins down, None when that cannot be read for certain."""
    found = _HEAD.match(text)
    if not found:
        return None
    destination, module, port = found["destination"], found["module"], found["port"]
    if destination and not found["negated"] and (single := _single(destination, found["prefix"])):
        return single
    if port and found["protocol"] == module and int(port) <= 65535:
        return module, int(port)
    return None


def may_match(text: str, packet: Packet) -> bool:
    """Return false only where the rule of *text* asks for another protocol or another destination port than *packet*'s."""
    found = _HEAD.match(text)
    if not found or not found["protocol"]:
        return True
    if found["protocol"] != packet.protocol.value:
        return False
    is_other = found["port"] and found["module"] == found["protocol"] and packet.destination_port is not None
    return not (is_other and int(found["port"]) != packet.destination_port)


def _single(address: str, prefix: str | None) -> str | None:
    """The canonical text of a single address, None for a network, or for what is no address."""
    if ":" not in address:
        return address if prefix in (None, "/32") and _IPV4.fullmatch(address) else None
    if prefix not in (None, "/128"):
        return None
    try:
        return str(ipaddress.IPv6Address(address))
    except ValueError:
        return None


def pinned_matches(text: str) -> tuple[m.Match, ...]:
    """Return what a rule that cannot be read asks for certain: a packet that does not fit passes it by, whatever else it says."""
    pin = pin_of(text)
    if pin is None:
        return ()
    if isinstance(pin, str):
        address = ipaddress.ip_address(pin)
        return (m.AddressMatch("destination", m.AddressMask(int(address), (1 << address.max_prefixlen) - 1, address.version)),)
    protocol, port = pin
    return m.ProtocolMatch(_PROTOCOLS[protocol]), m.PortsMatch("destination", (m.PortRange(port, port),))


class ChainIndex:
    """Positions of one chain's rules by destination address and by protocol and port."""

    def __init__(self, texts: list[str]) -> None:
        self._pinned: dict[Pin, list[int]] = {}
        self._always: list[int] = []
        begins = _SINGLE.match
        for position, text in enumerate(texts):
            pin = found[1] if (found := begins(text)) else pin_of(text)
            (self._always if pin is None else self._pinned.setdefault(pin, [])).append(position)

    def candidates(self, packet: Packet) -> list[int]:
        """Return, in order, the positions of the rules that *packet* may match."""
        if unsaid(packet.destination) is not None:
            return sorted(p for found in (self._always, *self._pinned.values()) for p in found)
        addressed = self._pinned.get(str(packet.destination), ())
        return list(merge(self._always, addressed, self._ported(packet)))

    def _ported(self, packet: Packet) -> list[int]:
        """The rules that pin the packet's port down; where nobody says which that is, those of any port."""
        protocol, port = packet.protocol.value, packet.destination_port
        if port is not None:
            return self._pinned.get((protocol, port), [])
        return sorted(p for pin, found in self._pinned.items() if not isinstance(pin, str) and pin[0] == protocol for p in found)

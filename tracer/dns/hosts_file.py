"""The hosts plugin: inline entries of ``address name…``; entries of a file are not in a snapshot.

Source: plugin/hosts/{hosts,setup}.go of CoreDNS 1.14.
"""

from __future__ import annotations

from tracer.dns.corefile import fall_zones, plugin_zones
from tracer.dns.corefile_text import Line
from tracer.dns.message import ADDRESS_TYPES, Answer, Question, Rcode, Record, unknown
from tracer.dns.names import absolute, address_of_reverse, is_below, longest_zone
from tracer.packet import Address
from tracer.query import parse_address
from tracer.values import dataclass

_TTL = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosts:
    """One ``hosts`` stanza. *file* is the file it reads besides, None for its pod's own /etc/hosts, which names that pod alone."""

    zones: tuple[str, ...]
    entries: tuple[tuple[Address, tuple[str, ...]], ...]
    ttl: int = _TTL
    reverse: bool = True
    fallthrough: tuple[str, ...] | None = None
    file: str | None = None

    @classmethod
    def parse(cls, line: Line, block_zones: tuple[str, ...]) -> Hosts:
        """Return what a ``hosts`` line says. :raises ParseError: a TTL is no number."""
        ttl, reverse, through = _TTL, True, None
        for option in line.block:
            match option.name:
                case "ttl":
                    if len(option.args) != 1 or not option.args[0].isascii() or not option.args[0].isdigit() or len(option.args[0]) > 9:
                        option.wrong_count()
                    ttl = int(option.args[0])
                case "no_reverse":
                    reverse = False
                case "fallthrough":
                    through = fall_zones(option)
        entries = tuple((a, tuple(absolute(n.lower()) for n in o.args)) for o in line.block if (a := parse_address(o.name)) is not None)
        zones = plugin_zones(line.args[1:], block_zones)
        file = line.args[0] if line.args and line.args[0] != "/etc/hosts" else None
        return cls(zones=zones, entries=entries, ttl=ttl, reverse=reverse, fallthrough=through, file=file)

    def answer(self, question: Question) -> Answer | None:
        """Return the answer from the entries, None when the question goes to the next plugin."""
        in_zone = longest_zone(question.name, self.zones) is not None
        if not in_zone and question.rdtype != "PTR":
            return None
        found = self._records(question)
        if found:
            return Answer(rcode=Rcode.NOERROR, answer=found, authoritative=True, plugin="hosts")
        if self.file is not None:
            return unknown("hosts", f"{self.file} in CoreDNS's pod may hold {question.name}; it is not in the snapshot")
        if question.rdtype == "PTR" or (self.fallthrough is not None and any(is_below(question.name, z) for z in self.fallthrough)):
            return None
        known = any(question.name.lower() in names for _, names in self.entries)
        # Without an SOA, by the server's own hand: the plugin writes no name error of its own.
        return Answer(rcode=Rcode.NOERROR if known else Rcode.NXDOMAIN, authoritative=known, plugin="hosts")

    def _records(self, question: Question) -> tuple[Record, ...]:
        name, rdtype = question.name, question.rdtype
        if rdtype == "PTR" and self.reverse:
            address = address_of_reverse(name)
            names = [n for a, found in self.entries if a == address for n in found]
            return tuple(Record(name=name, ttl=self.ttl, rdtype="PTR", rdata=n) for n in names)
        version = ADDRESS_TYPES.get(rdtype)
        mine = [a for a, names in self.entries if name.lower() in names and a.version == version]
        return tuple(Record(name=name, ttl=self.ttl, rdtype=rdtype, rdata=str(a)) for a in mine)

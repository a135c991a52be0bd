"""The table of virtual servers: ``ipvsadm -L -n`` and ``/proc/net/ip_vs``, read to what ``ipvsadm -S -n`` says.

Strategy: a line that begins with a protocol (or FWM) is a virtual server, one that begins with ``->`` a real server of the last one. What
the table does not say: thresholds of connections (no table with weights shows them, and they count as not set, with a word), and in
``/proc`` the schedulers' flags, the persistence engine, and which family a firewall mark is for (that of its real servers, as the kernel
asks of all but tunnels). Refuses, with the command that is wanted: a table
without weights (``--stats``, ``--rate``, ``--thresholds``), names instead of numbers (no ``-n``), and connections (``-c``).
Source: print_service_entry() and print_title() in ipvsadm.c 1.31; ip_vs_info_seq_show() in net/netfilter/ipvs/ip_vs_ctl.c, Linux 6.18,
whose addresses are hexadecimal in network order (0A600001 is 10.96.0.1).
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address

from tracer import pasted
from tracer.errors import Fault, Faults
from tracer.ipvs.model import Forwarding, RealServer, VirtualServer
from tracer.ipvs.words import BadWord, Found, added, assembled, endpoint, granularity, number_of
from tracer.packet import Address, Protocol
from tracer.patterns import pattern
from tracer.query import parse_address

_PROTOCOLS = {"TCP": Protocol.TCP, "UDP": Protocol.UDP, "SCTP": Protocol.SCTP}
_MARKED = "FWM"
_FORWARDING = {
    "Masq": Forwarding.MASQUERADE,
    "Tunnel": Forwarding.TUNNEL,
    "Route": Forwarding.GATEWAY,
    "Local": Forwarding.GATEWAY,  # as ipvsadm -S writes it: fwd_switch()
}
_HEADINGS = ("IP Virtual Server version ", "Prot LocalAddress:Port", "-> RemoteAddress:Port")
_OWN = pattern(r"(?:IP Virtual Server |IPVS connection |Prot |(?:TCP|UDP|SCTP|FWM)  |  -> )", re.ASCII)
_TABLE = pattern(
    r"IP Virtual Server version |Prot LocalAddress:Port|-> RemoteAddress:Port|IPVS connection entries|[ \t](?:Masq|Tunnel)[ \t]", re.ASCII
)
_SERVICE = pattern(r"(?P<protocol>TCP|UDP|SCTP|FWM)[ \t]+(?P<where>\S+)(?P<rest>(?:[ \t]+\S+)*)", re.ASCII)
_HEX = pattern(r"(?:(?P<four>[0-9A-F]{8})|\[(?P<six>[0-9A-Fa-f:]{2,39})\]):(?P<port>[0-9A-F]{4})", re.ASCII)
_HEX_MARK = pattern(r"[0-9A-F]{8}", re.ASCII)
_WHOLE = "ipvsadm -S -n prints them"


def is_table(text: str) -> bool:
    """Return whether *text* is a table, and not what ``ipvsadm -S`` prints."""
    return _TABLE.search(text) is not None


def parse_table(text: str, file: str) -> tuple[tuple[VirtualServer, ...], tuple[Fault, ...]]:
    """Return the virtual servers of a table, and a fault for every line that could not be read."""
    found: Found = {}
    faults = Faults()
    reader = _Reader(found)
    for number, raw in enumerate(pasted.without_margin(text, _OWN).splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith(_HEADINGS[0]):
            continue
        try:
            if not reader.read(line, number) and not pasted.is_around(raw):
                raise BadWord(line.split()[0], "no line of ipvsadm -L -n")
        except BadWord as bad:
            faults.append(bad.fault(file, number, raw))
    return assembled(found, unsorted=reader.is_of_kernel), tuple(faults)


class _Reader:
    """Reads line by line into *found*. *is_of_kernel*: the numbers are hexadecimal, as ``/proc/net/ip_vs`` writes them."""

    def __init__(self, found: Found) -> None:
        self._found = found
        self._last: VirtualServer | None = None
        self._lost = False  # the virtual server of the next lines could not be read
        self.is_of_kernel = False

    def read(self, line: str, number: int) -> bool:
        """Return whether *line* is one of the table's. :raises BadWord: it is, and cannot be read."""
        if line.startswith(_HEADINGS[1]):
            return True
        if line.startswith(_HEADINGS[2]):
            # The kernel's heading has one space where ipvsadm aligns its columns.
            self.is_of_kernel = line.startswith("-> RemoteAddress:Port Forward")
            if "Weight" not in line or "Forward" not in line:
                raise BadWord("->", f"a table without the weights and ways of real servers; {_WHOLE}")
            return True
        if line.startswith("IPVS connection entries"):
            raise BadWord("IPVS", f"connections, and no virtual servers; {_WHOLE}")
        if line.startswith("->"):
            self._real_server(line, number)
            return True
        match = _SERVICE.fullmatch(line)
        if match is None:
            return False
        self._last, self._lost = None, True
        server = self._service(match, line, number)
        added(self._found, server)
        self._last, self._lost = server, False
        return True

    def _service(self, match: re.Match[str], line: str, number: int) -> VirtualServer:
        words = match["rest"].split()
        address: Address | None = None
        port, fwmark, version = 0, None, 4
        if match["protocol"] == _MARKED:
            fwmark = self._mark(match["where"])
            if words[:1] == ["IPv6"]:
                version = 6
                words = words[1:]
        else:
            address, port = self._endpoint(match["where"])
            version = address.version
        if not words:
            raise BadWord(line, "the line names no scheduler: it is cut off")
        said = _Said(words[1:], version, is_of_kernel=self.is_of_kernel)
        return VirtualServer(
            protocol=_PROTOCOLS.get(match["protocol"]),
            address=address,
            port=port,
            fwmark=fwmark,
            version=version,
            scheduler=words[0],
            flags=said.flags,
            persistence_timeout=said.persistence,
            granularity=said.granularity,
            persistence_engine=said.engine,
            one_packet=said.one_packet,
            hides_flags=self.is_of_kernel,
            hides_thresholds=True,
            text=line,
            line=number,
        )

    def _real_server(self, line: str, number: int) -> None:
        words = line.split()[1:]
        if self._lost:
            return
        if self._last is None:
            raise BadWord("->", "no virtual server stands before this real server")
        if len(words) != 5 or words[1] not in _FORWARDING:
            raise BadWord(words[1] if len(words) > 1 else "->", f"not a real server with its way, weight and connections; {_WHOLE}")
        address, port = self._endpoint(words[0])
        self._found[self._last.key][1].append(
            RealServer(
                address=address,
                port=port,
                forwarding=_FORWARDING[words[1]],
                weight=number_of(words[2]),
                active=number_of(words[3]),
                inactive=number_of(words[4]),
                text=line,
                line=number,
            )
        )

    def _endpoint(self, word: str) -> tuple[Address, int]:
        if not self.is_of_kernel:
            address, port = endpoint(word)
            if port is None:
                raise BadWord(word, f"{word!r} has no port")
            return address, port
        match = _HEX.fullmatch(word)
        found = None if match is None else parse_address(match["six"]) if match["six"] else IPv4Address(int(match["four"], 16))
        if match is None or found is None:
            raise BadWord(word, f"{word!r} is not an address and port as /proc/net/ip_vs writes them")
        return found, int(match["port"], 16)

    def _mark(self, word: str) -> int:
        if not self.is_of_kernel:
            return number_of(word)
        if not _HEX_MARK.fullmatch(word):
            raise BadWord(word, f"{word!r} is not a mark")
        return int(word, 16)


class _Said:
    """What stands behind a scheduler: its flags, persistence, ``ops``."""

    def __init__(self, words: list[str], version: int, *, is_of_kernel: bool) -> None:
        self.flags: tuple[str, ...] = ()
        self.persistence: int | None = None
        self.granularity = granularity(None, version)
        self.engine: str | None = None
        self.one_packet = False
        left = iter(words)
        for word in left:
            if word == "ops":
                self.one_packet = True
            elif word.startswith("(") and word.endswith(")"):
                self.flags = tuple(filter(None, word[1:-1].split(",")))
            elif word == "persistent":
                self.persistence = number_of(next(left, ""))
                if is_of_kernel:
                    self.granularity = _kernel_mask(next(left, ""), version)
            elif word == "mask":
                self.granularity = granularity(next(left, ""), version)
            elif word == "pe":
                self.engine = next(left, "") or None
            else:
                raise BadWord(word, f"{word!r} is no word of a virtual server's line")


def _kernel_mask(word: str, version: int) -> int:
    """The prefix length of a netmask in hexadecimal. NB: of IPv6 the kernel prints the length with its bytes swapped."""
    if not _HEX_MARK.fullmatch(word):
        raise BadWord(word, f"{word!r} is not a netmask")
    number = int(word, 16)
    if version == 4:
        return granularity(str(IPv4Address(number)), 4)
    swapped = int.from_bytes(number.to_bytes(4, "little"), "big")
    return granularity(str(min(number, swapped)), 6)

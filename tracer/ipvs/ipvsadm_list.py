"""The counters beside the virtual servers: ``ipvsadm -L -n``, also with ``--stats`` or ``--persistent-conn``, and ``-L -c -n``.

Numbers that ipvsadm shortens (12K, 3M) are read as it wrote them, in thousands and millions.
Source: ipvsadm(8) 1.31.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from ipaddress import IPv4Address

from tracer import pasted
from tracer.ipvs.model import RealServer, VirtualServer
from tracer.packet import Address, Protocol, endpoint_text
from tracer.patterns import pattern
from tracer.query import parse_address
from tracer.values import dataclass

_SERVER = pattern(r"^(?P<protocol>TCP|UDP|SCTP|FWM)\s+(?P<where>\S+)\s+(?P<rest>.*)$", re.ASCII)
_REAL = pattern(r"^\s+->\s+(?P<where>\S+)\s+(?P<rest>.*)$", re.ASCII)
_COUNT = pattern(r"(?P<digits>[0-9]{1,20})(?P<unit>[KMGT]?)", re.ASCII)
_UNITS = {"": 1, "K": 1000, "M": 1000_000, "G": 1000_000_000, "T": 1000_000_000_000}
_CONNECTION = pattern(
    r"^(?P<protocol>TCP|UDP|SCTP|IP)\s+(?P<expire>[0-9]{1,9}:[0-9]{2})\s+(?P<state>\S+)\s+"
    r"(?P<source>\S+)\s+(?P<virtual>\S+)\s+(?P<real>\S+)",
    re.ASCII,
)
_ENDPOINT = pattern(r"(?:\[(?P<six>[^\]\s]+)\]|(?P<four>[0-9.]+)):(?P<port>[0-9]{1,5})", re.ASCII)

_KERNELS_CONNECTION = pattern(
    r"(?P<protocol>TCP|UDP|SCTP|IP)\s+(?P<source>\S+) (?P<source_port>[0-9A-F]{4}) (?P<virtual>\S+) (?P<virtual_port>[0-9A-F]{4})"
    r" (?P<real>\S+) (?P<real_port>[0-9A-F]{4}) (?P<state>\S+)\s+(?P<expire>[0-9]{1,9})(?:\s.*)?",
    re.ASCII,
)
"""A line of /proc/net/ip_vs_conn. Source: ip_vs_conn_seq_show in net/netfilter/ipvs/ip_vs_conn.c, Linux 6.18."""
_OWN = pattern(r"IPVS |pro |Pro |(?:TCP|UDP|SCTP|IP) ", re.ASCII)
_HEX4 = pattern(r"[0-9A-F]{8}", re.ASCII)
_HEX6 = pattern(r"\[?(?P<address>[0-9a-f:.]{2,45})\]?", re.ASCII)

Key = tuple[str, str, str]
Endpoint = tuple[Address, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """What one listing counts for one real server; None where that listing does not have the column."""

    active: int | None = None
    inactive: int | None = None
    persistent: int | None = None
    connections: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedConnection:
    """One line of ``ipvsadm -L -c -n``. A template (of a persistent client) has source port 0 and state NONE.

    *expires* is in seconds.
    """

    protocol: Protocol | None
    state: str
    expires: int
    source: Endpoint
    virtual: Endpoint
    real: Endpoint
    line: int

    @property
    def is_template(self) -> bool:
        """Return whether this pins a client to a real server, instead of being a connection."""
        return self.source[1] == 0

    def pins(self, server: VirtualServer, client: Address) -> bool:
        """Return whether this is a template of *server* for *client* (the first address of its network, as the mask leaves it)."""
        if not self.is_template or server.address is None:
            return False
        return (self.protocol, self.source[0], self.virtual) == (server.protocol, client, (server.address, server.port))


def parse_counters(text: str) -> Mapping[Key, Counters]:
    """Return (protocol, virtual server, real server), all as printed → counters, of a listing in any of the three forms."""
    found: dict[Key, Counters] = {}
    heading, server = "", ("", "")
    for line in text.splitlines():
        if line.startswith("Prot "):
            heading = line
        elif line.startswith("  -> RemoteAddress"):
            heading += line
        elif m := _SERVER.match(line):
            server = (m["protocol"], m["where"])
        elif m := _REAL.match(line):
            found[(*server, m["where"])] = _counters(heading, m["rest"].split())
    return found


def _counters(heading: str, words: list[str]) -> Counters:
    if "PersistConn" in heading:
        numbers = [_count(w) for w in words[-3:]]
        return Counters(persistent=numbers[0], active=numbers[1], inactive=numbers[2]) if len(numbers) == 3 else Counters()
    if "InPkts" in heading:
        return Counters(connections=_count(words[0])) if words else Counters()
    if "ActiveConn" in heading and len(words) >= 2:
        return Counters(active=_count(words[-2]), inactive=_count(words[-1]))
    return Counters()


def _count(word: str) -> int | None:
    m = _COUNT.fullmatch(word)
    return int(m["digits"]) * _UNITS[m["unit"]] if m else None


def with_counters(servers: tuple[VirtualServer, ...], counters: Mapping[Key, Counters]) -> tuple[VirtualServer, ...]:
    """Return *servers* with the connections that *counters* counts for their real servers."""
    return tuple(replace(s, real_servers=tuple(_counted(s, r, counters) for r in s.real_servers)) for s in servers)


def _counted(server: VirtualServer, real: RealServer, counters: Mapping[Key, Counters]) -> RealServer:
    protocol = "FWM" if server.protocol is None else server.protocol.value.upper()
    where = str(server.fwmark) if server.fwmark is not None else endpoint_text(server.address, server.port)
    found = counters.get((protocol, where, endpoint_text(real.address, real.port)))
    return real if found is None else replace(real, active=found.active, inactive=found.inactive)


def parse_connections(text: str) -> Iterator[RecordedConnection]:
    """Yield the connections of ``ipvsadm -L -c -n``, or of ``/proc/net/ip_vs_conn``.

    Lines that are none (headings, what a terminal puts around them, what cannot be read) are passed over.
    """
    for number, line in enumerate(pasted.without_margin(text, _OWN).splitlines(), 1):
        m = _CONNECTION.match(line)
        if m is None:
            if (kernels := _KERNELS_CONNECTION.fullmatch(line.strip())) and (read := _of_kernel(kernels, number)):
                yield read
            continue
        ends = [_endpoint(m[name]) for name in ("source", "virtual", "real")]
        source, virtual, real = ends
        if source is None or virtual is None or real is None:
            continue
        minutes, seconds = m["expire"].split(":")
        yield RecordedConnection(
            protocol=None if m["protocol"] == "IP" else Protocol(m["protocol"].lower()),
            state=m["state"],
            expires=int(minutes) * 60 + int(seconds),
            source=source,
            virtual=virtual,
            real=real,
            line=number,
        )


def _of_kernel(m: re.Match[str], line: int) -> RecordedConnection | None:
    ends = [_kernels_endpoint(m[name], m[f"{name}_port"]) for name in ("source", "virtual", "real")]
    source, virtual, real = ends
    if source is None or virtual is None or real is None:
        return None
    protocol = None if m["protocol"] == "IP" else Protocol(m["protocol"].lower())
    return RecordedConnection(
        protocol=protocol, state=m["state"], expires=int(m["expire"]), source=source, virtual=virtual, real=real, line=line
    )


def _kernels_endpoint(word: str, port: str) -> Endpoint | None:
    """NB: unlike the tables of sockets, IPVS prints IPv4 addresses in the order in which they are written (ntohl)."""
    if _HEX4.fullmatch(word):
        return IPv4Address(int(word, 16)), int(port, 16)
    m = _HEX6.fullmatch(word)
    address = parse_address(m["address"]) if m else None
    return None if address is None else (address, int(port, 16))


def _endpoint(word: str) -> Endpoint | None:
    m = _ENDPOINT.fullmatch(word)
    address = parse_address(m["six"] or m["four"]) if m else None
    return None if m is None or address is None else (address, int(m["port"]))

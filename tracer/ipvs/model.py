"""A node's virtual servers and the real servers behind them, and which virtual server a packet is for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import cached_property

from tracer.added import Added
from tracer.errors import Fault
from tracer.packet import Address, Packet, Protocol, endpoint_text
from tracer.values import dataclass

_FTP_DATA = 20


class Forwarding(StrEnum):
    """How a packet gets to a real server; the value is ipvsadm's option."""

    MASQUERADE = "-m"
    TUNNEL = "-i"
    GATEWAY = "-g"


@dataclass(frozen=True, slots=True, kw_only=True)
class RealServer:
    """One real server of a virtual server. Weight 0 drains it: connections it has stay, new ones go elsewhere.

    *active* and *inactive* are the connections it had when ``ipvsadm -L`` was read, None where that is not recorded.
    *text* and *line* are its ``ipvsadm -S`` line.
    """

    address: Address
    port: int
    forwarding: Forwarding = Forwarding.MASQUERADE
    weight: int = 1
    upper_threshold: int = 0
    lower_threshold: int = 0
    active: int | None = None
    inactive: int | None = None
    text: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualServer:
    """One virtual server: an address, a protocol and a port, or a firewall mark (then *address* and *protocol* are None).

    *persistence_timeout* is in seconds, None without persistence; *granularity* the prefix length that makes clients one.
    *in_kernel_order*: the real servers stand as in the kernel's list, and not as ipvsadm sorts them.
    *is_renamed*: all addresses stand for others (a redacted snapshot), so no hash of them is the kernel's.
    *flags* are the scheduler's (``sh-port``, ``sh-fallback``, ``mh-port``, ``mh-fallback``, or ``flag-1`` …); *hides_flags*: what was
    read does not show them. *hides_thresholds*: it does not show up to how many connections real servers take.
    """

    protocol: Protocol | None
    address: Address | None
    port: int = 0
    fwmark: int | None = None
    version: int = 4
    scheduler: str = "wlc"
    flags: tuple[str, ...] = ()
    persistence_timeout: int | None = None
    granularity: int = 32
    persistence_engine: str | None = None
    one_packet: bool = False
    real_servers: tuple[RealServer, ...] = ()
    in_kernel_order: bool = False
    hides_flags: bool = False
    hides_thresholds: bool = False
    is_renamed: bool = False
    text: str = ""
    line: int = 0

    @property
    def key(self) -> tuple[object, ...]:
        """Return what tells this virtual server from the others of the node."""
        return (self.protocol, self.address, self.port, self.fwmark, self.version)

    @property
    def name(self) -> str:
        """Return the virtual server as ipvsadm's options name it: ``-t 10.96.0.1:443``, ``-f 7``."""
        if self.fwmark is not None:
            return f"-f {self.fwmark}" + (" -6" if self.version == 6 else "")
        option = {Protocol.TCP: "-t", Protocol.UDP: "-u"}.get(self.protocol or Protocol.SCTP, "--sctp-service")
        return f"{option} {endpoint_text(self.address, self.port)}"


class VirtualServers:
    """The virtual servers of one node. *file* is where they were read, *faults* are its lines that could not be.

    *made_as* says whose programming they model, "" where they were recorded; *added* are lines that a what-if question
    adds to recorded ones.
    """

    def __init__(
        self, servers: Iterable[VirtualServer], file: str, faults: Iterable[Fault] = (), made_as: str = "", added: Added | None = None
    ) -> None:
        self.servers = tuple(servers)
        self.file = file
        self.faults = tuple(faults)
        self.made_as = made_as
        self.added = added

    def maker(self, line: int) -> str:
        """Return whose programming the server on *line* models, "" where it was recorded."""
        return self.added.by if self.added is not None and self.added.has(line) else self.made_as

    def file_of(self, line: int) -> str:
        """Return the file that *line* stands in."""
        return self.added.file if self.added is not None and self.added.has(line) else self.file

    @cached_property
    def _by_key(self) -> Mapping[tuple[object, ...], VirtualServer]:
        return {server.key: server for server in self.servers}

    @cached_property
    def _has_ftp(self) -> bool:
        return any(s.protocol is Protocol.TCP and s.port == 21 for s in self.servers)

    def find(self, packet: Packet) -> VirtualServer | None:
        """Return the virtual server that takes *packet*: by its mark, else by protocol, address and port, else one for all ports.

        Source: ip_vs_service_find in ip_vs_ctl.c, Linux 6.18.
        """
        version = packet.destination.version
        if packet.mark and (marked := self._by_key.get((None, None, 0, packet.mark, version))):
            return marked
        port = packet.destination_port or 0
        found = self._at(packet, port)
        if found is None and self._has_ftp and packet.protocol is Protocol.TCP and (port == _FTP_DATA or port >= 1024):
            found = self._at(packet, 21)
        return found or self._at(packet, 0)

    def _at(self, packet: Packet, port: int) -> VirtualServer | None:
        return self._by_key.get((packet.protocol, packet.destination, port, None, packet.destination.version))

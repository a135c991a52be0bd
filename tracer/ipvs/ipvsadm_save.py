"""``ipvsadm -S -n`` to virtual servers, and back.

A line that cannot be read is a fault; the virtual server that it belongs to is left as the other lines make it, so the faults must be
looked at before "no such real server" is believed.
Source: ipvsadm(8) 1.31, print_service_and_dests in ipvsadm.c.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from tracer.errors import Fault, Faults
from tracer.ipvs.model import Forwarding, RealServer, VirtualServer
from tracer.packet import Address, Protocol, endpoint_text
from tracer.query import parse_address

_SERVICE_OPTIONS = {
    "-t": Protocol.TCP,
    "--tcp-service": Protocol.TCP,
    "-u": Protocol.UDP,
    "--udp-service": Protocol.UDP,
    "--sctp": Protocol.SCTP,
    "--sctp-service": Protocol.SCTP,
}
_MARK_OPTIONS = ("-f", "--fwmark-service")
_FORWARDING = {
    "-m": Forwarding.MASQUERADE,
    "--masquerading": Forwarding.MASQUERADE,
    "-i": Forwarding.TUNNEL,
    "--ipip": Forwarding.TUNNEL,
    "-g": Forwarding.GATEWAY,
    "--gatewaying": Forwarding.GATEWAY,
}
_SWITCHES = {"-6": "ipv6", "--ipv6": "ipv6", "-o": "ops", "-O": "ops", "--ops": "ops", "--tun-nocsum": "tun", "--tun-csum": "tun"}
_VALUES = {
    "-s": "scheduler",
    "--scheduler": "scheduler",
    "-M": "netmask",
    "--netmask": "netmask",
    "--pe": "engine",
    "-b": "flags",
    "--sched-flags": "flags",
    "-r": "real",
    "--real-server": "real",
    "-w": "weight",
    "--weight": "weight",
    "-x": "upper",
    "--u-threshold": "upper",
    "-y": "lower",
    "--l-threshold": "lower",
    "--tun-type": "tun",
    "--tun-port": "tun",
    "--tun-remcsum": "tun",
}
_DEFAULT_PERSISTENCE = 360
_ENDPOINT = re.compile(r"(?:\[(?P<six>[^\]\s]+)\]|(?P<four>[0-9.]+))(?::(?P<port>[0-9]{1,5}))?", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,10}", re.ASCII)


class _BadWord(Exception):
    """A word that is not what its place asks for."""

    def __init__(self, word: str, message: str) -> None:
        super().__init__(message)
        self.word = word


@dataclass(slots=True)
class _Line:
    """The options of one line. *service* is (protocol, address, port, fwmark)."""

    adds_service: bool
    service: tuple[Protocol | None, Address | None, int, int | None] | None = None
    forwarding: Forwarding = Forwarding.GATEWAY
    persistence: int | None = None
    switches: set[str] = field(default_factory=set)
    values: dict[str, str] = field(default_factory=dict)

    def number(self, name: str, default: int) -> int:
        return default if name not in self.values else _number(self.values[name])


def parse_virtual_servers(text: str, file: str) -> tuple[tuple[VirtualServer, ...], tuple[Fault, ...]]:
    """Return the virtual servers of ``ipvsadm -S -n``, in their order, and the faults of lines that could not be read."""
    found: dict[tuple[object, ...], tuple[VirtualServer, list[RealServer]]] = {}
    faults = Faults()
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        try:
            _read(line, number, found)
        except _BadWord as bad:
            column = max(0, raw.find(bad.word))
            faults.append(Fault(file=file, line=number, column=column, message=str(bad), text=raw))
    ordered = any(_is_unsorted(reals) for _, reals in found.values())
    servers = tuple(replace(server, real_servers=tuple(reals), in_kernel_order=ordered) for server, reals in found.values())
    return servers, tuple(faults)


def _is_unsorted(reals: list[RealServer]) -> bool:
    """Whether ipvsadm did not sort them, as it does unless told otherwise: then every list stands as the kernel has it.

    Source: ipvs_cmp_dests() in libipvs.c, which the option --nosort and ipvsadm before 1.25 leave out.
    """
    keys = [(int(real.address), real.port) for real in reals]
    return keys != sorted(keys)


def _read(text: str, number: int, found: dict[tuple[object, ...], tuple[VirtualServer, list[RealServer]]]) -> None:
    """Read one line into *found*."""
    line = _options(text)
    server = replace(_service(line), text=text, line=number)
    if line.adds_service:
        if server.key in found:
            raise _BadWord(server.name, f"{server.name} is added twice: these are two listings, and which is the node's is not said")
        found[server.key] = server, []
        return
    if server.key not in found:
        raise _BadWord(server.name, f"no virtual server {server.name} was added before its real server")
    known, reals = found[server.key]
    reals.append(replace(_real_server(line, known), text=text, line=number))


def _options(text: str) -> _Line:
    words = text.split()
    if words[0] in ("-A", "--add-service", "-a", "--add-server"):
        line = _Line(adds_service=words[0] in ("-A", "--add-service"))
    else:
        raise _BadWord(words[0], f"{words[0]!r} is neither -A nor -a")
    at = 1
    while at < len(words):
        word = words[at]
        has_value = at + 1 < len(words) and not (words[at + 1].startswith("-") and len(words[at + 1]) > 1)
        if word in _SWITCHES:
            line.switches.add(_SWITCHES[word])
        elif word in _FORWARDING:
            line.forwarding = _FORWARDING[word]
        elif word in ("-p", "--persistent") and not has_value:
            line.persistence = _DEFAULT_PERSISTENCE
        elif not has_value:
            raise _BadWord(word, f"{word!r} needs a value, or is not an option of ipvsadm")
        else:
            at += 1
            _valued(line, word, words[at])
        at += 1
    return line


def _valued(line: _Line, word: str, value: str) -> None:
    if word in _SERVICE_OPTIONS:
        address, port = _endpoint(value)
        line.service = (_SERVICE_OPTIONS[word], address, port or 0, None)
    elif word in _MARK_OPTIONS:
        line.service = (None, None, 0, _number(value))
    elif word in ("-p", "--persistent"):
        line.persistence = _number(value)
    elif word in _VALUES:
        line.values[_VALUES[word]] = value
    else:
        raise _BadWord(word, f"{word!r} is not an option of ipvsadm")


def _service(line: _Line) -> VirtualServer:
    if line.service is None:
        raise _BadWord("-", "the line names no virtual server (-t, -u, --sctp-service or -f)")
    protocol, address, port, fwmark = line.service
    version = address.version if address is not None else 6 if "ipv6" in line.switches else 4
    return VirtualServer(
        protocol=protocol,
        address=address,
        port=port,
        fwmark=fwmark,
        version=version,
        scheduler=line.values.get("scheduler", "wlc"),
        flags=tuple(filter(None, line.values.get("flags", "").split(","))),
        persistence_timeout=line.persistence,
        granularity=_granularity(line.values.get("netmask"), version),
        persistence_engine=line.values.get("engine"),
        one_packet="ops" in line.switches,
    )


def _real_server(line: _Line, server: VirtualServer) -> RealServer:
    if "real" not in line.values:
        raise _BadWord("-a", "the line names no real server (-r)")
    address, port = _endpoint(line.values["real"])
    return RealServer(
        address=address,
        port=server.port if port is None else port,
        forwarding=line.forwarding,
        weight=line.number("weight", 1),
        upper_threshold=line.number("upper", 0),
        lower_threshold=line.number("lower", 0),
    )


def _endpoint(word: str) -> tuple[Address, int | None]:
    m = _ENDPOINT.fullmatch(word)
    address = parse_address(m["six"] or m["four"]) if m else None
    if m is None or address is None or (m["six"] is not None) != (address.version == 6):
        raise _BadWord(word, f"{word!r} is not an address and port (was ipvsadm run without -n?)")
    port = None if m["port"] is None else int(m["port"])
    if port is not None and port > 65535:
        raise _BadWord(word, f"{word!r} has no valid port")
    return address, port


def _number(word: str) -> int:
    if not _NUMBER.fullmatch(word):
        raise _BadWord(word, f"{word!r} is not a number")
    return int(word)


def _granularity(word: str | None, version: int) -> int:
    """Return the prefix length of a persistence netmask: dotted for IPv4, a length for IPv6."""
    if word is None:
        return 32 if version == 4 else 128
    if version == 6:
        length = _number(word)
        if length > 128:
            raise _BadWord(word, f"{word!r} is not a prefix length")
        return length
    try:
        return ipaddress.IPv4Network(f"0.0.0.0/{word}").prefixlen
    except ValueError as error:
        raise _BadWord(word, f"{word!r} is not a netmask") from error


def to_text(servers: tuple[VirtualServer, ...]) -> str:
    """Return *servers* as ``ipvsadm -S -n`` prints them."""
    return "".join(f"{line}\n" for server in servers for line in _lines(server))


def _lines(server: VirtualServer) -> Iterator[str]:
    words = [f"-A {server.name} -s {server.scheduler}"]
    if server.persistence_timeout is not None:
        words.append(f"-p {server.persistence_timeout}")
        if server.granularity != (32 if server.version == 4 else 128):
            mask = ipaddress.IPv4Network(f"0.0.0.0/{server.granularity}").netmask if server.version == 4 else server.granularity
            words.append(f"-M {mask}")
    words += [f"--pe {server.persistence_engine}"] if server.persistence_engine else []
    words += ["-o"] if server.one_packet else []
    words += [f"-b {','.join(server.flags)}"] if server.flags else []
    yield " ".join(words)
    for real in server.real_servers:
        shown = f"-a {server.name} -r {endpoint_text(real.address, real.port)} {real.forwarding} -w {real.weight}"
        limits = f" -x {real.upper_threshold} -y {real.lower_threshold}" if real.upper_threshold or real.lower_threshold else ""
        yield shown + limits

"""``ipvsadm -S -n`` to virtual servers, and back; a table (``ipvsadm -L -n``, ``/proc/net/ip_vs``) in its place is read by ``ipvs_table``.

A line that cannot be read is a fault; the virtual server that it belongs to is left as the other lines make it, so the faults must be
looked at before "no such real server" is believed.
Source: ipvsadm(8) 1.31, print_service_and_dests in ipvsadm.c.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import field, replace

from tracer.errors import Fault, Faults
from tracer.ipvs.ipvs_table import is_table, parse_table
from tracer.ipvs.model import Forwarding, RealServer, VirtualServer
from tracer.ipvs.words import BadWord, Found, added, assembled, endpoint, granularity, number_of
from tracer.packet import Address, Protocol, endpoint_text
from tracer.values import dataclass

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
        return default if name not in self.values else number_of(self.values[name])


def parse_virtual_servers(text: str, file: str) -> tuple[tuple[VirtualServer, ...], tuple[Fault, ...]]:
    """Return the virtual servers of ``ipvsadm -S -n``, in their order, and the faults of lines that could not be read."""
    if is_table(text):
        return parse_table(text, file)
    found: Found = {}
    faults = Faults()
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        try:
            _read(line, number, found)
        except BadWord as bad:
            faults.append(bad.fault(file, number, raw))
    return assembled(found), tuple(faults)


def _read(text: str, number: int, found: Found) -> None:
    """Read one line into *found*."""
    line = _options(text)
    server = replace(_service(line), text=text, line=number)
    if line.adds_service:
        added(found, server)
        return
    if server.key not in found:
        raise BadWord(server.name, f"no virtual server {server.name} was added before its real server")
    known, reals = found[server.key]
    reals.append(replace(_real_server(line, known), text=text, line=number))


def _options(text: str) -> _Line:
    words = text.split()
    if words[0] in ("-A", "--add-service", "-a", "--add-server"):
        line = _Line(adds_service=words[0] in ("-A", "--add-service"))
    else:
        raise BadWord(words[0], f"{words[0]!r} is neither -A nor -a")
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
            raise BadWord(word, f"{word!r} needs a value, or is not an option of ipvsadm")
        else:
            at += 1
            _valued(line, word, words[at])
        at += 1
    return line


def _valued(line: _Line, word: str, value: str) -> None:
    if word in _SERVICE_OPTIONS:
        address, port = endpoint(value)
        line.service = (_SERVICE_OPTIONS[word], address, port or 0, None)
    elif word in _MARK_OPTIONS:
        line.service = (None, None, 0, number_of(value))
    elif word in ("-p", "--persistent"):
        line.persistence = number_of(value)
    elif word in _VALUES:
        line.values[_VALUES[word]] = value
    else:
        raise BadWord(word, f"{word!r} is not an option of ipvsadm")


def _service(line: _Line) -> VirtualServer:
    if line.service is None:
        raise BadWord("-", "the line names no virtual server (-t, -u, --sctp-service or -f)")
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
        granularity=granularity(line.values.get("netmask"), version),
        persistence_engine=line.values.get("engine"),
        one_packet="ops" in line.switches,
    )


def _real_server(line: _Line, server: VirtualServer) -> RealServer:
    if "real" not in line.values:
        raise BadWord("-a", "the line names no real server (-r)")
    address, port = endpoint(line.values["real"])
    return RealServer(
        address=address,
        port=server.port if port is None else port,
        forwarding=line.forwarding,
        weight=line.number("weight", 1),
        upper_threshold=line.number("upper", 0),
        lower_threshold=line.number("lower", 0),
    )


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

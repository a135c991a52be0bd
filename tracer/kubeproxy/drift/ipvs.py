"""A node's virtual servers, ipsets and kube-ipvs0 against the model's; its iptables rules are compared as any others.

kube-proxy takes every virtual server away that is no Service's, so all of them are its business but those of firewall marks. Real servers
of weight 0 drain connections, and are no drift. Of sets only kube-proxy's own are looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address, summarize_address_range

from tracer.ipvs.ipvsadm_save import parse_virtual_servers
from tracer.ipvs.model import RealServer, VirtualServer
from tracer.kube.objects import Objects
from tracer.kubeproxy.drift.finding import Compared, Drift, Finding
from tracer.kubeproxy.drift.ports import is_there
from tracer.kubeproxy.ipvs_rules import IpvsState
from tracer.kubeproxy.ipvs_sets import SETS, set_name
from tracer.netfilter.ipset_save import AddressPart, IpSet, Part, PortPart, parse_sets
from tracer.packet import Address, Protocol, endpoint_text


def compare_servers(text: str, file: str, objects: Objects, states: Sequence[IpvsState]) -> Compared:
    """Return where the virtual servers of ``ipvsadm -S -n`` differ from those of *states*, one a family."""
    recorded, faults = parse_virtual_servers(text, file)
    if faults:
        return Compared(unknown=tuple(map(str, faults[:3])))
    ports = {name: port for state in states for name, port in state.ports_of.items()}
    wanted = {server.name: server for state in states for server in state.servers}
    versions = {state.version for state in states}
    found = {server.name: server for server in recorded if server.fwmark is None and server.version in versions}
    findings = list[Finding]()
    for name, server in wanted.items():
        findings += _server(server, found.get(name), file, ports.get(name, ""))
    for name, server in found.items():
        if name not in wanted:
            findings.append(_unwanted_server(server, file, objects))
    return Compared(findings=tuple(findings))


def _server(expected: VirtualServer, recorded: VirtualServer | None, file: str, port: str) -> Iterator[Finding]:
    place = f"virtual server {expected.name}"
    said = _spelled(expected)
    if recorded is None:
        yield Finding(drift=Drift.MISSING, file=file, place=place, expected=said, service=port)
        return
    if _spelled(recorded) != said:
        yield _on_line(Drift.DIFFERENT, file, place, recorded, expected=said, port=port)
    wanted = {(r.address, r.port): r for r in expected.real_servers}
    found = {(r.address, r.port): r for r in recorded.real_servers}
    for target, real in wanted.items():
        other = found.get(target)
        if other is None:
            yield Finding(drift=Drift.MISSING, file=file, place=place, expected=_real(expected, real), service=port)
        elif (other.forwarding, other.weight) != (real.forwarding, real.weight):
            yield _on_line(Drift.DIFFERENT, file, place, other, expected=_real(expected, real), port=port)
    for target, real in found.items():
        if target not in wanted and real.weight:
            yield _on_line(Drift.STALE, file, place, real, port=port)


def _unwanted_server(server: VirtualServer, file: str, objects: Objects) -> Finding:
    """Return what a virtual server is that the model does not have."""
    place, protocol = f"virtual server {server.name}", server.protocol or Protocol.TCP
    by_node_port = [(s, p) for s, p in objects.services_with_node_port(server.port, protocol)]
    by_address = [s for s, _ in objects.services_with_address(server.address)] if server.address is not None else []
    service = next((s for s, _ in by_node_port), next(iter(by_address), None))
    port = f"{service.namespace}/{service.name}" if service else ""
    return _on_line(Drift.STALE if service else Drift.LEFTOVER, file, place, server, port=port)


def _on_line(drift: Drift, file: str, place: str, one: VirtualServer | RealServer, *, expected: str = "", port: str = "") -> Finding:
    return Finding(drift=drift, file=file, place=place, line=one.line, text=one.text, expected=expected, service=port)


def _spelled(server: VirtualServer) -> str:
    """Return what kube-proxy chooses of a virtual server, as ipvsadm spells it."""
    persistence = f" -p {server.persistence_timeout}" if server.persistence_timeout is not None else ""
    flags = f" -b {','.join(server.flags)}" if server.flags and not server.hides_flags else ""
    return f"-A {server.name} -s {server.scheduler}{persistence}{flags}"


def _real(server: VirtualServer, real: RealServer) -> str:
    return f"-a {server.name} -r {endpoint_text(real.address, real.port)} {real.forwarding} -w {real.weight}"


def compare_sets(text: str, file: str, objects: Objects, states: Sequence[IpvsState]) -> Compared:
    """Return where kube-proxy's sets in ``ipset save`` or ``ipset list`` differ from those of *states*."""
    recorded, faults = parse_sets(text, file)
    if faults:
        return Compared(unknown=tuple(map(str, faults[:3])))
    findings = list[Finding]()
    for state in states:
        expected, _ = parse_sets("\n".join(state.save_sets()) + "\n", "the model")
        for name in SETS:
            own = set_name(name, state.version)
            findings += _set(own, expected[own], recorded.get(own), file, objects, state.ports_of)
    return Compared(findings=tuple(findings))


def _set(name: str, expected: IpSet, recorded: IpSet | None, file: str, objects: Objects, ports: Mapping[str, str]) -> Iterator[Finding]:
    place = f"set {name}"
    if recorded is None:
        yield Finding(drift=Drift.MISSING, file=file, place=place, expected=f"create {name} {expected.type}")
        return
    if recorded.type != expected.type:
        text = f"create {name} {recorded.type}"
        yield Finding(drift=Drift.DIFFERENT, file=file, place=place, text=text, expected=f"create {name} {expected.type}")
        return
    wanted, found = dict.fromkeys(expected.entries), dict.fromkeys(recorded.entries)
    for entry in wanted:
        if entry not in found:
            text = _entry(entry)
            yield Finding(drift=Drift.MISSING, file=file, place=place, expected=text, service=ports.get(f"{name} {text}", ""))
    for entry in found:
        if entry not in wanted:
            port = _port_of(entry, objects)
            drift = Drift.STALE if port and is_there(objects, port) else Drift.LEFTOVER
            yield Finding(drift=drift, file=file, place=place, text=_entry(entry), service=port)


def _entry(parts: tuple[Part, ...]) -> str:
    return ",".join(map(_part, parts))


def _part(part: Part) -> str:
    match part:
        case AddressPart(low=low, high=high, version=version):
            first, last = _address(low, version), _address(high, version)
            return str(first) if low == high else ",".join(map(str, summarize_address_range(first, last)))
        case PortPart(protocol=protocol, ports=ports):
            name = next((f"{p}:" for p in (Protocol.TCP, Protocol.UDP, Protocol.SCTP) if p.number == protocol), "")
            return f"{name}{ports.low}"
        case _:
            return part.text


def _address(value: int, version: int) -> Address:
    size = 4 if version == 4 else 16
    return ip_address(value.to_bytes(size))


def _port_of(entry: tuple[Part, ...], objects: Objects) -> str:
    """Return the Service port whose address, or node port, an entry begins with; "" where no Service has it."""
    first = entry[0]
    if isinstance(first, AddressPart):
        held = objects.services_with_address(_address(first.low, first.version))
        number = entry[1].ports.low if len(entry) > 1 and isinstance(entry[1], PortPart) else None
        named = [(s, p) for s, _ in held for p in s.ports if number in (None, p.port)]
    elif isinstance(first, PortPart):
        protocols = (Protocol.TCP, Protocol.UDP, Protocol.SCTP)
        named = [found for p in protocols for found in objects.services_with_node_port(first.ports.low, p)]
    else:
        named = []
    return next((f"{s.namespace}/{s.name}:{p.name}" if p.name else f"{s.namespace}/{s.name}" for s, p in named), "")


def compare_bound(
    held: Sequence[Address], elsewhere: Sequence[Address], file: str, objects: Objects, states: Sequence[IpvsState]
) -> Compared:
    """Return where the addresses that kube-ipvs0 has *held* differ from those that the virtual servers of *states* need.

    What another device holds (*elsewhere*) kube-proxy does not give to its own.
    """
    wanted = {ip_address(text): state for state in states for text in state.bound}
    place = "device kube-ipvs0"
    findings = [
        Finding(drift=Drift.MISSING, file=file, place=place, expected=str(address), service=_named(address, objects))
        for address in wanted
        if address not in held and address not in elsewhere
    ]
    versions = {state.version for state in states}
    for address in held:
        if address.version in versions and address not in wanted:
            service = _named(address, objects)
            drift = Drift.STALE if service else Drift.LEFTOVER
            findings.append(Finding(drift=drift, file=file, place=place, text=str(address), service=service))
    return Compared(findings=tuple(findings))


def _named(address: Address, objects: Objects) -> str:
    return next((f"{s.namespace}/{s.name}" for s, _ in objects.services_with_address(address)), "")

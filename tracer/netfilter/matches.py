"""Whether a packet matches: yes, no, unknown, or with exact odds.

One function a match; each reads the View and nothing else. Unknown is an answer of its own and names what is missing.
Source: the xt_*.c files of Linux 6.18, iptables-extensions(8).
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from tracer.netfilter import ipset_save
from tracer.netfilter import model as m
from tracer.netfilter.model import Hook
from tracer.netfilter.view import LOOPBACK, NO_BRIDGE, UNKNOWN_PORT, UnknownAnswer, View, is_unnamed, is_version
from tracer.packet import Address, Protocol, unsaid, which

Answer = bool | UnknownAnswer | Fraction

_UNNAMED = "which device the packet crosses is not in the snapshot (ip-link.json)"
_DSCP_BITS = 0xFC  # of the type-of-service byte; the other two are the congestion bits
_STATUS_UNKNOWN = "conntrack status beyond NAT is not modelled"


def test(match: m.Match, view: View) -> Answer:
    """Return True, False, the odds of a random match, or what is missing to tell."""
    return _TESTS[type(match)](match, view)


def _unknown(text: str, code: str = "UNKNOWN_MATCH") -> UnknownAnswer:
    return UnknownAnswer(code, text)


def _in(address: Address, network: m.AddressMask, *, negated: bool) -> Answer:
    if unsaid(address) is not None and is_version(address, network.version) and network.mask:
        return negated if _is_loopback(network) else not_said(address)
    return (is_version(address, network.version) and int(address) & network.mask == network.value) != negated


def _is_loopback(network: m.AddressMask) -> bool:
    """Whether *network* holds loopback addresses only: no node sends to others from one by its own choice."""
    if network.version == 4:
        return network.mask >> 24 == 0xFF and network.value >> 24 == 0x7F
    return network.value == 1 and network.mask == (1 << 128) - 1


def not_said(address: Address) -> UnknownAnswer:
    """Return the answer to whoever asks for an address of which only the owner is known."""
    return _unknown(f"{which(address)} is not in the snapshot{' (ip-addr.json)' if unsaid(address) else ''}", "DATA_MISSING")


def _address(match: m.AddressMatch, view: View) -> Answer:
    address = view.packet.source if match.side == "source" else view.packet.destination
    return _in(address, match.network, negated=match.negated)


def _interface(match: m.InterfaceMatch, view: View) -> Answer:
    device = (view.in_device if match.side == "in" else view.out_device) or ""
    if is_unnamed(device) and match.pattern not in ("+", LOOPBACK):
        return _unknown(_UNNAMED)
    return interface_matches(match.pattern, device) != match.negated


def interface_matches(pattern: str, device: str) -> bool:
    """Return whether *device* (empty: the hook has none) matches an iptables interface pattern.

    NB: only a pattern of a single ``+``, which is an empty mask, matches no device at all. Source: ifname_compare_aligned in x_tables.h.
    """
    if pattern.endswith("+"):
        return device.startswith(pattern[:-1])
    return device == pattern


def _protocol(match: m.ProtocolMatch, view: View) -> Answer:
    if match.number == 0:
        return True
    return (view.packet.protocol.number == match.number) != match.negated


def _fragment(match: m.FragmentMatch, view: View) -> Answer:
    return match.negated  # conntrack defragments before any rule but raw sees the packet, and a traced packet is whole


def _ports(match: m.PortsMatch, view: View) -> Answer:
    packet = view.packet
    if packet.protocol in (Protocol.ICMP, Protocol.ICMPV6):
        return False
    source = None if packet.source_port_random else packet.source_port
    first, second = (source, packet.source_port_random), (packet.destination_port, packet.destination_port_random)
    sides = {"source": (first,), "destination": (second,), "either": (first, second)}[match.side]
    answers = [_port_in(port, match.ranges, m.DRAWN if drawn else view.own_ports) for port, drawn in sides]
    if True in answers:
        return not match.negated
    if None in answers:
        return _unknown("the client's own port is not given")
    return match.negated


def _port_in(port: int | None, ranges: tuple[m.PortRange, ...], likely: m.PortRange) -> bool | None:
    """Whether a port is in one of *ranges*; for a port that nobody said, only where all or none of the *likely* ones are."""
    if port is not None:
        return any(port in r for r in ranges)
    first = likely.low
    for found in sorted(ranges, key=lambda r: r.low):
        if found.low <= first <= found.high:
            first = found.high + 1
    if first > likely.high:
        return True
    return None if any(r.low <= likely.high and r.high >= likely.low for r in ranges) else False


def _tcp_flags(match: m.TcpFlagsMatch, view: View) -> Answer:
    if view.packet.protocol is not Protocol.TCP:
        return False
    if view.tcp_flags is None:
        return _unknown("the TCP flags are not known")
    return (view.tcp_flags & match.mask == match.compare) != match.negated


def _icmp_type(match: m.IcmpTypeMatch, view: View) -> Answer:
    if view.packet.protocol not in (Protocol.ICMP, Protocol.ICMPV6):
        return False
    if match.type is None:  # whatever the code says. Source: icmp_type_code_match in ip_tables.c.
        return not match.negated
    if view.icmp is None:
        return _unknown("the ICMP type of the packet is not known")
    kind, code = view.icmp
    return (kind == match.type and code in match.code) != match.negated


def _addrtype(match: m.AddrtypeMatch, view: View) -> Answer:
    device = view.in_device if match.limit_in else view.out_device if match.limit_out else None
    for types, negated, address in (
        (match.source_types, match.source_negated, view.packet.source),
        (match.destination_types, match.destination_negated, view.packet.destination),
    ):
        if types is None:
            continue
        if device == UNKNOWN_PORT:
            return _unknown(_UNNAMED, "DATA_MISSING")
        held = view.routing.has_address_type(address, types, device)
        if held is None:
            return _unknown(f"the routing tables that say what kind of address {address} is are not in the snapshot")
        if held == negated:
            return False
    return True


def _comment(match: m.CommentMatch, view: View) -> Answer:
    return True


def _ct_state(match: m.CtStateMatch, view: View) -> Answer:
    if view.state == "UNKNOWN":
        return _unknown("the state of this connection is not known")
    held = view.state in match.states
    if view.connection and view.state not in ("UNTRACKED", "INVALID"):
        held = held or ("DNAT" in match.states and view.connection.has_dnat) or ("SNAT" in match.states and view.connection.has_snat)
    return held != match.negated


def _ct_status(match: m.CtStatusMatch, view: View) -> Answer:
    return _unknown(_STATUS_UNKNOWN)


def _ct_direction(match: m.CtDirectionMatch, view: View) -> Answer:
    if view.connection is None and not view.template:
        return match.with_state
    return (match.direction == "REPLY") == view.reply


def _ct_address(match: m.CtAddressMatch, view: View) -> Answer:
    if view.template:
        return (match.network.value == 0) != match.negated
    if view.connection is None:
        return match.with_state
    found = view.connection.original if match.tuple_name == "orig" else view.connection.reply
    return _in(found.source if match.side == "source" else found.destination, match.network, negated=match.negated)


def _ct_port(match: m.CtPortMatch, view: View) -> Answer:
    if view.template:
        return (0 in match.ports) != match.negated
    if view.connection is None:
        return match.with_state
    found = view.connection.original if match.tuple_name == "orig" else view.connection.reply
    port = found.source_port if match.side == "source" else found.destination_port
    likely = m.DRAWN if port == "random" else view.own_ports
    held = _port_in(port if isinstance(port, int) else None, (match.ports,), likely)
    return _unknown("the source port is not given") if held is None else held != match.negated


def _ct_protocol(match: m.CtProtocolMatch, view: View) -> Answer:
    if view.connection is None and not view.template:
        return match.with_state
    number = 0 if view.template else view.packet.protocol.number
    return (number == match.number) != match.negated


def _mark(match: m.MarkMatch, view: View) -> Answer:
    if match.connection and view.connection is None and not view.template:
        return False
    mark = view.connection_mark if match.connection else view.packet.mark
    return (mark & match.mask == match.value) != match.negated


def _set(match: m.SetMatch, view: View) -> Answer:
    if match.options and any(not o.startswith(("--return-nomatch", "--update-", "! --update-")) for o in match.options):
        return _unknown(f"set {match.name} is asked for counters, which the snapshot does not follow", "UNMODELLED_MATCH")
    if "--return-nomatch" in match.options:
        return _unknown(f"set {match.name} is asked with --return-nomatch", "UNMODELLED_MATCH")
    if view.sets is None:
        return _unknown(f"the members of set {match.name} are not in the snapshot (ipset-save.txt)", "DATA_MISSING")
    found = view.sets.get(match.name)
    if found is None:
        return _unknown(f"set {match.name} is not in ipset-save.txt", "DATA_MISSING")
    asked = {"src": view.packet.source, "dst": view.packet.destination}
    key = set_key(view)
    if open_sides := frozenset(side for side in match.directions if side in asked and unsaid(asked[side]) is not None):
        if ipset_save.could_contain(found, key, match.directions, open_sides):
            return not_said(next(asked[side] for side in match.directions if side in open_sides))
        return match.negated
    answer = ipset_save.contains(found, key, match.directions, view.sets)
    if answer is None:
        return _unknown(f"set {match.name} ({found.type}) cannot be answered from the snapshot")
    return answer != match.negated


def set_key(view: View) -> ipset_save.Key:
    """Return what a packet offers to sets."""
    packet = view.packet
    source_port, destination_port = None if packet.source_port_random else packet.source_port, packet.destination_port
    if view.icmp is not None:  # on either side, a message's type and code are what a port is. Source: ip_set_get_ip4_port
        source_port = destination_port = view.icmp[0] << 8 | view.icmp[1]
    return ipset_save.Key(
        source=packet.source,
        destination=packet.destination,
        protocol=packet.protocol.number,
        source_port=source_port,
        destination_port=destination_port,
        source_drawn=packet.source_port_random,
        destination_drawn=packet.destination_port_random,
        in_device=view.in_device,
        out_device=view.out_device,
        mark=packet.mark,
        own_ports=view.own_ports,
    )


def _range(match: m.RangeMatch, view: View) -> Answer:
    address = view.packet.source if match.side == "source" else view.packet.destination
    if not is_version(address, match.version):
        return False
    if unsaid(address) is not None:
        return not_said(address)
    return (match.low <= int(address) <= match.high) != match.negated


def _mac(match: m.MacMatch, view: View) -> Answer:
    if view.in_device is None or view.hook in (Hook.OUTPUT, Hook.POSTROUTING):
        return False
    return _unknown("the sender's MAC address is not modelled")


def _physdev(match: m.PhysdevMatch, view: View) -> Answer:
    if not view.bridge_seen:
        return _unknown(NO_BRIDGE, "DATA_MISSING")
    port = {"in": view.phys_in, "out": view.phys_out}.get(match.question)
    if port == UNKNOWN_PORT and match.pattern != "+":
        return _unknown("which port of the bridge the packet crosses is not in the snapshot")
    held = {
        "is-in": view.phys_in is not None,
        "is-out": view.phys_out is not None,
        "is-bridged": view.bridged,
        "in": view.phys_in is not None and interface_matches(match.pattern, view.phys_in),
        "out": view.phys_out is not None and interface_matches(match.pattern, view.phys_out),
    }[match.question]
    return held != match.negated


def _pkttype(match: m.PkttypeMatch, view: View) -> Answer:
    destination = view.packet.destination
    if destination.is_multicast:
        return (match.type == "multicast") != match.negated
    return (match.type == "unicast") != match.negated


def _recent(match: m.RecentMatch, view: View) -> Answer:
    address = view.packet.source if match.side == "source" else view.packet.destination
    if match.action == "set":
        return not match.negated
    if (match.name, str(address)) in view.recent:
        return (
            not match.negated
            if (match.hitcount or 1) <= 1 and not match.ttl
            else _unknown(f"how often {address} was seen in list {match.name}")
        )
    return match.negated


def _random(match: m.RandomMatch, view: View) -> Answer:
    return 1 - match.chance if match.negated else match.chance


def _nth(match: m.NthMatch, view: View) -> Answer:
    share = Fraction(1, match.every)
    return 1 - share if match.negated else share


def _owner(match: m.OwnerMatch, view: View) -> Answer:
    if not view.local_process:
        return match.negated
    if match.question == "socket-exists":
        return not match.negated
    return _unknown(f"the {match.question.removesuffix('-owner')} of the sending process is not in the snapshot")


def _rpfilter(match: m.RpfilterMatch, view: View) -> Answer:
    answer = view.reverse_path(match) if view.reverse_path else None
    if answer is None:
        return _unknown("the route back to the source is not known")
    return answer != match.inverted


def _nfacct(match: m.NfacctMatch, view: View) -> Answer:
    return True


def _header(match: m.HeaderMatch, view: View) -> Answer:
    value = {"dscp": view.dscp, "length": view.length, "ttl": view.ttl}[match.field]
    if value is None:
        return _unknown(f"the packet's {match.field} is not given")
    return (match.low <= value & match.mask <= match.high) != match.negated


def _tos(match: m.TosMatch, view: View) -> Answer:
    """NB: nobody says the two congestion bits; they decide only where the other six fit. Source: tos_mt in xt_dscp.c, Linux 6.18."""
    asked, wanted = match.mask & _DSCP_BITS, match.value & _DSCP_BITS
    is_impossible = bool(match.value & ~match.mask)
    if is_impossible or (view.dscp is not None and (view.dscp << 2) & asked != wanted):
        return match.negated
    if view.dscp is None and asked:
        return _unknown("the packet's type of service is not given")
    if match.mask & ~_DSCP_BITS:
        return _unknown("the packet's congestion bits (ECN) are not given")
    return not match.negated


def _cgroup(match: m.CgroupMatch, view: View) -> Answer:
    if not view.local_process:
        return False
    return _unknown("the control group of the sending process is not in the snapshot")


def _unmodelled(match: m.UnmodelledMatch, view: View) -> Answer:
    return _unknown(f"-m {match.module} {match.text}".rstrip() + " has no model", "UNMODELLED_MATCH")


_TESTS: dict[type, Callable[[Any, View], Answer]] = {
    m.AddressMatch: _address,
    m.InterfaceMatch: _interface,
    m.ProtocolMatch: _protocol,
    m.FragmentMatch: _fragment,
    m.PortsMatch: _ports,
    m.TcpFlagsMatch: _tcp_flags,
    m.IcmpTypeMatch: _icmp_type,
    m.AddrtypeMatch: _addrtype,
    m.CommentMatch: _comment,
    m.CtStateMatch: _ct_state,
    m.CtStatusMatch: _ct_status,
    m.CtDirectionMatch: _ct_direction,
    m.CtAddressMatch: _ct_address,
    m.CtPortMatch: _ct_port,
    m.CtProtocolMatch: _ct_protocol,
    m.MarkMatch: _mark,
    m.SetMatch: _set,
    m.RangeMatch: _range,
    m.MacMatch: _mac,
    m.PhysdevMatch: _physdev,
    m.PkttypeMatch: _pkttype,
    m.RecentMatch: _recent,
    m.RandomMatch: _random,
    m.NthMatch: _nth,
    m.OwnerMatch: _owner,
    m.RpfilterMatch: _rpfilter,
    m.NfacctMatch: _nfacct,
    m.HeaderMatch: _header,
    m.TosMatch: _tos,
    m.CgroupMatch: _cgroup,
    m.UnmodelledMatch: _unmodelled,
}

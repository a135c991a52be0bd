"""What the statements of native rules do, in the terms that iptables targets have: translations, refusals, and changes of a packet.

Source: nft_nat.c, nft_reject.c, nft_meta.c, nft_payload.c, Linux 6.18.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from tracer.netfilter import model as m
from tracer.netfilter import nft_model as n
from tracer.netfilter.nft_print import element_text
from tracer.netfilter.nft_set_index import Value
from tracer.netfilter.nft_values import label_memory
from tracer.netfilter.view import View
from tracer.packet import Family, Packet, Protocol

# What icmpx codes are for IPv6. Source: nft_reject_icmpv6_code.
_ICMPX_OF_SIX = {
    "icmp-port-unreachable": "icmp6-port-unreachable",
    "icmp-net-unreachable": "icmp6-no-route",
    "icmp-host-unreachable": "icmp6-addr-unreachable",
    "icmp-admin-prohibited": "icmp6-adm-prohibited",
}


def refusal(statement: n.Reject, packet: Packet) -> m.Reject:
    """Return the refusal that *packet* gets: icmpx is what its family calls it."""
    answer = statement.reject_with
    return m.Reject(_ICMPX_OF_SIX.get(answer, answer) if packet.family is Family.IP6 else answer)


def lacks_dependency(statement: n.Reject, packet: Packet) -> bool:
    """Return whether the match that nft puts before such a refusal, and leaves out of the listing, fails. Source: stmt_evaluate_reject."""
    if statement.reject_with == "tcp-reset":
        return packet.protocol is not Protocol.TCP
    family = Family.IP6 if statement.text.startswith("with icmpv6") else Family.IP if statement.text.startswith("with icmp ") else None
    return family is not None and family is not packet.family


def chosen_element(statement: n.Nat, address: Value, port: Value | None) -> dict[str, str]:
    """Return, as a name of the step, the element of the rule's own map that gives this address and port."""
    if not isinstance(statement.address, n.MapLookup) or not isinstance(statement.address.map, n.SetLiteral):
        return {}
    wanted = {(address,), (address, port)}
    for element in statement.address.map.elements:
        parts = element.value.parts if isinstance(element.value, n.Concat) else (element.value,)
        if parts in wanted:
            return {"element": element_text(element)}
    return {}


def nat_target(statement: n.Nat, address: Value | None, port: Value | None) -> m.Target | None:
    """Return the NAT target in the terms of ``translate``, None when a value is not known or the form has no model."""
    random = any(f in ("random", "fully-random") for f in statement.flags)
    ports = _port_range(port)
    if (port is not None and ports is None) or statement.prefix:
        return None
    if statement.kind == "masquerade":
        return m.Masquerade(ports, random)
    if statement.kind == "redirect":
        return m.Redirect(ports, random)
    low, high = (address.low, address.high) if isinstance(address, n.Interval) else (address, address)
    if address is not None and not (isinstance(low, IPv4Address | IPv6Address) and isinstance(high, IPv4Address | IPv6Address)):
        return None
    kind = m.Dnat if statement.kind == "dnat" else m.Snat
    chosen = m.NatRange(
        low if isinstance(low, IPv4Address | IPv6Address) else None,
        high if isinstance(high, IPv4Address | IPv6Address) else None,
        ports,
        random,
        "persistent" in statement.flags,
    )
    return kind(chosen)


def _port_range(port: Value | None) -> m.PortRange | None:
    if isinstance(port, int):
        return m.PortRange(port, port)
    if isinstance(port, n.Interval) and isinstance(port.low, int) and isinstance(port.high, int):
        return m.PortRange(port.low, port.high)
    return None


def assigned(target: n.Expression, value: Value, view: View) -> View | None:
    """Return the view after ``… set …``; None when what it sets, or to what, has no model."""
    match target:
        case n.Meta(key="mark") if isinstance(value, int):
            return replace(view, packet=replace(view.packet, mark=value & 0xFFFFFFFF))
        case n.Ct(key="mark") if isinstance(value, int):
            return view if view.connection is None else replace(view, connection_mark=value & 0xFFFFFFFF)
        case n.Ct(key="label") if view.connection is not None:
            return replace(view, recent=view.recent | {label_memory(value, view.connection)})
        case (
            n.Meta(key="nftrace" | "priority" | "pkttype" | "secmark")
            | n.Ct(key="event" | "helper" | "secmark" | "timeout" | "expectation" | "label")
        ):
            return view
        case n.Payload(field="dscp") if isinstance(value, int):
            return replace(view, dscp=value)
        case n.Payload(field="ttl" | "hoplimit") if isinstance(value, int):
            return replace(view, ttl=value)
    return None

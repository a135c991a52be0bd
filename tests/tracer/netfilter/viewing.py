"""Views and rule sets for tests of rules: a packet at a hook, and a stack that knows a few addresses."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from ipaddress import ip_address

from tracer.netfilter.dump import Chain
from tracer.netfilter.evaluate import XtablesLanguage
from tracer.netfilter.iptables_save import parse_dump
from tracer.netfilter.leaf import Leaf
from tracer.netfilter.model import Hook
from tracer.netfilter.view import View
from tracer.netfilter.walk import RuleWalk
from tracer.packet import Address, Packet, Protocol


@dataclass(frozen=True)
class KnownTypes:
    """A stack whose address types are given; None is a stack without routes."""

    types: dict[str, str] | None = field(default_factory=lambda: {"192.168.0.1": "LOCAL", "127.0.0.1": "LOCAL", "fd00::1": "LOCAL"})

    def has_address_type(self, address: Address, types: Collection[str], device: str | None = None) -> bool | None:
        if self.types is None:
            return None
        return self.types.get(str(address), "UNICAST") in types and device in (None, "eth0")

    def crosses(self, device: str | None, names: Collection[str]) -> bool | None:
        return None if device is None or device.startswith("?") else device in names

    def address_type(self, address: Address, device: str | None = None) -> str:
        return "UNKNOWN" if self.types is None else self.types.get(str(address), "UNICAST") if device in (None, "eth0") else "UNICAST"


def packet(
    source: str = "10.0.0.9",
    destination: str = "10.96.0.1",
    port: int | None = 80,
    *,
    source_port: int | None = None,
    protocol: str = "tcp",
    mark: int = 0,
) -> Packet:
    """Return a packet."""
    return Packet(
        protocol=Protocol(protocol),
        source=ip_address(source),
        destination=ip_address(destination),
        source_port=source_port,
        destination_port=port,
        mark=mark,
    )


def view(sent: Packet | None = None, **fields: object) -> View:
    """Return a view of a packet at PREROUTING that came in by eth0."""
    given: dict[str, object] = {"hook": Hook.PREROUTING, "routing": KnownTypes(), "in_device": "eth0"} | fields
    return View(packet=sent or packet(), **given)  # type: ignore[arg-type]


def chain(rules: str, *, policy: str = "ACCEPT", indexed: bool = True) -> Chain:
    """Return the chain INPUT of a filter table with *rules*; ``:NAME`` lines declare user chains."""
    lines = [line.strip() for line in rules.strip().splitlines()]
    declared = [f"{line} - [0:0]" for line in lines if line.startswith(":")]
    text = "\n".join(["*filter", f":INPUT {policy} [0:0]", *declared, *(x for x in lines if not x.startswith(":")), "COMMIT", ""])
    return parse_dump(text, "f", indexed=indexed).tables["filter"].chains["INPUT"]


def leaves(rules: str, seen: View | None = None, *, policy: str = "ACCEPT", indexed: bool = True) -> list[Leaf]:
    """Return every way the chain of *rules* ends."""
    return list(RuleWalk(XtablesLanguage(chain(rules, policy=policy, indexed=indexed), "ip")).run(seen or view()))

"""NAT's choice of addresses and ports. The tables marked so are what a 6.18 kernel did with real connections."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.netfilter import model as m
from tracer.netfilter.model import Hook, PortRange
from tracer.netfilter.nat_hash import address_of_flow
from tracer.netfilter.scalars import address_mask
from tracer.netfilter.target_options import nat_range
from tracer.netfilter.translate import translate
from tracer.packet import Address, Packet, Protocol


@dataclass(frozen=True)
class Held:
    """A stack with one address for everything, or none."""

    address: str | None = "10.0.0.1"

    def masquerade(self, packet: Packet) -> Address | None:
        return ip_address(self.address) if self.address else None

    redirect = masquerade


def packet(source: str = "10.9.9.9", destination: str = "10.96.0.1", port: int | None = 80, source_port: int | None = None) -> Packet:
    return Packet(
        protocol=Protocol.TCP,
        source=ip_address(source),
        destination=ip_address(destination),
        destination_port=port,
        source_port=source_port,
    )


def shown(target: m.Target, sent: Packet, hook: Hook, held: Held | None = None) -> list[tuple[str, object, str, object, Fraction]]:
    """(source, port, destination, port, share) of every translation."""
    found = []
    for way in translate(target, sent, hook, held or Held()):
        assert way.packet is not None, way.missing
        after = way.packet
        source_port = "random" if after.source_port_random else after.source_port
        found.append((str(after.source), source_port, str(after.destination), after.destination_port, way.share))
    return found


KERNEL_CHOSE = [
    # source, destination, range, --persistent, what the kernel chose
    ("127.0.0.1", "127.0.0.6", "127.0.1.5-127.0.1.8", False, "127.0.1.7"),
    ("127.0.0.1", "127.0.0.6", "127.0.1.5-127.0.1.8", True, "127.0.1.5"),
    ("127.0.0.1", "127.0.0.6", "127.0.1.5-127.0.1.205", False, "127.0.1.139"),
    ("127.0.0.1", "127.0.0.6", "127.0.2.5-127.0.2.20", False, "127.0.2.15"),
    ("127.0.0.1", "127.0.0.7", "127.0.1.5-127.0.1.8", False, "127.0.1.6"),
    ("127.0.0.1", "127.0.0.7", "127.0.1.5-127.0.1.8", True, "127.0.1.5"),
    ("127.0.0.1", "127.0.0.7", "127.0.1.5-127.0.1.205", False, "127.0.1.87"),
    ("127.0.0.1", "127.0.0.7", "127.0.2.5-127.0.2.20", False, "127.0.2.11"),
    ("127.0.0.2", "127.0.0.6", "127.0.1.5-127.0.1.8", False, "127.0.1.7"),
    ("127.0.0.2", "127.0.0.6", "127.0.1.5-127.0.1.8", True, "127.0.1.7"),
    ("127.0.0.2", "127.0.0.6", "127.0.1.5-127.0.1.205", False, "127.0.1.140"),
    ("127.0.0.2", "127.0.0.6", "127.0.2.5-127.0.2.20", False, "127.0.2.15"),
    ("127.3.4.5", "127.6.7.8", "127.0.1.5-127.0.1.8", False, "127.0.1.5"),
    ("127.3.4.5", "127.6.7.8", "127.0.1.5-127.0.1.8", True, "127.0.1.7"),
    ("127.3.4.5", "127.6.7.8", "127.0.1.5-127.0.1.205", False, "127.0.1.29"),
    ("127.3.4.5", "127.6.7.8", "127.0.2.5-127.0.2.20", False, "127.0.2.6"),
    ("127.0.0.9", "127.0.0.6", "127.0.1.5-127.0.1.8", False, "127.0.1.6"),
    ("127.0.0.9", "127.0.0.6", "127.0.1.5-127.0.1.8", True, "127.0.1.8"),
    ("127.0.0.9", "127.0.0.6", "127.0.1.5-127.0.1.205", False, "127.0.1.72"),
    ("127.0.0.9", "127.0.0.6", "127.0.2.5-127.0.2.20", False, "127.0.2.10"),
    ("127.0.0.77", "127.0.3.9", "127.0.1.5-127.0.1.8", False, "127.0.1.8"),
    ("127.0.0.77", "127.0.3.9", "127.0.1.5-127.0.1.8", True, "127.0.1.8"),
    ("127.0.0.77", "127.0.3.9", "127.0.1.5-127.0.1.205", False, "127.0.1.198"),
    ("127.0.0.77", "127.0.3.9", "127.0.2.5-127.0.2.20", False, "127.0.2.20"),
    ("fd00::1", "fd00::2", "fd00::5-fd00::c", False, "fd00::7"),
    ("fd00::1", "fd00::2", "fd00::5-fd00::c", True, "fd00::b"),
    ("fd00::2", "fd00::1", "fd00::5-fd00::c", False, "fd00::9"),
    ("fd00::2", "fd00::1", "fd00::5-fd00::c", True, "fd00::5"),
    ("fd00::1", "fd00::9", "fd00::5-fd00::c", False, "fd00::8"),
    ("fd00::1", "fd00::9", "fd00::5-fd00::c", True, "fd00::b"),
    ("fd00::7", "fd00::2", "fd00::5-fd00::c", False, "fd00::6"),
    ("fd00::7", "fd00::2", "fd00::5-fd00::c", True, "fd00::8"),
]


@pytest.mark.parametrize(("source", "destination", "chosen", "persistent", "expected"), KERNEL_CHOSE)
def test_address_is_the_kernels(source: str, destination: str, chosen: str, persistent: bool, expected: str) -> None:
    low, high = map(ip_address, chosen.split("-"))
    found = address_of_flow(low, high, source=ip_address(source), destination=ip_address(destination), persistent=persistent)
    assert str(found) == expected


@given(st.data())
def test_address_is_in_its_range(data: st.DataObject) -> None:
    version = data.draw(st.sampled_from([4, 6]))
    address = st.ip_addresses(v=version)
    low, high = sorted([data.draw(address), data.draw(address)])
    found = address_of_flow(low, high, source=data.draw(address), destination=data.draw(address), persistent=data.draw(st.booleans()))
    first = 1 << 96 if version == 6 else 1
    # An IPv6 range is chosen word by word; the first word is always within the range's.
    assert int(low) // first <= int(found) // first <= int(high) // first
    assert type(found) is type(low)


DNAT = [
    # --to-destination, the packet's port, ports it may get (what the kernel did: a range without --random gives the lowest port,
    # and leaves a port alone that is in the range)
    ("10.1.1.1", 99, [99]),
    ("10.1.1.1:8080", 99, [8080]),
    ("10.1.1.1:2000-2010", 99, [2000]),
    ("10.1.1.1:2000-2010", 2005, [2005]),
    ("10.1.1.1:2000-2010/90", 99, [2009]),
    (":8080", 99, [8080]),
]


@pytest.mark.parametrize(("to", "port", "ports"), DNAT)
def test_dnat(to: str, port: int, ports: list[int]) -> None:
    address = "10.96.0.1" if to.startswith(":") else "10.1.1.1"
    found = shown(m.Dnat(nat_range(to)), packet(port=port), Hook.PREROUTING)
    assert found == [("10.9.9.9", None, address, p, Fraction(1, len(ports))) for p in ports]


def test_dnat_random_draws_any_port() -> None:
    found = shown(m.Dnat(nat_range("10.1.1.1:2000-2003", random=True)), packet(port=2000), Hook.PREROUTING)
    assert [(x[3], x[4]) for x in found] == [(p, Fraction(1, 4)) for p in range(2000, 2004)]


def test_dnat_random_over_many_ports_is_not_told() -> None:
    (way,) = translate(m.Dnat(nat_range("10.1.1.1:2000-9000", random=True)), packet(), Hook.PREROUTING, Held())
    assert way.packet is None
    assert "more than 64 ports" in way.missing


def test_dnat_of_another_family_is_not_told() -> None:
    (way,) = translate(m.Dnat(nat_range("fd00::1")), packet(), Hook.PREROUTING, Held())
    assert way.packet is None
    assert "another family" in way.missing


SNAT = [
    # --to-source, --random, source, source port, (source, port) after
    ("10.0.0.5", False, "10.9.9.9", 4000, ("10.0.0.5", 4000)),
    ("10.0.0.5", False, "10.9.9.9", None, ("10.0.0.5", None)),
    ("10.0.0.5", True, "10.9.9.9", 4000, ("10.0.0.5", "random")),
    ("10.0.0.5:1000", False, "10.9.9.9", 4000, ("10.0.0.5", 1000)),
    ("10.0.0.5:1000-2000", False, "10.9.9.9", 1500, ("10.0.0.5", 1500)),
    ("10.0.0.5:1000-2000", False, "10.9.9.9", 4000, ("10.0.0.5", "random")),
    ("10.0.0.5:1000-2000", False, "10.9.9.9", None, ("10.0.0.5", "random")),
    # A source that is in the range stays.
    ("10.0.0.5-10.0.0.9", False, "10.0.0.8", 4000, ("10.0.0.8", 4000)),
]


@pytest.mark.parametrize(("to", "random", "source", "port", "expected"), SNAT)
def test_snat(to: str, random: bool, source: str, port: int | None, expected: tuple[str, object]) -> None:
    (found,) = shown(m.Snat(nat_range(to, random=random)), packet(source, source_port=port), Hook.POSTROUTING)
    assert found == (*expected, "10.96.0.1", 80, 1)


def test_masquerade_takes_the_stacks_address() -> None:
    assert shown(m.Masquerade(), packet(source_port=4000), Hook.POSTROUTING) == [("10.0.0.1", 4000, "10.96.0.1", 80, 1)]
    assert shown(m.Masquerade(random=True), packet(source_port=4000), Hook.POSTROUTING) == [("10.0.0.1", "random", "10.96.0.1", 80, 1)]


@pytest.mark.parametrize(("target", "hook"), [(m.Masquerade(), Hook.POSTROUTING), (m.Redirect(), Hook.PREROUTING)])
def test_missing_addresses_are_named(target: m.Target, hook: Hook) -> None:
    (way,) = translate(target, packet(), hook, Held(None))
    assert way.packet is None
    assert "ip-addr.json" in way.missing


REDIRECT = [
    (Hook.OUTPUT, "10.96.0.1", None, ("127.0.0.1", 80)),
    (Hook.OUTPUT, "fd00:96::1", PortRange(8080, 8080), ("::1", 8080)),
    (Hook.PREROUTING, "10.96.0.1", PortRange(2000, 2010), ("10.0.0.1", 2000)),
]


@pytest.mark.parametrize(("hook", "destination", "ports", "expected"), REDIRECT)
def test_redirect(hook: Hook, destination: str, ports: PortRange | None, expected: tuple[str, int]) -> None:
    source = "fd00::9" if ":" in destination else "10.9.9.9"
    (found,) = shown(m.Redirect(ports), packet(source, destination), hook)
    assert found[2:4] == expected


NETMAP = [
    (Hook.PREROUTING, "10.5.0.0/16", "192.168.7.9", ("10.9.9.9", "10.5.7.9")),
    (Hook.POSTROUTING, "10.5.0.0/16", "192.168.7.9", ("10.5.9.9", "192.168.7.9")),
]


@pytest.mark.parametrize(("hook", "network", "destination", "expected"), NETMAP)
def test_netmap(hook: Hook, network: str, destination: str, expected: tuple[str, str]) -> None:
    (found,) = shown(m.Netmap(address_mask(network)), packet(destination=destination), hook)
    assert (found[0], found[2]) == expected


@given(st.integers(0, 65535), st.integers(0, 70), st.booleans(), st.none() | st.integers(0, 65535))
def test_shares_sum_to_one(low: int, more: int, random: bool, port: int | None) -> None:
    chosen = m.NatRange(None, None, PortRange(low, min(65535, low + more)), random)
    ways = list(translate(m.Dnat(chosen), packet(port=port), Hook.PREROUTING, Held()))
    assert sum(w.share for w in ways) == 1

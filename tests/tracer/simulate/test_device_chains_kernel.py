"""Chains of devices (netdev ingress and egress, inet ingress) on plain devices, bridge ports, and what a macvlan lies on: which of them
the kernel asks of a packet, and what the engine says of the same devices.

The kernel that the tests run on has no VLAN devices and no bonds: what is said of those is taken from its source.
"""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.oracle.netns import Namespace, why_not
from tests.tracer.netfilter.viewing import packet
from tracer.limits import Budget
from tracer.netfilter.model import Hook
from tracer.netfilter.nft_rules import NftRules
from tracer.netfilter.view import UnknownAnswer, View
from tracer.packet import Family
from tracer.routing import Routing

REASON = why_not()
pytestmark = [pytest.mark.needs_root, pytest.mark.skipif(REASON is not None, reason=REASON or "")]

PORT = 4444
WAYS = {"eth0": "10.9.0", "br0": "10.9.1", "mv0": "10.9.2"}
"""The near side's device of each network."""
CHAINS = [
    (family, hook, device)
    for family, hooks in (("netdev", ("ingress", "egress")), ("inet", ("ingress",)))
    for hook in hooks
    for device in ("eth0", "eth1", "eth2", "br0", "mv0")
]
_TABLE = (
    'table {family} {family}_{hook}_{device} {{\n\tchain c {{\n\t\ttype filter hook {hook} device "{device}" priority 0; policy accept;\n'
    "\t\tudp dport {port} counter\n\t}}\n}}\n"
)


@dataclass(frozen=True)
class World:
    """Two namespaces with three links between them: a plain one, one that is a port of a bridge, one under a macvlan."""

    near: Namespace
    far: Namespace

    def load(self) -> str:
        """Load every chain anew, and return the listing."""
        text = "".join(_TABLE.format(family=family, hook=hook, device=device, port=PORT) for family, hook, device in CHAINS)
        self.near.run("nft", "-f", "-", text="flush ruleset\n" + text)
        return self.near.run("nft", "list", "ruleset")

    def counted(self) -> set[tuple[str, str, str]]:
        """Return the chains whose rule has counted anything."""
        found = re.findall(r"table \w+ (\w+) \{.*?packets (\d+)", self.near.run("nft", "list", "ruleset"), re.DOTALL)
        return {tuple(name.split("_")) for name, packets in found if packets != "0"}  # type: ignore[misc]

    def send(self, sender: Namespace, to: str) -> None:
        """Send one datagram, and wait for it to have come."""
        receiver = self.far if sender is self.near else self.near
        with receiver.inside():
            heard = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with sender.inside():
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with heard, made:
            heard.bind((to, PORT))
            heard.settimeout(5)
            made.sendto(b"?", (to, PORT))
            heard.recv(1)

    def routing(self) -> Routing:
        """Return what the engine knows of the near side."""
        run = self.near.run
        return Routing.from_texts("n1", ip_addr=run("ip", "-j", "addr"), ip_link=run("ip", "-d", "-j", "link"))


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with contextlib.ExitStack() as stack:
        near, far = (stack.enter_context(Namespace()) for _ in range(2))
        for device in ("eth0", "eth1", "eth2"):
            near.run("ip", "link", "add", device, "type", "veth", "peer", "name", device, "netns", far.path)
        near.run("ip", "link", "add", "br0", "type", "bridge")
        near.run("ip", "link", "add", "eth3", "type", "veth", "peer", "name", "eth3", "netns", far.path)
        near.run("ip", "link", "set", "eth1", "master", "br0")
        near.run("ip", "link", "set", "eth3", "master", "br0")
        near.run("ip", "link", "add", "mv0", "link", "eth2", "type", "macvlan", "mode", "bridge")
        for space, devices in ((near, ("lo", "eth0", "eth1", "eth2", "eth3", "br0", "mv0")), (far, ("lo", "eth0", "eth1", "eth2", "eth3"))):
            for device in devices:
                space.run("ip", "link", "set", device, "up")
        for number, (device, network) in enumerate(WAYS.items()):
            near.run("ip", "addr", "add", f"{network}.1/24", "dev", device)
            far.run("ip", "addr", "add", f"{network}.2/24", "dev", f"eth{number}")
        near.sysctl({"net.ipv4.conf.eth2.arp_ignore": 1})  # else it answers for what the macvlan on it holds
        near.settle()
        far.settle()
        time.sleep(0.3)
        yield World(near, far)


@pytest.mark.parametrize("comes_in", [True, False], ids=["in", "out"])
@pytest.mark.parametrize("device", WAYS)
def test_which_devices_chains_are_asked(world: World, device: str, comes_in: bool) -> None:
    listing, network = world.load(), WAYS[device]
    world.send(world.far if comes_in else world.near, f"{network}.{1 if comes_in else 2}")
    counted = world.counted()
    said = _said(NftRules.from_listing(listing, "nft-ruleset.txt"), world.routing(), device, network, comes_in=comes_in)
    below = {"br0": {"eth1"}, "mv0": {"eth2"}}.get(device, set())
    assert counted == {c for c in CHAINS if c[2] in {device, *below} and (c[1] == "ingress") == comes_in}
    # What lies below is not certain: a bridge has other ports, and two macvlans hand packets to each other.
    assert {c for c, answer in said.items() if answer is True} == {c for c in counted if c[2] == device}
    assert {c for c, answer in said.items() if isinstance(answer, UnknownAnswer)} == {c for c in counted if c[2] != device}


def _said(
    rules: NftRules, routing: Routing, device: str, network: str, *, comes_in: bool
) -> dict[tuple[str, str, str], bool | UnknownAnswer]:
    ends = (f"{network}.2", f"{network}.1") if comes_in else (f"{network}.1", f"{network}.2")
    hook = Hook.PREROUTING if comes_in else Hook.POSTROUTING
    seen = View(
        packet=packet(*ends, PORT, protocol="udp"),
        hook=hook,
        routing=routing,
        in_device=device if comes_in else None,
        out_device=None if comes_in else device,
    )
    return {
        tuple(chain.table.name.split("_")): chain.language(Budget()).is_asked(seen)  # type: ignore[misc]
        for _, chain in rules.chains(hook, Family.IP, set())
    }

"""What a program sees of a packet that does not get through, asked of the kernel itself: client, router and server in three namespaces."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import pytest

from tests.oracle.netns import Namespace, why_not
from tests.tracer.netfilter.viewing import packet
from tracer.packet import Protocol
from tracer.refusals import EXPIRED, REFUSALS, TOO_LARGE, no_listener, seen_by
from tracer.routing import ResultKind
from tracer.simulate.sees import client_sees
from tracer.trace import Disposition, Hop, Outcome, Reason, Reply, Sees, StackKind, Step

_NEAR = {4: ("10.7.1.1", "10.7.1.2", 24), 6: ("fd07:1::1", "fd07:1::2", 64)}
_FAR = {4: ("10.7.2.1", "10.7.2.2", 24), 6: ("fd07:2::1", "fd07:2::2", 64)}
_SEEN = {
    None: Sees.CONNECTED,
    errno.ECONNREFUSED: Sees.REFUSED,
    errno.EHOSTUNREACH: Sees.NO_ROUTE,
    errno.ENETUNREACH: Sees.NET_UNREACHABLE,
    errno.EACCES: Sees.EACCES,
    errno.EPERM: Sees.EPERM,
    errno.EINVAL: Sees.EINVAL,
    errno.ENOPROTOOPT: Sees.NO_PROTOCOL,
    errno.ETIMEDOUT: Sees.TIMEOUT,
}
TRANSPORTS = (Protocol.TCP, Protocol.UDP)


@pytest.fixture(scope="module")
def lab() -> Iterator[tuple[Namespace, Namespace, Namespace]]:
    """The client, a router and a server, with both families."""
    if reason := why_not():
        pytest.skip(reason)
    with Namespace() as client, Namespace() as router, Namespace() as server:
        for name, space, (near, far) in (("cl", client, (2, 1)), ("sv", server, (2, 1))):
            router.run("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", space.path)
            for version, places in ((4, _NEAR[4] if name == "cl" else _FAR[4]), (6, _NEAR[6] if name == "cl" else _FAR[6])):
                only = ("-6",) if version == 6 else ()
                no_wait = ("nodad",) if version == 6 else ()
                router.run("ip", *only, "addr", "add", f"{places[far - 1]}/{places[2]}", "dev", name, *no_wait)
                space.run("ip", *only, "addr", "add", f"{places[near - 1]}/{places[2]}", "dev", "eth0", *no_wait)
            router.run("ip", "link", "set", name, "up")
            for device in ("lo", "eth0"):
                space.run("ip", "link", "set", device, "up")
            for version, places in ((4, _NEAR if name == "cl" else _FAR), (6, _NEAR if name == "cl" else _FAR)):
                space.run("ip", f"-{version}", "route", "add", "default", "via", places[version][0], "dev", "eth0")
        router.sysctl(
            {"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1, "net.ipv4.icmp_ratelimit": 0, "net.ipv6.icmp.ratelimit": 0}
        )
        server.sysctl({"net.ipv4.icmp_ratelimit": 0, "net.ipv6.icmp.ratelimit": 0})
        client.sysctl({"net.ipv4.icmp_ratelimit": 0, "net.ipv6.icmp.ratelimit": 0})
        yield client, router, server


def met(client: Namespace, version: int, protocol: Protocol, *, port: int = 9, to: str | None = None, seconds: float = 0) -> Sees:
    """What a program of the client meets: ``connect`` over TCP; over UDP ``send`` on a connected socket, and the wait for an answer.

    NB: an error that comes while ``connect`` holds the socket counts only when its SYN is sent again, a second later.
    """
    kind = socket.SOCK_STREAM if protocol is Protocol.TCP else socket.SOCK_DGRAM
    with client.inside():
        made = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, kind)
    with made:
        made.settimeout(seconds or (1.6 if protocol is Protocol.TCP else 0.4))
        try:
            made.connect((to or _FAR[version][1], port))
            if protocol is Protocol.UDP:
                made.send(b"?")
                made.recv(1)
        except TimeoutError:
            return Sees.TIMEOUT
        except OSError as error:
            return _SEEN[error.errno]
    return Sees.CONNECTED


def rules(space: Namespace, version: int, *lines: str) -> None:
    """Load a filter table with *lines*."""
    restore = "iptables-restore" if version == 4 else "ip6tables-restore"
    space.run(restore, text="*filter\n" + "".join(f"{line}\n" for line in lines) + "COMMIT\n")


@pytest.mark.parametrize("protocol", TRANSPORTS)
@pytest.mark.parametrize("kind", [kind for kind in REFUSALS if kind not in (*EXPIRED.values(), *TOO_LARGE.values())])
def test_every_kind_of_refusal(lab: tuple[Namespace, Namespace, Namespace], kind: str, protocol: Protocol) -> None:
    client, router, _ = lab
    if kind == "tcp-reset" and protocol is Protocol.UDP:
        pytest.skip("a reset answers TCP only")
    for version in (4, 6) if kind == "tcp-reset" else (6,) if kind.startswith("icmp6") else (4,):
        rules(router, version, f"-A FORWARD -p {protocol.value} -j REJECT --reject-with {kind}")
        try:
            assert met(client, version, protocol) is seen_by(kind, protocol), (kind, version)
        finally:
            rules(router, version)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("protocol", TRANSPORTS)
def test_a_port_that_nobody_listens_on(lab: tuple[Namespace, Namespace, Namespace], version: int, protocol: Protocol) -> None:
    assert met(lab[0], version, protocol) is seen_by(no_listener(protocol, version), protocol) is Sees.REFUSED


def ended(
    protocol: Protocol, version: int, disposition: Disposition, *, hook: str = "", own: bool, reject_with: str | None = None
) -> Outcome:
    """The outcome of a packet that a node sent: in its own stack (*own*), by a rule of *hook* if one is given, or in another's."""
    sent = packet("10.7.1.2", "10.7.2.2", protocol=protocol) if version == 4 else packet("fd07:1::2", "fd07:2::2", protocol=protocol)
    steps = (Step(hook=hook, family="ip", table="filter", chain="c", rule="r", verdict="drop"),) if hook else ()
    first = Hop(
        kind=StackKind.NODE, name="n1", node="n1", came_in=None, went_out=None, packet_in=sent, packet_out=sent, steps=steps if own else ()
    )
    second = Hop(kind=StackKind.NODE, name="n2", node="n2", came_in="eth0", went_out=None, packet_in=sent, packet_out=sent, steps=steps)
    return Outcome(
        probability=Fraction(1),
        disposition=disposition,
        reason=Reason(code="X", text="x"),
        reject_with=reject_with,
        hops=(first,) if own else (first, second),
    )


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("protocol", TRANSPORTS)
@pytest.mark.parametrize(("chain", "own"), [("OUTPUT", True), ("FORWARD", False)])
def test_a_rule_that_drops(lab: tuple[Namespace, Namespace, Namespace], chain: str, own: bool, protocol: Protocol, version: int) -> None:
    space = lab[0] if own else lab[1]
    rules(space, version, f"-A {chain} -p {protocol.value} -j DROP")
    try:
        seen = met(lab[0], version, protocol)
    finally:
        rules(space, version)
    assert seen is client_sees(ended(protocol, version, Disposition.DROPPED, hook=chain.lower(), own=own))


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("protocol", TRANSPORTS)
def test_a_rule_of_the_clients_own_node_that_rejects(lab: tuple[Namespace, Namespace, Namespace], protocol: Protocol, version: int) -> None:
    kind = "icmp-port-unreachable" if version == 4 else "icmp6-port-unreachable"
    rules(lab[0], version, f"-A OUTPUT -p {protocol.value} -j REJECT --reject-with {kind}")
    try:
        seen = met(lab[0], version, protocol, seconds=5)
    finally:
        rules(lab[0], version)
    outcome = ended(protocol, version, Disposition.REJECTED, hook="output", own=True, reject_with=kind)
    assert seen is client_sees(replace(outcome, reply=Reply(disposition=Disposition.DELIVERED)))


_ROUTES = {"unreachable": ResultKind.UNREACHABLE, "prohibit": ResultKind.PROHIBIT, "blackhole": ResultKind.BLACKHOLE}


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("protocol", TRANSPORTS)
@pytest.mark.parametrize("kind", [*_ROUTES, "none"])
def test_a_route_of_ones_own_that_leads_nowhere(
    lab: tuple[Namespace, Namespace, Namespace], kind: str, protocol: Protocol, version: int
) -> None:
    """Those of others are in test_refusals_kernel.py: what they say travels."""
    space = lab[0]
    to = "10.9.9.9" if version == 4 else "fd09::9"
    if kind == "none":
        space.run("ip", f"-{version}", "route", "del", "default")
    else:
        space.run("ip", f"-{version}", "route", "add", kind, to)
    try:
        seen = met(lab[0], version, protocol, to=to)
    finally:
        if kind != "none":
            space.run("ip", f"-{version}", "route", "del", kind, to)
        else:
            space.run("ip", f"-{version}", "route", "add", "default", "via", _NEAR[version][0], "dev", "eth0")
    way = _ROUTES.get(kind, ResultKind.NONE)
    disposition = Disposition.DROPPED if kind == "blackhole" else Disposition.UNREACHABLE
    assert seen is client_sees(ended(protocol, version, disposition, own=True), way)

"""How a no travels, held against the kernel: two pods, two nodes and a switch, rules and ways drawn at random, and what the client's program meets.

Each draw has somebody who refuses (a rule, a route, a policy rule, a closed port, the end of a packet's life, or nobody) and rules that may
stop what comes back: by its protocol, type, state, direction, flags and addresses, in any hook of either node, with and without NAT and
tracking, plain and through a tunnel, and as native rules of nft. The engine reads the same rules, and has to say what the kernel did.
"""

from __future__ import annotations

import contextlib
import errno
import random
import re
import select
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from tempfile import NamedTemporaryFile

import pytest

from tests.sizes import FIRST, FULL
from tests.tracer.simulate.test_links_kernel import FLANNEL, NODE, POD, PORT, REASON, ROUTES, VETHS, World, world
from tracer.packet import Protocol
from tracer.query import Query, parse_destination, parse_source
from tracer.simulate import trace
from tracer.trace import Outcome, Sees

pytestmark = [pytest.mark.needs_root, pytest.mark.skipif(REASON is not None, reason=REASON or "")]

DRAWS = 1500 if FULL else 30
CLOSED = 7
SERVICE = {4: "10.96.0.10", 6: "fd00:96::10"}
ASKED = (Protocol.TCP, Protocol.UDP, Protocol.ICMP)
KINDS = ("unreachable", "prohibit", "blackhole", "throw", "none", "rule unreachable", "rule prohibit", "rule blackhole")
"""How a way may end: a route of that kind, a policy rule, or none at all."""
_TABLES = {
    "raw": ("PREROUTING", "OUTPUT"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
}
_REJECTS = {
    4: (
        "port-unreachable",
        "net-unreachable",
        "host-unreachable",
        "proto-unreachable",
        "net-prohibited",
        "host-prohibited",
        "admin-prohibited",
    ),
    6: ("no-route", "adm-prohibited", "addr-unreachable", "port-unreachable", "policy-fail", "reject-route"),
}
_SEEN = {
    errno.ECONNREFUSED: Sees.REFUSED,
    errno.EHOSTUNREACH: Sees.NO_ROUTE,
    errno.ENETUNREACH: Sees.NET_UNREACHABLE,
    errno.EACCES: Sees.EACCES,
    errno.EPERM: Sees.EPERM,
    errno.EINVAL: Sees.EINVAL,
    errno.ENOPROTOOPT: Sees.NO_PROTOCOL,
}
_WAIT = 0.35
_TELLS_ERRORS = {4: (socket.IPPROTO_IP, 11), 6: (socket.IPPROTO_IPV6, 25)}
"""IP_RECVERR and IPV6_RECVERR."""
_LIFE = {4: (socket.IPPROTO_IP, socket.IP_TTL), 6: (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS)}


def nowhere(node: str, kind: str, version: int) -> str:
    """The address whose way ends at *node* by what *kind* says."""
    number = KINDS.index(kind) + (16 if node == "n2" else 1)
    return f"198.51.100.{number}" if version == 4 else f"fd00:99::{number:x}"


def ways() -> Iterator[str]:
    """Every way to nowhere. What ends at n2 is sent there by n1."""
    for version, via in ((4, "192.168.0.12"), (6, "fd00:192::12")):
        for node in NODE:
            for kind in KINDS:
                to = nowhere(node, kind, version)
                if node == "n2":
                    yield f"n1: -{version} route add {to} via {via} dev eth0"
                if kind.startswith("rule "):
                    yield f"{node}: -{version} rule add {kind.removeprefix('rule ')} to {to} pref 100"
                elif kind != "none":
                    yield f"{node}: -{version} route add {kind} {to}"


def _echoes() -> None:
    """Answer each datagram to the pod's port."""
    for family in (socket.AF_INET, socket.AF_INET6):
        made = socket.socket(family, socket.SOCK_DGRAM)
        if family is socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(("", PORT))
        threading.Thread(target=_echo, args=(made,), daemon=True).start()


def _echo(made: socket.socket) -> None:
    while True:
        told, sender = made.recvfrom(16)
        with contextlib.suppress(OSError):
            made.sendto(told, sender)


@dataclass
class Lab:
    """The world, and its files but for the rules. *is_native*: its rules are nft's own."""

    world: World
    files: dict[str, object]
    is_native: bool = False

    def load(self, node: str, draw: Draw) -> None:
        """Load the rules of *draw* at *node*."""
        if not self.is_native:
            self.world.load(node, draw.version, draw.text(node))
            return
        program = "iptables-restore-translate" if draw.version == 4 else "ip6tables-restore-translate"
        with NamedTemporaryFile("w") as made:
            made.write(draw.text(node))
            made.flush()
            space = self.world.spaces[node]
            # Tables of those names would be taken for iptables' own.
            translated = re.sub(r"^(add \w+ ip6?) ", r"\1 lab_", space.run(program, "-f", made.name), flags=re.MULTILINE)
            translated = translated.replace("tcp flags rst / rst", "tcp flags & rst == rst")  # what nft 1.0.6 can read
            space.run("nft", "-f", "-", text=f"flush ruleset\n{translated}")
        self.files[f"nodes/{node}/nft-ruleset.txt"] = space.run("nft", "list", "ruleset")

    def outcomes(self, draw: Draw) -> tuple[Outcome, ...]:
        """Return what the engine says of *draw*."""
        source = "pod:shop/p1" if draw.source == "p1" else f"node:{draw.source}"
        query = Query(source=parse_source(source), destination=parse_destination(draw.dialled), protocol=draw.protocol, ttl=draw.ttl)
        return trace(self.world.read(self.files), query).outcomes


@contextlib.contextmanager
def lab(routes: tuple[str, ...], *, is_native: bool = False) -> Iterator[Lab]:
    """Yield the world with *routes* and its ways to nowhere."""
    with world(VETHS, routes, tuple(ways())) as made:
        for space in made.spaces.values():
            space.sysctl({"net.ipv4.icmp_ratelimit": 0, "net.ipv6.icmp.ratelimit": 0, "net.ipv4.ping_group_range": "0 0"})
        made.spaces["p2"].inside(_echoes)
        files = made.files()
        for node in NODE:
            files[f"nodes/{node}/ss.txt"] = made.spaces[node].run("ss", "-ltnup")
        yield Lab(made, files, is_native)


@pytest.fixture(scope="module", params=["routed", "tunnel", "native"])
def built(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """The world: plain, through VXLAN, or with nft's own rules."""
    with lab(FLANNEL if request.param == "tunnel" else ROUTES, is_native=request.param == "native") as made:
        yield made


@dataclass
class Draw:
    """One question, and the lines of each node's tables, as (node, table)."""

    version: int
    source: str
    protocol: Protocol
    to: str
    port: int
    ttl: int | None = None
    lines: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    @property
    def dialled(self) -> str:
        """Return the address and port."""
        if self.protocol is Protocol.ICMP:
            return f"[{self.to}]" if self.version == 6 else self.to
        return f"[{self.to}]:{self.port}" if self.version == 6 else f"{self.to}:{self.port}"

    def sent_to(self, port: int) -> str:
        """Return the match of the packet, to *port* where it has any. NB: no other ICMPv6 is meant, as neighbours are asked by it."""
        if self.protocol is not Protocol.ICMP:
            return f"-p {self.protocol.value} -m {self.protocol.value} --dport {port}"
        return "-p icmp -m icmp --icmp-type 8" if self.version == 4 else "-p ipv6-icmp -m icmp6 --icmpv6-type 128"

    def add(self, node: str, table: str, line: str) -> None:
        """Add a rule."""
        self.lines.setdefault((node, table), []).append(line)

    def text(self, node: str) -> str:
        """Return the rules of *node* as iptables-restore takes them."""
        parts: list[str] = []
        for table, chains in _TABLES.items():
            parts += [f"*{table}", *(f":{chain} ACCEPT [0:0]" for chain in chains), *self.lines.get((node, table), ()), "COMMIT"]
        return "\n".join(parts) + "\n"


def drawn(seed: int) -> Draw:
    """Return the draw of *seed*."""
    pick = random.Random(seed)
    version = pick.choice((4, 6))
    lost = nowhere(pick.choice(tuple(NODE)), pick.choice(KINDS), version)
    pod, node = POD["p2"][version == 6], NODE["n2"][version == 6]
    target, port = pick.choice(((pod, PORT), (pod, PORT), (node, CLOSED), (lost, 9), (lost, 9)))
    draw = Draw(version, pick.choice(("p1", "p1", "n1")), pick.choice(ASKED), target, port)
    if pick.random() < 0.4:
        to = draw.dialled.strip("[]") if draw.protocol is Protocol.ICMP else draw.dialled
        draw.to, draw.port = SERVICE[version], 80
        for chain in ("PREROUTING", "OUTPUT"):
            draw.add("n1", "nat", f"-A {chain} -d {draw.to} {draw.sent_to(80)} -j DNAT --to-destination {to}")
    if pick.random() < 0.4:
        draw.add(pick.choice(("n1", "n1", "n2")), "nat", "-A POSTROUTING -o eth0 -j MASQUERADE")
    if pick.random() < 0.5:
        _refuse(pick, draw, port)
    if pick.random() < 0.15:
        draw.ttl = pick.choice((1, 2))
    for _ in range(pick.choice((0, 1, 1, 2))):
        table = pick.choice(("filter", "mangle"))
        rule = f"-A {pick.choice(_TABLES[table])} {pick.choice(_matches(draw, target))} -j DROP"
        draw.add(pick.choice(tuple(NODE)), table, rule)
    if pick.random() < 0.15:
        draw.add(pick.choice(tuple(NODE)), "raw", f"-A {pick.choice(_TABLES['raw'])} {draw.sent_to(draw.port)} -j CT --notrack")
    return draw


def _refuse(pick: random.Random, draw: Draw, port: int) -> None:
    """A rule that says no, somewhere."""
    kind = ("icmp-" if draw.version == 4 else "icmp6-") + pick.choice(_REJECTS[draw.version])
    if draw.protocol is Protocol.TCP and pick.random() < 0.4:
        kind = "tcp-reset"
    chain = pick.choice(("INPUT", "FORWARD", "FORWARD", "OUTPUT"))
    draw.add(pick.choice(tuple(NODE)), "filter", f"-A {chain} {draw.sent_to(pick.choice((80, port)))} -j REJECT --reject-with {kind}")


def _matches(draw: Draw, target: str) -> list[str]:
    """What a rule on the way may look at. NB: nodes ask for their IPv6 neighbours by ICMPv6, untracked, which no rule here may stop."""
    four = draw.version == 4
    named, typed = ("icmp", "icmp --icmp-type") if four else ("ipv6-icmp", "icmp6 --icmpv6-type")
    types = ("3", "3/1", "3/3", "11", "0", "8", "destination-unreachable") if four else ("1", "1/0", "1/4", "3", "128", "echo-reply")
    pod, node = POD["p1"][not four], NODE["n1"][not four]
    return [
        *((f"-p {named}", "-m conntrack --ctstate UNTRACKED") if four else ()),
        *(f"-p {named} -m {typed} {kind}" for kind in types),
        "-p tcp -m tcp --tcp-flags RST RST",
        "-p tcp -m tcp --tcp-flags SYN,ACK SYN,ACK",
        *(f"-m conntrack --ctstate {state}" for state in ("RELATED", "ESTABLISHED", "INVALID", "RELATED,ESTABLISHED", "NEW,RELATED")),
        "-m conntrack --ctdir REPLY",
        *(f"-s {address}" for address in (target, draw.to) if four or address not in (*NODE["n2"], *POD["p2"])),
        *(f"-d {address}" for address in (pod, node) if four),
    ]


def met(built: World, draw: Draw) -> Sees:
    """What a program in the client's stack meets."""

    def ask() -> Sees:
        kind = socket.SOCK_STREAM if draw.protocol is Protocol.TCP else socket.SOCK_DGRAM
        protocol = draw.protocol.of(draw.version).number
        with socket.socket(socket.AF_INET6 if draw.version == 6 else socket.AF_INET, kind, protocol) as made:
            made.setblocking(False)
            if draw.ttl is not None:
                made.setsockopt(*_LIFE[draw.version], draw.ttl)
            try:
                return _connected(made, draw) if draw.protocol is Protocol.TCP else _answered(made, draw)
            except TimeoutError:
                return Sees.TIMEOUT
            except OSError as error:
                return _SEEN[error.errno or 0]

    return built.spaces[draw.source].inside(ask)


def _answered(made: socket.socket, draw: Draw) -> Sees:
    """NB: ping asks for every error, as programs that send datagrams hardly do."""
    if draw.protocol is Protocol.ICMP:
        made.setsockopt(*_TELLS_ERRORS[draw.version], 1)
    made.connect((draw.to, draw.port))
    made.send(b"?" if draw.protocol is Protocol.UDP else bytes((8 if draw.version == 4 else 128, 0, 0, 0, 0, 0, 0, 1)))
    made.settimeout(_WAIT)
    made.recv(1)
    return Sees.CONNECTED


def _connected(made: socket.socket, draw: Draw) -> Sees:
    """NB: an error that comes while connect holds the socket counts only for the next SYN, a second later; its queue has it at once."""
    made.setsockopt(*_TELLS_ERRORS[draw.version], 1)
    with contextlib.suppress(BlockingIOError):
        made.connect((draw.to, draw.port))
    select.select([], [made], [], _WAIT)
    with contextlib.suppress(BlockingIOError):
        _, told, _, _ = made.recvmsg(0, 512, socket.MSG_ERRQUEUE)
        return _SEEN[int.from_bytes(told[0][2][:4], "little")]
    if number := made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        return _SEEN[number]
    with contextlib.suppress(OSError):
        made.getpeername()
        return Sees.CONNECTED
    return Sees.TIMEOUT


def judged(built: Lab, draw: Draw) -> tuple[Sees, tuple[Outcome, ...]]:
    """Return what the kernel does with *draw*, and what the engine says of it."""
    for node in NODE:
        built.load(node, draw)
    outcomes = built.outcomes(draw)
    kernel = met(built.world, draw)
    if kernel is Sees.TIMEOUT and {o.client_sees for o in outcomes} != {kernel}:
        # What routes refuse is told to each sender five times at once, then once a second: ip_error has a limit of its own.
        time.sleep(1.1)
        kernel = met(built.world, draw)
    return kernel, outcomes


@pytest.mark.parametrize("number", range(FIRST * DRAWS, FIRST * DRAWS + DRAWS))
def test_a_no_comes_home_as_in_the_kernel(built: Lab, number: int) -> None:
    draw = drawn(number)
    kernel, outcomes = judged(built, draw)
    assert {o.client_sees for o in outcomes} == {kernel}, (draw, [(o.reason, o.reply and o.reply.reason) for o in outcomes])


@pytest.mark.parametrize("version", [4, 6])
def test_a_node_that_ignores_echoes(built: Lab, version: int) -> None:
    name = "net.ipv4.icmp_echo_ignore_all" if version == 4 else "net.ipv6.icmp.echo_ignore_all"
    draw = Draw(version, "p1", Protocol.ICMP, NODE["n2"][version == 6], 0)
    settings = str(built.files["nodes/n2/sysctl.txt"])
    for value, seen in ((1, Sees.TIMEOUT), (0, Sees.CONNECTED)):
        built.world.spaces["n2"].sysctl({name: value})
        told = Lab(built.world, built.files | {"nodes/n2/sysctl.txt": f"{settings}\n{name} = {value}\n"}, built.is_native)
        kernel, outcomes = judged(told, draw)
        assert kernel is seen
        assert [o.client_sees for o in outcomes] == [seen]

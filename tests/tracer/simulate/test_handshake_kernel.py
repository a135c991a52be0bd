"""What a client sends after its first packet, in network namespaces: real connections beside what the engine says of the nodes' dumps.

Pod p1 behind node n1 dials pod p2 behind n2; n3 lies beside them on the switch, so that packets can go by it and answers past it. What the
kernel said is in the table too: a kernel that answers otherwise is found out as well as an engine that does.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import product

import pytest

from tests.sizes import every, some
from tests.tracer.routing.routing_netns import Namespace, namespaces, why_not
from tracer.query import Query, parse_destination, parse_protocol, parse_source
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster
from tracer.trace import Outcome, Sees

REASON = why_not()
pytestmark = [pytest.mark.needs_root, pytest.mark.skipif(REASON is not None, reason=REASON or "")]

PORT = 8080
NODES = ("n1", "n2", "n3")
POD = {"p1": ("10.1.1.2", "fd00:1:1::2"), "p2": ("10.1.2.2", "fd00:1:2::2")}
NODE = {name: (f"192.168.0.1{name[1]}", f"fd00:192::1{name[1]}") for name in NODES}
SENT_AGAIN = 1.6
"""Seconds in which a SYN is sent again: after one."""


def routes(node: str, pod: str, via: str, *, table: str = "") -> tuple[str, ...]:
    """Return the lines that lead *node* to *pod* by node *via*, for both families."""
    end = f" table {table}" if table else ""
    return tuple(f"{node}: {flag}route replace {POD[pod][six]} via {NODE[via][six]} dev eth0{end}" for six, flag in enumerate(("", "-6 ")))


_BUILT = (
    "sw: link add br0 type bridge",
    "sw: link set br0 up",
    *(
        line
        for name in NODES
        for line in (
            f"{name}: link set lo up",
            f"{name}: link set eth0 up",
            f"sw: link set to-{name} master br0 up",
            f"{name}: addr add {NODE[name][0]}/24 dev eth0",
            f"{name}: addr add {NODE[name][1]}/64 dev eth0 nodad",
        )
    ),
    *(
        line
        for n in (1, 2)
        for line in (
            f"p{n}: link set lo up",
            f"p{n}: link set eth0 up",
            f"p{n}: addr add {POD[f'p{n}'][0]}/32 dev eth0",
            f"p{n}: addr add {POD[f'p{n}'][1]}/128 dev eth0 nodad",
            f"p{n}: route add 169.254.1.1 dev eth0",
            f"p{n}: route add default via 169.254.1.1 dev eth0",
            f"p{n}: -6 route add fe80::1 dev eth0",
            f"p{n}: -6 route add default via fe80::1 dev eth0",
            f"n{n}: link set veth{n} up",
            f"n{n}: addr add 169.254.1.1/32 dev veth{n}",
            f"n{n}: addr add fe80::1/64 dev veth{n} nodad",
            f"n{n}: route add {POD[f'p{n}'][0]} dev veth{n} scope link",
            f"n{n}: -6 route add {POD[f'p{n}'][1]} dev veth{n}",
        )
    ),
    *routes("n3", "p1", "n1"),
    *routes("n3", "p2", "n2"),
)
DIRECT = (*routes("n1", "p2", "n2"), *routes("n2", "p1", "n1"))
BY_N3 = (*routes("n1", "p2", "n3"), *routes("n2", "p1", "n1"))
"""The request goes by n3, the answer past it."""
BACK_BY_N3 = (*routes("n1", "p2", "n2"), *routes("n2", "p1", "n3"))
"""The answer goes by n3, the request past it."""
BOTH_BY_N3 = (*routes("n1", "p2", "n3"), *routes("n2", "p1", "n3"))
TRACKED = "mangle: -A FORWARD -m conntrack --ctstate UNTRACKED"
"""A rule that needs connection tracking: the kernel tracks nothing, and asks no nat chain, where none does."""
TABLES = ("raw", "mangle", "nat", "filter")


@dataclass(frozen=True)
class World:
    """Six namespaces: the pods p1 and p2, the nodes n1 to n3, whose eth0 are ports of the switch sw."""

    spaces: dict[str, Namespace]

    def ip(self, *lines: str) -> None:
        """Run ``SPACE: ip's words`` lines, in order."""
        for line in lines:
            space, _, words = line.partition(": ")
            flag, words = (("-6",), words.removeprefix("-6 ")) if words.startswith("-6 ") else ((), words)
            self.spaces[space].run("ip", *flag, *words.split())

    def load(self, rules: dict[str, tuple[str, ...]], version: int) -> None:
        """Load the *rules* of each node, as ``TABLE: -A …`` and ``TABLE: :CHAIN POLICY`` lines; nodes without have none."""
        for name in NODES:
            lines = (*rules.get(name, ()), TRACKED) if name in rules else ()
            text = "".join(
                f"*{table}\n" + "".join(f"{line.partition(': ')[2]}\n" for line in lines if line.startswith(f"{table}: ")) + "COMMIT\n"
                for table in TABLES
            ).replace("P2", POD["p2"][version == 6])
            self.spaces[name].run("iptables-restore" if version == 4 else "ip6tables-restore", text=text)

    def files(self, *, conntrack: bool = False) -> dict[str, bytes]:
        """Return the snapshot that Hopline would read."""
        found: dict[str, object] = {
            "nodes.json": _list([_node(name, ips) for name, ips in NODE.items()]),
            "pods.json": _list([_pod("p1", "n1"), _pod("p2", "n2")]),
            "services.json": _list([]),
            "endpointslices.json": _list([]),
        }
        for name in NODES:
            space = self.spaces[name]
            texts = {f"{word.replace('_', '-')}.{'txt' if word == 'sysctl' else 'json'}": text for word, text in space.texts().items()}
            texts["sysctl.txt"] += "\n" + space.run("sysctl", "net.netfilter.nf_conntrack_tcp_loose")
            texts |= {"iptables-save.txt": _saved(space, "iptables-save"), "ip6tables-save.txt": _saved(space, "ip6tables-save")}
            if conntrack:
                texts["conntrack.txt"] = space.run("cat", "/proc/net/nf_conntrack")
            found |= {f"nodes/{name}/{file}": text for file, text in texts.items()}
        return {path: held.encode() if isinstance(held, str) else json.dumps(held).encode() for path, held in found.items()}

    def dial(self, to: str, *, wait: float = 0.5) -> str:
        """Return what a program of p1 sees that connects to *to* and asks for an echo.

        NB: it blocks in ``connect``; who polls and asks for SO_ERROR is told of an ICMP error that comes at once behind the SYN-ACK.
        """
        with self._socket(6 if ":" in to else 4) as made:
            for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
                made.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", int(wait), int(wait % 1 * 1_000_000)))
            try:
                made.connect((to, PORT))
            except BlockingIOError:
                return "timeout"
            except ConnectionRefusedError:
                return "refused"
            except ConnectionResetError:
                return "closed"  # the reset answers the ACK, which ``connect`` sends before it returns
            return _echoed(made)

    def _socket(self, version: int) -> socket.socket:
        return self.spaces["p1"].inside(lambda: socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_STREAM))

    def opened(self, version: int) -> socket.socket:
        """Return a connection of p1 to p2 that works."""
        made = self._socket(version)
        made.settimeout(0.6)
        made.connect((POD["p2"][version == 6], PORT))
        assert _echoed(made) == "connected"
        return made


def _echoed(made: socket.socket) -> str:
    """Whether what is sent comes back."""
    try:
        made.sendall(b"?")
        return "connected" if made.recv(1) else "closed"
    except (TimeoutError, BlockingIOError):
        return "hangs"
    except ConnectionError:
        return "closed"


def _saved(space: Namespace, program: str) -> str:
    return space.run(program) or "".join(f"*{table}\nCOMMIT\n" for table in TABLES)


def _list(items: list[object]) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "List", "items": items}


def _node(name: str, ips: tuple[str, ...]) -> dict[str, object]:
    addresses = [{"type": "InternalIP", "address": ip} for ip in ips]
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {}, "status": {"addresses": addresses}}


def _pod(name: str, node: str) -> dict[str, object]:
    containers = [{"name": "c", "ports": [{"containerPort": PORT, "protocol": "TCP"}]}]
    status = {"phase": "Running", "podIP": POD[name][0], "podIPs": [{"ip": ip} for ip in POD[name]]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": "shop", "name": name},
        "spec": {"nodeName": node, "containers": containers},
        "status": status,
    }


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """The world, with a server in p2 that echoes."""
    with namespaces(6) as made:
        built = World(dict(zip(("p1", "n1", "sw", "n2", "p2", "n3"), made, strict=True)))
        for name in NODES:
            node = built.spaces[name]
            node.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", f"to-{name}", "netns", built.spaces["sw"].name)
            if name != "n3":
                pod = built.spaces[name.replace("n", "p")]
                node.run("ip", "link", "add", f"veth{name[1]}", "type", "veth", "peer", "name", "eth0", "netns", pod.name)
            node.sysctl({"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1})
            node.sysctl({f"net.ipv4.conf.{device}.{key}": 0 for device in ("all", "eth0") for key in ("send_redirects", "rp_filter")})
        built.ip(*_BUILT, *DIRECT)
        servers = [_served(built.spaces["p2"], family) for family in (socket.AF_INET, socket.AF_INET6)]
        built.ip("n1: rule add fwmark 0x4000 table 100", "n1: -6 rule add fwmark 0x4000 table 100")
        time.sleep(1.2)
        try:
            yield built
        finally:
            for server in servers:
                server.close()


def _served(space: Namespace, family: socket.AddressFamily) -> socket.socket:
    """Echo the first byte of every connection, until the socket is closed."""

    def listen() -> socket.socket:
        made = socket.socket(family, socket.SOCK_STREAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family is socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(("", PORT))
        made.listen(64)
        return made

    made = space.inside(listen)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=_echo, args=(made.accept()[0],), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    return made


def _echo(made: socket.socket) -> None:
    with contextlib.suppress(OSError), made:
        made.settimeout(60)  # a busy machine reads the dumps for longer than a client waits
        while held := made.recv(1):
            made.sendall(held)


@dataclass(frozen=True)
class Way:
    """One way that packets take, the rules of the nodes on it, and what the kernel tells the client. *waits* for the SYN to be sent again."""

    name: str
    sees: str
    rules: dict[str, tuple[str, ...]] = field(default_factory=dict)
    routes: tuple[str, ...] = DIRECT
    loose: int = 1
    remark: str = ""
    waits: bool = False
    to: str = "p2"

    def __str__(self) -> str:
        return self.name


_TO, _FROM = f"-p tcp --dport {PORT}", f"-p tcp --sport {PORT}"
INVALID = "filter: -A FORWARD -m conntrack --ctstate INVALID -j DROP"
BY_STATE = (":FORWARD DROP", "-A FORWARD -m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT", "-A FORWARD -p ipv6-icmp -j ACCEPT")
NO_ANSWER = f"raw: -A PREROUTING {_FROM} -j CT --notrack"
NO_SYN = f"raw: -A PREROUTING {_TO} --syn -j CT --notrack"
NO_REQUEST = f"raw: -A PREROUTING {_TO} -j CT --notrack"
NEW_ANSWERS = f"filter: -A FORWARD {_FROM} -m conntrack --ctstate NEW -j DROP"
MARK = f"nat: -A PREROUTING {_TO} -j MARK --set-mark 0x4000"
MASQUERADE = f"nat: -A POSTROUTING {_TO} -o eth0 -j MASQUERADE"
RESET = f"filter: -A FORWARD {_TO} -j REJECT --reject-with tcp-reset"
NODE_PORT = (MASQUERADE, f"nat: -A PREROUTING {_TO} -m addrtype --dst-type LOCAL -j DNAT --to-destination P2")
DROPS = f"filter: -A FORWARD {_TO} -j DROP"
LOST = "HANDSHAKE_UNFINISHED"
AGAIN = "SYN_SENT_AGAIN"
WAYS = (
    Way("straight, with rules for INVALID", "connected", {"n1": (INVALID,), "n2": (INVALID,)}),
    Way("by a node that the answer passes too", "connected", {"n3": (INVALID,)}, BOTH_BY_N3),
    Way("by a node that the answer does not pass, without rules for INVALID", "connected", {"n3": (f"filter: -A FORWARD {_TO} -j ACCEPT",)}, BY_N3),
    Way("by a node that the answer does not pass", "hangs", {"n3": (INVALID,)}, BY_N3, remark=LOST),
    Way("by a node that the answer does not pass, not loose", "hangs", {"n3": (INVALID,)}, BY_N3, 0, remark=LOST),
    Way("by a node that lets what it knows through", "hangs", {"n3": tuple(f"filter: {x}" for x in BY_STATE)}, BY_N3, remark=LOST),
    Way("it is reset there", "closed", {"n3": (INVALID.replace("DROP", "REJECT --reject-with tcp-reset").replace("FORWARD", "FORWARD -p tcp"),)}, BY_N3, remark=LOST),
    Way("the answer is not tracked", "hangs", {"n2": (NO_ANSWER, INVALID)}, remark=LOST),
    Way("the answer is not tracked, and nobody minds", "connected", {"n2": (NO_ANSWER, DROPS.replace("DROP", "ACCEPT"))}),
    Way("the SYN is not tracked", "connected", {"n2": (NO_SYN, f"filter: -A FORWARD {_TO} -m conntrack --ctstate INVALID -j DROP")}),
    Way("the SYN is not tracked, not loose", "hangs", {"n2": (NO_SYN, f"filter: -A FORWARD {_TO} -m conntrack --ctstate INVALID -j DROP")}, loose=0, remark=LOST),
    Way("a new connection has to begin with a SYN", "hangs", {"n2": (NO_SYN, f"filter: -A FORWARD {_TO} ! --syn -m conntrack --ctstate NEW -j DROP")}, remark=LOST),
    Way("only the SYN is let in", "hangs", {"n2": ("filter: :FORWARD DROP", "filter: -A FORWARD -p ipv6-icmp -j ACCEPT", f"filter: -A FORWARD {_TO} --syn -j ACCEPT", f"filter: -A FORWARD {_FROM} -j ACCEPT")}, remark=LOST),
    Way("only what is marked is let in", "hangs", {"n2": ("filter: :FORWARD DROP", "filter: -A FORWARD -p ipv6-icmp -j ACCEPT", MARK, "filter: -A FORWARD -m mark --mark 0x4000 -j ACCEPT", f"filter: -A FORWARD {_FROM} -j ACCEPT")}, remark=LOST),
    Way("who is known is dropped", "hangs", {"n2": (f"filter: -A FORWARD {_TO} -m conntrack --ctstate ESTABLISHED -j DROP",)}, remark=LOST),
    Way("the mark leads the SYN elsewhere", "hangs", {"n1": (MARK,), "n3": (DROPS,)}, (*BY_N3, *routes("n1", "p2", "n2", table="100")), remark=LOST),
    Way("the mark leads the first SYN into a hole", "connected", {"n1": (MARK,), "n3": (DROPS,)}, (*DIRECT, *routes("n1", "p2", "n3", table="100")), remark=AGAIN, waits=True),
    Way("and the second one too", "timeout", {"n1": (MARK,), "n3": (DROPS,)}, (*BY_N3, *routes("n1", "p2", "n3", table="100")), waits=True),
    Way("only what is marked goes on, and it is dropped behind", "timeout", {"n1": (MARK, "filter: :FORWARD DROP", "filter: -A FORWARD -p ipv6-icmp -j ACCEPT", "filter: -A FORWARD -m mark --mark 0x4000 -j ACCEPT"), "n2": (DROPS,)}, remark=AGAIN, waits=True),
    Way("who knocks once is dropped", "connected", {"n2": (f"filter: -A FORWARD {_TO} --syn -m recent --name KNOCK --rcheck -j ACCEPT", f"filter: -A FORWARD {_TO} --syn -m recent --name KNOCK --set -j DROP")}, remark=AGAIN, waits=True),
    Way("a stack that stopped the SYN remembers nothing", "timeout", {"n1": (MARK, "filter: -A FORWARD -m mark --mark 0x4000 -j DROP")}, waits=True),
    Way("the second SYN connects and hangs", "hangs", {"n1": (MARK,), "n2": (f"filter: -A FORWARD {_TO} ! --syn -j DROP",), "n3": (DROPS,)}, (*DIRECT, *routes("n1", "p2", "n3", table="100")), remark=AGAIN, waits=True),
    Way("a masqueraded one is reset", "closed", {"n1": (MASQUERADE, f"filter: -A FORWARD {_TO} ! --syn -j REJECT --reject-with tcp-reset")}, remark=LOST),
    Way("a masqueraded one is told by ICMP", "hangs", {"n1": (MASQUERADE, f"filter: -A FORWARD {_TO} ! --syn -j REJECT")}, remark=LOST),
    Way("the second SYN is reset", "refused", {"n1": (MARK, MASQUERADE, f"filter: -A FORWARD {_TO} -m mark ! --mark 0x4000 -j REJECT --reject-with tcp-reset"), "n2": (DROPS,)}, remark=AGAIN, waits=True),
    Way("the second SYN is told by ICMP", "refused", {"n1": (MARK, MASQUERADE, f"filter: -A FORWARD {_TO} -m mark ! --mark 0x4000 -j REJECT"), "n2": (DROPS,)}, remark=AGAIN, waits=True),
    Way("a reset is related to its connection", "refused", {"n2": (RESET, "filter: -A OUTPUT -p tcp -m conntrack --ctstate NEW,ESTABLISHED,INVALID -j DROP")}, waits=True),
    Way("and dropped as such", "timeout", {"n2": (RESET, "filter: -A OUTPUT -p tcp -m conntrack --ctstate RELATED -j DROP")}, waits=True),
    Way("the second SYN to a node port is reset", "refused", {"n1": (MARK, *NODE_PORT, f"filter: -A FORWARD {_TO} -m mark ! --mark 0x4000 -j REJECT --reject-with tcp-reset"), "n2": (DROPS,)}, remark=AGAIN, waits=True, to="n1"),
    Way("the ACK to a node port is reset", "closed", {"n1": (*NODE_PORT, f"filter: -A FORWARD {_TO} ! --syn -j REJECT --reject-with tcp-reset")}, remark=LOST, to="n1"),
    Way("a node port", "connected", {"n1": NODE_PORT}, to="n1"),
    Way("the server's second packet is masqueraded", "hangs", {"n2": (NO_REQUEST, f"nat: -A POSTROUTING {_FROM} -j MASQUERADE")}, remark=LOST),
    Way("the server's second packet is new to a node on its way", "hangs", {"n3": (NEW_ANSWERS,)}, BACK_BY_N3, remark=LOST),
    Way("and INVALID, as the first one was", "connected", {"n3": (NEW_ANSWERS,)}, BACK_BY_N3, 0),
    Way("a node on its way that minds nothing", "connected", {"n3": (f"filter: -A FORWARD {_FROM} -j ACCEPT",)}, BACK_BY_N3),
)  # fmt: skip


def asked(world: World, to: str) -> tuple[Outcome, ...]:
    """Return what the engine says of p1 dialling *to*."""
    cluster = Cluster.from_snapshot(Snapshot.from_files(world.files()))
    destination = parse_destination(f"[{to}]:{PORT}" if ":" in to else f"{to}:{PORT}")
    return trace(cluster, Query(source=parse_source("pod:shop/p1"), destination=destination, protocol=parse_protocol("tcp"))).outcomes


@pytest.fixture
def settled(world: World) -> Iterator[World]:
    """The world, as it was after each test."""
    yield world
    for version in (4, 6):
        world.load({}, version)
    for flag in ("-4", "-6"):
        world.spaces["n1"].run("sh", "-c", f"ip {flag} route flush table 100 || true")
    world.ip(*DIRECT)
    for name in NODES:
        world.spaces[name].sysctl({"net.netfilter.nf_conntrack_tcp_loose": 1})


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("way", some(WAYS, 3), ids=str)
def test_what_follows_the_first_packet(settled: World, way: Way, version: int) -> None:
    for name in NODES:
        settled.spaces[name].sysctl({"net.netfilter.nf_conntrack_tcp_loose": way.loose})
    settled.ip(*way.routes)
    settled.load(way.rules, version)
    to = {**POD, **NODE}[way.to][version == 6]
    (outcome,) = asked(settled, to)
    seen = settled.dial(to, wait=SENT_AGAIN if way.waits else 0.5)
    assert (seen, outcome.client_sees.value) == (way.sees, way.sees)
    assert [remark.code for remark in outcome.remarks][:1] == ([way.remark] if way.remark else [])


DEAD = 9
DRAWN = (
    f"nat: -A PREROUTING {_TO} -m addrtype --dst-type LOCAL -m statistic --mode random --probability 0.5 -j DNAT --to-destination :{DEAD}",
    *NODE_PORT,
    f"nat: -A POSTROUTING -p tcp --dport {DEAD} -o eth0 -j MASQUERADE",
)
"""Half of the SYNs to the node's port get the endpoint that a node drops, by a rule of chance."""
LEFT = (
    f"nat: -A PREROUTING {_TO} -m addrtype --dst-type LOCAL -m statistic --mode random --probability 0.5 -j DNAT --to-destination P2",
    f"nat: -A PREROUTING {_TO} -m addrtype --dst-type LOCAL -j DNAT --to-destination :{DEAD}",
    MASQUERADE,
    f"nat: -A POSTROUTING -p tcp --dport {DEAD} -o eth0 -j MASQUERADE",
)
"""The same half, left over by the rule of chance."""
DIALS = 64


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(("dropping", "drawing"), [("n1", DRAWN), ("n2", DRAWN), ("n1", LEFT)], ids=["n1", "n2", "n1, left over"])
def test_who_stopped_the_syn_draws_again(settled: World, dropping: str, drawing: tuple[str, ...], version: int) -> None:
    """n1 draws: where it drops the packet itself, the third SYN has been drawn for three times; where n2 does, n1 keeps its draw."""
    end = f"[P2]:{DEAD}" if version == 6 else f"P2:{DEAD}"
    rules = {"n1": [rule.replace(f"--to-destination :{DEAD}", f"--to-destination {end}") for rule in drawing]}
    rules.setdefault(dropping, []).append(f"filter: -A FORWARD -p tcp --dport {DEAD} -j DROP")
    settled.load({node: tuple(lines) for node, lines in rules.items()}, version)
    to = NODE["n1"][version == 6]
    outcomes = asked(settled, to)
    said = {sees: sum(o.probability for o in outcomes if o.client_sees is sees) for sees in (Sees.CONNECTED, Sees.TIMEOUT)}
    assert said[Sees.TIMEOUT] == (Fraction(1, 128) if dropping == "n1" else Fraction(1, 2))
    assert said[Sees.CONNECTED] == 1 - said[Sees.TIMEOUT]
    with ThreadPoolExecutor(DIALS) as pool:
        seen = list(pool.map(lambda _: settled.dial(to, wait=3.6), range(DIALS)))
    assert set(seen) <= {"connected", "timeout"}
    expected = 1 - Fraction(1, 8) if dropping == "n1" else Fraction(1, 2)
    assert abs(seen.count("connected") - DIALS * expected) < 4 * (DIALS * expected * (1 - expected)) ** 0.5


@pytest.mark.parametrize(("state", "loose", "version"), every(list(product(("NEW", "INVALID", "ESTABLISHED"), (1, 0), (4, 6))), 5))
def test_a_connection_that_comes_to_a_node_which_does_not_know_it(settled: World, state: str, loose: int, version: int) -> None:
    """It went straight; then it is led by n3, whose table has nothing of it."""
    rule = f"filter: -A FORWARD {_TO} -m conntrack --ctstate {state} -j DROP"
    settled.load(dict.fromkeys(NODES[:2], (INVALID,)) | {"n3": (rule,)}, version)
    settled.spaces["n3"].sysctl({"net.netfilter.nf_conntrack_tcp_loose": loose})
    with settled.opened(version) as made:
        time.sleep(0.2)  # an ACK that is delayed would come to n3 by itself
        settled.ip(*BY_N3)
        lines = settled.spaces["n1"].run("cat", "/proc/net/nf_conntrack").splitlines()
        port = made.getsockname()[1]
        line = next(number for number, text in enumerate(lines, 1) if f" sport={port} dport={PORT} " in text)
        files = settled.files(conntrack=True)
        query = Query(
            source=parse_source("node:n1"),
            destination=parse_destination("10.0.0.1:1"),
            protocol=parse_protocol("tcp"),
            connection=("n1", line),
        )
        (outcome,) = trace(Cluster.from_snapshot(Snapshot.from_files(files)), query).outcomes
        seen = _echoed(made)
    told = "connected" if outcome.disposition.value == "delivered" else "hangs"
    assert told == seen == ("hangs" if state == ("NEW" if loose else "INVALID") else "connected")
    assert any("nodes/n3/conntrack.txt holds no entry" in note for hop in outcome.hops for note in hop.notes)

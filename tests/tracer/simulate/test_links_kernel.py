"""Links that do not work, in network namespaces: two pods, two nodes and a switch; real connections beside what the engine says of the dumps.

Every world is built, broken in one way, dumped as a node would be, and dialled. What the kernel said is in the table too, so a kernel that
answers otherwise is found out as well as an engine that does.
"""

from __future__ import annotations

import contextlib
import errno
import json
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.sizes import every
from tests.tracer.routing.routing_netns import Namespace, namespaces, why_not
from tracer.query import Query, parse_destination, parse_protocol, parse_source
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster
from tracer.trace import Disposition, Outcome

REASON = why_not()
pytestmark = [pytest.mark.needs_root, pytest.mark.skipif(REASON is not None, reason=REASON or "")]

PORT = 8080
POD = {"p1": ("10.1.1.2", "fd00:1:1::2"), "p2": ("10.1.2.2", "fd00:1:2::2")}
NODE = {"n1": ("192.168.0.11", "fd00:192::11"), "n2": ("192.168.0.12", "fd00:192::12")}
NO_RULES = (
    "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n*nat\nCOMMIT\n*mangle\nCOMMIT\n*raw\nCOMMIT\n"
)
_SEEN = {0: "connected", errno.EHOSTUNREACH: "no-route", errno.ENETUNREACH: "net-unreachable", errno.EAGAIN: "timeout"}


@dataclass(frozen=True)
class World:
    """Five namespaces: pods p1 and p2 behind nodes n1 and n2, whose eth0 are ports of the switch sw."""

    spaces: dict[str, Namespace]
    rules: dict[tuple[str, str], str] = field(default_factory=dict)

    def load(self, node: str, version: int, text: str) -> None:
        """Load *text*, in the words of iptables-save, as the rules of *node*."""
        command, name = (("iptables-restore", "iptables-save.txt"), ("ip6tables-restore", "ip6tables-save.txt"))[version == 6]
        self.spaces[node].run(command, text=text)
        self.rules[node, name] = text

    def ip(self, *lines: str) -> None:
        """Run ``SPACE: ip's words`` lines, in order."""
        for line in lines:
            space, _, words = line.partition(": ")
            self._run(space, words)

    def _run(self, space: str, words: str) -> None:
        if words.startswith("sysctl "):
            name, _, value = words.removeprefix("sysctl ").partition("=")
            self.spaces[space].sysctl({name: value})
        else:
            subprocess.run(["ip", "-n", self.spaces[space].name, *words.split()], check=True, capture_output=True, text=True)

    def cluster(self, rules: Mapping[str, str] | None = None, *, own: Mapping[str, str] | None = None) -> Cluster:
        """Return the cluster as Hopline reads it from dumps of the two nodes.

        *rules*: iptables-save of the nodes that have any; *own*: path below a pod's own folder → text, as ``p1/ss.txt``.
        """
        files = self.files() | {f"nodes/{node}/iptables-save.txt": text for node, text in (rules or {}).items()}
        for place, text in (own or {}).items():
            pod, _, name = place.partition("/")
            files[f"nodes/n{pod[1:]}/pods/shop_{pod}/{name}"] = text
        return self.read(files)

    def read(self, files: dict[str, object]) -> Cluster:
        """Return the cluster of *files*, with the rules that were loaded last."""
        files = files | {f"nodes/{node}/{name}": text for (node, name), text in self.rules.items()}
        return Cluster.from_snapshot(
            Snapshot.from_files({p: c.encode() if isinstance(c, str) else json.dumps(c).encode() for p, c in files.items()})
        )

    def files(self) -> dict[str, object]:
        """Return the files of the cluster."""
        files: dict[str, object] = {
            "nodes.json": _list([_node(name, ips) for name, ips in NODE.items()]),
            "pods.json": _list([_pod("p1", "n1"), _pod("p2", "n2")]),
            "services.json": _list([]),
            "endpointslices.json": _list([]),
        }
        for node in NODE:
            space = self.spaces[node]
            texts = {f"{word.replace('_', '-')}.{'txt' if word == 'sysctl' else 'json'}": text for word, text in space.texts().items()}
            neighbours = subprocess.run(["ip", "-n", space.name, "-j", "neigh"], check=True, capture_output=True, text=True).stdout
            database = subprocess.run(["bridge", "-n", space.name, "-j", "fdb"], check=True, capture_output=True, text=True).stdout
            texts |= {
                "ip-neigh.json": neighbours,
                "bridge-fdb.json": database,
                "iptables-save.txt": NO_RULES,
                "ip6tables-save.txt": NO_RULES,
            }
            files |= {f"nodes/{node}/{name}": text for name, text in texts.items()}
        return files

    def dial(self, space: str, address: str, *, source_port: int = 0, port: int = PORT, wait: float = 1.6) -> str:
        """Return what a program in *space* meets that connects to *address*."""

        def connect() -> str:
            with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM) as made:
                made.settimeout(wait)
                if source_port:
                    made.bind(("", source_port))
                try:
                    made.connect((address, port))
                except TimeoutError:
                    return "timeout"
                except OSError as error:
                    return _SEEN.get(error.errno or 0, str(error))
                return "connected"

        return self.spaces[space].inside(connect)


def _list(items: list[object]) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "List", "items": items}


def _node(name: str, ips: tuple[str, ...]) -> dict[str, object]:
    addresses = [{"type": "InternalIP", "address": ip} for ip in ips]
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {}, "status": {"addresses": addresses}}


def _pod(name: str, node: str) -> dict[str, object]:
    containers = [{"name": "c", "ports": [{"containerPort": PORT, "protocol": protocol} for protocol in ("TCP", "UDP")]}]
    status = {"phase": "Running", "podIP": POD[name][0], "podIPs": [{"ip": ip} for ip in POD[name]]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": "shop", "name": name},
        "spec": {"nodeName": node, "containers": containers},
        "status": status,
    }


_BUILT = (
    "sw: link add br0 type bridge",
    "sw: link set br0 up",
    *(
        line
        for n in (1, 2)
        for line in (
            f"n{n}: link set lo up",
            f"n{n}: link set eth0 up",
            f"sw: link set to-n{n} master br0 up",
            f"n{n}: addr add 192.168.0.1{n}/24 dev eth0",
            f"n{n}: addr add fd00:192::1{n}/64 dev eth0 nodad",
            f"p{n}: link set lo up",
            f"p{n}: link set eth0 up",
        )
    ),
    *(
        line
        for n in (1, 2)
        for line in (
            f"p{n}: addr add 10.1.{n}.2/32 dev eth0",
            f"p{n}: addr add fd00:1:{n}::2/128 dev eth0 nodad",
            f"p{n}: route add 169.254.1.1 dev eth0",
            f"p{n}: route add default via 169.254.1.1 dev eth0",
            f"p{n}: -6 route add fe80::1 dev eth0",
            f"p{n}: -6 route add default via fe80::1 dev eth0",
        )
    ),
)
VETHS = tuple(
    line
    for n in (1, 2)
    for line in (
        f"n{n}: link set veth{n} up",
        f"n{n}: addr add 169.254.1.1/32 dev veth{n}",
        f"n{n}: addr add fe80::1/64 dev veth{n} nodad",
        f"n{n}: route add 10.1.{n}.2 dev veth{n} scope link",
        f"n{n}: -6 route add fd00:1:{n}::2 dev veth{n}",
    )
)
_BRIDGE_ON_2 = (
    *(line for line in VETHS if line.startswith("n1:")),
    "n2: link add cni0 type bridge",
    "n2: link set veth2 master cni0 up",
    "n2: link set cni0 up",
    "n2: addr add 169.254.1.1/32 dev cni0",
    "n2: addr add fe80::1/64 dev cni0 nodad",
    "n2: route add 10.1.2.0/24 dev cni0 scope link",
    "n2: -6 route add fd00:1:2::/64 dev cni0",
)
ROUTES = tuple(
    f"n{a}: {flag}route add {network} via {via} dev eth0"
    for a, b in ((1, 2), (2, 1))
    for flag, network, via in (("", f"10.1.{b}.0/24", f"192.168.0.1{b}"), ("-6 ", f"fd00:1:{b}::/64", f"fd00:192::1{b}"))
)
_TWO_WAYS = (
    "n1: link add eth1 type veth peer name eth1x",
    "n1: link set eth1 up",
    "n1: link set eth1x up",
    "n1: addr add 192.168.9.11/24 dev eth1",
    "n1: addr add fd00:9::11/64 dev eth1 nodad",
    "n1: route add 10.1.2.0/24 nexthop via 192.168.0.12 dev eth0 nexthop via 192.168.9.12 dev eth1",
    "n1: -6 route add fd00:1:2::/64 nexthop via fd00:192::12 dev eth0 nexthop via fd00:9::12 dev eth1",
    *(line for line in ROUTES if line.startswith("n2:")),
)
_TUNNEL = (
    "n1: link add vx0 address 02:00:00:00:00:01 type vxlan id 7 dstport 8472 local 192.168.0.11 remote 192.168.0.12 dev eth0",
    "n2: link add vx0 address 02:00:00:00:00:02 type vxlan id 7 dstport 8472 local 192.168.0.12 remote 192.168.0.11 dev eth0",
    *(
        line
        for n, b in ((1, 2), (2, 1))
        for line in (
            f"n{n}: link set vx0 up",
            f"n{n}: addr add 10.1.{n}.0/32 dev vx0",
            f"n{n}: addr add fd00:1:{n}::/128 dev vx0 nodad",
            f"n{n}: route add 10.1.{b}.0/24 via 10.1.{b}.0 dev vx0 onlink",
            f"n{n}: -6 route add fd00:1:{b}::/64 via fd00:1:{b}:: dev vx0 onlink",
        )
    ),
)

FLANNEL = (
    *_TUNNEL,
    *(
        f"n{a}: {flag}neigh add {address} lladdr 02:00:00:00:00:0{b} dev vx0 nud permanent"
        for a, b in ((1, 2), (2, 1))
        for flag, address in (("", f"10.1.{b}.0"), ("-6 ", f"fd00:1:{b}::"))
    ),
)


@contextlib.contextmanager
def world(pods: tuple[str, ...], routes: tuple[str, ...], broken: tuple[str, ...]) -> Iterator[World]:
    """Yield the world, broken, with a server in p2."""
    with namespaces(5) as made:
        built = World(dict(zip(("p1", "n1", "sw", "n2", "p2"), made, strict=True)))
        for n in (1, 2):
            node, pod, switch = built.spaces[f"n{n}"], built.spaces[f"p{n}"], built.spaces["sw"]
            node.ip(
                f"link add eth0 type veth peer name to-n{n} netns {switch.name}",
                f"link add veth{n} type veth peer name eth0 netns {pod.name}",
            )
            node.sysctl({"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1})
        built.ip(*_BUILT, *pods, *routes)
        for space in made:
            space.inside(_hurry)
        server = _servers(built.spaces["p2"])
        try:
            time.sleep(0.3)
            built.ip(*broken)
            # Carrier and operstate follow within a second: linkwatch_schedule_work().
            time.sleep(1.2)
            yield built
        finally:
            for each in server:
                each.close()


def _hurry() -> None:
    """Ask for neighbours every 100 ms, not every second: three questions are soon over."""
    for name in Path("/proc/sys/net").glob("ipv[46]/neigh/*/retrans_time_ms"):
        name.write_text("100")


def _servers(space: Namespace) -> list[socket.socket]:
    def listen() -> list[socket.socket]:
        found = []
        for family in (socket.AF_INET, socket.AF_INET6):
            made = socket.socket(family, socket.SOCK_STREAM)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family is socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            made.bind(("", PORT))
            made.listen(64)
            found.append(made)
        return found

    return space.inside(listen)


def told(cluster: Cluster, source: str, address: str, *, port: int = PORT) -> tuple[Outcome, ...]:
    """Return the engine's outcomes of a connection."""
    to = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    return trace(cluster, Query(source=parse_source(source), destination=parse_destination(to), protocol=parse_protocol("tcp"))).outcomes


def met(outcome: Outcome) -> str:
    """Return what the client meets, as its disposition and reason say."""
    code = outcome.reason.code if outcome.reason else ""
    if outcome.disposition is Disposition.DELIVERED:
        assert outcome.reply is not None
        return "connected" if outcome.reply.disposition is Disposition.DELIVERED else "timeout"
    if outcome.disposition is Disposition.UNREACHABLE:
        return {"NO_ROUTE": "net-unreachable", "NO_CARRIER": "no-route", "NEIGHBOUR_SILENT": "no-route"}[code]
    return "timeout" if outcome.disposition is Disposition.DROPPED else f"{outcome.disposition.value} {code}"


@dataclass(frozen=True)
class Broken:
    """One way to break the world, and what the kernel tells p1, n1 and n2 that dial p2; *engine* where it may not say the same."""

    name: str
    lines: tuple[str, ...]
    p1: str
    n1: str = ""
    n2: str = ""
    pods: tuple[str, ...] = VETHS
    routes: tuple[str, ...] = ROUTES
    engine: dict[str, str] = field(default_factory=dict)


WAYS = (
    Broken("nothing", (), "connected", "connected", "connected"),
    Broken("the far pod's device is shut", ("p2: link set eth0 down",), "no-route", "no-route", "no-route"),
    Broken(
        "the node's end of the far pod's veth is shut",
        ("n2: link set veth2 down",),
        "net-unreachable",
        "net-unreachable",
        "net-unreachable",
    ),
    Broken("the sending node's device has no carrier", ("sw: link set to-n1 down",), "no-route", "no-route"),
    Broken("the receiving node's device has no carrier", ("sw: link set to-n2 down",), "no-route", "no-route", "connected"),
    Broken("the receiving node's device is shut", ("n2: link set eth0 down",), "no-route", "no-route", "connected"),
    Broken("the sending node's device is shut", ("n1: link set eth0 down",), "net-unreachable", "net-unreachable"),
    Broken(
        "routes without carrier are ignored",
        (
            "p2: link set eth0 down",
            "n2: sysctl net.ipv4.conf.all.ignore_routes_with_linkdown=1",
            "n2: sysctl net.ipv6.conf.veth2.ignore_routes_with_linkdown=1",
        ),
        "net-unreachable",
        "net-unreachable",
        "net-unreachable",
    ),
    Broken(
        "a permanent neighbour",
        (
            "n2: neigh replace 10.1.2.2 lladdr 02:00:00:00:00:02 dev veth2 nud permanent",
            "n2: -6 neigh replace fd00:1:2::2 lladdr 02:00:00:00:00:02 dev veth2 nud permanent",
            "p2: link set eth0 down",
        ),
        "timeout",
        "timeout",
        "timeout",
    ),
    Broken("a device that does not ask", ("n2: link set veth2 arp off", "p2: link set eth0 down"), "timeout", "timeout", "timeout"),
    Broken("a bridge that works", (), "connected", "connected", "connected", pods=_BRIDGE_ON_2),
    Broken("a bridge without carrier", ("p2: link set eth0 down",), "no-route", "no-route", "no-route", pods=_BRIDGE_ON_2),
    Broken("a bridge without ports", ("n2: link set veth2 nomaster",), "no-route", "no-route", "no-route", pods=_BRIDGE_ON_2),
    Broken(
        "a bridge that is shut", ("n2: link set cni0 down",), "net-unreachable", "net-unreachable", "net-unreachable", pods=_BRIDGE_ON_2
    ),
    Broken("one of two ways is shut", ("n1: link set eth1 down",), "connected", "connected", routes=_TWO_WAYS),
    Broken(
        "one of two ways has no carrier and is ignored",
        (
            "n1: sysctl net.ipv4.conf.eth1.ignore_routes_with_linkdown=1",
            "n1: sysctl net.ipv6.conf.eth1.ignore_routes_with_linkdown=1",
            "n1: link set eth1x down",
        ),
        "connected",
        "connected",
        routes=_TWO_WAYS,
    ),
    Broken("the client's own device is shut", ("p1: link set eth0 down",), "net-unreachable"),
    Broken(
        "the node's end of the client's veth is shut", ("n1: link set veth1 down",), "no-route", engine={"p1": "unknown LINK_STATE_UNKNOWN"}
    ),
    Broken(
        "the answer's way has no carrier",
        (
            "n2: link add eth1 type veth peer name eth1x",
            "n2: link set eth1 up",
            "n2: addr add 192.168.9.12/24 dev eth1",
            "n2: addr add fd00:9::12/64 dev eth1 nodad",
            "n2: route replace 10.1.1.0/24 via 192.168.9.11 dev eth1",
            "n2: -6 route replace fd00:1:1::/64 via fd00:9::11 dev eth1",
        ),
        "timeout",
    ),
    Broken("a tunnel that works", (), "connected", routes=_TUNNEL),
    Broken("a tunnel over a device without carrier", ("sw: link set to-n1 down",), "no-route", routes=_TUNNEL),
    Broken("a tunnel to a node without carrier", ("sw: link set to-n2 down",), "no-route", routes=_TUNNEL),
    Broken("flannel's tunnel", (), "connected", routes=FLANNEL),
    Broken("flannel's tunnel over a device without carrier", ("sw: link set to-n1 down",), "timeout", routes=FLANNEL),
    Broken("flannel's tunnel to a node without carrier", ("sw: link set to-n2 down",), "timeout", routes=FLANNEL),
)


@pytest.mark.parametrize("way", every(WAYS, 3), ids=lambda way: way.name)
def test_a_broken_link_ends_as_in_the_kernel(way: Broken) -> None:
    with world(way.pods, way.routes, way.lines) as built:
        cluster = built.cluster()
        expected = {source: said for source in ("p1", "n1", "n2") if (said := getattr(way, source))}
        asked = [(source, address) for source in expected for address in POD["p2"]]
        with ThreadPoolExecutor(len(asked)) as pool:
            kernel = dict(zip(asked, pool.map(lambda question: built.dial(*question), asked), strict=True))
    engine = {
        (source, address): {met(o) for o in told(cluster, f"pod:shop/{source}" if source == "p1" else f"node:{source}", address)}
        for source, address in asked
    }
    assert kernel == {(source, address): expected[source] for source, address in asked}
    assert engine == {(source, address): {way.engine.get(source, expected[source])} for source, address in asked}


def test_a_way_without_carrier_keeps_its_share() -> None:
    with world(
        VETHS,
        _TWO_WAYS,
        ("n1: link set eth1x down", "n1: sysctl net.ipv4.fib_multipath_hash_policy=1", "n1: sysctl net.ipv4.icmp_ratelimit=0"),
    ) as built:
        cluster = built.cluster()
        kernel = {built.dial("p1", POD["p2"][0], source_port=20000 + n, wait=1) for n in range(24)}
    outcomes = told(cluster, "pod:shop/p1", POD["p2"][0])
    assert kernel == {met(o) for o in outcomes} == {"connected", "no-route"}
    assert {float(o.probability) for o in outcomes} == {0.5}


def test_a_failed_neighbour_may_answer_the_next_question() -> None:
    gone = ("p2: addr del 10.1.2.2/32 dev eth0",)
    with world(VETHS, ROUTES, gone) as built:
        assert built.dial("n2", POD["p2"][0]) == "no-route"
        cluster = built.cluster()
        # The entry is still there when the pod has its address again, and the connection is made.
        built.ip(
            "p2: addr add 10.1.2.2/32 dev eth0", "p2: route add 169.254.1.1 dev eth0", "p2: route add default via 169.254.1.1 dev eth0"
        )
        assert built.dial("n2", POD["p2"][0]) == "connected"
    for source in ("pod:shop/p1", "node:n2"):
        (outcome,) = told(cluster, source, POD["p2"][0])
        assert met(outcome) == "unknown NEIGHBOUR_FAILED"
        assert outcome.reason is not None
        assert "nodes/n2/ip-neigh.json says FAILED" in outcome.reason.text

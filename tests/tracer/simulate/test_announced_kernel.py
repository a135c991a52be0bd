"""Who answers a ping of an address that nodes announce, in network namespaces: the kernel beside what the engine says of the node's dumps.

A client behind a router pings the address of a Service of type LoadBalancer. The router has been told to bring it to the node, as MetalLB's
speaker tells it by ARP or BGP; the node holds the address on some device, or on none.
"""

from __future__ import annotations

import contextlib
import errno
import json
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import pytest

from tests.tracer.routing.routing_netns import Namespace, namespaces, why_not
from tests.tracer.simulate.test_handshake_kernel import TABLES, _list, _node
from tracer.query import Query, parse_destination, parse_protocol, parse_source
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster
from tracer.trace import Outcome, Sees

REASON = why_not()
pytestmark = [pytest.mark.needs_root, pytest.mark.skipif(REASON is not None, reason=REASON or "")]

CLIENT = {4: "203.0.113.9", 6: "fd00:203::9"}
NODE = {4: "192.168.0.11", 6: "fd00:192::11"}
NEAR = {4: "192.168.0.100", 6: "fd00:192::100"}
"""An address of the nodes' own network, as in layer 2 mode."""
FAR = {4: "198.51.100.100", 6: "fd00:198::100"}
"""An address of no link, as BGP brings it."""
HELD = (None, "eth0", "kube-ipvs0", "lo")
"""NB: a bridge stands in for IPVS's dummy device, which not every kernel has: an address on it is the node's own just so."""
BITS = {4: 32, 6: 128}
_WAIT = 3.0
_TELLS_ERRORS = {4: (socket.IPPROTO_IP, 11), 6: (socket.IPPROTO_IPV6, 25)}


@dataclass(frozen=True)
class World:
    """Three namespaces in a row: the client, the router, the node."""

    client: Namespace
    router: Namespace
    node: Namespace

    def ping(self, to: str) -> Sees:
        """Return what a program of the client sees that sends an echo request to *to*."""
        version = 6 if ":" in to else 4
        family, protocol = ((socket.AF_INET, socket.IPPROTO_ICMP), (socket.AF_INET6, socket.IPPROTO_ICMPV6))[version == 6]
        made = self.client.inside(lambda: socket.socket(family, socket.SOCK_DGRAM, protocol))
        with made:
            made.setsockopt(*_TELLS_ERRORS[version], 1)
            made.settimeout(_WAIT)
            made.connect((to, 0))
            made.send(struct.pack("!BBHHH", 8 if version == 4 else 128, 0, 0, 0, 1) + b"ping")
            try:
                made.recv(64)
            except TimeoutError:
                return Sees.TIMEOUT
            except OSError as error:
                assert error.errno == errno.EHOSTUNREACH, error
                return Sees.NO_ROUTE
            return Sees.CONNECTED

    def files(self, address: str) -> dict[str, bytes]:
        """Return the snapshot of a cluster of that one node, with a Service that has *address*."""
        port = {"port": 80, "protocol": "TCP", "nodePort": 30080, "targetPort": 8080}
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"namespace": "shop", "name": "web", "annotations": {"metallb.io/ip-allocated-from-pool": "p"}},
            "spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.10", "clusterIPs": ["10.96.0.10"], "ports": [port]},
            "status": {"loadBalancer": {"ingress": [{"ip": address}]}},
        }
        endpoint = {"addresses": ["10.1.1.2"], "conditions": {"ready": True}, "nodeName": "n1"}
        endpoints = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"namespace": "shop", "name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4",
            "ports": [{"port": 8080, "protocol": "TCP"}],
            "endpoints": [endpoint],
        }
        texts = {f"{word.replace('_', '-')}.{'txt' if word == 'sysctl' else 'json'}": text for word, text in self.node.texts().items()}
        texts |= {f"{program}.txt": self.node.run(program) for program in ("iptables-save", "ip6tables-save")}
        found: dict[str, object] = {
            "nodes.json": _list([_node("n1", tuple(NODE.values()))]),
            "pods.json": _list([]),
            "services.json": _list([service]),
            "endpointslices.json": _list([endpoints]),
        }
        found |= {f"nodes/n1/{file}": text for file, text in texts.items()}
        return {path: held.encode() if isinstance(held, str) else json.dumps(held).encode() for path, held in found.items()}

    def said(self, to: str) -> Outcome:
        """Return the one outcome that the engine has of the same ping."""
        version = 6 if ":" in to else 4
        query = Query(
            source=parse_source(f"external:{CLIENT[version]}"), destination=parse_destination(to), protocol=parse_protocol("icmp")
        )
        (outcome,) = trace(Cluster.from_snapshot(Snapshot.from_files(self.files(to))), query).outcomes
        return outcome


_BUILT = (
    "router: link set lo up",
    "router: link set eth0 up",
    "router: link set eth1 up",
    "router: addr add 203.0.113.1/24 dev eth0",
    "router: addr add fd00:203::1/64 dev eth0 nodad",
    "router: addr add 192.168.0.1/24 dev eth1",
    "router: addr add fd00:192::1/64 dev eth1 nodad",
    "client: link set lo up",
    "client: link set eth0 up",
    "client: addr add 203.0.113.9/24 dev eth0",
    "client: addr add fd00:203::9/64 dev eth0 nodad",
    "client: route add default via 203.0.113.1",
    "client: -6 route add default via fd00:203::1",
    "node: link set lo up",
    "node: link set eth0 up",
    "node: link add kube-ipvs0 type bridge",
    "node: addr add 192.168.0.11/24 dev eth0",
    "node: addr add fd00:192::11/64 dev eth0 nodad",
    "node: route add default via 192.168.0.1",
    "node: -6 route add default via fd00:192::1",
    "router: route add 198.51.100.100 via 192.168.0.11",
    "router: -6 route add fd00:198::100 via fd00:192::11",
)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with namespaces(3) as (client, router, node):
        built = World(client, router, node)
        client.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", router.name)
        node.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth1", "netns", router.name)
        for space in (router, node):
            space.sysctl({"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1, "net.ipv4.conf.all.rp_filter": 0})
            space.sysctl({"net.ipv4.icmp_ratelimit": 0, "net.ipv6.icmp.ratelimit": 0})
        node.sysctl({f"net.ipv{version}.neigh.eth0.{key}": value for version in (4, 6) for key, value in _ASKING.items()})
        client.sysctl({"net.ipv4.ping_group_range": "0 0"})
        _run(built, *_BUILT)
        for program in ("iptables-restore", "ip6tables-restore"):
            node.run(program, text="".join(f"*{table}\n-A OUTPUT\nCOMMIT\n" for table in TABLES))
        hardware = json.loads(node.run("ip", "-j", "link", "show", "eth0"))[0]["address"]
        for address in NEAR.values():
            router.run("ip", "neigh", "add", address, "lladdr", hardware, "dev", "eth1", "nud", "permanent")
        yield built


_ASKING = {"mcast_solicit": 1, "retrans_time_ms": 100}
"""One question, and no long wait for its answer."""


def _run(world: World, *lines: str) -> None:
    for line in lines:
        space, _, words = line.partition(": ")
        flag, words = (("-6",), words.removeprefix("-6 ")) if words.startswith("-6 ") else ((), words)
        getattr(world, space).run("ip", *flag, *words.split())


@contextlib.contextmanager
def held_on(world: World, address: str, device: str | None) -> Iterator[None]:
    """Have the node hold *address* on *device*, and take it away again."""
    if device is None:
        yield
        return
    words = (f"{address}/{BITS[6 if ':' in address else 4]}", "dev", device)
    world.node.run("ip", "addr", "add", *words, *(("nodad",) if ":" in address else ()))
    try:
        yield
    finally:
        world.node.run("ip", "addr", "del", *words)


@pytest.mark.parametrize(("address", "device"), list(product((*NEAR.values(), *FAR.values()), HELD)))
def test_who_has_the_address_answers(world: World, address: str, device: str | None) -> None:
    with held_on(world, address, device):
        outcome, sees = world.said(address), world.ping(address)
        if device is not None and sees is not Sees.CONNECTED:  # a neighbour that an earlier packet looked for in vain: a second or three
            time.sleep(3)
            sees = world.ping(address)
    assert sees is (Sees.NO_ROUTE if device is None else Sees.CONNECTED)
    assert outcome.client_sees is sees, outcome.reason


def test_why_is_said(world: World) -> None:
    found = [world.said(place[version]) for place in (NEAR, FAR) for version in (4, 6)]
    assert [outcome.reason and outcome.reason.code for outcome in found] == ["ADDRESS_ONLY_ANNOUNCED"] * 2 + ["TTL_LOOP"] * 2


def test_what_the_node_says_may_be_stopped(world: World) -> None:
    world.node.run("iptables", "-A", "OUTPUT", "-p", "icmp", "-m", "icmp", "--icmp-type", "destination-unreachable", "-j", "DROP")
    try:
        outcome, sees = world.said(NEAR[4]), world.ping(NEAR[4])
    finally:
        world.node.run("iptables", "-D", "OUTPUT", "2")
    assert (outcome.client_sees, sees) == (Sees.TIMEOUT, Sees.TIMEOUT)

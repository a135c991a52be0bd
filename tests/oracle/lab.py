"""The little network: a router namespace (the node) and a second one that holds the far end of each of its cables.

Nobody answers at the far ends: there are only sockets that send and see whole frames, so that what the kernel did to a packet is read
from the packet itself. The node's neighbours are written down, so there is no ARP. Pods hang on cables of their own or on a bridge.
"""

from __future__ import annotations

import contextlib
import json
import re
import select
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.oracle import frames
from tests.oracle.frames import Header, Refusal
from tests.oracle.netns import Namespace

NODE = "node"
ROUTED = {"p1": ("pod1a", 1), "p2": ("pod2a", 2), "p3": ("veth3", 3)}
BRIDGED = {"b1": ("brp1", 2), "b2": ("brp2", 3)}
PODS = (*ROUTED, *BRIDGED)
CLIENT = {4: "203.0.113.10", 6: "2001:db8:c::10"}
NODE_ADDRESSES = {4: ("192.0.2.1", "192.0.2.2"), 6: ("fd00:c::1", "fd00:c::2")}
GATEWAYS = {4: ("10.1.1.1", "10.1.2.1", "10.1.9.1"), 6: ("fd00:1:1::1", "fd00:1:2::1", "fd00:1:9::1")}
_ROUTER_MAC, _PEER_MAC = "02:00:00:00:00:{:02x}", "02:00:00:00:01:{:02x}"
_IGNORE_OUTGOING, _SOL_PACKET = 23, 263
_SYSCTLS = re.compile(
    r"net\.(ipv4\.(ip_forward|ip_local_port_range|fib_\w+)|bridge\.|ipv4\.conf\.\w+\.(accept_local|forwarding|rp_filter|route_localnet|"
    r"send_redirects|src_valid_mark)|ipv6\.conf\.\w+\.(disable_ipv6|forwarding)) ?",
    re.ASCII,
)


def pod_address(pod: str, version: int) -> str:
    """Return the address of *pod*."""
    third, last = (ROUTED[pod][1], 2) if pod in ROUTED else (9, BRIDGED[pod][1])
    return f"10.1.{third}.{last}" if version == 4 else f"fd00:1:{third}::{last}"


@dataclass(slots=True)
class Cable:
    """One cable: the node's device, its far end, and a socket there."""

    device: str
    router_mac: str
    peer_mac: str
    socket: socket.socket


@dataclass(slots=True)
class Seen:
    """What came out: (place, header) pairs, a place being a device or ``local``; and what came back to senders."""

    headers: list[tuple[str, Header]] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    error: str = ""


class Lab:
    """The network of one run; close it, or let the process end."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self.node = self._stack.enter_context(Namespace())
        self._far = self._stack.enter_context(Namespace())
        self.cables: dict[str, Cable] = {}
        self._local: dict[int, tuple[int, int]] = {}
        try:
            self._build()
            self._listen()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let both namespaces go."""
        self._stack.close()

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- building -----------------------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        devices = ["eth0", *(d for d, _ in ROUTED.values()), *(d for d, _ in BRIDGED.values())]
        lines = []
        for number, device in enumerate(devices, 1):
            mac, peer = _ROUTER_MAC.format(number), _PEER_MAC.format(number)
            lines.append(f"link add {device} address {mac} type veth peer name {device} address {peer} netns {self._far.path}")
            lines.append(f"link set {device} up")
        lines += ["link set lo up", f"link add cni0 address {_ROUTER_MAC.format(99)} type bridge", "link set cni0 up"]
        lines += [f"link set {device} master cni0" for device, _ in BRIDGED.values()]
        lines += _addresses() + _routes()
        lines += [f"neigh add {address} lladdr {mac} dev {device} nud permanent" for address, mac, device in self._neighbours(devices)]
        self.node.run("ip", "-batch", "-", text="\n".join(lines) + "\n")
        self.node.run("ip", "-6", "rule", "add", "fwmark", "0x4000/0x4000", "lookup", "100")
        for device, _ in BRIDGED.values():
            mac = _PEER_MAC.format(devices.index(device) + 1)
            self.node.run("bridge", "fdb", "add", mac, "dev", device, "master", "static")
        self._far.run("ip", "-batch", "-", text="\n".join(f"link set {d} up" for d in devices) + "\n")
        self._tune()
        for number, device in enumerate(devices, 1):
            self._plug(device, _ROUTER_MAC.format(99 if device.startswith("br") else number), _PEER_MAC.format(number))

    def _neighbours(self, devices: list[str]) -> Iterator[tuple[str, str, str]]:
        for version in (4, 6):
            yield ("192.0.2.254" if version == 4 else "fd00:c::fe"), _PEER_MAC.format(1), "eth0"
            for pod in PODS:
                device = (ROUTED | BRIDGED)[pod][0]
                mac = _PEER_MAC.format(devices.index(device) + 1)
                yield pod_address(pod, version), mac, device if pod in ROUTED else "cni0"

    def _tune(self) -> None:
        """NB: with the usual limits on ICMP errors, refusals would turn into timeouts."""
        values = {"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1}
        values |= {"net.ipv4.icmp_ratelimit": 0, "net.ipv4.icmp_msgs_per_sec": 1000000, "net.ipv4.icmp_msgs_burst": 100000}
        values |= {"net.ipv6.icmp.ratelimit": 0, "net.bridge.bridge-nf-call-iptables": 1, "net.bridge.bridge-nf-call-ip6tables": 1}
        for device in ("all", "eth0", "cni0", "lo", *(d for d, _ in ROUTED.values())):
            values |= {f"net.ipv4.conf.{device}.rp_filter": 0, f"net.ipv4.conf.{device}.send_redirects": 0}
        self.node.sysctl(values)
        self._far.sysctl({"net.ipv6.conf.all.disable_ipv6": 1})

    def _plug(self, device: str, router_mac: str, peer_mac: str) -> None:
        with self._far.inside():
            made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            made.bind((device, 3))
        made.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
        made.setblocking(False)
        self._stack.callback(made.close)
        self.cables[device] = Cable(device, router_mac, peer_mac, made)

    def _listen(self) -> None:
        """Raw sockets see what the node delivers to itself, after the last INPUT rule."""
        self._poll = select.poll()
        self._sockets: dict[int, tuple[str, socket.socket]] = {}
        for cable in self.cables.values():
            self._watch(cable.device, cable.socket)
        with self.node.inside():
            for number in frames.NUMBERS.values():
                four = socket.socket(socket.AF_INET, socket.SOCK_RAW, number)
                six = socket.socket(socket.AF_INET6, socket.SOCK_RAW, number)
                for option in (socket.IPV6_RECVPKTINFO, socket.IPV6_RECVHOPLIMIT, socket.IPV6_RECVTCLASS):
                    six.setsockopt(socket.IPPROTO_IPV6, option, 1)
                for made in (four, six):
                    made.setblocking(False)
                    self._stack.callback(made.close)
                    self._watch("local", made)
            for family, addresses in ((socket.AF_INET, NODE_ADDRESSES[4]), (socket.AF_INET6, NODE_ADDRESSES[6])):
                for address in addresses:
                    self._hold(family, address)

    def _hold(self, family: int, address: str) -> None:
        """Keep a socket that ``-m socket`` finds; nobody reads it."""
        for port in (53, 80):
            made = socket.socket(family, socket.SOCK_DGRAM)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            made.bind((address, port))
            self._stack.callback(made.close)

    def _watch(self, place: str, made: socket.socket) -> None:
        self._sockets[made.fileno()] = (place, made)
        self._poll.register(made.fileno(), select.POLLIN)

    # -- what the engine is given -------------------------------------------------------------------------------------------------

    def files(self) -> dict[str, bytes]:
        """Return the snapshot's files, all but the rules and sets."""
        self.node.settle()
        at = f"nodes/{NODE}/"
        readings = {
            "ip-addr.json": ("-j", "addr"),
            "ip-link.json": ("-d", "-j", "link"),
            "ip-route.json": ("-j", "route", "show", "table", "all"),
            "ip6-route.json": ("-6", "-j", "route", "show", "table", "all"),
            "ip-rule.json": ("-j", "rule"),
            "ip6-rule.json": ("-6", "-j", "rule"),
        }
        found = {at + name: self.node.run("ip", *arguments).encode() for name, arguments in readings.items()}
        sysctls = [x for x in self.node.run("sysctl", "-a").splitlines() if _SYSCTLS.match(x)]
        found[at + "sysctl.txt"] = "\n".join(sysctls).encode()
        addresses = [{"type": "InternalIP", "address": a[0]} for a in NODE_ADDRESSES.values()]
        node = {"kind": "Node", "apiVersion": "v1", "metadata": {"name": NODE}, "status": {"addresses": addresses}}
        found["nodes.json"] = _list([node])
        found["pods.json"] = _list([_pod(pod) for pod in PODS])
        found["services.json"] = _list([])
        return found

    # -- packets ------------------------------------------------------------------------------------------------------------------

    def send(self, device: str, data: bytes, *, peer_mac: str | None = None) -> None:
        """Put an IP packet on a cable, from its far end."""
        cable = self.cables[device]
        kind = b"\x08\x00" if data[0] >> 4 == 4 else b"\x86\xdd"
        cable.socket.send(_mac(peer_mac or cable.router_mac) + _mac(cable.peer_mac) + kind + data)

    def collect(self, seen: Seen, milliseconds: float) -> bool:
        """Read what there is into *seen*, waiting for the first at most so long; return whether anything of a connection came."""
        before = len(seen.headers) + len(seen.refusals)
        for descriptor, _ in self._poll.poll(milliseconds):
            place, made = self._sockets[descriptor]
            while (found := _receive(place, made)) is not None:
                if isinstance(found, Header):
                    seen.headers.append((place, found))
                elif isinstance(found, Refusal):
                    seen.refusals.append(found)
        return len(seen.headers) + len(seen.refusals) > before

    def drain(self) -> None:
        """Forget what is waiting."""
        while self.collect(Seen(), 0):
            pass


def _receive(place: str, made: socket.socket) -> Header | Refusal | bool | None:
    """One packet, False for one that is none of ours, None when there are no more."""
    try:
        if place == "local" and made.family == socket.AF_INET6:
            data, ancillary, _, source = made.recvmsg(65535, 512)
            extra = {kind: value for _, kind, value in ancillary}
            destination = socket.inet_ntop(socket.AF_INET6, extra[socket.IPV6_PKTINFO][:16])
            tos, ttl = (struct.unpack("i", extra[k])[0] for k in (socket.IPV6_TCLASS, socket.IPV6_HOPLIMIT))
            found = frames.of_transport(source[0].partition("%")[0], destination, made.proto, data, tos >> 2, ttl)
            return found if isinstance(found, Header) else False
        data = made.recv(65535)
    except BlockingIOError:
        return None
    if place == "local":
        found = frames.read(data)
        return found if isinstance(found, Header) else False
    return frames.read(data[14:]) or False


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _addresses() -> list[str]:
    found = []
    for version, own in NODE_ADDRESSES.items():
        found += [f"addr add {a}/{24 if version == 4 else 64} dev eth0{'' if version == 4 else ' nodad'}" for a in own]
    for device, third in (*ROUTED.values(), ("cni0", 9)):
        found += [f"addr add 10.1.{third}.1/24 dev {device}", f"addr add fd00:1:{third}::1/64 dev {device} nodad"]
    return found


def _routes() -> list[str]:
    return [
        "route add default via 192.0.2.254 dev eth0",
        "route add default via fd00:c::fe dev eth0",
        "route add unreachable 10.66.0.0/16",
        "route add unreachable fd00:66::/32",
        "route add prohibit 10.67.0.0/16",
        "route add blackhole 10.68.0.0/16",
        "route add blackhole fd00:68::/32",
        "route add 10.96.7.0/24 via 10.1.3.2 dev veth3 table 100",
        "route add fd00:96:7::/64 via fd00:1:3::2 dev veth3 table 100",
        "rule add fwmark 0x4000/0x4000 lookup 100",
    ]


def _list(items: list[object]) -> bytes:
    return json.dumps({"kind": "List", "apiVersion": "v1", "items": items}).encode()


def _pod(name: str) -> dict[str, object]:
    ports = [{"containerPort": port, "protocol": kind} for port in (80, 8080) for kind in ("TCP", "UDP")]
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": name, "namespace": "lab"},
        "spec": {"nodeName": NODE, "containers": [{"name": "c", "ports": ports}]},
        "status": {"phase": "Running", "podIPs": [{"ip": pod_address(name, 4)}, {"ip": pod_address(name, 6)}]},
    }

"""The drawn cluster in the kernel: namespaces for nodes, pods and the switches between them; real sockets that ask and answer.

Every node's neighbours are learned as usual, a VXLAN's are written down as flannel does. What a client sees is read from its own socket,
who answered and what address it saw from what the server says in the answer.
"""

from __future__ import annotations

import errno
import json
import select
import socket
import time
from contextlib import ExitStack
from dataclasses import dataclass, field

from tests.oracle.netns import Namespace
from tests.oracle.stacks_drawn import OPEN, REFUSED, VXLAN_PORT, Drawn, Node, Shot, Stack, Table, node_address, pod_address

_WAIT = 0.7
"""Seconds until what did not answer is a timeout; a SYN is sent again after one."""
_LIMITS = {"net.ipv4.icmp_ratelimit": 0, "net.ipv4.icmp_msgs_per_sec": 1000000, "net.ipv4.icmp_msgs_burst": 100000}
_SEEN = {
    errno.ECONNREFUSED: "refused",
    errno.EHOSTUNREACH: "no-route",
    errno.ENETUNREACH: "net-unreachable",
    errno.EPERM: "eperm",
    errno.EACCES: "eacces",
    errno.EINVAL: "einval",
    errno.ENOPROTOOPT: "no-protocol",
}


@dataclass(frozen=True, slots=True)
class Observed:
    """What a client saw; *server* and *source* where it was answered: whose socket did, and whom that saw."""

    sees: str
    server: str = ""
    source: str = ""


@dataclass(slots=True)
class _Asking:
    shot: Shot
    socket: socket.socket
    observed: Observed | None = None
    connected: bool = False
    sent: bool = field(default=False)


class World:
    """The cluster *drawn*, built; close it."""

    def __init__(self, drawn: Drawn) -> None:
        self.drawn = drawn
        self._stack = ExitStack()
        self.spaces: dict[str, Namespace] = {}
        self._servers: dict[int, tuple[str, socket.socket]] = {}
        self._poll = select.poll()
        try:
            self._build()
            self._load()
            self._listen()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let everything go."""
        self._stack.close()

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- building -----------------------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        drawn = self.drawn
        names = ["sw", *(f"{kind}{n.number}" for n in drawn.nodes for kind in "np")]
        self.spaces = {name: self._stack.enter_context(Namespace()) for name in names}
        switch = []
        for network in range(drawn.networks):
            switch += [f"link add br{network} type bridge", f"link set br{network} up"]
            for node in drawn.nodes:
                port, inside = f"b{network}n{node.number}", self.spaces[node.name].path
                switch.append(f"link add {port} type veth peer name eth{network} address {_mac(node, network)} netns {inside}")
                switch += [f"link set {port} master br{network}", f"link set {port} up"]
        self._ip("sw", switch)
        for node in drawn.nodes:
            self._settings(node)
            self._ip(node.name, self._devices(node))
            self._ip(f"p{node.number}", _of_pod(node))
        for node in drawn.nodes:
            self._ip(node.name, self._ways(node))
            if drawn.overlay:
                others = [other for other in drawn.nodes if other is not node]
                fdb = [f"fdb add {_mac(other, 9)} dev vx0 dst {node_address(other.number)}" for other in others]
                self.spaces[node.name].run("bridge", "-batch", "-", text="\n".join(fdb) + "\n")
        for space in self.spaces.values():
            space.settle()

    def _ip(self, space: str, lines: list[str]) -> None:
        self.spaces[space].run("ip", "-batch", "-", text="\n".join(lines) + "\n")

    def _settings(self, node: Node) -> None:
        """NB: a device takes over what is set before it is made."""
        values = {"net.ipv4.ip_forward": 1, "net.ipv4.conf.all.rp_filter": 0, "net.ipv4.conf.default.rp_filter": node.rp_filter}
        values |= {f"net.ipv4.conf.eth{n}.rp_filter": node.rp_filter for n in range(self.drawn.networks)}
        values |= {f"net.ipv4.conf.{name}.send_redirects": 0 for name in ("all", "default")} | _LIMITS
        self.spaces[node.name].sysctl(values)
        self.spaces[f"p{node.number}"].sysctl(_LIMITS)

    def _devices(self, node: Node) -> list[str]:
        pod = self.spaces[f"p{node.number}"].path
        lines = ["link set lo up", f"link add pod0 type veth peer name eth0 netns {pod}", "link set pod0 up"]
        lines.append(f"addr add 10.1.{node.number}.1/24 dev pod0")
        for network in range(self.drawn.networks):
            lines += [f"link set eth{network} up", f"addr add {node_address(node.number, network)}/24 dev eth{network}"]
        if self.drawn.overlay:
            vxlan = f"type vxlan id 1 local {node_address(node.number)} dev eth0 dstport {VXLAN_PORT} nolearning"
            lines += [f"link add vx0 address {_mac(node, 9)} {vxlan}", f"addr add 10.1.{node.number}.0/32 dev vx0", "link set vx0 up"]
        return lines

    def _ways(self, node: Node) -> list[str]:
        """How a node reaches the other nodes' pods, and what leads nowhere."""
        lines = []
        for other in (other for other in self.drawn.nodes if other is not node):
            if self.drawn.overlay:
                lines.append(f"neigh add 10.1.{other.number}.0 lladdr {_mac(other, 9)} dev vx0 nud permanent")
                lines.append(f"route add 10.1.{other.number}.0/24 via 10.1.{other.number}.0 dev vx0 onlink")
            else:
                lines.append(f"route add 10.1.{other.number}.0/24 via {node_address(other.number)}")
        lines += [f"route add {kind} {address.rpartition('.')[0]}.0/24" for kind, address in REFUSED.items()]
        return [*lines, *node.routing]

    def _load(self) -> None:
        for node in self.drawn.nodes:
            for name, tables in ((node.name, node.tables), (f"p{node.number}", node.pod.tables if node.pod else [])):
                for table in tables:
                    self.spaces[name].run(*_program(table), text=table.text())

    # -- servers ------------------------------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        for node in self.drawn.nodes:
            own = [node_address(node.number, network) for network in range(self.drawn.networks)]
            for name, addresses in ((node.name, [*own, f"10.1.{node.number}.1"]), (f"p{node.number}", [pod_address(node.number)])):
                with self.spaces[name].inside():
                    self._serve(name, socket.SOCK_STREAM, "0.0.0.0")
                    for address in addresses:
                        self._serve(name, socket.SOCK_DGRAM, address)

    def _serve(self, name: str, kind: int, address: str) -> None:
        made = socket.socket(socket.AF_INET, kind)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address, OPEN))
        made.setblocking(False)
        if kind == socket.SOCK_STREAM:
            made.listen(64)
        self._stack.callback(made.close)
        self._servers[made.fileno()] = (name, made)
        self._poll.register(made.fileno(), select.POLLIN)

    def _answer(self, name: str, server: socket.socket) -> None:
        try:
            if server.type == socket.SOCK_DGRAM:
                _, source = server.recvfrom(64)
                server.sendto(f"{name} {source[0]}".encode(), source)
            else:
                made, source = server.accept()
                with made:
                    made.send(f"{name} {source[0]}".encode())
        except OSError:
            return  # refused on its way back: the client says what it saw

    # -- what the engine is given -------------------------------------------------------------------------------------------------

    def files(self) -> dict[str, bytes]:
        """Return the snapshot of the cluster."""
        nodes = [
            {"kind": "Node", "apiVersion": "v1", "metadata": {"name": n.name}, "spec": {"podCIDR": f"10.1.{n.number}.0/24"},
             "status": {"addresses": [{"type": "InternalIP", "address": node_address(n.number)}]}}
            for n in self.drawn.nodes
        ]  # fmt: skip
        found = {"nodes.json": _list(nodes), "pods.json": _list([_pod(n) for n in self.drawn.nodes])}
        found |= {"services.json": _list([]), "endpointslices.json": _list([])}
        for node in self.drawn.nodes:
            found |= {f"nodes/{node.name}/{name}": text.encode() for name, text in self._texts(node.name, node).items()}
            if node.pod is not None:
                pod = f"p{node.number}"
                found |= {f"nodes/{node.name}/pods/lab_{pod}/{name}": t.encode() for name, t in self._texts(pod, node.pod).items()}
        return found

    def _texts(self, space: str, stack: Stack) -> dict[str, str]:
        run = self.spaces[space].run
        settings = [x for x in run("sysctl", "-a", "-r", r"^net\.ipv4\.(ip_forward|conf)").splitlines() if x.startswith("net.")]
        texts = {
            "ip-addr.json": run("ip", "-j", "addr"),
            "ip-link.json": run("ip", "-d", "-j", "link"),
            "ip-route.json": run("ip", "-j", "route", "show", "table", "all"),
            "ip-rule.json": run("ip", "-j", "rule"),
            "ip-neigh.json": run("ip", "-j", "neigh"),
            "bridge-fdb.json": run("bridge", "-j", "fdb"),
            "ss.txt": run("ss", "-ltnu"),
            "sysctl.txt": "\n".join(settings) + "\n",
            "iptables-save.txt": run("iptables-nft-save") or "".join(f"*{t}\nCOMMIT\n" for t in ("filter", "nat", "mangle", "raw")),
            "nft-ruleset.txt": run("nft", "list", "ruleset"),
        }
        if any(table.maker == "legacy" for table in stack.tables):
            texts["iptables-legacy-save.txt"] = run("iptables-legacy-save")
        if stack.tells_hooks:
            texts["nft-hooks.txt"] = stack.hooks()
        return texts

    # -- packets ------------------------------------------------------------------------------------------------------------------

    def shoot(self, shots: list[Shot], wait: float = _WAIT) -> list[Observed]:
        """Return what each client sees within *wait* seconds; all ask at once."""
        asking: dict[int, _Asking] = {}
        for shot in shots:
            one = self._ask(shot)
            asking[one.socket.fileno()] = one
            if one.observed is None:
                self._poll.register(one.socket.fileno(), select.POLLIN | (select.POLLOUT if shot.protocol == "tcp" else 0))
        end = time.monotonic() + wait
        while (left := end - time.monotonic()) > 0 and any(one.observed is None for one in asking.values()):
            for number, _ in self._poll.poll(left * 1000):
                if number in self._servers:
                    self._answer(*self._servers[number])
                elif asking[number].observed is None:
                    self._heard(asking[number])
        for number, one in asking.items():
            if one.observed is None:
                one.observed = Observed("hangs" if one.connected else "timeout")
                self._poll.unregister(number)
            one.socket.close()
        return [one.observed or Observed("timeout") for one in asking.values()]

    def _ask(self, shot: Shot) -> _Asking:
        with self.spaces[shot.source].inside():
            made = socket.socket(socket.AF_INET, socket.SOCK_STREAM if shot.protocol == "tcp" else socket.SOCK_DGRAM)
        made.setblocking(False)
        one = _Asking(shot, made)
        try:
            made.connect((shot.destination, shot.port))
            if shot.protocol == "udp":
                made.send(b"?")
        except BlockingIOError:
            pass
        except OSError as error:
            one.observed = Observed(_SEEN[error.errno or 0])
        return one

    def _heard(self, one: _Asking) -> None:
        """Something came for a client, or its connection was made."""
        number = one.socket.fileno()
        if failed := one.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            one.observed = Observed(_SEEN[failed])
        else:
            one.connected = one.shot.protocol == "tcp"
            self._poll.modify(number, select.POLLIN)
            try:
                said = one.socket.recv(64).decode()
                one.observed = Observed("connected", *said.split()) if said else Observed("closed")
            except BlockingIOError:
                return
            except OSError as error:
                one.observed = Observed(_SEEN[error.errno or 0])
        self._poll.unregister(number)


def _program(table: Table) -> tuple[str, ...]:
    return ("nft", "-f", "/dev/stdin") if table.maker in ("ip", "inet") else (f"iptables-{table.maker}-restore", "--noflush")


def _mac(node: Node, network: int) -> str:
    return f"02:00:00:00:{network:02x}:{node.number:02x}"


def _of_pod(node: Node) -> list[str]:
    own = f"addr add {pod_address(node.number)}/24 dev eth0"
    return ["link set lo up", "link set eth0 up", own, f"route add default via 10.1.{node.number}.1"]


def _list(items: list[dict[str, object]]) -> bytes:
    return json.dumps({"kind": "List", "apiVersion": "v1", "items": items}).encode()


def _pod(node: Node) -> dict[str, object]:
    ports = [{"containerPort": OPEN, "protocol": kind} for kind in ("TCP", "UDP")]
    address = pod_address(node.number)
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": f"p{node.number}", "namespace": "lab"},
        "spec": {"nodeName": node.name, "containers": [{"name": "c", "ports": ports}]},
        "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]},
    }

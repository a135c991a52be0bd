"""The drawn cluster in the kernel: namespaces for nodes, pods and the switches between them, and the snapshot that the engine is given.

Every node's neighbours are learned as usual, a VXLAN's are written down as flannel does.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

from tests.oracle.netns import Namespace
from tests.oracle.stacks_drawn import Change, Drawn, Node
from tests.oracle.stacks_plan import OPEN, VXLAN_PORT
from tests.oracle.stacks_rules import Stack, Table
from tests.oracle.stacks_sockets import Sockets

_LIMITS = {
    "net.ipv4.icmp_ratelimit": 0,
    "net.ipv4.icmp_msgs_per_sec": 1000000,
    "net.ipv4.icmp_msgs_burst": 100000,
    "net.ipv6.icmp.ratelimit": 0,
}
_SETTINGS = (
    r"^net\.(ipv4\.(ip_forward |icmp_echo|conf\.)|ipv6\.(icmp\.echo|conf\.\w+\.(forwarding|disable_ipv6) )|netfilter\.nf_conntrack_tcp_)"
)


_TRACKING = "table inet own-tracking { chain seen { type filter hook prerouting priority 300; ct state untracked counter; }; }"
"""A rule that needs connection tracking. Source: nft_ct_get_init."""


class World:
    """The cluster *drawn*, built; close it."""

    def __init__(self, drawn: Drawn) -> None:
        self.drawn = drawn
        self._stack = ExitStack()
        self.spaces: dict[str, Namespace] = {}
        self._lasting: dict[str, dict[str, str]] = {}
        self.sockets = Sockets(self.spaces, drawn.plan.version)
        self._stack.callback(self.sockets.close)
        try:
            self._build()
            for node in drawn.nodes:
                for name, stack in node.stacks.items():
                    self.load(name, stack.tables)
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
        self.spaces |= {name: self._stack.enter_context(Namespace()) for name in names}
        for node in drawn.nodes:
            self._settings(node)
        switch = []
        for network in range(drawn.networks):
            switch += [f"link add br{network} type bridge", f"link set br{network} up"]
            for node in drawn.nodes:
                port, inside = f"b{network}n{node.number}", self.spaces[node.name].path
                switch.append(f"link add {port} type veth peer name eth{network} address {_mac(node, network)} netns {inside}")
                switch += [f"link set {port} master br{network}", f"link set {port} up"]
        self._ip("sw", switch)
        for node in drawn.nodes:
            self._ip(node.name, self._devices(node))
            self._ip(f"p{node.number}", self._of_pod(node))
        for node in drawn.nodes:
            self._ip(node.name, self._ways(node))
            if drawn.overlay:
                others = [other for other in drawn.nodes if other is not node]
                fdb = [f"fdb add {_mac(other, 9)} dev vx0 dst {drawn.plan.node(other.number)}" for other in others]
                self.spaces[node.name].run("bridge", "-batch", "-", text="\n".join(fdb) + "\n")
        for space in self.spaces.values():
            space.settle()

    def _ip(self, space: str, lines: list[str]) -> None:
        self.spaces[space].run("ip", f"-{self.drawn.plan.version}", "-batch", "-", text="\n".join(lines) + "\n")

    def _settings(self, node: Node) -> None:
        """NB: a device takes over what is set before it is made. IPv6's addresses are there at once, and redirects change no way."""
        six = {f"net.ipv6.conf.default.{name}": 0 for name in ("accept_dad", "accept_ra", "accept_redirects")}
        six |= {"net.ipv6.conf.default.disable_ipv6": int(self.drawn.plan.version == 4)}
        both = _LIMITS | six | {f"net.ipv4.conf.{name}.send_redirects": 0 for name in ("all", "default")}
        own = {"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1}
        own |= {"net.ipv4.conf.all.rp_filter": 0, "net.ipv4.conf.default.rp_filter": node.rp_filter}
        own |= {"net.netfilter.nf_conntrack_tcp_loose": int(node.is_loose)}
        self.spaces[node.name].sysctl(own | both)
        self.spaces[f"p{node.number}"].sysctl(both)
        for name in (node.name, f"p{node.number}"):
            with self.spaces[name].inside():
                Path("/proc/sys/net/ipv4/ping_group_range").write_text("0 2147483647")

    def _added(self, address: str, length: int, device: str) -> str:
        return f"addr add {address}/{length} dev {device}{'' if self.drawn.plan.version == 4 else ' nodad'}"

    def _devices(self, node: Node) -> list[str]:
        pod, plan, number = self.spaces[f"p{node.number}"].path, self.drawn.plan, node.number
        lines = ["link set lo up", f"link add pod0 type veth peer name eth0 netns {pod}", "link set pod0 up"]
        lines.append(self._added(plan.gateway(number), plan.length, "pod0"))
        for network in range(self.drawn.networks):
            lines += [f"link set eth{network} up", self._added(plan.node(number, network), plan.length, f"eth{network}")]
        if self.drawn.overlay:
            vxlan = f"type vxlan id 1 local {plan.node(number)} dev eth0 dstport {VXLAN_PORT} nolearning"
            lines += [f"link add vx0 address {_mac(node, 9)} {vxlan}", self._added(plan.end(number), plan.whole, "vx0"), "link set vx0 up"]
        return lines

    def _of_pod(self, node: Node) -> list[str]:
        plan = self.drawn.plan
        own = self._added(plan.pod(node.number), plan.length, "eth0")
        return ["link set lo up", "link set eth0 up", own, f"route add default via {plan.gateway(node.number)}"]

    def _ways(self, node: Node) -> list[str]:
        """How a node reaches the other nodes' pods, and what leads nowhere."""
        lines, plan = [], self.drawn.plan
        for other in (other for other in self.drawn.nodes if other is not node):
            if self.drawn.overlay:
                lines.append(f"neigh add {plan.end(other.number)} lladdr {_mac(other, 9)} dev vx0 nud permanent")
                lines.append(f"route add {plan.pods(other.number)} via {plan.end(other.number)} dev vx0 onlink")
            else:
                lines.append(f"route add {plan.pods(other.number)} via {plan.node(other.number)}")
        lines += [f"route add {kind} {network}" for kind, (network, _) in plan.refused.items()]
        return [*lines, *node.routing]

    def load(self, space: str, tables: list[Table]) -> None:
        """Load *tables* in their order."""
        for table in tables:
            self.spaces[space].run(*table.program, text=table.text())

    def change(self, changes: list[Change]) -> None:
        """Give chains other rules, and let stacks forget their connections.

        NB: a stack tracks connections as long as some rule needs that; its entries outlive the last such rule, and then translate nothing.
        """
        for change in changes:
            self.spaces[change.space].run("nft", "-f", "/dev/stdin", text=_TRACKING)
            for table, chain in change.chains:
                self.spaces[change.space].run(*table.program, text=table.renewed(chain))
            if change.forgets:
                self.spaces[change.space].run("conntrack", "-F")

    def forget_neighbours(self) -> None:
        """Let every stack forget the neighbours that it learned."""
        for space in self.spaces.values():
            space.run("ip", f"-{self.drawn.plan.version}", "neigh", "flush", "all")

    def _listen(self) -> None:
        plan = self.drawn.plan
        for node in self.drawn.nodes:
            own = [plan.node(node.number, network) for network in range(self.drawn.networks)]
            self.sockets.serve(node.name, [*own, plan.gateway(node.number)])
            self.sockets.serve(f"p{node.number}", [plan.pod(node.number)])

    # -- what the engine is given -------------------------------------------------------------------------------------------------

    def files(self, *, connections: bool = False) -> dict[str, bytes]:
        """Return the snapshot of the cluster; with *connections*, each stack's conntrack.txt."""
        plan = self.drawn.plan
        nodes = [
            {"kind": "Node", "apiVersion": "v1", "metadata": {"name": n.name}, "spec": {"podCIDR": plan.pods(n.number)},
             "status": {"addresses": [{"type": "InternalIP", "address": plan.node(n.number)}]}}
            for n in self.drawn.nodes
        ]  # fmt: skip
        found = {"nodes.json": _list(nodes), "pods.json": _list([_pod(n, plan.pod(n.number)) for n in self.drawn.nodes])}
        found |= {"services.json": _list([]), "endpointslices.json": _list([])}
        for node in self.drawn.nodes:
            for name, stack in node.stacks.items():
                at = f"nodes/{node.name}/" + (f"pods/lab_{name}/" if name != node.name else "")
                texts = self._texts(name, stack) | (self._connections(name) if connections else {})
                found |= {at + file: text.encode() for file, text in texts.items()}
        return found

    def _texts(self, space: str, stack: Stack) -> dict[str, str]:
        """What is read in a stack: its rules each time, what does not change once."""
        if space not in self._lasting:
            self._lasting[space] = self._devices_and_ways(space)
        run, six = self.spaces[space].run, "" if self.drawn.plan.version == 4 else "6"
        empty = "".join(f"*{t}\nCOMMIT\n" for t in ("filter", "nat", "mangle", "raw"))
        texts = {f"ip{six}tables-save.txt": run(f"ip{six}tables-nft-save") or empty, "nft-ruleset.txt": run("nft", "list", "ruleset")}
        if any(table.maker == "legacy" for table in stack.tables):
            texts[f"ip{six}tables-legacy-save.txt"] = run(f"ip{six}tables-legacy-save")
        if stack.tells_hooks:
            texts["nft-hooks.txt"] = stack.hooks(self.drawn.plan)
        return self._lasting[space] | texts

    def _devices_and_ways(self, space: str) -> dict[str, str]:
        run, version = self.spaces[space].run, self.drawn.plan.version
        six = "" if version == 4 else "6"
        settings = [x for x in run("sysctl", "-a", "-r", _SETTINGS).splitlines() if x.startswith("net.")]
        return {
            "ip-addr.json": run("ip", "-j", "addr"),
            "ip-link.json": run("ip", "-d", "-j", "link"),
            f"ip{six}-route.json": run("ip", f"-{version}", "-j", "route", "show", "table", "all"),
            f"ip{six}-rule.json": run("ip", f"-{version}", "-j", "rule"),
            "ip-neigh.json": run("ip", "-j", "neigh"),
            "bridge-fdb.json": run("bridge", "-j", "fdb"),
            "ss.txt": run("ss", "-ltnu"),
            "sysctl.txt": "\n".join(settings) + "\n",
        }

    def _connections(self, space: str) -> dict[str, str]:
        family = "ipv4" if self.drawn.plan.version == 4 else "ipv6"
        return {"conntrack.txt": self.spaces[space].run("conntrack", "-L", "-f", family, "-o", "extended")}


def _mac(node: Node, network: int) -> str:
    return f"02:00:00:00:{network:02x}:{node.number:02x}"


def _list(items: list[dict[str, object]]) -> bytes:
    return json.dumps({"kind": "List", "apiVersion": "v1", "items": items}).encode()


def _pod(node: Node, address: str) -> dict[str, object]:
    ports = [{"containerPort": OPEN, "protocol": kind} for kind in ("TCP", "UDP")]
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": f"p{node.number}", "namespace": "lab"},
        "spec": {"nodeName": node.name, "containers": [{"name": "c", "ports": ports}]},
        "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]},
    }

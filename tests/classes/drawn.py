"""Draws clusters for walks by classes: one Service of many endpoints, and rules, routes, sets, links and pods that tell some of them apart.

Every telling feature is drawn for some endpoints, for none, or for what lies around them (a prefix that has half of them).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from inspect import isfunction
from random import Random

from tests.made_cluster import MadeCluster, MadeNode, MadePod

Json = dict[str, object]
_FEW = 6
_TOOLS = ("_ipvs", "_some_node", "_some", "_ip", "_nets", "_rule")
_ASSUMED = ("network:routes-pods", "network:drops-pods", "front:node-port", "front:kept", "front:pod", "enters:n1")


@dataclass(kw_only=True)
class DrawnCluster:
    """A cluster with its questions (from, to, assumptions), and the names of the features that were drawn."""

    made: MadeCluster
    questions: list[tuple[str, str, tuple[str, ...]]]
    features: list[str]


def drawn(seed: int, most: int = 60, *, features: Sequence[str] | None = None) -> DrawnCluster:
    """Return the cluster of *seed*, of at most *most* endpoints; *features* are drawn where they are given."""
    return _Drawing(seed, most).cluster(features)


class _Drawing:
    def __init__(self, seed: int, most: int) -> None:
        self._random = random = Random(seed)
        self._made = MadeCluster(random.choice((1, 2, 3, 3, 4, 6)), cni=random.choice(("route", "route", "bridge")))
        self._made.pod("client", 1)
        count = self._count = random.choice((random.randint(1, most), random.randint(2, 20), most))
        self._web = [self._made.pod(f"web-{i}", self._some_node().number) for i in range(count)]
        self._version = random.choice((4, 4, 4, 6))
        self._features: list[str] = []

    def cluster(self, features: Sequence[str] | None) -> DrawnCluster:
        """Return what was drawn."""
        random, made, is_4 = self._random, self._made, self._version == 4
        self._features += random.sample(FEATURES, random.choice((0, 1, 1, 2, 3, 5))) if features is None else features
        for feature in self._features:
            getattr(self, f"_{feature}")()
        lb = "198.51.100.7" if is_4 else None
        if random.random() < 0.2:
            self._ipvs()
        made.service("web", self._web, version=self._version, type="LoadBalancer", node_port=30080, lb_ip=lb, local=random.random() < 0.2)
        assume: tuple[str, ...] = (random.choice(_ASSUMED),) if random.random() < 0.3 else ()
        self._features += assume
        ip, outside = made.services[0].cluster_ip, "203.0.113.9" if is_4 else "2001:db8::9"
        to = f"{ip}:80" if is_4 else f"[{ip}]:80"
        node = self._some_node()
        at = node.ip(self._version)
        questions = [
            ("pod:default/client", to, assume),
            (f"pod:default/{self._web[0].name}", to, assume),
            (f"node:{node.name}", to, assume),
            (f"external:{outside}", f"{at}:30080" if is_4 else f"[{at}]:30080", assume),
        ]
        if is_4 and (self._count <= _FEW or not self._features):  # a SYN that is dropped is drawn again, for each way of a balancer
            questions.append((f"external:{outside}", "198.51.100.7:80", assume))
        return DrawnCluster(made=made, questions=questions, features=self._features)

    def _ipvs(self) -> None:
        """IPVS in front of the Service, which kube-proxy's rules do not know then: real servers of several weights and ways."""
        random, is_4 = self._random, self._version == 4
        scheduler, persistent = random.choice(("rr", "wrr", "sh", "mh", "lc")), random.choice(("", "", " -p 10800"))
        for node in self._made.nodes:
            node.texts |= {f"{name}-save.txt": self._made.dump(node, version) for name, version in (("iptables", 4), ("ip6tables", 6))}
            node.texts["kube-proxy-mode.txt"] = "ipvs\n"
            node.sysctl["net.ipv4.vs.conntrack"] = "1"
            address = "10.96.0.10" if is_4 else "fd00:96::a"
            node.held.append(("kube-ipvs0", address, 32 if is_4 else 128))
            lines = []
            for virtual in (_with_port(address, 80), _with_port(node.ip(self._version), 30080)):
                lines.append(f"-A -t {virtual} -s {scheduler}{persistent}")
                lines += [
                    f"-a -t {virtual} -r {_with_port(self._ip(pod), pod.port)} {how} -w {weight}"
                    for pod in self._web
                    for how, weight in (random.choice((("-m", 1), ("-m", 1), ("-m", 1), ("-m", 2), ("-m", 0), ("-g", 1))),)
                ]
            node.texts["ipvsadm-save.txt"] = "\n".join(lines) + "\n"
        self._features.append("ipvs")

    def _some_node(self) -> MadeNode:
        return self._random.choice(self._made.nodes)

    def _some(self) -> list[MadePod]:
        """A few of the endpoints, half of them, or one."""
        size = self._random.choice((1, 2, max(1, len(self._web) // 2)))
        return self._random.sample(self._web, min(size, len(self._web)))

    def _ip(self, pod: MadePod) -> str:
        return next(ip for ip in pod.ips if (":" in ip) == (self._version == 6))

    def _nets(self) -> list[str]:
        """Addresses of some endpoints, or a network that has some."""
        bits = 128 if self._version == 6 else 32
        if self._random.random() < 0.5:
            return [f"{self._ip(pod)}/{bits}" for pod in self._some()]
        node = self._some_node().number
        return (
            [f"10.1.{node}.{self._random.choice((0, 8, 16))}/{self._random.choice((27, 28, 29))}"]
            if self._version == 4
            else [f"fd00:1:{node}::/124"]
        )

    def _rule(self, table: str, rule: str) -> None:
        self._some_node().rules.append((table, rule))

    # -- what may tell endpoints apart ---------------------------------------------------------------------------------------------

    def _dropped(self) -> None:
        for net in self._nets():
            self._rule("filter", f"-A FORWARD {self._random.choice(('-d', '-s'))} {net} -j {self._random.choice(('DROP', 'REJECT'))}")

    def _marked(self) -> None:
        for net in self._nets():
            self._rule(
                "mangle", f"-A {self._random.choice(('FORWARD', 'POSTROUTING'))} -d {net} -j MARK --set-mark 0x{self._random.randint(1, 3)}"
            )
        self._rule("filter", "-A FORWARD -m mark --mark 0x2 -j DROP")
        self._rule("nat", "-A POSTROUTING -m mark --mark 0x1/0x1 -j MASQUERADE")

    def _translated(self) -> None:
        for net in self._nets():
            self._rule("nat", f"-A POSTROUTING -d {net} -j MASQUERADE")

    def _translated_by_address(self) -> None:
        if self._version == 4:
            to = self._random.choice(("SNAT --to-source 192.168.0.50-192.168.0.60", "NETMAP --to 10.7.0.0/16"))
            for net in self._nets():
                self._rule("nat", f"-A POSTROUTING -d {net} -j {to}")

    def _behind_pods(self) -> None:
        """Routes to what lies behind some endpoints, the client outside among it."""
        node, places = self._some_node(), enumerate(pod for pod in self._some() if not pod.host_network)
        to = (
            self._random.choice(("203.0.113.{}", "203.0.113.0/24"))
            if self._version == 4
            else self._random.choice(("2001:db8::{}", "2001:db8::/64"))
        )
        node.texts["ip-route.json" if self._version == 4 else "ip6-route.json"] = json.dumps(
            [
                *node.ip_route(self._made.nodes, self._version),
                *({"dst": to.format(9 + n), "dev": node.device(pod), "flags": [], "metric": n} for n, pod in places if pod.node is node),
            ]
        )

    def _untracked(self) -> None:
        for net in self._nets():
            self._rule("raw", f"-A PREROUTING {self._random.choice(('-d', '-s'))} {net} -j CT --notrack")

    def _by_device(self) -> None:
        for pod in self._some():
            if pod.node is not None:
                pattern = self._random.choice((pod.node.device(pod), "vethweb1+", "vethweb+"))
                side = self._random.choice(("-o", "-i"))
                pod.node.rules.append(("filter", f"-A FORWARD {side} {pattern} -j {self._random.choice(('DROP', 'ACCEPT'))}"))

    def _by_chance(self) -> None:
        self._rule("filter", "-A FORWARD -p tcp -m statistic --mode random --probability 0.25000000000 -j DROP")

    def _by_range(self) -> None:
        if self._version == 4:
            node = self._some_node().number
            self._rule("filter", f"-A FORWARD -m iprange --dst-range 10.1.{node}.3-10.1.{node}.9 -j DROP")

    def _by_set(self) -> None:
        node = self._some_node()
        family = "inet6" if self._version == 6 else "inet"
        lines = [f"create told hash:ip family {family} hashsize 1024 maxelem 65536", *(f"add told {self._ip(pod)}" for pod in self._some())]
        node.texts["ipset-save.txt"] = "\n".join(lines) + "\n"
        node.rules.append(("filter", f"-A FORWARD -m set --match-set told {self._random.choice(('dst', 'src'))} -j DROP"))

    def _by_unknown_set(self) -> None:
        self._rule("filter", "-A FORWARD -m set --match-set nowhere dst -j DROP")

    def _routed_otherwise(self) -> None:
        node = self._some_node()
        for pod in self._some():
            kind = self._random.choice(("blackhole", "unreachable", "unicast"))
            way: Json = {"gateway": self._some_node().ip(self._version), "dev": "eth0"} if kind == "unicast" else {"dev": "lo"}
            node.routes.append({"type": kind, "dst": self._ip(pod), "flags": [], **way})

    def _ruled_otherwise(self) -> None:
        node, table = self._some_node(), 100
        for pod in self._some():
            if self._version == 4:
                side = self._random.choice(("src", "dst"))
                rule: Json = {"priority": 100, "src": "all", "table": str(table), side: self._ip(pod)}
                node.rules_of_routing.append(rule)
        node.routes.append({"dst": "10.1.0.0/16", "gateway": self._some_node().ip(), "dev": "eth0", "flags": [], "table": str(table)})

    def _neighbours(self) -> None:
        node = self._some_node()
        states = ("REACHABLE", "STALE", "FAILED", "PERMANENT")
        entries = [
            {
                "dst": self._ip(p),
                "dev": node.device(p),
                "lladdr": f"0a:00:00:00:00:{n:02x}",
                "state": [self._random.choice(states[: 1 + n % 4])],
            }
            for n, p in enumerate(self._web)
            if p.node is node
        ]
        for entry in entries:
            if entry["state"] == ["FAILED"]:
                del entry["lladdr"]
        node.texts["ip-neigh.json"] = json.dumps(entries)

    def _device_settings(self) -> None:
        for pod in self._some():
            if pod.node is not None and not pod.host_network:
                device = pod.node.device(pod)
                name, value = self._random.choice((("rp_filter", "1"), ("forwarding", "0"), ("accept_local", "1"), ("rp_filter", "2")))
                pod.node.sysctl[f"net.ipv4.conf.{device}.{name}"] = value

    def _links(self) -> None:
        for pod in self._some():
            if pod.node is not None and not pod.host_network:
                links = pod.node.ip_link()
                for link in links:
                    if link["ifname"] == pod.node.device(pod):
                        link |= self._random.choice(({"mtu": 1300}, {"flags": ["BROADCAST", "MULTICAST"]}, {"group": "7"}))
                pod.node.texts["ip-link.json"] = json.dumps(links)

    def _pods(self) -> None:
        for pod in self._some():
            kind = self._random.choice(("port", "labels", "gone", "no node", "name"))
            if kind == "port":
                pod.port = 9090
            elif kind == "labels":
                pod.labels = {"app": "other"}
            elif kind == "gone":
                self._made.pods.remove(pod)
            elif kind == "name":
                pod.name = self._random.choice(("web", "eth0", "n1", pod.name))
            else:
                pod.node = None

    def _on_the_host(self) -> None:
        self._web.append(self._made.pod("web-host", self._some_node().number, host_network=True))

    def _outside(self) -> None:
        self._web.append(MadePod(name="web-outside", node=None, ips=("192.0.2.77", "2001:db8::77"), port=8080))

    def _without_rules(self) -> None:
        self._some_node().without |= {"iptables-save.txt", "ip6tables-save.txt"}

    def _remembered(self) -> None:
        self._rule("filter", "-A FORWARD -m recent --name seen --rdest --set")
        self._rule("filter", "-A FORWARD -m recent --name seen --rdest --update --seconds 60 --hitcount 2 -j DROP")


def _with_port(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


FEATURES = [name[1:] for name, value in vars(_Drawing).items() if isfunction(value) and name not in ("__init__", "cluster", *_TOOLS)]
"""Every feature, as it stands above."""

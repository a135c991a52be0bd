"""Small synthetic clusters for tests: say what is in one, get the files of a snapshot, as kube-proxy, ip(8) and kubectl would print them.

Nodes N of 1, 2, … have 192.168.0.(10+N) and fd00:192::(10+N) on eth0, the pod networks 10.1.N.0/24 and fd00:1:N::/64, and the router
192.168.0.1 / fd00:192::1. Pods are on a veth each (``cni="route"``) or on the bridge cbr0 (``cni="bridge"``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address

from tracer.query import Query, parse_destination, parse_protocol, parse_source
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster
from tracer.trace import Trace

Json = dict[str, object]
_ODDS = {True: "", False: " -m statistic --mode random --probability {:.10f}"}


@dataclass(kw_only=True)
class MadePod:
    """One pod; *port* is the one its container declares."""

    name: str
    node: MadeNode | None
    ips: tuple[str, ...]
    port: int
    host_network: bool = False
    labels: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> Json:
        """Return the Pod object."""
        container = {"name": "c", "ports": [{"containerPort": self.port, "protocol": "TCP"}]}
        spec: Json = {"containers": [container]} | ({"hostNetwork": True} if self.host_network else {})
        if self.node:
            spec["nodeName"] = self.node.name
        status = {"phase": "Running", "podIP": self.ips[0], "podIPs": [{"ip": ip} for ip in self.ips]}
        metadata = {"namespace": "default", "name": self.name, "labels": self.labels}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status}


@dataclass(kw_only=True)
class MadeNode:
    """One node. *rules* are added in front of kube-proxy's: (table, line) pairs; *sysctl*, *routes*, *links* add to what is printed.

    *held* are addresses that its devices hold and its Node object does not list: (device, address, bits).
    """

    number: int
    cni: str = "route"
    hairpin: bool | None = False
    nf_call: int | None = 1
    labels: dict[str, str] = field(default_factory=dict)
    rules: list[tuple[str, str]] = field(default_factory=list)
    policies: dict[str, str] = field(default_factory=dict)
    sysctl: dict[str, str] = field(default_factory=dict)
    routes: list[Json] = field(default_factory=list)
    pod_cidrs: tuple[str, ...] = ()
    held: list[tuple[str, str, int]] = field(default_factory=list)
    rules_of_routing: list[Json] = field(default_factory=list)
    without: set[str] = field(default_factory=set)
    texts: dict[str, str] = field(default_factory=dict)
    pods: list[MadePod] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Return the node's name."""
        return f"n{self.number}"

    def ip(self, version: int = 4) -> str:
        """Return the node's own address."""
        return f"192.168.0.{10 + self.number}" if version == 4 else f"fd00:192::{10 + self.number:x}"

    def device(self, pod: MadePod) -> str:
        """Return the node's device towards *pod*: its veth."""
        return "veth" + pod.name.replace("-", "")[-10:]

    def to_json(self) -> Json:
        """Return the Node object."""
        addresses = [{"type": "InternalIP", "address": self.ip(v)} for v in (4, 6)] + [{"type": "Hostname", "address": self.name}]
        metadata = {"name": self.name, "labels": self.labels}
        spec: Json = {"podCIDRs": list(self.pod_cidrs)} if self.pod_cidrs else {}
        return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": spec, "status": {"addresses": addresses}}

    # -- what ip(8) prints --------------------------------------------------------------------------------------------------------

    def _devices(self) -> list[tuple[str, list[tuple[str, int]]]]:
        gateways = [(f"10.1.{self.number}.1", 24), (f"fd00:1:{self.number}::1", 64)]
        found = [("lo", [("127.0.0.1", 8), ("::1", 128)]), ("eth0", [(self.ip(), 24), (self.ip(6), 64)])]
        found += [(device, [(address, bits)]) for device, address, bits in self.held]
        if self.cni == "bridge":
            return [*found, ("cbr0", gateways), *((self.device(p), []) for p in self.pods if not p.host_network)]
        hosts = [(address, 32 if ":" not in address else 128) for address, _ in gateways]
        return [*found, *((self.device(p), hosts) for p in self.pods if not p.host_network)]

    def ip_addr(self) -> list[Json]:
        """Return what ``ip -j addr`` prints."""
        return [
            {"ifindex": i, "ifname": name, "flags": _flags(name), "addr_info": [_addr_info(a, bits) for a, bits in held]}
            for i, (name, held) in enumerate(self._devices(), 1)
        ]

    def ip_link(self) -> list[Json]:
        """Return what ``ip -d -j link`` prints."""
        found: list[Json] = []
        for i, (name, _) in enumerate(self._devices(), 1):
            link: Json = {
                "ifindex": i,
                "ifname": name,
                "flags": _flags(name),
                "mtu": 1500,
                "link_type": "loopback" if name == "lo" else "ether",
            }
            if name == "cbr0":
                link["linkinfo"] = {"info_kind": "bridge", "info_data": {}}
            elif name.startswith("veth"):
                link["linkinfo"] = {"info_kind": "veth"}
                if self.cni == "bridge":
                    slave = {} if self.hairpin is None else {"hairpin": self.hairpin}
                    link |= {"master": "cbr0", "linkinfo": {"info_kind": "veth", "info_slave_kind": "bridge", "info_slave_data": slave}}
            found.append(link)
        return found

    def ip_route(self, others: Iterable[MadeNode], version: int) -> list[Json]:
        """Return what ``ip [-6] -j route show table all`` prints."""
        net, nodes, gateway = (
            ("10.1.{}.0/24", "192.168.0.0/24", "192.168.0.1") if version == 4 else ("fd00:1:{}::/64", "fd00:192::/64", "fd00:192::1")
        )
        routes: list[Json] = [{"dst": "default", "gateway": gateway, "dev": "eth0", "flags": []}]
        routes += [{"dst": net.format(o.number), "gateway": o.ip(version), "dev": "eth0", "flags": []} for o in others if o is not self]
        routes.append({"dst": nodes, "dev": "eth0", "protocol": "kernel", "scope": "link", "prefsrc": self.ip(version), "flags": []})
        if self.cni == "bridge":
            routes.append({"dst": net.format(self.number), "dev": "cbr0", "protocol": "kernel", "scope": "link", "flags": []})
        else:
            for pod in self.pods:
                for ip in pod.ips:
                    if ip_address(ip).version == version and not pod.host_network:
                        routes.append({"dst": ip, "dev": self.device(pod), "scope": "link", "flags": []})
        routes += [r for r in self.routes if (":" in str(r["dst"])) == (version == 6)]
        seen = set()
        for device, held in self._devices():
            for address, bits in held:
                if ip_address(address).version == version and (address, device) not in seen:
                    seen.add((address, device))
                    local = f"{address}/8" if address == "127.0.0.1" else address
                    routes.append(
                        {
                            "type": "local",
                            "dst": "127.0.0.0/8" if "/" in local else local,
                            "dev": device,
                            "table": "local",
                            "scope": "host",
                            "flags": [],
                        }
                    )
                    del bits
        return routes

    def sysctls(self) -> str:
        """Return what ``sysctl -a`` prints of the net.* that matter."""
        found = {
            "net.ipv4.ip_forward": "1",
            "net.ipv4.conf.all.forwarding": "1",
            "net.ipv6.conf.all.forwarding": "1",
            "net.ipv4.conf.all.rp_filter": "0",
            "net.ipv4.conf.all.route_localnet": "1",
            "net.ipv4.conf.all.accept_local": "0",
        }
        if self.nf_call is not None:
            found |= {f"net.bridge.bridge-nf-call-{t}": str(self.nf_call) for t in ("iptables", "ip6tables")}
        found |= self.sysctl
        return "".join(f"{k} = {v}\n" for k, v in sorted(found.items()))


@dataclass(kw_only=True)
class MadeService:
    """One Service with one port. *endpoints* are (address, node or None) pairs, all ready."""

    name: str
    cluster_ip: str
    port: int
    target_port: int
    endpoints: list[tuple[str, MadeNode | None]]
    type: str = "ClusterIP"
    node_port: int | None = None
    lb_ip: str | None = None
    local: bool = False
    allocate: bool = True

    def to_json(self) -> Json:
        """Return the Service object."""
        port: Json = {"name": "p", "port": self.port, "targetPort": self.target_port, "protocol": "TCP"}
        if self.node_port:
            port["nodePort"] = self.node_port
        spec: Json = {
            "clusterIP": self.cluster_ip,
            "clusterIPs": [self.cluster_ip],
            "type": self.type,
            "ports": [port],
            "selector": {"app": self.name},
        }
        if self.type != "ClusterIP":
            spec["externalTrafficPolicy"] = "Local" if self.local else "Cluster"
        status: Json = {"loadBalancer": {"ingress": [{"ip": self.lb_ip}]} if self.lb_ip else {}}
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"namespace": "default", "name": self.name},
            "spec": spec,
            "status": status,
        }

    def slice_json(self) -> Json:
        """Return its EndpointSlice."""
        conditions = {"ready": True, "serving": True, "terminating": False}
        endpoints = [{"addresses": [a], "conditions": conditions} | ({"nodeName": n.name} if n else {}) for a, n in self.endpoints]
        metadata = {"namespace": "default", "name": f"{self.name}-x", "labels": {"kubernetes.io/service-name": self.name}}
        kind = "IPv6" if ":" in self.cluster_ip else "IPv4"
        ports = [{"name": "p", "port": self.target_port, "protocol": "TCP"}]
        return {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "addressType": kind,
            "metadata": metadata,
            "endpoints": endpoints,
            "ports": ports,
        }


class MadeCluster:
    """A cluster under construction. *extra* replaces or adds files by path; None removes one."""

    def __init__(self, nodes: int = 2, **options: object) -> None:
        self.nodes = [MadeNode(number=i + 1, **options) for i in range(nodes)]  # type: ignore[arg-type]
        self.services: list[MadeService] = []
        self.pods: list[MadePod] = []
        self.extra: dict[str, bytes | None] = {}

    def node(self, number: int) -> MadeNode:
        """Return node *number*, from 1."""
        return self.nodes[number - 1]

    def pod(self, name: str, node: int, *, port: int = 8080, host_network: bool = False) -> MadePod:
        """Add a pod to node *node*; its last address byte counts up from 2."""
        home = self.node(node)
        last = 2 + len(home.pods)
        ips = (home.ip(), home.ip(6)) if host_network else (f"10.1.{node}.{last}", f"fd00:1:{node}::{last:x}")
        made = MadePod(name=name, node=home, ips=ips, port=port, host_network=host_network, labels={"app": name.partition("-")[0]})
        home.pods.append(made)
        self.pods.append(made)
        return made

    def service(self, name: str, pods: Iterable[MadePod] = (), *, version: int = 4, port: int = 80, **options: object) -> MadeService:
        """Add a Service whose endpoints are *pods*."""
        number = 10 + len(self.services)
        chosen = list(pods)
        made = MadeService(
            name=name,
            cluster_ip=f"10.96.{number // 256}.{number % 256}" if version == 4 else f"fd00:96::{number:x}",
            port=port,
            target_port=chosen[0].port if chosen else 8080,
            endpoints=[(next(ip for ip in p.ips if ip_address(ip).version == version), p.node) for p in chosen],
            **options,  # type: ignore[arg-type]
        )
        self.services.append(made)
        return made

    # -- files --------------------------------------------------------------------------------------------------------------------

    def files(self) -> dict[str, bytes]:
        """Return the snapshot's files by path."""
        found: dict[str, object] = {
            "nodes.json": _list([n.to_json() for n in self.nodes]),
            "pods.json": _list([p.to_json() for p in self.pods]),
            "services.json": _list([s.to_json() for s in self.services]),
            "endpointslices.json": _list([s.slice_json() for s in self.services if s.endpoints]),
        }
        for node in self.nodes:
            for name, content in self._node_files(node).items():
                if name not in node.without:
                    found[f"nodes/{node.name}/{name}"] = node.texts.get(name, content)
            found |= {f"nodes/{node.name}/{name}": text for name, text in node.texts.items()}
        bytes_of = {p: c.encode() if isinstance(c, str) else json.dumps(c).encode() for p, c in found.items()}
        bytes_of |= {p: c for p, c in self.extra.items() if c is not None}
        return {p: c for p, c in bytes_of.items() if self.extra.get(p, b"") is not None}

    def _node_files(self, node: MadeNode) -> dict[str, object]:
        return {
            "ip-addr.json": node.ip_addr(),
            "ip-link.json": node.ip_link(),
            "ip-route.json": node.ip_route(self.nodes, 4),
            "ip6-route.json": node.ip_route(self.nodes, 6),
            "ip-rule.json": [*DEFAULT_RULES, *node.rules_of_routing],
            "ip6-rule.json": DEFAULT_RULES[:2],
            "sysctl.txt": node.sysctls(),
            "kube-proxy-mode.txt": "iptables\n",
            "iptables-save.txt": self.dump(node, 4),
            "ip6tables-save.txt": self.dump(node, 6),
        }

    def dump(self, node: MadeNode, version: int) -> str:
        """Return the node's rules as iptables-save prints what kube-proxy programmed."""
        proxy = _Proxy(node, version)
        for service in self.services:
            if (":" in service.cluster_ip) == (version == 6):
                proxy.add(service)
        return proxy.text()

    def cluster(self, *, indexed: bool = True) -> Cluster:
        """Return the cluster as the engine reads it."""
        return Cluster.from_snapshot(Snapshot.from_files(self.files()), indexed=indexed)

    def trace(self, source: str, to: str, **options: object) -> Trace:
        """Return the answer to one question, in the command's words (``pod:default/web-1``, ``10.96.0.10:80``)."""
        protocol = parse_protocol(options.pop("protocol", "tcp"))
        query = Query(source=parse_source(source), destination=parse_destination(to), protocol=protocol, **options)  # type: ignore[arg-type]
        return trace(self.cluster(), query)


DEFAULT_RULES: list[Json] = [
    {"priority": 0, "src": "all", "table": "local"},
    {"priority": 32766, "src": "all", "table": "main"},
    {"priority": 32767, "src": "all", "table": "default"},
]


def _list(items: list[Json]) -> Json:
    return {"apiVersion": "v1", "kind": "List", "items": items}


def _flags(name: str) -> list[str]:
    return ["LOOPBACK", "UP", "LOWER_UP"] if name == "lo" else ["BROADCAST", "MULTICAST", "UP", "LOWER_UP"]


def _addr_info(address: str, bits: int) -> Json:
    scope = "host" if ip_address(address).is_loopback else "global"
    return {"family": "inet6" if ":" in address else "inet", "local": address, "prefixlen": bits, "scope": scope}


def _hash(*words: object) -> str:
    return hashlib.sha256("/".join(map(str, words)).encode()).hexdigest()[:16].upper()


_STATIC = """\
*mangle
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
"""


class _Proxy:
    """What kube-proxy 1.30 and later writes for one node, its detector the cluster's pod network."""

    def __init__(self, node: MadeNode, version: int) -> None:
        self._node = node
        self._pods = "10.1.0.0/16" if version == 4 else "fd00:1::/32"
        self._bits = 32 if version == 4 else 128
        self._reject = "icmp-port-unreachable" if version == 4 else "icmp6-port-unreachable"
        self._chains: list[str] = []
        self._services: list[str] = []
        self._node_ports: list[str] = []
        self._rest: list[str] = []
        self._filter: list[str] = []

    def add(self, service: MadeService) -> None:
        """Write the chains and rules of *service*."""
        name, to = f"default/{service.name}:p", f"-d {service.cluster_ip}/{self._bits} -p tcp"
        if not service.endpoints:
            self._filter.append(
                f'-A KUBE-SERVICES {to} -m comment --comment "{name} has no endpoints" -m tcp --dport {service.port} -j REJECT --reject-with {self._reject}'
            )
            return
        svc = f"KUBE-SVC-{_hash(name)}"
        self._services.append(f'-A KUBE-SERVICES {to} -m comment --comment "{name} cluster IP" -m tcp --dport {service.port} -j {svc}')
        self._rest.append(
            f'-A {svc} ! -s {self._pods} {to} -m comment --comment "{name} cluster IP" -m tcp --dport {service.port} -j KUBE-MARK-MASQ'
        )
        self._balance(svc, name, service.endpoints)
        if service.node_port or service.lb_ip:
            self._external(service, name, svc)

    def _external(self, service: MadeService, name: str, svc: str) -> None:
        ext = f"KUBE-EXT-{_hash(name)}"
        self._chains.append(ext)
        if service.lb_ip:
            lb = f'-A KUBE-SERVICES -d {service.lb_ip}/{self._bits} -p tcp -m comment --comment "{name} loadbalancer IP" -m tcp --dport {service.port}'
            self._services.append(f"{lb} -j {ext}")
        if service.node_port:
            self._node_ports.append(f'-A KUBE-NODEPORTS -p tcp -m comment --comment "{name}" -m tcp --dport {service.node_port} -j {ext}')
        if not service.local:
            self._rest.append(f'-A {ext} -m comment --comment "masquerade traffic for {name} external destinations" -j KUBE-MARK-MASQ')
            self._rest.append(f"-A {ext} -j {svc}")
            return
        self._rest += [
            f'-A {ext} -s {self._pods} -m comment --comment "pod traffic for {name} external destinations" -j {svc}',
            f'-A {ext} -m comment --comment "masquerade LOCAL traffic for {name} external destinations" -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ',
            f'-A {ext} -m comment --comment "route LOCAL traffic for {name} external destinations" -m addrtype --src-type LOCAL -j {svc}',
        ]
        here = [e for e in service.endpoints if e[1] is self._node]
        if here:
            svl = f"KUBE-SVL-{_hash(name)}"
            self._rest.append(f"-A {ext} -j {svl}")
            self._balance(svl, name, here, declared=False)
        elif service.node_port:
            text = f'-A KUBE-EXTERNAL-SERVICES -p tcp -m comment --comment "{name} has no local endpoints" -m addrtype --dst-type LOCAL'
            self._filter.append(f"{text} -m tcp --dport {service.node_port} -j DROP")

    def _balance(self, chain: str, name: str, endpoints: list[tuple[str, MadeNode | None]], *, declared: bool = True) -> None:
        self._chains.append(chain)
        for i, (address, _) in enumerate(endpoints):
            sep = f"KUBE-SEP-{_hash(name, address)}"
            target = self._endpoint(name, address)
            left = len(endpoints) - i
            chance = _ODDS[left == 1].format(1 / left)
            self._rest.append(f'-A {chain} -m comment --comment "{name} -> {target}"{chance} -j {sep}')
            if declared:
                self._chains.append(sep)
                self._rest.append(f'-A {sep} -s {address}/{self._bits} -m comment --comment "{name}" -j KUBE-MARK-MASQ')
                self._rest.append(f'-A {sep} -p tcp -m comment --comment "{name}" -m tcp -j DNAT --to-destination {target}')

    def _endpoint(self, name: str, address: str) -> str:
        port = self._target_port
        return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"

    _target_port = 8080

    def text(self) -> str:
        """Return the whole dump."""
        return "\n".join([*self._mangle(), *self._nat_table(), *self._filter_table(), *self._raw(), ""])

    def _added(self, table: str) -> list[str]:
        return [rule for name, rule in self._node.rules if name == table]

    def _user_chains(self, table: str) -> list[str]:
        return [f":{rule.removeprefix(':')} - [0:0]" for rule in self._added(table) if rule.startswith(":")]

    def _lines(self, table: str) -> list[str]:
        return [rule for rule in self._added(table) if not rule.startswith(":")]

    def _base(self, table: str, *hooks: str) -> list[str]:
        return [f"*{table}", *(f":{h} {self._node.policies.get(f'{table} {h}', 'ACCEPT')} [0:0]" for h in hooks)]

    def _mangle(self) -> list[str]:
        return [*_STATIC.splitlines(), *self._user_chains("mangle"), *self._lines("mangle"), "COMMIT"]

    def _raw(self) -> list[str]:
        return [*self._base("raw", "PREROUTING", "OUTPUT"), *self._user_chains("raw"), *self._lines("raw"), "COMMIT"]

    def _nat_table(self) -> list[str]:
        chains = ["KUBE-MARK-MASQ", "KUBE-NODEPORTS", "KUBE-POSTROUTING", "KUBE-SERVICES", *self._chains]
        last = '-A KUBE-SERVICES -m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain"'
        return [
            *self._base("nat", "PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
            *(f":{c} - [0:0]" for c in chains),
            *self._user_chains("nat"),
            *self._lines("nat"),
            '-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
            '-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
            '-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING',
            "-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000",
            *self._node_ports,
            "-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN",
            "-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0",
            '-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully',
            *self._services,
            f"{last} -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS",
            *self._rest,
            "COMMIT",
        ]

    def _filter_table(self) -> list[str]:
        new = "-m conntrack --ctstate NEW -m comment --comment"
        return [
            *self._base("filter", "INPUT", "FORWARD", "OUTPUT"),
            *(f":{c} - [0:0]" for c in ("KUBE-EXTERNAL-SERVICES", "KUBE-FORWARD", "KUBE-SERVICES")),
            *self._user_chains("filter"),
            *self._lines("filter"),
            f'-A INPUT {new} "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES',
            '-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD',
            f'-A FORWARD {new} "kubernetes service portals" -j KUBE-SERVICES',
            f'-A FORWARD {new} "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES',
            f'-A OUTPUT {new} "kubernetes service portals" -j KUBE-SERVICES',
            "-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP",
            '-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT',
            '-A KUBE-FORWARD -m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
            *self._filter,
            "COMMIT",
        ]

"""What is fuzzed: every reader of text and every walk (``walks``), with small true inputs to begin from.

The inputs are cut from the demonstration clusters, so that they hold what real tools print; each is a few kilobytes at most.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.walks import archives, open_archive, sum_up, walks
from tests.made_manifests import SHOP, shop
from tracer.conntrack_list import parse_conntrack
from tracer.dns.corefile import parse_corefile
from tracer.dns.resolv_conf import parse_resolv_conf
from tracer.frontends.cilium import parse_cilium
from tracer.frontends.hns import parse_hns
from tracer.ipvs.ipvsadm_list import parse_connections, parse_counters
from tracer.ipvs.ipvsadm_save import parse_virtual_servers
from tracer.kube.objects import Objects
from tracer.netfilter import iptables_save
from tracer.netfilter.ipset_save import parse_sets
from tracer.netfilter.nft_json import parse_json
from tracer.netfilter.nft_text import parse_text
from tracer.packet import Protocol
from tracer.routing import parse_addresses, parse_links, parse_routes, parse_rules, parse_sysctl
from tracer.routing.parse import parse_forwarding, parse_neighbours
from tracer.routing.proc_text import parse_inet6, parse_trie
from tracer.routing.wireguard import parse_allowed, parse_endpoints
from tracer.snapshot import Snapshot
from tracer.snapshot.called import Called
from tracer.snapshot.contents import KnownNode, glance
from tracer.snapshot.pieces import cut, of_one, pieces
from tracer.snapshot.sketched import sketched_files
from tracer.topology.proc_sockets import parse_proc_sockets
from tracer.topology.sockets import parse_sockets

_DEMO = Path(__file__).parents[2] / "demo"
_IP_TEXT = Path(__file__).parents[1] / "tracer" / "routing" / "ip_text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """One reader: *read* takes a text, *seeds* are true inputs. Of all inputs it gets *weight* parts: the fewer the more one costs."""

    name: str
    read: Callable[[str], object]
    seeds: tuple[str, ...]
    weight: int = 16


def _node_file(cluster: str, name: str) -> str:
    return (_DEMO / cluster / "nodes" / "shop-worker" / name).read_text()


def _ip_text(kind: str) -> tuple[str, ...]:
    """What ``ip`` printed of a made stack."""
    return ((_IP_TEXT / f"ip-{kind}.txt").read_text()[:3000].rpartition("\n")[0] + "\n",)


def _proc(*names: str) -> tuple[str, ...]:
    """What the kernel printed in /proc/net."""
    return tuple((_IP_TEXT.parent / "proc_text" / f"{name}.txt").read_text()[:2000].rpartition("\n")[0] + "\n" for name in names)


def _cut(text: str) -> None:
    content = text.encode("utf-8", "surrogatepass")
    parts, called = cut("p.txt", content), Called((KnownNode(name="n1"),))
    of_one(glance("p.txt", content), parts, called)
    for piece in pieces("p.txt", parts, called):
        piece.content(content)


def _lines(text: str, step: int, most: int) -> str:
    """Every *step*-th line that begins a rule or entry, and every line that shapes the file."""
    kept, seen = [], 0
    for line in text.split("\n"):
        if line.startswith(("*", ":", "COMMIT", "#", "create")) and len(line) < 200:
            if not line.startswith(":KUBE-S") and not line.startswith(":KUBE-EXT"):
                kept.append(line)
        elif len(kept) < most:
            seen += 1
            if seen % step == 0:
                kept.append(line)
    return "\n".join(kept)


def _items(text: str, most: int) -> str:
    value = json.loads(text)
    if isinstance(value, dict) and isinstance(value.get("items"), list):
        value["items"] = value["items"][:most]
    elif isinstance(value, list):
        value = value[:most]
    elif isinstance(value, dict) and "nftables" in value:
        value["nftables"] = value["nftables"][:2] + value["nftables"][30:60]
    return json.dumps(value, indent=1)


def _objects(text: str) -> None:
    objects: Objects = Snapshot.from_files({"cluster.json": text.encode("utf-8", "surrogatepass")}).objects
    objects.check_all()


def _yaml_objects(text: str) -> None:
    Snapshot.from_files({"cluster.yaml": text.encode("utf-8", "surrogatepass")}).objects.check_all()


def _sketched(text: str) -> None:
    files = sketched_files(Snapshot.from_files({"a.yaml": text.encode("utf-8", "surrogatepass")}), 2)
    objects: Objects | None = None if files is None else Snapshot.from_files(files).objects
    if objects is not None:
        objects.check_all()
        # What is made of manifests that were let through can be read.
        if objects.faults:
            raise AssertionError(objects.faults[0].message)


def _manifests() -> tuple[str, ...]:
    """Parts of a shop as YAML, and as JSON, whose values are changed as values."""
    documents = SHOP.read_text().split("---\n")
    objects = [made.value for made in shop() if made.kind not in ("Secret", "CronJob", "Namespace")]
    return ("---\n".join(documents[1:4]), *(json.dumps({"kind": "List", "items": objects[n : n + 4]}) for n in range(0, len(objects), 4)))


def _pasted(dump: str) -> tuple[str, ...]:
    """The same from a terminal: quoted, numbered in colour, and as ``iptables -S`` prints a table."""
    lines = dump.splitlines()
    listed = [f"-N {line[1:].split()[0]}" if line.startswith(":") else line for line in lines if line.startswith((":", "-A", "["))]
    return (
        "".join(f"> {line}\n" for line in lines),
        "".join(f"\x1b[32m{n}:\x1b[0m{line}\n" for n, line in enumerate(lines, 1)),
        "root@n1:~# iptables -t nat -S\n-P PREROUTING ACCEPT\n" + "".join(f"{line}\n" for line in listed) + "root@n1:~# \n",
    )


def readers() -> tuple[Reader, ...]:
    """Return every reader with its seeds."""
    corefile = json.loads((_DEMO / "shop-iptables" / "configmaps.json").read_text())["items"][0]["data"]["Corefile"]
    dump, dump6 = (_lines(_node_file("shop-iptables", f), 9, 60) for f in ("iptables-save.txt", "ip6tables-save.txt"))
    nft = _node_file("shop-nftables", "nft-ruleset.txt")
    demo = _DEMO / "shop-iptables"
    yaml = "apiVersion: v1\nkind: Service\nmetadata: {name: api, namespace: default}\nspec:\n  clusterIP: 10.96.0.7\n  ports:\n  - port: 80\n    targetPort: http\n"
    return (
        Reader(name="iptables-save", read=lambda text: iptables_save.check(text, "fuzz"), seeds=(dump, dump6, *_pasted(dump))),
        Reader(name="ipset save", read=lambda text: parse_sets(text, "fuzz"), seeds=(_lines(_node_file("shop-ipvs", "ipset-save.txt"), 4, 60),)),
        Reader(name="ipvsadm -S", read=lambda text: parse_virtual_servers(text, "fuzz"), seeds=(_lines(_node_file("shop-ipvs", "ipvsadm-save.txt"), 3, 40),)),
        Reader(name="ipvsadm -L", read=parse_counters, seeds=(_lines(_node_file("shop-ipvs", "ipvsadm-list.txt"), 3, 40),)),
        Reader(name="ipvsadm -Lc", read=lambda text: list(parse_connections(text)), seeds=(_node_file("shop-ipvs", "ipvsadm-conn.txt"),)),
        Reader(name="conntrack -L", read=lambda text: parse_conntrack(text, "fuzz"), seeds=(_lines(_node_file("shop-iptables", "conntrack.txt"), 1, 8),)),
        Reader(name="nft list ruleset", read=lambda text: parse_text(text, "fuzz"), seeds=(nft[:1500], nft[6000:8500])),
        Reader(name="pasted", read=lambda text: parse_text(text, "fuzz"), seeds=(f"root@n1:~# nft -t list ruleset\n{nft[:900]}root@n1:~# \n", "> ```\n" + "".join(f"> {x}\n" for x in nft[:600].splitlines()))),
        Reader(name="nft -j list ruleset", read=lambda text: parse_json(text, "fuzz"), seeds=(_items(_node_file("shop-nftables", "nft-ruleset.json"), 9),)),
        Reader(
            name="bridge fdb",
            read=parse_forwarding,
            seeds=(
                '[{"mac": "02:00:00:00:00:02", "ifname": "vx0", "dst": "192.168.0.12", "port": 4789, "vni": 9, "flags": ["self"]}]',
                "02:00:00:00:00:02 dev vx0 dst 192.168.0.12 port 4789 vni 9 via eth0 self permanent\n",
            ),
        ),
        Reader(
            name="wg show all endpoints",
            read=lambda text: parse_endpoints(text, "fuzz"),
            seeds=(f"wg0\t{'A' * 43}=\t[fd00::1]:51820\nwg0\t{'B' * 43}=\t(none)\n",),
        ),
        Reader(
            name="wg show all allowed-ips",
            read=lambda text: parse_allowed(text, "fuzz"),
            seeds=(f"wg0\t{'A' * 43}=\t10.1.0.0/16 fd00::/64\nwg0\t{'B' * 43}=\t(none)\n",),
        ),
        Reader(name="ip neigh", read=parse_neighbours, seeds=('[{"dst": "10.1.1.2", "dev": "eth0", "state": ["STALE"]}]', *_ip_text("neigh"))),
        Reader(name="ip -br, ip addr", read=lambda text: (parse_addresses(text), parse_links(text)), seeds=(*_ip_text("addr"), *_ip_text("link"))),
        Reader(name="ip route, ip rule", read=parse_routes, seeds=_ip_text("route")),
        Reader(name="ip rule, as text", read=parse_rules, seeds=_ip_text("rule")),
        Reader(name="/proc/net: routes", read=parse_routes, seeds=_proc("route", "ipv6_route", "route-n", "netstat-rn")),
        Reader(name="/proc/net/fib_trie", read=lambda text: parse_trie(text, "fuzz").addresses(), seeds=_proc("fib_trie")),
        Reader(name="/proc/net/if_inet6", read=lambda text: parse_inet6(text, "fuzz"), seeds=_proc("if_inet6")),
        Reader(name="/proc/net: sockets", read=lambda text: parse_proc_sockets({(Protocol.TCP, 4): text}), seeds=_proc("tcp", "tcp6", "udp", "udp6")),
        Reader(name="/proc/net/ip_vs_conn", read=lambda text: list(parse_connections(text)), seeds=(_IP_VS_CONN,)),
        Reader(name="netstat", read=parse_sockets, seeds=_proc("netstat")),
        Reader(name="settings, as cat prints them", read=parse_sysctl, seeds=("/ # cat /proc/sys/net/ipv4/ip_forward\n1\n", "==> /proc/sys/net/x <==\n0\n")),
        Reader(name="a text of several things", read=_cut, seeds=(_PASTE,)),
        Reader(name="ss", read=parse_sockets, seeds=(_SS,)),
        Reader(name="ipvsadm -L as -S, ipset list", read=lambda text: (parse_virtual_servers(text, "fuzz"), parse_sets(text, "fuzz")), seeds=(_lines(_node_file("shop-ipvs", "ipvsadm-list.txt"), 3, 40), _IPSET)),
        Reader(name="ip addr", read=parse_addresses, seeds=(_items(_node_file("shop-iptables", "ip-addr.json"), 2),)),
        Reader(name="ip link", read=parse_links, seeds=(_items(_node_file("shop-iptables", "ip-link.json"), 2),)),
        Reader(name="ip route", read=parse_routes, seeds=(_items(_node_file("shop-iptables", "ip-route.json"), 8),)),
        Reader(name="ip rule", read=parse_rules, seeds=(_node_file("shop-iptables", "ip-rule.json"),)),
        Reader(name="sysctl", read=parse_sysctl, seeds=("\n".join(_node_file("shop-iptables", "sysctl.txt").split("\n")[:20]),)),
        Reader(name="objects (JSON)", read=_objects, seeds=(*(_items((demo / f).read_text(), 1) for f in _OBJECT_FILES), '{"kind": null}\nError from server\n+ kubectl\n[me@n1 ~]$ x\n[{"kind": "Pod"}]\n')),
        Reader(name="objects (YAML)", read=_yaml_objects, seeds=(yaml, "a: &a {k: &k v, <<: {m: 1}}\nkind: List\nitems:\n- &s {kind: Pod, metadata: {<<: *a, name: *k}}\n- *s\n", f"{yaml}--- # x\n%YAML 1.1\n---\nkind: [\n---\n$ kubectl get nodes -o yaml\n{yaml}{yaml}Error from server\n==== START logs for container a of pod b/c ====\nx\n==== END logs for container a of pod b/c ====\n...\n{yaml}")),
        Reader(name="manifests, as a sketch", read=_sketched, seeds=_manifests(), weight=4),
        Reader(name="summary, secrets, renaming", read=sum_up, seeds=(_items((demo / "services.json").read_text(), 2), yaml), weight=4),
        Reader(name="cilium service list", read=lambda text: parse_cilium(text, "fuzz"), seeds=(_CILIUM,)),
        Reader(name="cilium service list, as a table", read=lambda text: parse_cilium(text, "fuzz"), seeds=(_CILIUM_TABLE,)),
        Reader(name="hns", read=lambda text: parse_hns({"hns-policies.json": text}), seeds=(_HNS,)),
        Reader(name="archives", read=open_archive, seeds=archives()),
        *(Reader(name=walk.name, read=walk.read, seeds=(walk.seed,), weight=1) for walk in walks()),
        Reader(name="resolv.conf", read=parse_resolv_conf, seeds=("nameserver 10.96.0.10\nsearch a.svc.cluster.local svc.cluster.local\noptions ndots:5\n",)),
        Reader(name="Corefile", read=parse_corefile, seeds=(corefile, "a.b:53 {\n  rewrite name exact x.y z.w\n  hosts {\n    10.0.0.1 a\n    fallthrough\n  }\n  forward . /etc/resolv.conf\n}\n")),
    )  # fmt: skip


_SS = """\
Netid State  Recv-Q Send-Q Local Address:Port Peer Address:PortProcess
udp   UNCONN 0      0          127.0.0.1:53        0.0.0.0:*
tcp   LISTEN 0      128             [::]:82           [::]:*    users:(("sshd",pid=1,fd=3))
"""
_IP_VS_CONN = """\
Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData
TCP 0A090001 C822 0A000001 0050 0A010001 1F90 ESTABLISHED     897
"""
_PASTE = """\
root@n1:~# ip route
default via 10.0.0.1 dev eth0
root@n1:~# sysctl -a
net.ipv4.ip_forward = 1
=== n1 ===
```
# Generated by iptables-save v1.8.9
*nat
:PREROUTING ACCEPT [0:0]
COMMIT
```
"""
_IPSET = """\
Name: b
Type: hash:net
Header: family inet hashsize 1024 maxelem 65536 timeout 100 comment
Number of entries: 1
Members:
10.0.0.0/8 timeout 99 nomatch comment "x y"
"""
_CILIUM = json.dumps(
    [
        {
            "spec": {"id": 3, "frontend-address": {"ip": "10.96.0.10", "port": 80, "protocol": "TCP", "scope": "external"}},
            "status": {
                "realized": {
                    "frontend-address": {"ip": "10.96.0.10", "port": 80, "protocol": "TCP", "scope": "external"},
                    "flags": {"type": "ClusterIP", "name": "api"},
                    "backend-addresses": [{"ip": "10.0.1.4", "port": 8080, "state": "active"}, {"ip": "10.0.1.5", "port": 8080}],
                }
            },
        }
    ],
    indent=1,
)
_CILIUM_TABLE = """\
ID   Frontend              Service Type   Backend
1    10.96.0.10:80/TCP     ClusterIP      1 => 10.1.1.2:8080/TCP (active)
                                          2 => 10.1.2.2:8080/TCP (active)
2    [fd00:96::a]:53/UDP   NodePort
"""
_HNS = json.dumps(
    [
        {"ID": "A-1", "IPAddress": "10.244.1.4"},
        {
            "ID": "B-1",
            "References": ["/endpoints/A-1"],
            "Policies": [{"Type": "ELB", "VIPs": ["10.96.0.10"], "InternalPort": 8080, "ExternalPort": 80, "Protocol": 6, "IsDSR": True}],
        },
        {
            "ID": "C-1",
            "HostComputeEndpoints": ["A-1"],
            "FrontendVIPs": ["10.96.0.11"],
            "SourceVIP": "10.244.1.2",
            "Flags": 1,
            "PortMappings": [{"Protocol": 6, "InternalPort": 8080, "ExternalPort": 80, "Flags": 2}],
        },
    ],
    indent=1,
)
_OBJECT_FILES = ("services.json", "endpointslices.json", "nodes.json", "pods.json", "networkpolicies.json")

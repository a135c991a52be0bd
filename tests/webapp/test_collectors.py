"""What the log collectors of others take on a node opens by page and by command line, and a trace goes by the rules in it.

Each tree is written from its program's source (tracer/snapshot/vendors.py names it; Cilium's: cilium-cli/sysdump, bugtool/cmd), with what else
such a tree holds. None of them was yet checked on a real bundle.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from tests.made_cluster import MadeCluster
from tests.webapp.made_archives import tar_of
from webapp.models import Snapshot
from webapp.uploads.arranged import arranged

Files = Mapping[str, bytes]
NODES = ("n1", "n2")
CHAINS = (
    b"Chain INPUT (policy ACCEPT 0 packets, 0 bytes)\n pkts bytes target     prot opt in     out     source               destination\n"
)
NETSTAT = (
    b"Active Internet connections (servers and established)\nProto Recv-Q Send-Q Local Address           Foreign Address         State       PID/Program name    \n"
    b"tcp        0      0 0.0.0.0:22              0.0.0.0:*               LISTEN      812/sshd            \n"
    b"tcp        0      0 192.168.0.11:22         192.168.0.9:51000       ESTABLISHED 9000/sshd           \n"
)
SS = b"Netid State  Recv-Q Send-Q Local Address:Port Peer Address:PortProcess\ntcp   LISTEN 0      128          0.0.0.0:22        0.0.0.0:*\n"


@pytest.fixture(scope="module")
def files() -> Files:
    cluster = MadeCluster()
    cluster.pod("client", 1)
    cluster.service("web", [cluster.pod("web-1", 1), cluster.pod("web-2", 2)])
    return {path: content for path, content in cluster.files().items() if not path.endswith("mode.txt")}


def _archive(tree: Files) -> bytes:
    return gzip.compress(tar_of(*tree.items()), 1)


def as_text(files: Files, node: str, name: str) -> bytes:
    """The node's routes, rules or addresses as ``ip`` prints them for people."""
    entries = json.loads(files[f"nodes/{node}/{name}.json"])
    if name.endswith("rule"):
        return "".join(f"{one['priority']}:\tfrom all lookup {one['table']}\n" for one in entries).encode()
    if name.endswith("route"):
        return "".join(route(one) for one in entries).encode()
    return "".join(device(one) for one in entries).encode()


def route(one: Mapping[str, str]) -> str:
    words = [one["type"]] if "type" in one else []
    words += [one["dst"], *(["via", one["gateway"]] if "gateway" in one else []), "dev", one["dev"]]
    for name, word in (("table", "table"), ("protocol", "proto"), ("scope", "scope"), ("prefsrc", "src")):
        words += [word, one[name]] if name in one else []
    return " ".join(words) + " \n"


def device(one: Mapping[str, object]) -> str:
    flags = ",".join(one["flags"])  # type: ignore[arg-type]
    text = f"{one['ifindex']}: {one['ifname']}: <{flags}> mtu 1500 qdisc noqueue state UP group default qlen 1000\n    link/ether 02:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff\n"
    for held in one.get("addr_info", ()):  # type: ignore[attr-defined]
        text += f"    {held['family']} {held['local']}/{held['prefixlen']} scope {held['scope']} {one['ifname']}\n       valid_lft forever preferred_lft forever\n"
    return text


def eks(files: Files) -> dict[str, bytes]:
    """One archive a node: eks_INSTANCE_DATE_VERSION.tar.gz. Its node is told by ``uname -a``, and by the instance in the archive's name."""
    found = {}
    for node in NODES:
        own = {f: files[f"nodes/{node}/{f}"] for f in ("iptables-save.txt", "sysctl.txt")}
        conntrack = b"*** Output of conntrack -S *** \ncpu=0   \tfound=0 invalid=2 insert=0\n*** Output of conntrack -L ***\n"
        tree = {
            "networking/iptables-save.txt": own["iptables-save.txt"], "networking/iptables-nat.txt": CHAINS + b"=======\nTotal Number of Rules: 0\n",
            "networking/iprule.txt": as_text(files, node, "ip-rule"), "networking/iproute.txt": as_text(files, node, "ip-route") + as_text(files, node, "ip6-route"),
            "networking/conntrack.txt": conntrack, "networking/resolv.conf": b"nameserver 10.0.0.2\n", "sysctls/sysctl_all.txt": own["sysctl.txt"],
            "system/netstat.txt": NETSTAT, "system/instance-id.txt": b"i-0abc0000000000000\n", "networking/ifconfig.txt": b"eth0: flags=4163<UP> mtu 9001\n",
            "kernel/uname.txt": f"Linux {node} 6.1.0 #1 SMP x86_64 GNU/Linux\n".encode(), "kubelet/svc.log": b"NAME TYPE CLUSTER-IP AGE\n",
        }  # fmt: skip
        found[f"eks_i-0abc{node}_2026-11-20_1430-UTC_0.7.8.tar.gz"] = _archive(tree)
    return found


def rancher(files: Files) -> dict[str, bytes]:
    """One archive a node, HOST-DATE.tar.gz; ``hostname`` and ``hostname -f`` say which."""
    found = {}
    for node in NODES:
        tree = {
            "networking/iptablessave": files[f"nodes/{node}/iptables-save.txt"], "networking/ip6tablessave": files[f"nodes/{node}/ip6tables-save.txt"],
            "networking/iptablesnat": CHAINS, "networking/iptables": CHAINS, "networking/netstat": NETSTAT, "networking/ssanp": SS, "networking/ss4apn": SS,
            "networking/sstunlp6": SS, "networking/ipaddrshow": as_text(files, node, "ip-addr"), "networking/ipv6addrshow": as_text(files, node, "ip-addr")[90:],
            "networking/iproute": as_text(files, node, "ip-route"), "networking/ipv6route": as_text(files, node, "ip6-route"),
            "networking/iprule": as_text(files, node, "ip-rule"), "networking/ipv6rule": as_text(files, node, "ip6-rule"),
            "systeminfo/sysctla": files[f"nodes/{node}/sysctl.txt"], "systeminfo/hostname": f"{node}\n".encode(), "systeminfo/hostnamefqdn": f"{node}.example.com\n".encode(),
            "systeminfo/uname": f"Linux {node} 5.15.0 #1 SMP x86_64 GNU/Linux\n".encode(), "systeminfo/etcresolvconf": b"nameserver 127.0.0.53\n",
            "systeminfo/systemd-resolved": b"nameserver 10.0.0.2\n", "rke2/kubectl/nodes": b"NAME STATUS ROLES AGE\n",
        }  # fmt: skip
        found[f"{node}-2026-11-20_14_30_00.tar.gz"] = _archive({f"{node}-2026-11-20_14_30_00/{path}": c for path, c in tree.items()})
    return found


def calico_cluster(files: Files) -> dict[str, bytes]:
    """``calicoctl cluster diags``: objects below cluster/kubernetes/, and a folder a node. ``kubectl exec -t`` ends lines with CR LF."""
    found = {f"cluster/kubernetes/{kind}.txt": b"NAME AGE\n" for kind in ("services", "pods")}
    for node in NODES:
        tree = {
            "iptables-nft-save.txt": files[f"nodes/{node}/iptables-save.txt"], "iptables-legacy-save.txt": b"", "nft-ruleset.txt": b"",
            "ip-route.txt": as_text(files, node, "ip-route"), "ip-route-v6.txt": as_text(files, node, "ip6-route"), "ip-rule.txt": as_text(files, node, "ip-rule"),
            "ip-addr.txt": as_text(files, node, "ip-addr"), "ip-link.txt": as_text(files, node, "ip-link"), "ipset-list.txt": b"",
            "bpf-nat.txt": b"Error: bpf maps not found\n", "tc-qdisc.txt": b"qdisc noqueue 0: dev lo root refcnt 2\n", "calico-system/calico-node-abcde.log": b"2026-11-20 14:30:00.000 [INFO][1] ok\n",
        }  # fmt: skip
        found |= {f"nodes/{node}/{path}": content.replace(b"\n", b"\r\n") for path, content in tree.items()}
    return {f"calico-diagnostics/{path}": content for path, content in found.items()}


def sos(files: Files) -> dict[str, bytes]:
    """sosreport: nft's listing and /proc/net, and the dumps of pods' namespaces, which are none of the node's."""
    found = {}
    for node in NODES:
        tree = {
            "sos_commands/networking/ip_route_show_table_all": as_text(files, node, "ip-route"), "sos_commands/networking/ip_-6_route_show_table_all": as_text(files, node, "ip6-route"),
            "sos_commands/networking/ip_-4_rule_list": as_text(files, node, "ip-rule"), "sos_commands/networking/ip_-6_rule_list": as_text(files, node, "ip6-rule"),
            "sos_commands/networking/ip_-d_address": as_text(files, node, "ip-addr"), "sos_commands/networking/ip_-o_addr": as_text(files, node, "ip-addr")[90:],
            "sos_commands/networking/netstat_-W_-neopa": NETSTAT, "sos_commands/kernel/sysctl_-a": files[f"nodes/{node}/sysctl.txt"],
            "sos_commands/networking/namespaces/cni-1/ip_netns_exec_cni-1_iptables-save": b"# Generated by iptables-save v1.8.9\n*filter\n:INPUT DROP [0:0]\nCOMMIT\n",
            "sos_commands/networking/namespaces/cni-1/ip_netns_exec_cni-1_ip_route_show_table_all": b"default via 169.254.1.1 dev eth0\n",
            "sos_commands/firewall_tables/iptables_-vnxL": CHAINS, "sos_commands/host/hostname": f"{node}\n".encode(), "etc/hostname": f"{node}.example.com\n".encode(),
            "etc/resolv.conf": b"nameserver 10.0.0.2\n", "proc/net/dev": b"Inter-|   Receive                   |  Transmit\n face |bytes    packets\n",
        }  # fmt: skip
        found |= {f"sosreport-{node}-2026-11-20-abcdefg/{path}": content for path, content in tree.items()}
        # What was taken beside it, as sosreport takes no iptables-save of the node itself.
        found[f"sosreport-{node}-2026-11-20-abcdefg/iptables-save.out"] = files[f"nodes/{node}/iptables-save.txt"]
    return found


def cilium(files: Files, agent: str = "cilium", packed: bool = False) -> dict[str, bytes]:
    """cilium sysdump: k8s-KIND-DATE.yaml, and one bugtool an agent, whatever it is called (anetd); packed as the command has it without ``tar``."""
    found: dict[str, bytes] = {}
    for number, node in enumerate(NODES):
        commands = {
            "iptables-save--c": files[f"nodes/{node}/iptables-save.txt"], "ip-a": as_text(files, node, "ip-addr"), "ip--4-r": as_text(files, node, "ip-route"),
            "ip--6-r": as_text(files, node, "ip6-route"), "ip-rule": as_text(files, node, "ip-rule"), "sysctl--a": files[f"nodes/{node}/sysctl.txt"],
        }  # fmt: skip
        tree = {f"cmd/{name}.md": b"# " + name.encode() + b"\n\n```\n" + text + b"```\n" for name, text in commands.items()}
        called = f"cilium-bugtool-{agent}-ab{number}de-20261120-143000"
        if packed:
            found[f"{called}.tar.gz"] = _archive({f"cilium-bugtool-20261120-143000.000-UTC-12/{path}": c for path, c in tree.items()})
        else:
            found |= {f"{called}/{path}": content for path, content in tree.items()}
    return found


def agents(agent: str) -> bytes:
    pods = [
        {"metadata": {"name": f"{agent}-ab{n}de", "namespace": "kube-system"}, "spec": {"nodeName": node, "hostNetwork": True}}
        for n, node in enumerate(NODES)
    ]
    return json.dumps({"apiVersion": "v1", "kind": "PodList", "items": pods}).encode()


TREES: dict[str, Callable[[Files], dict[str, bytes]]] = {
    "EKS' log collector": eks,
    "Rancher's log collector": rancher,
    "calicoctl cluster diags": calico_cluster,
    "sosreport": sos,
    "cilium sysdump": cilium,
    "cilium sysdump, packed": lambda files: cilium(files, packed=True),
    "cilium sysdump of anetd": lambda files: cilium(files, "anetd"),
}


def _packed(tmp_path: Path, name: str, files: Files) -> Path:
    """The collector's tree with the objects beside it, as one archive."""
    objects = {path: content for path, content in files.items() if "/" not in path}
    if "cilium" in name:
        objects["objects/agents.json"] = agents("anetd" if "anetd" in name else "cilium")
    if "calicoctl" in name:
        objects = {f"calico-diagnostics/cluster/kubernetes/{path.replace('.json', '.yaml')}": content for path, content in objects.items()}
    path = tmp_path / "bundle.tar"
    path.write_bytes(tar_of(*(TREES[name](files) | objects).items()))
    return path


@pytest.mark.django_db
@pytest.mark.parametrize("name", TREES)
def test_it_opens_and_every_node_has_its_rules(name: str, files: Files, tmp_path: Path, client: Client) -> None:
    out, err = io.StringIO(), io.StringIO()
    call_command("import_snapshot", str(_packed(tmp_path, name, files)), stdout=out, stderr=err)
    row = Snapshot.objects.get(id=out.getvalue().strip())
    assert "rules of 2 of 2 nodes" in err.getvalue().splitlines()[0]
    assert row.summary["unplaced"] == []
    # Tables of kubectl's, which hold too little, are told; nothing else is wrong.
    said = [one["message"] for fault in row.summary["faults"] for one in fault["faults"]]
    assert [message for message in said if not message.startswith("a table as kubectl get")] == []
    assert [node["name"] for node in row.summary["nodes"]] == list(NODES)
    page = client.get(reverse("snapshot", args=[row.id])).content.decode()
    assert "rules of 2 of 2 nodes" in page


@pytest.mark.parametrize("name", TREES)
def test_a_trace_goes_by_the_rules_in_it(name: str, files: Files, tmp_path: Path) -> None:
    out = io.StringIO()
    with contextlib.suppress(SystemExit):
        call_command("trace", str(_packed(tmp_path, name, files)), source="pod:default/client", to="10.96.0.10:80", stdout=out)
    assert out.getvalue().startswith("pod:default/client -> 10.96.0.10:80 tcp: 2 paths\n")
    assert out.getvalue().count("= delivered") == 2


def test_what_kind_exports_holds_no_rules_and_none_is_made_of_it(files: Files, tmp_path: Path) -> None:
    tree = {
        "docker-info.txt": b"Client:\n Version: 27.0\n", "n1/inspect.json": b'[{"Id": "abc", "NetworkSettings": {"Gateway": "172.18.0.1"}}]',
        "n1/kubernetes-version.txt": b"v1.36.2", "n1/images.log": b"IMAGE TAG SIZE\n", "n1/journal.log": b"Nov 20 14:30:00 n1 kubelet[1]: started\n",
        "n1/pods/kube-system_kube-proxy-abcde/kube-proxy/0.log": b"2026-11-20T14:30:00Z stderr F I1120 server.go:1] iptables\n",
    }  # fmt: skip
    objects = {path: content for path, content in files.items() if "/" not in path}
    found = arranged(tree | objects)
    assert {path for path in found if path.startswith("nodes/")} == set()

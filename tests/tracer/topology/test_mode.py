"""Which mode a node runs, what says so, and what another mode left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.made_findings import Spoiled, all_of, codes, shop
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster
from tracer.topology.mode import mode_of

IPVS = "-A -t 10.96.0.10:80 -s rr\n-a -t 10.96.0.10:80 -r 10.1.1.2:8080 -m -w 1\n"
NFT = "table ip kube-proxy {\n\tchain services {\n\t\tip daddr 10.96.0.10 drop\n\t}\n}\n"


@pytest.mark.needs_shared
@pytest.mark.parametrize(
    ("recording", "mode", "proof"),
    [
        ("shop-iptables", "iptables", "chains KUBE-SVC-"),
        ("shop-iptables-v1.20", "iptables", "chains KUBE-SVC-"),
        ("shop-nftables", "nftables", "holds table ip kube-proxy"),
        ("shop-ipvs", "ipvs", "holds 54 virtual servers"),
        ("shop-userspace-v1.20", "userspace", "chains KUBE-PORTALS-"),
    ],
)
def test_recordings(shared: Path, recording: str, mode: str, proof: str):
    root = shared / "recordings" / recording
    files = {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}
    for with_file in (True, False):
        kept = {k: v for k, v in files.items() if with_file or not k.endswith("kube-proxy-mode.txt")}
        found = mode_of(Cluster.from_snapshot(Snapshot.from_files(kept)), "shop-worker")
        assert found.mode == mode
        assert proof in found.evidence[-1]
        assert found.leftovers == ()
        assert ("kube-proxy-mode.txt says" in found.evidence[0]) is with_file


def with_file(name: str, text: str) -> Spoiled:
    made = shop()
    made.node(1).texts["kube-proxy-mode.txt"] = "iptables\n"
    made.node(1).texts[name] = text
    return made


@pytest.mark.parametrize(
    ("name", "text", "said"), [("ipvsadm-save.txt", IPVS, "1 virtual servers"), ("nft-ruleset.txt", NFT, "kube-proxy")]
)
def test_leftovers_of_another_mode(name: str, text: str, said: str):
    made = with_file(name, text)
    found = mode_of(made.cluster(), "n1")
    assert found.mode == "iptables"
    assert said in found.leftovers[0]
    leftover = all_of(made.diagnosed("pod:default/client-1", "10.96.0.10:80"), "LEFTOVER_RULES")
    assert leftover
    assert "runs kube-proxy in iptables mode" in leftover[0].text
    assert said in leftover[0].evidence[0]


def test_virtual_servers_of_another_program_are_no_leftover_of_kube_proxys():
    """keepalived's, say: none is for a Service, and there is no kube-ipvs0."""
    made = with_file("ipvsadm-save.txt", IPVS.replace("10.96.0.10", "198.51.100.77"))
    assert mode_of(made.cluster(), "n1").leftovers == ()
    assert "LEFTOVER_RULES" not in codes(made.diagnosed("pod:default/client-1", "10.96.0.10:80"))


def test_nothing_left_nothing_found():
    made = shop()
    assert "LEFTOVER_RULES" not in codes(made.diagnosed("pod:default/client-1", "10.96.0.10:80"))


def configured(mode: str, nft: str | None = None) -> Spoiled:
    """The usual rules of iptables mode, what *nft* lists, and a ConfigMap that asks for *mode*."""
    made = shop()
    config = {"metadata": {"namespace": "kube-system", "name": "kube-proxy"}, "data": {"config.conf": f"mode: {mode}\n"}}
    made.extra["configmaps.json"] = json.dumps({"kind": "ConfigMapList", "apiVersion": "v1", "items": [config]}).encode()
    made.node(1).texts |= {"nft-ruleset.txt": nft} if nft is not None else {}
    made.node(1).without.add("kube-proxy-mode.txt")
    return made


def test_a_node_that_has_not_read_its_new_configuration_yet():
    made = configured("nftables", "table inet other {\n}\n")
    found = mode_of(made.cluster(), "n1")
    assert (found.mode, found.leftovers) == ("iptables", ())
    assert "KUBE-SVC-" in found.evidence[0]
    assert "ConfigMap kube-system/kube-proxy says nftables, which this node does not run yet" in found.evidence[1]
    assert "LEFTOVER_RULES" not in codes(made.diagnosed("pod:default/client-1", "10.96.0.10:80"))


def test_absence_is_not_proved_by_a_missing_file():
    assert mode_of(configured("nftables").cluster(), "n1").mode == "nftables"


def test_both_modes_rules_are_a_leftover_of_the_older():
    found = mode_of(configured("nftables", NFT).cluster(), "n1")
    assert found.mode == "nftables"
    assert "KUBE-SVC-" in found.leftovers[0]


def test_the_dummy_device_of_ipvs_is_left():
    made = with_file("ipvsadm-conn.txt", "")
    dummy = {
        "ifindex": 99,
        "ifname": "kube-ipvs0",
        "flags": ["NOARP"],
        "addr_info": [{"family": "inet", "local": "10.96.0.10", "prefixlen": 32}],
    }
    made.node(1).texts["ip-addr.json"] = json.dumps([*made.node(1).ip_addr(), dummy])
    assert mode_of(made.cluster(), "n1").leftovers == ("device kube-ipvs0 holds 1 addresses, which the node takes for its own",)


def test_a_mode_without_its_rules_says_so():
    made = with_file("ipvsadm-conn.txt", "")
    made.node(1).texts["kube-proxy-mode.txt"] = "ipvs\n"
    found = mode_of(made.cluster(), "n1")
    assert found.mode == "ipvs"
    assert "hold no rules of ipvs mode" in found.evidence[-1]
    assert "KUBE-SVC-" in found.leftovers[0]


def test_nothing_tells():
    made = shop()
    made.extra |= {path: None for path in made.files() if path.startswith("nodes/n2/")}
    found = mode_of(made.cluster(), "n2")
    assert found.mode is None
    assert found.evidence


# -- IPVS_CONNECTION_REUSED ---------------------------------------------------------------------------------------------------------------

DRAINING = IPVS + "-a -t 10.96.0.10:80 -r 10.1.2.2:8080 -m -w 0\n"
LISTED = (
    "Prot LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n"
    "TCP  10.96.0.10:80 rr\n  -> 10.1.1.2:8080 Masq 1 0 0\n  -> 10.1.2.2:8080 Masq 0 0 3\n"
)


def draining(listed: str | None) -> Spoiled:
    """IPVS on n1, its rules out of the way, the Service's address local."""
    made = shop()
    node = made.node(1)
    node.texts |= {"kube-proxy-mode.txt": "ipvs\n", "ipvsadm-save.txt": DRAINING, "ipset-save.txt": ""}
    node.texts |= {"ipvsadm-list.txt": listed} if listed is not None else {}
    node.sysctl |= {"net.ipv4.vs.conn_reuse_mode": "0", "net.ipv4.vs.conntrack": "1"}
    tables = "".join(f"*{t}\nCOMMIT\n" for t in ("raw", "mangle", "nat", "filter"))
    made.extra["nodes/n1/iptables-save.txt"] = tables.encode()
    node.routes.append({"type": "local", "dst": "10.96.0.10", "dev": "kube-ipvs0", "table": "local", "scope": "host", "flags": []})
    return made


def test_drained_servers_with_connections():
    found = all_of(draining(LISTED).diagnosed("pod:default/client-1", "10.96.0.10:80"), "IPVS_CONNECTION_REUSED")
    assert found
    assert "10.1.2.2:8080 (0 active, 3 inactive connections)" in found[0].text
    assert "conn_reuse_mode is 0" in found[0].text
    assert found[0].severity == "warning"


def test_drained_servers_without_counts_name_the_missing_file():
    found = all_of(draining(None).diagnosed("pod:default/client-1", "10.96.0.10:80"), "IPVS_CONNECTION_REUSED")
    assert found
    assert "ipvsadm-list.txt is missing" in found[0].text
    assert found[0].severity == "info"


def test_drained_servers_without_connections_are_fine():
    made = draining(LISTED.replace("0 0 3", "0 0 0"))
    assert "IPVS_CONNECTION_REUSED" not in codes(made.diagnosed("pod:default/client-1", "10.96.0.10:80"))

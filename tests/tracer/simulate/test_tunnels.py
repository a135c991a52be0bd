"""Packets in tunnels: the packet that carries another is walked as what it is, and what ends it ends the one inside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import SHARED
from tracer.carriers_folded import carriers_folded
from tracer.query import query_from_dict
from tracer.simulate.tracing import trace
from tracer.snapshot import Snapshot
from tracer.stations import stations_of
from tracer.topology.cluster import Cluster
from tracer.trace import Disposition, Outcome, Sees

JUDGE = SHARED / "bin/kernel_truth.py"
DROP = b'-A INPUT -s 172.30.1.10/32 -i eth0 -p udp -m udp --dport 8472 -m comment --comment "old scanner, block" -j DROP'
TO_EDGE_C = {
    "from": {"kind": "pod", "namespace": "default", "name": "probe-3"},
    "to": {"host": "10.42.3.3", "port": 9090},
    "protocol": "tcp",
}
TO_EDGE_B = TO_EDGE_C | {"to": {"host": "10.42.2.3", "port": 8080}}
Files = dict[str, bytes]


@pytest.fixture(scope="module")
def files(shared: Path) -> Files:
    root = shared / "recordings/lab-vxlan"
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def one(files: Files, query: dict[str, Any]) -> Outcome:
    """Return the one way that the packet goes."""
    (outcome,) = trace(Cluster.from_snapshot(Snapshot.from_files(files)), query_from_dict(query)).outcomes
    return outcome


def stacks(outcome: Outcome) -> list[tuple[str, str | None]]:
    return [(hop.name.rpartition("/")[2], hop.tunnel) for hop in outcome.hops]


def test_a_firewall_that_forgets_the_tunnel_ends_what_is_inside(files: Files) -> None:
    outcome = one(files, TO_EDGE_C)
    assert stacks(outcome) == [("probe-3", None), ("edge-cp", None), ("edge-cp", "flannel.1"), ("edge-c", "flannel.1")]
    assert outcome.disposition is Disposition.DROPPED
    assert outcome.client_sees is Sees.TIMEOUT
    assert outcome.reason is not None
    assert outcome.reason.code == "TUNNEL_PACKET_LOST"
    assert "UDP 172.30.1.10 to 172.30.1.13 port 8472" in outcome.reason.text
    assert outcome.hops[-1].steps[-1].rule == DROP.decode()


def test_without_that_rule_it_arrives_and_so_does_the_answer(files: Files) -> None:
    name = "nodes/edge-c/iptables-save.txt"
    changed = files | {name: b"\n".join(line for line in files[name].split(b"\n") if DROP not in line)}
    assert changed != files
    outcome = one(changed, TO_EDGE_C)
    assert stacks(outcome)[3:] == [("edge-c", "flannel.1"), ("edge-c", None), ("front-2", None)]
    assert outcome.disposition is Disposition.DELIVERED
    assert outcome.hops[4].came_in == "flannel.1"
    assert outcome.reply is not None
    assert outcome.reply.disposition is Disposition.DELIVERED
    assert [hop.name for hop in outcome.reply.hops if hop.tunnel] == ["edge-c", "edge-cp"]


def test_refused_or_dropped_nobody_is_told(files: Files) -> None:
    name = "nodes/edge-c/iptables-save.txt"
    refused = DROP.replace(b"-j DROP", b"-j REJECT --reject-with icmp-port-unreachable")
    outcome = one(files | {name: files[name].replace(DROP, refused)}, TO_EDGE_C)
    assert (outcome.disposition, outcome.reject_with, outcome.client_sees) == (Disposition.DROPPED, None, Sees.TIMEOUT)


def test_a_neighbour_entry_of_the_device_before_loses_the_packet(files: Files) -> None:
    """A node that was made anew has a tunnel with another link-layer address; a peer that was not told still sends to the old one."""
    name = "nodes/edge-cp/ip-neigh.json"
    entries = json.loads(files[name])
    for entry in entries:
        entry |= {"lladdr": "02:00:00:00:00:99"} if entry["dst"] == "10.42.2.0" else {}
    assert one(files, TO_EDGE_B).disposition is Disposition.DELIVERED
    outcome = one(files | {name: json.dumps(entries).encode()}, TO_EDGE_B)
    assert outcome.disposition is Disposition.DROPPED
    assert outcome.reason is not None
    assert "02:00:00:00:00:99" in outcome.reason.text


def test_a_node_where_nothing_unpacks_it_loses_the_packet(files: Files) -> None:
    name = "nodes/edge-b/ss.txt"
    changed = b"\n".join(line for line in files[name].split(b"\n") if b":8472" not in line)
    assert changed != files[name]
    outcome = one(files | {name: changed}, TO_EDGE_B)
    assert (outcome.disposition, outcome.reason and outcome.reason.code) == (Disposition.DROPPED, "TUNNEL_PACKET_LOST")


def test_a_carrier_that_is_sent_to_another_port_is_lost(files: Files) -> None:
    """A rule that redirects UDP takes the tunnel's own packets as well."""
    name = "nodes/edge-b/iptables-save.txt"
    before, nat, after = files[name].partition(b"*nat\n")
    redirected = after.replace(b"-A PREROUTING", b"-A PREROUTING -p udp -j REDIRECT --to-ports 53\n-A PREROUTING", 1)
    outcome = one(files | {name: before + nat + redirected}, TO_EDGE_B)
    assert (outcome.disposition, outcome.reason and outcome.reason.code) == (Disposition.DROPPED, "TUNNEL_PACKET_LOST")
    kept = after.replace(b"-A PREROUTING", b"-A PREROUTING -p udp --dport 53 -j REDIRECT --to-ports 54\n-A PREROUTING", 1)
    assert one(files | {name: before + nat + kept}, TO_EDGE_B).disposition is Disposition.DELIVERED


@pytest.mark.parametrize("gone", ["ip-link.json", "ip-neigh.json"])
def test_without_what_tells_the_tunnel_it_is_walked_as_before(files: Files, gone: str) -> None:
    """Whether the carrier passes is not asked where its ends are not known; the neighbours alone leave the address to tell the end."""
    kept = {name: content for name, content in files.items() if not name.endswith(f"/{gone}")}
    outcome = one(kept, TO_EDGE_B)
    assert outcome.disposition is Disposition.DELIVERED
    assert any(hop.tunnel for hop in outcome.hops) == (gone == "ip-neigh.json")


def database(files: Files, *entries: tuple[str, str]) -> Files:
    """Return *files* with a forwarding database of edge-cp's tunnel: (link-layer address, node) pairs."""
    lines = [f"{mac} dev flannel.1 dst {address} self permanent" for mac, address in entries]
    return files | {"nodes/edge-cp/bridge-fdb.txt": "\n".join(["33:33:00:00:00:01 dev eth0 self permanent", *lines, ""]).encode()}


def mac_of(files: Files, node: str) -> str:
    links = json.loads(files[f"nodes/{node}/ip-link.json"])
    return next(link["address"] for link in links if link["ifname"] == "flannel.1")


@pytest.mark.parametrize("address", ["own", "00:00:00:00:00:00"])
def test_the_forwarding_database_names_the_other_end(files: Files, address: str) -> None:
    """By the address of its device, or by the entry of zeros, which takes all others."""
    mac = mac_of(files, "edge-b") if address == "own" else address
    outcome = one(database(files, (mac, "172.30.1.12")), TO_EDGE_B)
    assert (outcome.disposition, outcome.hops[1].went_out) == (Disposition.DELIVERED, "flannel.1")
    assert any("the node's forwarding database" in note for hop in outcome.hops for note in hop.notes)


@pytest.mark.parametrize(("to", "said"), [("172.30.1.11", "takes the packet for another's"), ("172.30.1.99", "172.30.1.99")])
def test_an_entry_that_names_another_node_loses_the_packet(files: Files, to: str, said: str) -> None:
    """The address of the node before, which another node has by now, or nobody."""
    outcome = one(database(files, (mac_of(files, "edge-b"), to)), TO_EDGE_B)
    assert (outcome.disposition, outcome.reason and outcome.reason.code) == (Disposition.DROPPED, "TUNNEL_PACKET_LOST")
    assert outcome.reason is not None and said in outcome.reason.text


def test_a_database_that_says_nothing_of_the_tunnel_decides_nothing(files: Files) -> None:
    assert one(database(files), TO_EDGE_B).disposition is Disposition.DELIVERED


def test_the_contract_has_the_carrier_inside_the_hop_that_sent_it(files: Files) -> None:
    found = trace(Cluster.from_snapshot(Snapshot.from_files(files)), query_from_dict(TO_EDGE_B))
    answer = found.to_dict(with_steps=True)
    for outcome, stations in zip(answer["outcomes"], stations_of(found), strict=True):
        outcome["stations"] = [station.to_dict() for station in stations]
    (flat,), (outcome,) = answer["outcomes"], carriers_folded(answer)["outcomes"]
    assert [(h["stack"]["name"], "tunnel" in h) for h in outcome["hops"]] == [
        ("default/probe-3", False), ("edge-cp", True), ("edge-b", False), ("web/front-1", False),
    ]  # fmt: skip
    carried = outcome["hops"][1]["tunnel"]
    assert (carried["device"], [h["stack"]["name"] for h in carried["hops"]]) == ("flannel.1", ["edge-cp", "edge-b"])
    assert carried["hops"][0]["packet_out"]["destination_port"] == 8472
    for before, after in zip(flat["stations"], outcome["stations"], strict=True):
        hops = (outcome["reply"] if after.get("reply") else outcome)["hops"]
        hop = hops[after["hop"]] if "carrier" not in after else hops[after["hop"]]["tunnel"]["hops"][after["carrier"]]
        told = (flat["reply"] if before.get("reply") else flat)["hops"][before["hop"]]
        assert (hop["stack"], hop["packet_in"], hop["steps"]) == (told["stack"], told["packet_in"], told["steps"])


@pytest.mark.parametrize(("port", "disposition"), [(8472, Disposition.UNKNOWN), (4789, Disposition.DROPPED)])
def test_which_entry_is_that_of_an_existing_connections_tunnel_is_not_known(files: Files, port: int, disposition: Disposition) -> None:
    """nat rules are asked for the first packet only, and the tunnel's own port is drawn for each connection that it carries."""
    forth, back = "src=10.42.0.2 dst=10.42.2.3 sport=40000 dport=8080", "src=10.42.2.3 dst=10.42.0.2 sport=8080 dport=40000"
    inner = f"ipv4     2 tcp      6 86399 ESTABLISHED {forth} {back} [ASSURED] mark=0 use=1\n"
    forth, back = f"src=172.30.1.10 dst=172.30.1.12 sport=54321 dport={port}", f"src=172.30.1.12 dst=172.30.1.10 sport={port} dport=54321"
    outer = f"ipv4     2 udp      17 29 {forth} [UNREPLIED] {back} mark=0 use=1\n"
    name = "nodes/edge-cp/iptables-save.txt"
    before, nat, rest = files[name].partition(b"*nat\n")
    redirect = b"-A OUTPUT -p udp -m udp --dport 8472 -j REDIRECT --to-ports 9\n[0:0] "
    rules = before + nat + rest.replace(b"-A OUTPUT", redirect + b"-A OUTPUT", 1)
    connections = {f"nodes/{node}/conntrack.txt": (inner + outer).encode() for node in ("edge-cp", "edge-b")}
    outcome = one(files | connections | {name: rules}, {"connection": {"node": "edge-cp", "line": 1}})
    assert outcome.disposition is disposition
    assert outcome.reason is not None
    assert ("to what the entry of node edge-cp translates" in outcome.reason.text) is (disposition is Disposition.UNKNOWN)

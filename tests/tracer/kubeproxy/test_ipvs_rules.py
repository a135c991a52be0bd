"""kube-proxy's IPVS mode: the model against the reference's own states, and against what real nodes printed."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

import pytest

from tests.sizes import every
from tests.tracer.kubeproxy.recorded import NODES, RecordedNode, chains_in
from tests.tracer.kubeproxy.reference import CONFORMANCE, compared, objects_of, read_reference, saved, version_of
from tracer.ipvs.ipvsadm_save import parse_virtual_servers, to_text
from tracer.kube.objects import Objects
from tracer.kubeproxy.configuration import Configuration, LocalDetector, NodePortAddresses
from tracer.kubeproxy.ipvs_rules import IpvsState, ipvs_state
from tracer.kubeproxy.ipvs_sets import SETS, set_name
from tracer.netfilter.ipset_save import parse_sets

STATES = 64


def states() -> list[Any]:
    if not CONFORMANCE.exists():
        return [pytest.param(None, marks=pytest.mark.skip(reason="needs ../shared/conformance"))]
    found = read_reference("ipvs_state")["syncs"]
    assert len(found) == STATES
    return [pytest.param(valid(one), id=one["id"]) for one in every(found, 2)]


def valid(state: dict[str, Any]) -> dict[str, Any]:
    """Return a state with port 1 where its test left the port out: the API does not let a Service be without."""
    for port in (port for service in state["services"] for port in service["spec"].get("ports", [])):
        port["port"] = port["port"] or 1
    for server in state["virtual_servers"]:
        server["port"] = server["port"] or 1
    entries = state["ipset_kernel_entries"]
    state["ipset_kernel_entries"] = {name: [re.sub(r":0$", ":1", entry) for entry in listed] for name, listed in entries.items()}
    return state


def modelled(state: dict[str, Any]) -> IpvsState:
    told, version = state["proxier_config"], version_of(state)
    networks = [ip_network(text) for text in told["node_port_addresses"]]
    every_one = any(n.prefixlen == 0 for n in networks)
    held = [ip_address(text) for text in told["node_ips"]] if every_one else [ip_interface(text).ip for text in told["interface_addrs"]]
    chosen = tuple(a for a in held if any(a in n for n in networks))
    configuration = Configuration(
        node=told["node_name"],
        mode="ipvs",
        scheduler=told["ipvs_scheduler"],
        masquerade_all=told["masquerade_all"],
        has_random_fully=told["has_random_fully"],
        node_port_addresses={version: NodePortAddresses(is_all=every_one, addresses=chosen)},
    )
    return ipvs_state(objects_of(state), configuration, version=version)


@pytest.mark.parametrize("state", states())
def test_sets_and_virtual_servers_are_those_of_the_reference(state: dict[str, Any]) -> None:
    ours = modelled(state)
    assert {name: sorted(ours.sets[name]) for name in SETS} == {name: sorted(state["ipset_kernel_entries"][name]) for name in SETS}
    assert sorted(ours.bound) == sorted(state["kube_ipvs0_addresses"])
    mine = {
        (str(s.address), s.port, s.protocol.upper()): (
            s.scheduler,
            s.persistence_timeout or 0,
            {(str(r.address), r.port, r.weight) for r in s.real_servers},
        )
        for s in ours.servers
        if s.protocol
    }
    theirs = {
        (s["address"], s["port"], s["protocol"]): (
            s["scheduler"],
            s["timeout"],
            {(r["address"], r["port"], r["weight"]) for r in s["real_servers"]},
        )
        for s in state["virtual_servers"]
    }
    assert mine == theirs


@pytest.mark.parametrize("state", states())
def test_the_rules_are_those_of_the_reference(state: dict[str, Any]) -> None:
    """Its texts have no quotes around the comments of jumps, no mark, and IPv4's names of sets in both families."""
    version = version_of(state)
    text = re.sub(r"--comment ([^\"\n][^\n]*?) -j", r'--comment "\1" -j', state["iptables_save"])
    text = re.sub(
        r"--mark /|--(xor|or)-mark$", lambda m: f"--{m[1]}-mark 0x4000" if m[1] else "--mark 0x4000/0x4000", text, flags=re.MULTILINE
    )
    theirs = compared(saved(text.replace("--vproto tcp", "--vproto 6"), version))
    ours = compared(modelled(state).tables)
    for name in SETS:
        ours = {place: [rule.replace(f" {set_name(name, version)} ", f" {name} ") for rule in rules] for place, rules in ours.items()}
    for place in theirs:
        if place[1].startswith("KUBE-") and place[1] not in ("KUBE-FIREWALL", "KUBE-KUBELET-CANARY"):
            assert sorted_where_free(place, ours[place]) == sorted_where_free(place, theirs[place])
        elif not place[1].startswith("KUBE-"):
            assert [rule for rule in theirs[place] if rule in ours[place]] == ours[place]
    assert set(ours) <= set(theirs)


def sorted_where_free(place: tuple[str, str], rules: list[str]) -> list[str]:
    return sorted(rules) if place[1] == "KUBE-IPVS-OUT-FILTER" else rules


@pytest.mark.needs_shared
@pytest.mark.parametrize("node", NODES["ipvs"], ids=str)
def test_everything_is_as_a_real_node_printed_it(node: RecordedNode) -> None:
    both = [ipvs_state(node.objects, node.configuration, version=version) for version in (4, 6)]
    recorded, faults = parse_virtual_servers(node.file("ipvsadm-save.txt"), "f")
    ours, _ = parse_virtual_servers(to_text(tuple(server for state in both for server in state.servers)), "f")
    assert not faults
    assert {s.key: (s.scheduler, s.persistence_timeout, set(targets(s))) for s in ours} == {
        s.key: (s.scheduler, s.persistence_timeout, set(targets(s))) for s in recorded
    }
    sets, faults = parse_sets(node.file("ipset-save.txt"), "f")
    mine, _ = parse_sets("\n".join(line for state in both for line in state.save_sets()) + "\n", "f")
    assert not faults
    assert {name: (s.type, s.family, set(s.entries)) for name, s in mine.items()} == {
        name: (s.type, s.family, set(s.entries)) for name, s in sets.items() if name.startswith("KUBE-")
    }
    for state in both:
        theirs = chains_in(node.dump(state.version))
        for table, chains in state.tables.items():
            for chain, rules in chains.items():
                held = theirs[table].get(chain, [])
                assert rules == (held if chain.startswith("KUBE-") else [rule for rule in held if rule in rules])


def targets(server: Any) -> list[tuple[object, ...]]:
    return [(r.address, r.port, r.forwarding, r.weight) for r in server.real_servers]


@pytest.mark.needs_shared
def test_a_device_stands_before_the_set_that_is_asked() -> None:
    node = NODES["ipvs"][0]
    settings = replace(node.configuration, detectors={4: LocalDetector(device="cni0")})
    rules = ipvs_state(node.objects, settings, version=4).tables["nat"]["KUBE-SERVICES"]
    assert [rule for rule in rules if "cni0" in rule and "KUBE-CLUSTER-IP" in rule] == [
        '-A KUBE-SERVICES ! -i cni0 -m comment --comment "Kubernetes service cluster ip + port for masquerade purpose" '
        "-m set --match-set KUBE-CLUSTER-IP dst,dst -j KUBE-MARK-MASQ"
    ]


def test_maglev_hashes_the_port_too() -> None:
    objects = Objects([])
    assert ipvs_state(objects, Configuration(node="n", mode="ipvs", scheduler="mh"), version=4).servers == []


@pytest.mark.parametrize(
    ("name", "in_ipv6"),
    [
        ("KUBE-CLUSTER-IP", "KUBE-6-CLUSTER-IP"),
        ("KUBE-LOAD-BALANCER-SOURCE-CIDR", "KUBE-6-LOAD-BALANCER-SOURCE-CID"),
        ("KUBE-NODE-PORT-LOCAL-SCTP-HASH", "KUBE-6-NODE-PORT-LOCAL-SCTP-HAS"),
    ],
)
def test_names_of_sets_in_ipv6_are_cut(name: str, in_ipv6: str) -> None:
    assert (set_name(name, 4), set_name(name, 6)) == (name, in_ipv6)

"""Drift in IPVS mode: none where there is none, and every fault named with its kind and its place."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from random import Random

import pytest

from tests.sizes import every
from tests.tracer.kubeproxy.mutations import _Without
from tests.tracer.kubeproxy.recorded import NODES, RecordedNode
from tracer.kube.objects import Objects
from tracer.kubeproxy.drift.finding import Compared, Drift
from tracer.kubeproxy.drift.iptables import compare_rules
from tracer.kubeproxy.drift.ipvs import compare_bound, compare_servers, compare_sets
from tracer.kubeproxy.ipvs_rules import IpvsState, ipvs_state

SEED = 20261130
MUTATIONS = 200


def states(node: RecordedNode, objects: Objects | None = None) -> list[IpvsState]:
    return [ipvs_state(objects or node.objects, node.configuration, version=version) for version in (4, 6)]


def everything(node: RecordedNode, servers: str, sets: str, rules: str, objects: Objects | None = None) -> tuple[Compared, ...]:
    """Return what comes of comparing a node's virtual servers, sets and IPv4's rules."""
    both, known = states(node, objects), objects or node.objects
    return (
        compare_servers(servers, "servers", known, both),
        compare_sets(sets, "sets", known, both),
        compare_rules(rules, "rules", known, both[0].tables),
    )


@pytest.mark.needs_shared
@pytest.mark.parametrize("node", NODES["ipvs"], ids=str)
def test_there_is_no_drift_on_a_recorded_node(node: RecordedNode) -> None:
    found = everything(node, node.file("ipvsadm-save.txt"), node.file("ipset-save.txt"), node.dump(4))
    assert found == (Compared(), Compared(), Compared())
    terse = compare_sets(node.file("ipset-list.txt"), "sets", node.objects, states(node))
    assert terse.unknown and not terse.findings  # a listing without members


@dataclass(frozen=True)
class Fault:
    """A line that is changed: which file's, how, and what has to be said."""

    file: str
    line: str
    change: Callable[[str], str]
    says: Drift
    place: str = r""


FAULTS = (
    Fault("ipvsadm-save.txt", r"^-a ", lambda line: "", Drift.MISSING, "virtual server"),
    Fault("ipvsadm-save.txt", r"^-a ", lambda line: line.replace(" -w 1", " -w 3"), Drift.DIFFERENT, "virtual server"),
    Fault("ipvsadm-save.txt", r"^-a ", lambda line: f"{line}\n" + re.sub(r" -r \S+", " -r 10.99.0.9:80", line), Drift.STALE, "virtual server"),
    Fault("ipvsadm-save.txt", r"^-A ", lambda line: re.sub(r" -s \w+", " -s lc", line), Drift.DIFFERENT, "virtual server"),
    Fault("ipvsadm-save.txt", r"^-A ", lambda line: "-A -t 192.0.2.99:9999 -s rr\n" + line, Drift.LEFTOVER, "virtual server -t 192.0.2.99:9999"),
    Fault("ipset-save.txt", r"^add KUBE-", lambda line: "", Drift.MISSING, "set KUBE-"),
    Fault("ipset-save.txt", r"^add KUBE-CLUSTER-IP ", lambda line: f"{line}\nadd KUBE-CLUSTER-IP 192.0.2.9,tcp:9", Drift.LEFTOVER, "set KUBE-CLUSTER-IP"),
    Fault("ipset-save.txt", r"^add KUBE-NODE-PORT-TCP ", lambda line: f"{line}\nadd KUBE-NODE-PORT-TCP 29999", Drift.LEFTOVER, "set KUBE-NODE-PORT-TCP"),
    Fault("iptables-save.txt", r"-A KUBE-", lambda line: "", Drift.MISSING, "KUBE-"),
    Fault("iptables-save.txt", r"-A KUBE-SERVICES ", lambda line: f"-A KUBE-SERVICES -s 192.0.2.0/24 -p tcp -j DROP\n{line}", Drift.FOREIGN, "KUBE-SERVICES"),
    Fault("iptables-save.txt", r"-A KUBE-IPVS-FILTER .*RETURN", lambda line: line.replace("dst", "src"), Drift.DIFFERENT, "KUBE-IPVS-FILTER"),
)  # fmt: skip


@pytest.mark.needs_shared
def test_every_fault_is_found_and_named() -> None:
    random = Random(SEED)
    wrong, kinds = [], set()
    for number in every(range(MUTATIONS), 4):
        node, fault = random.choice(NODES["ipvs"]), FAULTS[number % len(FAULTS)]
        texts = {name: node.file(name) for name in ("ipvsadm-save.txt", "ipset-save.txt", "iptables-save.txt")}
        lines = texts[fault.file].split("\n")
        at = random.choice([n for n, line in enumerate(lines) if re.search(fault.line, line)])
        texts[fault.file] = "\n".join([*lines[:at], fault.change(lines[at]), *lines[at + 1 :]])
        kinds.add(fault)
        found = everything(node, texts["ipvsadm-save.txt"], texts["ipset-save.txt"], texts["iptables-save.txt"])
        said = [finding for one in found for finding in one.findings]
        if any(one.unknown for one in found) or {f.drift for f in said} != {fault.says} or not any(fault.place in f.place for f in said):
            wrong.append((number, str(node), lines[at], said))
    assert wrong == []
    assert len(kinds) == len(FAULTS)


@pytest.mark.needs_shared
def test_what_a_deleted_service_left_is_all_leftover() -> None:
    node = NODES["ipvs"][0]
    gone = _Without(node.objects, "default/api")
    found = everything(node, node.file("ipvsadm-save.txt"), node.file("ipset-save.txt"), node.dump(4), gone)
    said = [finding for one in found for finding in one.findings]
    assert {f.place.split(" ")[0] for f in said} == {"virtual", "set"}
    assert {f.drift for f in said} <= {Drift.LEFTOVER, Drift.STALE} and Drift.LEFTOVER in {f.drift for f in said}


@pytest.mark.needs_shared
def test_the_addresses_of_the_device_are_the_services() -> None:
    node = NODES["ipvs"][0]
    both = states(node)
    bound = [ip_address(text) for state in both for text in state.bound]
    assert compare_bound(bound, [], "ip-addr.json", node.objects, both) == Compared()
    [missing] = compare_bound(bound[1:], [], "ip-addr.json", node.objects, both).findings
    assert (missing.drift, missing.expected) == (Drift.MISSING, str(bound[0])) and missing.service
    assert compare_bound(bound[1:], bound[:1], "ip-addr.json", node.objects, both) == Compared()
    [left] = compare_bound([*bound, ip_address("192.0.2.77")], [], "ip-addr.json", node.objects, both).findings
    assert (left.drift, left.text, left.service) == (Drift.LEFTOVER, "192.0.2.77", "")


@pytest.mark.needs_shared
def test_a_real_server_that_drains_is_no_drift() -> None:
    node = NODES["ipvs"][0]
    text = node.file("ipvsadm-save.txt")
    line = next(line for line in text.splitlines() if line.startswith("-a "))
    draining = re.sub(r" -r \S+", " -r 10.99.0.9:80", line).replace("-w 1", "-w 0")
    assert compare_servers(text.replace(line, f"{line}\n{draining}"), "f", node.objects, states(node)) == Compared()


@pytest.mark.needs_shared
@pytest.mark.parametrize("compare", [compare_servers, compare_sets])
def test_what_cannot_be_read_is_not_compared(compare) -> None:
    node = NODES["ipvs"][0]
    found = compare("-A -t nonsense\nadd x y\n", "f", node.objects, states(node))
    assert found.unknown and not found.findings

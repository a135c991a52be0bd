"""kube-proxy's iptables rules: the model against the reference's own outputs, and against what real nodes printed."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from tests.sizes import every
from tests.tracer.kubeproxy.recorded import NODES, RecordedNode, chains_in
from tests.tracer.kubeproxy.reference import CONFORMANCE, compared, configuration_of, objects_of, read_reference, saved, version_of
from tracer.kube.objects import Objects
from tracer.kubeproxy.configuration import Configuration, LocalDetector, NodePortAddresses, Release
from tracer.kubeproxy.iptables_rules import iptables_rules
from tracer.kubeproxy.rule_spelling import odds
from tracer.kubeproxy.rule_tables import save_text

SINGLE_SYNCS, FLOWS, GOLDENS, CHAIN_GOLDENS, LATER_SYNCS = 68, 56, 11, 12, 48
INCREMENTAL = {"iptables-sync-082", "iptables-sync-083", "iptables-sync-086"}
"""Incremental syncs around a cluster's growth: chains that did not change keep their comments, and those of a Service that is gone stay,
with nothing that leads to them, until everything is written anew."""


def records(kind: str) -> list[Any]:
    if not CONFORMANCE.exists():
        return [pytest.param(None, marks=pytest.mark.skip(reason="needs ../shared/conformance"))]
    flows = read_reference("iptables_flows")
    syncs = read_reference("iptables_syncs")["syncs"]
    found = {
        "single syncs": [s for s in syncs if s["sync_count"] == 1],
        "later syncs": [s for s in syncs if s["sync_count"] > 1],
        "flows": [f for f in flows["flows"] if "services" in f],
        "goldens": [g for g in flows["rule_goldens"] if "services" in g],
        "chain goldens": flows["chain_goldens"],
    }[kind]
    assert (
        len(found)
        == {
            "single syncs": SINGLE_SYNCS,
            "later syncs": LATER_SYNCS,
            "flows": FLOWS,
            "goldens": GOLDENS,
            "chain goldens": CHAIN_GOLDENS,
        }[kind]
    )
    return [pytest.param(one, id=one["id"]) for one in (found if kind in ("goldens", "chain goldens") else every(found, 4))]


@pytest.mark.parametrize("record", [*records("single syncs"), *records("later syncs"), *records("flows")])
def test_the_rules_are_those_of_the_reference(record: dict[str, Any]) -> None:
    version, objects, configuration = version_of(record), objects_of(record), configuration_of(record)
    ours = compared(iptables_rules(objects, configuration, version=version))
    theirs = compared(saved(record["iptables_save_loadable"], version))
    if record["id"] in INCREMENTAL:
        others = [compared(iptables_rules(objects, configuration, version=version, has_comments=said)) for said in (True, False)]
        theirs = led_to(theirs)
        ours |= {place: rules for other in others for place, rules in other.items() if theirs.get(place) == rules}
    assert {p: (ours.get(p), theirs.get(p)) for p in {*ours, *theirs} if ours.get(p) != theirs.get(p)} == {}


def led_to(chains: dict[tuple[str, str], list[str]]) -> dict[tuple[str, str], list[str]]:
    """Return *chains* without those of Services and endpoints that nothing leads to."""
    words = {word for rules in chains.values() for rule in rules for word in rule.split()[2:]}
    kept = {place: rules for place, rules in chains.items() if not place[1].startswith(("KUBE-SEP-", "KUBE-SVC-")) or place[1] in words}
    return kept if len(kept) == len(chains) else led_to(kept)


@pytest.mark.parametrize("record", records("goldens"))
def test_the_rules_are_those_of_the_golden_files(record: dict[str, Any]) -> None:
    """What the golden says, not what the proxy printed in that test. That of a partial sync lists the chains that changed."""
    version = version_of(record)
    ours = compared(iptables_rules(objects_of(record), configuration_of(record), version=version))
    theirs = compared(saved(record["expected"], version))
    whole = record["full_sync"]
    assert {place: rules for place, rules in ours.items() if place[1].startswith("KUBE-") and (whole or place in theirs)} == theirs


@pytest.mark.parametrize("record", records("chain goldens"))
def test_a_chain_is_that_of_its_golden(record: dict[str, Any]) -> None:
    version = version_of(record)
    ours = iptables_rules(objects_of(record), configuration_of(record), version=version)[record["table"]][record["chain"]]
    assert ours == saved(f"*{record['table']}\n{record['expected']}", version)[record["table"]].get(record["chain"], [])


@pytest.mark.needs_shared
@pytest.mark.parametrize("node", NODES["iptables"], ids=str)
def test_the_rules_are_those_that_a_real_node_printed(node: RecordedNode) -> None:
    for version in node.configuration.versions:
        ours = compared(iptables_rules(node.objects, node.configuration, version=version))
        theirs = compared(chains_in(node.dump(version)))
        of_proxy = {place for place in theirs if place[1].startswith("KUBE-")}
        assert {place: ours.get(place) for place in of_proxy} == {place: theirs[place] for place in of_proxy}
        assert {place for place in ours if place[1].startswith("KUBE-")} == of_proxy
        for place, rules in ours.items():
            if place not in of_proxy:  # the kernel's chains: our jumps in their order, others' rules between them
                assert [rule for rule in theirs[place] if rule in rules] == rules or node.is_old


@pytest.mark.needs_root
@pytest.mark.parametrize(("version", "program"), [(4, "iptables-restore"), (6, "ip6tables-restore")])
def test_the_text_can_be_restored(version: int, program: str, tmp_path: Path) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}")
    for node in every(NODES["iptables"], 4):
        text = save_text(iptables_rules(node.objects, node.configuration, version=version))
        (tmp_path / "rules").write_text(text)
        done = subprocess.run(["unshare", "-n", program, "--test", str(tmp_path / "rules")], capture_output=True, text=True, check=False)
        assert done.returncode == 0 or "nfacct" in done.stderr, done.stderr


@pytest.mark.needs_root
@pytest.mark.needs_shared
@pytest.mark.parametrize("minor", [20, 30, 36])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"detectors": {}},
        {"detectors": dict.fromkeys((4, 6), LocalDetector(device="cni0"))},
        {"detectors": dict.fromkeys((4, 6), LocalDetector(device="veth+"))},
        {"masquerade_all": True, "masquerade_bit": 15, "is_conntrack_liberal": True},
        {"localhost_node_ports": False, "has_random_fully": False},
        {"node_port_addresses": {4: NodePortAddresses(is_all=False, addresses=(ip_address("192.0.2.1"), ip_address("127.0.0.1")))}},
    ],
)
def test_the_text_is_spelled_as_iptables_save_spells_it(changes: dict[str, Any], minor: int, tmp_path: Path) -> None:
    """What is loaded into a network namespace of its own comes out as it went in."""
    if shutil.which("iptables-restore") is None:
        pytest.skip("needs iptables")
    node = NODES["iptables"][1]
    settings = replace(node.configuration, release=Release(minor=minor), counters=frozenset(), **changes)
    for version, program in ((4, "iptables"), (6, "ip6tables")):
        text = save_text(iptables_rules(node.objects, settings, version=version))
        (tmp_path / "rules").write_text(text)
        script = f"{program}-restore < {tmp_path / 'rules'} && {program}-save"
        done = subprocess.run(["unshare", "-n", "sh", "-c", script], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert [rule for rule in done.stdout.splitlines() if rule.startswith("-A")] == sorted_as(text, done.stdout)


def sorted_as(text: str, saved_text: str) -> list[str]:
    """Return the rules of *text* table by table in the order of *saved_text*."""
    tables = {part.split("\n", 1)[0]: part for part in text.split("*")[1:]}
    order = [line[1:] for line in saved_text.splitlines() if line.startswith("*")]
    return [rule for table in order for rule in tables[table].splitlines() if rule.startswith("-A")]


def test_a_cluster_without_objects_still_has_its_chains() -> None:
    tables = iptables_rules(Objects([]), Configuration(node="n"), version=4)
    assert tables["nat"]["KUBE-SERVICES"][-1].endswith("-m addrtype --dst-type LOCAL -j KUBE-NODEPORTS")
    assert save_text(tables).count("COMMIT") == 3


@pytest.mark.parametrize(("count", "text"), [(2, "0.50000000000"), (3, "0.33333333349"), (7, "0.14285714272"), (1001, "0.00099900085")])
def test_odds_are_the_kernels(count: int, text: str) -> None:
    assert odds(count) == text

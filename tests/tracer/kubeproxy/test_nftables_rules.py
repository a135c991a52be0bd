"""kube-proxy's nftables table: the model against the reference's own outputs, and against what real nodes listed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Hashable
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from tests.sizes import every
from tests.tracer.kubeproxy.recorded import NODES, RecordedNode
from tests.tracer.kubeproxy.reference import CONFORMANCE, configuration_of, objects_of, read_reference, version_of
from tracer.kube.objects import Objects
from tracer.kubeproxy.configuration import Configuration, LocalDetector, Release
from tracer.kubeproxy.drift.nft_meaning import rule_meaning
from tracer.kubeproxy.nft_layout import ALPHA, NEW, layout_of, layout_shown, likely_layout
from tracer.kubeproxy.nftables_rules import nftables_table
from tracer.netfilter.nft_model import NftTable
from tracer.netfilter.nft_text import parse_text

SYNCS, FLOWS, GOLDENS = 84, 41, 15


def records(kind: str) -> list[Any]:
    if not CONFORMANCE.exists():
        return [pytest.param(None, marks=pytest.mark.skip(reason="needs ../shared/conformance"))]
    held = read_reference("nftables_flows")
    found = {
        "syncs": read_reference("nftables_syncs")["syncs"],
        "flows": [one for one in held["flows"] if "services" in one],
        "goldens": [one for one in held["rule_goldens"] if "services" in one],
    }[kind]
    assert len(found) == {"syncs": SYNCS, "flows": FLOWS, "goldens": GOLDENS}[kind]
    return [pytest.param(one, id=one["id"]) for one in (found if kind == "goldens" else every(found, 4))]


def own_table(text: str, family: str) -> NftTable:
    """Return kube-proxy's table of *family* in a listing that can be read to its end."""
    ruleset = parse_text(text, "f")
    assert ruleset.incomplete is None
    return next(t for t in ruleset.tables if (t.family, t.name) == (family, "kube-proxy"))


def meaning(table: NftTable) -> dict[str, Hashable]:
    """Return what each chain, set and map of a table is: sets as sets, rules in order; chains that are empty and that nobody calls left out."""
    chains = {
        f"chain {c.name}": (c.type, c.hook, c.priority, c.policy or "accept", tuple(map(rule_meaning, c.rules)))
        for c in table.chains.values()
        if c.hook or len(c.rules)
    }
    sets = {
        f"set {s.name}": (
            s.key_types,
            s.value_type,
            s.flags,
            s.timeout,
            None if s.name.startswith("affinity-") else frozenset((e.key, e.value, e.comment) for e in s.elements),
        )
        for s in table.sets.values()
    }
    return chains | sets


@pytest.mark.parametrize("record", [*records("syncs"), *records("flows"), *records("goldens")])
def test_the_table_is_that_of_the_reference(record: dict[str, Any]) -> None:
    version = version_of(record)
    text = nftables_table(objects_of(record), configuration_of(record, "nftables"), NEW, version=version).to_text()
    family = "ip" if version == 4 else "ip6"
    ours, theirs = meaning(own_table(text, family)), meaning(own_table(record["nft_dump"], family))
    assert {name: (ours.get(name), theirs.get(name)) for name in {*ours, *theirs} if ours.get(name) != theirs.get(name)} == {}


@pytest.mark.needs_shared
@pytest.mark.parametrize("node", NODES["nftables"], ids=str)
def test_the_table_is_that_which_a_real_node_listed(node: RecordedNode) -> None:
    layout = layout_of(node.configuration.release)
    assert layout is not None
    for version, family in ((4, "ip"), (6, "ip6")):
        text = nftables_table(node.objects, node.configuration, layout, version=version).to_text()
        ours, theirs = meaning(own_table(text, family)), meaning(own_table(node.listing, family))
        assert {name: (ours.get(name), theirs.get(name)) for name in {*ours, *theirs} if ours.get(name) != theirs.get(name)} == {}
        recorded = own_table(node.listing, family)
        rules = "\n".join(rule.text for chain in recorded.chains.values() for rule in chain.rules)
        if family == "ip" and "shop" in node.recording:  # a table with Services shows its layout
            assert layout_shown(recorded.chains, recorded.sets, rules) == replace(layout, comments_on_firewall=False)


@pytest.mark.needs_root
@pytest.mark.parametrize("layout", [NEW, ALPHA])
def test_the_text_can_be_loaded(layout, tmp_path: Path) -> None:
    if shutil.which("nft") is None:
        pytest.skip("needs nft")
    for node in every(NODES["nftables"], 4):
        tables = [nftables_table(node.objects, node.configuration, layout, version=version).to_text() for version in (4, 6)]
        (tmp_path / "rules").write_text("".join(tables))
        done = subprocess.run(["unshare", "-n", "nft", "-c", "-f", str(tmp_path / "rules")], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.needs_root
@pytest.mark.needs_shared
@pytest.mark.parametrize("layout", [NEW, ALPHA, likely_layout(Release(minor=33)), likely_layout(Release(minor=35))])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"detectors": {}},
        {"detectors": dict.fromkeys((4, 6), LocalDetector(device="cni0"))},
        {"detectors": dict.fromkeys((4, 6), LocalDetector(device="veth+"))},
        {"masquerade_all": True, "masquerade_bit": 15},
        {"node_port_addresses": {}},
        {
            "service_cidrs": tuple(
                ip_network(text) for text in ("10.98.0.0/16", "10.96.0.0/16", "10.97.0.0/16", "10.100.0.0/16", "fd00::/112")
            )
        },
    ],
)
def test_the_text_is_spelled_as_nft_lists_it(changes: dict[str, Any], layout, tmp_path: Path) -> None:
    """What is loaded into a network namespace of its own is listed as it was, but for the order of elements."""
    if shutil.which("nft") is None:
        pytest.skip("needs nft")
    node = NODES["nftables"][1]
    for version, family in ((4, "ip"), (6, "ip6")):
        text = nftables_table(node.objects, replace(node.configuration, **changes), layout, version=version).to_text()
        (tmp_path / "rules").write_text(text)
        script = f"nft -f {tmp_path / 'rules'} && nft list ruleset"
        done = subprocess.run(["unshare", "-n", "sh", "-c", script], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        ours, theirs = own_table(text, family), own_table(done.stdout, family)
        assert {name: [r.text for r in chain.rules] for name, chain in ours.chains.items()} == {
            name: [r.text for r in chain.rules] for name, chain in theirs.chains.items()
        }
        assert meaning(ours) == meaning(theirs)


def test_which_layouts_are_known() -> None:
    assert [layout_of(Release(minor=minor)) for minor in (30, 31, 35, 36, 37)] == [ALPHA, None, None, NEW, NEW]
    assert [likely_layout(Release(minor=minor)) for minor in (29, 30, 36, 37)] == [None, ALPHA, NEW, NEW]
    between = [likely_layout(Release(minor=minor)) for minor in (31, 32, 33, 34, 35)]
    assert [one and (one.drops_unallocated, one.filters_after_dnat) for one in between] == [
        (False, False),
        (False, False),
        (True, False),
        (True, True),
        (True, True),
    ]


@pytest.mark.parametrize(("device", "spelled"), [("cni0", '"cni0"'), ("veth+", '"veth*"')])
def test_local_traffic_is_told_by_device(device: str, spelled: str) -> None:
    configuration = Configuration(node="n", mode="nftables", detectors={4: LocalDetector(device=device)})
    text = nftables_table(Objects([]), configuration, NEW, version=4).to_text()
    assert f"ip daddr @cluster-ips iifname != {spelled} meta mark set" in text

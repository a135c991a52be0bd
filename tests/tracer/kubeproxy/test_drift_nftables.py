"""Drift of kube-proxy's nftables table: none where there is none, and every fault named with its kind, its place and its owner."""

from __future__ import annotations

import re
from random import Random

import pytest

from tests.sizes import every
from tests.tracer.kubeproxy.nft_mutations import nft_mutated
from tests.tracer.kubeproxy.recorded import NODES, RecordedNode
from tests.tracer.kubeproxy.test_drift_iptables import objects
from tracer.kubeproxy.configuration import Configuration, Release
from tracer.kubeproxy.drift.finding import Compared, Drift
from tracer.kubeproxy.drift.nftables import compare_nftables
from tracer.kubeproxy.nft_layout import NEW
from tracer.kubeproxy.nftables_rules import nftables_table

SEED = 20261130
MUTATIONS = 300
SETTINGS = Configuration(node="n", mode="nftables", versions=(4,))


def rules() -> str:
    return nftables_table(objects(), SETTINGS, NEW, version=4).to_text()


def compare(text: str, settings: Configuration = SETTINGS) -> Compared:
    return compare_nftables(text, "nft-ruleset.txt", objects(), settings)


@pytest.mark.needs_shared
@pytest.mark.parametrize("node", NODES["nftables"], ids=str)
def test_there_is_no_drift_on_a_recorded_node(node: RecordedNode) -> None:
    assert compare_nftables(node.listing, "f", node.objects, node.configuration) == Compared()
    assert compare_nftables(node.json_listing, "f", node.objects, node.configuration, is_json=True) == Compared()


@pytest.mark.needs_shared
def test_every_fault_is_found_and_named() -> None:
    random = Random(SEED)
    wrong, kinds = [], set()
    for number in every(range(MUTATIONS), 5):
        node = random.choice(NODES["nftables"])
        fault = nft_mutated(node, random)
        kinds.add(fault.what.split(":")[0].split(" before")[0])
        found = compare_nftables(fault.text, "f", fault.objects(node.objects), node.configuration)
        if found.unknown or not fault.is_said_by(found.findings):
            wrong.append((number, str(node), fault.what, fault.chain, found))
    assert wrong == []
    assert kinds == {"deleted", "moved", "altered", "kept", "swapped", "foreign", "element deleted", "element altered"}


def test_our_own_text_has_no_drift() -> None:
    assert compare(rules()) == Compared()


@pytest.mark.parametrize(
    "other",
    [
        lambda text: text.replace("\tchain services {", "\tchain service-AAAAAAAA-b/gone/tcp/ {\n\t}\n\n\tchain services {"),
        lambda text: text + "table ip filter {\n\tchain input {\n\t\ttype filter hook input priority filter; policy drop;\n\t}\n}\n",
        lambda text: text.replace("10.244.0.5 . 10.244.0.5 . tcp . 8080", "10.244.0.5 . 10.244.0.5 . 6 . 8080"),
        lambda text: text.replace("meta mark set meta mark | 0x00004000", "meta mark set mark or 0x4000"),
    ],
)
def test_another_spelling_and_others_tables_are_no_drift(other) -> None:
    text = other(rules())
    assert text != rules() and compare(text) == Compared()


@pytest.mark.parametrize(
    ("change", "drift", "service"),
    [
        (lambda text: re.sub(r"\t\telements = \{ 10.96.0.5 . tcp[^\n]*\n", "", text), Drift.MISSING, "a/web:http"),
        (lambda text: text.replace("\t\tjump masquerading\n", ""), Drift.MISSING, ""),
        (lambda text: text.replace("priority srcnat", "priority srcnat + 10"), Drift.DIFFERENT, ""),
        (lambda text: text.replace("type inet_proto . inet_service : verdict", "type inet_service : verdict", 1), Drift.DIFFERENT, ""),
        (lambda text: text.replace("\t\tjump services\n", "\t\tjump services\n\t\taccept\n", 1), Drift.FOREIGN, ""),
        (lambda text: text.replace("elements = { 10.96.0.5 }", "elements = { 10.96.0.5, 10.96.0.9 }"), Drift.LEFTOVER, ""),
        (
            lambda text: text.replace(
                "\tchain services {", "\tchain service-AAAAAAAA-b/gone/tcp/x {\n\t\treject\n\t}\n\n\tchain services {"
            ),
            Drift.LEFTOVER,
            "b/gone:x",
        ),
        (
            lambda text: text.replace(
                "\tchain services {", "\tset affinity-AAAAAAAA-a/web/tcp/http__10.0.0.1/80 {\n\t\ttype ipv4_addr\n\t}\n\n\tchain services {"
            ),
            Drift.STALE,
            "a/web:http",
        ),
        (lambda text: text.replace("\tset cluster-ips", "\tset mine {\n\t\ttype ipv4_addr\n\t}\n\n\tset cluster-ips"), Drift.FOREIGN, ""),
    ],
)
def test_a_fault_has_its_kind_and_its_service(change, drift: Drift, service: str) -> None:
    text = change(rules())
    assert text != rules()
    assert {(f.drift, f.service) for f in compare(text).findings} == {(drift, service)}


def test_the_layout_of_a_release_that_is_not_known_is_the_tables_own() -> None:
    other = Configuration(node="n", mode="nftables", versions=(4,), release=Release(minor=33))
    assert compare(rules(), other) == Compared()


@pytest.mark.parametrize("text", ["", "table ip kube-proxy {\n\tchain services {\n\t\tjump x\n"])
def test_what_is_not_whole_is_not_compared(text: str) -> None:
    from ipaddress import ip_address

    found = compare(text, Configuration(node="n", mode="nftables", versions=(4,), node_ips={4: ip_address("192.0.2.1")}))
    assert found.unknown and not found.findings

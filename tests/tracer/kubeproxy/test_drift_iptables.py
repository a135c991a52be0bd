"""Drift of iptables rules: none where there is none, and every fault named with its kind, its place and its owner."""

from __future__ import annotations

import re
from random import Random

import pytest

from tests.sizes import every
from tests.tracer.kubeproxy.mutations import mutated
from tests.tracer.kubeproxy.recorded import NODES, RecordedNode, moments
from tracer.kube.object_file import ObjectFile
from tracer.kube.objects import Objects
from tracer.kubeproxy.configuration import Configuration
from tracer.kubeproxy.drift.finding import Compared, Drift
from tracer.kubeproxy.drift.iptables import compare_iptables
from tracer.kubeproxy.iptables_rules import iptables_rules
from tracer.kubeproxy.rule_tables import save_text
from tracer.snapshot import Snapshot
from tracer.snapshot.proxy_configuration import proxy_configuration

SEED = 20261130
MUTATIONS = 300
OBJECTS = """{"kind": "List", "items": [
 {"kind": "Service", "metadata": {"namespace": "a", "name": "web"},
  "spec": {"clusterIP": "10.96.0.5", "type": "NodePort", "ports": [{"name": "http", "port": 80, "nodePort": 30080}]}},
 {"kind": "EndpointSlice", "metadata": {"namespace": "a", "name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
  "addressType": "IPv4", "ports": [{"name": "http", "port": 8080}],
  "endpoints": [{"addresses": ["10.244.0.5"], "nodeName": "n"}, {"addresses": ["10.244.1.5"], "nodeName": "m"}]}]}"""


def objects() -> Objects:
    return Objects([ObjectFile("objects.json", lambda: OBJECTS.encode())])


def rules() -> str:
    return save_text(iptables_rules(objects(), Configuration(node="n"), version=4))


def compare(text: str) -> Compared:
    return compare_iptables(text, "iptables-save.txt", objects(), Configuration(node="n"), version=4)


@pytest.mark.needs_shared
@pytest.mark.parametrize("node", NODES["iptables"], ids=str)
def test_there_is_no_drift_on_a_recorded_node(node: RecordedNode) -> None:
    for version in node.configuration.versions:
        assert compare_iptables(node.dump(version), "f", node.objects, node.configuration, version=version) == Compared()


@pytest.mark.needs_shared
def test_nodes_follow_their_objects_through_a_timeline() -> None:
    """Each moment's rules are those of its objects, and not of the moment before, where that differs."""
    before: Snapshot | None = None
    drifted = set()
    for title, moment in moments():
        for node in moment.node_names:
            told = proxy_configuration(moment, node).configuration
            text = moment.node_file(node, "iptables-save.txt") or ""
            assert (title, compare_iptables(text, "f", moment.objects, told, version=4)) == (title, Compared())
            if before is not None and compare_iptables(text, "f", before.objects, told, version=4).findings:
                drifted.add(title)
        before = moment
    assert len(drifted) >= 10


@pytest.mark.needs_shared
def test_every_fault_is_found_and_named() -> None:
    random = Random(SEED)
    wrong, kinds = [], set()
    for number in every(range(MUTATIONS), 5):
        node = random.choice(NODES["iptables"])
        fault = mutated(node, 4, random)
        kinds.add(fault.what.split(":")[0].split(" ")[0])
        found = compare_iptables(fault.text, "f", fault.objects(node.objects), node.configuration, version=4)
        if found.unknown or not fault.is_said_by(found.findings):
            wrong.append((number, str(node), fault.what, found))
    assert wrong == []
    assert kinds == {"deleted", "moved", "last", "altered", "kept", "swapped", "foreign"}


def test_our_own_text_has_no_drift() -> None:
    assert compare(rules()) == Compared()


@pytest.mark.parametrize(
    "other",
    [
        lambda text: text.replace("-m comment --comment", "-m comment  --comment"),
        lambda text: text.replace("/32 ", " "),
        lambda text: re.sub(r' -m comment --comment "a/web:http -> \S+"', "", text),
        lambda text: text.replace("-A KUBE-SERVICES", "[12:720] -A KUBE-SERVICES"),
        lambda text: text.replace(
            "*nat\n", "*nat\n:CNI-HOSTPORT-DNAT - [0:0]\n:KUBE-KUBELET-CANARY - [0:0]\n:KUBE-IPTABLES-HINT - [0:0]\n"
        ),
        lambda text: text.replace("-A PREROUTING", "-A PREROUTING -s 192.0.2.1/32 -j DROP\n-A PREROUTING", 1),
        lambda text: text.replace("-A KUBE-FIREWALL", "-A KUBE-FIREWALL -m mark --mark 0x8000/0x8000 -j DROP\n-A KUBE-FIREWALL", 1),
    ],
)
def test_another_spelling_and_others_rules_are_no_drift(other) -> None:
    text = other(rules())
    assert text != rules() and compare(text) == Compared()


@pytest.mark.parametrize(
    ("change", "drift", "service"),
    [
        (lambda text: re.sub(r"-A KUBE-SERVICES -d 10.96.0.5.*\n", "", text), Drift.MISSING, "a/web:http"),
        (lambda text: re.sub(r"-A PREROUTING .*\n", "", text), Drift.MISSING, ""),
        (lambda text: text.replace("--dport 30080 -j KUBE-EXT", "--dport 30081 -j KUBE-EXT"), Drift.DIFFERENT, "a/web:http"),
        (lambda text: text.replace("-A KUBE-MARK-MASQ", "-A KUBE-MARK-MASQ -j LOG\n-A KUBE-MARK-MASQ"), Drift.FOREIGN, ""),
        (
            lambda text: text.replace(
                "-A KUBE-SERVICES -d",
                '-A KUBE-SERVICES -d 10.96.0.9/32 -p tcp -m comment --comment "b/gone cluster IP" -m tcp --dport 80 -j KUBE-SVC-X\n-A KUBE-SERVICES -d',
                1,
            ),
            Drift.LEFTOVER,
            "b/gone",
        ),
        (
            lambda text: text.replace(
                "-A KUBE-SERVICES -d",
                '-A KUBE-SERVICES -d 10.96.0.9/32 -p tcp -m comment --comment "a/web:http cluster IP" -m tcp --dport 80 -j KUBE-SVC-X\n-A KUBE-SERVICES -d',
                1,
            ),
            Drift.STALE,
            "a/web:http",
        ),
    ],
)
def test_a_fault_has_its_kind_and_its_service(change, drift: Drift, service: str) -> None:
    found = compare(change(rules())).findings
    assert {(f.drift, f.service) for f in found} == {(drift, service)}
    assert all((f.line is None) == (f.drift is Drift.MISSING) for f in found)


def test_of_a_dump_of_one_table_that_one_is_compared() -> None:
    nat = rules()[rules().index("*nat") :]
    assert compare(nat) == Compared(unknown=("iptables-save.txt does not list table filter",))
    found = compare(nat.replace("-j MASQUERADE", "-j ACCEPT"))
    assert found.unknown and [f.drift for f in found.findings] == [Drift.DIFFERENT]


@pytest.mark.parametrize(
    "text", ["", "*mangle\nCOMMIT\n", "*filter\n:INPUT ACCEPT [0:0]\n*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -j KUBE-SER"]
)
def test_what_is_not_whole_is_not_compared(text: str) -> None:
    found = compare(text)
    assert found.unknown and not found.findings

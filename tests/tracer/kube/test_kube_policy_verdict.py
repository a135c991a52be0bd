"""Whether NetworkPolicies allow a flow: the API's rules, one table each."""

from __future__ import annotations

import gzip
import json
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from tracer.errors import ParseError
from tracer.kube.networkpolicy import Direction, NetworkPolicy
from tracer.kube.object_file import ObjectFile
from tracer.kube.objects import Objects
from tracer.kube.policy_verdict import PolicyPeer, PolicyVerdict, allowed
from tracer.packet import Protocol


def pod(namespace: str, name: str, ip: str, **more: Any) -> dict[str, Any]:
    ports = [{"name": "http", "containerPort": 8080}, {"name": "dns", "containerPort": 53, "protocol": "UDP"}]
    return {
        "kind": "Pod",
        "metadata": {"namespace": namespace, "name": name, "labels": {"app": name, "tier": "front" if name == "web" else "back"}},
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "ports": ports}]} | more,
        "status": {"podIP": ip},
    }


CLUSTER = [
    pod("shop", "web", "10.244.0.1"),
    pod("shop", "db", "10.244.0.2"),
    pod("other", "web", "10.244.0.3"),
    pod("shop", "agent", "172.18.0.1", hostNetwork=True),
    {"kind": "Namespace", "metadata": {"name": "shop", "labels": {"team": "shop"}}},
    {"kind": "Namespace", "metadata": {"name": "other"}},
    {"kind": "Node", "metadata": {"name": "n1"}, "status": {"addresses": [{"type": "InternalIP", "address": "172.18.0.1"}]}},
    {"kind": "Node", "metadata": {"name": "n2"}, "status": {"addresses": [{"type": "InternalIP", "address": "172.18.0.2"}]}},
]
WEB, DB, OTHER, NODE, FAR_NODE, OUTSIDE = "10.244.0.1", "10.244.0.2", "10.244.0.3", "172.18.0.1", "172.18.0.2", "203.0.113.10"


def policy(name: str = "p", namespace: str = "shop", **spec: Any) -> dict[str, Any]:
    return {"kind": "NetworkPolicy", "metadata": {"namespace": namespace, "name": name}, "spec": {"podSelector": {}} | spec}


def judge(policies: list[dict[str, Any]], source: str, destination: str, port: int | None = 8080, protocol: str = "tcp") -> PolicyVerdict:
    data = json.dumps({"kind": "List", "items": [*CLUSTER, *policies]}, indent=1).encode()
    objects = Objects([ObjectFile("cluster.json", lambda: data)])
    ends = [PolicyPeer.of_address(objects, ip_address(a)) for a in (source, destination)]
    verdict = allowed(objects, source=ends[0], destination=ends[1], port=port, protocol=Protocol(protocol))
    assert objects.faults == ()
    return verdict


def from_(*peers: dict[str, Any], **more: Any) -> dict[str, Any]:
    return policy(podSelector={"matchLabels": {"app": "db"}}, ingress=[{"from": list(peers)} | more])


def ports(*entries: dict[str, Any]) -> dict[str, Any]:
    return policy(ingress=[{"ports": list(entries)}])


APP_WEB = {"podSelector": {"matchLabels": {"app": "web"}}}


@pytest.mark.parametrize(
    ("what", "policies", "source", "destination", "is_allowed"),
    [
        ("no policy", [], WEB, DB, True),
        ("a policy that lists nothing denies", [policy()], WEB, DB, False),
        ("an empty rule allows everybody", [policy(ingress=[{}])], WEB, DB, True),
        ("empty peers allow everybody", [policy(ingress=[{"from": []}])], OUTSIDE, DB, True),
        ("a policy of another namespace", [policy(namespace="other")], WEB, DB, True),
        ("a policy that selects another pod", [policy(podSelector={"matchLabels": {"app": "web"}})], WEB, DB, True),
        ("the pod is listed", [from_(APP_WEB)], WEB, DB, True),
        ("a pod of another namespace is not", [from_(APP_WEB)], OTHER, DB, False),
        ("all namespaces", [from_({"namespaceSelector": {}})], OTHER, DB, True),
        ("both selectors must match", [from_({"namespaceSelector": {"matchLabels": {"team": "shop"}}} | APP_WEB)], OTHER, DB, False),
        ("both selectors do match", [from_({"namespaceSelector": {"matchLabels": {"team": "shop"}}} | APP_WEB)], WEB, DB, True),
        ("two entries: either", [from_({"namespaceSelector": {}}, APP_WEB)], OTHER, DB, True),
        (
            "a namespace by its name",
            [from_({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "other"}}})],
            OTHER,
            DB,
            True,
        ),
        ("selectors never match addresses", [from_({"namespaceSelector": {}})], OUTSIDE, DB, False),
        ("nor host-network pods", [from_({"podSelector": {}})], FAR_NODE, DB, False),
        ("a block", [from_({"ipBlock": {"cidr": "203.0.113.0/24"}})], OUTSIDE, DB, True),
        ("a block's exception", [from_({"ipBlock": {"cidr": "203.0.113.0/24", "except": ["203.0.113.8/29"]}})], OUTSIDE, DB, False),
        ("a block of the other family", [from_({"ipBlock": {"cidr": "::/0"}})], OUTSIDE, DB, False),
        ("policies add up", [policy("deny"), from_(APP_WEB)], WEB, DB, True),
        ("egress is not ingress", [policy(policyTypes=["Egress"])], OUTSIDE, DB, True),
        ("egress denies", [policy(policyTypes=["Egress"], podSelector=APP_WEB["podSelector"])], WEB, DB, False),
        (
            "egress allows",
            [policy(policyTypes=["Egress"], egress=[{"to": [{"podSelector": {"matchLabels": {"app": "db"}}}]}])],
            WEB,
            DB,
            True,
        ),
        (
            "egress by default with rules",
            [policy(podSelector=APP_WEB["podSelector"], ingress=[{}], egress=[{"to": [APP_WEB]}])],
            WEB,
            DB,
            False,
        ),
        ("no egress by default", [policy(podSelector=APP_WEB["podSelector"], ingress=[{}])], WEB, DB, True),
        ("both ways must allow", [policy("e", policyTypes=["Egress"], egress=[{}]), policy("i")], WEB, DB, False),
        ("nobody isolates a node", [policy(), policy("x", namespace="kube-system")], WEB, FAR_NODE, True),
        ("nor a host-network pod", [policy(podSelector={"matchLabels": {"app": "agent"}})], WEB, NODE, True),
        ("a pod reaches itself", [policy(policyTypes=["Ingress", "Egress"])], DB, DB, True),
        ("its own node reaches a pod", [policy()], NODE, DB, True),
        ("another node does not", [policy()], FAR_NODE, DB, False),
    ],
)
def test_who_may(what: str, policies: list[dict[str, Any]], source: str, destination: str, is_allowed: bool) -> None:
    verdict = judge(policies, source, destination)
    assert verdict.allowed is is_allowed, (what, verdict.refusals)
    assert bool(verdict.refusals) is not is_allowed


@pytest.mark.parametrize(
    ("entry", "port", "protocol", "is_allowed"),
    [
        ({"port": 8080}, 8080, "tcp", True),
        ({"port": 8080}, 8081, "tcp", False),
        ({"port": 8080}, 8080, "udp", False),
        ({"port": 53, "protocol": "UDP"}, 53, "udp", True),
        ({"port": 8000, "endPort": 8100}, 8100, "tcp", True),
        ({"port": 8000, "endPort": 8100}, 8101, "tcp", False),
        ({"port": 8000, "endPort": 8100}, 7999, "tcp", False),
        ({"port": "http"}, 8080, "tcp", True),
        ({"port": "http"}, 80, "tcp", False),
        ({"port": "dns"}, 53, "tcp", False),
        ({"port": "dns", "protocol": "UDP"}, 53, "udp", True),
        ({"port": "nothing"}, 8080, "tcp", False),
        ({"protocol": "UDP"}, 9999, "udp", True),
        ({}, 9999, "tcp", True),
        ({}, 9999, "udp", False),
        ({"port": 8080}, None, "icmp", False),
    ],
)
def test_which_port(entry: dict[str, Any], port: int | None, protocol: str, is_allowed: bool) -> None:
    assert judge([ports(entry)], WEB, DB, port, protocol).allowed is is_allowed


def test_no_ports_allow_every_protocol() -> None:
    assert judge([policy(ingress=[{"from": [APP_WEB]}])], WEB, DB, None, "icmp").allowed


@pytest.mark.parametrize(
    ("expression", "is_allowed"),
    [
        ({"key": "app", "operator": "In", "values": ["web", "api"]}, True),
        ({"key": "app", "operator": "In", "values": ["api"]}, False),
        ({"key": "app", "operator": "NotIn", "values": ["api"]}, True),
        ({"key": "app", "operator": "NotIn", "values": ["web"]}, False),
        ({"key": "absent", "operator": "NotIn", "values": ["x"]}, True),
        ({"key": "absent", "operator": "In", "values": ["x"]}, False),
        ({"key": "app", "operator": "Exists"}, True),
        ({"key": "absent", "operator": "Exists"}, False),
        ({"key": "absent", "operator": "DoesNotExist"}, True),
        ({"key": "app", "operator": "DoesNotExist"}, False),
    ],
)
def test_expressions(expression: dict[str, Any], is_allowed: bool) -> None:
    assert judge([from_({"podSelector": {"matchExpressions": [expression]}})], WEB, DB).allowed is is_allowed


def test_why_nothing_allows_it_is_said() -> None:
    verdict = judge([policy("default-deny"), from_(APP_WEB), ports({"port": 9000, "endPort": 9010})], OTHER, DB)
    assert verdict.refusals == (
        "NetworkPolicy shop/default-deny (Ingress) lists nothing, so it allows nothing from anybody",
        "NetworkPolicy shop/p (Ingress) allows from pods with app=web; pod other/web is none of them",
    )


def test_a_port_that_is_not_allowed_is_said() -> None:
    verdict = judge([ports({"port": 9000, "endPort": 9010}, {"port": "dns", "protocol": "UDP"})], OUTSIDE, DB)
    assert verdict.refusals == ("NetworkPolicy shop/p (Ingress) allows 203.0.113.10 only on TCP 9000-9010, UDP dns, not on TCP 8080",)


def test_what_plugins_differ_on_is_noted() -> None:
    assert judge([from_({"ipBlock": {"cidr": "10.244.0.0/16"}})], WEB, DB).notes == (
        "NetworkPolicy shop/p allows pod shop/web by an ipBlock only; some network plugins apply those to addresses outside the cluster alone",
    )
    assert judge([from_({"ipBlock": {"cidr": "10.244.0.0/16"}}, APP_WEB)], WEB, DB).notes == ()


def test_the_exemption_of_the_own_node_is_noted() -> None:
    verdict = judge([policy()], NODE, DB)
    assert verdict.notes == ("traffic from a pod's own node (n1) is always allowed: the kubelet's probes must get through",)
    assert [p.name for p in verdict.ingress.isolating] == ["p"]


def test_a_namespace_without_an_object_has_its_name_as_label() -> None:
    objects = Objects([ObjectFile("pods.json", lambda: json.dumps(CLUSTER[0]).encode())])
    peer = PolicyPeer.of_address(objects, ip_address(WEB))
    assert (peer.namespace_labels, str(peer)) == ({"kubernetes.io/metadata.name": "shop"}, "pod shop/web")


@pytest.mark.parametrize(
    ("spec", "types"),
    [
        ({}, (Direction.INGRESS,)),
        ({"egress": []}, (Direction.INGRESS,)),
        ({"egress": [{}]}, (Direction.INGRESS, Direction.EGRESS)),
        ({"policyTypes": ["Egress"]}, (Direction.EGRESS,)),
    ],
)
def test_types_are_defaulted(spec: dict[str, Any], types: tuple[Direction, ...]) -> None:
    assert NetworkPolicy.from_dict(policy(**spec)).types == types


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"policyTypes": ["Both"]}, "spec.policyTypes[0]: 'Both' is not Ingress or Egress"),
        ({"ingress": [{"ports": [{"port": 1.5}]}]}, "spec.ingress[0].ports[0].port: is neither a number nor a name"),
        ({"ingress": [{"ports": [{"port": 70000}]}]}, "spec.ingress[0].ports[0].port: is 70000, not from 0 to 65535"),
        ({"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/33"}}]}]}, "'10.0.0.0/33' is not a network in CIDR notation"),
        ({"ingress": [{"from": [{"ipBlock": {}}]}]}, "spec.ingress[0].from[0].ipBlock.cidr: is missing"),
        ({"podSelector": {"matchExpressions": [{"key": "a", "operator": "Is"}]}}, "'Is' is not In, NotIn, Exists or DoesNotExist"),
        ({"podSelector": []}, "spec.podSelector: is an array, not an object"),
    ],
)
def test_what_is_malformed_is_refused(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(ParseError) as caught:
        NetworkPolicy.from_dict(policy(**spec))
    assert str(caught.value).startswith("NetworkPolicy shop/p: ") or str(caught.value).startswith(": NetworkPolicy shop/p: ")
    assert message in str(caught.value)


# --- other programs' verdicts --------------------------------------------------------------------------------------------------------

CASES = 149


def load(shared: Path) -> list[dict[str, Any]]:
    with gzip.open(shared / "conformance" / "networkpolicy_cases.json.gz", "rt") as file:
        return list(json.load(file)["cases"])


def objects_of(case: dict[str, Any]) -> Objects:
    def made(pod: dict[str, Any]) -> dict[str, Any]:
        declared = [
            {"containerPort": p["port"], "protocol": p["protocol"]} | ({"name": p["name"]} if "name" in p else {}) for p in pod["ports"]
        ]
        status = {"podIP": pod["ips"][0], "podIPs": [{"ip": ip} for ip in pod["ips"]]} if pod["ips"] else {}
        return {
            "kind": "Pod",
            "metadata": {k: pod[k] for k in ("namespace", "name", "labels")},
            "spec": {"nodeName": "n1", "containers": [{"name": "c", "ports": declared}]},
            "status": status,
        }

    namespaces = [{"kind": "Namespace", "metadata": namespace} for namespace in case["namespaces"]]
    items = [*namespaces, *map(made, case["pods"]), *case["policies"]]
    text = json.dumps({"kind": "List", "items": items}, indent=1).encode()
    return Objects([ObjectFile("cluster.json", lambda: text)])


def end_of(objects: Objects, word: str) -> PolicyPeer:
    kind, _, name = word.partition(":")
    if kind == "ip":
        return PolicyPeer.of_address(objects, ip_address(name))
    pod = objects.pod(*name.split("/", 1))
    assert pod is not None, word
    return PolicyPeer.of_pod(objects, pod)


@pytest.mark.needs_shared
def test_policies_are_judged_as_other_programs_do(shared: Path) -> None:
    """Probes of Kubernetes' end-to-end tests, of plugins and of policy simulators: both halves of each verdict."""
    wrong, probed, cases = [], 0, load(shared)
    for case in cases:
        objects = objects_of(case)
        for probe in case["probes"]:
            ends = [end_of(objects, probe[end]) for end in ("from", "to")]
            protocol = Protocol(probe["protocol"].lower())
            found = allowed(objects, source=ends[0], destination=ends[1], port=probe["port"], protocol=protocol)
            got = {"allowed": found.allowed, "egress": found.egress.allowed, "ingress": found.ingress.allowed}
            probed += 1
            if got != {key: probe[key] for key in got}:
                wrong.append(f"{case['id']}: {probe} got {got}: {'; '.join(found.refusals)}")
        assert objects.faults == (), case["id"]
    assert not wrong, f"{len(wrong)} of {probed} probes\n" + "\n".join(wrong[:20])
    assert len(cases) == CASES
    assert probed > 3000

"""Nodes of which no rules were recorded: walked as kube-proxy would program them, each rule said to be modelled, on named assumptions."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.conftest import PROJECT
from tests.made_cluster import MadeCluster
from tests.tracer.simulate.truth import NODES, RULES, all_of, verdict
from tracer.explain.findings import diagnose
from tracer.kube.objects import Objects
from tracer.kube.service import ServicePort
from tracer.kubeproxy.configuration import Configuration
from tracer.kubeproxy.userspace_rules import userspace_rules
from tracer.packet import Protocol
from tracer.query import Query, parse_destination, parse_source
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster
from tracer.topology.followed import FOLLOWED, FileChange, FollowedCluster, changes_of
from tracer.topology.programming import programmed
from tracer.trace import Disposition, Outcome, StackKind, Step, Trace

WEB, NODE_PORT, OUTSIDE, INSIDE = "10.96.0.10:80", "192.168.0.11:30080", "external:203.0.113.9", "pod:default/client"
_RULES = ("iptables-save.txt", "ip6tables-save.txt")


def shop(nodes: int = 2) -> MadeCluster:
    made = MadeCluster(nodes)
    made.pod("client", 1)
    pods = [made.pod(f"web-{i}", i % nodes + 1) for i in range(3)]
    made.service("web", pods, type="LoadBalancer", node_port=30080, lb_ip="198.51.100.7")
    made.service("none", [])
    config = {"config.conf": "kind: KubeProxyConfiguration\nmode: iptables\nclusterCIDR: 10.1.0.0/16\n"}
    made.extra["configmaps.json"] = json.dumps(
        {
            "apiVersion": "v1",
            "kind": "ConfigMapList",
            "items": [{"kind": "ConfigMap", "metadata": {"namespace": "kube-system", "name": "kube-proxy"}, "data": config}],
        }
    ).encode()
    return made


def cluster_of(made: MadeCluster, *, without: Callable[[str], bool] = lambda name: False) -> Cluster:
    return Cluster.from_snapshot(Snapshot.from_files({path: text for path, text in made.files().items() if not without(path)}))


def no_rules(path: str) -> bool:
    return path.endswith(_RULES)


def ask(cluster: Cluster, source: str, to: str, *assume: str) -> Trace:
    query = Query(source=parse_source(source), destination=parse_destination(to), assume=assume)
    return diagnose(cluster, trace(cluster, query))


def ends(answer: Trace) -> list[tuple[object, ...]]:
    return sorted((_end(outcome) for outcome in answer.outcomes), key=str)


def _end(outcome: Outcome) -> tuple[object, ...]:
    place, reply = outcome.destination, outcome.reply
    code = outcome.reason.code if outcome.reason else ""
    back = reply and (reply.disposition, str(reply.source))
    return outcome.probability, outcome.disposition, code, place and str(place.ip), str(outcome.source_seen), back, outcome.client_sees


def steps_of(answer: Trace) -> list[Step]:
    ways = [way for outcome in answer.outcomes for way in (outcome.hops, outcome.reply.hops if outcome.reply else ())]
    return [step for hops in ways for hop in hops for step in hop.steps]


QUESTIONS = [(INSIDE, WEB), (OUTSIDE, NODE_PORT), (OUTSIDE, "198.51.100.7:80"), ("node:n2", WEB), (INSIDE, "10.96.0.11:80")]


@pytest.mark.parametrize(("source", "to"), QUESTIONS)
def test_without_rules_the_answer_is_what_it_is_with_them(source: str, to: str) -> None:
    recorded, modelled = (ask(cluster_of(shop(), without=left), source, to) for left in (lambda path: False, no_rules))
    assert ends(modelled) == ends(recorded)
    assert not any(step.made_as for step in steps_of(recorded))


def test_every_rule_says_that_it_is_modelled_and_where_it_would_stand() -> None:
    answer = ask(cluster_of(shop(), without=no_rules), OUTSIDE, NODE_PORT)
    told = answer.to_dict(with_steps=True)
    steps = [step for outcome in told["outcomes"] for hop in outcome["hops"] for step in hop["steps"]]
    rules = [step for step in steps if "rule" in step]
    assert len(rules) > 10
    assert {(step["origin"], step["line"]) for step in rules} == {("modelled", None)}
    assert {step["as"] for step in rules} == {"kube-proxy 1.36 iptables", "network plugin (assumed)"}
    assert {step["file"] for step in rules} == {"modelled/n1/iptables-save.txt", "modelled/n2/iptables-save.txt"}
    jump = next(step for step in rules if step["chain"] == "PREROUTING")
    assert (jump["position"], jump["verdict"]) == (1, "jump KUBE-SERVICES")
    nodes = [hop for outcome in told["outcomes"] for hop in outcome["hops"] if hop["stack"]["kind"] == "node"]
    assert {hop["origin"] for hop in nodes} == {"modelled"}
    assert all("as kube-proxy 1.36 iptables would program it; no rules recorded" in hop["notes"] for hop in nodes)
    evidence = [line for outcome in answer.outcomes for found in outcome.findings for line in getattr(found, "evidence", ())]
    assert any(line.startswith("modelled/n1/iptables-save.txt (KUBE-POSTROUTING, rule ") for line in evidence)


def test_what_else_is_assumed_of_kube_proxy_is_said_on_the_hop() -> None:
    cluster = cluster_of(shop(), without=lambda path: no_rules(path) or path == "configmaps.json")
    notes = [note for outcome in ask(cluster, "node:n2", WEB).outcomes for hop in outcome.hops for note in hop.notes]
    assert "assumed: kube-proxy's settings: neither its ConfigMap nor its pod's flags are there, so the defaults" in notes


def test_what_nothing_says_is_assumed_and_can_be_set() -> None:
    silent = ("configmaps.json", "kube-proxy-mode.txt")
    cluster = cluster_of(shop(), without=lambda path: no_rules(path) or path.endswith(silent))
    assert [a.code for a in ask(cluster, OUTSIDE, NODE_PORT).assumptions] == ["mode:iptables", "proxy:1.36"]
    assert [(a.code, a.changes) for a in ask(cluster, OUTSIDE, NODE_PORT, "proxy:1.28").assumptions] == [
        ("mode:iptables", False),
        ("proxy:1.28", False),
    ]
    told = {step.made_as for step in steps_of(ask(cluster, OUTSIDE, NODE_PORT, "proxy:1.28")) if "kube-proxy" in step.made_as}
    assert told == {"kube-proxy 1.28 iptables"}


def test_what_the_snapshot_says_is_not_assumed() -> None:
    made = shop()
    for node in made.nodes:
        node.texts["kube-proxy-mode.txt"], node.texts["kube-proxy-version.txt"] = "iptables\n", "Kubernetes v1.30.2\n"
    answer = ask(cluster_of(made, without=no_rules), OUTSIDE, NODE_PORT)
    assert answer.assumptions == ()
    assert {step.made_as for step in steps_of(answer) if "kube-proxy" in step.made_as} == {"kube-proxy 1.30 iptables"}


@pytest.mark.parametrize(
    ("release", "sees"),
    [(30, "timeout"), (31, "timeout"), (33, "timeout"), (34, "connected"), (35, "connected"), (36, "connected")],
)
def test_a_table_of_nftables_is_laid_out_by_its_release(release: int, sees: str) -> None:
    """From 1.34 on refusals stand behind DNAT and spare the node's own packets to the address of a Local balancer."""
    made = shop()
    made.service("here", [made.pods[2]], type="LoadBalancer", node_port=30081, lb_ip="198.51.100.8", local=True)
    for node in made.nodes:
        node.texts["kube-proxy-mode.txt"], node.texts["kube-proxy-version.txt"] = "nftables\n", f"Kubernetes v1.{release}.2\n"
    answer = ask(cluster_of(made, without=no_rules), "node:n1", "198.51.100.8:80")
    assert {outcome.client_sees for outcome in answer.outcomes} == {sees}
    notes = [note for outcome in answer.outcomes for hop in outcome.hops for note in hop.notes]
    assert any("laid out as its source has it" in note for note in notes) == (30 < release < 36)


def test_the_plugins_masquerading_is_an_assumption() -> None:
    made = shop()
    for node in made.nodes:
        node.pod_cidrs = (f"10.1.{node.number}.0/24",)
    cluster = cluster_of(made, without=no_rules)
    said = ask(cluster, INSIDE, "192.0.2.7:80")
    assert [a.code for a in said.assumptions if a.code.startswith("masquerade")] == ["masquerade:non-pod"]
    (masqueraded,) = [outcome.source_seen for outcome in said.outcomes]
    (plain,) = [outcome.source_seen for outcome in ask(cluster, INSIDE, "192.0.2.7:80", "masquerade:none").outcomes]
    assert masqueraded is not None and plain is not None
    assert (str(masqueraded[0]), str(plain[0])) == ("192.168.0.11", "10.1.1.2")
    among = ask(cluster, INSIDE, "10.1.2.2:8080")
    assert [(a.code, a.changes) for a in among.assumptions if a.code.startswith("masquerade")] == [("masquerade:non-pod", False)]


@pytest.mark.parametrize("kept", [*_RULES])
def test_a_node_of_which_anything_of_the_rules_is_there_is_left_as_it_was_recorded(kept: str) -> None:
    """A dump that is there in part is unknown in what it lacks; nothing is put beside it."""
    cluster = cluster_of(shop(), without=lambda path: no_rules(path) and not path.endswith(f"/{kept}"))
    answer = ask(cluster, INSIDE, WEB)
    assert not any(step.made_as for step in steps_of(answer))
    if kept == "ip6tables-save.txt":
        assert {outcome.disposition for outcome in answer.outcomes} == {Disposition.UNKNOWN}


def agent(made: MadeCluster) -> None:
    made.pod("agent", 1, host_network=True).labels["k8s-app"] = "cilium"


@pytest.mark.parametrize(
    ("left", "why"),
    [
        (("services.json",), "kube-proxy's rules follow from Services, and the snapshot has none"),
        (
            ("endpointslices.json", "pods.json"),
            "kube-proxy's rules follow from EndpointSlices, and the snapshot has neither these nor pods",
        ),
    ],
)
def test_without_what_rules_follow_from_nothing_is_modelled(left: tuple[str, ...], why: str) -> None:
    cluster = cluster_of(shop(), without=lambda path: no_rules(path) or path in left)
    answer = ask(cluster, "node:n1", WEB)
    assert {u.code for u in answer.unknowns} == {"NO_RULES"}
    assert any(u.text.endswith(why) for u in answer.unknowns)


def test_an_agent_that_may_serve_services_itself_is_not_taken_for_kube_proxy() -> None:
    made = shop()
    agent(made)
    snapshot = cluster_of(made, without=no_rules).snapshot
    found = programmed(snapshot, "n1", {})
    assert found is not None and not found.texts
    assert found.why_not == "pod default/agent may serve Services there itself, and no kube-proxy is seen to run"
    other = programmed(snapshot, "n2", {})
    assert other is not None and other.texts


@pytest.mark.parametrize(("mode", "why"), [("userspace", "userspace mode is not modelled yet")])
def test_a_mode_that_is_not_modelled_says_so(mode: str, why: str) -> None:
    made = shop()
    for node in made.nodes:
        node.texts["kube-proxy-mode.txt"] = f"{mode}\n"
    answer = ask(cluster_of(made, without=no_rules), OUTSIDE, NODE_PORT)
    assert any(u.text.endswith(why) or u.code == "NO_RULES" for u in answer.unknowns)
    assert {outcome.disposition for outcome in answer.outcomes} == {Disposition.UNKNOWN}


def test_in_ipvs_mode_virtual_servers_are_modelled() -> None:
    silent = ("configmaps.json", "kube-proxy-mode.txt")
    cluster = cluster_of(shop(), without=lambda path: no_rules(path) or path.endswith(silent))
    answer = ask(cluster, OUTSIDE, NODE_PORT, "mode:ipvs")
    assert {outcome.disposition for outcome in answer.outcomes} == {Disposition.DELIVERED}
    picked = [step for step in steps_of(answer) if step.table == "ipvs" and step.rule]
    assert {(step.made_as, step.file) for step in picked} == {("kube-proxy 1.36 ipvs", "modelled/n1/ipvsadm-save.txt")}
    told = [step.to_dict() for step in picked]
    assert all(step["origin"] == "modelled" and step["line"] is None and isinstance(step["position"], int) for step in told)


@pytest.mark.parametrize(("source", "to"), QUESTIONS)
def test_in_nftables_mode_the_answer_is_what_it_is_in_iptables_mode(source: str, to: str) -> None:
    """Of a made cluster whose questions end alike in both: the modelled listing is read as a recorded one is."""
    silent = ("configmaps.json", "kube-proxy-mode.txt")
    cluster = cluster_of(shop(), without=lambda path: no_rules(path) or path.endswith(silent))
    iptables, nftables = (ask(cluster, source, to, f"mode:{mode}") for mode in ("iptables", "nftables"))
    assert {step.made_as for step in steps_of(nftables) if "kube-proxy" in step.made_as} == {"kube-proxy 1.36 nftables"}
    assert {end[1:5] for end in ends(nftables)} == {end[1:5] for end in ends(iptables)}
    rules = [step.to_dict() for step in steps_of(nftables) if step.rule and "kube-proxy" in step.made_as]
    assert {(rule["origin"], rule["line"]) for rule in rules} == {("modelled", None)}
    assert all(isinstance(rule["position"], int) for rule in rules)


def test_the_answers_of_two_settings_are_kept_apart() -> None:
    cluster = cluster_of(shop(), without=no_rules)
    first, second = (ask(cluster, OUTSIDE, NODE_PORT, word) for word in ("proxy:1.28", "proxy:1.36"))
    assert {s.made_as for s in steps_of(first) if s.made_as} != {s.made_as for s in steps_of(second) if s.made_as}
    assert replace(first, outcomes=()) != replace(second, outcomes=())


@pytest.mark.parametrize(
    ("to", "code"),
    [
        ("10.96.7.7:443", "DATA_MISSING"),
        ("192.168.0.12:31234", "DATA_MISSING"),
        ("192.168.0.12:8443", "DELIVERED"),
        ("192.0.2.9:443", "LEAVES_CLUSTER"),
        ("192.168.0.12:30080", "DELIVERED"),
    ],
)
def test_services_of_one_namespace_alone_do_not_tell_who_has_another_address(to: str, code: str) -> None:
    """Those of other namespaces were not listed: an address near the known ones, or a port of a node's, may be theirs."""
    cluster = cluster_of(shop(), without=no_rules)
    assert {o.reason.code for o in ask(cluster, INSIDE, to).outcomes if o.reason} == {code}
    made = shop()
    services = json.loads(made.files()["services.json"])
    services["items"].append({**services["items"][0], "metadata": {"namespace": "kube-system", "name": "dns"}})
    services["items"][-1]["spec"] = {
        **services["items"][0]["spec"],
        "clusterIP": "10.96.0.99",
        "clusterIPs": ["10.96.0.99"],
        "type": "ClusterIP",
    }
    made.extra["services.json"] = json.dumps(services).encode()
    whole = ask(cluster_of(made, without=no_rules), INSIDE, to)
    assert not any(u.code == "DATA_MISSING" and "another namespace" in u.text for u in whole.unknowns)


# -- endpoints and many Services --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("source", "to"), QUESTIONS)
def test_without_slices_the_endpoints_are_the_ready_pods_that_services_select(source: str, to: str) -> None:
    made = selecting(shop())
    with_slices = ask(cluster_of(made, without=no_rules), source, to)
    without = ask(cluster_of(made, without=lambda path: no_rules(path) or path == "endpointslices.json"), source, to)
    assert [end[:2] + end[3:5] for end in ends(without)] == [end[:2] + end[3:5] for end in ends(with_slices)]
    said = "assumed: endpoints are the ready pods that each Service selects: no EndpointSlices were recorded"
    assert all(said in hop.notes for o in without.outcomes for hop in o.hops if hop.kind.value == "node" and hop.steps)


def test_a_pod_that_is_not_ready_or_does_not_declare_the_port_is_no_endpoint() -> None:
    made = selecting(shop())
    pods = json.loads(made.files()["pods.json"])
    for item in pods["items"]:
        if item["metadata"]["name"] == "web-1":
            item["status"]["conditions"] = [{"type": "Ready", "status": "False"}]
    made.extra["pods.json"] = json.dumps(pods).encode()
    answer = ask(cluster_of(made, without=lambda path: no_rules(path) or path == "endpointslices.json"), INSIDE, WEB)
    assert {o.destination.name for o in answer.outcomes if o.destination is not None} == {"web-0", "web-2"}


def selecting(made: MadeCluster) -> MadeCluster:
    """Give each Service a selector of the pods that are its endpoints, and the pods the labels."""
    services, pods = (json.loads(made.files()[f"{kind}.json"]) for kind in ("services", "pods"))
    for item in services["items"]:
        item["spec"]["selector"] = {"app": item["metadata"]["name"]}
        for port in item["spec"]["ports"]:
            port["targetPort"] = 8080
    for item in pods["items"]:
        item["metadata"]["labels"] = {"app": item["metadata"]["name"].rpartition("-")[0]}
    for kind, held in (("services", services), ("pods", pods)):
        made.extra[f"{kind}.json"] = json.dumps(held).encode()
    return made


@pytest.mark.parametrize(("source", "to"), QUESTIONS)
def test_of_many_services_only_those_that_can_be_met_are_modelled(source: str, to: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ask(cluster_of(shop(), without=no_rules), source, to)
    monkeypatch.setattr("tracer.topology.cluster.PROGRAMMED", 0)
    cluster = cluster_of(shop(), without=no_rules)
    part = ask(cluster, source, to)
    assert ends(part) == ends(whole)
    assert {name for _, name in part.services} == {"none" if to == "10.96.0.11:80" else "web"}
    texts = [cluster.programmed_for(part.services).stack(f"n{n}").programmed for n in (1, 2)]
    other = "default/web" if to == "10.96.0.11:80" else "default/none"
    assert not any(other in text for made in texts if made is not None for text in made.texts.values())
    assert [f.code for o in part.outcomes for f in o.findings] == [f.code for o in whole.outcomes for f in o.findings]


def test_a_packet_that_comes_to_another_services_rules_is_asked_again_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Node n1, whose rules were recorded, sends what is dialled on to a Service of which n2's modelled rules knew nothing yet."""
    monkeypatch.setattr("tracer.topology.cluster.PROGRAMMED", 0)
    made = shop()
    made.node(1).rules.append(
        ("nat", "-A PREROUTING -d 192.168.0.11/32 -p tcp -m tcp --dport 7777 -j DNAT --to-destination 192.168.0.12:30080")
    )
    cluster = cluster_of(made, without=lambda path: no_rules(path) and "/n2/" in path)
    answer = ask(cluster, OUTSIDE, "192.168.0.11:7777")
    assert answer.services == {("default", "web")}
    assert {o.destination.name for o in answer.outcomes if o.destination is not None} == {"web-0", "web-1", "web-2"}


# -- what was not recorded is not denied, and what others do is not kube-proxy's ----------------------------------------------------------


def lists(made: MadeCluster, kind: str) -> list[dict[str, Any]]:
    return json.loads(made.files()[f"{kind}.json"])["items"]  # type: ignore[no-any-return]


def with_list(made: MadeCluster, kind: str, items: list[dict[str, Any]]) -> MadeCluster:
    head = {key: value for key, value in json.loads(made.files()[f"{kind}.json"]).items() if key != "items"}
    made.extra[f"{kind}.json"] = json.dumps({**head, "items": items}).encode()
    return made


def test_without_slices_a_service_without_a_selector_is_not_said_to_have_no_endpoint() -> None:
    made = selecting(shop())
    services = lists(made, "services")
    del services[0]["spec"]["selector"]
    cluster = cluster_of(with_list(made, "services", services), without=lambda path: no_rules(path) or path == "endpointslices.json")
    (outcome,) = ask(cluster, INSIDE, WEB).outcomes
    assert outcome.reason is not None and "it selects no pods" in outcome.reason.text
    assert outcome.disposition is Disposition.UNKNOWN


@pytest.mark.parametrize("left", ["endpointslices", "pods"])
def test_endpoints_of_a_namespace_that_was_not_listed_are_unknown(left: str) -> None:
    made = selecting(shop())
    services = lists(made, "services")
    services[0]["metadata"]["namespace"] = "elsewhere"
    made = with_list(made, "services", services)
    if left == "endpointslices":
        slices = [one for one in lists(made, "endpointslices") if one["metadata"]["labels"]["kubernetes.io/service-name"] != "web"]
        made = with_list(made, "endpointslices", slices)
    cluster = cluster_of(made, without=lambda path: no_rules(path) or (left == "pods" and path == "endpointslices.json"))
    (outcome,) = ask(cluster, INSIDE, WEB).outcomes
    assert outcome.reason is not None and "of namespace elsewhere" in outcome.reason.text
    assert outcome.disposition is Disposition.UNKNOWN


@pytest.mark.parametrize(
    ("host_ip", "to", "reached"),
    [
        ("0.0.0.0", "192.168.0.12:8088", True),
        ("::", "192.168.0.12:8088", False),
        ("::", "[fd00:192::c]:8088", True),
        ("192.168.0.12", "192.168.0.12:8088", True),
        ("192.168.0.12", "[fd00:192::c]:8088", False),
        ("192.168.0.99", "192.168.0.12:8088", False),
    ],
)
def test_a_host_port_is_published_at_its_host_ip_alone(host_ip: str, to: str, reached: bool) -> None:
    made = shop()
    pods = lists(made, "pods")
    (pod,) = [item for item in pods if item["metadata"]["name"] == "web-1"]
    pod["spec"]["containers"][0]["ports"] = [{"containerPort": 8080, "hostPort": 8088, "hostIP": host_ip, "protocol": "TCP"}]
    source = "external:2001:db8::9" if "[" in to else OUTSIDE
    (outcome,) = ask(cluster_of(with_list(made, "pods", pods), without=no_rules), source, to).outcomes
    assert outcome.destination is not None
    assert (outcome.destination.name == "web-1") is reached


@pytest.mark.parametrize("mark", ["kube-router", "replaced", "annotated", "exporter"])
def test_where_another_may_serve_services_kube_proxy_is_not_taken_to_run(mark: str) -> None:
    made = shop()
    if mark == "kube-router":
        made.pod("kube-router-x", 1, host_network=True).labels["k8s-app"] = "kube-router"
    elif mark == "exporter":
        agent(made)
        made.pod("kube-proxy-exporter-1", 1, host_network=True)
    elif mark == "replaced":
        config = {"metadata": {"namespace": "kube-system", "name": "cilium-config"}, "data": {"kube-proxy-replacement": "true"}}
        made.extra["configmaps.json"] = json.dumps(
            {"apiVersion": "v1", "kind": "ConfigMapList", "items": [{"kind": "ConfigMap", **config}]}
        ).encode()
    else:
        nodes = lists(made, "nodes")
        nodes[0]["metadata"]["annotations"] = {"network.cilium.io/ipv4-cilium-host": "10.1.1.9"}
        made = with_list(made, "nodes", nodes)
    found = programmed(cluster_of(made, without=no_rules).snapshot, "n1", {})
    assert found is not None and found.why_not and not found.texts


@pytest.mark.parametrize("much", ["addresses", "ports"])
def test_what_would_be_written_has_a_bound(much: str) -> None:
    made = shop()
    if much == "addresses":
        services = lists(made, "services")
        services[0]["spec"]["externalIPs"] = [f"203.0.{i // 250}.{i % 250}" for i in range(1_001)]
        made = with_list(made, "services", services)
    else:
        pods = lists(made, "pods")
        pods[1]["spec"]["containers"][0]["ports"] = [{"containerPort": i, "hostPort": i, "protocol": "TCP"} for i in range(1, 1_002)]
        made = with_list(made, "pods", pods)
    snapshot = cluster_of(made, without=no_rules).snapshot
    why = [found.why_not for node in ("n1", "n2") if (found := programmed(snapshot, node, {})) is not None]
    assert any("limit WRITTEN" in one for one in why)


def test_pods_networks_are_those_around_them_where_nothing_names_them() -> None:
    cluster = cluster_of(shop(), without=lambda path: no_rules(path) or path == "configmaps.json")
    answer = ask(cluster, INSIDE, "192.0.2.7:80")
    assert [a.code for a in answer.assumptions if a.code.startswith("masquerade")] == ["masquerade:non-pod"]
    (outcome,) = answer.outcomes
    assert outcome.source_seen is not None and str(outcome.source_seen[0]) == "192.168.0.11"


def test_a_word_that_nothing_rests_on_makes_no_other_cluster() -> None:
    recorded = cluster_of(shop())
    assert recorded.programmed_as(["masquerade:none", "mode:ipvs"]) is recorded
    bare = cluster_of(shop(), without=lambda path: no_rules(path) and "/n1/" in path)
    other = bare.programmed_as(["masquerade:none"])
    assert other is not bare
    assert other.stack("n2") is bare.stack("n2")


def test_a_followed_cluster_is_modelled_too_and_follows_what_changes() -> None:
    followed = FollowedCluster(kinds=FOLLOWED)
    files = {path: text for path, text in shop().files().items() if not no_rules(path)}
    followed.apply(tuple(changes_of(Snapshot.from_files(files))), now=1.0)
    assert {step.made_as for step in steps_of(ask(followed.cluster, OUTSIDE, NODE_PORT)) if "kube-proxy" in step.made_as} == {
        "kube-proxy 1.36 iptables"
    }
    change = FileChange(node="n1", name="kube-proxy-version.txt", before=None, after=b"Kubernetes v1.30.2\n")
    followed.apply([change], now=2.0)
    assert "kube-proxy 1.30 iptables" in {step.made_as for step in steps_of(ask(followed.cluster, OUTSIDE, NODE_PORT))}
    dump = shop().files()["nodes/n1/iptables-save.txt"]
    followed.apply([FileChange(node="n1", name="iptables-save.txt", before=None, after=dump)], now=3.0)
    assert not any(step.made_as for step in steps_of(ask(followed.cluster, OUTSIDE, NODE_PORT)) if step.file and "/n1/" in step.file)


def test_findings_draw_no_conclusion_from_rules_that_nobody_recorded() -> None:
    made = shop()
    deny = {"metadata": {"namespace": "default", "name": "deny"}, "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}}
    made.extra["networkpolicies.json"] = json.dumps(
        {"apiVersion": "v1", "kind": "NetworkPolicyList", "items": [{"kind": "NetworkPolicy", **deny}]}
    ).encode()
    silent = ("configmaps.json", "kube-proxy-mode.txt")
    answer = ask(cluster_of(made, without=lambda path: no_rules(path) or path.endswith(silent)), OUTSIDE, NODE_PORT, "mode:nftables")
    found = {f.code: f.text for outcome in answer.outcomes for f in outcome.findings}
    assert "INVALID_NOT_DROPPED" not in found
    assert "whether a rule on the path enforces it was not recorded" in found["POLICY_NOT_SEEN_IN_RULES"]


# -- the kernel -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.needs_shared
@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize(
    ("recording", "records", "without"),
    [
        ("shop-iptables", 1256, RULES),
        ("shop-iptables", 1256, NODES),
        ("shop-nftables", 1256, RULES),
        ("shop-nftables", 1256, NODES),
        ("shop-ipvs", 1256, RULES),
        ("shop-iptables-v1.20", 1244, NODES),
    ],
)
def test_every_connection_is_predicted_without_rules(recording: str, records: int, without: str) -> None:
    """With all that was read on nodes left away, too: the addresses that a node shows to its pods are then an assumption."""
    assert verdict(recording, "check", f"{recording}.connections.json.gz", nth=25, without=without) == all_of(records, nth=25)


# -- what others do on the node ---------------------------------------------------------------------------------------------------------


def published() -> MadeCluster:
    made = shop()
    files = json.loads(made.files()["pods.json"])
    (pod,) = [item for item in files["items"] if item["metadata"]["name"] == "web-1"]
    pod["spec"]["containers"][0]["ports"] = [{"containerPort": 8080, "hostPort": 8088, "protocol": "TCP"}]
    made.extra["pods.json"] = json.dumps(files).encode()
    return made


@pytest.mark.parametrize(("source", "seen"), [(OUTSIDE, "203.0.113.9"), ("pod:default/web-1", "10.1.2.1"), ("node:n2", "192.168.0.12")])
def test_a_pods_host_port_is_published_as_portmap_does_it(source: str, seen: str) -> None:
    answer = ask(cluster_of(published(), without=no_rules), source, "192.168.0.12:8088")
    (outcome,) = answer.outcomes
    assert outcome.destination is not None and outcome.destination.name == "web-1"
    assert outcome.source_seen is not None and str(outcome.source_seen[0]) == seen
    dnat = next(step for step in steps_of(answer) if step.verdict == "dnat")
    assert dnat.made_as == "CNI portmap"


def test_a_rule_says_whose_it_is_taken_to_be() -> None:
    made = shop()
    for node in made.nodes:
        node.pod_cidrs = (f"10.1.{node.number}.0/24",)
    answer = ask(cluster_of(made, without=no_rules), INSIDE, "192.0.2.7:80")
    makers = {step.rule.split(" -j ")[-1]: step.made_as for step in steps_of(answer) if step.rule and step.chain == "POSTROUTING"}
    assert makers["PLUGIN-MASQUERADE"] == "network plugin (assumed)"
    assert {made_as for target, made_as in makers.items() if target.startswith("KUBE-")} == {"kube-proxy 1.36 iptables"}


def test_whether_ipvs_answers_for_an_external_ip_is_unknown_where_the_nodes_subnets_were_not_recorded() -> None:
    """kube-ipvs0 holds it; a node answers ARP for it only on the link whose subnet it is of."""
    made = shop()
    services = json.loads(made.files()["services.json"])
    services["items"][0]["spec"]["externalIPs"] = ["192.168.77.7"]
    made.extra["services.json"] = json.dumps(services).encode()
    for node in made.nodes:
        node.texts["kube-proxy-mode.txt"] = "ipvs\n"
    recorded = ("ip-addr.json", "ip-link.json", "ip-route.json", "ip6-route.json")
    answer = ask(cluster_of(made, without=lambda path: no_rules(path) or path.endswith(recorded)), OUTSIDE, "192.168.77.7:80")
    assert [(u.code, u.at.get("file")) for u in answer.unknowns] == [("DATA_MISSING", "ip-addr.json")]


# -- modes without a full model: who gets it ---------------------------------------------------------------------------------------------


def _questions(cluster: Cluster) -> list[tuple[str, str]]:
    """Every address of every Service from a pod and a node, and what is reached from outside."""
    client = next(pod for pod in cluster.objects.pods if pod.name.startswith("client-"))
    found = []
    for service in cluster.objects.services:
        named = [f"svc:{service.namespace}/{service.name}:{port.port}" for port in service.ports if service.cluster_ips]
        outside = [f"{ingress.ip}:{port.port}" for ingress in service.load_balancer_ingress for port in service.ports]
        outside += [f"172.18.0.3:{port.node_port}" for port in service.ports if port.node_port]
        found += [(source, to) for source in (f"pod:{client.namespace}/{client.name}", "node:shop-worker") for to in (*named, *outside)]
        found += [("external:203.0.113.9", to) for to in outside]
    return found


def _got_by(answer: Trace) -> list[tuple[str, ...]]:
    return sorted(
        (str(o.probability), o.disposition.value, str(o.destination and o.destination.ip), str(o.source_seen and o.source_seen[0]))
        for o in answer.outcomes
    )


@pytest.mark.parametrize("left", ["rules", "nodes"])
def test_userspace_mode_is_modelled_as_far_as_who_gets_it(left: str) -> None:
    folder = PROJECT / "demo/shop-userspace-v1.20"
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    told = ("kube-proxy-mode.txt", "kube-proxy-version.txt")
    away = {p for p in files if p.startswith("nodes/") and (p.endswith((*_RULES, "ss.txt")) if left == "rules" else not p.endswith(told))}
    recorded = Cluster.from_snapshot(Snapshot.from_files(files))
    modelled = Cluster.from_snapshot(Snapshot.from_files({path: text for path, text in files.items() if path not in away}))
    asked = _questions(recorded)
    assert len(asked) > 80
    for source, to in asked:
        assert _got_by(ask(modelled, source, to)) == _got_by(ask(recorded, source, to)), (source, to)
    answer = ask(modelled, *asked[0])
    assert {step.made_as for step in steps_of(answer) if step.chain.startswith("KUBE-")} == {"kube-proxy 1.20 userspace"}
    assert any("draws them when it begins" in note for outcome in answer.outcomes for hop in outcome.hops for note in hop.notes)


def test_ports_that_kube_proxy_draws_are_nobodys_to_know() -> None:
    made = shop()
    for node in made.nodes:
        node.texts["kube-proxy-mode.txt"], node.texts["kube-proxy-version.txt"] = "userspace\n", "Kubernetes v1.20.2\n"
    answer = ask(cluster_of(made, without=no_rules), OUTSIDE, "192.168.0.11:40000")
    assert not any(hop.kind is StackKind.PROXY for outcome in answer.outcomes for hop in outcome.hops)


@pytest.mark.parametrize("release", [20, 23])
def test_userspace_mode_serves_one_family_and_no_sctp(release: int) -> None:
    made = shop()
    made.service("six", made.pods[1:3], version=6)
    for node in made.nodes:
        node.texts["kube-proxy-mode.txt"], node.texts["kube-proxy-version.txt"] = "userspace\n", f"Kubernetes v1.{release}.2\n"
    cluster = cluster_of(made, without=no_rules)
    six = ask(cluster, INSIDE, f"[{made.services[-1].cluster_ip}]:80")
    assert not any(outcome.disposition is Disposition.DELIVERED for outcome in six.outcomes)
    assert {outcome.disposition for outcome in ask(cluster, INSIDE, WEB).outcomes} == {Disposition.DELIVERED}
    ports = [ServicePort(name=p, port=80, target_port=80, protocol=Protocol(p)) for p in ("tcp", "udp", "sctp")]
    service = replace(cluster.objects.services[0], ports=tuple(ports))
    rules = userspace_rules(Objects.of([service], []), Configuration(node="n"), version=4)
    assert {line.split(" -p ")[1][:4].strip() for line in rules["nat"]["KUBE-PORTALS-CONTAINER"]} == {"tcp", "udp"}


def test_a_kube_proxy_that_has_no_userspace_mode_models_nothing() -> None:
    made = shop()
    for node in made.nodes:
        node.texts["kube-proxy-mode.txt"] = "userspace\n"
    answer = ask(cluster_of(made, without=no_rules), INSIDE, WEB)
    assert {outcome.disposition for outcome in answer.outcomes} == {Disposition.UNKNOWN}
    assert "has no mode userspace" in str(answer.outcomes[0].reason)


def windows(flags: str = "", *, without: tuple[str, ...] = ()) -> Cluster:
    """The shop whose first node runs Windows; nothing was recorded there."""
    made = shop()
    made.service("here", [made.pods[2]], type="LoadBalancer", node_port=30081, lb_ip="198.51.100.8", local=True)
    files = {path: text for path, text in made.files().items() if not path.startswith("nodes/n1/")}
    nodes = json.loads(files["nodes.json"])
    nodes["items"][0]["status"]["nodeInfo"] = {"operatingSystem": "windows"}
    files["nodes.json"] = json.dumps(nodes).encode()
    if flags:
        files["configmaps.json"] = files["configmaps.json"].replace(b"mode: iptables", f"mode: kernelspace\\n{flags}".encode())
    return Cluster.from_snapshot(Snapshot.from_files({path: text for path, text in files.items() if path not in without}))


def test_windows_without_slices_has_the_ready_pods() -> None:
    made = windows(without=("endpointslices.json",))
    answer = ask(made, INSIDE, WEB)
    hops = [hop for outcome in answer.outcomes for hop in outcome.hops]
    assert any("the ready pods that each Service selects" in note for hop in hops for note in hop.notes)
    assert any("nothing says its version" in note for hop in hops for note in hop.notes)


def test_windows_load_balancers_are_modelled_as_far_as_who_gets_it() -> None:
    for source, to in ((INSIDE, WEB), (OUTSIDE, NODE_PORT)):
        answer = ask(windows(), source, to)
        assert [(o.disposition, o.destination and str(o.destination.ip)) for o in answer.outcomes] == [
            (Disposition.UNKNOWN, "10.1.1.3"),
            (Disposition.UNKNOWN, "10.1.1.4"),
            (Disposition.UNKNOWN, "10.1.2.2"),
        ]
        assert all(outcome.conditions for outcome in answer.outcomes), "which of them is taken no list tells"
        (made_as,) = {step.made_as for step in steps_of(answer)}
        assert made_as == "kube-proxy 1.36 kernelspace (likely)"
        assert answer.to_dict(with_steps=True)["outcomes"][0]["hops"][-1]["origin"] == "modelled"


def test_windows_keeps_what_comes_from_outside_on_the_node_where_the_policy_says_so() -> None:
    (outcome,) = ask(windows(), OUTSIDE, "192.168.0.11:30081").outcomes
    assert (outcome.disposition, outcome.destination) == (Disposition.UNKNOWN, None)
    assert "none is for 192.168.0.11 port 30081" in str(outcome.reason)
    (inside,) = ask(windows(), INSIDE, "10.96.0.12:80").outcomes
    assert inside.destination is not None and str(inside.destination.ip) == "10.1.2.2"


def test_windows_answers_directly_where_it_is_told_so() -> None:
    assert "(DSR)" not in str(ask(windows(), INSIDE, WEB).outcomes[0].reason)
    assert "(DSR)" in str(ask(windows("winkernel:\\n  enableDSR: true"), INSIDE, WEB).outcomes[0].reason)

"""What is suggested was asked before: whatever answers no better than the question did is not suggested."""

from __future__ import annotations

import pytest

from tests.made_findings import CLIENT, Spoiled, published, shop, the, unlisted
from tracer.errors import QueryError
from tracer.explain.findings import asked_again
from tracer.explain.findings.case import Case
from tracer.limits import SUGGESTIONS
from tracer.query import Query, parse_destination, parse_source
from tracer.simulate import trace

INSIDE = "pod:default/client-1"
IP, LB = "10.96.0.10:80", "198.51.100.10:80"
RULES = "nodes/n1/iptables-save.txt"
CLOSED = ("raw", "-A PREROUTING -d 10.96.0.10/32 -j DROP")


def case_of(made: Spoiled, source: str, to: str) -> Case:
    cluster = made.cluster()
    return Case(cluster, trace(cluster, Query(source=parse_source(source), destination=parse_destination(to))))


# --- asking ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("to", "host", "port", "better"),
    [
        ("10.96.0.10:81", "10.96.0.10", 80, True),
        ("10.96.0.10:81", "10.96.0.10", 82, False),
        ("10.96.0.10:81", "nothere", 80, False),
        ("10.96.0.10:81", "pod", None, False),
        (IP, "10.96.0.10", 80, False),
        (IP, "10.1.2.2", 8080, False),
    ],
)
def test_better_is_what_answers_more_often(to: str, host: str, port: int | None, better: bool) -> None:
    assert asked_again.is_better(case_of(shop(), INSIDE, to), host, port) is better


def test_no_answer_at_all_is_no_better_and_not_hopeless() -> None:
    made = shop()
    made.removed |= {f"nodes/{n}/{f}" for n in ("n1", "n2") for f in ("iptables-save.txt",)}  # in part: nothing stands in for it
    case = case_of(made, INSIDE, "10.96.0.10:81")
    assert not asked_again.is_better(case, "10.96.0.10", 80)
    assert not asked_again.is_hopeless(case, "10.96.0.10", 80)
    assert asked_again.is_hopeless(case_of(shop(), INSIDE, IP), "10.96.0.10", 82)


def test_only_so_many_are_asked_and_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    case, asked = case_of(shop(), INSIDE, "10.96.0.10:81"), []
    monkeypatch.setattr(asked_again, "trace", lambda cluster, query, patience: asked.append(query.destination.port) or case.trace)
    for port in [*range(1000, 1000 + 2 * SUGGESTIONS), *range(1000, 1005)]:
        assert not asked_again.is_better(case, "10.96.0.10", port)
    assert asked == [*range(1000, 1000 + SUGGESTIONS)]


def test_what_takes_too_much_work_is_not_suggested(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asked_again, "AGAIN", 10)
    assert not asked_again.is_better(case_of(shop(), INSIDE, "10.96.0.10:81"), "10.96.0.10", 80)


# --- addresses and ports -------------------------------------------------------------------------------------------------------------


def test_a_port_is_suggested_that_answers() -> None:
    assert "Dial port 80, or add" in the(shop().diagnosed(INSIDE, "10.96.0.10:81"), "NO_RULE_FOR_VIP").fix
    made = unlisted(shop())
    assert "Dial" not in the(made.diagnosed(INSIDE, "10.96.0.10:81"), "NO_RULE_FOR_VIP").fix


@pytest.mark.parametrize("closed", [False, True])
def test_the_cluster_ip_is_suggested_where_it_answers(closed: bool) -> None:
    made = published()
    made.edit("services.json", "web", lambda item: item["spec"].update(loadBalancerSourceRanges=["203.0.113.128/25"]))
    made.node(1).rules += [
        ("filter", ":KUBE-PROXY-FIREWALL"),
        ("filter", "-A FORWARD -m conntrack --ctstate NEW -j KUBE-PROXY-FIREWALL"),
        ("filter", "-A KUBE-PROXY-FIREWALL -d 198.51.100.10/32 -p tcp -m tcp --dport 80 -j DROP"),
    ]
    made.change(RULES, "-A KUBE-SERVICES -d 198.51.100.10/32", "-A KUBE-SERVICES -s 203.0.113.128/25 -d 198.51.100.10/32")
    made.node(1).rules += [CLOSED] if closed else []
    fix = the(made.diagnosed(INSIDE, LB), "LB_SOURCE_RANGE_DENIED").fix
    assert ("dial its cluster IP 10.96.0.10:80" in fix) is not closed
    assert ("dial" in fix) is not closed


@pytest.mark.parametrize("closed", [False, True])
def test_a_node_port_on_loopback_names_an_address_that_answers(closed: bool) -> None:
    made = published()
    made.change(RULES, "--dport 30080", "! -d 127.0.0.0/8 --dport 30080")
    if closed:
        made.node(1).rules += [
            ("raw", "-A OUTPUT -p tcp -m tcp --dport 30080 ! -d 127.0.0.1/32 -j DROP"),
            ("raw", "-A OUTPUT -d 10.96.0.10/32 -j DROP"),
        ]
    fix = the(made.diagnosed("node:n1", "127.0.0.1:30080"), "NODE_PORT_NOT_ON_LOOPBACK").fix
    assert fix == "Dial 192.168.0.11:30080." if not closed else "Dial" not in fix


@pytest.mark.parametrize("closed", [False, True])
def test_nodes_with_an_endpoint_are_suggested_that_answer(closed: bool) -> None:
    made = published(local=True, pods=(2,))
    if closed:
        made.node(2).rules.append(("raw", "-A PREROUTING -p tcp -m tcp --dport 30080 -j DROP"))
    fix = the(made.diagnosed(CLIENT, "192.168.0.11:30080"), "ETP_LOCAL_NO_LOCAL_ENDPOINT").fix
    assert fix.startswith("Run an endpoint on every node" if closed else "Send clients to n2 only, run an endpoint on every node")


@pytest.mark.parametrize("closed", [False, True])
def test_the_ways_in_from_outside_are_tried(closed: bool) -> None:
    made = published()
    made.services[0].lb_ip = None
    if closed:
        for number in (1, 2):
            made.node(number).rules.append(("raw", "-A PREROUTING -p tcp -m tcp --dport 30080 -j DROP"))
    said = the(made.diagnosed(CLIENT, IP), "NOT_OWNED").text
    assert ("(192.168.0.11:30080 answers)" in said) is not closed
    assert ("does not answer this client either" in said) is closed


# --- names of ports and labels -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("protocol", "suggested"), [("TCP", True), ("UDP", False)])
def test_a_ports_name_is_suggested_that_fits(protocol: str, suggested: bool) -> None:
    made = shop()
    made.services[0].endpoints = []
    for name in ("web-1", "web-2"):
        port = {"name": "http", "containerPort": 8080, "protocol": protocol}
        made.edit("pods.json", name, lambda item, port=port: item["spec"]["containers"][0].update(ports=[port]))
    made.edit("services.json", "web", lambda item: item["spec"]["ports"][0].update(targetPort="htpp"))
    listed = {
        "addresses": ["10.1.1.2"],
        "conditions": {"ready": True},
        "targetRef": {"kind": "Pod", "namespace": "default", "name": "web-1"},
    }
    made.added["endpointslices.json"] = [made.services[0].slice_json() | {"endpoints": [listed], "ports": []}]
    fix = the(made.diagnosed(INSIDE, IP), "PORT_NAME_MISMATCH").fix
    assert ("(perhaps 'http')" in fix) is suggested


@pytest.mark.parametrize(("other", "suggested"), [("web", True), ("nobody", False)])
def test_a_label_is_suggested_with_which_the_whole_selector_matches(other: str, suggested: bool) -> None:
    made = unlisted(shop())
    made.edit("services.json", "web", lambda item: item["spec"].update(selector={"app": "wbe", "part": other}))
    for name in ("web-1", "web-2"):
        made.edit("pods.json", name, lambda item: item["metadata"].update(labels={"app": "web", "part": "web"}))
    text = the(made.diagnosed(INSIDE, IP), "NO_READY_ENDPOINTS").text
    assert ("app=web would match 2" in text) is suggested


# --- names in what is refused --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("to", "near"), [("svc:default/wep:80", ("default/web",)), ("svc:default/wep", ("default/web",)), ("svc:default/wep:81", ())]
)
def test_services_are_near_that_have_an_address_and_the_port(to: str, near: tuple[str, ...]) -> None:
    made = shop()
    headless = {"clusterIP": "None", "clusterIPs": ["None"], "ports": [{"port": 80}]}
    made.added["services.json"] = [{"kind": "Service", "metadata": {"namespace": "default", "name": "wepp"}, "spec": headless}]
    with pytest.raises(QueryError) as refused:
        made.diagnosed(INSIDE, to)
    assert tuple(refused.value.near) == near


def test_pods_are_near_that_have_an_address() -> None:
    made = shop()
    waiting = {"metadata": {"namespace": "default", "name": "client-3"}, "spec": {"nodeName": "n1"}, "status": {"phase": "Pending"}}
    made.added["pods.json"] = [{"kind": "Pod"} | waiting]
    with pytest.raises(QueryError) as refused:
        made.diagnosed("pod:default/client-33", IP)
    assert "default/client-1" in refused.value.near
    assert "default/client-3" not in refused.value.near

"""Endpoints that are not there, not here, or not on that port."""

from __future__ import annotations

import pytest

from tests.made_findings import CLIENT, codes, endpoints, published, shop, the, unlisted
from tracer.trace import Disposition

IP = "10.96.0.10:80"


def test_a_healthy_cluster_has_no_findings():
    made = shop()
    for source in ("pod:default/client-1", "node:n1"):
        assert codes(made.diagnosed(source, IP)) == set()
    local = published(local=True)
    for to in ("198.51.100.10:80", "192.168.0.11:30080"):
        traced = local.diagnosed(CLIENT, to)
        assert {o.disposition for o in traced.outcomes} == {Disposition.DELIVERED}
        assert codes(traced) == set()


# -- NO_READY_ENDPOINTS ---------------------------------------------------------------------------------------------------------------


def test_pods_that_are_not_ready_are_named():
    made = shop()
    listed = endpoints(made.pods[:2], ready=False, serving=False, terminating=False)
    unlisted(made, endpoints=listed)
    for pod in ("web-1", "web-2"):
        made.edit("pods.json", pod, lambda item: item["status"].update(conditions=[{"type": "Ready", "status": "False"}]))
    found = the(made.diagnosed("pod:default/client-1", IP), "NO_READY_ENDPOINTS")
    assert found.severity == "fault"
    for said in (
        "Service default/web",
        "pod web-1 on n1 is running but not Ready",
        "pod web-2 on n2",
        "node n1",
        "nodes/n1/iptables-save.txt:",
    ):
        assert said in found.text
    assert "readiness probe" in found.fix
    assert "REJECT" in found.evidence[0]


def test_ready_pods_whose_slice_says_otherwise():
    """Nothing is wrong with their probes then."""
    made = shop()
    unlisted(made, endpoints=endpoints(made.pods[:2], ready=False, serving=False, terminating=False))
    for pod in ("web-1", "web-2"):
        made.edit("pods.json", pod, lambda item: item["status"].update(phase="Running", conditions=[{"type": "Ready", "status": "True"}]))
    found = the(made.diagnosed("pod:default/client-1", IP), "NO_READY_ENDPOINTS")
    assert "pod web-1 on n1 is ready" in found.text
    assert "their EndpointSlice says that they are not" in found.text
    assert "who keeps the EndpointSlice" in found.fix and "probe" not in found.fix


def test_a_selector_with_a_typo():
    made = unlisted(shop())
    made.edit("services.json", "web", lambda item: item["spec"].update(selector={"app": "webb"}))
    found = the(made.diagnosed("pod:default/client-1", IP), "NO_READY_ENDPOINTS")
    assert "app=webb of Service default/web matches no pod of namespace default; app=web would match 2" in found.text


def test_selected_pods_that_are_not_listed():
    assert "app=web selects 2 pods" in the(unlisted(shop()).diagnosed("pod:default/client-1", IP), "NO_READY_ENDPOINTS").text


def test_without_a_selector():
    made = unlisted(shop())
    made.edit("services.json", "web", lambda item: item["spec"].pop("selector"))
    assert "has no selector" in the(made.diagnosed("pod:default/client-1", IP), "NO_READY_ENDPOINTS").text


def test_without_slices_nothing_is_concluded_and_that_is_said():
    made = unlisted(shop())
    made.removed.add("endpointslices.json")
    traced = made.diagnosed("pod:default/client-1", IP)
    assert "NO_READY_ENDPOINTS" not in codes(traced)
    assert "endpointslices.json" in the(traced, "DATA_MISSING").text


# -- PORT_NAME_MISMATCH ---------------------------------------------------------------------------------------------------------------


def misnamed(target, declared="http"):
    made = shop()
    unlisted(made, endpoints=endpoints(made.pods[:2], ready=True), ports=[])
    made.edit("services.json", "web", lambda item: item["spec"]["ports"][0].update(targetPort=target))
    for pod in ("web-1", "web-2"):
        made.edit("pods.json", pod, lambda item: item["spec"]["containers"][0]["ports"][0].update(name=declared))
    return made


def test_a_target_port_name_that_no_container_declares():
    traced = misnamed("htpp").diagnosed("pod:default/client-1", IP)
    found = the(traced, "PORT_NAME_MISMATCH")
    assert "'htpp', which none of its 2 ready pods has (their containers declare http 8080/tcp)" in found.text
    assert "Service default/web" in found.text
    assert "perhaps 'http'" in found.fix
    assert "NO_READY_ENDPOINTS" not in codes(traced)


def test_a_declared_name_is_no_mismatch():
    assert "PORT_NAME_MISMATCH" not in codes(misnamed("http").diagnosed("pod:default/client-1", IP))


# -- TARGET_PORT_UNPROVEN -------------------------------------------------------------------------------------------------------------


def test_a_port_that_the_pod_does_not_declare():
    made = shop()
    for pod in ("web-1", "web-2"):
        made.edit("pods.json", pod, lambda item: item["spec"]["containers"][0]["ports"][0].update(containerPort=9090, name="http"))
    traced = made.diagnosed("pod:default/client-1", IP)
    found = next(f for o in traced.outcomes for f in o.findings if f.code == "TARGET_PORT_UNPROVEN")
    assert found.severity == "warning"
    for said in ("8080/tcp by Service default/web, whose targetPort is 8080", "declare 9090/tcp (http)", "nodes/n1/iptables-save.txt:"):
        assert said in found.text
    assert found.hop == 1


def test_a_pod_that_declares_nothing_is_only_a_notice():
    made = shop()
    made.edit("pods.json", "web-1", lambda item: item["spec"]["containers"][0].pop("ports"))
    found = the(made.diagnosed("pod:default/client-1", "10.1.1.2:8080"), "TARGET_PORT_UNPROVEN")
    assert found.severity == "notice"
    assert "declare no port at all" in found.text


# -- Local policies -------------------------------------------------------------------------------------------------------------------


def test_external_local_without_a_local_endpoint():
    made = published(local=True, pods=(2,))
    made.edit("services.json", "web", lambda item: item["spec"].update(healthCheckNodePort=31999))
    found = the(made.diagnosed(CLIENT, "192.168.0.11:30080"), "ETP_LOCAL_NO_LOCAL_ENDPOINT")
    for said in ("node n1", "Service default/web", "nodes/n1/iptables-save.txt:", "These nodes answer: n2; these do not: n1", "port 31999"):
        assert said in found.text
    assert "n2 only" in found.fix


@pytest.mark.parametrize("to", ["192.168.0.12:30080", "198.51.100.10:80"])
def test_external_local_with_one_is_fine(to):
    assert codes(published(local=True, pods=(2,)).diagnosed(CLIENT, to)) == set()


def test_a_drop_that_is_not_the_services_is_not_its_policy():
    made = published(local=True, pods=(2,))
    made.node(1).rules.append(("filter", "-A INPUT -s 203.0.113.0/24 -j DROP"))
    assert "ETP_LOCAL_NO_LOCAL_ENDPOINT" not in codes(made.diagnosed(CLIENT, "192.168.0.11:30080"))


def internal_local(node_with_pod=2):
    made = shop()
    made.services[0].endpoints = [e for e in made.services[0].endpoints if e[1].number == node_with_pod]
    made.edit("services.json", "web", lambda item: item["spec"].update(internalTrafficPolicy="Local"))
    if node_with_pod == 2:
        rule = (
            '-A KUBE-SERVICES -d 10.96.0.10/32 -p tcp -m comment --comment "default/web:p has no local endpoints" -m tcp --dport 80 -j DROP'
        )
        made.node(1).rules.append(("filter", rule))
        taken = '-d {}/32 -p tcp -m comment --comment "default/web:p cluster IP"'
        made.change("nodes/n1/iptables-save.txt", taken.format("10.96.0.10"), taken.format("10.96.99.99"))
    return made


@pytest.mark.parametrize("source", ["pod:default/client-1", "node:n1"])
def test_internal_local_without_a_local_endpoint(source):
    found = the(internal_local().diagnosed(source, IP), "ITP_LOCAL_NO_LOCAL_ENDPOINT")
    for said in (
        "internalTrafficPolicy Local",
        "node n1 runs no ready endpoint",
        "ready ones are on n2",
        "times out",
        "iptables-save.txt:",
    ):
        assert said in found.text


def test_internal_local_with_one_is_fine():
    assert codes(internal_local(1).diagnosed("pod:default/client-1", IP)) == set()

"""The server as a whole: plugins in their order, rewrites, hosts, forwards, the cache's TTLs, autopath."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tracer.dns.conformance import cases
from tests.tracer.dns.made_dns import asked, endpoints, made, pod, service
from tracer.dns.autopath import autopath, first_in_search_path
from tracer.dns.message import Answer, Question, Rcode, Record
from tracer.query import parse_address

KUBERNETES = "kubernetes cluster.local {\n pods verified\n ttl 30\n}"


def block(*plugins: str) -> str:
    return ".:53 {\n" + "\n".join(plugins) + "\n}\n"


@pytest.mark.parametrize(
    ("plugins", "name", "rdtype", "want"),
    [
        ((KUBERNETES,), "web.shop.svc.cluster.local.", "A", "web.shop.svc.cluster.local. 30 IN A 10.96.0.7"),
        (("rewrite name exact old.example web.shop.svc.cluster.local", KUBERNETES), "old.example.", "A", "old.example. 30 IN A 10.96.0.7"),
        (
            ("rewrite name suffix .acme.example .svc.cluster.local answer auto", KUBERNETES),
            "web.shop.acme.example.",
            "A",
            "web.shop.acme.example. 30 IN A 10.96.0.7",
        ),
        (
            ("rewrite name suffix .acme.example .svc.cluster.local", KUBERNETES),
            "web.shop.acme.example.",
            "A",
            "web.shop.svc.cluster.local. 30 IN A 10.96.0.7",
        ),
        (
            (
                "rewrite stop {\n name suffix .acme.example .svc.cluster.local\n answer name (.*)\\.svc\\.cluster\\.local {1}.acme.example\n}",
                KUBERNETES,
            ),
            "web.shop.acme.example.",
            "A",
            "web.shop.acme.example. 30 IN A 10.96.0.7",
        ),
        (("rewrite type AAAA A", KUBERNETES), "web.shop.svc.cluster.local.", "AAAA", "web.shop.svc.cluster.local. 30 IN A 10.96.0.7"),
        (
            ("hosts {\n 192.0.2.7 printer.example printer\n fallthrough\n}", KUBERNETES),
            "printer.example.",
            "A",
            "printer.example. 3600 IN A 192.0.2.7",
        ),
        (
            ("hosts {\n 192.0.2.7 printer.example\n ttl 60\n}",),
            "7.2.0.192.in-addr.arpa.",
            "PTR",
            "7.2.0.192.in-addr.arpa. 60 IN PTR printer.example.",
        ),
        (("cache 10", KUBERNETES), "web.shop.svc.cluster.local.", "A", "web.shop.svc.cluster.local. 10 IN A 10.96.0.7"),
        ((KUBERNETES,), "dns-version.cluster.local.", "TXT", 'dns-version.cluster.local. 28800 IN TXT "1.1.0"'),
    ],
)
def test_the_first_record_of_an_answer(plugins: tuple[str, ...], name: str, rdtype: str, want: str) -> None:
    answer = asked(made(core=block(*plugins)), name, rdtype)
    assert [r.to_text() for r in answer.answer] == [want]


@pytest.mark.parametrize(
    ("plugins", "name", "rcode", "plugin"),
    [
        ((KUBERNETES,), "example.com.", Rcode.SERVFAIL, ""),
        ((KUBERNETES, "forward . 192.0.2.53"), "example.com.", Rcode.UNKNOWN, "forward"),
        ((KUBERNETES, "forward corp.example 192.0.2.53"), "a.corp.example.", Rcode.UNKNOWN, "forward"),
        ((KUBERNETES, "forward corp.example 192.0.2.53"), "a.other.example.", Rcode.SERVFAIL, ""),
        ((KUBERNETES, "forward . 192.0.2.53 {\n except a.example\n}"), "x.a.example.", Rcode.SERVFAIL, ""),
        (("forward . 192.0.2.53", KUBERNETES), "web.shop.svc.cluster.local.", Rcode.NOERROR, "kubernetes"),
        (("template IN A example.com {\n answer x\n}", KUBERNETES), "a.example.com.", Rcode.UNKNOWN, "template"),
        (("template IN AAAA example.com {\n answer x\n}", KUBERNETES), "a.example.com.", Rcode.SERVFAIL, ""),
        (("hosts {\n 192.0.2.7 printer.example\n}", KUBERNETES), "web.shop.svc.cluster.local.", Rcode.NXDOMAIN, "hosts"),
        (("hosts /etc/more.hosts {\n fallthrough\n}", KUBERNETES), "web.shop.svc.cluster.local.", Rcode.UNKNOWN, "hosts"),
        (("rewrite name regex (.*) {1}", KUBERNETES), "web.shop.svc.cluster.local.", Rcode.UNKNOWN, "rewrite"),
        (("home_grown", KUBERNETES), "web.shop.svc.cluster.local.", Rcode.UNKNOWN, "home_grown"),
        (("errors", "log", "ready", KUBERNETES), "nosuch.shop.svc.cluster.local.", Rcode.NXDOMAIN, "kubernetes"),
    ],
)
def test_what_answers_and_how(plugins: tuple[str, ...], name: str, rcode: Rcode, plugin: str) -> None:
    answer = asked(made(core=block(*plugins)), name)
    assert (answer.rcode, answer.plugin) == (rcode, plugin)


def test_a_name_of_no_server_block_is_refused() -> None:
    assert asked(made(core="cluster.local {\n kubernetes\n}\n"), "example.com.").rcode is Rcode.REFUSED


def test_an_external_name_that_an_upstream_resolves_says_so() -> None:
    answer = asked(made(service("shop", "db", None, type="ExternalName", externalName="db.example.com")), "db.shop.svc.cluster.local.")
    assert [r.rdata for r in answer.answer] == ["db.example.com."]
    assert (answer.rcode, answer.outside, answer.servers) == (Rcode.NOERROR, "db.example.com.", ("/etc/resolv.conf",))


def test_a_chain_of_external_names_and_a_loop() -> None:
    dns = made(
        service("shop", "a", None, type="ExternalName", externalName="b.shop.svc.cluster.local"),
        service("shop", "b", None, type="ExternalName", externalName="web.shop.svc.cluster.local"),
        service("shop", "x", None, type="ExternalName", externalName="y.shop.svc.cluster.local"),
        service("shop", "y", None, type="ExternalName", externalName="x.shop.svc.cluster.local"),
    )
    assert [r.rdata for r in asked(dns, "a.shop.svc.cluster.local.").answer] == [
        "b.shop.svc.cluster.local.",
        "web.shop.svc.cluster.local.",
        "10.96.0.7",
    ]
    assert asked(dns, "x.shop.svc.cluster.local.").is_nodata


def test_a_question_that_comes_back_to_itself_fails() -> None:
    dns = made(
        service("shop", "loop", None, type="ExternalName", externalName="loop.example"),
        core=block("rewrite name suffix .example .shop.svc.cluster.local", KUBERNETES),
    )
    assert asked(dns, "loop.shop.svc.cluster.local.").rcode is Rcode.NOERROR


@pytest.mark.parametrize(("ready", "rcode"), [(True, Rcode.NOERROR), (False, Rcode.NXDOMAIN)])
def test_a_headless_service_has_the_addresses_its_slices_call_ready(ready: bool, rcode: Rcode) -> None:
    """With publishNotReadyAddresses the control plane writes ready into the slice; the zone asks nothing else."""
    dns = made(service("shop", "db", "None"), endpoints("shop", "db", "10.244.0.9", ready=ready, hostname="db-0"))
    for name in ("db.shop.svc.cluster.local.", "db-0.db.shop.svc.cluster.local."):
        assert asked(dns, name).rcode is rcode


def test_pods_by_address() -> None:
    terminating = pod("shop", "leaving", "10.244.0.6")
    terminating["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    dns = made(terminating)
    assert asked(dns, "10-244-0-5.shop.pod.cluster.local.").rcode is Rcode.NOERROR
    assert asked(dns, "10-244-0-5.default.pod.cluster.local.").rcode is Rcode.NXDOMAIN
    assert asked(dns, "10-244-0-6.shop.pod.cluster.local.").rcode is Rcode.NXDOMAIN


def test_autopath_answers_the_first_question_with_the_result() -> None:
    dns = made(core=block("autopath @kubernetes", KUBERNETES, "forward . 192.0.2.53"))
    question = Question(name="web.shop.shop.svc.cluster.local.", rdtype="A")
    answer = dns.server.ask(question, parse_address("10.244.0.5"))
    assert [r.to_text() for r in answer.answer] == [
        "web.shop.shop.svc.cluster.local. 30 IN CNAME web.shop.svc.cluster.local.",
        "web.shop.svc.cluster.local. 30 IN A 10.96.0.7",
    ]
    assert dns.server.ask(question, parse_address("10.244.0.99")).rcode is Rcode.NXDOMAIN


def test_services_of_other_clusters_come_from_their_imports() -> None:
    core = block("kubernetes cluster.local clusterset.local {\n multicluster clusterset.local\n}")
    imported = {
        "apiVersion": "multicluster.x-k8s.io/v1alpha1",
        "kind": "ServiceImport",
        "metadata": {"namespace": "shop", "name": "far"},
        "spec": {"type": "ClusterSetIP", "ips": ["10.98.0.1"], "ports": [{"port": 80}]},
    }
    name = "far.shop.svc.clusterset.local."
    assert [r.rdata for r in asked(made(imported, core=core), name).answer] == ["10.98.0.1"]
    assert asked(made(imported, core=core), "near.shop.svc.clusterset.local.").rcode is Rcode.NXDOMAIN
    assert asked(made(core=core), name).rcode is Rcode.UNKNOWN


@pytest.mark.needs_shared
def test_autopath_as_coredns_has_it(shared: Path) -> None:
    for case in cases(shared, "autopath"):
        known = case["next_plugin"]["answers"]

        def following(question: Question, known: dict[str, str] = known) -> Answer:
            record = Record(name=question.name, ttl=3600, rdtype="A", rdata="127.0.0.53")
            rcode = Rcode(known.get(question.name, "SERVFAIL"))
            return Answer(rcode=rcode, answer=(record,) if rcode is Rcode.NOERROR else ())

        question = Question(name=case["query"]["qname"], rdtype=case["query"]["qtype"])
        answer = autopath(question, tuple(case["autopath_config"]["search"]), following)
        expected = case["expected"]
        assert answer.rcode == expected.get("rcode", expected.get("returned_rcode")), case["id"]
        want = [" ".join(r["text"].split()) for r in expected.get("answer", ())]
        assert [r.to_text() for r in answer.answer] == want, case["id"]


@pytest.mark.needs_shared
def test_what_is_in_a_search_path(shared: Path) -> None:
    found = cases(shared, "autopath_in_search")
    assert len(found) == 4
    for case in found:
        assert first_in_search_path(case["qname"], tuple(case["search"])) is case["expected"], case["id"]

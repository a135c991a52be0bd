"""Traces whose destination is a name: what is looked up, what is dialled, and the findings that a look-up proves."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tracer.errors import QueryError
from tracer.explain.findings import diagnose
from tracer.query import Query, parse_destination, parse_source, query_from_dict
from tracer.simulate import trace
from tracer.simulate.naming import dns_packet_query
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster
from tracer.trace import Disposition, Finding, Trace

pytestmark = pytest.mark.needs_shared
CLIENT = "pod:default/client-5b59cb7b48-4p52n"
CHECKOUT = "pod:production/checkout-67978b7b44-7vnkb"
FORWARDING = "    forward . /etc/resolv.conf\n    cache 30"
Change = Callable[[dict[str, bytes]], None]


@pytest.fixture(scope="module")
def files(shared: Path) -> dict[str, bytes]:
    folder = shared / "recordings" / "shop-iptables"
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def query(source: str, to: str, **more: Any) -> Query:
    return Query(source=parse_source(source), destination=parse_destination(to), **more)


def traced(files: dict[str, bytes], source: str, to: str, *changes: Change, **more: Any) -> Trace:
    changed = dict(files)
    for change in changes:
        change(changed)
    cluster = Cluster.from_snapshot(Snapshot.from_files(changed))
    return diagnose(cluster, trace(cluster, query(source, to, **more)))


def text(path: str, old: str, new: str) -> Change:
    def change(files: dict[str, bytes]) -> None:
        if old.encode() not in files[path]:
            raise AssertionError(f"{old!r} is not in {path}")
        files[path] = files[path].replace(old.encode(), new.encode())

    return change


def added(path: str, value: dict[str, Any]) -> Change:
    def change(files: dict[str, bytes]) -> None:
        found = json.loads(files[path])
        files[path] = json.dumps(found | {"items": [*found["items"], value]}).encode()

    return change


forwarding = text("configmaps.json", "cache 30", "forward . /etc/resolv.conf\\n    cache 30")


def blocked(files: dict[str, bytes]) -> None:
    """Drop UDP 53 in every node's FORWARD chain, before any other rule."""
    for path in files:
        if path.endswith("/iptables-save.txt"):
            before, rule, after = files[path].partition(
                b'-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer'
            )
            assert rule, path
            counters = before[before.rindex(b"\n") :]
            files[path] = before + b"-A FORWARD -p udp -m udp --dport 53 -j DROP" + counters + rule + after


def found(answer: Trace, code: str) -> Finding:
    findings = [f for o in answer.outcomes for f in o.findings if f.code == code and isinstance(f, Finding)]
    assert findings, f"no {code} among {[f.code for o in answer.outcomes for f in o.findings]}"
    return findings[0]


def codes(answer: Trace) -> set[str]:
    return {f.code for o in answer.outcomes for f in o.findings}


# --- what is dialled ---------------------------------------------------------------------------------------------------------------


def test_a_service_is_dialled_by_its_name(files: dict[str, bytes]) -> None:
    answer = traced(files, CLIENT, "api:80")
    assert sum(o.probability for o in answer.outcomes) == 1
    assert {o.disposition for o in answer.outcomes} == {Disposition.DELIVERED}
    first = answer.lookups[0].to_dict()
    assert first["question"] == {"name": "api.default.svc.cluster.local.", "type": "A"}
    assert first["server"] == "10.96.0.10"
    assert first["answers"] == ["10.96.39.154"]
    assert first["search"] == {"number": 1, "of": 3}
    assert answer.query.destination.host == "api"


def test_each_pod_of_a_headless_service_is_first_equally_often(files: dict[str, bytes]) -> None:
    answer = traced(files, CLIENT, "redis.data:6379")
    assert [o.probability for o in answer.outcomes] == [Fraction(1, 3)] * 3
    ordered = traced(files, CLIENT, "redis.data:6379", text("configmaps.json", "loadbalance", "reload"))
    assert [o.probability for o in ordered.outcomes] == [1]


@pytest.mark.parametrize(("resolver", "version"), [("glibc", 6), ("musl", 4)])
def test_the_resolver_chooses_the_family(files: dict[str, bytes], resolver: str, version: int) -> None:
    cluster = Cluster.from_snapshot(Snapshot.from_files(files))
    asked = query_from_dict({"from": CLIENT, "to": "api-dual:80", "resolver": resolver})
    answer = trace(cluster, asked)
    assert {o.hops[0].packet_in.destination.version for o in answer.outcomes} == {version}
    assert answer.to_dict()["query"].get("resolver", "glibc") == resolver  # type: ignore[attr-defined]


def test_a_headless_service_given_as_svc_is_looked_up(files: dict[str, bytes]) -> None:
    assert {o.disposition for o in traced(files, CLIENT, "svc:data/mysql:3306").outcomes} == {Disposition.DELIVERED}


def test_a_name_outside_ends_unknown_and_goes_on_with_an_address(files: dict[str, bytes]) -> None:
    answer = traced(files, CLIENT, "api.example.com:443", forwarding)
    assert [(o.disposition, o.reason and o.reason.code) for o in answer.outcomes] == [(Disposition.UNKNOWN, "NAME_OUTSIDE_CLUSTER")]
    assert answer.lookups[-1].rcode == "UNKNOWN"
    given = traced(files, CLIENT, "api.example.com=203.0.113.10:443", forwarding)
    assert {str(o.hops[0].packet_in.destination) for o in given.outcomes} == {"203.0.113.10"}
    assert len(given.lookups) == len(answer.lookups)


@pytest.mark.parametrize(
    ("source", "code"), [("node:shop-worker", "RESOLV_CONF_NOT_RECORDED"), ("external:203.0.113.10", "NAME_OUTSIDE_CLUSTER")]
)
def test_who_is_asked_may_not_be_known(files: dict[str, bytes], source: str, code: str) -> None:
    answer = traced(files, source, "api.default.svc.cluster.local:80")
    assert [(o.disposition, o.reason and o.reason.code) for o in answer.outcomes] == [(Disposition.UNKNOWN, code)]


def test_a_node_that_asks_the_clusters_dns(files: dict[str, bytes]) -> None:
    def record(files: dict[str, bytes]) -> None:
        files["nodes/shop-worker/resolv.conf"] = b"nameserver 10.96.0.10\n"

    answer = traced(files, "node:shop-worker", "api.default.svc.cluster.local:80", record)
    assert {o.disposition for o in answer.outcomes} == {Disposition.DELIVERED}
    assert [x.why for x in answer.lookups] == ["the name as it stands"] * 2


def test_a_source_that_does_not_exist_is_refused(files: dict[str, bytes]) -> None:
    with pytest.raises(QueryError, match="no pod"):
        traced(files, "pod:default/nobody", "api:80")


def test_the_packet_of_a_question(files: dict[str, bytes]) -> None:
    cluster = Cluster.from_snapshot(Snapshot.from_files(files))
    server = parse_destination("10.96.0.10").address
    assert server is not None
    answer = trace(cluster, dns_packet_query(query(CLIENT, "api:80"), server))
    assert {(o.disposition, o.destination and o.destination.port) for o in answer.outcomes} == {(Disposition.DELIVERED, 53)}
    assert {o.destination.name for o in answer.outcomes if o.destination} == {"coredns-5f778cf7dc-4zql7", "coredns-5f778cf7dc-5888h"}


def test_a_corefile_that_coredns_refuses(files: dict[str, bytes]) -> None:
    answer = traced(files, CLIENT, "api:80", text("configmaps.json", "pods insecure", "pods perhaps"))
    assert [(o.disposition, o.reason and o.reason.code) for o in answer.outcomes] == [(Disposition.UNKNOWN, "COREFILE_INVALID")]


STRANGE = {
    "a property": ("pods insecure", "pods insecure\\n        newest_thing on"),
    "a rule": ("cache 30", "rewrite flavour sweet sour\\n    cache 30"),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_words_that_hopline_does_not_know_are_no_fault_of_the_corefile(files: dict[str, bytes], kind: str) -> None:
    plain, strange = traced(files, CLIENT, "api:80"), traced(files, CLIENT, "api:80", text("configmaps.json", *STRANGE[kind]))
    assert [(o.disposition, o.destination) for o in strange.outcomes] == [(o.disposition, o.destination) for o in plain.outcomes]
    for outcome in strange.outcomes:
        assert len(outcome.conditions) == 1
        assert "which Hopline does not know" in outcome.conditions[0]
        assert "(Corefile line " in outcome.conditions[0]


@pytest.mark.parametrize("to", ["10.96.0.10:53", "nothere.example.com.:80"])
def test_a_property_that_cannot_matter_is_not_shown(files: dict[str, bytes], to: str) -> None:
    answer = traced(files, CLIENT, to, text("configmaps.json", *STRANGE["a property"]))
    assert not [c for o in answer.outcomes for c in o.conditions]
    assert not [u for u in answer.unknowns if "does not know" in u.text]


def test_a_plugin_that_hopline_does_not_know_may_answer_first(files: dict[str, bytes]) -> None:
    answer = traced(files, CLIENT, "api:80", text("configmaps.json", "cache 30", "newest 30\\n    cache 30"))
    assert [o.disposition for o in answer.outcomes] == [Disposition.UNKNOWN]
    assert "Hopline does not know plugin newest (Corefile line" in answer.unknowns[0].text


def test_zonal_changes_no_other_name(files: dict[str, bytes]) -> None:
    answer = traced(files, CLIENT, "api:80", text("configmaps.json", "pods insecure", "pods insecure\\n        zonal"))
    assert answer == traced(files, CLIENT, "api:80")


# --- findings ----------------------------------------------------------------------------------------------------------------------


def test_a_name_of_another_namespace_is_suggested(files: dict[str, bytes]) -> None:
    answer = traced(files, CLIENT, "backend-api:80")
    assert answer.outcomes[0].disposition is Disposition.UNRESOLVED
    assert "backend-api.production" in found(answer, "DNS_NXDOMAIN").text


def test_a_name_of_which_the_server_could_not_tell_is_not_said_to_be_none(files: dict[str, bytes]) -> None:
    """Without a forward CoreDNS answers SERVFAIL of every name outside the cluster: the Corefile is named, not the name blamed."""
    answer = traced(files, CLIENT, "example.com:443")
    assert answer.outcomes[0].reason is not None and answer.outcomes[0].reason.code == "DNS_SERVFAIL"
    finding = found(answer, "DNS_NXDOMAIN")
    assert "No Service answers to example.com" in finding.text and "does not exist" not in finding.text
    assert "Corefile forwards it" in finding.fix


@pytest.mark.parametrize("to", ["backend-api:81", "backend-apis:9999"])
def test_a_name_that_would_not_answer_is_not_suggested(files: dict[str, bytes], to: str) -> None:
    text = found(traced(files, CLIENT, to), "DNS_NXDOMAIN").text
    assert "there is" not in text


@pytest.mark.parametrize(
    ("to", "fix"),
    [
        (
            "api.default.svc.cluster.local:80",
            "Write api.default.svc.cluster.local. with a final dot, or set dnsConfig options ndots to 4 for this pod.",
        ),
        (
            "api.example.com=203.0.113.10:443",
            "Write api.example.com. with a final dot, or set dnsConfig options ndots to 2 for this pod.",
        ),
    ],
)
def test_a_final_dot_is_suggested_behind_a_name_that_is_one(files: dict[str, bytes], to: str, fix: str) -> None:
    assert found(traced(files, CLIENT, to, forwarding), "DNS_SEARCH_EXPANSION").fix == fix


@pytest.mark.parametrize("to", ["nothere:80", "web2:80", "nothere.nowhere:80"])
def test_no_final_dot_behind_a_name_that_exists_in_no_form(files: dict[str, bytes], to: str) -> None:
    answer = traced(files, CLIENT, to, forwarding)
    assert not [f for o in answer.outcomes for f in o.findings if isinstance(f, Finding) and ("final dot" in f.fix or "ndots to" in f.fix)]


def test_a_port_by_the_wrong_name(files: dict[str, bytes]) -> None:
    finding = found(traced(files, CLIENT, "_https._tcp.api.default.svc.cluster.local:80"), "PORT_NAME_MISMATCH")
    assert "_http._tcp" in finding.text
    assert "default/api" in finding.text


def test_futile_questions_are_counted(files: dict[str, bytes]) -> None:
    finding = found(traced(files, CLIENT, "api.default.svc.cluster.local:80"), "DNS_SEARCH_EXPANSION")
    assert finding.text.startswith("6 of 8 questions for api.default.svc.cluster.local")
    assert "DNS_SEARCH_EXPANSION" not in codes(traced(files, CLIENT, "api.default.svc.cluster.local.:80"))
    assert "DNS_SEARCH_EXPANSION" not in codes(traced(files, CLIENT, "api:80"))


@pytest.mark.parametrize(("port", "severity"), [(443, "warning"), (5432, "notice")])
def test_an_external_name_and_tls(files: dict[str, bytes], port: int, severity: str) -> None:
    finding = found(traced(files, CHECKOUT, f"billing-db:{port}", forwarding), "EXTERNALNAME_TLS")
    assert finding.severity == severity
    assert "production/billing-db" in finding.text
    assert "EXTERNALNAME_TLS" not in codes(traced(files, CHECKOUT, f"backend-api:{port}"))


def test_a_headless_service_without_ready_pods(files: dict[str, bytes]) -> None:
    empty = {
        "kind": "Service",
        "metadata": {"namespace": "data", "name": "empty"},
        "spec": {"clusterIP": "None", "clusterIPs": ["None"], "ports": [{"port": 80}]},
    }
    answer = traced(files, CLIENT, "empty.data:80", added("services.json", empty))
    assert "data/empty" in found(answer, "DNS_HEADLESS_NO_PODS").text
    assert answer.outcomes[0].reason
    assert answer.outcomes[0].reason.code == "DNS_HEADLESS_NO_PODS"


def test_blocked_questions_mean_no_name(files: dict[str, bytes]) -> None:
    answer = traced(files, CLIENT, "api:80", blocked)
    assert [o.disposition for o in answer.outcomes] == [Disposition.UNRESOLVED]
    assert "10.96.0.10" in found(answer, "DNS_BLOCKED").text
    assert {x.rcode for x in answer.lookups} == {"TIMEOUT"}
    assert "DNS_BLOCKED" not in codes(traced(files, CLIENT, "api:80"))


@pytest.mark.parametrize(("kernel", "races"), [("4.15.0-20", True), ("5.10.0", False)])
def test_questions_race_on_old_kernels(files: dict[str, bytes], kernel: str, races: bool) -> None:
    def change(files: dict[str, bytes]) -> None:
        value = json.loads(files["nodes.json"])
        for node in value["items"]:
            node["status"]["nodeInfo"]["kernelVersion"] = kernel
        files["nodes.json"] = json.dumps(value).encode()

    answer = traced(files, CLIENT, "api:80", change)
    assert ("DNS_QUERY_RACE" in codes(answer)) is races

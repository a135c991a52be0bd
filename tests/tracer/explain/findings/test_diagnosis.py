"""Diagnosis as a whole: it adds, orders and never alters, and it stays cheap."""

from __future__ import annotations

import json
import time
from dataclasses import replace

from tests.made_findings import CLIENT, Spoiled, codes, published, shop, the
from tracer.explain.explanation import Severity
from tracer.explain.findings import diagnose
from tracer.query import Query, parse_destination, parse_source
from tracer.simulate import trace
from tracer.trace import Reason

RANK = {s.value: s.rank for s in Severity}


def asked(source, to, **options):
    return Query(source=parse_source(source), destination=parse_destination(to), **options)


def test_outcomes_stay_as_they_are():
    made = published()
    cluster = made.cluster()
    plain = trace(cluster, asked(CLIENT, "198.51.100.10:80"))
    found = diagnose(cluster, plain)
    assert codes(found)
    assert tuple(replace(o, findings=()) for o in found.outcomes) == plain.outcomes
    assert (found.query, found.unknowns, found.lookups) == (plain.query, plain.unknowns, plain.lookups)
    assert [o.id for o in found.outcomes] == [o.id for o in plain.outcomes]


def test_the_worst_stands_first_and_what_was_there_stays():
    made = published(node_port=40080, pods=(2,))
    made.edit("services.json", "web", lambda item: item["spec"].update(loadBalancerSourceRanges=["192.0.2.0/24"]))
    made.removed.add("networkpolicies.json")
    made.change("nodes/n1/iptables-save.txt", "--set-xmark 0x4000/0x4000", "--set-xmark 0x0/0x0")
    cluster = made.cluster()
    plain = trace(cluster, asked(CLIENT, "192.168.0.11:40080"))
    before = Reason(code="DELIVERED", text="said before")
    plain = replace(plain, outcomes=tuple(replace(o, findings=(before,)) for o in plain.outcomes))
    for outcome in diagnose(cluster, plain).outcomes:
        ranks = [RANK[f.severity] for f in outcome.findings[:-1]]
        assert ranks == sorted(ranks)
        assert len(set(ranks)) > 2
        assert outcome.findings[-1] is before


def test_a_finding_says_all_of_itself_in_json():
    traced = published(pods=(2,)).diagnosed(CLIENT, "192.168.0.11:30080")
    value = json.loads(json.dumps(traced.to_dict()))
    found = next(f for f in value["outcomes"][0]["findings"] if f["code"] == "CLIENT_IP_LOST")
    assert set(found) == {"code", "text", "severity", "fix", "hop", "step", "evidence"}
    step = value["outcomes"][0]["hops"][found["hop"]]["steps"][found["step"]]
    assert f"{step['file']}:{step['line']}" in found["text"]
    assert step["rule"] in found["evidence"][0]


def test_a_name_has_no_findings():
    assert codes(shop().diagnosed("pod:default/client-1", "web.example.org:80")) == set()


def test_loopback_in_a_pod_is_the_pod_and_no_node_port():
    traced = published().diagnosed("pod:default/client-1", "127.0.0.1:30080")
    assert codes(traced) == {"TARGET_PORT_UNPROVEN"}
    assert "Service" not in the(traced, "TARGET_PORT_UNPROVEN").text


def test_a_connection_that_is_bound_to_a_removed_endpoint():
    made = shop()
    line = (
        "ipv4     2 udp      17 29 src=10.1.1.3 dst=10.96.0.10 sport=40000 dport=80 "
        "src=10.1.9.9 dst=10.1.1.3 sport=8080 dport=40000 mark=0 use=1\n"
    )
    made.node(1).texts["conntrack.txt"] = line
    for path in ("services.json", "endpointslices.json"):
        made.change(path, '"TCP"', '"UDP"')
    found = the(
        made.diagnosed("pod:default/client-1", "10.96.0.10:80", protocol="udp", connection=("n1", 1)), "CONNTRACK_TO_REMOVED_ENDPOINT"
    )
    for said in ("This connection to Service default/web is bound to 10.1.9.9 port 8080 on node n1", "nodes/n1/conntrack.txt:1", "nobody"):
        assert said in found.text


def test_many_outcomes_cost_less_than_the_walk():
    made = Spoiled(3)
    pods = [made.pod(f"web-{i}", 1 + i % 3) for i in range(120)]
    made.service("web", pods, type="LoadBalancer", node_port=30080, lb_ip="198.51.100.10")
    cluster = made.cluster()
    query = asked(CLIENT, "198.51.100.10:80")
    diagnose(cluster, trace(cluster, query))  # reads the files
    begun = time.process_time()
    plain = trace(cluster, query)
    walked = time.process_time()
    found = diagnose(cluster, plain)
    ended = time.process_time()
    assert len(found.outcomes) == 360
    assert all(any(f.code == "CLIENT_IP_LOST" for f in o.findings) for o in found.outcomes)
    assert ended - walked < 2 * (walked - begun) + 0.2, f"walk {walked - begun:.3f} s, diagnosis {ended - walked:.3f} s"

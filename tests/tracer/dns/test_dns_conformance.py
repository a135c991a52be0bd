"""CoreDNS's own tests, one by one: every question with its whole answer."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.tracer.dns.conformance import asked, cases, section, zone_of
from tracer.dns.kubernetes_options import KubernetesOptions
from tracer.dns.message import Question, Record
from tracer.dns.zone import ClusterZone
from tracer.snapshot import Snapshot

pytestmark = pytest.mark.needs_shared
ENFORCED = 164
ZONAL_CASES = 13
HTTP = {"name": "http", "protocol": "TCP", "port": 80}


def expectation(case: dict[str, Any]) -> tuple[object, ...]:
    expected = case["expected"]
    return (expected["rcode"], section(expected["answer"]), section(expected["ns"]), section(expected["extra"]))


def test_every_enforced_query_is_answered_as_coredns_does(shared: Path) -> None:
    enforced = [c for c in cases(shared, "query") if c["expectation_enforced"]]
    wrong = []
    for case in enforced:
        answer = asked(shared, case)
        got = (
            None if answer is None else (answer.rcode.value, section(answer.answer), section(answer.authority), section(answer.additional))
        )
        if got != expectation(case):
            wrong.append(f"{case['id']} {case['test']} {case['query']}\n  expected {expectation(case)}\n  got      {got}")
    assert not wrong, "\n".join(wrong)
    assert len(enforced) == ENFORCED


def test_the_two_queries_that_coredns_does_not_enforce(shared: Path) -> None:
    """The second expects a TTL of 300 in its SOA, which CoreDNS itself does not answer: it says 5, its own TTL, and so do we."""
    first, second = (c for c in cases(shared, "query") if not c["expectation_enforced"])
    answer = asked(shared, first)
    assert answer is not None
    assert (answer.rcode.value, section(answer.answer)) == expectation(first)[:2]
    answer = asked(shared, second)
    assert answer is not None
    assert answer.rcode.value == "NXDOMAIN"
    assert [r.ttl for r in answer.authority] == [5]
    assert "has 5" in second["expectation_mismatch"]


def test_authority_is_claimed_in_every_answer_of_a_zone(shared: Path) -> None:
    answers = [(case["id"], asked(shared, case)) for case in cases(shared, "query")]
    assert [i for i, a in answers if a is None or not a.authoritative] == []


def test_the_addresses_of_the_name_server_itself(shared: Path) -> None:
    for case in cases(shared, "ns_addrs"):
        zone = zone_of(shared, case | {"plugin_config": case["plugin_config"] | {"zones": [case["zone"]]}}, ("10.244.0.20",))
        own = zone._own_addresses(case["zone"])
        if case["external"]:
            own = zone.external_own_addresses(case["zone"], headless=case["headless"])
        want = sorted((r["name"], r["rdata"]) for r in case["actual_records"])
        assert sorted((name, str(address)) for name, address in own) == want, case["id"]


# --- zonal, of CoreDNS 1.14.7 ------------------------------------------------------------------------------------------------------

ZONAL = [
    {"kind": "Service", "metadata": {"namespace": "testns", "name": "hdls"}, "spec": {"clusterIP": "None", "ports": [HTTP]}},
    {"kind": "Service", "metadata": {"namespace": "testns", "name": "clstr"}, "spec": {"clusterIP": "10.0.0.10", "ports": [HTTP]}},
    {
        "kind": "EndpointSlice",
        "metadata": {"namespace": "testns", "name": "hdls-1", "labels": {"kubernetes.io/service-name": "hdls"}},
        "addressType": "IPv4",
        "ports": [HTTP],
        "endpoints": [
            {"addresses": ["172.0.0.1"], "zone": "us-west-2a"},
            {"addresses": ["172.0.0.2", "172.0.0.3"], "zone": "us-west-2b"},
        ],
    },
    {"kind": "Namespace", "metadata": {"name": "testns"}},
]


def test_names_of_one_topology_zone(shared: Path) -> None:
    with gzip.open(shared / "conformance" / "coredns_zonal_cases.json.gz", "rt") as file:
        found = json.load(file)["cases"]
    objects = Snapshot.from_files({"objects.json": json.dumps({"kind": "List", "items": ZONAL}).encode()}).objects
    wrong = []
    for case in found:
        options = KubernetesOptions(zones=("cluster.local.",), zonal=case["zonal"])
        answer = ClusterZone(objects, options).answer(Question(name=case["qname"], rdtype=case["qtype"]))
        assert answer is not None
        got = (answer.rcode.value, printed(answer.answer), printed(answer.authority), printed(answer.additional))
        want = (case["rcode"], *(sorted(map(without_serial, case[part])) for part in ("answer", "ns", "extra")))
        if got != want:
            wrong.append(f"{case['qname']} {case['qtype']}\n  expected {want}\n  got      {got}")
    assert not wrong, "\n".join(wrong)
    assert len(found) == ZONAL_CASES


def printed(records: Iterable[Record]) -> list[str]:
    return sorted(without_serial(record.to_text()) for record in records)


def without_serial(text: str) -> str:
    """An SOA's serial is when CoreDNS saw its last change: no two agree."""
    words = text.split(" ")
    return " ".join(words[:6]) if "SOA" in words else text

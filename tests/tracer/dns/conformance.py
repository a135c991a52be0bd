"""CoreDNS's own test cases (see ../shared/conformance/README.md) as objects and options of the engine."""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

from tracer.dns.external_zone import ExternalOptions, ExternalZone
from tracer.dns.kubernetes_options import KubernetesOptions, PodMode
from tracer.dns.message import Answer, Question, Rcode, Record
from tracer.dns.service_import import Imports, ServiceImport
from tracer.dns.zone import ClusterZone
from tracer.kube.endpointslice import EndpointSlice
from tracer.query import parse_address
from tracer.snapshot import Snapshot

FILES = ("services", "endpointslices", "namespaces", "pods")
ANY_TTL = 303


@cache
def load(shared: Path) -> dict[str, Any]:
    """Return the whole file of cases."""
    with gzip.open(shared / "conformance" / "coredns_cases.json.gz", "rt") as file:
        return dict(json.load(file))


def cases(shared: Path, kind: str) -> list[dict[str, Any]]:
    """Return the cases of one kind."""
    return [case for case in load(shared)["cases"] if case["kind"] == kind]


def options_of(case: dict[str, Any]) -> KubernetesOptions:
    """Return the options of the kubernetes plugin that the case was run with."""
    config = case["plugin_config"]
    return KubernetesOptions(
        zones=tuple(config["zones"]),
        pods=PodMode(config["pods"]),
        endpoint_pod_names=config["endpoint_pod_names"],
        namespaces=frozenset(config["namespaces"]),
        ttl=config["ttl"],
        ignore_empty_service=config["ignore_empty_service"],
        fallthrough=None if config["fallthrough_zones"] is None else tuple(config["fallthrough_zones"]),
        multicluster=tuple(config["multicluster_zones"] or ()),
    )


def zone_of(shared: Path, case: dict[str, Any], local: tuple[str, ...] | None = None) -> ClusterZone:
    """Return the zone over the case's objects, with its stubbed upstream."""
    fixture = load(shared)["fixtures"][case["fixture"]]
    objects = fixture["objects"]
    files = {f"{name}.json": json.dumps({"kind": "List", "items": objects[name]}).encode() for name in FILES}
    snapshot = Snapshot.from_files(files)
    imports = Imports.of(
        (ServiceImport.from_dict(s) for s in objects["serviceimports"]),
        (EndpointSlice.from_dict(s) for s in objects["multicluster_endpointslices"]),
    )
    config = case["plugin_config"]
    addresses = local if local is not None else tuple(config["local_ips"])
    return ClusterZone(
        snapshot.objects,
        options_of(case),
        imports=imports,
        local_addresses=tuple(a for a in map(parse_address, addresses) if a),
        lookup=lambda question: stubbed(case.get("upstream_stub")),
        synced=fixture["has_synced"],
    )


def stubbed(stub: dict[str, Any] | None) -> Answer:
    """Return what the case's upstream says: without a stub nothing but success."""
    records = tuple(Record(name=r["name"], ttl=r["ttl"], rdtype=r["type"], rdata=r["rdata"]) for r in (stub or {"answer": ()})["answer"])
    return Answer(rcode=Rcode.NOERROR, answer=records)


def asked(shared: Path, case: dict[str, Any]) -> Answer | None:
    """Return the engine's answer to a case of kind query."""
    question = Question(name=case["query"]["qname"], rdtype=case["query"]["qtype"])
    zone = zone_of(shared, case)
    if "external_config" not in case:
        return zone.answer(question)
    config = case["external_config"]
    options = ExternalOptions(
        zones=tuple(config["zones"]),
        apex=config["apex"],
        hostmaster=config["hostmaster"],
        ttl=config["ttl"],
        headless=config["headless"],
        fallthrough=None if config["fallthrough_zones"] is None else tuple(config["fallthrough_zones"]),
    )
    own = parse_address("127.0.0.1")
    return ExternalZone(zone, options, lookup=lambda question: stubbed(None), own=(own,) if own else ()).answer(question)


def section(records: Any) -> list[tuple[str, object, str, str]]:
    """Return a section to compare: sorted, of an SOA only the name server."""
    found = []
    for r in records:
        name, ttl, rdtype, rdata = (
            (r.name, r.ttl, r.rdtype, r.rdata) if isinstance(r, Record) else (r["name"], r["ttl"], r["type"], r["rdata"])
        )
        found.append((name, ttl, rdtype, rdata.split(" ")[0] if rdtype == "SOA" else rdata))
    return sorted(found, key=str)

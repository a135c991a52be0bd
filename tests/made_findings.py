"""Small clusters for the tests of findings: made_cluster's, with every input there, and whatever spoils them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from tests.made_cluster import MadeCluster, MadePod
from tracer.explain.findings import diagnose
from tracer.query import Query, parse_destination, parse_protocol, parse_source
from tracer.simulate import trace
from tracer.trace import Finding, Trace

NOTHING = b'{"apiVersion": "v1", "kind": "List", "items": []}'
CLIENT = "external:203.0.113.10"


class Spoiled(MadeCluster):
    """A healthy cluster that tests spoil: ``change`` replaces text in a file, ``edit`` changes API objects."""

    def __init__(self, nodes: int = 2, **options: object) -> None:
        super().__init__(nodes, **options)
        self.extra["networkpolicies.json"] = NOTHING
        self._changes: list[tuple[str, str, str]] = []
        self._edits: list[tuple[str, str, Callable[[dict[str, Any]], object]]] = []
        self.added: dict[str, list[dict[str, Any]]] = {}
        self.removed: set[str] = set()
        for node in self.nodes:
            node.texts["conntrack.txt"] = ""
            node.sysctl["net.ipv4.ip_local_port_range"] = "32768\t60999"

    def change(self, path: str, old: str, new: str) -> None:
        """Replace *old* by *new* everywhere in the file at *path*; the test fails when *old* is not there."""
        self._changes.append((path, old, new))

    def edit(self, path: str, name: str, change: Callable[[dict[str, Any]], object]) -> None:
        """Let *change* alter the object called *name* in the file at *path*."""
        self._edits.append((path, name, change))

    def files(self) -> dict[str, bytes]:
        """Return the snapshot's files by path."""
        found = super().files()
        owners = {ip: pod.name for pod in self.pods for ip in pod.ips}
        self._map(found, "endpointslices.json", lambda item: _refer(item, owners))
        for path, name, change in self._edits:
            self._map(found, path, lambda item, n=name, c=change: c(item) if item["metadata"]["name"] == n else None)
        for path, items in self.added.items():
            value = json.loads(found.get(path, NOTHING))
            found[path] = json.dumps(value | {"items": value["items"] + items}).encode()
        for path, old, new in self._changes:
            text = found[path].decode()
            if old not in text:
                raise AssertionError(f"{old!r} is not in {path}:\n{text}")
            found[path] = text.replace(old, new).encode()
        return {path: content for path, content in found.items() if path not in self.removed}

    def _map(self, found: dict[str, bytes], path: str, change: Callable[[dict[str, Any]], object]) -> None:
        value = json.loads(found[path])
        for item in value["items"]:
            change(item)
        found[path] = json.dumps(value).encode()

    def diagnosed(self, source: str, to: str, **options: object) -> Trace:
        """Return the answer to one question, with findings."""
        protocol = parse_protocol(options.pop("protocol", "tcp"))
        query = Query(source=parse_source(source), destination=parse_destination(to), protocol=protocol, **options)  # type: ignore[arg-type]
        cluster = self.cluster()
        return diagnose(cluster, trace(cluster, query))


def _refer(item: dict[str, Any], owners: dict[str, str]) -> None:
    for endpoint in item["endpoints"]:
        if pod := owners.get(endpoint["addresses"][0]):
            endpoint["targetRef"] = {"kind": "Pod", "namespace": "default", "name": pod}


def shop(**options: object) -> Spoiled:
    """Return two nodes with a pod of Service ``web`` (10.96.0.10:80) and a client each."""
    made = Spoiled(2, **options)
    web = [made.pod("web-1", 1), made.pod("web-2", 2)]
    made.pod("client-1", 1)
    made.pod("client-2", 2)
    made.service("web", web)
    return made


def published(*, local: bool = False, pods: tuple[int, ...] = (1, 2), node_port: int = 30080) -> Spoiled:
    """Return two nodes and Service ``web`` of type LoadBalancer at 198.51.100.10:80; *pods* says on which nodes it runs."""
    made = Spoiled(2)
    web = [made.pod(f"web-{i}", node) for i, node in enumerate(pods, 1)]
    made.pod("client-1", 1)
    made.pod("client-2", 2)
    made.service("web", web, type="LoadBalancer", node_port=node_port, lb_ip="198.51.100.10", local=local)
    return made


def codes(traced: Trace) -> set[str]:
    """Return the codes of all findings."""
    return {f.code for o in traced.outcomes for f in o.findings}


def all_of(traced: Trace, code: str) -> list[Finding]:
    """Return the findings with *code*, one of each text; what is no Finding fails."""
    found = [f for o in traced.outcomes for f in o.findings if f.code == code]
    if not all(isinstance(f, Finding) for f in found):
        raise AssertionError(f"not all of {found} are findings")
    return list({f.text: f for f in found if isinstance(f, Finding)}.values())


def the(traced: Trace, code: str) -> Finding:
    """Return the only finding with *code*."""
    found = all_of(traced, code)
    if len(found) != 1:
        raise AssertionError(f"{len(found)} findings {code}; there are {sorted(codes(traced))}: {[f.text for f in found]}")
    return found[0]


def unlisted(made: Spoiled, service: int = 0, **changes: object) -> Spoiled:
    """Let kube-proxy know of no endpoint of a Service, and give it the EndpointSlice it had, altered by *changes*."""
    chosen = made.services[service]
    if changes:
        made.added["endpointslices.json"] = [chosen.slice_json() | changes]
    chosen.endpoints = []
    return made


def endpoints(pods: Sequence[MadePod], **conditions: bool) -> list[dict[str, Any]]:
    """Return *pods* as an EndpointSlice lists them."""
    return [
        {
            "addresses": [pod.ips[0]],
            "conditions": conditions,
            "nodeName": pod.node.name if pod.node else None,
            "targetRef": {"kind": "Pod", "namespace": "default", "name": pod.name},
        }
        for pod in pods
    ]

"""The property that counts: the trace of the renamed question is the renamed trace, on every recording."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.sizes import every
from tracer.query import Query, parse_destination, parse_source
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.snapshot.rename import Renaming
from tracer.snapshot.summary import summarise
from tracer.topology.cluster import Cluster

DEMO = Path(__file__).resolve().parents[4] / "demo"
KEY = b"sixteen bytes or more"
RECORDINGS = (
    "shop-iptables",
    "shop-iptables-v1.20",
    "shop-iptables-v1.30",
    "shop-ipvs",
    "shop-ipvs-sh",
    "shop-nftables",
    "shop-nftables-v1.30",
    "shop-timeline",
    "shop-userspace-v1.20",
)


def files_of(name: str) -> dict[str, bytes]:
    folder = DEMO / name
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def questions(snapshot: Snapshot) -> list[Query]:
    """Return a question to every Service with an address, from a pod, a node and a client outside in turn."""
    pods = [p for p in snapshot.objects.pods if p.ips and p.phase == "Running" and not p.host_network]
    sources = [f"pod:{pods[0].namespace}/{pods[0].name}", f"node:{snapshot.node_names[-1]}", "external:203.0.113.10"]
    found = []
    for place, service in enumerate(s for s in snapshot.objects.services if s.ports):
        port = service.ports[0]
        destination = parse_destination(f"svc:{service.namespace}/{service.name}:{port.port}")
        found.append(Query(source=parse_source(sources[place % 3]), destination=destination, protocol=port.protocol))
        if service.external_ips or service.load_balancer_ingress:
            ip = service.external_ips[0] if service.external_ips else service.load_balancer_ingress[0].ip
            if ip is not None:
                outside = parse_destination(f"[{ip}]:{port.port}" if ip.version == 6 else f"{ip}:{port.port}")
                found.append(Query(source=parse_source(sources[2]), destination=outside, protocol=port.protocol))
    return found


class Expected:
    """What an answer is to be after renaming."""

    def __init__(self, renaming: Renaming) -> None:
        self.renaming = renaming

    def __call__(self, answer: Mapping[str, Any]) -> list[Any]:
        return sorted((self.outcome(outcome) for outcome in answer["outcomes"]), key=repr)

    def outcome(self, value: Mapping[str, Any]) -> Any:
        hops = [self.hop(hop) for hop in value["hops"]]
        return (value["disposition"], value["probability"], self.place(value["destination"]), hops, self.packet(value.get("source_seen")))

    def hop(self, value: Mapping[str, Any]) -> Any:
        kind, name = value["stack"]["kind"], value["stack"]["name"]
        # A stack outside is called by its address, a proxy "kube-proxy on NODE".
        stack = (kind, self.addresses(name) if kind == "external" else " on ".join(map(self.words, name.split(" on "))))
        steps = [self.step(step) for step in value["steps"]]
        return (stack, value["in"], value["out"], self.packet(value["packet_in"]), self.packet(value["packet_out"]), steps)

    def step(self, value: Mapping[str, Any]) -> Any:
        path = re.sub(r"^(base/)?nodes/([^/]+)/", lambda match: f"nodes/{self.words(match[2])}/", value.get("file") or "")
        return (value["hook"], value.get("table"), path, value.get("line"))

    def packet(self, value: Mapping[str, Any] | None) -> Any:
        return value and {key: self.addresses(part) for key, part in value.items()}

    def place(self, value: Mapping[str, Any] | None) -> Any:
        return value and {
            key: self.words(part) if key in ("namespace", "name", "node", "service") else self.addresses(part)
            for key, part in value.items()
        }

    def words(self, text: Any) -> Any:
        return self.renaming.words.in_name(text) if isinstance(text, str) else text

    def addresses(self, value: Any) -> Any:
        return self.renaming.addresses.in_text(value) if isinstance(value, str) else value


class AsItIs(Expected):
    """What an answer of the renamed snapshot is."""

    def __init__(self) -> None:
        pass

    def words(self, text: Any) -> Any:
        return text

    def addresses(self, value: Any) -> Any:
        return value


@pytest.mark.parametrize("name", every(RECORDINGS, 2))
def test_the_trace_of_the_renamed_question_is_the_renamed_trace(name: str) -> None:
    snapshot = Snapshot.from_files(files_of(name))
    renaming = Renaming(snapshot, KEY)
    renamed = Snapshot.from_files(dict(renaming.files()))
    before, after = Cluster.from_snapshot(snapshot), Cluster.from_snapshot(renamed)
    expected, found = Expected(renaming), AsItIs()
    asked = questions(snapshot)
    assert len(asked) > 20
    for query in asked:
        one = trace(before, query).to_dict(with_steps=True)
        other = trace(after, renaming.query(query)).to_dict(with_steps=True)
        assert expected(one) == found(other), str(query.destination)


def said(name: str, content: str) -> list[str]:
    """Return the texts of a file: of objects the values, whose keys are the API's words; of a node's file every line."""
    return list(values(json.loads(content))) if "/" not in name else [name, *content.splitlines()]


def values(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (text for key in value if "/" in key for text in [key])
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from values(item)
    elif isinstance(value, str):
        yield value


@pytest.mark.parametrize("name", every(RECORDINGS, 2))
def test_no_name_and_no_address_is_left(name: str) -> None:
    snapshot = Snapshot.from_files(files_of(name))
    renaming = Renaming(snapshot, KEY)
    files = dict(renaming.files())
    texts = [value for name, content in files.items() for value in said(name, content.decode())]
    names = {s.name for s in snapshot.objects.services} | {p.name for p in snapshot.objects.pods} | {n.name for n in snapshot.objects.nodes}
    names |= {n.name for n in snapshot.objects.namespaces}
    # "data" is also a word of nft's own.
    secret = {n for n in names if renaming.words.in_name(n) != n} - {"data"}
    assert len(secret) > 40
    assert secret & {word for text in texts for word in re.findall(r"[A-Za-z0-9-]+", text)} == set()
    addresses = {str(ip) for p in snapshot.objects.pods for ip in p.ips} | {str(ip) for n in snapshot.objects.nodes for ip in n.ips}
    assert len(addresses) > 10
    assert addresses & {word for text in texts for word in re.findall(r"[0-9a-f.:]+", text)} == set()


@pytest.mark.parametrize("name", every(RECORDINGS, 2))
def test_it_is_a_snapshot_as_good_as_the_first(name: str) -> None:
    snapshot = Snapshot.from_files(files_of(name))
    before, after = summarise(snapshot), summarise(Snapshot.from_files(dict(Renaming(snapshot, KEY).files())))
    assert after.objects == before.objects
    modes = [sorted(n.mode.mode if n.mode else "" for n in summary.nodes) for summary in (before, after)]
    assert modes[0] == modes[1]
    assert sorted(n.files for n in after.nodes) == sorted(n.files for n in before.nodes)
    assert (after.faults, after.unknown_files) == ((), ())
    assert (after.taken_at, after.kubernetes) == (before.taken_at, before.kubernetes)

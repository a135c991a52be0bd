"""Answers of a batch as lines: each is what ``json.dumps`` gives for the answer as it stands in the contract."""

from __future__ import annotations

import json
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

import pytest

from tests.made_cluster import MadeCluster
from tracer.packet import Packet, Protocol
from tracer.query import Destination, Query, parse_source
from tracer.simulate import trace
from tracer.trace import Step, Trace, Written
from webapp.answering import answer_lines
from webapp.answering.answer_lines import AnswerLines

HOSTILE = ['a"b', "\ud800", "\x00", '"0"', "0", "é", "\\", "[1,2]"]


def answers() -> list[Trace]:
    made = MadeCluster(2)
    made.pod("client", 1)
    made.service("web", [made.pod(f"web-{n}", n % 2 + 1) for n in range(3)], node_port=30080, type="NodePort")
    cluster = made.cluster()
    service = cluster.objects.services[0]
    asked = [(f"pod:{p.namespace}/{p.name}", ip, service.ports[0].port) for p in cluster.objects.pods for ip in service.cluster_ips]
    return [
        trace(cluster, Query(source=parse_source(source), destination=Destination(host=str(address), port=port), id=name))
        for source, address, port in asked
        for name in HOSTILE
    ]


def plain(answer: Mapping[str, Any]) -> str:
    return json.dumps(answer, separators=(",", ":"))


@pytest.mark.parametrize("with_steps", [True, False])
def test_they_are_what_json_dumps_gives(with_steps: bool) -> None:
    lines, found = AnswerLines(), answers()
    assert any(hop.steps for answer in found for outcome in answer.outcomes for hop in outcome.hops)
    for answer in [*found, *found]:

        def written(by: Written, answer: Trace = answer) -> Mapping[str, Any]:
            return answer.to_dict(with_steps=with_steps, written=by)

        assert lines.line(written) == plain(answer.to_dict(with_steps=with_steps))


def test_what_is_kept_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_lines, "KEPT_JSON", 1_000)
    lines, found = AnswerLines(), answers()
    for answer in found:

        def written(by: Written, answer: Trace = answer) -> Mapping[str, Any]:
            return answer.to_dict(written=by)

        assert lines.line(written) == plain(answer.to_dict())
        assert sum(len(text) for _, text in lines._steps.values()) <= 1_000


def test_a_text_is_never_taken_for_a_mark() -> None:
    lines = AnswerLines()
    packet = Packet(protocol=Protocol.TCP, source=ip_address("10.0.0.1"), destination=ip_address("10.0.0.2"))
    step = Step(hook="input", family="ip", table="filter", chain="INPUT", rule=f'"{lines._mark}0"', verdict="accept")

    def written(by: Written) -> Mapping[str, Any]:
        return {"text": HOSTILE, "packet": by.packet(packet), "steps": by.steps((step, step)), "none": by.steps(())}

    assert json.loads(lines.line(written)) == {
        "text": HOSTILE,
        "packet": packet.to_dict(),
        "steps": [step.to_dict(), step.to_dict()],
        "none": [],
    }

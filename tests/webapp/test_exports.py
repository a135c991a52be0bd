"""Files made of an answer: each one is whole, needs nothing else, and takes no name for syntax."""

from __future__ import annotations

import json
import re
import shutil
import struct
import subprocess
from xml.etree import ElementTree

import pytest

from tests.frozen_links import made_document
from tests.made_cluster import MadeCluster
from tests.made_traces import Made, dropped_trace, lb_trace, unknown_trace
from tracer.explain.findings import diagnose
from tracer.query import Query, parse_destination, parse_source
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster
from tracer.trace import Trace
from webapp.answering.document import Answer, document
from webapp.exports.formats import ExportError, export, json_parts, json_text
from webapp.questions.trace_query import TraceQuery, parse

HOSTILE = Made(service='a"><script>alert(1)</script>/</text>{x|y}', pod='p</text>"; x -> y [label="z"] end\\').trace()
TRACES = {"three": lb_trace(), "many": lb_trace(endpoints=60), "dropped": dropped_trace(), "unknown": unknown_trace(), "hostile": HOSTILE}
ALL = pytest.mark.parametrize("name", TRACES)


def made(name: str, suffix: str, query: str = "", **options: bool) -> bytes:
    return export(Answer(made_document(TRACES[name])), parse(query, frozen=True), suffix, **options)


@ALL
@pytest.mark.parametrize("dark", [False, True])
def test_svg_is_xml_and_needs_nothing_else(name: str, dark: bool) -> None:
    text = made(name, "svg", dark=dark).decode()
    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "var(" not in text
    assert "light-dark" not in text
    assert not re.findall(r'(?:href|src)="', text)
    assert re.findall(r"url\((?!data:)", text) == []
    assert text.count("@font-face") == 2
    assert "script" not in {element.tag.rpartition("}")[2] for element in root.iter()}


def test_svg_shows_the_names_as_text() -> None:
    texts = "".join(ElementTree.fromstring(made("hostile", "svg")).itertext())
    assert "p</text>" in texts


def test_svg_marks_the_current_step() -> None:
    assert made("three", "svg", "step=7").count(b'data-current="step"') == 1


@pytest.mark.skipif(shutil.which("rsvg-convert") is None, reason="needs rsvg-convert: apt-get install librsvg2-bin")
def test_png_is_twice_as_large_as_the_svg() -> None:
    width = float(ElementTree.fromstring(made("three", "svg")).attrib["width"])
    data = made("three", "png")
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">I", data[16:20])[0] == pytest.approx(2 * width, abs=2)


def test_png_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    made("three", "svg")
    monkeypatch.setattr("webapp.exports.formats.subprocess.run", _missing)
    with pytest.raises(ExportError, match="librsvg2-bin"):
        made("three", "png")


def _missing(*_: object, **__: object) -> None:
    raise FileNotFoundError


@ALL
def test_dot_is_accepted_and_quotes_every_name(name: str) -> None:
    text = made(name, "dot")
    done = subprocess.run(["dot", "-Tplain"], input=text, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    nodes = sum(line.startswith(b"node ") for line in done.stdout.splitlines())
    assert nodes == len(set(re.findall(r'^ +"(n-[0-9a-f]+)" \[', text.decode(), re.MULTILINE))), "a name became a node of its own"


@ALL
def test_mermaid_has_one_statement_a_line(name: str) -> None:
    lines = made(name, "mmd").decode().splitlines()
    assert lines[0] in ("flowchart LR", "sequenceDiagram")
    flow = re.compile(
        r'  (  )?(?:n_[0-9a-f]+(?:\[|\(\[|\(|\{\{|\[/)"[^"\n]*"(?:\]|\]\)|\)|\}\}|/\])|subgraph r[0-9]+\["[^"]*"\]|end|n_[0-9a-f]+ (?:-->|==>|-\.->)(?:\|"[^"]*"\|)? n_[0-9a-f]+)'
    )
    sequence = re.compile(
        r"  (?:participant s[0-9]+ as [^;<>\"{}]*(?:#[0-9]+;[^<>\"{}]*)*|s[0-9]+--?>>s[0-9]+: [^<>\"{}]*|Note over s[0-9]+: [^<>\"{}]*)"
    )
    wanted = flow if lines[0] == "flowchart LR" else sequence
    assert [line for line in lines[1:] if not wanted.fullmatch(line)] == []


def test_one_path_is_a_sequence_diagram() -> None:
    text = made("three", "mmd", "paths=one&seed=7")
    answer = Answer(made_document(TRACES["three"]))
    assert export(answer, TraceQuery(seed=7), "mmd").startswith(b"sequenceDiagram")
    assert text.startswith(b"flowchart"), "a frozen page reads no question"


@ALL
def test_json_is_the_contract(name: str) -> None:
    answer = json.loads(made(name, "json"))
    assert answer["version"] == 1
    for outcome in answer["outcomes"]:
        assert [station["n"] for station in outcome["stations"]] == list(range(1, len(outcome["stations"]) + 1))


@pytest.mark.parametrize("seed", [0, 1, 7, 2**31])
def test_a_sample_is_one_of_the_paths_and_always_the_same(seed: int) -> None:
    answer = Answer(made_document(TRACES["many"]))
    one, again = answer.sample(seed).answer["outcomes"], answer.sample(seed).answer["outcomes"]
    assert len(one) == 1
    assert one == again
    assert one[0] in answer.answer["outcomes"]


def test_samples_follow_the_odds() -> None:
    answer = Answer(made_document(lb_trace(nodes=1, endpoints=4)))
    ids = [answer.sample(seed).answer["outcomes"][0]["id"] for seed in range(400)]
    counts = [ids.count(outcome["id"]) for outcome in answer.answer["outcomes"]]
    assert sum(counts) == 400
    assert all(60 < count < 140 for count in counts), counts


def test_sampling_walks_the_tree_in_order() -> None:
    import random
    from fractions import Fraction

    trace: Trace = TRACES["three"]
    answer = Answer(made_document(trace))
    for seed in range(20):
        draw, so_far = Fraction(random.Random(seed).random()), Fraction(0)
        for outcome in trace.outcomes:
            so_far += outcome.probability
            if draw < so_far:
                break
        assert answer.sample(seed).answer["outcomes"][0]["id"] == outcome.id


def test_json_tells_classes_as_the_command_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """The document keeps of a class the place of its first outcome; of very many outcomes only the first of each class is told."""
    cluster = MadeCluster(3)
    cluster.service(
        "web", [cluster.pod(f"web-{i}", i % 3 + 1) for i in range(60)], type="LoadBalancer", node_port=30080, lb_ip="198.51.100.7"
    )
    read = Cluster.from_snapshot(Snapshot.from_files(cluster.files()))
    question = Query(source=parse_source("external:203.0.113.9"), destination=parse_destination("198.51.100.7:80"))
    found = diagnose(read, trace(read, question))
    answer = Answer(document(found, read.snapshot, snapshot={}, engine_version="0"))
    for most in (1_000, 100):
        for module in ("tracer.trace", "webapp.answering.document"):
            monkeypatch.setattr(f"{module}.TOLD", most)
        for expand in (False, True):
            told = json.loads(json_text(answer, TraceQuery(expand=("all",) if expand else ())))
            for outcome in (*told["outcomes"], *(one["outcome"] for one in told["classes"])):
                del outcome["stations"]
            assert told == json.loads(json.dumps(found.to_dict(expand=expand)))
            assert len(told["outcomes"]) == (180 if expand or most == 1_000 else 9)


def test_json_comes_in_parts_that_are_the_whole() -> None:
    answer = Answer(made_document(TRACES[next(iter(TRACES))]))
    parts = list(json_parts(answer, TraceQuery()))
    assert b"".join(parts) == (json.dumps(answer.answer, ensure_ascii=False, indent=1) + "\n").encode()
    many = Answer(answer.document | {"answer": {**answer.answer, "outcomes": [*answer.answer["outcomes"]] * 200}})
    sizes = [len(part) for part in json_parts(many, TraceQuery())]
    assert len(sizes) > 5
    assert max(sizes) < 200_000

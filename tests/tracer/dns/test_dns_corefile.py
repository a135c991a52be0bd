"""The Corefile: CoreDNS's own settings cases, server blocks, imports, and mutated text."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tracer.dns.conformance import cases
from tracer.dns.corefile import kubernetes_options, normal_zones, parse_corefile
from tracer.dns.kubernetes_options import KubernetesOptions, PodMode
from tracer.dns.label_expression import parse_labels
from tracer.errors import ParseError, TracerError

USUAL = """
# the usual one
.:53 {
    errors
    health {
        lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }
    rewrite name suffix .acme.example .default.svc.cluster.local answer auto
    hosts {
        192.0.2.7 printer.office.example printer
        fallthrough
    }
    prometheus :9153
    forward . /etc/resolv.conf {
        max_concurrent 1000
    }
    cache 30 {
        disable success cluster.local
    }
    loop
    reload
    loadbalance
}
stub.example, 10.0.0.0/24:53 dns://other.example:1053 {
    forward . 192.0.2.53
}
"""


def kubernetes(text: str) -> KubernetesOptions:
    block = parse_corefile(f". {{\n{text}\n}}").blocks[0]
    line = block.plugin("kubernetes")
    assert line is not None
    return kubernetes_options(line, block.zones)


@pytest.mark.needs_shared
def test_settings_are_read_and_refused_as_coredns_does(shared: Path) -> None:
    read = 0
    for case in cases(shared, "setup"):
        if case["should_err"]:
            with pytest.raises(ParseError):
                kubernetes(case["corefile"])
            continue
        options, actual = kubernetes(case["corefile"]), case["actual"]
        read += 1
        assert list(options.zones) == actual["zones"], case["id"]
        assert options.pods == actual["pods"], case["id"]
        assert options.ttl == actual["ttl"], case["id"]
        assert sorted(options.namespaces) == sorted(actual["namespaces"]), case["id"]
        assert options.endpoint_pod_names is actual["endpoint_pod_names"], case["id"]
        assert options.ignore_empty_service is actual["ignore_empty_service"], case["id"]
        assert list(options.multicluster) == (actual["multicluster_zones"] or []), case["id"]
        assert (None if options.fallthrough is None else list(options.fallthrough)) == actual["fallthrough_zones"], case["id"]
        assert (options.labels is not None) is bool(case["expected"]["label_selector"]), case["id"]
        assert (options.namespace_labels is not None) is bool(case["expected"]["namespace_label_selector"]), case["id"]
    assert read == 17


def test_the_usual_corefile() -> None:
    corefile = parse_corefile(USUAL)
    assert [(b.zones, b.port) for b in corefile.blocks] == [
        ((".",), 53),
        (("stub.example.", "0.0.10.in-addr.arpa."), 53),
        (("other.example.",), 1053),
    ]
    block = corefile.blocks[0]
    line = block.plugin("kubernetes")
    assert line is not None
    options = kubernetes_options(line, block.zones)
    assert options.pods is PodMode.INSECURE
    assert options.primary_zone == "cluster.local."
    assert options.falls_through("1.0.0.10.in-addr.arpa.")
    assert not options.falls_through("x.cluster.local.")


@pytest.mark.parametrize(
    ("name", "zones"),
    [
        ("a.stub.example.", ("stub.example.", "0.0.10.in-addr.arpa.")),
        ("7.0.0.10.in-addr.arpa.", ("stub.example.", "0.0.10.in-addr.arpa.")),
        ("a.other.example.", (".",)),
        ("notstub.example.", (".",)),
    ],
)
def test_the_longest_zone_answers(name: str, zones: tuple[str, ...]) -> None:
    block = parse_corefile(USUAL).block_for(name)
    assert block is not None
    assert block.zones == zones


@pytest.mark.parametrize(
    ("text", "zones"),
    [
        ("10.96.0.0/16", ("96.10.in-addr.arpa.",)),
        ("10.96.0.0/15", ("96.10.in-addr.arpa.", "97.10.in-addr.arpa.")),
        ("0.0.0.0/0", ("in-addr.arpa.",)),
        ("fd00:10::/32", ("0.1.0.0.0.0.d.f.ip6.arpa.",)),
        ("Example.ORG", ("example.org.",)),
        (".", (".",)),
    ],
)
def test_zones_of_names_and_networks(text: str, zones: tuple[str, ...]) -> None:
    assert normal_zones(text) == zones


def test_snippets_and_files_are_imported() -> None:
    text = "(logged) {\n log\n errors\n}\n. {\n import logged\n import custom/*.override\n}\nimport custom/*.server\n"
    files = {"a.override": "ttl_of_mine 5\n", "b.server": "corp.example {\n forward . 192.0.2.1\n}\n"}
    corefile = parse_corefile(text, files=files)
    assert [b.zones for b in corefile.blocks] == [(".",), ("corp.example.",)]
    assert [p.name for p in corefile.blocks[0].plugins] == ["log", "errors", "ttl_of_mine"]
    assert corefile.blocks[0].plugins[2].file == "a.override"


def test_a_corefile_without_braces() -> None:
    corefile = parse_corefile("cluster.local\nkubernetes\ncache 30\n")
    assert [p.words for p in corefile.blocks[0].plugins] == [("kubernetes",), ("cache", "30")]


@pytest.mark.parametrize(
    "text",
    [". {\n errors\n", ". {\n a {\n b\n }\n", ". }", ". {\n kubernetes in-addr.arpa\n}", "ftp://. {\n}", ".:99999 {\n}", ". {\n import\n}"],
)
def test_malformed_text_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse_corefile(text)
    assert caught.value.faults[0].file == "Corefile"
    assert caught.value.faults[0].line


def test_an_import_of_itself_ends() -> None:
    with pytest.raises(ParseError, match="imports do not end"):
        parse_corefile(". {\n import a.conf\n}", files={"a.conf": "import a.conf\n"})


@pytest.mark.parametrize(
    ("text", "labels", "fits"),
    [
        ("a=b", {"a": "b"}, True),
        ("a!=b", {}, True),
        ("a in (b, c),d", {"a": "c", "d": ""}, True),
        ("a notin (b)", {"a": "b"}, False),
        ("!a", {"a": ""}, False),
    ],
)
def test_label_expressions(text: str, labels: dict[str, str], fits: bool) -> None:
    assert parse_labels(text).matches(labels) is fits


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_mutated_text_is_read_or_refused(data: st.DataObject) -> None:
    """Cutting, doubling and changing characters anywhere gives a Corefile or a TracerError, nothing else."""
    text = USUAL
    for _ in range(data.draw(st.integers(1, 5))):
        start = data.draw(st.integers(0, len(text)))
        stop = data.draw(st.integers(start, min(start + 30, len(text))))
        text = (
            text[:start]
            + data.draw(st.sampled_from(["", "{", "}", '"', "\n", "import x", "0" * 12, "\x00", "٣", text[start:stop] * 2]))
            + text[stop:]
        )
    try:
        corefile = parse_corefile(text, files={"x": text[:200]})
    except TracerError:
        return
    assert all(zone.endswith(".") for block in corefile.blocks for zone in block.zones)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(TracerError):
        parse_corefile(text)

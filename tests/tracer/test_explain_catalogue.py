"""The catalogue is complete, consistent, and searchable."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tracer.explain.catalogue import CATALOGUE, by_theme, explain, nearest_codes, search, severity_of, worst_finding
from tracer.explain.explanation import Severity, Theme
from tracer.trace import Reason

ROOT = Path(__file__).resolve().parents[2]
FAILURES = [
    "PORT_NAME_MISMATCH",
    "TARGET_PORT_UNPROVEN",
    "ETP_LOCAL_NO_LOCAL_ENDPOINT",
    "ITP_LOCAL_NO_LOCAL_ENDPOINT",
    "LB_IP_DROPPED_ON_NODE",
    "CLIENT_IP_LOST",
    "HAIRPIN_WITHOUT_MASQ",
    "CONNTRACK_TO_REMOVED_ENDPOINT",
    "CONNTRACK_WITHOUT_NAT",
    "RULES_BEHIND_OBJECTS",
    "LEFTOVER_RULES",
    "DROP_WITHOUT_MARK",
    "INVALID_NOT_DROPPED",
    "FORWARD_POLICY_DROP",
    "AFFINITY_PINS_CLIENT",
    "ZONE_HINTS_UNUSED",
    "IPVS_CONNECTION_REUSED",
    "VXLAN_CHECKSUM",
    "DNS_QUERY_RACE",
    "DNS_SEARCH_EXPANSION",
    "DNS_BLOCKED",
    "LB_SOURCE_RANGE_DENIED",
    "LB_BYPASSED",
    "NODE_PORT_IN_LOCAL_RANGE",
    "NODE_PORT_NOT_ON_LOOPBACK",
]
SPELLING = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*", re.ASCII)
# Calls whose code is a reason's: by position where the class takes it positionally.
CARRIERS = {"Reason", "Unknown", "QueryError", "Finding"}


def emitted_codes(source: str) -> Iterator[tuple[str, int]]:
    """Yield every code literal that *source* emits, with its line: keyword ``code=``, class attribute ``code``, or first argument."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            values = [k.value for k in node.keywords if k.arg == "code"]
            if name in CARRIERS - {"QueryError"}:
                values += node.args[:1]
            for value in values:
                for constant in ast.walk(value):
                    if isinstance(constant, ast.Constant) and isinstance(constant.value, str) and SPELLING.fullmatch(constant.value):
                        yield constant.value, node.lineno
        elif isinstance(node, ast.ClassDef):
            for statement in node.body:
                if (
                    isinstance(statement, ast.Assign)
                    and getattr(statement.targets[0], "id", "") == "code"
                    and isinstance(statement.value, ast.Constant)
                ):
                    yield str(statement.value.value), statement.lineno


def test_the_collector_finds_each_form():
    source = 'class E:\n    code = "A_B"\nReason(code="C_D", text="x")\nUnknown("E_F", "x")\n'
    source += 'raise QueryError("NOT this", code="G_H" if x else "I_J")'
    assert {code for code, _ in emitted_codes(source)} == {"A_B", "C_D", "E_F", "G_H", "I_J"}


@pytest.mark.parametrize("folder", ["tracer", "webapp"])
def test_every_emitted_code_has_an_entry(folder):
    missing = [
        f"{path.relative_to(ROOT)}:{line} {code}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for code, line in emitted_codes(path.read_text())
        if code not in CATALOGUE
    ]
    assert not missing, "codes without an entry in tracer/explain:\n" + "\n".join(missing)


@pytest.mark.parametrize("folder", ["tracer/simulate", "tracer/topology", "webapp/presenters"])
def test_what_looks_like_a_code_has_an_entry(folder):
    """Here codes also travel as plain arguments and keys of tables: every word_in_capitals must be one."""
    words = {
        (str(path.relative_to(ROOT)), node.lineno, node.value)
        for path in sorted((ROOT / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SPELLING.fullmatch(node.value) and "_" in node.value
    }
    assert [word for word in sorted(words) if word[2] not in CATALOGUE] == []


def test_the_collector_sees_the_project():
    codes = {code for path in (ROOT / "tracer").rglob("*.py") for code, _ in emitted_codes(path.read_text())}
    assert {"BAD_PORT", "NOT_BUILT", "SNAPSHOT_ERROR"} <= codes


@pytest.mark.parametrize("code", FAILURES)
def test_every_failure_is_explained(code):
    entry = CATALOGUE[code]
    assert entry.confirm, "a failure can be confirmed"
    assert entry.fix, "a failure can be fixed"
    assert entry.sources, "a failure has been seen somewhere"


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=lambda entry: entry.code)
def test_entry_is_complete(entry):
    assert SPELLING.fullmatch(entry.code)
    assert entry.sentence.endswith(".")
    assert not entry.title.endswith(".")
    assert entry.meaning
    assert all(text.strip() == text and text for text in (*entry.meaning, entry.title))
    assert all(remedy.action and remedy.trade_off for remedy in entry.fix)
    assert all(check.look_for.endswith(".") for check in entry.confirm)
    assert all(check.command is None or "\n" not in check.command for check in entry.confirm)
    assert all(source.url is None or source.url.startswith("https://") for source in entry.sources)


def test_titles_are_distinct():
    titles = [entry.title for entry in CATALOGUE.values()]
    assert sorted(set(titles)) == sorted(titles)


def test_the_catalogue_cannot_be_changed():
    with pytest.raises(TypeError):
        CATALOGUE["X"] = CATALOGUE["DELIVERED"]


def test_explain_answers_none_for_an_unknown_code():
    assert explain("NO_SUCH_CODE") is None
    assert explain("CLIENT_IP_LOST").title == "The client's address is lost"


@pytest.mark.parametrize(
    ("codes", "worst"),
    [
        ((), None),
        (("DELIVERED",), "DELIVERED"),
        (("DELIVERED", "CLIENT_IP_LOST", "LB_BYPASSED"), "CLIENT_IP_LOST"),
        (("CLIENT_IP_LOST", "HAIRPIN_OFF", "DELIVERED"), "HAIRPIN_OFF"),
        (("RULE_DROP", "HAIRPIN_OFF"), "RULE_DROP"),
        (("LB_BYPASSED", "NOT_IN_THE_CATALOGUE"), "NOT_IN_THE_CATALOGUE"),
    ],
)
def test_worst_finding(codes, worst):
    found = worst_finding(Reason(code=code, text="") for code in codes)
    assert (found and found.code) == worst


def test_severities_are_ordered():
    assert [severity.value for severity in sorted(Severity, key=lambda s: s.rank)] == ["fault", "warning", "notice", "info"]
    assert severity_of("NOT_IN_THE_CATALOGUE") is Severity.WARNING


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("client-ip-lost", "CLIENT_IP_LOST"),
        ("NO_ROUT", "NO_ROUTE"),
        ("hairpin", "HAIRPIN_WITHOUT_MASQ"),
        ("CLIENT_IP_LOTS", "CLIENT_IP_LOST"),
        ("zzzz", None),
    ],
)
def test_nearest_codes(text, first):
    assert next(iter(nearest_codes(text)), None) == first


def test_search_wants_every_word():
    assert "HAIRPIN_OFF" in {entry.code for entry in search("hairpin BRIDGE")}
    assert "HAIRPIN_WITHOUT_MASQ" not in {entry.code for entry in search("hairpin bridge port it came")}
    assert search("no-such-word-anywhere") == ()
    assert len(search("")) == len(CATALOGUE)


def test_by_theme_keeps_every_entry_once():
    groups = by_theme(CATALOGUE.values())
    assert [theme for theme, _ in groups] == list(Theme)
    assert [entry.code for _, entries in groups for entry in entries] == list(CATALOGUE)

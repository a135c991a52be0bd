"""The mutations themselves: what each kind makes of a line, that a draw stays the same, and who is asked."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.mutants.covered import Recorded, _is_right, is_beside, meeting
from tests.mutants.draw import PACKAGES, drawn
from tests.mutants.equivalent import equivalents
from tests.mutants.journal import Journal
from tests.mutants.kinds import Kind, Mutation, compiles, mutations_of
from tests.mutants.report import difference, table
from tests.mutants.session import IMPORTED
from tests.mutants.tree import ROOT
from tests.mutants.trial import Outcome, Verdict

SOURCE = '''\
"""A docstring with 4 and ip6."""

from typing import Literal

LIMIT = 10
Version = Literal[4, 6]


def first(found: list[int], version: int = 4) -> int | None:
    """Return 1."""
    if not found or version < LIMIT:
        return None
    self.seen = found[0]
    note(version)
    if version == 6:
        raise ValueError("not 6 of 4")
    return len([x for x in found if x > 2]) if found and version == 4 else size("ip6", "ip-addr.json")


def second(value: object) -> None:
    match value:
        case str() if value:
            print("two words ip", IPv4Address)
        case _:
            assert_never(value)
    return IPv6Address
'''


def made(kind: Kind) -> set[tuple[str, str]]:
    return {(m.old.strip(), m.new.strip()) for m in mutations_of("x.py", SOURCE.encode()) if m.kind is kind}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (
            Kind.STATEMENT,
            {
                ("self.seen = found[0]", "pass"),
                ("note(version)", "pass"),
                ('raise ValueError("not 6 of 4")', "pass"),
                ('print("two words ip", IPv4Address)', "pass"),
            },
        ),
        (
            Kind.GUARD,
            {
                ("if not found or version < LIMIT:\n        return None", "pass"),
                ('if version == 6:\n        raise ValueError("not 6 of 4")', "pass"),
                ("x > 2", "True"),
                ("value", "True"),
            },
        ),
        (
            Kind.NEGATED,
            {
                ("not found", "found"),
                ("<", ">="),
                ("==", "!="),
                (">", "<="),
                ("found", "(not (found))"),
                ("value", "(not (value))"),
            },
        ),
        (
            Kind.DROPPED,
            {
                ("not found or version < LIMIT", "((version < LIMIT))"),
                ("not found or version < LIMIT", "((not found))"),
                ("found and version == 4", "((version == 4))"),
                ("found and version == 4", "((found))"),
            },
        ),
        (Kind.OFF_BY_ONE, {("10", "11"), ("4", "5"), ("6", "7"), ("0", "1"), ("2", "3"), ("<", "<="), (">", ">=")}),
        (
            Kind.FAMILY,
            {
                ("4", "6"),
                ("6", "4"),
                ('"ip6"', '"ip"'),
                ('"ip-addr.json"', '"ip6-addr.json"'),
                ("IPv4Address", "IPv6Address"),
                ("IPv6Address", "IPv4Address"),
            },
        ),
    ],
)
def test_what_each_kind_makes(kind: Kind, expected: set[tuple[str, str]]) -> None:
    assert made(kind) == expected


def test_every_mutation_of_the_sample_compiles_and_changes_one_place() -> None:
    source = SOURCE.encode()
    for mutation in mutations_of("x.py", source):
        after = mutation.applied(source)
        assert compiles(after)
        assert after != source
        assert after.startswith(source[: mutation.start])
        assert after.endswith(source[mutation.end :])


def test_a_key_stays_when_other_lines_change_and_tells_mutations_apart() -> None:
    before = mutations_of("x.py", SOURCE.encode())
    after = mutations_of("x.py", SOURCE.replace("LIMIT = 10\n", "# a remark\nLIMIT = 10\nMORE = 0\n").encode())
    keys = {m.key for m in before}
    assert len(keys) == len(before)
    assert len(keys - {m.key for m in after}) == 0


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for place, package in enumerate(PACKAGES):
        (tmp_path / package).mkdir(parents=True)
        (tmp_path / package / "a.py").write_text(SOURCE)
        (tmp_path / package / "b.py").write_text(SOURCE.replace("LIMIT", f"BOUND{place}"))
    return tmp_path


def test_a_draw_is_the_same_again_and_spread_over_packages_and_kinds(tree: Path) -> None:
    found = drawn(tree, 7, 60)
    assert len(found) == 60
    assert drawn(tree, 7, 60) == found
    assert drawn(tree, 7, 30) == found[:30]
    assert drawn(tree, 8, 60) != found
    cells = [(m.file.rpartition("/")[0], m.kind) for m in found[:30]]
    assert len(set(cells)) == 30
    assert len({(m.file, m.start, m.end) for m in found}) == 60


def test_a_change_of_one_file_leaves_the_draw_of_the_others(tree: Path) -> None:
    before = {m.key for m in drawn(tree, 7, 60)}
    (tree / PACKAGES[0] / "a.py").write_text(SOURCE + "\n\ndef third() -> None:\n    note(5)\n")
    after = {m.key for m in drawn(tree, 7, 60)}
    assert len(before - after) <= 2


def recorded(test_file: str, **lines: dict[str, int]) -> Recorded:
    seconds = {"t.py::slow": 2.0, "t.py::quick": 0.1}
    return Recorded(test_file=test_file, seconds=seconds, failed=(), lines={"tracer/ipvs/a.py": {}} | {"tracer/ipvs/a.py": lines["a"]})


def mutation(kind: Kind, old: str) -> Mutation:
    return next(m for m in mutations_of("tracer/ipvs/a.py", SOURCE.encode()) if m.kind is kind and m.old.strip() == old)


def test_the_tests_that_run_a_line_are_asked_quickest_first() -> None:
    note, limit = mutation(Kind.STATEMENT, "note(version)"), mutation(Kind.OFF_BY_ONE, "10")
    bit = 1 << note.lines.start
    both = recorded("t.py", a={"t.py::slow": bit, "t.py::quick": bit | 2})
    assert [name for name, _ in meeting(note, [both])] == ["t.py::quick", "t.py::slow"]
    one = recorded("t.py", a={"t.py::slow": bit, "t.py::quick": 2})
    assert [name for name, _ in meeting(note, [one])] == ["t.py::slow"]
    assert meeting(note, [recorded("t.py", a={"t.py::slow": 2})]) == ()
    # A fixture's work matters to every test of the file; a line that runs on import, to every test that runs anything of the package.
    fixture = recorded("t.py", a={IMPORTED: bit})
    assert [name for name, _ in meeting(note, [fixture])] == ["t.py::quick", "t.py::slow"]
    imported = recorded("t.py", a={IMPORTED: 1 << limit.lines.start, "t.py::slow": bit})
    assert [name for name, _ in meeting(limit, [imported])] == ["t.py::slow"]
    # A test beside the module that runs nothing may look at what it holds.
    beside = replace(imported, test_file="tests/tracer/ipvs/test_a.py")
    assert [name for name, _ in meeting(limit, [beside])] == ["t.py::quick", "t.py::slow"]


def test_a_catch_counts_on_while_its_two_files_are_the_same(tmp_path: Path) -> None:
    mutations = drawn(ROOT, 1, 2)
    test = "tests/mutants/test_mutants.py"
    journal = Journal(tmp_path / "journal.jsonl", ROOT)
    assert journal.verdict(mutations[0]) is None
    journal.add(mutations[0], Verdict(outcome=Outcome.CAUGHT, by=f"{test}::x"))
    journal.add(mutations[1], Verdict(outcome=Outcome.SURVIVED, ran=1.0, of=2.0))
    again = Journal(tmp_path / "journal.jsonl", ROOT)
    assert again.verdict(mutations[0]) == Verdict(outcome=Outcome.CAUGHT, by=f"{test}::x")
    assert again.verdict(mutations[1]) == Verdict(outcome=Outcome.SURVIVED, ran=1.0, of=2.0)
    path = tmp_path / "journal.jsonl"
    state = hashlib.sha256(b"another tree").hexdigest()[:16]
    path.write_text(path.read_text().replace(f'"state": "{again._state}"', f'"state": "{state}"'))
    later = Journal(path, ROOT)
    assert later.verdict(mutations[0]) is not None
    assert later.verdict(mutations[1]) is None


def test_who_survives_the_tests_beside_it_is_tried_again_by_all(tmp_path: Path) -> None:
    assert is_beside("tests/tracer/ipvs/test_schedule.py", "tracer/ipvs/schedule.py")
    assert is_beside("tests/tracer/explain/dependencies/test_lines.py", "tracer/explain/dependencies/facets.py")
    assert not is_beside("tests/tracer/ipvs/test_schedule.py", "tracer/routing/parse.py")
    assert not is_beside("tests/tracer/explain/test_dependencies.py", "tracer/explain/dependencies/facets.py")
    mutations = drawn(ROOT, 1, 2)
    beside = Journal(tmp_path / "journal.jsonl", ROOT, asked=" beside")
    beside.add(mutations[0], Verdict(outcome=Outcome.CAUGHT, by="tests/mutants/test_mutants.py::x"))
    beside.add(mutations[1], Verdict(outcome=Outcome.SURVIVED, ran=1.0, of=2.0))
    by_all = Journal(tmp_path / "journal.jsonl", ROOT)
    assert by_all.verdict(mutations[0]) is not None
    assert by_all.verdict(mutations[1]) is None


@pytest.mark.parametrize(("bound", "right"), [(60.0, True), (8.0, True), (2.0, False)])
def test_a_shorter_recording_is_made_again(tmp_path: Path, bound: float, *, right: bool) -> None:
    held = {"bound": bound, "sources": {"tracer/ipvs/a.py": "1", "tracer/ipvs/b.py": "2"}, "lines": {"tracer/ipvs/a.py": {}}}
    (tmp_path / "t.json").write_text(json.dumps(held))
    assert _is_right(tmp_path / "t.json", {"tracer/ipvs/a.py": "1", "tracer/ipvs/b.py": "changed, but not run"}, 8.0) is right
    assert not _is_right(tmp_path / "t.json", {"tracer/ipvs/a.py": "changed"}, 8.0)
    assert not _is_right(tmp_path / "none.json", {}, 8.0)


def test_the_table_counts_and_the_difference_shows() -> None:
    note = mutation(Kind.STATEMENT, "note(version)")
    assert difference(note, SOURCE.encode()) == "    -    note(version)\n    +    pass"
    limit = mutation(Kind.OFF_BY_ONE, "10")
    shown = table([(note, Verdict(outcome=Outcome.HUNG)), (limit, Verdict(outcome=Outcome.UNMET))], frozenset())
    assert "| `tracer/ipvs` | 2 | 1 | 0 | 1 | 0 |" in shown
    assert "| all | 2 | 1 | 0 | 0 | 1 |" in table(
        [(note, Verdict(outcome=Outcome.HUNG)), (limit, Verdict(outcome=Outcome.SURVIVED))], {limit.key}
    )


def test_what_changes_nothing_is_listed_with_a_reason() -> None:
    listed = equivalents()
    assert len({e.key for e in listed}) == len(listed) <= 20
    for entry in listed:
        assert (ROOT / entry.file).is_file(), entry
        assert len(entry.reason) > 20, entry

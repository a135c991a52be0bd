"""Errors say where, and show it."""

from __future__ import annotations

from tracer.errors import Fault, ParseError, QueryError, SnapshotError, TracerError, UnsupportedError


def test_every_error_is_a_tracer_error_with_a_code() -> None:
    errors = [TracerError("x"), ParseError(), SnapshotError("x"), QueryError("x"), UnsupportedError("x")]
    codes = [e.code for e in errors]
    assert codes == ["ERROR", "PARSE_ERROR", "SNAPSHOT_ERROR", "QUERY_ERROR", "UNSUPPORTED"]


def test_fault_with_a_caret() -> None:
    fault = Fault(file="f", line=3, column=4, message="no", text="abc def")
    assert str(fault) == "f:3: no\n    abc def\n        ^"


def test_caret_of_a_long_line_stays_under_its_column() -> None:
    fault = Fault(file="f", line=3, column=500, message="no", text="a" * 500 + "X" + "b" * 500)
    _, shown, caret = str(fault).splitlines()
    assert shown[caret.index("^")] == "X"
    assert len(shown) < 130


def test_fault_without_a_line() -> None:
    assert str(Fault(file="f", line=None, column=None, message="no")) == "f: no"


def test_parse_error_carries_every_fault() -> None:
    faults = [Fault(file="f", line=i, column=0, message=f"m{i}") for i in range(3)]
    error = ParseError(*faults)
    assert error.faults == tuple(faults)
    assert str(error).splitlines() == ["f:0: m0", "f:1: m1", "f:2: m2"]


def test_query_error_names_the_field_and_the_nearest() -> None:
    error = QueryError("no", code="NODE_NOT_FOUND", field="from", near=("a", "b"))
    assert (error.code, error.field, error.near) == ("NODE_NOT_FOUND", "from", ("a", "b"))

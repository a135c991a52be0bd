"""Answers that other processes find: whole or not there, never of other code, bounded, gone with their snapshot."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from webapp.storing import stored_answers
from webapp.work import place
from webapp.work.lanes import Lane
from webapp.work.place import Elsewhere

DOCUMENT = {"answer": {"outcomes": [{"probability": "1"}], "query": {"to": "ü"}}}


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, settings) -> None:
    settings.DATA_DIR = tmp_path


def test_what_was_put_is_there() -> None:
    assert stored_answers.get("d1", "q") is None
    assert stored_answers.put("d1", "q", DOCUMENT)
    assert stored_answers.get("d1", "q") == DOCUMENT
    assert stored_answers.get("d1", "other") is None
    assert stored_answers.get("d2", "q") is None


def test_other_code_finds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    stored_answers.put("d1", "q", DOCUMENT)
    monkeypatch.setattr(stored_answers, "code_digest", lambda: "another")
    assert stored_answers.get("d1", "q") is None


def test_an_answer_of_other_limits_is_another_one(settings) -> None:
    """One that ended at a limit which the operator has raised since would go on saying so."""
    stored_answers.put("d1", "q", DOCUMENT)
    settings.QUESTION_LIMITS = replace(settings.QUESTION_LIMITS, work=settings.QUESTION_LIMITS.work + 1)
    assert stored_answers.get("d1", "q") is None


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b[:-1] + bytes([b[-1] ^ 1]), lambda b: b"x" * 9])
def test_what_is_damaged_is_not_there(tmp_path: Path, damage) -> None:
    stored_answers.put("d1", "q", DOCUMENT)
    (path,) = (tmp_path / "answers").glob("*/*")
    path.write_bytes(damage(path.read_bytes()))
    assert stored_answers.get("d1", "q") is None


def test_a_disk_that_is_full_costs_nothing_but_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(stored_answers.zstd, "packed", full)
    assert not stored_answers.put("d1", "q", DOCUMENT)
    assert list((tmp_path / "answers").glob("*/*")) == []


def test_the_ones_used_longest_ago_go_first(tmp_path: Path) -> None:
    for number in range(4):
        stored_answers.put("d1", str(number), DOCUMENT)
        os.utime(stored_answers._path("d1", str(number)), (number, number))
    assert stored_answers.get("d1", "0") == DOCUMENT
    size = stored_answers._path("d1", "0").stat().st_size
    stored_answers.sweep(3 * size)
    assert [stored_answers.get("d1", str(number)) is not None for number in range(4)] == [True, False, False, True]
    stored_answers.sweep(3 * size)
    assert stored_answers.get("d1", "3")


def test_they_go_with_their_snapshot(tmp_path: Path) -> None:
    stored_answers.put("d1", "q", DOCUMENT)
    stored_answers.put("d2", "q", DOCUMENT)
    stored_answers.forget("d1")
    assert stored_answers.get("d1", "q") is None
    assert stored_answers.get("d2", "q") == DOCUMENT
    assert not (tmp_path / "answers" / "d1").exists()


def test_what_a_killed_writer_left_goes_and_what_is_being_written_stays(tmp_path: Path) -> None:
    stored_answers.put("d1", "q", DOCUMENT)
    left = tmp_path / "answers" / "d1" / ".part-of-a-killed-process"
    left.write_bytes(b"half")
    with stored_answers._whole(tmp_path / "answers" / "d1" / "other") as file:
        stored_answers.clean_up()
        assert not left.exists()
        file.write(b"whole")
    assert (tmp_path / "answers" / "d1" / "other").read_bytes() == b"whole"
    assert stored_answers.get("d1", "q") == DOCUMENT


def test_among_the_pages_one_large_answer_is_unpacked_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that wait for it would be all the threads that pages have."""
    monkeypatch.setattr(place, "_lane", Lane.PAGES)
    large = stored_answers.LARGE + 1
    with stored_answers.one_large_at_a_time(large):
        with pytest.raises(Elsewhere) as raised, stored_answers.one_large_at_a_time(large):
            pass
        assert raised.value.lane is Lane.HEAVY
        with stored_answers.one_large_at_a_time(stored_answers.LARGE):
            pass
    with stored_answers.one_large_at_a_time(large):
        pass


def test_its_size_is_known_before_it_is_unpacked() -> None:
    assert stored_answers.size("d1", "q") == 0
    stored_answers.put("d1", "q", DOCUMENT)
    assert stored_answers.size("d1", "q") == stored_answers._path("d1", "q").stat().st_size

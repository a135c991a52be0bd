"""Inputs that people really had, each with what must hold: a case stands for a kind of fault, and none may come back.

``cases/`` has them as they are handed on, one folder each, ``found/`` those that searches of public issue trackers came to, right or wrong
(docs/field-cases.md); judge.py says how an ``expect.json`` is read.
"""

from __future__ import annotations

import html
import io
import json
import re
import tarfile
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from django.core.management import CommandError, call_command

from tests.field_cases.judge import answer_faults, import_faults, one_of, patterns

pytestmark = pytest.mark.django_db

CASES, FOUND = (Path(__file__).parent / name for name in ("cases", "found"))
FOLDERS = {folder.name: folder for folder in sorted((*CASES.iterdir(), *FOUND.iterdir()))}
NOT_READ, ATTACH, KERNEL = "Never certain of what was not read", "Whatever people attach opens", "More of the kernel"
OPEN: dict[str, str] = {}
"""Cases that do not hold yet, each with the issue that it waits for. One that holds has to leave this table."""


def _told(page: bytes) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page.decode(errors="replace"))))


class _Checked:
    """One case: what its folder says, and what the program makes of it."""

    def __init__(self, folder: Path, client: Any) -> None:
        self._case = json.loads((folder / "expect.json").read_text(encoding="utf-8"))
        self._path = folder / self._case.get("snapshot", "snapshot")
        self._client = client

    def faults(self) -> list[str]:
        """Return everything that does not hold, in words."""
        found = []
        if "import" in self._case:
            found += [f"import: {fault}" for fault in one_of(import_faults, self._stored("/snapshots/{}"), self._case["import"])]
        questions = self._case.get("questions", [])
        for asked, answer in zip(questions, self._answers(questions), strict=True):
            found += [f"{asked['question']}: {fault}" for fault in one_of(answer_faults, answer, asked["must"])]
            if told := asked.get("told"):
                page = self._stored("/c/{}/trace?" + urlencode(asked["question"]))["text"]
                found += [f"{asked['question']}: the page: {fault}" for fault in patterns(told, page)]
        return found

    def _answers(self, questions: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if not questions:
            return []
        out, lines = io.StringIO(), "".join(json.dumps({"id": str(n), **q["question"]}) + "\n" for n, q in enumerate(questions))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.stdin", io.StringIO(lines))
            try:
                call_command("trace", str(self._path), "--batch", "-", stdout=out)
            except CommandError as error:
                return [{"error": {"message": str(error)}}] * len(questions)
            except SystemExit:
                pass  # an answer is an error: its line says which
        return [json.loads(line) for line in out.getvalue().splitlines()]

    def _stored(self, page: str) -> dict[str, Any]:
        """Import it: whether it was accepted, what is said on the *page*, and the stored files' bytes."""
        out = io.StringIO()
        try:
            call_command("import_snapshot", str(self._path), stdout=out)
        except CommandError as refusal:
            return {"accepted": False, "page": "", "stored": b"", "text": str(refusal), "crashed": False}
        slug = out.getvalue().split()[-1]
        shown = _told(self._client.get(page.format(slug)).content)
        archive = b"".join(self._client.get(f"/snapshots/{slug}/download"))
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            stored = b"\n".join((files.extractfile(m) or io.BytesIO()).read() for m in files if m.isfile())
        return {"accepted": True, "page": shown, "text": shown, "stored": stored, "crashed": False}


@pytest.mark.parametrize("slug", sorted(FOLDERS))
def test_what_must_hold_holds(slug: str, client: Any, own_storage: Path) -> None:
    faults = _Checked(FOLDERS[slug], client).faults()
    if issue := OPEN.get(slug):
        assert faults, f"{slug} holds: take it out of OPEN ({issue})"
        pytest.xfail(f"{issue}: {faults[0][:120]}")
    assert not faults


def test_every_open_case_is_one() -> None:
    assert set(OPEN) <= set(FOLDERS)


def test_every_found_case_is_in_the_document() -> None:
    told = (Path(__file__).parents[2] / "docs" / "field-cases.md").read_text(encoding="utf-8")
    assert [folder.name for folder in FOUND.iterdir() if f"`{folder.name}`" not in told] == []
    assert not {folder.name for folder in FOUND.iterdir()} & {folder.name for folder in CASES.iterdir()}


def test_the_cases_are_those_that_are_handed_on(shared: Path) -> None:
    handed = {folder.name for folder in (shared / "cases").iterdir() if folder.is_dir()}
    assert handed <= {folder.name for folder in CASES.iterdir()}

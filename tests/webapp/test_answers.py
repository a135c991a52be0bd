"""The answer document with what is derived from it: the picture is made once for all steps of a path."""

from __future__ import annotations

from tests.made_traces import lb_trace
from tracer.graph import build
from webapp.answering.document import Answer, document

ASKED = {"detail": "chains", "group": "", "expand": (), "find": ""}


class NoLines:
    def lines(self, path: str) -> list[str]:
        return []


def made() -> Answer:
    return Answer(document(lb_trace(), NoLines(), snapshot={"id": "x"}, engine_version="1"))


def test_the_picture_is_what_build_makes() -> None:
    answer = made()
    for path in answer.paths:
        assert answer.graph(follow=path.id, **ASKED) == build(answer.answer, paths=answer.paths, follow=path.id, **ASKED)


def test_it_is_made_once_for_each_way_of_looking() -> None:
    answer = made()
    one, other = (path.id for path in answer.paths[:2])
    first = answer.graph(follow=one, **ASKED)
    assert answer.graph(follow=one, **ASKED) is first
    assert answer.graph(follow=other, **ASKED) is not first
    assert answer.graph(follow=one, **ASKED | {"detail": "objects"}) != first
    assert made().graph(follow=one, **ASKED) is not first

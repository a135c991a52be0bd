"""A page opens on the path on which the headline's step lies, whatever the question."""

from __future__ import annotations

from tests.webapp.test_tape_drawn import RECORDINGS, answer_of, cluster_of
from tracer.explain.example_queries import example_queries
from tracer.graph import most_likely
from webapp.presenters.verdict import path_to_show, verdict


def test_the_headline_is_told_from_the_path_that_is_shown() -> None:
    elsewhere = 0
    for name in RECORDINGS:
        for example in example_queries(cluster_of(name).objects, most=30):
            answer = answer_of(cluster_of(name), example.query)
            shown = path_to_show(answer.answer, answer.paths)
            said = verdict(answer.answer, answer.paths, shown)
            assert not said.follow, (name, answer.answer["query"])
            assert said.step <= len(answer.answer["outcomes"][shown.index]["stations"])
            elsewhere += verdict(answer.answer, answer.paths, most_likely(answer.paths)).follow != ""
    assert elsewhere, "no example has its headline on another path than the likeliest"

"""One seeded sample of a trace: the path that one connection with these random numbers would take."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from tracer.probability import rounded
from tracer.told_odds import read_odds, told
from webapp.answering.outcome_dicts import SomeOpened

Json = Mapping[str, Any]


def sampled(answer: Json, seed: int) -> dict[str, Any]:
    """Return *answer* with one outcome: the one that :func:`place_of_sample` draws of all.

    The outcomes stand in the tree's own order, so this is a walk of the tree. The outcome keeps its probability.
    """
    outcomes = answer["outcomes"]
    odds = odds_of(outcomes)
    place = place_of_sample(odds, seed)
    chosen = {**outcomes[place], **told(odds[place])}  # not after another outcome, which is not there
    shown = {key: value for key, value in answer.items() if key != "classes"}
    return {**shown, "query": {**answer["query"], "seed": seed}, "outcomes": [chosen]}


def place_of_sample(shares: Sequence[Fraction], seed: int) -> int:
    """Return which of *shares*, which are 1 in all, ``random.Random(seed)`` draws: the first at which their sum exceeds its number."""
    draw, so_far = Fraction(random.Random(seed).random()), Fraction(0)  # noqa: S311 - a reproducible sample, not a secret
    for place, share in enumerate(rounded(shares)):
        so_far += share
        if draw < so_far:
            return place
    return len(shares) - 1


def odds_of(outcomes: Sequence[Json]) -> Sequence[Fraction]:
    """Return the exact odds of a document's *outcomes*."""
    return outcomes.odds if isinstance(outcomes, SomeOpened) else read_odds(outcomes)

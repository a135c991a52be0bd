"""One seeded sample of a trace: the path that one connection with these random numbers would take."""

from __future__ import annotations

import random
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from tracer.probability import from_text

Json = Mapping[str, Any]


def sampled(answer: Json, seed: int) -> dict[str, Any]:
    """Return *answer* with one outcome: the first whose cumulative probability exceeds the draw of ``random.Random(seed)``.

    The outcomes stand in the tree's own order, so this is a walk of the tree. The outcome keeps its probability.
    """
    draw = Fraction(random.Random(seed).random())  # noqa: S311 - a reproducible sample, not a secret
    so_far = Fraction(0)
    chosen = answer["outcomes"][-1:]
    for outcome in answer["outcomes"]:
        so_far += from_text(outcome["probability"])
        if draw < so_far:
            chosen = [outcome]
            break
    return {**answer, "query": {**answer["query"], "seed": seed}, "outcomes": list(chosen)}

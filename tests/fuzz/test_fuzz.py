"""A slice of the fuzzing; ``make fuzz`` runs the full size."""

from __future__ import annotations

import random

import pytest

from tests.fuzz import mutate
from tests.fuzz.readers import Reader, readers
from tests.fuzz.run import escapes

SLICE, WALKS = 60, 3


@pytest.mark.parametrize("reader", readers(), ids=lambda reader: reader.name)
def test_mutated_input_raises_only_tracer_errors(reader: Reader) -> None:
    seed = random.SystemRandom().randrange(10**6)
    found = list(escapes(reader, WALKS if reader.name.startswith("walk ") else SLICE, seed))
    assert not found, f"seed {seed}: {found[0].error}\n{found[0].text[:2000]}"


@pytest.mark.parametrize("reader", readers(), ids=lambda reader: reader.name)
def test_the_seeds_are_true_inputs(reader: Reader) -> None:
    for seed in reader.seeds:
        assert len(seed) > 20
        reader.read(seed)


def test_what_is_there_hundreds_of_times_in_itself_is_not_written_out() -> None:
    value: list[object] = ["x"]
    for _ in range(4):
        value = [value] * 300
    assert len(mutate._holders(value)) < mutate._MOST_PLACES + 400

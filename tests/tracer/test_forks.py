"""Draws in a row that leave a packet in its way are one fork, and every way has its own."""

from __future__ import annotations

from itertools import product

from tracer.forks import Fork, drawn, taken_or_left


def test_every_way_through_rules_of_chance_has_forks_of_its_own() -> None:
    found = set()
    for ways in product((True, False), repeat=4):
        forks: tuple[Fork, ...] = (drawn("before"),)
        for number, is_taken in enumerate(ways):
            forks = taken_or_left(forks, f"rule {number}")[0 if is_taken else 1]
        found.add(forks)
    assert len(found) == 2**4


def test_a_service_of_many_endpoints_has_one_fork_an_endpoint() -> None:
    forks: tuple[Fork, ...] = ()
    ends = set()
    for number in range(1000):
        taken, forks = taken_or_left(forks, f"rule {number}")
        ends.add(taken)
    assert {len(one) for one in (*ends, forks)} == {1}
    assert len({*ends, forks}) == 1001
    assert {fork.question for one in (*ends, forks) for fork in one} == {"rule 0"}
    assert all(fork.anew for one in (*ends, forks) for fork in one)

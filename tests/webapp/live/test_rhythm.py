"""When nodes are due after events."""

from __future__ import annotations

from webapp.live.rhythm import Rhythm, Rounds

RHYTHM = Rhythm(quiet=1.0, longest=5.0, again=(3.0, 10.0))


def rounds_at(times: list[float], events: list[float]) -> list[float]:
    """Return at which of *times* a round is due when *events* happen."""
    rounds, found = Rounds(RHYTHM), []
    for now in times:
        for _ in [event for event in events if event == now]:
            rounds.note(now)
        if rounds.take(now):
            found.append(now)
    return found


def test_after_an_event_it_waits_for_quiet_and_reads_again() -> None:
    assert rounds_at([float(n) for n in range(30)], [2.0]) == [3.0, 6.0, 13.0]


def test_events_without_end_do_not_put_it_off_for_ever() -> None:
    assert rounds_at([n / 2 for n in range(16)], [n / 2 for n in range(16)]) == [5.0]


def test_later_events_replace_the_rounds_to_come() -> None:
    assert rounds_at([float(n) for n in range(30)], [2.0, 4.0]) == [3.0, 5.0, 8.0, 15.0]


def test_without_events_nothing_is_due() -> None:
    rounds = Rounds(RHYTHM)
    assert not rounds.take(1e6)
    assert rounds.wait(1e6) is None


def test_it_says_how_long_to_wait() -> None:
    rounds = Rounds(RHYTHM)
    rounds.note(10.0)
    assert rounds.wait(10.0) == 1.0
    assert rounds.take(11.0)
    assert rounds.wait(11.0) == 3.0


def test_two_rounds_that_are_late_are_one() -> None:
    rounds = Rounds(RHYTHM)
    rounds.note(0.0)
    assert rounds.take(1.0)
    assert rounds.take(100.0)
    assert not rounds.take(101.0)

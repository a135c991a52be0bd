"""Where a timeline stands as it plays."""

from __future__ import annotations

import pytest

from webapp.recorded_api import Playback

LENGTH = 40.0


@pytest.mark.parametrize(
    ("playback", "now", "position"),
    [
        (Playback(position=5, set_at=100), 200, 5),
        (Playback(position=5, playing=True, set_at=100), 110, 15),
        (Playback(position=5, playing=True, speed=2, set_at=100), 110, 25),
        (Playback(position=5, playing=True, set_at=100), 500, 40),
        (Playback(position=5, playing=True, set_at=100), 90, 5),
        (Playback(position=99, set_at=100), 100, 40),
    ],
)
def test_position_at(playback: Playback, now: float, position: float) -> None:
    assert playback.position_at(now, LENGTH) == position
    assert playback.has_ended(now, LENGTH) is (position == LENGTH)
    assert Playback.from_dict(playback.to_dict()) == playback


def test_changes_keep_the_place() -> None:
    playing = Playback(playing=True, set_at=100)
    faster = playing.changed(110, LENGTH, speed=4)
    assert (faster.position, faster.position_at(112, LENGTH)) == (10, 18)
    paused = faster.changed(112, LENGTH, playing=False)
    assert (paused.position_at(500, LENGTH), paused.playing) == (18, False)
    assert paused.changed(600, LENGTH, position=3).position_at(700, LENGTH) == 3
    assert paused.changed(600, LENGTH, position=-3).position == 0
    assert paused.changed(600, LENGTH, position=999).position == LENGTH
    assert paused.changed(600, LENGTH, speed=1e9).speed == 60


def test_playing_on_from_the_end_starts_again() -> None:
    ended = Playback(position=LENGTH, set_at=100)
    assert ended.changed(200, LENGTH, playing=True).position == 0
    assert ended.changed(200, LENGTH, speed=2).position == LENGTH
    assert ended.changed(200, LENGTH, playing=True, position=LENGTH).position == LENGTH


@pytest.mark.parametrize(
    "value", [{}, {"position": "x", "speed": None, "playing": 1}, {"position": float("nan"), "speed": True, "set_at": []}]
)
def test_what_is_no_number_has_its_default(value: dict[str, object]) -> None:
    assert Playback.from_dict(value) == Playback()


def test_numbers_out_of_range_are_brought_in() -> None:
    assert Playback.from_dict({"position": -4, "speed": 0}) == Playback(position=0, speed=0.1)

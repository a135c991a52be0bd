"""A timeline's rail, what a page keeps of its answer, and the words for how fresh a cluster is."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from tracer.graph import Path
from webapp.live.announce import source_message
from webapp.models import LiveSource
from webapp.presenters.facts import MOST_ENDS, facts
from webapp.presenters.shown import Shown, end_of
from webapp.presenters.source import freshness
from webapp.presenters.timeline_bar import FASTEST, SLOWEST, position_of, settled_at, timeline
from webapp.recorded_api import playback

NOW = 1_795_203_500.0
STEPS = [
    {"title": "as it was", "starts": 0, "position": 0},
    {"title": "scaled", "starts": 2.0, "position": 6.0},
    {"title": "recovers", "starts": 7.0, "position": 9.0},
]


def followed(seconds: float = 3600) -> datetime:
    """Return until when somebody follows a source."""
    return timezone.now() + timedelta(seconds=seconds)


def played(**playback: object) -> LiveSource:
    stands = {"position": 0.0, "speed": 1.0, "playing": False, "set_at": NOW, "duration": 10.0, "steps": STEPS}
    return LiveSource(id="x", name="x", kind="timeline", state="live", lease_until=followed(), playback=stands | playback)


def path(target: str, *, odds: str = "1/3", state: str = "ready", disposition: str = "delivered", conditions: tuple[str, ...] = ()) -> Path:
    return Path(
        index=0,
        id=f"{abs(hash((target, odds))) % 16**10:010x}",
        probability=Fraction(odds),
        disposition=disposition,
        conditions=conditions,
        target=target,
        title=target,
        subtitle="10.0.0.1",
        node="n",
        stops=(),
        replies=(),
        behaviour=(),
        state=state,
    )


# --- the rail ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("position", "number", "place"), [(0.0, 1, "0.000"), (1.0, 1, "0.500"), (2.0, 2, "1.000"), (4.5, 2, "1.500"), (10.0, 3, "3.000")]
)
def test_a_moment_has_its_place_on_the_rail(position: float, number: int, place: str) -> None:
    bar = timeline(played(position=position), NOW)
    assert (bar.number, bar.place, bar.last, bar.total) == (number, place, 3, 3)
    assert [tick.current for tick in bar.ticks].index(True) == number - 1
    assert bar.at_end is (position == 10.0)


@given(place=st.floats(0, 3))
def test_a_place_and_its_moment_are_one(place: float) -> None:
    row = played()
    position = position_of(row.playback, place)
    assert float(timeline(played(position=position), NOW).place) == pytest.approx(place, abs=2e-3)


def test_what_plays_moves_with_the_clock() -> None:
    assert timeline(played(playing=True, speed=2.0), NOW + 2).position == "4.00"
    assert timeline(played(playing=True), NOW + 99).at_end


def test_a_speed_that_no_list_has_is_offered_too() -> None:
    assert ("3", True) in timeline(played(speed=3.0), NOW).speeds


def test_a_snapshot_that_is_played_has_one_step() -> None:
    bar = timeline(played(steps=[STEPS[0]], duration=0.0), NOW)
    assert (bar.total, bar.place, bar.at_end) == (1, "1.000", True)
    assert position_of({"steps": [STEPS[0]], "duration": 0.0}, 0.5) == 0.0


@pytest.mark.parametrize("step", [-1, 3, 99])
def test_there_is_no_such_step(step: int) -> None:
    with pytest.raises(ValueError, match="from 0 to 2"):
        settled_at({"steps": STEPS}, step)


def test_the_speeds_are_those_of_the_player() -> None:
    assert (SLOWEST, FASTEST) == (playback.SLOWEST, playback.FASTEST)


# --- how fresh ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "state", "text"),
    [
        ({"state": "connecting"}, "connecting", "Connecting"),
        ({"state": "live"}, "live", "Live"),
        ({"state": "live", "nodes": {"n": {"files": {"f": {"read_at": NOW}}}}}, "live", "Live, rules read 19:38:20"),
        ({"state": "stale", "changed_at": datetime(2026, 11, 3, 12, 4, 10, tzinfo=UTC)}, "stale", "Connection lost, last update 12:04:10"),
        ({"state": "stopped"}, "stopped", "Stopped"),
    ],
)
def test_a_clusters_state_in_words(columns: dict[str, object], state: str, text: str) -> None:
    found = freshness(LiveSource(id="x", name="x", kind="context", lease_until=followed(), **columns))
    assert (found.state, found.text) == (state, text)


@pytest.mark.parametrize("kind", ["context", "timeline"])
@pytest.mark.parametrize("until", [None, -20.0])
def test_what_nobody_follows_is_not_live(kind: str, until: float | None) -> None:
    lease = None if until is None else followed(until)
    row = LiveSource(id="x", name="x", kind=kind, state="live", state_text="all is well", lease_until=lease, playback=played().playback)
    found, told = freshness(row), source_message(row)
    assert (found.state, found.text, found.problem) == ("stale", "Connection lost", "No server follows it at the moment.")
    assert (told["state"], told["since"], told["text"]) == (found.state, found.since.isoformat(), found.problem)


def test_a_timelines_state_in_words() -> None:
    assert freshness(played()).text == "Paused, step 1 of 3"
    assert freshness(played(position=10.0)).text == "At its end, step 3 of 3"
    assert freshness(played()).state == "paused"


# --- what a page keeps ---------------------------------------------------------------------------------------------------------


def test_facts_name_each_end_with_its_odds_and_state() -> None:
    paths = [
        path("a", odds="1/4"),
        path("a", odds="1/4"),
        path("b", odds="1/2", state="not ready"),
        path("c", odds="0", disposition="dropped", state=""),
    ]
    assert json.loads(facts("Delivered", paths)) == {
        "verdict": "Delivered",
        "ends": {"a 10.0.0.1": ["1/2", "ready", True], "b 10.0.0.1": ["1/2", "not ready", True], "c 10.0.0.1": ["0", "dropped", False]},
        "more": 0,
    }


def test_facts_of_very_many_ends_are_cut_and_say_so() -> None:
    found = json.loads(facts("x", [path(f"p{n:03}", odds="1/500") for n in range(500)]))
    assert (len(found["ends"]), found["more"]) == (MOST_ENDS, 440)


def test_a_path_that_depends_on_something_has_no_odds() -> None:
    assert json.loads(facts("x", [path("a", conditions=("the node answers",))]))["ends"]["a 10.0.0.1"][0] == ""


def test_what_was_followed_is_found_by_its_id_then_by_its_end() -> None:
    old, new, other = path("a", odds="1/3"), path("a", odds="1/5"), path("b")
    before = Shown.of({"Hopline-Follow": f"{old.id}.{end_of(old)}", "Hopline-Step": "4"})
    assert before.step == 4
    assert before.among([other, old, new], "") is old
    assert before.among([other, new], "") is new
    assert before.among([other], "") is None
    assert before.among([other, new], other.id) is other


def test_what_an_answer_lacks_for_a_moment_is_followed_again_when_it_is_back() -> None:
    mine, likelier, other = path("a", odds="1/5"), path("b", odds="2/5"), path("c", odds="2/5")
    was = Shown.of({"Hopline-Follow": f"{mine.id}.{end_of(mine)}"}).mark(likelier, "")
    assert was == f"{likelier.id}.{end_of(likelier)} {mine.id}.{end_of(mine)}"
    # The page's address names what it shows by now: nobody chose that.
    lost = Shown.of({"Hopline-Follow": was})
    assert lost.among([likelier, mine, other], likelier.id) is mine
    assert lost.mark(mine, likelier.id) == f"{mine.id}.{end_of(mine)}"
    # As long as it is away, what is shown stays, and the wish with it.
    assert lost.among([other, likelier], likelier.id) is likelier
    assert lost.mark(likelier, likelier.id) == was
    assert lost.among([other], likelier.id) is None
    assert lost.mark(other, likelier.id) == f"{other.id}.{end_of(other)} {mine.id}.{end_of(mine)}"
    # Who chooses another path wishes for that.
    assert lost.among([other, likelier, mine], other.id) is other
    assert lost.mark(other, other.id) == f"{other.id}.{end_of(other)}"


@pytest.mark.parametrize("text", ["", "x", "0123456789", "0123456789.0123456789 x", "0123456789.0123456789  0123456789.0123456789"])
def test_a_followed_path_that_makes_no_sense_is_none(text: str) -> None:
    assert Shown.of({"Hopline-Follow": text}) == Shown()


@pytest.mark.parametrize("step", ["0", "-1", "x", "1" * 9, ""])
def test_a_step_that_makes_no_sense_is_none(step: str) -> None:
    assert Shown.of({"Hopline-Step": step}).step is None

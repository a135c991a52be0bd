"""What pages ask of a followed cluster over plain HTTP: messages with an ETag, a stream of events, and a timeline's buttons."""

from __future__ import annotations

import asyncio
import gc
import json
import time

import pytest
from channels.layers import get_channel_layer
from django.test import AsyncClient, Client

from tests.webapp.made_rows import MINE, OTHER, client_of
from webapp.live import announce
from webapp.live.announce import group_of
from webapp.models import LiveSource

pytestmark = pytest.mark.django_db(transaction=True)
STEPS = [
    {"title": "as it was", "starts": 0, "position": 0},
    {"title": "api scaled", "starts": 2.0, "position": 6.0},
    {"title": "it recovers", "starts": 7.0, "position": 9.0},
]


def made(**values: object) -> LiveSource:
    return LiveSource.objects.create(**({"name": "shop", "kind": "context", "context": "shop", "generation": 7} | values))


def timeline(**playback: object) -> LiveSource:
    stands = {"position": 0.0, "speed": 1.0, "playing": False, "set_at": time.time(), "duration": 10.0, "steps": STEPS}
    return made(kind="timeline", owner=MINE, context="", playback=stands | playback)


# --- polling -----------------------------------------------------------------------------------------------------------


def test_it_works(client: Client) -> None:
    response = client.get(f"/live/{made().id}/state?since=5")
    assert [message["type"] for message in response.json()["messages"]] == ["source", "generation"]
    assert "no-cache" in response["Cache-Control"]


def test_nothing_new_is_304(client: Client) -> None:
    row = made()
    first = client.get(f"/live/{row.id}/state?since=7")
    again = client.get(f"/live/{row.id}/state?since=7", headers={"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content, again["ETag"]) == (304, b"", first["ETag"])
    LiveSource.objects.update(generation=8)
    assert client.get(f"/live/{row.id}/state?since=7", headers={"If-None-Match": first["ETag"]}).status_code == 200


def test_a_timeline_that_only_moves_on_is_nothing_new() -> None:
    row = timeline(playing=True, position=2.5)
    client = client_of(MINE)
    first = client.get(f"/live/{row.id}/state?since=7")
    time.sleep(0.05)
    assert client.get(f"/live/{row.id}/state?since=7", headers={"If-None-Match": first["ETag"]}).status_code == 304


@pytest.mark.parametrize("since", ["", "x", "-1", "9" * 40, "٣"])
def test_a_since_that_is_no_number_is_taken_for_none(client: Client, since: str) -> None:
    assert [m["type"] for m in client.get(f"/live/{made().id}/state", {"since": since}).json()["messages"]] == ["source"]


@pytest.mark.parametrize("path", ["state", "events"])
def test_it_404s_for_strangers_and_for_nobody(client: Client, path: str) -> None:
    assert client.get(f"/live/nobody/{path}").status_code == 404
    row = timeline()
    assert client_of(OTHER).get(f"/live/{row.id}/{path}").status_code == 404


# --- events ------------------------------------------------------------------------------------------------------------


def test_events_stream_the_state_and_then_every_change() -> None:
    row = made()

    async def follow() -> list[dict]:
        response = await AsyncClient().get(f"/live/{row.id}/events?since=6")
        assert response["Content-Type"] == "text/event-stream"
        assert response["Cache-Control"] == "no-store"
        lines = response.streaming_content
        found = [await anext(lines), await anext(lines)]
        await asyncio.to_thread(announce.send, row.id, announce.generation_message(8, ["svc/shop/web"]))
        found.append(await anext(lines))
        await lines.aclose()
        return [json.loads(text.decode().removeprefix("data: ")) for text in found]

    state, newest, change = asyncio.run(follow())
    assert (state["type"], newest["gen"]) == ("source", 7)
    assert change == {"type": "generation", "gen": 8, "changed": ["svc/shop/web"]}


def test_events_leave_the_group_when_the_browser_goes() -> None:
    row = made()

    async def follow() -> bool:
        groups = get_channel_layer().groups
        response = await AsyncClient().get(f"/live/{row.id}/events")
        lines = response.streaming_content
        await anext(lines)
        assert group_of(row.id) in groups
        await lines.aclose()
        del lines, response
        gc.collect()
        await asyncio.sleep(0.1)
        return group_of(row.id) in groups

    assert asyncio.run(follow()) is False


# --- a timeline's buttons ------------------------------------------------------------------------------------------------


def steer(row: LiveSource, **wishes: str) -> dict:
    response = client_of(MINE).post(f"/live/{row.id}/control", wishes, headers={"Accept": "application/json"})
    assert response.status_code == 200, response.content
    return response.json()


def test_play_pause_and_speed() -> None:
    row = timeline()
    assert steer(row, playing="1")["playing"] is True
    assert steer(row, speed="5")["speed"] == 5
    assert steer(row, playing="0")["playing"] is False


def test_a_step_is_shown_settled_when_it_stands_still_and_happening_when_it_plays() -> None:
    assert steer(timeline(), step="1")["position"] == 6.0
    assert steer(timeline(playing=True, speed=0.1), step="1")["position"] == pytest.approx(2.0, abs=0.2)


def test_a_place_on_the_rail_is_counted_in_steps() -> None:
    row = timeline()
    assert steer(row, at="0.5")["position"] == 1.0
    assert steer(row, at="1.5")["position"] == 4.5
    assert steer(row, at="3")["position"] == 10.0


@pytest.mark.parametrize(
    ("name", "value"),
    [("at", value) for value in ("x", "-1", "4", "nan", "inf", "1e400")]
    + [("step", value) for value in ("9", "1.5", "-1", "9" * 5000)]
    + [("speed", value) for value in ("x", "nan", "inf", "-inf", "0", "-1", "61")],
)
@pytest.mark.parametrize("playing", [True, False])
def test_what_makes_no_sense_is_refused(name: str, value: str, playing: bool) -> None:
    row = timeline(playing=playing)
    assert client_of(MINE).post(f"/live/{row.id}/control", {name: value}).status_code == 422
    row.refresh_from_db()
    assert row.playback["speed"] == 1.0


def test_a_form_goes_back_to_its_page() -> None:
    row = timeline()
    response = client_of(MINE).post(f"/live/{row.id}/control", {"playing": "1", "next": f"/c/{row.id}/trace?step=3"})
    assert (response.status_code, response["Location"]) == (302, f"/c/{row.id}/trace?step=3")
    response = client_of(MINE).post(f"/live/{row.id}/control", {"playing": "1", "next": "https://evil.example/"})
    assert response["Location"] == f"/c/{row.id}/trace"


@pytest.mark.parametrize("wish", [{"playing": "1"}, {"step": "3"}, {"at": "1"}, {"speed": "nan"}, {}])
def test_a_cluster_cannot_be_steered(client: Client, wish: dict[str, str]) -> None:
    assert client.post(f"/live/{made().id}/control", wish).status_code == 400


def test_it_is_posted_only() -> None:
    assert client_of(MINE).get(f"/live/{timeline().id}/control").status_code == 405

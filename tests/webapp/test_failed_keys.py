"""Guessing the access key: how many tries an address has, and all together; what they wait for; where it is asked."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.test import Client

from tests.live_server import LiveServer
from tests.webapp.test_upload_socket import Socket
from webapp.http.failed_keys import MOST_ADDRESSES, SECONDS_A_TRY, SECONDS_A_TRY_OF_ALL, TRIES, TRIES_OF_ALL, FailedKeys
from webapp.http.failed_keys import failed_keys as counted

KEY = "correct horse battery staple"
RIGHT, WRONG = {"authorization": f"Bearer {KEY}"}, {"authorization": "Bearer wrong"}


class Clock:
    """A clock that goes when it is told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def locked(settings) -> None:
    settings.ACCESS_KEY = KEY


def test_an_address_has_its_tries_and_then_waits_for_each(clock: Clock) -> None:
    kept = FailedKeys(clock)
    assert [kept.take("192.0.2.1") for _ in range(TRIES + 2)] == [0] * TRIES + [SECONDS_A_TRY] * 2
    assert kept.take("192.0.2.2") == 0
    clock.now += SECONDS_A_TRY - 0.5
    assert kept.take("192.0.2.1") == 1
    clock.now += 0.5
    assert [kept.take("192.0.2.1") for _ in range(2)] == [0, SECONDS_A_TRY]
    clock.now += 1_000_000
    assert [kept.take("192.0.2.1") for _ in range(TRIES + 1)] == [0] * TRIES + [SECONDS_A_TRY]


def test_all_together_have_their_tries(clock: Clock) -> None:
    kept = FailedKeys(clock)
    assert [kept.take(f"192.0.2.{n}") for n in range(TRIES_OF_ALL)] == [0] * TRIES_OF_ALL
    assert kept.take("198.51.100.1") == SECONDS_A_TRY_OF_ALL
    clock.now += SECONDS_A_TRY_OF_ALL
    assert [kept.take(f"198.51.100.{n}") for n in range(2)] == [0, SECONDS_A_TRY_OF_ALL]


def test_the_right_key_costs_nothing_and_is_not_held_up_by_others(clock: Clock) -> None:
    kept = FailedKeys(clock)
    for _ in range(TRIES * 3):
        assert kept.take("192.0.2.1") == 0
        kept.proved("192.0.2.1")
    while kept.take("198.51.100.1") == 0 or kept.take(f"203.0.113.{len(kept)}") == 0:
        pass
    assert kept.take("192.0.2.99") > 0
    assert [kept.take("192.0.2.1") for _ in range(TRIES + 1)] == [0] * TRIES + [SECONDS_A_TRY]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("", "no address", True),
        ("192.0.2.1", "192.0.2.2", False),
    ],
)
def test_what_counts_as_one_address(clock: Clock, one: str, other: str, same: bool) -> None:
    kept = FailedKeys(clock)
    for _ in range(TRIES):
        kept.take(one)
    assert (kept.take(other) > 0) is same


def test_memory_is_bounded_whoever_comes(clock: Clock) -> None:
    kept = FailedKeys(clock)
    for number in range(MOST_ADDRESSES * 2):
        kept.take(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(kept) == MOST_ADDRESSES


def test_tries_at_once_are_counted(clock: Clock) -> None:
    kept = FailedKeys(clock)
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(kept.take, ["192.0.2.1"] * 40)).count(0) == TRIES


@pytest.mark.django_db
def test_programs_are_told_to_wait_and_the_right_key_waits_too(client: Client, locked: None) -> None:
    assert [client.get("/snapshots", headers=WRONG).status_code for _ in range(TRIES)] == [401] * TRIES
    late = client.get("/snapshots", headers=RIGHT)
    assert (late.status_code, late["Retry-After"], "no key is looked at" in late.json()["error"]["message"]) == (429, "10", True)
    assert client.get("/snapshots", headers=RIGHT, REMOTE_ADDR="192.0.2.7").status_code == 200


@pytest.mark.django_db
def test_the_access_page_counts_with_them(client: Client, locked: None) -> None:
    for _ in range(TRIES - 1):
        client.get("/snapshots", headers=WRONG)
    assert client.post("/access", {"key": "wrong"}).status_code == 403
    late = client.post("/access", {"key": KEY})
    assert (late.status_code, late["Retry-After"]) == (429, "10")
    assert "Try again in 10 seconds" in late.content.decode()
    assert client.get("/snapshots").status_code == 401


@pytest.mark.django_db
def test_who_has_given_the_key_and_who_has_a_link_is_not_held_up(client: Client, locked: None) -> None:
    client.post("/access", {"key": KEY})
    for _ in range(TRIES + 1):
        Client().get("/snapshots", headers=WRONG)
    assert client.get("/snapshots").status_code == 200
    assert Client().get("/t/2222222222222222222222", headers=WRONG).status_code == 404
    assert Client().get("/healthz", headers=WRONG).status_code == 200


@pytest.mark.django_db
def test_no_key_is_no_try(client: Client, locked: None) -> None:
    for header in ({}, {"authorization": "Bearer "}, {"authorization": "Basic eDp5"}):
        assert {client.get("/snapshots", headers=header).status_code for _ in range(TRIES + 1)} == {401}
    assert client.get("/snapshots", headers=RIGHT).status_code == 200


@pytest.mark.django_db
def test_a_socket_counts_and_waits(locked: None) -> None:
    """Sockets are asked through the whole application, where the header is looked at."""

    async def ask() -> None:
        for _ in range(TRIES):
            talk = Socket("none")
            talk._talk.scope["headers"].append((b"authorization", b"Bearer wrong"))
            await talk.connect()

    asyncio.run(ask())
    assert counted.take("") == SECONDS_A_TRY


def test_one_request_to_the_server_is_one_try(start_server: Callable[..., LiveServer]) -> None:
    """The limit of bodies and the middleware both look at a request's key."""
    server = start_server("--no-demo", HOPLINE_ACCESS_KEY=KEY)
    seen = [_status(server, {"Authorization": "Bearer wrong"}) for _ in range(TRIES + 1)]
    assert seen == [401] * TRIES + [429]


def test_behind_a_proxy_its_clients_count_for_themselves(start_server: Callable[..., LiveServer]) -> None:
    server = start_server("--no-demo", HOPLINE_ACCESS_KEY=KEY, HOPLINE_HTTPS="1")
    wrong = {"Authorization": "Bearer wrong", "X-Forwarded-For": "203.0.113.5, 192.0.2.1", "X-Forwarded-Proto": "https"}
    assert [_status(server, wrong) for _ in range(TRIES + 1)] == [401] * TRIES + [429]
    assert _status(server, {"Authorization": f"Bearer {KEY}", "X-Forwarded-For": "192.0.2.2"}) == 200
    assert _status(server, {"Authorization": f"Bearer {KEY}", "X-Forwarded-For": "203.0.113.99, 192.0.2.1"}) == 429


def _status(server: LiveServer, headers: dict[str, str]) -> int:
    wire = http.client.HTTPConnection("127.0.0.1", int(server.url.rpartition(":")[2]), timeout=20)
    wire.request("GET", "/snapshots", headers=headers)
    status = wire.getresponse().status
    wire.close()
    return status

"""One follower at a time, by the database's clock."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from webapp.live import lease
from webapp.models import LiveSource


def made(**fields: object) -> str:
    return LiveSource.objects.create(name="c", kind="context", context="c", **fields).id


@pytest.mark.django_db
def test_the_first_gets_it_and_keeps_it() -> None:
    source = made()
    assert lease.take(source, "a")
    assert not lease.take(source, "b")
    assert lease.renew(source, "a")
    assert not lease.renew(source, "b")
    row = LiveSource.objects.get(id=source)
    assert row.lease_holder == "a"
    assert timedelta(seconds=10) < row.lease_until - timezone.now() <= lease.LEASE


@pytest.mark.django_db
def test_it_ends_by_itself_and_by_release() -> None:
    source = made()
    assert lease.take(source, "a")
    lease.release(source, "b")
    assert not lease.take(source, "b")
    lease.release(source, "a")
    assert lease.take(source, "b")
    LiveSource.objects.filter(id=source).update(lease_until=timezone.now() - timedelta(seconds=1))
    assert lease.take(source, "c")
    assert not lease.renew(source, "b")


@pytest.mark.django_db
def test_one_that_was_given_before_the_clock_was_set_back_keeps_nobody_waiting() -> None:
    source = made()
    assert lease.take(source, "a")
    LiveSource.objects.filter(id=source).update(lease_until=timezone.now() + timedelta(hours=5))
    assert lease.take(source, "b")
    # A holder that lives says so every few seconds, and then it counts from now.
    LiveSource.objects.filter(id=source).update(lease_until=timezone.now() + timedelta(hours=5))
    assert lease.renew(source, "b")
    assert not lease.take(source, "a")


@pytest.mark.django_db
def test_what_nobody_wants_is_not_followed() -> None:
    source = made(wanted=False)
    assert not lease.take(source, "a")
    assert not lease.take("nobody", "a")


@pytest.mark.django_db(transaction=True)
def test_of_many_at_once_one_gets_it() -> None:
    source = made()

    def attempt(name: str) -> bool:
        try:
            return lease.take(source, name)
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, [f"h{n}" for n in range(16)])) == 1


def test_names_of_holders_differ() -> None:
    assert lease.holder_name() != lease.holder_name()
    assert len(lease.holder_name()) <= 64

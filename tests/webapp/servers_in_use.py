"""Run by test_storage_servers.py only: proves that the other tests of that run really used PostgreSQL and Redis."""

from __future__ import annotations

import pytest
from channels.layers import get_channel_layer
from django.db import connection


@pytest.mark.django_db
def test_the_database_is_postgresql_and_the_layer_is_redis() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT version()")
        assert cursor.fetchone()[0].startswith("PostgreSQL")
    assert type(get_channel_layer()).__name__ == "RedisChannelLayer"

"""Asking the database again while it is away: for what must be said, by somebody whom nobody waits for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from django.db import DatabaseError, InterfaceError, connection

from webapp.http.failures import cause_of

_Result = TypeVar("_Result")
SECONDS = 30.0
"""How long a database that starts anew is waited for."""
_BETWEEN = 0.25


def patiently(work: Callable[[], _Result], seconds: float = SECONDS) -> _Result:
    """Return what *work* does; do it again, in a connection made anew, while the database is away. It may have been done already.

    :raises DatabaseError: the database is away for longer, or *work* is wrong.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return work()
        except (DatabaseError, InterfaceError) as error:
            if cause_of(error) is None or connection.in_atomic_block or time.monotonic() > deadline:
                raise
            connection.close()
            time.sleep(_BETWEEN)

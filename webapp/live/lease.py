"""Who follows a source, of several web processes: a lease in the source's row, by the database's clock.

A holder that dies without a word is succeeded when its lease ends. One that only sleeps finds its writes refused (journal.LeaseLost).
"""

from __future__ import annotations

import os
import secrets
import socket
from datetime import timedelta

from django.db.models import Q
from django.db.models.functions import Now

from webapp.models import LiveSource

LEASE = timedelta(seconds=15)
RENEW_EVERY = 4.0
"""Seconds: a lease survives two renewals that came to nothing."""


def holder_name() -> str:
    """Return a name for this process's supervisor that no other has, and that says where it runs."""
    return f"{socket.gethostname()[:30]}:{os.getpid()}:{secrets.token_hex(4)}"


def take(source: str, holder: str) -> bool:
    """Return whether *holder* follows *source* from now on: nobody did, the lease had ended, or it was its own already."""
    # NB: no lease lasts for longer than LEASE; one that does was given before the clock was set back, and would keep everybody waiting.
    ended = Q(lease_until=None) | Q(lease_until__lt=Now()) | Q(lease_until__gt=Now() + 2 * LEASE)
    free = ended | Q(lease_holder="") | Q(lease_holder=holder)
    rows = LiveSource.objects.filter(free, id=source, wanted=True)
    return rows.update(lease_holder=holder, lease_until=Now() + LEASE) == 1


def renew(source: str, holder: str) -> bool:
    """Return whether *holder* still follows *source*, and let it do so for another while. Not if the source is unwanted or gone."""
    rows = LiveSource.objects.filter(id=source, wanted=True, lease_holder=holder)
    return rows.update(lease_until=Now() + LEASE) == 1


def release(source: str, holder: str) -> None:
    """Let others follow *source*, if *holder* does."""
    LiveSource.objects.filter(id=source, lease_holder=holder).update(lease_holder="", lease_until=None)

"""A full disk, said to whoever stores a snapshot (507)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from webapp.http.failures import FAILURES, cause_of
from webapp.uploads import UploadError


@contextmanager
def said_when_full() -> Iterator[None]:
    """Turn what fails for want of room into what the user is told. :raises UploadError: 507, there is no room."""
    try:
        yield
    except UploadError:
        raise
    except Exception as error:
        if cause_of(error) == "disk":
            raise UploadError(FAILURES["disk"].words, status=FAILURES["disk"].status) from error
        raise

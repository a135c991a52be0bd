"""How much requests and answers on their way may take of the disk, all together: clients that send or read slowly do not fill it."""

from __future__ import annotations

from django.conf import settings

UPLOADS_AT_ONCE = 20
"""As many of the largest uploads there is room for."""


class NoShare(Exception):
    """So much is kept that no more may be."""


class DiskShare:
    """The bytes of one request or answer; used on the loop of the serving process only."""

    taken_by_all = 0

    def __init__(self) -> None:
        self._taken = 0

    def take(self, size: int) -> None:
        """Count *size* bytes more. :raises NoShare: all together would have more than there is room for."""
        if DiskShare.taken_by_all + size > UPLOADS_AT_ONCE * settings.UPLOAD_MAX_BYTES:
            raise NoShare
        DiskShare.taken_by_all += size
        self._taken += size

    def give_back(self) -> None:
        """Count nothing any more: the file is gone."""
        DiskShare.taken_by_all -= self._taken
        self._taken = 0

"""An answer on its way from a worker to a client: kept in memory up to a bound and on disk beyond it, so that no client holds a worker."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from typing import IO

from django.conf import settings

from webapp.serving.disk_share import DiskShare, NoShare

MOST_KEPT = 4_000_000
_CHUNK = 1 << 18


class Failed(Exception):
    """There is no answer; *why* is a key of :data:`webapp.http.failures.FAILURES`."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Reply:
    """What one request is answered. Written by the pool, read by the one who asked."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self._changed = asyncio.Event()
        self._kept = bytearray()
        self._file: IO[bytes] | None = None
        self._share = DiskShare()
        self._written = self._read = 0
        self._ended = self._closed = False
        self._failed: Failed | None = None

    # -- by the pool ----------------------------------------------------------------------------------------------------------

    @property
    def is_begun(self) -> bool:
        """Return whether a part of it is known."""
        return bool(self.status)

    @property
    def is_over(self) -> bool:
        """Return whether nothing more comes."""
        return self._ended

    def begin(self, status: int, headers: list[tuple[str, str]]) -> None:
        """Take the answer's head."""
        self.status, self.headers = status, headers
        self._changed.set()

    def put(self, content: bytes) -> None:
        """Take a part of the answer's body. A full disk ends the answer; what nobody waits for any more is thrown away."""
        if self._closed:
            return
        if self._file is None and len(self._kept) + len(content) <= MOST_KEPT:
            self._kept += content
        else:
            try:
                self._to_file(content)
            except OSError:
                self.fail("disk")
            except NoShare:
                self.fail("full")
        self._changed.set()

    def end(self) -> None:
        """Say that this was all."""
        self._ended = True
        self._changed.set()

    def fail(self, why: str) -> None:
        """Say that there is no answer, or no more of it."""
        if not self._ended:
            self._failed = Failed(why)
            self.end()

    def _to_file(self, content: bytes) -> None:
        self._share.take(len(content))
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=settings.FILE_UPLOAD_TEMP_DIR)  # noqa: SIM115 - until close()
        self._file.seek(self._written)
        self._file.write(content)
        self._written += len(content)

    # -- by who asked ---------------------------------------------------------------------------------------------------------

    async def head(self) -> tuple[int, list[tuple[str, str]]]:
        """Wait for the answer's head. :raises Failed: there is none."""
        while not self.status and not self._ended:
            await self._wait()
        if not self.status:
            raise self._failed or Failed("died")
        return self.status, self.headers

    async def body(self) -> AsyncIterator[bytes]:
        """Yield the body. :raises Failed: it breaks off."""
        while True:
            if self._kept:
                part, self._kept = bytes(self._kept), bytearray()
                yield part
            elif self._file is not None and self._read < self._written:
                self._file.seek(self._read)
                part = self._file.read(min(_CHUNK, self._written - self._read))
                self._read += len(part)
                yield part
            elif self._failed is not None:
                raise self._failed
            elif self._ended:
                return
            else:
                await self._wait()

    async def over(self) -> None:
        """Wait until nobody works on it any more."""
        while not self._ended:
            await self._wait()

    def close(self) -> None:
        """Forget what was kept, and keep nothing more."""
        self._closed = True
        self._kept.clear()
        if self._file is not None:
            self._file.close()
        self._share.give_back()

    async def _wait(self) -> None:
        self._changed.clear()
        await self._changed.wait()

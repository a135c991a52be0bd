"""Where Django puts a form's files: on disk, without a name, so that nothing is left of them however the process ends.

All files of a request share one file on disk: a folder of thousands of files takes no more open files than one.
"""

from __future__ import annotations

import io
import tempfile
from typing import IO, Any, cast

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler


class NamelessFileUploadHandler(FileUploadHandler):
    """Receives files of any size (body_limit.py bounds them together)."""

    _kept: IO[bytes] | None = None

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        """Begin the file that the next chunks are of."""
        super().new_file(*args, **kwargs)
        if self._kept is None:
            self._kept = tempfile.TemporaryFile(dir=settings.FILE_UPLOAD_TEMP_DIR)  # noqa: SIM115 - gone with the last part of it
        self._begin = self._kept.seek(0, io.SEEK_END)

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        """Take a part."""
        if self._kept is not None:
            self._kept.write(raw_data)

    def file_complete(self, file_size: int) -> UploadedFile[bytes] | None:
        """Return the whole file."""
        if self._kept is None:
            return None
        self._kept.flush()
        part = cast(IO[bytes], _Part(self._kept, self._begin, file_size))
        return UploadedFile(part, self.file_name, self.content_type, file_size, self.charset, self.content_type_extra)

    def upload_interrupted(self) -> None:
        """Forget what came: the rest does not come."""
        if self._kept is not None:
            self._kept.close()


class _Part(io.RawIOBase):
    """*size* bytes of *whole* from *begin* on, read as a file of their own."""

    def __init__(self, whole: IO[bytes], begin: int, size: int) -> None:
        self._whole, self._begin, self._size, self._at = whole, begin, size, 0

    def read(self, size: int = -1, /) -> bytes:
        """Return up to *size* bytes, all that follow where it is negative."""
        left = max(0, self._size - self._at)
        self._whole.seek(self._begin + self._at)
        content = self._whole.read(left if size < 0 else min(size, left))
        self._at += len(content)
        return content

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a place in the part; returns it."""
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence])
        return self._at

"""Where Django puts a form's file: on disk, without a name, so that nothing is left of it however the process ends."""

from __future__ import annotations

import tempfile
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler


class NamelessFileUploadHandler(FileUploadHandler):
    """Receives a file of any size (body_limit.py bounds it)."""

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        """Make the file that the next chunks go into."""
        super().new_file(*args, **kwargs)
        kept = tempfile.TemporaryFile(dir=settings.FILE_UPLOAD_TEMP_DIR)  # noqa: SIM115 - the request closes it
        self.file = UploadedFile(kept, self.file_name, self.content_type, 0, self.charset, self.content_type_extra)

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        """Take a part."""
        self.file.write(raw_data)

    def file_complete(self, file_size: int) -> UploadedFile[bytes]:
        """Return the whole file."""
        self.file.seek(0)
        self.file.size = file_size
        return self.file

    def upload_interrupted(self) -> None:
        """Forget a file whose rest does not come."""
        if hasattr(self, "file"):
            self.file.close()

"""What the libraries that open archives raise where one is damaged: the words of each are told, and none gets further."""

from __future__ import annotations

import contextlib
import errno
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator

import zstandard

from webapp.uploads.limits import UploadError

DAMAGED = (
    zipfile.BadZipFile,
    lzma.LZMAError,
    zlib.error,
    zstandard.ZstdError,
    EOFError,
    OSError,
    ValueError,
    OverflowError,
    NotImplementedError,
    struct.error,
)


def is_ours(error: Exception) -> bool:
    """Return whether it is no fault of what was handed in: there is no room for what an archive in the archive needs."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def readable(filename: str) -> Iterator[None]:
    """Turn what is raised of a damaged file into a refusal. :raises UploadError: it is damaged, or needs more memory than there is."""
    try:
        yield
    except UploadError:
        raise
    except MemoryError as error:
        raise UploadError(f"{filename} needs more memory to unpack than there is.", status=413) from error
    except DAMAGED as error:
        if is_ours(error):
            raise
        raise UploadError(f"{filename} is damaged or cut short: {error}.") from error

"""What users hand in - a folder, an archive, one file - as names and bytes; the only place where archives are opened.

Nothing is ever written under a name that an archive chose. Secrets are not this package's business (tracer.snapshot.redact).
"""

from webapp.uploads.entry import LeftOut
from webapp.uploads.folder import FolderFiles
from webapp.uploads.limits import Limits, UploadError
from webapp.uploads.opened import check, read, read_and_left_out
from webapp.uploads.source import Source

__all__ = ["FolderFiles", "LeftOut", "Limits", "Source", "UploadError", "check", "read", "read_and_left_out"]

"""Archives that are made for tests: of each form, small, and read within small limits."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import warnings
import zipfile
from collections.abc import Callable

import zstandard

from webapp.uploads import Limits

LIMITS = Limits(upload_bytes=1_000_000, unpacked_bytes=5_000_000, entries=100, levels=5, ratio=1_000_000)
FILES = {"services.json": b'{"kind": "List", "items": []}', "nodes/a/iptables-save.txt": b"*nat\nCOMMIT\n", "nodes/b/sysctl.txt": b""}


def tar_of(*entries: tuple[tarfile.TarInfo, bytes] | tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for entry, content in entries:
            info = tarfile.TarInfo(entry) if isinstance(entry, str) else entry
            if info.isreg():
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def zip_of(*entries: tuple[zipfile.ZipInfo | str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w", method) as archive:
        warnings.simplefilter("ignore")  # a duplicate name is what some tests want
        for info, content in entries:
            archive.writestr(info, content, compress_type=method)
    return out.getvalue()


def link(name: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "/etc/passwd"
    return info


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "tar": lambda tar: tar,
    "tar.gz": gzip.compress,
    "tar.bz2": bz2.compress,
    "tar.xz": lzma.compress,
    "tar.zst": zstandard.ZstdCompressor().compress,
}

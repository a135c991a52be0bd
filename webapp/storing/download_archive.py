"""A stored snapshot as an archive to download, made while it is sent."""

from __future__ import annotations

import io
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import closing

from webapp import zstd
from webapp.models import Snapshot
from webapp.storing.snapshot_store import open_container

FORMS = {"tar.zst": "application/zstd", "tar.gz": "application/gzip"}
"""The kinds of archive, each with its media type."""


def chunks(row: Snapshot, form: str) -> Iterator[bytes]:
    """Yield the archive of *row* in *form*, every file below one folder named after the snapshot.

    :raises KeyError: *form* is not one of FORMS.
    """
    if form not in FORMS:
        raise KeyError(form)
    compressor: zstd.Stream = zstd.stream(level=3) if form == "tar.zst" else zlib.compressobj(6, wbits=31)
    sink = io.BytesIO()
    with closing(open_container(row)) as files:
        archive = tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT)  # noqa: SIM115 - closed below, before its last bytes are sent
        for name in sorted(files):
            entry = tarfile.TarInfo(f"{row.id}/{name}")
            entry.size, entry.mtime = files.length(name), int(row.created_at.timestamp())
            archive.addfile(entry, io.BytesIO(files[name]))
            yield from _packed(sink, compressor)
        archive.close()
    yield from _packed(sink, compressor)
    yield compressor.flush()


def _packed(sink: io.BytesIO, compressor: zstd.Stream) -> Iterator[bytes]:
    content = sink.getvalue()
    sink.seek(0)
    sink.truncate()
    if packed := compressor.compress(content):
        yield packed

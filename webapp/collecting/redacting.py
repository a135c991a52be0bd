"""Writing a snapshot under other names: the files, what was left out of them, and for its owner what became what."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from tracer.errors import SnapshotError
from tracer.snapshot import Snapshot
from tracer.snapshot.rename import Renaming

SENTENCE = (
    "Replaced: names of namespaces, Services, pods, nodes, ports, labels and hosts; IP and hardware addresses. "
    "Left out: what no trace needs (annotations, images, user ids). "
    "Still there: ports, times, versions, names of network devices and of chains that well-known programs made, "
    "the last 8 bits of IPv4 and the last 64 of IPv6 addresses. Look at what you hand out."
)
_KEY_BYTES = 32


def redact(files: Mapping[str, bytes], folder: Path, key: bytes) -> Renaming:
    """Write the snapshot that *files* are into *folder* under the names that *key* gives; return who knows what became what.

    :raises SnapshotError: there is no Service in any file: it is no snapshot, or one that cannot be read.
    """
    snapshot = Snapshot.from_files(files)
    if not snapshot.objects.services:
        raise SnapshotError("no Services in any file")
    renaming = Renaming(snapshot, key)
    for path, content in renaming.files():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        target.write_bytes(content)
    return renaming


def key_in(path: Path | None) -> bytes:
    """Return the key in the file *path*, made on first use and readable by its owner only; without a file one that nobody keeps.

    :raises OSError: the file cannot be read or made. :raises ValueError: it holds no key.
    """
    if path is None:
        return secrets.token_bytes(_KEY_BYTES)
    try:
        text = path.read_text("ascii", errors="replace").strip()
    except FileNotFoundError:
        text = secrets.token_hex(_KEY_BYTES)
        _write(path, text + "\n")
    key = bytes.fromhex(text)
    if len(key) < _KEY_BYTES:
        raise ValueError(f"a key has {2 * _KEY_BYTES} hexadecimal digits")
    return key


def write_names(renaming: Renaming, path: Path) -> None:
    """Write what became what, for the owner's eyes only. :raises OSError: it cannot be written, or is there already."""
    addresses = {str(old): str(new) for old, new in sorted(renaming.addresses.given.items(), key=str) if old != new}
    _write(path, json.dumps({"words": dict(sorted(renaming.words.given.items())), "addresses": addresses}, indent=1) + "\n")


def _write(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)

"""Stored snapshots: written once, opened one file at a time (open_snapshots.py keeps what is parsed).

A snapshot is written whole under a name of its own before its row is committed. A process killed in between leaves a file without a row,
which clean_up() removes; never a row without its file.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import field
from datetime import datetime, timedelta
from typing import IO, Any

from django.conf import settings
from django.core.files.base import File
from django.core.files.storage import Storage, storages
from django.db import DatabaseError, InterfaceError
from django.utils import timezone

from tracer.errors import Fault
from tracer.snapshot import Snapshot as RecordedSnapshot
from tracer.snapshot.arranging import Arrangement
from tracer.snapshot.contents import KnownNode
from tracer.snapshot.layout import UNPLACED
from tracer.snapshot.redact import Redaction
from tracer.snapshot.summary import summarise
from tracer.snapshot.wrong_form import WrongForm, wrong_form
from tracer.values import dataclass
from webapp.models import Snapshot
from webapp.storing.container import Container, ContainerWriter
from webapp.storing.example_questions import find_examples
from webapp.storing.patience import patiently
from webapp.uploads import LeftOut, Source
from webapp.uploads.arranged import arrangement_of

Progress = Callable[[str, int, int], None]
"""Told what is being done in words, how far it is, and of how much."""

SUMMARY_VERSION = 10
"""Raised when summary_of() says something else about the same files."""
_SAID_KEPT = 1_000
_FAULTS_KEPT = 1_000
_FORMS_KEPT = 20
"""Of so many files is said what they are instead of objects."""
_ABANDONED_AFTER = timedelta(hours=6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A container in a temporary file: sha256 of the canonical content, unpacked bytes, and what was left out before it was written.

    *unknown* are the files that no layout knows, which are not stored; *faults* those of what could not be read and is not stored either.
    *forms* say what files are instead of objects, which is told where a snapshot is refused; *left_out* what of an archive was not read.
    *came_from* is the name that a file had in what was handed in, where it is another one.
    """

    file: IO[bytes]
    container: Container
    digest: str
    source_digest: str
    size: int
    removed: tuple[str, ...]
    unknown: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()
    forms: tuple[WrongForm, ...] = ()
    arrangement: Arrangement = field(default_factory=Arrangement)
    came_from: Mapping[str, str] = field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()


def storage() -> Storage:
    """Return the storage of snapshot bytes."""
    return storages["snapshots"]


@contextlib.contextmanager
def written(source: Source, progress: Progress, known: Iterable[KnownNode] = ()) -> Iterator[Written]:
    """Write what is kept of *source* as a container in a temporary file, which is gone when the context ends.

    *known* are nodes that its files may be of, besides those that it names.
    """
    before, after = _Digest(), _Digest()
    removed: list[str] = []
    unknown: list[str] = []
    faults: list[Fault] = []
    forms: list[WrongForm] = []
    arrangement = arrangement_of(source, known)
    redaction = Redaction([arrangement.name(part) for name in source.names for part in arrangement.paths(name)])
    told = arrangement.told
    with tempfile.TemporaryFile(dir=_temporary_folder()) as file:
        writer = ContainerWriter(file)
        for done, (file_path, whole) in enumerate(source.files()):
            progress(f"Unpacking {file_path}", done, len(source.names))
            before.add(file_path, whole)
            for path, content in arrangement.parted(file_path, whole):
                name = arrangement.name(path)
                stored = redaction.stored(name, content)
                removed += stored.said
                faults += stored.faults
                if len(forms) < _FORMS_KEPT and (form := wrong_form(name, content)) is not None:
                    forms.append(form)
                if not stored.is_known and path not in told:
                    unknown.append(path)
                if stored.content is not None:
                    writer.add(name, stored.content)
                    after.add(name, stored.content)
                # The next file is read before these names mean it: of two large ones both would be there.
                del content, stored
            del whole
        writer.finish()
        file.flush()
        yield Written(
            file=file,
            container=Container(file),
            digest=after.hexdigest(),
            source_digest=before.hexdigest(),
            size=after.size,
            removed=_first(removed),
            unknown=_first(unknown),
            faults=(*_promised(forms), *faults[:_FAULTS_KEPT]),
            forms=tuple(forms),
            arrangement=arrangement,
            came_from=dict(arrangement.origins),
            left_out=(*source.left_out, *(LeftOut(path=path, why=why) for path, why in arrangement.said_of_aside)),
        )


def _promised(forms: list[WrongForm]) -> list[Fault]:
    """What is told of files that hold no objects, or none that can be used, where their names promise some."""
    return [Fault(file=form.path, line=None, column=None, message=form.sentence) for form in forms if form.is_object_file]


def is_current(row: Snapshot, source: Source) -> bool:
    """Return whether *row* was made from exactly these files, by a Hopline that summarises them as this one does."""
    return bool(row.summary.get("version") == SUMMARY_VERSION and row.summary.get("source_digest") == source_digest(source))


def source_digest(source: Source) -> str:
    """Return the digest of *source* as it was handed in, before anything is removed."""
    digest = _Digest()
    for name, content in source.files():
        digest.add(name, content)
    return digest.hexdigest()


def _first(said: list[str]) -> tuple[str, ...]:
    """Return the first of what is *said* of files, and how many more there are: a summary is read whole by every page."""
    more = len(said) - _SAID_KEPT
    return (*said[:_SAID_KEPT], *([f"... and {more:,} more"] if more > 0 else ()))


@contextlib.contextmanager
def saved(what: Written, name: str) -> Iterator[None]:
    """Put the container into the storage under *name*; commit its row inside the context. If that fails, the file goes again."""
    what.file.seek(0)
    storage().save(name, File(what.file))
    try:
        yield
    except (DatabaseError, InterfaceError):
        _delete_if_unknown(name)
        raise
    except BaseException:
        storage().delete(name)
        raise
    finally:
        release = getattr(storage(), "release", None)
        if release:
            release(name)


def _delete_if_unknown(name: str) -> None:
    """Delete the file unless its row was committed after all: a database that breaks off at the end may not have said so.

    Where it cannot be asked for long, the file stays for remove_abandoned().
    """
    with contextlib.suppress(DatabaseError, InterfaceError):
        if not patiently(lambda: Snapshot.objects.filter(storage_name=name).exists()):
            storage().delete(name)


def open_container(row: Snapshot) -> Container:
    """Return the stored files of *row*. :raises FileNotFoundError: the storage has lost them."""
    return Container(storage().open(row.storage_name, "rb"))


def remove_abandoned() -> list[str]:
    """Delete stored files that no row knows and nobody is writing. Returns their names."""

    def is_known(name: str) -> bool:
        return Snapshot.objects.filter(storage_name=name).exists()

    store = storage()
    if hasattr(store, "sweep"):
        return list(store.sweep(is_known))
    # A storage without locks (S3): what is old and unknown was abandoned.
    oldest = timezone.now() - _ABANDONED_AFTER
    abandoned = [name for name in store.listdir("")[1] if store.get_modified_time(name) < oldest and not is_known(name)]
    for name in abandoned:
        store.delete(name)
    return abandoned


class _Digest:
    """sha256 over the files in order of their names: for each its name, length and own sha256."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[int, bytes]] = {}

    def add(self, name: str, content: bytes) -> None:
        self._files[name] = (len(content), hashlib.sha256(content).digest())

    @property
    def size(self) -> int:
        return sum(length for length, _ in self._files.values())

    def hexdigest(self) -> str:
        total = hashlib.sha256()
        for name, (length, digest) in sorted(self._files.items()):
            total.update(f"{len(name.encode())}:{name}:{length}:".encode() + digest)
        return total.hexdigest()


def _temporary_folder() -> str:
    folder = settings.DATA_DIR / "incoming"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return str(folder)


def summary_of(what: Written, progress: Progress) -> tuple[dict[str, Any], datetime | None]:
    """Return what the snapshot's page shows - found, missing, removed - and when the snapshot was taken, if it says.

    :raises SnapshotError: there is no Service in any file.
    :raises ParseError: there is none, and a file that may have held some cannot be read.
    """

    def told(_: str, place: int, nodes: int) -> None:
        progress(f"Reading rules: node {place} of {nodes}", place - 1, nodes)

    progress("Reading objects", 0, 0)
    recorded = RecordedSnapshot.from_files(what.container)
    summary = summarise(recorded, told, met=what.faults)
    known = {form.path for form in what.forms}
    stored = summary.to_dict() | {
        "version": SUMMARY_VERSION,
        "source_digest": what.source_digest,
        "removed": list(what.removed),
        "forms": [form.to_dict() for form in dict.fromkeys(what.forms)],
        "masked": [form.path for form in what.forms if form.is_masked],
        "left_out": [{"path": left.path, "why": left.why} for left in what.left_out],
        "examples": find_examples(recorded.objects, recorded.node_files),
        "unplaced": [one.to_dict() for one in what.arrangement.unplaced if one.kept_as in what.container],
        "from": {name: path for name, path in what.came_from.items() if name in what.container and not name.startswith(UNPLACED)},
        "assumed": list(what.arrangement.assumed.values()),
        "unknown_files": [path for path in (*summary.unknown_files, *what.unknown) if path not in known],
        "modes": sorted({node.mode.mode for node in summary.nodes if node.mode}),
    }
    return stored, summary.taken_at

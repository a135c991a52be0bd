"""Use cases: store a snapshot, follow its upload, open it for the engine, hand it out again, delete it; freeze, read and revoke answers.

Views, sockets and commands call these functions and nothing below them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import transaction
from django.db.models import Case, F, QuerySet, When
from django.utils import timezone

from tracer.errors import ParseError, SnapshotError, TracerError
from tracer.sketch import USUAL_NODES
from tracer.snapshot.layout import UNPLACED
from tracer.snapshot.wrong_form import WANTED
from webapp import __version__, uploads
from webapp.models import Snapshot, TraceLink, UploadJob, new_slug
from webapp.storing import download_archive, handed_in, snapshot_store, stored_answers, upload_jobs
from webapp.storing.completing import completed
from webapp.storing.full_disk import said_when_full
from webapp.storing.handed_in import HandedIn
from webapp.storing.open_snapshots import opened
from webapp.storing.placing import placed
from webapp.storing.snapshot_store import Progress, Written
from webapp.storing.storage import sweep_folders
from webapp.uploads import UploadError
from webapp.uploads.arranged import nodes_of
from webapp.uploads.sketched import sketched

_MOST_UNKNOWN = 5
StoreError = UploadError
"""Why a source was not stored: *problems* has one sentence for each reason, *status* the HTTP status (413, 422 or 507)."""

if TYPE_CHECKING:
    from tracer.topology.cluster import Cluster


class LinkGone(Exception):
    """The frozen link was revoked or has expired (410); *link* is its row."""

    def __init__(self, link: TraceLink) -> None:
        super().__init__("revoked" if link.revoked_at else "expired")
        self.link = link


# --- snapshots -----------------------------------------------------------------------------------------------------------


def store_snapshot(
    path: Path,
    *,
    filename: str | None = None,
    name: str = "",
    owner: str = "",
    progress: Progress | None = None,
    noted: Callable[[Snapshot], None] | None = None,
    parent: Snapshot | None = None,
    nodes: int = USUAL_NODES,
) -> Snapshot:
    """Store the snapshot in *path* (folder, archive or single file; *filename* is what the user called it) and return its row.

    *noted* is called with the row in the transaction that stores it. With a *parent* the new snapshot is the parent's files with those
    in *path* laid over them: of two at the same place the new one counts. The parent stays as it is. Of manifests alone a sketch is stored
    that has so many *nodes*.

    :raises UploadError: nothing was stored, and why.
    """
    filename = filename or path.name
    progress = progress or _silent
    source = uploads.check(path, filename=filename)
    if parent is None:
        source = sketched(source, nodes)
    elif parent.summary.get("sketched"):
        raise UploadError(f"{parent.name} is a sketch, made of manifests: upload these once more, together with what is to be added.")
    with said_when_full(), _written(source, parent, progress) as what:
        slug = new_slug()
        called = name.strip()[:200] or (parent.name if parent else _name_from(filename))
        row = Snapshot(id=slug, name=called, owner=owner, **_columns(what, slug, progress))
        if parent is not None:
            row.summary["parent"] = {"id": parent.id, "name": parent.name}
        with snapshot_store.saved(what, row.storage_name), transaction.atomic():
            row.save(force_insert=True)
            if noted is not None:
                noted(row)
    return row


@contextlib.contextmanager
def _written(source: uploads.Source, parent: Snapshot | None, progress: Progress) -> Iterator[Written]:
    """Write *source*, over what *parent* has. :raises UploadError: it is of another cluster, or adds nothing."""
    if parent is None:
        with snapshot_store.written(source, progress) as what:
            yield what
        return
    with (
        contextlib.closing(snapshot_store.open_container(parent)) as held,
        snapshot_store.written(source, progress, nodes_of(parent.summary)) as alone,
        snapshot_store.written(completed(held, alone.container, parent.name), progress) as what,
    ):
        # What is said of the files that were added is said of the whole: what was stored before has nothing more to say.
        yield replace(
            what,
            arrangement=replace(what.arrangement, assumed={**alone.arrangement.assumed, **what.arrangement.assumed}),
            came_from=_came_from(parent.summary, alone, what),
            removed=(*alone.removed, *what.removed),
            unknown=(*alone.unknown, *what.unknown),
            faults=(*alone.faults, *what.faults),
            forms=(*alone.forms, *what.forms),
        )


def _came_from(summary: dict[str, Any], added: Written, whole: Written) -> dict[str, str]:
    """Return which name each file had when it was handed in: what the parent's *summary* remembers, and what was *added* to it."""
    known = {whole.arrangement.name(name): path for name, path in (*summary.get("from", {}).items(), *added.came_from.items())}
    return {name: path.partition("/")[2].partition("/")[2] for name, path in whole.came_from.items() if path.startswith(UNPLACED)} | known


def find_snapshot(named: str) -> Snapshot:
    """Return the snapshot with that id, or the only one with that name; for the operator's commands.

    :raises Snapshot.DoesNotExist: there is none. :raises Snapshot.MultipleObjectsReturned: several have the name.
    """
    return Snapshot.objects.filter(id=named).first() or Snapshot.objects.get(name=named)


def load_demo(path: Path, slug: str, name: str) -> bool:
    """Store the demonstration cluster in *path* under *slug*, or replace it when the files differ. Returns whether anything changed.

    :raises UploadError: nothing was stored, and why.
    """
    source = uploads.check(path)
    old = Snapshot.objects.filter(id=slug).first()
    if old and snapshot_store.is_current(old, source):
        return False
    with snapshot_store.written(source, _silent) as what:
        row = Snapshot(id=slug, name=name, is_demo=True, **_columns(what, slug, _silent))
        row.created_at = old.created_at if old else timezone.now()
        with snapshot_store.saved(what, row.storage_name), transaction.atomic():
            row.save(force_insert=not old, force_update=bool(old))
    if old:
        snapshot_store.storage().delete(old.storage_name)
    return True


def visible_snapshots(owner: str) -> QuerySet[Snapshot]:
    """Return *owner*'s own snapshots and those the operator imported, newest first, then the demonstration clusters by name."""
    newest = Case(When(is_demo=False, then=F("created_at")))
    return Snapshot.objects.filter(owner__in={"", owner}).order_by("is_demo", newest.desc(), "id")


def get_snapshot(slug: str, owner: str) -> Snapshot:
    """Return the snapshot if *owner* may see it. :raises Snapshot.DoesNotExist: no such snapshot for this owner."""
    row = Snapshot.objects.get(id=slug)
    if not row.is_visible_to(owner):
        raise Snapshot.DoesNotExist
    return row


def using_cluster(row: Snapshot) -> AbstractContextManager[Cluster]:
    """Return a context that gives the engine's cluster of *row* (and its ``snapshot``) to one thread at a time; trace inside it."""
    return opened.using(row)


def delete_snapshot(row: Snapshot, owner: str) -> None:
    """Delete *owner*'s snapshot; links made from it keep opening. :raises PermissionError: not the owner's."""
    if not row.is_deletable_by(owner):
        raise PermissionError(row.id)
    remove_snapshot(row)


def remove_snapshot(row: Snapshot) -> None:
    """Delete *row* and its bytes, whoever it belongs to; for the operator's commands."""
    # The row goes first: if the process dies in between, a file without a row is left, which clean_up() removes.
    row.delete()
    snapshot_store.storage().delete(row.storage_name)
    if not Snapshot.objects.filter(digest=row.digest).exists():
        opened.forget(row.digest)
        stored_answers.forget(row.digest)


def download(row: Snapshot, form: str = "tar.zst") -> Iterator[bytes]:
    """Yield the snapshot as an archive in chunks; *form* is one of download_archive.FORMS."""
    return download_archive.chunks(row, form)


def clean_up() -> list[str]:
    """Remove what killed processes left behind; called when the server starts. Returns the names of the files removed."""
    upload_jobs.clean_up()
    stored_answers.clean_up()
    sweep_folders(settings.DATA_DIR / "recordings")
    return snapshot_store.remove_abandoned()


def place_files(row: Snapshot, nodes: Mapping[str, str], *, owner: str) -> UploadJob:
    """Store *row* once more with files that had no node given to some: *nodes* is their path in the snapshot → node. *row* stays.

    :raises UploadError: two of them would be the same file of one node, one is not there, or there is no room; nothing was kept.
    """
    with contextlib.closing(snapshot_store.open_container(row)) as files:
        return start_upload(placed(files, nodes), name=row.name, owner=owner, parent=row)


# --- uploads -------------------------------------------------------------------------------------------------------------


def start_upload(
    parts: Sequence[HandedIn], *, name: str, owner: str, parent: Snapshot | None = None, nodes: int = USUAL_NODES
) -> UploadJob:
    """Keep what was handed in and store it in the background, over *parent*'s files where one is given; returns the job to follow.

    *nodes* is how many a sketch has, where manifests alone were handed in.

    :raises UploadError: there is no room for it (507); nothing was kept.
    """
    job = UploadJob(owner=owner, name=name.strip()[:200] or (parent.name if parent else _name_from(handed_in.titled(parts))))

    def store(path: Path, called: str, progress: Progress, noted: Callable[[Snapshot], None]) -> Snapshot:
        return store_snapshot(path, filename=called, name=job.name, owner=owner, progress=progress, noted=noted, parent=parent, nodes=nodes)

    with said_when_full():
        upload_jobs.start(parts, job, store)
    return job


def reading_uploads(owner: str) -> list[UploadJob]:
    """Return *owner*'s uploads that are being read."""
    return upload_jobs.reading(owner)


def find_upload(job: str, owner: str) -> UploadJob | None:
    """Return *owner*'s upload with that id, or None."""
    return upload_jobs.find(job, owner)


def upload_group(job: str) -> str:
    """Return the channel group that is told about the upload's changes."""
    return upload_jobs.group_of(job)


# --- frozen links --------------------------------------------------------------------------------------------------------


def create_link(
    *, document: dict[str, Any], query: dict[str, Any], owner: str, snapshot: Snapshot | None, expires: datetime | None = None
) -> TraceLink:
    """Freeze the answer document under a new token. *snapshot* None: the answer is of a moment of a followed cluster, which nobody keeps.

    :raises ValueError: *owner* is empty, or *expires* has passed.
    """
    if not owner:
        raise ValueError("a link needs an owner")
    if expires is not None and expires <= timezone.now():
        raise ValueError("the link would have expired already")
    link = TraceLink(
        owner=owner,
        query=query,
        snapshot=snapshot,
        snapshot_digest=snapshot.digest if snapshot else "",
        expires_at=expires,
        engine_version=str(document.get("engine_version") or __version__),
    )
    link.document = document
    link.save(force_insert=True)
    return link


def read_link(token: str) -> TraceLink:
    """Return the link if it is open. :raises TraceLink.DoesNotExist: no such token. :raises LinkGone: revoked or expired (410)."""
    link = TraceLink.objects.get(token=token)
    if not link.is_open:
        raise LinkGone(link)
    return link


def visible_links(owner: str) -> QuerySet[TraceLink]:
    """Return *owner*'s links, newest first, without loading the documents."""
    links = TraceLink.objects.filter(owner=owner) if owner else TraceLink.objects.none()
    return links.defer("document_zstd").select_related("snapshot")


def revoke_link(token: str, owner: str) -> TraceLink:
    """Close *owner*'s link for good, and forget its answer. :raises TraceLink.DoesNotExist: not the owner's."""
    link = visible_links(owner).get(token=token)
    if link.revoked_at is None:
        link.revoked_at = timezone.now()
        link.document_zstd = b""
        link.save(update_fields=["revoked_at", "document_zstd"])
    return link


# -------------------------------------------------------------------------------------------------------------------------


def _columns(what: Written, slug: str, progress: Progress) -> dict[str, Any]:
    try:
        summary, taken_at = snapshot_store.summary_of(what, progress)
    except TracerError as error:
        raise UploadError(*_refusal(error, what)) from error
    return {
        "digest": what.digest,
        "size": what.size,
        "file_count": len(what.container),
        "storage_name": f"{slug}.{new_slug()}",
        "summary": summary,
        "taken_at": taken_at,
    }


def _refusal(error: TracerError, what: Written) -> tuple[str, ...]:
    """Return why it is refused: what is wrong, what to do, and then what each file is that was handed in."""
    said = _problems(error)
    if not isinstance(error, ParseError | SnapshotError):
        return said
    # What is wanted instead has been said by then, once for all of them.
    forms = [str(form).removesuffix(f": {WANTED}").removesuffix(". Wanted is") for form in what.forms]
    known = [f"{form.rstrip('.')}." for form, at in zip(forms, what.forms, strict=True) if not any(at.path in text for text in said)]
    known += [f"{one.path}: {one.what}." for one in what.arrangement.unplaced]
    untold = [path for path in what.unknown[:_MOST_UNKNOWN] if not any(path in one for one in (*said, *known))]
    known += [f"{path}: nothing tells what it is." for path in untold]
    kept = " with what you have" if what.container or what.arrangement.unplaced else ""
    wrong = "No Service can be read in it, so there is nothing that a packet could be sent to."
    return (wrong, f"What to do: {WANTED}, and hand in cluster.json{kept}.", *(said if isinstance(error, ParseError) else ()), *known)


def _problems(error: TracerError) -> tuple[str, ...]:
    """Return one text for each fault, with its file, line and caret."""
    return tuple(map(str, error.faults)) if isinstance(error, ParseError) else (str(error),)


def _name_from(filename: str) -> str:
    name = filename
    for suffix in (".gz", ".bz2", ".xz", ".zst", ".tgz", ".tbz2", ".txz", ".tar", ".zip", ".json", ".yaml", ".yml"):
        name = name.removesuffix(suffix)
    return name[:200] or "Snapshot"


def _silent(_text: str, _done: int, _total: int) -> None:
    """Tell nobody."""

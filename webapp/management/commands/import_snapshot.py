"""``manage.py import_snapshot PATH... [--name NAME] [--add-to ID]``: store folders, archives and files as one snapshot."""

from __future__ import annotations

import sys
import tempfile
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.base import File
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, InterfaceError

from tracer.limits import SKETCH_NODES
from tracer.sketch import USUAL_NODES
from tracer.snapshot.told import said_of
from webapp.bounds import NODES_HELP
from webapp.http.failures import FAILURES, cause_of
from webapp.http.log_filter import hide_secrets
from webapp.models import Snapshot
from webapp.storing import handed_in, stored_snapshots
from webapp.storing.handed_in import HandedIn


class Command(BaseCommand):
    """Prints the new snapshot's id; what was found in it, what was not and what would add most goes to standard error.

    Exit code 2 with every reason when it is refused, 1 where the database cannot be used. The snapshot belongs to nobody: everybody who
    may open this server sees it. A database that is not there yet is made, as ``manage.py serve`` does.
    """

    help = "Store a recorded cluster (folders, .tar[.gz|.bz2|.xz|.zst], .zip, JSON, YAML and text files) as one snapshot."
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("paths", type=Path, nargs="+", metavar="PATH")
        parser.add_argument("--name", default="", help="what the snapshot is called in lists (default: the file's name)")
        parser.add_argument("--nodes", type=int, default=USUAL_NODES, help=NODES_HELP)
        parser.add_argument("--add-to", default="", metavar="ID", help="complete this snapshot (its id or name): a new one is stored")

    def handle(self, *, paths: list[Path], name: str, add_to: str, nodes: int, verbosity: int, **_: Any) -> None:
        """Store the snapshot."""
        if not 1 <= nodes <= SKETCH_NODES:
            raise CommandError(f"--nodes: a sketch has 1 to {SKETCH_NODES} nodes, not {nodes}", returncode=2)
        settings.DATA_DIR.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            call_command("migrate", interactive=False, verbosity=0)
            row = self._stored(paths, name, _parent(add_to) if add_to else None, nodes, progress=bool(verbosity and sys.stderr.isatty()))
        except stored_snapshots.StoreError as error:
            raise CommandError("\n".join(error.problems), returncode=2) from error
        except (OSError, DatabaseError, InterfaceError) as error:
            if (cause := cause_of(error)) is None:
                raise
            raise CommandError(f"{FAILURES[cause].heading}: {hide_secrets(str(error)).strip()}", returncode=1) from error
        if verbosity:
            for line in said_of(row.summary).lines():
                self.stderr.write(line, style_func=str)
        self.stdout.write(row.id)

    def _stored(self, paths: list[Path], name: str, parent: Snapshot | None, nodes: int, *, progress: bool) -> Snapshot:
        tell = self._tell if progress else None
        # NB: of a folder that completes a snapshot its own name may matter: nodes.
        if len(paths) == 1 and not (parent and paths[0].is_dir()):
            return stored_snapshots.store_snapshot(paths[0], name=name, progress=tell, parent=parent, nodes=nodes)
        if absent := [path for path in paths if not path.exists()]:
            raise CommandError("\n".join(f"{path}: No such file or folder" for path in absent), returncode=2)
        parts = [HandedIn(path=called, content=_OnDisk(path)) for called, path in handed_in.files_at(paths)]
        if not parts:
            raise CommandError("No files are in these folders.", returncode=2)
        with tempfile.NamedTemporaryFile(dir=settings.DATA_DIR) as kept:
            handed_in.write(parts, kept.file)
            kept.flush()
            called = handed_in.called(parts)
            titled = name or ("" if parent else handed_in.titled(parts))
            return stored_snapshots.store_snapshot(Path(kept.name), filename=called, name=titled, progress=tell, parent=parent, nodes=nodes)

    def _tell(self, text: str, done: int, total: int) -> None:
        self.stderr.write(f"\r\x1b[K{text} ({done}/{total})", ending="\r" if done + 1 < total else "\n")


class _OnDisk:
    """A file that is opened when its turn comes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.size: int | None = path.stat().st_size

    def chunks(self) -> Any:
        with self._path.open("rb") as file:
            yield from File(file).chunks()


def _parent(named: str) -> Snapshot:
    """Return the snapshot that is completed. :raises CommandError: there is not exactly one."""
    try:
        return stored_snapshots.find_snapshot(named)
    except Snapshot.DoesNotExist:
        raise CommandError(f"There is no snapshot {named}.", returncode=2) from None
    except Snapshot.MultipleObjectsReturned:
        raise CommandError(f"Several snapshots are called {named}; give the id of one.", returncode=2) from None

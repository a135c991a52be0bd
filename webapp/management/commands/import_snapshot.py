"""``manage.py import_snapshot PATH [--name NAME]``: store a folder, an archive or a file as a snapshot."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from webapp.storing import stored_snapshots


class Command(BaseCommand):
    """Prints the new snapshot's id; exit code 2 with every reason when it is refused.

    The snapshot belongs to nobody: everybody who may open this server sees it.
    """

    help = "Store a recorded cluster (folder, .tar[.gz|.xz|.zst], .zip, or one JSON or YAML file) as a snapshot."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("path", type=Path)
        parser.add_argument("--name", default="", help="what the snapshot is called in lists (default: the file's name)")

    def handle(self, *, path: Path, name: str, verbosity: int, **_: Any) -> None:
        """Store the snapshot."""
        progress = self._tell if verbosity and sys.stderr.isatty() else None
        try:
            row = stored_snapshots.store_snapshot(path, name=name, progress=progress)
        except stored_snapshots.StoreError as error:
            raise CommandError("\n".join(error.problems), returncode=2) from error
        self.stdout.write(row.id)

    def _tell(self, text: str, done: int, total: int) -> None:
        self.stderr.write(f"\r\x1b[K{text} ({done}/{total})", ending="\r" if done + 1 < total else "\n")

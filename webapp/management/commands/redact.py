"""``manage.py redact SNAPSHOT REDACTED``: a snapshot under other names and addresses, which traces as it did."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from tracer.errors import TracerError
from webapp import uploads
from webapp.collecting.redacting import SENTENCE, key_in, redact, write_names
from webapp.collecting.target import BadTarget, target_at


class Command(BaseCommand):
    """Prints the name of what it wrote; exit code 2 with the reason when nothing was."""

    help = "Replace names and addresses in a snapshot, consistently: the traces stay the same."
    requires_system_checks = ()
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("snapshot", type=Path, metavar="SNAPSHOT", help="a folder, an archive or a file, of collect.sh or any other")
        parser.add_argument(
            "target", type=Path, metavar="REDACTED", help="an archive where it ends in .tar.gz, .tgz or .tar, else a folder"
        )
        add_redaction(parser)

    def handle(self, *, snapshot: Path, target: Path, key: Path | None, names: Path | None, **_: Any) -> None:
        """Write the redacted snapshot."""
        try:
            with target_at(target) as made:
                renaming = redact(uploads.read(snapshot), made.folder, key_in(key))
                if names:
                    write_names(renaming, names)
                made.finish()
        except (BadTarget, uploads.UploadError, TracerError, ValueError, OSError) as error:
            raise CommandError(str(error), returncode=2) from error
        for left in renaming.left_out:
            self.stderr.write(f"Left out: {left}", style_func=str)
        self.stderr.write(SENTENCE, style_func=str)
        self.stdout.write(str(target))


def add_redaction(parser: ArgumentParser) -> None:
    """Declare the arguments that ``redact`` and ``collect --redact`` share."""
    parser.add_argument(
        "--key", type=Path, metavar="FILE", help="the key: the same one gives the same names again; made if it is not there"
    )
    parser.add_argument("--names", type=Path, metavar="FILE", help="write what became what into a new file; keep it to yourself")

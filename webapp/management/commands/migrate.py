"""``manage.py migrate SNAPSHOT --to MODE``; without ``--to`` it is Django's own command of that name, which migrates the database."""

from __future__ import annotations

import sys
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.core.management.commands import migrate

from tracer.errors import TracerError
from tracer.override_words import MODES
from webapp.management import drifting, migrating
from webapp.management.tracing import few_collections
from webapp.uploads import Limits


class Command(migrate.Command):
    """Say what changes for whom when kube-proxy runs in another mode, or migrate the database."""

    help = (
        "With --to: say what changes when kube-proxy runs in another mode. Exit code: 0 each change is explained, 1 one is not, 2 cannot "
        "tell, or an error. Without: update the database schema."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments of both."""
        super().add_arguments(parser)
        group = parser.add_argument_group("migration report: manage.py migrate SNAPSHOT --to MODE")
        group.add_argument(
            "--to", choices=MODES, metavar="MODE", help=f"the mode to switch to ({', '.join(MODES)}); the first argument is a snapshot"
        )
        group.add_argument("--format", choices=("text", "markdown", "json"), default="text", help="the form of the report")
        group.add_argument("--node", action="append", default=[], metavar="NODE", help="ask from this node only, may be repeated")
        group.add_argument("--service", action="append", default=[], metavar="NS/NAME", help="ask about this Service only, may be repeated")
        group.add_argument("--cells", action="store_true", help="instead of the report, a line of JSON for each question")

    def handle(self, *args: Any, **options: Any) -> None:
        """Report, answer and set the exit code; or migrate the database."""
        if options.get("to") is None:
            super().handle(*args, **options)
            return
        with few_collections():
            found = self._report(options)
        if found:
            sys.exit(int(found))

    def _report(self, options: dict[str, Any]) -> migrating.Answer:
        if options["app_label"] is None or options["migration_name"] is not None:
            raise CommandError("give one snapshot: manage.py migrate SNAPSHOT --to MODE", returncode=2)
        name: str = options["app_label"]
        try:
            limits, upload_limits = settings.QUESTION_LIMITS, Limits.from_settings()
            snapshot = drifting.read_snapshot(name, limits=limits, upload_limits=upload_limits)
            migration = migrating.migration_of(snapshot, options["to"], nodes=options["node"], services=options["service"])
        except (drifting.UnusableSnapshotError, TracerError) as error:
            raise CommandError(str(error), returncode=2) from None
        return migrating.run(migration, name, self.stdout.write, form=options["format"], with_cells=options["cells"])

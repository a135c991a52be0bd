"""``manage.py drift SNAPSHOT [--json]``."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from webapp.management import drifting
from webapp.management.tracing import few_collections
from webapp.uploads import Limits


class Command(BaseCommand):
    """Hold the rules recorded on every node of a snapshot against what kube-proxy would program for its objects."""

    help = "Say where recorded rules are not what kube-proxy would program. Exit code: 0 no drift, 1 drift, 2 cannot tell, or an error."
    requires_system_checks = ()
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("snapshot", metavar="SNAPSHOT", help="a snapshot: a folder or an archive")
        parser.add_argument("--json", action="store_true", help="answer as JSON")
        parser.add_argument("--expected", metavar="NODE", help="print the rules that kube-proxy would program on NODE, and compare nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        """Compare, answer, and set the exit code."""
        with few_collections():
            found = self._answer(options)
        if found:
            sys.exit(int(found))

    def _answer(self, options: dict[str, Any]) -> drifting.Answer:
        try:
            limits, upload_limits = settings.QUESTION_LIMITS, Limits.from_settings()
            snapshot = drifting.read_snapshot(options["snapshot"], limits=limits, upload_limits=upload_limits)
            if options["expected"]:
                drifting.print_expected(snapshot, options["expected"], self.stdout.write)
                return drifting.Answer.NONE
        except drifting.UnusableSnapshotError as error:
            raise CommandError(str(error), returncode=2) from None
        return drifting.run(snapshot, self.stdout.write, is_json=options["json"])

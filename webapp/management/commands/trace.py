"""``manage.py trace`` as one of Django's commands: for ``call_command``, for Django's own options, for help and for wrong arguments."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from functools import partial
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from webapp.management import tracing
from webapp.uploads import Limits


class Command(BaseCommand):
    """Answer what happens to a packet, from a snapshot folder or archive."""

    help = "Trace a packet through a recorded cluster."
    requires_system_checks = ()
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments of the contract."""
        tracing.declare_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Answer and set the exit code: 0 answered, 1 an answer is an error, 2 unusable arguments or snapshot."""
        terminal = tracing.Terminal(
            answer=self.stdout.write,
            part=partial(self.stdout.write, ending=""),
            say=lambda line: self.stderr.write(line, style_func=str),
            fail=self.stderr.write,
        )
        try:
            failed = tracing.run(options, terminal, limits=settings.QUESTION_LIMITS, upload_limits=Limits.from_settings())
        except tracing.UsageError as error:
            raise CommandError(str(error), returncode=2) from None
        if failed:
            sys.exit(1)

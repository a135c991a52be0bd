"""``manage.py serve``: the one way to start Hopline."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, InterfaceError

from tracer.packet import endpoint_text
from webapp.http import access
from webapp.http.failures import FAILURES, cause_of
from webapp.http.log_filter import hide_secrets
from webapp.serving.serve import serve
from webapp.storing import stored_snapshots

MOST_WORKERS = 256


class Command(BaseCommand):
    """Brings the database up to date, loads the demonstration clusters, tidies up after killed processes, and serves."""

    help = "Serve Hopline. Refuses an address that others can reach unless HOPLINE_ACCESS_KEY is set (or HOPLINE_INSECURE=1)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
        parser.add_argument("--port", type=int, default=8000, help="port to listen on (default: %(default)s)")
        help_text = "heavy questions answered at the same time (default: HOPLINE_WORKERS, or as many as there are cores)"
        parser.add_argument("--workers", type=_workers, help=help_text)
        parser.add_argument("--no-demo", action="store_true", help="do not load the demonstration clusters")

    def handle(self, *, host: str, port: int, workers: int | None, no_demo: bool, verbosity: int, **_: Any) -> None:
        """Serve until stopped."""
        if refusal := access.bind_refusal(host):
            raise CommandError(refusal, returncode=2)
        settings.DATA_DIR.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            call_command("migrate", interactive=False, verbosity=0)
            for name in stored_snapshots.clean_up():
                self.stderr.write(f"Removed {name}, which a stopped process left unfinished.")
            if not no_demo:
                call_command("load_demo", verbosity=verbosity, stdout=self.stdout)
        except (OSError, DatabaseError, InterfaceError) as error:
            if (cause := cause_of(error)) is None:
                raise
            raise CommandError(f"{FAILURES[cause].heading}: {hide_secrets(str(error)).strip()}", returncode=1) from error
        if workers is not None:
            os.environ["HOPLINE_WORKERS"] = str(workers)
            settings.WORKERS = workers
        self.stdout.write(f"Hopline is at http://{endpoint_text(host, port)} (Ctrl-C stops it)")
        ended = serve(host, port)
        if ended:
            sys.exit(ended)


def _workers(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= MOST_WORKERS:
        raise ArgumentTypeError(f"{text!r} is not a whole number from 1 to {MOST_WORKERS}")
    return int(text)

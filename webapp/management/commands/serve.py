"""``manage.py serve``: the one way to start Hopline."""

from __future__ import annotations

import contextlib
import signal
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

import uvicorn
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from webapp import access, services
from webapp.http_protocol import HttpProtocol


@contextlib.contextmanager
def following() -> Iterator[None]:
    """Follow clusters while the context is open, unless HOPLINE_FOLLOW=0 says that other processes do."""
    if not settings.FOLLOW:
        yield
        return
    from webapp.live.supervisor import Supervisor

    # NB: uvicorn raises the signal that stopped it once more when it is done, and SIGTERM's own handler would end the process right there:
    # nobody would tell the other processes that they may follow now.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    supervisor = Supervisor()
    supervisor.start()
    try:
        yield
    finally:
        supervisor.stop()


class Command(BaseCommand):
    """Brings the database up to date, loads the demonstration clusters, tidies up after killed processes, and serves."""

    help = "Serve Hopline. Refuses an address that others can reach unless HOPLINE_ACCESS_KEY is set (or HOPLINE_INSECURE=1)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
        parser.add_argument("--port", type=int, default=8000, help="port to listen on (default: %(default)s)")
        parser.add_argument("--no-demo", action="store_true", help="do not load the demonstration clusters")

    def handle(self, *, host: str, port: int, no_demo: bool, verbosity: int, **_: Any) -> None:
        """Serve until stopped."""
        if refusal := access.bind_refusal(host):
            raise CommandError(refusal, returncode=2)
        settings.DATA_DIR.mkdir(parents=True, exist_ok=True, mode=0o700)
        call_command("migrate", interactive=False, verbosity=0)
        for name in services.clean_up():
            self.stderr.write(f"Removed {name}, which a stopped process left unfinished.")
        if not no_demo:
            call_command("load_demo", verbosity=verbosity, stdout=self.stdout)
        config = uvicorn.Config(
            "webapp.asgi:application",
            host=host,
            port=port,
            http=HttpProtocol,
            log_config=None,
            access_log=settings.ACCESS_LOG,
            lifespan="off",
            proxy_headers=settings.HTTPS,
            forwarded_allow_ips=settings.TRUSTED_PROXIES,
            timeout_graceful_shutdown=10,
            ws_max_size=65_536,
        )
        server = uvicorn.Server(config)
        shown = f"[{host}]" if ":" in host else host
        self.stdout.write(f"Hopline is at http://{shown}:{port} (Ctrl-C stops it)")
        with following():
            server.run()
        if not server.started:
            sys.exit(1)

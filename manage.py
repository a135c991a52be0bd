#!/usr/bin/env python3
"""Hopline's command line: ``serve``, ``trace``, ``import_snapshot``, and Django's own commands."""

import gc
import os
import sys

_SETTINGS = "webapp.settings"


def main() -> None:
    """Run the command that the arguments name."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", _SETTINGS)
    try:
        if sys.argv[1:2] == ["trace"] and os.environ["DJANGO_SETTINGS_MODULE"] == _SETTINGS:
            _trace_alone()
        from django.core.management import execute_from_command_line
    except ImportError as error:
        raise SystemExit(f"{error}. Run `make setup`, then use .venv/bin/python manage.py") from error
    execute_from_command_line(sys.argv)


def _trace_alone() -> None:
    """Answer and leave, unless Django is to read the arguments."""
    gc.disable()  # what is imported stays: no garbage is among it
    from webapp.management.tracing import run_alone

    gc.freeze()
    gc.enable()
    if (code := run_alone(sys.argv[2:])) is not None:
        sys.exit(code)


if __name__ == "__main__":
    main()

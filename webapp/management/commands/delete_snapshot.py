"""``manage.py delete_snapshot ID``: delete a stored snapshot, whoever it belongs to."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from webapp.models import Snapshot
from webapp.storing import stored_snapshots


class Command(BaseCommand):
    """Exit code 2 when there is no such snapshot."""

    help = "Delete a stored snapshot, whoever it belongs to. Frozen links made from it keep opening."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the argument."""
        parser.add_argument("id")

    def handle(self, *, id: str, **_: Any) -> None:  # noqa: A002 - the argument's name
        """Delete the snapshot."""
        row = Snapshot.objects.filter(id=id).first()
        if row is None:
            raise CommandError(f"There is no snapshot {id}.", returncode=2)
        stored_snapshots.remove_snapshot(row)

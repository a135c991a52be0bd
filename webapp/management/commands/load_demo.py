"""``manage.py load_demo``: store the demonstration clusters that come with Hopline, or bring them up to date."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from webapp.storing import stored_snapshots


class Command(BaseCommand):
    """Does nothing for a cluster that is stored already and has not changed."""

    help = "Store the demonstration clusters of demo/, or bring them up to date."

    def handle(self, *, verbosity: int, **_: Any) -> None:
        """Load every cluster of the demo folder."""
        for slug, path in demonstration_clusters(settings.DEMO_DIR):
            try:
                changed = stored_snapshots.load_demo(path, slug, slug)
            except stored_snapshots.StoreError as error:
                raise CommandError(f"{path}: " + "\n".join(error.problems)) from error
            if changed and verbosity:
                self.stdout.write(f"Loaded {slug}")


def demonstration_clusters(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the slug and the path of each demonstration cluster in *folder*."""
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            yield path.name, path
        elif path.name.endswith(".tar.gz"):
            yield path.name.removesuffix(".tar.gz"), path

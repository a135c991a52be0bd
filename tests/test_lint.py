"""The checks of ``make lint``, each beside the tests: what the Makefile's own recipe runs, so that one run tells everything."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT


def recipe() -> list[str]:
    """Return the commands of the Makefile's ``lint``."""
    found = re.search(r"^lint:.*\n((?:\t.*\n)+)", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    return [] if found is None else [line.strip() for line in found[1].splitlines()]


@pytest.mark.parametrize("command", recipe(), ids=lambda command: command.replace("$(BIN)/", ""))
def test_it_finds_nothing(command: str) -> None:
    # Not resolved: an environment's own programs stand beside the link to its interpreter.
    environment = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE" and not k.startswith(("HOPLINE_", "MAKE"))}
    shell = command.replace("$(BIN)", str(Path(sys.executable).parent))
    done = subprocess.run(["bash", "-c", shell], cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_recipe_is_read() -> None:
    programs = [word for command in recipe() for word in command.replace("$(BIN)/", "").split()]
    assert {"ruff", "mypy", "lint-imports", "scripts/dead_code.py"} <= set(programs)

"""docs/supported-matches.md says what the code does."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import PROJECT
from tracer.netfilter import match_options, target_options


def test_the_page_is_up_to_date() -> None:
    done = subprocess.run([sys.executable, "scripts/supported_matches.py", "--check"], cwd=PROJECT, check=False)
    assert done.returncode == 0, "run scripts/supported_matches.py"


def test_the_page_names_every_module_and_target() -> None:
    page = (PROJECT / "docs/supported-matches.md").read_text()
    names = {*match_options.MODULES, *match_options.RECOGNISED, *target_options.TARGETS, *target_options.RECOGNISED}
    assert [name for name in sorted(names) if f"`{name}`" not in page] == []


def test_no_name_is_both_modelled_and_recognised() -> None:
    assert not match_options.RECOGNISED & set(match_options.MODULES)
    assert not target_options.RECOGNISED & set(target_options.TARGETS)

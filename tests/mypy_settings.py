"""The application's own settings for mypy's Django plugin, which imports them: whatever they make lies beside mypy's cache."""

import os
from pathlib import Path

for _name in [name for name in os.environ if name.startswith("HOPLINE_")]:
    del os.environ[_name]
os.environ["HOPLINE_DATA"] = str(Path(__file__).resolve().parent.parent / ".mypy_cache" / "data")

from webapp.settings import *  # noqa: E402, F403

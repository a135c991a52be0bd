"""The application's own settings, with the data in a temporary folder and nothing taken from the developer's environment.

``DATABASE_URL`` and ``REDIS_URL`` are kept: test_storage_servers.py runs part of the tests once more against real servers with them.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

for _name in [name for name in os.environ if name.startswith("HOPLINE_")]:
    del os.environ[_name]
_folder = tempfile.mkdtemp(prefix="hopline-tests-")
atexit.register(shutil.rmtree, _folder, ignore_errors=True)
os.environ["HOPLINE_DATA"] = _folder

from webapp.settings import *  # noqa: E402, F403
from webapp.settings import DATABASES  # noqa: E402

if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # A file as in real life: an in-memory database would be shared by threads with other rules of locking.
    DATABASES["default"]["TEST"] = {"NAME": Path(_folder) / "test.sqlite3"}

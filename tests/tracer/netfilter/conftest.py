"""Hypothesis for tests of rules: no deadline (the machine may be busy), more examples with ``FUZZ_EXAMPLES``."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("hopline", deadline=None, max_examples=int(os.environ.get("FUZZ_EXAMPLES", "100")))
settings.load_profile("hopline")

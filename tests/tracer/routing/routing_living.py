"""How much the living kernel is asked about routing, and with which seed: one place for both files that ask it."""

from __future__ import annotations

import os
import random

from tests.oracle.digests import changed
from tests.tracer.routing.routing_netns import why_not

SEED = int(os.environ.get("ROUTING_ORACLE_SEED", "0")) or random.SystemRandom().randrange(1, 10**9)
WORLDS = int(os.environ.get("ROUTING_ORACLE_WORLDS", "0")) or (3 if changed("engine") or changed("generators") else 1)
REASON = why_not()

"""Which sources a recording was made by and compared with: two lists of digests, kept beside it in ``recorded/digests.json``.

*generators* made it: rule sets, packets, the little network, and how the kernel is read. Where one of them is another, the recording says
nothing about the present oracle, and has to be made anew. *engine* is what is held against it: where one of these is another, the
recording still stands, but the living kernel is asked a longer slice (``living_seconds``).
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from tests.oracle.recording import FOLDER

PROJECT = Path(__file__).parents[2]
DIGESTS = FOLDER / "digests.json"
GENERATORS = (
    *(
        f"tests/oracle/{name}.py"
        for name in (
            "frames",
            "kernel",
            "lab",
            "netlink",
            "netns",
            "nft_kernel",
            "nft_rulesets",
            "nft_vocabulary",
            "record",
            "recording",
            "rulesets",
            "run",
            "targets",
            "vocabulary",
        )
    ),
    *(f"tests/tracer/routing/{name}.py" for name in ("routing_frames", "routing_netns", "routing_random", "routing_worlds")),
)
TESTED = (
    "errors", "forks", "frozen", "kept", "limits", "packet", "pasted", "probability", "query", "refusals", "stack_protocols", "told_odds", "trace",
    "conntrack", "front", "frontends", "netfilter", "routing", "simulate", "snapshot", "topology",
)  # fmt: skip
"""Modules and packages of the engine that an oracle's question passes through."""


def engine_files() -> tuple[str, ...]:
    """Return the paths of every source that a recording is held against."""
    found = [path for name in TESTED for path in (PROJECT / "tracer").glob(f"{name}.py")]
    found += [path for name in TESTED for path in (PROJECT / "tracer" / name).rglob("*.py")]
    return ("tests/oracle/engine.py", *sorted(path.relative_to(PROJECT).as_posix() for path in found))


def present() -> dict[str, dict[str, str]]:
    """Return the digests of the tree as it is."""
    return {"generators": _digests(GENERATORS), "engine": _digests(engine_files())}


def _digests(paths: tuple[str, ...]) -> dict[str, str]:
    return {path: hashlib.sha256((PROJECT / path).read_bytes()).hexdigest()[:16] for path in paths}


def changed(part: str) -> list[str]:
    """Return which files of *part* are not those that the recording knows, new and deleted ones too."""
    known: dict[str, str] = json.loads(DIGESTS.read_text())[part]
    now = present()[part]
    return sorted(path for path in known.keys() | now.keys() if known.get(path) != now.get(path))


def living_seconds(share: float) -> float:
    """Return for how long an oracle that has *share* of the time asks the living kernel: of 60 s where the engine changed, else of 6."""
    return share * (60 if changed("engine") or changed("generators") else 6)

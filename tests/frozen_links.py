"""Frozen links to answers made by hand: any page of any size or with any names, without a recording that has them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from tests.live_server import PROJECT, LiveServer, environment
from tracer.trace import Trace
from webapp.answering.document import document

_MAKE = """
import json, sys, django
django.setup()
from webapp.models import TraceLink
document = json.load(sys.stdin)
link = TraceLink(owner="tests", query={"text": "", "query": document["answer"]["query"]}, snapshot_digest="0" * 64, engine_version="made")
link.document = document
link.save(force_insert=True)
print(link.token)
"""


class MadeLines:
    """The lines of the dumps that a made trace speaks of: its own rules at their lines, one other rule everywhere else."""

    def __init__(self, trace: Trace) -> None:
        self._rules: dict[str, dict[int, str]] = {}
        for outcome in trace.outcomes:
            for hop in outcome.hops:
                for step in hop.steps:
                    if step.file and step.line:
                        self._rules.setdefault(step.file, {})[step.line] = str(step.rule)

    def lines(self, path: str) -> Sequence[str]:
        """Return the lines of *path*."""
        rules = self._rules[path]
        return [rules.get(number, "-A OTHER -j RETURN") for number in range(1, max(rules) + 3)]


def made_document(trace: Trace, *, zones: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the answer document of a made trace."""
    snapshot = {"id": "made", "name": "made", "digest": "0" * 64, "taken_at": "2026-11-03T09:12:00+00:00"}
    return document(trace, MadeLines(trace), snapshot=snapshot, engine_version="made", zones=zones)


def frozen_path(live: LiveServer, made: Mapping[str, Any]) -> str:
    """Store *made* in the running server's database and return the path that shows it."""
    done = subprocess.run(
        [sys.executable, "-c", _MAKE],
        cwd=PROJECT,
        env=environment(live.data),
        input=json.dumps(made),
        capture_output=True,
        text=True,
        check=True,
    )
    return f"/t/{done.stdout.strip().splitlines()[-1]}"

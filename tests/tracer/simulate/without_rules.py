"""``python -m tests.tracer.simulate.without_rules lab-vxlan``: which recorded connections met no rule of anybody but kube-proxy, and whether
the answers without any rules are right about those.

Which rules a connection met is taken from the answer with the recorded rules, which agrees with the kernel's own trace rule by rule.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.tracer.simulate import truth
from tracer.netfilter.owners import owner_of

PLAIN = {"accept", None}
"""What a rule of somebody else may say without that it mattered: nothing, or what the chain's policy says anyway."""


def of_others(answer: dict[str, Any]) -> Iterator[str]:
    """Yield the rules of others that the ways of *answer* met, there and back; those that only count or pass on are no rules of a way."""
    for outcome in answer.get("outcomes", ()):
        for hop in (*outcome["hops"], *(outcome.get("reply") or {}).get("hops", ())):
            for step in hop.get("steps", ()):
                rule = step.get("rule")
                if rule is None:
                    if step.get("policy", "ACCEPT").upper() != "ACCEPT":
                        yield f"policy {step['policy']} of {step['table']} {step['chain']}"
                    continue
                if step["verdict"] != "continue" and step["table"] != "ipvs" and not owner_of(step["table"], step["chain"], rule).is_proxy:
                    yield rule


def untouched(recording: str, file: str) -> Path:
    """Return the truth file *file* with the records alone that met no rule of others."""
    whole = truth.whole(file)
    with gzip.open(whole) as text:
        recorded = json.load(text)
    lines = truth.answers(recording, truth.queries(whole)).splitlines()
    touched = {answer["id"] for answer in map(json.loads, lines) if next(of_others(answer), None) is not None}
    recorded["records"] = [record for number, record in enumerate(recorded["records"]) if str(number) not in touched]
    part = truth.folder() / f"untouched-{file}"
    part.write_bytes(gzip.compress(json.dumps(recorded).encode(), 1))
    return part


def main(recording: str) -> int:
    """Print what is left, and the verdict."""
    file = f"{recording}.connections.json.gz"
    part = untouched(recording, file)
    done = truth.judged("check", part, truth.answers(recording, truth.queries(part), truth.RULES))
    print("\n".join(done.stdout.splitlines()[-12:]))
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

"""``python -m tests.hostile NAME``: do everything with one hostile input, and print what it cost and what was answered, as JSON."""

from __future__ import annotations

import json
import os
import resource
import sys

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")


def main(name: str) -> int:
    """Run the input called *name*; the process is stopped where it takes more than anything may."""
    from tests.hostile.inputs import INPUTS
    from tracer.errors import TracerError
    from tracer.explain.findings import diagnose
    from tracer.query import query_from_dict
    from tracer.simulate import trace
    from tracer.snapshot import Snapshot
    from tracer.snapshot.redact import remove_secrets
    from tracer.snapshot.summary import summarise
    from tracer.topology.cluster import Cluster

    made = INPUTS[name]()
    before = resource.getrusage(resource.RUSAGE_SELF)
    resource.setrlimit(resource.RLIMIT_CPU, (40, 60))
    resource.setrlimit(resource.RLIMIT_AS, (2_000_000_000, 2_000_000_000))
    files, _ = remove_secrets(made.files)
    snapshot = Snapshot.from_files(files)
    codes: set[str] = set()
    try:
        summarise(snapshot)
    except TracerError as error:
        codes.add(error.code)
    cluster = Cluster.from_snapshot(snapshot)
    for source, to in made.questions:
        try:
            answer = diagnose(cluster, trace(cluster, query_from_dict({"from": source, "to": to, "protocol": "tcp"})))
        except TracerError as error:
            codes.add(error.code)
            continue
        if sum(o.probability for o in answer.outcomes) != 1:
            raise AssertionError("the odds do not sum to 1")
        json.dumps(answer.to_dict())
        codes |= {u.code for u in answer.unknowns} | {o.reason.code for o in answer.outcomes if o.reason}
    after = resource.getrusage(resource.RUSAGE_SELF)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"seconds": seconds, "bytes": (after.ru_maxrss - before.ru_maxrss) * 1024, "codes": sorted(codes)}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

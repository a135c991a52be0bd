"""The text of kube-proxy's rules on 10,026 Services, made of the objects, beside iptables-restore reading it.

python benchmarks/kubeproxy_text.py
"""

from __future__ import annotations

import gc
import statistics
import sys
import tempfile
import time
from pathlib import Path

import in_process  # noqa: F401 - puts the project on the path
from measuring import ROUNDS, extracted, middle, namespace, run, verdict

from tracer.kubeproxy.iptables_rules import iptables_rules
from tracer.kubeproxy.rule_tables import save_text
from tracer.snapshot import Snapshot
from tracer.snapshot.proxy_configuration import proxy_configuration

NODE = "shop-worker"


def made(large: Path) -> tuple[str, float, float]:
    """Return the text of IPv4's rules, and the seconds of processor that reading the objects and making it took."""
    snapshot = Snapshot.from_files({str(p.relative_to(large)): p.read_bytes() for p in large.rglob("*") if p.is_file()})
    configuration = proxy_configuration(snapshot, NODE).configuration
    begin = time.process_time()
    assert len(snapshot.objects.services) > 10_000
    assert len(snapshot.objects.slices) > 10_000
    between = time.process_time()
    text = save_text(iptables_rules(snapshot.objects, configuration, version=4))
    return text, between - begin, time.process_time() - between


def main() -> int:
    """Measure, print, and return 0 if the target is met."""
    reading, making, theirs = [], [], []
    gc.set_threshold(200_000, 50, 100)  # as manage.py does
    with extracted() as large, namespace() as inside, tempfile.NamedTemporaryFile("w") as file:
        for _ in range(ROUNDS):
            text, read, took = made(large)
            reading.append(read)
            making.append(took)
            file.seek(0)
            file.write(text)
            file.flush()
            theirs.append(run([*inside, "iptables-legacy-restore", "--test"], stdin=Path(file.name)))
    read, took, beside = statistics.median(reading), statistics.median(making), middle(theirs).cpu
    print(
        f"objects read {read:.2f} s, text made {took:.2f} s ({len(text):,} characters); iptables-restore --test {beside:.2f} s (processor)"
    )
    verdict("full text from the files, of iptables-restore's", (read + took) / beside, 2.0)
    return 0 if verdict("full text of objects that are read, of iptables-restore's", took / beside, 2.0) else 1


if __name__ == "__main__":
    sys.exit(main())

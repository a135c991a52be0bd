"""``python -m tests.oracle.record`` (``make oracle-record``): ask the living kernel with fixed seeds, and write down what it did.

Rule sets, packets and random stacks are always the same; what the kernel draws itself (ports, odds) is whatever it drew this time.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time

from tests.oracle.digests import DIGESTS, present
from tests.oracle.kernel import Kernel, load_what_loads
from tests.oracle.lab import Lab
from tests.oracle.netns import why_not
from tests.oracle.nft_kernel import NftKernel
from tests.oracle.nft_kernel import load_what_loads as load_what_nft_loads
from tests.oracle.nft_rulesets import NftGenerator
from tests.oracle.recording import of_set, write, write_json
from tests.oracle.rulesets import Generator
from tests.oracle.run import SHOTS, Result, probe, usable
from tests.tracer.routing.routing_worlds import AddressTypes, Lookups, Masquerades, Received, to_json

SEED, ROUTING_SEED = 40000, 201
IPTABLES_SEEDS, NFT_SEEDS, WORLDS = 40, 60, 8
_PATIENCE = 0.1  # longer than in a run: a packet that a busy machine holds up must not be recorded as lost


def iptables() -> tuple[dict[str, bytes], list[dict[str, object]]]:
    """Return the little network's readings, and what every back end of both families did with rule sets of its own."""
    found = []
    with Lab() as lab:
        files, wanted = lab.files(), usable(lab)
        untested = {x: probe(lab, *x, Result()) for x in wanted}
        for seed in range(SEED, SEED + IPTABLES_SEEDS):
            for backend, version in wanted:
                kernel = Kernel(lab, backend, version)
                kernel.patience = _PATIENCE
                try:
                    generator = Generator(seed, version=version, untested=untested[backend, version])
                    loaded, _ = load_what_loads(kernel, generator.rule_set())
                    found.append(of_set(seed, loaded, [(shot, kernel.shoot(loaded, shot)) for shot in generator.shots(SHOTS)]))
                finally:
                    kernel.close()
    return files, found


def nft() -> tuple[dict[str, bytes], list[dict[str, object]]]:
    """Return the little network's readings, and what nf_tables did with native rule sets for both families."""
    found = []
    with Lab() as lab:
        files = lab.files()
        for seed in range(SEED, SEED + NFT_SEEDS):
            for version in (4, 6):
                kernel = NftKernel(lab, version)
                kernel.patience = _PATIENCE
                try:
                    generator = NftGenerator(seed, version=version)
                    loaded, _ = load_what_nft_loads(kernel, generator.rule_set())
                    found.append(of_set(seed, loaded, [(shot, kernel.shoot(loaded, shot)) for shot in generator.shots(SHOTS)]))
                finally:
                    kernel.close()
    return files, found


def routing() -> dict[str, object]:
    """Return what the kernel did in random stacks, and with packets under every setting of the switches."""
    both = [(version, world) for version in (4, 6) for world in range(WORLDS)]
    return {
        "kernel": os.uname().release,
        "lookups": [to_json(Lookups.observe(ROUTING_SEED, *which)) for which in both],
        "masquerades": [to_json(Masquerades.observe(ROUTING_SEED, *which)) for which in both],
        "received": [to_json(Received.observe(custom)) for custom in (False, True)],
        "types": [to_json(AddressTypes.observe(ROUTING_SEED, *which)) for which in both],
    }


def main() -> int:
    """Record all three oracles and the digests of the sources; return 0 when that could be done."""
    if reason := why_not() or next((f"{x} is not installed" for x in ("nft", "iptables-legacy-restore") if shutil.which(x) is None), None):
        print(f"The oracles cannot be recorded here: {reason}")
        return 2
    digests = json.dumps(present(), indent=1) + "\n"  # of what is about to record, whatever is edited meanwhile
    for name, work in (("iptables", iptables), ("nft", nft)):
        started = time.monotonic()
        files, sets = work()
        size = write(name, os.uname().release, files, sets)
        print(f"{name}: {len(sets)} rule sets, {len(sets) * SHOTS} packets, {size} bytes, {time.monotonic() - started:.0f} s", flush=True)
    started = time.monotonic()
    print(f"routing: {write_json('routing', routing())} bytes, {time.monotonic() - started:.0f} s", flush=True)
    DIGESTS.write_text(digests)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What a worker has read and thrown away is the system's again: the C library keeps large blocks, once it has seen one go, unless told."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from tests.live_server import PROJECT

_HOLES = """
import sys
from pathlib import Path
if sys.argv[1] == "told":
    from webapp.serving.worker import _give_back
    _give_back()

def held():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

large = bytearray(30 << 20)
del large
before, kept = held(), []
blocks = []
for _ in range(10):
    blocks.append(bytearray(6 << 20))
    kept.append(bytearray(4096))
del blocks
print(held() - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs a C library with mallopt: glibc")
@pytest.mark.parametrize(("told", "least", "most"), [("told", 0, 5_000_000), ("untold", 40_000_000, 80_000_000)])
def test_large_blocks_are_given_back(told, least, most):
    """Ten blocks of 6 MB with something small behind each; untold, the holes stay, which shows that the question is one."""
    run = subprocess.run([sys.executable, "-c", _HOLES, told], cwd=PROJECT, capture_output=True, text=True, check=True, timeout=60)
    assert least <= int(run.stdout) <= most

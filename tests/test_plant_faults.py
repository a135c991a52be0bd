"""The trial's faults: each that is said to be planted is there, on a Service of its own, and the same for the same seed."""

from __future__ import annotations

import json
import subprocess
import sys
from random import Random

import pytest

from scripts.plant_faults import FAULTS, KINDS, Cluster, plant
from tests.conftest import DEMO, PROJECT


def planted(seed: int, count: int = FAULTS) -> tuple[Cluster, list[dict[str, str]]]:
    cluster = Cluster(DEMO / "shop-iptables")
    return cluster, plant(cluster, Random(seed), count)


@pytest.mark.parametrize("seed", range(8))
def test_what_is_planted_is_there(seed: int) -> None:
    cluster, found = planted(seed)
    assert len(found) == FAULTS == len({one["kind"] for one in found}) == len({one["service"] for one in found})
    assert cluster.objects != Cluster(DEMO / "shop-iptables").objects
    again, same = planted(seed)
    assert (again.objects, same) == (cluster.objects, found)


def test_every_kind_can_be_planted() -> None:
    """Each alone changes something: none is said to be there that was there before."""
    for kind, (types, change) in KINDS.items():
        whole = Cluster(DEMO / "shop-iptables").objects
        changed = []
        for number in range(len(Cluster(DEMO / "shop-iptables").services(*types))):
            cluster = Cluster(DEMO / "shop-iptables")
            change(cluster, cluster.services(*types)[number])
            changed.append(cluster.objects != whole)
        assert any(changed), kind


def test_the_answers_stand_beside_the_objects(tmp_path) -> None:
    script = [sys.executable, "scripts/plant_faults.py", DEMO / "shop-iptables", tmp_path / "out", "--seed", "7"]
    assert subprocess.run(script, cwd=PROJECT, capture_output=True, check=False).returncode == 0
    assert len(json.loads((tmp_path / "out.answers.json").read_text())["planted"]) == FAULTS
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".json"}
    again = subprocess.run(script, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert again.returncode == 2 and "is there already" in again.stderr

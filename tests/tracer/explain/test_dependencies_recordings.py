"""Recordings of every mode, changed at random, line by line and object by object: an answer that nothing touched is still the answer."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import DEMO
from tests.sizes import every
from tests.tracer.explain.test_dependencies import Kept
from tests.tracer.topology.test_followed import questions
from tracer.changes import Change, FileChange, ObjectChange
from tracer.errors import TracerError
from tracer.snapshot import Snapshot
from tracer.topology.followed import FollowedCluster, changes_of

MODES = ("shop-iptables", "shop-nftables", "shop-ipvs", "shop-userspace-v1.20")
KINDS = ("EndpointSlice", "EndpointSlice", "Pod", "Service", "Node", "NetworkPolicy")
WORDS = (("8080", "8081"), ("ACCEPT", "DROP"), ("-w 1", "-w 0"), ("jump", "goto"), ("10.244.1.", "10.244.2."))


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def object_change(followed: FollowedCluster, rng: random.Random) -> Change | None:
    """Return a change of some object: it goes, or says something else."""
    kind = rng.choice(KINDS)
    values: list[Any] = [raw.value for raw, _ in followed.snapshot.objects.others(kind)]
    if not values:
        return None
    value = rng.choice(values)
    after = json.loads(json.dumps(value))
    endpoints = after.get("endpoints") or ()
    if rng.random() < 0.2:
        after = None
    elif endpoints:
        rng.choice(endpoints)["conditions"] = {"ready": rng.random() < 0.5, "serving": True}
    elif kind == "Service":
        after["spec"]["externalTrafficPolicy"] = rng.choice(["Local", "Cluster"])
    elif kind == "Pod":
        after["status"]["phase"] = rng.choice(["Failed", "Running"])
    else:
        after["metadata"]["labels"] = {"topology.kubernetes.io/zone": rng.choice("abc")}
    return ObjectChange(
        kind=kind, namespace=value["metadata"].get("namespace", ""), name=value["metadata"]["name"], before=None, after=after
    )


def file_change(followed: FollowedCluster, rng: random.Random) -> Change | None:
    """Return a change of some rule, set member, server or route of a node: a line goes, comes twice, or reads otherwise."""
    node = rng.choice(list(followed.snapshot.node_files))
    name = rng.choice([n for n in followed.snapshot.node_files[node] if "save" in n or n == "nft-ruleset.txt" or n.startswith("ip-")])
    content = followed.snapshot.files.of_nodes[f"nodes/{node}/{name}"]
    if name.endswith(".json"):
        entries = json.loads(content)
        if len(entries) > 1:
            del entries[rng.randrange(len(entries))]
        return FileChange(node=node, name=name, before=None, after=json.dumps(entries).encode())
    lines = content.decode().split("\n")
    at, how = rng.randrange(len(lines)), rng.randrange(3)
    if how == 0:
        del lines[at]
    elif how == 1:
        lines.insert(rng.randrange(len(lines)), lines[at])
    else:
        for old, new in WORDS:
            lines[at] = lines[at].replace(old, new)
    return FileChange(node=node, name=name, before=None, after="\n".join(lines).encode())


@pytest.mark.parametrize("name", every(MODES, 2))
@pytest.mark.parametrize("without_ip", [False, True])
def test_what_no_random_change_of_a_recording_touched_is_still_the_answer(name: str, without_ip: bool) -> None:
    if not (DEMO / name).is_dir():
        pytest.skip("demo/ is not there")
    rng = random.Random(f"{name} {without_ip}")
    files = {p: c for p, c in files_of(DEMO / name).items() if not (without_ip and p.rpartition("/")[2].startswith(("ip-", "ip6-")))}
    followed, kept = FollowedCluster(), Kept()
    followed.apply(tuple(changes_of(Snapshot.from_files(files))), now=0.0)
    asked = rng.sample(list(questions(followed.cluster)), 6)
    for question in asked:
        kept.check(followed.cluster, (), question)
    for step in range(15):
        change = object_change(followed, rng) if rng.random() < 0.4 else file_change(followed, rng)
        changes = followed.apply([change] if change else [], now=float(step))
        wrong = []
        for question in asked:
            try:
                wrong += kept.check(followed.cluster, changes, question)
            except TracerError:  # the change made it a question that cannot be answered
                kept.answers.pop(str(question), None)
        assert wrong == [], change
    assert kept.untouched > 20

"""What the kernel did, as it was recorded (``make oracle-record``), held against the engine: no root, no kernel, a few seconds.

The recording stands for the kernel as long as the oracle that made it is the present one; the living kernel is asked in test_oracle.py and
test_nft.py, the longer the less the engine is the one that the recording was last held against.
"""

from __future__ import annotations

from collections import Counter

import pytest

from tests.oracle.digests import DIGESTS, GENERATORS, PROJECT, TESTED, changed
from tests.oracle.engine import Engine
from tests.oracle.nft_hooks import with_hooks
from tests.oracle.nft_kernel import NftEngine
from tests.oracle.recording import FOLDER, Recording, read
from tests.oracle.report import shown
from tests.sizes import FULL, every
from tracer.netfilter import matches
from tracer.netfilter import model as m
from tracer.netfilter.nft_values import Evaluator

UNTOUCHED = {
    "added", "assumptions", "carriers_folded", "changes", "compare", "conntrack_list", "dispositions", "dns", "explain", "frontends", "graph", "ipvs", "json_values", "kube",
    "kubeproxy", "migration", "odds_text", "override_words", "overrides", "sketch", "stations", "patterns", "unopened", "values",
}  # fmt: skip
"""Modules and packages of the engine that no packet of the little network passes: it has no API objects, no IPVS and no names; nor what only says how code is loaded."""
_LARGEST = 3_000_000  # bytes of all recordings


def disagreements(recording: Recording, ends: Counter[str], *, most: int = 10) -> list[str]:
    """Return how engine and recorded kernel disagree, *most* of it, and count the ends on which they agree."""
    found: list[str] = []
    for one in every(recording.sets, 4):
        is_native = one.loaded.backend == "native"
        engine = NftEngine(with_hooks(recording.files, one.loaded), one.loaded) if is_native else Engine(recording.files, one.loaded)
        for shot, observed in one.shots:
            answer = engine.ask(shot)
            outcome = engine.agreeing(answer, observed) if sum(o.probability for o in answer.outcomes) == 1 else None
            if outcome is not None:
                ends[outcome.disposition] += 1
                continue
            found.append(f"seed {one.seed}: {shown(one.loaded, engine, shot, observed, answer)}")
            if len(found) == most:
                return found
    return found


@pytest.mark.parametrize("name", ["iptables", "nft"])
def test_the_engine_does_what_the_kernel_did(name: str) -> None:
    ends = Counter[str]()
    wrong = disagreements(read(name), ends)
    assert not wrong, f"{len(wrong)} disagreements or more; the first:\n{wrong[0]}"
    # Not a recording of nothing: packets came to every kind of end, and to an unknown one rarely.
    assert ends.total() >= (2000 if FULL else 500), ends
    assert not {end for end in ("delivered", "dropped", "rejected", "unreachable", "leaves") if ends[end] < (10 if FULL else 5)}, ends
    assert ends["unknown"] < 0.05 * ends.total(), ends


def test_every_back_end_and_family_is_recorded() -> None:
    kinds = {(one.loaded.backend, one.loaded.version) for name in ("iptables", "nft") for one in read(name).sets}
    assert kinds == {(backend, version) for backend in ("nft", "legacy", "native") for version in (4, 6)}


def test_a_wrong_engine_is_found_out_in_iptables(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison itself: an engine that forgets to negate protocols does not pass."""
    honest = matches.test
    monkeypatch.setattr(matches, "test", lambda match, view: True if isinstance(match, m.ProtocolMatch) else honest(match, view))
    assert disagreements(read("iptables"), Counter(), most=1)


def test_a_wrong_engine_is_found_out_in_nft(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison itself: an engine that takes every set for empty does not pass."""
    monkeypatch.setattr(Evaluator, "find", lambda self, found, value, view: None)
    assert disagreements(read("nft"), Counter(), most=1)


def test_the_recording_is_of_the_present_oracle() -> None:
    """Rule sets, packets and how the kernel is read are what they were when it was recorded; the engine may be another one."""
    assert not (other := changed("generators")), f"run make oracle-record: the recording was made by other versions of {', '.join(other)}"


def test_the_digests_name_what_the_oracles_use() -> None:
    """A module of the oracles, or one of the engine's that a packet passes through, is in one of the lists, or deliberately in none."""
    sources = {path.relative_to(PROJECT).as_posix() for path in (PROJECT / "tests/oracle").glob("*.py")}
    compares = {"__init__", "__main__", "coverage", "digests", "nft", "nft_hooks", "nft_run", "report", "shrink"}
    stacks = ("plan", "rules", "drawn", "sockets", "world", "existing", "compare", "run")
    compares |= {"stacks"} | {f"stacks_{name}" for name in stacks}
    tests = {path for path in sources if "/test_" in path}
    assert sources - tests - set(GENERATORS) - {f"tests/oracle/{name}.py" for name in compares} == {"tests/oracle/engine.py"}
    rooms = {path.stem for path in (PROJECT / "tracer").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert rooms == {"__init__"} | set(TESTED) | UNTOUCHED


def test_the_recordings_stay_small() -> None:
    sizes = {path.name: path.stat().st_size for path in FOLDER.iterdir()}
    assert set(sizes) == {"iptables.json.xz", "nft.json.xz", "routing.json.xz", DIGESTS.name}
    assert sum(sizes.values()) < _LARGEST, sizes

"""The engine against a real kernel: every connection, every rule. And the same answers from dumps that say the same in other words."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pytest

from tests.sizes import FULL, every
from tests.tracer.simulate import truth
from tests.tracer.simulate.truth import all_of, verdict
from tracer.query import query_from_dict
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster
from tracer.trace import Outcome

pytestmark = pytest.mark.needs_shared

_RULES = re.compile(r"nodes/[^/]+/ip6?tables-save\.txt")
_COMMENT = re.compile(r' -m comment --comment (?:"(?:[^"\\]|\\.)*"|[^\s"]+)')
_CHAIN_WORD = re.compile(r"(?P<before>(?:^|\s)(?:-A|-j|-g) |^:)(?P<chain>\S+)", re.MULTILINE)
_BUILT_IN = {"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}
Shown = tuple[object, ...]


@pytest.mark.usefixtures("shared")
def test_every_connection_is_predicted() -> None:
    assert verdict("shop-iptables", "check", "shop-iptables.connections.json.gz") == all_of(1256)


@pytest.mark.usefixtures("shared")
def test_every_connection_of_an_old_kube_proxy_is_predicted() -> None:
    """Its sockets hold node ports for IPv4 only: over IPv6 nothing listens, and the kernel refuses."""
    assert verdict("shop-iptables-v1.20", "check", "shop-iptables-v1.20.connections.json.gz") == all_of(1244)


@pytest.mark.usefixtures("shared")
def test_every_rule_is_the_kernels() -> None:
    agree, total = verdict("shop-iptables", "rules", "shop-iptables.rules.json.gz")
    assert agree == total
    assert total == 1131 if FULL else total > 1131 / 16


# -- the same dump in other words -------------------------------------------------------------------------------------------------


def _renamed(text: str) -> str:
    """Every user chain gets a name that says nothing."""
    names: dict[str, str] = {}

    def other(found: re.Match[str]) -> str:
        chain = found["chain"]
        if f"\n:{chain} - " in text and chain not in _BUILT_IN:
            chain = names.setdefault(chain, f"c{len(names)}")
        return found["before"] + chain

    return "\n".join(line if line.startswith("#") else _CHAIN_WORD.sub(other, line) for line in text.split("\n"))


def _uncommented(text: str) -> str:
    return _COMMENT.sub("", text)


def _shuffled(text: str) -> str:
    """Chains in another order, their rules together and in their own order; tables in another order, too."""
    order = random.Random(20)
    tables = re.findall(r"^\*\w+\n.*?^COMMIT$", text, re.MULTILINE | re.DOTALL)
    order.shuffle(tables)
    return "\n".join(_table_shuffled(table, order) for table in tables) + "\n"


def _table_shuffled(table: str, order: random.Random) -> str:
    lines = table.split("\n")
    declared = [line for line in lines if line.startswith(":")]
    blocks: dict[str, list[str]] = {}
    for line in lines:
        if found := re.match(r"(?:\[\d+:\d+\] )?-A (\S+)", line):
            blocks.setdefault(found[1], []).append(line)
    order.shuffle(declared)
    chains = list(blocks)
    order.shuffle(chains)
    return "\n".join([lines[0], *declared, *(line for chain in chains for line in blocks[chain]), "COMMIT"])


def _uncounted(text: str) -> str:
    return re.sub(r"^\[\d+:\d+\] ", "", text, flags=re.MULTILINE)


def _counted(text: str) -> str:
    return re.sub(r"^-A ", "[12:3456] -A ", _uncounted(text), flags=re.MULTILINE)


def _all_at_once(text: str) -> str:
    return _uncounted(_shuffled(_uncommented(_renamed(text))))


def _rewritten(files: Mapping[str, bytes], change: Callable[[str], str]) -> dict[str, bytes]:
    out = {name: change(data.decode()).encode() if _RULES.fullmatch(name) else data for name, data in files.items()}
    assert change is _counted or out != files
    return out


def _shown(outcome: Outcome) -> Shown:
    place = outcome.destination.to_dict().items() if outcome.destination else ()
    return (outcome.disposition, tuple(sorted(place, key=str)), outcome.source_seen, outcome.probability, outcome.reject_with)


def _answers(cluster: Cluster, queries: Iterable[str]) -> list[list[Shown]]:
    return [[_shown(o) for o in trace(cluster, query_from_dict(json.loads(line))).outcomes] for line in queries]


@pytest.fixture(scope="module")
def files(shared: Path) -> dict[str, bytes]:
    root = shared / "recordings/shop-iptables"
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def queries(shared: Path) -> list[str]:
    return every(truth.queries(truth.whole("shop-iptables.connections.json.gz")).splitlines(), 12)


@pytest.fixture(scope="module")
def plain_answers(files: dict[str, bytes], queries: list[str]) -> list[list[Shown]]:
    return _answers(Cluster.from_snapshot(Snapshot.from_files(files)), queries)


@pytest.mark.parametrize(
    ("change", "nth"), [(_all_at_once, 1), (_renamed, 5), (_uncommented, 5), (_shuffled, 5), (_uncounted, 5), (_counted, 5)]
)
def test_other_words_same_answers(
    files: dict[str, bytes], queries: list[str], plain_answers: list[list[Shown]], change: Callable[[str], str], nth: int
) -> None:
    cluster = Cluster.from_snapshot(Snapshot.from_files(_rewritten(files, change)))
    assert _answers(cluster, queries[::nth]) == plain_answers[::nth]


def test_index_off_same_answers(files: dict[str, bytes], queries: list[str], plain_answers: list[list[Shown]]) -> None:
    cluster = Cluster.from_snapshot(Snapshot.from_files(files), indexed=False)
    assert _answers(cluster, queries) == plain_answers


def test_index_on_and_off_take_the_same_rules(files: dict[str, bytes], queries: list[str]) -> None:
    on, off = (Cluster.from_snapshot(Snapshot.from_files(files), indexed=indexed) for indexed in (True, False))
    for line in queries[::7]:
        query = query_from_dict(json.loads(line))
        assert trace(on, query).to_dict() == trace(off, query).to_dict()

"""The table of data paths: each row is whole, and nothing else in the program spells a row's name."""

from __future__ import annotations

import ast

import pytest

from tests.conftest import PROJECT
from tracer.explain.catalogue import explain
from tracer.frontends.kinds import IN_KERNEL_MAPS, KINDS, LISTED, RULES, DataPathKind, Replay
from tracer.snapshot.node_files import BY_NAME

DRAWN = [kind for kind in KINDS if kind is not RULES]


def test_names_are_unique_and_only_rules_are_replayed() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS)
    assert [kind for kind in KINDS if kind.replay is Replay.RULES] == [RULES]
    assert {kind.name for kind in KINDS if kind.files} == LISTED
    assert set(IN_KERNEL_MAPS) < set(DRAWN)


@pytest.mark.parametrize("kind", DRAWN, ids=lambda kind: kind.name)
def test_a_row_says_everything_that_sentences_need(kind: DataPathKind) -> None:
    assert all((kind.mode, kind.programs, kind.kept, kind.wanted, kind.lacks, kind.beyond))
    assert all(explain(code) is not None for code in (kind.lacks, kind.beyond))
    assert set(kind.files) <= set(BY_NAME)
    assert (kind.read is not None) == bool(kind.files)


def test_nothing_else_spells_a_data_paths_name() -> None:
    names = {kind.name for kind in DRAWN}
    spelling = {
        str(path.relative_to(PROJECT))
        for root in ("tracer", "webapp")
        for path in sorted((PROJECT / root).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in names
    }
    # known_programs names the image of Cilium's agent, owners the nft tables of Cilium and Calico, plugin_pods the label of Cilium's pods.
    elsewhere = {"tracer/kube/known_programs.py", "tracer/netfilter/owners.py", "webapp/collecting/plugin_pods.py"}
    assert spelling == {"tracer/frontends/kinds.py"} | elsewhere

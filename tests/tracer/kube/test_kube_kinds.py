"""What is drawn from the table of kinds, and what cannot be (shell, manifests, what each kind's fields are) names them all."""

from __future__ import annotations

import ast
import re
from functools import cached_property

import pytest

from tests.live_server import PROJECT
from tracer.kube.kinds import FOLLOWED, KINDS, Follows, Kind, moving
from tracer.kube.objects import Objects
from tracer.snapshot import layout
from tracer.snapshot.rename import objects
from tracer.topology import followed
from webapp.cluster.kinds import FOLLOWED_KINDS
from webapp.live import step_titles
from webapp.reading import paths
from webapp.reading.collect_commands import COLLECT_STEPS
from webapp.recorded_api.resources import RESOURCES, is_optional

BY_HAND = ("collect.sh", "deploy/rbac-exec.yaml", "deploy/rbac-daemonset.yaml", "docs/snapshot-format.md", "docs/operations.md")


def ids(kind: Kind) -> str:
    return kind.name


def test_every_list_of_kinds_is_drawn_from_the_table() -> None:
    names = {kind.name for kind in FOLLOWED}
    assert set(layout.KINDS.values()) == {kind.name for kind in KINDS}
    assert set(followed.FOLLOWED) == set(paths.FOLDERS) == {kind.kind for kind in FOLLOWED_KINDS} == names
    assert {kind.name for kind in RESOURCES if not is_optional(kind)} == names | {"Endpoints"}


@pytest.mark.parametrize("kind", FOLLOWED, ids=ids)
def test_what_is_written_by_hand_names_every_kind_that_is_followed(kind: Kind) -> None:
    for file in BY_HAND:
        assert re.search(rf"\b({kind.plural}|{kind.name}s)\b", (PROJECT / file).read_text()), f"{file} does not name {kind.plural}"
    assert kind.plural.rstrip("s") in COLLECT_STEPS[0].commands.replace("configmap ", "configmaps ")
    assert kind.name in step_titles.CAUSES_FIRST


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.is_followed or kind.name == "Endpoints"], ids=ids)
def test_redacting_knows_the_fields_of_every_kind_that_is_kept(kind: Kind) -> None:
    assert kind.name in objects.SHAPES


ELSEWHERE = {
    "tracer/snapshot/rename/objects.py": "which fields redacting keeps of each",
    "tracer/snapshot/told.py": "what the first sentence about a snapshot counts",
    "tracer/explain/dependencies/dependencies.py": "what pages call the look-ups of four kinds",
}
"""Modules that list kinds, and why they may."""


def test_no_other_module_lists_kinds() -> None:
    """Four kinds in one literal are a list of kinds; whoever means one names it."""
    kinds = {word for kind in KINDS for word in (kind.name, kind.plural)}
    found = set()
    for module in (*PROJECT.glob("tracer/**/*.py"), *PROJECT.glob("webapp/**/*.py")):
        for node in ast.walk(ast.parse(module.read_text())):
            elements = list(ast.walk(node)) if isinstance(node, ast.Tuple | ast.List | ast.Set | ast.Dict) else []
            if len(kinds & {e.value for e in elements if isinstance(e, ast.Constant)}) >= 4:
                found.add(module.relative_to(PROJECT).as_posix())
    assert found - {"tracer/kube/kinds.py"} == set(ELSEWHERE)


def test_every_kind_that_is_read_is_found_and_forgotten() -> None:
    """Look-ups of ``Objects`` that are kept, and no others, are what a change makes stale."""
    kept = {name for name, found in vars(Objects).items() if isinstance(found, cached_property)}
    assert {name for kind in KINDS for name in kind.derived} == kept
    assert [kind.name for kind in KINDS if (kind.read is None) != (not kind.derived)] == []


def test_what_a_kind_moves_on_a_node() -> None:
    assert moving(Follows.SERVICE_RULES) == {"Service", "EndpointSlice"}
    assert moving(Follows.SERVICE_RULES, Follows.WAYS) == {"Service", "EndpointSlice", "Pod", "Node"}
    assert moving() == {kind.name for kind in KINDS if kind.moves} < {kind.name for kind in FOLLOWED}


def test_names_are_told_apart() -> None:
    for what in ("name", "plural", "word", "singular"):
        assert len({getattr(kind, what) for kind in KINDS}) == len(KINDS), what

"""A change is under way until every node that can be read was read after it, and for a bounded time."""

from __future__ import annotations

from typing import Any

import pytest

from webapp.live.settling import is_settling
from webapp.models import LiveItem, LiveSource

pytestmark = pytest.mark.django_db
SLICE, SECRET, RULES = "objects/endpointslices/default/api-1.json", "objects/configmaps/default/c.json", "nodes/a/iptables-save.txt"


def source(**read_at: float | None) -> LiveSource:
    """Return a source whose nodes were read then; None: in vain."""
    nodes: dict[str, Any] = {
        name: {"error": "refused", "files": {}} if at is None else {"error": "", "files": {"iptables-save.txt": {"read_at": at}}}
        for name, at in read_at.items()
    }
    return LiveSource.objects.create(name="x", kind=LiveSource.Kind.CONTEXT, nodes=nodes)


def changed(row: LiveSource, path: str, generation: int, seen_at: float) -> None:
    LiveItem.objects.update_or_create(source=row, path=path, defaults={"generation": generation, "seen_at": seen_at})


def test_it_waits_for_every_node() -> None:
    row = source(a=101.0, b=99.0)
    changed(row, SLICE, 5, 100.0)
    assert is_settling(row, 4, 101.5)
    row.nodes["b"]["files"]["iptables-save.txt"]["read_at"] = 101.2
    assert not is_settling(row, 4, 101.5)


def test_what_the_page_has_is_no_change() -> None:
    row = source(a=99.0)
    changed(row, SLICE, 5, 100.0)
    assert not is_settling(row, 5, 100.5)


@pytest.mark.parametrize("path", [SECRET, RULES])
def test_what_no_rule_follows_is_not_waited_for(path: str) -> None:
    row = source(a=99.0)
    changed(row, path, 5, 100.0)
    assert not is_settling(row, 4, 100.5)


def test_nodes_that_cannot_be_read_are_not_waited_for() -> None:
    row = source(a=None)
    row.nodes["new"] = {}
    changed(row, SLICE, 5, 100.0)
    assert not is_settling(row, 4, 100.5)


def test_what_every_node_was_read_after_is_no_change_under_way() -> None:
    """An answer that did not change is of a generation long ago: the changes since then are over."""
    row = source(a=150.0)
    changed(row, SLICE.replace("api-1", "other"), 5, 100.0)
    changed(row, SLICE, 9, 160.0)
    assert is_settling(row, 4, 160.5)
    row.nodes["a"]["files"]["iptables-save.txt"]["read_at"] = 161.0
    assert not is_settling(row, 4, 161.5)


def test_a_node_is_read_when_all_is_that_follows_events() -> None:
    row = source(a=99.0)
    row.nodes["a"]["files"]["ip-route.json"] = {"read_at": 101.0}
    row.nodes["a"]["files"]["ip6tables-save.txt"] = {"read_at": 1.0, "error": "refused"}
    changed(row, SLICE, 5, 100.0)
    assert is_settling(row, 4, 100.5)
    row.nodes["a"]["files"]["iptables-save.txt"]["read_at"] = 101.0
    assert not is_settling(row, 4, 101.5)


def test_a_cluster_that_never_rests_is_shown(settings: Any) -> None:
    """The bound counts from the first change that the page lacks, however many follow."""
    row, settings.SETTLE_SECONDS = source(a=99.9), 5
    changed(row, SLICE, 5, 100.0)
    changed(row, SLICE.replace("api-1", "api-2"), 9, 104.5)
    assert is_settling(row, 4, 104.9)
    assert not is_settling(row, 4, 105.0)

"""A way to read a cluster that nobody notes is found out before an answer rests on it.

Whatever the watched classes do not say anew must get all it knows through what they do say: a new look-up that goes to the files by
itself would answer from nothing, or be noted by nobody.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator

import pytest

from tests.conftest import DEMO
from tracer.explain.dependencies.watched_cluster import WatchedCluster, WatchedSnapshot, WatchedStack
from tracer.explain.dependencies.watched_objects import WatchedObjects
from tracer.explain.findings import diagnose
from tracer.kube.objects import Objects
from tracer.query import Query, parse_destination, parse_source
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster

PAIRS: list[tuple[type, type, frozenset[str]]] = [
    (WatchedSnapshot, Snapshot, frozenset({"files", "node_files", "_read_times"})),
    (WatchedObjects, Objects, frozenset({"_files", "_faults"})),
]
"""The watched class, what it stands for, and the attributes in which the unwatched one has what it reads."""
VALUES = (str, int, float, type(None))


def _code(base: type, name: str) -> ast.AST | None:
    """The source of a method or property of *base* that is its own, None for what is no code."""
    found = base.__dict__.get(name)
    function = getattr(found, "func", None) or getattr(found, "fget", None) or getattr(found, "__func__", None) or found
    return ast.parse(textwrap.dedent(inspect.getsource(function))) if inspect.isfunction(function) else None


def _reaches(watched: type, base: type, raw: frozenset[str], name: str, seen: set[str]) -> Iterator[str]:
    """Yield those of *raw* that *name* gets at without passing what *watched* says anew."""
    code = _code(base, name)
    if code is None:
        return
    own = {n.attr for n in ast.walk(code) if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name) and n.value.id == "self"}
    yield from own & raw
    for attribute in sorted(own - seen - watched.__dict__.keys()):
        seen.add(attribute)
        yield from _reaches(watched, base, raw, attribute, seen)


def unnoted(watched: type, base: type, raw: frozenset[str]) -> list[str]:
    """Return which public ways of *base* to read reach *raw* although somebody watches."""
    public = [name for name in base.__dict__ if not name.startswith("_") and name not in watched.__dict__ and _code(base, name)]
    return [name for name in public if any(_reaches(watched, base, raw, name, set()))]


@pytest.mark.parametrize(("watched", "base", "raw"), PAIRS, ids=lambda found: getattr(found, "__name__", ""))
def test_nothing_is_read_past_the_notes(watched: type, base: type, raw: frozenset[str]) -> None:
    assert [name for name in unnoted(watched, base, raw) if name not in ("from_files", "from_snapshot", "renewed")] == []


@pytest.mark.parametrize(("watched", "base", "raw"), PAIRS, ids=lambda found: getattr(found, "__name__", ""))
def test_a_way_that_is_not_said_anew_is_found(watched: type, base: type, raw: frozenset[str]) -> None:
    """The test itself: take what the watched class says away, name by name; the ways that read the files by themselves are told."""
    said = [name for name, value in watched.__dict__.items() if not name.startswith("_") and name in base.__dict__ and _code(base, name)]
    told = [name for name in said if name in unnoted(type("Less", (), {k: v for k, v in watched.__dict__.items() if k != name}), base, raw)]
    assert len(told) >= 4, told


def shared(watched: object, inner: object) -> list[str]:
    """Return the attributes in which *watched* has the very thing that *inner* has: who reads that, nobody notes it."""
    held = vars(inner)
    return [name for name, value in vars(watched).items() if value is held.get(name) and not isinstance(value, VALUES)]


@pytest.mark.parametrize("mode", ["shop-iptables", "shop-nftables", "shop-ipvs"])
def test_a_cluster_and_its_stacks_read_what_is_watched(mode: str) -> None:
    """They say little anew: what they work out, they work out of a snapshot and of objects that are watched."""
    files = {path.relative_to(DEMO / mode).as_posix(): path.read_bytes() for path in (DEMO / mode).rglob("*.*")}
    inner = Cluster.from_snapshot(Snapshot.from_files(files))
    query = Query(source=parse_source("external:203.0.113.9"), destination=parse_destination("198.51.100.10:443"))
    watched = WatchedCluster(inner)
    for cluster in (inner, watched):
        diagnose(cluster, trace(cluster, query))
    assert isinstance(watched.snapshot, WatchedSnapshot)
    assert isinstance(watched.objects, WatchedObjects)
    assert shared(watched, inner) == []
    assert watched._stacks
    for name, stack in watched._stacks.items():
        assert isinstance(stack, WatchedStack)
        assert stack._snapshot is watched.snapshot
        assert shared(stack, inner.stack(name)) == []
        vars(stack)["routing"] = inner.stack(name).routing
        assert shared(stack, inner.stack(name)) == ["routing"], "the test itself"

"""The files of a cluster's nodes, and of pods' own stacks on them, several at a time, read once as the follower reads them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Collection as Names
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from tracer.snapshot.node_files import HNS_ENDPOINTS, IPTABLES
from tracer.values import dataclass
from webapp.cluster.connection import Connection
from webapp.cluster.pod_making import PodMaker
from webapp.collecting.cluster_objects import Say
from webapp.collecting.collection import Collection
from webapp.collecting.debug_pods import DebugHow, DebugPods, NoPod, OnNode
from webapp.collecting.own_stacks import chosen, read_by_debug, read_by_reader, read_in_containers
from webapp.collecting.plugin_pods import plugin_places
from webapp.collecting.report import left, left_stacks
from webapp.collecting.stack_reading import Reads, read_stack, unread
from webapp.pods_wanted import PodsWanted
from webapp.reading.changes import StoredChange
from webapp.reading.node_reader import ReadFrom, commands
from webapp.reading.paths import ObjectPath
from webapp.reading.places import NO_PROXY, NO_READER, Places
from webapp.reading.pod_stacks import PodStack

WINDOWS = "A Windows node: only Linux nodes are read. Run hnsdiag list all there, and add what it prints as hnsdiag.txt."
NO_NODE = "There is no such node."

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeReadings:
    """How nodes are to be read: in which pods, the node reader's namespace, which nodes (none: all), how many at a time.

    *pod_stacks* are the pods whose own stacks are read as well.

    *how*: ``exec``, ``daemonset``, ``debug``, ``none``, or ``auto``: ``exec``, and where it is given *debug* pods on nodes without rules.
    """

    how: str
    reader_namespace: str = "hopline"
    only: Names[str] = ()
    conntrack: bool = False
    parallel: int = 4
    debug: DebugHow | None = None
    pod_stacks: tuple[PodsWanted, ...] = ()


def take_nodes(
    connection: Connection,
    objects: Mapping[str, list[dict[str, Any]]],
    into: Collection,
    say: Say,
    how: NodeReadings,
    maker: Callable[[], PodMaker] | None = None,
) -> None:
    """Write the files of each node of *objects* (plural → objects) that is wanted, and say of each how it went.

    *maker* opens the connection that makes debug pods, where *how* has them.
    :raises OSError: a file cannot be written.
    """
    places = _places(objects.get("pods", ()), how)
    systems = _systems(objects.get("nodes"), places)
    for name in sorted(set(how.only) - set(systems)):
        into.miss(f"nodes/{name}", NO_NODE, time.time())
        say(f"  {name}: {NO_NODE}")
    run = Reads(wanted=commands(slow=True, conntrack=how.conntrack), conntrack=how.conntrack, into=into, say=say)
    wanted = [node for node in systems if not how.only or node in how.only]
    for node in wanted:
        if systems[node] == "windows":
            _unread(into, say, f"nodes/{node}/{HNS_ENDPOINTS.name}", WINDOWS, is_lacking=True)
    wanted = [node for node in wanted if systems[node] != "windows"]
    work = _Work(connection, run, how)
    stacks = chosen(objects, how.pod_stacks, how.only, run)
    if how.how != "debug":
        for node in wanted:
            if node not in places:
                _unread(into, say, f"nodes/{node}/{IPTABLES.name}", NO_READER if how.how == "daemonset" else NO_PROXY)
        _say_unreached(stacks, places, how, run)
        work.each([node for node in wanted if node in places], lambda node: work.read(node, places[node], stacks))
        if how.how != "daemonset":
            work.each(stacks, lambda stack: read_in_containers(run, connection, stack))
        missing = frozenset(left_stacks(into.entries))
        wanted = [node for node in left(into.entries) if node in systems]
        stacks = tuple(one for one in stacks if one.stack in missing)
    all_nodes = sorted({*wanted, *(stack.node for stack in stacks)})
    if how.how in ("debug", "auto") and how.debug is not None and maker is not None and all_nodes:
        with maker() as made_by, DebugPods(made_by, how.debug, say) as pods:
            work.each(all_nodes, lambda node: work.read_by_debug(node, pods, node in wanted, stacks), pods.stop)


def _say_unreached(stacks: Iterable[PodStack], places: Names[str], how: NodeReadings, run: Reads) -> None:
    """Say of which stacks nothing was tried: no node reader runs on their node."""
    if how.how == "daemonset":
        for stack in stacks:
            if stack.node not in places:
                unread(run, stack.stack, NO_READER)


class _Work:
    """The readings of one run, over one connection."""

    def __init__(self, connection: Connection, run: Reads, how: NodeReadings) -> None:
        self._connection, self._run, self._how = connection, run, how

    def each(self, items: Iterable[T], read: Callable[[T], None], stop: Callable[[], None] = lambda: None) -> None:
        """Read *items*, several at a time; what interrupts that ends what is under way first."""
        with ThreadPoolExecutor(max_workers=self._how.parallel, thread_name_prefix="collect") as workers:
            readings = [workers.submit(read, item) for item in items]
            try:
                for reading in readings:
                    reading.result()
            except BaseException:
                workers.shutdown(wait=False, cancel_futures=True)
                stop()
                self._connection.close()
                raise

    def read(self, node: str, place: ReadFrom, stacks: Sequence[PodStack]) -> None:
        """Read a node, and by the node reader the stacks of pods on it too."""
        read_stack(self._run, node, place, self._connection)
        there = [stack for stack in stacks if stack.node == node]
        if place.is_reader and there:
            read_by_reader(self._run, self._connection, place, there)

    def read_by_debug(self, node: str, pods: DebugPods, with_node: bool, stacks: Sequence[PodStack]) -> None:
        """Make a pod on *node*, read in it the node (*with_node*) and the stacks of pods there, and remove it."""
        there = [stack for stack in stacks if stack.node == node]
        try:
            place = pods.make(node)
        except NoPod as error:
            for name in ([node] if with_node else []) + [stack.stack for stack in there]:
                unread(self._run, name, str(error))
            return
        try:
            if with_node:
                read_stack(self._run, node, place, OnNode(self._connection))
            for stack in there:
                read_by_debug(self._run, self._connection, place, stack)
        finally:
            pods.remove(place.pod)


def _places(pods: Sequence[Mapping[str, Any]], how: NodeReadings) -> dict[str, ReadFrom]:
    """Return node → the pod it is read from."""
    found: dict[str, ReadFrom] = {}

    def placed(node: str, place: ReadFrom | None) -> None:
        if place is not None:
            found[node] = place

    places = Places(how.how, how.reader_namespace, placed)
    for pod in pods:
        metadata = pod["metadata"]
        path = str(ObjectPath(kind="Pod", namespace=metadata.get("namespace", ""), name=metadata["name"]))
        places.note([StoredChange(path=path, refs=(), before=None, after=json.dumps(pod).encode(), seen_at=0.0)])
    if how.how in ("exec", "auto"):
        found = plugin_places(pods) | found
    return found


def _systems(nodes: Iterable[Mapping[str, Any]] | None, places: Mapping[str, ReadFrom]) -> dict[str, str]:
    """Return node → operating system; without a list of nodes those on which pods were found."""
    if nodes is None:
        return dict.fromkeys(sorted(places), "linux")
    return {node["metadata"]["name"]: ((node.get("status") or {}).get("nodeInfo") or {}).get("operatingSystem", "") for node in nodes}


def _unread(into: Collection, say: Say, path: str, error: str, *, is_lacking: bool = False) -> None:
    into.miss(path, error, time.time(), is_lacking=is_lacking)
    say(f"  {path.split('/')[1]}: {error}")

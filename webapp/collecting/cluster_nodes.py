"""The files of a cluster's nodes, several nodes at a time, read once as the follower reads them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Collection as Names
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from tracer.snapshot.node_files import ALSO, ALSO_CONNECTIONS, BY_NAME, HNS_ENDPOINTS, IPTABLES, LEGACY_WARNING, NodeFile
from webapp.cluster import Connection
from webapp.cluster.pod_making import PodMaker
from webapp.collecting.cluster_objects import Say
from webapp.collecting.collection import Collection, How
from webapp.collecting.debug_pods import DebugHow, DebugPods, NoPod, OnNode
from webapp.collecting.plugin_pods import plugin_places
from webapp.collecting.report import NOT_ALLOWED, failures_of, left
from webapp.reading.changes import FileRead, NodeRead, StoredChange
from webapp.reading.node_reader import ReadFrom, Runs, commands, read_node
from webapp.reading.paths import ObjectPath
from webapp.reading.places import NO_PROXY, NO_READER, Places
from webapp.reading.same_reading import as_kept

WINDOWS = "A Windows node: only Linux nodes are read. Run hnsdiag list all there, and add what it prints as hnsdiag.txt."
NO_NODE = "There is no such node."
NOTHING = "Nothing was printed."


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeReadings:
    """How nodes are to be read: in which pods, the node reader's namespace, which nodes (none: all), how many at a time.

    *how*: ``exec``, ``daemonset``, ``debug``, ``none``, or ``auto``: ``exec``, and where it is given *debug* pods on nodes without rules.
    """

    how: str
    reader_namespace: str = "hopline"
    only: Names[str] = ()
    conntrack: bool = False
    parallel: int = 4
    debug: DebugHow | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """What every node's reading needs."""

    connection: Connection
    wanted: tuple[NodeFile, ...]
    into: Collection
    say: Say
    how: NodeReadings


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
    run = _Run(connection=connection, wanted=commands(slow=True, conntrack=how.conntrack), into=into, say=say, how=how)
    wanted = [node for node in systems if not how.only or node in how.only]
    for node in wanted:
        if systems[node] == "windows":
            _unread(into, say, f"nodes/{node}/{HNS_ENDPOINTS.name}", WINDOWS, is_lacking=True)
    wanted = [node for node in wanted if systems[node] != "windows"]
    if how.how != "debug":
        for node in wanted:
            if node not in places:
                _unread(into, say, f"nodes/{node}/{IPTABLES.name}", NO_READER if how.how == "daemonset" else NO_PROXY)
        _each(run, [node for node in wanted if node in places], lambda node: _read(run, node, places[node], connection))
        wanted = [node for node in left(into.entries) if node in systems]
    if how.how in ("debug", "auto") and how.debug is not None and maker is not None and wanted:
        with maker() as made_by, DebugPods(made_by, how.debug, say) as pods:
            _each(run, wanted, lambda node: _read_by_debug(run, node, pods), pods.stop)


def _each(run: _Run, nodes: Iterable[str], read: Callable[[str], None], stop: Callable[[], None] = lambda: None) -> None:
    """Read *nodes*, several at a time; what interrupts that ends what is under way first."""
    with ThreadPoolExecutor(max_workers=run.how.parallel, thread_name_prefix="collect") as workers:
        readings = [workers.submit(read, node) for node in nodes]
        try:
            for reading in readings:
                reading.result()
        except BaseException:
            workers.shutdown(wait=False, cancel_futures=True)
            stop()
            run.connection.close()
            raise


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


def _read_by_debug(run: _Run, node: str, pods: DebugPods) -> None:
    try:
        place = pods.make(node)
    except NoPod as error:
        _unread(run.into, run.say, f"nodes/{node}/{IPTABLES.name}", str(error))
        return
    try:
        _read(run, node, place, OnNode(run.connection))
    finally:
        pods.remove(place.pod)


def _read(run: _Run, node: str, place: ReadFrom, programs: Runs) -> None:
    into = run.into
    reading = _with_word(read_node(programs, node, place, run.wanted))
    for file in reading.files:
        _keep(node, file, into)
    if not reading.error and not place.is_reader:
        _read_more(programs, node, place, run.how.conntrack, reading.files, into)
    if reading.error:
        unread = [file.name for file in run.wanted] if not place.is_reader else [IPTABLES.name]
        for name in unread:
            if name not in {file.name for file in reading.files}:
                into.miss(f"nodes/{node}/{name}", reading.error, reading.read_at)
    run.say(_line(node, into, place))


def _with_word(reading: NodeRead) -> NodeRead:
    """Return *reading* with the word in front that every refusal has here."""
    return replace(reading, error=f"{NOT_ALLOWED}{reading.error}") if reading.is_denied else reading


def _read_more(programs_of: Runs, node: str, place: ReadFrom, conntrack: bool, before: Iterable[FileRead], into: Collection) -> None:
    """Read what is asked for on top, each where it is wanted; a program that is missing is not tried again."""
    taken = {file.name: file.content for file in before if file.content or (file.content is not None and not file.name.endswith(".json"))}
    programs = {BY_NAME[name].argv[0] for name in taken}
    absent: set[str] = set()
    for also in (*ALSO, *(ALSO_CONNECTIONS if conntrack else ())):
        if also.argv[0] in absent or any(name in taken for name in also.without):
            continue
        if also.warned and LEGACY_WARNING.encode() not in taken.get(also.warned, b""):
            continue
        reading = _with_word(read_node(programs_of, node, place, (replace(also.file, argv=also.argv),)))
        for file in reading.files:
            if file.content is not None and not _is_nothing(file):
                taken[file.name] = file.content
                programs.add(also.argv[0])
                _keep(node, file, into)
            elif file.is_lacking and also.argv[0] not in programs:
                absent.add(also.argv[0])
            if file.name not in taken:
                into.miss(f"nodes/{node}/{file.name}", file.error or NOTHING, file.read_at, is_lacking=not reading.error)
        if reading.error:
            return


def _is_nothing(file: FileRead) -> bool:
    """Return whether a program printed nothing where it prints something in any case."""
    return not file.content and not BY_NAME[file.name].may_be_empty


def _keep(node: str, file: FileRead, into: Collection) -> None:
    path = f"nodes/{node}/{file.name}"
    if file.content is None:
        into.miss(path, file.error, file.read_at, is_lacking=file.is_lacking)
    elif file.name.endswith(".json") and not file.content:
        into.miss(path, NOTHING, file.read_at)
    else:
        into.take(path, as_kept(file.name, file.content), file.read_at)


def _line(node: str, into: Collection, place: ReadFrom) -> str:
    entries = [entry for entry in into.entries if entry.node == node]
    lacking = sum(entry.how is How.LACKING for entry in entries)
    taken = sum(entry.how is How.TAKEN for entry in entries)
    where = "" if place.container in (None, "kube-proxy", "node-reader") else f" by {place.container} in {place}"
    return f"  {node}: {taken} files{where}" + (f"; {lacking} cannot be read there" if lacking else "") + failures_of(entries)

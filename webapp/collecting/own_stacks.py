"""Pods' own stacks, read once: in their own containers, in a debug pod on their node, or by the node reader.

A container's program seldom may print rules (it takes NET_ADMIN); a debug pod enters the pod's network and runs the node's programs there.
No ephemeral container is made: it could never be removed from the pod again. collect.sh has the same bounds and text; a test compares them.
"""

from __future__ import annotations

import time
from collections.abc import Collection as Names
from collections.abc import Mapping, Sequence
from typing import Any

from tracer.snapshot.node_files import IPTABLES
from webapp.cluster.errors import NoSuchProgram, Refused
from webapp.cluster.remote_program import Output
from webapp.collecting.collection import How
from webapp.collecting.debug_pods import OnNode
from webapp.collecting.report import NOT_ALLOWED, RULES
from webapp.collecting.stack_reading import Reads, keep, line_of, read_files, unread
from webapp.pods_wanted import PodsWanted
from webapp.reading.node_reader import ReadFrom, Runs, read_pods
from webapp.reading.pod_network import ENTER, NOT_ENTERED
from webapp.reading.pod_stacks import PodStack, WantedPods, too_many, within_bound

MOST_CONTAINERS = 4
MOST_BYTES = 16 << 20
"""So much may one program print in a pod."""
NO_PODS = "No pod is found by it."


class InPod:
    """Runs programs in one of the pod's own containers: they print no more than is fit for a pod."""

    def __init__(self, connection: Runs) -> None:
        self._connection = connection

    def exec(self, namespace: str, pod: str, container: str | None, argv: tuple[str, ...], *, timeout: float, most_bytes: int) -> Output:
        """Return what *argv* printed. :raises ClusterError: as a connection's own."""
        return self._connection.exec(namespace, pod, container, argv, timeout=timeout, most_bytes=min(most_bytes, MOST_BYTES))


class InNetworkOf:
    """Runs programs of a debug pod in the network of the pod *uid* on the same node."""

    def __init__(self, connection: Runs, uid: str) -> None:
        self._connection, self._uid = connection, uid

    def exec(self, namespace: str, pod: str, container: str | None, argv: tuple[str, ...], *, timeout: float, most_bytes: int) -> Output:
        """Return what *argv* printed. :raises ClusterError: as a connection's own, and Refused where the network cannot be entered."""
        entering = ("sh", "-c", ENTER, "sh", self._uid, *argv)
        output = self._connection.exec(namespace, pod, container, entering, timeout=timeout, most_bytes=min(most_bytes, MOST_BYTES))
        said = [line for line in output.stderr.splitlines() if line.strip()]
        if output.exit_code == NOT_ENTERED:
            raise Refused(said[-1] if said else "The network of the pod cannot be entered.", status=0)
        if output.exit_code == 127 and said and said[-1].startswith("nsenter:"):
            raise NoSuchProgram(said[-1])
        return output


def chosen(
    objects: Mapping[str, list[dict[str, Any]]], wanted: Sequence[PodsWanted], nodes: Names[str], run: Reads
) -> tuple[PodStack, ...]:
    """Return the pods that are *wanted*, of *nodes* only if there are any; say which find none, and which have no stack to be read."""
    pods = WantedPods(wanted)
    for pod in objects.get("pods", ()):
        pods.note_pod(_key(pod), pod)
    for value in objects.get("endpointslices", ()):
        pods.note_slice(_key(value), value)
    for one in wanted:
        if not pods.found(one):
            run.into.miss(str(one), NO_PODS, time.time())
            run.say(f"  {one}: {NO_PODS}")
    stacks = [stack for stack in pods.stacks() if not nodes or stack.node in nodes]
    for stack in stacks:
        if stack.unread:
            unread(run, stack.stack, stack.unread, is_lacking=stack.is_lacking)
    read, more = within_bound(stacks)
    if more:
        run.into.miss("pod-stacks", too_many(more), time.time())
        run.say(f"  {too_many(more)}")
    return read


def read_in_containers(run: Reads, connection: Runs, stack: PodStack) -> None:
    """Read *stack* by the programs in the pod's own containers, one after the other until one has printed rules."""
    for container in stack.containers[:MOST_CONTAINERS]:
        place = ReadFrom(namespace=stack.namespace, pod=stack.name, container=container)
        if _has_rules(run, stack) or not read_files(run, stack.stack, place, InPod(connection)):
            break
    run.say(line_of(run.into, stack.stack))


def read_by_debug(run: Reads, connection: Runs, place: ReadFrom, stack: PodStack) -> None:
    """Read *stack* in the debug pod at *place*, which is on the same node."""
    read_files(run, stack.stack, place, OnNode(InNetworkOf(connection, stack.uid)))
    run.say(line_of(run.into, stack.stack, f" by {place.container} in {place}"))


def read_by_reader(run: Reads, connection: Runs, place: ReadFrom, stacks: Sequence[PodStack]) -> None:
    """Read *stacks*, which are all on the node of the reader at *place*."""
    for reading in read_pods(connection, place, {stack.uid: stack.stack for stack in stacks}):
        for file in reading.files:
            keep(reading.node, file, run.into)
        if reading.error:
            word = NOT_ALLOWED if reading.is_denied else ""
            run.into.miss(f"nodes/{reading.node}/{IPTABLES.name}", f"{word}{reading.error}", reading.read_at)
        run.say(line_of(run.into, reading.node))


def _has_rules(run: Reads, stack: PodStack) -> bool:
    return any(entry.stack == stack.stack and entry.how is How.TAKEN and entry.name in RULES for entry in run.into.entries)


def _key(value: Mapping[str, Any]) -> tuple[str, str]:
    return value["metadata"].get("namespace", ""), value["metadata"]["name"]

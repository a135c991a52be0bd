"""Processes that accept connections, for tests: say which stack accepts what, and where each of its own connections goes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from ipaddress import ip_address

from tracer.stack_protocols import Dial, Passing, Process, StackId, Target
from tracer.topology.cluster import Cluster
from tracer.trace import Reason, StackKind


def target(text: str) -> Target:
    """Return the address and port of ``ADDRESS:PORT``."""
    address, _, port = text.rpartition(":")
    return Target(address=ip_address(address.strip("[]")), port=int(port))


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeProcess:
    """A process called *program*; *dialled* are lists of targets, each list as likely as the others and tried in its order."""

    program: str
    dialled: tuple[tuple[Target, ...], ...]
    place: str = "of the test"
    note: str = "accepts"
    closed: str = "PROXY_CLOSED"

    @property
    def name(self) -> str:
        """Return what a hop through it is called."""
        return self.program

    def silence(self, walk: Passing) -> Reason | None:
        """Return nothing: it reads what it accepts."""
        return None

    def dials(self, walk: Passing) -> Iterator[Dial | Reason]:
        """Yield each list of targets."""
        for targets in self.dialled:
            yield Dial(targets=targets, share=Fraction(1, len(self.dialled)))


class MadeAcceptors:
    """Knows the processes of *made*: (kind, stack, port) → the program's name and what it dials, ``a or b`` meaning either."""

    def __init__(self, made: dict[tuple[StackKind, str, int], tuple[str, str]]) -> None:
        self._made = made
        self.asked: list[StackId] = []

    def __call__(self, cluster: Cluster, host: StackId, walk: Passing) -> Process | None:
        self.asked.append(host)
        port = walk.packet.destination_port
        found = self._made.get((host.kind, host.name, port or 0))
        if found is None:
            return None
        program, dialled = found
        lists = tuple(tuple(target(one) for one in either.split(", ")) for either in dialled.split(" or "))
        return MadeProcess(program=program, dialled=lists)

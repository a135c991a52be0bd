"""What stacks speak to each other in: whose table a connection stands in, and what a load balancer and an accepting process have to say.

Owns the protocols that a new kind of stack fulfils: a balancer that passes packets on, a process that accepts a connection and makes one of
its own. Both are facts: they look at a walk by its read-only face, say what may come next with which odds, and carry nothing themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum
from fractions import Fraction
from typing import NamedTuple, Protocol

from tracer.conntrack import Connection
from tracer.forks import Fork
from tracer.packet import Address, Packet, endpoint_text
from tracer.trace import Disposition, Reason, StackKind, Unknown
from tracer.values import dataclass


class StackId(NamedTuple):
    """Which stack: its kind, and its name among those."""

    kind: StackKind
    name: str


class TableKind(StrEnum):
    """Who keeps connections: a node's conntrack, its IPVS, a load balancer."""

    CONNTRACK = "conntrack"
    IPVS = "ipvs"
    BALANCER = "load-balancer"


class TableId(NamedTuple):
    """Which table of connections: who keeps it, and the name of the stack."""

    kind: TableKind
    name: str


class Passing(Protocol):
    """A walk as a balancer or a process sees it: for reading only."""

    @property
    def packet(self) -> Packet:
        """Return the packet as it came in."""

    @property
    def packet_in(self) -> Packet:
        """Return the packet as it came to the stack, before any rule of it."""

    @property
    def recent(self) -> frozenset[tuple[str, str, str]]:
        """Return what lists remember, as (stack, list, entry)."""

    @property
    def answering(self) -> bool:
        """Return whether this is an answer."""

    @property
    def midstream(self) -> bool:
        """Return whether this is no first packet."""

    def entry(self, table: TableId, packet: Packet) -> tuple[Connection, bool] | None:
        """Return the connection of *table* that *packet* belongs to, and whether it runs in the reply direction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The packet goes no further, with *share* of the odds, and where *fork* says so under its condition."""

    disposition: Disposition
    reason: Reason
    share: Fraction = Fraction(1)
    fork: Fork | None = None


# -- load balancers -------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A node that the balancer may pass the packet on to, as *packet*, with *share* of the odds, where *fork* says so under its condition.

    *notes* say which nodes it leaves out, and why.
    """

    node: str
    packet: Packet
    share: Fraction = Fraction(1)
    fork: Fork | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A health check of *node*: TCP to *address* and *port*, from each of *sources*; none: from where is not known.

    *is_of_service*: it asks the Service itself, by its node port.
    """

    node: str
    address: Address
    port: int
    sources: tuple[Address, ...] = ()
    is_of_service: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Whether a check gets through, None where that depends on what nobody recorded; *why* says what keeps it, or else there is to say."""

    gets_through: bool | None
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handing:
    """How a balancer hands over: a setting of the assumption ``front`` (tracer.assumptions); *entry* is the one node that it is left to.

    *check* walks a health check, None where nobody can.
    """

    way: str
    entry: str | None = None
    check: Callable[[Check], Health] | None = None


class Balancer(Protocol):
    """A load balancer that passes packets on, rewritten, and rewrites their answers. *note* is what a reader should know of it."""

    def handing_over(self, how: Callable[[str | None], Handing]) -> Balancer:
        """Return the balancer that asks *how* it hands over, once it has to; what its provider's marks say of that is given to it."""

    @property
    def name(self) -> str:
        """Return its name among balancers."""

    @property
    def is_announced(self) -> bool:
        """Return whether no machine has its address: nodes answer for it, or tell routers the way."""

    @property
    def note(self) -> str:
        """Return a remark on the packet's visit."""

    def choices(self, walk: Passing) -> Iterator[Choice | End | Unknown]:
        """Yield where it may pass the packet of *walk* on to, and how it may end here; the shares are 1 in all."""

    def back(self, walk: Passing) -> Packet | None:
        """Return an answer that passes the balancer as it leaves it, None when the answer is not of one of its connections."""


# -- processes that accept ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An address and port that a process connects to."""

    address: Address
    port: int

    def __str__(self) -> str:
        return endpoint_text(self.address, self.port)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dial:
    """What a process may do for one client, with *share* of the odds: connect to *targets*, each where the one before does not answer.

    *how* says how the first was chosen. *remembers* is what it keeps of the client: (stack, list, entry).
    """

    targets: tuple[Target, ...]
    share: Fraction = Fraction(1)
    how: str = ""
    remembers: tuple[tuple[str, str, str], ...] = ()


class Process(Protocol):
    """A process that accepts connections before it knows where they go, and makes one of its own for each."""

    @property
    def name(self) -> str:
        """Return what a hop through it is called."""

    @property
    def program(self) -> str:
        """Return the program's name, as a sentence has it."""

    @property
    def place(self) -> str:
        """Return where it runs, as a sentence has it behind the program's name."""

    @property
    def note(self) -> str:
        """Return a remark on a connection that it accepts."""

    @property
    def closed(self) -> str:
        """Return the code of the reason when it has to close what it accepted, because nobody answers."""

    def silence(self, walk: Passing) -> Reason | None:
        """Return why it never reads what it accepts, None when it does."""

    def dials(self, walk: Passing) -> Iterator[Dial | Reason]:
        """Yield what it may do for the client of *walk*; a reason when there is nobody to connect to."""

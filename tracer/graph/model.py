"""The picture's parts. Ids say what a thing is, never where it stands, so that they survive a change of the cluster."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from fractions import Fraction

from tracer.values import dataclass


class BoxKind(StrEnum):
    """What a box stands for; each kind has a shape of its own."""

    CLIENT = "client"
    DNS = "dns"
    LOAD_BALANCER = "lb"
    CHAIN = "chain"
    MARK = "mark"
    PICK = "pick"
    DNAT = "dnat"
    SNAT = "snat"
    SERVICE = "service"
    HOST = "host"
    POD = "pod"
    PROCESS = "process"
    OUTSIDE = "outside"
    DROP = "drop"
    REJECT = "reject"
    UNKNOWN = "unknown"
    CONNTRACK = "conntrack"


class EdgeKind(StrEnum):
    """What happened to the packet at the edge's start."""

    FORWARD = "fwd"
    DNAT = "dnat"
    SNAT = "snat"
    REPLY = "rep"
    DNS = "dnsq"


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """One box. *count* above 1 is a stack of that many members, opened by *expand*.

    *steps* are the numbers of the followed path's stations told here; *badge* their label.
    *follow* is the path through here that a click follows.
    *state* is a pod's: ready, not ready or ending.
    *row* names the endpoint row the box belongs to, empty before the paths part.
    """

    id: str
    kind: BoxKind
    title: str
    subtitle: str = ""
    region: str = ""
    steps: tuple[int, ...] = ()
    replies: tuple[int, ...] = ()
    badge: str = ""
    on: bool = False
    count: int = 1
    expand: str = ""
    follow: str = ""
    row: str = ""
    chips: tuple[str, ...] = ()
    words: str = ""
    state: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A station of the followed path where nothing happens to the packet: a stop on an edge."""

    id: str
    step: int
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """One edge.

    *share* is the probability of this way given its start, *probability* that of the whole way there; None where odds mean nothing.
    *odds* is the share as the label says it, in the notation of all labels at that start; "" without a label.
    """

    id: str
    tail: str
    head: str
    kind: EdgeKind = EdgeKind.FORWARD
    share: Fraction | None = None
    probability: Fraction | None = None
    on: bool = False
    labelled: bool = False
    odds: str = ""
    ways: tuple[Way, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A frame around boxes: a node, or the endpoints. *shown* of *total* nodes are drawn; the rest have the same rules.

    *mode* is kube-proxy's on the node, "" where it is not known. *is_modelled*: its rules were not recorded.
    """

    id: str
    kind: str
    title: str
    shown: int = 1
    total: int = 1
    expand: str = ""
    mode: str = ""
    is_modelled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """The whole picture. *rows* are the boxes of each endpoint row, in the order in which they should stand."""

    boxes: tuple[Box, ...]
    edges: tuple[Edge, ...]
    regions: tuple[Region, ...]
    rows: tuple[tuple[str, ...], ...] = ()
    folded_by: str = ""
    notes: tuple[str, ...] = ()
    endpoints: int = 0


def stable_id(prefix: str, *parts: object) -> str:
    """Return ``prefix-`` and ten hex digits made of *parts*."""
    text = "|".join(map(str, parts))
    return f"{prefix}-{hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:10]}"

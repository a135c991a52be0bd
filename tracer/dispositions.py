"""The one table of the words for how a packet ends: headlines, boxes, stations, the terminal, and docs/trace-json.md are drawn from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tracer.trace import Disposition


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """One disposition. *title* heads a verdict, *box* a box of the graph, *station* the last stop; *line* explains it on one line of text.

    *is_told*: whether the client is told so at once; None where nobody knows. *sees* says as a sentence what it sees; *seen* and *meaning*
    are the words of docs/trace-json.md.
    """

    title: str
    box: str = ""
    station: str = ""
    line: str = ""
    is_told: bool | None = None
    sees: str = ""
    seen: str = ""
    meaning: str = ""


WORDS: Mapping[str, Words] = {
    Disposition.DELIVERED: Words(
        title="Delivered",
        is_told=True,
        sees="The client connects.",
        seen="connected, or refused if nothing listens",
        meaning="handed to the destination's network stack",
    ),
    Disposition.REJECTED: Words(
        title="Rejected",
        box="Rejected",
        station="Rejected",
        line="the client sees a refusal",
        is_told=True,
        sees="The client is refused at once.",
        seen="refused",
        meaning="a rule answered with an ICMP error or a TCP reset",
    ),
    Disposition.DROPPED: Words(
        title="Dropped",
        box="Dropped",
        station="Dropped",
        line="the client sees a timeout",
        is_told=False,
        sees="The client hears nothing and runs into a timeout.",
        seen="timeout",
        meaning="a rule, a chain's policy or the kernel discarded it",
    ),
    Disposition.UNREACHABLE: Words(
        title="No route",
        box="No route",
        station="No route",
        line="no route",
        is_told=True,
        sees="The client gets “no route to host”.",
        seen="no route to host",
        meaning="no route, and the host says so",
    ),
    Disposition.LOST: Words(
        title="Lost",
        box="Lost",
        station="Nobody owns this address",
        line="nobody owns the address",
        is_told=False,
        sees="Nobody owns the address the packet is sent to: the client runs into a timeout, or gets “host unreachable”.",
        seen="timeout, or host unreachable",
        meaning="routed to an address that the cluster itself should have, and nobody in the snapshot does",
    ),
    Disposition.LEAVES: Words(
        title="Leaves the cluster",
        box="Outside",
        station="Leaves the cluster",
        line="what is beyond the cluster is not recorded",
        sees="What the client sees is up to the host outside.",
        seen="up to the host outside",
        meaning="sent out of the cluster, to an address that nobody in the snapshot has or needs to have",
    ),
    Disposition.CLOSED: Words(
        title="Closed",
        box="Closed",
        station="Accepted, then closed",
        line="accepted, then closed",
        is_told=True,
        sees="The client connects and is cut off at once.",
        seen="connected, then closed",
        meaning="a proxy process accepts, finds no endpoint and closes",
    ),
    Disposition.LOOP: Words(
        title="Loops",
        box="Loops",
        station="The packet goes round in circles",
        line="the packet goes in circles",
        is_told=False,
        sees="The client runs into a timeout.",
        seen="timeout",
        meaning="the packet comes back to a state it was in",
    ),
    Disposition.UNRESOLVED: Words(
        title="Name does not resolve",
        box="No address",
        station="Name does not resolve",
        line="the name has no address",
        is_told=True,
        sees="The client gets a name error.",
        seen="name error",
        meaning="the name has no address",
    ),
    Disposition.UNKNOWN: Words(
        title="Unknown",
        box="Unknown",
        station="Unknown from here on",
        line="the snapshot lacks what is needed",
        seen="–",
        meaning="the snapshot lacks what is needed to go on",
    ),
}
"""Disposition → its words; answers that were kept say it as text."""

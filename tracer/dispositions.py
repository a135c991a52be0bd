"""The one table of the words for how a packet ends: headlines, boxes, stations, the terminal, and docs/trace-json.md are drawn from it."""

from __future__ import annotations

from collections.abc import Mapping

from tracer.trace import Disposition, Sees
from tracer.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """One disposition. *title* heads a verdict, *box* a box of the graph, *station* the last stop; *line* explains it on one line of text.

    *usual* is what the client sees of every such ending, where that is one thing. *is_told*: whether the client is told so at once; None
    where nobody knows. *sees* says as a sentence what it sees; *seen* and *meaning* are the words of docs/trace-json.md.
    """

    title: str
    box: str = ""
    station: str = ""
    line: str = ""
    usual: Sees = Sees.UNKNOWN
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
        line="a rule says no, and tells the client",
        is_told=True,
        sees="The client is told so, by an ICMP error or a reset.",
        seen="what the kind of the refusal makes it see (`client_sees`)",
        meaning="a rule answered with an ICMP error or a TCP reset",
    ),
    Disposition.DROPPED: Words(
        title="Dropped",
        box="Dropped",
        station="Dropped",
        line="thrown away without a word",
        usual=Sees.TIMEOUT,
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
        station="Nobody takes the packet",
        line="nobody takes the packet",
        is_told=False,
        sees="The client runs into a timeout, or gets “host unreachable”.",
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
        usual=Sees.CLOSED,
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
        usual=Sees.TIMEOUT,
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
        usual=Sees.NAME_ERROR,
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


SEES: Mapping[str, str] = {
    Sees.CONNECTED: "The client connects.",
    Sees.REFUSED: "The client gets “connection refused” (ECONNREFUSED).",
    Sees.TIMEOUT: "The client hears nothing and runs into a timeout.",
    Sees.HANGS: "The client connects, and then hears nothing.",
    Sees.CLOSED: "The client connects and is cut off at once.",
    Sees.NO_ROUTE: "The client gets “no route to host” (EHOSTUNREACH).",
    Sees.NET_UNREACHABLE: "The client gets “network is unreachable” (ENETUNREACH).",
    Sees.EPERM: "The client gets “operation not permitted” (EPERM) as it sends.",
    Sees.EACCES: "The client gets “permission denied” (EACCES).",
    Sees.EINVAL: "The client gets “invalid argument” (EINVAL).",
    Sees.NO_PROTOCOL: "The client gets “protocol not available” (ENOPROTOOPT).",
    Sees.NAME_ERROR: "The client gets a name error.",
    Sees.UNKNOWN: "",
}
"""``client_sees`` → the sentence for it, "" where nobody knows."""


_LATER: Mapping[str, str] = {
    Sees.CONNECTED: "A SYN that is sent again connects, a second later or more.",
    Sees.HANGS: "A SYN that is sent again connects, and then nothing is heard.",
}
"""What a client sees of later packets, where the first one did not arrive."""


def client_sentence(disposition: str, client_sees: str, protocol: str) -> str:
    """Return the sentence for what a client over *protocol* sees, "" where nobody knows. Ping does not connect."""
    if protocol.startswith("icmp") and client_sees == Sees.CONNECTED:
        return "The client gets an answer."
    later = _LATER.get(client_sees) if disposition != Disposition.DELIVERED else None
    return later or SEES.get(client_sees, "")


def sees(disposition: str, client_sees: str | None, protocol: str = "") -> str:
    """Return what the client sees, as a sentence: where that is not known, and in answers kept before it was told, the disposition's."""
    is_vague = client_sees is None or (client_sees == Sees.UNKNOWN and disposition != Disposition.DELIVERED)
    return WORDS[disposition].sees if is_vague else client_sentence(disposition, client_sees or "", protocol)

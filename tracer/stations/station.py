"""One numbered station of a trace, as trace-json.md writes it; ``stations`` groups the rule steps into them."""

from __future__ import annotations

from enum import StrEnum

from tracer.dispositions import WORDS
from tracer.trace import Disposition, Hop
from tracer.values import dataclass


class StationKind(StrEnum):
    """What happens at a station; the list of trace-json.md, and ``unknown`` where the snapshot ends."""

    DNS = "dns"
    SEND = "send"
    LOAD_BALANCER = "load-balancer"
    CHAIN = "chain"
    PICK = "pick"
    MARK = "mark"
    DNAT = "dnat"
    SNAT = "snat"
    DELIVER = "deliver"
    REJECT = "reject"
    DROP = "drop"
    LEAVE = "leave"
    UNKNOWN = "unknown"
    REPLY = "reply"
    UN_NAT = "un-nat"
    RECEIVE = "receive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Station:
    """One numbered station. *steps* are indexes into the steps of hop *hop* (of the reply's hops when *reply* is true).

    *lookups* are indexes into the trace's look-ups.
    *chain* is the chain the station is about, None where it is about a whole hook or stack; *hook* and *table* likewise.
    """

    n: int
    kind: StationKind
    title: str
    hop: int
    steps: tuple[int, ...] = ()
    reply: bool = False
    hook: str | None = None
    table: str | None = None
    chain: str | None = None
    lookups: tuple[int, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Return the station as trace-json.md writes it."""
        out: dict[str, object] = {"n": self.n, "kind": self.kind.value, "title": self.title, "hop": self.hop, "steps": list(self.steps)}
        out |= {k: v for k, v in (("hook", self.hook), ("table", self.table), ("chain", self.chain)) if v is not None}
        out |= {"lookups": list(self.lookups)} if self.lookups else {}
        return out | ({"reply": True} if self.reply else {})


_KINDS = {True: StationKind.REJECT, False: StationKind.DROP, None: StationKind.UNKNOWN}
_OWN = {Disposition.LEAVES: StationKind.LEAVE}
ENDS = {
    disposition: (_OWN.get(disposition) or _KINDS[WORDS[disposition].is_told], WORDS[disposition].station)
    for disposition in Disposition
    if disposition is not Disposition.DELIVERED
}
"""How a way that is not delivered ends: the kind of its last station and what it is called."""


def passes(hop: Hop) -> str:
    """Return the title of a station where a packet only passes *hop*."""
    return f"Passes {hop.name}" + (f", carrying for {hop.tunnel}" if hop.tunnel else "")

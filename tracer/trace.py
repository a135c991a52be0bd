"""The answer: every way one packet can end, hop by hop, with the rule behind each step.

These values mirror trace-json.md one to one; ``to_dict`` writes that contract.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import field
from enum import StrEnum
from fractions import Fraction
from typing import Any

from tracer.limits import TOLD
from tracer.packet import Address, Packet, unsaid
from tracer.probability import to_text
from tracer.query import Query
from tracer.told_odds import Share, is_long, summed, told, told_in_a_row
from tracer.unopened import Unopened, first_of, items_of, many, seen
from tracer.values import dataclass

VERSION = 1


class Disposition(StrEnum):
    """How a packet ends; the closed list of trace-json.md."""

    DELIVERED = "delivered"
    REJECTED = "rejected"
    DROPPED = "dropped"
    UNREACHABLE = "unreachable"
    LOST = "lost"
    LEAVES = "leaves"
    CLOSED = "closed"
    LOOP = "loop"
    UNRESOLVED = "unresolved"
    UNKNOWN = "unknown"


class Listener(StrEnum):
    """Whether something is known to listen at the destination port; *ABSENT*: the recorded sockets show that nothing does."""

    DECLARED = "declared"
    UNDECLARED = "undeclared"
    ABSENT = "absent"
    UNKNOWN = "unknown"


class Sees(StrEnum):
    """What the caller's own program meets, from the whole handshake: the answer to ``connect`` or, for UDP, to what it sent."""

    CONNECTED = "connected"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    HANGS = "hangs"
    CLOSED = "closed"
    NO_ROUTE = "no-route"
    NET_UNREACHABLE = "net-unreachable"
    EPERM = "eperm"
    EACCES = "eacces"
    EINVAL = "einval"
    NO_PROTOCOL = "no-protocol"
    NAME_ERROR = "name-error"
    UNKNOWN = "unknown"


class StackKind(StrEnum):
    """What owns a network stack."""

    NODE = "node"
    POD = "pod"
    EXTERNAL = "external"
    LOAD_BALANCER = "load-balancer"
    PROXY = "proxy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """A stable code of the catalogue in tracer/explain, and the sentence for this case."""

    code: str
    text: str

    def to_dict(self) -> dict[str, object]:
        """Return ``{"code", "text"}``."""
        return {"code": self.code, "text": self.text}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding(Reason):
    """A reason that was proved from the trace and the snapshot.

    *severity* is a word of tracer/explain's Severity, for this case. *hop* and *step* are the place in the outcome's hops that causes it
    (*reply*: in the answer's hops), None where no single one does. *evidence* are the lines and objects that prove it, *fix* what to do.
    """

    severity: str
    fix: str = ""
    hop: int | None = None
    step: int | None = None
    reply: bool = False
    evidence: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Return the finding as trace-json.md writes it: ``code`` and ``text`` always, the rest where there is something to say."""
        out: dict[str, object] = {"code": self.code, "text": self.text, "severity": self.severity}
        out |= {"fix": self.fix} if self.fix else {}
        out |= {"hop": self.hop} if self.hop is not None else {}
        out |= {"step": self.step} if self.step is not None else {}
        out |= {"reply": True} if self.reply else {}
        return out | ({"evidence": list(self.evidence)} if self.evidence else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """What the snapshot cannot tell; *at* locates it (node, file, line …).

    Its ``ASSUME`` are the words of an assumption that would pick one of the ways that are told instead.
    """

    code: str
    text: str
    at: Mapping[str, object] = field(default_factory=dict)

    @property
    def assume(self) -> tuple[str, ...]:
        """Return the words that *at* has of an assumption."""
        words = self.at.get(ASSUME)
        return words if isinstance(words, tuple) else ()

    def to_dict(self) -> dict[str, object]:
        """Return ``{"code", "text", "at"}``."""
        return {"code": self.code, "text": self.text, "at": dict(self.at)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One rule that matched, or the policy that ended a base chain (then *policy* is set and *rule* is None).

    Where the kernel acts without a rule (conntrack undoing a translation), *event* names the act and there is neither.
    *rewrote* maps a packet field to (before, after). *chance* is the odds with which a random match took this rule.
    *note* says in words what a rewrite or a kernel decision was. *names* are the Kubernetes objects the rule stands for.
    *made_as*: the rule was not recorded, but modelled as that program and release would write it; *position* is then its place in the
    chain, from 1 on, and *line* its place in the modelled text.
    """

    hook: str
    family: str
    table: str
    chain: str
    rule: str | None = None
    file: str | None = None
    line: int | None = None
    verdict: str | None = None
    policy: str | None = None
    event: str | None = None
    rewrote: Mapping[str, tuple[object, object]] = field(default_factory=dict)
    chance: Fraction | None = None
    condition: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    made_as: str = ""
    position: int | None = None

    @property
    def where(self) -> str:
        """Return ``file:line`` of the rule; of one that was modelled its file and its place in the chain."""
        return f"{self.file}:{self.line}" if self.position is None else f"{self.file} ({self.chain}, rule {self.position})"

    def to_dict(self) -> dict[str, object]:
        """Return the step as trace-json.md writes it."""
        out: dict[str, object] = {"hook": self.hook, "family": self.family, "table": self.table, "chain": self.chain}
        out |= {"origin": "modelled", "as": self.made_as} if self.made_as else {}
        if self.policy is not None:
            out["policy"] = self.policy
            return out
        if self.event is not None:
            out["event"] = self.event
        elif self.made_as:
            out |= {"rule": self.rule, "file": self.file, "line": None, "position": self.position, "verdict": self.verdict}
        else:
            out |= {"rule": self.rule, "file": self.file, "line": self.line, "verdict": self.verdict}
        if self.rewrote:
            out["rewrote"] = {k: list(v) for k, v in self.rewrote.items()}
        if self.chance is not None:
            out["chance"] = to_text(self.chance)
        if self.condition is not None:
            out["condition"] = self.condition
        if self.names:
            out["names"] = dict(self.names)
        return out


class Written:
    """What was written of one answer. Its outcomes have most packets, steps and odds in common: each is written once, and shared.

    NB: a dict that is shared must not be changed afterwards.
    """

    def __init__(self) -> None:
        self._dicts: dict[int, tuple[Packet | Step, dict[str, object]]] = {}

    def packet(self, packet: Packet) -> object:
        """Return ``packet.to_dict()``."""
        return self._of(packet)

    def steps(self, steps: Sequence[Step]) -> object:
        """Return the ``to_dict()`` of each of *steps*."""
        return [self._of(step) for step in steps]

    def _of(self, value: Packet | Step) -> dict[str, object]:
        found = self._dicts.get(id(value))
        if found is None:
            found = self._dicts[id(value)] = value, value.to_dict()  # the value is held so that its id stays its own
        return found[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One network stack passed. *node* is None where the stack is not a node's own; *came_in*, *went_out* are device names.

    *tunnel* is the device whose own packet, which carries that of the hop before, passed here; None for the packet that was asked about.
    """

    kind: StackKind
    name: str
    node: str | None
    came_in: str | None
    went_out: str | None
    packet_in: Packet
    packet_out: Packet
    steps: tuple[Step, ...] = ()
    notes: tuple[str, ...] = ()
    tunnel: str | None = None

    def to_dict(self, *, with_steps: bool, written: Written | None = None) -> dict[str, object]:
        """Return the hop as trace-json.md writes it; *written* holds what was written of the answer before."""
        written = written or Written()
        out: dict[str, object] = {
            "stack": {"kind": self.kind.value, "name": self.name},
            "node": self.node,
            "in": self.came_in,
            "out": self.went_out,
            "packet_in": written.packet(self.packet_in),
            "packet_out": written.packet(self.packet_out),
        }
        if any(step.made_as for step in self.steps):
            out["origin"] = "modelled"
        if self.notes:
            out["notes"] = list(self.notes)
        if self.tunnel is not None:
            out["tunnel"] = self.tunnel
        if with_steps:
            out["steps"] = written.steps(self.steps)
        return out


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a packet ended: *kind* is pod, node, external, endpoint or outside (see trace-json.md)."""

    kind: str
    ip: Address
    port: int | None
    namespace: str | None = None
    name: str | None = None
    node: str | None = None
    service: str | None = None

    def to_dict(self) -> dict[str, object]:
        """Return the destination as trace-json.md writes it, fields that do not apply left out."""
        fields = {"kind": self.kind, "namespace": self.namespace, "name": self.name, "node": self.node, "service": self.service}
        return {k: v for k, v in fields.items() if v is not None} | {"ip": str(self.ip), "port": self.port}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The first answer packet's end: what the client sees as its source."""

    disposition: Disposition
    source: Address | None = None
    source_port: int | None = None
    reason: Reason | None = None
    hops: tuple[Hop, ...] = ()

    def to_dict(self, *, with_steps: bool, written: Written | None = None) -> dict[str, object]:
        """Return the reply as trace-json.md writes it; *written* holds what was written of the answer before."""
        out: dict[str, object] = {"disposition": self.disposition.value, "source_seen": self.seen()}
        if self.reason:
            out["reason"] = self.reason.to_dict()
        out["hops"] = [h.to_dict(with_steps=with_steps, written=written) for h in self.hops]
        return out

    def seen(self) -> dict[str, object] | None:
        """Return the source that the client sees, as trace-json.md writes it."""
        return None if self.source is None else {"ip": str(self.source), "port": self.source_port}


@dataclass(frozen=True, slots=True, kw_only=True)
class Also:
    """Another way to the same end, where *condition* holds: what nobody recorded decides which one it is, and it makes no difference."""

    hops: tuple[Hop, ...]
    condition: str

    def to_dict(self, *, with_steps: bool, written: Written | None = None) -> dict[str, object]:
        """Return ``{"condition", "hops"}``."""
        return {"condition": self.condition, "hops": [h.to_dict(with_steps=with_steps, written=written) for h in self.hops]}


ASSUME = "assume"
NOT_CHECKED = "DATA_MISSING"
"""The code of the finding that says once for a whole answer, beside whichever outcome comes first, what could not be checked."""
LATER = frozenset(
    {
        "HANDSHAKE_UNFINISHED",
        "HANDSHAKE_UNKNOWN",
        "SYN_SENT_AGAIN",
        "SYN_DRAWN_AGAIN",
        "DATAGRAM_SENT_AGAIN",
        "MTU_BLACK_HOLE",
        "MTU_FRAGMENTS",
    }
)
"""Codes of remarks on what is sent after the client's first packet; the others are of what is not known and makes no difference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One leaf of the branch tree, with its exact probability.

    *conditions* are the things the snapshot cannot tell that had to hold on the way here. Where there are any, the probability is
    only a share of the whole, split evenly so that the sum stays 1; it is no estimate, and pages show no odds for it.
    *left_from* is the node that a packet left the cluster from. *assumes* are the words of the assumptions that it rests on.
    *also* are the other ways that end just so where something else holds, *remarks* what therefore makes no difference, and what becomes
    of what is sent later (``LATER``). *of_class* is the same value for all outcomes that differ in nothing but an endpoint's addresses and
    names (and what draws it), None where there is no other.
    """

    probability: Fraction
    disposition: Disposition
    reason: Reason | None = None
    destination: Place | None = None
    source_seen: tuple[Address, int | None] | None = None
    listener: Listener | None = None
    reject_with: str | None = None
    reply: Reply | None = None
    hops: tuple[Hop, ...] = ()
    conditions: tuple[str, ...] = ()
    findings: tuple[Reason, ...] = ()
    left_from: str | None = None
    client_sees: Sees = Sees.UNKNOWN
    also: tuple[Also, ...] = ()
    remarks: tuple[Unknown, ...] = ()
    assumes: tuple[str, ...] = ()
    of_class: object = field(default=None, compare=False, repr=False)

    @property
    def id(self) -> str:
        """Return a stable id of this path: a hash of what it passes, not of its place in the list."""
        parts = [self.disposition.value, str(self.destination and self.destination.to_dict())]
        for hop in self.hops:
            parts.append(f"{hop.kind}|{hop.name}|{hop.packet_out.source}|{hop.packet_out.destination}|{hop.packet_out.destination_port}")
            parts.extend(f"{s.table}|{s.chain}|{s.rule}" for s in hop.steps if s.verdict not in (None, "continue"))
        parts.extend(self.conditions)
        parts.extend(remark.text for remark in self.remarks if remark.code == "SYN_DRAWN_AGAIN")
        return hashlib.sha1("\n".join(parts).encode(), usedforsecurity=False).hexdigest()[:10]

    @property
    def chance(self) -> Fraction | None:
        """Return the chance of the last rule of chance on the way there, None where there was none."""
        steps = (step for hop in reversed(self.hops) for step in reversed(hop.steps))
        return next((step.chance for step in steps if step.chance is not None), None)

    def to_dict(self, *, with_steps: bool, written: Written | None = None, head: Mapping[str, object] | None = None) -> dict[str, object]:
        """Return the outcome as trace-json.md writes it; *written* holds what was written of the answer before, *head* its id and odds."""
        written = written or Written()
        out: dict[str, object] = {**(head or {"id": self.id, **told(self.probability)}), "disposition": self.disposition.value}
        out["reason"] = self.reason.to_dict() if self.reason else None
        out["destination"] = self.destination.to_dict() if self.destination else None
        out["source_seen"] = self.seen()
        if self.left_from:
            out["left_from"] = self.left_from
        if self.listener:
            out["listener"] = self.listener.value
        out["client_sees"] = self.client_sees.value
        if self.reject_with:
            out["reject_with"] = self.reject_with
        if self.conditions:
            out["conditions"] = list(self.conditions)
        if self.assumes:
            out["assumes"] = list(self.assumes)
        if self.findings:
            out["findings"] = [f.to_dict() for f in self.findings]
        if self.reply:
            out["reply"] = self.reply.to_dict(with_steps=with_steps, written=written)
        out["hops"] = [h.to_dict(with_steps=with_steps, written=written) for h in self.hops]
        if self.remarks:
            out["remarks"] = [r.to_dict() for r in self.remarks]
        if self.also:
            out["also"] = [a.to_dict(with_steps=with_steps, written=written) for a in self.also]
        return out

    def seen(self) -> dict[str, object] | None:
        """Return the source that the destination sees, as trace-json.md writes it: where only its node is known, that."""
        if self.source_seen is None:
            return None
        address, port = self.source_seen
        node = unsaid(address)
        return {"ip": str(address), "port": port} if node is None else {"ip": None, "port": port, "node": node}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """One DNS question and its answer.

    *why* says why it was asked (``search domain 1 of 3: …``), *search* the same as numbers, None for the name as it stands. *plugin* is
    what of CoreDNS answered. *notes* say what the answer alone does not: what the server lacks, how the question travels.
    """

    server: str
    name: str
    rdtype: str
    rcode: str
    answers: tuple[str, ...] = ()
    why: str = ""
    search: tuple[int, int] | None = None
    transport: str = "udp"
    plugin: str = ""
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Return the look-up as trace-json.md writes it, with why it was asked."""
        out: dict[str, object] = {
            "server": self.server,
            "question": {"name": self.name, "type": self.rdtype},
            "rcode": self.rcode,
            "answers": list(self.answers),
            "transport": self.transport,
        }
        out |= {"why": self.why} if self.why else {}
        out |= {"search": {"number": self.search[0], "of": self.search[1]}} if self.search else {}
        out |= {"plugin": self.plugin} if self.plugin else {}
        return out | ({"notes": list(self.notes)} if self.notes else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumption:
    """What the walk took for granted, as no recording tells it: *code* is the word that sets it (tracer.assumptions).

    *changes*: whether one of the *other* settings ends otherwise; None where finding that out was too much work.
    """

    code: str
    text: str
    changes: bool | None = None
    other: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Return the assumption as trace-json.md writes it."""
        return {"code": self.code, "text": self.text, "changes": self.changes, "other": list(self.other)}


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """What was changed of the cluster for a question: its *words*, in sentences the *changes* that they make and what follows from them,
    and in *notes* what is not changed, or stands for a number that nobody knows."""

    words: tuple[str, ...]
    changes: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Return it as trace-json.md writes it."""
        return {"words": list(self.words), "changes": list(self.changes), "notes": list(self.notes)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """The whole answer to one query. *services* are those whose modelled rules may have been met, in a large cluster.

    *what_if* is what was changed for the question; None where nothing was, also where its words say what is so already.
    *origin* is ``sketched`` where nothing of the cluster was recorded: it was made of manifests.
    """

    query: Query
    outcomes: Sequence[Outcome]
    lookups: tuple[Lookup, ...] = ()
    unknowns: tuple[Unknown, ...] = ()
    assumptions: tuple[Assumption, ...] = ()
    services: frozenset[tuple[str, str]] = field(default=frozenset(), compare=False)
    what_if: WhatIf | None = None
    origin: str = ""

    @property
    def classes(self) -> tuple[OutcomeClass, ...]:
        """Return the outcomes, those together that differ in nothing but an endpoint's addresses and names, in the order of the first."""
        found: dict[object, list[Outcome | Unopened[Outcome]]] = {}
        for item in items_of(self.outcomes):
            found.setdefault(_kind(first_of(item)), []).append(item)
        return tuple(OutcomeClass(many(members)) for members in found.values())

    def told(self, *, expand: bool = False) -> Sequence[Outcome]:
        """Return the outcomes that are told one by one: all (*expand*), or where there are many, the first of each class."""
        if expand or len(self.outcomes) <= TOLD:
            return self.outcomes
        return tuple(one.first for one in self.classes)

    def to_dict(self, *, with_steps: bool = True, written: Written | None = None, expand: bool = False) -> dict[str, Any]:
        """Return the answer as trace-json.md writes it. *with_steps* lists every matched rule; *written* writes packets and steps.

        *expand*: all outcomes are told one by one, however many. NB: packets and steps that outcomes have in common are one dict, for
        reading only; so is the first outcome of a class.
        """
        written = written or Written()
        outcomes = tuple(self.told(expand=expand))
        dicts = [
            outcome.to_dict(with_steps=with_steps, written=written, head=head)
            for outcome, head in zip(outcomes, heads(outcomes), strict=True)
        ]
        return self.around({"outcomes": dicts, **self._of_classes(outcomes, dicts)})

    def around(self, outcomes: Mapping[str, object]) -> dict[str, Any]:
        """Return the answer as trace-json.md writes it around its *outcomes*, and what is said of them."""
        return {
            "version": VERSION,
            "id": self.query.id,
            **({"origin": self.origin} if self.origin else {}),
            "query": self.query.to_dict(),
            "lookups": [x.to_dict() for x in self.lookups],
            **outcomes,
            "unknowns": [u.to_dict() for u in self.unknowns],
            "assumptions": [a.to_dict() for a in self.assumptions],
            **({} if self.what_if is None else {"what_if": self.what_if.to_dict()}),
        }

    def _of_classes(self, told: Sequence[Outcome], dicts: Sequence[Mapping[str, object]]) -> dict[str, object]:
        """The classes, where there are any that hold more than one outcome; and whether the outcomes are only one of each."""
        classes = self.classes
        if len(classes) == len(self.outcomes):
            return {}
        written = {id(outcome): found for outcome, found in zip(told, dicts, strict=True)}
        whole = {} if len(told) == len(self.outcomes) else {"outcomes_expanded": False}
        return {**whole, "classes": [one.to_dict(written[id(one.first)]) for one in classes]}


@dataclass(frozen=True, slots=True)
class OutcomeClass:
    """Outcomes that differ in nothing but the addresses and names of an endpoint, and what draws it."""

    members: Sequence[Outcome]

    @property
    def first(self) -> Outcome:
        """Return the one that stands for all."""
        return self.members[0]

    @property
    def share(self) -> Fraction:
        """Return the odds of all."""
        return summed(item.probability for item in items_of(self.members))

    @property
    def places(self) -> list[Place]:
        """Return where each ends, in their order, but for those that end nowhere."""
        return [place for item in items_of(self.members) if (place := seen(item, _destination)) is not None]

    def to_dict(self, first: object) -> dict[str, object]:
        """Return the class as trace-json.md writes it; *first* is what stands for its first outcome."""
        places = self.places
        nodes = sorted({place.node for place in places if place.node is not None})
        members = {"count": len(self.members), "endpoints": [place.to_dict() for place in places], "nodes": nodes}
        return {**told(self.share, "share"), "outcome": first, "members": members}


def heads(outcomes: Sequence[Outcome]) -> list[dict[str, object]]:
    """Return the id and the odds of each of *outcomes*, as trace-json.md writes them."""
    names = [outcome.id for outcome in outcomes]
    shares = [
        Share(name, outcome.probability, outcome.chance if is_long(outcome.probability) else None)
        for name, outcome in zip(names, outcomes, strict=True)
    ]
    return [{"id": name, **odds} for name, odds in zip(names, told_in_a_row(shares), strict=True)]


def _destination(outcome: Outcome) -> Place | None:
    return outcome.destination


def _kind(outcome: Outcome) -> object:
    """What outcomes of one class have in common. What was found of one alone makes it one of its own."""
    if outcome.of_class is None:
        return id(outcome)
    return id(outcome.of_class), tuple(_place(f) for f in outcome.findings if f.code != NOT_CHECKED)


def _place(found: Reason) -> tuple[object, ...]:
    return (found.code, found.severity, found.hop, found.step, found.reply) if isinstance(found, Finding) else (found.code,)

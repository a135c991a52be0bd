"""One hook of one stack: conntrack, then every base chain in the kernel's order, with NAT decided for a flow's first packet only.

Source: nf_hook_slow (netfilter/core.c), nf_conntrack_in, nf_nat_inet_fn and nf_nat_packet (nf_nat_core.c), Linux 6.18.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import field
from enum import Enum
from functools import partial
from itertools import combinations, groupby
from typing import Any

from tracer.conntrack import Connection, FlowTuple
from tracer.forks import drawn
from tracer.frozen import changed
from tracer.kept import Kept
from tracer.limits import Budget
from tracer.netfilter import hook_listing
from tracer.netfilter import model as m
from tracer.netfilter.base_chain import BaseChain
from tracer.netfilter.kept_runs import Counted, Gone, KeptRuns, KnownRuns, Log
from tracer.netfilter.leaf import Leaf, StepList
from tracer.netfilter.model import Hook, Priority
from tracer.netfilter.registered import Registered, is_before
from tracer.netfilter.translate import Addresses, Translation, is_worked_out, manipulates_source, translate
from tracer.netfilter.view import View
from tracer.packet import Address, Family, Packet, Protocol, unsaid
from tracer.refusals import RESET
from tracer.routing import ResultKind, is_unnamed
from tracer.simulate import ipvs, recorded
from tracer.simulate.asked import Notes
from tracer.simulate.assuming import Assuming
from tracer.simulate.classes import Grouping, Plain
from tracer.simulate.crossing import Crossing, Passed, relayed, rewritten
from tracer.simulate.policy_queue import Judged, is_queued
from tracer.simulate.taken import shown_by
from tracer.simulate.ties import Tie, Ties
from tracer.simulate.walk import Ending, Walk
from tracer.topology.stack import NodeStack
from tracer.trace import Disposition, Reason, Step, Unknown
from tracer.values import dataclass

_NOBODY: frozenset[tuple[str, str]] = frozenset()
_SYN, _SYN_ACK, _ACK, _RST_ACK = 0x02, 0x12, 0x10, 0x14


class _Act(Enum):
    """What the kernel does in a hook beside walking chains: find the connection, translate."""

    TRACK = "track"
    NAT = "nat"
    ANSWER = "answer of a real server"
    REQUEST = "request to a virtual server"


_REGISTERED = {
    _Act.TRACK: Registered(name=hook_listing.TRACKING, title="connection tracking"),
    _Act.NAT: Registered(name=hook_listing.NAT, title="the kernel's NAT"),
    _Act.ANSWER: Registered(name=hook_listing.ANSWERS, title="IPVS (answers)"),
    _Act.REQUEST: Registered(name=hook_listing.REQUESTS, title="IPVS (requests)"),
}
_VIRTUAL = ((_Act.ANSWER, ipvs.ANSWERS), (_Act.REQUEST, ipvs.REQUESTS))
_Place = tuple[int, Hook, Family, bool, bool]
_Plain = _Act | BaseChain
_Stage = _Plain | Tie[_Plain]
"""What a packet meets in a hook; several at once where nothing tells which of them it meets first."""


@dataclass(slots=True)
class Known:
    """What packets found in the hooks of a cluster's stacks: in which order things are met there, and how chains are walked.

    It is for as long as neither rules nor the names in their steps change. Stacks and chains are held, so that their ids stay their own.
    *crossings* are whole stacks that packets crossed (``tracer.simulate.kept_crossings``), *ways* what became of packets that were given
    a destination (``tracer.simulate.kept_ways``); None where those are not kept.
    """

    orders: dict[_Place, tuple[NodeStack, Sequence[_Stage]]] = field(default_factory=dict)
    nat_orders: dict[tuple[int, Hook, Family], tuple[NodeStack, Sequence[_Stage]]] = field(default_factory=dict)
    runs: dict[int, tuple[BaseChain, KnownRuns]] = field(default_factory=dict)
    crossings: Kept[Any, Any] | None = None
    ways: Kept[Any, Any] | None = None
    counted: Counted = field(default_factory=Counted)

    @property
    def count(self) -> int:
        """Return how many walks of chains are kept."""
        return self.counted.number

    def of(self, chain: BaseChain) -> KnownRuns:
        """Return the walks of *chain*."""
        kept = self.runs.get(id(chain))
        if kept is None:
            kept = self.runs[id(chain)] = chain, KnownRuns(counted=self.counted)
        return kept[1]


class _Viewed:
    """The view that was made last: a chain that does not just accept the packet is asked with the one that told so."""

    __slots__ = ("_of", "_view")

    def __init__(self) -> None:
        self._of: tuple[Walk, Crossing, Hook] | None = None
        self._view: View | None = None

    def once(self, walk: Walk, crossing: Crossing, hook: Hook, looked: Callable[[Walk, Crossing, Hook], View]) -> View:
        """Return the view of the packet, as it was made where it is the last one, else as *looked*."""
        of = self._of
        if self._view is None or of is None or of[0] is not walk or of[1] is not crossing or of[2] is not hook:
            self._of, self._view = (walk, crossing, hook), looked(walk, crossing, hook)
        return self._view

    def passed(self, walk: Walk, stepped: Walk) -> None:
        """Take *stepped*, which is *walk* with more steps, for the one that was looked at."""
        if self._of is not None and self._of[0] is walk:
            self._of = (stepped, *self._of[1:])


@dataclass(frozen=True, slots=True)
class HookRunner:
    """Runs hooks; *addresses* says what MASQUERADE and REDIRECT take in a crossing, *reroute* finds a new way out of OUTPUT.

    *queued* says what a program does that a rule hands the packet to, None where it is none that is known. *ties* knows what to do where
    several chains have the same priority. *known* is what earlier questions found, as far as there were any.
    It keeps what the question's own packets found in each chain, so it is for one question only. *log* notes it for who keeps more.
    """

    addresses: Callable[[Crossing], Addresses]
    reroute: Callable[[Walk, Crossing], Iterator[Passed | Ending]]
    budget: Budget = field(default_factory=Budget)
    queued: Callable[[Walk, Crossing, Leaf], Judged | None] = lambda walk, crossing, leaf: None
    ties: Ties = field(default_factory=lambda: Ties(Assuming()))
    known: Known = field(default_factory=Known)
    grouping: Grouping = field(default_factory=Plain)
    notes: Notes | None = None
    log: Log = field(default_factory=Log)
    _runs: dict[int, tuple[BaseChain, KeptRuns]] = field(default_factory=dict)
    _viewed: _Viewed = field(default_factory=lambda: _Viewed())

    def run(self, walk: Walk, crossing: Crossing, hook: Hook) -> Iterator[Passed | Ending]:
        """Return the ways *hook* lets the packet through, and the ways it ends there."""
        return self._stages(walk, crossing, hook, self._stages_of(crossing, hook, walk.packet.family))

    def again(self, ways: Sequence[Gone]) -> None:
        """Pay for *ways* that were gone before, as if the packet had gone them now."""
        for chain, end, before, answers, asked in ways:
            self._kept(chain).again(end, before, answers, asked)

    def _stages_of(self, crossing: Crossing, hook: Hook, family: Family) -> Sequence[_Stage]:
        """What the packet meets in *hook*, in the kernel's order."""
        key = (id(crossing.stack), hook, family, crossing.state is None, crossing.served)
        kept = self.known.orders.get(key)
        if kept is None:
            kept = self.known.orders[key] = crossing.stack, self._ordered(crossing, hook, family)
        return kept[1]

    def _ordered(self, crossing: Crossing, hook: Hook, family: Family) -> Sequence[_Stage]:
        chains = crossing.stack.chains(hook, family)
        stages: list[tuple[int, _Plain]] = [(chain.priority, chain) for chain in chains if not chain.is_nat]
        if hook in (Hook.PREROUTING, Hook.OUTPUT) and crossing.state is None:
            stages.append((Priority.CONNTRACK, _Act.TRACK))
        if hook is not Hook.FORWARD:
            stages.append((Priority.NAT_SRC if manipulates_source(hook) else Priority.NAT_DST, _Act.NAT))
        if crossing.stack.virtual_servers is not None and not crossing.served:
            stages += [(places[hook], act) for act, places in _VIRTUAL if hook in places]
        return _tied(crossing.stack, hook, family, stages)

    def _nat_ordered(self, stack: NodeStack, hook: Hook, family: Family) -> Sequence[_Stage]:
        """The NAT chains of a hook: the kernel keeps them in a list of their own, in which their priorities count."""
        key = (id(stack), hook, family)
        kept = self.known.nat_orders.get(key)
        if kept is None:
            chains = [(chain.priority, chain) for chain in stack.chains(hook, family) if chain.is_nat]
            kept = self.known.nat_orders[key] = stack, _tied(stack, hook, family, chains)
        return kept[1]

    def _stages(self, walk: Walk, crossing: Crossing, hook: Hook, stages: Sequence[_Stage]) -> Iterator[Passed | Ending]:
        while True:
            if not isinstance(stages[0] if stages else None, _Act):
                walk, stages = self._past_known(walk, crossing, hook, stages)
            if not stages:
                return iter(((walk, crossing),))
            stage, rest = stages[0], stages[1:]
            passed = self._at_once(walk, crossing, hook, stage)
            if passed is None:
                break
            (walk, crossing), stages = passed, rest
        ways: Iterator[Passed | Ending]
        if isinstance(stage, Tie):
            ways = self._in_some_order(walk, crossing, hook, stage)
            return relayed(ways, partial(self._stages, hook=hook, stages=rest))
        if stage is _Act.TRACK:
            ways = _tracked(walk, crossing)
        elif stage is _Act.ANSWER:
            ways = iter((ipvs.answered(walk, crossing, hook),))
        elif stage is _Act.REQUEST:
            return self._requested(walk, crossing, hook, rest)
        elif isinstance(stage, _Act):
            ways = self._nat(walk, crossing, hook)
        else:
            ways = self._filtered(walk, crossing, hook, stage)
        if hook is Hook.OUTPUT and (stage is _Act.NAT or (not isinstance(stage, _Act) and stage.routes_again)):
            ways = self._routed_again(walk.packet, ways, whole=stage is not _Act.NAT)
        return relayed(ways, partial(self._stages, hook=hook, stages=rest))

    def _at_once(self, walk: Walk, crossing: Crossing, hook: Hook, stage: _Stage) -> Passed | None:
        """The packet behind *stage* where it takes one way and no rule is asked: most do. None where that takes a closer look."""
        connection = crossing.connection
        if walk.existing:
            return None
        if stage is _Act.TRACK:
            return (walk, crossing) if crossing.state == "UNTRACKED" else _track(walk, crossing)
        if stage is not _Act.NAT or hook is Hook.OUTPUT or connection is None or connection.supposed or crossing.state == "INVALID":
            return None
        is_known = crossing.state != "NEW" or _is_settled(connection, hook)
        return (_bound(walk, crossing, hook), crossing) if is_known else None

    def _past_known(self, walk: Walk, crossing: Crossing, hook: Hook, stages: Sequence[_Stage]) -> tuple[Walk, Sequence[_Stage]]:
        """The walk behind the first chains of *stages* that are known to accept the packet as it is, and the stages that follow."""
        view = partial(self._view, walk, crossing, hook)
        steps, known = walk.visit.steps, 0
        for stage in stages:
            if isinstance(stage, _Act):
                break
            behind = self._behind(stage, view, steps)
            if behind is None:
                break
            steps, known = behind, known + 1
        if not known:
            return walk, stages
        stepped = _stepped(walk, steps)
        self._viewed.passed(walk, stepped)
        return stepped, stages[known:]

    def _behind(self, stage: BaseChain | Tie[_Plain], view: Callable[[], View], steps: StepList | None) -> StepList | None:
        """The steps behind *steps* where *stage* is known to accept the packet as it is, else None."""
        is_alone, behind = not isinstance(stage, Tie), steps
        if not is_alone:
            self.log.lose()
        for chain in stage.members if isinstance(stage, Tie) else (stage,):
            if isinstance(chain, _Act):
                return None
            kept = self._kept(chain)
            behind = kept.accepted(view, behind, is_alone=is_alone)
            if behind is None:
                return None
            if self.notes is not None and self.notes.listening:
                self.notes.ran(kept, view())
        return behind

    def _in_some_order(self, walk: Walk, crossing: Crossing, hook: Hook, tie: Tie[_Plain]) -> Iterator[Passed | Ending]:
        """Take a packet through chains of which nobody knows which is asked first."""

        def run(walk: Walk, order: tuple[_Plain, ...]) -> Iterator[Passed | Ending]:
            return self._stages(walk, crossing, hook, order)

        self.log.lose()
        return self.ties.ways(walk, tie, self._moving(walk, crossing, hook, tie), run)

    def _moving(self, walk: Walk, crossing: Crossing, hook: Hook, tie: Tie[_Plain]) -> list[int]:
        """Which members of *tie* do anything with the packet as it is: all of them, if one of them makes it another for the rest."""
        view, moving, changes = self._view(walk, crossing, hook), [], False
        for at, chain in enumerate(tie.members):
            if isinstance(chain, _Act):
                return list(range(len(tie.members)))
            leaves = list(self._leaves(chain, view, None))
            if any(leaf.verdict != "accept" or leaf.view is not view for leaf in leaves):
                moving.append(at)
            changes = changes or any(leaf.verdict == "accept" and leaf.view is not view for leaf in leaves)
        return list(range(len(tie.members))) if changes else moving

    def _requested(self, walk: Walk, crossing: Crossing, hook: Hook, rest: Sequence[_Stage]) -> Iterator[Passed | Ending]:
        """Let IPVS look at the packet: one for a real server elsewhere leaves this hook, and passes OUTPUT from its start."""

        def onward(walk: Walk, crossing: Crossing, leaves: bool) -> Iterator[Passed | Ending]:
            return self.run(walk, crossing, Hook.OUTPUT) if leaves else self._stages(walk, crossing, hook, rest)

        return relayed(self.grouping.of(walk, ipvs.requested(walk, crossing, hook)), onward)

    def _routed_again(self, before: Packet, ways: Iterator[Passed | Ending], *, whole: bool) -> Iterator[Passed | Ending]:
        """Route a packet of this stack again, at once, where NAT gave it another destination, or mangle (*whole*) changed what routing
        looks at. A mark that raw, nat or filter set does not.

        Source: nf_nat_ipv4_local_fn, ipt_mangle_out, ip6t_mangle_out, nf_route_table_hook4, ip_route_me_harder.
        """

        def onward(walk: Walk, crossing: Crossing) -> Iterator[Passed | Ending]:
            after = walk.packet
            differs = after.destination != before.destination or (whole and (after.mark, after.source) != (before.mark, before.source))
            return self.reroute(walk, crossing) if differs else iter(((walk, crossing),))

        return relayed(ways, onward)

    def _filtered(self, walk: Walk, crossing: Crossing, hook: Hook, chain: BaseChain) -> Iterator[Passed | Ending]:
        for leaf in self._leaves(chain, self._view(walk, crossing, hook), walk.visit.steps):
            judged = self.queued(walk, crossing, leaf) if is_queued(leaf) else None
            if judged is not None:
                yield _taken(walk, crossing, leaf, judged)
            else:
                yield self._ended(walk, crossing, leaf) or _carried(walk, crossing, leaf)

    def _leaves(self, chain: BaseChain, view: View, steps: StepList | None) -> Iterator[Leaf]:
        """Every way the chain ends, from what earlier packets found where that tells it."""
        runs = self._kept(chain)
        if self.notes is not None:
            self.notes.ran(runs, view)
        return runs.run(view, steps)

    def _kept(self, chain: BaseChain) -> KeptRuns:
        kept = self._runs.get(id(chain))
        if kept is None:
            runs = KeptRuns(chain.language(self.budget), self.known.of(chain), self.log, chain)
            kept = self._runs[id(chain)] = chain, runs  # the chain is held so that its id stays its own
        return kept[1]

    def _view(self, walk: Walk, crossing: Crossing, hook: Hook) -> View:
        """What rules see of the packet: the same view as long as it is the same packet in the same place."""
        return self._viewed.once(walk, crossing, hook, self._looked)

    def _looked(self, walk: Walk, crossing: Crossing, hook: Hook) -> View:
        return View(
            packet=walk.wire,
            hook=hook,
            routing=crossing.stack.routing,
            in_device=_in_device(crossing, hook),
            out_device=None if hook in (Hook.PREROUTING, Hook.INPUT) else crossing.out_device,
            phys_in=crossing.phys_in,
            phys_out=crossing.phys_out,
            bridged=crossing.bridged,
            bridge_seen=_is_bridge_seen(crossing),
            state=crossing.state or "INVALID",
            connection=crossing.connection,
            reply=crossing.reply,
            connection_mark=crossing.connection.mark if crossing.connection else 0,
            local_process=crossing.local_process and hook in (Hook.OUTPUT, Hook.POSTROUTING),
            sets=walk.sets.get(crossing.stack.name, crossing.stack.sets),
            recent=frozenset((name, address) for stack, name, address in walk.recent if stack == crossing.stack.name)
            if walk.recent
            else _NOBODY,
            tcp_flags=_tcp_flags(walk),
            icmp=walk.icmp,
            dscp=crossing.header.get("dscp"),
            length=crossing.header.get("length"),
            ttl=crossing.header.get("ttl"),
            own_ports=walk.own_ports,
            reverse_path=lambda match: _reverse_path(match, walk, crossing),
        )

    def _ended(self, walk: Walk, crossing: Crossing, leaf: Leaf) -> Ending | None:
        """The end of the branch when *leaf* stops the packet, None when it goes on."""
        if leaf.verdict == "accept":
            return None
        walk = _merged(walk, leaf)
        if leaf.verdict == "drop" and leaf.by_policy:
            text = f"The policy of {leaf.where} is DROP, and no rule accepted the packet"
            return walk.end(Disposition.DROPPED, Reason(code="POLICY_DROP", text=text))
        if leaf.verdict == "drop":
            return walk.end(Disposition.DROPPED, Reason(code="RULE_DROP", text=f"Dropped by {leaf.where}"))
        if leaf.verdict == "reject" and isinstance(leaf.target, m.Reject):
            reason = Reason(code="RULE_REJECT", text=f"Rejected with {leaf.target.reject_with} by {leaf.where}")
            walk = changed(walk, refused=crossing.connection)
            return walk.end(Disposition.REJECTED, reason, reject_with=leaf.target.reject_with)
        missing = Unknown(code="UNMODELLED_TARGET", text=f"{leaf.where} decides in a way that has no model")
        unknown = leaf.unknowns[-1] if leaf.unknowns else missing
        return walk.end(Disposition.UNKNOWN, Reason(code=unknown.code, text=unknown.text))

    def _nat(self, walk: Walk, crossing: Crossing, hook: Hook) -> Iterator[Passed | Ending]:
        """Apply the flow's binding, or decide it when this is the flow's first packet."""
        connection = crossing.connection
        if connection is None or crossing.state == "INVALID":
            yield self._passed_by(walk, crossing, hook), crossing
        elif connection.supposed and not _is_settled(connection, hook):
            yield self._supposed(walk, crossing, hook, connection)
        elif crossing.state != "NEW" or _is_settled(connection, hook):
            is_leaving = hook is Hook.POSTROUTING and not crossing.reply
            for way in recorded.masqueraded(walk, crossing.stack, connection, crossing.route) if is_leaving else (walk,):
                yield way if isinstance(way, Ending) else (_bound(way, crossing, hook), crossing)
        else:
            ways = self._nat_chains(walk, crossing, hook, self._nat_ordered(crossing.stack, hook, walk.packet.family))
            yield from ways if manipulates_source(hook) else self.grouping.of(walk, ways)

    def _passed_by(self, walk: Walk, crossing: Crossing, hook: Hook) -> Walk:
        """The walk of a packet that NAT leaves alone, as it has no entry: one of a connection that exists may have been translated before.

        What the rules would do with a new one tells, or the entry that a packet without tracking does not use.
        """
        if not walk.existing or not walk.midstream or walk.answering or walk.moved or walk.packet.protocol is not Protocol.TCP:
            return walk
        table = crossing.stack.conntrack
        found = table.find(FlowTuple.of(walk.packet)) if table is not None else None
        if found is not None:
            return changed(walk, moved=found[0].has_dnat or found[0].has_snat)
        if crossing.state == "UNTRACKED":
            return walk
        asked = changed(crossing, state="NEW", connection=Connection.begin(walk.packet))
        ways = self._nat_chains(walk, asked, hook, self._nat_ordered(crossing.stack, hook, walk.packet.family))
        return changed(walk, moved=any(isinstance(way, Ending) or bool(rewritten(walk.packet, way[0].packet)) for way in ways))

    def _supposed(self, walk: Walk, crossing: Crossing, hook: Hook, connection: Connection) -> Passed | Ending:
        """An entry that nobody recorded translates nothing where no rule would; to what it translates otherwise is not known."""
        asked = changed(crossing, state="NEW")
        ways = self._nat_chains(walk, asked, hook, self._nat_ordered(crossing.stack, hook, walk.packet.family))
        if all(not isinstance(way, Ending) and not rewritten(walk.packet, way[0].packet) for way in ways):
            return _settled(walk, crossing, connection, source=manipulates_source(hook))
        return walk.unknown(recorded.unknown_translation(walk, crossing.stack))

    def _nat_chains(self, walk: Walk, crossing: Crossing, hook: Hook, chains: Sequence[_Stage]) -> Iterator[Passed | Ending]:
        """Ask the NAT chains of a hook in turn: the first that translates settles it; one that only accepts does not stop the others."""
        if crossing.connection is None:
            raise TypeError("NAT chains are asked for a tracked packet")
        if not chains:
            yield _settled(walk, crossing, crossing.connection, source=manipulates_source(hook))
            return
        first, rest = chains[0], chains[1:]
        if isinstance(first, Tie):
            self.log.lose()
            moving = self._moving(walk, crossing, hook, first)
            yield from self.ties.ways(walk, first, moving, lambda walk, order: self._nat_chains(walk, crossing, hook, (*order, *rest)))
            return
        if isinstance(first, _Act):
            raise TypeError("NAT chains are chains")
        for leaf in self._leaves(first, self._view(walk, crossing, hook), walk.visit.steps):
            if leaf.verdict == "nat" and leaf.target is not None:
                yield from self._translated(walk, crossing, hook, leaf)
            elif ended := self._ended(walk, crossing, leaf):
                yield ended
            else:
                yield from self._nat_chains(*_carried(walk, crossing, leaf), hook, rest)

    def _translated(self, walk: Walk, crossing: Crossing, hook: Hook, leaf: Leaf) -> Iterator[Passed | Ending]:
        if leaf.target is None or crossing.connection is None:
            raise TypeError("a NAT leaf has a target and a tracked connection")
        merged, crossing = _carried(walk, crossing, leaf)
        translated = partial(_translations, leaf.target, hook, self.addresses(crossing))
        ways = translated(merged.packet)
        if self.notes is not None and is_worked_out(leaf.target):
            self.notes.worked_out(lambda packet: [way.packet for way in translated(packet)], merged.packet)
        for number, way in enumerate(ways):
            if way.packet is None:
                at = {"node": crossing.stack.name, "rule": leaf.where}
                yield merged.unknown(Unknown(code="DATA_MISSING", text=f"Not known: {way.missing}", at=at))
            else:
                taken = changed(merged, forks=(*merged.forks, drawn(leaf.where, number))) if len(ways) > 1 else merged
                yield self._bind(taken, crossing, hook, way, is_drawn=len(ways) > 1)

    def _bind(self, walk: Walk, crossing: Crossing, hook: Hook, way: Translation, *, is_drawn: bool) -> Passed:
        packet, source = way.packet, manipulates_source(hook)
        if packet is None or crossing.connection is None or walk.visit.steps is None:
            raise TypeError("a translation has a packet, a connection and the step of its rule")
        rewrote = rewritten(walk.packet, packet)
        last = changed(walk.visit.steps.step, rewrote=rewrote)
        if is_drawn:
            last = changed(last, chance=way.share)
        steps = StepList(last, walk.visit.steps.before)
        if unsaid(packet.source) is not None and packet.source != walk.packet.source:
            walk = walk.note(f"masquerade takes {packet.source}: which one is not in the snapshot (ip-addr.json)")
        if source and packet.source != walk.packet.source and crossing.route is not None:
            walk = shown_by(walk, self.ties.assuming, crossing.stack, packet.source, crossing.route.device)
        certain = walk.source_port_certain and not source
        odds = walk.probability if way.share == 1 else walk.probability * way.share
        visit = changed(walk.visit, steps=steps)
        moved = walk.moved or (walk.existing and walk.midstream and not walk.answering)
        walk = changed(walk, packet=packet, visit=visit, probability=odds, source_port_certain=certain, moved=moved)
        return _settled(walk, crossing, crossing.connection.translated(packet), source=source)


def _translations(target: m.Target, hook: Hook, addresses: Addresses, packet: Packet) -> list[Translation]:
    return list(translate(target, packet, hook, addresses))


def _tied(stack: NodeStack, hook: Hook, family: Family, stages: Sequence[tuple[int, _Plain]]) -> Sequence[_Stage]:
    """What a hook has, by priority; what has the same is one tie, unless its order is known."""
    found: list[_Stage] = []
    for priority, group in groupby(sorted(stages, key=lambda stage: stage[0]), key=lambda stage: stage[0]):
        members = tuple(stage for _, stage in group)
        found += members if len(members) == 1 else _untied(stack, hook, family, priority, members)
    return found


def _untied(stack: NodeStack, hook: Hook, family: Family, priority: int, members: tuple[_Plain, ...]) -> Sequence[_Stage]:
    """Members of equal priority in their order, where a list of the kernel's hooks or their table tells it; else as a tie."""
    named = {id(x): _REGISTERED[x] if isinstance(x, _Act) else x.registered for x in members}
    places = stack.hook_listing.at(family.value, hook) if stack.hook_listing is not None else {}
    ordered = tuple(sorted(members, key=lambda x: places.get(named[id(x)].name, len(places))))
    registered = tuple(named[id(x)] for x in ordered)
    pairs = [(a, b, is_before(registered[a], registered[b], places)) for a, b in combinations(range(len(ordered)), 2)]
    if all(known for _, _, known in pairs):
        return ordered
    before = frozenset((a, b) if known else (b, a) for a, b, known in pairs if known is not None)
    return (
        Tie(
            node=stack.name,
            whose=stack.called,
            family=family.value,
            hook=hook.value,
            priority=priority,
            members=ordered,
            registered=registered,
            before=before,
            untold=stack.untold_order(),
        ),
    )


def _taken(walk: Walk, crossing: Crossing, leaf: Leaf, judged: Judged) -> Passed | Ending:
    """What becomes of a packet that a program *judged*. NB: what it accepts goes on with the next chain, as if a rule had accepted it."""
    known = changed(leaf, unknowns=leaf.unknowns[:-1])  # the last one says that the rule has no model
    if judged.passes:
        return _carried(walk.note(judged.text), crossing, changed(known, verdict="accept"))
    if judged.passes is None:
        missing = Unknown(code="POLICY_QUEUE", text=judged.text, at={"node": crossing.stack.name, "rule": leaf.where})
        return _merged(walk, known).unknown(missing)
    return _merged(walk, known).end(Disposition.DROPPED, Reason(code="POLICY_QUEUE_DROP", text=judged.text))


def _tcp_flags(walk: Walk) -> int | None:
    if walk.packet.protocol is not Protocol.TCP:
        return None
    if walk.refusal is not None:
        return _RST_ACK
    return _ACK if walk.midstream else _SYN_ACK if walk.answering else _SYN


def _in_device(crossing: Crossing, hook: Hook) -> str | None:
    """The device that rules see a packet come in by. POSTROUTING sees it too, of what is routed on (Linux 5.7) but not bridged.

    Source: ip_output, ip6_output, br_nf_post_routing.
    """
    if hook is Hook.OUTPUT or (hook is Hook.POSTROUTING and crossing.bridged):
        return None
    return crossing.in_device


def _is_bridge_seen(crossing: Crossing) -> bool:
    """Whether it is known that the packet came by a bridge's port, or did not."""
    device, routing = crossing.in_device, crossing.stack.routing
    if device is None or crossing.phys_in is not None:
        return True
    if is_unnamed(device):
        return bool(routing.links) and not any(link.is_bridge for link in routing.links)
    return device == "lo" or routing.link(device) is not None


def _stepped(walk: Walk, steps: StepList | None) -> Walk:
    return changed(walk, visit=changed(walk.visit, steps=steps))


def _merged(walk: Walk, leaf: Leaf) -> Walk:
    """The walk with what the leaf did."""
    visit = changed(walk.visit, steps=leaf.steps)
    recent = walk.recent
    if recent or leaf.view.recent:
        name = walk.visit.name
        recent = frozenset(x for x in recent if x[0] != name) | {(name, *entry) for entry in leaf.view.recent}
    return changed(
        walk,
        packet=changed(walk.packet, mark=leaf.view.packet.mark) if walk.is_error else leaf.view.packet,
        visit=visit,
        probability=walk.probability if leaf.probability == 1 else walk.probability * leaf.probability,
        conditions=walk.conditions + leaf.conditions,
        unknowns=walk.unknowns + leaf.unknowns,
        forks=walk.forks + leaf.forks,
        recent=recent,
    )


def _carried(walk: Walk, crossing: Crossing, leaf: Leaf) -> Passed:
    walk = _merged(walk, leaf)
    view = leaf.view
    header = {k: v for k, v in (("dscp", view.dscp), ("length", view.length), ("ttl", view.ttl)) if v is not None}
    if header != crossing.header:
        crossing = changed(crossing, header=header)
    if view.sets is not None and view.sets is not crossing.stack.sets:
        walk = changed(walk, sets={**walk.sets, crossing.stack.name: view.sets})
    if crossing.state is None and view.state == "UNTRACKED" and not walk.attached:  # xt_CT leaves alone what has its entry
        crossing = changed(crossing, state="UNTRACKED")
    if crossing.connection is not None and view.connection_mark != crossing.connection.mark:
        connection = changed(crossing.connection, mark=view.connection_mark)
        return walk.with_entry(crossing.table, connection), changed(crossing, connection=connection)
    return walk, crossing


def _is_settled(connection: Connection, hook: Hook) -> bool:
    return connection.source_done if manipulates_source(hook) else connection.destination_done


def _settled(walk: Walk, crossing: Crossing, connection: Connection, *, source: bool) -> Passed:
    """NAT for this side is settled, changed or not: it is not asked again for this flow."""
    connection = changed(connection, source_done=True) if source else changed(connection, destination_done=True)
    return walk.with_entry(crossing.table, connection), changed(crossing, connection=connection)


def _tracked(walk: Walk, crossing: Crossing) -> Iterator[Passed]:
    """Find or begin the packet's conntrack entry.

    NB: what a rule rejects with gets the rejected packet's entry in the stack that makes it: a reset is RELATED there, and nowhere else.
    Source: nf_conntrack_in, resolve_normal_ct, nf_conntrack_attach.
    """
    if crossing.state == "UNTRACKED":
        return iter(((walk, crossing),))
    if walk.existing and walk.entry(crossing.table, walk.packet) is None:
        return (_track(branch, crossing) for branch in recorded.met(walk, crossing.stack))
    return iter((_track(walk, crossing),))


def _track(walk: Walk, crossing: Crossing) -> Passed:
    """Give the packet its entry, one that is there or a new one, and its state."""
    if walk.attached and walk.refused is not None and walk.refusal == RESET:
        return walk, changed(crossing, connection=walk.refused, reply=True, state="RELATED")  # nf_ct_attach
    found = walk.entry(crossing.table, walk.packet)
    if found:
        connection, reply = found
        if connection.opening and walk.midstream and not reply:
            return walk, changed(crossing, state="INVALID")  # tcp_conntracks: an ACK before any answer
        if (why := recorded.outruns(walk, connection, crossing.stack)) is not None:
            return walk.note(why), changed(crossing, state="INVALID")
        if connection.unseen and not walk.answering:
            connection = changed(connection, unseen=False)
            walk = walk.with_entry(crossing.table, connection)
        known = "RELATED" if walk.is_error or walk.attached else "ESTABLISHED" if reply or connection.established else "NEW"
        if connection.opening and reply and not walk.is_error:
            connection = changed(connection, opening=False, established=True)
            walk = walk.with_entry(crossing.table, connection)
        return walk, changed(crossing, connection=connection, reply=reply, state=known)
    if not recorded.begins(walk, crossing.stack):
        return walk, changed(crossing, state="INVALID")
    connection = Connection.begin(walk.packet)
    if walk.packet.protocol is Protocol.TCP and not walk.midstream:
        connection = changed(connection, opening=True)
    return walk.with_entry(crossing.table, connection), changed(crossing, connection=connection, state="NEW")


def _bound(walk: Walk, crossing: Crossing, hook: Hook) -> Walk:
    """The packet as the flow's binding rewrites it at *hook*: this is how an answer finds its way back."""
    connection = crossing.connection
    if connection is None:
        return walk
    if connection.virtual and manipulates_source(hook) is crossing.reply:
        return walk  # IPVS translated the destination, NAT did not
    there = connection.original if crossing.reply else connection.reply
    is_source = manipulates_source(hook)
    if _is_bound(walk.packet, there, is_source=is_source):
        return walk
    wanted = there.inverse
    if is_source:
        packet = _with_source(walk.packet, wanted.source, wanted.source_port)
    else:
        port, drawn = wanted.destination_port, wanted.destination_port == "random"
        number = port if isinstance(port, int) else None
        packet = changed(walk.packet, destination=wanted.destination, destination_port=number, destination_port_random=drawn)
    if walk.is_error and packet.source != walk.packet.source:
        walk = changed(walk, sender=packet.source)  # nf_nat_icmp_reply_translation changes the error's own addresses too
    rewrote = rewritten(walk.packet, packet)
    if not rewrote:
        return walk if packet == walk.packet else changed(walk, packet=packet)
    step = Step(
        hook=hook.value,
        family=walk.packet.family.value,
        table="conntrack",
        chain="",
        event="un-nat" if crossing.reply else "nat",
        rewrote=rewrote,
    )
    return changed(walk, packet=packet).step(step)


def _is_bound(packet: Packet, there: FlowTuple, *, is_source: bool) -> bool:
    """Whether the packet has the address and port of its binding: as it is in most, those where the other direction leads or comes from."""
    if is_source:
        port = "random" if packet.source_port_random else packet.source_port
        return packet.source == there.destination and port == there.destination_port
    port = "random" if packet.destination_port_random else packet.destination_port
    return packet.destination == there.source and port == there.source_port


def _with_source(packet: Packet, source: Address, port: int | str | None) -> Packet:
    return changed(packet, source=source, source_port=port if isinstance(port, int) else None, source_port_random=port == "random")


def _reverse_path(match: m.RpfilterMatch, walk: Walk, crossing: Crossing) -> bool | None:
    """Whether the way back to the source leaves by the device the packet came in by. Source: ipt_rpfilter.c, ip6t_rpfilter.c."""
    if crossing.in_device is None or crossing.in_device == "lo":
        return True
    if unsaid(walk.packet.source):
        return None
    results = crossing.stack.routing.lookup(walk.packet.source, mark=walk.packet.mark if match.valid_mark else 0)
    if not results or any(r.kind is ResultKind.UNKNOWN for r in results):
        return None
    if any(r.kind is ResultKind.LOCAL for r in results):
        return match.accept_local
    reachable = [r for r in results if r.kind is ResultKind.UNICAST]
    if reachable and not match.loose and is_unnamed(crossing.in_device):
        return None
    is_back = bool(reachable) and (match.loose or any(r.device == crossing.in_device for r in reachable))
    return None if not is_back and unsaid(walk.packet.source) is not None else is_back  # somebody outside may be anywhere

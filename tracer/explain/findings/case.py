"""One trace under examination: what several findings need, worked out once; and what is known of a cluster for all its traces."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field
from fractions import Fraction
from functools import cached_property
from typing import TypeVar

from tracer.errors import ParseError
from tracer.explain.explanation import Severity
from tracer.explain.findings.endpoints import Endpoints, Target, endpoints_of
from tracer.explain.findings.passage import Mark, Passage, passage_of
from tracer.explain.findings.subject import Subject, subject_of
from tracer.frontends.kinds import CILIUM
from tracer.kube.endpoints import Listed
from tracer.kube.objects import Objects
from tracer.kube.pod import Pod
from tracer.kubeproxy.drift.finding import Finding as Difference
from tracer.netfilter import model as m
from tracer.netfilter.dump import Chain, Dump
from tracer.netfilter.model import Rule
from tracer.netfilter.owners import CILIUM_MAPS, KUBE_PROXY, KUBE_ROUTER, Owner, owner_of
from tracer.packet import Address, Family, Packet
from tracer.probability import rounded
from tracer.query import FlowState, SourceKind, parse_address
from tracer.topology.cluster import Cluster
from tracer.topology.data_path import data_path
from tracer.topology.stack import NodeStack
from tracer.trace import Disposition, Finding, Hop, Outcome, StackKind, Trace
from tracer.unopened import firsts, items_of
from tracer.values import dataclass

T = TypeVar("T")


class Known:
    """What one cluster's traces have in common: findings about its nodes, each worked out once."""

    def __init__(self) -> None:
        self._found: dict[tuple[object, ...], object] = {}

    def once(self, key: tuple[object, ...], work: Callable[[], T]) -> T:
        """Return what *work* returned the first time it was asked for under *key*."""
        if key not in self._found:
            self._found[key] = work()
        return self._found[key]  # type: ignore[return-value]


@dataclass
class Case:
    """One trace and its cluster. Not frozen: it caches what it works out; *unchosen* and *uneven* are kept by node.

    *again* are the answers to other questions that were asked before they were suggested. *drifted* are the differences that a packet
    meets, by what came where.
    """

    cluster: Cluster
    trace: Trace
    known: Known = field(default_factory=Known)
    unchosen: dict[str, tuple[Listed, ...]] = field(default_factory=dict)
    uneven: dict[str | None, str | None] = field(default_factory=dict)
    again: dict[tuple[str, int | None], Trace | None] = field(default_factory=dict)
    drifted: dict[tuple[object, ...], list[Difference]] = field(default_factory=dict)

    @property
    def objects(self) -> Objects:
        """Return the API objects."""
        return self.cluster.objects

    @cached_property
    def firsts(self) -> tuple[Outcome, ...]:
        """Return the outcomes that are opened, in the trace's order: those that are not are each like one of them."""
        return tuple(firsts(self.trace.outcomes))

    @cached_property
    def _ways(self) -> dict[int, Passage]:
        return {id(outcome): passage_of(outcome) for outcome in self.firsts}

    @cached_property
    def passages(self) -> tuple[Passage, ...]:
        """Return the way of each of *firsts*."""
        return tuple(self._ways.values())

    def passage(self, outcome: Outcome) -> Passage:
        """Return the way of one of *firsts*."""
        return self._ways[id(outcome)]

    @cached_property
    def sent(self) -> Packet | None:
        """Return the packet as the client sent it, None when nothing was sent (an unresolved name)."""
        return next((o.hops[0].packet_in for o in self.firsts if o.hops), None)

    @cached_property
    def subject(self) -> Subject | None:
        """Return the Service that was dialled, None when none was: an echo request dials none, whatever address it is sent to."""
        first = next((o.hops[0] for o in self.firsts if o.hops), None)
        if first is None or not first.packet_in.protocol.has_ports:
            return None
        return subject_of(self.cluster, first.packet_in, from_node=first.kind is StackKind.NODE)

    @cached_property
    def endpoints(self) -> Endpoints:
        """Return what stands behind the subject."""
        if self.subject is None:
            return Endpoints(known=False)
        return endpoints_of(self.objects, self.subject, known=self.holds("EndpointSlice", "Endpoints"))

    @property
    def outside(self) -> bool:
        """Return whether the client is outside the cluster."""
        return self.trace.query.source.kind is SourceKind.EXTERNAL

    @cached_property
    def client_pod(self) -> Pod | None:
        """Return the pod that sends with an address of its own, None for nodes, host-network pods and clients outside."""
        source = self.trace.query.source
        if source.kind is not SourceKind.POD:
            return None
        pod = self.objects.pod(source.namespace or "", source.name or "")
        return pod if pod is not None and not pod.host_network else None

    @cached_property
    def client(self) -> str:
        """Return who sends, as a sentence says it."""
        source = self.trace.query.source
        if source.kind is SourceKind.EXTERNAL:
            return f"the client {source.ip}"
        return f"pod {source.namespace}/{source.name}" if source.kind is SourceKind.POD else f"node {source.name}"

    @cached_property
    def complete(self) -> bool:
        """Return whether the outcomes are all the ways a new connection can go, with odds that mean something."""
        query = self.trace.query
        sampled = query.seed is not None or query.connection is not None or query.state is not FlowState.NEW
        open_ends = any(o.conditions or o.disposition is Disposition.UNKNOWN for o in self.firsts)
        return not sampled and not open_ends

    @cached_property
    def shares(self) -> dict[str, dict[Target, Fraction]]:
        """Return node → where its rules send the dialled packet → with which share of the whole; those of very many draws are rounded."""
        found: dict[str, dict[Target, Fraction]] = {}
        items = items_of(self.trace.outcomes)
        for item, odds in zip(items, rounded([item.probability for item in items]), strict=True):
            sent = _sent_to(self.passage(item)) if isinstance(item, Outcome) else item.told(_chosen)
            if sent is not None:
                of_node = found.setdefault(sent[0], {})
                of_node[sent[1]] = of_node.get(sent[1], Fraction(0)) + odds
        return found

    @cached_property
    def totals(self) -> dict[Target, Fraction]:
        """Return where the dialled packet is sent, by whichever node, with which share of the whole."""
        found: dict[Target, Fraction] = {}
        for shares in self.shares.values():
            for target, share in shares.items():
                found[target] = found.get(target, Fraction(0)) + share
        return found

    @cached_property
    def judged(self) -> tuple[Passage, ...]:
        """Return the ways whose end is known."""
        return tuple(p for p in self.passages if p.outcome.disposition is not Disposition.UNKNOWN)

    # -- the snapshot -------------------------------------------------------------------------------------------------------------

    def holds(self, *kinds: str) -> bool:
        """Return whether the snapshot has objects of one of *kinds*, as far as its files' names tell; one file may hold any kind.

        A file that holds what somebody was told instead (a refusal, a table) holds none.
        """
        return any(
            o.kind is None or (o.kind in kinds and not self.cluster.snapshot.is_refusal(o.path))
            for o in self.cluster.snapshot.layout.objects
        )

    def node_text(self, node: str, name: str) -> str | None:
        """Return the text of a node's file, None when it is missing or cannot be read."""
        try:
            return self.cluster.snapshot.node_file(node, name)
        except ParseError:
            return None

    def path(self, node: str, name: str) -> str:
        """Return the path to print for a node's file."""
        return self.cluster.snapshot.path_of(node, name)

    def stack(self, hop: Hop) -> NodeStack:
        """Return the stack of a node's hop."""
        return self.cluster.stack(hop.node or hop.name)

    def chain_of(self, mark: Mark) -> Chain | None:
        """Return the chain that a step is of."""
        step = mark.step
        if mark.hop.node is None or step.event is not None:
            return None
        for dump in self._dumps(mark):
            added = dump.added.file if dump.added is not None else None
            if step.file in (None, dump.file, added) and (table := dump.tables.get(step.table)) and step.chain in table.chains:
                return table.chains[step.chain]
        return None

    def _dumps(self, mark: Mark) -> tuple[Dump, ...]:
        """The xtables dumps of the step's family; native tables have others (inet, netdev, bridge), and stand in none."""
        families = [f for f in Family if f.value == mark.step.family]
        return self.stack(mark.hop).dumps(families[0]) if families else ()

    def rule_of(self, mark: Mark) -> Rule | None:
        """Return the parsed rule of a step, None for a policy or what conntrack did."""
        chain, line = self.chain_of(mark), mark.step.line
        if chain is None or line is None:
            return None
        if mark.step.made_as:  # of modelled rules not all stand in every text of them
            places = (place for place in range(len(chain)) if chain.rule(place).text == mark.step.rule)
            return next((chain.rule(place) for place in places), None)
        if chain.table.dump.added is not None:
            return chain.rule(chain.numbers.index(line)) if line in chain.numbers else None
        position = bisect_left(chain.numbers, line)
        return chain.rule(position) if position < len(chain) and chain.numbers[position] == line else None

    def owner(self, mark: Mark) -> Owner:
        """Return whose the rule of a step is."""
        found = owner_of(mark.step.table, mark.step.chain, mark.step.rule)
        return self.proxy_at(mark.hop) if found is KUBE_PROXY else found

    def is_of_proxy(self, mark: Mark | None) -> bool:
        """Return whether a step is a rule of the program that makes the node's rules for Services."""
        return mark is not None and mark.step.event is None and self.owner(mark).is_proxy

    def proxy_at(self, hop: Hop) -> Owner:
        """Return which program makes the rules for Services on the node of *hop*."""
        return self.known.once(("proxy", hop.node or hop.name, hop.packet_in.family), lambda: self._proxy(hop))

    def _proxy(self, hop: Hop) -> Owner:
        stack = self.stack(hop)
        if data_path(self.cluster, stack).kind is CILIUM:
            return CILIUM_MAPS
        dumps = stack.dumps(hop.packet_in.family)
        routes = any(dump.count("filter", "KUBE-ROUTER-SERVICES") for dump in dumps)
        return KUBE_ROUTER if routes and not any(dump.count("nat", "KUBE-SERVICES") for dump in dumps) else KUBE_PROXY

    def is_about(self, mark: Mark | None, subject: Subject) -> bool:
        """Return whether the rule of a step is the subject's: it is known to stand for it, or asks for its address or port."""
        if mark is None:
            return False
        if "service" in mark.step.names:
            return mark.step.names["service"] == subject.name
        rule, port = self.rule_of(mark), subject.port
        if rule is None:
            return _chosen_by_port(mark)
        numbers = {subject.number} | ({port.port, port.node_port} if port else set())
        for match in rule.matches:
            if isinstance(match, m.PortsMatch) and match.side == "destination" and not match.negated:
                return any(n in r for n in numbers if n is not None for r in match.ranges)
        return False


def _chosen(outcome: Outcome) -> tuple[str, Target] | None:
    return _sent_to(passage_of(outcome))


def _sent_to(passage: Passage) -> tuple[str, Target] | None:
    """The node that rewrites the dialled packet, and where it sends it."""
    first = passage.dnats[0] if passage.dnats else None
    target = target_of(first) if first is not None else None
    return (first.hop.node, target) if first is not None and first.hop.node and target else None


def _chosen_by_port(mark: Mark) -> bool:
    """Whether an nft rule, or the one that led to its chain, looks the packet's own destination port up in a map."""
    chain, texts = mark.step.chain, [mark.step.rule or ""]
    for step in reversed(mark.hop.steps[: mark.at_step]):
        if step.verdict in (f"jump {chain}", f"goto {chain}"):
            texts.append(step.rule or "")
            break
    return any("dport" in text and "map @" in text for text in texts)


def target_of(mark: Mark) -> Target | None:
    """Return where a DNAT step sends the packet."""
    rewrote, packet = mark.step.rewrote, mark.hop.packet_out
    address = parse_address(str(rewrote["destination"][1])) if "destination" in rewrote else mark.hop.packet_in.destination
    port = rewrote["destination_port"][1] if "destination_port" in rewrote else packet.destination_port
    return (address, port) if address is not None and isinstance(port, int) else None


def finding(
    *,
    code: str,
    text: str,
    fix: str,
    severity: Severity | None = None,
    at: Mark | None = None,
    reply: bool = False,
    evidence: Iterator[str] | tuple[str, ...] = (),
) -> Finding:
    """Return the finding *code*; *severity* None takes the catalogue's. *at* is the step that causes it and its first evidence."""
    if severity is None:
        from tracer.explain.catalogue import severity_of

        severity = severity_of(code)
    proof = (*((at.evidence,) if at else ()), *evidence)
    return Finding(
        code=code,
        text=text,
        severity=severity.value,
        fix=fix,
        hop=at.at_hop if at else None,
        step=at.at_step if at else None,
        reply=reply,
        evidence=tuple(dict.fromkeys(proof)),
    )


def failed(outcome: Outcome) -> bool:
    """Return whether the packet did not arrive, and the snapshot says so."""
    return outcome.disposition not in (Disposition.DELIVERED, Disposition.LEAVES, Disposition.UNKNOWN)


def owner_text(case: Case, address: Address) -> str:
    """Return who has *address* now, as a sentence says it: a pod, a node, or nobody."""
    pod = case.cluster.pod_with_ip(address)
    if pod is not None:
        return f"pod {pod.namespace}/{pod.name}"
    node = case.objects.node_with_ip(address)
    return f"node {node.name}" if node else "nobody"


def some(items: Sequence[object], most: int = 4) -> str:
    """Return up to *most* of *items* as a list in a sentence, and how many more there are."""
    rest = len(items) - most
    return ", ".join(map(str, items[:most])) + (f" and {rest} more" if rest > 0 else "")

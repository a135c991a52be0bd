"""Rule sets that note which of their chains, sets and virtual servers are asked about."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import field, replace
from functools import partial
from typing import TypeVar

from tracer.explain.dependencies.facets import (
    ChainCount,
    ChainPresence,
    Facet,
    Judgement,
    Members,
    NftPart,
    NftTables,
    Rules,
    Served,
    ServerCount,
    Tables,
    Whole,
)
from tracer.ipvs.model import VirtualServer, VirtualServers
from tracer.netfilter.dump import Chain, Dump, Table
from tracer.netfilter.index import ChainIndex
from tracer.netfilter.ipset_save import IpSet
from tracer.netfilter.model import Rule
from tracer.netfilter.nft_model import NftRuleset, SetLiteral
from tracer.netfilter.nft_rules import NftRules
from tracer.netfilter.nft_set_index import SetIndex
from tracer.netfilter.nft_values import Indexes
from tracer.packet import Packet
from tracer.values import dataclass

Note = Callable[[Facet], None]
T = TypeVar("T")


class _Noted(dict[str, T]):
    """A dictionary that says which key is looked up, and gives what *wrap* makes of it. To go through all says *everything* was read."""

    def __init__(
        self, items: dict[str, T], asked: Callable[[str], None], everything: Callable[[], None], wrap: Callable[[T], T] | None = None
    ) -> None:
        super().__init__()
        self._held = items
        self._asked = asked
        self._everything = everything
        self._wrap = wrap or (lambda item: item)
        self._wrapped: dict[str, T] = {}

    def __getitem__(self, key: str) -> T:
        self._asked(key)
        if key not in self._wrapped:
            self._wrapped[key] = self._wrap(self._held[key])
        return self._wrapped[key]

    def get(self, key: str, default: T | None = None) -> T | None:  # type: ignore[override]
        try:
            return self[key]
        except KeyError:
            return default

    def __contains__(self, key: object) -> bool:
        self._asked(str(key))
        return key in self._held

    def __len__(self) -> int:
        return len(self._held)

    def __bool__(self) -> bool:
        return bool(self._held)

    def __iter__(self) -> Iterator[str]:
        self._everything()
        return iter(self._held)

    def values(self):  # type: ignore[no-untyped-def]
        """Return every value."""
        self._everything()
        return self._held.values()

    def items(self):  # type: ignore[no-untyped-def]
        """Return every pair."""
        self._everything()
        return self._held.items()


# -- iptables -------------------------------------------------------------------------------------------------------------------------


class _WatchedIndex(ChainIndex):
    """Gives the candidates of a chain's own index, and notes the packet they were asked for."""

    def __init__(self, index: ChainIndex, note: Callable[[Packet], None]) -> None:
        self._inner = index
        self._asked = note

    def candidates(self, packet: Packet) -> list[int]:
        """Return, in order, the positions of the rules that *packet* may match."""
        self._asked(packet)
        return self._inner.candidates(packet)


@dataclass(slots=True)
class WatchedChain(Chain):
    """A chain that notes whose rules were asked for: a packet's candidates, or all of them."""

    inner: Chain = field(kw_only=True)
    note: Note = field(kw_only=True)
    _built: ChainIndex | None = field(default=None, init=False, repr=False, compare=False)

    def _all(self) -> None:
        self.note(Rules(self.table.name, self.name))

    def rule(self, position: int) -> Rule:
        """Return the rule at *position*: whoever asks has been told of it by the index, by its text or by a step."""
        return self.inner.rule(position)

    def text(self, position: int) -> str:
        """Return the line of the rule at *position*."""
        self._all()
        return self.inner.text(position)

    @property
    def index(self) -> ChainIndex | None:
        """Return an index, also over a short chain: the rules in it for other packets are none of the asker's business."""
        if not self.table.dump.indexed:
            self._all()
            return None
        if self._built is None:
            self._built = self.inner.index or ChainIndex([self.inner.text(i) for i in range(len(self.numbers))])
        found = self._built
        table, name = self.table.name, self.name
        return _WatchedIndex(found, lambda packet: self.note(Rules(table, name, _asked_for(packet))))


def _asked_for(packet: Packet) -> Packet:
    """What an index looks at of a packet, so that packets that differ in nothing else are one."""
    return Packet(
        protocol=packet.protocol, source=packet.destination, destination=packet.destination, destination_port=packet.destination_port
    )


class WatchedDump(Dump):
    """A dump whose chains note what is asked of them."""

    def __init__(self, dump: Dump, note: Note) -> None:
        super().__init__(
            file=dump.file,
            lines=dump.lines,
            faults=dump.faults,
            truncated=dump.truncated,
            indexed=dump.indexed,
            unlisted=dump.unlisted,
            speaks_of_legacy=dump.speaks_of_legacy,
            unread=dump.unread,
            illegible=dump.illegible,
            damaged=dump.damaged,
            unfinished=dump.unfinished,
            lists_all=dump.lists_all,
        )
        self.inner = dump
        self.note = note
        note(Tables())
        for name, table in dump.tables.items():
            watched = self.tables[name] = replace(table, dump=self, chains={})
            watched.chains = _Noted(
                table.chains, _presence(name, note), partial(note, Whole()), partial(_watched, table=watched, note=note)
            )

    def judged(self, question: Callable[[Dump], bool]) -> bool:
        """Return what *question* says of the dump as a whole."""
        self.note(Judgement(question))
        return self.inner.judged(question)

    def count(self, table: str, prefix: str) -> int:
        """Return how many chains of *table* have rules and a name that begins with *prefix*."""
        self.note(ChainCount(table, prefix))
        return self.inner.count(table, prefix)


def _presence(table: str, note: Note) -> Callable[[str], None]:
    return lambda chain: note(ChainPresence(table, chain))


def _watched(chain: Chain, *, table: Table, note: Note) -> Chain:
    return WatchedChain(
        name=chain.name,
        policy=chain.policy,
        table=table,
        line=chain.line,
        numbers=chain.numbers,
        may_continue=chain.may_continue,
        unread=chain.unread,
        inner=chain,
        note=note,
    )


# -- nftables, IPVS, ipsets -----------------------------------------------------------------------------------------------------------


def watched_nft(rules: NftRules, note: Note) -> NftRules:
    """Return *rules* with tables that note which chains, sets and maps are asked for. Indexes of sets are shared."""
    note(NftTables())
    found = NftRules(NftRuleset(rules.ruleset.file, [], rules.ruleset.faults, rules.ruleset.incomplete), rules.annotate)
    for table in rules.ruleset.tables:
        watched = replace(table, chains={}, sets={})
        watched.chains = _Noted(table.chains, _part(table.family, table.name, "chain", note), _nothing)
        watched.sets = _Noted(table.sets, _part(table.family, table.name, "set", note), lambda: note(Whole()))
        found._indexes[id(watched)] = _NotedIndexes(rules._indexes.setdefault(id(table), {}), _part(table.family, table.name, "set", note))
        found.ruleset.tables.append(watched)
    return found


class _NotedIndexes(Indexes):
    """The indexes of a table's sets, shared with the table's own; says which named set is asked for."""

    def __init__(self, indexes: Indexes, asked: Callable[[str], None]) -> None:
        super().__init__()
        self._held = indexes
        self._asked = asked

    def __contains__(self, key: object) -> bool:
        if isinstance(key, str):
            self._asked(key)
        return key in self._held

    def __getitem__(self, key: int | str) -> tuple[SetIndex, SetLiteral | None]:
        return self._held[key]

    def __setitem__(self, key: int | str, value: tuple[SetIndex, SetLiteral | None]) -> None:
        self._held[key] = value


def _nothing() -> None:
    """To go through a table's chains shows the base chains only, which are noted already."""


def _part(family: str, table: str, what: str, note: Note) -> Callable[[str], None]:
    return lambda name: note(NftPart(family, table, what, name))


class WatchedServers(VirtualServers):
    """Virtual servers that note for which packet they are asked."""

    def __init__(self, servers: VirtualServers, note: Note) -> None:
        super().__init__(servers.servers, servers.file, servers.faults)
        self._inner = servers
        self._note = note
        note(ServerCount())

    def find(self, packet: Packet) -> VirtualServer | None:
        """Return the virtual server that takes *packet*."""
        self._note(Served(packet))
        return self._inner.find(packet)


def watched_sets(sets: dict[str, IpSet], note: Note) -> dict[str, IpSet]:
    """Return *sets*, noting which of them are asked for."""
    return _Noted(sets, lambda name: note(Members(name)), lambda: note(Whole()))

"""What of a file an answer rests on: never more than was read of it, so that most changes of a large file leave most answers alone.

A facet gives a value for a file's content; a change touches whoever read the facet when the two contents give different values.
Line numbers are no part of any value: where a rule stands is not what it does.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Protocol, TypeVar

from tracer.errors import ParseError
from tracer.ipvs.ipvsadm_save import parse_virtual_servers
from tracer.ipvs.model import VirtualServer, VirtualServers
from tracer.kube.json_text import decode_text, to_utf8
from tracer.netfilter.dump import Chain, Dump
from tracer.netfilter.index import ChainIndex, may_match
from tracer.netfilter.ipset_save import IpSet, parse_sets
from tracer.netfilter.iptables_save import parse_dump
from tracer.netfilter.nft_model import NftRuleset, NftTable
from tracer.netfilter.nft_rules import NftRules
from tracer.netfilter.nft_sets import SetText
from tracer.netfilter.rule_text import strip_counters
from tracer.packet import Packet
from tracer.snapshot.node_files import NODE_FILES
from tracer.snapshot.unreadable import why_text_unread
from tracer.values import dataclass

T = TypeVar("T")
_PARSED_KEPT, _BYTES_KEPT = 16, 48_000_000
_parsed: OrderedDict[tuple[object, ...], tuple[bytes, object]] = OrderedDict()


class Facet(Protocol):
    """Something to be read of a file. Equal facets of one file are one."""

    def of(self, content: bytes | None, name: str) -> object:
        """Return the value for a file of that documented *name*; None stands for no file. :raises ParseError: it cannot be read."""


@dataclass(frozen=True, slots=True)
class Whole:
    """Every byte."""

    def of(self, content: bytes | None, name: str) -> object:
        """Return the content."""
        return content


@dataclass(frozen=True, slots=True)
class Reading:
    """When the file was read: every reading touches it, also one that found the same."""

    def of(self, content: bytes | None, name: str) -> object:
        """Return something that no other reading has."""
        return object()


@dataclass(frozen=True, slots=True)
class Presence:
    """Whether the file is there."""

    def of(self, content: bytes | None, name: str) -> object:
        """Return whether it is."""
        return content is not None


@dataclass(frozen=True, slots=True)
class Legible:
    """Whether anything of the file counts."""

    def of(self, content: bytes | None, name: str) -> object:
        """Return why nothing does; None where something does, or there is no file."""
        file = next((file for file in NODE_FILES if file.name == name), None)
        if content is None or file is None:
            return None
        return why_text_unread(file, decode_text(to_utf8(content), name), name)


@dataclass(frozen=True, slots=True)
class Mention:
    """Whether a pattern is found anywhere in the file."""

    pattern: re.Pattern[str]

    def of(self, content: bytes | None, name: str) -> object:
        """Return whether it is."""
        return content is not None and self.pattern.search(decode_text(to_utf8(content), name)) is not None


@dataclass(frozen=True, slots=True)
class Tables:
    """Which tables an iptables dump has, and how far it can be trusted."""

    def of(self, content: bytes | None, name: str) -> object:
        """Return the tables by name and what is known to be missing."""
        dump = dump_of(content, name)
        if dump is None:
            return None
        cut = tuple(t.name for t in dump.tables.values() if t.truncated)
        lost = (tuple(sorted((name, unread.why) for name, unread in dump.unread.items())), dump.illegible, dump.lists_all, dump.family)
        return (tuple(dump.tables), cut, dump.truncated, tuple(dump.unlisted), dump.speaks_of_legacy is None, dump.is_legacy, lost)


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of one iptables chain that a packet may match (all of them where *packet* is None), in order."""

    table: str
    chain: str
    packet: Packet | None = None

    def of(self, content: bytes | None, name: str) -> object:
        """Return the chain's policy and its rules' texts, counters left out; None where there is no such chain."""
        dump = dump_of(content, name)
        table = dump.tables.get(self.table) if dump else None
        chain = table.chains.get(self.chain) if table else None
        return None if chain is None else (chain.policy, chain.may_continue, chain.unread, tuple(map(strip_counters, self._texts(chain))))

    def _texts(self, chain: Chain) -> list[str]:
        if self.packet is None:
            return [chain.text(i) for i in range(len(chain))]
        index = chain.index or ChainIndex([chain.text(i) for i in range(len(chain))])
        return [text for i in index.candidates(self.packet) if may_match(text := chain.text(i), self.packet)]


@dataclass(frozen=True, slots=True)
class ChainPresence:
    """Whether a table has a chain of that name, and its policy."""

    table: str
    chain: str

    def of(self, content: bytes | None, name: str) -> object:
        """Return the policy; None where there is no such chain."""
        dump = dump_of(content, name)
        table = dump.tables.get(self.table) if dump else None
        chain = table.chains.get(self.chain) if table else None
        return None if chain is None else (chain.policy, chain.unread)


@dataclass(frozen=True, slots=True)
class ChainCount:
    """How many chains of a table have rules and a name that begins with *prefix*."""

    table: str
    prefix: str

    def of(self, content: bytes | None, name: str) -> object:
        """Return the count; 0 without the table."""
        dump = dump_of(content, name)
        return dump.count(self.table, self.prefix) if dump else 0


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a question about an iptables dump as a whole is answered with."""

    question: Callable[[Dump], bool]

    def of(self, content: bytes | None, name: str) -> object:
        """Return the answer; None without a dump."""
        dump = dump_of(content, name)
        return None if dump is None else self.question(dump)


@dataclass(frozen=True, slots=True)
class NftTables:
    """Which tables an nft listing has, their base chains with their rules, and whether it is complete."""

    def of(self, content: bytes | None, name: str) -> object:
        """Return tables and base chains."""
        ruleset = nft_of(content, name)
        if ruleset is None:
            return None
        tables = tuple((t.family, t.name, t.flags, bool(t.chains), [c for c in t.chains.values() if c.is_base]) for t in ruleset.tables)
        return (tables, ruleset.incomplete and ruleset.incomplete.message)


@dataclass(frozen=True, slots=True)
class NftPart:
    """One chain, or one set or map (*what* says which), of an nft table."""

    family: str
    table: str
    what: str
    name: str

    def of(self, content: bytes | None, name: str) -> object:
        """Return the chain or set, None where there is none."""
        table = _nft_table(nft_of(content, name), self.family, self.table)
        if table is None:
            return None
        if self.what == "chain":
            return table.chains.get(self.name)
        found = table.sets.get(self.name)
        # The elements of a large set stay text: equal texts need no parsing.
        return found if found is None or not isinstance(found.elements, SetText) else (replace(found, elements=()), found.elements.text)


@dataclass(frozen=True, slots=True)
class Served:
    """The virtual server of IPVS that takes a packet."""

    packet: Packet

    def of(self, content: bytes | None, name: str) -> object:
        """Return the virtual server, None where none takes it."""
        servers = virtual_servers_of(content, name)
        found = servers.find(self.packet) if servers else None
        return None if found is None else _unplaced(found)


@dataclass(frozen=True, slots=True)
class ServerCount:
    """How many virtual servers there are, and the faults of the listing."""

    def of(self, content: bytes | None, name: str) -> object:
        """Return count and faults; None without a listing."""
        servers = virtual_servers_of(content, name)
        return None if servers is None else (len(servers.servers), tuple(f.message for f in servers.faults))


@dataclass(frozen=True, slots=True)
class Members:
    """The entries of one ipset."""

    set: str

    def of(self, content: bytes | None, name: str) -> object:
        """Return type and entries, None where there is no such set."""
        found = _sets(content, name)
        held = found.get(self.set) if found else None
        return None if held is None else (held.type, held.family, list(map(tuple, held.entries)), held.excluded, bool(held.unread))


# -- each content is parsed once ------------------------------------------------------------------------------------------------------


def once(what: str, content: bytes, name: str, parse: Callable[[str], T]) -> T:
    """Return what *parse* made of *content*: the same bytes are asked about for every answer that is kept."""
    key: tuple[Hashable, ...] = (what, name, id(content))
    found = _parsed.get(key)
    if found is None:
        # The bytes are kept beside it, so that no others take over their id.
        found = _parsed[key] = (content, parse(decode_text(to_utf8(content), name)))
        while len(_parsed) > 2 and (len(_parsed) > _PARSED_KEPT or sum(len(held) for held, _ in _parsed.values()) > _BYTES_KEPT):
            _parsed.popitem(last=False)
    return found[1]  # type: ignore[return-value]


def dump_of(content: bytes | None, name: str) -> Dump | None:
    return None if content is None else once("dump", content, name, lambda text: parse_dump(text, name))


def nft_of(content: bytes | None, name: str) -> NftRuleset | None:
    return None if content is None else once("nft", content, name, lambda text: NftRules.from_listing(text, name).ruleset)


def _nft_table(ruleset: NftRuleset | None, family: str, name: str) -> NftTable | None:
    return next((t for t in ruleset.tables if (t.family, t.name) == (family, name)), None) if ruleset else None


def virtual_servers_of(content: bytes | None, name: str) -> VirtualServers | None:
    if content is None:
        return None
    servers, faults = once("ipvs", content, name, lambda text: parse_virtual_servers(text, name))
    return VirtualServers(servers, name, faults)


def _unplaced(server: VirtualServer) -> VirtualServer:
    return replace(server, line=0, real_servers=tuple(replace(r, line=0) for r in server.real_servers))


def _sets(content: bytes | None, name: str) -> dict[str, IpSet] | None:
    return None if content is None else once("sets", content, name, lambda text: parse_sets(text, name)[0])


def differs(facet: Facet, before: bytes | None, after: bytes | None, name: str) -> bool:
    """Return whether *facet* has another value in *after* than in *before*; also where one of them cannot be read."""
    try:
        return facet.of(before, name) != facet.of(after, name)
    except ParseError:
        return True

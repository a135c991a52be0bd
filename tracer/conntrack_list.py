"""Parse what ``conntrack -L -o extended`` prints, and ``/proc/net/nf_conntrack``: one entry a line, with the line's number.

Strategy: the words before the first ``src=`` describe the entry; from there on ``key=value`` words belong to the original direction
until ``src=`` comes again, then to the reply. Accounting (``packets=``), identifiers, labels and time stamps are skipped.
Left out: protocols that no trace can have (gre, igmp, …). The tool's own count of entries, when it stands in the file, is no entry.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache

from tracer import pasted
from tracer.conntrack import FlowTuple
from tracer.errors import Fault, Faults
from tracer.packet import Address, Family, Protocol
from tracer.patterns import pattern
from tracer.query import parse_address
from tracer.values import dataclass

_WORD = pattern(r"\S+", re.ASCII)
_NUMBER = pattern(r"[0-9]{1,10}", re.ASCII)
_FLAG = pattern(r"\[[A-Z_]+\]", re.ASCII)
_STATE = pattern(r"[A-Z][A-Z0-9_]*", re.ASCII)
_COUNTED = pattern(r"conntrack v[0-9.]+ \(conntrack-tools\): [0-9]+ flow entries have been shown\.", re.ASCII)
_OWN = pattern(r"(?:ipv[46] |tcp |udp |sctp |icmp|unknown |conntrack v)", re.ASCII)
_STATISTICS = pattern(r"cpu=[0-9]{1,6}[ \t]", re.ASCII)
"""What ``conntrack -S`` prints, which EKS' log collector puts before the entries."""
_QUOTED = " \t>|"
_FAMILIES = {"ipv4": Family.IP, "ipv6": Family.IP6}
_PROTOCOLS = {p.value: p for p in Protocol if not p.carries}
_ICMP = {Protocol.ICMP, Protocol.ICMPV6}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One connection of a node. *timeout* is in seconds, None for one that hardware keeps; *state* is TCP's or SCTP's, None otherwise.

    *original* is the first packet as it came in, *reply* what the answer looks like before it is translated back.
    """

    line: int
    family: Family
    protocol: Protocol
    timeout: int | None
    state: str | None
    original: FlowTuple
    reply: FlowTuple
    assured: bool = False
    unreplied: bool = False
    mark: int = 0
    zone: int = 0
    text: str = ""

    @property
    def is_opening(self) -> bool:
        """Return whether only the first packet of a TCP connection has been seen."""
        return self.unreplied and self.state == "SYN_SENT"

    @property
    def has_dnat(self) -> bool:
        """Return whether the destination was translated."""
        return (self.original.destination, self.original.destination_port) != (self.reply.source, self.reply.source_port)

    @property
    def has_snat(self) -> bool:
        """Return whether the source was translated."""
        return (self.original.source, self.original.source_port) != (self.reply.destination, self.reply.destination_port)


def parse_conntrack(text: str, file: str) -> tuple[tuple[Entry, ...], tuple[Fault, ...]]:
    """Return the entries of *text* and a fault for every line that is none. *file* is the name that faults carry.

    Source: conntrack(8); print_tuple and ct_seq_show in nf_conntrack_standalone.c.
    """
    entries: list[Entry] = []
    faults = Faults()
    lines = text.split("\n") if _OWN.match(text) else pasted.without_margin(text, _OWN).split("\n")
    for number, line in enumerate(lines, start=1):
        found = _read(line.rstrip("\r"), number, file)
        if isinstance(found, Entry):
            entries.append(found)
        elif found is not None:
            faults.append(found)
    return tuple(entries), tuple(faults)


def entries_towards(text: str, address: Address) -> Iterator[Entry]:
    """Yield the entries of *text* whose original destination is *address*; other lines are not parsed, bad ones are passed over."""
    wanted = re.compile(rf"^[^\n]*?\bsrc=[0-9A-Fa-f:.]+ dst={re.escape(str(address))} [^\n]*", re.MULTILINE)
    line, counted = 1, 0
    for match in wanted.finditer(text):
        line += text.count("\n", counted, match.start())
        counted = match.start()
        found = _read(match[0].rstrip("\r").lstrip(_QUOTED), line, "")
        if isinstance(found, Entry) and found.original.destination == address:
            yield found


class RecordedConnections:
    """The entries of one node's table, looked for one by one: a table can hold many thousands."""

    def __init__(self, text: str, file: str) -> None:
        self._text = text
        self._file = file

    def find(self, flow: FlowTuple) -> tuple[Entry, bool] | None:
        """Return the entry that *flow* belongs to, and whether it runs in the reply direction; None without one.

        Only a flow whose ports are numbers is looked for. NB: of entries with one tuple in several zones, the one of zone 0 counts.
        """
        if not isinstance(flow.source_port, int) or not isinstance(flow.destination_port, int):
            return None
        found = [(entry, entry.original != flow) for entry in self._lines(flow) if flow in (entry.original, entry.reply)]
        return min(found, key=lambda one: (one[0].zone, one[1]), default=None)

    def has_some(self, flow: FlowTuple) -> bool:
        """Return whether an entry may be that of *flow*, whose source port nobody said."""
        for source, destination in _spelled(flow):
            wanted = re.compile(
                rf"^[^\n]*?\bsrc={re.escape(source)} dst={re.escape(destination)} sport=[0-9]+ dport={flow.destination_port}\b[^\n]*",
                re.MULTILINE,
            )
            for match in wanted.finditer(self._text):
                found = _read(match[0].rstrip("\r"), 1, self._file)
                if isinstance(found, Entry) and found.protocol is flow.protocol:
                    return True
        return False

    @cached_property
    def unread(self) -> Fault | None:
        """Return the first line that cannot be read: which connection it is nobody knows."""
        return next(iter(parse_conntrack(self._text, self._file)[1]), None)

    def _lines(self, flow: FlowTuple) -> Iterator[Entry]:
        """The entries of the lines that hold the addresses and ports of *flow*, in the tool's spelling or in that of /proc."""
        ports = f" sport={flow.source_port} dport={flow.destination_port}"
        for source, destination in _spelled(flow):
            wanted, at = f"src={source} dst={destination}{ports}", -1
            while (at := self._text.find(wanted, at + 1)) >= 0:
                first, last = self._text.rfind("\n", 0, at) + 1, self._text.find("\n", at)
                line = self._text[first : len(self._text) if last < 0 else last]
                found = _read(line.rstrip("\r"), self._text.count("\n", 0, at) + 1, self._file)
                if isinstance(found, Entry):
                    yield found


def _spelled(flow: FlowTuple) -> set[tuple[str, str]]:
    """The addresses of *flow* in the tool's spelling and in that of /proc."""
    return {(str(flow.source), str(flow.destination)), (flow.source.exploded, flow.destination.exploded)}


def _read(line: str, number: int, file: str) -> Entry | Fault | None:
    """Return the entry that *line* is, the fault it has, or None for a line that is no entry of interest."""
    if not line.strip() or _COUNTED.fullmatch(line.strip()):
        return None
    if "src=" not in line:
        if pasted.is_around(line) or _STATISTICS.match(line):
            return None
        return Fault(file=file, line=number, column=0, message="no src= in the line", text=line)
    try:
        return _Line(line, number).entry()
    except _Bad as bad:
        return Fault(file=file, line=number, column=bad.column, message=bad.message, text=line)


class _Bad(Exception):
    def __init__(self, column: int, message: str) -> None:
        super().__init__(message)
        self.column = column
        self.message = message


class _Line:
    """Reads one line word by word."""

    def __init__(self, text: str, number: int) -> None:
        self._text = text
        self._number = number
        self._words = [(m.start(), m[0]) for m in _WORD.finditer(text)]
        self._flags: set[str] = set()
        self._tuples: list[dict[str, tuple[int, str]]] = []

    def entry(self) -> Entry | None:
        """Return the entry, None for a protocol that is not traced. :raises _Bad: a word is missing or wrong."""
        first = next((i for i, (_, w) in enumerate(self._words) if w.startswith("src=")), None)
        if first is None:
            raise _Bad(0, "no src= in the line")
        family, protocol, timeout, state = self._head(self._words[:first])
        if protocol is None:
            return None
        tail = self._tail(self._words[first:])
        if len(self._tuples) != 2:
            raise _Bad(len(self._text), "an entry has an original and a reply direction; one is missing")
        original, reply = (self._tuple(t, protocol) for t in self._tuples)
        found = Family.IP6 if original.source.version == 6 else Family.IP
        for address in (original.source, original.destination, reply.source, reply.destination):
            if address.version != original.source.version or (family is not None and family is not found):
                raise _Bad(0, "addresses of two families in one entry")
        return Entry(
            line=self._number,
            family=found,
            protocol=protocol,
            timeout=timeout,
            state=state,
            original=original,
            reply=reply,
            assured="[ASSURED]" in self._flags,
            unreplied="[UNREPLIED]" in self._flags,
            mark=self._number_of(tail, "mark", 0xFFFFFFFF),
            zone=self._number_of(tail, "zone", 0xFFFF),
            text=self._text,
        )

    def _head(self, words: list[tuple[int, str]]) -> tuple[Family | None, Protocol | None, int | None, str | None]:
        """Read ``[ipv4 2] tcp 6 [431999] [ESTABLISHED]``; the plain output has no family, an offloaded entry no time."""
        rest = list(words)
        family = None
        if rest and rest[0][1] in _FAMILIES:
            family = _FAMILIES[rest.pop(0)[1]]
            self._digits(rest, "the family's number")
        if not rest:
            raise _Bad(0, "no protocol before src=")
        name = rest.pop(0)[1]
        self._digits(rest, "the protocol's number")
        timeout = int(rest.pop(0)[1]) if rest and _NUMBER.fullmatch(rest[0][1]) else None
        state = rest.pop(0)[1] if rest and _STATE.fullmatch(rest[0][1]) else None
        for column, word in rest:
            if not _FLAG.fullmatch(word):
                raise _Bad(column, f"{word!r} is no state of a connection")
            self._flags.add(word)
        return family, _PROTOCOLS.get(name), timeout, state

    def _digits(self, rest: list[tuple[int, str]], what: str) -> None:
        if not rest or not _NUMBER.fullmatch(rest[0][1]):
            raise _Bad(rest[0][0] if rest else len(self._text), f"{what} is missing")
        rest.pop(0)

    def _tail(self, words: list[tuple[int, str]]) -> Mapping[str, tuple[int, str]]:
        """Sort the words after ``src=`` into the two directions; return those of the last one, which hold the entry's own too."""
        for column, word in words:
            key, equals, value = word.partition("=")
            if word.startswith("["):
                self._flags.add(word)
            elif not equals:
                raise _Bad(column, f"{word!r} is not KEY=VALUE")
            elif key == "src":
                self._tuples.append({"src": (column, value)})
            else:
                self._tuples[-1].setdefault(key, (column, value))
        return self._tuples[-1]

    def _tuple(self, words: Mapping[str, tuple[int, str]], protocol: Protocol) -> FlowTuple:
        portless = protocol in _ICMP
        return FlowTuple(
            protocol=protocol,
            source=self._address(words, "src"),
            source_port=None if portless else self._port(words, "sport"),
            destination=self._address(words, "dst"),
            destination_port=None if portless else self._port(words, "dport"),
        )

    def _address(self, words: Mapping[str, tuple[int, str]], key: str) -> Address:
        column, value = self._word(words, key)
        address = _address(value)
        if address is None:
            raise _Bad(column, f"{value!r} is no address")
        return address

    def _port(self, words: Mapping[str, tuple[int, str]], key: str) -> int:
        column, value = self._word(words, key)
        if not _NUMBER.fullmatch(value) or int(value) > 0xFFFF:
            raise _Bad(column, f"{value!r} is no port")
        return int(value)

    def _word(self, words: Mapping[str, tuple[int, str]], key: str) -> tuple[int, str]:
        if key not in words:
            raise _Bad(words["src"][0], f"no {key}= in this direction")
        return words[key]

    def _number_of(self, words: Mapping[str, tuple[int, str]], key: str, most: int) -> int:
        column, value = words.get(key, (0, "0"))
        if not _NUMBER.fullmatch(value) or int(value) > most:
            raise _Bad(column, f"{key} {value!r} is not a number up to {most}")
        return int(value)


@lru_cache(maxsize=4096)
def _address(text: str) -> Address | None:
    return parse_address(text)

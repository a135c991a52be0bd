"""``ipset save`` or ``ipset list`` to sets, and whether a packet is in one.

Set types whose entries are addresses, networks, ports, protocols, marks, interfaces or other sets are read; a type that is not known, or an
entry that cannot be read, makes every question to that set unknown. So does a listing without members (``ipset -t list``), or
with fewer than it counts. Source: ipset(8) 7.17; ipset_print_data and list_set in ipset's lib/session.c.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field, replace

from tracer import pasted
from tracer.errors import Fault, Faults
from tracer.netfilter.match_options import ICMP_TYPES, ICMPV6_TYPES
from tracer.netfilter.model import DRAWN, EPHEMERAL, AddressMask, PortRange
from tracer.netfilter.scalars import BadValue, address_mask, address_range, number, port_range, protocol
from tracer.packet import Address
from tracer.patterns import pattern
from tracer.values import dataclass

KNOWN_TYPES = frozenset(
    [
        "bitmap:ip",
        "bitmap:ip,mac",
        "bitmap:port",
        "hash:ip",
        "hash:mac",
        "hash:ip,mac",
        "hash:net",
        "hash:net,net",
        "hash:ip,port",
        "hash:net,port",
        "hash:ip,port,ip",
        "hash:ip,port,net",
        "hash:ip,mark",
        "hash:net,port,net",
        "hash:net,iface",
        "list:set",
    ]
)
_OWN = pattern(r"(?:Name: |create |add |-N |-A )", re.ASCII)
_QUOTED = pattern(r'"[^"]*"')
_HEADS = ("Type", "Revision", "Header", "Size in memory", "References", "Number of entries", "Members")
_ICMP_MESSAGE = pattern(r"(icmp|icmpv6|ipv6-icmp):([a-z-]+|[0-9]{1,3}/[0-9]{1,3})", re.ASCII)
_PROTOCOL_PORT = pattern(r"(?:([A-Za-z][\w-]*|[0-9]+):)?([0-9A-Za-z-]+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class AddressPart:
    """An entry's address or network, or an inclusive range of addresses."""

    low: int
    high: int
    version: int


@dataclass(frozen=True, slots=True)
class PortPart:
    """An entry's protocol (None: any, for bitmap:port) and ports."""

    protocol: int | None
    ports: PortRange


@dataclass(frozen=True, slots=True)
class WordPart:
    """An entry's mark, interface, MAC address or set name."""

    text: str


Part = AddressPart | PortPart | WordPart


@dataclass(slots=True)
class IpSet:
    """One set: its type, entries (and those with ``nomatch``), and whether all of it could be read. *expires*: entries go by themselves."""

    name: str
    type: str
    family: str = "inet"
    entries: list[tuple[Part, ...]] = field(default_factory=list)
    excluded: list[tuple[Part, ...]] = field(default_factory=list)
    unread: list[int] = field(default_factory=list)
    expires: bool = False
    _index: tuple[frozenset[tuple[Part, ...]], list[tuple[Part, ...]]] | None = field(default=None, compare=False, repr=False)

    @property
    def dimensions(self) -> tuple[str, ...]:
        """Return the parts of an entry, as the type names them (ip, net, port, …)."""
        return tuple(self.type.partition(":")[2].split(","))

    @property
    def index(self) -> tuple[frozenset[tuple[Part, ...]], list[tuple[Part, ...]]]:
        """Return the entries that are one value each, hashed, and the others, which have to be walked."""
        if self._index is None:
            single = [e for e in self.entries if all(map(_is_single, e))]
            self._index = frozenset(single), [e for e in self.entries if not all(map(_is_single, e))]
        return self._index

    def cost(self, sets: Mapping[str, IpSet]) -> int:
        """Return how many entries a question to the set may have to walk, those of the members of a list included."""
        if self.type != "list:set":
            return 2 * (len(self.index[1]) + len(self.excluded))
        members = {p.text for (p, *_) in self.entries if isinstance(p, WordPart)}
        return len(self.entries) + sum(sets[name].cost({}) for name in members if name in sets and sets[name].type != "list:set")


def parse_sets(text: str, file: str) -> tuple[dict[str, IpSet], tuple[Fault, ...]]:
    """Return the sets of an ``ipset save`` or ``ipset list`` text by name, and its faults."""
    text = pasted.without_margin(text, _OWN)
    lines = text.splitlines()
    if any(line.startswith("Name: ") for line in lines):
        return _Listing(file).read(lines)
    sets: dict[str, IpSet] = {}
    faults = Faults()
    for line_number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#") or (words[0] not in ("create", "add") and pasted.is_around(line)):
            continue
        if words[0] in ("create", "-N") and len(words) >= 3:
            family = words[words.index("family") + 1] if "family" in words[:-1] else "inet"
            sets[words[1]] = IpSet(words[1], words[2], family)
        elif words[0] in ("add", "-A") and len(words) >= 3 and words[1] in sets:
            found = sets[words[1]]
            _add(found, _QUOTED.sub("", line).split()[2:], line_number, line, faults, file)
        else:
            faults.append(Fault(file=file, line=line_number, column=0, message="not a create or add line of a known set", text=line))
    return sets, tuple(faults)


def _add(found: IpSet, words: list[str], number: int, line: str, faults: Faults, file: str) -> None:
    """Add the entry *words* to *found*, which is unread where they are none. NB: a comment may hold any word."""
    try:
        if not words:
            raise BadValue("no entry")
        entry = _entry(words[0] + ("+" if "wildcard" in words[1:] else ""), found.dimensions)
        (found.excluded if "nomatch" in words[1:] else found.entries).append(entry)
    except BadValue as error:
        found.unread.append(number)
        faults.append(Fault(file=file, line=number, column=0, message=str(error), text=line))


class _Listing:
    """Reads ``ipset list``: a set's heads, ``Members:``, and one member a line up to the next set."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._sets: dict[str, IpSet] = {}
        self._faults = Faults()
        self._name = ""
        self._begun = 0
        self._found: IpSet | None = None
        self._count: int | None = None
        self._has_members = False

    def read(self, lines: list[str]) -> tuple[dict[str, IpSet], tuple[Fault, ...]]:
        """Return the sets by name, and the faults."""
        for at, line in enumerate(lines, 1):
            if line.startswith("Name: "):
                self._close()
                self._name, self._begun = line[6:].strip(), at
                self._found, self._count, self._has_members = None, None, False
            elif line.strip() and not self._known(line, at) and not pasted.is_around(line):
                self._faults.append(Fault(file=self._file, line=at, column=0, message="no line of ipset list", text=line))
                if self._found is not None:
                    self._found.unread.append(at)
        self._close()
        return self._sets, tuple(self._faults)

    def _known(self, line: str, number: int) -> bool:
        head, sign, value = line.partition(":")
        if not self._has_members and sign and head in _HEADS:
            self._head(head, value.strip(), number)
            return True
        if not self._has_members or self._found is None or pasted.is_around(line):
            return False
        _add(self._found, _QUOTED.sub("", line).split(), number, line, self._faults, self._file)
        return True

    def _head(self, head: str, value: str, number: int) -> None:
        if head == "Type" and value:
            self._found = IpSet(self._name, value)
            if self._name in self._sets:
                self._found.unread.append(number)
                self._lost("is listed twice", number)
            self._sets[self._name] = self._found
        elif head == "Header" and self._found is not None:
            words = value.split()
            self._found.expires = "timeout" in words
            self._found.family = words[words.index("family") + 1] if "family" in words[:-1] else "inet"
        elif head == "Number of entries" and value.isdecimal() and value.isascii():
            self._count = int(value[:20])
        elif head == "Members":
            self._has_members = True

    def _close(self) -> None:
        """End a set: one without members, or with others than it counts, is not known. NB: members that timed out are counted."""
        found = self._found
        if found is None:
            if self._name:
                self._lost("has no type: the listing is cut off", self._begun)
            return
        listed = len(found.entries) + len(found.excluded) + len(found.unread)
        if not self._has_members and self._count != 0:
            found.unread.append(self._begun)
            self._lost("is listed without its members; ipset save prints them", self._begun)
        elif self._count is not None and listed < self._count and not found.expires:
            found.unread.append(self._begun)
            self._lost(f"counts {self._count} members and lists {listed}: the listing is cut off", self._begun)

    def _lost(self, why: str, number: int) -> None:
        self._faults.append(Fault(file=self._file, line=number, column=0, message=f"set {self._name} {why}", text=f"Name: {self._name}"))


def _entry(text: str, dimensions: tuple[str, ...]) -> tuple[Part, ...]:
    words = text.split(",")
    if len(words) != len(dimensions):
        raise BadValue(f"{text!r} does not have the parts {','.join(dimensions)}")
    return tuple(_part(w, d) for w, d in zip(words, dimensions, strict=True))


def _icmp_part(name: str, message: str) -> PortPart:
    """A type and code, as ``ipset`` prints them: by name where it has one. Source: typecodes in icmp.c and icmpv6.c of libipset."""
    of, names = (1, ICMP_TYPES) if protocol(name) == 1 else (58, ICMPV6_TYPES)
    kind, slash, code = message.partition("/")
    if slash:
        of_type, of_code = number(kind, most=255), number(code, most=255)
    elif message in names and (named := names[message])[0] is not None:
        of_type, of_code = named[0], named[1]
    else:
        raise BadValue(f"{message!r} is no type of {name}")
    return PortPart(of, PortRange(of_type << 8 | of_code, of_type << 8 | of_code))


def _part(word: str, dimension: str) -> Part:
    if dimension in ("ip", "net"):
        if "-" in word:
            low, high = address_range(word)
            return AddressPart(int(low), int(high), low.version)
        return _network(address_mask(word))
    if dimension == "port":
        if message := _ICMP_MESSAGE.fullmatch(word):
            return _icmp_part(message[1], message[2])
        found = _PROTOCOL_PORT.fullmatch(word)
        if not found:
            raise BadValue(f"{word!r} is not [PROTOCOL:]PORT")
        return PortPart(protocol(found[1]) if found[1] else None, port_range(found[2], "-"))
    if dimension == "mark":
        return WordPart(str(number(word)))
    return WordPart(word.lower() if dimension == "mac" else word)


def _network(mask: AddressMask) -> AddressPart:
    bits = 32 if mask.version == 4 else 128
    return AddressPart(mask.value, mask.value | (((1 << bits) - 1) ^ mask.mask), mask.version)


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What a packet offers to a set, one value for each side a match may name; None where it is not known.

    *own_ports* are those that the client's own port is one of, where nobody said it.
    """

    source: Address
    destination: Address
    protocol: int
    source_port: int | None
    destination_port: int | None
    source_drawn: bool = False
    destination_drawn: bool = False
    in_device: str | None
    out_device: str | None
    mark: int
    own_ports: PortRange = EPHEMERAL


def contains(found: IpSet, key: Key, sides: tuple[str, ...], sets: Mapping[str, IpSet], depth: int = 0) -> bool | None:
    """Return whether the packet is in the set, its dimensions read from *sides* (src, dst); None when that cannot be told.

    NB: of overlapping networks the most specific decides, so an excluded (``nomatch``) entry counts only where it is no wider.
    A match that names fewer sides than the set has dimensions is never in it. Source: ip_set_test in ip_set_core.c.
    """
    if found.type not in KNOWN_TYPES or found.unread:
        return None
    if found.type == "list:set":
        return _in_list(found, key, sides, sets, depth)
    if len(sides) < len(found.dimensions):
        return False
    if any(d in ("ip", "net") for d in found.dimensions) and key.source.version != (6 if found.family == "inet6" else 4):
        return False
    entries_of = found.entries
    if not found.excluded and _INDEXED.issuperset(found.dimensions):
        offered = tuple(_offered(d, s, key) for d, s in zip(found.dimensions, sides, strict=False))
        if None not in offered:
            hashed, entries_of = found.index
            if offered in hashed:
                return True
    best, known = -1, True
    narrowest = _narrowest(found, key, sides[0]) if found.type == "hash:net,iface" else None
    for entries, wanted in ((entries_of, True), (found.excluded, False)):
        for entry in entries:
            if narrowest is not None and _width(entry[0]) != narrowest:
                continue
            answer, width = _matches(entry, found.dimensions, key, sides)
            if answer is None:
                known = False
            elif answer and width >= abs(best) - 1:
                best = width + 1 if wanted else -(width + 1)
    if best > 0:
        return True
    return False if known else None


def could_contain(found: IpSet, key: Key, sides: tuple[str, ...], unsaid: frozenset[str]) -> bool:
    """Return whether a member may hold the packet, whatever its address on the *unsaid* sides is; True also where that cannot be told.

    NB: an address that a node chose for a packet to others is never the one that the packet is sent to.
    """
    if found.type not in KNOWN_TYPES or found.unread or found.type == "list:set":
        return True
    if len(sides) < len(found.dimensions):
        return False
    return any(_could_match(entry, found.dimensions, key, sides, unsaid) for entry in found.entries)


def _could_match(entry: tuple[Part, ...], dimensions: tuple[str, ...], key: Key, sides: tuple[str, ...], unsaid: frozenset[str]) -> bool:
    other = {"src": key.destination, "dst": key.source} if len(unsaid) == 1 else {}
    for part, dimension, side in zip(entry, dimensions, sides, strict=False):
        if isinstance(part, AddressPart) and side in unsaid:
            if side in other and part.low == part.high == int(other[side]):
                return False
        elif _matches((part,), (dimension,), key, (side,))[0] is False:
            return False
    return True


def changed(found: IpSet, key: Key, sides: tuple[str, ...], *, adds: bool) -> IpSet:
    """Return the set after a packet was put into it, or taken out; one that cannot be told any more answers nothing.

    Source: xt_set.c (set_target_v3), ip_set_add and ip_set_del in ip_set_core.c.
    """
    if len(sides) < len(found.dimensions) or (key.source.version == 6) != (found.family == "inet6"):
        return found
    parts = tuple(_offered(d, s, key) for d, s in zip(found.dimensions, sides, strict=False))
    entry = tuple(p for p in parts if p is not None)
    if found.type not in ("hash:ip", "hash:ip,port", "hash:ip,port,ip") or found.unread or len(entry) < len(parts):
        return replace(found, unread=[*found.unread, 0], _index=None)
    entries = [e for e in found.entries if e != entry]
    return replace(found, entries=[*entries, entry] if adds else entries, _index=None)


_INDEXED = frozenset({"ip", "port"})


def _is_single(part: Part) -> bool:
    if isinstance(part, AddressPart):
        return part.low == part.high
    return isinstance(part, PortPart) and part.protocol is not None and part.ports.low == part.ports.high


def _offered(dimension: str, side: str, key: Key) -> Part | None:
    address, port = (key.source, key.source_port) if side == "src" else (key.destination, key.destination_port)
    if dimension == "ip":
        return AddressPart(int(address), int(address), address.version)
    return PortPart(key.protocol, PortRange(port, port)) if dimension == "port" and port is not None else None


def _narrowest(found: IpSet, key: Key, side: str) -> int:
    """How specific the narrowest network with the address is, whatever its interface: no wider one is asked.

    Source: hash_netiface4_data_equal (``multi``), mtype_test_cidrs.
    """
    address = key.source if side == "src" else key.destination
    networks = (e[0] for e in (*found.entries, *found.excluded))
    return max((_width(n) for n in networks if isinstance(n, AddressPart) and n.low <= int(address) <= n.high), default=-1)


def _width(part: Part) -> int:
    return 128 - (part.high - part.low).bit_length() if isinstance(part, AddressPart) else -1


def _in_list(found: IpSet, key: Key, sides: tuple[str, ...], sets: Mapping[str, IpSet], depth: int) -> bool | None:
    """NB: a list is no member of a list: the kernel refuses it (IPSET_ERR_LOOP). Source: list_set_uadt in ip_set_list_set.c."""
    answers: list[bool | None] = []
    for entry in dict.fromkeys(found.entries):
        part = entry[0]
        member = sets.get(part.text) if isinstance(part, WordPart) else None
        answers.append(None if member is None or depth else contains(member, key, sides, sets, depth + 1))
    if any(answers):
        return True
    return None if None in answers else False


def _matches(entry: tuple[Part, ...], dimensions: tuple[str, ...], key: Key, sides: tuple[str, ...]) -> tuple[bool | None, int]:
    """Whether every part matches, and how specific the entry's addresses are (bits)."""
    width, unknown = 0, False
    for part, dimension, side in zip(entry, dimensions, sides, strict=False):
        if isinstance(part, AddressPart):
            address = key.source if side == "src" else key.destination
            if part.version != address.version or not part.low <= int(address) <= part.high:
                return False, 0
            width += _width(part)
        elif isinstance(part, PortPart):
            answer = _port(part, key, side)
            if answer is False:
                return False, 0
            unknown = unknown or answer is None
        else:
            answer = _word(part, dimension, key, side)
            if answer is False:
                return False, 0
            unknown = unknown or answer is None
    return (None if unknown else True), width


def _port(part: PortPart, key: Key, side: str) -> bool | None:
    # bitmap:port knows ports of tcp and udp only (ip_set_get_ip_port)
    if key.protocol not in ((6, 17) if part.protocol is None else (part.protocol,)):
        return False
    port, drawn = (key.source_port, key.source_drawn) if side == "src" else (key.destination_port, key.destination_drawn)
    if port is None:
        likely = DRAWN if drawn else key.own_ports
        if part.ports.low <= likely.low and part.ports.high >= likely.high:
            return True
        return None if part.ports.low <= likely.high and part.ports.high >= likely.low else False
    return port in part.ports


def _word(part: WordPart, dimension: str, key: Key, side: str) -> bool | None:
    if dimension == "mark":
        return part.text == str(key.mark)
    if dimension == "iface":
        device = key.in_device if side == "src" else key.out_device
        if part.text.startswith("physdev:"):
            return None
        if (device or "").startswith("?"):
            return False if part.text == "lo" else None
        return (device or "").startswith(part.text[:-1]) if part.text.endswith("+") else part.text == device
    return None

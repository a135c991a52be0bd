"""The model of native nftables rule sets: tables, base chains, sets, maps, expressions and statements. Data only.

Both spellings of a rule set (``nft -j list ruleset`` and ``nft list ruleset``) parse to this one model, and the model writes the text back.
Values are held typed: addresses as ``ipaddress`` objects, networks as Prefix, ports, marks and protocols as numbers, states and device
names as words. What is recognised but has no meaning here is an ``Unmodelled…`` value, which keeps its text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field

from tracer.added import Added
from tracer.errors import Fault, Faults
from tracer.packet import Address
from tracer.values import dataclass

# -- values -----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Prefix:
    """A network: an address and the length of its prefix."""

    address: Address
    length: int


@dataclass(frozen=True, slots=True)
class Interval:
    """An inclusive range of addresses or numbers."""

    low: Address | int
    high: Address | int


@dataclass(frozen=True, slots=True)
class Word:
    """A symbolic constant (``established``, ``local``) or a device name (``quoted``; a trailing ``*`` matches any ending)."""

    text: str
    quoted: bool = False


Atom = Address | int | Word | Prefix | Interval


@dataclass(frozen=True, slots=True)
class Concat:
    """Values or expressions side by side: ``a . b . c``."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Wildcard:
    """The element ``*`` of a set or map: whatever no other element matches."""


@dataclass(frozen=True, slots=True)
class VerdictValue:
    """A verdict as a value of a map or as a statement: accept, drop, continue, return, jump, goto; *chain* for the last two."""

    kind: str
    chain: str | None = None


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a set (*value* None) or map. *timeout* and *expires* in seconds."""

    key: Expression | Wildcard
    value: Expression | VerdictValue | None = None
    comment: str | None = None
    timeout: int | None = None
    expires: int | None = None
    has_counter: bool = False


@dataclass(frozen=True, slots=True)
class SetLiteral:
    """An anonymous set or map: ``{ … }``."""

    elements: tuple[Element, ...]


@dataclass(frozen=True, slots=True)
class SetReference:
    """A named set or map: ``@name``."""

    name: str


# -- expressions ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Payload:
    """A header field: ``ip saddr``, ``tcp dport``, ``th dport``."""

    protocol: str
    field: str


@dataclass(frozen=True, slots=True)
class Meta:
    """``meta KEY``."""

    key: str


@dataclass(frozen=True, slots=True)
class Ct:
    """``ct [original|reply] [ip|ip6] KEY``."""

    key: str
    direction: str | None = None
    family: str | None = None


@dataclass(frozen=True, slots=True)
class Fib:
    """``fib KEYS RESULT``: *keys* such as saddr, daddr, iif, oif, mark; *result* type, oif or oifname."""

    keys: tuple[str, ...]
    result: str


@dataclass(frozen=True, slots=True)
class Numgen:
    """``numgen random|inc mod N [offset M]``."""

    mode: str
    mod: int
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Hash:
    """``jhash EXPR mod N [seed S] [offset M]``; *key* None: ``symhash``."""

    key: Expression | None
    mod: int
    seed: int | None = None
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Binary:
    """``left OP right``: ``&``, ``|``, ``^``, ``<<``, ``>>``."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class MapLookup:
    """``KEY map MAP``."""

    key: Expression
    map: SetLiteral | SetReference


@dataclass(frozen=True, slots=True)
class UnmodelledExpression:
    """An expression that has no model (``socket``, ``rt``, ``exthdr``, ``osf``, raw payload …): its value is always unknown."""

    kind: str
    text: str


Expression = (
    Atom | Concat | SetLiteral | SetReference | Payload | Meta | Ct | Fib | Numgen | Hash | Binary | MapLookup | UnmodelledExpression
)  # fmt: skip

# -- statements -------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Compare:
    """A match: ``left OP right``; *operator* is ==, !=, <, >, <=, >=, in (bitmask words: any of them, as ``ct state a,b``) or ! (none)."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Verdict:
    """``accept``, ``drop``, ``continue``, ``return``, ``jump X``, ``goto X``."""

    value: VerdictValue


@dataclass(frozen=True, slots=True)
class VerdictMap:
    """``KEY vmap MAP``: without a matching element the rule goes on and is no step."""

    key: Expression
    map: SetLiteral | SetReference


@dataclass(frozen=True, slots=True)
class Nat:
    """``dnat``, ``snat``, ``masquerade`` or ``redirect``.

    *address* and *port* are expressions; where one map gives both, *address* is that map's look-up and *concatenated* is true
    (``dnat ip addr . port to …``). *family* is ip, ip6 or None; *prefix* marks ``dnat ip prefix to``.
    """

    kind: str
    address: Expression | None = None
    port: Expression | None = None
    family: str | None = None
    flags: tuple[str, ...] = ()
    concatenated: bool = False
    prefix: bool = False


@dataclass(frozen=True, slots=True)
class Assign:
    """``meta mark set …``, ``ct mark set …``, ``ip dscp set …``."""

    target: Expression
    value: Expression


@dataclass(frozen=True, slots=True)
class Reject:
    """``reject [with …]``: *reject_with* in iptables' spelling (icmp-port-unreachable, …); *text* as printed after ``reject``."""

    reject_with: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class SetUpdate:
    """``add|update|delete @set { key [timeout T] }``."""

    operation: str
    set: str
    key: Expression
    timeout: int | None = None


@dataclass(frozen=True, slots=True)
class Counter:
    """``counter`` (anonymous: its values are not kept), or ``counter name "…"``."""

    name: str | None = None


@dataclass(frozen=True, slots=True)
class NoTrack:
    """``notrack``."""


@dataclass(frozen=True, slots=True)
class Harmless:
    """A statement that lets the packet go on unchanged in all a trace follows (``log``, ``nftrace set``, ``meter`` without verdict …)."""

    text: str


@dataclass(frozen=True, slots=True)
class UnmodelledMatch:
    """A statement that may stop the rule (``limit``, ``quota``, ``connlimit``, ``xt match``): whether it does is unknown."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class UnmodelledStatement:
    """A statement that may decide the packet's fate (``queue``, ``tproxy``, ``synproxy``, ``xt target``): unknown from here."""

    kind: str
    text: str


Statement = (
    Compare
    | Verdict
    | VerdictMap
    | Nat
    | Assign
    | Reject
    | SetUpdate
    | Counter
    | NoTrack
    | Harmless
    | UnmodelledMatch
    | UnmodelledStatement
)  # fmt: skip

# -- the rule set -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NftRule:
    """One rule. *text* as ``nft list ruleset`` prints it, counters without their values. *line*: of the file, where it has lines."""

    text: str
    statements: tuple[Statement, ...]
    comment: str | None = None
    handle: int | None = field(default=None, compare=False)
    line: int | None = field(default=None, compare=False)
    fault: str | None = None


@dataclass(slots=True)
class NftChain:
    """One chain; a base chain has *hook*, *priority* (a number), *type* (filter, nat, route) and *policy*; *devices* at ingress and egress.

    Devices, and comments of chains and tables, do not count when models are compared: JSON listings leave them out (nftables 1.0.6).
    """

    name: str
    rules: Sequence[NftRule] = ()
    type: str | None = None
    hook: str | None = None
    priority: int | None = None
    policy: str | None = None
    devices: tuple[str, ...] = field(default=(), compare=False)
    comment: str | None = field(default=None, compare=False)
    line: int | None = field(default=None, compare=False)

    @property
    def is_base(self) -> bool:
        """Return whether the kernel calls this chain from a hook."""
        return self.hook is not None


@dataclass(slots=True)
class NftSet:
    """A named set or map. *key_types* are the parts of its key type; *value_type* None for a set, ``verdict`` for a verdict map.

    *unread*: its text could not be read. NB: true only once ``elements`` were asked for. *unlisted*: the listing has none of its elements,
    and that says nothing about them. *typeof* is how the types were written, where
    not by their names. What a JSON listing leaves out does not count when models are compared.
    """

    name: str
    key_types: tuple[str, ...]
    value_type: str | None = None
    flags: tuple[str, ...] = ()
    elements: Sequence[Element] = ()
    timeout: int | None = None
    size: int | None = None
    auto_merge: bool = field(default=False, compare=False)
    comment: str | None = None
    line: int | None = field(default=None, compare=False)
    unread: bool = False
    unlisted: bool = field(default=False, compare=False)
    typeof: str | None = field(default=None, compare=False)


@dataclass(slots=True)
class NftTable:
    """One table: *family* is ip, ip6, inet, arp, bridge or netdev. *made_as* says whose programming it models, "" where it was recorded.

    *added* are rules that a what-if question adds to it, by their lines.
    """

    family: str
    name: str
    chains: dict[str, NftChain] = field(default_factory=dict)
    sets: dict[str, NftSet] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    comment: str | None = field(default=None, compare=False)
    line: int | None = field(default=None, compare=False)
    made_as: str = ""
    added: Added | None = field(default=None, compare=False)

    def maker(self, line: int | None) -> str:
        """Return whose programming the rule on *line* models, "" for one that was recorded."""
        return self.added.by if self.added is not None and self.added.has(line) else self.made_as

    def position(self, chain: str, line: int) -> int | None:
        """Return the place of the rule on *line* in *chain*, from 1 on; None where it has none there, or was recorded."""
        if self.added is not None and not self.added.has(line):
            return None
        rules = self.chains[chain].rules if chain in self.chains else ()
        return next((place for place, rule in enumerate(rules, 1) if rule.line == line), None)


@dataclass(slots=True)
class NftRuleset:
    """All tables, in the order of the listing; *file* is where they were read.

    *faults* are those found so far: rules and elements are read when they are first asked for. *incomplete* is the first fault behind
    which whole chains may be missing (the listing is cut off, or holds something that is no part of one), None when there is none.
    *terse* says that sets were listed without their elements.
    """

    file: str = field(compare=False)
    tables: list[NftTable] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=Faults, compare=False)
    incomplete: Fault | None = field(default=None, compare=False)
    terse: Fault | None = field(default=None, compare=False)

    def check(self) -> tuple[Fault, ...]:
        """Read everything and return every fault, in the order of lines."""
        for table in self.tables:
            for chain in table.chains.values():
                len(chain.rules)
            for found in table.sets.values():
                len(found.elements)
        return tuple(sorted(self.faults, key=lambda f: (f.line or 0, f.column or 0)))

"""The model of xtables rules: what a rule asks and what it does. Data only; parsers build it, evaluators read it.

Every match and target that iptables prints is one small value here. What is recognised but has no model is an ``Unmodelled…`` value,
which keeps its text; it is never dropped.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from fractions import Fraction

from tracer.packet import Address
from tracer.values import dataclass


class Hook(StrEnum):
    """The five hooks of the IP layer, in nftables' spelling."""

    PREROUTING = "prerouting"
    INPUT = "input"
    FORWARD = "forward"
    OUTPUT = "output"
    POSTROUTING = "postrouting"


class Priority(IntEnum):
    """Where each xtables table sits in a hook.

    NB: iptables-nft gives its security table 150, so that it comes after nat in INPUT; the legacy table comes before.
    Source: include/uapi/linux/netfilter_ipv4.h; xtables_ipv4 in iptables/nft.c.
    """

    RAW = -300
    CONNTRACK = -200
    MANGLE = -150
    NAT_DST = -100
    FILTER = 0
    SECURITY = 50
    NAT_SRC = 100
    SECURITY_OF_NFT = 150


@dataclass(frozen=True, slots=True)
class PortRange:
    """An inclusive range of ports; a single port has equal ends."""

    low: int
    high: int

    def __contains__(self, port: int) -> bool:
        return self.low <= port <= self.high


# A port that nobody said is one that the client's system picked: rules and sets that name other ports do not mean it. Linux takes those of
# net.ipv4.ip_local_port_range, in every new network namespace its default; whoever is outside may be another system, and IANA's range is
# 49152-65535 (RFC 6335). Source: inet_init_net in net/ipv4/af_inet.c.
LOCAL_PORTS = PortRange(32768, 60999)
EPHEMERAL = PortRange(32768, 65535)
DRAWN = PortRange(1, 65535)  # of a port that NAT drew; nf_nat_l4proto_unique_tuple


@dataclass(frozen=True, slots=True)
class AddressMask:
    """An address and a mask, as iptables compares them: ``packet & mask == value`` (the mask need not be contiguous)."""

    value: int
    mask: int
    version: int


# -- matches ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AddressMatch:
    """``-s`` or ``-d``."""

    side: str  # "source" | "destination"
    network: AddressMask
    negated: bool = False


@dataclass(frozen=True, slots=True)
class InterfaceMatch:
    """``-i`` or ``-o``; a trailing ``+`` matches any ending."""

    side: str  # "in" | "out"
    pattern: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class ProtocolMatch:
    """``-p``; 0 stands for any protocol."""

    number: int
    negated: bool = False


@dataclass(frozen=True, slots=True)
class FragmentMatch:
    """``-f``: second and later fragments only."""

    negated: bool = False


@dataclass(frozen=True, slots=True)
class PortsMatch:
    """Ports of tcp, udp, udplite, sctp, dccp, or multiport: *side* is source, destination or either."""

    side: str
    ranges: tuple[PortRange, ...]
    negated: bool = False
    multiport: bool = False


@dataclass(frozen=True, slots=True)
class TcpFlagsMatch:
    """``--tcp-flags MASK COMP`` and ``--syn``; bits as in the TCP header."""

    mask: int
    compare: int
    negated: bool = False


@dataclass(frozen=True, slots=True)
class IcmpTypeMatch:
    """``--icmp-type`` / ``--icmpv6-type``: type number, or None for any, and an inclusive range of codes."""

    type: int | None
    code: PortRange
    negated: bool = False


@dataclass(frozen=True, slots=True)
class AddrtypeMatch:
    """``-m addrtype``."""

    source_types: frozenset[str] | None = None
    destination_types: frozenset[str] | None = None
    source_negated: bool = False
    destination_negated: bool = False
    limit_in: bool = False
    limit_out: bool = False


@dataclass(frozen=True, slots=True)
class CommentMatch:
    """``-m comment``: always true."""

    text: str


@dataclass(frozen=True, slots=True)
class CtStateMatch:
    """``--ctstate`` and ``--state``: names as printed, DNAT and SNAT included."""

    states: frozenset[str]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class CtStatusMatch:
    """``--ctstatus``."""

    statuses: frozenset[str]
    negated: bool = False


# NB: asked together with --ctstate in one match, each of these is true where the packet has no connection (*with_state*; conntrack_mt).


@dataclass(frozen=True, slots=True)
class CtDirectionMatch:
    """``--ctdir``: ORIGINAL or REPLY."""

    direction: str
    with_state: bool = False


@dataclass(frozen=True, slots=True)
class CtAddressMatch:
    """``--ctorigsrc`` and its like: *tuple_name* is orig or repl, *side* source or destination."""

    tuple_name: str
    side: str
    network: AddressMask
    negated: bool = False
    with_state: bool = False


@dataclass(frozen=True, slots=True)
class CtPortMatch:
    """``--ctorigdstport`` and its like."""

    tuple_name: str
    side: str
    ports: PortRange
    negated: bool = False
    with_state: bool = False


@dataclass(frozen=True, slots=True)
class CtProtocolMatch:
    """``--ctproto``."""

    number: int
    negated: bool = False
    with_state: bool = False


@dataclass(frozen=True, slots=True)
class MarkMatch:
    """``-m mark``; with *connection* set, ``-m connmark``."""

    value: int
    mask: int
    negated: bool = False
    connection: bool = False


@dataclass(frozen=True, slots=True)
class SetMatch:
    """``-m set --match-set NAME DIRECTIONS``; options that change the answer are kept in *options*."""

    name: str
    directions: tuple[str, ...]
    negated: bool = False
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RangeMatch:
    """``-m iprange``: inclusive."""

    side: str
    low: int
    high: int
    version: int
    negated: bool = False


@dataclass(frozen=True, slots=True)
class MacMatch:
    """``-m mac --mac-source``."""

    address: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class PhysdevMatch:
    """``-m physdev``: one question of it. *question* is in, out, is-in, is-out or is-bridged; *pattern* for the first two."""

    question: str
    pattern: str = ""
    negated: bool = False


@dataclass(frozen=True, slots=True)
class PkttypeMatch:
    """``-m pkttype``: unicast, broadcast or multicast."""

    type: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class RecentMatch:
    """``-m recent``: *action* is set, rcheck, update or remove."""

    action: str
    name: str
    seconds: int | None = None
    hitcount: int | None = None
    side: str = "source"
    negated: bool = False
    ttl: bool = False


@dataclass(frozen=True, slots=True)
class RandomMatch:
    """``-m statistic --mode random``: *chance* in the kernel's 31-bit arithmetic."""

    chance: Fraction
    negated: bool = False


@dataclass(frozen=True, slots=True)
class NthMatch:
    """``-m statistic --mode nth``."""

    every: int
    packet: int
    negated: bool = False


@dataclass(frozen=True, slots=True)
class OwnerMatch:
    """``-m owner``: one question; *value* as printed (uid, gid) or empty for socket-exists."""

    question: str
    value: str = ""
    negated: bool = False


@dataclass(frozen=True, slots=True)
class RpfilterMatch:
    """``-m rpfilter``."""

    loose: bool = False
    valid_mark: bool = False
    accept_local: bool = False
    inverted: bool = False


@dataclass(frozen=True, slots=True)
class NfacctMatch:
    """``-m nfacct``: counts, and matches (objects with a quota are not told from the dump)."""

    name: str


@dataclass(frozen=True, slots=True)
class HeaderMatch:
    """A header field the query need not know: dscp, length, ttl; *low* to *high* inclusive under *mask*."""

    field: str
    low: int
    high: int
    mask: int = 0xFFFFFFFF
    negated: bool = False


@dataclass(frozen=True, slots=True)
class TosMatch:
    """``-m tos``: the whole type-of-service byte (IPv6: the traffic class) under *mask*, congestion bits included."""

    value: int
    mask: int
    negated: bool = False


@dataclass(frozen=True, slots=True)
class CgroupMatch:
    """``-m cgroup``: about the socket of a local process; a forwarded packet has none."""

    text: str


@dataclass(frozen=True, slots=True)
class UnmodelledMatch:
    """A match module, or an option of one, that is recognised or not, but has no model: always unknown."""

    module: str
    text: str
    recognised: bool = True


Match = (
    AddressMatch
    | InterfaceMatch
    | ProtocolMatch
    | FragmentMatch
    | PortsMatch
    | TcpFlagsMatch
    | IcmpTypeMatch
    | AddrtypeMatch
    | CommentMatch
    | CtStateMatch
    | CtStatusMatch
    | CtDirectionMatch
    | CtAddressMatch
    | CtPortMatch
    | CtProtocolMatch
    | MarkMatch
    | SetMatch
    | RangeMatch
    | MacMatch
    | PhysdevMatch
    | PkttypeMatch
    | RecentMatch
    | RandomMatch
    | NthMatch
    | OwnerMatch
    | RpfilterMatch
    | NfacctMatch
    | HeaderMatch
    | TosMatch
    | CgroupMatch
    | UnmodelledMatch
)


# -- targets ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Accept:
    """``-j ACCEPT``."""


@dataclass(frozen=True, slots=True)
class Drop:
    """``-j DROP``."""


@dataclass(frozen=True, slots=True)
class Reject:
    """``-j REJECT``; *reject_with* as printed."""

    reject_with: str


@dataclass(frozen=True, slots=True)
class Return:
    """``-j RETURN``."""


@dataclass(frozen=True, slots=True)
class Jump:
    """``-j CHAIN``, or ``-g CHAIN`` when *goto* is set."""

    chain: str
    goto: bool = False


@dataclass(frozen=True, slots=True)
class NoTarget:
    """A rule without ``-j``: it counts, and the walk goes on."""


@dataclass(frozen=True, slots=True)
class NatRange:
    """What a NAT target may choose from: addresses *low* to *high* (None: unchanged) and ports (None: unchanged)."""

    low: Address | None
    high: Address | None
    ports: PortRange | None
    random: bool = False
    persistent: bool = False
    base_port: int | None = None


@dataclass(frozen=True, slots=True)
class Dnat:
    """``-j DNAT``."""

    range: NatRange


@dataclass(frozen=True, slots=True)
class Snat:
    """``-j SNAT``."""

    range: NatRange


@dataclass(frozen=True, slots=True)
class Masquerade:
    """``-j MASQUERADE``."""

    ports: PortRange | None = None
    random: bool = False


@dataclass(frozen=True, slots=True)
class Redirect:
    """``-j REDIRECT``."""

    ports: PortRange | None = None
    random: bool = False


@dataclass(frozen=True, slots=True)
class Netmap:
    """``-j NETMAP``."""

    network: AddressMask


@dataclass(frozen=True, slots=True)
class SetMark:
    """``-j MARK``: ``mark = (mark & ~mask) ^ value``. With *connection*, the mark of the connection (CONNMARK --set-xmark)."""

    value: int
    mask: int
    connection: bool = False


@dataclass(frozen=True, slots=True)
class CopyMark:
    """``-j CONNMARK --save-mark`` (packet to connection) or ``--restore-mark`` (connection to packet)."""

    save: bool
    nfmask: int = 0xFFFFFFFF
    ctmask: int = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class NoTrack:
    """``-j NOTRACK`` and ``-j CT --notrack``."""


@dataclass(frozen=True, slots=True)
class TrackTemplate:
    """``-j CT`` with a helper, events, a timeout or nothing: the packet is tracked, and until then carries an empty template."""


@dataclass(frozen=True, slots=True)
class SetDscp:
    """``-j DSCP`` / ``-j TOS``: rewrites the DSCP bits; nothing the trace asks depends on them unless a match does."""

    value: int
    mask: int = 0x3F


@dataclass(frozen=True, slots=True)
class SetTtl:
    """``-j TTL`` / ``-j HL``: *operation* is set, dec or inc."""

    operation: str
    value: int


@dataclass(frozen=True, slots=True)
class NoEffect:
    """A target that lets the packet go on unchanged in all that a trace follows (LOG, NFLOG, TRACE, CHECKSUM, …)."""

    name: str


@dataclass(frozen=True, slots=True)
class SetChange:
    """``-j SET``: puts the packet's *directions* into an ipset, or takes them out; rules behind see it, also for this packet."""

    name: str
    text: str
    directions: tuple[str, ...] = ()
    adds: bool = True


@dataclass(frozen=True, slots=True)
class UnmodelledTarget:
    """A target that may decide the packet's fate in a way that has no model: the walk is unknown from here."""

    name: str
    text: str


Target = (
    Accept
    | Drop
    | Reject
    | Return
    | Jump
    | NoTarget
    | Dnat
    | Snat
    | Masquerade
    | Redirect
    | Netmap
    | SetMark
    | CopyMark
    | NoTrack
    | TrackTemplate
    | SetDscp
    | SetTtl
    | NoEffect
    | SetChange
    | UnmodelledTarget
)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: *text* as the dump has it without counters, *line* in its file. A line that is no rule has *fault* set."""

    text: str
    line: int
    chain: str
    matches: tuple[Match, ...]
    target: Target
    fault: str | None = None
    comment: str | None = None

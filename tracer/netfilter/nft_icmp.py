"""The types and codes of ICMP messages, as native rules spell them: words where there is one, numbers and ranges of numbers otherwise.

A word means another number in ICMPv6 than in ICMP, so what a packet has is a word that knows its number.
Source: icmp_type_tbl, icmp_code_tbl, icmpv6_type_tbl, icmpv6_code_tbl in proto.c and datatype.c of nftables 1.0.6.
"""

from __future__ import annotations

from collections.abc import Mapping

ICMP_WORDS: Mapping[str, Mapping[int, str]] = {
    "icmp_type": {
        0: "echo-reply",
        3: "destination-unreachable",
        4: "source-quench",
        5: "redirect",
        8: "echo-request",
        9: "router-advertisement",
        10: "router-solicitation",
        11: "time-exceeded",
        12: "parameter-problem",
        13: "timestamp-request",
        14: "timestamp-reply",
        15: "info-request",
        16: "info-reply",
        17: "address-mask-request",
        18: "address-mask-reply",
    },
    "icmp_code": {
        0: "net-unreachable",
        1: "host-unreachable",
        2: "prot-unreachable",
        3: "port-unreachable",
        4: "frag-needed",
        9: "net-prohibited",
        10: "host-prohibited",
        13: "admin-prohibited",
    },
    "icmpv6_type": {
        1: "destination-unreachable",
        2: "packet-too-big",
        3: "time-exceeded",
        4: "parameter-problem",
        128: "echo-request",
        129: "echo-reply",
        130: "mld-listener-query",
        131: "mld-listener-report",
        132: "mld-listener-done",
        133: "nd-router-solicit",
        134: "nd-router-advert",
        135: "nd-neighbor-solicit",
        136: "nd-neighbor-advert",
        137: "nd-redirect",
        138: "router-renumbering",
        141: "ind-neighbor-solicit",
        142: "ind-neighbor-advert",
        143: "mld2-listener-report",
    },
    "icmpv6_code": {
        0: "no-route",
        1: "admin-prohibited",
        3: "addr-unreachable",
        4: "port-unreachable",
        5: "policy-fail",
        6: "reject-route",
    },
}
ICMP_FIELDS: Mapping[tuple[str, str], str] = {
    (protocol, field): f"{'icmp' if protocol == 'icmp' else 'icmpv6'}_{field}"
    for protocol in ("icmp", "icmpv6", "icmp6")
    for field in ("type", "code")
}
"""What a rule calls a field → the type of its values."""
OTHER_WORDS: Mapping[str, frozenset[str]] = {"icmpv6_type": frozenset({"mld-listener-reduction"})}
"""Words that scripts may use for a number that listings spell otherwise, by type."""


class IcmpWord(str):
    """A type or code that a packet has, as a listing spells it."""

    number: int
    numbers: Mapping[str, int]

    @classmethod
    def of(cls, kind: str, number: int) -> IcmpWord | int:
        """Return what *number* is as a value of the type *kind*: the number itself where no word is known."""
        words = ICMP_WORDS[kind]
        if number not in words:
            return number
        made = cls(words[number])
        made.number = number
        made.numbers = {word: value for value, word in words.items()}
        return made

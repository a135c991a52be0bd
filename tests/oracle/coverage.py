"""How often each match and target was hit, missed and negated, counted over the packets on which kernel and engine agreed.

A hit is a rule in the kernel's own trace. A miss of a match is a question that the engine answered with no on the way that the kernel's
trace confirms; a miss of a target is a rule before the last one that the kernel took in a chain. Negated counts both.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.oracle.kernel import Loaded, Observation
from tests.oracle.vocabulary import SETS
from tracer.errors import ParseError
from tracer.netfilter import matches
from tracer.netfilter import model as m
from tracer.netfilter.rule_text import parse_rule
from tracer.netfilter.view import View

_TARGET = re.compile(r" -(?P<how>[jg]) (?P<name>\S+)(?P<rest>.*)$", re.ASCII)
_SET_TYPES = {
    "ip": "hash:ip",
    "net": "hash:net",
    "ipport": "hash:ip,port",
    "netport": "hash:net,port",
    "ipportip": "hash:ip,port,ip",
    "ipportnet": "hash:ip,port,net",
    "iface": "hash:net,iface",
    "list": "list:set",
    "bitip": "bitmap:ip",
    "bitport": "bitmap:port",
    "grow": "hash:ip (changed by SET)",
}
_SIDES = {"source": "s", "destination": "d", "in": "i", "out": "o"}
if set(_SET_TYPES) != set(SETS):
    raise RuntimeError("every set that the oracle makes has a type")


def match_name(match: m.Match) -> str:
    """Return the name under which *match* is counted."""
    match match:
        case m.AddressMatch() | m.InterfaceMatch():
            return f"-{_SIDES[match.side]}"
        case m.PortsMatch():
            return f"multiport, {match.side}" if match.multiport else f"--{_SIDES[match.side]}port"
        case m.ProtocolMatch():
            return "-p"
        case m.FragmentMatch():
            return "-f"
        case m.TcpFlagsMatch():
            return "--syn" if (match.mask, match.compare) == (0x17, 2) else "--tcp-flags"
        case m.AddrtypeMatch():
            limit = " --limit-iface-in" if match.limit_in else " --limit-iface-out" if match.limit_out else ""
            return "addrtype" + (" --src-type" if match.source_types else "") + (" --dst-type" if match.destination_types else "") + limit
        case m.CtAddressMatch() | m.CtPortMatch():
            kind = "port" if isinstance(match, m.CtPortMatch) else ""
            return f"conntrack --ct{match.tuple_name}{'src' if match.side == 'source' else 'dst'}{kind}"
        case m.MarkMatch():
            return "connmark" if match.connection else "mark"
        case m.SetMatch():
            return f"set {_SET_TYPES[match.name.rstrip('46')]}"
        case m.RangeMatch():
            return f"iprange {match.side}"
        case m.PhysdevMatch():
            return f"physdev --physdev-{match.question}"
        case m.RecentMatch():
            return f"recent --{match.action}"
        case m.RandomMatch():
            return "statistic random, 0 or 1" if match.chance in (0, 1) else "statistic random"
        case m.OwnerMatch():
            return f"owner --{match.question}"
        case m.HeaderMatch():
            return match.field
        case m.TosMatch():
            return "tos with congestion bits" if match.mask & 3 else "tos"
        case m.UnmodelledMatch():
            return match.module
        case _:
            return re.sub(r"(?<!^)(?=[A-Z])", " ", type(match).__name__.removesuffix("Match")).lower()


def is_negated(match: m.Match) -> bool:
    """Return whether *match* is written with ``!``."""
    return bool(
        getattr(match, "negated", False)
        or getattr(match, "inverted", False)
        or getattr(match, "source_negated", False)
        or getattr(match, "destination_negated", False)
        or (isinstance(match, m.UnmodelledMatch | m.CgroupMatch) and match.text.startswith("! "))
    )


@dataclass(slots=True)
class Asked:
    """The matches that the engine answered with no, and those it answered with unknown or odds."""

    refused: list[m.Match] = field(default_factory=list)
    unsure: set[m.Match] = field(default_factory=set)


@dataclass(slots=True)
class Coverage:
    """Counts by name."""

    hit: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    negated: Counter[str] = field(default_factory=Counter)
    target_hit: Counter[str] = field(default_factory=Counter)
    target_missed: Counter[str] = field(default_factory=Counter)
    untested: dict[str, str] = field(default_factory=dict)

    def add(self, loaded: Loaded, observed: Observation, asked: Asked, *, certain: bool) -> None:
        """Count one packet; *asked* are the engine's own questions, *certain* when it knows one way only."""
        taken = {mark.line for mark in observed.marks if mark.line is not None and mark.line > 0}
        for line in taken:
            self._hit(loaded, line)
        if certain:
            for match in asked.refused:
                self._miss(match)
        for (table, chain), lines in loaded.lines.items():
            last = max((mark.line or lines[-1] for mark in observed.marks if (mark.table, mark.chain) == (table, chain)), default=0)
            for line in lines:
                if line < last and line not in taken and " -j TRACE" not in loaded.texts[line - 1]:
                    self.target_missed[target_name(loaded, line)] += 1
                    for match in _matches(loaded, line):
                        if match in asked.unsure:
                            self._miss(match)

    def _hit(self, loaded: Loaded, line: int) -> None:
        if (name := target_name(loaded, line)) != "TRACE":
            self.target_hit[name] += 1
        for match in _matches(loaded, line):
            self.hit[match_name(match)] += 1
            self.negated[match_name(match)] += is_negated(match)

    def _miss(self, match: m.Match) -> None:
        self.missed[match_name(match)] += 1
        self.negated[match_name(match)] += is_negated(match)

    def table(self) -> str:
        """Return the counts as Markdown."""
        lines = ["| match | hit | missed | negated |", "|---|--:|--:|--:|"]
        for name in sorted(self.hit.keys() | self.missed.keys()):
            lines.append(f"| {name} | {self.hit[name]} | {self.missed[name]} | {self.negated[name] or '–'} |")
        lines += ["", "| target | hit | missed |", "|---|--:|--:|"]
        lines += [
            f"| {n} | {self.target_hit[n]} | {self.target_missed[n]} |" for n in sorted(self.target_hit.keys() | self.target_missed.keys())
        ]
        if self.untested:
            lines += ["", "Untested here:", *(f"* {name}: {why}" for name, why in sorted(self.untested.items()))]
        return "\n".join(lines)


def _matches(loaded: Loaded, line: int) -> tuple[m.Match, ...]:
    try:
        return parse_rule(loaded.texts[line - 1], line, {chain for _, chain in loaded.policies}).matches
    except ParseError:
        return ()


def target_name(loaded: Loaded, line: int) -> str:
    """Return the name under which a rule's target is counted."""
    text = loaded.texts[line - 1]
    found = _TARGET.search(re.sub(r'"(?:[^"\\]|\\.)*"', '""', text))
    if found is None:
        return "(none)"
    if any(chain == found["name"] for _, chain in loaded.policies):
        return "goto" if found["how"] == "g" else "jump"
    options = " ".join(re.findall(r"--(?:save|restore|and|or|xor|set|add|del)-\w+|--notrack|--ttl-\w+|--hl-\w+", found["rest"]))
    short = {"MARK", "CONNMARK", "CT", "TTL", "HL", "SET"}
    return f"{found['name']} {options}".strip() if found["name"] in short else found["name"]


@contextmanager
def listening(to: Asked) -> Iterator[None]:
    """Note in *to* what the engine answers to its own questions."""
    original = matches.test

    def recorded(match: m.Match, view: View) -> matches.Answer:
        answer = original(match, view)
        if answer is False:
            to.refused.append(match)
        elif answer is not True:
            to.unsure.add(match)
        return answer

    matches.test = recorded
    try:
        yield
    finally:
        matches.test = original

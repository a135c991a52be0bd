"""What one rule of a native nftables table says and does: its statements in their order. The walk itself is ``walk.py``'s.

A rule counts as a step when its last statement was reached (a look-up without a matching element is none).
Source: nf_tables_core.c (nft_do_chain), Linux 6.18; modes.md, kernel fact 15.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from fractions import Fraction
from ipaddress import IPv4Address, IPv6Address
from itertools import product
from typing import assert_never

from tracer.limits import Budget
from tracer.netfilter import nft_model as n
from tracer.netfilter.effects import Alters, Answer, Draws, Effect, Ends, Jumps, Names, Passes, Returns
from tracer.netfilter.leaf import Leaf, StepList
from tracer.netfilter.model import UnmodelledTarget
from tracer.netfilter.nft_compare import holds, holds_together
from tracer.netfilter.nft_merged import Merged, merged
from tracer.netfilter.nft_print import element_text
from tracer.netfilter.nft_set_index import ABSENT, Absent, OwnPort, Value, Ways, unknown
from tracer.netfilter.nft_targets import assigned, chosen_element, lacks_dependency, nat_target, refusal
from tracer.netfilter.nft_values import Evaluator, Indexes
from tracer.netfilter.registered import BackEnd, Registered
from tracer.netfilter.rule_language import Base, Costs
from tracer.netfilter.view import NO_BRIDGE, UnknownAnswer, View, is_unnamed
from tracer.netfilter.walk import RuleWalk
from tracer.packet import Address, Family, Packet
from tracer.values import dataclass

_ONE = Fraction(1)
_DEEPEST = 16  # NFT_JUMP_STACK_SIZE
_STATEMENT = 10  # what one costs of a question's budget
_PASSES = Passes()
_VERDICTS: dict[str, Effect] = {
    "accept": Ends("accept", "accept"),
    "drop": Ends("drop", "drop"),
    "return": Returns(),
    "continue": _PASSES,
}

# What a step stands for: called with the address and port that a rule looked up or translates to.
NftAnnotator = Callable[[Address, "int | None", bool], Mapping[str, str]]
Part = n.Statement | Merged
Parts = dict[int, tuple[n.NftRule, tuple[Part, ...]]]
"""What is asked of each rule, by its id; the rule is held so that its id stays its own."""


def no_names(address: Address, port: int | None, translated: bool) -> Mapping[str, str]:
    """Return nothing: steps are not annotated."""
    return {}


@dataclass(frozen=True, slots=True)
class NftBaseChain:
    """A base chain of a native table; see ``base_chain.BaseChain``. *indexes* and *parts* are shared by all chains of the table.

    *offset* moves the chains of ingress before everything that prerouting does, and those of egress behind postrouting. *bridging*: the
    chain is asked of frames that a bridge handles only.
    """

    chain: n.NftChain
    table: n.NftTable
    file: str
    indexes: Indexes
    annotate: NftAnnotator = no_names
    offset: int = 0
    bridging: bool = False
    parts: Parts = field(default_factory=dict)

    @property
    def priority(self) -> int:
        """Return the chain's priority in its hook."""
        return (self.chain.priority or 0) + self.offset

    @property
    def is_nat(self) -> bool:
        """Return whether the chain is of type nat."""
        return self.chain.type == "nat"

    @property
    def routes_again(self) -> bool:
        """Return whether the chain is of type route. Source: nf_route_table_hook4, nft_chain_route.c."""
        return self.chain.type == "route"

    @property
    def registered(self) -> Registered:
        """Return what the kernel's list of the hook has of the chain. What bridges and devices ask is in lists of their own."""
        held = f"{self.table.family} {self.table.name}"
        return Registered(
            name=f"{held} {self.chain.name}",
            title=f"chain {self.chain.name} of table {held}",
            back_end=BackEnd.NFT,
            listed_in=held,
            apart=self.bridging,
        )

    def language(self, budget: Budget) -> NftLanguage:
        """Return what the walk asks of the chain's rules, within *budget*."""
        return NftLanguage(self, budget)

    def run(self, view: View, steps: StepList | None, budget: Budget | None = None) -> Iterator[Leaf]:
        """Yield every way the chain ends for *view*, within *budget*; probabilities sum to 1."""
        return RuleWalk(self.language(budget or Budget())).run(view, steps)


class NftLanguage:
    """The rules of one table as the walk asks them, from base chain *origin* on."""

    costs = Costs(asked=20, taken=0, left=0)  # a step is paid with the statement that takes it

    def __init__(self, origin: NftBaseChain, budget: Budget) -> None:
        self.base = _in_words(origin)
        self.budget = budget
        self._origin = origin
        self._table = origin.table
        self._parts = origin.parts
        self._values = Evaluator(origin.table, origin.indexes, budget)

    def is_asked(self, view: View) -> bool | UnknownAnswer:
        """Return whether the packet crosses a device of the chain, or a bridge where it is for bridges; or that this is not known."""
        origin, names = self._origin, self._origin.chain.devices
        if origin.bridging:
            crossed = view.bridged or view.phys_in is not None
            return crossed if crossed or view.bridge_seen else unknown(NO_BRIDGE, "DATA_MISSING")
        if not names:
            return True
        device, port = (view.out_device, view.phys_out) if origin.chain.hook == "egress" else (view.in_device, view.phys_in)
        if port is not None and not is_unnamed(port) and view.routing.crosses(port, names):
            return True
        answer = view.routing.crosses(device, names)
        return answer if answer is not None else unknown(f"whether the packet passes by {' or '.join(names)} is not known (ip-link.json)")

    def chain(self, name: str | None) -> n.NftChain | None:
        """Return the chain of that name; the base chain for None."""
        return self._origin.chain if name is None else self._table.chains.get(name)

    def order(self, chain: n.NftChain, packet: Packet) -> Sequence[int]:
        """Return the positions of all rules."""
        return range(len(chain.rules))

    def rules(self, chain: n.NftChain) -> Callable[[int], n.NftRule]:
        """Return what gives the rule at a position."""
        return chain.rules.__getitem__

    def cut_off(self, chain: n.NftChain) -> UnknownAnswer | None:
        """Return nothing: what a listing lacks is said of the whole listing (``NftRuleset.incomplete``)."""
        return None

    def parts(self, rule: n.NftRule) -> Sequence[Part]:
        """Return the statements of a rule; comparisons that nft may have joined are one."""
        if rule.fault is not None:
            return ()
        kept = self._parts.get(id(rule))
        if kept is None:
            kept = self._parts[id(rule)] = rule, tuple(merged(rule.statements))
        return kept[1]

    def ask(self, part: Part, rule: n.NftRule, view: View) -> Answer | Effect | Draws:
        """Return what a statement says or does."""
        self.budget.spend(_STATEMENT)
        match part:
            case n.Compare():
                return holds(part, view, self._values)
            case tuple():
                return holds_together(part, view, self._values)
            case n.Verdict():
                return _verdict(part.value, ())
            case n.VerdictMap():
                return self._mapped(part, view)
            case n.Nat():
                return self._translated(part, rule, view)
            case n.Reject():
                return not lacks_dependency(part, view.packet) and Ends("reject", "reject", refusal(part, view.packet))
            case n.Assign():
                return self._assigned(part, rule, view)
            case n.SetUpdate():
                return Alters(self._updated(part, view))
            case n.NoTrack():
                return Alters(view if view.connection is not None else replace(view, state="UNTRACKED"))
            case n.UnmodelledMatch():
                return unknown(f"{part.text or part.kind} has no model", "UNMODELLED_MATCH")
            case n.UnmodelledStatement():
                ends = _unmodelled(f"{part.text or part.kind} has no model")
                return replace(ends, target=UnmodelledTarget(part.kind, part.text))
            case n.Counter() | n.Harmless():
                return True
            case _:
                assert_never(part)

    def end(self, rule: n.NftRule, view: View) -> Effect:
        """Return that a rule without a verdict is taken, and no more."""
        self.budget.spend(_STATEMENT)
        return _PASSES

    def names(self, rule: n.NftRule) -> Mapping[str, str]:
        """Return nothing: what a native rule stands for is in the elements it looks up."""
        return {}

    def where(self, chain: str, rule: n.NftRule) -> str:
        """Return the file and line of a rule; of one without a line its chain."""
        file, table = self.base.file_of(rule.line), self._table
        if rule.line and table.maker(rule.line):
            return f"{file} ({chain}, rule {table.position(chain, rule.line)})"
        return f"{file}:{rule.line}" if rule.line else f"{file} ({table.family} {table.name} {chain})"

    def at(self, chain: str, rule: n.NftRule) -> Mapping[str, object]:
        """Return the file, line, chain and text of a rule."""
        return {"file": self.base.file_of(rule.line), "line": rule.line, "chain": chain, "rule": rule.text}

    # -- look-ups -----------------------------------------------------------------------------------------------------------------

    def _mapped(self, part: n.VerdictMap, view: View) -> Effect | Draws | bool:
        ways = [(share, self._looked_up(part.map, value, view)) for share, value in self._values.ways(part.key, view)]
        if len(ways) == 1:
            return ways[0][1]
        if any(way is not False for _, way in ways):
            return Draws(ways)
        self.budget.spend(_STATEMENT * len(ways))
        return False

    def _looked_up(self, found: n.SetLiteral | n.SetReference, value: Value, view: View) -> Effect | bool:
        """What the verdict is that *value* has in a map; without one the rule stops."""
        if isinstance(value, Absent):
            return False
        element = value if isinstance(value, UnknownAnswer) else self._values.find(found, value, view)
        if isinstance(element, UnknownAnswer):
            return Ends("unknown", None, missing=element)
        if element is None or not isinstance(element.value, n.VerdictValue):
            return False
        return _verdict(element.value, self._element_names(value, element))

    def _element_names(self, value: Value, element: n.Element) -> Names:
        parts = value if isinstance(value, tuple) else (value,)
        address = next((p for p in parts if isinstance(p, IPv4Address | IPv6Address)), None)
        port = parts[-1] if isinstance(parts[-1], int) else None
        names = self._origin.annotate(address, port, False).items() if address is not None else ()
        return (*names, ("element", element_text(element)))

    # -- changes ------------------------------------------------------------------------------------------------------------------

    def _translated(self, part: n.Nat, rule: n.NftRule, view: View) -> Effect | Draws | bool:
        if part.family is not None and (part.family == "ip6") != (view.packet.family is Family.IP6):
            return False
        addresses: Ways | tuple[tuple[Fraction, None]] = ((_ONE, None),)
        ports: Ways | tuple[tuple[Fraction, None]] = ((_ONE, None),)
        if part.address is not None:
            addresses = self._values.ways(part.address, view)
        if part.port is not None:
            ports = self._values.ways(part.port, view)
        if len(addresses) == len(ports) == 1:
            return self._target(part, rule, addresses[0][1], ports[0][1])
        return Draws((p * q, self._target(part, rule, address, port)) for (p, address), (q, port) in product(addresses, ports))

    def _target(self, part: n.Nat, rule: n.NftRule, address: Value | None, port: Value | None) -> Effect | bool:
        if address is ABSENT or port is ABSENT:
            return False
        if isinstance(address, tuple) and len(address) == 2:
            address, port = address
        target = nat_target(part, address, port)
        if target is None:
            return _unmodelled(f"{rule.text}: what it translates to is not known")
        names: Names = ()
        if isinstance(address, IPv4Address | IPv6Address):
            known = self._origin.annotate(address, port if isinstance(port, int) else None, True)
            names = (*known.items(), *chosen_element(part, address, port).items())
        return Ends("nat", part.kind, target, names=names)

    def _assigned(self, part: n.Assign, rule: n.NftRule, view: View) -> Effect | Draws | bool:
        if isinstance(part.target, n.UnmodelledExpression) and part.target.kind == "exthdr":
            return True  # an option of the header: nothing that a trace follows
        ways = self._values.ways(part.value, view)
        if len(ways) == 1:
            return _with_value(part, rule, ways[0][1], view)
        return Draws((share, _with_value(part, rule, value, view)) for share, value in ways)

    def _updated(self, part: n.SetUpdate, view: View) -> View:
        value = self._values.ways(part.key, view)[0][1]
        parts = value if isinstance(value, tuple) else (value,)
        if any(isinstance(p, Absent | UnknownAnswer | OwnPort) for p in parts):
            return view
        here, gone = self._values.memories(part.set, parts)
        if part.operation == "delete":
            return replace(view, recent=(view.recent - {here}) | {gone})
        return replace(view, recent=(view.recent - {gone}) | {here})


def _in_words(origin: NftBaseChain) -> Base:
    chain, table = origin.chain, origin.table
    return Base(
        hook=str(chain.hook),
        family=table.family,
        table=table.name,
        chain=chain.name,
        file=origin.file,
        title=f"chain {chain.name} of table {table.family} {table.name}",
        policy=(chain.policy or "accept").upper(),
        chains=len(table.chains),
        deepest=_DEEPEST + 1,  # the base chain itself takes no place on the stack
        too_deep=f"chains jump deeper than {_DEEPEST}, which no kernel loads",
        unconditional=not origin.bridging and not chain.devices,
        maker=table.maker if table.made_as or table.added else None,
        position=table.position if table.made_as or table.added else None,
        added=table.added,
    )


def _unmodelled(text: str) -> Ends:
    return Ends("unknown", "continue", missing=UnknownAnswer("UNMODELLED_TARGET", text))


def _verdict(value: n.VerdictValue, names: Names) -> Effect:
    if value.kind in ("jump", "goto"):
        return Jumps(value.chain or "", value.kind == "goto", names)
    found = _VERDICTS.get(value.kind) or _unmodelled(f"the verdict {value.kind} has no model")
    return replace(found, names=names) if names and not isinstance(found, Alters) else found


def _with_value(part: n.Assign, rule: n.NftRule, value: Value, view: View) -> Effect | bool:
    if isinstance(value, Absent):
        return False
    after = assigned(part.target, value, view)
    if after is None:
        return _unmodelled(f"{rule.text}: the new value is not known")
    was, mark = view.packet.mark, after.packet.mark
    return Alters(after, (("mark", (f"{was:#x}", f"{mark:#x}")),) if was != mark else ())

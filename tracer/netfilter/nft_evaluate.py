"""Walk one base chain of a native nftables table: which rules the kernel would report, in order, and how the chain ends.

Strategy: as in ``evaluate``: a cursor runs rule by rule; a random value, or one that the snapshot cannot tell, splits it. A rule counts
as a step when its last statement was reached (a look-up without a matching element is none).
Source: nf_tables_core.c (nft_do_chain), Linux 6.18; modes.md, kernel fact 15.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from ipaddress import IPv4Address, IPv6Address
from itertools import product

from tracer.limits import Budget
from tracer.netfilter import model as m
from tracer.netfilter import nft_model as n
from tracer.netfilter.evaluate import Leaf, StepList
from tracer.netfilter.nft_compare import holds, holds_together
from tracer.netfilter.nft_merged import joined
from tracer.netfilter.nft_print import element_text
from tracer.netfilter.nft_set_index import ABSENT, Absent, OwnPort, Value, unknown
from tracer.netfilter.nft_targets import assigned, chosen_element, lacks_dependency, nat_target, refusal
from tracer.netfilter.nft_values import Evaluator, Indexes
from tracer.netfilter.view import UnknownAnswer, View
from tracer.packet import Address, Family
from tracer.trace import Step, Unknown

_ONE, _HALF = Fraction(1), Fraction(1, 2)
_DEEPEST = 16  # NFT_JUMP_STACK_SIZE
_RULE, _STATEMENT, _CONDITION = 20, 10, 10  # what they cost of a question's budget

# What a step stands for: called with the address and port that a rule looked up or translates to.
NftAnnotator = Callable[[Address, "int | None", bool], Mapping[str, str]]


def no_names(address: Address, port: int | None, translated: bool) -> Mapping[str, str]:
    """Return nothing: steps are not annotated."""
    return {}


@dataclass(frozen=True, slots=True)
class _Cursor:
    """Where a branch stands: *frames* are (chain, next rule); the rest as in a Leaf."""

    frames: tuple[tuple[n.NftChain, int], ...]
    view: View
    steps: StepList | None
    probability: Fraction = _ONE
    conditions: tuple[str, ...] = ()
    unknowns: tuple[Unknown, ...] = ()


@dataclass(frozen=True, slots=True)
class _Progress:
    """A rule half done: the cursor so far, the odds drawn in it, and what was looked up."""

    cursor: _Cursor
    chance: Fraction | None = None
    condition: str | None = None
    rewrote: Mapping[str, tuple[object, object]] | None = None
    names: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class NftBaseChain:
    """A base chain of a native table; see ``base_chain.BaseChain``. *indexes* are shared by all chains of the table.

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

    def run(self, view: View, steps: StepList | None, budget: Budget | None = None) -> Iterator[Leaf]:
        """Yield every way the chain ends for *view*, within *budget*; probabilities sum to 1."""
        if self._is_asked(view):
            return _Run(self, budget or Budget()).leaves(view, steps)
        return iter((Leaf("accept", view, steps, _ONE, (), ()),))

    def _is_asked(self, view: View) -> bool:
        if self.bridging:
            return view.bridged or view.phys_in is not None
        if not self.chain.devices:
            return True
        passed = {view.out_device, view.phys_out} if self.chain.hook == "egress" else {view.in_device, view.phys_in}
        return not passed.isdisjoint(self.chain.devices)


@dataclass(frozen=True, slots=True)
class _Next:
    """A rule that goes on: with the statement at *at*."""

    at: int
    progress: _Progress


_Found = _Cursor | Leaf | _Next


class _Run:
    def __init__(self, base: NftBaseChain, budget: Budget) -> None:
        self._base = base
        self._table = base.table
        self._budget = budget
        self._values = Evaluator(base.table, base.indexes, budget)
        self._pending: list[_Cursor] = []

    def leaves(self, view: View, steps: StepList | None) -> Iterator[Leaf]:
        """Yield every way the chain ends.

        NB: a hostile rule set can make the walk as long as it likes (each of n chains jumping twice to the next); then it is given up,
        and what is left of the odds ends in one unknown leaf.
        """
        self._pending = [_Cursor(((self._base.chain, 0),), view, steps)]
        found, most = 0, self._budget.limits.ways
        while self._pending:
            if found >= most or len(self._pending) > most or self._budget.is_spent:
                yield self._given_up(self._pending)
                return
            for leaf in self._advance(self._pending.pop()):
                found += 1
                yield leaf

    def _given_up(self, left: Sequence[_Cursor]) -> Leaf:
        first, share = left[-1], sum((c.probability for c in left), Fraction(0))
        name = f"chain {self._base.chain.name} of table {self._table.family} {self._table.name}"
        found = Unknown(code="UNSUPPORTED", text=f"the walk through {name} is too long: given up", at={"file": self._base.file})
        return Leaf("unknown", first.view, first.steps, share, first.conditions, (*first.unknowns, found))

    def _advance(self, cursor: _Cursor) -> Iterator[Leaf]:
        """Ask the next rule; what goes on is left pending, in order."""
        if not cursor.frames:
            yield self._policy(cursor)
            return
        chain, position = cursor.frames[-1]
        if position >= len(chain.rules):
            self._pending.append(replace(cursor, frames=cursor.frames[:-1]))
            return
        ahead = replace(cursor, frames=(*cursor.frames[:-1], (chain, position + 1)))
        self._budget.spend(_RULE)
        results = self._results(chain, chain.rules[position], ahead)
        self._pending.extend(r for r in reversed(results) if isinstance(r, _Cursor))
        yield from (r for r in results if isinstance(r, Leaf))

    def _results(self, chain: n.NftChain, rule: n.NftRule, ahead: _Cursor) -> list[_Cursor | Leaf]:
        """Every way a rule goes; where they are too many (each statement drawing a value), what is left of the odds as one leaf."""
        results: list[_Cursor | Leaf] = []
        for found in self._rule(chain, rule, ahead):
            results.append(found)
            if len(results) > self._budget.limits.ways or self._budget.is_spent:
                left = ahead.probability - sum((r.probability for r in results), Fraction(0))
                results += [self._given_up([replace(ahead, probability=left)])] if left else []
                break
        return results

    def _rule(self, chain: n.NftChain, rule: n.NftRule, ahead: _Cursor) -> Iterator[_Cursor | Leaf]:
        if rule.fault is not None:
            text = f"{self._where(chain, rule)} could not be read ({rule.fault}); what it does to the packet is unknown"
            yes, no = self._split(ahead, UnknownAnswer("BAD_RULE", text), chain, rule)
            yield Leaf("unknown", yes.view, yes.steps, yes.probability, yes.conditions, yes.unknowns)
            yield no
            return
        waiting: list[Iterator[_Found]] = [iter((_Next(0, _Progress(ahead)),))]
        while waiting:
            found = next(waiting[-1], None)
            if found is None:
                waiting.pop()
            elif isinstance(found, _Next):
                self._budget.spend(_STATEMENT)
                waiting.append(self._statement(chain, rule, found.at, found.progress))
            else:
                yield found

    def _statement(self, chain: n.NftChain, rule: n.NftRule, at: int, progress: _Progress) -> Iterator[_Found]:
        """Run the statement of *rule* at *at*, splitting where a value is random or unknown."""
        if at == len(rule.statements):
            yield replace(progress.cursor, steps=self._stepped(chain, rule, progress, "continue"))
            return
        statement = rule.statements[at]
        match statement:
            case n.Compare():
                last, answer = self._compare(rule.statements, at, statement, progress.cursor.view)
                yield from self._compared(chain, rule, last, progress, answer)
            case n.UnmodelledMatch(kind=kind, text=text):
                missing = unknown(f"{text or kind} has no model", "UNMODELLED_MATCH")
                yield from self._compared(chain, rule, at, progress, missing)
            case n.Verdict(value=value):
                yield self._concluded(chain, rule, progress, value)
            case n.VerdictMap(key=key, map=found):
                yield from self._verdict_map(chain, rule, progress, key, found)
            case n.Nat():
                yield from self._nat(chain, rule, progress, statement)
            case n.Reject():
                yield self._rejected(chain, rule, progress, statement)
            case n.Assign():
                yield from self._assigned(chain, rule, at, progress, statement)
            case n.SetUpdate():
                cursor = replace(progress.cursor, view=self._updated(statement, progress.cursor.view))
                yield _Next(at + 1, replace(progress, cursor=cursor))
            case n.NoTrack():
                view = progress.cursor.view
                view = view if view.connection is not None else replace(view, state="UNTRACKED")
                yield _Next(at + 1, replace(progress, cursor=replace(progress.cursor, view=view)))
            case n.UnmodelledStatement(kind=kind, text=text):
                found_unknown = self._unknown("UNMODELLED_TARGET", f"{text or kind} has no model", chain, rule)
                leaf = self._leaf("unknown", chain, rule, progress, None, "continue")
                yield replace(leaf, unknowns=(*leaf.unknowns, found_unknown))
            case n.Counter() | n.Harmless():
                yield _Next(at + 1, progress)

    def _compare(
        self, statements: Sequence[n.Statement], at: int, statement: n.Compare, view: View
    ) -> tuple[int, bool | Fraction | UnknownAnswer]:
        """Whether the match at *at* holds, and where the statements end that this answers for."""
        group = joined(statements, at) if statement.operator == "!=" else ()
        if len(group) > 1:
            return at + len(group) - 1, holds_together(group, view, self._values)
        return at, holds(statement, view, self._values)

    def _compared(
        self, chain: n.NftChain, rule: n.NftRule, at: int, progress: _Progress, answer: bool | Fraction | UnknownAnswer
    ) -> Iterator[_Found]:
        cursor = progress.cursor
        if answer is True:
            yield _Next(at + 1, progress)
        elif answer is False:
            yield cursor
        elif isinstance(answer, Fraction):
            taken = replace(cursor, probability=cursor.probability * answer)
            chance = answer if progress.chance is None else progress.chance * answer
            yield _Next(at + 1, replace(progress, cursor=taken, chance=chance))
            yield replace(cursor, probability=cursor.probability * (1 - answer))
        elif all(isinstance(s, n.Counter | n.Harmless) for s in rule.statements[at + 1 :]):
            found = self._unknown(answer.code, answer.text, chain, rule)
            self._budget.spend(_RULE + len(cursor.unknowns))
            noted = replace(cursor, unknowns=(*cursor.unknowns, found))
            yield replace(noted, steps=self._stepped(chain, rule, replace(progress, condition=answer.text), "continue"))
        else:
            yes, no = self._split(cursor, answer, chain, rule)
            yield _Next(at + 1, replace(progress, cursor=yes, condition=answer.text))
            yield no

    def _split(self, cursor: _Cursor, missing: UnknownAnswer, chain: n.NftChain, rule: n.NftRule) -> tuple[_Cursor, _Cursor]:
        """The two ways of an unknown match: it holds, it does not."""
        where = self._where(chain, rule)
        self._budget.spend(_RULE + _CONDITION * (len(cursor.conditions) + len(cursor.unknowns)))
        found = (*cursor.unknowns, self._unknown(missing.code, missing.text, chain, rule))
        half = replace(cursor, probability=cursor.probability * _HALF, unknowns=found)
        return (
            replace(half, conditions=(*cursor.conditions, f"{where} matches ({missing.text})")),
            replace(half, conditions=(*cursor.conditions, f"{where} does not match ({missing.text})")),
        )

    # -- verdicts -----------------------------------------------------------------------------------------------------------------

    def _concluded(self, chain: n.NftChain, rule: n.NftRule, progress: _Progress, value: n.VerdictValue) -> _Cursor | Leaf:
        cursor = progress.cursor
        match value.kind:
            case "accept" | "drop":
                return self._leaf(value.kind, chain, rule, progress, None, value.kind)
            case "return":
                frames = cursor.frames[:-1] if len(cursor.frames) > 1 else ()
                return replace(cursor, frames=frames, steps=self._stepped(chain, rule, progress, "return"))
            case "jump" | "goto":
                return self._jump(chain, rule, progress, value)
            case "continue":
                return replace(cursor, steps=self._stepped(chain, rule, progress, "continue"))
        found = self._unknown("UNMODELLED_TARGET", f"the verdict {value.kind} has no model", chain, rule)
        leaf = self._leaf("unknown", chain, rule, progress, None, "continue")
        return replace(leaf, unknowns=(*leaf.unknowns, found))

    def _jump(self, chain: n.NftChain, rule: n.NftRule, progress: _Progress, value: n.VerdictValue) -> _Cursor | Leaf:
        cursor = progress.cursor
        target = self._table.chains.get(value.chain or "")
        frames = cursor.frames[:-1] if value.kind == "goto" else cursor.frames
        steps = self._stepped(chain, rule, progress, f"{value.kind} {value.chain}")
        if target is None or len(frames) > _DEEPEST:
            text = (
                f"chain {value.chain} is not in the listing"
                if target is None
                else f"chains jump deeper than {_DEEPEST}, which no kernel loads"
            )
            found = self._unknown("BAD_RULE", text, chain, rule)
            return Leaf("unknown", cursor.view, steps, cursor.probability, cursor.conditions, (*cursor.unknowns, found))
        return replace(cursor, frames=(*frames, (target, 0)), steps=steps)

    def _verdict_map(
        self, chain: n.NftChain, rule: n.NftRule, progress: _Progress, key: n.Expression, found: n.SetLiteral | n.SetReference
    ) -> Iterator[_Cursor | Leaf]:
        cursor = progress.cursor
        ways = self._values.ways(key, cursor.view)
        for share, value in ways:
            branch = replace(cursor, probability=cursor.probability * share)
            drawn = progress.chance if len(ways) == 1 else share * (progress.chance or _ONE)
            if isinstance(value, Absent):
                yield branch
                continue
            element = value if isinstance(value, UnknownAnswer) else self._values.find(found, value, cursor.view)
            if element is None:
                yield branch
            elif isinstance(element, UnknownAnswer):
                found_unknown = self._unknown(element.code, element.text, chain, rule)
                yield Leaf("unknown", branch.view, branch.steps, branch.probability, branch.conditions, (*branch.unknowns, found_unknown))
            elif isinstance(element.value, n.VerdictValue):
                names = self._looked_up(value, element)
                yield self._concluded(chain, rule, replace(progress, cursor=branch, chance=drawn, names=names), element.value)
            else:
                yield branch

    def _rejected(self, chain: n.NftChain, rule: n.NftRule, progress: _Progress, statement: n.Reject) -> _Cursor | Leaf:
        packet = progress.cursor.view.packet
        if lacks_dependency(statement, packet):
            return progress.cursor
        return self._leaf("reject", chain, rule, progress, refusal(statement, packet), "reject")

    def _looked_up(self, value: Value, element: n.Element) -> Mapping[str, str]:
        parts = value if isinstance(value, tuple) else (value,)
        address = next((p for p in parts if isinstance(p, IPv4Address | IPv6Address)), None)
        port = parts[-1] if isinstance(parts[-1], int) else None
        names = dict(self._base.annotate(address, port, False)) if address is not None else {}
        names["element"] = element_text(element)
        return names

    # -- changes ------------------------------------------------------------------------------------------------------------------

    def _nat(self, chain: n.NftChain, rule: n.NftRule, progress: _Progress, statement: n.Nat) -> Iterator[_Cursor | Leaf]:
        cursor = progress.cursor
        if statement.family is not None and (statement.family == "ip6") != (cursor.view.packet.family is Family.IP6):
            yield cursor
            return
        addresses = self._values.ways(statement.address, cursor.view) if statement.address is not None else ((_ONE, None),)
        ports = self._values.ways(statement.port, cursor.view) if statement.port is not None else ((_ONE, None),)
        for (p, address), (q, port) in product(addresses, ports):
            branch = replace(cursor, probability=cursor.probability * p * q)
            drawn = progress.chance if p * q == 1 else p * q * (progress.chance or _ONE)
            here = replace(progress, cursor=branch, chance=drawn)
            if address is ABSENT or port is ABSENT:
                yield branch
                continue
            if isinstance(address, tuple) and len(address) == 2:
                address, port = address
            target = nat_target(statement, address, port)
            if target is None:
                found = self._unknown("UNMODELLED_TARGET", f"{rule.text}: what it translates to is not known", chain, rule)
                leaf = self._leaf("unknown", chain, rule, here, None, "continue")
                yield replace(leaf, unknowns=(*leaf.unknowns, found))
                continue
            if isinstance(address, IPv4Address | IPv6Address):
                names = dict(self._base.annotate(address, port if isinstance(port, int) else None, True))
                here = replace(here, names=names | chosen_element(statement, address, port))
            yield self._leaf("nat", chain, rule, here, target, statement.kind)

    def _assigned(self, chain: n.NftChain, rule: n.NftRule, at: int, progress: _Progress, statement: n.Assign) -> Iterator[_Found]:
        if isinstance(statement.target, n.UnmodelledExpression) and statement.target.kind == "exthdr":
            yield _Next(at + 1, progress)  # an option of the header: nothing that a trace follows
            return
        for share, value in self._values.ways(statement.value, progress.cursor.view):
            cursor = replace(progress.cursor, probability=progress.cursor.probability * share)
            here = replace(progress, cursor=cursor)
            if isinstance(value, Absent):
                yield cursor
            elif (view := assigned(statement.target, value, cursor.view)) is None:
                found = self._unknown("UNMODELLED_TARGET", f"{rule.text}: the new value is not known", chain, rule)
                leaf = self._leaf("unknown", chain, rule, here, None, "continue")
                yield replace(leaf, unknowns=(*leaf.unknowns, found))
            else:
                before, after = cursor.view.packet.mark, view.packet.mark
                rewrote = {"mark": (f"{before:#x}", f"{after:#x}")} if before != after else progress.rewrote
                here = replace(here, cursor=replace(cursor, view=view), rewrote=rewrote)
                yield _Next(at + 1, here)

    def _updated(self, statement: n.SetUpdate, view: View) -> View:
        value = self._values.ways(statement.key, view)[0][1]
        parts = value if isinstance(value, tuple) else (value,)
        if any(isinstance(p, Absent | UnknownAnswer | OwnPort) for p in parts):
            return view
        here, gone = self._values.memories(statement.set, parts)
        if statement.operation == "delete":
            return replace(view, recent=(view.recent - {here}) | {gone})
        return replace(view, recent=(view.recent - {gone}) | {here})

    # -- results ------------------------------------------------------------------------------------------------------------------

    def _policy(self, cursor: _Cursor) -> Leaf:
        chain = self._base.chain
        policy = (chain.policy or "accept").lower()
        step = Step(hook=str(chain.hook), family=self._table.family, table=self._table.name, chain=chain.name, policy=policy.upper())
        where = f"chain {chain.name} of table {self._table.family} {self._table.name}"
        return Leaf(
            policy if policy in ("accept", "drop") else "unknown",
            cursor.view,
            StepList(step, cursor.steps),
            cursor.probability,
            cursor.conditions,
            cursor.unknowns,
            by_policy=True,
            where=where,
        )

    def _leaf(self, verdict: str, chain: n.NftChain, rule: n.NftRule, progress: _Progress, target: m.Target | None, shown: str) -> Leaf:
        cursor = progress.cursor
        steps = self._stepped(chain, rule, progress, shown)
        where = f"{self._where(chain, rule)}: {rule.text}"
        return Leaf(verdict, cursor.view, steps, cursor.probability, cursor.conditions, cursor.unknowns, target, where=where)

    def _stepped(self, chain: n.NftChain, rule: n.NftRule, progress: _Progress, verdict: str) -> StepList:
        step = Step(
            hook=str(self._base.chain.hook),
            family=self._table.family,
            table=self._table.name,
            chain=chain.name,
            rule=rule.text,
            file=self._base.file,
            line=rule.line,
            verdict=verdict,
            rewrote=progress.rewrote or {},
            chance=progress.chance,
            condition=progress.condition,
            names=progress.names or {},
        )
        return StepList(step, progress.cursor.steps)

    def _where(self, chain: n.NftChain, rule: n.NftRule) -> str:
        return (
            f"{self._base.file}:{rule.line}" if rule.line else f"{self._base.file} ({self._table.family} {self._table.name} {chain.name})"
        )

    def _unknown(self, code: str, text: str, chain: n.NftChain, rule: n.NftRule) -> Unknown:
        at = {"file": self._base.file, "line": rule.line, "chain": chain.name, "rule": rule.text}
        return Unknown(code=code, text=text, at=at)

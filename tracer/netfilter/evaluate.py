"""Walk one base chain: which rules match a packet, in order, and how the chain ends.

Strategy: a cursor (where it is, what the packet looks like, how likely this is) runs rule by rule. A random match, or one that the
snapshot cannot answer, splits the cursor in two; every cursor ends in one Leaf. Steps are a linked list, shared between branches.
The index of a long chain only leaves out rules that cannot match; the plain walk is the reference.
Source: ip_tables.c (ipt_do_table), Linux 6.18.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import assert_never

from tracer.frozen import changed
from tracer.limits import Budget
from tracer.netfilter import matches
from tracer.netfilter import model as m
from tracer.netfilter.altered_view import altered, marked, marks_of
from tracer.netfilter.iptables_save import Chain
from tracer.netfilter.view import UnknownAnswer, View
from tracer.packet import Packet
from tracer.trace import Step, Unknown

_HALF = Fraction(1, 2)
_ONE = Fraction(1)
_DEEPEST = 100
# What a rule that is taken costs of a question's budget beside being asked: its step is kept; and each condition that a split copies.
_STEP, _CONDITION = 20, 10

Annotator = Callable[[m.Rule], Mapping[str, str]]
Asked = m.Match | m.SetMark | m.CopyMark | Chain
Event = tuple[Asked, object]
"""What a walk asked, and the answer: a match and True or False; a chain with an index and the positions it gave; a mark target and the
marks before it."""


@dataclass(frozen=True, slots=True)
class StepList:
    """Steps, last first; sharing a tail costs nothing."""

    step: Step
    before: StepList | None

    def to_tuple(self) -> tuple[Step, ...]:
        """Return the steps in the order they were taken."""
        found: list[Step] = []
        node: StepList | None = self
        while node is not None:
            found.append(node.step)
            node = node.before
        return tuple(reversed(found))


@dataclass(frozen=True, slots=True)
class Leaf:
    """One way a base chain ends.

    *verdict* is accept, drop, reject, nat (then *target* is the NAT target to apply) or unknown (then *unknown* says why).
    *probability* is relative to entering the chain; *conditions* are what had to hold that the snapshot cannot tell.
    *by_policy* is true when no rule decided; *where* says which rule did (file:line: text), or which policy.
    """

    verdict: str
    view: View
    steps: StepList | None
    probability: Fraction
    conditions: tuple[str, ...] = ()
    unknowns: tuple[Unknown, ...] = ()
    target: m.Target | None = None
    rule: m.Rule | None = None
    by_policy: bool = False
    where: str = ""


@dataclass(frozen=True, slots=True)
class _Frame:
    """A chain that the walk is in; *order* are the positions of its rules to ask. *gotos* led here since the last jump."""

    chain: Chain
    order: Sequence[int]
    position: int = 0
    gotos: int = 0


@dataclass(frozen=True, slots=True)
class _Cursor:
    frames: tuple[_Frame, ...]
    view: View
    steps: StepList | None
    probability: Fraction
    conditions: tuple[str, ...] = ()
    unknowns: tuple[Unknown, ...] = ()


@dataclass(frozen=True, slots=True)
class _Held:
    """A rule that may match: the view where it does and where it does not, the odds, and what is missing to tell."""

    view: View
    otherwise: View
    chance: Fraction = _ONE
    missing: tuple[UnknownAnswer, ...] = ()


def no_names(rule: m.Rule) -> Mapping[str, str]:
    """Return nothing: rules are not annotated."""
    return {}


class KnownSteps:
    """The steps of one base chain that say only which rule was taken: one step for all packets that take it."""

    def __init__(self) -> None:
        self.of_rules: dict[tuple[int, str], tuple[m.Rule, Step]] = {}
        self.of_policy: dict[m.Hook, Step] = {}


class Evaluation:
    """One walk of one base chain. *annotate* gives the Kubernetes names of a rule, *known* the steps of earlier walks.

    *budget* is what the question has left: one unit for a rule that is asked, more for a step, and for every condition that a split copies.

    *events* is, after a walk that never split, everything that it asked with the answers; None after any other.
    """

    def __init__(
        self, base: Chain, family: str, annotate: Annotator = no_names, known: KnownSteps | None = None, budget: Budget | None = None
    ) -> None:
        self._base = base
        self._family = family
        self._annotate = annotate
        self._known = known or KnownSteps()
        self._pending: list[_Cursor] = []
        self._budget = budget or Budget()
        self.events: list[Event] | None = []

    def run(self, view: View, steps: StepList | None = None) -> Iterator[Leaf]:
        """Yield every way the chain can end for *view*; probabilities sum to 1.

        NB: a hostile rule set can make the walk as long as it likes (each of n chains jumping twice to the next); then it is given up,
        and what is left of the odds ends in one unknown leaf.
        """
        self._pending = [_Cursor((self._frame(self._base, view.packet),), view, steps, _ONE)]
        for _ in range(self._budget.limits.ways):
            if not self._pending or self._is_spent():
                break
            yield self._finish(self._pending.pop())
        if self._pending:
            yield self._given_up()

    def _is_spent(self) -> bool:
        return self._budget.is_spent or len(self._pending) > self._budget.limits.ways

    def _given_up(self) -> Leaf:
        first, share = self._pending[0], sum((c.probability for c in self._pending), Fraction(0))
        text = f"the walk through chain {self._base.name} of table {self._base.table.name} is too long: given up"
        found = Unknown(code="UNSUPPORTED", text=text, at={"file": self._file})
        return Leaf("unknown", first.view, first.steps, share, first.conditions, (*first.unknowns, found))

    def _finish(self, cursor: _Cursor) -> Leaf:
        """Run *cursor* to its end, leaving the other ways at each split for later."""
        while cursor.frames:
            if self._is_spent():
                self._pending.append(cursor)
                leaf = self._given_up()
                self._pending.clear()
                return leaf
            result = self._through(cursor)
            if isinstance(result, Leaf):
                return result
            cursor = result
        return self._policy(cursor)

    def _through(self, cursor: _Cursor) -> _Cursor | Leaf:
        """Ask the rules of the innermost chain up to the first that may match, and apply that one."""
        frame, view = cursor.frames[-1], cursor.view
        chain, order = frame.chain, frame.order
        for position in range(frame.position, len(order)):
            rule = chain.rule(order[position])
            answer = self._ask(rule, view)
            if isinstance(answer, View):
                view = answer
                continue
            self._budget.spend(position - frame.position + 1)
            here = _Frame(chain, order, position + 1, frame.gotos)
            ahead = _Cursor((*cursor.frames[:-1], here), answer.view, cursor.steps, cursor.probability, cursor.conditions, cursor.unknowns)
            return self._hold(rule, ahead, answer)
        self._budget.spend(len(order) - frame.position + 1)
        if chain.may_continue:
            return self._cut_off(cursor, chain)
        return changed(cursor, frames=cursor.frames[:-1], view=view)

    def _hold(self, rule: m.Rule, ahead: _Cursor, held: _Held) -> _Cursor | Leaf:
        """Follow a rule that may match; *ahead* already points behind it."""
        if rule.fault is not None:
            return self._faulty(rule, ahead)
        missing, chance = held.missing, held.chance
        if not missing and chance is _ONE:
            return self._take(rule, ahead, None, None)
        if missing and _is_harmless(rule.target):
            return self._note(rule, ahead, missing)
        if missing:
            ahead = self._split(ahead, missing, rule, held.otherwise)
        if chance != _ONE:
            other = changed(ahead, view=held.otherwise, probability=ahead.probability * (1 - chance))
            self._pending.append(other)
            ahead = changed(ahead, probability=ahead.probability * chance)
        return self._take(rule, ahead, chance if chance != _ONE else None, " and ".join(x.text for x in missing) or None)

    def _split(self, ahead: _Cursor, missing: Sequence[UnknownAnswer], rule: m.Rule, otherwise: View) -> _Cursor:
        """Leave the way on which the rule does not match for later, and return the one on which it does."""
        why = " and ".join(x.text for x in missing)
        where = f"{self._file}:{rule.line}"
        found = tuple(self._unknown(x.code, x.text, rule) for x in missing)
        self._budget.spend(_STEP + _CONDITION * (len(ahead.conditions) + len(ahead.unknowns)))
        ahead = changed(ahead, probability=ahead.probability * _HALF, unknowns=ahead.unknowns + found)
        self._pending.append(changed(ahead, view=otherwise, conditions=(*ahead.conditions, f"{where} does not match ({why})")))
        return changed(ahead, conditions=(*ahead.conditions, f"{where} matches ({why})"))

    def _note(self, rule: m.Rule, ahead: _Cursor, missing: Sequence[UnknownAnswer]) -> _Cursor:
        """A rule that changes nothing may or may not match: say so, and go on."""
        why = " and ".join(x.text for x in missing)
        step = self._step(rule, "continue", condition=why)
        found = tuple(self._unknown(x.code, x.text, rule) for x in missing)
        self._budget.spend(_STEP + len(ahead.unknowns))
        return changed(ahead, steps=StepList(step, ahead.steps), unknowns=ahead.unknowns + found)

    def _faulty(self, rule: m.Rule, ahead: _Cursor) -> Leaf:
        text = f"{self._file}:{rule.line} could not be read ({rule.fault}); what it does to the packet is unknown"
        missing = UnknownAnswer("BAD_RULE", text)
        taken = self._split(ahead, [missing], rule, ahead.view)
        return Leaf("unknown", taken.view, taken.steps, taken.probability, taken.conditions, taken.unknowns, rule=rule)

    def _take(self, rule: m.Rule, cursor: _Cursor, chance: Fraction | None, condition: str | None) -> _Cursor | Leaf:
        """Apply the target of a rule that matched."""
        target = rule.target
        self._budget.spend(_STEP)

        def stepped(verdict: str, **rewrote: tuple[object, object]) -> StepList:
            return StepList(self._step(rule, verdict, chance=chance, condition=condition, rewrote=rewrote), cursor.steps)

        def leaf(verdict: str, shown: str) -> Leaf:
            where = f"{self._file}:{rule.line}: {rule.text}"
            return Leaf(
                verdict, cursor.view, stepped(shown), cursor.probability, cursor.conditions, cursor.unknowns, target, rule, where=where
            )

        match target:
            case m.Accept():
                return leaf("accept", "accept")
            case m.Drop():
                return leaf("drop", "drop")
            case m.Reject():
                return leaf("reject", "reject")
            case m.Dnat() | m.Snat() | m.Masquerade() | m.Redirect() | m.Netmap():
                return leaf("nat", type(target).__name__.lower())
            case m.UnmodelledTarget():
                found = self._unknown("UNMODELLED_TARGET", f"-j {target.name} {target.text}".rstrip() + " has no model", rule)
                return changed(leaf("unknown", "continue"), unknowns=(*cursor.unknowns, found))
            case m.Return():
                return changed(cursor, frames=cursor.frames[:-1] if len(cursor.frames) > 1 else (), steps=stepped("return"))
            case m.Jump():
                return self._jump(rule, target, cursor, stepped(f"{'goto' if target.goto else 'jump'} {target.chain}"))
            case m.SetMark() | m.CopyMark():
                view = marked(target, cursor.view)
                self._note_event(target, marks_of(cursor.view))
                before, after = cursor.view.packet.mark, view.packet.mark
                rewrote = {"mark": (f"{before:#x}", f"{after:#x}")} if before != after else {}
                return changed(cursor, view=view, steps=stepped("continue", **rewrote))
            case m.NoTrack() | m.SetDscp() | m.SetTtl() | m.TrackTemplate() | m.SetChange():
                self.events = None
                return changed(cursor, view=altered(target, cursor.view), steps=stepped("continue"))
            case m.NoTarget() | m.NoEffect():
                return changed(cursor, steps=stepped("continue"))
            case _:
                assert_never(target)

    def _jump(self, rule: m.Rule, target: m.Jump, cursor: _Cursor, steps: StepList) -> _Cursor | Leaf:
        chains = self._base.table.chains
        frames = cursor.frames[:-1] if target.goto else cursor.frames
        gotos = cursor.frames[-1].gotos + 1 if target.goto else 0
        if len(frames) >= _DEEPEST or gotos > len(chains):
            found = self._unknown("BAD_RULE", "the chains lead into each other without end; no kernel loads such rules", rule)
            return Leaf("unknown", cursor.view, steps, cursor.probability, cursor.conditions, (*cursor.unknowns, found), rule=rule)
        return changed(cursor, frames=(*frames, self._frame(chains[target.chain], cursor.view.packet, gotos)), steps=steps)

    def _policy(self, cursor: _Cursor) -> Leaf:
        policy = self._base.policy or "ACCEPT"
        hook, table = cursor.view.hook, self._base.table.name
        step = self._known.of_policy.get(hook)
        if step is None:
            step = Step(hook=hook.value, family=self._family, table=table, chain=self._base.name, policy=policy)
            self._known.of_policy[hook] = step
        verdict = {"ACCEPT": "accept", "DROP": "drop"}.get(policy, "unknown")
        return Leaf(
            verdict,
            cursor.view,
            StepList(step, cursor.steps),
            cursor.probability,
            cursor.conditions,
            cursor.unknowns,
            by_policy=True,
            where=f"chain {self._base.name} of table {self._base.table.name}",
        )

    def _cut_off(self, cursor: _Cursor, chain: Chain) -> Leaf:
        text = f"{self._file} is cut off inside table {chain.table.name}: chain {chain.name} may have more rules"
        found = Unknown(code="TRUNCATED_DUMP", text=text, at={"file": self._file})
        return Leaf("unknown", cursor.view, cursor.steps, cursor.probability, cursor.conditions, (*cursor.unknowns, found))

    @property
    def _file(self) -> str:
        return self._base.table.dump.file

    def _unknown(self, code: str, text: str, rule: m.Rule) -> Unknown:
        return Unknown(code=code, text=text, at={"file": self._file, "line": rule.line, "rule": rule.text})

    def _step(
        self,
        rule: m.Rule,
        verdict: str,
        *,
        chance: Fraction | None = None,
        condition: str | None = None,
        rewrote: Mapping[str, tuple[object, object]] | None = None,
    ) -> Step:
        plain = chance is None and condition is None and not rewrote
        kept = self._known.of_rules.get((id(rule), verdict)) if plain else None
        if kept is not None:
            return kept[1]
        step = Step(
            hook=self._base.name.lower(),
            family=self._family,
            table=self._base.table.name,
            chain=rule.chain,
            rule=rule.text,
            file=self._file,
            line=rule.line,
            verdict=verdict,
            chance=chance,
            condition=condition,
            rewrote=rewrote or {},
            names=self._annotate(rule),
        )
        if plain:
            self._known.of_rules[id(rule), verdict] = rule, step  # the rule is held so that its id stays its own
        return step

    def _frame(self, chain: Chain, packet: Packet, gotos: int = 0) -> _Frame:
        index = chain.index
        if index is None:
            return _Frame(chain, range(len(chain)), gotos=gotos)
        order = index.candidates(packet)
        self._note_event(chain, tuple(order))
        return _Frame(chain, order, gotos=gotos)

    def _note_event(self, asked: Asked, answer: object) -> None:
        if self.events is not None:
            self.events.append((asked, answer))

    def _ask(self, rule: m.Rule, view: View) -> View | _Held:
        """Ask the matches of a rule in their order. A View, changed where ``recent`` has learned, means: it does not match.

        NB: ``recent --set`` learns when it is reached, whatever the matches behind it say, and not when one before it said no; so does
        ``--remove`` forget. Source: recent_mt in xt_recent.c.
        """
        chance = _ONE
        missing: tuple[UnknownAnswer, ...] = ()
        otherwise: View | None = None
        for match in rule.matches:
            if isinstance(match, m.SetMatch) and view.sets and (found := view.sets.get(match.name)):
                self._budget.spend(found.cost(view.sets))
            answer = matches.test(match, view)
            if isinstance(match, m.RecentMatch) and match.action in ("set", "remove"):
                view = _remember(view, match)
                self.events = None
            if answer is True or answer is False:
                self._note_event(match, answer)
            else:
                self.events = None
            if answer is True:
                continue
            if answer is False or answer == 0:
                return view if otherwise is None else otherwise
            otherwise = otherwise or view
            if isinstance(answer, UnknownAnswer):
                missing = (*missing, answer)
            else:
                chance *= answer
        return _Held(view, otherwise or view, chance, missing)


def _is_harmless(target: m.Target) -> bool:
    """Whether the packet goes on just the same, matched or not."""
    return isinstance(target, m.NoTarget | m.NoEffect)


def _remember(view: View, match: m.RecentMatch) -> View:
    address = view.packet.source if match.side == "source" else view.packet.destination
    entry = {(match.name, str(address))}
    return changed(view, recent=view.recent | entry if match.action == "set" else view.recent - entry)

"""One walk of rules, whichever language they are written in: which rules of a base chain a packet takes, in order, and how the chain ends.

Strategy: a cursor (where it is, what the packet looks like, how likely this is) runs rule by rule. A language says what the parts of one
rule answer and do (``effects.py``); everything that follows from it is here: jumps with their guard, policies, the budget, steps. A random
or unknown match leaves its rule *open*. Only what depends on it splits the cursor: an effect, or a packet that was changed behind it. A
later part that is known to say no settles it, and a rule that does nothing is only noted. What a rule that cannot be read does nobody
knows: there a cursor ends, unsplit. Every cursor ends in one Leaf, whose verdict may be one that others carry out (a translation). Steps
are a linked list, shared between branches.
Source: ip_tables.c (ipt_do_table), nf_tables_core.c (nft_do_chain), Linux 6.18.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any, Generic, assert_never

from tracer.forks import Fork, drawn, taken_or_left
from tracer.frozen import changed
from tracer.netfilter.effects import Alters, Answer, Draws, Effect, Ends, Jumps, Names, Passes, Returns, Rewrote
from tracer.netfilter.leaf import Leaf, StepList
from tracer.netfilter.rule_language import C, P, R, RuleLanguage
from tracer.netfilter.view import UnknownAnswer, View
from tracer.packet import Packet
from tracer.patterns import pattern
from tracer.trace import Step, Unknown
from tracer.values import dataclass

_ONE, _HALF, _NONE = Fraction(1), Fraction(1, 2), Fraction(0)
# What a split, or a rule that is only noted, costs of a question's budget beside what the language says; and each condition that it copies.
_SPLIT, _CONDITION = 20, 10
# How many in a row can be open with the packet the same: odds, what is not known, odds. Any more is one with one of those.
_ALIKE = 3
_HASH = pattern(r"\b(?:jhash|symhash)\b")
"""What falls out the same for every packet of a flow; any other draw is made for each packet."""
_PLAIN = (Jumps, Ends, Passes, Returns)


Event = tuple[Any, Any, object]
"""What a walk asked, and the answer: a part of a rule; a rule for what it does in the end (no part); a chain for its order (no rule)."""


class KnownSteps:
    """The steps of one base chain that say only which rule was taken: one step for all packets that take it."""

    def __init__(self) -> None:
        self.of_rules: dict[tuple[int, str], tuple[object, Step]] = {}
        """The step of a rule, and of a rule of chance the one with the odds that were asked last: those of a rule are mostly the same."""
        self.of_policy: Step | None = None


# -- where a walk stands: values that nobody changes, not frozen because a walk makes thousands of them ------------------------------------


@dataclass(slots=True)
class _Frame(Generic[C]):
    """A chain that the walk is in; *order* are the positions of its rules to ask. *gotos* led here since the last jump."""

    chain: C
    order: Sequence[int]
    position: int = 0
    gotos: int = 0


@dataclass(slots=True)
class _Cursor:
    frames: tuple[_Frame[Any], ...]
    view: View
    steps: StepList | None
    probability: Fraction
    conditions: tuple[str, ...] = ()
    unknowns: tuple[Unknown, ...] = ()
    forks: tuple[Fork, ...] = ()


@dataclass(frozen=True, slots=True)
class _Open:
    """A match that leaves its rule open: its odds, or what is missing to tell. *otherwise* is the packet where it says no."""

    question: Fraction | tuple[UnknownAnswer, ...]
    otherwise: View


@dataclass(slots=True)
class _Doing(Generic[R]):
    """A rule half done: *cursor* points behind it and has the packet as it is now, *at* is the part that comes next.

    *opens* are what it hangs on; *chance* and *condition* what it hung on, once the cursor was split.
    """

    rule: R
    chain: str
    cursor: _Cursor
    at: int
    opens: tuple[_Open, ...] = ()
    chance: Fraction | None = None
    condition: str | None = None
    rewrote: Rewrote = ()


_Way = _Cursor | Leaf


class RuleWalk(Generic[C, R, P]):
    """One walk of one base chain. *known* are the steps of earlier walks.

    *events* is, after a walk that never split, everything that it asked with the answers, which cost *answers_cost*; None after any other.
    """

    def __init__(self, language: RuleLanguage[C, R, P], known: KnownSteps | None = None) -> None:
        self._language = language
        self._base = language.base
        self._budget = language.budget
        self._known = known or KnownSteps()
        self.events: list[Event] | None = [] if language.base.unconditional else None
        self.answers_cost = 0

    def run(self, view: View, steps: StepList | None = None) -> Iterator[Leaf]:
        """Yield every way the chain can end for *view*; probabilities sum to 1.

        NB: a hostile rule set can make the walk as long as it likes (each of n chains jumping twice to the next); then it is given up,
        and what is left of the odds ends in one unknown leaf.
        """
        asked = self._language.is_asked(view)
        if asked is True:
            yield from self._walked(self._start(view, steps))
        elif asked is False:
            yield Leaf("accept", view, steps, _ONE)
        else:
            yield from self._perhaps(asked, view, steps)

    def _start(self, view: View, steps: StepList | None) -> _Cursor:
        return _Cursor((self._frame(self._language.chain(None), view.packet),), view, steps, _ONE)

    def _perhaps(self, why: UnknownAnswer, view: View, steps: StepList | None) -> Iterator[Leaf]:
        """The ends of a chain of which it is not known whether it is asked: that matters only where it does something."""
        title = self._base.title
        missing = Unknown(code=why.code, text=why.text, at={"file": self._base.file})
        holds, fails = f"{title} is asked ({why.text})", f"{title} is not asked ({why.text})"
        question = f"whether {title} is asked ({why.text})"
        yes = Fork(question=question, branch=0, condition=holds, unknowns=(missing,))
        no = Fork(question=question, branch=1, condition=fails, is_without=True, unknowns=(missing,))
        asked = changed(self._start(view, steps), probability=_HALF, conditions=(holds,), unknowns=(missing,), forks=(yes,))
        ends = list(self._walked(asked))
        if all(end.verdict == "accept" and end.view == view for end in ends):
            yield Leaf("accept", view, steps, _ONE)
            return
        yield from ends
        yield Leaf("accept", view, steps, _HALF, (fails,), (missing,), forks=(no,))

    def _walked(self, start: _Cursor) -> Iterator[Leaf]:
        found, most = 0, self._budget.limits.ways
        pending = [start]
        while pending:
            if found >= most or len(pending) > most or self._budget.is_spent:
                yield self._given_up(pending)
                return
            way = self._advanced(pending.pop())
            if isinstance(way, _Cursor):
                pending.append(way)
                continue
            ends = [way] if isinstance(way, Leaf) else [one for one in way if isinstance(one, Leaf)]
            if not isinstance(way, Leaf):
                pending.extend(one for one in reversed(way) if isinstance(one, _Cursor))
            found += len(ends)
            yield from ends

    def _given_up(self, left: Sequence[_Cursor]) -> Leaf:
        first, share = left[0], sum((c.probability for c in left), _NONE)
        text = f"the walk through {self._base.title} is too long: given up"
        found = Unknown(code="UNSUPPORTED", text=text, at={"file": self._base.file})
        return Leaf("unknown", first.view, first.steps, share, first.conditions, (*first.unknowns, found), forks=first.forks)

    def _advanced(self, cursor: _Cursor) -> _Way | list[_Way]:
        """Ask the rules of the innermost chain up to the first that may do something, and do that."""
        if not cursor.frames:
            return self._policy(cursor)
        frame, view, budget, language = cursor.frames[-1], cursor.view, self._budget, self._language
        order, rule_at, events = frame.order, language.rules(frame.chain), self.events
        answer: Answer | Effect | Draws
        for position in range(frame.position, len(order)):
            rule, at = rule_at(order[position]), 0
            for part in language.parts(rule):
                left = budget.left
                answer = language.ask(part, rule, view)
                if events is not None:
                    events.append((part, rule, answer))
                    self.answers_cost += left - budget.left
                if answer is not True:
                    break
                at += 1
            else:
                answer = self._end(frame.chain.name, rule, view)
            if answer is not False:
                budget.spend((position - frame.position + 1) * language.costs.asked)
                return self._ways(_Doing(rule, frame.chain.name, _behind(cursor, frame, position), at), answer)
            if budget.left <= 0:
                return _behind(cursor, frame, position)
        budget.spend((len(order) - frame.position) * language.costs.asked + language.costs.left)
        return self._left(cursor, frame.chain)

    def _left(self, cursor: _Cursor, chain: C) -> _Way:
        """Go on behind the last rule of *chain*."""
        why = self._language.cut_off(chain)
        if why is None:
            return changed(cursor, frames=cursor.frames[:-1])
        found = Unknown(code=why.code, text=why.text, at={"file": self._base.file})
        unknowns = (*cursor.unknowns, found)
        return Leaf("unknown", cursor.view, cursor.steps, cursor.probability, cursor.conditions, unknowns, forks=cursor.forks)

    # -- one rule -----------------------------------------------------------------------------------------------------------------

    def _end(self, chain: str, rule: R, view: View) -> Effect:
        """What *rule* does once all its parts held; of one that cannot be read nobody knows what it asks and does: there the walk ends."""
        if rule.fault is not None:
            where = self._language.where(chain, rule)
            text = f"{where} could not be read ({rule.fault}); what it does to the packet is unknown"
            return Ends("unknown", None, missing=UnknownAnswer("BAD_RULE", text))
        left = self._budget.left
        effect = self._language.end(rule, view)
        if self.events is not None and isinstance(effect, Alters):
            self.events.append((None, rule, effect))
            self.answers_cost += left - self._budget.left
        return effect

    def _answer(self, doing: _Doing[R]) -> Answer | Effect | Draws:
        """What the part that comes next says or does; behind the last one comes the end of the rule."""
        parts, view = self._language.parts(doing.rule), doing.cursor.view
        if doing.at < len(parts):
            left = self._budget.left
            answer = self._language.ask(parts[doing.at], doing.rule, view)
            if self.events is not None:
                self.events.append((parts[doing.at], doing.rule, answer))
                self.answers_cost += left - self._budget.left
            return answer
        return self._end(doing.chain, doing.rule, view) if doing.at == len(parts) else Passes()

    def _ways(self, doing: _Doing[R], answer: Answer | Effect | Draws) -> _Way | list[_Way]:
        """Every way a rule goes on or ends, from *answer* on."""
        if isinstance(answer, _PLAIN) or (isinstance(answer, Alters) and doing.at == len(self._language.parts(doing.rule))):
            return self._concluded(doing, answer)
        found: list[_Way] = []
        waiting = [self._carried_on(doing, answer)]
        while waiting:
            way = next(waiting[-1], None)
            if way is None:
                waiting.pop()
            elif isinstance(way, _Doing):
                waiting.append(self._carried_on(way, self._answer(way)))
            else:
                found.append(way)
                if len(found) > self._budget.limits.ways or self._budget.is_spent:
                    return [*found, *self._rest(doing, found)]
        return found

    def _rest(self, doing: _Doing[R], found: Sequence[_Way]) -> Iterator[Leaf]:
        """What is left of the odds where a rule has too many ways (each part drawing a value)."""
        left = doing.cursor.probability - sum((way.probability for way in found), _NONE)
        if left:
            yield self._given_up([changed(doing.cursor, probability=left)])

    def _carried_on(self, doing: _Doing[R], answer: Answer | Effect | Draws) -> Iterator[_Way | _Doing[R]]:
        """Follow a rule from the *answer* of its next part on, until it ends or forks."""
        while not isinstance(answer, _PLAIN) and not isinstance(answer, Draws):
            if isinstance(answer, Alters):
                doing = _altered(doing, answer)
                answer = answer.then
            if isinstance(answer, Fraction) and answer in (0, 1):
                answer = answer == 1
            if answer is False:
                yield from self._refused(doing)
                return
            if answer is not True:
                doing = self._left_open(doing, answer)
                if self._budget.is_spent:
                    yield self._given_up([doing.cursor])
                    return
            doing = changed(doing, at=doing.at + 1)
            answer = self._answer(doing)
        yield from self._ended(doing, answer)

    def _left_open(self, doing: _Doing[R], answer: Fraction | UnknownAnswer) -> _Doing[R]:
        """The rule with one more that it hangs on. NB: a hostile one hangs on thousands, and each time all of them are copied."""
        self.events = None
        opens = _opened(doing.opens, answer, doing.cursor.view)
        self._budget.spend(len(opens) + sum(len(one.question) for one in opens[-_ALIKE:] if not isinstance(one.question, Fraction)))
        return changed(doing, opens=opens)

    def _refused(self, doing: _Doing[R]) -> Iterator[_Way]:
        """A part said no: what the rule still hangs on is settled, but for what decides whether the packet was changed."""
        opens = doing.opens
        while opens and opens[-1].otherwise == doing.cursor.view:
            opens = opens[:-1]
        decided, others = self._decided(changed(doing, opens=opens))
        yield self._given_up([decided.cursor]) if decided.opens else decided.cursor
        yield from others

    def _ended(self, doing: _Doing[R], effect: Ends | Jumps | Returns | Passes | Draws) -> Iterator[_Way | _Doing[R]]:
        if isinstance(effect, Passes) and _is_idle(doing):
            yield self._noted(doing, effect)
            return
        doing, others = self._decided(doing)
        if doing.opens:
            yield self._given_up([doing.cursor])
        elif isinstance(effect, Draws):
            self.events = None
            yield from self._drawn(doing, effect)
        else:
            yield self._concluded(doing, effect)
        yield from others

    def _drawn(self, doing: _Doing[R], effect: Draws) -> Iterator[_Way | _Doing[R]]:
        cursor, where = doing.cursor, self._language.where(doing.chain, doing.rule)
        is_anew = _HASH.search(doing.rule.text) is None
        for number, (share, way) in enumerate(effect.ways):
            taken = (*cursor.forks, drawn(where, number, anew=is_anew))
            branch = changed(doing, cursor=changed(cursor, probability=cursor.probability * share, forks=taken))
            if isinstance(way, Alters):
                yield changed(_altered(branch, way), at=doing.at + 1)
            elif isinstance(way, bool):
                yield branch.cursor
            else:
                yield self._concluded(changed(branch, chance=share * (doing.chance or _ONE)), way)

    # -- splits -------------------------------------------------------------------------------------------------------------------

    def _decided(self, doing: _Doing[R]) -> tuple[_Doing[R], list[_Cursor]]:
        """The way on which everything holds that the rule hangs on, and those on which something does not, the last first.

        Once the budget is spent the rest is left open.
        """
        others: list[_Cursor] = []
        opens = doing.opens
        while len(others) < len(opens) and not self._budget.is_spent:
            opened = opens[len(others)]
            doing, other = self._split(doing, opened.question)
            others.append(changed(other, view=opened.otherwise))
        return changed(doing, opens=opens[len(others) :]), others[::-1]

    def _split(self, doing: _Doing[R], question: Fraction | tuple[UnknownAnswer, ...]) -> tuple[_Doing[R], _Cursor]:
        cursor, where = doing.cursor, self._language.where(doing.chain, doing.rule)
        if isinstance(question, Fraction):
            forks, forks_left = taken_or_left(cursor.forks, where)
            taken = changed(cursor, probability=cursor.probability * question, forks=forks)
            other = changed(cursor, probability=cursor.probability * (1 - question), forks=forks_left)
            return changed(doing, cursor=taken, chance=question * (doing.chance or _ONE)), other
        why = _texts(question)
        self._budget.spend(_SPLIT + _CONDITION * (len(cursor.conditions) + len(cursor.unknowns)))
        missing = self._unknowns(doing, question)
        half = changed(cursor, probability=cursor.probability * _HALF, unknowns=cursor.unknowns + missing)
        asked = f"whether {where} matches ({why})"
        holds, fails = f"{where} matches ({why})", f"{where} does not match ({why})"
        yes = Fork(question=asked, branch=0, condition=holds, unknowns=missing)
        no = Fork(question=asked, branch=1, condition=fails, is_without=True, unknowns=missing)
        taken = changed(half, conditions=(*cursor.conditions, holds), forks=(*cursor.forks, yes))
        other = changed(half, conditions=(*cursor.conditions, fails), forks=(*cursor.forks, no))
        condition = why if doing.condition is None else f"{doing.condition} and {why}"
        return changed(doing, cursor=taken, condition=condition), other

    def _noted(self, doing: _Doing[R], effect: Passes) -> _Cursor:
        """A rule that changes nothing may or may not match: its step says so, and nothing depends on it."""
        self._budget.spend(_SPLIT)
        drawn_by = (f"a random choice, {one.question}" for one in doing.opens if isinstance(one.question, Fraction))
        why = " and ".join((*(x.text for x in _missing(doing)), *drawn_by))
        steps = self._stepped(changed(doing, condition=why), "continue", effect.names)
        return changed(doing.cursor, steps=steps)

    def _unknowns(self, doing: _Doing[R], missing: Sequence[UnknownAnswer]) -> tuple[Unknown, ...]:
        at = self._language.at(doing.chain, doing.rule)
        return tuple(Unknown(code=x.code, text=x.text, at=at) for x in missing)

    # -- what becomes of a rule that is taken -------------------------------------------------------------------------------------

    def _concluded(self, doing: _Doing[R], effect: Ends | Jumps | Returns | Passes | Alters) -> _Way:
        self._budget.spend(self._language.costs.taken)
        cursor = doing.cursor
        match effect:
            case Jumps():
                return self._jumped(doing, effect)
            case Ends():
                return self._leaf(doing, effect)
            case Passes():
                return changed(cursor, steps=self._stepped(doing, "continue", effect.names))
            case Returns():
                frames = cursor.frames[:-1] if len(cursor.frames) > 1 else ()
                return changed(cursor, frames=frames, steps=self._stepped(doing, "return", effect.names))
            case Alters():
                return changed(cursor, view=effect.view, steps=self._stepped(_altered(doing, effect), "continue", ()))
            case _:
                assert_never(effect)

    def _leaf(self, doing: _Doing[R], effect: Ends) -> Leaf:
        cursor, rule = doing.cursor, doing.rule
        found = cursor.unknowns if effect.missing is None else cursor.unknowns + self._unknowns(doing, (effect.missing,))
        if effect.shown is None:
            return Leaf(effect.verdict, cursor.view, cursor.steps, cursor.probability, cursor.conditions, found, forks=cursor.forks)
        steps, where = self._stepped(doing, effect.shown, effect.names), f"{self._language.where(doing.chain, rule)}: {rule.text}"
        leaf = Leaf(effect.verdict, cursor.view, steps, cursor.probability, cursor.conditions, found, effect.target, where=where)
        return changed(leaf, forks=cursor.forks) if cursor.forks else leaf

    def _jumped(self, doing: _Doing[R], effect: Jumps) -> _Way:
        cursor, chain = doing.cursor, self._language.chain(effect.chain)
        frames = cursor.frames[:-1] if effect.goto else cursor.frames
        gotos = cursor.frames[-1].gotos + 1 if effect.goto else 0
        steps = self._stepped(doing, f"{'goto' if effect.goto else 'jump'} {effect.chain}", effect.names)
        if chain is not None and len(frames) < self._base.deepest and gotos <= self._base.chains:
            return changed(cursor, frames=(*frames, self._frame(chain, cursor.view.packet, gotos)), steps=steps)
        why = UnknownAnswer("BAD_RULE", self._base.too_deep if chain is not None else f"chain {effect.chain} is not in the listing")
        found = cursor.unknowns + self._unknowns(doing, (why,))
        return Leaf("unknown", cursor.view, steps, cursor.probability, cursor.conditions, found, forks=cursor.forks)

    def _frame(self, chain: C | None, packet: Packet, gotos: int = 0) -> _Frame[C]:
        if chain is None:
            raise TypeError("a language has its base chain")
        order = self._language.order(chain, packet)
        if self.events is not None and not isinstance(order, range):
            self.events.append((chain, None, order))
        return _Frame(chain, order, gotos=gotos)

    def _policy(self, cursor: _Cursor) -> Leaf:
        base, step = self._base, self._known.of_policy
        if step is None:
            made_as = "" if base.maker is None else base.maker(None)
            step = Step(hook=base.hook, family=base.family, table=base.table, chain=base.chain, policy=base.policy, made_as=made_as)
            self._known.of_policy = step
        verdict = {"ACCEPT": "accept", "DROP": "drop"}.get(base.policy, "unknown")
        steps = StepList(step, cursor.steps)
        return Leaf(
            verdict,
            cursor.view,
            steps,
            cursor.probability,
            cursor.conditions,
            cursor.unknowns,
            by_policy=True,
            where=base.title,
            forks=cursor.forks,
        )

    def _stepped(self, doing: _Doing[R], verdict: str, names: Names) -> StepList:
        rule = doing.rule
        plain = doing.condition is None and not doing.rewrote and not names
        kept = self._known.of_rules.get((id(rule), verdict)) if plain else None
        if kept is not None and kept[1].chance == doing.chance:
            return StepList(kept[1], doing.cursor.steps)
        step = self._step(doing, verdict, names)
        if plain:
            self._known.of_rules[id(rule), verdict] = rule, step  # the rule is held so that its id stays its own
        return StepList(step, doing.cursor.steps)

    def _step(self, doing: _Doing[R], verdict: str, names: Names) -> Step:
        base, rule = self._base, doing.rule
        return Step(
            hook=base.hook,
            family=base.family,
            table=base.table,
            chain=doing.chain,
            rule=rule.text,
            file=base.file_of(rule.line),
            line=rule.line,
            verdict=verdict,
            chance=doing.chance,
            condition=doing.condition,
            rewrote=dict(doing.rewrote),
            names=dict(names) if names else self._language.names(rule),
            made_as="" if base.maker is None else base.maker(rule.line),
            position=base.position(doing.chain, rule.line) if base.position is not None and rule.line is not None else None,
        )


def _behind(cursor: _Cursor, frame: _Frame[Any], position: int) -> _Cursor:
    """The cursor behind the rule at *position* of its innermost chain."""
    frames = (*cursor.frames[:-1], _Frame(frame.chain, frame.order, position + 1, frame.gotos))
    return _Cursor(frames, cursor.view, cursor.steps, cursor.probability, cursor.conditions, cursor.unknowns, cursor.forks)


def _altered(doing: _Doing[R], effect: Alters) -> _Doing[R]:
    cursor = changed(doing.cursor, view=effect.view)
    return changed(doing, cursor=cursor, rewrote=effect.rewrote or doing.rewrote)


def _opened(opens: tuple[_Open, ...], question: Fraction | UnknownAnswer, view: View) -> tuple[_Open, ...]:
    """*opens* with one more: what can be asked as one is one. Unknown matches are, and odds in a row, unless the packet changed between."""
    if isinstance(question, Fraction):
        if opens and isinstance(opens[-1].question, Fraction) and opens[-1].otherwise is view:
            return (*opens[:-1], _Open(opens[-1].question * question, view))
        return (*opens, _Open(question, view))
    for i in range(len(opens) - 1, max(-1, len(opens) - 1 - _ALIKE), -1):
        one = opens[i]
        if not isinstance(one.question, Fraction) and one.otherwise is view:
            return (*opens[:i], _Open((*one.question, question), view), *opens[i + 1 :])
    return (*opens, _Open((question,), view))


def _missing(doing: _Doing[Any]) -> tuple[UnknownAnswer, ...]:
    """What is missing to tell whether the rule matches."""
    return tuple(x for one in doing.opens if not isinstance(one.question, Fraction) for x in one.question)


def _is_idle(doing: _Doing[Any]) -> bool:
    """Whether it is unknown, or a matter of chance, if the rule matches, and the packet is just the same if it does."""
    return bool(doing.opens) and all(one.otherwise == doing.cursor.view for one in doing.opens)


def _texts(missing: Sequence[UnknownAnswer]) -> str:
    return " and ".join(x.text for x in missing)

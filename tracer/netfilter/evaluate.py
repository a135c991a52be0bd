"""What one iptables rule says and does: its matches in their order, then its target. The walk itself is ``walk.py``'s.

The index of a long chain only leaves out rules that cannot match; the plain order is the reference.
Source: ip_tables.c (ipt_do_table), Linux 6.18.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import assert_never

from tracer.frozen import changed
from tracer.limits import Budget
from tracer.netfilter import matches
from tracer.netfilter import model as m
from tracer.netfilter.altered_view import altered, marked
from tracer.netfilter.dump import Chain, Unread
from tracer.netfilter.effects import Alters, Answer, Effect, Ends, Jumps, Passes, Returns
from tracer.netfilter.rule_language import Base, Costs
from tracer.netfilter.view import UnknownAnswer, View
from tracer.packet import Packet

_DEEPEST = 100
_ACCEPTS, _DROPS, _RETURNS, _PASSES = Ends("accept", "accept"), Ends("drop", "drop"), Returns(), Passes()
_TOO_DEEP = "the chains lead into each other without end; no kernel loads such rules"

Annotator = Callable[[m.Rule], Mapping[str, str]]


def no_names(rule: m.Rule) -> Mapping[str, str]:
    """Return nothing: rules are not annotated."""
    return {}


class XtablesLanguage:
    """The rules of one table as the walk asks them, from built-in chain *base* on. *names* gives the Kubernetes names of a rule.

    *words* are ``in_words`` of the same chain, for who walks it often.
    """

    costs = Costs(asked=1, taken=20, left=1)

    def __init__(
        self, base: Chain, family: str, names: Annotator = no_names, budget: Budget | None = None, words: Base | None = None
    ) -> None:
        self.base = words or in_words(base, family)
        self.budget = budget or Budget()
        self.names = names
        self._first = base
        self._chains = base.table.chains

    def is_asked(self, view: View) -> bool:
        """Return that the chain is asked of every packet of its hook."""
        return True

    def chain(self, name: str | None) -> Chain | None:
        """Return the chain of that name; the built-in one for None."""
        return self._first if name is None else self._chains.get(name)

    def order(self, chain: Chain, packet: Packet) -> Sequence[int]:
        """Return the positions of the rules to ask, by the index where *chain* is long."""
        index = chain.index
        return range(len(chain)) if index is None else tuple(index.candidates(packet))

    def rules(self, chain: Chain) -> Callable[[int], m.Rule]:
        """Return what gives the rule at a position."""
        return chain.rule

    def cut_off(self, chain: Chain) -> UnknownAnswer | None:
        """Return why *chain* may have more rules than are known, or another policy."""
        if chain.unread is not None:
            return unread_answer(self.base.file, chain.unread)
        if not chain.may_continue:
            return None
        text = f"{self.base.file} is cut off inside table {chain.table.name}: chain {chain.name} may have more rules"
        return UnknownAnswer("TRUNCATED_DUMP", text)

    def parts(self, rule: m.Rule) -> Sequence[m.Match]:
        """Return the matches of a rule; of one that cannot be read what it asks for certain."""
        return rule.matches

    def ask(self, part: m.Match, rule: m.Rule, view: View) -> Answer | Effect:
        """Return what a match says.

        NB: ``recent --set`` learns when it is reached, whatever the matches behind it say, and not when one before it said no; so does
        ``--remove`` forget. Source: recent_mt in xt_recent.c.
        """
        kind = part.__class__
        if kind is m.SetMatch:
            self.budget.spend(_cost(part, view))
        answer = matches.test(part, view)
        return _remembered(part, view, answer) if kind is m.RecentMatch else answer

    def end(self, rule: m.Rule, view: View) -> Effect:
        """Return what the target of a rule does."""
        target = rule.target
        match target:
            case m.Jump():
                return Jumps(target.chain, target.goto)
            case m.Return():
                return _RETURNS
            case m.NoTarget() | m.NoEffect():
                return _PASSES
            case m.Accept():
                return _ACCEPTS
            case m.Drop():
                return _DROPS
            case m.Reject():
                return Ends("reject", "reject", target)
            case m.Dnat() | m.Snat() | m.Masquerade() | m.Redirect() | m.Netmap():
                return Ends("nat", type(target).__name__.lower(), target)
            case m.SetMark() | m.CopyMark():
                return _marks(target, view)
            case m.NoTrack() | m.SetDscp() | m.SetTtl() | m.TrackTemplate() | m.SetChange():
                return Alters(altered(target, view))
            case m.UnmodelledTarget():
                text = f"-j {target.name} {target.text}".rstrip() + " has no model"
                return Ends("unknown", "continue", target, UnknownAnswer("UNMODELLED_TARGET", text))
            case _:
                assert_never(target)

    def where(self, chain: str, rule: m.Rule) -> str:
        """Return the file and line of a rule."""
        place = self.base.position(chain, rule.line) if self.base.position is not None else None
        file = self.base.file_of(rule.line)
        return f"{file}:{rule.line}" if place is None else f"{file} ({chain}, rule {place})"

    def at(self, chain: str, rule: m.Rule) -> Mapping[str, object]:
        """Return the file, line and text of a rule."""
        return {"file": self.base.file_of(rule.line), "line": rule.line, "rule": rule.text}


def unread_answer(file: str, unread: Unread) -> UnknownAnswer:
    """Return what is said of a part of *file* that is not known."""
    where = file if unread.line is None else f"{file}:{unread.line}"
    return UnknownAnswer("UNREAD_TABLE", f"{where}: {unread.why}")


def in_words(base: Chain, family: str) -> Base:
    """Return what steps and sentences say of a built-in chain."""
    table = base.table
    return Base(
        hook=base.name.lower(),
        family=family,
        table=table.name,
        chain=base.name,
        file=table.dump.file,
        title=f"chain {base.name} of table {table.name}",
        policy=base.policy or "ACCEPT",
        chains=len(table.chains),
        deepest=_DEEPEST,
        too_deep=_TOO_DEEP,
        maker=table.maker if table.dump.made_as or table.dump.added else None,
        position=table.position if table.dump.made_as or table.dump.added else None,
        added=table.dump.added,
    )


def _marks(target: m.SetMark | m.CopyMark, view: View) -> Alters:
    after = marked(target, view)
    was, mark = view.packet.mark, after.packet.mark
    return Alters(after, (("mark", (f"{was:#x}", f"{mark:#x}")),) if was != mark else ())


def _cost(match: m.Match, view: View) -> int:
    found = view.sets.get(match.name) if view.sets and isinstance(match, m.SetMatch) else None
    return found.cost(view.sets or {}) if found else 0


def _remembered(match: m.Match, view: View, answer: Answer) -> Answer | Alters:
    if not isinstance(match, m.RecentMatch) or match.action not in ("set", "remove"):
        return answer
    address = view.packet.source if match.side == "source" else view.packet.destination
    entry = {(match.name, str(address))}
    recent = view.recent | entry if match.action == "set" else view.recent - entry
    return Alters(changed(view, recent=recent), then=answer)

"""A node's recorded iptables rules as kube-proxy would leave them: a difference of two models, put on what is there.

Strategy: where the model writes a chain alike before and after, the recorded one stays, whatever it holds. A chain of one Service is
written anew as kube-proxy writes it; in chains with a rule a Service, and in the kernel's, single rules come and go, and what else stands
there stays. Recorded lines keep their numbers, what comes stands behind them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from tracer.added import Added
from tracer.errors import ParseError
from tracer.kubeproxy.rule_tables import LAST, Chains, is_ordered
from tracer.netfilter.dump import Chain, Dump, Table
from tracer.netfilter.hook_order import CHAINS_OF_TABLE
from tracer.netfilter.model import CommentMatch
from tracer.netfilter.rule_text import parse_rule, strip_counters
from tracer.patterns import pattern

_COMMENT = pattern(r' -m comment --comment (?:"[^"]*"|\S+)')
_ABOUT = pattern(r' --comment "([^\s"/]+/[^\s"]+)')
_TARGET = pattern(r" -[jg] (\S+)")
_OWN_CHAINS = frozenset(
    (
        *("KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES", "KUBE-NODEPORTS", "KUBE-POSTROUTING", "KUBE-FORWARD", "KUBE-PROXY-FIREWALL"),
        *("KUBE-MARK-MASQ", "KUBE-PROXY-CANARY", "KUBE-NODE-PORT", "KUBE-LOAD-BALANCER", "KUBE-SOURCE-RANGES-FIREWALL"),
        *("KUBE-IPVS-FILTER", "KUBE-IPVS-OUT-FILTER", "KUBE-PORTALS-CONTAINER", "KUBE-PORTALS-HOST", "KUBE-NODEPORT-CONTAINER"),
        *("KUBE-NODEPORT-HOST", "KUBE-NODEPORT-NON-LOCAL"),
    )
)
_OWN_PREFIXES = ("KUBE-SVC-", "KUBE-SVL-", "KUBE-EXT-", "KUBE-FW-", "KUBE-SEP-", "KUBE-XLB-")
Tables = Mapping[str, Chains]


def is_own(chain: str) -> bool:
    """Return whether kube-proxy alone writes *chain*, and takes it away with its mode. Source: CleanupLeftovers of each proxier."""
    return chain in _OWN_CHAINS or chain.startswith(_OWN_PREFIXES)


def changed_dump(dump: Dump, before: Tables, after: Tables, *, by: str, file: str) -> Dump:
    """Return *dump* with what is different between the tables *before* and *after*; the dump itself where nothing is.

    *by* says whose programming new rules are, *file* where they stand, in words.
    """
    different = {
        (table, chain): (before.get(table, {}).get(chain), after.get(table, {}).get(chain))
        for table in dict.fromkeys((*before, *after))
        for chain in dict.fromkeys((*before.get(table, {}), *after.get(table, {})))
        if before.get(table, {}).get(chain) != after.get(table, {}).get(chain)
    }
    if not different:
        return dump
    changing = _Changing(dump, by=by, file=file)
    for (table, chain), (was, now) in different.items():
        changing.change(table, chain, was, now)
    return changing.finished()


def without_own(dump: Dump) -> Dump:
    """Return *dump* without kube-proxy's chains and the rules that lead there: what is left when it goes to another mode."""
    changing = _Changing(dump, by="", file="")
    for name, table in dump.tables.items():
        for chain in table.chains.values():
            if is_own(chain.name):
                changing.drop(name, chain.name)
            else:
                changing.keep(name, chain.name, lambda text: (found := _TARGET.search(text)) is None or not is_own(found[1]))
    return changing.finished()


def new_dump(after: Tables, *, by: str, file: str, indexed: bool) -> Dump:
    """Return a dump of the tables *after* alone, of a node of which none was recorded."""
    changing = _Changing(Dump(file=file, lines=[], indexed=indexed), by=by, file=file)
    for table, chains in after.items():
        for chain, rules in chains.items():
            changing.change(table, chain, None, rules)
    found = changing.finished()
    found.made_as = by
    return found


class _Changing:
    """A dump under way: *lines* are the recorded ones and behind them what comes; *numbers* are the rules of each chain that changed."""

    def __init__(self, dump: Dump, *, by: str, file: str) -> None:
        self._dump = dump
        self._added = Added(behind=dump.recorded_lines, by=by, file=file)
        self._lines = list(dump.lines)
        self._numbers: dict[tuple[str, str], list[int] | None] = {}

    def _recorded(self, table: str, chain: str) -> list[int]:
        held = self._numbers.get((table, chain))
        if held is not None:
            return held
        found = self._dump.tables.get(table)
        return list(found.chains[chain].numbers) if found is not None and chain in found.chains else []

    def _text(self, number: int) -> str:
        return strip_counters(self._lines[number - 1]).rstrip()

    def _add(self, text: str) -> int:
        self._lines.append(text)
        return len(self._lines)

    def drop(self, table: str, chain: str) -> None:
        """Take a chain away."""
        self._numbers[table, chain] = None

    def keep(self, table: str, chain: str, is_kept: Callable[[str], bool]) -> None:
        """Keep those rules of a chain of which *is_kept* says so."""
        held = self._recorded(table, chain)
        kept = [number for number in held if is_kept(self._text(number))]
        if len(kept) < len(held):
            self._numbers[table, chain] = kept

    def change(self, table: str, chain: str, before: Sequence[str] | None, after: Sequence[str] | None) -> None:
        """Let a chain be as the model has it *after*, where that is different from *before*."""
        if chain in CHAINS_OF_TABLE.get(table, ()) or not is_ordered(chain):
            self._single(table, chain, before or (), after or ())
        elif after is None:
            self.drop(table, chain)
        else:
            self._whole(table, chain, after)

    def _whole(self, table: str, chain: str, after: Sequence[str]) -> None:
        """Write a chain anew; a rule that stands there already is that one."""
        held = {_bare(self._text(number)): number for number in reversed(self._recorded(table, chain))}
        self._numbers[table, chain] = [held.pop(_bare(text), 0) or self._add(text) for text in after]

    def _single(self, table: str, chain: str, before: Sequence[str], after: Sequence[str]) -> None:
        """Take single rules away and put others in: one that asks the same and leads elsewhere stands where the other stood.

        The kernel's chains get the rest in front, others beside the rules of the same port of a Service, or before what must be the last.
        """
        was, now = set(before), set(after)
        numbers = self._recorded(table, chain)
        gone = sorted(self._places(numbers, [text for text in before if text not in now]), reverse=True)
        there = {_bare(self._text(number)) for place, number in enumerate(numbers) if place not in gone}
        new = [text for text in after if text not in was and _bare(text) not in there]
        asking = {_question(self._text(numbers[place])): place for place in gone}
        for text in list(new):
            if (place := asking.pop(_question(text), None)) is not None:
                numbers[place] = self._add(text)
                gone.remove(place)
                new.remove(text)
        for place in gone:
            del numbers[place]
        if before and chain not in CHAINS_OF_TABLE.get(table, ()):
            new = self._beside(numbers, after, new)
        came = [self._add(text) for text in new]
        at = 0 if chain in CHAINS_OF_TABLE.get(table, ()) else self._last(numbers)
        self._numbers[table, chain] = [*numbers[:at], *came, *numbers[at:]]

    def _beside(self, numbers: list[int], after: Sequence[str], new: Sequence[str]) -> list[str]:
        """Put rules where they stand among those that kube-proxy writes for one port of a Service; return those of which none is there."""
        bare, left = [_bare(self._text(number)) for number in numbers] if new else [], []
        for text in new:
            place = _place_beside(bare, after, text)
            if place is None:
                left.append(text)
            else:
                bare.insert(place, _bare(text))
                numbers.insert(place, self._add(text))
        return left

    def _last(self, numbers: Sequence[int]) -> int:
        """Where the rule stands that must be the last one; behind all rules where there is none."""
        return next((place for place, number in enumerate(numbers) if LAST in self._lines[number - 1]), len(numbers))

    def _places(self, numbers: Sequence[int], gone: Iterable[str]) -> Iterator[int]:
        """Yield where the rules *gone* stand: by their text, by their text without a comment, by what they match and do."""
        texts = [self._text(number) for number in numbers]
        exact, bare = _first_places(texts), _first_places(map(_bare, texts))
        taken: set[int] = set()
        for text in gone:
            place = exact.get(text, bare.get(_bare(text)))
            if place is None:
                place = self._alike(text, texts)
            if place is not None and place not in taken:
                taken.add(place)
                yield place

    def _alike(self, text: str, texts: Sequence[str]) -> int | None:
        """The place of a rule that leads where *text* does and means the same."""
        target, wanted = _target(text), self._meaning(text)
        places = (place for place, other in enumerate(texts) if _target(other) == target)
        return next((place for place in places if wanted is not None and self._meaning(texts[place]) == wanted), None)

    def _meaning(self, text: str) -> object:
        try:
            rule = parse_rule(text, 1, _AnyChain(), file=self._dump.file)
        except ParseError:
            return None
        return frozenset(m for m in rule.matches if not isinstance(m, CommentMatch)), rule.target

    def finished(self) -> Dump:
        """Return the dump; chains and tables that nobody changed share what was read of them."""
        made = replace(self._dump, lines=self._lines, tables={}, added=self._added, _counts={}, _judgements={})
        for name, table in self._dump.tables.items():
            copy = made.tables[name] = replace(table, dump=made, chains={})
            for chain in table.chains.values():
                numbers = self._numbers.get((name, chain.name), chain.numbers)
                if numbers is chain.numbers:
                    copy.chains[chain.name] = replace(chain, table=copy)
                elif numbers is not None:
                    copy.chains[chain.name] = replace(chain, table=copy, numbers=numbers, _rules=None, _index=None)
        for (name, chain_name), numbers in self._numbers.items():
            if numbers is not None:
                self._put(made, name, chain_name, numbers)
        return made

    @staticmethod
    def _put(made: Dump, name: str, chain: str, numbers: list[int]) -> None:
        table = made.tables.get(name)
        if table is None:
            table = made.tables[name] = Table(name, made, made.recorded_lines)
            table.chains = {hook: Chain(hook, "ACCEPT", table, None) for hook in CHAINS_OF_TABLE.get(name, ())}
        if chain not in table.chains:
            table.chains[chain] = Chain(chain, None, table, None, numbers)
        else:
            table.chains[chain].numbers = numbers


class _AnyChain:
    """Every name is that of a chain."""

    def __contains__(self, name: object) -> bool:
        return True


def _first_places(texts: Iterable[str]) -> Mapping[str, int]:
    found: dict[str, int] = {}
    for place, text in enumerate(texts):
        found.setdefault(text, place)
    return found


def _place_beside(bare: Sequence[str], after: Sequence[str], text: str) -> int | None:
    """Where *text* goes among the rules *bare*: behind the one before it of the same port of a Service, else in front of the next one.

    Rules that say nothing of a Service's port (IPVS mode's, about sets of all Services) are of one kind, too: their order counts.
    """
    subject, at = _subject(text), after.index(text)
    for step, offset in ((-1, 1), (1, 0)):
        other = at + step
        while 0 <= other < len(after) and _subject(after[other]) == subject:
            wanted = _bare(after[other])
            if wanted in bare:
                return bare.index(wanted) + offset
            other += step
    return None


def _subject(text: str) -> str:
    """The port of a Service that a rule is said to be about; "" where it says none."""
    found = _ABOUT.search(text)
    return found[1] if found is not None else ""


def _question(text: str) -> str:
    """What a rule asks, without where it leads and what is said of it."""
    return _TARGET.sub("", _bare(text))


def _bare(text: str) -> str:
    return _COMMENT.sub("", text)


def _target(text: str) -> str:
    found = _TARGET.search(text)
    return found[1] if found else ""

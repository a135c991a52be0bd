"""What the walk of rules needs of a language that rules are written in: chains by name, the parts of a rule, what each of them does.

iptables (``evaluate.py``) and nftables (``nft_evaluate.py``) are the two there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import Protocol as TypingProtocol
from typing import TypeVar

from tracer.added import Added
from tracer.limits import Budget
from tracer.netfilter.effects import Answer, Draws, Effect
from tracer.netfilter.view import UnknownAnswer, View
from tracer.packet import Packet
from tracer.values import dataclass


class Named(TypingProtocol):
    """A chain."""

    name: str


class Written(TypingProtocol):
    """A rule as it stands in its file; *fault* says why it could not be read."""

    @property
    def text(self) -> str: ...
    @property
    def line(self) -> int | None: ...
    @property
    def fault(self) -> str | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A base chain in words: *hook*, *family* and *table* as its steps have them, *title* as sentences do.

    *policy* is ACCEPT, DROP or another that has no model. *chains* is how many its table has, *deepest* how many the kernel lets a packet
    be in at once, *too_deep* what is said of more. *unconditional*: it is asked of every packet of its hook.
    *maker* is given where the rules are modelled, and tells whose programming that of a line is; *position* then gives a rule's place in
    its chain, from 1 on. *added* are lines that a what-if question added to recorded ones.
    """

    hook: str
    family: str
    table: str
    chain: str
    file: str
    title: str
    policy: str
    chains: int
    deepest: int
    too_deep: str
    unconditional: bool = True
    maker: Callable[[int | None], str] | None = field(default=None, compare=False, repr=False)
    position: Callable[[str, int], int | None] | None = field(default=None, compare=False, repr=False)
    added: Added | None = None

    def file_of(self, line: int | None) -> str:
        """Return the file that *line* stands in."""
        return self.added.file if self.added is not None and self.added.has(line) else self.file


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What a walk spends of a question's budget for a rule *asked*, for one that is *taken* (its step is kept), for a chain *left*."""

    asked: int
    taken: int
    left: int


C = TypeVar("C", bound=Named)
R = TypeVar("R", bound=Written)
P = TypeVar("P")


class RuleLanguage(TypingProtocol[C, R, P]):
    """What one rule says and does, for one base chain and one question: chains *C* of rules *R*, whose parts *P* are asked in order.

    *costs* are spent of the *budget* by the walk; what a part costs beside them is spent by ``ask`` and ``end``.
    """

    base: Base
    budget: Budget
    costs: Costs

    def is_asked(self, view: View) -> bool | UnknownAnswer:
        """Return whether the kernel asks the base chain at all of this packet, or what is missing to tell."""

    def chain(self, name: str | None) -> C | None:
        """Return the chain of that name, None where the table has none; the base chain for None."""

    def order(self, chain: C, packet: Packet) -> Sequence[int]:
        """Return the positions of the rules to ask: a range where they are the same for every packet, else a tuple."""

    def rules(self, chain: C) -> Callable[[int], R]:
        """Return what gives the rule at a position."""

    def cut_off(self, chain: C) -> UnknownAnswer | None:
        """Return why *chain* may have more rules than are known, or another policy; None where it has not."""

    def parts(self, rule: R) -> Sequence[P]:
        """Return what is asked of a rule."""

    def ask(self, part: P, rule: R, view: View) -> Answer | Effect | Draws:
        """Return what *part* of *rule* says of the packet, or does."""

    def end(self, rule: R, view: View) -> Effect:
        """Return what a rule does whose parts all held. NB: only where it alters the packet may it depend on the view."""

    def names(self, rule: R) -> Mapping[str, str]:
        """Return the Kubernetes names of a rule."""

    def where(self, chain: str, rule: R) -> str:
        """Return where *rule* of *chain* stands."""

    def at(self, chain: str, rule: R) -> Mapping[str, object]:
        """Return the same, for an Unknown."""

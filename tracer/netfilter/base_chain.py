"""A base chain as a hook calls it, whichever syntax it came from: its priority, whether it is a NAT chain, and how to walk it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from typing import Any
from typing import Protocol as TypingProtocol

from tracer.limits import Budget
from tracer.netfilter.dump import Chain
from tracer.netfilter.evaluate import Annotator, XtablesLanguage, in_words
from tracer.netfilter.leaf import Leaf, StepList
from tracer.netfilter.registered import BackEnd, Registered
from tracer.netfilter.rule_language import Base, RuleLanguage
from tracer.netfilter.view import View
from tracer.netfilter.walk import RuleWalk
from tracer.values import dataclass


class BaseChain(TypingProtocol):
    """What a hook needs of a base chain."""

    @property
    def priority(self) -> int:
        """Return where in the hook the chain runs. NAT chains all run at the kernel's own NAT priority: there it orders them."""

    @property
    def is_nat(self) -> bool:
        """Return whether the chain is asked for the first packet of a flow only."""

    @property
    def routes_again(self) -> bool:
        """Return whether the kernel looks up a new way out where the chain, in OUTPUT, changed what routing looks at."""

    @property
    def registered(self) -> Registered:
        """Return what the kernel's list of the hook has of the chain."""

    def language(self, budget: Budget) -> RuleLanguage[Any, Any, Any]:
        """Return what the walk asks of the chain's rules, within *budget*: for a walk of its own, or for ``KeptRuns``."""

    def run(self, view: View, steps: StepList | None, budget: Budget | None = None) -> Iterator[Leaf]:
        """Yield every way the chain ends for *view*, within *budget*."""


@dataclass(frozen=True, slots=True)
class XtablesChain:
    """A built-in chain of an iptables table."""

    chain: Chain
    family: str
    priority: int
    annotate: Annotator
    words: Base = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Say once what every walk says of the chain."""
        object.__setattr__(self, "words", in_words(self.chain, self.family))

    @property
    def is_nat(self) -> bool:
        """Return whether this is a chain of the nat table."""
        return self.chain.table.name == "nat"

    @property
    def routes_again(self) -> bool:
        """Return whether this is a chain of the mangle table. Source: ipt_mangle_out; iptables-nft makes it of type route."""
        return self.chain.table.name == "mangle"

    @property
    def registered(self) -> Registered:
        """Return what the kernel's list of the hook has of the chain. A legacy table is registered at all of its hooks at once."""
        table, chain = self.chain.table, self.chain.name
        if table.dump.is_legacy:
            return Registered(name=f"legacy {table.name}", title=f"chain {chain} of the legacy table {table.name}", back_end=BackEnd.LEGACY)
        name, title = f"{self.family} {table.name} {chain}", f"chain {chain} of iptables-nft's table {table.name}"
        return Registered(name=name, title=title, back_end=BackEnd.NFT)

    def language(self, budget: Budget) -> XtablesLanguage:
        """Return what the walk asks of the chain's rules, within *budget*."""
        return XtablesLanguage(self.chain, self.family, self.annotate, budget, self.words)

    def run(self, view: View, steps: StepList | None, budget: Budget | None = None) -> Iterator[Leaf]:
        """Yield every way the chain ends for *view*, within *budget*."""
        return RuleWalk(self.language(budget or Budget())).run(view, steps)

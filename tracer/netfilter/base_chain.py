"""A base chain as a hook calls it, whichever syntax it came from: its priority, whether it is a NAT chain, and how to walk it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol as TypingProtocol

from tracer.limits import Budget
from tracer.netfilter.evaluate import Annotator, Evaluation, Leaf, StepList
from tracer.netfilter.iptables_save import Chain
from tracer.netfilter.kept_runs import KeptRuns
from tracer.netfilter.view import View


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

    def run(self, view: View, steps: StepList | None, budget: Budget | None = None) -> Iterator[Leaf]:
        """Yield every way the chain ends for *view*, within *budget*."""


@dataclass(frozen=True, slots=True)
class XtablesChain:
    """A built-in chain of an iptables table."""

    chain: Chain
    family: str
    priority: int
    annotate: Annotator

    @property
    def is_nat(self) -> bool:
        """Return whether this is a chain of the nat table."""
        return self.chain.table.name == "nat"

    @property
    def routes_again(self) -> bool:
        """Return whether this is a chain of the mangle table. Source: ipt_mangle_out; iptables-nft makes it of type route."""
        return self.chain.table.name == "mangle"

    def run(self, view: View, steps: StepList | None, budget: Budget | None = None) -> Iterator[Leaf]:
        """Yield every way the chain ends for *view*, within *budget*."""
        return Evaluation(self.chain, self.family, self.annotate, budget=budget).run(view, steps)

    def kept(self, budget: Budget | None = None) -> KeptRuns:
        """Return what walks the chain for one question with many packets: it gives the same, and keeps what the first ones found."""
        return KeptRuns(self.chain, self.family, self.annotate, budget)

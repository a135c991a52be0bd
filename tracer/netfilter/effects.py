"""What a rule, or one part of it, says and does: the words in which a rule language speaks to the walk of rules.

A part answers a question (yes, no, odds, or what is missing to tell) or has an effect. Each is a value: two packets that get the same
answers to the same questions go the same way. The walk (``walk.py``) says what becomes of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from tracer.netfilter.model import Target
from tracer.netfilter.view import UnknownAnswer, View
from tracer.values import dataclass

Names = tuple[tuple[str, str], ...]
"""What a step stands for, beside what its rule does: as the names of a Step."""
Rewrote = tuple[tuple[str, tuple[object, object]], ...]
"""What a step changed, as the rewrites of a Step."""
Answer = bool | Fraction | UnknownAnswer
"""What a match says: the rule goes on, the rule stops here, the odds that it goes on, or what is missing to tell."""


@dataclass(frozen=True, slots=True)
class Ends:
    """The chain ends here: *verdict* and *target* as in a Leaf. *shown* is the step's verdict; None: the rule is no step.

    *missing* is what an unknown verdict would take to be known.
    """

    verdict: str
    shown: str | None
    target: Target | None = None
    missing: UnknownAnswer | None = None
    names: Names = ()


@dataclass(frozen=True, slots=True)
class Jumps:
    """The walk goes on in *chain*, and behind the rule after it; with *goto* not behind this rule but where its chain was called."""

    chain: str
    goto: bool = False
    names: Names = ()


@dataclass(frozen=True, slots=True)
class Returns:
    """The walk goes on where this chain was called; in a base chain comes its policy."""

    names: Names = ()


@dataclass(frozen=True, slots=True)
class Passes:
    """The rule is taken, and the walk goes on behind it."""

    names: Names = ()


@dataclass(frozen=True, slots=True)
class Alters:
    """The packet looks like *view* from here on. *then* is whether the rule goes on: a match that remembers is a match all the same."""

    view: View
    rewrote: Rewrote = ()
    then: Answer = True

    @property
    def told(self) -> tuple[Answer, Rewrote]:
        """Return what it says beside the view."""
        return self.then, self.rewrote


Effect = Ends | Jumps | Returns | Passes | Alters


@dataclass(frozen=True, slots=True)
class Draws:
    """A random value decides which effect it is: each with its odds, which sum to 1. False: the rule stops there.

    *ways* can be gone through once, and are worked out when they are.
    """

    ways: Iterable[tuple[Fraction, Effect | bool]]

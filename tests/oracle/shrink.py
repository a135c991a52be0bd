"""Make a disagreement small: leave out whatever it does not need, rule by rule and match by match.

Hypothesis would have to drive the kernel through its own choices; deleting from the rule set itself keeps chains and jumps valid, and
each try costs one load and one packet. What is left is printed with its seed.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.oracle.rulesets import Chain, RuleSet


def shrunk(rules: RuleSet, is_bad: Callable[[RuleSet], bool], *, seconds: float = 60) -> RuleSet:
    """Return a small rule set that *is_bad* still, as far as the time allows."""
    deadline = time.monotonic() + seconds
    progress = True
    while progress and time.monotonic() < deadline:
        progress = False
        for smaller in _smaller(rules):
            if time.monotonic() > deadline:
                break
            if is_bad(smaller):
                rules, progress = smaller, True
                break
    return rules


def _smaller(rules: RuleSet) -> Iterator[RuleSet]:
    """Yield rule sets with a part left out, large parts first."""
    places = [(table, index) for table, chains in rules.tables.items() for index, chain in enumerate(chains) if chain.rules]
    for table in rules.tables:
        if any(c.rules for c in rules.tables[table]):
            yield _changed(rules, table, None, lambda chain: replace(chain, rules=[]))
    for table, index in places:
        yield _changed(rules, table, index, lambda chain: replace(chain, rules=[]))
    for table, index in places:
        for position in range(len(rules.tables[table][index].rules)):
            yield _changed(rules, table, index, lambda chain, at=position: replace(chain, rules=chain.rules[:at] + chain.rules[at + 1 :]))
    for table, index in places:
        for position, rule in enumerate(rules.tables[table][index].rules):
            for number in range(len(rule.matches)):
                fewer = replace(rule, matches=rule.matches[:number] + rule.matches[number + 1 :])
                yield _changed(
                    rules, table, index, lambda c, at=position, to=fewer: replace(c, rules=[*c.rules[:at], to, *c.rules[at + 1 :]])
                )
    for table, chains in rules.tables.items():
        for index, chain in enumerate(chains):
            if chain.policy == "DROP":
                yield _changed(rules, table, index, lambda c: replace(c, policy="ACCEPT"))


def _changed(rules: RuleSet, table: str, index: int | None, change: Callable[[Chain], Chain]) -> RuleSet:
    made = copy.deepcopy(rules)
    made.tables[table] = [change(c) if index in (None, number) else c for number, c in enumerate(made.tables[table])]
    return made

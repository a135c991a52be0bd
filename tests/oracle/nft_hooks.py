"""``nft list hooks`` of a rule set that was loaded at once, for a kernel that cannot list them: so the order of its chains is known."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

from tests.oracle.kernel import Loaded
from tests.oracle.lab import NODE
from tracer.netfilter.model import Hook
from tracer.netfilter.nft_rules import NftRules
from tracer.packet import Family


def with_hooks(files: Mapping[str, bytes], loaded: Loaded) -> dict[str, bytes]:
    """Return *files* with the list of hooks that the kernel has after it took *loaded*."""
    return {**files, f"nodes/{NODE}/nft-hooks.txt": hooks_of(loaded.dump).encode()}


def hooks_of(dump: str) -> str:
    """Return what ``nft list hooks`` would print of the base chains in *dump*: of equal priorities the last made first."""
    ruleset, lines = NftRules.from_listing(dump, "nft-ruleset.txt").ruleset, []
    for family, hook in product(Family, Hook):
        tables = [t for t in ruleset.tables if t.family in (family.value, "inet")]
        made = [(c.priority or 0, f"{t.family} {t.name} {c.name}") for t in tables for c in t.chains.values() if c.hook == hook.value]
        made.reverse()
        asked = sorted(made, key=lambda base: base[0])
        entries = [f"\t\t{priority:+011} chain {name} [nf_tables]\n" for priority, name in asked]
        lines.append(f"family {family.value} {{\n\thook {hook.value} {{\n{''.join(entries)}\t}}\n}}\n")
    return "".join(lines)

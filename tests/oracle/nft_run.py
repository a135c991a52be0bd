"""The run of the nftables oracle: rule set after rule set, packet after packet; and how often each kind was hit, missed and negated."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

from tests.oracle.kernel import Loaded, Observation
from tests.oracle.lab import Lab
from tests.oracle.netns import CommandFailed
from tests.oracle.nft_hooks import with_hooks
from tests.oracle.nft_kernel import NftEngine, NftKernel, load_what_loads, made_rules
from tests.oracle.nft_rulesets import MadeRule, NftGenerator, NftRuleSet
from tests.oracle.report import shown
from tests.oracle.rulesets import Shot
from tests.oracle.shrink import shrunk

SHOTS = 20


@dataclass(slots=True)
class NftCoverage:
    """Counts by kind. A match is missed where it is the only one, beside the packet's own protocol, of a rule that the kernel passed by."""

    hit: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    negated: Counter[str] = field(default_factory=Counter)
    end_hit: Counter[str] = field(default_factory=Counter)
    end_missed: Counter[str] = field(default_factory=Counter)

    def add(self, loaded: Loaded, made: dict[int, MadeRule], observed: Observation, protocol: str) -> None:
        """Count one packet of *protocol*."""
        taken = {mark.line for mark in observed.marks if mark.line}
        for line in taken & made.keys():
            self.hit.update(made[line].kinds)
            self.negated.update(made[line].negated)
            self.end_hit.update(made[line].ends)
        for (table, chain), lines in loaded.lines.items():
            last = max((m.line or lines[-1] + 1 for m in observed.marks if (m.table, m.chain) == (table, chain)), default=0)
            for line in lines:
                if line < last and line not in taken and line in made:
                    self._missed(made[line], protocol)

    def _missed(self, rule: MadeRule, protocol: str) -> None:
        self.end_missed.update(rule.ends)
        if len(rule.matches) == 1 and rule.protocol in ("", f"meta l4proto {protocol}"):
            self.missed.update(rule.kinds)
            self.negated.update(rule.negated)

    def table(self) -> str:
        """Return the counts as Markdown."""
        lines = ["| match | hit | missed | negated |", "|---|--:|--:|--:|"]
        lines += [
            f"| {n} | {self.hit[n]} | {self.missed[n]} | {self.negated[n] or '–'} |" for n in sorted(self.hit.keys() | self.missed.keys())
        ]
        lines += ["", "| statement | hit | passed by |", "|---|--:|--:|"]
        lines += [f"| {n} | {self.end_hit[n]} | {self.end_missed[n]} |" for n in sorted(self.end_hit.keys() | self.end_missed.keys())]
        return "\n".join(lines)


@dataclass(slots=True)
class NftResult:
    """What a run came to."""

    packets: int = 0
    rule_sets: int = 0
    rules: int = 0
    disagreements: list[str] = field(default_factory=list)
    several: int = 0
    unknown_ends: int = 0
    seconds: float = 0
    ends: Counter[str] = field(default_factory=Counter)
    replies: Counter[str] = field(default_factory=Counter)
    refused: list[str] = field(default_factory=list)
    coverage: NftCoverage = field(default_factory=NftCoverage)

    def summary(self) -> str:
        """Return the figures in a few lines."""
        ends = ", ".join(f"{name} {count}" for name, count in sorted(self.ends.items()))
        replies = ", ".join(f"{name} {count}" for name, count in sorted(self.replies.items()))
        return (
            f"{self.packets} packets through {self.rule_sets} rule sets ({self.rules} rules) in {self.seconds:.0f} s, "
            f"{self.packets / max(self.seconds, 0.001):.0f} packets/s: {len(self.disagreements)} disagreements.\n"
            f"Ends: {ends}. Answers sent back: {replies}.\n"
            f"{self.several} answers had more than one way, {self.unknown_ends} ended as unknown.\n"
            f"Rules that the kernel or nft refused: {len(self.refused)}."
        )


def run(*, seed: int, packets: int = 10**9, seconds: float = 1e9, least: int = 0, shrink: float = 60, most: int = 5) -> NftResult:
    """Run rule sets from *seed* on and return what came of it.

    It ends when *packets* are sent, when *seconds* are over and *least* packets are sent, or with *most* disagreements.
    """
    result = NftResult()
    with Lab() as lab:
        files, started = lab.files(), time.monotonic()
        going = lambda: result.packets < packets and (result.packets < least or time.monotonic() - started < seconds)  # noqa: E731
        while going() and len(result.disagreements) < most:
            for version in (4, 6):
                kernel = NftKernel(lab, version)
                try:
                    _one_set(kernel, files, NftGenerator(seed, version=version), seed, result, shrink)
                finally:
                    kernel.close()
            seed += 1
    result.seconds = time.monotonic() - started
    return result


def _one_set(kernel: NftKernel, files: dict[str, bytes], generator: NftGenerator, seed: int, result: NftResult, shrink: float) -> None:
    rules = generator.rule_set()
    loaded, refused = load_what_loads(kernel, rules)
    result.refused += refused
    result.rule_sets += 1
    result.rules += rules.rule_count
    engine, made = NftEngine(with_hooks(files, loaded), loaded), made_rules(rules, loaded)
    for shot in generator.shots(SHOTS):
        if first := _difference(kernel, engine, loaded, made, shot, result):
            small = shrunk(rules, lambda r, s=shot: _disagree(kernel, files, r, s) is not None, seconds=shrink)  # type: ignore[arg-type, misc]
            text = _disagree(kernel, files, small, shot) or f"(not again when the rule set was made smaller)\n{first}"  # type: ignore[arg-type]
            result.disagreements.append(f"seed {seed}: {text}\n{small.shown()}")
            return


def _difference(
    kernel: NftKernel, engine: NftEngine, loaded: Loaded, made: dict[int, MadeRule], shot: Shot, result: NftResult
) -> str | None:
    """Send *shot*, count it, and return how kernel and engine disagree, None if they do not."""
    result.packets += 1
    observed, answer = kernel.shoot(loaded, shot), engine.ask(shot)
    outcome = engine.agreeing(answer, observed) if sum(o.probability for o in answer.outcomes) == 1 else None
    if outcome is None:
        return shown(loaded, engine, shot, observed, answer)
    result.several += len(answer.outcomes) > 1
    result.unknown_ends += outcome.disposition == "unknown"
    result.ends[outcome.disposition] += 1
    if observed.reply and outcome.reply:
        result.replies[outcome.reply.disposition] += 1
    result.coverage.add(loaded, made, observed, shot.protocol)
    return None


def _disagree(kernel: NftKernel, files: dict[str, bytes], rules: NftRuleSet, shot: Shot) -> str | None:
    """Load *rules*, send *shot*, and return how kernel and engine disagree, None if they do not."""
    try:
        loaded = kernel.load(rules)
    except CommandFailed:
        return None
    engine = NftEngine(with_hooks(files, loaded), loaded)
    observed, answer = kernel.shoot(loaded, shot), engine.ask(shot)
    return None if engine.agreeing(answer, observed) else shown(loaded, engine, shot, observed, answer)

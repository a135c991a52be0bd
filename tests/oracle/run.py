"""The run: rule set after rule set, packet after packet, until enough are done or the time is over."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

from tests.oracle.coverage import Asked, Coverage, listening
from tests.oracle.engine import Engine
from tests.oracle.kernel import Kernel, Loaded, load_what_loads
from tests.oracle.lab import Lab
from tests.oracle.netns import CommandFailed
from tests.oracle.report import shown
from tests.oracle.rulesets import BASES, Generator, RuleSet, Shot
from tests.oracle.shrink import shrunk
from tests.oracle.targets import TARGETS
from tests.oracle.vocabulary import MATCHES, Kind, Place

SHOTS = 20


@dataclass(slots=True)
class Result:
    """What a run came to."""

    packets: int = 0
    rule_sets: int = 0
    rules: int = 0
    chains: int = 0
    disagreements: list[str] = field(default_factory=list)
    several: int = 0
    unknown_ends: int = 0
    seconds: float = 0
    ends: dict[str, int] = field(default_factory=dict)
    replies: dict[str, int] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    coverage: Coverage = field(default_factory=Coverage)

    def summary(self) -> str:
        """Return the figures in a few lines."""
        ends = ", ".join(f"{name} {count}" for name, count in sorted(self.ends.items()))
        replies = ", ".join(f"{name} {count}" for name, count in sorted(self.replies.items()))
        return (
            f"{self.packets} packets through {self.rule_sets} rule sets ({self.rules} rules in {self.chains} chains) in {self.seconds:.0f} s, "
            f"{self.packets / max(self.seconds, 0.001):.0f} packets/s: {len(self.disagreements)} disagreements.\n"
            f"Ends: {ends}. Answers sent back: {replies}.\n"
            f"{self.several} answers had more than one way, {self.unknown_ends} ended as unknown.\n"
            f"Rules that the kernel or iptables refused: {len(self.refused)}."
        )


def back_ends() -> Iterator[tuple[str, int]]:
    """Yield (back end, IP version) for what this machine has."""
    for backend in ("nft", "legacy"):
        for version, program in ((4, "iptables"), (6, "ip6tables")):
            if shutil.which(f"{program}-{backend}-restore"):
                yield backend, version


def usable(lab: Lab) -> list[tuple[str, int]]:
    """Return the back ends whose tables this kernel really has."""
    found = []
    for backend, version in back_ends():
        program = f"{'ip' if version == 4 else 'ip6'}tables-{backend}-restore"
        try:
            lab.node.run(program, text="".join(f"*{table}\nCOMMIT\n" for table in BASES))
            found.append((backend, version))
        except CommandFailed:
            continue
    return found


def run(
    *,
    seed: int,
    packets: int = 10**9,
    seconds: float = 1e9,
    least: int = 0,
    only: tuple[str, int] | None = None,
    shrink: float = 60,
    most: int = 5,
) -> Result:
    """Run rule sets from *seed* on and return what came of it.

    It ends when *packets* are sent, when *seconds* are over and *least* packets are sent, or with *most* disagreements.
    """
    result = Result()
    with ExitStack() as stack:
        lab = stack.enter_context(Lab())
        files = lab.files()
        wanted = [x for x in usable(lab) if only is None or x == only]
        untested = {x: probe(lab, *x, result) for x in wanted}
        started = time.monotonic()
        going = lambda: result.packets < packets and (result.packets < least or time.monotonic() - started < seconds)  # noqa: E731
        while wanted and going() and len(result.disagreements) < most:
            for backend, version in wanted:
                if going() and len(result.disagreements) < most:
                    kernel = Kernel(lab, backend, version)
                    try:
                        _one_set(kernel, files, Generator(seed, version=version, untested=untested[backend, version]), seed, result, shrink)
                    finally:
                        kernel.close()
            seed += 1
    result.seconds = time.monotonic() - started
    return result


def _one_set(kernel: Kernel, files: dict[str, bytes], generator: Generator, seed: int, result: Result, shrink: float) -> None:
    rules = generator.rule_set()
    loaded, refused = load_what_loads(kernel, rules)
    result.refused += refused
    engine = Engine(files, loaded)
    result.rule_sets += 1
    result.rules += rules.rule_count
    result.chains += sum(1 for chains in rules.tables.values() for c in chains if c.rules)
    for shot in generator.shots(SHOTS):
        if (first := _difference(kernel, engine, loaded, shot, result)) is not None:
            small = shrunk(rules, lambda r, s=shot: _disagree(kernel, files, r, s) is not None, seconds=shrink)
            text = _disagree(kernel, files, small, shot) or f"(seen once)\n{first}"
            result.disagreements.append(f"seed {seed}: {text}\n{small.text()}")
            return


def _difference(kernel: Kernel, engine: Engine, loaded: Loaded, shot: Shot, result: Result) -> str | None:
    """Send one packet, count what came of it, and return how kernel and engine disagree, None if they do not."""
    result.packets += 1
    observed = kernel.shoot(loaded, shot)
    asked = Asked()
    with listening(asked):
        answer = engine.ask(shot)
    outcome = engine.agreeing(answer, observed) if sum(o.probability for o in answer.outcomes) == 1 else None
    if outcome is None:
        return shown(loaded, engine, shot, observed, answer)
    result.several += len(answer.outcomes) > 1
    result.unknown_ends += outcome.disposition == "unknown"
    result.ends[outcome.disposition] = result.ends.get(outcome.disposition, 0) + 1
    if observed.reply and outcome.reply:
        result.replies[outcome.reply.disposition] = result.replies.get(outcome.reply.disposition, 0) + 1
    result.coverage.add(loaded, observed, asked, certain=len(answer.outcomes) == 1)
    return None


def _disagree(kernel: Kernel, files: dict[str, bytes], rules: RuleSet, shot: Shot) -> str | None:
    """Load *rules*, send *shot*, and return how kernel and engine disagree, None if they do not."""
    try:
        loaded = kernel.load(rules)
    except CommandFailed:
        return None
    engine = Engine(files, loaded)
    observed, answer = kernel.shoot(loaded, shot), engine.ask(shot)
    return None if engine.agreeing(answer, observed) else shown(loaded, engine, shot, observed, answer)


def probe(lab: Lab, backend: str, version: int, result: Result) -> frozenset[str]:
    """Load a tiny rule set for every match and target; return those that this kernel lacks, and note why."""
    lacking: set[str] = set()
    kernel = Kernel(lab, backend, version)
    _account(kernel)
    try:
        kernel.load(Generator(0, version=version).rule_set_of_nothing())
        for kind in (*MATCHES, *TARGETS):
            place = _somewhere(kind, version)
            if place is None:
                continue
            text = Generator(1, version=version).one_rule(kind, place)
            if (why := kernel.refusal(text)) is not None:
                lacking.add(kind.name)
                result.coverage.untested[f"{kind.name} ({backend}, IPv{version})"] = why
    finally:
        kernel.close()
    return frozenset(lacking)


def _account(kernel: Kernel) -> None:
    try:
        kernel.conntrack.add_account("oracle")
    except OSError:  # it is there already, or the kernel has no accounting: then the probe says so
        return


def _somewhere(kind: Kind, version: int) -> Place | None:
    """A place where iptables allows *kind*."""
    for table, hooks in BASES.items():
        for hook in hooks:
            for protocol in (None, "tcp", "udp"):
                place = Place(version=version, table=table, hooks=frozenset([hook]), built_in=True, protocol=protocol)
                if kind.allowed(place):
                    return place
    return None

"""Native nftables rules in the kernel, and the same rules in the engine: what differs from the iptables oracle."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tests.oracle.engine import Engine, Place, _is_sure
from tests.oracle.kernel import Kernel, Loaded, Mark, Observation
from tests.oracle.lab import NODE, Lab
from tests.oracle.netlink import Conntrack, NftTrace
from tests.oracle.netns import CommandFailed
from tests.oracle.nft_rulesets import TRACING, MadeRule, NftRuleSet
from tests.oracle.rulesets import Shot
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster
from tracer.trace import Hop, Outcome

_ENDS = re.compile(r"(?:^|\s)(?:drop|reject)(?:\s|$)", re.ASCII)


def listed(version: int, dump: str) -> Loaded:
    """Return a rule set as ``nft list ruleset`` prints it, each rule known by its line."""
    lines: dict[tuple[str, str], list[int]] = {}
    policies: dict[tuple[str, str], str] = {}
    table, chain, inside = "", "", False
    for number, line in enumerate(dump.splitlines(), 1):
        words = line.split()
        if line.startswith("table "):
            table = words[2]
        elif line.startswith("\tchain "):
            chain, inside = words[1], True
            policies[table, chain] = "-"
        elif line == "\t}":
            inside = False
        elif inside and line.startswith("\t\ttype "):
            policies[table, chain] = "DROP" if "policy drop" in line else "ACCEPT"
        elif inside and line.strip():
            lines.setdefault((table, chain), []).append(number)
    return Loaded("native", version, dump, "", {k: tuple(v) for k, v in lines.items()}, policies, tuple(dump.splitlines()))


class NftKernel(Kernel):
    """The kernel with native rules, of all families at once."""

    def __init__(self, lab: Lab, version: int) -> None:
        self.lab, self.backend, self.version = lab, "native", version
        self._trace = NftTrace(lab.node)
        self.conntrack = Conntrack(lab.node)
        self._uses_recent = self._changes_sets = False
        self._grown: list[str] = []
        self._own = False

    def close(self) -> None:
        """Take the rules away."""
        self.lab.node.run("nft", "flush", "ruleset")
        self._trace.close()
        self.conntrack.close()

    def load(self, rules: NftRuleSet) -> Loaded:  # type: ignore[override]
        """Put *rules* into the kernel. :raises CommandFailed: it does not take them."""
        self.lab.node.run("nft", "-f", "/dev/stdin", text="flush ruleset\n")
        self.lab.node.run("nft", "-f", "/dev/stdin", text=rules.text())
        self._trace.learn()
        self._grown = [f"flush set {table} grow{rules.version}\n" for table in rules.tables if f"@grow{rules.version} {{" in rules.text()]
        return listed(self.version, self.lab.node.run("nft", "list", "ruleset"))

    def _read(self, loaded: Loaded, marks: list[Mark]) -> bool:
        before = len(marks)
        for event in self._trace.waiting():
            if event.version not in (0, loaded.version) or event.table == TRACING:
                continue
            if event.position is None:
                marks.append(Mark(event.table, event.chain, None))
            else:
                found = loaded.lines.get((event.table, event.chain), ())
                line = found[event.position] if 0 <= event.position < len(found) else -1
                marks.append(Mark(event.table, event.chain, line))
        return len(marks) > before

    def _answered(self, loaded: Loaded, device: str, header: object) -> Observation:
        """Leave out what else is traced: what the node's own socket says to the answer, and a reset on its way before its rule is told."""
        observed = super()._answered(loaded, device, header)  # type: ignore[arg-type]
        marks = observed.marks
        arrived = any(place == "local" for place, _ in observed.seen.headers)
        ends = ("output", "postrouting") if self._own and arrived else ("output",)
        own = next((n for n, mark in enumerate(marks) if self._hook(loaded, mark) in ends), len(marks))
        last = marks[-1:] if own < len(marks) and marks[-1].line and "tcp reset" in self._text(loaded, marks[-1]) else ()
        return Observation((*marks[:own], *last), observed.seen)

    @staticmethod
    def _hook(loaded: Loaded, mark: Mark) -> str:
        """The hook of a base chain, nothing for another."""
        table = ""
        for at, line in enumerate(loaded.texts):
            if line.startswith("table "):
                table = line.split()[2]
            elif table == mark.table and line == f"\tchain {mark.chain} {{":
                found = re.match(r"\t\ttype \S+ hook (\S+)", loaded.texts[at + 1])
                return found[1] if found else ""
        return ""

    def _is_end(self, loaded: Loaded, mark: Mark) -> bool:
        if mark.line is None:
            return loaded.policies.get((mark.table, mark.chain)) == "DROP"
        return mark.line > 0 and bool(_ENDS.search(re.sub(r'"[^"]*"|\{[^}]*\}', "", loaded.texts[mark.line - 1])))

    def _forget(self, loaded: Loaded) -> None:
        super()._forget(loaded)
        if self._grown:
            self.lab.node.run("nft", "-f", "/dev/stdin", text="".join(self._grown))

    def shoot(self, loaded: Loaded, shot: Shot) -> Observation:
        """Send *shot* and return what became of it."""
        self._own = shot.source == "node"
        observed = super().shoot(loaded, shot)
        refused = observed.marks and observed.marks[-1].line and "reject" in loaded.texts[observed.marks[-1].line - 1]
        if refused and not observed.seen.refusals:
            self.lab.collect(observed.seen, 2)
        return observed


class NftEngine(Engine):
    """One loaded rule set, as a snapshot."""

    def __init__(self, files: Mapping[str, bytes], loaded: Loaded) -> None:
        own = {f"nodes/{NODE}/nft-ruleset.txt": loaded.dump.encode()}
        self._loaded = loaded
        self._cluster = Cluster.from_snapshot(Snapshot.from_files({**files, **own}))

    def places(self, outcome: Outcome, hops: tuple[Hop, ...] | None = None) -> list[Place]:
        """Return the rules and policies that *outcome* passes in the node, the table that switches the trace on left out."""
        steps = [s for hop in (outcome.hops if hops is None else hops) if hop.node is not None for s in hop.steps]
        kept = [s for s in steps if s.event is None and s.table != TRACING]
        return [Place(Mark(s.table, s.chain, None if s.rule is None else s.line), _is_sure(s, outcome)) for s in kept]


def load_what_loads(kernel: NftKernel, rules: NftRuleSet) -> tuple[Loaded, list[str]]:
    """Load *rules*, leaving out what this kernel or nft refuses; return that with the reasons."""
    refused: list[str] = []
    while True:
        try:
            return kernel.load(rules), refused
        except CommandFailed as error:
            why = " ".join(str(error).split())[-200:]
            refused += [f"{text}   ({why})" for text in rules.drop(str(error))]


def made_rules(rules: NftRuleSet, loaded: Loaded) -> dict[int, MadeRule]:
    """Return which made rule stands in which line of the listing."""
    found = {}
    for table, chains in rules.tables.items():
        for chain in chains:
            lines = loaded.lines.get((table.split()[1], chain.name), ())
            found.update(zip(lines, chain.rules, strict=True))
    return found

"""What is said at the end of collecting: what was taken, what was not there, what was refused (each reason once), and what to do next.

collect.sh says the same in the same words.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tracer.packet import Family
from tracer.snapshot.node_files import DUMPS, HNS_ENDPOINTS, NFT_LISTINGS, names
from webapp.collecting.collection import Entry, How
from webapp.collecting.platforms import OTHERWISE, PROGRAM, Platform

NOT_ALLOWED = "Not allowed: "
_NO_PROGRAM = "The container has no program "
_REASONS = (NOT_ALLOWED, "No debug pod runs there: ", _NO_PROGRAM, "(you must be root)", "Operation not permitted")
"""Reasons that differ in names only: what has one of them is one line."""
_SHOWN = 3
RULES = frozenset(names((*DUMPS[Family.IP], *NFT_LISTINGS)))
"""Whoever has none of these is without rules."""
_NOT_TO_BE_READ = ("It has ", "It does ")
"""How the reason begins why a pod has no stack that could be read."""


def report(entries: Iterable[Entry], most: int = 30) -> str:
    """Return in words what was taken, what was not there to be read, and what was refused or failed."""
    entries = tuple(entries)
    taken = [entry for entry in entries if entry.how is How.TAKEN]
    of = {whose: [entry for entry in taken if _whose(entry) == whose] for whose in ("", "nodes", "pods")}
    pods = f", {len(of['pods'])} files of the own stacks of {len(_stacks(of['pods']))} pods" if of["pods"] else ""
    lines = [f"Taken: {len(of[''])} files of the cluster, {len(of['nodes'])} files of {len(_stacks(of['nodes']))} nodes{pods}."]
    lacking = _together((entry, _reason(entry)) for entry in entries if entry.how is How.LACKING)
    lines += [f"Not there to be read, {_where(same)}: {some(_names(same))} ({_lacking(same)})" for same in lacking]
    failed = [entry for entry in entries if entry.how is How.FAILED]
    if failed:
        kinds = [_folded(same) for same in _together((entry, _reason(entry)) for entry in failed)]
        lines += [f"Refused or failed: {len(failed)} files", *kinds[:most]]
        if len(kinds) > most:
            lines.append(f"  and {len(kinds) - most} more, see snapshot.json")
    return "\n".join(lines)


def failures_of(entries: Iterable[Entry]) -> str:
    """Return the lines that say of one node what failed there, each reason once; nothing where nothing did."""
    failed = _together((entry, entry.error) for entry in entries if entry.how is How.FAILED)
    return "".join(f"\n    {some(_names(same))}: {same[0].error}" for same in failed)


def left(entries: Iterable[Entry]) -> tuple[str, ...]:
    """Return the Linux nodes whose rules are not there, of those that were to be read."""
    found: dict[str, bool] = {}
    for entry in entries:
        if entry.stack is not None and entry.path.count("/") == 2 and entry.name != HNS_ENDPOINTS.name:
            found[entry.stack] = found.get(entry.stack, False) or (entry.how is How.TAKEN and entry.name in RULES)
    return tuple(node for node, has_rules in found.items() if not has_rules)


def left_stacks(entries: Iterable[Entry]) -> tuple[str, ...]:
    """Return the pods' own stacks whose rules are not there, of those that were to be read."""
    found: dict[str, bool] = {}
    for entry in entries:
        if entry.stack is not None and _whose(entry) == "pods" and not entry.error.startswith(_NOT_TO_BE_READ):
            found[entry.stack] = found.get(entry.stack, False) or (entry.how is How.TAKEN and entry.name in RULES)
    return tuple(stack for stack, has_rules in found.items() if not has_rules)


def next_step(entries: Iterable[Entry], platform: Platform | None, readings: str, program: str, target: str) -> str:
    """Return what to do next: where the rules of a node are missing how to get at them there, then what to do with *target*."""
    lines = [f"The cluster looks like {platform.name}."] if platform else []
    entries = tuple(entries)
    without = left(entries)
    if readings == "none":
        lines.append("No node was read: a trace ends in unknown where a node decides.")
    elif without:
        lines.append(f"Without rules: {some(without)}. Traces end in unknown there.")
        advice = platform.advice if platform else OTHERWISE
        if readings == "debug":
            advice = "See above why. Another namespace or image: --debug-namespace, --debug-image."
        lines.append(advice.replace(PROGRAM, program))
        if readings == "auto":
            lines.append(f"{program} --readings auto --allow-debug makes pods on these nodes only, and removes them.")
    if pods := tuple(map(_called, left_stacks(entries))):
        lines.append(f"Without rules of their own: pods {some(pods)}. A sidecar or a firewall in them is not known.")
        if readings != "debug":
            way = f"{program} --readings auto --allow-debug --pod-stacks WHICH"
            lines.append(f"{way} reads them from their nodes, in pods that it makes and removes.")
    return "\n".join([*lines, f"Next: open {target} in Hopline (page Snapshots), or: manage.py import_snapshot {target}"])


def some(all_names: Sequence[str]) -> str:
    """Return the first of *all_names*, and how many more there are."""
    more = len(all_names) - _SHOWN
    return ", ".join(all_names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _together(reasons: Iterable[tuple[Entry, str]]) -> tuple[tuple[Entry, ...], ...]:
    found: dict[tuple[str, str], list[Entry]] = {}
    for entry, reason in reasons:
        found.setdefault((_whose(entry), reason), []).append(entry)
    return tuple(map(tuple, found.values()))


def _reason(entry: Entry) -> str:
    return next((reason for reason in _REASONS if reason in entry.error), entry.error)


def _lacking(same: Sequence[Entry]) -> str:
    if not same[0].error.startswith(_NO_PROGRAM):
        return same[0].error
    return f"{_NO_PROGRAM}{', '.join(dict.fromkeys(entry.error.removeprefix(_NO_PROGRAM).rstrip('.') for entry in same))}."


def _folded(same: Sequence[Entry]) -> str:
    if len(same) == 1:
        return f"  {same[0].path}: {same[0].error}"
    stacks = tuple(map(_called, _stacks(same)))
    return f"  {len(same)} files of {some(stacks)}: {same[0].error}" if stacks else f"  {some(_names(same))}: {same[0].error}"


def _whose(entry: Entry) -> str:
    """Return which kind of file it is: the cluster's (""), a node's, or a pod's own."""
    return "" if entry.stack is None else "pods" if "/" in entry.stack else "nodes"


def _where(same: Sequence[Entry]) -> str:
    whose = _whose(same[0])
    return f"{'in' if whose == 'pods' else 'on'} {len(_stacks(same))} {whose or 'nodes'}"


def _called(stack: str) -> str:
    """Return what people call *stack*: the node, or the pod as NAMESPACE/NAME."""
    return stack.rpartition("/")[2].replace("_", "/", 1)


def _stacks(same: Iterable[Entry]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(entry.stack for entry in same if entry.stack is not None))


def _names(same: Iterable[Entry]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(entry.name for entry in same))

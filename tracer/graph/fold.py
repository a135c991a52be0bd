"""What is drawn one by one and what as a stack, by the rules of ui.md 5.6. Folding is decided here, not by whoever draws.

Nodes behind a load balancer fold when their rules did the same. Endpoints fold by node or zone, never together with one that
behaves differently, and the followed path is never folded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

from tracer.graph.model import stable_id
from tracer.graph.paths import Path
from tracer.values import dataclass

EVERY_ROW = 6
BY_NODE = 40
MOST_STACKS = 6
UNEVEN = Fraction(1, 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The paths that end at one endpoint, or at all the endpoints of one stack (*label* then says what they share)."""

    key: str
    paths: tuple[Path, ...]
    targets: int = 1
    label: str = ""
    fold: str = ""

    @property
    def first(self) -> Path:
        """Return the path that stands for the row."""
        return self.paths[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Nodes:
    """The nodes behind a load balancer: those drawn, how many each stands for, and the odds of all these together."""

    drawn: tuple[str, ...]
    alike: Mapping[str, int]
    total: int
    shares: Mapping[str, Fraction]


def fold_nodes(paths: Sequence[Path], followed: Path, *, every: bool) -> Nodes:
    """Return which entry nodes are drawn: the followed one for all that did the same, and one for each other behaviour."""
    groups: dict[str, list[Path]] = {}
    for path in paths:
        groups.setdefault(path.entry, []).append(path)
    total = len(groups)
    odds = {name: sum((path.probability for path in group), Fraction(0)) for name, group in groups.items()}
    if every or total == 1:
        return Nodes(drawn=tuple(sorted(groups)), alike=dict.fromkeys(groups, 1), total=total, shares=odds)
    alike: dict[tuple[object, ...], list[str]] = {}
    for name in sorted(groups):
        alike.setdefault(_signature(groups[name]), []).append(name)
    drawn = {(followed.entry if followed.entry in names else names[0]): names for names in alike.values()}
    shares = {name: sum((odds[one] for one in names), Fraction(0)) for name, names in drawn.items()}
    return Nodes(drawn=tuple(sorted(drawn)), alike={name: len(names) for name, names in drawn.items()}, total=total, shares=shares)


def _signature(paths: Sequence[Path]) -> tuple[object, ...]:
    whole = sum((path.probability for path in paths), Fraction(0)) or Fraction(1)
    return tuple(sorted((path.target, path.behaviour, path.rules, path.probability / whole) for path in paths))


def fold_rows(
    paths: Sequence[Path],
    followed: Path,
    *,
    group: str,
    zones: Mapping[str, str],
    expanded: frozenset[str],
    keep: frozenset[str] = frozenset(),
) -> tuple[tuple[Row, ...], str]:
    """Return the rows to draw, the followed one last and those that behave differently first, and what they are folded by ("" for nothing).

    *group* is node, zone, none, or empty for the default by size; *zones* maps node names to zones; *expanded* are folds to open;
    *keep* are targets that were searched for: up to EVERY_ROW of them stay out of the stacks.
    """
    targets: dict[str, list[Path]] = {}
    for path in paths:
        targets.setdefault(path.target, []).append(path)
    rows = [Row(key=key, paths=tuple(found)) for key, found in targets.items()]
    by = group or _default(len(rows))
    if by == "zone" and not group and not any(zones.get(row.first.node) for row in rows):
        by = "node"
    if by == "none":
        return _ordered(rows, followed), ""
    label = _by_node if by == "node" else _by_zone(zones)
    wanted = {followed.target, *sorted(keep & targets.keys())[:EVERY_ROW]} if len(keep) < len(rows) else {followed.target}
    kept = [row for row in rows if row.key in wanted]
    stacks = _stacks([row for row in rows if row.key not in wanted], label, expanded)
    return _ordered([*_at_most(stacks, MOST_STACKS), *kept], followed), by


def _default(rows: int) -> str:
    if rows <= EVERY_ROW:
        return "none"
    return "node" if rows <= BY_NODE else "zone"


def _by_node(path: Path) -> str:
    return path.node or "no node"


def _by_zone(zones: Mapping[str, str]) -> Callable[[Path], str]:
    return lambda path: zones.get(path.node) or "zone not known"


def _stacks(rows: Sequence[Row], label: Callable[[Path], str], expanded: frozenset[str]) -> list[Row]:
    """Return *rows* with those that share label, behaviour and odds put together."""
    groups: dict[tuple[object, ...], list[Row]] = {}
    levels = _levels(rows)
    for row in rows:
        groups.setdefault((label(row.first), row.first.behaviour, levels[row.key]), []).append(row)
    found: list[Row] = []
    for (name, *rest), members in groups.items():
        fold = stable_id("f", name, *rest)
        if len(members) == 1 or fold in expanded:
            found.extend(members)
        else:
            paths = tuple(path for row in members for path in row.paths)
            found.append(Row(key=fold, paths=paths, targets=len(members), label=str(name), fold=fold))
    return found


def _levels(rows: Sequence[Row]) -> dict[str, int]:
    """Return for each row a number that is the same for odds within one per cent: the kernel's 31 bits blur equal shares."""
    odds = sorted((sum((path.probability for path in row.paths), Fraction(0)), row.key) for row in rows)
    levels: dict[str, int] = {}
    level, floor = 0, Fraction(0)
    for share, key in odds:
        if share > floor * (1 + UNEVEN):
            level, floor = level + 1, share
        levels[key] = level
    return levels


def _at_most(rows: list[Row], most: int) -> list[Row]:
    """Return *rows* with the smallest stacks of the same behaviour put together until at most *most* stacks are left."""
    stacks = sorted((row for row in rows if row.fold), key=lambda row: (-row.targets, row.key))
    if len(stacks) <= most:
        return rows
    rest: dict[tuple[str, ...], list[Row]] = {}
    for row in stacks[most - 1 :]:
        rest.setdefault(row.first.behaviour, []).append(row)
    merged = [_merged(members) for members in rest.values()]
    return [row for row in rows if not row.fold] + stacks[: most - 1] + merged


def _merged(rows: Sequence[Row]) -> Row:
    if len(rows) == 1:
        return rows[0]
    key = stable_id("f", *(row.key for row in rows))
    return Row(
        key=key, paths=tuple(p for row in rows for p in row.paths), targets=sum(row.targets for row in rows), label="elsewhere", fold=key
    )


def squeeze(rows: Sequence[Row], followed: Path, most: int) -> tuple[Row, ...]:
    """Return at most *most* rows: what behaves alike is put together, whatever it was folded by; the followed row stays."""
    kept = [row for row in rows if row.first.target == followed.target and not row.fold]
    others = [row for row in rows if row not in kept]
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in others:
        groups.setdefault(row.first.behaviour, []).append(row)
    found: list[Row] = []
    room = max(most - len(kept), len(groups))
    each = max(1, room // max(1, len(groups)))
    for members in groups.values():
        found.extend(members[: each - 1])
        if rest := members[each - 1 :]:
            found.append(_merged(rest))
    return _ordered([*found, *kept], followed)


def _ordered(rows: Sequence[Row], followed: Path) -> tuple[Row, ...]:
    def place(row: Row) -> tuple[object, ...]:
        return (row.key == followed.target, row.first.disposition == "delivered", bool(row.fold), row.label, row.first.title, row.key)

    return tuple(sorted(rows, key=place))

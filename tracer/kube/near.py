"""The nearest names to one that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(text: str, names: Iterable[str], *, count: int = 5) -> tuple[str, ...]:
    """Return up to *count* of *names* that look most like *text*, best first.

    The same last part in another namespace comes before what merely looks alike. A first part that two names share makes them no more
    alike: it is the last parts that have to be.
    """
    names = tuple(dict.fromkeys(names))
    wanted = text.lower()
    last = wanted.rpartition("/")[2]
    same = [n for n in names if n.lower().rpartition("/")[2] == last]
    within = [n for n in names if last and last in n.lower()] if len(last) > 2 else []
    alike = [a for a in difflib.get_close_matches(wanted, [n.lower() for n in names], n=count, cutoff=0.6) if _is_alike(a, last)]
    spelled = {n.lower(): n for n in names}
    return tuple(dict.fromkeys([*same, *(spelled[a] for a in alike), *within[:count]]))[:count]


def _is_alike(name: str, last: str) -> bool:
    return difflib.SequenceMatcher(None, name.rpartition("/")[2], last).ratio() >= 0.6

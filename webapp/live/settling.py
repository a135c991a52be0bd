"""Whether a change of a followed cluster is still under way: its objects are known, and its nodes have not been read since.

An answer of that moment is of two moments. Shown to somebody who has a whole one, it would say for a second that rules are behind.
"""

from __future__ import annotations

from django.conf import settings

from tracer.kube.kinds import Follows, moving
from tracer.snapshot.node_files import READ
from webapp.models import LiveItem, LiveSource
from webapp.reading.paths import FOLDERS

_FOLLOWING = frozenset(file.name for file in READ if file.follows_events)
_RULING = tuple(f"objects/{FOLDERS[kind]}/" for kind in sorted(moving(Follows.SERVICE_RULES, Follows.WAYS)) if kind in FOLDERS)


def is_settling(row: LiveSource, since: int, now: float) -> bool:
    """Return whether what changed after the generation *since* waits for a node that is read well; *now* in Unix seconds.

    Never for longer than ``SETTLE_SECONDS`` after the first of these changes: a cluster that never rests is shown as it is.
    """
    changes = LiveItem.objects.filter(source=row.id, generation__gt=since).values_list("path", "seen_at")
    changed = [seen_at for path, seen_at in changes.iterator() if path.startswith(_RULING)]
    if not changed or now - min(changed) >= settings.SETTLE_SECONDS:
        return False
    read = [_read_at(told) for node, told in row.nodes.items() if not told.get("error") and "/pods/" not in node]
    return any(0 < at <= max(changed) for at in read)


def _read_at(told: dict[str, dict[str, dict[str, float]]]) -> float:
    """Return when a node was last read, in Unix seconds, as far as what follows events goes; 0 where it never was."""
    return max((file.get("read_at", 0.0) for name, file in told.get("files", {}).items() if name in _FOLLOWING), default=0.0)

"""Whether a change of a followed cluster is still under way: its objects are known, and its nodes have not been read since.

An answer of that moment is of two moments. Shown to somebody who has a whole one, it would say for a second that rules are behind.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings

from tracer.kube.kinds import Follows, moving
from tracer.snapshot.node_files import READ
from webapp.models import LiveItem, LiveSource
from webapp.reading.paths import FOLDERS

_FOLLOWING = frozenset(file.name for file in READ if file.follows_events)
_RULING = tuple(f"objects/{FOLDERS[kind]}/" for kind in sorted(moving(Follows.SERVICE_RULES, Follows.WAYS)) if kind in FOLDERS)


_LOOKED_BACK = 60.0


def is_settling(row: LiveSource, since: int, now: float) -> bool:
    """Return whether what changed after the generation *since* waits for a node that is read well; *now* in Unix seconds.

    Not for longer than ``SETTLE_SECONDS`` after the first of these changes, as far as is known: of an object that changes again only the
    last time is. So whoever asks counts as well (``live.js``): a cluster that never rests is shown as it is.
    """
    read = [_read_at(told) for node, told in row.nodes.items() if not told.get("error") and "/pods/" not in node]
    waited_for = min((at for at in read if at > 0), default=None)
    if waited_for is None:
        return False
    changes = LiveItem.objects.filter(source=row.id, generation__gt=since, seen_at__gte=max(waited_for, now - _LOOKED_BACK))
    pending = [at for path, at in changes.values_list("path", "seen_at").iterator() if path.startswith(_RULING)]
    return bool(pending) and now - min(pending) < settings.SETTLE_SECONDS


def _read_at(told: dict[str, Any]) -> float:
    """Return since when everything of a node that follows events was read, in Unix seconds; 0 where nothing ever was.

    What it lacks, and what could not be read, is not waited for.
    """
    files = told.get("files", {}).items()
    return min((f["read_at"] for name, f in files if name in _FOLLOWING and f.get("read_at") and not f.get("error")), default=0.0)

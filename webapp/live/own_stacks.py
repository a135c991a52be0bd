"""Which pods' own stacks the node reader is to read, by node, as the watched pods and EndpointSlices say.

``note`` and ``unwanted`` are called in the writer's thread, ``of`` by those who read nodes.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterable, Mapping, Sequence

from webapp.pods_wanted import PodsWanted
from webapp.reading.changes import StoredChange
from webapp.reading.paths import ObjectPath, parse_path
from webapp.reading.pod_stacks import WantedPods, too_many, within_bound

logger = logging.getLogger(__name__)


class OwnStacks:
    """Follows the pods that are *wanted*; nothing is where none are. *known* are the stacks that were read before it."""

    def __init__(self, wanted: Sequence[PodsWanted], known: Iterable[str] = ()) -> None:
        self._pods = WantedPods(wanted)
        self._lock = threading.Lock()
        self._known = {name for name in known if "/pods/" in name}
        self._is_new = True
        self._on: dict[str, dict[str, str]] = {}
        self._more = 0

    def note(self, changes: Iterable[StoredChange]) -> None:
        """Take what changed."""
        matters = [self._note(change) for change in changes]
        if any(matters) or self._is_new:
            self._is_new = False
            stacks, more = within_bound(self._pods.stacks())
            if more and more != self._more:
                logger.warning("%s", too_many(more))
            on: dict[str, dict[str, str]] = {}
            for stack in stacks:
                on.setdefault(stack.node, {})[stack.uid] = stack.stack
            with self._lock:
                self._on, self._more = on, more

    def unwanted(self) -> tuple[str, ...]:
        """Return the stacks that are read no more, each once: nobody wants them now, or their pods do not run."""
        if self._is_new:
            return ()
        wanted = {stack for on in self._on.values() for stack in on.values()}
        left = tuple(sorted(self._known - wanted))
        self._known = wanted
        return left

    def of(self, node: str) -> Mapping[str, str]:
        """Return uid → what its stack is called, of the pods on *node* that are to be read."""
        with self._lock:
            return self._on.get(node, {})

    def _note(self, change: StoredChange) -> bool:
        match parse_path(change.path):
            case ObjectPath(kind="Pod", namespace=namespace, name=name):
                return self._pods.note_pod((namespace, name), _value(change))
            case ObjectPath(kind="EndpointSlice", namespace=namespace, name=name):
                return self._pods.note_slice((namespace, name), _value(change))
        return False


def _value(change: StoredChange) -> Mapping[str, object] | None:
    return None if change.after is None else json.loads(change.after)

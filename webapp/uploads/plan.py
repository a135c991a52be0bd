"""What the first pass over an archive decides: which of its files are read, under which names, and what is left out.

A name that stands twice: the later one counts, as where it is unpacked. Logs are told once, with how many there are.
"""

from __future__ import annotations

from webapp.uploads.entry import LeftOut
from webapp.uploads.limits import MB
from webapp.uploads.walk import LOG, Item

Key = tuple[int, int]
_MOST_TOLD = 200
# Top folders that mean something: an archive of nothing but nodes/ is not one wrapped in a folder called "nodes".
_LAYOUT_FOLDERS = frozenset({"nodes", "namespaces", "cluster-resources", "cluster-scoped-resources"})


class Plan:
    """Takes the items of the first pass, one after the other; *left_out* is what was left out before."""

    def __init__(self, left_out: tuple[LeftOut, ...] = ()) -> None:
        self._told, self._more = list(left_out[:_MOST_TOLD]), max(0, len(left_out) - _MOST_TOLD)
        self._names: dict[Key, str] = {}
        self._latest: dict[str, Key] = {}
        self._closed: set[Key] = set()
        self._logs, self._log_bytes, self._log = 0, 0, ""

    def add(self, item: Item) -> None:
        """Decide about one file."""
        key = (item.place, item.number)
        if item.closes:
            self._closed.add(key)
            self._names = {k: name for k, name in self._names.items() if not (k == key or (k[0] == item.place and not item.number))}
        if item.why_not == LOG:
            self._logs, self._log_bytes, self._log = self._logs + 1, self._log_bytes + item.size, self._log or item.name
        elif item.why_not:
            self._leave_out(item.name, item.why_not)
        else:
            before = self._latest.get(item.name)
            if before is not None and self._names.pop(before, None) is not None:
                self._leave_out(item.name, "stands more than once; the last one is read")
            self._names[key], self._latest[item.name] = item.name, key

    def is_closed(self, place: int, number: int) -> bool:
        """Return whether nothing is to be read of this file, or of the archive that it is."""
        return (place, number) in self._closed

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """What is not read, the logs in one."""
        logs = f"{LOG}{f', as {self._logs - 1:,} more are' if self._logs > 1 else ''} ({self._log_bytes / MB:,.1f} MB)"
        more = LeftOut(path=f"... and {self._more:,} more", why="left out for such reasons")
        return (*self._told, *([more] if self._more else ()), *([LeftOut(path=self._log, why=logs)] if self._logs else ()))

    def names(self, *, may_strip: bool) -> dict[Key, str]:
        """Return the name of each file that is read; *may_strip*: without the folders that are around all of them."""
        names = self._names
        while may_strip and (inner := _without_top_folder(names)) is not names:
            names = inner
        return names

    def _leave_out(self, name: str, why: str) -> None:
        if len(self._told) < _MOST_TOLD:
            self._told.append(LeftOut(path=name, why=why))
        else:
            self._more += 1


def _without_top_folder(names: dict[Key, str]) -> dict[Key, str]:
    tops = {name.partition("/")[0] for name in names.values()}
    if len(tops) != 1 or tops & _LAYOUT_FOLDERS or not all("/" in name for name in names.values()):
        return names
    return {key: name.partition("/")[2] for key, name in names.items()}

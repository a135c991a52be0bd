"""What a page of a followed cluster shows by now: it stays where it is when the cluster moves, as far as that is still there."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence

from tracer.graph import Path, most_likely, named
from tracer.patterns import pattern
from tracer.values import dataclass

_FOLLOWED = pattern(r"(?P<id>[0-9a-f]{10})\.(?P<end>[0-9a-f]{10})(?: (?P<wish>[0-9a-f]{10}\.[0-9a-f]{10}))?", re.ASCII)
_STEP = pattern(r"[1-9][0-9]{0,5}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """The path that is followed, by its id and by where it ends, and the step; nothing for a page that is opened.

    A path has another id as soon as its rules are others; where it ends stays the same. *wish* (``ID.END``) is what was followed
    before, while an answer lacks it: a moment in which its node's rules are not known must not lead the reader elsewhere for good.
    """

    path: str = ""
    end: str = ""
    wish: str = ""
    step: int | None = None

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> Shown:
        """Return what the browser says in its headers; what cannot be read is taken for nothing."""
        followed = _FOLLOWED.fullmatch(headers.get("Hopline-Follow", ""))
        step = headers.get("Hopline-Step", "")
        return cls(
            path=followed["id"] if followed else "",
            end=followed["end"] if followed else "",
            wish=(followed["wish"] or "") if followed else "",
            step=int(step) if _STEP.fullmatch(step) else None,
        )

    def among(self, paths: Sequence[Path], wanted: str) -> Path | None:
        """Return the path with the id *wanted*, else what was wished or is shown, by its id, then the most likely one with its end.

        None: nothing fits. The address names what is shown (*wanted*), which is no choice of the reader's where a wish stands beside it.
        """
        chosen = "" if self.wish and wanted == self.path else wanted
        if found := named(paths, chosen):
            return found
        for identity, end in (tuple(self.wish.split(".")) if self.wish else ("", ""), (self.path, self.end)):
            if found := named(paths, identity):
                return found
            if same := [path for path in paths if end and end_of(path) == end]:
                return most_likely(same)
        return None

    def mark(self, followed: Path, wanted: str) -> str:
        """Return what the page keeps of the path it follows now: ``ID.END``, and after a space what it would rather follow."""
        now, wish = f"{followed.id}.{end_of(followed)}", self.wish or (f"{self.path}.{self.end}" if self.path else "")
        is_chosen = wanted == followed.id and wanted != self.path
        return now if is_chosen or wish.partition(".")[2] in ("", end_of(followed)) else f"{now} {wish}"


def end_of(path: Path) -> str:
    """Return ten hexadecimal digits for where *path* enters and ends."""
    return hashlib.sha1(f"{path.entry}\n{path.target}".encode(), usedforsecurity=False).hexdigest()[:10]

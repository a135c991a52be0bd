"""What a page of a followed cluster shows by now: it stays where it is when the cluster moves, as far as that is still there."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence

from tracer.graph import Path, most_likely
from tracer.patterns import pattern
from tracer.values import dataclass

_FOLLOWED = pattern(r"(?P<id>[0-9a-f]{10})\.(?P<end>[0-9a-f]{10})", re.ASCII)
_STEP = pattern(r"[1-9][0-9]{0,5}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """The path that is followed, by its id and by where it ends, and the step; nothing for a page that is opened.

    A path has another id as soon as its rules are others; where it ends stays the same.
    """

    path: str = ""
    end: str = ""
    step: int | None = None

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> Shown:
        """Return what the browser says in its headers; what cannot be read is taken for nothing."""
        followed = _FOLLOWED.fullmatch(headers.get("Hopline-Follow", ""))
        step = headers.get("Hopline-Step", "")
        return cls(
            path=followed["id"] if followed else "",
            end=followed["end"] if followed else "",
            step=int(step) if _STEP.fullmatch(step) else None,
        )

    def among(self, paths: Sequence[Path], wanted: str) -> Path | None:
        """Return the path with the id *wanted* or the shown one, else the most likely one with the shown one's end; None: nothing fits."""
        for identity in filter(None, (wanted, self.path)):
            if found := next((path for path in paths if path.id == identity), None):
                return found
        same = [path for path in paths if end_of(path) == self.end]
        return most_likely(same) if same else None


def end_of(path: Path) -> str:
    """Return ten hexadecimal digits for where *path* enters and ends."""
    return hashlib.sha1(f"{path.entry}\n{path.target}".encode(), usedforsecurity=False).hexdigest()[:10]

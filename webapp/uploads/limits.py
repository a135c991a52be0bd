"""What an upload may be at most, and the error that says why one is refused."""

from __future__ import annotations

import heapq

from tracer.values import dataclass

MB = 1_000_000
# Small archives of very regular text compress beyond any ratio; only the size matters there.
_RATIO_FREE_BYTES = 64 * MB


class UploadError(Exception):
    """The source is refused; *problems* has one sentence for each reason, *status* the HTTP status (413 too large, 422 not acceptable)."""

    def __init__(self, *problems: str, status: int = 422) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
        self.status = status


class PastBounds(UploadError):
    """A bound of the whole upload is passed: it is refused, wherever in it that happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What an upload may be at most: bytes as sent, bytes unpacked, entries, folder levels, unpacked bytes for each packed one."""

    upload_bytes: int
    unpacked_bytes: int
    entries: int
    levels: int
    ratio: int

    @classmethod
    def from_settings(cls) -> Limits:
        """Return the limits of this server."""
        from django.conf import settings

        return cls(
            upload_bytes=settings.UPLOAD_MAX_BYTES,
            unpacked_bytes=settings.UNPACKED_MAX_BYTES,
            entries=settings.UPLOAD_MAX_ENTRIES,
            levels=settings.UPLOAD_MAX_LEVELS,
            ratio=settings.UPLOAD_MAX_RATIO,
        )


_LARGEST = 3
SLIM = "Leave out what is large and no rule or object, logs first: tar czf slim.tgz --exclude='*.log' --exclude='*.gz' FOLDER."


class Budget:
    """Counts unpacked bytes and entries against the limits of one pass, those of archives in the archive with the others."""

    def __init__(self, packed: int, limits: Limits) -> None:
        self.limits = limits
        self._ratio_bytes = max(_RATIO_FREE_BYTES, packed * limits.ratio)
        self._spent = self._entries = 0
        self._largest: list[tuple[int, str]] = []
        self.current = ""

    def count_entry(self, name: str, size: int) -> None:
        """Count one more entry, which says it has *size* bytes. :raises PastBounds: there are too many."""
        self._entries += 1
        keep = heapq.heappush if len(self._largest) < _LARGEST else heapq.heappushpop
        keep(self._largest, (size, name))
        if self._entries > self.limits.entries:
            raise PastBounds(f"The archive has more than {self.limits.entries:,} entries, the limit. {self._slim()}")

    def spend(self, count: int) -> None:
        """Count *count* more bytes. :raises PastBounds: a limit is passed (413)."""
        self._spent += count
        where = f" (at {self.current!r})" if self.current else ""
        if self._spent > self.limits.unpacked_bytes:
            most = f"{self.limits.unpacked_bytes / MB:,.0f} MB"
            raise PastBounds(f"The archive unpacks to more than the limit of {most}{where}. {self._slim()}", status=413)
        if self._spent > self._ratio_bytes:
            most = f"{self.limits.ratio} times its size"
            raise PastBounds(f"The archive is a compression bomb: it unpacks to more than {most}{where}.", status=413)

    def foresee(self, count: int) -> None:
        """Check, without counting them, that *count* bytes more would be within the limits. :raises PastBounds: they are not."""
        self.spend(count)
        self._spent -= count

    def _slim(self) -> str:
        shown = ", ".join(f"{name[:200]!r} ({size / MB:,.1f} MB)" for size, name in sorted(self._largest, reverse=True) if size)
        return f"{f'The largest so far: {shown}. ' if shown else ''}{SLIM}"

"""What an upload may be at most, and the error that says why one is refused."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings

MB = 1_000_000
# Small archives of very regular text compress beyond any ratio; only the size matters there.
_RATIO_FREE_BYTES = 64 * MB


class UploadError(Exception):
    """The source is refused; *problems* has one sentence for each reason, *status* the HTTP status (413 too large, 422 not acceptable)."""

    def __init__(self, *problems: str, status: int = 422) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
        self.status = status


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
        return cls(
            upload_bytes=settings.UPLOAD_MAX_BYTES,
            unpacked_bytes=settings.UNPACKED_MAX_BYTES,
            entries=settings.UPLOAD_MAX_ENTRIES,
            levels=settings.UPLOAD_MAX_LEVELS,
            ratio=settings.UPLOAD_MAX_RATIO,
        )


class Budget:
    """Counts unpacked bytes against the limits of one pass."""

    def __init__(self, packed: int, limits: Limits) -> None:
        self._limits = limits
        self._ratio_bytes = max(_RATIO_FREE_BYTES, packed * limits.ratio)
        self._spent = 0
        self.current = ""

    def spend(self, count: int) -> None:
        """Count *count* more bytes. :raises UploadError: a limit is passed (413)."""
        self._spent += count
        where = f" (at {self.current!r})" if self.current else ""
        if self._spent > self._limits.unpacked_bytes:
            most = f"{self._limits.unpacked_bytes / MB:,.0f} MB"
            raise UploadError(f"The archive unpacks to more than the limit of {most}{where}.", status=413)
        if self._spent > self._ratio_bytes:
            most = f"{self._limits.ratio} times its size"
            raise UploadError(f"The archive is a compression bomb: it unpacks to more than {most}{where}.", status=413)

    def foresee(self, count: int) -> None:
        """Check, without counting them, that *count* bytes more would be within the limits. :raises UploadError: they are not."""
        self.spend(count)
        self._spent -= count

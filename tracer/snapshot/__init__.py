"""Which file of a snapshot is what, what is missing, and what must never be stored."""

from tracer.snapshot.snapshot import Snapshot

__all__ = ["Snapshot"]

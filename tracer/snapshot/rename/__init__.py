"""Other names and addresses for a snapshot, the same everywhere, so that it can be shown to strangers and traces as it did.

``Renaming(snapshot, key).files()`` gives the files; what one key replaces cannot be undone without it, and another key replaces otherwise.
"""

from tracer.snapshot.rename.renaming import Renaming

__all__ = ["Renaming"]

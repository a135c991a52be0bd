"""Patterns that are compiled when they are first asked: a process that answers one question needs few of them.

``pattern`` takes what ``re.compile`` takes, and what it returns is used as what that returns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["pattern"]

if TYPE_CHECKING:
    from re import compile as pattern
else:
    import re

    class pattern:
        """A pattern that is not compiled yet; its methods are those of the compiled one from the first on that is asked for."""

        def __init__(self, text, flags=0):
            self._text, self._flags = text, flags

        def __getattr__(self, name):
            if name.startswith("_"):
                raise AttributeError(name)
            compiled = re.compile(self._text, self._flags)
            for method in ("match", "fullmatch", "search", "sub", "subn", "split", "findall", "finditer"):
                setattr(self, method, getattr(compiled, method))
            return getattr(compiled, name)

        def __repr__(self):
            return f"pattern({self._text!r}, {self._flags!r})"

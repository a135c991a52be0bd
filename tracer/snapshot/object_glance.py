"""What API objects a text holds, told from marks alone: small to keep, and nothing is decoded.

Owns the look that decides whether a file under any name is a file of API objects. Refuses to say what the objects are: readers do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tracer.kube.json_text import to_utf8

_KIND = re.compile(rb"""(?:^|[\s{,])["']?kind["']?[ \t]{0,8}:[ \t]{0,8}["']?([A-Z][A-Za-z]{1,62})\b""")
_VERSION = re.compile(rb"""(?:^|[\s{,])["']?apiVersion["']?[ \t]{0,8}:[ \t]{0,8}["']?[a-z0-9./-]{2,100}""")
_HEAD = 65_536
_LIST = "List"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectGlance:
    """The *kinds* of which objects, or lists, were seen in a text."""

    kinds: frozenset[str]

    @property
    def has_services(self) -> bool:
        """Return whether Services may be among them."""
        return bool(self.kinds & {"Service", "ServiceList"})


def glance_objects(_path: str, content: bytes) -> ObjectGlance | None:
    """Return what kinds of objects *content* holds, None where it does not look like API objects."""
    data = to_utf8(content)
    if _VERSION.search(data, 0, _HEAD) is None or _KIND.search(data, 0, _HEAD) is None:
        return None
    return ObjectGlance(kinds=frozenset(found[1].decode() for found in _KIND.finditer(data)))

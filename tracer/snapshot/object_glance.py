"""What API objects a text holds, told from marks alone: small to keep, and nothing is decoded.

Owns the look that decides whether a file under any name is a file of API objects. Refuses to say what the objects are: readers do.
"""

from __future__ import annotations

from tracer.kube.json_text import to_utf8
from tracer.patterns import pattern
from tracer.values import dataclass

_KIND = pattern(rb"""(?:^|[\s{,])["']?kind["']?[ \t]{0,8}:[ \t]{0,8}["']?([A-Z][A-Za-z]{1,62})\b""")
_VERSION = pattern(rb"""(?:^|[\s{,])["']?apiVersion["']?[ \t]{0,8}:[ \t]{0,8}["']?[a-z0-9./-]{2,100}""")
# Next to each other, in either order, as every object has them: a reference to a Service has other words in between, or no version.
_SERVICE = pattern(
    rb"""apiVersion["']?[ \t]{0,8}:[ \t]{0,8}["']?v1["']?[,\s]{1,40}["']?kind["']?[ \t]{0,8}:[ \t]{0,8}["']?Service(?:List)?\b"""
    rb"""|kind["']?[ \t]{0,8}:[ \t]{0,8}["']?Service(?:List)?["']?[,\s]{1,40}["']?apiVersion["']?[ \t]{0,8}:[ \t]{0,8}["']?v1\b"""
)
_HEAD = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectGlance:
    """What a text holds: whether Services are among its objects."""

    has_services: bool


def glance_objects(_path: str, content: bytes) -> ObjectGlance | None:
    """Return what *content* holds, None where it does not look like API objects."""
    data = to_utf8(content)
    if _VERSION.search(data, 0, _HEAD) is None or _KIND.search(data, 0, _HEAD) is None:
        return None
    return ObjectGlance(has_services=_SERVICE.search(data) is not None)

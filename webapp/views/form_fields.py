"""What a form's free text may be, whoever sends it."""

from __future__ import annotations

from django.http import HttpRequest

from tracer.limits import SKETCH_NODES
from tracer.sketch import USUAL_NODES

LONGEST_NAME = 100


def posted_name(request: HttpRequest) -> str:
    """Return the name that a form gives a snapshot or recording, "" for none: what can be printed of it, at most LONGEST_NAME characters.

    PostgreSQL takes no NUL in a text, and no page shows a line break in a name.
    """
    given = request.POST.get("name", "")
    return "".join(character for character in given if character.isprintable()).strip()[:LONGEST_NAME]


def posted_nodes(request: HttpRequest) -> int:
    """Return how many nodes a sketch of what a form hands in has. :raises ValueError: it gives another number than a sketch can have."""
    given = request.POST.get("nodes", "").strip()
    nodes = int(given) if given.isascii() and given.isdigit() and len(given) <= len(str(SKETCH_NODES)) else 0
    if given and not 1 <= nodes <= SKETCH_NODES:
        raise ValueError(f"A sketch has 1 to {SKETCH_NODES} nodes, and {given[:20]!r} is none of these numbers.")
    return nodes or USUAL_NODES

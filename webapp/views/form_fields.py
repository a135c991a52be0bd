"""What a form's free text may be, whoever sends it."""

from __future__ import annotations

from django.http import HttpRequest

LONGEST_NAME = 100


def posted_name(request: HttpRequest) -> str:
    """Return the name that a form gives a snapshot or recording, "" for none: what can be printed of it, at most LONGEST_NAME characters.

    PostgreSQL takes no NUL in a text, and no page shows a line break in a name.
    """
    given = request.POST.get("name", "")
    return "".join(character for character in given if character.isprintable()).strip()[:LONGEST_NAME]

"""What the upload form hands in: files, a folder's files with their paths, and pasted texts with the nodes they are of."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

from django.http import HttpRequest

from tracer.patterns import pattern
from webapp.storing.handed_in import HandedIn

NOTHING = "No file was chosen, or it is empty, and nothing was pasted. Choose files or a folder, or paste what a command printed."
_NODE = pattern(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?", re.ASCII)
_FIELDS = ("snapshot", "folder")


def handed_in(request: HttpRequest) -> tuple[HandedIn, ...]:
    """Return the files and texts of the form that are not empty."""
    return (*_files(request), *(text for _, text in pasted(request)))


def _files(request: HttpRequest) -> Iterator[HandedIn]:
    files = [file for field in _FIELDS for file in request.FILES.getlist(field)]
    paths = _paths(request.POST.get("paths", ""), len(files))
    for file, path in zip(files, paths, strict=True):
        if file.size:
            yield HandedIn(path=path or file.name or "upload", content=file)


def _paths(text: str, count: int) -> Sequence[str]:
    """The files' paths below the folder that was chosen or dropped, in their order: a form's files have none. "" where nobody says."""
    try:
        said = json.loads(text) if text else []
    except (ValueError, RecursionError):
        said = []
    fits = isinstance(said, list) and len(said) == count and all(isinstance(path, str) for path in said)
    return said if fits else [""] * count


def pasted(request: HttpRequest) -> Iterator[tuple[int, HandedIn]]:
    """Yield the number of each box, from 1, that holds a text, and what it holds."""
    nodes = request.POST.getlist("paste_node")
    for number, text in enumerate(request.POST.getlist("paste"), 1):
        if text.strip():
            node = nodes[number - 1].strip() if number <= len(nodes) else ""
            name = f"pasted-{number}{_suffix(text)}"
            path = f"nodes/{node}/{name}" if _NODE.fullmatch(node) else name
            yield number, HandedIn(path=path, content=text.replace("\r\n", "\n").encode("utf-8", "replace"))


def _suffix(text: str) -> str:
    start = text.lstrip()[:200]
    if start.startswith(("{", "[")):
        return ".json"
    return ".yaml" if start.startswith(("apiVersion:", "kind:", "---")) else ".txt"

"""What is pasted into the upload form, recognised while it is pasted: a list for each box. The form works without it."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from tracer.snapshot.contents import KnownNode
from webapp.http.access import current_owner
from webapp.models import Snapshot
from webapp.storing import stored_snapshots
from webapp.uploads import UploadError
from webapp.uploads.arranged import nodes_of
from webapp.uploads.recognised import Recognised, look_at
from webapp.views.handed_in import pasted

_LONG = "This is more than is looked at before it is uploaded. A file is better for so much: save it, and choose it above."


@never_cache
@require_POST
def recognise(request: HttpRequest) -> HttpResponse:
    """Say what each pasted text is, by the number of its box. ``parent`` names the snapshot that they will complete."""
    parts = dict(pasted(request))
    texts = {part.path: b"".join(part.chunks()) for part in parts.values()}
    problem, found = "", tuple[Recognised, ...]()
    if sum(map(len, texts.values())) > settings.RECOGNISED_MAX_BYTES:
        problem = _LONG
    else:
        try:
            found = look_at(texts, _nodes(request))
        except UploadError as error:
            problem = str(error)
    boxes = [{"number": number, "problem": problem, "found": _of(part.path, found)} for number, part in parts.items()]
    return render(request, "snapshots/_recognised.html", {"boxes": boxes})


def _of(path: str, found: tuple[Recognised, ...]) -> list[Recognised]:
    """What the text *path* is, or each of the pieces that it was cut into."""
    return [one for one in found if one.path == path or one.path.startswith(f"{path}/")]


def _nodes(request: HttpRequest) -> tuple[KnownNode, ...]:
    try:
        row = stored_snapshots.get_snapshot(request.GET.get("parent", ""), current_owner(request))
    except Snapshot.DoesNotExist:
        return ()
    return nodes_of(row.summary)

"""Snapshots: the list, adding one, what one holds, download, delete."""

from __future__ import annotations

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse, HttpResponseBase, HttpResponseRedirect, StreamingHttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.utils.text import slugify
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from tracer.kube.near import nearest
from tracer.limits import SKETCH_NODES
from tracer.sketch import USUAL_NODES
from webapp.http.access import current_owner, ensure_owner
from webapp.models import Snapshot, UploadJob
from webapp.presenters.source import source_head
from webapp.questions.coverage import Coverage
from webapp.reading.collect_commands import COLLECT_STEPS, SCRIPT_STEP
from webapp.storing import stored_snapshots
from webapp.storing.demonstrations import rank
from webapp.views.errors import not_found
from webapp.views.form_fields import posted_name, posted_nodes
from webapp.views.handed_in import NOTHING, handed_in
from webapp.views.htmx_request import HtmxHttpRequest

_FORM_SLACK = 100_000
"""Of a form's own limit, what its other fields may take beside pasted texts."""
_ARCHIVE_TYPES = {"tar.zst": "application/zstd", "tar.gz": "application/gzip"}


@never_cache
@require_safe
def index(request: HtmxHttpRequest) -> HttpResponse:
    """List this session's snapshots and the demonstration clusters, with the form to add one."""
    owner = current_owner(request)
    rows = list(stored_snapshots.visible_snapshots(owner))
    context = {
        "own": [Coverage(row=row, owner=owner) for row in rows if not row.is_demo],
        "demos": [Coverage(row=row, owner=owner) for row in sorted(rows, key=lambda row: rank(row.id)) if row.is_demo],
        "reading": stored_snapshots.reading_uploads(owner),
        **_form_context(),
    }
    return render(request, "snapshots/index.html", context)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HtmxHttpRequest) -> HttpResponse:
    """Show the form; take files or texts and follow their reading. Every problem is listed, and nothing is kept of a refused file."""
    if request.method != "POST":
        return render(request, "snapshots/new.html", _form_context())
    return _take(request, None)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def add(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Show the form that completes a snapshot; take what is added and store both together as a new snapshot. The old one stays."""
    row = find_row(request, slug)
    if isinstance(row, HttpResponse):
        return row
    if request.method != "POST":
        return render(request, "snapshots/new.html", _form_context(row))
    return _take(request, row)


def _take(request: HtmxHttpRequest, parent: Snapshot | None) -> HttpResponse:
    """Take what the form hands in, and follow its reading."""
    parts = handed_in(request)
    if not parts:
        return _problems(request, [NOTHING], 422, parent)
    try:
        owner, nodes = ensure_owner(request), posted_nodes(request)
        job = stored_snapshots.start_upload(parts, name=posted_name(request), owner=owner, parent=parent, nodes=nodes)
    except ValueError as error:
        return _problems(request, [str(error)], 422, parent)
    except stored_snapshots.StoreError as error:
        return _problems(request, error.problems, error.status, parent)
    if request.htmx:
        return render(request, "snapshots/_job.html", {"job": job}, status=202)
    return HttpResponseRedirect(reverse("upload", args=[job.id]))


@never_cache
@require_safe
def upload(request: HtmxHttpRequest, job: str) -> HttpResponse:
    """Show how far the upload is; sends to the snapshot when it is done."""
    found = stored_snapshots.find_upload(job, current_owner(request))
    if found is None:
        return not_found(request, "This browser session has no such upload.", [("Your snapshots", reverse("snapshots"))])
    if found.state == UploadJob.State.DONE and found.snapshot_id:
        return _go(request, reverse("snapshot", args=[found.snapshot_id]))
    if found.state == UploadJob.State.FAILED:
        return _problems(request, found.problems, found.status if found.status >= 400 else 422)
    template = "snapshots/_job.html" if request.htmx.target == "upload-state" else "snapshots/upload.html"
    return _varied(render(request, template, {"job": found, **_form_context()}))


@never_cache
@require_safe
def detail(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Show what the snapshot holds, what is missing and what that limits."""
    row = find_row(request, slug)
    if isinstance(row, HttpResponse):
        return row
    coverage = Coverage(row=row, owner=current_owner(request))
    context = {"coverage": coverage, "row": row, "source": source_head(row, current_owner(request))}
    return render(request, "snapshots/detail.html", context)


@never_cache
@require_safe
def examples(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Show the traces to try in a snapshot: what a card asks for when finding them takes a while."""
    row = find_row(request, slug)
    if isinstance(row, HttpResponse):
        return row
    template = "home/_examples.html" if request.htmx else "snapshots/examples.html"
    context = {"one": Coverage(row=row, owner=current_owner(request)), "row": row, "few": ":4" if "few" in request.GET else ":"}
    return _varied(render(request, template, context))


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def delete(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Ask whether to delete the snapshot, and delete it; links made from it keep opening."""
    row = find_row(request, slug)
    if isinstance(row, HttpResponse):
        return row
    owner = current_owner(request)
    if not row.is_deletable_by(owner):
        return render(request, "403.html", status=403)
    if request.method != "POST":
        links = stored_snapshots.visible_links(owner).filter(snapshot=row).count()
        return render(request, "snapshots/delete.html", {"row": row, "links": links})
    stored_snapshots.delete_snapshot(row, owner)
    messages.success(request, f"Deleted {row.name}.", extra_tags="ok")
    return HttpResponseRedirect(reverse("snapshots"))


@never_cache
@require_safe
def download(request: HtmxHttpRequest, slug: str) -> HttpResponseBase:
    """Hand the snapshot out as it is stored, as an archive that can be uploaded again."""
    row = find_row(request, slug)
    if isinstance(row, HttpResponse):
        return row
    form = request.GET.get("form", "tar.gz")
    if form not in _ARCHIVE_TYPES:
        return not_found(request, "Snapshots can be downloaded as tar.gz or tar.zst.")
    name = f"{slugify(row.name) or 'snapshot'}.{form}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingHttpResponse(stored_snapshots.download(row, form), content_type=_ARCHIVE_TYPES[form], headers=headers)


def find_row(request: HtmxHttpRequest, slug: str) -> Snapshot | HttpResponse:
    """Return the snapshot of the address, or the page that says that there is none."""
    owner = current_owner(request)
    try:
        return stored_snapshots.get_snapshot(slug, owner)
    except Snapshot.DoesNotExist:
        names = {row.id: row.name for row in stored_snapshots.visible_snapshots(owner)}
        near = [(names[name], reverse("snapshot", args=[name])) for name in nearest(slug, names)]
        return not_found(request, f"There is no snapshot {slug[:60]}, or it belongs to another browser session.", near)


def _form_context(parent: Snapshot | None = None) -> dict[str, object]:
    limit = settings.UPLOAD_MAX_BYTES
    return {
        "max_bytes": limit,
        "max_megabytes": limit // 1_000_000,
        "max_pasted": settings.DATA_UPLOAD_MAX_MEMORY_SIZE - _FORM_SLACK,
        "max_recognised": settings.RECOGNISED_MAX_BYTES,
        "max_files": settings.DATA_UPLOAD_MAX_NUMBER_FILES,
        "collect_script": SCRIPT_STEP,
        "collect_steps": COLLECT_STEPS,
        "parent": parent,
        "usual_nodes": USUAL_NODES,
        "max_nodes": SKETCH_NODES,
        "known_nodes": [node["name"] for node in Coverage(row=parent).nodes] if parent else [],
    }


def _problems(request: HtmxHttpRequest, problems: list[str] | tuple[str, ...], status: int, parent: Snapshot | None = None) -> HttpResponse:
    template = "snapshots/_problems.html" if request.htmx else "snapshots/new.html"
    return _varied(render(request, template, {"problems": problems, "status": status, **_form_context(parent)}, status=status))


def _go(request: HtmxHttpRequest, address: str) -> HttpResponse:
    if not request.htmx:
        return HttpResponseRedirect(address)
    response = HttpResponse(status=204)
    response["HX-Redirect"] = address
    return response


def _varied(response: HttpResponse) -> HttpResponse:
    patch_vary_headers(response, ["HX-Request", "HX-Target"])
    return response

"""/snapshots/new and /snapshots/uploads/<job>"""

from __future__ import annotations

import json
import time

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from tests.webapp.made_rows import MINE, OTHER, client_of
from tests.webapp.stored import service
from webapp.models import Snapshot, UploadJob

pytestmark = pytest.mark.django_db(transaction=True)
HTMX = {"HX-Request": "true", "HX-Target": "upload-state"}


def file(content: object = None, name: str = "cluster.json") -> SimpleUploadedFile:
    value = {"kind": "List", "items": [service()]} if content is None else content
    return SimpleUploadedFile(name, value if isinstance(value, bytes) else json.dumps(value).encode())


def finished(client, address: str):
    for _ in range(100):
        job = UploadJob.objects.get(id=address.rpartition("/")[2])
        if job.is_finished:
            return client.get(address)
        time.sleep(0.1)
    raise AssertionError("the upload did not end")


def test_it_works(client):
    page = client.get("/snapshots/new").content.decode()
    assert 'name="snapshot" type="file"' in page
    assert "up to 200 MB" in page


def test_a_file_becomes_a_snapshot_of_this_session(client):
    response = client.post("/snapshots/new", {"snapshot": file(), "name": "mine"})
    assert response.status_code == 302
    done = finished(client, response["Location"])
    row = Snapshot.objects.get()
    assert done["Location"] == f"/snapshots/{row.id}"
    assert (row.name, row.owner) == ("mine", client.session["owner"])


def test_htmx_gets_the_partial_only(client):
    response = client.post("/snapshots/new", {"snapshot": file()}, headers={"HX-Request": "true"})
    page = response.content.decode()
    assert response.status_code == 202
    assert page.startswith('<div id="upload-state"')
    job = UploadJob.objects.get()
    finished(client, f"/snapshots/uploads/{job.id}")
    last = client.get(f"/snapshots/uploads/{job.id}", headers=HTMX)
    assert (last.status_code, last["HX-Redirect"]) == (204, f"/snapshots/{Snapshot.objects.get().id}")


@pytest.mark.parametrize("posted", [{}, {"snapshot": SimpleUploadedFile("empty.json", b"")}])
def test_without_a_file_it_says_so(client, posted):
    response = client.post("/snapshots/new", posted)
    assert response.status_code == 422
    assert "No file was chosen" in response.content.decode()
    assert not UploadJob.objects.exists()


def test_every_problem_is_listed_and_nothing_is_stored(client):
    response = client.post("/snapshots/new", {"snapshot": file(b'{"kind": "List",\n "items": [\n  {"kind"')})
    refused = finished(client, response["Location"])
    page = refused.content.decode()
    job = UploadJob.objects.get()
    assert refused.status_code == 422
    assert job.problems
    assert page.count("<li>") >= len(job.problems)
    assert "cluster.json" in page
    assert not Snapshot.objects.exists()


def test_an_oversized_file_is_refused_with_the_limit(client, settings):
    settings.UPLOAD_MAX_BYTES = 1_000_000
    response = client.post("/snapshots/new", {"snapshot": file(b" " * 1_000_001)}, follow=True)
    if response.status_code == 200:
        response = finished(client, response.request["PATH_INFO"])
    assert response.status_code == 413
    assert "1 MB" in response.content.decode()
    assert not Snapshot.objects.exists()


def test_another_session_does_not_see_the_upload():
    job = UploadJob.objects.create(owner=OTHER, name="theirs")
    response = client_of(MINE).get(f"/snapshots/uploads/{job.id}")
    assert response.status_code == 404
    assert "theirs" not in response.content.decode()


def test_it_404s_for_unknown_upload(client):
    assert client.get("/snapshots/uploads/none").status_code == 404


def test_a_running_upload_says_what_it_does_and_reloads_without_javascript():
    job = UploadJob.objects.create(owner=MINE, name="big", text="Reading rules: node 3 of 12", done=30, total=120)
    page = client_of(MINE).get(f"/snapshots/uploads/{job.id}").content.decode()
    assert "Reading rules: node 3 of 12" in page
    assert 'value="30" max="120"' in page
    assert '<noscript><meta http-equiv="refresh"' in page
    assert f"/snapshots/uploads/{job.id}" in client_of(MINE).get("/snapshots").content.decode()


def test_a_fault_of_the_server_is_shown_where_the_form_is():
    job = UploadJob.objects.create(owner=MINE, name="big", state="failed", status=500, problems=["Something went wrong here."])
    response = client_of(MINE).get(f"/snapshots/uploads/{job.id}", headers=HTMX)
    assert "Something went wrong here." in response.content.decode()
    assert response.status_code == 500


def test_a_name_is_what_can_be_printed_of_it(client):
    """PostgreSQL takes no NUL; a name of line breaks would be none."""
    client.post("/snapshots/new", {"snapshot": file(), "name": " na\0me\n\u202ewith more " + "x" * 200})
    job = UploadJob.objects.get()
    assert job.name.startswith("namewith more x")
    assert len(job.name) == 100
    finished(client, f"/snapshots/uploads/{job.id}")

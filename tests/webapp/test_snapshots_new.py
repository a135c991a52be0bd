"""/snapshots/new and /snapshots/uploads/<job>"""

from __future__ import annotations

import contextlib
import json
import time

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from tests.webapp.made_rows import MINE, OTHER, client_of
from tests.webapp.stored import service
from webapp.models import Snapshot, UploadJob
from webapp.storing.snapshot_store import open_container

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
    assert 'name="snapshot" type="file" multiple' in page
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


def test_a_refusal_says_what_is_wrong_then_what_to_do_then_what_each_file_is(client):
    files = [file(RULES.encode(), name="rules.txt"), file(b"hello", name="notes.md"), file(b"NAME TYPE AGE\nweb x 1d\n", name="svc.txt")]
    finished(client, client.post("/snapshots/new", {"snapshot": files})["Location"])
    problems = UploadJob.objects.get().problems
    assert [problem.partition(" ")[0] for problem in problems] == ["No", "What", "svc.txt:", "rules.txt:", "notes.md:"]
    assert problems[1].endswith("> cluster.json, and hand in cluster.json with what you have.")
    assert "rules of iptables" in problems[3]


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


RULES = "*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n"


def stored_files(row) -> set[str]:
    with contextlib.closing(open_container(row)) as files:
        return set(files)


def test_several_files_of_a_folder_become_one_snapshot(client):
    """A form's files have no folders in their names: the paths come beside them."""
    files = [file(name="services.json"), file(RULES.encode(), name="iptables-save.txt"), file(RULES.encode(), name="iptables-save.txt")]
    paths = ["shop/services.json", "shop/nodes/a/iptables-save.txt", "shop/nodes/b/iptables-save.txt"]
    response = client.post("/snapshots/new", {"snapshot": files, "paths": json.dumps(paths)})
    finished(client, response["Location"])
    row = Snapshot.objects.get()
    assert stored_files(row) == {"services.json", "nodes/a/iptables-save.txt", "nodes/b/iptables-save.txt"}
    assert row.name == "shop"


@pytest.mark.parametrize("paths", ["", "{", "[1, 2]", '["only one"]', "[" * 100_000])
def test_paths_that_do_not_fit_are_not_used(client, paths):
    response = client.post("/snapshots/new", {"snapshot": [file(name="services.json"), file(name="pods.json")], "paths": paths})
    finished(client, response["Location"])
    assert stored_files(Snapshot.objects.get()) == {"services.json", "pods.json"}


def test_paths_lead_nowhere_but_down(client):
    paths = ["../../services.json", "C:\\a\x00\n/../pods.json"]
    response = client.post("/snapshots/new", {"snapshot": [file(name="services.json"), file(name="pods.json")], "paths": json.dumps(paths)})
    assert finished(client, response["Location"]).status_code in (302, 422)
    assert "escape" not in UploadJob.objects.get().text


def test_a_pasted_text_is_a_snapshot(client):
    text = json.dumps({"kind": "List", "items": [service()]}, indent=1).replace("\n", "\r\n")
    response = client.post("/snapshots/new", {"paste": ["", text], "paste_node": ["", ""], "name": "pasted"})
    finished(client, response["Location"])
    row = Snapshot.objects.get()
    assert (row.name, row.summary["objects"]["Service"]) == ("pasted", 1)


def test_adding_makes_a_new_snapshot_and_leaves_the_old_one(client):
    client.post("/snapshots/new", {"snapshot": file(name="services.json"), "name": "shop"})
    finished(client, f"/x/{UploadJob.objects.get().id}")
    old = Snapshot.objects.get()
    before = (old.digest, old.summary)
    page = client.get(f"/snapshots/{old.id}").content.decode()
    assert f'href="/snapshots/{old.id}/add"' in page
    assert f'action="/snapshots/{old.id}/add"' in client.get(f"/snapshots/{old.id}/add").content.decode()
    node = {"kind": "Node", "metadata": {"name": "a"}, "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}}
    response = client.post(f"/snapshots/{old.id}/add", {"snapshot": file({"kind": "List", "items": [node]}, name="nodes.json")})
    finished(client, response["Location"])
    old.refresh_from_db()
    new = Snapshot.objects.exclude(id=old.id).get()
    assert (old.digest, old.summary) == before
    assert (new.name, new.owner, new.summary["parent"]) == ("shop", old.owner, {"id": old.id, "name": "shop"})
    assert stored_files(new) == {"services.json", "nodes.json"}
    assert f'It completes <a href="/snapshots/{old.id}">' in client.get(f"/snapshots/{new.id}").content.decode()
    client.post(f"/snapshots/{old.id}/delete")
    assert client.get(f"/snapshots/{new.id}").status_code == 200


def test_another_sessions_snapshot_cannot_be_added_to(client):
    client.post("/snapshots/new", {"snapshot": file()})
    finished(client, f"/x/{UploadJob.objects.get().id}")
    row = Snapshot.objects.get()
    assert client_of(OTHER).get(f"/snapshots/{row.id}/add").status_code == 404
    assert client_of(OTHER).post(f"/snapshots/{row.id}/add", {"snapshot": file()}).status_code == 404


def test_a_pasted_dump_goes_to_the_node_that_is_said_and_over_the_one_before(client):
    text = json.dumps({"kind": "List", "items": [service()]})
    response = client.post("/snapshots/new", {"paste": [text, RULES], "paste_node": ["", "a"]})
    finished(client, response["Location"])
    old = Snapshot.objects.get()
    assert "nodes/a/iptables-save.txt" in stored_files(old)
    newer = RULES.replace("[0:0]", "[1:1]")
    response = client.post(f"/snapshots/{old.id}/add", {"paste": [newer], "paste_node": ["a"]})
    finished(client, response["Location"])
    new = Snapshot.objects.exclude(id=old.id).get()
    assert stored_files(new) == stored_files(old)
    with contextlib.closing(open_container(new)) as files:
        assert files["nodes/a/iptables-save.txt"].decode() == newer
    # Of two nodes nobody is chosen: it says what it is and where it would belong.
    response = client.post(f"/snapshots/{old.id}/add", {"paste": [newer, newer], "paste_node": ["", "b"]})
    finished(client, response["Location"])
    last = Snapshot.objects.exclude(id__in=[old.id, new.id]).get()
    assert [one["path"] for one in last.summary["unplaced"]] == ["pasted-1.txt"]
    assert "Whose file is this?" in client.get(f"/snapshots/{last.id}").content.decode()

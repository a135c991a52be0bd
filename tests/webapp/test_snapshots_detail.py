"""/snapshots/<slug>: what it holds, what is missing, what was removed, what cannot be read."""

from __future__ import annotations

import contextlib
import json
from html import escape

import pytest

from tests.webapp.made_rows import MINE, OTHER, client_of, made_snapshot
from tests.webapp.stored import pod, service, store
from webapp.storing import stored_snapshots
from webapp.storing.snapshot_store import open_container

pytestmark = pytest.mark.django_db(transaction=True)
NODE = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "node-a"},
    "status": {"addresses": [{"type": "InternalIP", "address": "172.18.0.9"}]},
}
RULES = "*nat\n:PREROUTING ACCEPT [0:0]\n:KUBE-SVC-A - [0:0]\n-A PREROUTING -j KUBE-SVC-A\nCOMMIT\n"


def test_it_works(tmp_path):
    row = store(tmp_path, {"cluster.json": [service(), pod("web-1", "10.244.0.5"), NODE], "nodes/node-a/iptables-save.txt": RULES})
    page = client_of(MINE).get(f"/snapshots/{row.id}").content.decode()
    assert "<b>1</b> Service" in page
    assert "iptables-save.txt" in page
    assert f'href="/c/{row.id}/trace"' in page
    assert f'href="/snapshots/{row.id}/download"' in page
    assert row.digest in page


def test_what_is_missing_says_what_it_limits(tmp_path):
    row = store(tmp_path, {"cluster.json": [service(), NODE]})
    page = client_of(MINE).get(f"/snapshots/{row.id}").content.decode()
    assert row.summary["missing"]
    for gap in row.summary["missing"]:
        assert escape(gap["what"]) in page
        assert escape(gap["limits"][1:]) in page


def test_unknown_files_are_listed(tmp_path):
    row = store(tmp_path, {"services.json": [service()], "notes/<b>today</b>.md": "hello"})
    page = client_of(MINE).get(f"/snapshots/{row.id}").content.decode()
    assert "notes/&lt;b&gt;today&lt;/b&gt;.md" in page
    assert "They are not stored." in page
    assert row.file_count == 1


def test_a_file_that_is_cut_short_is_stored_to_the_cut_and_quoted(tmp_path):
    text = json.dumps({"kind": "List", "items": [service(), {"kind": "Pod", "spec": "hunter2"}]}, indent=1)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/cluster.json").write_text(text[:-30])
    row = stored_snapshots.store_snapshot(tmp_path / "in", owner=MINE)
    (fault,) = row.summary["faults"]
    assert fault["faults"][0]["line"] == text[:-30].count("\n") + 1
    assert [said for said in row.summary["removed"] if "cannot be read" in said]
    with contextlib.closing(open_container(row)) as files:
        assert b"hunter2" not in files["cluster.json"]


def test_removed_secrets_are_said(tmp_path):
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "shop"}, "data": {"k": "dG9wLXNlY3JldA=="}}
    row = store(tmp_path, {"cluster.json": [service(), secret]})
    page = client_of(MINE).get(f"/snapshots/{row.id}").content.decode()
    assert "Removed before storage" in page
    assert escape(row.summary["removed"][0]) in page
    assert "dG9wLXNlY3JldA" not in page


def test_faults_are_shown_with_line_and_caret(tmp_path):
    broken = RULES.replace("-A PREROUTING", "-A PREROUTING --dport <x>")
    row = store(tmp_path, {"cluster.json": [service(), NODE], "nodes/node-a/iptables-save.txt": broken})
    page = client_of(MINE).get(f"/snapshots/{row.id}").content.decode()
    assert "nodes/node-a/iptables-save.txt:4:" in page
    assert "    -A PREROUTING --dport &lt;x&gt;" in page
    assert "^\n" in page


def test_another_session_gets_404(tmp_path):
    row = made_snapshot(OTHER, name="theirs")
    response = client_of(MINE).get(f"/snapshots/{row.id}")
    assert response.status_code == 404
    assert "theirs" not in response.content.decode()


def test_it_404s_for_unknown_snapshot(client):
    assert client.get("/snapshots/nothing-here").status_code == 404


def test_htmx_gets_the_partial_only(tmp_path):
    row = store(tmp_path, {"cluster.json": [service(), pod("client", "10.244.0.5"), NODE]})
    address = f"/snapshots/{row.id}/examples"
    partial = client_of(MINE).get(address, headers={"HX-Request": "true"}).content.decode()
    assert "<html" not in partial
    assert f"/c/{row.id}/trace?from=pod:shop/client&amp;to=10.96.0.7:80" in partial
    assert partial.strip() in client_of(MINE).get(address).content.decode()


@pytest.mark.parametrize("name", ['"><script>alert(1)</script>', "a</text>b", "x;}node[label=evil]", "with space/../slash"])
def test_names_full_of_markup_are_shown_as_text(tmp_path, name):
    row = store(tmp_path, {"cluster.json": [service(name), pod(name, "10.244.0.5"), pod("client", "10.244.0.6"), NODE]}, name=name)
    for address in (f"/snapshots/{row.id}", f"/snapshots/{row.id}/examples", "/snapshots", "/", f"/snapshots/{row.id}/delete"):
        response = client_of(MINE).get(address)
        assert response.status_code == 200
        if "<" in name:
            assert name not in response.content.decode()
    assert escape(name) in client_of(MINE).get(f"/snapshots/{row.id}").content.decode()


def test_what_was_found_and_the_next_command_come_first(tmp_path):
    dump = "Chain INPUT (policy ACCEPT)\ntarget     prot opt source               destination\n"
    node = {"kind": "Node", "metadata": {"name": "n1"}, "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}}
    slices = {"kind": "EndpointSlice", "metadata": {"name": "web-1", "namespace": "shop"}, "addressType": "IPv4", "endpoints": []}
    objects = [service(), node, slices, pod("web", "10.244.0.2", node="n1")]
    row = store(tmp_path / "s", {"cluster.json": objects, "nodes/n1/iptables-save.txt": dump})
    page = client_of(MINE).get(f"/snapshots/{row.id}").content.decode()
    # What cannot be read is not counted.
    assert "Found 1 Service, 1 EndpointSlice, 1 Pod, 1 Node; no node&#x27;s rules" in page
    assert page.index("What would add most") < page.index("kubectl exec") < page.index("What was found")
    assert f'href="/snapshots/{row.id}/add"' in page


def test_manifests_offer_no_trace(tmp_path):
    row = store(tmp_path / "s", {"cluster.json": [service()]})
    row.summary["form"] = "manifests"
    row.save()
    page = client_of(MINE).get(f"/snapshots/{row.id}").content.decode()
    assert "These are manifests (1 Service)" in page
    assert "Trace a packet" not in page
    assert "These are manifests (1 Service)" in client_of(MINE).get(f"/c/{row.id}/trace").content.decode()

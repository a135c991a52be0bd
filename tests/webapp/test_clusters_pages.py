"""The clusters' pages: what is followed, what could be, what may be, what was read; and playing a timeline."""

from __future__ import annotations

import html
import json
import socket
import time
from pathlib import Path

import pytest
from django.test import Client

from tests.webapp.live.following import recorded
from tests.webapp.live_rows import KeptCluster
from tests.webapp.made_rows import MINE, OTHER, client_of
from tracer.snapshot.node_files import READ
from webapp.cluster.permissions import PERMISSIONS, Verdict, permissions
from webapp.live import connecting
from webapp.live import live_sources as live
from webapp.live.connecting import Check, Contexts
from webapp.models import LiveSource, Snapshot
from webapp.recorded_api import RecordedApi, serve
from webapp.storing import stored_snapshots

pytestmark = pytest.mark.django_db
NODE = {
    "pod": "kube-system/kube-proxy-x",
    "read_at": 1795203561.5,
    "seconds": 0.034,
    "bytes": 47825,
    "error": "",
    "lacking": ["ip-route.json"],
    "files": {
        "iptables-save.txt": {"read_at": 1795203561.5, "bytes": 47825, "seconds": 0.008, "error": ""},
        "ip-route.json": {"error": "The container has no program ip.", "seconds": 0.0},
    },
}


@pytest.fixture(autouse=True)
def offered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Offer two contexts of a kubeconfig that nobody reads."""
    monkeypatch.setattr(connecting, "contexts", lambda: Contexts(names=("kind-shop", "prod"), current="prod"))


@pytest.fixture
def timeline(demo: Path) -> Snapshot:
    return stored_snapshots.store_snapshot(demo / "shop-timeline", name="shop-timeline")


# --- the list ----------------------------------------------------------------------------------------------------------


def test_it_works(client: Client) -> None:
    KeptCluster(name="prod-use1")
    text = client.get("/clusters").content.decode()
    assert "prod-use1" in text
    assert '<option value="prod" selected>prod</option>' in text
    assert "kind: ClusterRole" in text
    assert '"pods/exec"' in html.unescape(text)


def test_without_a_kubeconfig_it_says_what_to_set(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "contexts", lambda: Contexts(error="HOPLINE_KUBECONFIG is not set."))
    text = client.get("/clusters").content.decode()
    assert "HOPLINE_KUBECONFIG is not set." in text
    assert 'name="context"' not in text


def test_the_manifest_grants_what_the_reading_needs(client: Client) -> None:
    assert '"pods/exec"' not in html.unescape(client.get("/clusters?readings=none").content.decode())
    assert client.get("/clusters?readings=nonsense").status_code == 200


def test_other_sessions_timelines_are_not_listed(timeline: Snapshot) -> None:
    row = live.play(timeline, MINE)
    assert f"/clusters/{row.id}" in client_of(MINE).get("/clusters").content.decode()
    assert f"/clusters/{row.id}" not in client_of(OTHER).get("/clusters").content.decode()
    assert client_of(OTHER).get(f"/clusters/{row.id}").status_code == 404


# --- checking and connecting -----------------------------------------------------------------------------------------------


def test_a_check_goes_permission_by_permission(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = permissions("exec")
    verdicts = tuple((p, Verdict(allowed=p.verb == "list", reason="RBAC: <b>no</b>" if p.verb == "watch" else "")) for p in asked)
    monkeypatch.setattr(connecting, "check", lambda *_: Check(version={"gitVersion": "v1.36.2"}, verdicts=verdicts))
    text = client.post("/clusters/check", {"context": "prod", "readings": "exec"}).content.decode()
    assert "Kubernetes v1.36.2 answered" in text
    assert "list endpointslices.discovery.k8s.io" in text
    assert "RBAC: &lt;b&gt;no&lt;/b&gt;" in text
    assert 'class="tag bad">no</span>' in text
    assert 'class="tag ok">yes</span>' in text


def test_a_check_asks_the_api_server_itself(client: Client, settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    api = RecordedApi(recorded())
    with serve(api, may=lambda permission: permission.subresource != "exec") as server:
        settings.KUBECONFIG = str(tmp_path / "kubeconfig")
        Path(settings.KUBECONFIG).write_text(server.kubeconfig())
        text = client.post("/clusters/check", {"context": "recorded", "readings": "exec"}).content.decode()
        assert "Kubernetes v1.36.2 answered. 2 of " in text
        assert "create pods/exec in kube-system" in text
        text = client.post("/clusters/check", {"context": "recorded", "readings": "none"}).content.decode()
        assert "Everything that is needed is granted." in text
        assert "create pods/exec" not in text


def test_a_check_that_was_not_answered_says_why(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "check", lambda *_: Check(version=None, error="No answer from the API server."))
    assert "No answer from the API server." in client.post("/clusters/check", {"context": "prod"}).content.decode()


def test_htmx_gets_the_partial_only(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "check", lambda *_: Check(version={}, verdicts=((PERMISSIONS[0], Verdict(allowed=True)),)))
    response = client.post("/clusters/check", {"context": "prod"}, headers={"HX-Request": "true", "HX-Target": "check"})
    assert b"<html" not in response.content
    assert "HX-Target" in response["Vary"]


@pytest.mark.parametrize("path", ["/clusters/check", "/clusters/connect"])
def test_it_404s_for_a_context_that_is_not_offered(client: Client, path: str) -> None:
    assert client.post(path, {"context": "elsewhere"}).status_code == 404
    assert LiveSource.objects.count() == 0


def test_only_a_form_of_ours_checks(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(connecting, "check", lambda context: asked.append(context) or Check(version=None, error="No answer."))
    response = client.get("/clusters/check?context=prod&readings=exec")
    assert (response.status_code, response["Location"]) == (302, "/clusters")
    assert Client(enforce_csrf_checks=True).post("/clusters/check", {"context": "prod"}).status_code == 403
    assert asked == []
    client.post("/clusters/check", {"context": "prod"})
    assert asked == ["prod"]


def test_a_check_ends_though_the_cluster_is_silent(client: Client, settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(connecting, "CHECK_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        cluster = {"server": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        settings.KUBECONFIG = str(tmp_path / "kubeconfig")
        named = {"name": "silent", "context": {"cluster": "c", "user": "u"}}
        users = [{"name": "u", "user": {}}]
        value = {"clusters": [{"name": "c", "cluster": cluster}], "contexts": [named], "users": users, "current-context": "silent"}
        Path(settings.KUBECONFIG).write_text(json.dumps(value))
        began = time.monotonic()
        text = client.post("/clusters/check", {"context": "silent"}).content.decode()
    assert "The cluster did not answer within 0.5 seconds." in text
    assert time.monotonic() - began < 5


def test_nothing_is_asked_after_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Slow:
        def version(self) -> dict[str, object]:
            return {"gitVersion": "v1.36.2"}

        def is_allowed(self, permission: object) -> Verdict:
            asked.append(permission)
            time.sleep(0.2)
            return Verdict(allowed=True)

        def close(self) -> None:
            asked.append("closed")

    monkeypatch.setattr(connecting, "CHECK_SECONDS", 0.3)
    monkeypatch.setattr(connecting, "connection_to", lambda _: Slow())
    assert connecting.check("prod").version is None
    time.sleep(0.5)
    assert asked[-1] == "closed"
    assert len(asked) <= 3


def test_it_says_what_exec_allows_and_what_is_run(client: Client) -> None:
    text = client.get("/clusters").content.decode()
    assert "can run any program in any pod of that namespace" in text
    for command in READ:
        assert f"<code>{' '.join(command.argv)}</code>" in text


def test_connect_follows_it_and_shows_it(client: Client) -> None:
    response = client.post("/clusters/connect", {"context": "prod", "readings": "none"})
    row = LiveSource.objects.get()
    assert (row.context, row.readings, response["Location"]) == ("prod", "none", f"/clusters/{row.id}")
    assert "Connecting" in client.get(response["Location"]).content.decode()


def test_the_cluster_it_runs_in_only_where_it_runs_in_one(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    assert client.post("/clusters/connect", {"context": ""}).status_code == 404
    monkeypatch.setattr(connecting, "contexts", lambda: Contexts(in_cluster=True))
    client.post("/clusters/connect", {"context": ""})
    assert LiveSource.objects.get().kind == LiveSource.Kind.IN_CLUSTER


# --- one cluster ---------------------------------------------------------------------------------------------------------


def test_it_says_what_was_read_of_each_node(client: Client) -> None:
    shop = KeptCluster()
    shop.set(nodes={"shop-worker": NODE, "<b>": NODE | {"error": "Forbidden: <i>", "read_at": None}})
    text = client.get(f"/clusters/{shop.row.id}").content.decode()
    assert "lacks ip-route.json" in text
    assert "34 ms" in text
    assert "46.7" in text
    assert "Forbidden: &lt;i&gt;" in text
    assert "1 not read" in text
    assert "The container has no program ip." in text


def test_what_is_missing_says_what_it_limits(client: Client) -> None:
    shop = KeptCluster(node_files=False)
    assert "rules (iptables-save.txt or nft-ruleset.json)" in client.get(f"/clusters/{shop.row.id}").content.decode()


def test_its_part_is_fetched_alone(client: Client) -> None:
    shop = KeptCluster()
    response = client.get(f"/clusters/{shop.row.id}", headers={"HX-Request": "true", "HX-Target": "cluster-now"})
    assert response.content.strip().startswith(b'<div id="cluster-now"')


def test_it_can_be_disconnected(client: Client) -> None:
    shop = KeptCluster()
    assert client.post(f"/clusters/{shop.row.id}/disconnect")["Location"] == "/clusters"
    assert client.get(f"/clusters/{shop.row.id}").status_code == 404


def test_the_moment_is_saved_as_a_snapshot_of_the_session(client: Client) -> None:
    shop = KeptCluster()
    response = client.post(f"/clusters/{shop.row.id}/save", {"name": "before the change"})
    made = Snapshot.objects.get()
    assert (made.name, response["Location"]) == ("before the change", f"/snapshots/{made.id}")
    assert client.get(response["Location"]).status_code == 200
    assert client_of(OTHER).get(response["Location"]).status_code == 404


def test_recording_begins_and_ends() -> None:
    shop, client = KeptCluster(), client_of(MINE)
    client.post(f"/clusters/{shop.row.id}/record", {"recording": "1", "name": "incident"})
    shop.row.refresh_from_db()
    assert (shop.row.recording["state"], shop.row.recording["name"]) == ("recording", "incident")
    assert "End the recording" in client.get(f"/clusters/{shop.row.id}").content.decode()
    client.post(f"/clusters/{shop.row.id}/record", {"recording": "0"})
    shop.row.refresh_from_db()
    assert shop.row.recording["state"] == "storing"


@pytest.mark.parametrize("recording", ["0", "1"])
def test_a_second_click_on_the_same_button_is_no_error(recording: str) -> None:
    shop, client = KeptCluster(), client_of(MINE)
    for _ in range(2):
        assert client.post(f"/clusters/{shop.row.id}/record", {"recording": recording}).status_code == 302


def test_a_nodes_connections_are_asked_for(client: Client) -> None:
    shop = KeptCluster()
    shop.set(nodes={"shop-worker": NODE})
    assert client.post(f"/clusters/{shop.row.id}/conntrack", {"node": "shop-worker"}).status_code == 302
    shop.row.refresh_from_db()
    assert "shop-worker" in shop.row.asked["conntrack"]
    assert client.post(f"/clusters/{shop.row.id}/conntrack", {"node": "nobody"}).status_code == 404


NO_PROGRAM = "The container has no program conntrack <b>."


@pytest.mark.parametrize(
    ("said", "link", "error"),
    [
        ({"read_at": 1795203561.5, "bytes": 10, "seconds": 0.1, "error": ""}, True, False),
        ({"error": NO_PROGRAM, "seconds": 0.0}, False, True),
        ({"read_at": 1795203561.5, "bytes": 10, "error": NO_PROGRAM}, True, True),
        (None, False, False),
    ],
    ids=["read", "no program", "read once, failed since", "never asked for"],
)
def test_only_connections_that_were_read_are_a_link(client: Client, said: dict | None, link: bool, error: bool) -> None:
    shop = KeptCluster()
    shop.set(nodes={"shop-worker": NODE | {"files": NODE["files"] | ({"conntrack.txt": said} if said else {})}})
    text = client.get(f"/clusters/{shop.row.id}").content.decode()
    assert (f"/c/{shop.row.id}/connections?node=shop-worker" in text) is link
    assert (f'action="/clusters/{shop.row.id}/conntrack"' in text) is not link
    assert ('<p class="err why">The container has no program conntrack &lt;b&gt;.</p>' in text) is error


def test_one_is_not_many(client: Client) -> None:
    shop = KeptCluster()
    counts = {"networkpolicies": 1, "ingresses": 1, "endpointslices": 2, "configmaps/coredns": 1}
    shop.set(heads={name: {"count": count, "listed": True, "error": ""} for name, count in counts.items()})
    text = client.get(f"/clusters/{shop.row.id}").content.decode()
    for words in ("<b>1</b> networkpolicy<", "<b>1</b> ingress<", "<b>2</b> endpointslices<", "<b>1</b> configmap/coredns<"):
        assert words in text


# --- playing -------------------------------------------------------------------------------------------------------------


def test_play_opens_the_trace_that_will_change(timeline: Snapshot) -> None:
    response = client_of(MINE).post(f"/snapshots/{timeline.id}/play")
    row = LiveSource.objects.get()
    assert row.owner == MINE
    assert response["Location"] == f"/c/{row.id}/trace?from=pod:default/client-5b59cb7b48-2bqm6&to=svc:default/api:80#play"
    assert not row.playback["playing"]


def test_play_needs_no_session_before(client: Client, timeline: Snapshot) -> None:
    assert client.post(f"/snapshots/{timeline.id}/play").status_code == 302
    assert LiveSource.objects.get().owner


def test_play_again_goes_on_where_it_stood_and_begins_anew_at_its_end(timeline: Snapshot) -> None:
    client = client_of(MINE)
    client.post(f"/snapshots/{timeline.id}/play")
    row = LiveSource.objects.get()
    live.control(row, position=12.0)
    client.post(f"/snapshots/{timeline.id}/play")
    assert LiveSource.objects.get().playback["position"] == 12.0
    live.control(row, position=row.playback["duration"])
    client.post(f"/snapshots/{timeline.id}/play")
    again = LiveSource.objects.get()
    assert again.id != row.id
    assert again.playback["position"] < 1


def test_it_404s_for_what_is_not_there_and_says_when_there_are_too_many(timeline: Snapshot, settings) -> None:
    assert client_of(MINE).post("/snapshots/nobody/play").status_code == 404
    settings.TIMELINES_MAX = 0
    client = client_of(MINE)
    response = client.post(f"/snapshots/{timeline.id}/play")
    assert response["Location"] == f"/snapshots/{timeline.id}"
    assert "as many timelines as it can" in client.get(response["Location"]).content.decode()


def test_a_timelines_page_and_the_home_page_offer_to_play_it(client: Client, timeline: Snapshot) -> None:
    text = client.get(f"/snapshots/{timeline.id}").content.decode()
    assert f'action="/snapshots/{timeline.id}/play"' in text
    assert "api scaled from 3 to 5" in text
    assert f"/c/{timeline.id}/connections" in text
    Snapshot.objects.update(is_demo=True)
    assert "Play shop-timeline" in client.get("/").content.decode()

"""The server over plain HTTP: what a real API server does, byte for byte where the recording has the bytes."""

from __future__ import annotations

import json
import socket
import time
import urllib.error
import urllib.request
from typing import Any

import pytest

from tests.webapp.recorded_api import shop
from webapp.cluster.permissions import Permission
from webapp.recorded_api import Fault, Faults, RecordedApi, RunningServer, What


def get(server: RunningServer, path: str, *, token: str | None = None, timeout: float = 10) -> tuple[int, Any]:
    """Return the status and the JSON (or lines of JSON) of an answer."""
    request = urllib.request.Request(server.url + path, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            body, code = response.read(), response.status
    except urllib.error.HTTPError as error:
        body, code = error.read(), error.code
    parsed = [json.loads(line) for line in body.splitlines()]
    return code, parsed[0] if len(parsed) == 1 else parsed


def test_lists_are_the_recorded_ones() -> None:
    with shop.served() as (server, _):
        for plural, group in (("services", "api/v1"), ("nodes", "api/v1"), ("endpointslices", "apis/discovery.k8s.io/v1")):
            code, value = get(server, f"/{group}/{plural}")
            recorded = json.loads(shop.files()[f"{plural}.list.json"])
            assert code == 200
            assert sorted(value["items"], key=str) == sorted(recorded["items"], key=str)
            assert {k: v for k, v in value.items() if k != "items"} == {k: v for k, v in recorded.items() if k != "items"}


def test_pages_are_of_one_state_though_the_cluster_changes() -> None:
    api = RecordedApi(shop.timeline())
    with shop.served(api=api) as (server, _):
        _, page = get(server, "/api/v1/pods?limit=20")
        assert (len(page["items"]), page["metadata"]["remainingItemCount"]) == (20, 19)
        api.advance_to(99)
        _, last = get(server, f"/api/v1/pods?limit=20&continue={page['metadata']['continue']}")
        assert page["metadata"]["resourceVersion"] == last["metadata"]["resourceVersion"] == "830"
        assert "continue" not in last["metadata"]
        assert shop.versions(page["items"] + last["items"]) == shop.after("pods", 830)


@pytest.mark.parametrize("what", ["compacted", "moved back"])
def test_a_continue_token_expires(what: str) -> None:
    api = RecordedApi(shop.timeline())
    api.advance_to(10)
    with shop.served(api=api) as (server, _):
        _, page = get(server, "/api/v1/pods?limit=20")
        api.advance_to(99 if what == "compacted" else 1)
        api.compact()
        code, value = get(server, f"/api/v1/pods?limit=20&continue={page['metadata']['continue']}")
        assert (code, value["reason"]) == (410, "Expired")


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("fieldSelector=metadata.name%3Dcoredns", {"coredns"}),
        ("fieldSelector=metadata.name%3Dcoredns,metadata.namespace%3Ddefault", set()),
        ("fieldSelector=metadata.name!%3Dcoredns", {"kube-proxy"}),
        ("fieldSelector=metadata.name%3D%3Dnone", set()),
    ],
)
def test_field_selectors(query: str, names: set[str]) -> None:
    with shop.served() as (server, _):
        _, value = get(server, f"/api/v1/namespaces/kube-system/configmaps?{query}")
        assert {o["metadata"]["name"] for o in value["items"]} == names


@pytest.mark.parametrize(
    ("selector", "count"),
    [("k8s-app%3Dkube-proxy", 4), ("k8s-app", 6), ("!k8s-app", 33), ("k8s-app+in+(kube-proxy,kube-dns)", 6), ("k8s-app!%3Dkube-dns", 37)],
)
def test_label_selectors(selector: str, count: int) -> None:
    with shop.served() as (server, _):
        assert len(get(server, f"/api/v1/pods?labelSelector={selector}")[1]["items"]) == count


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/api/v1/secrets", 404),
        ("/api/v1/namespaces/default/services/none", 404),
        ("/api/v1/namespaces/default/nodes", 404),
        ("/api/v1/endpointslices", 404),
        ("/apis/discovery.k8s.io/v2/endpointslices", 404),
        ("/api/v1/namespaces/default/services/api/status", 404),
        ("/nonsense", 404),
        ("/api/v1/services?limit=x", 400),
        ("/api/v1/services?continue=x", 400),
        ("/api/v1/services?fieldSelector=spec.secret%3Dx", 400),
        ("/api/v1/services?fieldSelector=nonsense", 400),
        ("/api/v1/services?watch=1&resourceVersion=x", 400),
        ("/api/v1/services?watch=1&timeoutSeconds=x", 400),
        ("/api/v1/services?watch=1&sendInitialEvents=true", 422),
        ("/api/v1/namespaces/kube-system/pods/none/exec", 404),
        ("/api/v1/namespaces/kube-system/pods/kube-proxy-shop-worker/exec?container=x", 400),
        ("/api/v1/namespaces/kube-system/pods/kube-proxy-shop-worker/exec", 400),
    ],
)
def test_refusals_are_status_objects(path: str, code: int) -> None:
    with shop.served() as (server, _):
        found, value = get(server, path)
        assert (found, value["kind"], value["code"], value["status"]) == (code, "Status", code, "Failure")


def test_nothing_can_be_written() -> None:
    with shop.served() as (server, _):
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            request = urllib.request.Request(server.url + "/api/v1/namespaces/default/services/api", data=b"{}", method=method)
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(request, timeout=10)
            assert caught.value.code == 405
            caught.value.close()


def test_only_the_secret_path_and_the_token_lead_in() -> None:
    with shop.served(token="right") as (server, _):
        assert get(server, "/api/v1/services", token="right")[0] == 200
        assert get(server, "/api/v1/services", token="wrong")[0] == 401
        assert get(server, "/api/v1/services")[0] == 401
        server.url = server.url.rpartition("/")[0]
        assert get(server, "/api/v1/services", token="right")[0] == 404
        assert get(server, "/version", token="right")[1]["gitVersion"] == "v1.36.2"


def test_a_watch_sends_the_recorded_lines() -> None:
    api = RecordedApi(shop.timeline())
    api.advance_to(99)
    with (
        shop.served(api=api) as (server, _),
        urllib.request.urlopen(
            f"{server.url}/apis/discovery.k8s.io/v1/endpointslices?watch=1&resourceVersion=830&timeoutSeconds=1", timeout=10
        ) as response,
    ):
        assert response.read().splitlines() == shop.lines("endpointslices")


def test_a_watch_from_nothing_begins_with_all_objects() -> None:
    with shop.served() as (server, _):
        _, events = get(server, "/api/v1/services?watch=1&timeoutSeconds=1")
        assert {e["type"] for e in events} == {"ADDED"}
        assert shop.versions(e["object"] for e in events) == shop.after("services", 830)


def test_a_watch_of_one_namespace_and_name_hears_of_nothing_else() -> None:
    api = RecordedApi(shop.timeline())
    api.advance_to(99)
    with shop.served(api=api) as (server, _):
        query = "watch=1&resourceVersion=830&timeoutSeconds=1&fieldSelector=metadata.name%3Dfresh"
        _, events = get(server, f"/api/v1/namespaces/default/services?{query}")
        assert [(e["type"], e["object"]["metadata"]["name"]) for e in events] == [("ADDED", "fresh"), ("MODIFIED", "fresh")]


def test_bookmarks_come_when_asked_for_and_when_the_time_is_over() -> None:
    with shop.served(bookmark_seconds=0.2) as (server, _):
        _, events = get(server, "/api/v1/services?watch=1&resourceVersion=830&timeoutSeconds=1&allowWatchBookmarks=true")
        assert {(e["type"], e["object"]["metadata"]["resourceVersion"]) for e in events} == {("BOOKMARK", "830")}
        assert 2 <= len(events) <= 6
        code, none = get(server, "/api/v1/services?watch=1&resourceVersion=830&timeoutSeconds=1")
        assert (code, none) == (200, [])


def test_moving_back_ends_watches_and_makes_their_versions_gone() -> None:
    api = RecordedApi(shop.timeline())
    api.advance_to(19)
    with shop.served(api=api) as (server, _):
        with urllib.request.urlopen(f"{server.url}/api/v1/services?watch=1&resourceVersion=918", timeout=10) as response:
            api.advance_to(3)
            assert response.read() == b""
        assert get(server, "/api/v1/services?watch=1&resourceVersion=918")[1]["object"]["code"] == 410
        assert int(get(server, "/api/v1/services")[1]["metadata"]["resourceVersion"]) > 1_000_000_000


def test_a_watch_from_too_long_ago_is_told_in_an_event() -> None:
    with shop.served() as (server, _):
        code, event = get(server, "/api/v1/services?watch=1&resourceVersion=5")
        assert (code, event["type"], event["object"]["reason"], event["object"]["code"]) == (200, "ERROR", "Expired", 410)
        assert event["object"]["message"] == "too old resource version: 5 (830)"


def test_stopping_ends_everything_soon() -> None:
    with shop.served() as (server, _):
        response = urllib.request.urlopen(f"{server.url}/api/v1/services?watch=1&resourceVersion=830", timeout=10)
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 8
        assert response.read() == b""
        response.close()
        server.stop()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", int(server.url.split(":")[2].split("/")[0])), timeout=2)


def test_denied_requests_say_what_is_missing() -> None:
    def may(permission: Permission) -> bool:
        return permission.resource != "nodes"

    with shop.served(may=may) as (server, _):
        code, value = get(server, "/api/v1/nodes")
        message = 'nodes is forbidden: User "hopline" cannot list resource "nodes" in API group "" at the cluster scope'
        assert (code, value["reason"], value["message"]) == (403, "Forbidden", message)
        assert get(server, "/api/v1/services")[0] == 200


def test_faults_happen_as_often_as_they_are_due() -> None:
    faults = Faults()
    faults.add(Fault(what=What.STATUS, status=503, plural="nodes", times=2), Fault(what=What.STATUS, status=429, verb="list"))
    with shop.served(faults=faults) as (server, _):
        assert [get(server, f"/api/v1/{p}")[0] for p in ("nodes", "services", "nodes", "nodes", "services")] == [503, 429, 503, 200, 200]
    assert [what for _, _, what in faults.log] == [What.STATUS] * 3 + [None] * 2

"""The follower against a server that replays a recording: what it learns, what it says, and that no fault makes it miss anything."""

from __future__ import annotations

import json
import random

import pytest

from tests.webapp.live.following import HASTY, followed, fresh, recorded, stored, until
from webapp.live import live_sources
from webapp.live.journal import unpacked
from webapp.live.store import encoded
from webapp.models import LiveItem
from webapp.reading.paths import VERSION
from webapp.recorded_api import Fault, Faults, RecordedApi, Timeline, What

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def timeline() -> Timeline:
    return recorded()


def replica_objects(source: str) -> dict[tuple[str, str, str], bytes]:
    """Return what this process's engine model holds, as the files it would write."""
    from webapp.models import LiveSource

    with live_sources.using(LiveSource.objects.get(id=source)) as view:
        files = dict(view.cluster.snapshot.files)
    found = {}
    for path, content in files.items():
        if path.endswith(".json") and "/" not in path and path != "snapshot.json":
            for item in json.loads(content)["items"]:
                metadata = item["metadata"]
                found[item["kind"], metadata.get("namespace") or "", metadata["name"]] = encoded(item)
    return found


def keyed(objects: dict[str, bytes]) -> dict[tuple[str, str, str], bytes]:
    values = (json.loads(body) for body in objects.values())
    return {(v["kind"], v["metadata"].get("namespace") or "", v["metadata"]["name"]): encoded(v) for v in values}


def test_it_works(timeline: Timeline) -> None:
    api = RecordedApi(timeline)
    with followed(api) as it:
        row = it.until_live()
        it.until_current()
        before = row.generation
        api.advance_to(timeline.length)
        it.until_current()
        assert it.row.generation > before
        assert replica_objects(it.source) == keyed(fresh(it.server))
        it.until(lambda: it.row.heads["services"]["resource_version"] != row.heads["services"]["resource_version"], "heads move on")


def test_a_change_of_one_service_is_one_generation_that_names_it(timeline: Timeline) -> None:
    api = RecordedApi(timeline)
    with followed(api) as it:
        it.until_live()
        it.until_current()
        # The server's version is asked beside the lists, and is a generation of its own where it comes last.
        it.until(lambda: LiveItem.objects.filter(source=it.source, path=VERSION).exists(), "the version is stored")
        before = it.row.generation
        service = dict(api.get("services", "default", "api") or {})
        service["spec"] = service["spec"] | {"sessionAffinity": "ClientIP"}
        api.change("MODIFIED", "services", service)
        it.until(lambda: it.row.generation == before + 1, "one more generation")
        assert live_sources.changes_since(it.row, before) == ("svc/default/api",)
        with live_sources.using(it.row) as view:
            assert view.generation == before + 1
            changed = view.cluster.objects.service("default", "api")
            assert changed is not None
            assert changed.session_affinity == "ClientIP"


def test_played_back_it_shows_the_old_moment(timeline: Timeline) -> None:
    api = RecordedApi(timeline)
    with followed(api) as it:
        it.until_live()
        api.advance_to(timeline.length)
        it.until_current()
        api.advance_to(timeline.steps[3].position)
        it.until_current()
        assert replica_objects(it.source) == keyed(fresh(it.server))


def test_pages_are_followed_to_the_end() -> None:
    """More Services than two pages hold, in a list that was changed between its pages."""
    api = RecordedApi(many_services(1234))
    with followed(api) as it:
        it.until_live()
        it.until_current()
        assert it.row.heads["services"]["count"] == 1234
        assert it.server.faults.log.count(("list", "services", None)) == 3


def many_services(count: int) -> Timeline:
    items = [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"namespace": f"ns-{n % 50}", "name": f"service-{n}", "resourceVersion": "5"},
            "spec": {
                "clusterIP": f"10.{96 + n // 65536}.{n // 256 % 256}.{n % 256}",
                "ports": [{"port": 80, "protocol": "TCP"}],
                "type": "ClusterIP",
            },
        }
        for n in range(count)
    ]
    return Timeline.open({"services.json": json.dumps({"apiVersion": "v1", "kind": "List", "items": items}).encode()})


@pytest.mark.parametrize("is_listed", [True, False])
def test_an_object_without_a_usable_name_is_left_out_and_said(timeline: Timeline, is_listed: bool) -> None:
    """One that no API server should have does not keep the others of its kind away."""
    api = RecordedApi(timeline)
    service = dict(api.get("services", "default", "api") or {})
    unfit = service | {"metadata": service["metadata"] | {"name": "a/b"}}
    if is_listed:
        api.change("ADDED", "services", unfit)
    with followed(api) as it:
        it.until_live()
        if not is_listed:
            api.change("ADDED", "services", unfit)
        api.change("MODIFIED", "services", service | {"spec": service["spec"] | {"sessionAffinity": "ClientIP"}})
        path = "objects/services/default/api.json"
        it.until(lambda: b"ClientIP" in stored(it.source).get(path, b""), "the others are followed")
        it.until(lambda: it.row.heads["services"]["error"] != "", "it is said")
        assert it.row.heads["services"]["error"] == "Left out, for want of a usable name: a/b."
        assert it.row.state == "live"
        assert not any("a/b" in path for path in stored(it.source))
        api.change("DELETED", "services", unfit)
        it.until(lambda: it.row.heads["services"]["error"] == "", "it is gone")


def test_an_outage_is_stale_and_then_live_again(timeline: Timeline) -> None:
    faults = Faults()
    api = RecordedApi(timeline)
    with followed(api, faults=faults) as it:
        it.until_live()
        faults.add(Fault(what=What.STATUS, status=503, times=None))
        # Running watches end at the next event, and nothing can be asked any more.
        faults.add()
        api.advance_to(timeline.steps[1].position)
        api.advance_to(0.0)
        it.until(lambda: it.row.state == "stale", "the source is stale")
        assert "503" in it.row.state_text
        faults.clear()
        it.until_live()
        it.until_current()


def test_what_is_not_permitted_is_said_and_the_rest_is_followed(timeline: Timeline) -> None:
    with followed(RecordedApi(timeline), may=lambda permission: permission.resource != "networkpolicies") as it:
        row = it.until_live()
        assert "networkpolicies" in row.state_text
        assert "networkpolicies" in row.heads["networkpolicies"]["error"]
        assert not any(path.startswith("objects/networkpolicies/") for path in stored(it.source))
        assert any(path.startswith("objects/services/") for path in stored(it.source))


def test_credentials_that_nobody_knows_are_stale_with_the_reason(timeline: Timeline) -> None:
    faults = Faults()
    faults.add(Fault(what=What.STATUS, status=401, times=None))
    with followed(RecordedApi(timeline), faults=faults) as it:
        it.until(lambda: it.row.state == "stale", "the source is stale")
        assert "does not know these credentials" in it.row.state_text


def test_credentials_that_are_refused_for_long_end_it_so_that_they_are_read_anew(
    timeline: Timeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webapp.live.follower._VERSION_RETRY", 0.02)
    faults = Faults()
    faults.add(Fault(what=What.STATUS, status=401, times=None))
    with followed(RecordedApi(timeline), faults=faults) as it:
        it.until(it.follower.is_over.is_set, "it ends")


def test_a_busy_server_does_not_end_it(timeline: Timeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webapp.live.follower._VERSION_RETRY", 0.02)
    faults = Faults()
    faults.add(Fault(what=What.STATUS, status=503, times=40))
    with followed(RecordedApi(timeline), faults=faults) as it:
        it.until_live()
        it.until_current()


def test_a_page_that_is_too_large_is_asked_for_in_smaller_ones(timeline: Timeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webapp.cluster.connection._MOST_PAGE_BYTES", 40_000)
    with followed(RecordedApi(timeline)) as it:
        it.until_live()
        it.until_current()
        assert sum(entry[:2] == ("list", "pods") for entry in it.server.faults.log) > 3


def test_a_second_follower_writes_only_what_differs(timeline: Timeline) -> None:
    api = RecordedApi(timeline)
    with followed(api) as it:
        it.until_live()
        it.until_current()
        first = it
    from webapp.cluster.connection import Connection
    from webapp.live import lease
    from webapp.live.follower import Follower
    from webapp.recorded_api import serve

    api.advance_to(timeline.steps[1].position)
    before = {item.path: item.generation for item in LiveItem.objects.filter(source=first.source)}
    row, holder = first.row, lease.holder_name()
    assert not lease.take(row.id, holder)
    lease.release(row.id, row.lease_holder)
    assert lease.take(row.id, holder)
    with serve(api) as server:
        follower = Follower(row, holder, connect=lambda: Connection.to_url(server.url), pace=HASTY)
        follower.start()
        try:
            until(lambda: stored(row.id) == fresh(server), "the second follower is current")
        finally:
            follower.stop()
            until(lambda: follower.is_over.is_set() and not follower.is_writing, "it ends")
    after = {item.path: item.generation for item in LiveItem.objects.filter(source=row.id)}
    rewritten = [path for path, generation in after.items() if before.get(path) != generation]
    assert 0 < len(rewritten) < len(after) / 3


def test_credentials_are_neither_stored_nor_logged(timeline: Timeline, caplog: pytest.LogCaptureFixture) -> None:
    token, faults = "a-token-that-nobody-may-see", Faults()
    faults.add(Fault(what=What.STATUS, status=500, times=4), Fault(what=What.CUT, verb="watch", times=3), Fault(what=What.GARBAGE, times=3))
    with caplog.at_level("DEBUG"), followed(RecordedApi(timeline), faults=faults, token=token, readings="exec") as it:
        it.until_live()
        it.until(lambda: len(it.row.nodes) == 4, "all nodes are read")
        row = it.row
        told = json.dumps([row.state_text, row.heads, row.nodes, row.asked, row.playback, row.context, row.name])
        bodies = b"".join(unpacked(i.body_zstd) for i in LiveItem.objects.filter(source=row.id) if i.body_zstd is not None)
    assert token not in told
    assert token.encode() not in bodies
    assert token not in caplog.text


# --- any sequence of faults ----------------------------------------------------------------------------------------------------

PLURALS = ("services", "endpointslices", "pods", "nodes", "namespaces", None)


def random_fault(rng: random.Random) -> Fault:
    what = rng.choice([w for w in What if w is not What.HUGE])
    verb = rng.choice(("list", "watch", "watch", "watch", None))
    status = rng.choice((401, 403, 410, 429, 500, 503))
    return Fault(
        what=what,
        verb=verb,
        plural=rng.choice(PLURALS),
        times=rng.randint(1, 3),
        after=rng.randint(0, 3),
        status=status,
        seconds=0.3 if what is What.SILENT else 0.001,
    )


def random_change(rng: random.Random, api: RecordedApi) -> None:
    plural = rng.choice(("services", "endpointslices", "pods"))
    objects = api.objects(plural)
    if not objects:
        return
    value = dict(rng.choice(objects))
    match rng.choice(("ADDED", "MODIFIED", "MODIFIED", "DELETED")):
        case "ADDED":
            value["metadata"] = value["metadata"] | {"name": f"made-{rng.getrandbits(40):x}"}
            api.change("ADDED", plural, value)
        case "MODIFIED":
            value["metadata"] = value["metadata"] | {"annotations": {"changed": str(rng.random())}}
            api.change("MODIFIED", plural, value)
        case _:
            api.change("DELETED", plural, value)


def act(rng: random.Random, api: RecordedApi, faults: Faults) -> None:
    match rng.choice(("fault", "fault", "forwards", "forwards", "anywhere", "change", "change", "change", "compact")):
        case "fault":
            faults.add(random_fault(rng))
        case "forwards":
            api.advance_to(api.position + rng.uniform(0, 8))
        case "anywhere":
            api.advance_to(rng.uniform(0, api.timeline.length))
        case "change":
            random_change(rng, api)
        case _:
            api.compact()


@pytest.mark.parametrize("seed", range(5))
def test_after_any_sequence_of_faults_the_model_equals_a_fresh_list(timeline: Timeline, seed: int) -> None:
    rng = random.Random(seed)
    api, faults = RecordedApi(timeline), Faults()
    with followed(api, faults=faults, bookmark_seconds=0.2) as it:
        for _ in range(rng.randint(15, 40)):
            act(rng, api, faults)
            if rng.random() < 0.5:
                it.follower._outbox.stop.wait(rng.uniform(0, 0.1))
            if rng.random() < 0.1:
                replica_objects(it.source)
        faults.clear()
        it.until_current()
        it.until_live()
        assert replica_objects(it.source) == keyed(fresh(it.server))

"""What a list or an event changes, page by page."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.live.store import Store, UnfitObject, encoded


def service(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "shop", "name": name, "resourceVersion": "1"}, "spec": spec}


def endpoint_slice(name: str, owner: str) -> dict[str, Any]:
    return {"metadata": {"namespace": "shop", "name": name, "labels": {"kubernetes.io/service-name": owner}}, "endpoints": []}


def test_a_list_adds_changes_and_removes() -> None:
    store = Store()
    first = store.replace("services", "Service", [service("a"), service("b")], seen_at=1.0)
    assert [(c.path, c.before) for c in first] == [("objects/services/shop/a.json", None), ("objects/services/shop/b.json", None)]
    second = store.replace("services", "Service", [service("b", type="NodePort"), service("c")], seen_at=2.0)
    assert [(c.path, c.before is None, c.after is None) for c in second] == [
        ("objects/services/shop/b.json", False, False),
        ("objects/services/shop/c.json", True, False),
        ("objects/services/shop/a.json", False, True),
    ]
    assert store.replace("services", "Service", [service("c"), service("b", type="NodePort")], seen_at=3.0) == ()


def test_what_a_list_did_not_mention_yet_is_there_until_it_ends() -> None:
    store = Store()
    store.replace("services", "Service", [service("a"), service("b")], seen_at=1.0)
    store.begin("services")
    assert store.page("services", "Service", [service("b")], seen_at=2.0) == ()
    assert "objects/services/shop/a.json" in store
    assert [c.path for c in store.finish("services", seen_at=2.0)] == ["objects/services/shop/a.json"]


def test_a_list_that_begins_again_forgets_the_half_before() -> None:
    store = Store()
    store.begin("services")
    store.page("services", "Service", [service("a")], seen_at=1.0)
    store.begin("services")
    store.page("services", "Service", [service("b")], seen_at=1.0)
    store.finish("services", seen_at=1.0)
    assert list(store) == ["objects/services/shop/b.json"]


def test_one_stream_does_not_remove_anothers() -> None:
    store = Store()
    store.replace("configmaps/kube-proxy", "ConfigMap", [{"metadata": {"namespace": "kube-system", "name": "kube-proxy"}}], seen_at=1.0)
    store.replace("configmaps/coredns", "ConfigMap", [], seen_at=1.0)
    assert list(store) == ["objects/configmaps/kube-system/kube-proxy.json"]


def test_other_config_maps_are_not_kept() -> None:
    store = Store()
    found = store.replace(
        "configmaps", "ConfigMap", [{"metadata": {"namespace": "shop", "name": "passwords"}, "data": {"a": "b"}}], seen_at=1.0
    )
    assert found == ()
    assert len(store) == 0


def test_who_wrote_what_and_kubectls_copy_are_not_kept() -> None:
    store = Store()
    item = service("a")
    item["metadata"] |= {
        "managedFields": [{"manager": "kubectl"}],
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": '{"password": "x"}', "kept": "yes"},
    }
    (change,) = store.replace("services", "Service", [item], seen_at=1.0)
    kept = json.loads(change.after or b"")
    assert kept["metadata"] == {"namespace": "shop", "name": "a", "resourceVersion": "1", "annotations": {"kept": "yes"}}
    assert (kept["apiVersion"], kept["kind"]) == ("v1", "Service")
    assert "managedFields" in item["metadata"]


def test_what_containers_run_and_with_which_environment_is_not_kept() -> None:
    container = {
        "name": "c",
        "image": "i",
        "env": [{"name": "PASSWORD", "value": "hunter2"}],
        "command": ["x", "--key=hunter2"],
        "args": ["hunter2"],
    }
    item = {"metadata": {"namespace": "shop", "name": "p"}, "spec": {"containers": [container], "initContainers": [container]}}
    change = Store().apply("pods", "Pod", "ADDED", item, seen_at=1.0)
    assert change is not None
    assert b"hunter2" not in (change.after or b"")
    assert json.loads(change.after or b"")["spec"]["containers"] == [{"name": "c", "image": "i"}]


def test_an_endpoint_slice_is_called_by_its_services_before_and_after() -> None:
    store = Store()
    store.apply("slices", "EndpointSlice", "ADDED", endpoint_slice("web-1", "web"), seen_at=1.0)
    change = store.apply("slices", "EndpointSlice", "MODIFIED", endpoint_slice("web-1", "shop"), seen_at=2.0)
    assert change is not None
    assert change.refs == ("svc/shop/web", "svc/shop/shop")
    gone = store.apply("slices", "EndpointSlice", "DELETED", endpoint_slice("web-1", "shop"), seen_at=3.0)
    assert gone is not None
    assert gone.refs == ("svc/shop/shop",)


def test_an_event_that_says_nothing_new_is_no_change() -> None:
    store = Store()
    store.apply("services", "Service", "ADDED", service("a"), seen_at=1.0)
    assert store.apply("services", "Service", "MODIFIED", service("a"), seen_at=2.0) is None
    assert store.apply("services", "Service", "DELETED", service("b"), seen_at=2.0) is None


def test_a_namespace_that_is_null_is_none() -> None:
    store = Store()
    store.replace("nodes", "Node", [{"metadata": {"name": "n1", "namespace": None}}], seen_at=1.0)
    assert list(store) == ["objects/nodes/n1.json"]


@pytest.mark.parametrize(
    "item",
    [
        {},
        {"metadata": None},
        {"metadata": {"name": ""}},
        {"metadata": {"name": 1}},
        {"metadata": {"name": "a/../b"}},
        {"metadata": {"name": "a", "namespace": 7}},
    ],
)
def test_it_refuses_what_has_no_name(item: dict[str, Any]) -> None:
    with pytest.raises(UnfitObject):
        Store().apply("services", "Service", "ADDED", item, seen_at=1.0)


def test_it_refuses_events_it_does_not_know() -> None:
    with pytest.raises(UnfitObject, match="BOOKMARK"):
        Store().apply("services", "Service", "BOOKMARK", service("a"), seen_at=1.0)


def test_files_are_kept_by_node() -> None:
    store = Store()
    change = store.put_file("nodes/n1/iptables-save.txt", b"*nat\n", seen_at=5.0)
    assert (change.before, change.after, change.refs) == (None, b"*nat\n", ("node/n1",))
    again = store.put_file("nodes/n1/iptables-save.txt", b"*nat\n", seen_at=6.0)
    assert (again.before, again.after, again.seen_at) == (b"*nat\n", b"*nat\n", 6.0)
    assert store.files_of("n1") == ("iptables-save.txt",)
    store.put_file("nodes/n1/iptables-save.txt", None, seen_at=7.0)
    assert store.files_of("n1") == ()


names = st.sampled_from("abcde")
events = st.tuples(st.sampled_from(("ADDED", "MODIFIED", "DELETED")), names, st.integers(0, 2))
lists = st.lists(st.tuples(names, st.integers(0, 2)), max_size=5, unique_by=lambda item: item[0])


@given(st.lists(st.one_of(events, lists), max_size=20))
def test_the_changes_of_any_history_add_up_to_the_last_state(history: list[Any]) -> None:
    store, replayed = Store(), {}
    expected: dict[str, int] = {}
    for entry in history:
        if isinstance(entry, list):
            expected = dict(entry)
            changes = list(store.replace("services", "Service", [service(n, clusterIP=v) for n, v in entry], seen_at=1.0))
        else:
            event, name, value = entry
            expected = {k: v for k, v in expected.items() if k != name} | ({} if event == "DELETED" else {name: value})
            change = store.apply("services", "Service", event, service(name, clusterIP=value), seen_at=1.0)
            changes = [change] if change else []
        for change in changes:
            assert replayed.get(change.path) == change.before
            replayed[change.path] = change.after
            if change.after is None:
                del replayed[change.path]
    assert replayed == {path: store[path] for path in store}
    fresh = Store()
    fresh.replace("services", "Service", [service(n, clusterIP=v) for n, v in expected.items()], seen_at=9.0)
    assert {path: fresh[path] for path in fresh} == replayed


def test_equal_objects_are_equal_bytes() -> None:
    assert encoded({"b": 1, "a": "é"}) == encoded({"a": "é", "b": 1}) == '{"a":"é","b":1}'.encode()

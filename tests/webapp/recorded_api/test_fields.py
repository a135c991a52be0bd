"""Objects that hold something else where Kubernetes has a map or a list: they are served, and selected by what can be read of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from webapp.recorded_api import RecordedApi, Timeline
from webapp.recorded_api.api_request import parse_path
from webapp.recorded_api.exec_channel import container_of
from webapp.recorded_api.fields import key_of, mapping, mappings
from webapp.recorded_api.listing import list_page
from webapp.recorded_api.statuses import RequestError

ODD: tuple[Any, ...] = (None, 7, "text", True, [], ["a"], [["a"]], [None], {}, {"a": 1}, [{"type": "InternalIP"}], [{}])
PLACES = (
    "spec",
    "status",
    "metadata.labels",
    "metadata.labels.app",
    "spec.containers",
    "spec.nodeName",
    "status.addresses",
    "status.phase",
)
SELECTORS = (
    {},
    {"labelSelector": "app=a"},
    {"labelSelector": "app in (a, b)"},
    {"labelSelector": "!app"},
    {"fieldSelector": "spec.nodeName=n"},
    {"fieldSelector": "status.phase!=Running"},
)


def _object(kind: str, place: str, odd: Any) -> dict[str, Any]:
    value: dict[str, Any] = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "one"}}
    if kind == "Pod":
        value["metadata"]["namespace"] = "shop"
    *way, last = place.split(".")
    inner = value
    for key in way:
        inner = inner.setdefault(key, {})
    inner[last] = odd
    return value


@pytest.mark.parametrize("odd", ODD, ids=repr)
@pytest.mark.parametrize("place", PLACES)
def test_an_odd_object_is_served(place: str, odd: Any) -> None:
    items = [_object("Pod", place, odd), _object("Node", place, odd)]
    timeline = Timeline.open({"objects.json": json.dumps({"apiVersion": "v1", "kind": "List", "items": items}).encode()})
    api = RecordedApi(timeline, readers=True)
    assert api.get("pods", "shop", "one") and api.get("nodes", "", "one")
    assert [key_of(pod)[0] for pod in api.objects("pods")] == ["hopline", "kube-system", "shop"]
    for query in SELECTORS:
        page = list_page(api, parse_path("/api/v1/pods"), query)
        assert page["kind"] == "PodList"
        json.dumps(page)
    for pod in api.objects("pods"):
        assert api.run_in(pod, "main", ("iptables-save",)) is None
        assert isinstance(container_of(pod, ""), str)
        with pytest.raises(RequestError):
            container_of(pod, "none of these")


def test_what_stands_in_a_field() -> None:
    value = {"a": {"b": [{"c": 1}, 2, {"d": 3}], "e": {"f": 4}}}
    assert mapping(value, "a", "e") == {"f": 4}
    assert mapping(value, "a", "b") == mapping(value, "x", "y") == mapping(None) == {}
    assert mappings(value, "a", "b") == ({"c": 1}, {"d": 3})
    assert mappings(value, "a", "e") == mappings(value, "x", "y") == ()

"""Which kinds an API server serves: asked once where discovery is aggregated, group by group where it is not; what is odd is passed over."""

from __future__ import annotations

from typing import Any

import pytest

from webapp.cluster.served_kinds import ACCEPT, served_kinds

GATEWAY = "gateway.networking.k8s.io"


def resource(plural: str, kind: str, *verbs: str) -> dict[str, Any]:
    return {"resource": plural, "responseKind": {"kind": kind}, "scope": "Namespaced", "verbs": list(verbs or ("list",))}


AGGREGATED = {
    "kind": "APIGroupDiscoveryList",
    "items": [
        {"metadata": {"name": "apps"}, "versions": [{"version": "v1", "resources": [resource("deployments", "Deployment")]}]},
        {
            "metadata": {"name": GATEWAY},
            "versions": [
                {"version": "v1", "resources": [resource("gateways", "Gateway"), resource("statuses", "X", "get")]},
                {"version": "v1beta1", "resources": [resource("gateways", "Gateway"), resource("referencegrants", "ReferenceGrant")]},
            ],
        },
        "odd",
        {"metadata": None, "versions": "odd"},
    ],
}
LISTED = {
    "/apis": {
        "kind": "APIGroupList",
        "groups": [
            {"name": GATEWAY, "preferredVersion": {"groupVersion": f"{GATEWAY}/v1beta1", "version": "v1beta1"}},
            {"name": "apps", "preferredVersion": {"version": "v1"}},
            {"name": GATEWAY},
        ],
    },
    f"/apis/{GATEWAY}/v1beta1": {
        "kind": "APIResourceList",
        "resources": [
            {"name": "gateways", "kind": "Gateway", "namespaced": True, "verbs": ["list"]},
            {"name": "gateways/status", "kind": "Gateway", "namespaced": True, "verbs": ["get"]},
        ],
    },
}


class Server:
    """Answers discovery, and remembers what it was asked."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers, self.asked = answers, list[tuple[str, str]]()

    def discovery(self, path: str, accept: str) -> dict[str, object]:
        self.asked.append((path, accept))
        return self.answers[path]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("answers", "expected", "asked"),
    [
        ({"/apis": AGGREGATED}, {"gateways": "/v1/", "referencegrants": "/v1beta1/"}, 1),
        (LISTED, {"gateways": "/v1beta1/"}, 2),
        ({"/apis": {}}, {}, 1),
    ],
    ids=["aggregated", "group by group", "odd"],
)
def test_what_can_be_listed_is_found(answers: dict[str, Any], expected: dict[str, str], asked: int) -> None:
    server = Server(answers)
    found = served_kinds(server, {GATEWAY})
    assert {plural: kind.path for (_, plural), kind in found.items()} == {
        plural: f"/apis/{GATEWAY}{version}{plural}" for plural, version in expected.items()
    }
    assert server.asked[0] == ("/apis", ACCEPT)
    assert len(server.asked) == asked

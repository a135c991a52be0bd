"""A question about one address family rests on the routes of that family only: another default route of the other touches nobody."""

from __future__ import annotations

import json
from collections.abc import Callable
from ipaddress import ip_address

import pytest

from tests.made_cluster import MadeCluster
from tests.tracer.explain.dependencies.watching import Ask, cluster_of, dependencies_of_asking
from tracer.changes import FileChange
from tracer.routing import Routing

NODE = {4: "192.168.0.11", 6: "fd00:192::b"}
AWAY = {4: "203.0.113.9", 6: "2001:db8::9"}
FILES = {4: "ip-route.json", 6: "ip6-route.json"}

QUESTIONS: dict[str, Callable[[Routing, int], object]] = {
    "a way": lambda routing, version: routing.lookup(ip_address(AWAY[version])),
    "an address's type": lambda routing, version: routing.address_type(ip_address(AWAY[version])),
    "whether an address is local": lambda routing, version: routing.is_local(ip_address(AWAY[version])),
    "whether a source is taken": lambda routing, version: routing.validate_source(
        ip_address(AWAY[version]), "eth0", ip_address(NODE[version])
    ),
}


def about(question: Callable[[Routing, int], object], version: int) -> Ask:
    return lambda cluster: question(cluster.stack("n1").routing, version)


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("version", [4, 6])
def test_another_default_route_touches_who_asked_in_that_family(question: str, version: int) -> None:
    files = MadeCluster(1).files()
    before = cluster_of(files)
    asked = dependencies_of_asking(about(QUESTIONS[question], version), before)
    for family, name in FILES.items():
        content = files[f"nodes/n1/{name}"]
        routes = json.loads(content)
        default = next(route for route in routes if route["dst"] == "default")
        default["metric"] = 77
        change = FileChange(node="n1", name=name, before=content, after=json.dumps(routes).encode())
        assert asked.touched_by(change) is (family == version)

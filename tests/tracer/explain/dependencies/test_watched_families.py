"""A question about one address family rests on the routes and rules of that family only: what changes in the other touches nobody."""

from __future__ import annotations

import json
from collections.abc import Callable
from ipaddress import ip_address

import pytest

from tests.made_cluster import MadeCluster
from tests.tracer.explain.dependencies.watching import Ask, cluster_of, dependencies_of_asking
from tracer.changes import FileChange, ObjectChange
from tracer.packet import Family
from tracer.routing import Routing

NODE = {4: "192.168.0.11", 6: "fd00:192::b"}
AWAY = {4: "203.0.113.9", 6: "2001:db8::9"}
FILES = {4: "ip-route.json", 6: "ip6-route.json"}


def changed(files: dict[str, bytes], name: str, old: str, new: str) -> FileChange:
    content = files[f"nodes/n1/{name}"]
    assert old.encode() in content
    return FileChange(node="n1", name=name, before=content, after=content.replace(old.encode(), new.encode(), 1))


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


NFT = "table inet own {\n\tchain forward {\n\t\ttype filter hook forward priority filter; policy accept;\n\t\ttcp dport 80 accept\n\t}\n}\n"
RULES: dict[str, tuple[Ask, str, str, str]] = {
    "iptables-save.txt": (lambda c: c.stack("n1").dumps(Family.IP)[0].tables["filter"].chains["FORWARD"].text(0), "", "-A FORWARD", "-A FORWARD -s 10.9.9.9"),
    "ip6tables-save.txt": (lambda c: c.stack("n1").dumps(Family.IP6)[0].tables["filter"].chains["FORWARD"].text(0), "", "-A FORWARD", "-A FORWARD -s fd09::9"),
    "nft-ruleset.txt": (lambda c: (nft := c.stack("n1").nft) and list(nft.ruleset.tables[0].chains["forward"].rules), NFT, "dport 80", "dport 81"),
}  # fmt: skip


@pytest.mark.parametrize("asked", RULES)
def test_another_rule_touches_who_asked_for_the_rules_of_that_file(asked: str) -> None:
    made = MadeCluster(1)
    made.node(1).texts |= {name: text for name, (_, text, _, _) in RULES.items() if text}
    files = made.files()
    found = dependencies_of_asking(RULES[asked][0], cluster_of(files))
    for name, (_, _, old, new) in RULES.items():
        assert found.touched_by(changed(files, name, old, new), lines=False) is (name == asked), name


@pytest.mark.parametrize("version", [4, 6])
def test_a_node_that_gets_an_address_touches_who_asked_who_holds_it(version: int) -> None:
    cluster = MadeCluster(1).cluster()
    value = MadeCluster(1).node(1).to_json()
    more = [{"type": "InternalIP", "address": AWAY[version]}, *value["status"]["addresses"]]  # type: ignore[index]
    change = ObjectChange(kind="Node", namespace="", name="n1", before=value, after={**value, "status": {"addresses": more}})
    for family in (4, 6):
        asked = dependencies_of_asking(lambda c, a=AWAY[family]: c.ports_of(ip_address(a)), cluster)  # type: ignore[misc]
        assert asked.touched_by(change) is (family == version)

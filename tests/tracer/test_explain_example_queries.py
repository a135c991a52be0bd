"""Examples are found by what Services are, whatever they are called."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tracer.explain.example_queries import example_queries
from tracer.kube.objects import Objects
from tracer.snapshot import Snapshot

DEMO = Path(__file__).resolve().parents[2] / "demo"
KINDS = ("services", "endpointslices", "pods", "nodes")


def read(folder: Path, change=lambda text: text) -> Objects:
    return Snapshot.from_files({f"{kind}.json": change((folder / f"{kind}.json").read_text()).encode() for kind in KINDS}).objects


@pytest.fixture(scope="module")
def shop() -> Objects:
    return read(DEMO / "shop-iptables")


def test_the_first_is_from_outside_to_a_load_balancer(shop):
    first = example_queries(shop)[0]
    assert str(first.query.source) == "external:203.0.113.10"
    (service, which), *_ = shop.services_with_address(first.query.destination.address)
    assert (service.key, which.value) == (("production", "public-api"), "load-balancer")
    assert first.query.destination.port == 443


def test_each_example_is_what_it_says(shop):
    shows = {example.shows.split(",")[0]: example for example in example_queries(shop)}
    assert len(shows) == 9
    local = next(e for text, e in shows.items() if "externalTrafficPolicy Local" in text)
    node = shop.node_with_ip(local.query.destination.address)
    ((service, _),) = shop.services_with_node_port(local.query.destination.port, local.query.protocol)
    assert node.name not in {e.node_name for s in shop.slices_of(*service.key) for e in s.endpoints if e.ready}
    denied = next(e for text, e in shows.items() if "loadBalancerSourceRanges" in text)
    (service, _), *_ = shop.services_with_address(denied.query.destination.address)
    assert service.load_balancer_source_ranges
    sender = shop.pod(denied.query.source.namespace, denied.query.source.name)
    assert not any(ip in r for ip in sender.ips for r in service.load_balancer_source_ranges)
    hairpin = next(e for text, e in shows.items() if "choose itself" in text)
    (service, _), *_ = shop.services_with_address(hairpin.query.destination.address)
    pods = {e.target_ref.name for s in shop.slices_of(*service.key) for e in s.endpoints}
    assert hairpin.query.source.name in pods


def test_sources_exist(shop):
    for example in example_queries(shop):
        source = example.query.source
        assert source.ip or shop.pod(source.namespace, source.name)


def test_names_do_not_matter():
    """Every Service, namespace and pod is renamed: the same examples are found, under the new names."""

    def rename(text: str) -> str:
        return re.sub(
            r"\b(production|staging|default|public-api|gateway-local|admin|metrics|wrong-port|typo)\b", lambda m: f"x{m[0][::-1]}", text
        )

    before = example_queries(read(DEMO / "shop-iptables"))
    after = example_queries(read(DEMO / "shop-iptables", rename))
    assert {e.query.destination.host for e in after} == {e.query.destination.host for e in before}
    assert after[0].title == "From outside to xnoitcudorp/xipa-cilbup"


def test_pods_of_recorded_nodes_are_preferred(shop):
    for example in example_queries(shop, recorded={"shop-worker2"}):
        source = example.query.source
        if source.name and "internalTrafficPolicy" not in example.shows:  # that one needs a node without an endpoint
            assert shop.pod(source.namespace, source.name).node_name == "shop-worker2"


def test_most_is_a_limit(shop):
    assert len(example_queries(shop, most=3)) == 3


@pytest.mark.parametrize(
    "services", [[], [{"metadata": {"name": "a", "namespace": "b"}, "spec": {"type": "ExternalName", "externalName": "x.y"}}]]
)
def test_a_cluster_without_such_services_has_no_examples(services):
    empty = json.dumps({"kind": "List", "items": []})
    listed = json.dumps({"kind": "ServiceList", "items": services})
    objects = Snapshot.from_files({"services.json": listed.encode(), "pods.json": empty.encode()}).objects
    assert example_queries(objects) == ()

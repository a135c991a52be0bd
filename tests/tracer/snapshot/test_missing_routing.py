"""What the page of a snapshot says of nodes whose routing was not recorded."""

from __future__ import annotations

import pytest

from tests.made_cluster import MadeCluster
from tracer.snapshot import Snapshot
from tracer.snapshot.missing import Missing, missing_from

ALL = {"ip-addr.json", "ip-link.json", "ip-route.json", "ip6-route.json"}


def missing(without: set[str]) -> dict[str, Missing]:
    cluster = MadeCluster()
    cluster.node(1).without |= without
    return {gap.what: gap for gap in missing_from(Snapshot.from_files(cluster.files()), {}, {})}


def test_routing_that_is_inferred_is_said_to_be() -> None:
    found = missing(ALL)
    gap = found["routing (ip-addr.json, ip-link.json, ip-route.json, ip6-route.json)"]
    assert gap.nodes == ("n1",)
    assert "inferred" in gap.limits
    assert not {"ip-route.json", "ip-addr.json", "ip-link.json"} & found.keys()


@pytest.mark.parametrize("name", ["ip-addr.json", "ip-link.json", "ip-route.json"])
def test_nothing_is_inferred_where_a_part_is_missing(name: str) -> None:
    found = missing({name})
    assert found[name].nodes == ("n1",)
    assert not any(what.startswith("routing") for what in found)

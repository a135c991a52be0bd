"""Rules of a changed cluster: on each node those that kube-proxy writes for the changed objects, and what is not its own stays."""

import json
import random
from functools import cache
from pathlib import Path

import pytest

from tests.sizes import FULL
from tests.what_if.drawn import changes, restating
from tests.what_if.written import drifts, dump_text
from tracer.errors import QueryError
from tracer.packet import Family
from tracer.query import query_from_dict
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster

DEMO = Path(__file__).resolve().parents[2] / "demo"
_SHOPS = ("shop-iptables", "shop-nftables", "shop-ipvs", "shop-iptables-v1.30")
_DRAWN = 5


@cache
def shop(name: str) -> Cluster:
    folder = DEMO / name
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return Cluster.from_snapshot(Snapshot.from_files(files))


def _drawn(name: str) -> list[tuple[str, ...]]:
    every = list(changes(shop(name)))
    return every if FULL else random.Random(name).sample(every, _DRAWN)


@pytest.mark.parametrize("name", _SHOPS)
def test_they_are_what_kube_proxy_writes(name: str) -> None:
    before = set(drifts(shop(name)))
    for words in _drawn(name):
        try:
            changed = shop(name).overridden(words)
        except QueryError as refused:
            assert refused.code == "BAD_OVERRIDE"
            continue
        assert set(drifts(changed)) <= before, words


@pytest.mark.parametrize("mode", ["iptables", "nftables", "ipvs"])
@pytest.mark.parametrize("name", _SHOPS[:3])
def test_another_mode_is_written_anew(name: str, mode: str) -> None:
    changed = shop(name).overridden((f"mode={mode}",))
    assert (changed is shop(name)) == name.endswith(mode)
    assert set(drifts(changed)) <= set(drifts(shop(name)))
    for node in changed.node_names:
        assert changed.stack(node).mode == mode or changed is shop(name)


def test_rules_of_others_stay() -> None:
    cluster, mode = shop("shop-iptables"), "mode=nftables"
    for node in cluster.node_names:
        for family in Family:
            for dump, left in zip(cluster.stack(node).dumps(family), cluster.overridden((mode,)).stack(node).dumps(family), strict=True):
                own = [line for line in dump_text(dump).splitlines() if "KUBE-" not in line]
                assert own == [line for line in dump_text(left).splitlines() if "KUBE-" not in line]
                assert "KUBE-SVC-" in dump_text(dump) or family is Family.IP6
                assert "KUBE-SVC-" not in dump_text(left)


@pytest.mark.parametrize("name", (*_SHOPS, "shop-iptables-v1.20", "shop-userspace-v1.20"))
def test_what_is_so_already_changes_nothing(name: str) -> None:
    cluster = shop(name)
    words = list(restating(cluster))
    for word in words if FULL else random.Random(name).sample(words, 15):
        assert cluster.overridden((word,)) is cluster, word


def test_every_look_up_has_what_is_changed() -> None:
    cluster = shop("shop-iptables")
    pod = next(p for p in cluster.objects.pods if p.owned_ips and p.ready and p.labels.get("app") == "api")
    gone = cluster.overridden((f"pod/{pod.namespace}/{pod.name}=deleted",)).objects
    assert gone.pod(*pod.key) is None and pod.key not in {p.key for p in gone.pods}
    assert gone.pods_with_ip(pod.ips[0]) == () and gone.endpoints_with_address(pod.ips[0]) == ()
    assert gone.number_of("Pod") == cluster.objects.number_of("Pod") - 1
    assert len(gone.pods) == len(list(gone.others("Pod"))) == len(cluster.objects.pods) - 1
    assert gone.raw("Pod", *pod.key) is None and cluster.objects.raw("Pod", *pod.key) is not None


def test_an_answer_about_what_is_so_already_is_the_plain_one() -> None:
    cluster = shop("shop-nftables")
    asked = {
        "from": {"kind": "external", "ip": "203.0.113.10"},
        "to": {"host": "api.production.svc", "service": {"namespace": "production", "name": "public-api"}, "port": 80},
    }
    plain = trace(cluster, query_from_dict(asked)).to_dict()
    for word in random.Random(1).sample(list(restating(cluster)), 20):
        found = trace(cluster, query_from_dict(asked | {"overrides": [word]})).to_dict()
        assert found.pop("query")["overrides"] == [word]
        assert json.dumps(found) == json.dumps({name: value for name, value in plain.items() if name != "query"})

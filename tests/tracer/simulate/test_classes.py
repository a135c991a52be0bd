"""Ways that differ in nothing but the endpoint's own are walked once, and the answer is the plain walk's."""

from __future__ import annotations

import json
from collections import Counter
from ipaddress import ip_address

import pytest

from tests.classes.compare import Compared, ask, compare, grouped
from tests.classes.drawn import FEATURES, drawn
from tests.conftest import SHARED
from tests.made_cluster import MadeCluster
from tests.sizes import every
from tests.tracer.simulate.truth import queries, whole
from tracer.kube.pod import Pod
from tracer.query import Query, parse_destination, parse_source, query_from_dict
from tracer.routing.model import Link
from tracer.simulate import trace
from tracer.simulate.likeness import Likeness
from tracer.simulate.stencil import Cutter, Own
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster
from tracer.trace import Place


def asked(source: str, to: str) -> Query:
    return Query(source=parse_source(source), destination=parse_destination(to))


def many(count: int, nodes: int = 3, **options: object) -> MadeCluster:
    """A Service of *count* endpoints on *nodes* nodes, before a load balancer, and a client."""
    made = MadeCluster(nodes, **options)
    made.pod("client", 1)
    pods = [made.pod(f"web-{i}", i % nodes + 1) for i in range(count)]
    made.service("web", pods, type="LoadBalancer", node_port=30080, lb_ip="198.51.100.7")
    return made


# -- the plain walk is the reference ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("feature", FEATURES)
def test_whatever_tells_endpoints_apart_the_answer_is_the_plain_walks(feature: str) -> None:
    result = Compared()
    for seed in (1, 2):
        compare(drawn(seed, 14, features=[feature]), result)
    assert not result.differing
    assert result.questions >= 8


@pytest.mark.parametrize("seed", every(range(200), 20))
def test_drawn_clusters(seed: int) -> None:
    """``python -m tests.classes`` draws more, and larger ones."""
    result = Compared()
    compare(drawn(seed, 20), result)
    assert not result.differing


@pytest.mark.needs_shared
@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize("recording", ["shop-iptables", "shop-nftables", "shop-ipvs", "shop-ipvs-sh", "lab-vxlan", "lab-ipv6"])
def test_recordings(recording: str) -> None:
    folder = SHARED / "recordings" / recording
    cluster = Cluster.from_snapshot(
        Snapshot.from_files({str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()})
    )
    result = Compared()
    for line in every(queries(whole(f"{recording}.connections.json.gz")).splitlines(), 40):
        ask(cluster, query_from_dict(json.loads(line)), result, line)
    assert not result.differing
    assert result.questions > 20


def test_who_takes_all_endpoints_for_alike_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison can fail: with a check that says yes to everything it does, for most features."""
    monkeypatch.setattr(Likeness, "fits", lambda *_: True)
    found = set()
    for feature in ("dropped", "marked", "by_set", "routed_otherwise", "neighbours", "links", "untracked"):
        result = Compared()
        for seed in range(4):
            compare(drawn(seed, 14, features=[feature]), result)
        found |= {feature} if result.differing else set()
    assert len(found) >= 4, found


# -- what is walked ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cni", ["route", "bridge"])
def test_one_way_of_each_class_is_walked(cni: str) -> None:
    """300 outcomes before 3 nodes are 9 classes: where the packet comes in, and where it goes."""
    counts: Counter[str] = Counter()
    with grouped(16, counts):
        found = trace(many(100, cni=cni).cluster(), asked("external:203.0.113.9", "198.51.100.7:80"))
    assert len(found.outcomes) == 300
    assert counts["ways that were walked"] / counts["ways"] == 9 / 300


def test_a_rule_about_one_makes_a_class_of_one() -> None:
    made = many(100)
    made.node(2).rules.append(("filter", "-A FORWARD -d 10.1.2.9/32 -j DROP"))
    counts: Counter[str] = Counter()
    with grouped(16, counts):
        found = trace(made.cluster(), asked("pod:default/client", "10.96.0.10:80"))
    assert [str(o.disposition) for o in found.outcomes].count("dropped") == 1
    assert counts["ways"] == 100
    assert counts["ways that were walked"] == 4


@pytest.mark.parametrize("rule", ["-A FORWARD ! -s 10.1.2.9/32 -j ACCEPT", "-A FORWARD ! -i vethweb7 -j ACCEPT"])
def test_a_rule_that_names_an_endpoint_keeps_its_words(rule: str) -> None:
    """It says the same of all, but it is no rule about another's address."""
    made = many(40)
    for node in made.nodes:
        node.rules.append(("filter", rule))
    result = Compared()
    ask(made.cluster(), asked("pod:default/client", "10.96.0.10:80"), result, rule)
    assert not result.differing


def test_few_destinations_are_walked_each() -> None:
    counts: Counter[str] = Counter()
    with grouped(16, counts):
        assert len(trace(many(16).cluster(), asked("pod:default/client", "10.96.0.10:80")).outcomes) == 16
    assert not counts


# -- what is put in ---------------------------------------------------------------------------------------------------------------------


def own(name: str, last: int, device: str) -> Own:
    pod = Pod(namespace="default", name=name, ips=(ip_address(f"10.1.0.{last}"), ip_address(f"fd00::{last}")), node_name="n1")
    return Own.of(pod, links=[Link(name=device, index=last)])


FIRST, OTHER = own("web-1", 2, "veth1"), own("api-7", 33, "veth7")


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("Handed to pod default/web-1 at 10.1.0.2 port 80", "Handed to pod default/api-7 at 10.1.0.33 port 80"),
        ("10.1.0.2:80, [fd00::2]:80", "10.1.0.33:80, [fd00::33]:80"),
        ("route: 10.1.0.2/32 dev veth1 scope link", "route: 10.1.0.33/32 dev veth7 scope link"),
        ("net.ipv4.conf.veth1.rp_filter", "net.ipv4.conf.veth7.rp_filter"),
        ("10.1.0.23 210.1.0.2 10.1.0.2.9 fd00::2:1 afd00::2", None),
        ("default/web-11, x-default/web-1, default/web-1.svc, default/web-1-a", None),
        ("veth11, aveth1, veth1.100, veth1-x, veth1+", None),
        ("web-1", None),
        ("nothing of it", None),
    ],
)
def test_texts_are_cut_at_whole_words(text: str, filled: str | None) -> None:
    stencil = Cutter(FIRST).cut(text)
    assert (stencil.fill is None) is (filled is None)
    assert stencil.filled(OTHER) == (filled or text)


def test_a_name_alone_counts_in_a_place_and_behind_its_namespace() -> None:
    place = Place(kind="pod", namespace="default", name="web-1", node="n1", ip=FIRST.addresses[0], port=80)
    filled = Cutter(FIRST).cut((place, ("default", "web-1"), "web-1")).filled(OTHER)
    assert (filled[0].name, filled[0].ip, filled[1], filled[2]) == ("api-7", OTHER.addresses[0], ("default", "api-7"), "web-1")
    service = Place(kind="endpoint", namespace="default", name="web-1", ip=ip_address("192.0.2.1"), port=80)
    assert Cutter(FIRST).cut(service).fill is None

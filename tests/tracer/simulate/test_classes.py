"""Ways that differ in nothing but the endpoint's own are walked once, and the answer is the plain walk's."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from tests.classes.compare import Compared, ask, compare, grouped, wrong_classes
from tests.classes.drawn import FEATURES, drawn
from tests.conftest import SHARED
from tests.made_cluster import MadeCluster
from tests.sizes import every
from tests.tracer.simulate.truth import queries, whole
from tracer.explain.findings import diagnose
from tracer.kube.pod import Pod
from tracer.limits import Limits
from tracer.query import Query, parse_destination, parse_source, query_from_dict
from tracer.routing.model import Link
from tracer.simulate import trace
from tracer.simulate.belongings import belongings_of
from tracer.simulate.cells import Cells, settings_by_device
from tracer.simulate.likeness import Likeness
from tracer.simulate.stencil import Cutter, Own
from tracer.snapshot import Snapshot
from tracer.told_odds import read_odds
from tracer.topology.cluster import Cluster
from tracer.trace import Place, Reason


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


def of_hundred() -> Cluster:
    return Cluster.from_snapshot(Snapshot.from_files(many(100).files()))


def test_a_hundred_endpoints_behind_three_nodes_are_nine_classes() -> None:
    """For each node that the balancer may choose: endpoints on that node, and on either other."""
    cluster = of_hundred()
    answer = diagnose(cluster, trace(cluster, asked("external:203.0.113.9", "198.51.100.7:80"))).to_dict(with_steps=True)
    assert len(answer["outcomes"]) == 300
    assert wrong_classes(answer) == ""
    told = [(one["outcome"]["hops"][2]["node"], *one["members"]["nodes"], one["members"]["count"]) for one in answer["classes"]]
    counts = {"n1": 34, "n2": 33, "n3": 33}
    assert sorted(told) == sorted((entry, node, counts[node]) for entry in counts for node in counts)
    assert "outcomes_expanded" not in answer


def test_of_very_many_outcomes_the_first_of_each_class_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracer.trace.TOLD", 299)
    cluster = of_hundred()
    found = trace(cluster, asked("external:203.0.113.9", "198.51.100.7:80"))
    answer, whole = (found.to_dict(with_steps=True, expand=expand) for expand in (False, True))
    assert answer["outcomes_expanded"] is False
    assert [one["outcome"] for one in answer["classes"]] == answer["outcomes"]
    assert {one["id"]: read_odds([one]) for one in answer["outcomes"]}.items() <= {
        one["id"]: [odds] for one, odds in zip(whole["outcomes"], read_odds(whole["outcomes"]), strict=True)
    }.items()
    assert "outcomes_expanded" not in whole
    assert [one["members"] for one in whole["classes"]] == [one["members"] for one in answer["classes"]]


def test_what_is_found_of_one_endpoint_makes_it_a_class_of_its_own() -> None:
    found = trace(of_hundred(), asked("external:203.0.113.9", "198.51.100.7:80"))
    marked = replace(found.outcomes[7], findings=(Reason(code="ENDPOINT_TERMINATING", text="It ends"),))
    answer = replace(found, outcomes=(*found.outcomes[:7], marked, *found.outcomes[8:])).to_dict()
    assert len(answer["classes"]) == 10
    assert min(one["members"]["count"] for one in answer["classes"]) == 1
    assert wrong_classes(answer) == ""


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


def as_plainly(made: MadeCluster, source: str, to: str, limits: Limits | None = None) -> bool:
    """Whether the answer is the plain walk's."""
    cluster = Cluster.from_snapshot(Snapshot.from_files(made.files(), limits=limits or Limits()))
    return trace(cluster, asked(source, to)) == trace(cluster, asked(source, to), is_plain=True)


@pytest.mark.parametrize("ways", [20, 50, 119, 120])
def test_what_a_plain_walk_has_no_room_for_is_cut_off_as_it_is(ways: int) -> None:
    """40 endpoints before 3 nodes are 120 ways, of which 9 are walked."""
    assert as_plainly(many(40), "external:203.0.113.9", "198.51.100.7:80", Limits(ways=ways))


@pytest.mark.parametrize("lengths", [range(26, 32), [30]])
def test_the_first_address_of_a_network_is_not_how_the_network_is_called(lengths: Sequence[int]) -> None:
    """Calico gives a pod the first address of a block, too, and the other nodes' route is called by it."""
    made = many(40)
    for node in (made.node(1), made.node(3)):
        networks = [ip_network(f"10.1.2.4/{length}", strict=False) for length in lengths]
        node.routes += [{"dst": str(network), "gateway": made.node(2).ip(), "dev": "eth0", "flags": []} for network in networks]
    assert as_plainly(made, "pod:default/client", "10.96.0.10:80")


@pytest.mark.parametrize("behind", ["10.9.9.{}", "10.9.9.{}/31", "10.9.9.0/24"])
@pytest.mark.parametrize("is_6", [False, True])
def test_what_lies_behind_a_pod_lies_behind_no_other(behind: str, is_6: bool) -> None:
    """The client's address is routed through the device of an endpoint, others through the others'."""
    made = many(40, 2)
    if is_6:
        made.services.clear()
        made.service("web", [pod for pod in made.pods if pod.name != "client"], version=6, type="NodePort", node_port=30080)
        behind = behind.replace("10.9.9.", "fd00:9::").replace("/31", "/127").replace("/24", "/64")
    node = made.node(2)
    pods = enumerate(pod for pod in node.pods if pod.name != "client")
    ways = [{"dst": behind.format(2 * n), "dev": node.device(pod), "flags": [], "metric": 100 + n} for n, pod in pods]
    node.texts["ip6-route.json" if is_6 else "ip-route.json"] = json.dumps([*node.ip_route(made.nodes, 6 if is_6 else 4), *ways])
    for last in (0, 6):
        client, at = (f"fd00:9::{last}", f"[{node.ip(6)}]") if is_6 else (f"10.9.9.{last}", node.ip())
        assert as_plainly(made, f"external:{client}", f"{at}:30080")


@pytest.mark.parametrize(
    "rule",
    [
        "-d 10.1.2.0/24 -j SNAT --to-source 192.168.0.50-192.168.0.60",
        "-j SNAT --to-source 192.168.0.50-192.168.0.60 --persistent",
        "-d 10.1.2.0/24 -j NETMAP --to 10.7.7.0/24",
    ],
)
@pytest.mark.parametrize(("source", "to"), [("pod:default/client", "10.96.0.10:80"), ("external:203.0.113.9", "192.168.0.11:30080")])
def test_what_the_kernel_works_out_of_an_address_is_worked_out_of_each(rule: str, source: str, to: str) -> None:
    """Which address of a range a flow gets is a hash of its addresses (find_best_ips_proto)."""
    made = many(40)
    for node in made.nodes:
        node.rules.append(("nat", f"-A POSTROUTING {rule}"))
    assert as_plainly(made, source, to)


# -- what is walked ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cni", ["route", "bridge"])
def test_one_way_of_each_class_is_walked(cni: str) -> None:
    """300 outcomes before 3 nodes are 9 classes: where the packet comes in, and where it goes."""
    counts: Counter[str] = Counter()
    with grouped(16, counts):
        found = trace(many(100, cni=cni).cluster(), asked("external:203.0.113.9", "198.51.100.7:80"))
    assert len(found.outcomes) == 300
    assert counts["ways that were walked"] / counts["ways"] == 9 / 300


def test_pods_that_a_balancer_picks_are_of_classes() -> None:
    counts: Counter[str] = Counter()
    with grouped(16, counts):
        found = trace(many(100).cluster(), replace(asked("external:203.0.113.9", "198.51.100.7:80"), assume=("front:pod",)))
    assert len(found.outcomes) == 100
    assert counts["ways that were walked"] / counts["ways"] == 3 / 100


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


def test_real_servers_of_ipvs_are_of_classes_too() -> None:
    """IPVS is asked behind NAT, which leaves the packet as it is: that is no place where ways part."""
    clusters = [cluster for seed in range(30) if "ipvs" in (cluster := drawn(seed, 20, features=[])).features]
    result = Compared()
    for cluster in clusters:
        compare(cluster, result)
    assert not result.differing
    assert len(clusters) > 3
    assert result.counts["ways that were walked"] < result.counts["ways"]


def test_an_address_that_every_device_holds_tells_none_apart() -> None:
    """The gateway of the pods' network, on each pod's device: routes of the node's own lead out of each."""
    cluster = many(40).cluster()
    cells, belongings = Cells(cluster.stack("n1").routing), belongings_of(cluster)
    found = [cells.of(own) for pod in cluster.objects.pods if pod.node_name == "n1" and (own := belongings.of(pod)) is not None]
    assert len(found) > 10
    assert None not in found
    assert len(set(found)) == 1


def test_pods_of_one_kind_are_those_that_are_alike() -> None:
    made = many(40)
    made.pods[3].port = 9090
    cluster = made.cluster()
    belongings = belongings_of(cluster)
    assert belongings is belongings_of(cluster)
    kinds = Counter(belongings.kind(own) for pod in cluster.objects.pods if (own := belongings.of(pod)) is not None)
    assert sorted(kinds.values()) == [1, 12, 13, 15]


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
        ("10.1.0.2/24 and fd00::2/64 of veth1", "10.1.0.33/24 and fd00::33/64 of veth7"),
        ("10.1.0.2/31, fd00::2/127 via 10.1.0.1", None),
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


def test_the_settings_of_a_device_with_dots_are_its_own() -> None:
    """sysctl writes its dots as strokes."""
    found = settings_by_device(
        {"net.ipv4.conf.eth0/7.rp_filter": "1", "net.ipv4.neigh.eth0.8.app_solicit": "2", "net.ipv4.ip_forward": "1"}
    )
    assert found == {
        "eth0.7": {("net.ipv4.conf.", ".rp_filter", "1")},
        "eth0.8": {("net.ipv4.neigh.", ".app_solicit", "2")},
    }


def test_a_name_alone_counts_in_a_place_and_behind_its_namespace() -> None:
    place = Place(kind="pod", namespace="default", name="web-1", node="n1", ip=FIRST.addresses[0], port=80)
    filled = Cutter(FIRST).cut((place, ("default", "web-1"), "web-1")).filled(OTHER)
    assert (filled[0].name, filled[0].ip, filled[1], filled[2]) == ("api-7", OTHER.addresses[0], ("default", "api-7"), "web-1")
    service = Place(kind="endpoint", namespace="default", name="web-1", ip=ip_address("192.0.2.1"), port=80)
    assert Cutter(FIRST).cut(service).fill is None

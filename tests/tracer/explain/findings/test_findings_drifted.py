"""RULES_DRIFTED: told where the packet meets what differs, in every mode, and nowhere else."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from tests.conftest import PROJECT
from tracer.explain.dependencies import dependencies_of
from tracer.explain.findings import diagnose
from tracer.limits import COMPARED
from tracer.query import Query, parse_destination, parse_source
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster
from tracer.topology.followed import FileChange
from tracer.trace import Finding

NODE = "shop-worker2"
Change = Callable[[str], str]


def files_of(recording: str) -> dict[str, bytes]:
    folder = PROJECT / "demo" / recording
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def client_of(files: dict[str, bytes]) -> str:
    """Return the pod that asks: its name is another in every recording."""
    found = re.search(rb'"name": ?"(client-[a-z0-9]+-[a-z0-9]+)"', files["pods.json"])
    assert found
    return f"pod:default/{found[1].decode()}"


def question(files: dict[str, bytes], to: str = "svc:default/api:80") -> Query:
    return Query(source=parse_source(client_of(files)), destination=parse_destination(to))


def changed(recording: str, file: str, change: Change) -> dict[str, bytes]:
    files = files_of(recording)
    for node in {path.split("/")[1] for path in files if path.startswith("nodes/")}:
        path = f"nodes/{node}/{file}"
        text = files[path].decode()
        assert change(text) != text, node
        files[path] = change(text).encode()
    return files


def drifted(files: dict[str, bytes], to: str = "svc:default/api:80") -> list[Finding]:
    cluster = Cluster.from_snapshot(Snapshot.from_files(files))
    outcomes = diagnose(cluster, trace(cluster, question(files, to))).outcomes
    return [found for outcome in outcomes for found in outcome.findings if found.code == "RULES_DRIFTED"]


def without(pattern: str) -> Change:
    return lambda text: re.sub(rf"(?m)^[^\n]*{pattern}[^\n]*\n", "", text, count=1)


def altered(pattern: str, into: str) -> Change:
    return lambda text: re.sub(pattern, into, text, count=1)


IPTABLES, NFT, SERVERS = "iptables-save.txt", "nft-ruleset.txt", "ipvsadm-save.txt"
API = r"-m comment --comment \"default/api:http"
MEETS = {
    "a mark is missing": (
        "shop-iptables",
        IPTABLES,
        without(rf"-A KUBE-SVC-\S+ ! -s \S+ -d \S+ -p tcp {API}"),
        "something is missing",
    ),
    "odds are altered": (
        "shop-iptables",
        IPTABLES,
        altered(r"(default/api:http -> \S+\" -m statistic --mode random --probability )0\.333\d+", r"\g<1>0.90000000000"),
        "something is altered",
    ),
    "somebody's rule": (
        "shop-iptables",
        IPTABLES,
        altered(r"(?m)^(?=\[0:0\] -A KUBE-SERVICES )", "[0:0] -A KUBE-SERVICES -m comment --comment mine -j MARK --set-xmark 0x1/0x1\n"),
        "something is somebody else's",
    ),
    "everybody's rule": (
        "shop-iptables",
        IPTABLES,
        without(r"-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN"),
        "nat KUBE-POSTROUTING",
    ),
    "a map without its element": ("shop-nftables", NFT, altered(r"10\.96\.41\.207 \. tcp \. 80 : goto [^,]*,\s*", ""), "map service-ips"),
    "another endpoint": (
        "shop-nftables",
        NFT,
        altered(r"(?<=chain service-FKIP43JP-default/api/tcp/http \{\n)(.* 0 : 10\.244\.1\.)2", r"\g<1>9"),
        "chain service-",
    ),
    "a mark of IPVS mode is missing": (
        "shop-ipvs",
        IPTABLES,
        without(r"-A KUBE-SERVICES .*-m set --match-set KUBE-CLUSTER-IP dst,dst -j KUBE-MARK-MASQ"),
        "nat KUBE-SERVICES",
    ),
    "an entry of a set is missing": (
        "shop-ipvs",
        "ipset-save.txt",
        without(r"add KUBE-CLUSTER-IP 10\.96\.162\.131,tcp:80"),
        "set KUBE-CLUSTER-IP",
    ),
    "a server of another weight": (
        "shop-ipvs",
        SERVERS,
        altered(r"(?m)^(-a -t 10\.96\.162\.131:80 -r \S+ -m -w) 1$", r"\1 3"),
        "virtual server",
    ),
}
NEWEST_NFT = r"(?s)(table ip6 kube-proxy \{.*?chain masquerading \{\n[^\n]*) masquerade fully-random"
MISSES = {
    "the other family's": ("shop-nftables", NFT, altered(NEWEST_NFT, r"\1")),
    "somebody's chain that is not met": (
        "shop-nftables",
        NFT,
        altered(r"(?<=chain service-MU3KH2TP-default/api-dual/tcp/http \{\n)", "\t\tip saddr 192.0.2.1 drop\n"),
    ),
    "another port of the address": (
        "shop-iptables",
        IPTABLES,
        without(r"-A KUBE-SERVICES -d \S+ -p udp -m comment --comment \"default/voice:sip cluster IP\""),
    ),
    "another Service's": ("shop-iptables", IPTABLES, without(r"-A KUBE-SVC-\S+ .*\"default/api-dual:http -> ")),
    "another Service's, in nftables": ("shop-nftables", NFT, altered(r"10\.96\.193\.164 \. tcp \. 80 : goto [^,]*,\s*", "")),
    "somebody's rule that is not met": (
        "shop-iptables",
        IPTABLES,
        altered(r"(?m)^(?=\[0:0\] -A KUBE-SERVICES )", "[0:0] -A KUBE-SERVICES -d 192.0.2.1/32 -m comment --comment mine -j DROP\n"),
    ),
    "a firewall": (
        "shop-iptables",
        IPTABLES,
        altered(r"(?m)^(?=\[\d+:\d+\] -A POSTROUTING )", "[0:0] -A POSTROUTING -m comment --comment mine -j MARK --set-xmark 0x1/0x1\n"),
    ),
}


@pytest.mark.parametrize("recording", ["shop-iptables", "shop-nftables", "shop-ipvs", "shop-iptables-v1.30", "shop-iptables-v1.20"])
def test_a_recorded_node_has_not_drifted(recording: str) -> None:
    for to in ("svc:default/api:80", "svc:production/public-api:443"):
        assert not drifted(files_of(recording), to)


@pytest.mark.parametrize("fault", MEETS)
def test_what_the_packet_meets_is_told(fault: str) -> None:
    recording, file, change, words = MEETS[fault]
    found = drifted(changed(recording, file, change))
    assert found
    assert all(words in one.text for one in found), found[0].text
    assert all(one.evidence for one in found)


@pytest.mark.parametrize("fault", MISSES)
def test_what_it_does_not_meet_is_not(fault: str) -> None:
    recording, file, change = MISSES[fault]
    assert not drifted(changed(recording, file, change))


def test_what_another_finding_tells_is_not_told_twice() -> None:
    """NO_RULE_FOR_VIP says the same, and how old the rules are."""
    assert not drifted(changed("shop-iptables", IPTABLES, without(rf"-A KUBE-SERVICES -d \S+ -p tcp {API}")))


def test_a_listing_as_json_has_no_lines() -> None:
    """There a rule is known by what it says, and one of another chain is not met."""
    for chain, met in (("services", True), ("service-MU3KH2TP-default/api-dual/tcp/http", False)):
        files = files_of("shop-nftables")
        for path in [path for path in files if path.endswith("nft-ruleset.json")]:
            listing = json.loads(files[path])
            rule = {
                "family": "ip",
                "table": "kube-proxy",
                "chain": chain,
                "handle": 9999,
                "expr": [{"mangle": {"key": {"meta": {"key": "mark"}}, "value": 7}}],
            }
            at = next(
                n
                for n, one in enumerate(listing["nftables"])
                if one.get("rule", {}).get("chain") == chain and one["rule"]["family"] == "ip"
            )
            listing["nftables"].insert(at, {"rule": rule})
            files[path] = json.dumps(listing).encode()
        found = drifted({path: text for path, text in files.items() if not path.endswith(NFT)})
        assert bool(found) == met, chain


def test_without_a_release_nothing_is_compared() -> None:
    """What kube-proxy would have written is not known then."""
    recording, file, change, _ = MEETS["a mark is missing"]
    files = changed(recording, file, change)
    for name in ("nodes.json", "pods.json"):
        files[name] = re.sub(rb"v1\.3\d\.\d+", b"unknown", files[name])
    assert not drifted(files)


def test_without_the_settings_nothing_is_compared() -> None:
    """What kube-proxy was told, masqueradeAll or its scheduler, is not known then."""
    recording, file, change, _ = MEETS["a mark is missing"]
    assert not drifted({path: text for path, text in changed(recording, file, change).items() if path != "configmaps.json"})


def test_what_cannot_be_read_is_no_drift() -> None:
    files = files_of("shop-iptables")
    files["endpointslices.json"] = files["endpointslices.json"].replace(b'"10.244.2.4"', b'"10.244.2.x"', 1)
    assert not drifted(files)


def test_more_differences_than_are_told_one_by_one() -> None:
    """The rules of another's in front of those of the Service: they are looked at all the same."""
    recording, file, change, words = MEETS["a mark is missing"]
    chains = [f"KUBE-SVC-{number:016}" for number in range(1_100)]
    rules = "".join(f'[0:0] -A {chain} -m comment --comment "gone/a:http" -j KUBE-MARK-MASQ\n' for chain in chains)
    heads = "".join(f":{chain} - [0:0]\n" for chain in chains)

    def more(text: str) -> str:
        text = text.replace(":KUBE-MARK-MASQ", f"{heads}:KUBE-MARK-MASQ", 1)
        at = text.index("-A KUBE-SERVICES ", text.index("*nat"))
        at = text.rindex("\n", 0, at) + 1
        return text[:at] + rules + text[at:]

    found = drifted(changed(recording, file, lambda text: more(change(text))))
    assert found and all(words in one.text for one in found)


def test_more_services_than_are_compared_for_one_question(monkeypatch: pytest.MonkeyPatch) -> None:
    recording, file, change, _ = MEETS["a mark is missing"]
    monkeypatch.setattr("tracer.topology.cluster.COMPARED", 5)
    assert not drifted(changed(recording, file, change))
    assert COMPARED > 5


def test_an_answer_depends_on_the_chains_in_which_differences_were_looked_for() -> None:
    """A rule that the packet does not match, in a chain that it walks: none of the walk's business, and drift."""
    files = files_of("shop-iptables")
    cluster = Cluster.from_snapshot(Snapshot.from_files(files))
    answer = trace(cluster, question(files))
    path = f"nodes/{NODE}/{IPTABLES}"
    before = files[path]
    after = before.replace(b"[0:0] -A KUBE-FORWARD ", b"[0:0] -A KUBE-FORWARD -s 192.0.2.1/32 -j DROP\n[0:0] -A KUBE-FORWARD ", 1)
    assert after != before
    change = FileChange(node=NODE, name=IPTABLES, before=before, after=after, read_at=1.0)
    assert dependencies_of(cluster, answer).touched_by(change)

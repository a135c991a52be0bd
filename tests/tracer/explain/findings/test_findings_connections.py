"""What the nodes remember: conntrack entries that fit no more, and session affinity."""

from __future__ import annotations

import pytest

from tests.made_findings import CLIENT, all_of, codes, published, shop, the
from tracer.query import FlowState

IP = "10.96.0.10:80"
RULES = ("nodes/n1/iptables-save.txt", "nodes/n2/iptables-save.txt")


def udp():
    """Make Service ``web`` a UDP one."""
    made = shop()
    for path in RULES:
        made.change(path, "-p tcp", "-p udp")
        made.change(path, "-m tcp", "-m udp")
    for path in ("services.json", "endpointslices.json", "pods.json"):
        made.change(path, '"TCP"', '"UDP"')
    return made


def entry(source, reply, *, port=40000, flags="", protocol="udp      17 29", state=""):
    """Return one conntrack line of *source* to the Service, answered by *reply* (address and port)."""
    return (
        f"ipv4     2 {protocol} {state}src={source} dst=10.96.0.10 sport={port} dport=80 {flags}"
        f"src={reply[0]} dst={source} sport={reply[1]} dport={port} mark=0 use=1\n"
    )


def remembered(*lines, made=None):
    made = made or udp()
    made.node(1).texts["conntrack.txt"] = "".join(lines)
    return made


def test_an_entry_to_a_removed_endpoint():
    traced = remembered(entry("10.1.1.3", ("10.1.9.9", 8080), flags="")).diagnosed("pod:default/client-1", IP, protocol="udp")
    found = (
        the(traced, "CONNTRACK_TO_REMOVED_ENDPOINT") if len(traced.outcomes) == 1 else all_of(traced, "CONNTRACK_TO_REMOVED_ENDPOINT")[0]
    )
    assert found.severity == "fault"
    for said in ("On node n1", "default/web", "10.1.1.3 port 40000 (nodes/n1/conntrack.txt:1)", "10.1.9.9 port 8080", "it is stuck"):
        assert said in found.text
    assert "conntrack -D -p udp -d 10.96.0.10 --dport 80" in found.fix
    assert any("nodes/n1/conntrack.txt:1 ipv4" in e for e in found.evidence)


def test_other_clients_that_are_stuck_are_a_notice():
    traced = remembered(entry("10.1.1.77", ("10.1.9.9", 8080))).diagnosed("pod:default/client-1", IP, protocol="udp")
    found = all_of(traced, "CONNTRACK_TO_REMOVED_ENDPOINT")
    assert found
    assert {f.severity for f in found} == {"notice"}
    assert "A new connection works" in found[0].text


def test_a_source_port_that_is_another_flows_is_not_stuck():
    traced = remembered(entry("10.1.1.3", ("10.1.9.9", 8080))).diagnosed("pod:default/client-1", IP, protocol="udp", source_port=41000)
    assert {f.severity for f in all_of(traced, "CONNTRACK_TO_REMOVED_ENDPOINT")} == {"notice"}


@pytest.mark.parametrize(
    "line",
    [
        entry("10.1.1.3", ("10.1.2.2", 8080)),
        entry("10.1.1.3", ("10.1.9.9", 8080), protocol="tcp      6 431999", state="ESTABLISHED "),
        entry("10.1.1.3", ("10.1.9.9", 8080)).replace("dport=80 ", "dport=81 ", 1),
    ],
)
def test_entries_that_are_in_order(line):
    assert not {c for c in codes(remembered(line).diagnosed("pod:default/client-1", IP, protocol="udp")) if c.startswith("CONNTRACK")}


HOSTPORT = [
    ("nat", ":CNI-HOSTPORT-DNAT"),
    ("nat", "-A PREROUTING -d 10.96.0.10/32 -j CNI-HOSTPORT-DNAT"),
    ("nat", "-A CNI-HOSTPORT-DNAT -p udp -m udp --dport 80 -j DNAT --to-destination 10.1.9.9:8080"),
]


def test_an_entry_that_a_rule_of_others_would_make_again_is_in_order():
    made = remembered(entry("10.1.1.3", ("10.1.9.9", 8080)))
    assert "CONNTRACK_TO_REMOVED_ENDPOINT" in codes(made.diagnosed("pod:default/client-1", IP, protocol="udp"))
    assert "CONNTRACK_TO_REMOVED_ENDPOINT" in codes(made.diagnosed("pod:default/client-1", IP, protocol="udp", connection=("n1", 1)))
    made.node(1).rules += HOSTPORT
    assert "CONNTRACK_TO_REMOVED_ENDPOINT" not in codes(made.diagnosed("pod:default/client-1", IP, protocol="udp"))
    assert "CONNTRACK_TO_REMOVED_ENDPOINT" not in codes(made.diagnosed("pod:default/client-1", IP, protocol="udp", connection=("n1", 1)))


def test_an_ordinary_tcp_entry_to_a_removed_pod_is_none():
    made = remembered(entry("10.1.1.3", ("10.1.9.9", 8080), protocol="tcp      6 431999", state="ESTABLISHED "), made=shop())
    assert not {c for c in codes(made.diagnosed("pod:default/client-1", IP)) if c.startswith("CONNTRACK")}


def test_an_entry_that_was_never_rewritten():
    traced = remembered(entry("10.1.1.3", ("10.96.0.10", 80), flags="[UNREPLIED] ")).diagnosed("pod:default/client-1", IP, protocol="udp")
    found = all_of(traced, "CONNTRACK_WITHOUT_NAT")
    assert found
    assert found[0].severity == "fault"
    for said in ("10.1.1.3 port 40000 (nodes/n1/conntrack.txt:1)", "is not rewritten at all", "nodes/n1/iptables-save.txt:"):
        assert said in found[0].text


def test_a_syn_that_waits_since_before_the_rule():
    line = entry("10.1.1.3", ("10.96.0.10", 80), flags="[UNREPLIED] ", protocol="tcp      6 110", state="SYN_SENT ")
    assert "CONNTRACK_WITHOUT_NAT" in codes(remembered(line, made=shop()).diagnosed("pod:default/client-1", IP))
    line = entry("10.1.1.3", ("10.96.0.10", 80), protocol="tcp      6 110", state="TIME_WAIT ")
    assert "CONNTRACK_WITHOUT_NAT" not in codes(remembered(line, made=shop()).diagnosed("pod:default/client-1", IP))


def test_no_conntrack_file_is_said_for_udp():
    made = udp()
    made.removed.add("nodes/n1/conntrack.txt")
    assert "nodes/n1/conntrack.txt" in the(made.diagnosed("pod:default/client-1", IP, protocol="udp"), "DATA_MISSING").text


# -- session affinity -----------------------------------------------------------------------------------------------------------------


def affine(made, seconds=600):
    """Write session affinity as kube-proxy does: a rule that asks the list, and ``--set`` in the rule that rewrites."""
    config = {"clientIP": {"timeoutSeconds": seconds}}
    made.edit("services.json", "web", lambda item: item["spec"].update(sessionAffinity="ClientIP", sessionAffinityConfig=config))
    dump = made.dump(made.node(1), 4).splitlines()
    choices = [line for line in dump if line.startswith("-A KUBE-SVC-") and " -j KUBE-SEP-" in line]
    asks = []
    for line in choices:
        chain, endpoint = line.split()[1], line.split()[-1]
        ask = f"-m recent --rcheck --seconds {seconds} --reap --name {endpoint} --mask 255.255.255.255 --rsource -j {endpoint}"
        asks.append(f"-A {chain} {ask}")
    for path in RULES:
        made.change(path, choices[0], "\n".join([*asks, choices[0]]))
        for line in choices:
            endpoint = line.split()[-1]
            rule = next(x for x in dump if x.startswith(f"-A {endpoint} -p tcp"))
            kept = f"-m recent --set --name {endpoint} --mask 255.255.255.255 --rsource -m tcp -j"
            made.change(path, rule, rule.replace("-m tcp -j", kept))
    return made


def test_affinity_says_its_timeout():
    found = all_of(affine(shop()).diagnosed("pod:default/client-1", IP), "AFFINITY_PINS_CLIENT")
    assert len(found) == 2
    for one in found:
        assert one.severity == "notice"
        for said in (
            "Service default/web has session affinity",
            "after this connection node n1",
            "10.1.1.3",
            "600 seconds",
            "iptables-save.txt:",
        ):
            assert said in one.text


def test_a_returning_client_is_pinned():
    found = all_of(affine(shop()).diagnosed("pod:default/client-1", IP, state=FlowState.RETURNING), "AFFINITY_PINS_CLIENT")
    assert len(found) == 2
    assert all("again (nodes/n1/iptables-save.txt:" in f.text and "after this connection" not in f.text for f in found)


def test_a_pinned_endpoint_that_is_not_ready_is_a_warning():
    made = affine(shop())
    made.edit("endpointslices.json", "web-x", lambda item: item["endpoints"][1].update(conditions={"ready": False}))
    found = all_of(made.diagnosed("pod:default/client-1", IP, state=FlowState.RETURNING), "AFFINITY_PINS_CLIENT")
    assert sorted(f.severity for f in found) == ["notice", "warning"]
    assert any("That endpoint is not ready" in f.text for f in found)


def test_clients_that_share_an_address_are_said():
    found = all_of(affine(published()).diagnosed(CLIENT, "198.51.100.10:80"), "AFFINITY_PINS_CLIENT")
    assert found
    assert all("All clients that come as 203.0.113.10 share this endpoint" in f.text for f in found)


def test_no_affinity_no_finding():
    assert "AFFINITY_PINS_CLIENT" not in codes(shop().diagnosed("pod:default/client-1", IP))

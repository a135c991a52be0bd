"""Policy routing of what a node sends and forwards, in network namespaces: real connections beside what the engine says of the dumps."""

from __future__ import annotations

import pytest

from tests.sizes import every
from tests.tracer.simulate.test_links_kernel import _TWO_WAYS, FLANNEL, POD, PORT, REASON, ROUTES, VETHS, told, world
from tracer.trace import Disposition

pytestmark = [pytest.mark.needs_root, pytest.mark.skipif(REASON is not None, reason=REASON or "")]

VIP = "10.96.0.10"


@pytest.mark.parametrize(
    ("selector", "is_taken"),
    every([("ipproto tcp", True), ("dport 8888", False), ("dport 8080", True), ("ipproto udp", False), ("uidrange 0-0", True)], 2),
)
def test_the_look_up_after_dnat_in_output_has_the_ports_of_then(selector: str, is_taken: bool) -> None:
    """A node dials port 8888 of a Service's address, which DNAT makes port 8080 of a pod: the rule that leads nowhere asks for one of them."""
    broken = (
        f"n1: rule add {selector} to 10.1.0.0/16 lookup 100",
        "n1: route add unreachable 10.1.0.0/16 table 100",
        "n1: route add 10.96.0.0/16 via 192.168.0.12 dev eth0",
    )
    dnat = ("-d", VIP, "-p", "tcp", "--dport", "8888", "-j", "DNAT", "--to-destination", f"{POD['p2'][0]}:{PORT}")
    with world(VETHS, ROUTES, broken) as built:
        node = built.spaces["n1"]
        node.run("iptables-legacy", "-t", "nat", "-A", "OUTPUT", *dnat)
        cluster = built.cluster({"n1": node.run("iptables-legacy-save")})
        kernel = built.dial("n1", VIP, port=8888, wait=0.8)
    (outcome,) = told(cluster, "node:n1", VIP, port=8888)
    assert kernel == ("timeout" if is_taken else "connected")
    assert outcome.disposition is (Disposition.UNREACHABLE if is_taken else Disposition.DELIVERED)
    assert outcome.client_sees == kernel


@pytest.mark.parametrize("user", [0, 1000])
def test_ipv4_forgets_the_user_when_it_looks_again(user: int) -> None:
    """A rule for root's packets is taken by the second look-up, whoever sends; by the first, for root only."""
    broken = ("n1: rule add uidrange 0-0 lookup 100", "n1: route add unreachable 10.1.0.0/16 table 100")
    with world(VETHS, ROUTES, (*broken, "n1: route add 10.96.0.0/16 via 192.168.0.12 dev eth0")) as built:
        node = built.spaces["n1"]
        node.run("iptables-legacy", "-t", "nat", "-A", "OUTPUT", "-d", VIP, "-j", "DNAT", "--to-destination", POD["p2"][0])
        dial = "import os, socket; os.setuid({}); s = socket.socket(); s.settimeout(0.8); print(s.connect_ex(({!r}, 8080)) == 0)"
        assert [node.run("python3", "-c", dial.format(user, a)).strip() for a in (POD["p2"][0], VIP)] == [str(user != 0), "False"]


@pytest.mark.parametrize("policy", [0, 1])
def test_the_way_of_a_flow_is_settled_by_its_addresses_or_drawn_by_its_ports(policy: int) -> None:
    broken = ("n1: link set eth1x down", f"n1: sysctl net.ipv4.fib_multipath_hash_policy={policy}", "n1: sysctl net.ipv4.icmp_ratelimit=0")
    with world(VETHS, _TWO_WAYS, broken) as built:
        cluster = built.cluster()
        kernel = {built.dial("p1", POD["p2"][0], source_port=21000 + n, wait=0.8) for n in range(16)}
    outcomes = told(cluster, "pod:shop/p1", POD["p2"][0])
    assert len(kernel) == (1 if policy == 0 else 2)
    assert [bool(o.conditions) for o in outcomes] == [policy == 0] * 2
    assert {o.disposition for o in outcomes} == {Disposition.DELIVERED, Disposition.UNREACHABLE}


@pytest.mark.parametrize(
    ("to", "listed"), every([(to, mac) for to in ("192.168.0.12", "192.168.0.13") for mac in ("02:00:00:00:00:02", "00:00:00:00:00:00")], 3)
)
def test_a_tunnel_sends_where_its_forwarding_database_says(to: str, listed: str) -> None:
    """To the node's address, or to one that nobody has any more."""
    tunnel = tuple(line.replace(" remote 192.168.0.12", "").replace(" remote 192.168.0.11", "") for line in FLANNEL)
    with world(VETHS, tunnel, ()) as built:
        for node, mac, end in (("n1", listed, to), ("n2", "02:00:00:00:00:01", "192.168.0.11")):
            built.spaces[node].run("bridge", "fdb", "append", mac, "dev", "vx0", "dst", end)
        cluster = built.cluster()
        kernel = built.dial("p1", POD["p2"][0], wait=0.8)
    assert kernel == ("connected" if to.endswith("12") else "timeout")
    assert {o.client_sees for o in told(cluster, "pod:shop/p1", POD["p2"][0])} == {kernel}

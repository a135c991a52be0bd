"""Chains of equal priority, made in every order by four makers, in a router of its own: which one the kernel asks, and what the engine says.

Each maker's rule stops the packet or translates it, so that only the rule that is asked first counts it. NB: the kernel that the tests run
on cannot list its hooks; the listing given to the engine is written from the order of making, in the form of nft's own tests.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from tests.oracle.netns import Namespace, why_not
from tests.sizes import every
from tracer.query import query_from_dict
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster
from tracer.trace import Hop, Outcome, Trace

REASON = why_not()
pytestmark = [pytest.mark.needs_root, pytest.mark.skipif(REASON is not None, reason=REASON or "")]

MAKERS = ("legacy", "nft", "ip", "inet")
"""iptables-legacy, iptables-nft, and native tables of two families."""
PRIORITIES = {"raw": -300, "mangle": -150, "filter": 0}
PLACES = [
    ("filter", "input"), ("filter", "forward"), ("filter", "output"), ("raw", "prerouting"), ("raw", "output"), ("mangle", "prerouting"),
    ("mangle", "input"), ("mangle", "forward"), ("mangle", "output"), ("mangle", "postrouting"),
    ("nat", "prerouting"), ("nat", "input"), ("nat", "output"), ("nat", "postrouting"),
]  # fmt: skip
NAT_PRIORITIES = {"prerouting": -100, "output": -100, "input": 100, "postrouting": 100}
NO_RULES = "".join(f"*{table}\nCOMMIT\n" for table in ("filter", "nat", "mangle", "raw"))
ROUTER, NEAR, FAR = "10.7.1.1", "10.7.1.2", "10.7.2.2"


@dataclass(frozen=True)
class World:
    """A router between two pods."""

    router: Namespace
    client: Namespace
    server: Namespace

    def make(self, maker: str, table: str, hook: str, number: int) -> None:
        """Make a chain with one rule for UDP at a hook of the router: it drops, in filter's chains of even *number* rejects, or translates."""
        iptables, nft = _rule(table, hook, number)
        if maker in ("legacy", "nft"):
            self.router.run(f"iptables-{maker}", "-t", table, "-A", hook.upper(), "-p", "udp", *iptables.split())
        else:
            kind, priority = ("nat", NAT_PRIORITIES[hook]) if table == "nat" else ("filter", PRIORITIES[table])
            rule = f"meta l4proto udp counter {nft.replace('snat to', 'snat ip to') if maker == 'inet' else nft}"
            self.native(f"table {maker} own {{\n chain {hook} {{\n type {kind} hook {hook} priority {priority};\n {rule}\n }}\n}}\n")

    def native(self, text: str) -> None:
        """Load a text of nft's."""
        self.router.run("nft", "-f", "-", text=text)

    def counted(self, maker: str, table: str, hook: str) -> int:
        """Return how many packets a maker's rule has counted."""
        if maker in ("legacy", "nft"):
            found = re.search(rf"\[(\d+):\d+\] -A {hook.upper()} -p udp", self.router.run(f"iptables-{maker}-save", "-c", "-t", table))
        else:
            found = re.search(r"packets (\d+)", self.router.run("nft", "list", "table", maker, "own"))
        assert found is not None
        return int(found[1])

    def first(self, table: str, hook: str, makers: Sequence[str] = MAKERS) -> str:
        """Return whose rule has counted the packet that was sent. NB: it may be on its way still."""
        end = time.monotonic() + 3
        found: list[str] = []
        while not found and time.monotonic() < end:
            found = [maker for maker in makers if self.counted(maker, table, hook)]
        [one] = found
        return one

    def send(self, hook: str) -> None:
        """Send one packet to a port that nobody listens on, so that it comes by *hook* of the router."""
        space, to = (self.router, FAR) if hook == "output" else (self.client, ROUTER if hook == "input" else FAR)
        with space.inside():
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with made, contextlib.suppress(OSError):
            made.sendto(b"?", (to, 9))

    def asked(self, hook: str, *, hooks: str | None = None, assume: Sequence[str] = ()) -> Trace:
        """Return the engine's answer for that packet; *hooks* is what ``nft list hooks`` would say."""
        run, at = self.router.run, "nodes/n1/"
        node = {"kind": "Node", "metadata": {"name": "n1"}, "status": {"addresses": [{"type": "InternalIP", "address": ROUTER}]}}
        files: dict[str, str] = {
            "nodes.json": json.dumps({"kind": "List", "apiVersion": "v1", "items": [node]}),
            "pods.json": json.dumps({"kind": "List", "apiVersion": "v1", "items": [_pod("near", NEAR), _pod("far", FAR)]}),
            "services.json": json.dumps({"kind": "List", "apiVersion": "v1", "items": []}),
            at + "ip-addr.json": run("ip", "-j", "addr"),
            at + "ip-link.json": run("ip", "-d", "-j", "link"),
            at + "ip-rule.json": run("ip", "-j", "rule"),
            at + "ip-route.json": run("ip", "-j", "route", "show", "table", "all"),
            at + "iptables-save.txt": run("iptables-nft-save") or NO_RULES,
            at + "iptables-legacy-save.txt": run("iptables-legacy-save"),
            at + "nft-ruleset.txt": run("nft", "list", "ruleset"),
            at + "sysctl.txt": "net.ipv4.ip_forward = 1\n",
        }
        if hooks is not None:
            files[at + "nft-hooks.txt"] = hooks
        source = {"kind": "node", "name": "n1"} if hook == "output" else {"kind": "pod", "namespace": "d", "name": "near"}
        asked = {
            "from": source,
            "to": {"host": ROUTER if hook == "input" else FAR, "port": 9},
            "protocol": "udp",
            "assume": list(assume),
        }
        cluster = Cluster.from_snapshot(Snapshot.from_files({path: text.encode() for path, text in files.items()}))
        return trace(cluster, query_from_dict(asked))


def _rule(table: str, hook: str, number: int) -> tuple[str, str]:
    """The end of a rule, in iptables' words and in nft's."""
    if table == "nat" and hook in ("prerouting", "output"):
        return f"-j REDIRECT --to-ports {7000 + number}", f"redirect to :{7000 + number}"
    if table == "nat":
        return f"-j SNAT --to-source 10.9.9.{number}", f"snat to 10.9.9.{number}"
    return ("-j REJECT", "reject") if table == "filter" and number % 2 == 0 else ("-j DROP", "drop")


def _pod(name: str, address: str) -> dict[str, object]:
    status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}
    spec = {"nodeName": "n1", "containers": [{"name": "c"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "d", "name": name}, "spec": spec, "status": status}


@pytest.fixture
def world() -> Iterator[World]:
    with Namespace() as router, Namespace() as client, Namespace() as server:
        for name, space, net in (("veth1", client, 1), ("veth2", server, 2)):
            router.run("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", space.path)
            router.run("ip", "addr", "add", f"10.7.{net}.1/24", "dev", name)
            router.run("ip", "link", "set", name, "up")
            space.run("ip", "addr", "add", f"10.7.{net}.2/24", "dev", "eth0")
            space.run("ip", "link", "set", "eth0", "up")
            space.run("ip", "route", "add", "default", "via", f"10.7.{net}.1")
        router.run("ip", "link", "set", "lo", "up")
        for space in (router, client, server):
            space.settle()
        router.sysctl({"net.ipv4.ip_forward": 1})
        yield World(router, client, server)


def listing(order: Sequence[str], table: str, hook: str, *, by_nat_itself: bool = False) -> str:
    """Return what ``nft list hooks`` says after chains were made in *order*; *by_nat_itself*: in the form of a kernel before 2026."""
    names = {"legacy": "ipt_do_table [ip_tables]", "nft": f"chain ip {table} {hook.upper()} [nf_tables]"}
    if table == "mangle":
        names["legacy"] = "iptable_mangle_hook [iptable_mangle]"
    names |= {family: f"chain {family} own {hook} [nf_tables]" for family in ("ip", "inet")}
    priority = NAT_PRIORITIES[hook] if table == "nat" else PRIORITIES[table]
    shown = f"{'-' if priority < 0 else '+' if priority else ' '}{abs(priority):010}"
    lines = [f"nf_nat_ipv4_{hook} [nf_nat]"] if by_nat_itself else [names[maker] for maker in reversed(order)]
    return f"family ip {{\n\thook {hook} {{\n" + "".join(f"\t\t{shown} {line}\n" for line in lines) + "\t}\n}\n"


def hops(outcome: Outcome) -> list[tuple[Hop, ...]]:
    """Return every way of an outcome."""
    return [outcome.hops, *(also.hops for also in outcome.also)]


def decider(way: tuple[Hop, ...], table: str, hook: str) -> str:
    """Return whose rule decided at the hook: the only one of the four that is a step."""
    found = []
    for step in (step for hop in way for step in hop.steps if step.rule is not None and step.hook == hook):
        if step.table == "own":
            found.append(step.family)
        elif step.table == table:
            found.append("legacy" if "legacy" in (step.file or "") else "nft")
    [one] = dict.fromkeys(found)
    return one


ORDERS = every(
    [(table, hook, order) for table, hook in PLACES for order in itertools.permutations(MAKERS)],
    17,  # of 24 orders: each place meets others
)


@pytest.mark.parametrize(("table", "hook", "order"), ORDERS, ids=lambda value: value if isinstance(value, str) else "-".join(value))
def test_what_was_registered_last_is_asked_first(world: World, table: str, hook: str, order: tuple[str, ...]) -> None:
    for number, maker in enumerate(order):
        world.make(maker, table, hook, number)
    world.send(hook)
    first = world.first(table, hook)
    assert first == order[-1]

    either = world.asked(hook)
    assert sum(outcome.probability for outcome in either.outcomes) == 1
    assert {decider(way, table, hook) for outcome in either.outcomes for way in hops(outcome)} == {*MAKERS}
    if table in ("raw", "mangle"):  # all of them drop it
        [outcome] = either.outcomes
        assert outcome.conditions == ()
        assert outcome.reason is not None
        assert "whichever is asked first" in outcome.reason.text
    else:
        assert all(outcome.conditions for outcome in either.outcomes)
        assert "HOOK_ORDER_UNKNOWN" in {unknown.code for unknown in either.unknowns}

    known = world.asked(hook, hooks=listing(order, table, hook))
    assert [decider(way, table, hook) for outcome in known.outcomes for way in hops(outcome)] == [first]
    assert known.outcomes[0].conditions == ()
    assert known.unknowns == ()


@pytest.mark.parametrize("table", ["filter", "nat"])
def test_the_assumption_picks_one_of_two_back_ends(world: World, table: str) -> None:
    hook = "forward" if table == "filter" else "prerouting"
    for number, maker in enumerate(("legacy", "nft")):
        world.make(maker, table, hook, number)
    either = world.asked(hook)
    assert len(either.outcomes) == 2
    assert either.assumptions == ()
    for word, maker in (("hooks:nft-first", "nft"), ("hooks:legacy-first", "legacy")):
        answer = world.asked(hook, assume=[word])
        [outcome] = answer.outcomes
        assert decider(outcome.hops, table, hook) == maker
        assert outcome.conditions == ()
        assert outcome.assumes == (word,)
        [met] = answer.assumptions
        assert (met.code, met.changes) == (word, True)
        known = world.asked(hook, hooks=listing(("legacy", "nft"), table, hook), assume=[word])
        assert decider(known.outcomes[0].hops, table, hook) == "nft"
        assert known.assumptions == ()


def test_a_chain_may_be_younger_than_a_table_that_is_listed_behind_its_own(world: World) -> None:
    """So the order of a listing of nft's is none of chains: the one that is asked first stands in the table that was made first."""
    world.router.run("iptables-nft", "-A", "INPUT", "-j", "ACCEPT")
    world.make("ip", "filter", "forward", 1)
    world.make("nft", "filter", "forward", 0)
    tables = re.findall(r"^table (\S+ \S+)", world.router.run("nft", "list", "ruleset"), re.MULTILINE)
    assert tables == ["ip filter", "ip own"]
    world.send("forward")
    assert world.first("filter", "forward", ("nft", "ip")) == "nft"
    ways = {decider(outcome.hops, "filter", "forward") for outcome in world.asked("forward").outcomes}
    assert ways == {"nft", "ip"}


def test_chains_of_one_table_are_listed_as_they_were_made(world: World) -> None:
    for number, name in enumerate(("first", "second")):
        rule = f"meta l4proto udp counter {_rule('filter', 'forward', number)[1]}"
        world.native(f"table inet own {{\n chain {name} {{\n type filter hook forward priority 0;\n {rule}\n }}\n}}\n")
    world.send("forward")
    end, counted = time.monotonic() + 3, [""]
    while "1" not in counted and time.monotonic() < end:
        counted = re.findall(r"packets (\d+)", world.router.run("nft", "list", "table", "inet", "own"))
    assert counted == ["0", "1"]
    [outcome] = world.asked("forward").outcomes
    assert [step.chain for hop in outcome.hops for step in hop.steps if step.rule] == ["second"]
    assert outcome.conditions == ()


def test_a_listing_of_a_kernel_that_leaves_nat_chains_out_does_not_settle_them(world: World) -> None:
    for number, maker in enumerate(("legacy", "nft")):
        world.make(maker, "nat", "prerouting", number)
    hooks = listing(("legacy", "nft"), "nat", "prerouting", by_nat_itself=True)
    answer = world.asked("prerouting", hooks=hooks)
    assert len(answer.outcomes) == 2
    assert ["does not list both" in unknown.text for unknown in answer.unknowns] == [True]
    empty = world.asked("prerouting", hooks="")
    assert ["lists nothing" in unknown.text for unknown in empty.unknowns] == [True]


@pytest.mark.parametrize("order", list(itertools.permutations(MAKERS))[::11])
def test_where_the_order_does_not_matter_nothing_is_said(world: World, order: tuple[str, ...]) -> None:
    """One that drops beside three that accept, or that ask for another protocol."""
    for maker in order[1:]:
        if maker in ("legacy", "nft"):
            world.router.run(f"iptables-{maker}", "-A", "FORWARD", "-p", "udp", "-j", "ACCEPT")
        else:
            world.native(f"table {maker} own {{\n chain forward {{\n type filter hook forward priority 0;\n tcp dport 80 drop\n }}\n}}\n")
    world.make(order[0], "filter", "forward", 1)
    world.send("forward")
    assert world.first("filter", "forward", order[:1]) == order[0]
    answer = world.asked("forward")
    [outcome] = answer.outcomes
    assert outcome.disposition == "dropped"
    assert (outcome.conditions, outcome.remarks, outcome.also, answer.unknowns, answer.assumptions) == ((), (), (), (), ())


def test_two_that_masquerade_are_alike_whoever_draws_the_port(world: World) -> None:
    """As a network plugin does beside kube-proxy: both take the same address, and the port is nobody's to know."""
    world.router.run("iptables-nft", "-t", "nat", "-A", "POSTROUTING", "-p", "udp", "-j", "MASQUERADE", "--random-fully")
    world.native("table inet own {\n chain postrouting {\n type nat hook postrouting priority 100;\n meta l4proto udp masquerade\n }\n}\n")
    answer = world.asked("postrouting")
    [outcome] = answer.outcomes
    assert outcome.source_seen is not None
    assert str(outcome.source_seen[0]) == "10.7.2.1"
    assert (outcome.conditions, outcome.remarks, outcome.also, answer.unknowns) == ((), (), (), ())


@pytest.mark.parametrize("order", [("mark", "drop"), ("drop", "mark")])
def test_a_mark_that_the_other_chain_asks_for(world: World, order: tuple[str, str]) -> None:
    """The order decides although only one of them stops packets."""
    for what in order:
        if what == "mark":
            world.router.run("iptables-legacy", "-t", "mangle", "-A", "FORWARD", "-p", "udp", "-j", "MARK", "--set-mark", "7")
        else:
            rule = "meta mark 7 counter drop"
            world.native(f"table ip own {{\n chain forward {{\n type filter hook forward priority -150;\n {rule}\n }}\n}}\n")
    world.native("table inet passed {\n chain forward {\n type filter hook forward priority 50;\n meta l4proto udp counter\n }\n}\n")
    world.send("forward")
    end, dropped, passed = time.monotonic() + 3, 0, 0
    while not dropped + passed and time.monotonic() < end:
        dropped = world.counted("ip", "mangle", "forward")
        passed = "packets 1 " in world.router.run("nft", "list", "table", "inet", "passed")
    assert (dropped, passed) == ((1, 0) if order[-1] == "mark" else (0, 1))
    answer = world.asked("forward")
    assert {(outcome.disposition == "dropped", bool(outcome.conditions)) for outcome in answer.outcomes} == {(True, True), (False, True)}
    hooks = listing(("legacy", "ip") if order[0] == "mark" else ("ip", "legacy"), "mangle", "forward")
    [known] = world.asked("forward", hooks=hooks).outcomes
    assert (known.disposition == "dropped") == bool(dropped)


def test_the_answer_meets_the_order_that_the_request_met(world: World) -> None:
    """Two chains mark both directions, and a third drops what the one left: what was supposed of the request holds for the answer."""
    for family, mark in (("ip", 7), ("inet", 8)):
        rule = f"meta l4proto udp counter meta mark set {mark}"
        world.native(f"table {family} own {{\n chain forward {{\n type filter hook forward priority 0;\n {rule}\n }}\n}}\n")
    world.native("table inet late {\n chain forward {\n type filter hook forward priority 10;\n meta mark 7 drop\n }\n}\n")
    answer = world.asked("forward")
    assert sorted(str(outcome.disposition) for outcome in answer.outcomes) == ["delivered", "dropped"]
    assert [len(outcome.conditions) for outcome in answer.outcomes] == [1, 1]
    [delivered] = [outcome for outcome in answer.outcomes if outcome.disposition == "delivered"]
    assert delivered.reply is not None
    assert delivered.reply.disposition == "delivered"

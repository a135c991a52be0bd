"""The table of what differs between modes: docs/modes.md has it, and rows hold of nothing else."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from ipaddress import ip_address

import pytest

from tests.conftest import PROJECT
from tests.tracer.migration.shops import shop
from tracer.migration.known import ROWS, explained, sides
from tracer.migration.universe import Asker, Cell, Way
from tracer.migration.verdict import End, Verdict
from tracer.override_words import MODES
from tracer.packet import Protocol
from tracer.query import Source, SourceKind
from tracer.trace import Disposition, Place, Sees

NODE_ADDRESS, LOOPBACK = ip_address("172.18.0.3"), ip_address("127.0.0.1")
POD = Place(kind="pod", ip=ip_address("10.244.1.2"), port=8080)


def test_the_document_has_the_table():
    done = subprocess.run([sys.executable, "scripts/migration_rows.py", "--check"], cwd=PROJECT, check=False)
    assert done.returncode == 0, "run scripts/migration_rows.py"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_row_says_what_to_set_for_every_mode_that_it_is_about(row):
    assert row.one and row.other and not row.one & row.other
    assert set(row.keep) == row.one | row.other <= set(MODES)
    assert row.text.endswith(".") and row.source and all(text.endswith(".") for text in row.keep.values())


def test_names_are_given_once():
    assert len({row.id for row in ROWS}) == len(ROWS)


def end(disposition: Disposition, sees: Sees, place: Place | None = None) -> Verdict:
    return Verdict(ends={End(disposition=disposition, sees=sees, place=place): Fraction(1)})


DELIVERED = end(Disposition.DELIVERED, Sees.CONNECTED, POD)
TIMEOUT, REFUSED = end(Disposition.DROPPED, Sees.TIMEOUT), end(Disposition.REJECTED, Sees.REFUSED)
NOBODY = end(Disposition.LOST, Sees.UNKNOWN)


def own(address, number: int) -> Verdict:
    return end(Disposition.DELIVERED, Sees.UNKNOWN, Place(kind="node", ip=address, port=number))


def cell(way: Way, service: str = "default/api", *, address=NODE_ADDRESS, asker: Asker = Asker.NODE, **fields) -> Cell:
    found = shop("shop-iptables").objects.service(*service.split("/"))
    source = Source(kind=SourceKind.NODE, name="shop-worker")
    made = Cell(
        asker=asker, source=source, node="shop-worker", way=way, address=address, number=30080, protocol=Protocol.TCP, service=found
    )
    return replace(made, **fields)


CASES = [
    ("no-node-port-on-loopback", cell(Way.LOOPBACK, address=LOOPBACK), DELIVERED, own(LOOPBACK, 30080), "iptables", "nftables"),
    ("no-node-port-on-loopback", cell(Way.LOOPBACK, address=LOOPBACK), own(LOOPBACK, 30080), DELIVERED, "ipvs", "iptables"),
    ("", cell(Way.LOOPBACK, address=LOOPBACK), DELIVERED, TIMEOUT, "iptables", "nftables"),
    ("", cell(Way.LOOPBACK, address=LOOPBACK), DELIVERED, own(LOOPBACK, 30080), "nftables", "ipvs"),
    ("node-port-primary-only", cell(Way.NODE_PORT, is_primary=False), DELIVERED, own(NODE_ADDRESS, 30080), "ipvs", "nftables"),
    ("", cell(Way.NODE_PORT), DELIVERED, own(NODE_ADDRESS, 30080), "iptables", "nftables"),
    ("undefined-port-refused", cell(Way.UNDEFINED_PORT), NOBODY, REFUSED, "iptables", "ipvs"),
    ("", cell(Way.CLUSTER_IP), NOBODY, REFUSED, "iptables", "ipvs"),
    ("ping-refused", cell(Way.PING), NOBODY, REFUSED, "iptables", "nftables"),
    ("unallocated-dropped", cell(Way.UNALLOCATED), TIMEOUT, NOBODY, "nftables", "ipvs"),
    ("local-refused", cell(Way.CLUSTER_IP, "production/metrics"), TIMEOUT, REFUSED, "nftables", "ipvs"),
    ("", cell(Way.CLUSTER_IP, "production/metrics", is_here=True), TIMEOUT, REFUSED, "nftables", "ipvs"),
    ("", cell(Way.CLUSTER_IP, "default/api"), TIMEOUT, REFUSED, "nftables", "ipvs"),
    ("external-ip-by-arp", cell(Way.EXTERNAL_IP, "default/ext", node=None), NOBODY, DELIVERED, "iptables", "ipvs"),
    ("", cell(Way.EXTERNAL_IP, "default/ext"), NOBODY, DELIVERED, "iptables", "ipvs"),
    ("local-load-balancer-from-node", cell(Way.LOAD_BALANCER, "production/gateway-local"), DELIVERED, TIMEOUT, "nftables", "ipvs"),
    ("", cell(Way.LOAD_BALANCER, "production/public-api"), DELIVERED, TIMEOUT, "nftables", "ipvs"),
    (
        "local-node-port-never-answered",
        cell(Way.NODE_PORT, "staging/demo-app-local"),
        TIMEOUT,
        end(Disposition.DELIVERED, Sees.TIMEOUT, POD),
        "iptables",
        "ipvs",
    ),
    ("", cell(Way.NODE_PORT, "staging/demo-app-local"), TIMEOUT, DELIVERED, "iptables", "ipvs"),
    ("hashed-scheduler", cell(Way.CLUSTER_IP), DELIVERED, Verdict(ends=DELIVERED.ends, has_odds=False), "iptables", "ipvs"),
    ("", cell(Way.CLUSTER_IP), DELIVERED, Verdict(ends=DELIVERED.ends, has_odds=False), "iptables", "nftables"),
]


@pytest.mark.parametrize(("row", "asked", "before", "after", "left", "mode"), CASES)
def test_a_change_is_explained_by_its_row_and_by_no_other(row, asked, before, after, left, mode):
    found = explained(asked, before, after, modes=frozenset((left,)), mode=mode, minors=frozenset((36,)))
    assert (found.id if found is not None else "") == row


def test_a_row_of_certain_releases_explains_nothing_of_others():
    asked = cell(Way.LOAD_BALANCER, "production/gateway-local")
    found = [
        explained(asked, DELIVERED, TIMEOUT, modes=frozenset(("iptables",)), mode="nftables", minors=frozenset((n,))) for n in (30, 36)
    ]
    assert [row.id if row is not None else None for row in found] == ["local-load-balancer-dropped", None]


def test_a_row_is_read_either_way_round():
    row = next(row for row in ROWS if row.id == "no-node-port-on-loopback")
    assert list(sides(row, frozenset(("iptables",)), "ipvs")) == [False]
    assert list(sides(row, frozenset(("ipvs",)), "iptables")) == [True]
    assert list(sides(row, frozenset(("ipvs",)), "nftables")) == []


def test_odds_count_up_to_what_random_bits_can_tell():
    ends = [End(disposition=Disposition.DELIVERED, sees=Sees.CONNECTED, place=replace(POD, port=port)) for port in (1, 2)]
    exact, rounded, other = (
        Verdict(ends={ends[0]: share, ends[1]: 1 - share}) for share in (Fraction(1, 3), Fraction(715827883, 2**31), Fraction(1, 2))
    )
    assert exact.is_same(rounded)
    assert not exact.is_same(other)

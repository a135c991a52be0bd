"""Addresses under other names: subnets stay subnets, no two become one, and what an address is stays."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.snapshot.rename.addresses import Addresses

KEY = b"sixteen bytes or more"
ADDRESSES = Addresses(KEY)
V4 = st.integers(0, 2**32 - 1).map(IPv4Address)
V6 = st.integers(0, 2**128 - 1).map(IPv6Address)


def common(one: int, other: int, bits: int) -> int:
    return bits - (one ^ other).bit_length()


@given(V4, V4)
def test_ipv4_keeps_common_prefixes(one: IPv4Address, other: IPv4Address) -> None:
    renamed = [int(ADDRESSES.in_address(a)) for a in (one, other)]
    assert common(*renamed, 32) == common(int(one), int(other), 32)


@given(V6, V6, st.integers(0, 128))
def test_ipv6_keeps_common_prefixes(one: IPv6Address, other: IPv6Address, shared: int) -> None:
    mask = (1 << (128 - shared)) - 1
    near = IPv6Address((int(one) & ~mask) | (int(other) & mask))
    renamed = [int(ADDRESSES.in_address(a)) for a in (one, near)]
    # Where an address is made of a hardware address its last 64 bits become others.
    kept = min(common(int(one), int(near), 128), 64)
    assert min(common(*renamed, 128), 64) == kept
    assert (renamed[0] == renamed[1]) == (one == near)


@given(V4, st.integers(0, 32))
def test_a_network_holds_what_it_held(address: IPv4Address, length: int) -> None:
    network = IPv4Network((address, length), strict=False)
    renamed = ip_network(ADDRESSES.in_text(str(network)))
    assert ADDRESSES.in_address(address) in renamed


@given(V6, st.integers(0, 128))
def test_an_ipv6_network_holds_what_it_held(address: IPv6Address, length: int) -> None:
    network = IPv6Network((address, length), strict=False)
    renamed = ip_network(ADDRESSES.in_text(str(network)), strict=False)
    assert ADDRESSES.in_address(address) in renamed


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0",
        "127.0.0.1",
        "169.254.20.10",
        "224.0.0.1",
        "255.255.255.255",
        "255.255.0.0",
        "::",
        "::1",
        "ff02::1",
        "fe80::1",
        "::/0",
        "0.0.0.0/0",
    ],
)
def test_what_is_everybodys_stays(text: str) -> None:
    assert ADDRESSES.in_text(text) == text


@pytest.mark.parametrize("block", ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7", "fe80::/10"])
def test_private_blocks_stay_private(block: str) -> None:
    network = ip_network(block)
    for place in range(200):
        address = network[place * (network.num_addresses // 200) + 7]
        assert ADDRESSES.in_address(address) in network
    assert ADDRESSES.in_text(block) == block


def test_public_addresses_never_become_private() -> None:
    for number in range(0, 2**32, 2**22 + 12_345):
        address = IPv4Address(number)
        assert ADDRESSES.in_address(address).is_private == address.is_private or address.is_reserved, address


def test_another_key_gives_other_addresses() -> None:
    address = ip_address("10.244.1.2")
    assert ADDRESSES.in_address(address) != address
    assert len({Addresses(bytes([n]) * 16).in_address(address) for n in range(20)}) > 10


A, B, C = (str(ADDRESSES.in_address(ip_address(a))) for a in ("10.244.1.2", "10.244.1.9", "fd00:10:244:1::2"))
NET = ADDRESSES.in_text("10.244.0.0/16").partition("/")[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("--to-destination 10.244.1.2:8080", f"--to-destination {A}:8080"),
        ("-d 10.244.1.2/32 -j X", f"-d {A}/32 -j X"),
        ("-d 10.244.0.0/16", f"-d {NET}/16"),
        ("--to-destination [fd00:10:244:1::2]:8080", f"--to-destination [{C}]:8080"),
        ("FD00:10:244:1::2", C),
        ("::ffff:10.244.1.2", str(IPv6Address(f"::ffff:{A}"))),
        ("src=10.244.1.2 dst=10.244.1.9 sport=1", f"src={A} dst={B} sport=1"),
        ("--src-range 10.244.1.2-10.244.1.9", f"--src-range {A}-{B}"),
        ('"range": ["10.244.1.2", "10.244.1.9"]', f'"range": ["{A}", "{B}"]'),
        ('{"prefix": {"addr": "10.244.0.0", "len": 16}}', f'{{"prefix": {{"addr": "{NET}", "len": 16}}}}'),
        ('"src":"10.244.0.0","srclen":16,"table"', f'"src":"{NET}","srclen":16,"table"'),
        ("endpoint-X-d/a/tcp/http__10.244.1.2/8080", f"endpoint-X-d/a/tcp/http__{A}/8080"),
        ("10.244.1.2/53", f"{A}/53"),
        ("add S 10.244.1.2,tcp:80,10.244.1.9", f"add S {A},tcp:80,{B}"),
        ("-A -t 10.244.1.2:80 -s rr", f"-A -t {A}:80 -s rr"),
        ("iptables-save v1.8.9 (nf_tables) on Fri Nov 20 12:57:04 2026", "iptables-save v1.8.9 (nf_tables) on Fri Nov 20 12:57:04 2026"),
        (":KUBE-SERVICES - [0:0]", ":KUBE-SERVICES - [0:0]"),
        ("10.244.1.2.example 300.1.1.1 1.2.3", "10.244.1.2.example 300.1.1.1 1.2.3"),
        ("--dports 80:90,443", "--dports 80:90,443"),
        ("ff:ff:ff:ff:ff:ff 00:00:00:00:00:00 33:33:00:00:00:01", "ff:ff:ff:ff:ff:ff 00:00:00:00:00:00 33:33:00:00:00:01"),
    ],
)
def test_addresses_in_a_text(text: str, expected: str) -> None:
    assert ADDRESSES.in_text(text) == expected


def test_ranges_stay_ranges() -> None:
    whole = ADDRESSES.in_text("10.0.0.0-10.255.255.255")
    assert whole == "10.0.0.0-10.255.255.255"
    first, _, last = ADDRESSES.in_text("10.3.0.0-10.200.0.9").partition("-")
    assert ip_address(first) <= ip_address(last)  # type: ignore[operator]


def test_hardware_addresses_become_others_and_stay_apart() -> None:
    one, other = ADDRESSES.in_text("32:02:2a:43:76:73 16:cb:f4:e7:f4:aa").split()
    assert one != other
    assert {one[:2], other[:2]} == {"02"}
    assert ADDRESSES.in_text("32:02:2A:43:76:73") == one.upper()
    hidden = ADDRESSES.in_text("fe80::3002:2aff:fe43:7673")
    assert hidden.startswith("fe80::")
    assert "43:7673" not in hidden

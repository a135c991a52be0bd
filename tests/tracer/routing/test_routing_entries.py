"""What ``ip -j`` may print wrongly or leave out, what belongs to which family, and the bounds of each field."""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_network

import pytest

from tracer.errors import ParseError
from tracer.packet import Protocol
from tracer.routing import Routing, SourceCheck, parse_addresses, parse_links, parse_routes, parse_rules, parse_sysctl
from tracer.routing.entries import Entry, load_entries
from tracer.routing.parse import _PROTOCOLS, parse_neighbours


def entry(**values: object) -> Entry:
    return Entry(values, "f.json", 3)


def test_what_is_absent_is_nothing_and_what_is_wrong_is_said() -> None:
    empty = entry()
    assert (empty.text("x"), empty.integer("x"), empty.integer("x", 7), empty.address("x"), empty.child("x")) == (None, None, 7, None, None)
    assert (empty.children("x"), empty.words("x"), empty.has("x"), empty.flag("x")) == ((), (), False, False)
    assert (entry(x=None).children("x"), entry(x=None).words("x"), entry(x=None).child("x")) == ((), (), None)
    assert [entry(x=value).flag("x") for value in (None, True, 1, "", False, 0)] == [True, True, True, True, False, False]
    for wrong in (lambda e: e.children("x"), lambda e: e.words("x"), lambda e: e.child("x"), lambda e: e.required("y")):
        with pytest.raises(ParseError, match="entry 3"):
            wrong(entry(x=5))


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, 0), ("5", 5), ("0x10", 16), (0xFFFFFFFF, 0xFFFFFFFF), (0x100000000, None), (-1, None), ("five", None), (True, None), (1.5, None)],
)
def test_whole_numbers_have_a_range(value: object, expected: int | None) -> None:
    if expected is None:
        with pytest.raises(ParseError):
            entry(x=value).integer("x")
    else:
        assert entry(x=value).integer("x") == expected


@pytest.mark.parametrize(
    ("text", "version", "expected"),
    [
        *((word, 4, "0.0.0.0/0") for word in ("default", "all", "any")),
        *((word, 6, "::/0") for word in ("default", "all", "any")),
        ("10.1.2.3", 4, "10.1.2.3/32"),
        ("10.1.2.3/8", 4, "10.0.0.0/8"),
        ("fd00::1", 6, "fd00::1/128"),
        ("fd00::1/64", 6, "fd00::/64"),
        ("10.0.0.0/32", 4, "10.0.0.0/32"),
        ("10.0.0.0/33", 4, None),
        ("fd00::/129", 6, None),
        ("fd00::/64", 4, None),
        ("10.0.0.0/8", 6, None),
        ("10.0.0.0/", 4, None),
    ],
)
def test_a_prefix_is_of_its_family(text: str, version: int, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(ParseError):
            entry().prefix("dst", text, version)
    else:
        assert entry().prefix("dst", text, version) == ip_network(expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "not JSON"), ("{}", "not a JSON array"), ("[5]", "entry 0 is not an object"), (f"[{'9' * 5000}]", "not JSON")],
)
def test_what_is_no_list_of_objects_is_a_parse_error(text: str, message: str) -> None:
    for parse in (parse_neighbours, parse_addresses, parse_links, parse_routes, parse_rules):
        with pytest.raises(ParseError, match=message):
            parse(text, "f.json")
    assert load_entries('[{}, {"a": 1}]', "f", "route")[0].index == 1


def test_what_sysctl_says_instead_of_settings_is_no_file_of_none() -> None:
    with pytest.raises(ParseError, match="no setting"):
        parse_sysctl("sysctl: command not found\n")
    assert parse_sysctl('sysctl: reading key "kernel.spl.hostid"\nnet.ipv4.ip_forward = 1\n') == {"net.ipv4.ip_forward": "1"}


def test_sysctl_keeps_what_it_can_read_and_says_every_line_it_cannot() -> None:
    assert dict(parse_sysctl("net/ipv4/ip_forward = 1\nnet.ipv4.conf.eth0/7.rp_filter = 2\n\nnet.a = b c\n", "f")) == {
        "net.ipv4.ip_forward": "1",
        "net.ipv4.conf.eth0/7.rp_filter": "2",
        "net.a": "b c",
    }
    with pytest.raises(ParseError) as error:
        parse_sysctl("net.a = 1\nnothing\nnet.b = 2\nmore nothing\n", "f")
    assert [fault.line for fault in error.value.faults] == [2, 4]


def test_protocols_have_the_numbers_of_the_kernel() -> None:
    """Source: include/uapi/linux/in.h, in6.h."""
    known = {"icmp": 1, "igmp": 2, "ipencap": 4, "tcp": 6, "udp": 17, "gre": 47, "esp": 50, "ah": 51, "ipv6-icmp": 58, "sctp": 132}
    assert known == _PROTOCOLS
    for protocol in (Protocol.TCP, Protocol.UDP, Protocol.SCTP):
        assert _PROTOCOLS[protocol.value] == protocol.number


def addresses(*held: tuple[str, str, int, dict[str, object]]) -> str:
    devices = dict.fromkeys(device for device, *_ in held)
    return json.dumps(
        [
            {
                "ifindex": n,
                "ifname": device,
                "flags": (["LOOPBACK"] if device == "lo" else []) + ["UP", "LOWER_UP"],
                "addr_info": [
                    {"family": "inet6" if ":" in local else "inet", "local": local, "prefixlen": bits, "scope": "global", **more}
                    for at, local, bits, more in held
                    if at == device
                ],
            }
            for n, device in enumerate(devices, 1)
        ]
    )


HELD = addresses(("lo", "127.0.0.1", 8, {}), ("lo", "::1", 128, {}), ("eth0", "10.0.0.1", 24, {}), ("eth0", "fd00::1", 64, {}))


def routes(*items: dict[str, object]) -> str:
    return json.dumps([{"dev": "eth0", "flags": [], **item} for item in items])


_ALL = ("ip_addr", "ip_link", "ip_route", "ip6_route", "ip_rule", "ip6_rule", "sysctl")


@pytest.mark.parametrize(
    ("texts", "missing"),
    [
        ({}, ("ip_addr", "ip_link", "ip_route", "ip6_route", "ip_rule", "ip6_rule", "sysctl")),
        ({"ip_addr": HELD}, ("ip_link", "ip_route", "ip6_route", "ip_rule", "ip6_rule", "sysctl")),
        ({"ip_route": routes({"dst": "10.1.0.0/16"})}, ("ip_addr", "ip_link", "ip6_route", "ip_rule", "ip6_rule", "sysctl")),
        (
            {"ip_route": routes({"dst": "10.1.0.0/16"}, {"dst": "fd00:1::/64"})},
            ("ip_addr", "ip_link", "ip_rule", "ip6_rule", "sysctl"),
        ),
        ({"ip6_route": routes({"dst": "fd00:1::/64"})}, ("ip_addr", "ip_link", "ip_route", "ip_rule", "ip6_rule", "sysctl")),
        (
            {"ip_rule": '[{"priority": 0, "src": "all", "table": "local"}]', "sysctl": "a = 1\n"},
            ("ip_addr", "ip_link", "ip_route", "ip6_route", "ip6_rule"),
        ),
        *(({name: text}, _ALL) for name in ("ip_addr", "ip_link", "ip_route", "ip_rule") for text in ("[]", "[{},{}]\n")),
        ({"ip6_rule": "[]"}, ("ip_addr", "ip_link", "ip_route", "ip6_route", "ip_rule", "sysctl")),
        ({"ip_addr": "[", "ip_rule": "["}, ("ip_addr", "ip_link", "ip_route", "ip6_route", "ip_rule", "ip6_rule", "sysctl")),
    ],
)
def test_what_was_not_recorded_is_missing_by_its_own_name(texts: dict[str, str], missing: tuple[str, ...]) -> None:
    assert Routing.from_texts("n", **texts).missing == missing


def test_a_list_of_both_families_gives_each_its_own() -> None:
    both = Routing.from_texts("n", ip_route=routes({"dst": "10.1.0.0/16"}, {"dst": "fd00:1::/64"}))
    assert in_main(both, 4) == ["10.1.0.0/16"]
    assert in_main(both, 6) == ["fd00:1::/64"]
    own = Routing.from_texts("n", ip_route=routes({"dst": "fd00:1::/64"}), ip6_route=routes({"dst": "fd00:2::/64"}, {"dst": "10.1.0.0/16"}))
    assert in_main(own, 6) == ["fd00:2::/64"]
    assert own.routes(4) == ()


def in_main(stack: Routing, version: int) -> list[str]:
    return [str(r.destination) for r in stack.routes(version) if r.table == "main"]


@pytest.mark.parametrize(
    ("more", "local"),
    [({}, True), ({"tentative": True}, False), ({"tentative": True, "optimistic": True}, True), ({"optimistic": True}, True)],
)
def test_a_tentative_address_has_no_routes_unless_it_is_optimistic(more: dict[str, object], local: bool) -> None:
    stack = Routing.from_texts("n", ip_addr=addresses(("eth0", "fd00::7", 64, more)))
    assert stack.is_local(ip_address("fd00::7")) is local
    assert ("fd00::/64" in [str(route.destination) for route in stack.routes(6)]) is local


@pytest.mark.parametrize(
    ("source", "device", "destination", "check"),
    [
        ("fd00::9", "eth0", "fd00::1", SourceCheck.OK),
        ("::1", "eth0", "fd00::1", SourceCheck.MARTIAN_SOURCE),
        ("::1", "lo", "::1", SourceCheck.OK),
        ("fd00::9", "eth0", "::1", SourceCheck.MARTIAN_DESTINATION),
        ("fd00::9", "lo", "::1", SourceCheck.OK),
        ("ff02::1", "eth0", "fd00::1", SourceCheck.MARTIAN_SOURCE),
        ("fd00::9", "eth0", "ff01::1", SourceCheck.MARTIAN_DESTINATION),
        ("fd00::9", "eth0", "ff00::1", SourceCheck.MARTIAN_DESTINATION),
        ("fd00::9", "lo", "ff01::1", SourceCheck.OK),
        ("fd00::9", "eth0", "ff02::1", SourceCheck.OK),
    ],
)
def test_ipv6_sources_that_come_from_the_wrong_side(source: str, device: str, destination: str, check: SourceCheck) -> None:
    stack = Routing.from_texts("n", ip_addr=HELD)
    assert stack.validate_source(ip_address(source), device, ip_address(destination)).check is check


@pytest.mark.parametrize(
    ("destination", "asked"),
    [("224.0.0.1", False), ("224.0.0.255", False), ("255.255.255.255", False), ("224.0.1.1", True), ("198.51.100.7", True)],
)
def test_only_local_multicast_and_limited_broadcast_leave_without_a_look_up(destination: str, asked: bool) -> None:
    known = routes(*({"dst": dst} for dst in ("224.0.0.0/4", "255.255.255.255", "198.51.100.0/24")))
    (found,) = Routing.from_texts("n", ip_addr=HELD, ip_route=known).lookup(ip_address(destination), oif="eth0")
    assert (found.route is not None, found.device) == (asked, "eth0")


@pytest.mark.parametrize(("group", "device_group", "expected"), [(None, "7", "eth0"), ("7", "7", "eth1"), ("8", "7", "eth0")])
def test_a_rule_suppresses_the_routes_of_its_device_group_only(group: str | None, device_group: str, expected: str) -> None:
    rules = [
        {"priority": 5, "src": "all", "table": "100"} | ({"suppress_ifgroup": group} if group else {}),
        {"priority": 9, "src": "all", "table": "main"},
    ]
    links = [
        {"ifindex": n + 1, "ifname": f"eth{n}", "flags": ["UP"], "mtu": 1500, "group": device_group, "linkinfo": {"info_kind": "veth"}}
        for n in (0, 1)
    ]
    stack = Routing.from_texts(
        "n",
        ip_addr=HELD,
        ip_link=json.dumps(links),
        ip_rule=json.dumps(rules),
        ip_route=routes({"dst": "10.7.0.0/16", "table": "100"}, {"dst": "10.7.0.0/16", "dev": "eth1"}),
    )
    (found,) = stack.lookup(ip_address("10.7.0.1"))
    assert found.device == expected


def test_settings_read_from_the_kernels_files_are_those_that_sysctl_prints() -> None:
    printed = "net.ipv4.ip_forward = 1\nnet.ipv4.conf.eth0/100.rp_filter = 2\nnet.ipv4.ip_local_port_range = 32768\t60999\n"
    read = "/proc/sys/net/ipv4/ip_forward:1\n/proc/sys/net/ipv4/conf/eth0.100/rp_filter:2\n/proc/sys/net/ipv4/ip_local_port_range:32768\t60999\n"
    assert parse_sysctl(read) == parse_sysctl(printed)
    with pytest.raises(ParseError):
        parse_sysctl("/proc/sys/net/ipv4/ip_for\n")

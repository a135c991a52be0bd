"""Dumps of ``ip -j`` and sysctl → models: every field, and what happens to what is not known or broken."""

from __future__ import annotations

import json
from fractions import Fraction
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.errors import ParseError, TracerError
from tracer.limits import KEPT_TEXT
from tracer.routing import RouteType, Routing, RuleAction, parse, parse_addresses, parse_links, parse_routes, parse_rules, parse_sysctl

PARSERS = (parse_addresses, parse_links, parse_routes, parse_rules)


def route(**fields: object):
    return parse_routes(json.dumps([{"dst": "10.1.0.0/16", "dev": "eth0", "flags": [], **fields}]))[0]


def rule(**fields: object):
    return parse_rules(json.dumps([{"priority": 10, "src": "all", **fields}]))[0]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "10.1.0.0/16 dev eth0"),
        ({"dst": "default", "gateway": "10.0.0.1"}, "default via 10.0.0.1 dev eth0"),
        ({"dst": "10.1.2.3"}, "10.1.2.3 dev eth0"),
        ({"dst": "default", "pref": "medium", "metric": 1024}, "default dev eth0 metric 1024"),
        ({"type": "local", "table": "local", "prefsrc": "10.1.0.1"}, "local 10.1.0.0/16 dev eth0 table local src 10.1.0.1"),
        ({"table": "255"}, "10.1.0.0/16 dev eth0 table local"),
        ({"via": {"family": "inet6", "host": "fe80::1"}}, "10.1.0.0/16 via fe80::1 dev eth0"),
        ({"gateway": "10.0.0.1", "flags": ["onlink"]}, "10.1.0.0/16 via 10.0.0.1 dev eth0 onlink"),
    ],
)
def test_route_text_is_iproutes(fields: dict[str, object], text: str) -> None:
    assert route(**fields).to_text() == text


@pytest.mark.parametrize(("fields", "version"), [({}, 4), ({"pref": "medium"}, 6), ({"gateway": "fe80::1"}, 6), ({"prefsrc": "::1"}, 6)])
def test_default_routes_have_their_family(fields: dict[str, object], version: int) -> None:
    assert route(dst="default", **fields).destination.version == version


@pytest.mark.parametrize(
    ("fields", "unmodelled"),
    [
        ({"encap": "mpls", "gateway": "10.0.0.1"}, ("encap mpls",)),
        ({"type": "nat"}, ("type nat",)),
        ({"color": "blue"}, ("color",)),
        ({"mtu": 1400, "protocol": "bgp", "realm": "7"}, ()),
        ({"nhid": 5, "gateway": "10.0.0.1"}, ()),
    ],
)
def test_what_could_matter_is_kept(fields: dict[str, object], unmodelled: tuple[str, ...]) -> None:
    assert route(**fields).unmodelled == unmodelled


def test_a_nexthop_object_that_is_not_shown_is_not_modelled() -> None:
    found = parse_routes('[{"dst": "10.1.0.0/16", "nhid": 5, "flags": []}]')[0]
    assert found.unmodelled == ("nhid 5",)


def test_multipath_shares_are_the_kernels_bounds() -> None:
    hops = [{"gateway": f"10.0.0.{n}", "dev": "eth0", "weight": weight, "flags": []} for n, weight in ((1, 1), (2, 2))]
    found = parse_routes(json.dumps([{"dst": "default", "flags": [], "nexthops": hops}]))[0]
    assert [hop.share for hop in found.nexthops] == [Fraction(715827883, 1 << 31), Fraction(1431655765, 1 << 31)]
    assert found.unmodelled == ()


@given(st.lists(st.integers(1, 256), min_size=1, max_size=8))
def test_multipath_shares_sum_to_one(weights: list[int]) -> None:
    hops = [{"gateway": "10.0.0.1", "dev": "eth0", "weight": weight, "flags": []} for weight in weights]
    found = parse_routes(json.dumps([{"dst": "default", "flags": [], "nexthops": hops}]))[0]
    assert sum(hop.share for hop in found.nexthops) == 1
    assert all(
        abs(hop.share - Fraction(weight, sum(weights))) <= Fraction(1, 1 << 31) for hop, weight in zip(found.nexthops, weights, strict=True)
    )


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"table": "main"}, "10: from all lookup main"),
        ({"src": "10.0.0.0", "srclen": 8, "table": "100"}, "10: from 10.0.0.0/8 lookup 100"),
        ({"dst": "1.2.3.4", "not": None, "goto": 20}, "10: not from all to 1.2.3.4/32 goto 20"),
        ({"fwmark": "0x1", "table": "7"}, "10: from all fwmark 0x1 lookup 7"),
        ({"fwmark": "0x10", "fwmask": "0xff", "iif": "lo", "action": "blackhole"}, "10: from all fwmark 0x10/0xff iif lo blackhole"),
        ({"nop": None}, "10: from all nop"),
    ],
)
def test_rule_text_is_iproutes(fields: dict[str, object], text: str) -> None:
    assert rule(**fields).to_text() == text


def test_rule_selectors() -> None:
    found = rule(ipproto="tcp", dport_start=10, dport_end=20, uid_start=0, uid_end=9, suppress_prefixlen=0, table="main", iif_detached=None)
    assert found.protocol == 6
    assert 10 in found.destination_ports and 21 not in found.destination_ports
    assert found.suppress_prefixlength == 0
    assert found.iif_detached
    assert found.unmodelled == ()
    assert rule(table="main", flowlabel="7").unmodelled == ("flowlabel",)
    assert rule(table="main", ipproto="hopopt").unmodelled == ("ipproto",)
    assert rule(action="frobnicate").action is RuleAction.OTHER


def test_links_tell_bridges_and_hairpin() -> None:
    text = json.dumps(
        [
            {"ifindex": 2, "ifname": "cni0", "flags": ["UP"], "linkinfo": {"info_kind": "bridge", "info_data": {"nf_call_iptables": 1}}},
            {
                "ifindex": 3,
                "ifname": "veth1",
                "flags": [],
                "master": "cni0",
                "linkinfo": {"info_kind": "veth", "info_slave_kind": "bridge", "info_slave_data": {"hairpin": True}},
            },
            {"ifindex": 4, "ifname": "veth2", "flags": [], "master": "cni0"},
            {
                "ifindex": 5,
                "ifname": "flannel.1",
                "flags": [],
                "linkinfo": {"info_kind": "vxlan", "info_data": {"id": 1, "local": "10.0.0.1", "port": 8472}},
            },
        ]
    )
    stack = Routing.from_texts("n", ip_link=text)
    assert stack.link("cni0").is_bridge and stack.link("cni0").nf_call_iptables is True and stack.link("cni0").up
    assert [port.name for port in stack.bridge_ports("cni0")] == ["veth1", "veth2"]
    assert stack.port_hairpin("veth1") is True
    assert stack.port_hairpin("veth2") is None
    assert (stack.link("flannel.1").tunnel_id, stack.link("flannel.1").tunnel_local) == (1, ip_address("10.0.0.1"))


def test_addresses_keep_their_flags() -> None:
    info = [
        {"family": "inet", "local": "10.2.0.1", "address": "10.2.0.2", "prefixlen": 32, "scope": "link", "secondary": True},
        {"family": "inet6", "local": "fd00::2", "prefixlen": 64, "scope": "global", "deprecated": True, "tentative": True},
    ]
    first, second = parse_addresses(json.dumps([{"ifname": "eth0", "addr_info": info}, {}]))
    assert first.secondary and first.scope == 253 and first.network == ip_network("10.2.0.2/32")
    assert second.deprecated and second.tentative and not second.optimistic


@pytest.mark.parametrize(
    ("parser", "text", "message"),
    [
        (parse_routes, "[{", "not JSON"),
        (parse_routes, "{}", "not a JSON array"),
        (parse_routes, "[7]", "entry 0 is not an object"),
        (parse_routes, '[{"dst": "10.0.0.0/33"}]', "entry 0: dst '10.0.0.0/33'"),
        (parse_routes, '[{"dst": "10.0.0.0/8", "gateway": "x"}]', "entry 0: gateway 'x' is not an address"),
        (parse_routes, '[{"dst": "10.0.0.0/8", "metric": -1}]', "metric -1 is not in"),
        (parse_routes, '[{"dst": "10.0.0.0/8", "nexthops": [{"weight": "a"}]}]', "entry 0 nexthops[0]: weight"),
        (parse_rules, '[{"src": "all"}]', "priority is missing"),
        (parse_links, '[{"ifname": "eth0"}]', "ifindex is missing"),
        (
            parse_addresses,
            '[{"ifname": "eth0", "addr_info": [{"family": "inet", "local": "::1", "prefixlen": 128}]}]',
            "family and prefixlen",
        ),
        (parse_sysctl, "net.a = 1\nnonsense\n", "sysctl.txt:2: not name = value"),
    ],
)
def test_broken_input_says_where(parser, text: str, message: str) -> None:
    with pytest.raises(ParseError) as caught:
        parser(text)
    assert message in str(caught.value)


def test_a_broken_file_counts_as_missing_and_is_kept_as_a_fault() -> None:
    stack = Routing.from_texts("n", ip_route='[{"dst": "default"', folder="nodes/n/")
    assert "ip_route" in stack.missing
    assert stack.faults["ip_route"][0].file == "nodes/n/ip-route.json"
    assert stack.lookup(ip_address("8.8.8.8"))[0].unknown_reason


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(("dev", "via", "host", "x")), inner, max_size=3),
    max_leaves=6,
)
KEYS = [
    "dst",
    "src",
    "srclen",
    "dstlen",
    "dev",
    "gateway",
    "via",
    "table",
    "type",
    "metric",
    "scope",
    "tos",
    "nexthops",
    "flags",
    "pref",
    "from",
    "prefsrc",
    "priority",
    "fwmark",
    "fwmask",
    "iif",
    "goto",
    "ipproto",
    "dport",
    "action",
    "ifindex",
    "ifname",
    "linkinfo",
    "addr_info",
    "family",
    "local",
    "prefixlen",
    "master",
    "mtu",
    "link_netnsid",
]


@given(st.lists(st.dictionaries(st.sampled_from(KEYS), json_values, max_size=6), max_size=3), st.sampled_from(PARSERS))
def test_any_json_parses_or_is_a_parse_error(entries: list[dict[str, object]], parser) -> None:
    try:
        parser(json.dumps(entries))
    except TracerError as error:
        assert isinstance(error, ParseError)


@given(st.text(max_size=200), st.sampled_from((*PARSERS, parse_sysctl)))
def test_any_text_parses_or_is_a_parse_error(text: str, parser) -> None:
    try:
        parser(text)
    except TracerError as error:
        assert isinstance(error, ParseError)


def test_unknown_types_are_kept() -> None:
    assert route(type="nat").type is RouteType.OTHER
    assert route(type="nat").type_text == "nat"


@pytest.mark.parametrize(
    "text",
    [
        "root@n1:~# sysctl net.ipv4.ip_forward net.ipv4.vs.conntrack\nnet.ipv4.ip_forward = 1\nnet.ipv4.vs.conntrack = 0\nroot@n1:~# \n",
        "> net.ipv4.ip_forward = 1\n> net.ipv4.vs.conntrack = 0\n",
        "/ # cat /proc/sys/net/ipv4/ip_forward\n1\n/ # cat /proc/sys/net/ipv4/vs/conntrack\n0\n/ # \n",
        "$ cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/vs/conntrack\n1\n0\n",
        "# cat /proc/sys/net/ipv4/ip_forward\n1\n# cat /proc/sys/net/ipv4/vs/conntrack\n0\n",
        "==> /proc/sys/net/ipv4/ip_forward <==\n1\n\n==> /proc/sys/net/ipv4/vs/conntrack <==\n0\n",
        "$ cat /proc/sys/net/ipv4/ip_forward\n1\n$ cat /proc/sys/net/x\ncat: /proc/sys/net/x: No such file or directory\n$ cat /proc/sys/net/ipv4/vs/conntrack\n0\n",
    ],
)
def test_settings_are_read_as_people_paste_them(text):
    assert {name: value for name, value in parse_sysctl(text).items() if name != "net.x"} == {
        "net.ipv4.ip_forward": "1",
        "net.ipv4.vs.conntrack": "0",
    }


def test_a_setting_that_could_not_be_read_has_no_value():
    assert parse_sysctl("$ cat /proc/sys/net/x\ncat: /proc/sys/net/x: No such file or directory\n") == {}


def test_a_text_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether anything of a file counts is asked before it is read; a very long text is kept by nobody."""
    read: list[object] = []
    parsed = parse._route
    monkeypatch.setattr(parse, "_route", lambda entry: (read.append(entry), parsed(entry))[1])
    text = json.dumps([{"dst": "203.0.113.77", "dev": "once0"}])
    assert parse.parse_routes(text, "a.json") == parse.parse_routes(text, "a.json")
    assert len(read) == 1
    parse.parse_routes(text, "b.json")
    assert len(read) == 2
    long = text + " " * KEPT_TEXT
    assert parse.parse_routes(long) == parse.parse_routes(long)
    assert len(read) == 4

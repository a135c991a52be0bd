"""What /proc/net shows of routes and addresses is read as what ``ip`` says of the same stack, and what it does not show stays unknown.

``proc_text/`` was recorded in two network namespaces (``make.sh`` there and in ``ip_text``) on Linux 6.18.
"""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest

from tracer.errors import ParseError
from tracer.routing import Route, Routing
from tracer.routing.parse import parse_addresses, parse_kernel_routes, parse_routes
from tracer.routing.proc_text import NOT_SHOWN, parse_inet6, parse_trie

FOLDER = Path(__file__).parent / "proc_text"
OWN_RULES = '[{"priority": 0, "src": "all", "table": "local"}, {"priority": 32766, "src": "all", "table": "main"}]'


def shown(name: str) -> str:
    return (FOLDER / name).read_text()


def kernels(name: str = "", **texts: str | None) -> Routing:
    """The stack as /proc/net shows it, *texts* instead."""
    found = {"ip_route": shown(f"{name}route.txt"), "ip6_route": shown(f"{name}ipv6_route.txt")}
    found |= {"proc_net_fib_trie": shown(f"{name}fib_trie.txt"), "proc_net_if_inet6": shown(f"{name}if_inet6.txt")}
    return Routing.from_texts("n", **{**found, **texts})  # type: ignore[arg-type]


def told(route: Route) -> tuple[object, ...]:
    """What /proc/net tells of a route: not its preferred source, who made it, nor where a local one is."""
    hops = tuple((hop.device, hop.gateway) for hop in route.nexthops) if route.table != "local" else ()
    return str(route.destination), route.type, route.table, hops, route.metric, route.scope, route.tos, route.preference


def printed(name: str) -> list[tuple[object, ...]]:
    return [told(route) for route in parse_routes((FOLDER / name).read_text())]


def test_a_nodes_routes_are_those_that_ip_prints() -> None:
    routing = kernels("node-")
    both = printed("node-ip-route.json")
    assert sorted(map(str, map(told, routing.routes(4)))) == sorted(str(r) for r in both if ":" not in str(r[0]) and r[0] != "::/0")
    own = {str(told(route)) for route in parse_routes((FOLDER / "node-ip6-route.json").read_text())}
    missing = own - {str(told(route)) for route in routing.routes(6)}
    assert missing == set()
    assert all(route.unmodelled == () for route in routing.routes(4) + routing.routes(6))
    assert (routing.missing, routing.faults) == (("ip_link", "ip6_rule", "sysctl"), {})


def test_a_nodes_addresses_are_those_that_ip_prints() -> None:
    wanted = parse_addresses(shown("node-ip-addr.json"))
    found = kernels("node-").addresses
    assert {(a.address, a.prefix, a.device, a.scope) for a in found} == {(a.address, a.prefix, a.device, a.scope) for a in wanted}
    assert list(dict.fromkeys(a.device for a in found)) == list(dict.fromkeys(a.device for a in wanted))


@pytest.mark.parametrize("to", ["10.244.2.7", "10.244.1.9", "192.0.2.11", "10.244.1.1", "192.0.2.12", "8.8.8.8", "127.0.0.5", "10.9.1.1", "10.244.1.255", "fd00:10:244:2::7", "2001:db8::11", "2001:db8:9::1"])  # fmt: skip
def test_a_look_up_is_answered_as_by_what_ip_prints(to: str) -> None:
    json = {"ip_route": shown("node-ip-route.json"), "ip6_route": shown("node-ip6-route.json"), "ip_addr": shown("node-ip-addr.json")}
    ip = Routing.from_texts("n", **json, ip_rule=OWN_RULES)
    address = ip_address(to)
    one, other = kernels("node-").lookup(address), ip.lookup(address)
    assert [(way.kind, way.device, way.gateway, way.share) for way in one] == [
        (way.kind, way.device, way.gateway, way.share) for way in other
    ]
    assert [way.source for way in one] == [way.source for way in other]


def test_what_is_not_shown_is_said() -> None:
    assert kernels("node-").unshown(4) == NOT_SHOWN[4]
    assert kernels("node-").unshown(6) == NOT_SHOWN[6]
    assert kernels().unshown(4) == f"{NOT_SHOWN[4]}; there are tables that rules may ask (Id 100), which it does not show"
    assert Routing.from_texts("n", ip_route=shown("node-ip-route.json")).unshown(4) is None


def test_what_could_change_an_answer_and_is_not_shown_makes_it_unknown() -> None:
    of = {str(route.destination): route for route in (*kernels().routes(4), *kernels().routes(6))}
    assert of["10.15.0.0/16"].unmodelled == ("a gateway of another family",)
    assert of["fd99::/64"].unmodelled == ("unreachable, prohibit, blackhole or throw",)
    assert of["10.14.0.0/16"].tos == 16
    alone = {str(route.destination): route for route in parse_kernel_routes(shown("route.txt"), None, "f")}
    assert (alone["10.10.0.0/16"].unmodelled, alone["10.11.0.0/16"].unmodelled) == (("blackhole or throw",), ("unreachable or prohibit",))
    twice = shown("fib_trie.txt").replace("/16 link UNICAST tos=16", "/16 link UNICAST tos=16\n                    /16 link UNICAST")
    found = {str(r.destination): r for r in parse_kernel_routes(shown("route.txt"), parse_trie(twice, "f"), "f")}
    assert found["10.14.0.0/16"].unmodelled == ("which of the routes it is",)


def test_addresses_whose_device_or_order_is_not_shown_stay_unknown() -> None:
    routing = kernels()  # a secondary address, IPVS' address, a tunnel's
    assert routing.addresses == ()
    assert "ip_addr" in routing.missing
    assert [way.kind.value for way in routing.lookup(ip_address("10.96.0.1"))] == ["local"]
    assert kernels("node-", proc_net_if_inet6=None).addresses == ()
    assert kernels("node-", proc_net_fib_trie=None).addresses == ()


def test_without_the_stacks_own_addresses_no_route_counts() -> None:
    routing = kernels("node-", proc_net_fib_trie=None)
    assert "ip_route" in routing.missing
    assert "ip_route" not in kernels("node-", proc_net_fib_trie=None, ip_addr=shown("node-ip-addr.json")).missing


def test_rules_are_known_where_the_kernel_keeps_one_trie() -> None:
    assert "ip_rule" not in kernels("node-").missing
    assert "ip_rule" in kernels().missing


@pytest.mark.parametrize("text", ["node-route.txt", "node-ipv6_route.txt", "node-fib_trie.txt", "node-if_inet6.txt"])
def test_a_line_that_is_cut_off_is_a_fault_with_its_number(text: str) -> None:
    read = {"route": parse_routes, "ipv6_route": parse_routes, "fib_trie": parse_trie, "if_inet6": parse_inet6}[text[5:-4]]
    lines = shown(text).splitlines()
    lines[2] = lines[2][: len(lines[2].rstrip()) // 2 - 1]
    with pytest.raises(ParseError) as caught:
        read("\n".join(lines), "f")
    assert caught.value.faults[0].line == 3


@pytest.mark.parametrize("around", ["root@n1:~# cat /proc/net/x\n{}root@n1:~# \n", "```\n{}```\n"])
def test_what_a_terminal_puts_around_it_is_passed_over(around: str) -> None:
    texts = {
        "ip_route": "node-route.txt",
        "ip6_route": "node-ipv6_route.txt",
        "proc_net_fib_trie": "node-fib_trie.txt",
        "proc_net_if_inet6": "node-if_inet6.txt",
    }
    found = kernels("node-", **{word: around.format(shown(name)) for word, name in texts.items()})
    assert (found.routes(4), found.routes(6), found.addresses) == (
        kernels("node-").routes(4),
        kernels("node-").routes(6),
        kernels("node-").addresses,
    )


@pytest.mark.parametrize("name", ["route-n.txt", "netstat-rn.txt"])
def test_net_tools_print_the_same(name: str) -> None:
    wanted = parse_kernel_routes(shown("route.txt"), None, "f")
    found = parse_routes(shown(name))
    assert [told(route)[:4] for route in found] == [told(route)[:4] for route in wanted]
    assert [route.unmodelled for route in found if str(route.destination) == "10.10.0.0/16"] == [("blackhole or throw",)]
    assert kernels(ip_route=shown(name)).unshown(4) is not None
    with pytest.raises(ParseError, match="no -n"):
        parse_routes(shown(name).replace("10.9.0.0  ", "far.example"))

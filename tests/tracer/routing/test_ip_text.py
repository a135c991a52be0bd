"""What ``ip`` prints for people says what its JSON says.

``ip_text/`` was recorded in one network namespace, made by ``make.sh`` there, by iproute2 6.1 and BusyBox 1.35 (``bb-``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tracer.errors import ParseError
from tracer.routing import Routing
from tracer.routing.model import Route, RouteType
from tracer.routing.parse import parse_addresses, parse_links, parse_neighbours, parse_routes, parse_rules

FOLDER = Path(__file__).parent / "ip_text"
PARSE: dict[str, Callable[..., tuple]] = {
    "addr": parse_addresses,
    "link": parse_links,
    "route": parse_routes,
    "rule": parse_rules,
    "neigh": parse_neighbours,
}


def recorded(name: str) -> str:
    return (FOLDER / name).read_text()


def pastes(text: str, typed: str) -> dict[str, str]:
    lines = text.splitlines()
    return {
        "as it is": text,
        "from a terminal": f"root@n1:~# {typed}\n{text}root@n1:~# \n",
        "fenced": f"```\n{text}```\n",
        "quoted": "".join(f"> {line}\n" for line in lines),
        "carriage returns": "".join(f"{line}\r\n" for line in lines),
    }


@pytest.mark.parametrize("kind", PARSE)
@pytest.mark.parametrize("form", pastes("", ""))
def test_text_and_json_of_one_stack_are_equal(kind, form):
    """Every device, address, route, rule and neighbour, whatever stands around them."""
    for end in ("txt", "json"):
        text = pastes(recorded(f"ip-{kind}.{end}"), f"ip {kind}")[form] if end == "txt" or form != "quoted" else recorded(f"ip-{kind}.json")
        found = PARSE[kind](text, "f")
        assert found == PARSE[kind](recorded(f"ip-{kind}.json"), "f"), end
        assert len(found) > 3


@pytest.mark.parametrize(("name", "kind"), [("o-addr", "addr"), ("o-route", "route"), ("c-route", "route")])
def test_options_change_the_form_and_nothing_else(name, kind):
    """``-o`` and ``-c``."""
    assert PARSE[kind](recorded(f"{name}.txt"), "f") == PARSE[kind](recorded(f"ip-{kind}.json"), "f")


@pytest.mark.parametrize("name", ["n-route", "d-route"])
def test_numbers_and_details_are_the_same_routes(name):
    """``-N`` and ``-d`` write who added a route in other words; that of the kernel's local routes is told."""
    bare = lambda route: replace(route, protocol=None)  # noqa: E731
    found, wanted = parse_routes(recorded(f"{name}.txt"), "f"), parse_routes(recorded("ip-route.json"), "f")
    assert [*map(bare, found)] == [*map(bare, wanted)]
    assert {r.protocol for r in found if r.table == "local"} == {"kernel"}


def test_what_busybox_leaves_out_decides_nothing():
    """A route without its next hops, a rule that may have had ``not`` or ports."""
    shown = {str(r.destination): r.unmodelled for r in parse_routes(recorded("bb-route-all.txt"), "f") if r.unmodelled}
    assert shown == dict.fromkeys(("10.9.0.0/16", "2001:db8:5::/64"), ("next hops that are not shown",))
    own = [r for r in parse_rules(recorded("bb-rule.txt"), "f") if 0 < r.priority < 32766]
    assert len(own) == 7
    assert all(rule.unmodelled for rule in own)


def test_an_unknown_word_of_a_route_is_named():
    """It could change where the packet goes."""
    route = parse_routes("10.1.0.0/16 via 192.0.2.1 dev eth0 frobnicate 7 \n", "f")[0]
    assert route.unmodelled == ("7", "frobnicate")
    assert parse_routes("10.1.0.0/16 encap mpls 100 via 192.0.2.1 dev eth0\n", "f")[0].unmodelled[-1] == "encap mpls"


CUT = [
    ("route", "default via 192.0.2.1 dev\n"),
    ("route", "default via 192.0.\n"),
    ("route", "10.9.0.0/16 \n\tnexthop via 192.0.2.2 dev\n"),
    ("route", "\tnexthop via 192.0.2.2 dev eth0 weight 1\n"),
    ("route", "--More--\n"),
    ("route", "sh: ip: not found\n"),
    ("rule", "100:\tfrom 192.0.2.12 lookup\n"),
    ("rule", "100:\tlookup 5\n"),
    ("rule", "from all lookup main\n"),
    ("addr", "2: eth0: <UP> mtu 1500\n    inet 192.0.2.11/24 brd 192.0.2.255\n"),
    ("addr", "2: eth0: <UP> mtu 1500\n    inet 192.0.2.11 scope global eth0\n"),
    ("addr", "2: eth0: <BROADC\n"),
    ("addr", "2: eth0: <UP> mtu 1500\n[... 12 lines skipped ...]\n"),
    ("addr", "lo               UNKNOWN        127.0.0.1/8 ::1/128\n"),
    ("neigh", "192.0.2.5 dev eth0 lladdr 02:00:00:00:00:05\n"),
]


@pytest.mark.parametrize(("kind", "text"), CUT)
def test_a_line_that_is_cut_is_a_fault_with_its_line(kind, text):
    """Never half an entry."""
    with pytest.raises(ParseError) as raised:
        PARSE[kind](text, "f")
    assert raised.value.faults[0].line == len(text.splitlines())


WHOLE = {
    "addr": "2: eth0: <UP> mtu 1500",
    "link": "2: eth0: <UP> mtu 1500",
    "route": "default via 192.0.2.1 dev eth0",
    "rule": "0:\tfrom all lookup local",
    "neigh": "192.0.2.5 dev eth0 STALE",
}


@pytest.mark.parametrize("kind", PARSE)
def test_a_line_of_nothing_is_passed_over(kind):
    """``-o`` puts a backslash for each line's end."""
    assert PARSE[kind](f"{WHOLE[kind]}\\    \\   \n", "f") == PARSE[kind](f"{WHOLE[kind]}\n", "f")


def test_arp_of_the_kernel_says_who_answered():
    """``/proc/net/arp``: no answer, answered once, written by somebody."""
    found = {str(entry.address): entry.states for entry in parse_neighbours(recorded("proc-arp.txt"), "f")}
    assert found == {"192.0.2.77": ("INCOMPLETE",), "192.0.2.1": ("PERMANENT",), "192.0.2.5": ("STALE",)}


def test_table_main_alone_is_not_every_table():
    """``ip route``: the node's own addresses are its own, and a table that was not listed is not an empty one."""
    main = "".join(f"{line}\n" for line in recorded("ip-route.txt").splitlines() if " table " not in line and ":" not in line.split(" ")[0])
    texts = {"ip_addr": recorded("ip-addr.txt"), "ip_route": main}
    stack = Routing.from_texts("n1", **texts)
    local: list[Route] = [route for route in stack.routes(4) if route.type is RouteType.LOCAL]
    assert {str(route.destination) for route in local} >= {"192.0.2.11/32", "10.244.1.1/32", "127.0.0.0/8"}
    asked = Routing.from_texts(
        "n1", **texts, ip_rule="0:\tfrom all lookup local\n100:\tfrom all lookup 100\n32766:\tfrom all lookup main\n"
    )
    address = parse_addresses("2: e: <UP> mtu 1\n    inet 203.0.113.9/32 scope global e\n", "f")[0].address
    (result,) = asked.lookup(address)
    assert (result.kind.value, "was not listed" in (result.unknown_reason or "")) == ("unknown", True)
    assert stack.lookup(address)[0].kind.value == "unicast"

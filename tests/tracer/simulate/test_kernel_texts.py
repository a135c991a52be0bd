"""A cluster whose nodes could print nothing but /proc answers as one whose nodes have ``ip``, ``sysctl`` and ``ss``, or says what it lacks."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping
from ipaddress import ip_address, ip_network

import pytest

from tests.garbled.garble import ERRORS, NOISE
from tests.made_cluster import MadeCluster
from tracer.query import Query, parse_destination, parse_source
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster
from tracer.trace import Trace

TRIE = {"universe": "universe", "link": "link", "host": "host"}


def word(address: str) -> str:
    packed = ip_address(address).packed
    return packed[::-1].hex().upper() if len(packed) == 4 else packed.hex()


def route_text(routes: list[dict[str, str]]) -> str:
    lines = ["Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT"]
    for route in routes:
        network = ip_network("0.0.0.0/0" if route["dst"] == "default" else route["dst"])
        if route.get("table") != "local":
            flags = "0003" if "gateway" in route else "0001"
            words = (route["dev"], word(str(network.network_address)), word(route.get("gateway", "0.0.0.0")), flags, "0", "0", "0")
            lines.append("\t".join((*words, word(str(network.netmask)), "0", "0", "0")))
    return "\n".join(lines) + "\n"


def trie_text(routes: list[dict[str, str]]) -> str:
    leaves: dict[str, list[str]] = defaultdict(list)
    for route in routes:
        network = ip_network("0.0.0.0/0" if route["dst"] == "default" else route["dst"])
        scope = route.get("scope", "universe")
        leaves[str(network.network_address)].append(f"        /{network.prefixlen} {TRIE[scope]} {route.get('type', 'unicast').upper()}\n")
    body = "  +-- 0.0.0.0/0 3 0 5\n" + "".join(f"     |-- {leaf}\n{''.join(dict.fromkeys(held))}" for leaf, held in leaves.items())
    return f"Main:\n{body}Local:\n{body}"


def route6_text(routes: list[dict[str, str]]) -> str:
    lines = []
    for route in routes:
        network = ip_network("::/0" if route["dst"] == "default" else route["dst"])
        flags = 0x80200001 if route.get("type") == "local" else 0x3 if "gateway" in route else 0x1
        to, gateway = word(str(network.network_address)), word(route.get("gateway", "::"))
        lines.append(f"{to} {network.prefixlen:02x} {'0' * 32} 00 {gateway} 00000000 00000001 00000000 {flags:08x} {route['dev']:>8}\n")
    return "".join(lines)


def inet6_text(devices: list[dict[str, object]]) -> str:
    return "".join(
        f"{word(one['local'])} {device['ifindex']:02x} {one['prefixlen']:02x} {'10' if one['scope'] == 'host' else '00'} 80 {device['ifname']:>8}\n"
        for device in devices
        for one in device["addr_info"]  # type: ignore[attr-defined]
        if one["family"] == "inet6"
    )


def without_programs(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The same nodes, on which only ``cat`` ran."""
    found = {path: content for path, content in files.items() if not path.startswith("nodes/") or "/ip-" not in path.replace("ip6-", "ip-")}
    for node in {path.split("/")[1] for path in files if path.startswith("nodes/")}:
        routes, routes6, devices = (json.loads(files[f"nodes/{node}/{name}.json"]) for name in ("ip-route", "ip6-route", "ip-addr"))
        settings = found.pop(f"nodes/{node}/sysctl.txt").decode().splitlines()
        texts = {"net-route": route_text(routes), "net-fib-trie": trie_text(routes), "net-ipv6-route": route6_text(routes6)}
        texts |= {"net-if-inet6": inet6_text(devices)}
        texts["sys"] = "".join(
            f"/proc/sys/{name.strip().replace('.', '/')}:{value.strip()}\n" for name, value in (s.split("=") for s in settings)
        )
        found |= {f"nodes/{node}/proc-{name}.txt": text.encode() for name, text in texts.items()}
    return found


@pytest.fixture(scope="module")
def files() -> Mapping[str, bytes]:
    cluster = MadeCluster()
    cluster.pod("client", 1)
    cluster.service("web", [cluster.pod("web-1", 1), cluster.pod("web-2", 2)], node_port=30080)
    return cluster.files()


def answer(files: Mapping[str, bytes], source: str, to: str) -> Trace:
    asked = Query(source=parse_source(source), destination=parse_destination(to))
    return trace(Cluster.from_snapshot(Snapshot.from_files(files)), asked)


@pytest.mark.parametrize(
    ("source", "to"),
    [
        ("pod:default/client", "10.96.0.10:80"), ("pod:default/client", "[fd00:96::a]:80"), ("external:203.0.113.9", "192.168.0.11:30080"),
        ("node:n1", "10.96.0.10:80"), ("pod:default/client", "8.8.8.8:53"), ("pod:default/client", "10.99.0.1:80"),
    ],
)  # fmt: skip
def test_the_answer_is_the_same(files: Mapping[str, bytes], source: str, to: str) -> None:
    wanted, found = answer(files, source, to), answer(without_programs(files), source, to)
    assert ends(found) == ends(wanted)
    notes = {note for o in found.outcomes for hop in o.hops for note in hop.notes}
    assert any(note.startswith("assumed: ") and "/proc/net/" in note for note in notes)
    # The one trie of IPv4 tells that there are no rules but the kernel's own; of IPv6 nothing does.
    assert any("no routing rules but the kernel's own" in note for note in notes) == ("[" in to)


def damages(text: str, drawn: random.Random) -> Iterator[str]:
    """The text with what shows: a line cut off in its middle, a digit lost, a line of noise, an error in its place, nothing at all."""
    lines = text.splitlines()
    at = drawn.randrange(len(lines) // 2, len(lines))
    for line in (lines[at][: max(2, len(lines[at].rstrip()) // 2)], lines[at].replace("0", "", 1), drawn.choice(NOISE)):
        yield "\n".join([*lines[:at], line, *lines[at + 1 :]]) + "\n"
    yield drawn.choice(ERRORS)
    yield ""


def ends(answer: Trace) -> list[tuple[str, ...]]:
    return sorted((o.disposition.value, str(o.probability), str(o.hops[-1].name)) for o in answer.outcomes)


def is_doubtful(answer: Trace) -> bool:
    return any(o.disposition.value == "unknown" or o.conditions for o in answer.outcomes)


OVER4, OVER6 = ("pod:default/client", "10.96.0.10:80"), ("node:n1", "[fd00:96::a]:80")


@pytest.mark.parametrize(
    ("name", "asked", "decides"),
    [
        ("net-route", OVER4, True),
        ("net-fib-trie", OVER4, True),
        ("net-ipv6-route", OVER6, True),
        ("net-if-inet6", OVER6, False),
        ("sys", OVER4, False),
    ],
)
def test_no_answer_is_certain_and_another_one(files: Mapping[str, bytes], name: str, asked: tuple[str, str], decides: bool) -> None:
    whole = without_programs(files)
    path, wanted = f"nodes/n1/proc-{name}.txt", ends(answer(whole, *asked))
    doubts = 0
    for text in damages(whole[path].decode(), random.Random(name)):
        found = answer({**whole, path: text.encode()}, *asked)
        assert ends(found) == wanted or is_doubtful(found), text
        doubts += is_doubtful(found)
    assert bool(doubts) is decides
